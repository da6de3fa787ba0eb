package ident

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/quorate/quorate/internal/wire"
)

// Algorithms of a passkey.
const (
	algES256 = 1
	algEdDSA = 2
)

// passkey is a key of an authenticator behind a browser. It carries the
// whole policy of its use: for which relying party it was made, and on which
// origins a page may ask for it.
type passkey struct {
	ed      ed25519.PublicKey // one of the two
	ec      *ecdsa.PublicKey
	rpID    string
	origins []string // ascending
}

// authData is the length of authenticator data without attested credential
// and extensions: hash of the RP id, flags, counter.
const authData = 32 + 1 + 4

// NewPasskey makes a key that counts for assertions made for rpID on one of
// the origins, each scheme://host[:port] as browsers write it. Key is an
// *ecdsa.PublicKey on P-256 or an ed25519.PublicKey.
func NewPasskey(key crypto.PublicKey, rpID string, origins []string) (PublicKey, error) {
	var e wire.Encoder
	e.U8(byte(WebAuthn))
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			return PublicKey{}, fmt.Errorf("make passkey: %w", err)
		}
		e.U8(algES256)
		e.Bytes(point)
	case ed25519.PublicKey:
		e.U8(algEdDSA)
		e.Bytes(key)
	default:
		return PublicKey{}, fmt.Errorf("make passkey: a %T does not count, want P-256 or Ed25519", key)
	}
	e.String(rpID)
	origins = slices.Compact(slices.Sorted(slices.Values(origins)))
	e.Count(len(origins))
	for _, o := range origins {
		e.String(o)
	}
	return ParsePublicKey(e.Out())
}

// RelyingParty returns the RP id and the origins of a passkey, nothing of
// another key.
func (pk PublicKey) RelyingParty() (id string, origins []string) {
	if k, ok := pk.key.(*passkey); ok {
		return k.rpID, slices.Clone(k.origins)
	}
	return "", nil
}

func parsePasskey(b []byte) (*passkey, error) {
	d := wire.NewDecoder(b)
	k := &passkey{}
	alg := d.U8()
	key := d.Bytes(p256Point)
	k.rpID = d.String(wire.MaxRPID)
	for range d.Count(wire.MaxOrigins, 4) {
		k.origins = append(k.origins, d.String(wire.MaxOrigin))
	}
	if err := d.Finish(); err != nil {
		return nil, err
	}
	switch {
	case alg == algES256:
		var err error
		if k.ec, err = parseP256(key); err != nil {
			return nil, err
		}
	case alg == algEdDSA && len(key) == ed25519.PublicKeySize:
		k.ed = key
	default:
		return nil, fmt.Errorf("passkey of algorithm %d with a key of %d bytes", alg, len(key))
	}
	return k, CheckRelyingParty(k.rpID, k.origins)
}

func (k *passkey) bytes() []byte {
	var e wire.Encoder
	if k.ec != nil {
		point, err := k.ec.Bytes()
		if err != nil {
			panic("ident: " + err.Error()) // it was parsed
		}
		e.U8(algES256)
		e.Bytes(point)
	} else {
		e.U8(algEdDSA)
		e.Bytes(k.ed)
	}
	e.String(k.rpID)
	e.Count(len(k.origins))
	for _, o := range k.origins {
		e.String(o)
	}
	return e.Out()
}

// EncodeAssertion puts together what a passkey's signature is for us: sig is
// R and S, or r and s as EncodeP256 returns them.
func EncodeAssertion(authenticatorData, clientDataJSON, sig []byte) []byte {
	e := wire.NewEncoder([]byte{byte(WebAuthn)})
	e.Fixed(authenticatorData)
	e.Bytes(clientDataJSON)
	e.Fixed(sig)
	return e.Out()
}

// verify follows Web Authentication §7.2, steps 10 to 22. The counter is not
// looked at: passkeys that are kept in several places have none that rises,
// and what must not count twice has a number of its own.
func (k *passkey) verify(_ wire.Tag, msg [32]byte, sig []byte) bool {
	return k.verifyFlags(flagPresent|flagVerified, msg[:], sig)
}

func (k *passkey) verifyFlags(need byte, challenge, sig []byte) bool {
	var auth [authData]byte
	var raw [64]byte
	d := wire.NewDecoder(sig)
	d.Fixed(auth[:])
	clientData := d.Bytes(wire.MaxClientData)
	d.Fixed(raw[:])
	if d.Finish() != nil {
		return false
	}
	flags := auth[32]
	if rp := sha256.Sum256([]byte(k.rpID)); !bytes.Equal(auth[:32], rp[:]) ||
		flags&need != need || flags&flagExtended != 0 || flags&flagBackedUp != 0 && flags&flagEligible == 0 {
		return false
	}
	if !clientDataMatches(clientData, challenge, k.origins) {
		return false
	}
	sum := sha256.Sum256(clientData)
	signed := append(auth[:], sum[:]...)
	if k.ed != nil {
		return ed25519.Verify(k.ed, signed, raw[:])
	}
	return verifyP256(k.ec, sha256.Sum256(signed), raw[:])
}

// clientDataMatches is the limited verification algorithm of §5.8.1.2, which
// compares what every client must write first, byte for byte, and needs no
// JSON parser: two versions of one could take the same bytes for different
// things, and replicas would part. Clients may omit crossOrigin as Level 2
// let them, and may add members of their own, which the algorithm ignores; we
// ignore them only where they are plain, and none repeats a name that counts.
func clientDataMatches(data, challenge []byte, origins []string) bool {
	rest, ok := bytes.CutPrefix(data, []byte(`{"type":"webauthn.get","challenge":"`+base64.RawURLEncoding.EncodeToString(challenge)+`","origin":"`))
	if !ok || !utf8.Valid(data) {
		return false
	}
	// A listed origin holds nothing that JSON escapes.
	origin, rest, ok := bytes.Cut(rest, []byte(`"`))
	if !ok || !slices.Contains(origins, string(origin)) {
		return false
	}
	rest, _ = bytes.CutPrefix(rest, []byte(`,"crossOrigin":false`))
	for len(rest) > 0 && rest[0] == ',' {
		if rest, ok = skipMember(rest[1:]); !ok {
			return false
		}
	}
	return string(rest) == "}"
}

// skipMember passes over one more member: a name without escapes, and a
// string, true, false or null.
func skipMember(b []byte) (rest []byte, ok bool) {
	name, b, ok := cutString(b)
	if !ok || bytes.IndexByte(name, '\\') >= 0 || len(b) == 0 || b[0] != ':' {
		return nil, false
	}
	switch string(name) {
	case "type", "challenge", "origin", "crossOrigin", "topOrigin":
		return nil, false
	}
	b = b[1:]
	for _, word := range []string{"true", "false", "null"} {
		if rest, ok := bytes.CutPrefix(b, []byte(word)); ok {
			return rest, true
		}
	}
	_, rest, ok = cutString(b)
	return rest, ok
}

// cutString splits a JSON string, unescaped, off the front.
func cutString(b []byte) (content, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(b); i++ {
		switch {
		case b[i] == '"':
			return b[1:i], b[i+1:], true
		case b[i] == '\\':
			i++
		case b[i] < ' ':
			return nil, nil, false
		}
	}
	return nil, nil, false
}

// CheckRelyingParty says whether a page at each origin may ask for passkeys
// of the id: https, or http on this machine, at the id's host or one below it.
func CheckRelyingParty(id string, origins []string) error {
	if !isDomain(id) || len(id) > wire.MaxRPID {
		return fmt.Errorf("RP id %q: want a domain name in lower case", id)
	}
	if len(origins) == 0 || len(origins) > wire.MaxOrigins {
		return fmt.Errorf("%d origins, want 1 to %d", len(origins), wire.MaxOrigins)
	}
	for i, o := range origins {
		if err := checkOrigin(id, o); err != nil {
			return fmt.Errorf("origin %q: %w", o, err)
		}
		if i > 0 && origins[i-1] >= o {
			return errors.New("origins are not in ascending order")
		}
	}
	return nil
}

func checkOrigin(id, origin string) error {
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok || len(origin) > wire.MaxOrigin {
		return errors.New("want scheme://host[:port]")
	}
	host, port, hasPort := strings.Cut(host, ":")
	if n, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || n == 0 || strconv.FormatUint(n, 10) != port) {
		return errors.New("its port is no number from 1 to 65535")
	}
	local := host == "localhost" || strings.HasSuffix(host, ".localhost")
	switch {
	case !isDomain(host) || host != id && !strings.HasSuffix(host, "."+id):
		return fmt.Errorf("its host is neither %s nor below it", id)
	case scheme != "https" && !(scheme == "http" && local):
		return errors.New("want https (http on localhost only)")
	case scheme == "https" && port == "443", scheme == "http" && port == "80":
		return errors.New("browsers leave out the port that the scheme implies")
	}
	return nil
}

// isDomain accepts localhost and names of two labels or more in lower case,
// of which the last is no number, as it would be in an IP address.
func isDomain(s string) bool {
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return s == "localhost" || len(labels) > 1 && strings.Trim(labels[len(labels)-1], "0123456789") != ""
}
