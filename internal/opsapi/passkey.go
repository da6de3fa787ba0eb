package opsapi

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/ident"
)

// RelyingParty is for whom passkeys are made, and on which pages they count:
// the consoles of all operators whose names lie below the id, in ascending
// order. Both become part of a passkey's public key.
type RelyingParty struct {
	ID      string   `yaml:"id"`
	Origins []string `yaml:"origins"`
}

// algorithms that ident verifies.
var algorithms = []webauthncose.COSEAlgorithmIdentifier{webauthncose.AlgES256, webauthncose.AlgEdDSA}

// RequestOptions is PublicKeyCredentialRequestOptions in JSON. It names no
// credentials: a passkey is one that the authenticator finds by the RP id.
type RequestOptions struct {
	Challenge        credential.Base64URL `json:"challenge"`
	RPID             string               `json:"rpId"`
	UserVerification string               `json:"userVerification"`
	Timeout          int64                `json:"timeout"` // milliseconds
}

// requestOptions has a browser sign a message; nil where passkeys are off.
func (s *Server) requestOptions(message [32]byte) *RequestOptions {
	if s.config.Passkeys.ID == "" {
		return nil
	}
	return &RequestOptions{message[:], s.config.Passkeys.ID, "required", challengeTime.Milliseconds()}
}

// relyingParty is the library's view of ours: it reads attestations, and
// nothing that it holds outlives a request.
func (s *Server) relyingParty() (*webauthn.WebAuthn, error) {
	if s.config.Passkeys.ID == "" {
		return nil, &Error{http.StatusNotFound, "this node takes no passkeys", "set passkeys in its config.yaml: id and origins"}
	}
	return webauthn.New(&webauthn.Config{
		RPID: s.config.Passkeys.ID, RPDisplayName: "Quorate", RPOrigins: s.config.Passkeys.Origins,
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired,
		},
	})
}

// applicant is whoever makes a passkey. The handle is random: it only has
// the authenticator keep several of one relying party.
type applicant struct {
	handle []byte
	name   string
}

func (a applicant) WebAuthnID() []byte                         { return a.handle }
func (a applicant) WebAuthnName() string                       { return a.name }
func (a applicant) WebAuthnDisplayName() string                { return a.name }
func (a applicant) WebAuthnCredentials() []webauthn.Credential { return nil }

// passkeyOptions is for anybody: a passkey counts once the ledger has it.
func (s *Server) passkeyOptions(r *http.Request) (any, error) {
	var req NewPasskey
	if err := decode(r, &req, `{"member":"alice"}`); err != nil {
		return nil, err
	}
	if err := action.CheckName("member", req.Member); err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Text: err.Error()}
	}
	rp, err := s.relyingParty()
	if err != nil {
		return nil, err
	}
	who := applicant{make([]byte, 16), req.Member}
	rand.Read(who.handle)
	challenge, _ := s.challenges.issue(forPasskey, req.Member, s.config.Now())
	options, _, err := rp.BeginRegistration(who, webauthn.WithCredentialParameters(parameters()), func(o *protocol.PublicKeyCredentialCreationOptions) error {
		o.Challenge, o.Timeout = challenge, int(challengeTime.Milliseconds())
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("offer passkey: %w", err)
	}
	return options, nil
}

func parameters() (out []protocol.CredentialParameter) {
	for _, alg := range algorithms {
		out = append(out, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: alg})
	}
	return out
}

func (s *Server) registerPasskey(r *http.Request) (any, error) {
	var req RegisterPasskey
	if err := decode(r, &req, `{"member":"alice","credential":{…}}`); err != nil {
		return nil, err
	}
	rp, err := s.relyingParty()
	if err != nil {
		return nil, err
	}
	refused := func(err error) error {
		return &Error{http.StatusBadRequest, "register passkey: " + err.Error(), "credential is what navigator.credentials.create returned"}
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(req.Credential)
	if err != nil {
		return nil, refused(err)
	}
	// The library compares challenges with one that a server remembers. Ours
	// remember themselves.
	client := parsed.Response.CollectedClientData
	var challenge credential.Base64URL
	if err := errors.Join(challenge.UnmarshalText([]byte(client.Challenge)),
		s.challenges.check(forPasskey, req.Member, challenge, s.config.Now())); err != nil {
		return nil, refused(errChallenge)
	}
	if client.CrossOrigin || !slices.Contains(s.config.Passkeys.Origins, client.Origin) {
		return nil, refused(fmt.Errorf("origin %.200q is not among %v", client.Origin, s.config.Passkeys.Origins))
	}
	made, err := rp.CreateCredential(applicant{name: req.Member}, webauthn.SessionData{
		Challenge: client.Challenge, RelyingPartyID: s.config.Passkeys.ID,
		UserVerification: protocol.VerificationRequired, CredParams: parameters(),
	}, parsed)
	if err != nil {
		return nil, refused(err)
	}
	key, err := publicKey(made.PublicKey)
	if err != nil {
		return nil, refused(err)
	}
	pk, err := ident.NewPasskey(key, s.config.Passkeys.ID, s.config.Passkeys.Origins)
	if err != nil {
		return nil, refused(err)
	}
	return Passkey{req.Member, pk}, nil
}

// publicKey reads a COSE key.
func publicKey(cose []byte) (crypto.PublicKey, error) {
	parsed, err := webauthncose.ParsePublicKey(cose)
	if err != nil {
		return nil, err
	}
	switch k := parsed.(type) {
	case webauthncose.EC2PublicKeyData:
		if k.Algorithm == int64(webauthncose.AlgES256) && k.Curve == int64(webauthncose.P256) && len(k.XCoord) == 32 && len(k.YCoord) == 32 {
			return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, k.XCoord, k.YCoord))
		}
	case webauthncose.OKPPublicKeyData:
		if k.Algorithm == int64(webauthncose.AlgEdDSA) && k.Curve == int64(webauthncose.Ed25519) && len(k.XCoord) == ed25519.PublicKeySize {
			return ed25519.PublicKey(k.XCoord), nil
		}
	}
	return nil, errors.New("the authenticator made a key that is neither ES256's nor Ed25519's")
}

// NewPasskey asks for what a browser hands to navigator.credentials.create.
type NewPasskey struct {
	Member string `json:"member"`
}

// RegisterPasskey brings back what that returned, as toJSON writes it.
type RegisterPasskey struct {
	Member     string          `json:"member"`
	Credential json.RawMessage `json:"credential"`
}

// Passkey is a credential to be put on the ledger as a member's.
type Passkey struct {
	Member     string          `json:"member"`
	Credential ident.PublicKey `json:"credential"`
}
