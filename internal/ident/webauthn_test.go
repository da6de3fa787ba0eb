package ident

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/ident/identtest"
	"github.com/quorate/quorate/internal/wire"
)

// raw turns an authenticator's signature into the one that counts.
func raw(t testing.TB, key crypto.PublicKey, sig []byte) []byte {
	t.Helper()
	if _, ok := key.(*ecdsa.PublicKey); !ok {
		return sig
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(sig, &rs); err != nil {
		t.Fatal(err)
	}
	out, err := EncodeP256(rs.R, rs.S)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// cose reads the two kinds of keys as the specification's vectors write them.
func cose(t *testing.T, b []byte) crypto.PublicKey {
	t.Helper()
	if x, ok := bytes.CutPrefix(b, []byte{0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 0x20}); ok {
		return ed25519.PublicKey(x)
	}
	xy, ok := bytes.CutPrefix(b, []byte{0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 0x20})
	if !ok {
		t.Fatalf("key %x", b)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, xy[:32]...), xy[35:]...))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestWebAuthnVectors checks the assertions of Web Authentication Level 3, §16.
func TestWebAuthnVectors(t *testing.T) {
	file, err := os.ReadFile("testdata/webauthn.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Section, AuthenticatorData, ClientDataJSON, Signature, Challenge, Key string }
	if err := json.Unmarshal(file, &vectors); err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	taken, verified := 0, 0
	for _, v := range vectors {
		key := cose(t, unhex(v.Key))
		pk, err := NewPasskey(key, "example.org", []string{"https://example.org"})
		if err != nil {
			t.Fatal(err)
		}
		auth, challenge := unhex(v.AuthenticatorData), unhex(v.Challenge)
		sig := EncodeAssertion(auth, []byte(v.ClientDataJSON), raw(t, key, unhex(v.Signature)))[1:]
		k := pk.key.(*passkey)
		// A page in a frame of another's must not get our signatures.
		framed := strings.Contains(v.ClientDataJSON, `"crossOrigin":true`)
		if got := k.verifyFlags(flagPresent, challenge, sig); got == framed {
			t.Errorf("§%s: verifies %v, framed %v", v.Section, got, framed)
		}
		if got := k.verify("", [32]byte(challenge), sig); got && (framed || auth[32]&flagVerified == 0) {
			t.Errorf("§%s verifies without the user's verification", v.Section)
		} else if got {
			verified++
		}
		if !framed {
			taken++
			for i := range sig {
				bad := bytes.Clone(sig)
				bad[i] ^= 1
				if k.verifyFlags(flagPresent, challenge, bad) {
					t.Errorf("§%s: byte %d does not count", v.Section, i)
				}
			}
		}
	}
	if taken != 9 || verified != 3 {
		t.Errorf("%d of %d vectors taken, %d with the user verified", taken, len(vectors), verified)
	}
}

const origin = "https://console.example.org"

func newPasskey(t testing.TB, a *identtest.Authenticator) PublicKey {
	t.Helper()
	pk, err := NewPasskey(a.Key.Public(), "example.org", []string{origin, "https://example.org:8443", "https://example.org:8443"})
	if err != nil {
		t.Fatal(err)
	}
	return pk
}

func TestPasskey(t *testing.T) {
	ed := identtest.New("example.org", origin)
	ed.Key = ed25519.NewKeyFromSeed(make([]byte, 32))
	for _, a := range []*identtest.Authenticator{identtest.New("example.org", origin), ed} {
		pk := newPasskey(t, a)
		again, err := ParsePublicKey(pk.Bytes())
		if err != nil || !bytes.Equal(again.Bytes(), pk.Bytes()) {
			t.Fatalf("encoding: %v", err)
		}
		if id, origins := again.RelyingParty(); id != "example.org" || len(origins) != 2 {
			t.Errorf("relying party %s, %v", id, origins)
		}
	}
}

func TestCheckRelyingParty(t *testing.T) {
	for _, c := range relyingParties() {
		if err := CheckRelyingParty(c.id, c.origins); (err == nil) != c.ok {
			t.Errorf("%s at %s: %v", c.id, c.origins, err)
		}
	}
}

// FuzzClientData holds the matcher against encoding/json: what it takes, a
// JSON parser reads as the same four members.
func FuzzClientData(f *testing.F) {
	challenge := make([]byte, 32)
	a := identtest.Authenticator{Origin: origin}
	for _, tail := range []string{`}`, `,"crossOrigin":false}`, `,"crossOrigin":false,"x":"\"\\","y":null}`, `,"challenge":""}`, `,"x":"\u00e4"}`} {
		a.Tail = tail
		f.Add(a.ClientData("webauthn.get", challenge))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !clientDataMatches(data, challenge, []string{origin}) {
			return
		}
		var v map[string]any
		if err := json.Unmarshal(data, &v); err != nil {
			if bytes.IndexByte(data, '\\') < 0 { // escapes in what is ignored we do not judge
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		_, framed := v["topOrigin"]
		if v["type"] != "webauthn.get" || v["origin"] != origin || v["challenge"] != base64.RawURLEncoding.EncodeToString(challenge) || v["crossOrigin"] == true || framed {
			t.Fatalf("%q reads as %v", data, v)
		}
	})
}

func FuzzVerifyPasskey(f *testing.F) {
	a := identtest.New("example.org", origin)
	a.Key = ed25519.NewKeyFromSeed(make([]byte, 32))
	pk := newPasskey(f, a)
	msg := wire.Hash(wire.TagTx)
	auth, client, sig := a.Assert(msg[:])
	good := EncodeAssertion(auth, client, sig)
	f.Add(good)
	f.Add(good[:40])
	f.Fuzz(func(t *testing.T, sig []byte) {
		if pk.Verify(sig, wire.TagTx) == nil && !bytes.Equal(sig, good) {
			t.Fatal("another signature verifies")
		}
	})
}
