package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/mempool"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger"
)

// Receipt says in which block a transaction took effect.
type Receipt struct {
	Tx      [32]byte
	Height  uint64
	Request [32]byte // what waits for others to agree; zero where nothing waits
	Entry   uint64   // number of the entry of a ceremony's log that it became
}

// Ask asks the ledger, as this node, for an action. The error is a *ledger.Waiting
// where it was not carried out at once.
func (n *Node) Ask(ctx context.Context, ask ledger.Ask) error {
	n.freshen(ctx)
	r, err := n.Submit(ctx, action.KindRequest, ask.Encode())
	if err == nil && r.Request != [32]byte{} {
		err = &ledger.Waiting{Request: r.Request}
	}
	return err
}

// ErrNoQuorum means that the ledger did not take the transaction in time. It
// may still do so.
var ErrNoQuorum = errors.New("the ledger does not move")

// errStarting means that this node's part in consensus has not begun.
var errStarting = errors.New("the node is still starting")

// nonces hands out the node's transaction numbers. They start above what the
// ledger has seen; the ledger accepts them out of order.
type nonces struct {
	mu   sync.Mutex
	next uint64
}

func (n *nonces) take(ledgerNext uint64) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next = max(n.next, ledgerNext)
	defer func() { n.next++ }()
	return n.next
}

// Submit signs a transaction as this node and waits until a block carries it.
// A refusal by the ledger is a *ledger.Error.
func (n *Node) Submit(ctx context.Context, kind action.Kind, body []byte) (Receipt, error) {
	if err := n.app.await(ctx, 1); err != nil { // the first block brings the genesis
		return Receipt{}, fmt.Errorf("submit transaction: %w: %w", ErrNoQuorum, err)
	}
	signer := action.Signer{Class: action.SignerNode, Name: n.cfg.Name}
	for {
		st, err := n.View()
		if err != nil {
			return Receipt{}, err
		}
		tx := action.Tx{Cluster: n.cluster, Kind: kind, Signer: signer, Body: body, Nonce: n.nonces.take(st.NextNonce(signer))}
		rand.Read(tx.Salt[:])
		receipt, err := n.SubmitRaw(ctx, tx.Sign(n.keys.identity))
		// What this node submitted before a restart can still be under way with
		// the same number. The loser had no effect: it takes the next.
		var refused *ledger.Error
		if !errors.As(err, &refused) || refused.Code != ledger.CodeNonce || ctx.Err() != nil {
			return receipt, err
		}
	}
}

// SubmitRaw hands a signed transaction to the ledger and waits until a block
// carries it.
func (n *Node) SubmitRaw(ctx context.Context, raw []byte) (Receipt, error) {
	hash := action.HashTx(raw)
	done, forget := n.app.outcomeOf(hash)
	defer forget()
	again := time.NewTicker(submitAgain)
	defer again.Stop()
	for {
		err := n.checkTx(ctx, raw)
		switch {
		case err == nil, errors.Is(err, mempool.ErrTxInCache):
		case errors.As(err, new(mempool.ErrMempoolIsFull)):
			select { // others are ahead of us; their blocks make room
			case <-time.After(50 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
		default:
			select {
			case o := <-done: // refused because a block has it already
				return o.receipt(hash)
			default:
				return Receipt{}, err
			}
		}
		select {
		case o := <-done:
			return o.receipt(hash)
		case <-again.C:
			// What a block made invalid leaves the mempool without a word: a
			// transaction with the same number, sent before a restart. Asked
			// again, the mempool says so.
		case <-ctx.Done():
			return Receipt{}, fmt.Errorf("submit transaction: %w: %w", ErrNoQuorum, ctx.Err())
		}
	}
}

// SubmitSigned is SubmitRaw, in the present, for those who know the
// transaction's hash.
func (n *Node) SubmitSigned(ctx context.Context, raw []byte) (height uint64, request [32]byte, err error) {
	n.freshen(ctx)
	receipt, err := n.SubmitRaw(ctx, raw)
	return receipt.Height, receipt.Request, err
}

// freshen makes a block on a ledger that was idle. The time of a block is that
// of the votes for the one before, a minute old there; durations that begin
// with what is asked now would have run for as long.
func (n *Node) freshen(ctx context.Context) {
	const old = 2 * time.Second
	if _, last := n.Height(); n.now().Sub(last) < old {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, old)
	defer cancel()
	if _, err := n.Submit(ctx, action.KindTick, nil); err != nil {
		n.log.Debug("make a block of the present", "err", err)
	}
}

// submitAgain is how often to see whether a transaction still waits.
const submitAgain = time.Second

func (o outcome) receipt(hash [32]byte) (Receipt, error) {
	if o.result.Code != ledger.OK {
		return Receipt{}, &ledger.Error{Code: o.result.Code, Err: errors.New(o.result.Info)}
	}
	return Receipt{Tx: hash, Height: o.height, Request: o.result.Request, Entry: o.result.Entry}, nil
}

// checkTx puts a transaction into the mempool, whose gossip brings it to the
// next proposer.
func (n *Node) checkTx(ctx context.Context, raw []byte) error {
	select {
	case <-n.started:
	case <-ctx.Done():
		return errStarting
	}
	answer := make(chan *abci.ResponseCheckTx, 1)
	if err := n.engine.Load().Mempool().CheckTx(raw, func(r *abci.ResponseCheckTx) { answer <- r }, mempool.TxInfo{}); err != nil {
		return err
	}
	select {
	case r := <-answer:
		if r.Code != 0 {
			return &ledger.Error{Code: ledger.Code(r.Code), Err: errors.New(r.Log)}
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// outcomeOf returns where it will be said what became of a transaction, to
// each who asks, and how to stop waiting for it.
func (a *app) outcomeOf(hash [32]byte) (told <-chan outcome, forget func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := make(chan outcome, 1)
	a.waits[hash] = append(a.waits[hash], c)
	return c, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.waits[hash] = slices.DeleteFunc(a.waits[hash], func(o chan<- outcome) bool { return o == c })
		if len(a.waits[hash]) == 0 {
			delete(a.waits, hash)
		}
	}
}
