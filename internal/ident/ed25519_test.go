package ident

import (
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/binary"
	"math/big"
	"slices"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// alike reports whether a signature counts, and that crypto/ed25519 says so too.
func alike(t *testing.T, key, msg, sig []byte) bool {
	t.Helper()
	want := ed25519.Verify(key, msg, sig)
	if got := newPair(key).verifyClassical(msg, sig); got != want {
		t.Fatalf("key %x, message %x, signature %x: %t, and crypto/ed25519 says %t", key, msg, sig, got, want)
	}
	return want
}

// oddEncodings are those of small order, and some whose y has two encodings,
// each with either sign.
func oddEncodings() (out [][]byte) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	ys := []*big.Int{new(big.Int).Sub(p, big.NewInt(1))}
	for i := range int64(3) {
		ys = append(ys, big.NewInt(i), new(big.Int).Add(p, big.NewInt(i)))
	}
	for _, torsion := range curve.EIGHT_TORSION {
		var c curve.CompressedEdwardsY
		c.SetEdwardsPoint(torsion)
		c[31] &= 0x7f
		y := slices.Clone(c[:])
		slices.Reverse(y)
		ys = append(ys, new(big.Int).SetBytes(y))
	}
	for _, y := range ys {
		enc := y.FillBytes(make([]byte, 32))
		slices.Reverse(enc)
		negative := slices.Clone(enc)
		negative[31] |= 0x80
		out = append(out, enc, negative)
	}
	return out
}

func encoded(p *curve.EdwardsPoint) []byte {
	var c curve.CompressedEdwardsY
	return slices.Clone(c.SetEdwardsPoint(p)[:])
}

// Which signatures count is what crypto/ed25519 says, of keys and nonces of
// small and mixed order and of encodings that are not canonical as well.
func TestEd25519IsTheStandardLibrarys(t *testing.T) {
	odd := oddEncodings()
	zero, order := make([]byte, 32), make([]byte, 32)
	if err := scalar.BASEPOINT_ORDER.ToBytes(order); err != nil {
		t.Fatal(err)
	}
	taken, all := 0, 0
	count := func(good bool) {
		all++
		if good {
			taken++
		}
	}
	for m := range byte(4) {
		for _, key := range odd {
			for _, r := range odd {
				for _, s := range [][]byte{zero, order} { // of which the second is not canonical
					count(alike(t, key, []byte{m}, slices.Concat(r, s)))
				}
			}
		}
	}
	if taken == 0 || taken == all {
		t.Errorf("%d of %d signatures with keys of small order were taken", taken, all)
	}
	taken, all = 0, 0
	a, r := numberedScalar(1), numberedScalar(2)
	for i, keyShift := range curve.EIGHT_TORSION {
		for _, nonceShift := range curve.EIGHT_TORSION {
			for m := range byte(8) {
				msg := []byte{m, byte(i)}
				key, nonce := encoded(shifted(a, keyShift)), encoded(shifted(r, nonceShift))
				s := scalar.New().Mul(challengeOf(nonce, key, msg), a)
				sum := make([]byte, 32)
				if err := s.Add(s, r).ToBytes(sum); err != nil {
					t.Fatal(err)
				}
				count(alike(t, key, msg, slices.Concat(nonce, sum)))
				count(alike(t, key, msg, slices.Concat(nonce, plusOrder(sum))))
			}
		}
	}
	if taken == 0 || taken == all {
		t.Errorf("%d of %d signatures of mixed order were taken", taken, all)
	}
}

func numberedScalar(i uint64) *scalar.Scalar {
	wide := sha512.Sum512(binary.LittleEndian.AppendUint64(nil, i))
	s, err := scalar.NewFromBytesModOrderWide(wide[:])
	if err != nil {
		panic(err)
	}
	return s
}

func shifted(s *scalar.Scalar, by *curve.EdwardsPoint) *curve.EdwardsPoint {
	p := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, s)
	return p.Add(p, by)
}

func challengeOf(nonce, key, msg []byte) *scalar.Scalar {
	wide := sha512.Sum512(slices.Concat(nonce, key, msg))
	s, err := scalar.NewFromBytesModOrderWide(wide[:])
	if err != nil {
		panic(err)
	}
	return s
}

// plusOrder is the same scalar, not canonical.
func plusOrder(s []byte) []byte {
	order := make([]byte, 32)
	_ = scalar.BASEPOINT_ORDER.ToBytes(order)
	out := make([]byte, 32)
	carry := 0
	for i := range out {
		carry += int(s[i]) + int(order[i])
		out[i] = byte(carry)
		carry >>= 8
	}
	return out
}

func FuzzEd25519IsTheStandardLibrarys(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	f.Add([]byte(key.Public().(ed25519.PublicKey)), []byte("message"), ed25519.Sign(key, []byte("message")))
	for _, odd := range oddEncodings() {
		f.Add(odd, []byte{0}, slices.Concat(odd, make([]byte, 32)))
	}
	f.Fuzz(func(t *testing.T, key, msg, sig []byte) {
		if len(key) == ed25519.PublicKeySize {
			alike(t, key, msg, sig)
		}
	})
}
