package ident

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"github.com/quorate/quorate/internal/wire"
)

// Suite says which algorithms a key signs with. It is the first byte of
// every encoded key and signature.
type Suite uint8

const (
	Ed25519        Suite = 1
	Ed25519MLDSA65 Suite = 2
)

// SeedSize is the length of a private key at rest: a seed for each half.
const SeedSize = 64

// MaxPublicKey and MaxSignature bound the encodings of every suite.
const (
	MaxPublicKey = 1 + ed25519.PublicKeySize + mldsa65.PublicKeySize
	MaxSignature = 1 + ed25519.SignatureSize + mldsa65.SignatureSize
)

// ErrSignature is returned when a signature does not verify, whatever the reason.
var ErrSignature = errors.New("signature does not verify")

// PublicKey verifies. Its zero value verifies nothing.
type PublicKey struct {
	suite Suite
	ed    ed25519.PublicKey
	ml    *mldsa65.PublicKey
}

// ParsePublicKey reads the encoding that Bytes returns.
func ParsePublicKey(b []byte) (PublicKey, error) {
	if len(b) < 1+ed25519.PublicKeySize {
		return PublicKey{}, fmt.Errorf("parse identity key: %d bytes are too few", len(b))
	}
	pk := PublicKey{suite: Suite(b[0]), ed: append(ed25519.PublicKey(nil), b[1:1+ed25519.PublicKeySize]...)}
	rest := b[1+ed25519.PublicKeySize:]
	switch pk.suite {
	case Ed25519:
		if len(rest) != 0 {
			return PublicKey{}, fmt.Errorf("parse identity key: %d trailing bytes", len(rest))
		}
	case Ed25519MLDSA65:
		pk.ml = new(mldsa65.PublicKey)
		if err := pk.ml.UnmarshalBinary(rest); err != nil {
			return PublicKey{}, fmt.Errorf("parse identity key: %w", err)
		}
	default:
		return PublicKey{}, fmt.Errorf("parse identity key: unknown suite %d", b[0])
	}
	return pk, nil
}

// Bytes returns suite, Ed25519 key and, where the suite has one, ML-DSA key.
func (pk PublicKey) Bytes() []byte {
	if pk.suite == 0 {
		return nil
	}
	out := append([]byte{byte(pk.suite)}, pk.ed...)
	if pk.ml != nil {
		out = append(out, pk.ml.Bytes()...)
	}
	return out
}

// Suite returns the algorithms of the key.
func (pk PublicKey) Suite() Suite { return pk.suite }

// Ed25519 returns the classical half, to which transports pin.
func (pk PublicKey) Ed25519() ed25519.PublicKey { return pk.ed }

// Verify checks sig over the tag and parts as [PrivateKey.Sign] made it.
func (pk PublicKey) Verify(sig []byte, tag wire.Tag, parts ...[]byte) error {
	if len(sig) < 1+ed25519.SignatureSize || pk.suite == 0 || Suite(sig[0]) != pk.suite {
		return ErrSignature
	}
	msg := wire.Hash(tag, parts...)
	ed, ml := sig[1:1+ed25519.SignatureSize], sig[1+ed25519.SignatureSize:]
	if !ed25519.Verify(pk.ed, msg[:], ed) {
		return ErrSignature
	}
	if pk.ml == nil {
		if len(ml) != 0 {
			return ErrSignature
		}
		return nil
	}
	if len(ml) != mldsa65.SignatureSize || !mldsa65.Verify(pk.ml, msg[:], []byte(tag), ml) {
		return ErrSignature
	}
	return nil
}

// MarshalText writes hex with 0x, for genesis documents.
func (pk PublicKey) MarshalText() ([]byte, error) {
	return []byte("0x" + hex.EncodeToString(pk.Bytes())), nil
}

// UnmarshalText reads what MarshalText wrote.
func (pk *PublicKey) UnmarshalText(text []byte) error {
	if len(text) < 2 || string(text[:2]) != "0x" || len(text) > 2+2*MaxPublicKey {
		return errors.New("parse identity key: want 0x and hex")
	}
	b, err := hex.DecodeString(string(text[2:]))
	if err != nil {
		return fmt.Errorf("parse identity key: %w", err)
	}
	*pk, err = ParsePublicKey(b)
	return err
}

// PrivateKey signs. The key material is reachable through no field, so that
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
	pub := PublicKey{suite: suite, ed: ed.Public().(ed25519.PublicKey)}
	var ml *mldsa65.PrivateKey
	if suite == Ed25519MLDSA65 {
		pub.ml, ml = mldsa65.NewKeyFromSeed((*[32]byte)(seed[32:]))
	}
	return PrivateKey{
		public: pub,
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
