package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	cmtdb "github.com/cometbft/cometbft-db"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtcfg "github.com/cometbft/cometbft/config"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtlog "github.com/cometbft/cometbft/libs/log"
	cmtnode "github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/proxy"
	cmttypes "github.com/cometbft/cometbft/types"
	cmttime "github.com/cometbft/cometbft/types/time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// heartbeat is how often an idle ledger makes a block, so that its time does
// not fall behind without bound.
const heartbeat = 60 * time.Second

// engineConfig is CometBFT tuned for a small full mesh: event-driven steps,
// short timeouts, blocks only when there is something to put in one.
func engineConfig(home, listen string, peers []string) *cmtcfg.Config {
	c := cmtcfg.DefaultConfig()
	c.SetRoot(home)
	c.DBBackend = string(cmtdb.GoLevelDBBackend)
	c.RPC.ListenAddress = ""
	c.TxIndex.Indexer = "null"
	c.Instrumentation.Prometheus = false
	c.Storage.DiscardABCIResponses = false // the handshake replays the last one

	c.P2P.ListenAddress = "tcp://" + listen
	c.P2P.PersistentPeers = strings.Join(peers, ",")
	c.P2P.PexReactor = false
	c.P2P.AddrBookStrict = false
	c.P2P.AllowDuplicateIP = true
	c.P2P.FlushThrottleTimeout = time.Millisecond
	c.P2P.SendRate, c.P2P.RecvRate = 64<<20, 64<<20
	c.FilterPeers = true // see app.Query
	// Strangers count until they are known to be such.
	c.P2P.MaxNumInboundPeers, c.P2P.MaxNumOutboundPeers = 3*wire.MaxNodes, wire.MaxNodes

	c.Mempool.MaxTxBytes = wire.MaxTx
	c.Mempool.MaxTxsBytes = 64 << 20
	c.Mempool.Size = 5000
	c.Mempool.CacheSize = 10000

	c.Consensus.CreateEmptyBlocks = false
	c.Consensus.CreateEmptyBlocksInterval = heartbeat
	c.Consensus.SkipTimeoutCommit = true
	c.Consensus.TimeoutCommit = 50 * time.Millisecond
	c.Consensus.PeerGossipSleepDuration = 2 * time.Millisecond
	c.Consensus.TimeoutPropose, c.Consensus.TimeoutProposeDelta = 500*time.Millisecond, 250*time.Millisecond
	c.Consensus.TimeoutPrevote, c.Consensus.TimeoutPrevoteDelta = 150*time.Millisecond, 100*time.Millisecond
	c.Consensus.TimeoutPrecommit, c.Consensus.TimeoutPrecommitDelta = 150*time.Millisecond, 100*time.Millisecond
	return c
}

// engineGenesis derives CometBFT's genesis from ours; nothing in it is free.
func engineGenesis(g *action.Genesis, id action.ClusterID, doc []byte) (*cmttypes.GenesisDoc, error) {
	params := cmttypes.DefaultConsensusParams()
	params.Block.MaxBytes = wire.MaxTxPerBlock
	gd := &cmttypes.GenesisDoc{
		GenesisTime:     g.Time,
		ChainID:         id.ChainID(),
		InitialHeight:   1,
		ConsensusParams: params,
		AppState:        doc,
	}
	for _, n := range g.Nodes {
		pub := cmted25519.PubKey(n.Vote[:])
		gd.Validators = append(gd.Validators, cmttypes.GenesisValidator{Address: pub.Address(), PubKey: pub, Power: proof.VotePower, Name: n.Name})
	}
	if err := gd.ValidateAndComplete(); err != nil {
		return nil, fmt.Errorf("derive the engine's genesis: %w", err)
	}
	return gd, nil
}

// peerID is how the engine knows a node: by the key of its consensus
// connections, which is its identity's Ed25519 half, as in the genesis.
func peerID(n action.NodeRecord) p2p.ID {
	return p2p.PubKeyToID(cmted25519.PubKey(n.Identity.Ed25519()))
}

// peerAddress is how the engine finds another node.
func peerAddress(n action.NodeRecord) string { return string(peerID(n)) + "@" + n.Comet }

// engine is what consensus starts with.
type engine struct {
	home, listen string
	self         string // as in the genesis
	genesis      *action.Genesis
	cluster      action.ClusterID
	doc          []byte // of the genesis
	keys         keys
	clock        func() time.Time // of the votes; nil: the engine's
	log          *slog.Logger
	blocks       *cmtdb.DB // where to put the database of blocks; may be nil
}

// start starts consensus. It returns when the engine runs; the ledger may
// still be catching up.
func (e engine) start(ctx context.Context, app abci.Application) (*cmtnode.Node, error) {
	var peers []string
	for _, r := range e.genesis.Nodes {
		if r.Name != e.self {
			peers = append(peers, peerAddress(r))
		}
	}
	cfg := engineConfig(filepath.Join(e.home, "engine"), e.listen, peers)
	for _, dir := range []string{"config", "data"} {
		if err := os.MkdirAll(filepath.Join(cfg.RootDir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("start engine: %w", err)
		}
	}
	gd, err := engineGenesis(e.genesis, e.cluster, e.doc)
	if err != nil {
		return nil, err
	}
	pv, err := loadVoter(e.keys.exposeVote(), filepath.Join(cfg.RootDir, "data", "last-vote.json"))
	if err != nil {
		return nil, err
	}
	running, err := cmtnode.NewNodeWithContext(ctx, cfg, voter{pv, e.clock},
		&p2p.NodeKey{PrivKey: cmted25519.PrivKey(e.keys.identity.ExposeEd25519())},
		proxy.NewConnSyncLocalClientCreator(app),
		func() (*cmttypes.GenesisDoc, error) { return gd, nil },
		e.open,
		cmtnode.DefaultMetricsProvider(cfg.Instrumentation),
		engineLog{l: e.log.With("part", "engine")},
		cmtnode.CustomReactors(map[string]p2p.Reactor{"LINKS": newLinks(peers)}))
	if err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	if err := running.Start(); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	return running, nil
}

// lingering is a database that stays open until the process ends; see
// stopEngine.
type lingering struct{ cmtdb.DB }

func (lingering) Close() error { return nil }

func (e engine) open(c *cmtcfg.DBContext) (cmtdb.DB, error) {
	db, err := cmtcfg.DefaultDBProvider(c)
	if e.blocks != nil && c.ID == "blockstore" {
		*e.blocks = db
	}
	return lingering{db}, err
}

// voter signs what the engine wants to vote, with the time of another clock
// where there is one.
type voter struct {
	*privval.FilePV
	clock func() time.Time // nil: the engine's
}

func (v voter) SignVote(chain string, vote *cmtproto.Vote) error {
	if v.clock != nil {
		vote.Timestamp = cmttime.Canonical(v.clock())
	}
	return v.FilePV.SignVote(chain, vote)
}

// loadVoter gives CometBFT the consensus key from memory and keeps only the
// last vote, which is no secret, in a file. That file is never restored from
// a backup: an old one lets the node vote twice.
func loadVoter(key cmted25519.PrivKey, statePath string) (*privval.FilePV, error) {
	pv := privval.NewFilePV(key, "", statePath)
	raw, err := os.ReadFile(statePath)
	if errors.Is(err, fs.ErrNotExist) {
		return pv, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load last vote: %w", err)
	}
	// CometBFT writes heights as decimal strings.
	var state struct {
		Height    int64           `json:"height,string"`
		Round     int32           `json:"round"`
		Step      int8            `json:"step"`
		Signature []byte          `json:"signature"`
		SignBytes json.RawMessage `json:"signbytes"`
	}
	if err := json.Unmarshal(raw, &state); err != nil {
		return nil, fmt.Errorf("load last vote: %w (hint: the file is damaged; a node without it must not vote: rejoin under a new consensus key)", err)
	}
	pv.LastSignState.Height, pv.LastSignState.Round, pv.LastSignState.Step = state.Height, state.Round, state.Step
	pv.LastSignState.Signature = state.Signature
	if len(state.SignBytes) > 0 {
		if err := pv.LastSignState.SignBytes.UnmarshalJSON(state.SignBytes); err != nil {
			return nil, fmt.Errorf("load last vote: %w", err)
		}
	}
	return pv, nil
}

// engineLog hands CometBFT's words to slog. Its information is our debug: an
// operator wants to hear of it only when something is wrong. CometBFT adds
// attributes thousands of times a second for words that it then does not say,
// so that they are only kept until it does.
type engineLog struct {
	l     *slog.Logger
	attrs []any
}

func (e engineLog) Debug(string, ...any)        {}
func (e engineLog) Info(msg string, kv ...any)  { e.log(slog.LevelDebug, msg, kv) }
func (e engineLog) Warn(msg string, kv ...any)  { e.log(slog.LevelWarn, msg, kv) }
func (e engineLog) Error(msg string, kv ...any) { e.log(slog.LevelWarn, msg, kv) }

func (e engineLog) With(kv ...any) cmtlog.Logger {
	return engineLog{e.l, slices.Concat(e.attrs, kv)}
}

func (e engineLog) log(level slog.Level, msg string, kv []any) {
	if e.l.Enabled(context.Background(), level) {
		e.l.Log(context.Background(), level, msg, slices.Concat(e.attrs, kv)...)
	}
}

// checkListen refuses an address that cannot be listened on before anything starts.
func checkListen(what, addr string) error {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("%s address %q: want host:port", what, addr)
	}
	return nil
}
