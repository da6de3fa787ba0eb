package node

import (
	"context"
	"errors"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/signer"
)

// rounds are the beacon's outputs that others have asked this node for. They
// are made one at a time, so that whoever asks for many leaves the holders
// time for duties. Who holds turn owns recent.
type rounds struct {
	turn   chan struct{}
	recent map[ledger.Awaited][bls.SignatureSize]byte
}

// maxRecent is how many outputs are remembered.
const maxRecent = 1024

// Round returns a beacon's signature of a height that is final.
func (n *Node) Round(ctx context.Context, key signer.Key, height uint64) (sig [bls.SignatureSize]byte, err error) {
	select {
	case n.rounds.turn <- struct{}{}:
		defer func() { <-n.rounds.turn }()
	case <-ctx.Done():
		return sig, rpc.Errorf(rpc.CodeUnavailable, "too many ask for the beacon's outputs")
	}
	wanted := ledger.Awaited{Height: height, Key: key}
	if sig, ok := n.rounds.recent[wanted]; ok {
		return sig, nil
	}
	if sig, err = n.signer.Round(ctx, key, height); err != nil {
		return sig, err
	}
	if len(n.rounds.recent) == maxRecent {
		clear(n.rounds.recent)
	}
	n.rounds.recent[wanted] = sig
	return sig, nil
}

// bringTurn is how long a node waits for each of those before it to bring an
// output: one of them is enough.
const bringTurn = time.Second

// answerCeremonies brings the ledger the outputs that its ceremonies wait for.
func (n *Node) answerCeremonies(ctx context.Context) error {
	since := map[ledger.Awaited]time.Time{}
	retry := time.NewTicker(bringTurn / 2)
	defer retry.Stop()
	for {
		_, moved := n.app.wait()
		var wanted []ledger.Awaited
		if view, err := n.View(); err == nil {
			wanted = view.Awaited()
		}
		if len(wanted) == 0 {
			clear(since)
		}
		for _, w := range wanted {
			if since[w].IsZero() {
				since[w] = time.Now()
			}
			if time.Since(since[w]) < n.turnToBring(w.Height) {
				continue
			}
			if err := n.bring(ctx, w); err != nil && ctx.Err() == nil {
				n.log.Warn("bring the beacon's output", "height", w.Height, "err", err)
			}
		}
		var again <-chan time.Time
		if len(wanted) > 0 {
			again = retry.C
		}
		select {
		case <-moved:
		case <-again:
		case <-ctx.Done():
			return nil
		}
	}
}

// turnToBring lets the nodes go first in turn.
func (n *Node) turnToBring(height uint64) time.Duration {
	seat, _ := n.seat()
	return time.Duration((uint64(seat)+height)%uint64(len(n.genesis.Nodes))) * bringTurn
}

func (n *Node) bring(ctx context.Context, w ledger.Awaited) error {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	sig, err := n.signer.Round(ctx, w.Key, w.Height) // out of turn: no crowd of others holds up a ceremony
	if err != nil {
		return err
	}
	_, err = n.Submit(ctx, action.KindOutput, ledger.RoundOutput{Height: w.Height, Signature: sig}.Encode())
	var refused *ledger.Error
	if errors.As(err, &refused) && refused.Code == ledger.CodeConflict {
		return nil // another was faster
	}
	return err
}

// ProveRecord returns a certificate of a key's record, for anybody who knows
// the genesis.
func (n *Node) ProveRecord(ctx context.Context, key signer.Key) ([]byte, error) {
	c, err := n.certificate(ctx, 1, n.namespace().Key(string(action.DomainValidator), key[:]))
	return c.raw, unavailable(err)
}
