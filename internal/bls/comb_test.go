package bls

import (
	"fmt"
	"math/big"
	"slices"
	"testing"

	blst "github.com/supranational/blst/bindings/go"
	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/secret/secrettest"
)

// combEdges are scalars where windows, signs and carries change.
func combEdges() (all []*big.Int) {
	one := big.NewInt(1)
	add := func(v *big.Int) {
		for _, d := range []int64{-1, 0, 1} {
			w := new(big.Int).Add(v, big.NewInt(d))
			all = append(all, w.Mod(w, g1Order))
		}
	}
	add(big.NewInt(0))
	add(new(big.Int).Rsh(g1Order, 1))
	for k := range uint(255) {
		add(new(big.Int).Lsh(one, k))
	}
	for _, window := range []int64{combRow - 1, combRow, combRow + 1, 2*combRow - 1} {
		v := new(big.Int)
		for range combRows {
			v.Add(v.Lsh(v, combBits), big.NewInt(window))
			add(v)
			add(new(big.Int).Sub(g1Order, v))
		}
	}
	return all
}

func scalarOf(v *big.Int) (s G1Scalar) {
	if err := (G1{}).SetScalar(&s, groupBytes(v)); err != nil {
		panic(err)
	}
	return s
}

// TestBaseMult compares with blst's own multiplication.
func TestBaseMult(t *testing.T) {
	check := func(t rapid.TB, v *big.Int) {
		s := scalarOf(v)
		sum := new(big.Int)
		digits := combDigits(&s.s)
		for i, d := range slices.Backward(digits[:]) {
			if d <= -combRow || d > combRow {
				t.Fatalf("digit %d of %x is %d", i, v, d)
			}
			sum.Add(sum.Lsh(sum, combBits), big.NewInt(d))
		}
		if sum.Cmp(v) != 0 {
			t.Fatalf("the digits of %x make %x", v, sum)
		}
		got, want := G1Point{*blst.P1Generator()}, G1Point{*blst.P1Generator()} // what was there does not matter
		G1{}.BaseMult(&got, &s)
		want.p.MultAssign(&s.s)
		if !(G1{}).Equal(&got, &want) {
			t.Fatalf("%x times the generator: %x, want %x", v, got.p.Compress(), want.p.Compress())
		}
	}
	for _, v := range combEdges() {
		check(t, v)
	}
	rapid.Check(t, func(t *rapid.T) {
		_, v := groupScalar(t, "scalar")
		check(t, v)
	})
}

func BenchmarkBaseMult(b *testing.B) {
	s := numbered(1)
	b.Run("comb", func(b *testing.B) {
		var p G1Point
		for b.Loop() {
			G1{}.BaseMult(&p, &s)
		}
	})
	b.Run("blst", func(b *testing.B) {
		for b.Loop() {
			p := *blst.P1Generator()
			p.MultAssign(&s.s)
		}
	})
}

// Rows of the comb are what they should be, each entry of them.
func TestComb(t *testing.T) {
	for i, row := range generatorComb() {
		for j := range row {
			s := scalarOf(new(big.Int).Lsh(big.NewInt(int64(j+1)), uint(i*combBits)))
			want := *blst.P1Generator()
			want.MultAssign(&s.s)
			for _, sign := range []int64{1, -1} {
				var got affinePoint
				got.pick(&row, sign*int64(j+1))
				p := new(blst.P1)
				p.FromAffine(got.blst())
				if sign < 0 {
					p = new(blst.P1).Sub(p)
				}
				if !p.Equals(&want) {
					t.Fatalf("row %d: %d times its point is false", i, sign*int64(j+1))
				}
			}
		}
	}
}

// TestBaseMultTime looks for a difference in time between a fixed scalar and
// random ones. That it finds one is shown with a multiplication that leaks.
func TestBaseMultTime(t *testing.T) {
	c := generatorComb()
	var p blst.P1
	right := func(s *G1Scalar) { c.multiply(&p, &s.s) }
	hasty := func(s *G1Scalar) { c.multiplyHastily(&p, &s.s) }
	ones := new(big.Int)
	for range combRows - 1 {
		ones.Add(ones.Lsh(ones, combBits), big.NewInt(1))
	}
	for name, fixed := range map[string]*big.Int{"0": new(big.Int), "digits of 1": ones, "-1": new(big.Int).Sub(g1Order, big.NewInt(1))} {
		t.Run(fmt.Sprint("fixed ", name), func(t *testing.T) {
			found := secrettest.LeastTiming(right, func() G1Scalar { return scalarOf(fixed) }, numbered)
			t.Logf("t = %.1f", found)
			if found > secrettest.Suspicious {
				t.Errorf("the time tells a fixed scalar from random ones: t = %.1f", found)
			}
		})
	}
	if found := secrettest.Timing(hasty, func() G1Scalar { return scalarOf(ones) }, numbered); found < secrettest.Suspicious {
		t.Errorf("a multiplication that stops looking when it has found was not found: t = %.1f", found)
	} else {
		t.Logf("a multiplication that leaks: t = %.1f", found)
	}
}

// multiplyHastily is multiply but for one thing.
func (c *comb) multiplyHastily(p *blst.P1, s *blst.Scalar) {
	*p = blst.P1{}
	for i, d := range combDigits(s) {
		var entry affinePoint
		for j := range c[i] {
			if max(d, -d) == int64(j+1) {
				entry = c[i][j]
				entry.y.negate(uint64(d >> 63))
				break
			}
		}
		p.AddAssign(entry.blst())
	}
}
