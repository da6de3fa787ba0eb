// Package identtest has an authenticator in software, so that tests go the
// whole way of a passkey, from its registration to what the ledger verifies.
package identtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/big"
)

// Flags of authenticator data.
const (
	Present  byte = 0x01
	Verified byte = 0x04
	Attested byte = 0x40
)

// Authenticator is browser and authenticator in one. Its fields are what it
// says, true or not.
type Authenticator struct {
	Key     crypto.Signer // P-256 or Ed25519
	RPID    string
	Origin  string
	Flags   byte
	Counter uint32
	Tail    string // what clientDataJSON ends with, after the origin
}

// New makes an authenticator with a new P-256 key.
func New(rpID, origin string) *Authenticator {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return &Authenticator{Key: key, RPID: rpID, Origin: origin, Flags: Present | Verified, Tail: `,"crossOrigin":false}`}
}

// ClientData is clientDataJSON of a ceremony, webauthn.get or webauthn.create.
func (a *Authenticator) ClientData(kind string, challenge []byte) []byte {
	return fmt.Appendf(nil, `{"type":"%s","challenge":"%s","origin":"%s"%s`, kind, base64.RawURLEncoding.EncodeToString(challenge), a.Origin, a.Tail)
}

// Data is authenticator data without anything attested.
func (a *Authenticator) Data() []byte {
	rp := sha256.Sum256([]byte(a.RPID))
	return binary.BigEndian.AppendUint32(append(rp[:], a.Flags), a.Counter)
}

// Assert answers navigator.credentials.get.
func (a *Authenticator) Assert(challenge []byte) (authenticatorData, clientDataJSON, signature []byte) {
	authenticatorData, clientDataJSON = a.Data(), a.ClientData("webauthn.get", challenge)
	return authenticatorData, clientDataJSON, a.Sign(authenticatorData, clientDataJSON)
}

// Sign signs as authenticators do: ECDSA in DER, with either s. The same twice
// is the same signature, so that vectors can be made of it.
func (a *Authenticator) Sign(authenticatorData, clientDataJSON []byte) []byte {
	sum := sha256.Sum256(clientDataJSON)
	message := append(append([]byte(nil), authenticatorData...), sum[:]...)
	var opts crypto.SignerOpts = crypto.Hash(0)
	if _, ok := a.Key.(*ecdsa.PrivateKey); ok {
		digest := sha256.Sum256(message)
		message, opts = digest[:], crypto.SHA256
	}
	sig, err := a.Key.Sign(nil, message, opts)
	if err != nil {
		panic(err)
	}
	return sig
}

// OtherS turns (r, s) into (r, n-s).
func OtherS(der []byte) []byte {
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		panic(err)
	}
	sig.S.Sub(elliptic.P256().Params().N, sig.S)
	out, err := asn1.Marshal(sig)
	if err != nil {
		panic(err)
	}
	return out
}

// Attest answers navigator.credentials.create, without attestation.
func (a *Authenticator) Attest(challenge []byte) (id, clientDataJSON, attestationObject []byte) {
	id = make([]byte, 16)
	rand.Read(id)
	data := (&Authenticator{RPID: a.RPID, Flags: a.Flags | Attested, Counter: a.Counter}).Data()
	data = append(data, make([]byte, 16)...) // AAGUID
	data = append(binary.BigEndian.AppendUint16(data, uint16(len(id))), id...)
	data = append(data, a.cose()...)
	object := append([]byte{0xa3, 0x63}, "fmt"...)
	object = append(append(object, 0x64), "none"...)
	object = append(append(object, 0x67), "attStmt"...)
	object = append(append(object, 0xa0, 0x68), "authData"...)
	object = append(object, 0x58, byte(len(data)))
	return id, a.ClientData("webauthn.create", challenge), append(object, data...)
}

// cose is the public key as RFC 9052 writes it.
func (a *Authenticator) cose() []byte {
	switch key := a.Key.Public().(type) {
	case ed25519.PublicKey:
		return append([]byte{0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20}, key...)
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			panic(err)
		}
		out := append([]byte{0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20}, point[1:33]...)
		return append(append(out, 0x22, 0x58, 0x20), point[33:]...)
	}
	panic("identtest: key of another kind")
}
