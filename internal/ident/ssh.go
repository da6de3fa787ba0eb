package ident

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"strings"

	"github.com/quorate/quorate/internal/wire"
)

// SSHNamespace keeps signatures for us apart from all others of the same key.
const SSHNamespace = "quorate"

// Kinds of SSH keys that can sign for a member. RSA is not among them.
const (
	sshEd25519   = "ssh-ed25519"
	sshP256      = "ecdsa-sha2-nistp256"
	sshSKEd25519 = "sk-ssh-ed25519@openssh.com"
	sshSKP256    = "sk-ecdsa-sha2-nistp256@openssh.com"
)

// Flags of an authenticator, as it signs them.
const (
	flagPresent  = 0x01 // somebody touched it
	flagVerified = 0x04 // by PIN or fingerprint it knows who
	flagEligible = 0x08 // the key may be backed up
	flagBackedUp = 0x10 // and is
	flagExtended = 0xc0 // attested or extension data follow: never in what we take
)

// sshKey is a key as SSH writes it. Of a key on a security token (sk-) an
// authenticator's flags are asked for: presence always, verification of the
// user where the key says so.
type sshKey struct {
	need        byte // flags that a signature must carry; 0 where there is no token
	blob        []byte
	ed          ed25519.PublicKey // one of the two
	ec          *ecdsa.PublicKey
	application string // of a token's key: what FIDO calls the RP id
}

// NewSSH makes a key of the wire format of SSH, the base64 field of an
// authorized_keys line. Of a key on a token, verified asks for PIN or
// fingerprint with each signature (ssh-keygen -O verify-required).
func NewSSH(blob []byte, verified bool) (PublicKey, error) {
	need := byte(0)
	if strings.HasPrefix(sshKind(blob), "sk-") {
		need = flagPresent
		if verified {
			need |= flagVerified
		}
	} else if verified {
		return PublicKey{}, errors.New("read SSH key: only a key on a token can ask for its user's verification")
	}
	return ParsePublicKey(append([]byte{byte(SSH), need}, blob...))
}

// SSHBlob returns a key of suite SSH in the wire format of SSH, else nil.
func (pk PublicKey) SSHBlob() []byte {
	if k, ok := pk.key.(*sshKey); ok {
		return append([]byte(nil), k.blob...)
	}
	return nil
}

func sshKind(blob []byte) string { return wire.NewDecoder(blob).String(wire.MaxName) }

func parseSSH(b []byte) (*sshKey, error) {
	d := wire.NewDecoder(b) // a string of SSH is a string of ours
	k := &sshKey{need: d.U8(), blob: append([]byte(nil), b[min(1, len(b)):]...)}
	kind := d.String(wire.MaxName)
	switch kind {
	case sshEd25519, sshSKEd25519:
		k.ed = d.Bytes(ed25519.PublicKeySize)
		if d.Err() == nil && len(k.ed) != ed25519.PublicKeySize {
			d.Fail(fmt.Errorf("an Ed25519 key of %d bytes", len(k.ed)))
		}
	case sshP256, sshSKP256:
		if curve := d.String(16); d.Err() == nil && curve != "nistp256" {
			d.Fail(fmt.Errorf("curve %.16q", curve))
		}
		if point := d.Bytes(p256Point); d.Err() == nil {
			var err error
			k.ec, err = parseP256(point)
			d.Fail(err)
		}
	default:
		d.Fail(errors.New("the kind of SSH key is neither ed25519 nor nistp256, with or without sk-"))
	}
	token := kind == sshSKEd25519 || kind == sshSKP256
	if token {
		// ssh: keeps these keys apart from passkeys, whose RP id is a domain.
		if k.application = d.String(wire.MaxName); d.Err() == nil && !strings.HasPrefix(k.application, "ssh:") {
			d.Fail(errors.New("the application of the token's key lacks the prefix ssh: of SSH"))
		}
	}
	if d.Err() == nil && (token && k.need&^flagVerified != flagPresent || !token && k.need != 0) {
		d.Fail(fmt.Errorf("required flags %#x", k.need))
	}
	return k, d.Finish()
}

func (k *sshKey) bytes() []byte { return append([]byte{k.need}, k.blob...) }

// SSHMessage returns the bytes that an SSH agent signs for a tag and parts:
// the signed data of PROTOCOL.sshsig over wire.Hash of them.
func SSHMessage(tag wire.Tag, parts ...[]byte) []byte {
	msg := wire.Hash(tag, parts...)
	return sshsig(SSHNamespace, msg[:])
}

func sshsig(namespace string, message []byte) []byte {
	sum := sha512.Sum512(message)
	e := wire.NewEncoder([]byte("SSHSIG"))
	e.String(namespace)
	e.String("") // reserved
	e.String("sha512")
	e.Bytes(sum[:])
	return e.Out()
}

// verify takes 64 bytes, R and S or r and s, and of a token flags and counter
// behind them. All else of an SSHSIG follows from key and message.
func (k *sshKey) verify(_ wire.Tag, msg [32]byte, sig []byte) bool {
	return k.verifySigned(sshsig(SSHNamespace, msg[:]), sig)
}

func (k *sshKey) verifySigned(signed, sig []byte) bool {
	want := 64
	if k.need != 0 {
		want += 1 + 4
	}
	if len(sig) != want {
		return false
	}
	if k.need != 0 {
		if flags := sig[64]; flags&k.need != k.need || flags&flagExtended != 0 {
			return false
		}
		app, sum := sha256.Sum256([]byte(k.application)), sha256.Sum256(signed)
		signed = append(append(app[:], sig[64:]...), sum[:]...)
	}
	if k.ed != nil {
		return ed25519.Verify(k.ed, signed, sig[:64])
	}
	return verifyP256(k.ec, sha256.Sum256(signed), sig[:64])
}
