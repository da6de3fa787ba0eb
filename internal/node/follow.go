package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/signer"
	"github.com/quorate/quorate/internal/wire"
)

// followLedger tells the signer which keys there are, and custody which are
// stopped for good. A block says whether it changed any, so that only then the
// inventory is read.
func (n *Node) followLedger(ctx context.Context) error {
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for {
		_, moved := n.app.wait()
		for _, key := range n.app.takeChangedKeys() {
			n.signer.SetKey(key)
			n.stops.add(key.PublicKey)
		}
		n.stops.add(n.stopKeys(ctx, n.stops.take())...)
		select {
		case <-moved:
		case <-retry.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// loadInventory hands the signer the whole inventory, at start.
func (n *Node) loadInventory() error {
	view, err := n.View()
	if err != nil {
		return err
	}
	view.Keys(action.DomainValidator, func(k *action.KeyRecord) bool {
		n.signer.SetKey(k)
		n.stops.add(k.PublicKey)
		return true
	})
	return nil
}

// stops are keys of which custody may have to hear that they are stopped.
type stops struct {
	mu   sync.Mutex
	keys [][]byte
}

func (s *stops) add(keys ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, keys...)
}

func (s *stops) take() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.keys = nil }()
	return s.keys
}

// stopKeys stops those of the keys in the node's own custody that the ledger
// has stopped for good, and returns which may not be yet: custody is away, or
// has still to hear that one of them was made. Nodes do not ask for such keys,
// but what custody signs must not hang on what nodes ask for.
func (n *Node) stopKeys(ctx context.Context, keys [][]byte) (left [][]byte) {
	keys = slices.DeleteFunc(keys, func(k []byte) bool {
		record, ok := n.signer.Record(signer.Key(k))
		return !ok || !record.State.Stopped() || record.Use != action.UseDuties || !slices.Contains(n.holders(record), n.cfg.Name)
	})
	slices.SortFunc(keys, bytes.Compare)
	for batch := range slices.Chunk(slices.CompactFunc(keys, bytes.Equal), wire.MaxKeysPerBatch) {
		stop := make([]signer.Key, len(batch))
		for i, k := range batch {
			stop[i] = signer.Key(k)
		}
		if err := n.custody.Stop(ctx, stop); err != nil {
			n.log.Debug("stop keys in custody", "keys", len(batch), "err", err)
			left = append(left, batch...)
		}
	}
	return left
}

// signerLedger is the node as package signer sees it.
type signerLedger struct{ *Node }

// ProveKey proves a key's record to the node's own custody: as of now, or by
// the header of a height that may still be on its way to this node.
func (n signerLedger) ProveKey(ctx context.Context, key signer.Key, header uint64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, grantWait)
	defer cancel()
	state, _ := n.Height()
	if header > 0 {
		if header > state+maxBehind {
			return nil, rpc.Errorf(rpc.CodeNotGranted, "the ledger is at height %d, far from %d", state, header)
		}
		if err := n.app.await(ctx, header); err != nil {
			return nil, rpc.Errorf(rpc.CodeNotGranted, "the ledger has not come to height %d", header)
		}
		state = header - 1
	}
	c, err := n.freshCertificate(ctx, state, n.namespace().Key(string(action.DomainValidator), key[:]))
	return c.raw, unavailable(err)
}

// maxBehind is how many blocks a node may lag behind one that asks it.
const maxBehind = 16

// ProveGrant proves a grant, waiting for its block when that is still on its
// way to this node.
func (n signerLedger) ProveGrant(ctx context.Context, a *action.Action) (custody.Evidence, error) {
	ctx, cancel := context.WithTimeout(ctx, grantWait)
	defer cancel()
	hash := a.Hash(n.cluster)
	path := n.namespace().Grant(hash[:])
	for {
		h, moved := n.app.wait()
		view, err := n.View()
		if err != nil {
			return custody.Evidence{}, err
		}
		if view.Get(path) != nil {
			ev, err := n.evidence(ctx, view, h.height, path)
			return ev, unavailable(err)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return custody.Evidence{}, rpc.Errorf(rpc.CodeNotGranted, "the ledger has not granted it")
		}
	}
}

// evidence proves paths to the node's own custody and, where a grant's path is
// named, the grant together with who approved it and their words.
func (n *Node) evidence(ctx context.Context, view *ledger.State, atLeast uint64, granted proof.Path, paths ...proof.Path) (ev custody.Evidence, err error) {
	if granted != "" {
		raw := view.Get(granted)
		if raw == nil {
			return ev, rpc.Errorf(rpc.CodeNotGranted, "the ledger has not granted it")
		}
		g, err := action.ParseGrant(raw)
		if err != nil {
			return ev, err
		}
		paths = append(paths, granted)
		for _, hash := range g.Approvals {
			tx, err := action.ParseTx(view.Tx(hash))
			if err != nil {
				return ev, fmt.Errorf("read approval %x: %w", hash[:8], err)
			}
			ev.Approvals = append(ev.Approvals, view.Tx(hash))
			paths = append(paths, n.namespace().Member([]byte(tx.Signer.Name)))
		}
	}
	c, err := n.freshCertificate(ctx, atLeast, paths...)
	ev.Certificate = c.raw
	return ev, err
}

const grantWait = 3 * time.Second

// Grant asks the ledger for an action and waits for its decision. What was
// granted already needs no second word.
func (n signerLedger) Grant(ctx context.Context, a *action.Action) error {
	view, err := n.View()
	if err != nil {
		return err
	}
	if n.granted(view, a.Hash(n.cluster)) {
		return nil
	}
	return unavailable(n.Ask(ctx, ledger.Ask{Action: a}))
}

// unavailable gives an error of the ledger the code that a client can act on.
func unavailable(err error) error {
	var refused *ledger.Error
	var coded *rpc.Error
	var waits *ledger.Waiting
	switch {
	case err == nil:
		return nil
	case errors.As(err, &coded):
		return err
	case errors.As(err, &waits):
		return codedWaiting{waits}
	case errors.As(err, &refused):
		switch refused.Code {
		case ledger.CodeDenied, ledger.CodeConflict:
			return rpc.Errorf(rpc.CodeNotGranted, "%v", refused)
		case ledger.CodeNotFound:
			return rpc.Errorf(rpc.CodeUnknownKey, "%v", refused)
		}
	}
	return rpc.Errorf(rpc.CodeUnavailable, "%v", fmt.Errorf("the ledger did not answer in time: %w", err))
}

// codedWaiting is a *ledger.Waiting that has a code, too.
type codedWaiting struct{ *ledger.Waiting }

func (w codedWaiting) Unwrap() error { return w.Waiting }

// As lets rpc.CodeOf find the code.
func (w codedWaiting) As(target any) bool {
	coded, ok := target.(**rpc.Error)
	if ok {
		*coded = rpc.Errorf(rpc.CodeWaiting, "%v", w.Waiting)
	}
	return ok
}
