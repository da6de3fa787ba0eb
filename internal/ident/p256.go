package ident

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"math/big"
)

// p256Point is the length of a point on P-256, uncompressed.
const p256Point = 65

func parseP256(point []byte) (*ecdsa.PublicKey, error) {
	if len(point) != p256Point {
		return nil, errors.New("a P-256 key is an uncompressed point of 65 bytes")
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
}

// verifyP256 takes r and s in 32 bytes each, and the smaller s only. Anybody
// can turn (r, s) into (r, n-s), which verifies as well; under two spellings
// of one signature a transaction would have two hashes.
func verifyP256(key *ecdsa.PublicKey, digest [32]byte, sig []byte) bool {
	if len(sig) != 64 {
		return false
	}
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	return s.Cmp(halfOrder()) <= 0 && ecdsa.Verify(key, digest[:], r, s)
}

// EncodeP256 returns the one spelling of an ECDSA signature that counts.
func EncodeP256(r, s *big.Int) ([]byte, error) {
	n := elliptic.P256().Params().N
	if r.Sign() <= 0 || s.Sign() <= 0 || r.Cmp(n) >= 0 || s.Cmp(n) >= 0 {
		return nil, errors.New("encode ECDSA signature: r or s is out of range")
	}
	if s.Cmp(halfOrder()) > 0 {
		s = new(big.Int).Sub(n, s)
	}
	var out [64]byte
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out[:], nil
}

func halfOrder() *big.Int { return new(big.Int).Rsh(elliptic.P256().Params().N, 1) }
