package bench

import (
	"context"
	"time"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
)

// Cluster is a running cluster of real processes on this machine.
type Cluster struct {
	Network *eth.Network
	T       int
	Nodes   []Node
	Keys    KeyMaker
}

// Node is one operator's part of it.
type Node struct {
	Signer string // host:port of the Web3Signer API
	PIDs   []int  // of the node and its custody processes
}

// KeyMaker makes keys by the ceremony that every operator would run.
type KeyMaker interface {
	// Make opens a ceremony and returns its keys when they stand in the
	// inventory, and how long that took from the request on. When it returns,
	// every node can sign with them.
	Make(ctx context.Context, keys int) (made []bls.PublicKey, took time.Duration, err error)
	// Refresh gives keys new shares. When it returns, every node has confirmed
	// that it holds its own.
	Refresh(ctx context.Context, keys []bls.PublicKey) (took time.Duration, err error)
}

func (c *Cluster) pids() (all []int) {
	for _, n := range c.Nodes {
		all = append(all, n.PIDs...)
	}
	return all
}

// heaviest is the memory of the largest node with its custody, in MiB.
func (c *Cluster) heaviest() (float64, error) {
	most := 0.0
	for _, n := range c.Nodes {
		mib, err := rssOf(n.PIDs)
		if err != nil {
			return 0, err
		}
		most = max(most, mib)
	}
	return most, nil
}
