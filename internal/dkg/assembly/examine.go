package assembly

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/bls"
)

// This file checks what everybody can: the points of the dealings. Everything
// in it is a function of the board.

// Finding is what a replay of all dealings comes to.
type Finding struct {
	Faulty []int // dealers
	Liars  []int // participants that accused a dealer of what is not so
	Sums   []byte
	points []bls.G1Point // of Sums, in the subgroup
	root   digest
}

// Inspect looks for faults in the dealings of one cohort's dealers: what its
// members do before they report.
func (b *Board) Inspect(cohort int) (found []Accusation) {
	if len(b.cohorts) == 1 {
		return nil // the replay is the same
	}
	var sums, points []bls.G1Point
	var dealers []int
	for _, d := range b.set {
		if b.at(d).cohort != cohort {
			continue
		}
		points = b.room(points)
		if at := b.read(d, points); at >= 0 {
			found = append(found, Accusation{uint16(d), uint16(at)})
			continue
		}
		dealers = append(dealers, d)
		sums = add(sums, points)
	}
	if len(sums) == 0 || len(g1.Outside(sums)) == 0 && lowDegree(sums, int(b.params.T), b.statement(dealers...)...) {
		return found
	}
	for _, d := range dealers {
		b.read(d, points)
		if outside := g1.Outside(points); len(outside) > 0 {
			found = append(found, Accusation{uint16(d), uint16(outside[0])})
		} else if !lowDegree(points, int(b.params.T), b.statement(d)...) {
			found = append(found, Accusation{uint16(d), 0})
		}
	}
	slices.SortFunc(found, func(x, y Accusation) int { return int(x.Dealer) - int(y.Dealer) })
	return found
}

// holds decides an accusation by itself.
func (b *Board) holds(a Accusation) bool {
	d := int(a.Dealer)
	if a.At > 0 {
		p := make([]bls.G1Point, 1)
		enc := b.leaf(d, int(a.At))[:pointSize]
		return readPoints(p, func(int) []byte { return enc }) >= 0 || len(g1.Outside(p)) > 0
	}
	points := b.room(nil)
	if b.read(d, points) >= 0 || len(g1.Outside(points)) > 0 {
		return true // a worse fault than it was accused of
	}
	return !lowDegree(points, int(b.params.T), b.statement(d)...)
}

// Examine replays all dealings that count: every point is read, and their sums
// are checked; only where these are wrong, or somebody accused it, a dealing
// is looked at alone. A dealing that is wrong while the sum is right harms
// nobody: only sums are used.
func (b *Board) Examine() (*Finding, error) {
	if b.phase != PhaseReplay {
		return nil, fmt.Errorf("examine dealings in phase %s: %w", b.phase, ErrPhase)
	}
	f := &Finding{}
	bad := b.tried(f)
	var sums []bls.G1Point
	points := b.room(nil)
	var set []int
	for _, d := range b.set {
		if bad.Has(d) {
			continue
		}
		if b.read(d, points) >= 0 {
			bad.add(d)
			continue
		}
		set = append(set, d)
		sums = add(sums, points)
	}
	for len(set) > 0 {
		wrong := b.wrong(sums, set)
		if wrong == nil {
			break
		}
		var culprits []int
		for _, d := range set {
			b.read(d, points)
			if wrong(points) {
				culprits = append(culprits, d)
			}
		}
		if len(culprits) == 0 { // wrong only together: nobody could tell them apart
			culprits = set
		}
		for _, d := range culprits {
			bad.add(d)
			b.read(d, points)
			for j := range sums {
				g1.SubPoint(&sums[j], &points[j])
			}
		}
		set = slices.DeleteFunc(slices.Clone(set), bad.Has)
	}
	if len(set) > 0 {
		f.points = sums
		f.Sums, f.root = rootOf(sums)
	}
	f.Faulty = bad.List()
	return f, nil
}

// tried decides the accusations.
func (b *Board) tried(f *Finding) (bad Seats) {
	bad = newSeats(int(b.params.N))
	liars := newSeats(int(b.params.N))
	decided := map[Accusation]bool{}
	for _, c := range b.accusations {
		if !slices.Contains(b.set, int(c.Dealer)) {
			continue // excluded already
		}
		holds, known := decided[c.Accusation]
		if !known {
			holds = b.holds(c.Accusation)
			decided[c.Accusation] = holds
		}
		if holds {
			bad.add(int(c.Dealer))
		} else {
			liars.add(c.from)
		}
	}
	f.Liars = liars.List()
	return bad
}

// wrong returns the test that the sums over a set fail; nil if they pass.
func (b *Board) wrong(sums []bls.G1Point, set []int) func(points []bls.G1Point) bool {
	t := int(b.params.T)
	if len(g1.Outside(sums)) > 0 {
		return func(points []bls.G1Point) bool { return len(g1.Outside(points)) > 0 }
	}
	if statement := b.statement(set...); !lowDegree(sums, t, statement...) {
		return func(points []bls.G1Point) bool { return !lowDegree(points, t, statement...) }
	}
	if !fullDegree(sums, t) {
		return func(points []bls.G1Point) bool { return !fullDegree(points, t) }
	}
	return nil
}

// statement binds a test to all points of the dealings in it.
func (b *Board) statement(dealers ...int) [][]byte {
	id := transcript(b.roster, dealers, b.header)
	return [][]byte{id[:]}
}

// read decodes the points of a dealing, and returns the position of the first
// that is none; -1 when all are good.
func (b *Board) read(dealer int, points []bls.G1Point) int {
	return readPoints(points, func(j int) []byte {
		if j == 0 {
			return b.header(dealer).Constant[:]
		}
		return b.leaf(dealer, j)[:pointSize]
	})
}

func (b *Board) room(points []bls.G1Point) []bls.G1Point {
	if points == nil {
		points = make([]bls.G1Point, int(b.params.N)+1)
	}
	return points
}

func add(sums, points []bls.G1Point) []bls.G1Point {
	if sums == nil {
		return slices.Clone(points)
	}
	for j := range sums {
		g1.AddPoint(&sums[j], &points[j])
	}
	return sums
}

// supports tells whether a finding is what n-f voted for.
func (f *Finding) supports(v *Vote) bool {
	return slices.EqualFunc(f.Faulty, v.Faulty, func(a int, b uint16) bool { return a == int(b) }) &&
		slices.EqualFunc(f.Liars, v.Liars, func(a int, b uint16) bool { return a == int(b) }) &&
		bytes.Equal(f.root[:], v.Sums[:])
}
