package bls

import (
	"errors"
	"fmt"
	"math/big"

	blst "github.com/supranational/blst/bindings/go"

	"github.com/quorate/quorate/internal/secret"
)

// G1 is the group of public keys as dealing needs it: the arithmetic that
// package dkg asks for, on blst. Scalars may be secret: every operation on
// them is constant-time, and only VarTimeMultiMult, for public scalars, is
// not.
type G1 struct{}

// G1Scalar is an integer modulo the order r. The zero value is 0.
type G1Scalar struct {
	secret.Redacted
	s blst.Scalar
}

// G1Point is a point of the curve, which SetPoint does not promise to lie in
// the subgroup of order r. The zero value is the identity.
type G1Point struct{ p blst.P1 }

const (
	g1Size     = blst.BLST_P1_COMPRESS_BYTES
	scalarSize = blst.BLST_SCALAR_BYTES
)

var (
	errScalar = errors.New("not a canonical scalar")
	errPoint  = errors.New("not a canonical point of the curve")
)

// PointSize is the length of a compressed point.
func (G1) PointSize() int { return g1Size }

// SetWide sets s to a big-endian 512-bit integer modulo r.
func (G1) SetWide(s *G1Scalar, wide *[64]byte) {
	s.s.FromBEndian(wide[:]) // reports 0 as failure, which it is not for us
}

// SetWeight sets s to a little-endian 128-bit integer.
func (G1) SetWeight(s *G1Scalar, weight *[16]byte) {
	var b [scalarSize]byte
	copy(b[:], weight[:])
	s.s.FromLEndian(b[:])
}

// SetScalar reads 32 big-endian bytes below r.
func (G1) SetScalar(s *G1Scalar, b []byte) error {
	if len(b) != scalarSize {
		return fmt.Errorf("read scalar of %d bytes: %w", len(b), errScalar)
	}
	var zero [scalarSize]byte
	if [scalarSize]byte(b) == zero {
		*s = G1Scalar{}
		return nil
	}
	if s.s.Deserialize(b) == nil {
		return fmt.Errorf("read scalar: %w", errScalar)
	}
	return nil
}

// AppendScalar writes 32 big-endian bytes.
func (G1) AppendScalar(dst []byte, s *G1Scalar) []byte { return append(dst, s.s.ToBEndian()...) }

// AddScalar, SubScalar and MulScalar set a to a+b, a-b and a·b. What blst
// reports is whether the result is not 0; it is right in any case.
func (G1) AddScalar(a, b *G1Scalar) { a.s.AddAssign(&b.s) }
func (G1) SubScalar(a, b *G1Scalar) { a.s.SubAssign(&b.s) }
func (G1) MulScalar(a, b *G1Scalar) { a.s.MulAssign(&b.s) }

// InvertScalar sets s to 1/s, in a time that depends on it: it is public.
func (G1) InvertScalar(s *G1Scalar) {
	r, _ := new(big.Int).SetString("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001", 16)
	v := new(big.Int).SetBytes(s.s.ToBEndian())
	s.s.FromBEndian(v.ModInverse(v, r).FillBytes(make([]byte, scalarSize)))
}

// BaseMult sets p = s·G in constant time.
func (G1) BaseMult(p *G1Point, s *G1Scalar) { generatorComb().multiply(&p.p, &s.s) }

// SetPoint reads a compressed point of the curve, the identity included.
func (G1) SetPoint(p *G1Point, b []byte) error {
	var a blst.P1Affine
	if a.Uncompress(b) == nil {
		return fmt.Errorf("read point: %w", errPoint)
	}
	p.p.FromAffine(&a)
	return nil
}

// AppendPoints writes points compressed; one inversion serves them all.
func (G1) AppendPoints(dst []byte, ps []G1Point) []byte {
	for _, a := range affine(ps) {
		dst = append(dst, a.Compress()...)
	}
	return dst
}

// AddPoint and SubPoint set a to a+b and a-b.
func (G1) AddPoint(a, b *G1Point) { a.p.AddAssign(&b.p) }
func (G1) SubPoint(a, b *G1Point) { a.p.SubAssign(&b.p) }

// Equal reports whether a and b are one point.
func (G1) Equal(a, b *G1Point) bool { return a.p.Equals(&b.p) }

// IsIdentity reports whether p is the identity.
func (G1) IsIdentity(p *G1Point) bool { return p.p.Equals(new(blst.P1)) }

// Outside returns the positions of points that are not in the subgroup.
func (G1) Outside(ps []G1Point) []int {
	var out []int
	for i, a := range affine(ps) {
		if !a.InG1() {
			out = append(out, i)
		}
	}
	return out
}

// VarTimeMultiMult returns Σ scalars[i]·points[i] for public scalars below
// 2^bits, in a time that depends on them. It is right outside the subgroup,
// too, so that replicas agree about points that nobody has checked. blst's own
// ways for fewer than 32 points are not, and depend on the number of
// processors: a table that a point of small order spoils, or one by one, by an
// endomorphism where a scalar may be as long as the order.
func (G1) VarTimeMultiMult(points []G1Point, scalars []G1Scalar, bits int) (sum G1Point) {
	if bits >= 176 {
		bits = 8 * (scalarSize + 1) // longer than the order
	}
	size := (bits + 7) / 8
	raw := make([]byte, size*len(scalars))
	for i := range scalars {
		copy(raw[i*size:(i+1)*size], scalars[i].s.ToLEndian())
	}
	if len(points) >= 32 {
		return G1Point{*affine(points).Mult(raw, bits)}
	}
	for i := range points {
		sum.p.MultNAccumulate(&points[i].p, raw[i*size:(i+1)*size], bits)
	}
	return sum
}

// attestDST separates attestations from every signature of Ethereum's and
// from our partial signatures.
var attestDST = []byte("QUORATE-V1-ATTEST_BLS12381G2_XMD:SHA-256_SSWU_RO_")

// Attest signs msg with s under a tag of our own: it proves possession of s,
// and t attestations interpolate like any partial signatures.
func (G1) Attest(s *G1Scalar, msg []byte) []byte {
	h := blst.HashToG2(msg, attestDST)
	return h.MultAssign(&s.s).Compress()
}

func affine(ps []G1Point) blst.P1Affines {
	if len(ps) == 0 {
		return nil
	}
	raw := make(blst.P1s, len(ps))
	for i := range ps {
		raw[i] = ps[i].p
	}
	return raw.ToAffine()
}
