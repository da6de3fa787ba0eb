package slashing

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
)

// The models below explore every interleaving of a small world, with the rule
// of the product (step) and not a copy of it. Each claim stands beside its
// negation: a world that lacks one precaution must be found unsafe, else the
// exploration shows nothing.

// search walks breadth first. It returns how many states it has seen, and the
// shortest way to a bad one, nil if there is none.
func search[S comparable](start S, next func(S) iter.Seq2[string, S], bad func(S) bool) (states int, way []string) {
	type link struct {
		from   int32
		action string
	}
	seen := map[S]struct{}{start: {}}
	queue, links := []S{start}, []link{{-1, ""}}
	for i := 0; i < len(queue); i++ {
		if bad(queue[i]) {
			for at := int32(i); links[at].from >= 0; at = links[at].from {
				way = append(way, links[at].action)
			}
			slices.Reverse(way)
			return len(queue), way
		}
		for action, s := range next(queue[i]) {
			if _, ok := seen[s]; !ok {
				seen[s] = struct{}{}
				queue = append(queue, s)
				links = append(links, link{int32(i), action})
			}
		}
	}
	return len(queue), nil
}

// judge says of a way whether it was expected.
func judge(t *testing.T, states int, way []string, unsafe bool) {
	t.Helper()
	switch {
	case unsafe && way == nil:
		t.Errorf("%d states, and none is bad: the model cannot fail", states)
	case !unsafe && way != nil:
		t.Errorf("after %d states:\n%s", states, strings.Join(way, "\n"))
	case unsafe:
		t.Logf("unsafe, found after %d states: %s", states, strings.Join(way, "; "))
	default:
		t.Logf("safe in all %d states", states)
	}
}

// messages are what holders may be asked to sign, as a set of bits; conflicts
// of message i are those with which the chain slashes it.
type messages struct {
	facts     []Facts
	conflicts []uint16
}

func newMessages(facts ...Facts) (m messages) {
	m.facts = facts
	for _, a := range facts {
		var set uint16
		for j, b := range facts {
			var o oracle
			o.sign(a)
			if o.sign(b) != nil {
				set |= 1 << j
			}
		}
		m.conflicts = append(m.conflicts, set)
	}
	return m
}

// nameOf tells messages of the models apart.
func nameOf(f Facts) string {
	switch f := f.(type) {
	case Block:
		return fmt.Sprintf("%d%c", f.Slot, 'a'+f.Root[31])
	case Attestation:
		return fmt.Sprintf("%d-%d%c", f.Source, f.Target, 'a'+f.Root[31])
	}
	return "nothing"
}

func (m messages) slashable(signed uint16) bool {
	for i, c := range m.conflicts {
		if signed>>i&1 == 1 && signed&c != 0 {
			return true
		}
	}
	return false
}

// records gives the histories that occur small numbers, so that a state of
// the world stays small. Number 0 is the empty record.
type records struct {
	all    []Status
	number map[Status]uint8
}

func newRecords() *records {
	empty := Status{Registered: true}
	return &records{[]Status{empty}, map[Status]uint8{empty: 0}}
}

func (r *records) step(record uint8, f Facts) (uint8, bool) {
	s, d := step(r.all[record], f, wide)
	if _, known := r.number[s]; !known {
		r.number[s] = uint8(len(r.all))
		r.all = append(r.all, s)
	}
	return r.number[s], d.Allowed
}

// A holder signs what its record allows: it decides in memory, and when the
// record is on disk, everything that waits for it is released.
type holder struct {
	down      bool
	mem, disk uint8
	waiting   uint16
	released  uint16
}

const maxHolders = 7

// cluster is a state of the world. Holders are alike, so that their order does
// not matter; what does not exist stays zero.
type cluster struct {
	holders   [maxHolders]holder
	rollbacks uint8 // still to come
}

type quorumModel struct {
	n, t, byzantine, rollbacks int
	releaseFirst               bool // release before the record is on disk
	messages                   messages
	records                    *records
}

func (q quorumModel) start() (c cluster) {
	c.rollbacks = uint8(q.rollbacks)
	for i := range q.byzantine {
		c.holders[i].down = true // for the protocol
		c.holders[i].released = 1<<len(q.messages.facts) - 1
	}
	return c.canonical(q)
}

func (c cluster) canonical(q quorumModel) cluster {
	slices.SortFunc(c.holders[q.byzantine:q.n], func(a, b holder) int { return int(a.code()) - int(b.code()) })
	return c
}

func (h holder) code() uint64 {
	code := uint64(h.mem)<<40 | uint64(h.disk)<<32 | uint64(h.waiting)<<16 | uint64(h.released)
	if h.down {
		code |= 1 << 48
	}
	return code
}

func (q quorumModel) next(c cluster) iter.Seq2[string, cluster] {
	return func(yield func(string, cluster) bool) {
		for i := q.byzantine; i < q.n; i++ {
			for action, h := range q.holder(c.holders[i], c.rollbacks > 0) {
				d := c
				d.holders[i] = h
				if action == "rolls back" {
					d.rollbacks--
				}
				if !yield("one "+action, d.canonical(q)) {
					return
				}
			}
		}
	}
}

func (q quorumModel) holder(h holder, rollback bool) iter.Seq2[string, holder] {
	return func(yield func(string, holder) bool) {
		if h.down {
			up := h
			up.down, up.mem = false, h.disk
			if !yield("restarts", up) {
				return
			}
			if rollback {
				// An older record allows whatever a newer one does, so the
				// empty one stands for every backup.
				old := h
				old.disk = 0
				yield("rolls back", old)
			}
			return
		}
		for i, f := range q.messages.facts {
			mem, allowed := q.records.step(h.mem, f)
			if !allowed {
				continue
			}
			asked := h
			asked.mem = mem
			asked.waiting |= 1 << i
			if q.releaseFirst {
				asked.released |= 1 << i
			}
			if !yield("signs "+nameOf(f), asked) {
				return
			}
		}
		synced := h
		synced.disk, synced.waiting, synced.released = h.mem, 0, h.released|h.waiting
		crashed := h
		crashed.down, crashed.mem, crashed.waiting = true, 0, 0
		_ = yield("syncs", synced) && yield("crashes", crashed)
	}
}

// bad says that two messages of t holders each are slashable.
func (q quorumModel) bad(c cluster) bool {
	var signed uint16
	for m := range q.messages.facts {
		partials := 0
		for _, h := range c.holders[:q.n] {
			partials += int(h.released >> m & 1)
		}
		if partials >= q.t {
			signed |= 1 << m
		}
	}
	return q.messages.slashable(signed)
}

// One signature per duty: 2t - n > byzantine + rolled back, records on disk
// before anything is released, and any number of crashes.
func TestQuorumModel(t *testing.T) {
	worlds := map[string]messages{
		"double proposal": newMessages(Block{1, root(0)}, Block{1, root(1)}),
		"double vote":     newMessages(Attestation{1, 2, root(0)}, Attestation{1, 2, root(1)}),
		"surround":        newMessages(Attestation{1, 2, root(0)}, Attestation{0, 3, root(0)}),
		"all votes":       newMessages(Attestation{1, 2, root(0)}, Attestation{1, 2, root(1)}, Attestation{0, 3, root(0)}, Attestation{2, 4, root(0)}),
	}
	for _, c := range []struct {
		n, t, byzantine, rollbacks int
		releaseFirst               bool
	}{
		{n: 4, t: 3, byzantine: 1},
		{n: 4, t: 3, rollbacks: 1},
		{n: 3, t: 2},
		{n: 3, t: 3, byzantine: 1, rollbacks: 1},
		{n: 7, t: 5, byzantine: 2},
		{n: 4, t: 2},
		{n: 3, t: 2, rollbacks: 1},
		{n: 4, t: 3, byzantine: 1, rollbacks: 1},
		{n: 4, t: 3, rollbacks: 2},
		{n: 7, t: 4, byzantine: 2},
		{n: 4, t: 3, byzantine: 1, releaseFirst: true},
	} {
		for what, m := range worlds {
			if len(m.facts) > 2 && c.n-c.byzantine > 3 {
				continue // too many states for little more insight
			}
			q := quorumModel{c.n, c.t, c.byzantine, c.rollbacks, c.releaseFirst, m, newRecords()}
			name := fmt.Sprintf("%s/n=%d,t=%d,byzantine=%d,rollbacks=%d,releaseFirst=%v", what, c.n, c.t, c.byzantine, c.rollbacks, c.releaseFirst)
			t.Run(name, func(t *testing.T) {
				states, way := search(q.start(), q.next, q.bad)
				judge(t, states, way, c.releaseFirst || 2*c.t-c.n <= c.byzantine+c.rollbacks)
			})
		}
	}
}
