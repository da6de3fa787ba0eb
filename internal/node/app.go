package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/store"
	"github.com/quorate/quorate/internal/wire"
)

// appVersion is the version of the state machine's rules; it stands in the
// state and in every AppHash.
const appVersion = 1

// app is the ledger as CometBFT calls it. CometBFT serialises the calls of
// one connection; mu serialises the connections.
type app struct {
	abci.BaseApplication
	genesis *action.Genesis
	cluster action.ClusterID
	store   *store.Store
	log     *slog.Logger
	fatal   func(error)       // the state can no longer be trusted: stop the process
	keep    time.Duration     // how long this node keeps blocks; 0: as long as the policy lets it
	blocks  func() blockStore // the engine's, nil before it has started; nil where there is none

	mu      sync.Mutex
	seen    ledger.Seen
	cache   ledger.Cache
	state   *ledger.State                 // see committed; nil after a commit
	staged  *staged                       // between FinalizeBlock and Commit
	head    head                          // the last committed block; its height is 0 before the first
	waiting quota                         // in the mempool, which comes back with all that it holds after each commit
	moved   chan struct{}                 // closed at the next commit
	keys    []*action.KeyRecord           // changed and not taken by the follower yet
	waits   map[[32]byte][]chan<- outcome // by transaction: who waits for what becomes of it
}

// head is the last committed block.
type head struct {
	height uint64
	time   uint64 // milliseconds
	state  proof.State
}

type staged struct {
	head     head
	keys     []*action.KeyRecord // that the block changed
	meta     []byte
	bodies   []store.Write
	outcomes []outcome
}

func toStore(in []ledger.Write) []store.Write {
	out := make([]store.Write, len(in))
	for i, w := range in {
		out[i] = store.Write(w)
	}
	return out
}

// outcome is what became of a transaction, and where.
type outcome struct {
	hash   [32]byte
	height uint64
	result ledger.Result
}

func newApp(g *action.Genesis, id action.ClusterID, st *store.Store, log *slog.Logger, fatal func(error)) (*app, error) {
	a := &app{genesis: g, cluster: id, store: st, log: log, fatal: fatal,
		waiting: quota{}, moved: make(chan struct{}), waits: map[[32]byte][]chan<- outcome{}}
	if st.Height() > 0 {
		var err error
		if a.head, _, err = parseMeta(st.Meta()); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// headWith returns a recent block after which the AppHash was this one.
func (a *app) headWith(appHash []byte) (head, bool) {
	for height := a.store.Height(); height > 0; height-- {
		_, meta, err := a.store.At(height)
		if err != nil {
			return head{}, false
		}
		h, _, err := parseMeta(meta)
		if err != nil {
			return head{}, false
		}
		if hash := h.state.AppHash(a.cluster); bytes.Equal(hash[:], appHash) {
			return h, true
		}
	}
	return head{}, false
}

// The store's meta record: the head, then the event log's frontier.
func encodeMeta(h head, frontier []byte) []byte {
	var e wire.Encoder
	e.U64(h.height)
	e.U64(h.time)
	e.U64(h.state.AppVersion)
	e.Fixed(h.state.KVRoot[:])
	e.U64(h.state.LogSize)
	e.Fixed(h.state.LogRoot[:])
	e.Bytes(frontier)
	return e.Out()
}

func parseMeta(b []byte) (h head, frontier []byte, err error) {
	d := wire.NewDecoder(b)
	h.height, h.time, h.state.AppVersion = d.U64(), d.U64(), d.U64()
	d.Fixed(h.state.KVRoot[:])
	h.state.LogSize = d.U64()
	d.Fixed(h.state.LogRoot[:])
	frontier = d.Bytes(4 << 10)
	if err := d.Finish(); err != nil {
		return head{}, nil, fmt.Errorf("read the ledger's head: %w", err)
	}
	return h, frontier, nil
}

// view is the committed state. Callers hold mu or only read.
func (a *app) view() (*ledger.State, error) {
	var frontier []byte
	if a.store.Height() > 0 {
		var err error
		if _, frontier, err = parseMeta(a.store.Meta()); err != nil {
			return nil, err
		}
	}
	return ledger.NewState(a.cluster, proof.Namespace(a.genesis.Namespace), a.store.State(), a.store.Bodies(), frontier, &a.cache)
}

// committed is view for those who only verify. It is kept until the next
// commit, because it remembers what it has parsed. Callers hold mu.
func (a *app) committed() (_ *ledger.State, err error) {
	if a.state == nil {
		a.state, err = a.view()
	}
	return a.state, err
}

func (a *app) Info(context.Context, *abci.RequestInfo) (*abci.ResponseInfo, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := &abci.ResponseInfo{Data: "quorate", AppVersion: appVersion, LastBlockHeight: int64(a.head.height)}
	if a.head.height > 0 {
		hash := a.head.state.AppHash(a.cluster)
		r.LastBlockAppHash = hash[:]
	}
	return r, nil
}

// InitChain answers with nothing: the genesis state is written with block 1,
// so that the store knows heights only, and the validators are the genesis's.
func (a *app) InitChain(context.Context, *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	return &abci.ResponseInitChain{}, nil
}

// Query answers the engine, which asks whom it may have connections with: the
// genesis's nodes. To anybody else it would hand blocks, whose transactions are
// not everybody's to read, and its few places.
func (a *app) Query(_ context.Context, req *abci.RequestQuery) (*abci.ResponseQuery, error) {
	id, asked := strings.CutPrefix(req.Path, "/p2p/filter/id/")
	known := func(n action.NodeRecord) bool { return string(peerID(n)) == id }
	if asked && !slices.ContainsFunc(a.genesis.Nodes, known) {
		return &abci.ResponseQuery{Code: uint32(ledger.CodeDenied), Log: "no node of the genesis"}, nil
	}
	return &abci.ResponseQuery{Code: abci.CodeTypeOK}, nil
}

func (a *app) CheckTx(_ context.Context, req *abci.RequestCheckTx) (*abci.ResponseCheckTx, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.head.height == 0 {
		return &abci.ResponseCheckTx{Code: uint32(ledger.CodeBusy), Log: "the ledger has no first block yet"}, nil
	}
	st, err := a.committed()
	if err != nil {
		return nil, err
	}
	tx, err := a.verify(st, req.Tx)
	if err != nil {
		return &abci.ResponseCheckTx{Code: uint32(codeOf(err)), Log: textOf(err)}, nil
	}
	if !a.waiting.take(tx) {
		return &abci.ResponseCheckTx{Code: uint32(ledger.CodeBusy), Log: fmt.Sprintf("%d transactions of %s wait already", maxOfSigner, tx.Envelope().Signer)}, nil
	}
	return &abci.ResponseCheckTx{GasWanted: 1}, nil
}

func (a *app) verify(st *ledger.State, raw []byte) (ledger.VerifiedTx, error) {
	tx, err := ledger.Parse(raw)
	if err != nil {
		return ledger.VerifiedTx{}, err
	}
	return st.Verify(tx, &a.seen)
}

// textOf is an error's text without its code, which stands beside it.
func textOf(err error) string {
	var e *ledger.Error
	if errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}

func codeOf(err error) ledger.Code {
	var e *ledger.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ledger.CodeMalformed
}

// PrepareProposal keeps what verifies in the state that the block builds on,
// up to the block's size. Order is the mempool's.
func (a *app) PrepareProposal(_ context.Context, req *abci.RequestPrepareProposal) (*abci.ResponsePrepareProposal, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	st, err := a.committed()
	if err != nil {
		return nil, err
	}
	var out [][]byte
	var size int64
	inBlock := quota{}
	for _, raw := range req.Txs {
		if size += int64(len(raw)) + txOverhead; size > req.MaxTxBytes {
			break
		}
		if tx, err := a.verify(st, raw); err == nil && inBlock.take(tx) {
			out = append(out, raw)
		}
	}
	return &abci.ResponsePrepareProposal{Txs: out}, nil
}

// txOverhead bounds what protobuf adds to a transaction in a block.
const txOverhead = 8

// ProcessProposal accepts a block of transactions that verify in the state
// before it. It asks exactly what PrepareProposal of an honest node ensures.
func (a *app) ProcessProposal(_ context.Context, req *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	st, err := a.committed()
	if err != nil {
		return nil, err
	}
	inBlock := quota{}
	for i, raw := range req.Txs {
		tx, err := a.verify(st, raw)
		if err == nil && !inBlock.take(tx) {
			err = fmt.Errorf("more than %d transactions of %s", maxOfSigner, tx.Envelope().Signer)
		}
		if err != nil {
			a.log.Warn("refuse proposed block", "height", req.Height, "tx", i, "reason", err)
			return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_REJECT}, nil
		}
	}
	return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_ACCEPT}, nil
}

func (a *app) FinalizeBlock(_ context.Context, req *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	st, err := a.view()
	if err != nil {
		return nil, a.stop(err)
	}
	block := ledger.Block{Height: req.Height, Time: uint64(req.Time.UnixMilli())}
	copy(block.Hash[:], req.Hash)
	if a.head.height == 0 {
		if err := st.Genesis(a.genesis); err != nil {
			return nil, a.stop(err)
		}
	}
	st.Begin(block)
	next := &staged{head: head{height: uint64(req.Height), time: block.Time}}
	resp := &abci.ResponseFinalizeBlock{}
	for _, raw := range req.Txs {
		var res ledger.Result
		tx, err := a.verify(st, raw)
		if err != nil {
			res = ledger.Result{Code: codeOf(err), Info: textOf(err)}
		} else {
			res = st.Apply(block, tx)
		}
		next.outcomes = append(next.outcomes, outcome{action.HashTx(raw), next.head.height, res})
		resp.TxResults = append(resp.TxResults, &abci.ExecTxResult{Code: uint32(res.Code)})
	}
	// An honest operator rolled back looks like one that cheats: people decide.
	for _, m := range req.Misbehavior {
		st.Misbehaviour(block, m.Type.String(), [20]byte(m.Validator.Address), m.Height)
	}
	a.store.Discard() // what an interrupted replay may have left
	kvRoot, err := a.store.Stage(next.head.height, toStore(st.Writes()))
	if err != nil {
		return nil, a.stop(err)
	}
	next.head.state = proof.State{AppVersion: appVersion, KVRoot: kvRoot}
	next.head.state.LogSize, next.head.state.LogRoot = st.LogRoot()
	next.keys = st.ChangedKeys()
	next.meta, next.bodies = encodeMeta(next.head, st.Frontier()), toStore(st.Bodies())
	a.staged = next
	hash := next.head.state.AppHash(a.cluster)
	resp.AppHash = hash[:]
	return resp, nil
}

// Commit makes the block durable, then tells those who wait for it.
func (a *app) Commit(context.Context, *abci.RequestCommit) (*abci.ResponseCommit, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.staged == nil {
		return nil, a.stop(errors.New("commit without a block"))
	}
	if err := a.store.Commit(a.staged.head.height, a.staged.meta, a.staged.bodies); err != nil {
		return nil, a.stop(fmt.Errorf("commit block %d: %w", a.staged.head.height, err))
	}
	a.head = a.staged.head
	a.keys = append(a.keys, a.staged.keys...)
	for _, o := range a.staged.outcomes {
		for _, told := range a.waits[o.hash] {
			told <- o // has room
		}
		delete(a.waits, o.hash)
	}
	a.staged, a.state, a.waiting = nil, nil, quota{}
	close(a.moved)
	a.moved = make(chan struct{})
	retain, err := a.retainHeight()
	if err != nil {
		return nil, a.stop(err)
	}
	return &abci.ResponseCommit{RetainHeight: retain}, nil
}

// takeChangedKeys returns the keys that blocks changed since it was last asked.
func (a *app) takeChangedKeys() []*action.KeyRecord {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.keys = nil }()
	return a.keys
}

// stop reports a failure after which this process must not go on.
func (a *app) stop(err error) error {
	a.fatal(err)
	return err
}

// wait returns the head and a channel that closes when it moves.
func (a *app) wait() (head, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.head, a.moved
}

// await blocks until the committed height is at least height.
func (a *app) await(ctx context.Context, height uint64) error {
	for {
		h, moved := a.wait()
		if h.height >= height {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for block %d: %w", height, ctx.Err())
		}
	}
}
