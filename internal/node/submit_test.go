package node

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger"
)

// TestSameNumberTwice: of two transactions with one number, as a node sends
// them that was killed in between, one takes effect and the other is told. It
// must not wait for a block that will never carry it.
func TestSameNumberTwice(t *testing.T) {
	nodes := startCluster(t, 4)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, n := range nodes[:2] {
		if err := n.app.await(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	signer := action.Signer{Class: action.SignerNode, Name: nodes[0].Name()}
	for round := range 5 {
		var twice [2]error
		var both sync.WaitGroup
		nonce := uint64(1000 * (round + 1)) // far from what the node itself takes
		for i := range twice {
			tx := action.Tx{Cluster: nodes[0].cluster, Kind: action.KindTick, Signer: signer, Nonce: nonce, Salt: [16]byte{byte(i)}}
			raw := tx.Sign(nodes[0].keys.identity)
			both.Go(func() {
				_, twice[i] = nodes[i].SubmitRaw(ctx, raw)
			})
		}
		both.Wait()
		refused := 0
		for i, err := range twice {
			var e *ledger.Error
			switch {
			case err == nil:
			case errors.As(err, &e) && e.Code == ledger.CodeNonce:
				refused++
			default:
				t.Errorf("round %d, node%d: %v", round, i, err)
			}
		}
		if refused != 1 {
			t.Errorf("round %d: %d of two refused: %v", round, refused, twice)
		}
	}
}

// TestAskedTwice: who sends a transaction again, because a call was cut off,
// learns what became of it, whoever else waits for it or has given up.
func TestAskedTwice(t *testing.T) {
	nodes := startCluster(t, 4)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	signer := action.Signer{Class: action.SignerNode, Name: nodes[0].Name()}
	if _, err := nodes[0].Submit(ctx, action.KindTick, nil); err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		tx := action.Tx{Cluster: nodes[0].cluster, Kind: action.KindTick, Signer: signer, Nonce: uint64(1000 * (round + 1))}
		raw := tx.Sign(nodes[0].keys.identity)
		var heights [3]uint64
		var all sync.WaitGroup
		for i := range heights {
			all.Go(func() {
				r, err := nodes[0].SubmitRaw(ctx, raw)
				if err != nil {
					t.Errorf("round %d: %v", round, err)
				}
				heights[i] = r.Height
			})
		}
		gone, leave := context.WithCancel(ctx)
		leave()
		nodes[0].SubmitRaw(gone, raw) //nolint:errcheck // it has given up
		all.Wait()
		if heights[0] == 0 || heights[1] != heights[0] || heights[2] != heights[0] {
			t.Errorf("round %d: told of heights %v", round, heights)
		}
	}
}
