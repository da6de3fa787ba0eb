package bls

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	blst "github.com/supranational/blst/bindings/go"

	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/secret"
)

// Sizes of encodings.
const (
	PublicKeySize = 48
	SignatureSize = 96
	ScalarSize    = 32
)

var (
	// ErrPoint is wrapped by every refusal of an encoded point.
	ErrPoint = errors.New("not a canonical point of the subgroup other than the identity")
	// ErrScalar is wrapped by every refusal of a scalar.
	ErrScalar = errors.New("scalar is zero or not below the group order")
)

// PublicKey is a point of G1 other than the identity: a validator's key, or
// the public share Y_i of one holder. It is comparable and may be a map key.
// The zero value is no key and verifies nothing.
type PublicKey struct {
	point blst.P1Affine // kept, so that verifying need not decompress
	enc   [PublicKeySize]byte
}

// ParsePublicKey decodes the compressed form and checks that the point is
// canonical, on the curve, in the subgroup and not the identity.
func ParsePublicKey(b []byte) (PublicKey, error) {
	var p blst.P1Affine
	if p.Uncompress(b) == nil || !p.KeyValidate() {
		return PublicKey{}, fmt.Errorf("parse public key: %w", ErrPoint)
	}
	return PublicKey{point: p, enc: [PublicKeySize]byte(b)}, nil
}

func newPublicKey(p *blst.P1Affine) PublicKey {
	return PublicKey{point: *p, enc: [PublicKeySize]byte(p.Compress())}
}

// Bytes is the compressed form.
func (k PublicKey) Bytes() [PublicKeySize]byte { return k.enc }

// IsZero reports whether k is no key at all.
func (k PublicKey) IsZero() bool { return k.enc == [PublicKeySize]byte{} }

// String is the compressed form in hex, as Ethereum writes it.
func (k PublicKey) String() string { return "0x" + hex.EncodeToString(k.enc[:]) }

// SecretKey is a whole key. It exists while a keystore is read or written,
// while its import is dealt, and in tests; nowhere else is a key ever whole.
type SecretKey struct {
	secret.Redacted
	scalar secret.Bytes // little-endian, as blst reads it
}

// NewSecretKey takes a big-endian scalar, and wipes it. It refuses 0 and
// whatever is not below the group order.
func NewSecretKey(scalar *[ScalarSize]byte) (SecretKey, error) {
	held, err := holdScalar(scalar)
	if err != nil {
		return SecretKey{}, fmt.Errorf("take secret key: %w", err)
	}
	return SecretKey{scalar: held}, nil
}

// GenerateSecretKey makes a fresh key.
func GenerateSecretKey() (SecretKey, error) {
	seed, err := secret.Random(rand.Reader, 32)
	if err != nil {
		return SecretKey{}, fmt.Errorf("generate secret key: %w", err)
	}
	defer seed.Destroy()
	var k SecretKey
	seed.Expose(func(ikm []byte) { k = takeKey(blst.KeyGen(ikm)) })
	return k, nil
}

// takeKey moves a key that blst made to locked memory.
func takeKey(s *blst.SecretKey) SecretKey {
	return SecretKey{scalar: secret.New(unsafe.Slice((*byte)(unsafe.Pointer(s)), ScalarSize))}
}

// PublicKey is the key's public half; zero for a destroyed key.
func (k SecretKey) PublicKey() PublicKey { return publicOf(k.scalar) }

// Sign signs a duty; the zero signature for a destroyed key.
func (k SecretKey) Sign(root eth.SigningRoot) Signature {
	q := HashRoot(root)
	return Signature{point: multiply(&q.point, k.scalar)}
}

// Expose calls use with the scalar, big-endian, and wipes it afterwards. It
// reports whether there was one.
func (k SecretKey) Expose(use func(scalar *[ScalarSize]byte)) bool {
	return exposeScalar(k.scalar, use)
}

// Equal compares two keys in constant time.
func (k SecretKey) Equal(other SecretKey) bool { return k.scalar.Equal(other.scalar) }

// Destroy wipes the key and all its copies.
func (k SecretKey) Destroy() { k.scalar.Destroy() }

// holdScalar checks a big-endian scalar and moves it to locked memory.
func holdScalar(scalar *[ScalarSize]byte) (secret.Bytes, error) {
	slices.Reverse(scalar[:])
	if !blstScalar(scalar[:]).Valid() {
		secret.Wipe(scalar[:])
		return secret.Bytes{}, ErrScalar
	}
	return secret.New(scalar[:]), nil
}

func exposeScalar(s secret.Bytes, use func(*[ScalarSize]byte)) bool {
	return s.Expose(func(b []byte) {
		scalar := new([ScalarSize]byte)
		defer secret.Wipe(scalar[:])
		copy(scalar[:], b)
		slices.Reverse(scalar[:])
		use(scalar)
	})
}

// blstScalar reads 32 little-endian bytes as blst's scalar without a copy:
// the type is exactly these bytes.
func blstScalar(b []byte) *blst.Scalar {
	return (*blst.Scalar)(unsafe.Pointer((*[ScalarSize]byte)(b)))
}

func publicOf(scalar secret.Bytes) PublicKey {
	var k PublicKey
	scalar.Expose(func(b []byte) {
		k = newPublicKey(new(blst.P1Affine).From(blstScalar(b)))
	})
	return k
}

// multiply is the constant-time core of signing: the zero point if the
// scalar was destroyed.
func multiply(q *blst.P2, scalar secret.Bytes) blst.P2Affine {
	var out blst.P2Affine
	scalar.Expose(func(b []byte) { out = *q.Mult(blstScalar(b)).ToAffine() })
	return out
}
