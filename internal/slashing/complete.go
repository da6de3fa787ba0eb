package slashing

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// Strategy is how much of a key's history a record keeps, in the terms of
// EIP-3076. It is chosen by Init and declared in the record. Values are stable.
type Strategy uint8

const (
	// Minimal keeps the highest slot, source and target.
	Minimal Strategy = 0
	// Complete keeps the newest messages one by one, so that a message may
	// be older than the last one. What is pruned counts as in Minimal.
	Complete Strategy = 1
)

func (s Strategy) String() string {
	switch s {
	case Minimal:
		return "minimal"
	case Complete:
		return "complete"
	}
	return fmt.Sprintf("strategy %d", uint8(s))
}

// Keep is how many blocks and how many votes of a key the complete strategy
// keeps. A validator votes once per epoch, so that these are its last seven
// hours on mainnet; a vote that is two epochs old enters no block any more.
const Keep = 64

// Messages is the history of a key in the complete strategy: the newest
// messages, and marks that no pruned message lies above. Both lists are in
// order and without repetition. A root counts only where Ours is set.
type Messages struct {
	Pruned Watermarks
	Blocks []BlockMark
	Votes  []VoteMark
}

// check decides by the history alone. A message that is in it already passes
// the others, but not the marks: an import may claim a message that was never
// signed, while its rival has been pruned.
func (m *Messages) check(f Facts) Decision {
	switch f := f.(type) {
	case Block:
		for _, b := range m.Blocks {
			if b.Slot == f.Slot && !(b.Ours && b.Root == f.Root) {
				return refuse(RuleOtherBlock)
			}
		}
	case Attestation:
		for _, v := range m.Votes {
			switch {
			case v.Ours && f == (Attestation{v.Source, v.Target, v.Root}):
			case v.Target == f.Target:
				return refuse(RuleOtherVote)
			case f.Source < v.Source && v.Target < f.Target:
				return refuse(RuleSurrounding)
			case v.Source < f.Source && f.Target < v.Target:
				return refuse(RuleSurrounded)
			}
		}
	}
	return m.Pruned.check(f)
}

// advance adds a duty that was allowed.
func (m *Messages) advance(f Facts) *Messages {
	switch f := f.(type) {
	case Block:
		return m.add(Messages{Blocks: []BlockMark{{Known: true, Ours: true, Slot: f.Slot, Root: f.Root}}})
	case Attestation:
		return m.add(Messages{Votes: []VoteMark{{Known: true, Ours: true, Source: f.Source, Target: f.Target, Root: f.Root}}})
	}
	return m
}

// add is the union of two histories, pruned. It changes neither.
//
// Among votes none of which can be slashed with another, a later target has no
// earlier source, so that the marks of the pruned bar nothing that is kept.
func (m *Messages) add(o Messages) *Messages {
	out := Messages{
		Pruned: m.Pruned.raise(o.Pruned),
		Blocks: unite(m.Blocks, o.Blocks, compareBlocks),
		Votes:  unite(m.Votes, o.Votes, compareVotes),
	}
	for len(out.Blocks) > Keep {
		out.Pruned = out.Pruned.raise(Watermarks{Block: out.Blocks[0]})
		out.Blocks = out.Blocks[1:]
	}
	for len(out.Votes) > Keep {
		out.Pruned = out.Pruned.raise(Watermarks{Vote: out.Votes[0]})
		out.Votes = out.Votes[1:]
	}
	return &out
}

// unite returns the elements of both lists in order, each once, or nil.
func unite[T comparable](a, b []T, compare func(T, T) int) []T {
	out := slices.Concat(a, b)
	slices.SortFunc(out, compare)
	return slices.Compact(out)
}

func compareBlocks(a, b BlockMark) int {
	return cmp.Or(cmp.Compare(a.Slot, b.Slot), compareBools(a.Ours, b.Ours), bytes.Compare(a.Root[:], b.Root[:]))
}

func compareVotes(a, b VoteMark) int {
	return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Source, b.Source), compareBools(a.Ours, b.Ours), bytes.Compare(a.Root[:], b.Root[:]))
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// foreign is the messages of an interchange as an importer has to take them:
// whoever wrote it may have pruned, hence EIP-3076 lets nothing pass that lies
// below all of them.
func (h KeyHistory) foreign() Messages {
	out := Messages{Blocks: h.Blocks, Votes: h.Votes, Pruned: h.Watermarks}
	if len(h.Blocks) > 0 {
		out.Pruned.Block = BlockMark{}
		if lowest := h.Blocks[0].Slot; lowest > 0 {
			out.Pruned.Block = BlockMark{Known: true, Slot: lowest - 1}
		}
	}
	if len(h.Votes) > 0 {
		source := h.Votes[0].Source
		for _, v := range h.Votes {
			source = min(source, v.Source)
		}
		out.Pruned.Vote = VoteMark{}
		// At target 0 there is nothing below, and its own source is 0.
		if lowest := h.Votes[0].Target; lowest > 0 {
			out.Pruned.Vote = VoteMark{Known: true, Source: source, Target: lowest - 1}
		}
	}
	return *(&Messages{}).add(out)
}
