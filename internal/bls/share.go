package bls

import (
	"encoding/binary"
	"errors"
	"fmt"

	blst "github.com/supranational/blst/bindings/go"

	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/secret"
)

// ErrIndex is wrapped where a share's index is 0: the key itself lies there.
var ErrIndex = errors.New("share index is zero")

// Share is one holder's part of a key: the value of the sharing polynomial at
// Index. It signs partial signatures and nothing else.
type Share struct {
	secret.Redacted
	index  uint16
	scalar secret.Bytes // little-endian, as blst reads it
}

// NewShare takes a big-endian scalar, and wipes it. It refuses index 0 and a
// scalar that is 0 or not below the group order.
func NewShare(index uint16, scalar *[ScalarSize]byte) (Share, error) {
	if index == 0 {
		secret.Wipe(scalar[:])
		return Share{}, fmt.Errorf("take share: %w", ErrIndex)
	}
	held, err := holdScalar(scalar)
	if err != nil {
		return Share{}, fmt.Errorf("take share %d: %w", index, err)
	}
	return Share{index: index, scalar: held}, nil
}

// Index is x_i, from 1.
func (s Share) Index() uint16 { return s.index }

// PublicShare is Y_i; zero for a destroyed share.
func (s Share) PublicShare() PublicKey { return publicOf(s.scalar) }

// SignPartial signs a duty. A destroyed share yields the zero partial, which
// nothing accepts.
func (s Share) SignPartial(root eth.SigningRoot) Partial { return s.SignHashed(HashRoot(root)) }

// SignHashed is SignPartial for callers that sign one root with many keys.
func (s Share) SignHashed(root HashedRoot) Partial {
	p := multiply(&root.point, s.scalar)
	if isZero(&p) {
		return Partial{}
	}
	return Partial{index: s.index, sig: Signature{point: p}}
}

// Destroy wipes the share and all its copies.
func (s Share) Destroy() { s.scalar.Destroy() }

// PartialSize is the size of an encoded partial: index, then the point
// uncompressed. Partials live for milliseconds between two processes, and a
// square root for each would cost them more than the bytes do.
const PartialSize = 2 + 2*SignatureSize

// Partial is one holder's signature, good for combining and nothing else.
// The zero value is invalid.
type Partial struct {
	index uint16
	sig   Signature
}

// ParsePartial decodes what Bytes made. The point is on the curve; whether it
// is in the subgroup, [Combine] checks once, for the sum, and [VerifyPartials]
// for each when there is somebody to blame.
func ParsePartial(b []byte) (Partial, error) {
	if len(b) != PartialSize {
		return Partial{}, fmt.Errorf("parse partial: %d bytes, want %d", len(b), PartialSize)
	}
	index := binary.BigEndian.Uint16(b)
	if index == 0 {
		return Partial{}, fmt.Errorf("parse partial: %w", ErrIndex)
	}
	var p blst.P2Affine
	// The top bits would announce another form; blst reads that one too.
	if b[2]&0xe0 != 0 || p.Deserialize(b[2:]) == nil || isZero(&p) {
		return Partial{}, fmt.Errorf("parse partial %d: %w", index, ErrPoint)
	}
	return Partial{index: index, sig: Signature{point: p}}, nil
}

// Index says whose partial it claims to be.
func (p Partial) Index() uint16 { return p.index }

// Bytes is the index, big-endian, and the uncompressed point.
func (p Partial) Bytes() [PartialSize]byte {
	var out [PartialSize]byte
	binary.BigEndian.PutUint16(out[:], p.index)
	copy(out[2:], p.sig.point.Serialize())
	return out
}
