package slashing

import (
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/action"
)

// This model takes a key from one committee to another. Holders sign in the
// old sharing until they are shown its end and in the new one from then on;
// who has given up the old share says where it stopped; liars sign everything
// in both and say that they signed nothing. Nothing slashable may come out.
// Until the commit the ledger lets slot 1 be signed, so that is the floor.

const maxHeirs = 9

// seat is one holder's part in the two committees, which does not change.
type seatRole struct {
	old, new bool
	liar     bool
	earlier  bool // it signed 1a in a sharing before the old one, with others
}

// heir is what becomes of an honest one.
type heir struct {
	record   uint8 // number of its Status
	old, new uint8 // messages that it signed, by sharing
	switched bool  // it gave up the old share and has the new one, if it gets one
	said     bool  // where it stopped
	mark     uint8
	lease    bool // it may sign slot 2
}

type succession struct {
	heirs     [maxHeirs]heir
	committed bool
}

const (
	allCareful   flaw = "none"
	oneTooFew    flaw = "one stop fewer is enough"
	saysFirst    flaw = "a holder says where it stopped and goes on until it is shown the commit"
	whoStaysGoes flaw = "who stays takes leases before it has given up its old share"
	onlyPresent  flaw = "nobody remembers the sharing before"
	notFloored   flaw = "no floor"
)

type successionModel struct {
	flaw       flaw
	seats      []seatRole
	tOld, tNew int
	messages   messages
	records    *records
	handover   action.Handover
	needed     int
	leases     bool // there is something to sign above the floor
}

func newSuccession(f flaw, seats []seatRole, tOld, tNew int, m messages) successionModel {
	s := successionModel{flaw: f, seats: seats, tOld: tOld, tNew: tNew, messages: m, records: newRecords()}
	s.handover.Floor = action.Ceiling{Slot: 1}
	for i, seat := range seats {
		if seat.old {
			s.handover.Held |= 1 << (i + 1)
		}
		if seat.earlier && f != onlyPresent {
			s.handover.Past = action.Ceiling{Slot: 1}
		}
	}
	s.leases = slices.ContainsFunc(m.facts, func(f Facts) bool { return f.(Block).Slot > 1 })
	if s.needed = s.handover.StopsNeeded(tOld); f == oneTooFew {
		s.needed--
	}
	return s
}

func (r *records) intern(s Status) uint8 {
	if _, known := r.number[s]; !known {
		r.number[s] = uint8(len(r.all))
		r.all = append(r.all, s)
	}
	return r.number[s]
}

func (m successionModel) start() (s succession) {
	for i, seat := range m.seats {
		if seat.earlier {
			s.heirs[i].record, _ = m.records.step(0, m.messages.facts[0])
		}
	}
	return s
}

// canonical sorts those that are alike.
func (m successionModel) canonical(s succession) succession {
	for from := 0; from < len(m.seats); {
		to := from + 1
		for to < len(m.seats) && m.seats[to] == m.seats[from] {
			to++
		}
		slices.SortFunc(s.heirs[from:to], func(a, b heir) int { return int(a.code()) - int(b.code()) })
		from = to
	}
	return s
}

func (h heir) code() (c uint64) {
	for _, b := range []bool{h.switched, h.said, h.lease} {
		if c <<= 1; b {
			c |= 1
		}
	}
	return c<<32 | uint64(h.record)<<24 | uint64(h.old)<<16 | uint64(h.new)<<8 | uint64(h.mark)
}

// stopped is what the ledger has of where old holders stopped.
func (m successionModel) stopped(s succession) (said []action.Ceiling) {
	for i, seat := range m.seats {
		if h := s.heirs[i]; seat.old && (seat.liar || h.said) {
			said = append(said, action.Ceiling{Slot: uint64(h.mark)})
		}
	}
	return said
}

func (m successionModel) next(s succession) iter.Seq2[string, succession] {
	return func(yield func(string, succession) bool) {
		if !s.committed {
			after := s
			after.committed = true
			if !yield("the reshare is committed", after) {
				return
			}
		}
		for i, seat := range m.seats {
			if seat.liar {
				continue
			}
			for act, h := range m.heir(s, seat, s.heirs[i]) {
				after := s
				after.heirs[i] = h
				if !yield(fmt.Sprintf("%d %s", i+1, act), m.canonical(after)) {
					return
				}
			}
		}
	}
}

func (m successionModel) heir(s succession, seat seatRole, h heir) iter.Seq2[string, heir] {
	return func(yield func(string, heir) bool) {
		status := m.records.all[h.record]
		if s.committed && !h.switched {
			after := h
			after.switched = true
			if seat.new && m.flaw != notFloored {
				after.record = m.records.intern(status.registered(History{Mode: HistoryOthers, Floor: Floor(m.handover.Floor)}))
			}
			if !yield("is shown the commit", after) {
				return
			}
		}
		if m.leases && s.committed && !h.lease && (h.switched || !seat.old || m.flaw == whoStaysGoes && seat.new) {
			after := h
			after.lease = true
			if !yield("extends its lease", after) {
				return
			}
		}
		if seat.old && !h.said && (h.switched || m.flaw == saysFirst) {
			after := h
			after.said = true
			after.mark = uint8(status.Block.Slot) // slot 0 is nobody's here
			if !yield("says where it stopped", after) {
				return
			}
		}
		if seat.new && h.switched {
			after := h
			f := m.handover.FloorAt(m.stopped(s), m.needed)
			after.record = m.records.intern(status.relaxed(Floor(f)))
			if !yield("takes what others said", after) {
				return
			}
		}
		for j, f := range m.messages.facts {
			record, allowed := m.records.step(h.record, f)
			if !allowed || f.(Block).Slot > 1 && !h.lease {
				continue
			}
			after := h
			after.record = record
			sharing := "old"
			switch {
			case seat.old && !h.switched:
				after.old |= 1 << j
			case seat.new && h.switched:
				after.new |= 1 << j
				sharing = "new"
			default:
				continue
			}
			if !yield(fmt.Sprintf("signs %s in the %s sharing", nameOf(f), sharing), after) {
				return
			}
		}
	}
}

// bad says that two messages, each of a quorum of one sharing, are slashable.
func (m successionModel) bad(s succession) bool {
	var signed uint16
	for j := range m.messages.facts {
		old, fresh := 0, 0
		for i, seat := range m.seats {
			if seat.earlier && j == 0 {
				signed |= 1
			}
			if h := s.heirs[i]; seat.old && (seat.liar || h.old>>j&1 == 1) {
				old++
			}
			if h := s.heirs[i]; seat.new && (seat.liar || h.new>>j&1 == 1) {
				fresh++
			}
		}
		if old >= m.tOld || fresh >= m.tNew {
			signed |= 1 << j
		}
	}
	return m.messages.slashable(signed)
}

func TestHandOverModel(t *testing.T) {
	now := newMessages(Block{1, root(0)}, Block{1, root(1)})
	later := newMessages(Block{2, root(0)}, Block{2, root(1)})
	many := func(n int, s seatRole) []seatRole { return slices.Repeat([]seatRole{s}, n) }
	// Four hand over to four others, one of each lies.
	apart := slices.Concat(many(1, seatRole{old: true, liar: true}), many(3, seatRole{old: true}),
		many(1, seatRole{new: true, liar: true}), many(3, seatRole{new: true}))
	// Four stay, of whom one lies, and three come.
	grown := slices.Concat(many(1, seatRole{old: true, new: true, liar: true}), many(3, seatRole{old: true, new: true}), many(3, seatRole{new: true}))
	// Four of six signed 1a; then the five without the last had the key, of
	// whom the first two know nothing of it and the third lies; then come four.
	thrice := slices.Concat(many(2, seatRole{old: true}), many(1, seatRole{old: true, liar: true, earlier: true}),
		many(2, seatRole{old: true, earlier: true}), many(4, seatRole{new: true}))
	for _, c := range []struct {
		what       string
		seats      []seatRole
		tOld, tNew int
		messages   messages
		flaws      []flaw // that show in it
	}{
		{"to others", apart, 3, 3, now, []flaw{oneTooFew, saysFirst, notFloored}},
		{"to more", grown, 3, 5, later, []flaw{whoStaysGoes}},
		{"once more", thrice, 4, 3, now, []flaw{onlyPresent}},
	} {
		for _, f := range append([]flaw{allCareful}, c.flaws...) {
			t.Run(c.what+"/"+string(f), func(t *testing.T) {
				m := newSuccession(f, c.seats, c.tOld, c.tNew, c.messages)
				states, way := search(m.start(), m.next, m.bad)
				judge(t, states, way, f != allCareful)
			})
		}
	}
}
