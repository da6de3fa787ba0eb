package bls

import (
	"encoding/hex"
	"fmt"

	blst "github.com/supranational/blst/bindings/go"

	"github.com/quorate/quorate/internal/eth"
)

// The domain-separation tag of the hash to G2.
var dstEthereum = []byte("BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_")

// HashedRoot is a signing root hashed to G2, about half the work of signing.
// Attestations of one slot share it over all keys.
type HashedRoot struct{ point blst.P2 }

// HashRoot hashes root under Ethereum's tag.
func HashRoot(root eth.SigningRoot) HashedRoot {
	b := root.Bytes()
	return HashedRoot{point: *blst.HashToG2(b[:], dstEthereum)}
}

// Signature is a point of the subgroup of G2. Only Verify knows whether it
// is anybody's signature. The zero value verifies under no key.
type Signature struct{ point blst.P2Affine }

// ParseSignature decodes the compressed form and checks that the point is
// canonical, on the curve, in the subgroup and not the identity.
func ParseSignature(b []byte) (Signature, error) {
	p, err := parseG2(b)
	if err != nil {
		return Signature{}, fmt.Errorf("parse signature: %w", err)
	}
	return Signature{point: p}, nil
}

// Bytes is the compressed form.
func (s Signature) Bytes() [SignatureSize]byte { return [SignatureSize]byte(s.point.Compress()) }

// String is the compressed form in hex, as Ethereum writes it.
func (s Signature) String() string { return "0x" + hex.EncodeToString(s.point.Compress()) }

func parseG2(b []byte) (blst.P2Affine, error) {
	var p blst.P2Affine
	if p.Uncompress(b) == nil || !p.SigValidate(true) {
		return blst.P2Affine{}, ErrPoint
	}
	return p, nil
}

// isZero reports the identity, whose affine form in blst is all zeros.
func isZero(p *blst.P2Affine) bool { return *p == blst.P2Affine{} }
