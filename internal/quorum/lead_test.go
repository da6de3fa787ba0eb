package quorum

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A leader that lets its turn pass costs one duty that turn, and not every duty
// that it leads: until it answers again, the next in rank leads.
func TestSilentLeader(t *testing.T) {
	key, shares := deal(t, 4, 3)
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, key, shares, honest, honest, honest, silent)
		took := func(i uint64) time.Duration {
			began := time.Now()
			if _, _, err := c.Sign(context.Background(), c.key, nil, root(i), 4, 1, 2); err != nil {
				t.Fatalf("duty %d: %v", i, err)
			}
			return time.Since(began)
		}
		if first := took(1); first < leadTurn {
			t.Errorf("the leader had %s for its turn", first)
		}
		if second := took(2); second >= leadTurn {
			t.Errorf("the next duty waited %s for it again", second)
		}
		c.set(honest, honest, honest, honest)
		time.Sleep(suspendMax) // of the bubble's time
		asked := c.holders[3].asked.Load()
		if third := took(3); third >= leadTurn || c.holders[3].asked.Load() == asked {
			t.Errorf("it leads again: %s, asked %d times", third, c.holders[3].asked.Load()-asked)
		}
		c.Close()
	})
}
