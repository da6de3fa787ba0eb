package assembly_test

import (
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
)

// attend plays a ceremony in which some leave when a phase begins, and returns
// the board at its end. Who leaves is asked where everybody has a cohort.
func attend(t *testing.T, from assembly.Phase, leave func(*assembly.Board) []int) (*assembly.Board, []int) {
	t.Helper()
	c := assemblytest.New(t, 16, 4, 2, nil)
	var roster assembly.Roster
	for _, p := range c.List {
		roster = append(roster, p.Key)
	}
	f, err := assembly.Follow(assembly.Head(c.Params, roster, 1))
	if err != nil {
		t.Fatal(err)
	}
	b, gone := f.Board(), []int(nil)
	for now := uint64(2); !b.Phase().Ended(); now++ {
		if gone == nil && b.Phase() == from {
			gone = leave(b)
		}
		said := false
		for seat := 1; seat <= 16; seat++ {
			if slices.Contains(gone, seat) {
				continue
			}
			for _, p := range c.Next(f, seat) {
				if err := f.Take(assembly.PostEntry(p.Seat, p.Message, p.Signature)); err == nil {
					c.Took(p)
					said = true
				}
			}
		}
		if !said {
			now = max(now, b.Deadline())
		}
		if err := f.Take(assembly.TickEntry(now, [32]byte{1})); err != nil {
			t.Fatal(err)
		}
	}
	return b, gone
}

// Among 16 in four cohorts, of whom 5 may fail and 8 deal, 6 at least: a whole
// cohort may leave, or all of its dealers with others up to 5, at any phase; where
// one more leaves, all are named.
func TestSilence(t *testing.T) {
	first := func(n int) func(*assembly.Board) []int {
		return func(b *assembly.Board) (seats []int) {
			for i := 1; i <= 16 && len(seats) < n; i++ {
				if b.Phase() == assembly.PhaseJoin || !b.Standing(i).Dealer {
					seats = append(seats, i)
				}
			}
			return seats
		}
	}
	cohort := func(of func(assembly.Standing) bool) func(*assembly.Board) []int {
		return func(b *assembly.Board) (seats []int) {
			for i := 1; i <= 16; i++ {
				if s := b.Standing(i); s.Cohort == 2 && of(s) {
					seats = append(seats, i)
				}
			}
			return seats
		}
	}
	all, dealers := func(assembly.Standing) bool { return true }, func(s assembly.Standing) bool { return s.Dealer }
	phases := []assembly.Phase{assembly.PhaseDeal, assembly.PhaseVerify, assembly.PhaseReplay, assembly.PhasePublish, assembly.PhaseConfirm}
	for _, from := range phases {
		for name, leave := range map[string]func(*assembly.Board) []int{
			"a cohort":                     cohort(all),
			"a cohort's dealers and three": func(b *assembly.Board) []int { return append(cohort(dealers)(b), first(3)(b)...) },
		} {
			b, gone := attend(t, from, leave)
			if b.Phase() != assembly.PhaseDone || len(b.Holders()) != 16-len(gone) {
				t.Errorf("%s leave in %s: %s, faults %v", name, from, b.Phase(), b.Faults())
			}
			named(t, b, gone, dkg.AbsentConfirm)
		}
	}
	if b, gone := attend(t, assembly.PhaseJoin, first(5)); b.Phase() != assembly.PhaseDone {
		t.Errorf("five do not join: %s, faults %v", b.Phase(), b.Faults())
	} else {
		named(t, b, gone, dkg.AbsentJoin)
	}
	for from, kind := range map[assembly.Phase]dkg.FaultKind{
		assembly.PhaseJoin: dkg.AbsentJoin, assembly.PhaseVerify: dkg.AbsentReplay, assembly.PhaseReplay: dkg.AbsentReplay, assembly.PhaseConfirm: dkg.AbsentConfirm,
	} {
		b, gone := attend(t, from, first(6))
		if b.Phase() != assembly.PhaseAborted {
			t.Errorf("six leave in %s: %s", from, b.Phase())
		}
		named(t, b, gone, kind)
	}
	b, gone := attend(t, assembly.PhaseDeal, func(b *assembly.Board) []int { return b.Dealers()[:3] })
	if b.Phase() != assembly.PhaseAborted {
		t.Errorf("three dealers leave: %s", b.Phase())
	}
	named(t, b, gone, dkg.AbsentDeal)
}

// named wants all who left to be named for one kind of absence, and nobody for
// anything who stayed.
func named(t *testing.T, b *assembly.Board, gone []int, kind dkg.FaultKind) {
	t.Helper()
	for _, f := range b.Faults() {
		if f.Kind.Attributable() || !slices.Contains(gone, f.Seat) {
			t.Errorf("seat %d is named: %s", f.Seat, f.Kind)
		}
	}
	for _, seat := range gone {
		if !slices.Contains(b.Faults(), assembly.Fault{Seat: seat, Kind: kind}) {
			t.Errorf("seat %d left, and is not %s", seat, kind)
		}
	}
}
