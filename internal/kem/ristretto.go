package kem

import (
	"errors"
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"

	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// Ristretto is ristretto255 as dealing needs it: the arithmetic that package
// dkg asks for. Every operation on scalars is constant-time but
// VarTimeMultiMult, which is for public ones.
type Ristretto struct{}

// Scalar is an integer modulo the group's order. The zero value is 0.
type Scalar struct {
	secret.Redacted
	s scalar.Scalar
}

// Point is an element of the group. The zero value is the identity, which
// curve's own zero value is not: hence the flag.
type Point struct {
	e   curve.RistrettoPoint
	set bool
}

var errScalar = errors.New("not a canonical scalar")

// PointSize is the length of an encoded element.
func (Ristretto) PointSize() int { return PointSize }

// SetWide reduces a little-endian 512-bit integer.
func (Ristretto) SetWide(s *Scalar, wide *[64]byte) { reduce(&s.s, wide) }

// SetWeight sets s to a little-endian 128-bit integer.
func (Ristretto) SetWeight(s *Scalar, weight *[16]byte) {
	var b [64]byte
	copy(b[:], weight[:])
	reduce(&s.s, &b)
}

// SetScalar reads 32 little-endian bytes below the order.
func (Ristretto) SetScalar(s *Scalar, b []byte) error {
	if _, err := s.s.SetCanonicalBytes(b); err != nil {
		return fmt.Errorf("read scalar: %w", errScalar)
	}
	return nil
}

// AppendScalar writes 32 little-endian bytes.
func (Ristretto) AppendScalar(dst []byte, s *Scalar) []byte {
	b := toBytes(&s.s)
	return append(dst, b[:]...)
}

// AddScalar, SubScalar and MulScalar set a to a+b, a-b and a·b.
func (Ristretto) AddScalar(a, b *Scalar) { a.s.Add(&a.s, &b.s) }
func (Ristretto) SubScalar(a, b *Scalar) { a.s.Sub(&a.s, &b.s) }
func (Ristretto) MulScalar(a, b *Scalar) { a.s.Mul(&a.s, &b.s) }

// InvertScalar sets s to 1/s.
func (Ristretto) InvertScalar(s *Scalar) { s.s.Invert(&s.s) }

// BaseMult sets p = s·B in constant time.
func (Ristretto) BaseMult(p *Point, s *Scalar) {
	p.e, p.set = *baseMult(&s.s), true
}

// SetPoint reads the canonical encoding of RFC 9496, the identity included.
func (Ristretto) SetPoint(p *Point, b []byte) error {
	e := decode(b)
	if e == nil {
		return errors.New("read point: not a canonical element")
	}
	p.e, p.set = *e, true
	return nil
}

// AppendPoints writes encodings.
func (Ristretto) AppendPoints(dst []byte, ps []Point) []byte {
	for i := range ps {
		enc := encode(ps[i].element())
		dst = append(dst, enc[:]...)
	}
	return dst
}

// AddPoint and SubPoint set a to a+b and a-b.
func (Ristretto) AddPoint(a, b *Point) { a.element().Add(&a.e, b.element()) }
func (Ristretto) SubPoint(a, b *Point) { a.element().Sub(&a.e, b.element()) }

// Equal reports whether a and b are one element.
func (Ristretto) Equal(a, b *Point) bool { return a.element().Equal(b.element()) == 1 }

// IsIdentity reports whether p is the identity.
func (Ristretto) IsIdentity(p *Point) bool {
	return p.element().Equal(curve.NewRistrettoPoint()) == 1
}

// Outside is empty: ristretto255 has no cofactor.
func (Ristretto) Outside([]Point) []int { return nil }

// VarTimeMultiMult returns Σ scalars[i]·points[i] for public scalars, in a
// time that depends on them.
func (Ristretto) VarTimeMultiMult(points []Point, scalars []Scalar, _ int) Point {
	out := Point{set: true}
	ps, ss := make([]*curve.RistrettoPoint, len(points)), make([]*scalar.Scalar, len(points))
	for i := range points {
		ps[i], ss[i] = points[i].element(), &scalars[i].s
	}
	out.e.MultiscalarMulVartime(ss, ps)
	return out
}

// Attest proves knowledge of s, bound to msg.
func (Ristretto) Attest(s *Scalar, msg []byte) []byte {
	proof := secretKey(&s.s).Prove(wire.TagConfirm, msg)
	return proof[:]
}

// VerifyAttestations returns the positions of those that Attest did not make
// over msg for the point beside them.
func (Ristretto) VerifyAttestations(points []Point, msg []byte, attestations [][]byte) (bad []int) {
	for i := range points {
		enc := encode(points[i].element())
		pk, err := ParsePublicKey(enc[:])
		if err != nil || len(attestations[i]) != ProofSize ||
			!pk.VerifyProof(Proof(attestations[i]), wire.TagConfirm, msg) {
			bad = append(bad, i)
		}
	}
	return bad
}

// element makes the zero value of Point the identity.
func (p *Point) element() *curve.RistrettoPoint {
	if !p.set {
		p.e.Identity()
		p.set = true
	}
	return &p.e
}
