package dkg_test

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
)

// made runs a keygen to its end.
func made(t testing.TB, p dkg.Params) *dkgtest.Ceremony {
	t.Helper()
	c := open(t, p)
	if err := c.Run(); err != nil || c.Board.Phase() != dkg.PhaseDone {
		t.Fatalf("ended %s: %v", c.Board.Phase(), err)
	}
	return c
}

func renew(t testing.TB, c *dkgtest.Ceremony, edit func(*dkg.Params)) *dkgtest.Ceremony {
	t.Helper()
	next, err := dkgtest.Renew(c, edit)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func seats(is ...int) (s dkg.Seats) {
	for _, i := range is {
		s = s.With(i)
	}
	return s
}

// threshold is the default one of a number of holders.
func threshold(n int) uint8 { return uint8((n+(n-1)/3)/2 + 1) }

// reshare makes a refresh a reshare to other holders.
func reshare(without dkg.Seats) func(*dkg.Params) {
	return func(p *dkg.Params) {
		p.Mode, p.Without = dkg.ModeReshare, without
		p.T = threshold(p.Members().Len())
	}
}

// sameKeys wants the results of two ceremonies to be of one set of keys, under
// other sharings.
func sameKeys(t *testing.T, a, b *dkgtest.Ceremony) {
	t.Helper()
	was, err := dkg.ReadResult(a.Board, a.Source)
	is, err2 := dkg.ReadResult(b.Board, b.Source)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	for k := range was.Keys() {
		if !bytes.Equal(was.PublicKey(k), is.PublicKey(k)) {
			t.Fatalf("key %d changed", k)
		}
		if bytes.Equal(was.Commitment(k), is.Commitment(k)) {
			t.Fatalf("key %d is shared as before", k)
		}
	}
}

// epochsApart: shares of two epochs do not add up. t-1 of each, from whatever
// seats, make no key.
func epochsApart(t *testing.T, a, b *dkgtest.Ceremony) {
	t.Helper()
	p := a.Board.Params()
	result, err := dkg.ReadResult(a.Board, a.Source)
	if err != nil {
		t.Fatal(err)
	}
	const key = 0
	share := func(c *dkgtest.Ceremony, seat int) []byte {
		all, err := c.Shares(seat)
		if err != nil {
			t.Fatal(err)
		}
		return all[key]
	}
	old, next := map[int][]byte{}, map[int][]byte{}
	for i := range a.Board.Holders().All() {
		old[i] = share(a, i)
	}
	for i := range b.Board.Holders().All() {
		next[i] = share(b, i)
	}
	size := max(int(p.T), int(b.Board.Params().T))
	for pick := range uint32(1) << (p.N + 1) { // the seats whose old share is taken; others' are new
		if bits.OnesCount32(pick) != int(p.T)-1 || pick&1 != 0 {
			continue
		}
		mixed := map[int][]byte{}
		for i := range dkg.Seats(pick).All() {
			mixed[i] = old[i]
		}
		for i := 1; i <= int(p.N) && len(mixed) < size; i++ {
			if _, taken := mixed[i]; !taken && next[i] != nil {
				mixed[i] = next[i]
			}
		}
		if slices.ContainsFunc(slices.Collect(values(mixed)), func(b []byte) bool { return b == nil }) {
			continue
		}
		if bytes.Equal(dkgtest.PublicKey(p.Suite, dkgtest.Reconstruct(p.Suite, mixed)), result.PublicKey(key)) {
			t.Fatalf("%d old shares, of %s, and %d new ones make the key", p.T-1, dkg.Seats(pick), size-int(p.T)+1)
		}
	}
}

func values(m map[int][]byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func TestRefresh(t *testing.T) {
	each(t, []int{4, 7}, func(t *testing.T, p dkg.Params) {
		a := made(t, p)
		b := renew(t, a, nil)
		finish(t, b)
		if len(b.Board.Faults()) != 0 || !b.Board.DepositSafe() {
			t.Fatalf("faults %v, holders %s", b.Board.Faults(), b.Board.Holders())
		}
		sameKeys(t, a, b)
		epochsApart(t, a, b)
		c := renew(t, b, nil)
		finish(t, c)
		sameKeys(t, a, c)
		epochsApart(t, b, c)
	})
}

// TestReshare moves keys between committees of every relation to each other.
func TestReshare(t *testing.T) {
	for name, p := range map[string]dkg.Params{
		"g1": dkgtest.Params(dkg.SuiteG1, true, 10, 1), "ristretto": dkgtest.Params(dkg.SuiteRistretto, false, 10, 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p.Without = seats(6, 7, 8, 9, 10) // 5 of 10
			p.T = threshold(5)
			last := made(t, p)
			for _, without := range []dkg.Seats{
				seats(5, 6, 7, 8, 9, 10), // a subset
				seats(8, 9, 10),          // a superset
				seats(1, 2, 3, 4, 5, 6),  // hardly anybody in common
				seats(7, 8, 9, 10),       // nobody
				0,                        // all
				seats(1, 3, 5, 7, 9, 10), // a subset again, not in a row
				seats(1, 3, 5, 7, 9, 10), // the same once more
			} {
				next := renew(t, last, reshare(without))
				finish(t, next)
				if len(next.Board.Faults()) != 0 || next.Board.Holders() != dkg.AllSeats(10).Without(without) {
					t.Fatalf("without %s: faults %v, holders %s", without, next.Board.Faults(), next.Board.Holders())
				}
				sameKeys(t, last, next)
				last = next
			}
		})
	}
}

// TestRepair: a holder that lost its share gets one when the others reshare to
// it as well. What was left of the old sharing is void.
func TestRepair(t *testing.T) {
	each(t, []int{4, 7}, func(t *testing.T, p dkg.Params) {
		const lost = 3
		a := made(t, p)
		b := renew(t, a, func(p *dkg.Params) {
			reshare(0)(p)
			p.Old.Dealers = p.Old.Dealers.Without(seats(lost))
		})
		b.Forget(lost)
		finish(t, b)
		if len(b.Board.Faults()) != 0 || !b.Board.Holders().Has(lost) {
			t.Fatalf("faults %v, holders %s", b.Board.Faults(), b.Board.Holders())
		}
		sameKeys(t, a, b)
		epochsApart(t, a, b)

		// Nobody said that it was lost: it is absent from the deal, and
		// receives all the same.
		b = renew(t, a, reshare(0))
		b.Forget(lost)
		finish(t, b)
		if !b.Has(lost, dkg.AbsentDeal) || b.Blamed() != 0 || !b.Board.Holders().Has(lost) {
			t.Fatalf("faults %v, holders %s", b.Board.Faults(), b.Board.Holders())
		}
		// A refresh adds to what is held, which repairs nothing.
		b = renew(t, a, nil)
		b.Forget(lost)
		finish(t, b)
		if b.Blamed() != 0 || b.Board.Holders().Has(lost) || b.Board.DepositSafe() {
			t.Fatalf("faults %v, holders %s", b.Board.Faults(), b.Board.Holders())
		}
	})
}

// TestStaleShares: who deals from the shares of another epoch notices before
// the others do, and is absent rather than blamed.
func TestStaleShares(t *testing.T) {
	a := made(t, dkgtest.Params(dkg.SuiteG1, false, 4, 2))
	b := renew(t, a, nil)
	finish(t, b)
	c := renew(t, b, reshare(0))
	c.Restore(2, a)
	finish(t, c)
	if !c.Has(2, dkg.AbsentDeal) || c.Blamed() != 0 || c.Board.Holders() != dkg.AllSeats(4) {
		t.Fatalf("faults %v, holders %s", c.Board.Faults(), c.Board.Holders())
	}
	sameKeys(t, a, c)
	d := renew(t, b, nil)
	d.Restore(2, a)
	finish(t, d)
	if d.Blamed() != 0 || d.Board.Holders() != dkg.AllSeats(4).Without(seats(2)) {
		t.Fatalf("faults %v, holders %s", d.Board.Faults(), d.Board.Holders())
	}
}

// TestRenewFaults is TestFaults in the modes that renew.
func TestRenewFaults(t *testing.T) {
	modes := map[string]func(*dkg.Params){"refresh": nil, "reshare": reshare(0)}
	all := func(t *testing.T, p dkg.Params) {
		a := made(t, p)
		for mode, edit := range modes {
			for _, s := range scenarios {
				c := renew(t, a, edit)
				if !s.applies(c.Board.Params()) {
					continue
				}
				t.Run(mode+"/"+s.name, func(t *testing.T) {
					s.check(t, c)
					sameKeys(t, a, c)
				})
			}
		}
	}
	t.Run("n=4", func(t *testing.T) { all(t, dkgtest.Params(dkg.SuiteG1, true, 4, 2)) })
	if testing.Short() {
		return
	}
	t.Run("n=7", func(t *testing.T) { all(t, dkgtest.Params(dkg.SuiteRistretto, true, 7, 2)) })
	t.Run("n=10", func(t *testing.T) { all(t, dkgtest.Params(dkg.SuiteRistretto, false, 10, 2)) })
}

// TestRandomFaults lets up to f seats cheat in random ways: they are the only
// ones that are blamed, and the keys go on.
func TestRandomFaults(t *testing.T) {
	bases := map[int]*dkgtest.Ceremony{}
	for _, n := range []int{4, 7, 10} {
		bases[n] = made(t, dkgtest.Params(dkg.SuiteRistretto, n == 4, n, 2))
	}
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.SampledFrom([]int{4, 7, 10}).Draw(r, "n")
		last := bases[n]
		var edit func(*dkg.Params)
		if rapid.Bool().Draw(r, "reshare") {
			edit = reshare(0)
		}
		c, err := dkgtest.Renew(last, edit)
		if err != nil {
			r.Fatal(err)
		}
		p := c.Board.Params()
		fitting := slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return !s.applies(p) || !s.fault.Attributable() })
		var cheats dkg.Seats
		for range rapid.IntRange(0, (n-1)/3).Draw(r, "cheats") {
			s := rapid.SampledFrom(fitting).Draw(r, "kind")
			// Scenarios play against seats 1 and 3, or more than f: whoever is
			// wronged must be honest, or nobody complains.
			seat := rapid.SampledFrom([]int{2, 4, 5, 6, 7, 8, 9, 10}).Filter(func(i int) bool { return i <= n }).Draw(r, "seat")
			c.Acts[seat], cheats = s.act(p), cheats.With(seat)
		}
		if err := c.Run(); err != nil || c.Board.Phase() != dkg.PhaseDone {
			r.Fatalf("ended %s: %v, faults %v", c.Board.Phase(), err, c.Board.Faults())
		}
		if c.Blamed().Without(cheats) != 0 {
			r.Fatalf("blamed %s, cheats %s: %v", c.Blamed(), cheats, c.Board.Faults())
		}
		if used := p.Old.Dealers.First(int(p.Old.T)); p.Mode == dkg.ModeRefresh && c.Blamed() != cheats || (cheats&used).Without(c.Blamed()) != 0 {
			r.Fatalf("blamed %s of %s: %v", c.Blamed(), cheats, c.Board.Faults())
		}
		good := c.Board.Holders()
		if good.Len() < n-(n-1)/3 {
			r.Fatalf("holders %s", good)
		}
		was, err := dkg.ReadResult(last.Board, last.Source)
		is, err2 := dkg.ReadResult(c.Board, c.Source)
		if err != nil || err2 != nil || !bytes.Equal(was.PublicKey(1), is.PublicKey(1)) {
			r.Fatalf("the key changed: %v, %v", err, err2)
		}
		some := map[int][]byte{}
		for i := range good.First(int(p.T)).All() {
			shares, err := c.Shares(i)
			if err != nil {
				r.Fatal(err)
			}
			some[i] = shares[1]
		}
		if !bytes.Equal(dkgtest.PublicKey(p.Suite, dkgtest.Reconstruct(p.Suite, some)), is.PublicKey(1)) {
			r.Fatal("t shares do not make the key")
		}
	})
}

// TestRushingDealer waits for the others' points and chooses its own so that
// the sum has too low a degree, which it can for no other purpose than to have
// honest dealers thrown out with it.
func TestRushingDealer(t *testing.T) {
	rush := func(p dkg.Params) dkgtest.Behaviour {
		return func(c *dkgtest.Ceremony, seat int, honest []dkg.Message) []dkg.Message {
			if c.Board.Phase() != dkg.PhaseDeal || len(honest) == 0 {
				return honest
			}
			q, _ := c.Participant(seat)
			return dkg.Forge(q, c.Board, c.Source, func(ed *dkg.Editor) { ed.Cancel(c.Board, c.Source) })
		}
	}
	each(t, []int{4, 7}, func(t *testing.T, p dkg.Params) {
		last := int(p.N) // others have dealt by its turn
		c := open(t, p)
		c.Acts[last] = rush(p)
		finish(t, c)
		if !c.Has(last, dkg.BadShare) || c.Blamed() != seats(last) {
			t.Fatalf("faults %v", c.Board.Faults())
		}
	})
}

func TestRenewParams(t *testing.T) {
	a := made(t, dkgtest.Params(dkg.SuiteRistretto, false, 7, 1))
	for name, edit := range map[string]func(*dkg.Params){
		"refresh by another threshold": func(p *dkg.Params) { p.T-- },
		"refresh without a holder":     func(p *dkg.Params) { p.Without = seats(7) },
		"refresh with fewer dealers":   func(p *dkg.Params) { p.Old.Dealers = seats(1, 2, 3, 4, 5) },
		"the same epoch":               func(p *dkg.Params) { p.Epoch-- },
		"an epoch left out":            func(p *dkg.Params) { p.Epoch++ },
		"too few dealers":              func(p *dkg.Params) { reshare(0)(p); p.Old.Dealers = seats(1, 2, 3, 4) },
		"dealers of no roster":         func(p *dkg.Params) { reshare(0)(p); p.Old.Dealers = p.Old.Dealers.With(8) },
		"holders of no roster":         func(p *dkg.Params) { p.Without = seats(8) },
		"2t-n = f":                     func(p *dkg.Params) { reshare(seats(7))(p); p.T = 4 - 1 },
		"two of three":                 func(p *dkg.Params) { reshare(seats(4, 5, 6, 7))(p); p.T = 2 },
	} {
		if _, err := dkgtest.Renew(a, edit); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for name, edit := range map[string]func(*dkg.Params){
		"keygen with a past":   func(p *dkg.Params) { p.Old.T = 3 },
		"keygen of an epoch":   func(p *dkg.Params) { p.Epoch = 1 },
		"refresh from nothing": func(p *dkg.Params) { p.Mode, p.Epoch, p.Expected = dkg.ModeRefresh, 1, [32]byte{1} },
	} {
		p := a.Board.Params()
		edit(&p)
		if p.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// BenchmarkRefresh is a whole refresh among 4, boards included.
func BenchmarkRefresh(b *testing.B) {
	for _, mode := range []string{"refresh", "reshare"} {
		for _, keys := range []int{1, 100, 1000} {
			a := made(b, dkgtest.Params(dkg.SuiteG1, true, 4, keys))
			edit := map[string]func(*dkg.Params){"reshare": reshare(0)}[mode]
			b.Run(fmt.Sprintf("%s/keys=%d", mode, keys), func(b *testing.B) {
				spent := 0.0
				for b.Loop() {
					c := renew(b, a, edit)
					before := cpuSeconds()
					if err := c.Run(); err != nil || c.Board.Phase() != dkg.PhaseDone {
						b.Fatal(c.Board.Phase(), err)
					}
					spent += cpuSeconds() - before
				}
				b.ReportMetric(spent/4/float64(b.N), "cpu-s/operator")
			})
		}
	}
}
