package transcript

import "slices"

// finding is what a replay of all dealings comes to.
type finding struct {
	faulty, liars []int
	root          digest // of Y_0, …, Y_n; zeros if no dealing is left
}

// examine decides the accusations, reads all points that still count and
// checks their sums; dealings are looked at alone only where a sum is wrong.
func (b *board) examine() *finding {
	bad, liars := map[int]bool{}, map[int]bool{}
	for _, a := range b.accusations {
		switch {
		case !slices.Contains(b.set, a.dealer):
		case b.holds(a):
			bad[a.dealer] = true
		default:
			liars[a.from] = true
		}
	}
	dealt := map[int][]element{}
	for _, d := range b.set {
		if bad[d] {
			continue
		}
		points, at := b.read(d)
		if bad[d] = at >= 0; !bad[d] {
			dealt[d] = points
		}
	}
	f := &finding{liars: sorted(liars)}
	for {
		left := slices.DeleteFunc(slices.Clone(b.set), func(d int) bool { return bad[d] })
		if len(left) == 0 {
			break
		}
		sums := b.sum(left, dealt)
		wrong := b.wrong(sums, left)
		if wrong == nil {
			_, f.root = encode(sums)
			break
		}
		culprits := slices.DeleteFunc(slices.Clone(left), func(d int) bool { return !wrong(dealt[d]) })
		if len(culprits) == 0 {
			culprits = left // nobody can tell them apart
		}
		for _, d := range culprits {
			bad[d] = true
		}
	}
	f.faulty = sorted(bad)
	return f
}

func sorted(set map[int]bool) (out []int) {
	for i, in := range set {
		if in {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return out
}

// read reads the points of a dealing at 0, …, n.
func (b *board) read(dealer int) ([]element, int) {
	return read(b.n+1, func(j int) []byte {
		if j == 0 {
			return b.header(dealer).constant
		}
		return b.leaf(dealer, j)[:curve.size()]
	})
}

func (b *board) sum(dealers []int, dealt map[int][]element) []element {
	sums := slices.Clone(dealt[dealers[0]])
	for _, d := range dealers[1:] {
		for j := range sums {
			sums[j] = sums[j].plus(dealt[d][j])
		}
	}
	return sums
}

// wrong returns the first test that sums fail, nil if they pass all.
func (b *board) wrong(sums []element, dealers []int) func([]element) bool {
	of := name(b.roster, dealers, b.header)
	for _, test := range []func([]element) bool{
		func(points []element) bool { return outside(points) >= 0 },
		func(points []element) bool { return !lowDegree(points, b.t, of[:]) },
		func(points []element) bool { return !fullDegree(points, b.t) },
	} {
		if test(sums) {
			return test
		}
	}
	return nil
}

// holds decides one accusation.
func (b *board) holds(a accusation) bool {
	if a.at > 0 {
		points, bad := read(1, func(int) []byte { return b.leaf(a.dealer, a.at)[:curve.size()] })
		return bad >= 0 || outside(points) >= 0
	}
	points, bad := b.read(a.dealer)
	of := name(b.roster, []int{a.dealer}, b.header)
	return bad >= 0 || outside(points) >= 0 || !lowDegree(points, b.t, of[:])
}
