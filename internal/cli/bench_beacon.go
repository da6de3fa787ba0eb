package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bench"
	"github.com/quorate/quorate/internal/opsapi"
)

func (a *app) benchBeacon() *cobra.Command {
	var nodes int
	var heights uint64
	c := &cobra.Command{Use: "beacon", Short: "Measure the randomness beacon: an output over all nodes", Args: cobra.NoArgs,
		Long: `Start a cluster in a temporary directory, make a beacon, and ask each node over
HTTP for outputs that it has not made before. Beside it stands what the
cryptography of an output alone costs on the same cores.`,
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.bench(ctx, nodes, func(c *benchCluster) ([]bench.Figure, error) {
				f, err := c.rounds(ctx, heights)
				if err == nil {
					c.progress.say("a round: %.2f ms, the cryptography alone %.2f ms", f.Measured, f.Limit)
				}
				return []bench.Figure{f}, err
			})
		})}
	c.Flags().IntVar(&nodes, "nodes", 4, "how many nodes")
	c.Flags().Uint64Var(&heights, "heights", 50, "how many heights to ask every node for")
	return c
}

// rounds makes a beacon and measures it, once the ledger is long enough.
func (c *benchCluster) rounds(ctx context.Context, heights uint64) (bench.Figure, error) {
	opened, err := c.nodes[0].ops.Open(ctx, opsapi.OpenCeremony{Keys: 1, Use: action.UseBeacon.String(), Purpose: "bench"})
	if err != nil {
		return bench.Figure{}, fmt.Errorf("open ceremony: %w", err)
	}
	if _, err := c.done(ctx, opened.ID); err != nil {
		return bench.Figure{}, err
	}
	member, err := c.member()
	if err != nil {
		return bench.Figure{}, err
	}
	for _, n := range c.nodes {
		if err := poll(ctx, func() (bool, error) {
			st, err := n.ops.Status(ctx)
			if err != nil || st.Height > heights {
				return err == nil && len(st.Custody) > 0 && st.Custody[0].Keys > 0, err
			}
			_, err = member.Commit(ctx)
			return false, err
		}); err != nil {
			return bench.Figure{}, fmt.Errorf("wait for %s to come to height %d: %w", n.name, heights, err)
		}
	}
	return bench.Rounds(ctx, c.view, heights, func(ctx context.Context, node int, height uint64) error {
		_, err := c.nodes[node].ops.BeaconRound(ctx, height, false)
		return err
	})
}
