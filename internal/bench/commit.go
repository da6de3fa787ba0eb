package bench

import (
	"context"
	"fmt"
	"time"
)

// Committer is a ledger of real processes on this machine.
type Committer interface {
	// Commit has the ledger take one small transaction, and returns how long
	// that took from its submission until a block of the very node that it was
	// submitted to carried it.
	Commit(ctx context.Context) (time.Duration, error)
}

// CommitConfig says how commits are measured.
type CommitConfig struct {
	Nodes, T     int // of the cluster; the engine has as many
	Transactions int
	Pause        time.Duration // before each, so that what follows a block is over
}

// warmUp transactions are not counted: connections are made, averages learnt.
const warmUp = 5

// Commit measures how long a transaction takes on a cluster that has nothing
// else to do, in turn with one on the engine alone. Both run all the while.
func Commit(ctx context.Context, cluster, engine Committer, cfg CommitConfig) (Figure, error) {
	ledgers := [...]struct {
		name string
		Committer
	}{{"the cluster", cluster}, {"the engine alone", engine}}
	var took [len(ledgers)][]float64
	for i := range warmUp + cfg.Transactions {
		for k, l := range ledgers {
			select {
			case <-time.After(cfg.Pause):
			case <-ctx.Done():
				return Figure{}, ctx.Err()
			}
			d, err := l.Commit(ctx)
			if err != nil {
				return Figure{}, fmt.Errorf("measure commits to %s: %w", l.name, err)
			}
			if i >= warmUp {
				took[k] = append(took[k], milliseconds(d))
			}
		}
	}
	f := Figure{
		Name: "commit_latency", N: cfg.Nodes, T: cfg.T, Concurrency: 1, Unit: "ms",
		LimitIs: "p50 of the same engine and configuration with an empty application, asked in process and not over HTTP",
		P50:     median(took[0]), P99: percentile(took[0], 0.99),
	}
	return f.duration(f.P50, median(took[1])), nil
}
