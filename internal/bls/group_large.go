package bls

import (
	"crypto/sha3"
	"encoding/binary"
	"fmt"
	"math/bits"

	blst "github.com/supranational/blst/bindings/go"

	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// This file holds what ceremonies of thousands need beyond single group
// operations: a call into C for each of ten million subtractions, or a pairing
// for each of four thousand attestations, would be most of their cost.

// limbs is a scalar below r, least significant limb first.
type limbs [scalarSize / 8]uint64

var order = limbs{0xffffffff00000001, 0x53bda402fffe5bfe, 0x3339d80809a1d805, 0x73eda753299d7d48}

// sub sets a to a - b modulo r, without a branch.
func (a *limbs) sub(b *limbs) {
	d0, borrow := bits.Sub64(a[0], b[0], 0)
	d1, borrow := bits.Sub64(a[1], b[1], borrow)
	d2, borrow := bits.Sub64(a[2], b[2], borrow)
	d3, borrow := bits.Sub64(a[3], b[3], borrow)
	mask := -borrow
	var carry uint64
	a[0], carry = bits.Add64(d0, order[0]&mask, 0)
	a[1], carry = bits.Add64(d1, order[1]&mask, carry)
	a[2], carry = bits.Add64(d2, order[2]&mask, carry)
	a[3], _ = bits.Add64(d3, order[3]&mask, carry)
}

// Extend returns the values at 0, …, n of the polynomial of degree below
// len(values) that has these values at 0, 1, …. The values may be secret: time
// and memory accesses depend on their number alone. The t-th differences are
// zero, so that subtractions are enough.
func (G1) Extend(values []G1Scalar, n int) []G1Scalar {
	t := len(values)
	out := append(make([]G1Scalar, 0, n+1), values...)
	v := make([]limbs, t)
	defer clear(v)
	for i := range values {
		raw := values[i].s.ToLEndian()
		for j := range v[i] {
			v[i][j] = binary.LittleEndian.Uint64(raw[8*j:])
		}
		secret.Wipe(raw)
	}
	for level := 1; level < t; level++ {
		for i := range v[:t-level] {
			v[i].sub(&v[i+1])
		}
	}
	var raw [scalarSize]byte
	for len(out) <= n {
		for i := 1; i < t; i++ {
			v[i].sub(&v[i-1])
		}
		for j, limb := range v[t-1] {
			binary.LittleEndian.PutUint64(raw[8*j:], limb)
		}
		var s G1Scalar
		s.s.FromLEndian(raw[:])
		out = append(out, s)
	}
	secret.Wipe(raw[:])
	return out
}

// VerifyAttestations returns the positions of those that Attest did not make
// over msg for the point beside them, at the price of one verification and
// some tens of microseconds each. The points must have passed Outside: a
// random combination says nothing about small orders. The coefficients are a
// hash of the whole statement, so that every replica comes to the same.
func (g G1) VerifyAttestations(points []G1Point, msg []byte, attestations [][]byte) (bad []int) {
	if len(points) == 0 {
		return nil
	}
	coefficients := sha3.NewSHAKE256()
	write := func(b []byte) { _, _ = coefficients.Write(b) } // which never fails
	write([]byte(wire.TagBatchWeight))
	write(msg)
	b := batch{hashes: []blst.P2{*blst.HashToG2(msg, attestDST)}}
	for i, key := range affine(points) {
		write(key.Serialize())
		write(attestations[i])
		c := claim{key: newPublicKey(&key)}
		c.sig, _ = parseG2(attestations[i]) // the zero point where it is none, which is not plausible
		b.claims = append(b.claims, c)
	}
	bad, err := b.findBad(coefficients)
	if err != nil {
		panic("bls: a hash ran dry: " + err.Error())
	}
	return bad
}

// CombineAttestations interpolates t attestations of one message at zero: the
// attestation under the key whose shares made them. The indices are distinct
// and not 0. Whether the attestations are good it does not know: verify.
func (G1) CombineAttestations(indices []uint16, attestations [][]byte) ([]byte, error) {
	partials := make([]Partial, len(indices))
	for i, index := range indices {
		sig, err := parseG2(attestations[i])
		if err != nil {
			return nil, fmt.Errorf("combine attestation of %d: %w", index, err)
		}
		partials[i] = Partial{index: index, sig: Signature{point: sig}}
	}
	sig, err := Combine(max(len(partials), 1), partials)
	if err != nil {
		return nil, err
	}
	return sig.point.Compress(), nil
}
