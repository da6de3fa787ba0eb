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
		msg := wire.Hash(wire.TagTx, []byte("x"))
		for _, tail := range []string{
			`,"crossOrigin":false}`, `}`,
			`,"crossOrigin":false,"other_keys_can_be_added_here":"do not compare clientDataJSON against a template. See https://goo.gl/yabPex"}`,
			`,"androidPackageName":"com.android.chrome"}`, `,"crossOrigin":false,"a":true,"b":null,"c":"\"\\"}`,
		} {
			a.Tail = tail
			auth, client, sig := a.Assert(msg[:])
			if err := again.Verify(EncodeAssertion(auth, client, raw(t, a.Key.Public(), sig)), wire.TagTx, []byte("x")); err != nil {
				t.Errorf("tail %s: %v", tail, err)
			}
		}
	}
}

// TestPasskeyForgeries: each is signed by the right key, and differs from a
// good assertion in one thing.
func TestPasskeyForgeries(t *testing.T) {
	const tail = `,"crossOrigin":false}`
	good := wire.Hash(wire.TagTx, []byte("x"))
	challenge := base64.RawURLEncoding.EncodeToString(good[:])
	whole := func(s string) func(*identtest.Authenticator, []byte) []byte {
		return func(*identtest.Authenticator, []byte) []byte { return []byte(strings.ReplaceAll(s, "$", challenge)) }
	}
	ending := func(s string) func(*identtest.Authenticator, []byte) []byte {
		return whole(`{"type":"webauthn.get","challenge":"$","origin":"` + origin + `"` + s)
	}
	for name, c := range map[string]struct {
		setup  func(*identtest.Authenticator)
		client func(a *identtest.Authenticator, data []byte) []byte
	}{
		"other RP id":            {setup: func(a *identtest.Authenticator) { a.RPID = "example.com" }},
		"RP id below":            {setup: func(a *identtest.Authenticator) { a.RPID = "console.example.org" }},
		"no presence":            {setup: func(a *identtest.Authenticator) { a.Flags = 0x04 }},
		"no verification":        {setup: func(a *identtest.Authenticator) { a.Flags = 0x01 }},
		"backed up, not able to": {setup: func(a *identtest.Authenticator) { a.Flags = 0x15 }},
		"attested data":          {setup: func(a *identtest.Authenticator) { a.Flags = 0x45 }},
		"extension data":         {setup: func(a *identtest.Authenticator) { a.Flags = 0x85 }},
		"other origin":           {setup: func(a *identtest.Authenticator) { a.Origin = "https://evil.org" }},
		"origin not listed":      {setup: func(a *identtest.Authenticator) { a.Origin = "https://example.org" }},
		"origin's other scheme":  {setup: func(a *identtest.Authenticator) { a.Origin = "http://console.example.org" }},
		"origin's other port":    {setup: func(a *identtest.Authenticator) { a.Origin = origin + ":444" }},
		"origin and slash":       {setup: func(a *identtest.Authenticator) { a.Origin = origin + "/" }},
		"origin's capitals":      {setup: func(a *identtest.Authenticator) { a.Origin = "https://Console.example.org" }},
		"origin as prefix":       {setup: func(a *identtest.Authenticator) { a.Origin = origin + ".evil.org" }},
		"no origin":              {setup: func(a *identtest.Authenticator) { a.Origin = "" }},
		"framed":                 {client: ending(`,"crossOrigin":true}`)},
		"framed, by whom":        {client: ending(`,"crossOrigin":false,"topOrigin":"https://evil.org"}`)},
		"crossOrigin no boolean": {client: ending(`,"crossOrigin":"false"}`)},
		"crossOrigin twice":      {client: ending(`,"crossOrigin":false,"crossOrigin":true}`)},
		"crossOrigin later":      {client: ending(`,"x":null,"crossOrigin":true}`)},
		"challenge twice":        {client: ending(`,"crossOrigin":false,"challenge":"AAAA"}`)},
		"challenge twice, later": {client: ending(`,"crossOrigin":false,"x":"y","challenge":"AAAA"}`)},
		"challenge escaped":      {client: ending(`,"crossOrigin":false,"\u0063hallenge":"AAAA"}`)},
		"type twice":             {client: ending(`,"crossOrigin":false,"type":"webauthn.create"}`)},
		"origin twice":           {client: ending(`,"crossOrigin":false,"origin":"https://evil.org"}`)},
		"object at the end":      {client: ending(`,"crossOrigin":false,"tokenBinding":{"status":"present"}}`)},
		"not closed":             {client: ending(`,"crossOrigin":false`)},
		"string not closed":      {client: ending(`,"crossOrigin":false,"x":"y}`)},
		"member without value":   {client: ending(`,"crossOrigin":false,"x":}`)},
		"member without colon":   {client: ending(`,"crossOrigin":false,"x"}`)},
		"empty member":           {client: ending(`,"crossOrigin":false,}`)},
		"trailing bytes":         {client: ending(tail + " ")},
		"trailing object":        {client: ending(tail + "{}")},
		"trailing NUL":           {client: ending(tail + "\x00")},
		"no UTF-8":               {client: ending(",\"crossOrigin\":false,\"x\":\"\xff\"}")},
		"control character":      {client: ending(",\"crossOrigin\":false,\"x\":\"\n\"}")},
		"over the limit":         {client: ending(`,"crossOrigin":false,"x":"` + strings.Repeat("y", wire.MaxClientData) + `"}`)},
		"registration":           {client: whole(`{"type":"webauthn.create","challenge":"$","origin":"` + origin + `"` + tail)},
		"payment":                {client: whole(`{"type":"payment.get","challenge":"$","origin":"` + origin + `"` + tail)},
		"space":                  {client: whole(`{"type": "webauthn.get","challenge":"$","origin":"` + origin + `"` + tail)},
		"byte order mark":        {client: whole("\ufeff" + `{"type":"webauthn.get","challenge":"$","origin":"` + origin + `"` + tail)},
		"other order":            {client: whole(`{"challenge":"$","type":"webauthn.get","origin":"` + origin + `"` + tail)},
		"padded challenge":       {client: whole(`{"type":"webauthn.get","challenge":"$=","origin":"` + origin + `"` + tail)},
		"challenge in hex":       {client: whole(`{"type":"webauthn.get","challenge":"` + hex.EncodeToString(good[:]) + `","origin":"` + origin + `"` + tail)},
		"part of the challenge":  {client: whole(`{"type":"webauthn.get","challenge":"` + challenge[:20] + `","origin":"` + origin + `"` + tail)},
		"no client data":         {client: whole("")},
	} {
		a := identtest.New("example.org", origin)
		pk := newPasskey(t, a)
		if c.setup != nil {
			c.setup(a)
		}
		auth, client := a.Data(), a.ClientData("webauthn.get", good[:])
		if c.client != nil {
			client = c.client(a, client)
		}
		sig := EncodeAssertion(auth, client, raw(t, a.Key.Public(), a.Sign(auth, client)))
		if pk.Verify(sig, wire.TagTx, []byte("x")) == nil {
			t.Errorf("%s: verifies", name)
		}
	}

	// What changes after the signature.
	a := identtest.New("example.org", origin)
	pk, other := newPasskey(t, a), newPasskey(t, identtest.New("example.org", origin))
	auth, client, der := a.Assert(good[:])
	low := raw(t, a.Key.Public(), der)
	sig := EncodeAssertion(auth, client, low)
	if err := pk.Verify(sig, wire.TagTx, []byte("x")); err != nil {
		t.Fatal(err)
	}
	high := bytes.Clone(low)
	new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(low[32:])).FillBytes(high[32:])
	r := new(big.Int).SetBytes(low[:32])
	counter := bytes.Clone(auth)
	counter[36]++
	for name, bad := range map[string][]byte{
		"larger s":               EncodeAssertion(auth, client, high),
		"no signature":           EncodeAssertion(auth, client, make([]byte, 64)),
		"DER":                    EncodeAssertion(auth, client, der),
		"r alone":                EncodeAssertion(auth, client, append(r.FillBytes(make([]byte, 32)), make([]byte, 32)...)),
		"other counter":          EncodeAssertion(counter, client, low),
		"truncated":              sig[:len(sig)-1],
		"trailing byte":          append(bytes.Clone(sig), 0),
		"truncated client data":  EncodeAssertion(auth, client[:len(client)-1], low),
		"truncated authData":     EncodeAssertion(auth[:36], client, low),
		"authData with trailing": EncodeAssertion(append(bytes.Clone(auth), 0), client, low),
		"suite alone":            {byte(WebAuthn)},
		"other suite":            append([]byte{byte(SSH)}, sig[1:]...),
		"empty":                  nil,
	} {
		if pk.Verify(bad, wire.TagTx, []byte("x")) == nil {
			t.Errorf("%s: verifies", name)
		}
	}
	if pk.Verify(sig, wire.TagGrant, []byte("x")) == nil || pk.Verify(sig, wire.TagTx, []byte("y")) == nil {
		t.Error("verifies for another message")
	}
	if other.Verify(sig, wire.TagTx, []byte("x")) == nil {
		t.Error("verifies under another key")
	}
}

func TestCheckRelyingParty(t *testing.T) {
	for _, c := range []struct {
		id, origins string
		ok          bool
	}{
		{"example.org", "https://example.org", true},
		{"example.org", "https://a.b.example.org:8443 https://example.org", true},
		{"localhost", "http://localhost:9003 http://localhost:9103", true},
		{"localhost", "https://localhost", true},
		{"localhost", "http://a.localhost", true},
		{"example.org", "", false},
		{"example.org", "https://example.org https://example.org", false},
		{"example.org", "https://example.org https://a.example.org", false}, // not ascending
		{"example.org", "http://example.org", false},
		{"example.org", "https://example.org/", false},
		{"example.org", "https://example.org:443", false},
		{"example.org", "https://example.org:0443", false},
		{"example.org", "https://example.org:", false},
		{"example.org", "https://example.org:65536", false},
		{"example.org", "https://user@example.org", false},
		{"example.org", "https://notexample.org", false},
		{"example.org", "https://EXAMPLE.org", false},
		{"example.org", "https://example.org.", false},
		{"example.org", "android:apk-key-hash:x", false},
		{"org", "https://org", false},
		{"Example.org", "https://example.org", false},
		{"127.0.0.1", "https://127.0.0.1", false},
		{"", "https://", false},
		{"-a.org", "https://-a.org", false},
		{strings.Repeat("a.", 64) + "org", "https://" + strings.Repeat("a.", 64) + "org", false},
	} {
		if err := CheckRelyingParty(c.id, strings.Fields(c.origins)); (err == nil) != c.ok {
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
