package slashing

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/wire"
)

// Anchor is a record as of a moment: how far it has come, and a digest of
// every key's status. A record that was rolled back has another.
type Anchor struct {
	Seq        uint64
	Chain      Root
	Watermarks Root
}

// Anchor returns the state of the log once everything begun so far is durable.
func (r *Record) Anchor() (Anchor, error) {
	type key struct {
		Key
		Status
	}
	r.mu.Lock()
	a := Anchor{Seq: r.state.seq, Chain: r.state.chain}
	keys := make([]key, 0, len(r.state.keys))
	for k, ks := range r.state.keys {
		keys = append(keys, key{k, ks.Status})
	}
	last, begun := r.last, r.begun
	r.mu.Unlock()
	slices.SortFunc(keys, func(a, b key) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	e := wire.NewEncoder(make([]byte, 0, 256*len(keys)))
	for _, k := range keys {
		e.Fixed(k.Key[:])
		encodeStatus(e, k.Status)
	}
	a.Watermarks = wire.Hash(wire.TagWatermarks, e.Out())
	if begun {
		if err := last.Wait(); err != nil {
			return Anchor{}, fmt.Errorf("anchor slashing record: %w", err)
		}
	}
	return a, nil
}
