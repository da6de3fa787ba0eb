package transcript

import (
	"crypto/ed25519"
	"errors"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
)

// identity is the key of a seat: Ed25519, or that and ML-DSA-65.
type identity struct {
	raw []byte
	ed  ed25519.PublicKey
	ml  *mldsa65.PublicKey
}

const mostIdentity = 2 << 10

func readIdentity(r *reader) (id identity) {
	id.raw = r.string(mostIdentity)
	switch {
	case len(id.raw) == 1+ed25519.PublicKeySize && id.raw[0] == 1:
	case len(id.raw) == 1+ed25519.PublicKeySize+mldsa65.PublicKeySize && id.raw[0] == 2:
		id.ml = new(mldsa65.PublicKey)
		if err := id.ml.UnmarshalBinary(id.raw[1+ed25519.PublicKeySize:]); err != nil {
			r.fail(err)
		}
	default:
		r.fail(errors.New("not an identity key"))
		return id
	}
	id.ed = id.raw[1 : 1+ed25519.PublicKeySize]
	return id
}

// signed tells whether the key signed the parts under a tag.
func (id *identity) signed(signature []byte, tag string, parts ...[]byte) bool {
	over := h(tag, parts...)
	if len(signature) < 1+ed25519.SignatureSize || signature[0] != id.raw[0] {
		return false
	}
	ed, ml := signature[1:1+ed25519.SignatureSize], signature[1+ed25519.SignatureSize:]
	if !ed25519.Verify(id.ed, over[:], ed) {
		return false
	}
	if id.ml == nil {
		return len(ml) == 0
	}
	return len(ml) == mldsa65.SignatureSize && mldsa65.Verify(id.ml, over[:], []byte(tag), ml)
}

// mostSignature is the longest.
const mostSignature = 1 + ed25519.SignatureSize + mldsa65.SignatureSize
