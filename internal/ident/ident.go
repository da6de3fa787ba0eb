package ident

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/quorate/quorate/internal/wire"
)

// Suite says which algorithms a key signs with. It is the first byte of
// every encoded key and signature.
type Suite uint8

const (
	Ed25519        Suite = 1
	Ed25519MLDSA65 Suite = 2
	SSH            Suite = 3 // a key of an SSH agent
	WebAuthn       Suite = 4 // a passkey
)

func (s Suite) String() string {
	switch s {
	case Ed25519:
		return "ed25519"
	case Ed25519MLDSA65:
		return "ed25519+mldsa65"
	case SSH:
		return "ssh"
	case WebAuthn:
		return "webauthn"
	}
	return fmt.Sprintf("suite %d", uint8(s))
}

// MaxPublicKey and MaxSignature bound the encodings of every suite; the
// hybrid one is the largest of both.
const (
	MaxPublicKey = 1 + ed25519.PublicKeySize + mldsa65.PublicKeySize
	MaxSignature = 1 + ed25519.SignatureSize + mldsa65.SignatureSize
)

// ErrSignature is returned when a signature does not verify, whatever the reason.
var ErrSignature = errors.New("signature does not verify")

// PublicKey verifies. Its zero value verifies nothing.
type PublicKey struct {
	suite Suite
	key   verifier // nil in the zero value
}

// verifier is a key of one suite.
type verifier interface {
	// verify checks what follows the suite's byte of a signature over msg,
	// which is wire.Hash of the tag and the parts.
	verify(tag wire.Tag, msg [32]byte, sig []byte) bool
	// bytes returns what follows the suite's byte of the encoded key.
	bytes() []byte
}

// ParsePublicKey reads the encoding that Bytes returns. There is one for each key.
func ParsePublicKey(b []byte) (PublicKey, error) {
	if len(b) == 0 || len(b) > MaxPublicKey {
		return PublicKey{}, fmt.Errorf("parse identity key: %d bytes, want 1 to %d", len(b), MaxPublicKey)
	}
	pk := PublicKey{suite: Suite(b[0])}
	var err error
	switch pk.suite {
	case Ed25519, Ed25519MLDSA65:
		pk.key, err = parsePair(b[1:], pk.suite == Ed25519MLDSA65)
	case SSH:
		pk.key, err = parseSSH(b[1:])
	case WebAuthn:
		pk.key, err = parsePasskey(b[1:])
	default:
		err = fmt.Errorf("unknown suite %d", b[0])
	}
	if err != nil {
		return PublicKey{}, fmt.Errorf("parse identity key: %w", err)
	}
	return pk, nil
}

// Bytes returns the suite and the key.
func (pk PublicKey) Bytes() []byte {
	if pk.key == nil {
		return nil
	}
	return append([]byte{byte(pk.suite)}, pk.key.bytes()...)
}

// Suite returns the algorithms of the key, 0 of the zero value.
func (pk PublicKey) Suite() Suite { return pk.suite }

// Ed25519 returns the classical half of a key of the first two suites, to
// which transports pin, and nil of any other.
func (pk PublicKey) Ed25519() ed25519.PublicKey {
	if k, ok := pk.key.(*pair); ok {
		return k.ed
	}
	return nil
}

// Verify checks sig over wire.Hash of the tag and the parts.
func (pk PublicKey) Verify(sig []byte, tag wire.Tag, parts ...[]byte) error {
	if pk.key == nil || len(sig) == 0 || len(sig) > MaxSignature || Suite(sig[0]) != pk.suite {
		return ErrSignature
	}
	if !pk.key.verify(tag, wire.Hash(tag, parts...), sig[1:]) {
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

// pair is a key of the first two suites.
type pair struct {
	ed ed25519.PublicKey
	ml []byte // as in the key's bytes; nil in the first suite

	// expand and unpack make of each half what verifies fast, once, and not for
	// those who only read a member's record: unpacking takes as long as verifying.
	expand func() *voi.ExpandedPublicKey // nil of what is no point
	unpack func() *mldsa65.PublicKey
}

func newPair(ed ed25519.PublicKey) *pair {
	return &pair{ed: ed, expand: sync.OnceValue(func() *voi.ExpandedPublicKey {
		key, err := voi.NewExpandedPublicKey(voi.PublicKey(ed))
		if err != nil {
			return nil
		}
		return key
	})}
}

func parsePair(b []byte, hybrid bool) (*pair, error) {
	want := ed25519.PublicKeySize
	if hybrid {
		want += mldsa65.PublicKeySize
	}
	if len(b) != want {
		return nil, fmt.Errorf("%d bytes after the suite, want %d", len(b), want)
	}
	k := newPair(bytes.Clone(b[:ed25519.PublicKeySize]))
	if hybrid {
		k.ml = bytes.Clone(b[ed25519.PublicKeySize:])
		k.unpack = sync.OnceValue(func() *mldsa65.PublicKey {
			var pk mldsa65.PublicKey
			pk.Unpack((*[mldsa65.PublicKeySize]byte)(k.ml)) // every string of this length is a key
			return &pk
		})
	}
	return k, nil
}

func (k *pair) bytes() []byte {
	out := append([]byte(nil), k.ed...)
	return append(out, k.ml...)
}

func (k *pair) verify(tag wire.Tag, msg [32]byte, sig []byte) bool {
	if len(sig) < ed25519.SignatureSize || !k.verifyClassical(msg[:], sig[:ed25519.SignatureSize]) {
		return false
	}
	ml := sig[ed25519.SignatureSize:]
	if k.ml == nil {
		return len(ml) == 0
	}
	return len(ml) == mldsa65.SignatureSize && mldsa65.Verify(k.unpack(), msg[:], []byte(tag), ml)
}

// asStandard has signatures accepted that crypto/ed25519 accepts, and no
// others: ledgers, archives and other implementations have to agree about
// points of small order and false encodings too (decision 0019).
var asStandard = &voi.Options{Verify: voi.VerifyOptionsStdLib}

func (k *pair) verifyClassical(msg, sig []byte) bool {
	key := k.expand()
	return key != nil && voi.VerifyExpandedWithOptions(key, msg, sig, asStandard)
}
