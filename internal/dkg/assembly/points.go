package assembly

import (
	"math/big"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/wire"
)

// This file is arithmetic on public points: values in the exponent of one
// polynomial at 0, …, n.

var g1 bls.G1

var order, _ = new(big.Int).SetString("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001", 16)

// readPoints decodes points one after the other into out and returns the
// position of the first that is none, or is the identity; -1 when all are
// good. Whether they lie in the subgroup it does not ask.
func readPoints(out []bls.G1Point, at func(i int) []byte) int {
	const infinity = 0x40 // a flag of the encoding
	for i := range out {
		if enc := at(i); enc[0]&infinity != 0 || g1.SetPoint(&out[i], enc) != nil {
			return i
		}
	}
	return -1
}

func scalar(v *big.Int) (s bls.G1Scalar) {
	if err := g1.SetScalar(&s, v.FillBytes(make([]byte, scalarSize))); err != nil {
		panic("assembly: " + err.Error()) // v is reduced
	}
	return s
}

// lowDegree reports whether points in the subgroup are values of a polynomial
// of degree below t, with an error of n/r. statement names the points.
//
// It is SCRAPE's test: Σ c_j·Y_j = O for a random word c of the dual code,
// c_j = m(j)·Π_{k≠j} (j-k)^-1 with deg m ≤ n-t. We take m(X) = (X+z)^(n-t)
// for a random z: what a test says about m is linear in its coefficients, so
// that for points of higher degree it is a polynomial in z, not zero and of
// degree n-t. The product is (-1)^(n-j)·C(n,j)/n!, and a common factor does
// not matter.
func lowDegree(points []bls.G1Point, t int, statement ...[]byte) bool {
	n := len(points) - 1
	wide := wire.HashWide(wire.TagAssemblyLowDegree, statement...)
	z := new(big.Int).SetBytes(wide[:])
	z.Mod(z, order)
	degree := big.NewInt(int64(n - t))
	c, binomial := make([]bls.G1Scalar, n+1), big.NewInt(1)
	var m, x big.Int
	for j := range c {
		m.Exp(x.Add(z, x.SetInt64(int64(j))), degree, order)
		m.Mul(&m, x.Mod(binomial, order))
		if j%2 == 1 {
			m.Neg(&m)
		}
		c[j] = scalar(m.Mod(&m, order))
		binomial.Mul(binomial, x.SetInt64(int64(n-j)))
		binomial.Quo(binomial, x.SetInt64(int64(j+1)))
	}
	sum := g1.VarTimeMultiMult(points, c, 255)
	return g1.IsIdentity(&sum)
}

// fullDegree reports whether points of degree below t have degree t-1: the
// (t-1)-th difference is not zero. Otherwise fewer than t shares would do.
func fullDegree(points []bls.G1Point, t int) bool {
	c, signed, binomial := make([]bls.G1Scalar, t), make([]bls.G1Point, t), big.NewInt(1)
	var m, x big.Int
	for j := range c {
		c[j] = scalar(m.Mod(binomial, order))
		if j%2 == 0 {
			signed[j] = points[j]
		} else {
			g1.SubPoint(&signed[j], &points[j]) // the factor stays short
		}
		binomial.Mul(binomial, x.SetInt64(int64(t-1-j)))
		binomial.Quo(binomial, x.SetInt64(int64(j+1)))
	}
	sum := g1.VarTimeMultiMult(signed, c, min(t, 255))
	return !g1.IsIdentity(&sum)
}

// shift adds δ·G to all points.
func shift(points []bls.G1Point, delta *bls.G1Scalar, op func(a, b *bls.G1Point)) {
	var by bls.G1Point
	g1.BaseMult(&by, delta)
	for j := range points {
		op(&points[j], &by)
	}
}

// rootOf encodes points and hashes them.
func rootOf(points []bls.G1Point) (encoded []byte, root digest) {
	encoded = g1.AppendPoints(nil, points)
	return encoded, wire.CutTree(encoded, pointSize).Root()
}

// knows checks a dealer's proof of knowledge of f(0): z·G = A + c·V_0.
func (h *Header) knows(roster [32]byte, dealer int) bool {
	points := make([]bls.G1Point, 2)
	at := [][]byte{h.Knowledge[:pointSize], h.Constant[:]}
	var z bls.G1Scalar
	if readPoints(points, func(i int) []byte { return at[i] }) >= 0 || g1.SetScalar(&z, h.Knowledge[pointSize:]) != nil {
		return false
	}
	c := h.challenge(roster, dealer)
	right := g1.VarTimeMultiMult(points[1:], []bls.G1Scalar{c}, challengeBits)
	g1.AddPoint(&right, &points[0])
	var left bls.G1Point
	g1.BaseMult(&left, &z)
	return g1.Equal(&left, &right)
}

// challengeSize is short: a false proof passes once in 2^128 hashes, and c·V_0
// costs half as much.
const (
	challengeSize = 16
	challengeBits = 8 * challengeSize
)

func (h *Header) challengeBytes(roster [32]byte, dealer int) [challengeSize]byte {
	wide := wire.HashWide(wire.TagAssemblyPoKSecret, roster[:], be16(dealer), h.Constant[:], h.R.Bytes(), h.Root[:], h.Mail[:], h.Knowledge[:pointSize])
	return [challengeSize]byte(wide[:])
}

func (h *Header) challenge(roster [32]byte, dealer int) (c bls.G1Scalar) {
	b := h.challengeBytes(roster, dealer)
	g1.SetWeight(&c, &b)
	return c
}

// valid checks both proofs of a header. Whoever could post another's R would
// learn that dealer's shares from the complaints against himself.
func (h *Header) valid(roster [32]byte, dealer int) bool {
	return h.provesRho(roster, dealer) && h.knows(roster, dealer)
}

func (h *Header) provesRho(roster [32]byte, dealer int) bool {
	return h.R.VerifyProof(h.Rho, wire.TagAssemblyPoKRho, headerContext(roster, dealer, h)...)
}

func headerContext(roster [32]byte, dealer int, h *Header) [][]byte {
	return [][]byte{roster[:], be16(dealer), h.statement()}
}
