package slashing

import (
	"cmp"
	"fmt"
	"slices"
)

// Usage is what a custody process vouches for on the ledger: that the log of
// its uses has come to Seq, with Chain over everything before. As every use
// is in the log before its signature is released, two totals account for all
// that happened between them.
type Usage struct {
	// Starts counts the opens of this record. With Seq it names a moment:
	// a disk that was rolled back repeats a pair with another Chain.
	Starts uint64
	Seq    uint64
	Chain  Root
	// Totals are those that changed after the sequence asked for, in order
	// of key and kind. They count from the record's beginning.
	Totals []UsageTotal
}

// UsageTotal is how often a key was used for a kind of duty.
type UsageTotal struct {
	Key   Key
	Kind  string
	Total uint64
}

// Usage returns the state of the log once everything begun so far is durable,
// with the totals that changed after since.
func (r *Record) Usage(since uint64) (Usage, error) {
	r.mu.Lock()
	u := Usage{Starts: r.state.starts, Seq: r.state.seq, Chain: r.state.chain}
	for k, ks := range r.state.keys {
		for _, use := range ks.uses {
			if use.last > since {
				u.Totals = append(u.Totals, UsageTotal{k, use.kind, use.total})
			}
		}
	}
	last, begun := r.last, r.begun
	r.mu.Unlock()
	slices.SortFunc(u.Totals, func(a, b UsageTotal) int {
		return cmp.Or(slices.Compare(a.Key[:], b.Key[:]), cmp.Compare(a.Kind, b.Kind))
	})
	if begun {
		if err := last.Wait(); err != nil {
			return Usage{}, fmt.Errorf("read usage: %w", err)
		}
	}
	return u, nil
}
