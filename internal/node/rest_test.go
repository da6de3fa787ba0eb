package node

import (
	"context"
	"fmt"
	"slices"
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
			// The custody processes have registered, all nodes are at one height,
			// and for seconds nothing moves.
			ctx, cancel := context.WithTimeout(t.Context(), patience)
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
				return time.Since(since) > 3*time.Second && slices.Max(now[:size]) == slices.Min(now[:size])
			})
		})
	}
}
