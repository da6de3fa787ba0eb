package ident

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"github.com/quorate/quorate/internal/wire"
)

// SeedSize is the length of a private key at rest: a seed for each half.
const SeedSize = 64

// PrivateKey signs in one of the first two suites. The key material is reachable through no field, so that
// printing a struct that holds one shows nothing.
type PrivateKey struct {
	public PublicKey
	sign   func(tag wire.Tag, msg []byte) []byte
	ed     func() ed25519.PrivateKey
}

// Generate makes a key and the seed to store it by.
func Generate(suite Suite, rand io.Reader) (PrivateKey, []byte, error) {
	seed := make([]byte, SeedSize)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return PrivateKey{}, nil, fmt.Errorf("generate identity key: %w", err)
	}
	key, err := FromSeed(suite, seed)
	return key, seed, err
}

// FromSeed rebuilds a key from its seed of SeedSize bytes.
func FromSeed(suite Suite, seed []byte) (PrivateKey, error) {
	if len(seed) != SeedSize {
		return PrivateKey{}, fmt.Errorf("load identity key: seed is %d bytes long, want %d", len(seed), SeedSize)
	}
	if suite != Ed25519 && suite != Ed25519MLDSA65 {
		return PrivateKey{}, fmt.Errorf("load identity key: unknown suite %d", suite)
	}
	ed := ed25519.NewKeyFromSeed(seed[:32])
	public := newPair(ed.Public().(ed25519.PublicKey))
	var ml *mldsa65.PrivateKey
	if suite == Ed25519MLDSA65 {
		var pk *mldsa65.PublicKey
		pk, ml = mldsa65.NewKeyFromSeed((*[32]byte)(seed[32:]))
		public.ml, public.unpack = pk.Bytes(), func() *mldsa65.PublicKey { return pk }
	}
	return PrivateKey{
		public: PublicKey{suite, public},
		ed:     func() ed25519.PrivateKey { return ed },
		sign: func(tag wire.Tag, msg []byte) []byte {
			out := append([]byte{byte(suite)}, ed25519.Sign(ed, msg)...)
			if ml == nil {
				return out
			}
			half := make([]byte, mldsa65.SignatureSize)
			// Deterministic signing: nothing here may depend on fresh randomness
			// after a restart. The only error is a context over 255 bytes.
			if err := mldsa65.SignTo(ml, msg, []byte(tag), false, half); err != nil {
				panic("ident: " + err.Error())
			}
			return append(out, half...)
		},
	}, nil
}

// Public returns the key that verifies.
func (k PrivateKey) Public() PublicKey { return k.public }

// Sign signs the tag and parts.
func (k PrivateKey) Sign(tag wire.Tag, parts ...[]byte) []byte {
	msg := wire.Hash(tag, parts...)
	return k.sign(tag, msg[:])
}

// ExposeEd25519 returns the classical half for a transport that signs with it.
func (k PrivateKey) ExposeEd25519() ed25519.PrivateKey { return k.ed() }

// Format redacts under every verb.
func (k PrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, "ident.PrivateKey(redacted)") }

// LogValue redacts.
func (k PrivateKey) LogValue() slog.Value { return slog.StringValue("ident.PrivateKey(redacted)") }

// MarshalText refuses.
func (k PrivateKey) MarshalText() ([]byte, error) {
	return nil, errors.New("an identity key is not marshalled")
}
