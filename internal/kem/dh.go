package kem

import (
	"errors"
	"fmt"
	"sync"

	"github.com/gtank/ristretto255"

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
	e   *ristretto255.Element
}

// ParsePublicKey reads the canonical encoding of RFC 9496.
func ParsePublicKey(b []byte) (PublicKey, error) {
	e := ristretto255.NewElement()
	if len(b) != PointSize || e.Decode(b) != nil || [PointSize]byte(b) == [PointSize]byte{} {
		return PublicKey{}, fmt.Errorf("read public key: %w", errPoint)
	}
	return PublicKey{[PointSize]byte(b), e}, nil
}

func publicKey(e *ristretto255.Element) PublicKey {
	return PublicKey{[PointSize]byte(e.Encode(nil)), e}
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
	open   func() *ristretto255.Scalar
	public func() PublicKey
}

// NewSecretKey reduces 64 uniform bytes.
func NewSecretKey(uniform *[64]byte) SecretKey {
	s := ristretto255.NewScalar().FromUniformBytes(uniform[:])
	if s.Equal(ristretto255.NewScalar()) == 1 {
		panic("kem: a secret key of 0, which uniform bytes do not yield")
	}
	return secretKey(s)
}

// secretKey multiplies the base once, when first asked for the public half:
// every proof names it.
func secretKey(s *ristretto255.Scalar) SecretKey {
	return SecretKey{
		open: func() *ristretto255.Scalar { return s },
		public: sync.OnceValue(func() PublicKey {
			return publicKey(ristretto255.NewElement().ScalarBaseMult(s))
		}),
	}
}

// Public returns s·B.
func (sk SecretKey) Public() PublicKey { return sk.public() }

// Shared returns s·peer.
func (sk SecretKey) Shared(peer PublicKey) Shared {
	return Shared(ristretto255.NewElement().ScalarMult(sk.open(), peer.e).Encode(nil))
}

// Prove shows knowledge of the secret key behind sk.Public(), bound to tag
// and context.
func (sk SecretKey) Prove(tag wire.Tag, context ...[]byte) Proof {
	statement := append([][]byte{sk.Public().Bytes()}, context...)
	k := sk.nonce(tag, statement)
	commitment := ristretto255.NewElement().ScalarBaseMult(k)
	return sk.respond(k, challenge(tag, statement, commitment))
}

// VerifyProof checks a proof that Prove made for pk.
func (pk PublicKey) VerifyProof(p Proof, tag wire.Tag, context ...[]byte) bool {
	c, z, ok := p.scalars()
	if !ok || pk.e == nil {
		return false
	}
	// commitment = z·B - c·pk
	commitment := ristretto255.NewElement().VarTimeDoubleScalarBaseMult(negate(c), pk.e, z)
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
		ristretto255.NewElement().ScalarBaseMult(k),
		ristretto255.NewElement().ScalarMult(k, peer.e)))
}

// VerifyShared checks that shared is the Diffie-Hellman element of pk and
// peer, as the holder of pk claims.
func (pk PublicKey) VerifyShared(peer PublicKey, shared Shared, p Proof, tag wire.Tag, context ...[]byte) bool {
	c, z, ok := p.scalars()
	if !ok || pk.e == nil || peer.e == nil {
		return false
	}
	k := ristretto255.NewElement()
	if k.Decode(shared[:]) != nil {
		return false
	}
	minus := negate(c)
	statement := append([][]byte{pk.Bytes(), peer.Bytes(), shared[:]}, context...)
	return c.Equal(challenge(tag, statement,
		ristretto255.NewElement().VarTimeDoubleScalarBaseMult(minus, pk.e, z),
		ristretto255.NewElement().VarTimeMultiScalarMult(
			[]*ristretto255.Scalar{z, minus}, []*ristretto255.Element{peer.e, k}))) == 1
}

// nonce is a function of the secret and of everything that is proved, so
// that no two statements ever share one and no random source can fail.
func (sk SecretKey) nonce(tag wire.Tag, statement [][]byte) *ristretto255.Scalar {
	encoded := sk.open().Encode(nil)
	defer secret.Wipe(encoded)
	parts := append([][]byte{encoded, []byte(tag)}, statement...)
	wide := wire.HashWide(wire.TagNonce, parts...)
	defer secret.Wipe(wide[:])
	return ristretto255.NewScalar().FromUniformBytes(wide[:])
}

func challenge(tag wire.Tag, statement [][]byte, commitments ...*ristretto255.Element) *ristretto255.Scalar {
	parts := statement[:len(statement):len(statement)]
	for _, c := range commitments {
		parts = append(parts, c.Encode(nil))
	}
	wide := wire.HashWide(tag, parts...)
	return ristretto255.NewScalar().FromUniformBytes(wide[:])
}

// respond returns (c, k + c·s).
func (sk SecretKey) respond(k, c *ristretto255.Scalar) Proof {
	z := ristretto255.NewScalar().Multiply(c, sk.open())
	z.Add(z, k)
	return Proof(z.Encode(c.Encode(nil)))
}

func (p Proof) scalars() (c, z *ristretto255.Scalar, ok bool) {
	c, z = ristretto255.NewScalar(), ristretto255.NewScalar()
	return c, z, c.Decode(p[:32]) == nil && z.Decode(p[32:]) == nil
}

func negate(s *ristretto255.Scalar) *ristretto255.Scalar {
	return ristretto255.NewScalar().Negate(s)
}
