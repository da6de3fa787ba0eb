package credential

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// Assertion is what a browser returns from navigator.credentials.get, as
// PublicKeyCredential.toJSON writes it; of its members those that are signed.
type Assertion struct {
	Response struct {
		AuthenticatorData Base64URL `json:"authenticatorData"`
		ClientDataJSON    Base64URL `json:"clientDataJSON"`
		Signature         Base64URL `json:"signature"`
	} `json:"response"`
}

// Base64URL is base64url without padding in JSON.
type Base64URL []byte

// MarshalText writes it.
func (b Base64URL) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText reads it, strictly.
func (b *Base64URL) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.Strict().DecodeString(string(text))
	return err
}

// authenticatorData is what we take: nothing attested, no extensions.
const authenticatorData = 37

// Encode returns the assertion as a signature of ident's suite WebAuthn. It
// verifies nothing. Of r and s, which authenticators return in DER with
// either s, it takes the smaller s.
func (a Assertion) Encode() ([]byte, error) {
	r := a.Response
	if len(r.AuthenticatorData) != authenticatorData || len(r.ClientDataJSON) > wire.MaxClientData {
		return nil, fmt.Errorf("read assertion: authenticator data of %d and client data of %d bytes, want %d and at most %d",
			len(r.AuthenticatorData), len(r.ClientDataJSON), authenticatorData, wire.MaxClientData)
	}
	raw := []byte(r.Signature)
	if len(raw) != 64 { // of Ed25519 always, of ECDSA in DER all but never
		var err error
		if raw, err = fromDER(raw); err != nil {
			return nil, fmt.Errorf("read assertion: %w", err)
		}
	}
	return ident.EncodeAssertion(r.AuthenticatorData, r.ClientDataJSON, raw), nil
}

func fromDER(der []byte) ([]byte, error) {
	var r, s big.Int
	var inner cryptobyte.String
	input := cryptobyte.String(der)
	if !input.ReadASN1(&inner, asn1.SEQUENCE) || !input.Empty() ||
		!inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) || !inner.Empty() {
		return nil, errors.New("signature is neither Ed25519's nor ECDSA's")
	}
	return ident.EncodeP256(&r, &s)
}
