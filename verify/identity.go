package verify

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
)

// Suites of keys, spec/credentials.md: the first byte of a key and of its
// signatures.
const (
	suiteEd25519 = 1
	suiteHybrid  = 2
	suiteSSH     = 3
	suitePasskey = 4
)

// identity is a key that signs under a tag.
type identity struct {
	raw    []byte             // as it is encoded
	ml     *mldsa65.PublicKey // of suite 2
	person person             // of suites 3 and 4
}

// person is the key of an SSH agent or an authenticator: it judges what
// follows the suite of a signature over m.
type person interface {
	signed(m [32]byte, sig []byte) bool
}

func parseIdentity(s string) (identity, error) {
	raw, err := parseHex(s)
	if err != nil {
		return identity{}, err
	}
	return newIdentity(raw)
}

// newIdentity reads a key. What it returns keeps raw.
func newIdentity(raw []byte) (id identity, err error) {
	if len(raw) == 0 {
		return id, errors.New("key of no bytes")
	}
	id.raw = raw
	switch suite := raw[0]; {
	case suite == suiteEd25519 && len(raw) == 1+ed25519.PublicKeySize:
	case suite == suiteHybrid && len(raw) == 1+ed25519.PublicKeySize+mldsa65.PublicKeySize:
		id.ml = new(mldsa65.PublicKey)
		err = id.ml.UnmarshalBinary(raw[1+ed25519.PublicKeySize:])
	case suite == suiteSSH:
		id.person, err = parseSSH(raw[1:])
	case suite == suitePasskey:
		id.person, err = parsePasskey(raw[1:])
	default:
		err = fmt.Errorf("key of suite %d and %d bytes", suite, len(raw))
	}
	return id, err
}

// classical is the Ed25519 key of suites 1 and 2.
func (id identity) classical() ed25519.PublicKey {
	return ed25519.PublicKey(id.raw[1 : 1+ed25519.PublicKeySize])
}

// verify judges a signature over H(tag, message). Of suite 2 both halves must hold.
func (id identity) verify(tag string, message, sig []byte) bool {
	if len(sig) == 0 || sig[0] != id.raw[0] {
		return false
	}
	m, sig := taggedHash(tag, message), sig[1:]
	if id.person != nil {
		return id.person.signed(m, sig)
	}
	if len(sig) < ed25519.SignatureSize || !ed25519.Verify(id.classical(), m[:], sig[:ed25519.SignatureSize]) {
		return false
	}
	rest := sig[ed25519.SignatureSize:]
	if id.ml == nil {
		return len(rest) == 0
	}
	return len(rest) == mldsa65.SignatureSize && mldsa65.Verify(id.ml, m[:], []byte(tag), rest)
}

// curveKey is what suites 3 and 4 sign with: one of the two.
type curveKey struct {
	ed ed25519.PublicKey
	ec *ecdsa.PublicKey
}

const (
	curvePoint     = 65 // of P-256, uncompressed
	curveSignature = 64 // R and S, or r and s
)

func edKey(b []byte) (curveKey, error) {
	if len(b) != ed25519.PublicKeySize {
		return curveKey{}, fmt.Errorf("Ed25519 key of %d bytes", len(b))
	}
	return curveKey{ed: b}, nil
}

func ecKey(point []byte) (k curveKey, err error) {
	if len(point) != curvePoint {
		return k, fmt.Errorf("P-256 key of %d bytes", len(point))
	}
	k.ec, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	return k, err
}

// holds judges a signature over a message. Of the two s that ECDSA lets
// anybody choose from, the smaller counts.
func (k curveKey) holds(message, sig []byte) bool {
	if len(sig) != curveSignature {
		return false
	}
	if k.ed != nil {
		return ed25519.Verify(k.ed, message, sig)
	}
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	if new(big.Int).Lsh(s, 1).Cmp(elliptic.P256().Params().N) > 0 {
		return false
	}
	digest := sha256.Sum256(message)
	return ecdsa.Verify(k.ec, digest[:], r, s)
}

// Flags of an authenticator: of passkeys, and of SSH keys on a token.
const (
	flagPresent    = 1 << 0 // somebody touched it
	flagVerified   = 1 << 2 // and it knows who
	flagBackupable = 1 << 3
	flagBackedUp   = 1 << 4
	flagAttested   = 1 << 6 // more follows, which never does in what counts
	flagExtensions = 1 << 7
)

// flagsHold says whether all flags that are needed are set, and none that
// announces more than there is.
func flagsHold(flags, needed byte) bool {
	return flags&needed == needed && flags&(flagAttested|flagExtensions) == 0
}
