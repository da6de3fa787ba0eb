package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// passkey is the key of an authenticator, with all that bounds its use.
type passkey struct {
	curveKey
	rp      [32]byte // hash of the relying party's id
	origins []string
}

const (
	algorithmES256   = 1
	algorithmEd25519 = 2

	maxRPID       = 128
	maxOrigin     = 192
	maxOrigins    = 8
	maxClientData = 1 << 10

	authenticatorData = 32 + 1 + 4 // hash of the RP id, flags, counter
)

// parsePasskey reads what follows the suite.
func parsePasskey(raw []byte) (*passkey, error) {
	d := &decoder{in: raw}
	algorithm := d.u8()
	key, id := d.bytes(curvePoint), string(d.bytes(maxRPID))
	k := &passkey{rp: sha256.Sum256([]byte(id))}
	for range d.count(maxOrigins, 4) {
		k.origins = append(k.origins, string(d.bytes(maxOrigin)))
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	var err error
	switch algorithm {
	case algorithmES256:
		k.curveKey, err = ecKey(key)
	case algorithmEd25519:
		k.curveKey, err = edKey(key)
	default:
		err = fmt.Errorf("algorithm %d", algorithm)
	}
	if err != nil {
		return nil, fmt.Errorf("passkey: %w", err)
	}
	if !isDomain(id) {
		return nil, fmt.Errorf("passkey: relying party %q", id)
	}
	if len(k.origins) == 0 {
		return nil, errors.New("passkey: no origin")
	}
	for i, o := range k.origins {
		if !mayAsk(o, id) || i > 0 && k.origins[i-1] >= o {
			return nil, fmt.Errorf("passkey: origin %q, or its place", o)
		}
	}
	return k, nil
}

var (
	label  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	digits = regexp.MustCompile(`^[0-9]+$`)
	page   = regexp.MustCompile(`^(https?)://([a-z0-9.-]+)(?::([1-9][0-9]{0,4}))?$`)
)

// isDomain: localhost, or two labels at least, of which the last is no number.
func isDomain(s string) bool {
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if !label.MatchString(l) {
			return false
		}
	}
	return s == "localhost" || len(labels) >= 2 && !digits.MatchString(labels[len(labels)-1])
}

// mayAsk says whether pages of an origin may use keys of a relying party.
func mayAsk(origin, id string) bool {
	parts := page.FindStringSubmatch(origin)
	if parts == nil {
		return false
	}
	scheme, host, port := parts[1], parts[2], parts[3]
	if !isDomain(host) || host != id && !strings.HasSuffix(host, "."+id) {
		return false
	}
	if n, _ := strconv.Atoi(port); n > 65535 {
		return false
	}
	if scheme == "http" {
		return port != "80" && (host == "localhost" || strings.HasSuffix(host, ".localhost"))
	}
	return port != "443"
}

// signed judges an assertion: authenticator data, client data, signature.
func (k *passkey) signed(m [32]byte, sig []byte) bool {
	d := &decoder{in: sig}
	auth, client, raw := d.fixed(authenticatorData), d.bytes(maxClientData), d.fixed(curveSignature)
	if d.end() != nil || [32]byte(auth) != k.rp {
		return false
	}
	flags := auth[32]
	if !flagsHold(flags, flagPresent|flagVerified) || flags&flagBackedUp != 0 && flags&flagBackupable == 0 {
		return false
	}
	if !k.asked(client, m) {
		return false
	}
	hash := sha256.Sum256(client)
	return k.holds(slices.Concat(auth, hash[:]), raw)
}

// What may follow the origin in client data: that it was not in another's
// frame, and members that are none of ours, with plain values.
const (
	plainText   = `"(?:[^"\\\x00-\x1f]|\\.)*"`
	plainMember = `,"([^"\\\x00-\x1f]*)":(?:` + plainText + `|true|false|null)`
)

var (
	members = regexp.MustCompile(`(?s)` + plainMember)
	ending  = regexp.MustCompile(`(?s)^(?:,"crossOrigin":false)?((?:` + plainMember + `)*)\}$`)
)

// asked says whether client data is that of a request to sign m, on a page of
// one of the origins. Its beginning is the only one that clients may write.
func (k *passkey) asked(client []byte, m [32]byte) bool {
	if !utf8.Valid(client) {
		return false
	}
	begins := fmt.Sprintf(`{"type":"webauthn.get","challenge":"%s","origin":"`, base64.RawURLEncoding.EncodeToString(m[:]))
	rest, ok := bytes.CutPrefix(client, []byte(begins))
	if !ok {
		return false
	}
	origin, rest, ok := bytes.Cut(rest, []byte(`"`))
	if !ok || !slices.Contains(k.origins, string(origin)) {
		return false
	}
	more := ending.FindSubmatch(rest)
	if more == nil {
		return false
	}
	for _, member := range members.FindAllSubmatch(more[1], -1) {
		switch string(member[1]) {
		case "type", "challenge", "origin", "crossOrigin", "topOrigin":
			return false
		}
	}
	return true
}
