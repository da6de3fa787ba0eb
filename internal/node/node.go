package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	cmtdb "github.com/cometbft/cometbft-db"
	cmtnode "github.com/cometbft/cometbft/node"
	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/hall"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/peer"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/signer"
	"github.com/quorate/quorate/internal/store"
)

// Config is what a node needs to know beside its home directory.
type Config struct {
	Name string // as in the genesis
	Home string // made by `quorate node init`

	// Where to listen; the genesis says where others find it.
	ConsensusListen string
	PeerListen      string

	// CustodySocket is the unix socket of the custody process of the
	// validator domain.
	CustodySocket string

	// Witnesses are asked to cosign checkpoints of the audit log. The genesis
	// has their keys.
	Witnesses []Witness

	// Clock, when set, says what time it is instead of the system, to the node
	// and in its votes, which make the ledger's time. Its votes then say even
	// what comes before the last block, as a liar's would. The engine's
	// timeouts go by the system in any case.
	Clock func() time.Time

	// KeepBlocks, when set, is how long blocks are kept at most. In any case
	// they go when the policy has bodies of events erased. A node that was away
	// for longer than the others keep blocks cannot catch up from them.
	KeepBlocks time.Duration

	Log *slog.Logger

	// Observe is told how signing goes. May be nil.
	Observe signer.Observer
}

// Node is one operator's node. Open makes it, Run lives it.
type Node struct {
	cfg        Config
	log        *slog.Logger
	genesisDoc []byte
	genesis    *action.Genesis
	cluster    action.ClusterID
	network    *eth.Network
	keys       keys
	validators proof.ValidatorSet
	lock       *durable.DirLock
	store      *store.Store
	app        *app
	nonces     nonces
	custody    *custody.Client
	peers      *peer.Mesh
	signer     *signer.Signer
	stops      stops
	anchors    anchors
	leases     leases
	hall       *hall.Hall
	rounds     rounds

	signatories *audit.Signatories
	checkpoints checkpoints
	witnesses   witnesses

	turns     turns                        // of what peers ask for
	importing chan struct{}                // holds one element while a keystore is imported
	engine    atomic.Pointer[cmtnode.Node] // nil until Run has started it
	started   chan struct{}                // closed when it has
	blocks    cmtdb.DB                     // the engine's block store
	failed    chan error
}

// Open reads a home and checks all that can be checked before anything
// listens. It creates nothing: `quorate node init` does.
func Open(cfg Config) (*Node, error) {
	n := &Node{cfg: cfg, log: cfg.Log.With("node", cfg.Name), importing: make(chan struct{}, 1), started: make(chan struct{}),
		rounds: rounds{turn: make(chan struct{}, 1), recent: map[ledger.Awaited][bls.SignatureSize]byte{}}, failed: make(chan error, 1)}
	if err := errors.Join(checkListen("consensus", cfg.ConsensusListen), checkListen("peer", cfg.PeerListen)); err != nil {
		return nil, err
	}
	var err error
	if n.genesisDoc, err = os.ReadFile(filepath.Join(cfg.Home, fileGenesis)); err != nil {
		return nil, fmt.Errorf("read genesis: %w (hint: quorate node genesis makes it, every node gets the same)", err)
	}
	if n.genesis, n.cluster, err = action.ParseGenesis(n.genesisDoc); err != nil {
		return nil, err
	}
	self, ok := n.genesis.Node(cfg.Name)
	if !ok {
		return nil, fmt.Errorf("open node: the genesis knows no node %q", cfg.Name)
	}
	if n.network, err = n.genesis.EthNetwork(); err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	if n.keys, err = loadKeys(cfg.Home); err != nil {
		return nil, err
	}
	if string(n.keys.identity.Public().Bytes()) != string(self.Identity.Bytes()) {
		return nil, fmt.Errorf("open node: the keys in %s are not those of %s in the genesis", cfg.Home, cfg.Name)
	}
	if n.validators, err = validatorSet(n.genesis); err != nil {
		return nil, err
	}
	if err := checkWitnesses(n.genesis, cfg.Witnesses); err != nil {
		return nil, err
	}
	n.signatories, n.witnesses.seen = audit.NewSignatories(n.genesis, n.cluster), map[string]uint64{}
	if n.lock, err = durable.Lock(cfg.Home); err != nil {
		return nil, err
	}
	if n.store, err = store.Open(store.Config{Dir: filepath.Join(cfg.Home, "ledger")}); err != nil {
		return nil, err
	}
	if n.app, err = newApp(n.genesis, n.cluster, n.store, n.log, n.fail); err != nil {
		return nil, err
	}
	n.app.keep, n.app.blocks = cfg.KeepBlocks, n.engineBlocks
	n.custody = custody.NewClient(cfg.CustodySocket)
	n.hall = hall.New(hall.Config{View: n.View, Submit: n.submitFor, Dir: filepath.Join(cfg.Home, "letters")})
	if err := n.openPeers(); err != nil {
		return nil, err
	}
	n.signer, err = signer.New(signer.Config{
		Cluster: n.cluster, Self: cfg.Name, Roster: action.NewRoster(n.genesis.Nodes, action.DomainValidator), Network: n.network,
		Custody: n.custody, Peers: n.peers, Ledger: signerLedger{n}, Log: n.log, Observe: cfg.Observe,
	})
	if err != nil {
		return nil, err
	}
	return n, n.loadInventory()
}

// openPeers listens for the other nodes and gets ready to call them.
func (n *Node) openPeers() error {
	l, err := net.Listen("tcp", n.cfg.PeerListen)
	if err != nil {
		return fmt.Errorf("listen for peers: %w (hint: another process uses the port)", err)
	}
	var others []peer.Peer
	for _, r := range n.genesis.Nodes {
		if r.Name != n.cfg.Name {
			others = append(others, peer.Peer{Name: r.Name, Address: r.Peer, Key: r.Identity.Ed25519()})
		}
	}
	n.peers, err = peer.New(peer.Config{
		Self: n.cfg.Name, Key: n.keys.identity.ExposeEd25519(), Listener: l, Peers: others,
		Handler: n.answerPeer, Options: rpc.Options{Concurrent: 1024}, Logger: n.log.With("part", "peer"),
	})
	return err
}

// validatorSet is the genesis's voters as light clients know them.
func validatorSet(g *action.Genesis) (proof.ValidatorSet, error) {
	var vals []proof.Validator
	for _, r := range g.Nodes {
		vals = append(vals, proof.Validator{PubKey: ed25519.PublicKey(r.Vote[:]), Power: proof.VotePower})
	}
	return proof.NewValidatorSet(vals)
}

// fail stops the node for a reason after which it must not go on.
func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// Run starts everything, in the order in which parts need each other, and
// stops it when ctx ends or a part fails for good.
func (n *Node) Run(ctx context.Context) error {
	stop := ctx
	// The parts outlive the order to stop by as long as custody needs to say
	// its last word to the others.
	parts, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, ctx := errgroup.WithContext(parts)
	engine, err := engine{
		home: n.cfg.Home, listen: n.cfg.ConsensusListen, self: n.cfg.Name, genesis: n.genesis, cluster: n.cluster, doc: n.genesisDoc,
		keys: n.keys, clock: n.cfg.Clock, log: n.log, blocks: &n.blocks,
	}.start(ctx, n.app)
	if err != nil {
		return err
	}
	n.engine.Store(engine)
	close(n.started)
	g.Go(func() error {
		select {
		case <-stop.Done():
			n.closeCustody()
			end()
			return nil
		case <-ctx.Done():
			return nil
		case err := <-n.failed:
			return fmt.Errorf("node stops: %w", err)
		}
	})
	g.Go(func() error { return n.custody.Run(ctx) })
	g.Go(func() error { return n.peers.Run(ctx) })
	g.Go(func() error { return n.followLedger(ctx) })
	g.Go(func() error { return n.driveCeremonies(ctx) })
	g.Go(func() error { return n.followAssemblies(ctx) })
	g.Go(func() error { return n.answerCeremonies(ctx) })
	g.Go(func() error { return n.reportUsage(ctx) })
	g.Go(func() error { return n.keepLease(ctx) })
	g.Go(func() error { return n.followLog(ctx) })
	g.Go(func() error { return n.reclaimSpace(ctx) })
	err = g.Wait()
	stopEngine(engine, n.log)
	return err
}

// stopEngine stops consensus. CometBFT leaves goroutines behind that still read
// its stores and ours, and one that finds a store closed brings the process
// down in the middle of an orderly end. So no store is closed: everything in
// them is durable already, and the process ends soon after.
func stopEngine(engine *cmtnode.Node, log *slog.Logger) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := engine.Stop(); err != nil {
			log.Debug("stop engine", "err", err)
		}
		engine.Wait()
	}()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		log.Warn("the engine does not stop; leaving it")
	}
}

// View is the committed state as of now.
func (n *Node) View() (*ledger.State, error) {
	n.app.mu.Lock()
	defer n.app.mu.Unlock()
	return n.app.view()
}

// now is what the node's clock says.
func (n *Node) now() time.Time {
	if n.cfg.Clock != nil {
		return n.cfg.Clock()
	}
	return time.Now()
}

// Height returns the last committed height and its block time.
func (n *Node) Height() (uint64, time.Time) {
	h, _ := n.app.wait()
	return h.height, time.UnixMilli(int64(h.time))
}

// Accessors for the interfaces in front of the node.

func (n *Node) Name() string              { return n.cfg.Name }
func (n *Node) Cluster() action.ClusterID { return n.cluster }
func (n *Node) Genesis() *action.Genesis  { return n.genesis }
func (n *Node) Network() *eth.Network     { return n.network }
func (n *Node) Signer() *signer.Signer    { return n.signer }
func (n *Node) Custody() *custody.Client  { return n.custody }
func (n *Node) Peers() *peer.Mesh         { return n.peers }
func (n *Node) Hall() *hall.Hall          { return n.hall }
