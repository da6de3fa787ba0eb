package dkg

import (
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/kem"
)

// group is what dealing asks of a group of prime order: [bls.G1] and
// [kem.Ristretto] have it. Scalars may be secret and meet constant-time code
// only; VarTimeMultiMult is for public ones. The zero values of S and P are 0
// and the identity.
type group[S, P any] interface {
	PointSize() int

	SetWide(s *S, uniform *[64]byte)
	SetWeight(s *S, weight *[16]byte)
	SetScalar(s *S, b []byte) error // canonical
	AppendScalar(dst []byte, s *S) []byte
	AddScalar(a, b *S) // a += b
	SubScalar(a, b *S) // a -= b
	MulScalar(a, b *S) // a *= b
	InvertScalar(s *S) // public and not 0

	BaseMult(p *P, s *S)
	SetPoint(p *P, b []byte) error // canonical; perhaps outside the prime-order subgroup
	AppendPoints(dst []byte, ps []P) []byte
	AddPoint(a, b *P) // a += b
	SubPoint(a, b *P) // a -= b
	Equal(a, b *P) bool
	IsIdentity(p *P) bool
	Outside(ps []P) []int // positions of points outside the prime-order subgroup
	VarTimeMultiMult(ps []P, public []S, bits int) P

	Attest(s *S, msg []byte) []byte
	VerifyAttestations(inside []P, msg []byte, attestations [][]byte) (bad []int)
}

var (
	_ group[bls.G1Scalar, bls.G1Point] = bls.G1{}
	_ group[kem.Scalar, kem.Point]     = kem.Ristretto{}
)

// A polynomial of degree below t is its values at 0, …, t-1: dealers draw
// them, commit to them, and publish nothing else, so that a dealing of higher
// degree has no encoding. The values that follow need no multiplication, for
// the t-th differences of such a sequence are zero.

// lead replaces the t values in v by their running differences, with
// alternating signs, as step wants them. v[0] becomes, up to its sign, the
// (t-1)-th difference, (t-1)! times the leading coefficient: it is zero when
// the degree is lower than the threshold says.
func lead[T any](v []T, sub func(a, b *T)) {
	for level := 1; level < len(v); level++ {
		for i := 0; i < len(v)-level; i++ {
			sub(&v[i], &v[i+1])
		}
	}
}

// step moves differences on by one: v[t-1] is then the next value.
func step[T any](v []T, sub func(a, b *T)) {
	for i := 1; i < len(v); i++ {
		sub(&v[i], &v[i-1])
	}
}

// extend returns the values at 0, …, n of the polynomial that has the t
// values in v, which it uses up.
func extend[T any](v []T, n int, sub func(a, b *T)) []T {
	t := len(v)
	out := append(make([]T, 0, n+1), v...)
	lead(v, sub)
	for len(out) <= n {
		step(v, sub)
		out = append(out, v[t-1])
	}
	return out
}
