package bls

import (
	"bytes"
	"math/big"
	"runtime"
	"testing"

	blst "github.com/supranational/blst/bindings/go"
	"pgregory.net/rapid"
)

var g1Order, _ = new(big.Int).SetString("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001", 16)

func groupScalar(t *rapid.T, name string) (G1Scalar, *big.Int) {
	wide := [64]byte(rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, name))
	if rapid.Bool().Draw(t, name+" is zero") {
		wide = [64]byte{}
	}
	var s G1Scalar
	G1{}.SetWide(&s, &wide)
	v := new(big.Int).SetBytes(wide[:])
	return s, v.Mod(v, g1Order)
}

func groupBytes(v *big.Int) []byte { return new(big.Int).Mod(v, g1Order).FillBytes(make([]byte, 32)) }

func TestG1Scalars(t *testing.T) {
	g := G1{}
	rapid.Check(t, func(t *rapid.T) {
		a, x := groupScalar(t, "a")
		b, y := groupScalar(t, "b")
		for name, op := range map[string]struct {
			do   func(a, b *G1Scalar)
			want *big.Int
		}{
			"add": {g.AddScalar, new(big.Int).Add(x, y)},
			"sub": {g.SubScalar, new(big.Int).Sub(x, y)},
			"mul": {g.MulScalar, new(big.Int).Mul(x, y)},
		} {
			c := a
			op.do(&c, &b)
			if got := g.AppendScalar(nil, &c); !bytes.Equal(got, groupBytes(op.want)) {
				t.Fatalf("%s: %x, want %x", name, got, groupBytes(op.want))
			}
		}
		var back G1Scalar
		if err := g.SetScalar(&back, groupBytes(x)); err != nil || !bytes.Equal(g.AppendScalar(nil, &back), groupBytes(x)) {
			t.Fatalf("%x does not come back: %v", groupBytes(x), err)
		}
	})
	for _, bad := range [][]byte{nil, make([]byte, 31), make([]byte, 33), g1Order.Bytes(), bytes.Repeat([]byte{0xff}, 32)} {
		var s G1Scalar
		if g.SetScalar(&s, bad) == nil {
			t.Errorf("scalar %x was taken", bad)
		}
	}
}

func TestG1Points(t *testing.T) {
	g := G1{}
	rapid.Check(t, func(t *rapid.T) {
		a, _ := groupScalar(t, "a")
		b, _ := groupScalar(t, "b")
		var p, q, sum, diff G1Point
		g.BaseMult(&p, &a)
		g.BaseMult(&q, &b)
		c, d := a, a
		g.AddScalar(&c, &b)
		g.SubScalar(&d, &b)
		g.BaseMult(&sum, &c)
		g.BaseMult(&diff, &d)
		ps := []G1Point{p, p, {}}
		g.AddPoint(&ps[0], &q)
		g.SubPoint(&ps[1], &q)
		if !g.Equal(&ps[0], &sum) || !g.Equal(&ps[1], &diff) || g.Equal(&p, &q) != (a.s == b.s) {
			t.Fatal("points and scalars disagree")
		}
		if len(g.Outside(ps)) != 0 {
			t.Fatal("multiples of the generator outside the subgroup")
		}
		enc := g.AppendPoints(nil, ps)
		for i := range ps {
			var back G1Point
			if err := g.SetPoint(&back, enc[i*48:(i+1)*48]); err != nil || !g.Equal(&back, &ps[i]) {
				t.Fatalf("point %d does not come back: %v", i, err)
			}
		}
		// Σ w·p by multiplication of scalars.
		w := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "w"))
		ws := make([]G1Scalar, 3)
		g.SetWeight(&ws[0], &w)
		g.SetWeight(&ws[1], &[16]byte{5})
		got := g.VarTimeMultiMult([]G1Point{p, q, {}}, ws, 128)
		x, y := ws[0], ws[1]
		g.MulScalar(&x, &a)
		g.MulScalar(&y, &b)
		g.AddScalar(&x, &y)
		var want G1Point
		g.BaseMult(&want, &x)
		if !g.Equal(&got, &want) {
			t.Fatal("a multi-multiplication disagrees")
		}
	})
	var zero G1Point
	if !g.IsIdentity(&zero) || g.AppendPoints(nil, []G1Point{zero})[0] != 0xc0 {
		t.Error("the zero value is not the identity")
	}
	if got := g.VarTimeMultiMult(nil, nil, 128); !g.IsIdentity(&got) {
		t.Error("an empty sum is not the identity")
	}
	flag := append([]byte{0xc0}, make([]byte, 46)...)
	for _, bad := range [][]byte{nil, make([]byte, 48), make([]byte, 96), append(flag, 1), bytes.Repeat([]byte{0xff}, 48),
		append([]byte{0x9a}, bytes.Repeat([]byte{0xff}, 47)...)} {
		var p G1Point
		if g.SetPoint(&p, bad) == nil {
			t.Errorf("point %x was taken", bad)
		}
	}
}

func TestG1Outside(t *testing.T) {
	g := G1{}
	enc := make([]byte, 48)
	enc[0] = 0x80
	found := 0
	for x := range 64 {
		enc[47] = byte(x)
		var p G1Point
		if g.SetPoint(&p, enc) != nil {
			continue
		}
		found++
		var one G1Scalar
		g.SetWeight(&one, &[16]byte{1})
		var base G1Point
		g.BaseMult(&base, &one)
		if got := g.Outside([]G1Point{base, p, {}, p}); len(got) != 2 || got[0] != 1 || got[1] != 3 {
			t.Fatalf("x = %d: outside are %v", x, got)
		}
	}
	if found == 0 {
		t.Fatal("no curve point was tried")
	}
}

// TestVarTimeMultiMultOutside multiplies points of every kind, with as many
// processors as a replica may have, and compares with doubling and adding.
func TestVarTimeMultiMultOutside(t *testing.T) {
	g := G1{}
	naive := func(p G1Point, v *big.Int) (sum G1Point) {
		for i := v.BitLen() - 1; i >= 0; i-- {
			g.AddPoint(&sum, &sum)
			if v.Bit(i) == 1 {
				g.AddPoint(&sum, &p)
			}
		}
		return sum
	}
	// Points of the curve, what of them is outside the subgroup, of that what
	// has an order of 3·11 or less, and the identity.
	rest := big.NewInt(10177 * 859267 * 52437899) // 33·rest is the order of everything outside
	var points []G1Point
	enc := append([]byte{0x80}, make([]byte, 47)...)
	for x := range 40 {
		enc[47] = byte(x)
		var p G1Point
		if g.SetPoint(&p, enc) != nil {
			continue
		}
		torsion := naive(p, g1Order)
		points = append(points, p, torsion, naive(torsion, rest))
	}
	defer blst.SetMaxProcs(runtime.GOMAXPROCS(0))
	for _, bits := range []int{128, 255} {
		for _, size := range []int{1, 2, 31, 40} {
			scalars := make([]G1Scalar, size)
			var want G1Point
			for i := range scalars {
				v := new(big.Int).Sub(g1Order, big.NewInt(int64(7919*i+12345)))
				v.Rsh(v, uint(255-bits))
				scalars[i] = scalarOf(v)
				term := naive(points[i], v)
				g.AddPoint(&want, &term)
			}
			for _, processors := range []int{1, 2, 4} {
				blst.SetMaxProcs(processors)
				if got := g.VarTimeMultiMult(points[:size], scalars, bits); !g.Equal(&got, &want) {
					t.Errorf("%d points, %d bits, %d processors: another sum", size, bits, processors)
				}
			}
		}
	}
	small := 0
	for i := 2; i < len(points); i += 3 {
		if got := naive(points[i], big.NewInt(33)); g.IsIdentity(&got) && !g.IsIdentity(&points[i]) {
			small++
		}
	}
	if len(g.Outside(points)) < len(points)/2 || small < 3 {
		t.Errorf("of %d points %d are outside the subgroup, %d of small order", len(points), len(g.Outside(points)), small)
	}
}

func TestG1Attest(t *testing.T) {
	g := G1{}
	var a, b G1Scalar
	g.SetWeight(&a, &[16]byte{1, 2, 3})
	g.SetWeight(&b, &[16]byte{4})
	var p, q G1Point
	g.BaseMult(&p, &a)
	g.BaseMult(&q, &b)
	sig := g.Attest(&a, []byte("result"))
	verifies := func(p G1Point, msg string, sig []byte) bool {
		return g.VerifyAttestations([]G1Point{p}, []byte(msg), [][]byte{sig}) == nil
	}
	if !verifies(p, "result", sig) {
		t.Fatal("an attestation does not verify")
	}
	if verifies(q, "result", sig) || verifies(p, "other", sig) || verifies(p, "result", sig[1:]) || verifies(p, "result", nil) ||
		verifies(G1Point{}, "result", append([]byte{0xc0}, make([]byte, 95)...)) {
		t.Fatal("a false attestation verifies")
	}
}
