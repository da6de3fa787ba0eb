package dkg_test

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
)

func open(t testing.TB, p dkg.Params, imports ...[]byte) *dkgtest.Ceremony {
	t.Helper()
	c, err := dkgtest.New(p, imports...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// until runs a ceremony up to a phase, without letting time pass.
func until(tb testing.TB, c *dkgtest.Ceremony, phase dkg.Phase) {
	tb.Helper()
	for c.Board.Phase() < phase {
		moved, err := c.Step()
		if err == nil && c.Board.Phase() == dkg.PhaseFreeze && phase > dkg.PhaseFreeze {
			moved, err = true, c.Tick(0)
		}
		if err != nil || !moved {
			tb.Fatalf("stuck in %s: %v, refused %v", c.Board.Phase(), err, c.Refused)
		}
	}
}

// finish runs a ceremony and checks what every successful one owes.
func finish(t *testing.T, c *dkgtest.Ceremony) {
	t.Helper()
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if c.Board.Phase() != dkg.PhaseDone {
		t.Fatalf("ended %s, faults %v, refused %v", c.Board.Phase(), c.Board.Faults(), c.Refused)
	}
	p := c.Board.Params()
	result, err := dkg.ReadResult(c.Board, c.Source)
	if err != nil {
		t.Fatal(err)
	}
	shares := make(map[int][][]byte)
	for i := range c.Board.Holders().All() {
		if shares[i], err = c.Shares(i); err != nil {
			t.Fatal(err)
		}
	}
	for k := range result.Keys() {
		if k > 2 && k < result.Keys()-2 {
			continue // the middle of a large batch is like its ends
		}
		public, err := dkg.PublicShares(p.Suite, result.Commitment(k), int(p.T), int(p.N))
		if err != nil {
			t.Fatal(err)
		}
		for i := range shares {
			if !bytes.Equal(dkgtest.PublicKey(p.Suite, shares[i][k]), public[i-1]) {
				t.Fatalf("key %d: share of seat %d does not match its commitment", k, i)
			}
		}
		if k > 0 && bytes.Equal(result.PublicKey(k), result.PublicKey(k-1)) {
			t.Fatalf("keys %d and %d are one", k-1, k)
		}
		if k == 0 || p.N == 4 {
			checkSubsets(t, p, c.Board.Holders(), func(i int) []byte { return shares[i][k] }, result.PublicKey(k))
		}
	}
}

// checkSubsets: every t shares make the key, no t-1 do.
func checkSubsets(t *testing.T, p dkg.Params, holders dkg.Seats, share func(int) []byte, key []byte) {
	t.Helper()
	var secret []byte
	for subset := range uint32(1) << (p.N + 1) {
		size := bits.OnesCount32(subset)
		if dkg.Seats(subset).Without(holders) != 0 || size != int(p.T) && size != int(p.T)-1 {
			continue
		}
		some := make(map[int][]byte)
		for i := range dkg.Seats(subset).All() {
			some[i] = share(i)
		}
		got := dkgtest.Reconstruct(p.Suite, some)
		if secret == nil && size == int(p.T) {
			secret = got
			if !bytes.Equal(dkgtest.PublicKey(p.Suite, secret), key) {
				t.Fatalf("shares of %s do not make the key", dkg.Seats(subset))
			}
		}
		if size == int(p.T) && !bytes.Equal(got, secret) || size < int(p.T) && bytes.Equal(dkgtest.PublicKey(p.Suite, got), key) {
			t.Fatalf("%d shares, of %s, make the wrong thing", size, dkg.Seats(subset))
		}
	}
	if secret == nil {
		t.Fatal("fewer than t holders")
	}
}

var suites = map[string]dkg.Suite{"g1": dkg.SuiteG1, "ristretto": dkg.SuiteRistretto}

// each runs a test for both suites, both mask modes and several sizes.
func each(t *testing.T, sizes []int, test func(t *testing.T, p dkg.Params)) {
	for name, suite := range suites {
		for _, hybrid := range []bool{false, true} {
			for _, n := range sizes {
				t.Run(fmt.Sprintf("%s/hybrid=%t/n=%d", name, hybrid, n), func(t *testing.T) {
					t.Parallel()
					test(t, dkgtest.Params(suite, hybrid, n, 2))
				})
			}
		}
	}
}

func TestHonest(t *testing.T) {
	each(t, []int{4, 5, 7}, honest)
	t.Run("n=10", func(t *testing.T) { honest(t, dkgtest.Params(dkg.SuiteG1, true, 10, 2)) })
	t.Run("n=16", func(t *testing.T) { honest(t, dkgtest.Params(dkg.SuiteRistretto, false, 16, 1)) })
}

func honest(t *testing.T, p dkg.Params) {
	c := open(t, p)
	finish(t, c)
	if len(c.Board.Faults()) != 0 || c.Board.Holders() != dkg.AllSeats(int(p.N)) || !c.Board.DepositSafe() {
		t.Fatalf("faults %v, holders %s", c.Board.Faults(), c.Board.Holders())
	}
}

func scalar(s dkg.Suite, v byte) []byte {
	b := make([]byte, 32)
	if s == dkg.SuiteG1 {
		b[31] = v
	} else {
		b[0] = v
	}
	return b
}

// importing turns parameters into those of an import of keys.
func importing(p dkg.Params, importer int, keys [][]byte) dkg.Params {
	p.Mode, p.Importer, p.Keys = dkg.ModeImport, uint8(importer), uint32(len(keys))
	var public [][]byte
	for _, k := range keys {
		public = append(public, dkgtest.PublicKey(p.Suite, k))
	}
	p.Expected = dkg.ExpectedKeys(public)
	return p
}

func TestImport(t *testing.T) {
	each(t, []int{4, 7}, func(t *testing.T, p dkg.Params) {
		keys := [][]byte{scalar(p.Suite, 2), scalar(p.Suite, 3), scalar(p.Suite, 200)}
		p = importing(p, 3, keys)
		c := open(t, p, keys...)
		finish(t, c)
		result, err := dkg.ReadResult(c.Board, c.Source)
		if err != nil {
			t.Fatal(err)
		}
		for k := range keys {
			if !bytes.Equal(result.PublicKey(k), dkgtest.PublicKey(p.Suite, keys[k])) {
				t.Fatalf("key %d changed", k)
			}
		}
		if len(c.Board.Faults()) != 0 {
			t.Fatalf("faults %v", c.Board.Faults())
		}

		// Other keys than those expected are refused at the source, and by
		// everybody else when a dealer deals them all the same.
		wrong := open(t, p, keys[1], keys[0], keys[2])
		if _, err := wrong.Participant(3); err == nil {
			t.Fatal("keys in the wrong order were taken")
		}
		other := p
		other.Expected[0] ^= 1
		if _, err := open(t, other, keys...).Participant(3); err == nil {
			t.Fatal("unexpected keys were taken")
		}
	})
}

// TestImportOfOtherKeys: the importer deals keys that nobody expects.
func TestImportOfOtherKeys(t *testing.T) {
	keys := [][]byte{scalar(dkg.SuiteG1, 2), scalar(dkg.SuiteG1, 3)}
	p := importing(dkgtest.Params(dkg.SuiteG1, false, 4, 2), 3, keys)
	c := open(t, p, keys...)
	c.Acts[3] = forge(func(ed *dkg.Editor) { ed.SetPoint(0, 0, dkgtest.PublicKey(dkg.SuiteG1, scalar(dkg.SuiteG1, 5))) })
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if c.Board.Phase() != dkg.PhaseAborted || !c.Has(3, dkg.BadDealing) {
		t.Fatalf("ended %s, faults %v", c.Board.Phase(), c.Board.Faults())
	}
}

// TestRestart makes every participant anew from its seed before each step,
// with an eager twin beside it: both ceremonies say the same, byte for byte.
func TestRestart(t *testing.T) {
	each(t, []int{4}, func(t *testing.T, p dkg.Params) {
		a, b := open(t, p), open(t, p)
		b.Restart = true
		a.Acts[cheat], b.Acts[cheat] = falseShares(3), falseShares(3)
		var said [2][][]byte
		record := func(to *[][]byte) dkgtest.Behaviour {
			return func(_ *dkgtest.Ceremony, _ int, out []dkg.Message) []dkg.Message {
				for _, m := range out {
					*to = append(*to, m.Encode())
				}
				return out
			}
		}
		for i := 1; i <= int(p.N); i++ {
			if i != cheat {
				a.Acts[i], b.Acts[i] = record(&said[0]), record(&said[1])
			}
		}
		finish(t, a)
		finish(t, b)
		if len(said[0]) < 4*int(p.N) {
			t.Fatalf("only %d messages were compared", len(said[0]))
		}
		if !slices.EqualFunc(said[0], said[1], bytes.Equal) {
			t.Fatal("a restarted seat says something else")
		}
	})
}

// TestChunks runs a ceremony whose dealings take several chunks.
func TestChunks(t *testing.T) {
	p := dkgtest.Params(dkg.SuiteG1, false, 4, 1)
	p.Keys = uint32(dkg.ChunkKeys(p) + 3)
	c := open(t, p)
	c.Acts[cheat] = forge(func(ed *dkg.Editor) { ed.AddToShare(int(p.Keys)-1, 3, 1); ed.AddToShare(0, 1, 1) })
	finish(t, c)
	if !c.Has(cheat, dkg.BadShare) || c.Blamed() != dkg.Seats(0).With(cheat) {
		t.Fatalf("faults %v", c.Board.Faults())
	}
}

// TestDelta: keys depend on the block after the freeze, those of an import do not.
func TestDelta(t *testing.T) {
	roots := func(p dkg.Params, keys ...[]byte) (a, b [32]byte) {
		c := open(t, p, keys...)
		until(t, c, dkg.PhaseFreeze)
		q, err := c.Participant(1)
		if err != nil {
			t.Fatal(err)
		}
		var out [2][32]byte
		for i := range out {
			next, _ := c.Board.Tick(0, [32]byte{byte(i)})
			m, err := q.Confirm(next, c.Source)
			if err != nil {
				t.Fatal(err)
			}
			out[i] = m.Result
		}
		return out[0], out[1]
	}
	p := dkgtest.Params(dkg.SuiteG1, false, 4, 2)
	if a, b := roots(p); a == b {
		t.Error("another block made the same keys")
	}
	keys := [][]byte{scalar(p.Suite, 2), scalar(p.Suite, 3)}
	if a, b := roots(importing(p, 1, keys), keys...); a != b {
		t.Error("a block changed imported keys")
	}
}
