package signer

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/rpc"
)

// inEpoch has a node's custody sign in one epoch.
func inEpoch(epoch uint32) func(*node) {
	return func(n *node) {
		n.epoch = epoch
		n.refuse = func(r custody.SignRequest) error {
			if r.Epoch != epoch {
				return rpc.Errorf(rpc.CodeEpoch, "epoch %d, not %d", epoch, r.Epoch)
			}
			return nil
		}
	}
}

// While nodes and holders go from one epoch to the next, in whatever order, a
// duty waits and is signed.
func TestEpochsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4, nil)
		key := c.deal()
		record, _ := c.nodes[0].Record(key)
		next := *record
		next.Epoch = 1
		set := func(n *node, record action.KeyRecord) { n.SetKey(&record) }
		for _, nd := range c.nodes {
			nd.set(inEpoch(0))
		}
		var duties sync.WaitGroup
		sign := func(epoch uint64) {
			for _, nd := range c.nodes {
				duties.Go(func() { c.signed(nd, key, c.randao(epoch)) })
			}
		}
		// The ledger moves first at node0 and last at node3; holders after it.
		for i, nd := range c.nodes {
			sign(uint64(2 * i))
			time.Sleep(100 * time.Millisecond) // of the bubble's time: duties are under way
			set(nd, next)
			sign(uint64(2*i + 1))
			time.Sleep(100 * time.Millisecond) // and again
			nd.set(inEpoch(1))
		}
		sign(100)
		duties.Wait()

		// Holders that never follow are waited for as long as a duty lasts.
		for _, nd := range c.nodes[:2] {
			nd.set(inEpoch(7))
		}
		began := time.Now()
		c.refused(c.nodes[3], key, c.randao(200), rpc.CodeUnavailable)
		if took := time.Since(began); took < Timeout || took > Timeout+time.Second {
			t.Errorf("gave up after %s", took)
		}
	})
}

// Who signed in another epoch than it was asked for gives no partial.
func TestPartialOfAnotherEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4, nil)
		key := c.deal()
		c.nodes[1].set(func(n *node) { n.epoch = 3 })
		c.nodes[2].set(func(n *node) { n.epoch = 3 })
		c.refused(c.nodes[0], key, c.randao(1), rpc.CodeUnavailable)
	})
}
