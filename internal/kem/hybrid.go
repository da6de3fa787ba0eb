package kem

import (
	"fmt"

	"github.com/cloudflare/circl/kem/xwing"

	"github.com/quorate/quorate/internal/secret"
)

// Sizes of the X-Wing leg.
const (
	HybridKeySize  = xwing.PublicKeySize
	CiphertextSize = xwing.CiphertextSize
	CoinsSize      = xwing.EncapsulationSeedSize
	HybridSecret   = xwing.SharedKeySize
)

// HybridKey decapsulates. The field is a function so that nothing can print it.
type HybridKey struct {
	secret.Redacted
	open func() (sk *xwing.PrivateKey, pk []byte)
}

// NewHybridKey derives the key pair from 32 uniform bytes.
func NewHybridKey(seed *[32]byte) HybridKey {
	sk, pk := xwing.DeriveKeyPair(seed[:])
	pub := make([]byte, HybridKeySize)
	pk.Pack(pub)
	return HybridKey{open: func() (*xwing.PrivateKey, []byte) { return sk, pub }}
}

// Public returns the encoded public key.
func (k HybridKey) Public() []byte {
	_, pk := k.open()
	return pk
}

// CheckHybridKey refuses an encoding that is not a canonical public key.
func CheckHybridKey(pk []byte) error {
	if len(pk) != HybridKeySize {
		return fmt.Errorf("read hybrid key of %d bytes, want %d", len(pk), HybridKeySize)
	}
	var k xwing.PublicKey
	if err := k.Unpack(pk); err != nil {
		return fmt.Errorf("read hybrid key: %w", err)
	}
	return nil
}

// Encapsulate makes a shared secret for pk from coins alone: whoever is given
// the coins can repeat it and compare.
func Encapsulate(pk []byte, coins *[CoinsSize]byte) (ciphertext []byte, shared [HybridSecret]byte, err error) {
	if err := CheckHybridKey(pk); err != nil {
		return nil, shared, err
	}
	ss, ct, err := xwing.Encapsulate(pk, coins[:])
	if err != nil {
		return nil, shared, fmt.Errorf("encapsulate: %w", err)
	}
	defer secret.Wipe(ss)
	return ct, [HybridSecret]byte(ss), nil
}

// Decapsulate never rejects a ciphertext of the right length: a false one
// yields a secret that matches nothing.
func (k HybridKey) Decapsulate(ciphertext []byte) (shared [HybridSecret]byte, err error) {
	if len(ciphertext) != CiphertextSize {
		return shared, fmt.Errorf("decapsulate %d bytes, want %d", len(ciphertext), CiphertextSize)
	}
	sk, _ := k.open()
	sk.DecapsulateTo(shared[:], ciphertext)
	return shared, nil
}
