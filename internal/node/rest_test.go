package node

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// An idle cluster makes no blocks but the heartbeat's: every block without
// effects leaves the AppHash, so that nothing calls for the next.
func TestIdleClusterRests(t *testing.T) {
	for _, size := range []int{2, 4} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			nodes := startCluster(t, size)
			heights := func() (all [4]uint64) {
				for i, n := range nodes {
					all[i], _ = n.Height()
				}
				return all
			}
			// At rest: the custody processes have registered, and nothing has
			// moved for a while.
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			last, since := heights(), time.Now()
			eventually(t, ctx, "the nodes come to rest", func() bool {
				now := heights()
				for _, n := range nodes {
					if status, err := n.custody.Status(t.Context()); err != nil || !status.Registered {
						now[0] = 0 // not yet
					}
				}
				if now != last || now[0] == 0 {
					last, since = now, time.Now()
				}
				return time.Since(since) > 500*time.Millisecond
			})
			time.Sleep(2 * time.Second) // that nothing happens is the test
			if now := heights(); now != last {
				t.Errorf("at rest the heights went from %v to %v", last, now)
			}
			for i, h := range last[:size] {
				if h != last[0] {
					t.Errorf("node %d rests at %d, node 0 at %d", i, h, last[0])
				}
			}
		})
	}
}
