package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/bls"
)

// Rounds measures how long the cluster's beacon takes for an output that
// nobody has asked for before, each height at every node in turn. Ask asks one
// node, by number, for the output of a height.
func Rounds(ctx context.Context, c *Cluster, heights uint64, ask func(ctx context.Context, node int, height uint64) error) (Figure, error) {
	key, shares, err := dealKey(c.T)
	if err != nil {
		return Figure{}, err
	}
	for i := range c.Nodes { // each shows its custody the present first
		if err := ask(ctx, i, heights+1); err != nil {
			return Figure{}, fmt.Errorf("measure the beacon: %w", err)
		}
	}
	var took, limit []float64
	var cluster, own time.Duration
	for height := uint64(1); height <= heights; height++ {
		before, err := cpuOf(c.pids())
		if err != nil {
			return Figure{}, err
		}
		for i := range c.Nodes {
			began := time.Now()
			if err := ask(ctx, i, height); err != nil {
				return Figure{}, fmt.Errorf("measure the beacon at height %d: %w", height, err)
			}
			took = append(took, milliseconds(time.Since(began)))
		}
		after, err := cpuOf(c.pids())
		if err != nil {
			return Figure{}, err
		}
		cluster += after - before
		began, spent := time.Now(), ownCPU()
		if err := roundAlone(key, shares, bls.NewRound([32]byte{}, height)); err != nil {
			return Figure{}, err
		}
		limit = append(limit, milliseconds(time.Since(began)))
		own += ownCPU() - spent
	}
	f := Figure{
		Name: "beacon_round", N: len(c.Nodes), T: c.T, Concurrency: 1, Unit: "ms", LimitIs: "p50: t partials in parallel on the cores + combine + verify",
		P50: median(took), P99: percentile(took, 0.99), CPU: milliseconds(cluster) / float64(len(took)), LimitCPU: milliseconds(own) / float64(len(limit)),
	}
	f.CPURatio = over(f.LimitCPU, f.CPU)
	return f.duration(f.P50, median(limit)), nil
}

// roundAlone makes one output with nothing in between.
func roundAlone(key bls.PublicKey, shares []bls.Share, round bls.Round) error {
	partials := make([]bls.Partial, len(shares))
	var all sync.WaitGroup
	for i, share := range shares {
		all.Go(func() { partials[i] = share.SignRound(round) })
	}
	all.Wait()
	sig, err := bls.Combine(len(partials), partials)
	if err == nil && !bls.Verify(key, round, sig) {
		err = errors.New("the primitives' round does not verify")
	}
	return err
}
