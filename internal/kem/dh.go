package kem

import (
	"errors"
	"fmt"
	"sync"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"

	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// Sizes of encodings.
const (
	PointSize = 32
	ProofSize = 64 // challenge, response
)

var errPoint = errors.New("not a canonical element other than the identity")

// PublicKey is a ristretto255 element other than the identity. Only
// [ParsePublicKey] and [SecretKey.Public] make one; the zero value is invalid.
type PublicKey struct {
	enc [PointSize]byte
	e   *curve.RistrettoPoint
}

// ParsePublicKey reads the canonical encoding of RFC 9496.
func ParsePublicKey(b []byte) (PublicKey, error) {
	e := decode(b)
	if e == nil || [PointSize]byte(b) == [PointSize]byte{} {
		return PublicKey{}, fmt.Errorf("read public key: %w", errPoint)
	}
	return PublicKey{[PointSize]byte(b), e}, nil
}

// decode reads a canonical encoding, the identity's included; nil if it is none.
func decode(b []byte) *curve.RistrettoPoint {
	if len(b) != PointSize {
		return nil
	}
	c := curve.CompressedRistretto(b)
	e, err := curve.NewRistrettoPoint().SetCompressed(&c)
	if err != nil {
		return nil
	}
	return e
}

func encode(e *curve.RistrettoPoint) [PointSize]byte {
	return [PointSize]byte(*new(curve.CompressedRistretto).SetRistrettoPoint(e))
}

// baseMult returns s·B in constant time.
func baseMult(s *scalar.Scalar) *curve.RistrettoPoint {
	return curve.NewRistrettoPoint().MulBasepoint(curve.RISTRETTO_BASEPOINT_TABLE, s)
}

// reduce sets s to a little-endian 512-bit integer modulo the group's order.
func reduce(s *scalar.Scalar, wide *[64]byte) *scalar.Scalar {
	if _, err := s.SetBytesModOrderWide(wide[:]); err != nil {
		panic("kem: " + err.Error()) // of other lengths only
	}
	return s
}

// Bytes returns the canonical encoding.
func (pk PublicKey) Bytes() []byte { return pk.enc[:] }

// Shared is the Diffie-Hellman element of two keys. It is secret until one
// of the two publishes it with a [Proof].
type Shared [PointSize]byte

// Proof is a non-interactive Schnorr or Chaum-Pedersen proof.
type Proof [ProofSize]byte

// SecretKey is a ristretto255 scalar other than 0. The fields are functions
// so that nothing can print it.
type SecretKey struct {
	secret.Redacted
	open   func() *scalar.Scalar
	public func() PublicKey
}

// NewSecretKey reduces 64 uniform bytes.
func NewSecretKey(uniform *[64]byte) SecretKey {
	s := reduce(scalar.New(), uniform)
	if s.Equal(scalar.New()) == 1 {
		panic("kem: a secret key of 0, which uniform bytes do not yield")
	}
	return secretKey(s)
}

// secretKey multiplies the base once, when first asked for the public half:
// every proof names it.
func secretKey(s *scalar.Scalar) SecretKey {
	return SecretKey{
		open: func() *scalar.Scalar { return s },
		public: sync.OnceValue(func() PublicKey {
			e := baseMult(s)
			return PublicKey{encode(e), e}
		}),
	}
}

// Public returns s·B.
func (sk SecretKey) Public() PublicKey { return sk.public() }

// Shared returns s·peer.
func (sk SecretKey) Shared(peer PublicKey) Shared {
	return encode(curve.NewRistrettoPoint().Mul(peer.e, sk.open()))
}

// Prove shows knowledge of the secret key behind sk.Public(), bound to tag
// and context.
func (sk SecretKey) Prove(tag wire.Tag, context ...[]byte) Proof {
	statement := append([][]byte{sk.Public().Bytes()}, context...)
	k := sk.nonce(tag, statement)
	return sk.respond(k, challenge(tag, statement, baseMult(k)))
}

// VerifyProof checks a proof that Prove made for pk.
func (pk PublicKey) VerifyProof(p Proof, tag wire.Tag, context ...[]byte) bool {
	c, z, ok := p.scalars()
	if !ok || pk.e == nil {
		return false
	}
	// commitment = z·B - c·pk
	commitment := curve.NewRistrettoPoint().DoubleScalarMulBasepointVartime(negate(c), pk.e, z)
	statement := append([][]byte{pk.Bytes()}, context...)
	return c.Equal(challenge(tag, statement, commitment)) == 1
}

// ProveShared publishes nothing by itself: it shows that shared is
// sk.Shared(peer), that is, log_B(pk) = log_peer(shared).
func (sk SecretKey) ProveShared(peer PublicKey, tag wire.Tag, context ...[]byte) Proof {
	shared := sk.Shared(peer)
	statement := append([][]byte{sk.Public().Bytes(), peer.Bytes(), shared[:]}, context...)
	k := sk.nonce(tag, statement)
	return sk.respond(k, challenge(tag, statement,
		baseMult(k),
		curve.NewRistrettoPoint().Mul(peer.e, k)))
}

// VerifyShared checks that shared is the Diffie-Hellman element of pk and
// peer, as the holder of pk claims.
func (pk PublicKey) VerifyShared(peer PublicKey, shared Shared, p Proof, tag wire.Tag, context ...[]byte) bool {
	c, z, ok := p.scalars()
	if !ok || pk.e == nil || peer.e == nil {
		return false
	}
	k := decode(shared[:])
	if k == nil {
		return false
	}
	minus := negate(c)
	statement := append([][]byte{pk.Bytes(), peer.Bytes(), shared[:]}, context...)
	return c.Equal(challenge(tag, statement,
		curve.NewRistrettoPoint().DoubleScalarMulBasepointVartime(minus, pk.e, z),
		curve.NewRistrettoPoint().MultiscalarMulVartime(
			[]*scalar.Scalar{z, minus}, []*curve.RistrettoPoint{peer.e, k}))) == 1
}

// nonce is a function of the secret and of everything that is proved, so
// that no two statements ever share one and no random source can fail.
func (sk SecretKey) nonce(tag wire.Tag, statement [][]byte) *scalar.Scalar {
	encoded := toBytes(sk.open())
	defer secret.Wipe(encoded[:])
	parts := append([][]byte{encoded[:], []byte(tag)}, statement...)
	wide := wire.HashWide(wire.TagNonce, parts...)
	defer secret.Wipe(wide[:])
	return reduce(scalar.New(), &wide)
}

func challenge(tag wire.Tag, statement [][]byte, commitments ...*curve.RistrettoPoint) *scalar.Scalar {
	parts := statement[:len(statement):len(statement)]
	for _, c := range commitments {
		enc := encode(c)
		parts = append(parts, enc[:])
	}
	wide := wire.HashWide(tag, parts...)
	return reduce(scalar.New(), &wide)
}

// respond returns (c, k + c·s).
func (sk SecretKey) respond(k, c *scalar.Scalar) (p Proof) {
	z := scalar.New().Mul(c, sk.open())
	first, second := toBytes(c), toBytes(z.Add(z, k))
	copy(p[:32], first[:])
	copy(p[32:], second[:])
	return p
}

func (p Proof) scalars() (c, z *scalar.Scalar, ok bool) {
	c, z = scalar.New(), scalar.New()
	_, err1 := c.SetCanonicalBytes(p[:32])
	_, err2 := z.SetCanonicalBytes(p[32:])
	return c, z, err1 == nil && err2 == nil
}

func negate(s *scalar.Scalar) *scalar.Scalar { return scalar.New().Neg(s) }

func toBytes(s *scalar.Scalar) (b [scalar.ScalarSize]byte) {
	if err := s.ToBytes(b[:]); err != nil {
		panic("kem: " + err.Error()) // of other lengths only
	}
	return b
}
