package dkg

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/secret/secrettest"
	"github.com/quorate/quorate/internal/wire"
)

// TestExtend compares differences with plain evaluation.
func TestExtend(t *testing.T) {
	sub := func(a, b *big.Int) { *a = *new(big.Int).Sub(a, b) }
	for degree := range 12 {
		at := func(x int) *big.Int {
			sum := new(big.Int)
			for d := degree; d >= 0; d-- {
				sum.Mul(sum, big.NewInt(int64(x))).Add(sum, big.NewInt(int64(3*d*d+1)))
			}
			return sum
		}
		v := make([]big.Int, degree+1)
		for x := range v {
			v[x] = *at(x)
		}
		for _, n := range []int{0, degree, degree + 1, 16} {
			out := extend(append([]big.Int(nil), v...), n, sub)
			for x := 0; x <= max(n, degree); x++ {
				if out[x].Cmp(at(x)) != 0 {
					t.Fatalf("degree %d: value at %d is %s, want %s", degree, x, &out[x], at(x))
				}
			}
		}
		lead(v, sub)
		if v[0].Sign() == 0 {
			t.Fatalf("degree %d: no leading difference", degree)
		}
		low := make([]big.Int, degree+2) // one value more than the degree needs
		for x := range low {
			low[x] = *at(x)
		}
		lead(low, sub)
		if low[0].Sign() != 0 {
			t.Fatalf("degree %d: leading difference %s among %d values", degree, &low[0], len(low))
		}
	}
}

// TestLagrange compares what is multiplied in the field, factors joined, with
// whole numbers; and sees that a sign left out would show.
func TestLagrange(t *testing.T) {
	lagrange(t, engine[bls.G1Scalar, bls.G1Point]{bls.G1{}}, func(b []byte) *big.Int { return new(big.Int).SetBytes(b) },
		"73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001")
	lagrange(t, engine[kem.Scalar, kem.Point]{kem.Ristretto{}}, func(b []byte) *big.Int {
		b = bytes.Clone(b)
		slices.Reverse(b)
		return new(big.Int).SetBytes(b)
	}, "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed")
}

func lagrange[S, P any](t *testing.T, e engine[S, P], number func([]byte) *big.Int, hex string) {
	order, _ := new(big.Int).SetString(hex, 16)
	odd := make([]int, 90)
	for i := range odd {
		odd[i] = 4096 - 2*(len(odd)-i)
	}
	differ := 0
	for _, at := range [][]int{{1}, {7}, {1, 2, 3}, {2, 5, 6, 16}, {1, 4096}, odd} {
		got := e.lagrange(at)
		if len(got) != len(at) {
			t.Fatalf("%v: %d coefficients", at, len(got))
		}
		for _, i := range at {
			want, unsigned := big.NewRat(1, 1), big.NewRat(1, 1)
			for _, j := range at {
				if j != i {
					want.Mul(want, big.NewRat(int64(j), int64(j-i)))
					unsigned.Mul(unsigned, big.NewRat(int64(j), int64(max(j-i, i-j))))
				}
			}
			is := func(r *big.Rat) bool {
				v := new(big.Int).ModInverse(r.Denom(), order)
				v.Mod(v.Mul(v, r.Num()), order)
				s := got[i]
				return v.Cmp(number(e.g.AppendScalar(nil, &s))) == 0
			}
			if !is(want) {
				t.Fatalf("%v: the coefficient of %d is another", at, i)
			}
			if !is(unsigned) {
				differ++
			}
		}
	}
	if differ < 40 {
		t.Errorf("only %d coefficients have a sign that matters", differ)
	}
}

// TestDealers compares sets of bits with sets.
func TestDealers(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		draw := func(name string) (s Dealers, m map[int]bool) {
			m = map[int]bool{}
			for _, i := range rapid.SliceOfN(rapid.IntRange(1, 40), 0, 30).Draw(r, name) {
				s, m[i] = s.With(i), true
			}
			return s, m
		}
		same := func(s Dealers, m map[int]bool) {
			want := slices.Sorted(maps.Keys(m))
			if got := slices.Collect(s.All()); !slices.Equal(got, want) || s.Len() != len(want) {
				r.Fatalf("%v, want %v", got, want)
			}
			var e wire.Encoder
			e.Bytes([]byte(s))
			d := wire.NewDecoder(e.Out())
			if again := readDealers(d, 40); again != s || d.Finish() != nil {
				r.Fatalf("%s reads as %s", s, again)
			}
			n := rapid.IntRange(0, 40).Draw(r, "first")
			if got := slices.Collect(s.First(n).All()); !slices.Equal(got, want[:min(n, len(want))]) {
				r.Fatalf("first %d of %v: %v", n, want, got)
			}
			for i := range 48 {
				if s.Has(i) != m[i] {
					r.Fatalf("%d in %v", i, want)
				}
			}
		}
		a, am := draw("a")
		b, bm := draw("b")
		same(a, am)
		union, without := maps.Clone(am), maps.Clone(am)
		for i := range bm {
			union[i] = true
			delete(without, i)
		}
		same(a.Union(b), union)
		same(a.Without(b), without)
		if (a.Without(b) == "") != (len(without) == 0) {
			r.Fatal("an empty set is not equal to others")
		}
	})
	for name, raw := range map[string][]byte{"zeros at the end": {2, 0}, "number 0": {1}, "beyond": {0, 0, 2}, "too long": make([]byte, maxDealers+1)} {
		var e wire.Encoder
		e.Bytes(raw)
		d := wire.NewDecoder(e.Out())
		if readDealers(d, 16); d.Finish() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestChunks cuts bodies of every size into chunks of every size.
func TestChunks(t *testing.T) {
	for size := 1; size <= 40; size++ {
		var body []byte
		for i := range size {
			leaf := sha256.Sum256([]byte{byte(i)})
			body = append(body, leaf[:]...)
		}
		tree := wire.CutTree(body, 32)
		root, leaves := tree.Root(), tree[0]
		for per := 1; per <= 64; per *= 2 {
			s := shape{leaf: 32, leaves: size, perChunk: per}
			cut, bodies, paths := s.cut(body)
			if cut != root {
				t.Fatalf("%d leaves by %d: another root", size, per)
			}
			for c := range bodies {
				if !s.check(root, c, paths[c], bodies[c]) {
					t.Fatalf("%d leaves by %d: chunk %d does not verify", size, per, c)
				}
				if s.check(root, c+1, paths[c], bodies[c]) || s.check(root, c, paths[c], bodies[c][32:]) {
					t.Fatalf("%d leaves by %d: chunk %d verifies as another", size, per, c)
				}
				for i := range len(bodies[c]) / 32 { // what a complaint cites
					path := append(wire.CutTree(bodies[c], 32).Path(0, i), paths[c]...)
					if got, ok := wire.PathRoot(leaves[c*per+i], c*per+i, size, path); !ok || got != root {
						t.Fatalf("%d leaves by %d: leaf %d of chunk %d does not verify", size, per, i, c)
					}
				}
			}
		}
	}
}

func testParams() Params {
	return Params{
		Mode: ModeKeygen, Suite: SuiteG1, N: 4, T: 3, Keys: 2,
		Deadlines: Deadlines{1, 2, 3, 4, 5, 6},
	}
}

func TestParams(t *testing.T) {
	p := testParams()
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	q, err := ParseParams(p.Encode())
	if err != nil || q != p || len(p.Encode()) != paramsSize {
		t.Fatalf("parse: %+v, %v", q, err)
	}
	for name, change := range map[string]func(*Params){
		"mode":             func(p *Params) { p.Mode = 3 },
		"suite":            func(p *Params) { p.Suite = 0 },
		"two of three":     func(p *Params) { p.T, p.N = 2, 3 },
		"2t-n = f":         func(p *Params) { p.T, p.N = 4, 7 },
		"t > n-f":          func(p *Params) { p.T = 4 },
		"no seats":         func(p *Params) { p.N, p.T = 0, 0 },
		"many seats":       func(p *Params) { p.N, p.T = 17, 12 },
		"no keys":          func(p *Params) { p.Keys = 0 },
		"many keys":        func(p *Params) { p.Keys = wire.MaxKeysPerBatch + 1 },
		"keygen importer":  func(p *Params) { p.Importer = 1 },
		"keygen expects":   func(p *Params) { p.Expected[0] = 1 },
		"no importer":      func(p *Params) { p.Mode, p.Expected = ModeImport, [32]byte{1} },
		"importer outside": func(p *Params) { p.Mode, p.Expected, p.Importer = ModeImport, [32]byte{1}, 5 },
		"expects nothing":  func(p *Params) { p.Mode, p.Importer = ModeImport, 1 },
		"an assembly's":    func(p *Params) { p.Old.Assembly[0] = 1 },
		"its size":         func(p *Params) { p.Old.N = 4 },
		"no time":          func(p *Params) { p.Deadlines.Answer = 0 },
	} {
		p := testParams()
		change(&p)
		if _, err := ParseParams(p.Encode()); err == nil {
			t.Errorf("%s: taken", name)
		}
		if _, _, err := NewBoard(p, 0); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	// Every field is in the ceremony's name.
	seen := map[[32]byte]int{p.ID(): -1}
	for i := range paramsSize {
		b := p.Encode()
		b[i] ^= 1
		d := wire.NewDecoder(b)
		id := readParams(d).ID()
		if d.Finish() != nil {
			continue
		}
		if at, ok := seen[id]; ok {
			t.Errorf("bytes %d and %d: one id", at, i)
		}
		seen[id] = i
	}
}

func TestChunkFits(t *testing.T) {
	for n := 4; n <= wire.MaxNodes; n++ {
		p := testParams()
		p.N, p.T, p.Keys = uint8(n), uint8((n+(n-1)/3)/2+1), wire.MaxKeysPerBatch
		for _, s := range []shape{p.dealing(p.seats()), p.result()} {
			c := Chunk{Path: make([]digest, maxPath), Body: make([]byte, s.perChunk*s.leaf)}
			if size := len(c.Encode()); size > wire.MaxChunk {
				t.Errorf("n=%d: chunk of %d bytes", n, size)
			}
			if s.leaf > maxLeaf {
				t.Errorf("n=%d: leaf of %d bytes", n, s.leaf)
			}
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	p := testParams()
	seed := sha256.Sum256([]byte("canary"))
	q, err := NewParticipant(p, 1, secret.New(bytes.Clone(seed[:])))
	if err != nil {
		t.Fatal(err)
	}
	key := *q.coins.key()
	secrettest.Check(t, q.coins, key[:])
	secrettest.Check(t, q.key, key[:])

	var s kem.Scalar
	wide := q.coins.draw("test")
	kem.Ristretto{}.SetWide(&s, &wide)
	canary := kem.Ristretto{}.AppendScalar(nil, &s)
	h := &holding[kem.Scalar, kem.Point]{secrets: func() []kem.Scalar { return []kem.Scalar{s} }}
	for _, format := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		for _, v := range []any{h, *h, q, *q, &received{held: h}, s} {
			if form, found := secrettest.Find(fmt.Appendf(nil, format, v), canary); found {
				t.Errorf("%T leaks as %s under %s", v, form, format)
			}
			if form, found := secrettest.Find(fmt.Appendf(nil, format, v), key[:]); found {
				t.Errorf("%T leaks its coins as %s under %s", v, form, format)
			}
		}
	}
	secrettest.Check(t, ShareOut{1, nil, secret.New(bytes.Clone(canary))}.Secret, canary)
}

func TestCoins(t *testing.T) {
	seed := func(b byte) secret.Bytes { return secret.New(bytes.Repeat([]byte{b}, SeedSize)) }
	seen := make(map[[64]byte]string)
	for _, s := range []byte{1, 2} {
		for _, cid := range []byte{1, 2} {
			for me := 1; me <= 16; me++ {
				c, err := newCoins(seed(s), [32]byte{cid}, me)
				if err != nil {
					t.Fatal(err)
				}
				for _, purpose := range []string{"key", "rho", "value"} {
					name := fmt.Sprint(s, cid, me, purpose)
					draw := c.draw(purpose, []byte{1})
					if other, ok := seen[draw]; ok {
						t.Fatalf("%s and %s draw alike", name, other)
					}
					seen[draw] = name
					if c.draw(purpose, []byte{1}) != draw || c.draw(purpose, []byte{2}) == draw {
						t.Fatalf("%s: draws do not follow their context", name)
					}
				}
			}
		}
	}
	for _, n := range []int{0, SeedSize - 1, SeedSize + 1} {
		if _, err := newCoins(secret.New(make([]byte, n)), [32]byte{}, 1); err == nil {
			t.Errorf("a seed of %d bytes was taken", n)
		}
	}
}
