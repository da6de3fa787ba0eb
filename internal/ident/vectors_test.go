package ident

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/ident/identtest"
	"github.com/quorate/quorate/internal/wire"
)

var update = flag.Bool("update", false, "write spec/vectors/credentials.json anew")

const vectorFile = "../../spec/vectors/credentials.json"

// What both implementations of spec/credentials.md must say of a vector.
const (
	holds   = "holds"
	refused = "signature refused"
	noKey   = "key refused"
)

// vector is a key, a message under the tag of transactions, and a signature.
type vector struct {
	Name      string `json:"name"`
	Key       string `json:"key"`
	Message   string `json:"message"`
	Signature string `json:"signature"`
	Judgement string `json:"judgement"`
}

func newVector(judgement, name string, key, message, sig []byte) vector {
	return vector{name, hex.EncodeToString(key), hex.EncodeToString(message), hex.EncodeToString(sig), judgement}
}

func (v vector) judge(t testing.TB) string {
	t.Helper()
	key, err1 := hex.DecodeString(v.Key)
	message, err2 := hex.DecodeString(v.Message)
	sig, err3 := hex.DecodeString(v.Signature)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	pk, err := ParsePublicKey(key)
	switch {
	case err != nil:
		return noKey
	case pk.Verify(sig, wire.TagTx, message) != nil:
		return refused
	}
	return holds
}

var message = []byte("what is signed")

// seeded is the i-th key of tests.
func seeded(t testing.TB, ec bool, i byte) crypto.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte{'k', i})
	if !ec {
		return ed25519.NewKeyFromSeed(seed[:])
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// highS is the other spelling of an ECDSA signature.
func highS(sig []byte) []byte {
	out := bytes.Clone(sig)
	new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(sig[32:])).FillBytes(out[32:])
	return out
}

// agent signs as SSH's agents and tokens do.
type agent struct {
	key   crypto.Signer
	app   string // of a token
	flags byte
}

func (k agent) kind() string {
	_, ec := k.key.(*ecdsa.PrivateKey)
	switch {
	case ec && k.app != "":
		return sshSKP256
	case ec:
		return sshP256
	case k.app != "":
		return sshSKEd25519
	}
	return sshEd25519
}

func (k agent) blob(kind, curve string) []byte {
	var e wire.Encoder
	e.String(kind)
	switch key := k.key.Public().(type) {
	case ed25519.PublicKey:
		e.Bytes(key)
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			panic(err)
		}
		e.String(curve)
		e.Bytes(point)
	}
	if k.app != "" {
		e.String(k.app)
	}
	return e.Out()
}

func (k agent) encoded(need byte) []byte {
	return append([]byte{byte(SSH), need}, k.blob(k.kind(), "nistp256")...)
}

// over signs bytes that an agent was given.
func (k agent) over(t testing.TB, signed []byte) []byte {
	var tail []byte
	if k.app != "" {
		app, sum := sha256.Sum256([]byte(k.app)), sha256.Sum256(signed)
		tail = []byte{k.flags, 0, 0, 0, 9}
		signed = bytes.Join([][]byte{app[:], tail, sum[:]}, nil)
	}
	var opts crypto.SignerOpts = crypto.Hash(0)
	if _, ec := k.key.(*ecdsa.PrivateKey); ec {
		digest := sha256.Sum256(signed)
		signed, opts = digest[:], crypto.SHA256
	}
	sig, err := k.key.Sign(nil, signed, opts)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Join([][]byte{{byte(SSH)}, raw(t, k.key.Public(), sig), tail}, nil)
}

func (k agent) sign(t testing.TB, m []byte) []byte { return k.over(t, SSHMessage(wire.TagTx, m)) }

// sshVectors: of each kind of key what holds, and what differs from it in one
// thing.
func sshVectors(t testing.TB) (all []vector) {
	for i, k := range []agent{{seeded(t, false, 1), "", 0}, {seeded(t, true, 2), "", 0}, {seeded(t, false, 3), "ssh:", 1}, {seeded(t, true, 4), "ssh:quorate", 1}} {
		token, need := k.app != "", byte(0)
		if token {
			need = flagPresent
		}
		key, sig, kind := k.encoded(need), k.sign(t, message), k.kind()
		add := func(judgement, name string, key, sig []byte) {
			all = append(all, newVector(judgement, kind+": "+name, key, message, sig))
		}
		add(holds, "good", key, sig)
		all = append(all, newVector(refused, kind+": other message", key, []byte("what was not"), sig))
		hashed := wire.Hash(wire.TagTx, message)
		add(refused, "the hash itself", key, k.over(t, hashed[:]))
		add(refused, "other namespace", key, k.over(t, sshsig("git", hashed[:])))
		add(refused, "other tag", key, k.over(t, SSHMessage(wire.TagGrant, message)))
		add(refused, "other suite", key, append([]byte{byte(WebAuthn)}, sig[1:]...))
		add(refused, "truncated", key, sig[:len(sig)-1])
		add(refused, "trailing byte", key, append(bytes.Clone(sig), 0))
		add(refused, "nothing", key, nil)
		add(refused, "suite alone", key, sig[:1])
		add(refused, "zeros", key, append([]byte{byte(SSH)}, make([]byte, len(sig)-1)...))
		add(refused, "other key", agent{seeded(t, i%2 == 1, 9), k.app, 0}.encoded(need), sig)
		add(noKey, "trailing byte in the key", append(bytes.Clone(key), 0), sig)
		add(noKey, "truncated key", key[:len(key)-1], sig)
		add(noKey, "flags alone", key[:2], sig)
		add(noKey, "suite alone as a key", key[:1], sig)
		add(noKey, "other kind of key", append(bytes.Clone(key[:2]), k.blob("ssh-rsa", "nistp256")...), sig)
		add(noKey, "certified kind of key", append(bytes.Clone(key[:2]), k.blob(strings.Replace(kind, "@", "-cert-v01@", 1)+"-cert", "nistp256")...), sig)
		add(noKey, "huge length", []byte{byte(SSH), need, 0xff, 0xff, 0xff, 0xff}, sig)
		for _, flags := range []byte{0x04, 0x02, 0x03, 0x81, need ^ 1} {
			add(noKey, "flags "+hex.EncodeToString([]byte{flags})+" asked for", k.encoded(flags), sig)
		}
		if token {
			tokenVectors(t, k, add)
		} else {
			add(refused, "with a token's tail", key, append(bytes.Clone(sig), 1, 0, 0, 0, 9))
		}
		if ec, ok := k.key.Public().(*ecdsa.PublicKey); ok {
			pointVectors(k, ec, need, sig, add)
		}
	}
	return all
}

func tokenVectors(t testing.TB, k agent, add func(judgement, name string, key, sig []byte)) {
	any, verified := k.encoded(flagPresent), k.encoded(flagPresent|flagVerified)
	good := k.sign(t, message)
	add(refused, "verification asked for, not done", verified, good)
	for _, c := range []struct {
		flags           byte
		touch, verified string
	}{
		{0x00, refused, refused}, {0x04, refused, refused}, {0x05, holds, holds}, {0x1d, holds, holds}, {0x11, holds, refused}, {0x23, holds, refused},
		{0x85, refused, refused}, {0x45, refused, refused}, {0xff, refused, refused},
	} {
		k.flags = c.flags
		sig, name := k.sign(t, message), "flags "+hex.EncodeToString([]byte{c.flags})
		add(c.touch, name, any, sig)
		add(c.verified, name+", verification asked for", verified, sig)
	}
	counted := bytes.Clone(good)
	counted[len(counted)-1]++
	add(refused, "other counter", any, counted)
	flagged := bytes.Clone(good)
	flagged[65] |= flagVerified
	add(refused, "flag added", any, flagged)
	add(refused, "without flags and counter", any, good[:65])
	for _, app := range []string{"example.org", "ssh", "SSH:", "ssh:" + strings.Repeat("x", 61)} {
		other := k
		other.app = app
		add(noKey, "application "+app, other.encoded(flagPresent), good)
	}
	other := k
	other.app = "ssh:other"
	add(refused, "other application", other.encoded(flagPresent), good)
	add(holds, "longest application", agent{k.key, "ssh:" + strings.Repeat("x", 60), 1}.encoded(flagPresent), agent{k.key, "ssh:" + strings.Repeat("x", 60), 1}.sign(t, message))
}

// pointVectors: other spellings of a P-256 key, and of a signature.
func pointVectors(k agent, ec *ecdsa.PublicKey, need byte, sig []byte, add func(judgement, name string, key, sig []byte)) {
	point, _ := ec.Bytes()
	off := bytes.Clone(point)
	off[64] ^= 1
	hybrid := bytes.Clone(point)
	hybrid[0] = 6 | hybrid[64]&1
	encoded := func(curve string, point []byte) []byte {
		e := wire.NewEncoder([]byte{byte(SSH), need})
		e.String(k.kind())
		e.String(curve)
		e.Bytes(point)
		if k.app != "" {
			e.String(k.app)
		}
		return e.Out()
	}
	add(noKey, "other curve", encoded("nistp384", point), sig)
	add(noKey, "no curve", encoded("", point), sig)
	add(noKey, "off the curve", encoded("nistp256", off), sig)
	add(noKey, "compressed", encoded("nistp256", append([]byte{2 | point[64]&1}, point[1:33]...)), sig)
	add(noKey, "hybrid form", encoded("nistp256", hybrid), sig)
	add(noKey, "point at infinity", encoded("nistp256", []byte{0}), sig)
	add(refused, "larger s", encoded("nistp256", point), append(append(bytes.Clone(sig[:1]), highS(sig[1:65])...), sig[65:]...))
	add(refused, "r of 0", encoded("nistp256", point), append(append(append(bytes.Clone(sig[:1]), make([]byte, 32)...), sig[33:65]...), sig[65:]...))
	add(refused, "s of 0", encoded("nistp256", point), append(append(bytes.Clone(sig[:33]), make([]byte, 32)...), sig[65:]...))
}

// passkeyKey encodes what a passkey may not be, too.
func passkeyKey(alg byte, key []byte, id string, origins ...string) []byte {
	e := wire.NewEncoder([]byte{byte(WebAuthn), alg})
	e.Bytes(key)
	e.String(id)
	e.Count(len(origins))
	for _, o := range origins {
		e.String(o)
	}
	return e.Out()
}

func publicBytes(t testing.TB, key crypto.PublicKey) (alg byte, b []byte) {
	if ed, ok := key.(ed25519.PublicKey); ok {
		return algEdDSA, ed
	}
	b, err := key.(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return algES256, b
}

// assertion signs client data with an authenticator, as it is encoded.
func assertion(t testing.TB, a *identtest.Authenticator, auth, client []byte) []byte {
	return EncodeAssertion(auth, client, raw(t, a.Key.Public(), a.Sign(auth, client)))
}

func passkeyVectors(t testing.TB) (all []vector) {
	const second = "https://example.org:8443"
	for _, ec := range []bool{true, false} {
		authenticator := func() *identtest.Authenticator {
			return &identtest.Authenticator{Key: seeded(t, ec, 7), RPID: "example.org", Origin: origin, Flags: flagPresent | flagVerified, Tail: `,"crossOrigin":false}`}
		}
		alg, public := publicBytes(t, seeded(t, ec, 7).Public())
		key := passkeyKey(alg, public, "example.org", origin, second)
		add := func(judgement, name string, key, sig []byte) {
			all = append(all, newVector(judgement, map[bool]string{true: "ES256: ", false: "Ed25519 passkey: "}[ec]+name, key, message, sig))
		}
		m := wire.Hash(wire.TagTx, message)
		a := authenticator()
		auth, client := a.Data(), a.ClientData("webauthn.get", m[:])
		sig := assertion(t, a, auth, client)
		add(holds, "good", key, sig)
		for _, f := range append(forgeries(m[:]), forgedClientData(m[:])...) {
			a := authenticator()
			if f.setup != nil {
				f.setup(a)
			}
			client := a.ClientData("webauthn.get", m[:])
			if f.client != "" {
				client = []byte(f.client)
			}
			judgement := refused
			if f.holds {
				judgement = holds
			}
			add(judgement, f.name, key, assertion(t, a, a.Data(), client))
		}
		tagged, plain := wire.Hash(wire.TagGrant, message), sha256.Sum256(message)
		add(refused, "other tag", key, assertion(t, a, auth, a.ClientData("webauthn.get", tagged[:])))
		add(refused, "message without a tag", key, assertion(t, a, auth, a.ClientData("webauthn.get", plain[:])))
		_, others := publicBytes(t, seeded(t, ec, 8).Public())
		add(refused, "other key", passkeyKey(alg, others, "example.org", origin, second), sig)
		add(refused, "key for another RP id", passkeyKey(alg, public, "console.example.org", origin), sig)
		add(refused, "key without the origin", passkeyKey(alg, public, "example.org", second), sig)
		changedAssertions(auth, client, sig, func(name string, sig []byte) { add(refused, name, key, sig) })
		if ec {
			add(refused, "larger s", key, EncodeAssertion(auth, client, highS(sig[len(sig)-64:])))
			add(refused, "DER", key, EncodeAssertion(auth, client, a.Sign(auth, client)))
		}
		passkeyKeys(t, alg, public, func(judgement, name string, key []byte) { add(judgement, name, key, sig) })
	}
	return all
}

// changedAssertions are what an assertion may become after it was signed.
func changedAssertions(auth, client, sig []byte, add func(name string, sig []byte)) {
	low, counter := sig[len(sig)-64:], bytes.Clone(auth)
	counter[36]++
	flags := bytes.Clone(auth)
	flags[32] |= flagEligible
	add("other counter", EncodeAssertion(counter, client, low))
	add("other flags", EncodeAssertion(flags, client, low))
	add("no signature", EncodeAssertion(auth, client, make([]byte, 64)))
	add("r alone", EncodeAssertion(auth, client, append(bytes.Clone(low[:32]), make([]byte, 32)...)))
	add("truncated", sig[:len(sig)-1])
	add("trailing byte", append(bytes.Clone(sig), 0))
	add("truncated client data", EncodeAssertion(auth, client[:len(client)-1], low))
	add("truncated authenticator data", EncodeAssertion(auth[:36], client, low))
	add("longer authenticator data", EncodeAssertion(append(bytes.Clone(auth), 0), client, low))
	add("suite alone", sig[:1])
	add("other suite", append([]byte{byte(SSH)}, sig[1:]...))
	add("nothing", nil)
	huge := bytes.Clone(sig)
	huge[1+authData] = 0xff
	add("huge length", huge)
}

// passkeyKeys are encodings of keys, most of which are none.
func passkeyKeys(t testing.TB, alg byte, public []byte, add func(judgement, name string, key []byte)) {
	key := passkeyKey(alg, public, "example.org", origin)
	add(holds, "key for one origin", key)
	add(noKey, "trailing byte in the key", append(bytes.Clone(key), 0))
	add(noKey, "truncated key", key[:len(key)-1])
	add(noKey, "suite alone as a key", key[:1])
	add(noKey, "other algorithm", passkeyKey(3-alg, public, "example.org", origin))
	add(noKey, "algorithm 0", passkeyKey(0, public, "example.org", origin))
	add(noKey, "algorithm of COSE", passkeyKey(0xf9, public, "example.org", origin))
	add(noKey, "truncated point", passkeyKey(alg, public[:len(public)-1], "example.org", origin))
	if alg == algES256 {
		off := bytes.Clone(public)
		off[64] ^= 1
		add(noKey, "off the curve", passkeyKey(alg, off, "example.org", origin))
		add(noKey, "compressed", passkeyKey(alg, append([]byte{2 | public[64]&1}, public[1:33]...), "example.org", origin))
		add(noKey, "point at infinity", passkeyKey(alg, []byte{0}, "example.org", origin))
		return // of relying parties once is enough
	}
	for _, c := range relyingParties() {
		judgement := noKey
		if c.ok {
			judgement = refused // the assertion is for another
		}
		add(judgement, c.id+" at "+strings.Join(c.origins, " "), passkeyKey(alg, public, c.id, c.origins...))
	}
}

// forgery is an assertion by the right key that differs from a good one in one
// thing.
type forgery struct {
	name   string
	setup  func(*identtest.Authenticator)
	client string // client data in place of the authenticator's
	holds  bool
}

// clientData writes client data: whole, or what comes after its origin.
// A $ stands for the challenge.
type clientData struct{ challenge string }

func (c clientData) whole(name, s string) forgery {
	return forgery{name: name, client: strings.ReplaceAll(s, "$", c.challenge)}
}

func (c clientData) ending(name, s string) forgery {
	return c.whole(name, `{"type":"webauthn.get","challenge":"$","origin":"`+origin+`"`+s)
}

func forgeries(challenge []byte) []forgery {
	text := base64.RawURLEncoding.EncodeToString(challenge)
	ending := clientData{text}.ending
	good := func(f forgery) forgery {
		f.holds = true
		return f
	}
	return []forgery{
		good(ending("Level 2, without crossOrigin", `}`)),
		good(ending("one more member", `,"crossOrigin":false,"other_keys_can_be_added_here":"do not compare clientDataJSON against a template. See https://goo.gl/yabPex"}`)),
		good(ending("members of all plain kinds", `,"androidPackageName":"com.android.chrome","a":true,"b":null,"c":"\"\\","d":false,"":""}`)),
		good(ending("two members of one name", `,"x":"y","x":"\u0022"}`)),
		good(ending("other letters", `,"ä€😀":"ß\ä"}`)),
		good(ending("escaped line feed", ",\"x\":\"\\\n\"}")),
		good(ending("name in the other case", `,"Challenge":"AAAA"}`)),
		good(ending("as long as may be", `,"x":"`+strings.Repeat("y", wire.MaxClientData-len(`{"type":"webauthn.get","challenge":"","origin":"","x":""}`)-len(text)-len(origin))+`"}`)),
		good(forgery{name: "backed up", setup: func(a *identtest.Authenticator) { a.Flags = 0x1d }}),
		good(forgery{name: "reserved flags", setup: func(a *identtest.Authenticator) { a.Flags = 0x27 }}),
		good(forgery{name: "counter", setup: func(a *identtest.Authenticator) { a.Counter = 1<<32 - 1 }}),
		good(forgery{name: "second origin", setup: func(a *identtest.Authenticator) { a.Origin = "https://example.org:8443" }}),
		{name: "other RP id", setup: func(a *identtest.Authenticator) { a.RPID = "example.com" }},
		{name: "RP id below", setup: func(a *identtest.Authenticator) { a.RPID = "console.example.org" }},
		{name: "no presence", setup: func(a *identtest.Authenticator) { a.Flags = 0x04 }},
		{name: "no verification", setup: func(a *identtest.Authenticator) { a.Flags = 0x01 }},
		{name: "no flags", setup: func(a *identtest.Authenticator) { a.Flags = 0 }},
		{name: "backed up, not able to", setup: func(a *identtest.Authenticator) { a.Flags = 0x15 }},
		{name: "attested data", setup: func(a *identtest.Authenticator) { a.Flags = 0x45 }},
		{name: "extension data", setup: func(a *identtest.Authenticator) { a.Flags = 0x85 }},
		{name: "other origin", setup: func(a *identtest.Authenticator) { a.Origin = "https://evil.org" }},
		{name: "origin not listed", setup: func(a *identtest.Authenticator) { a.Origin = "https://example.org" }},
		{name: "origin's other scheme", setup: func(a *identtest.Authenticator) { a.Origin = "http://console.example.org" }},
		{name: "origin's other port", setup: func(a *identtest.Authenticator) { a.Origin = origin + ":444" }},
		{name: "origin and slash", setup: func(a *identtest.Authenticator) { a.Origin = origin + "/" }},
		{name: "origin's capitals", setup: func(a *identtest.Authenticator) { a.Origin = "https://Console.example.org" }},
		{name: "origin as prefix", setup: func(a *identtest.Authenticator) { a.Origin = origin + ".evil.org" }},
		{name: "no origin", setup: func(a *identtest.Authenticator) { a.Origin = "" }},
	}
}

// forgedClientData is what no client writes for us.
func forgedClientData(challenge []byte) []forgery {
	text, tail := base64.RawURLEncoding.EncodeToString(challenge), `,"crossOrigin":false}`
	whole, ending, rest := clientData{text}.whole, clientData{text}.ending, `","origin":"`+origin+`"`+tail
	return []forgery{
		ending("framed", `,"crossOrigin":true}`),
		ending("framed, by whom", `,"crossOrigin":false,"topOrigin":"https://evil.org"}`),
		ending("crossOrigin no boolean", `,"crossOrigin":"false"}`),
		ending("crossOrigin null", `,"crossOrigin":null}`),
		ending("crossOrigin goes on", `,"crossOrigin":falsehood}`),
		ending("crossOrigin twice", `,"crossOrigin":false,"crossOrigin":true}`),
		ending("crossOrigin twice, the same", `,"crossOrigin":false,"crossOrigin":false}`),
		ending("crossOrigin later", `,"x":null,"crossOrigin":true}`),
		ending("crossOrigin later, false", `,"x":null,"crossOrigin":false}`),
		ending("challenge twice", `,"crossOrigin":false,"challenge":"AAAA"}`),
		ending("challenge twice, later", `,"crossOrigin":false,"x":"y","challenge":"AAAA"}`),
		ending("challenge escaped", `,"crossOrigin":false,"\u0063hallenge":"AAAA"}`),
		ending("type twice", `,"crossOrigin":false,"type":"webauthn.create"}`),
		ending("origin twice", `,"crossOrigin":false,"origin":"https://evil.org"}`),
		ending("object at the end", `,"crossOrigin":false,"tokenBinding":{"status":"present"}}`),
		ending("list at the end", `,"crossOrigin":false,"x":[]}`),
		ending("number at the end", `,"crossOrigin":false,"x":1}`),
		ending("not closed", `,"crossOrigin":false`),
		ending("string not closed", `,"crossOrigin":false,"x":"y}`),
		ending("escape at the end", `,"crossOrigin":false,"x":"y\"}`),
		ending("member without value", `,"crossOrigin":false,"x":}`),
		ending("member without colon", `,"crossOrigin":false,"x"}`),
		ending("value that goes on", `,"crossOrigin":false,"x":nullx}`),
		ending("empty member", `,"crossOrigin":false,}`),
		ending("no comma", `"crossOrigin":false}`),
		ending("space between members", `,"crossOrigin":false, "x":null}`),
		ending("trailing space", tail+" "),
		ending("trailing object", tail+"{}"),
		ending("trailing brace", tail+"}"),
		ending("trailing NUL", tail+"\x00"),
		ending("trailing line feed", tail+"\n"),
		ending("no UTF-8", ",\"crossOrigin\":false,\"x\":\"\xff\"}"),
		ending("control character", ",\"crossOrigin\":false,\"x\":\"\n\"}"),
		ending("control character in a name", ",\"crossOrigin\":false,\"\t\":null}"),
		ending("over the limit", `,"crossOrigin":false,"x":"`+strings.Repeat("y", wire.MaxClientData)+`"}`),
		whole("registration", `{"type":"webauthn.create","challenge":"$`+rest),
		whole("payment", `{"type":"payment.get","challenge":"$`+rest),
		whole("space", `{"type": "webauthn.get","challenge":"$`+rest),
		whole("byte order mark", "\ufeff"+`{"type":"webauthn.get","challenge":"$`+rest),
		whole("other order", `{"challenge":"$","type":"webauthn.get","origin":"`+origin+`"`+tail),
		whole("padded challenge", `{"type":"webauthn.get","challenge":"$=`+rest),
		whole("standard base64", `{"type":"webauthn.get","challenge":"`+base64.RawStdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 32))+rest),
		whole("challenge in hex", `{"type":"webauthn.get","challenge":"`+hex.EncodeToString(challenge)+rest),
		whole("part of the challenge", `{"type":"webauthn.get","challenge":"`+text[:20]+rest),
		whole("no challenge", `{"type":"webauthn.get","challenge":"`+rest),
		whole("empty object", `{}`),
	}
}

// relyingParty is an id and origins, and whether a passkey may have them.
type relyingParty struct {
	id      string
	origins []string
	ok      bool
}

func relyingParties() (all []relyingParty) {
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
		all = append(all, relyingParty{c.id, strings.Fields(c.origins), c.ok})
	}
	return all
}

// TestVectors holds what this room judges to spec/vectors, which the second
// implementation reads.
func TestVectors(t *testing.T) {
	all := append(sshVectors(t), passkeyVectors(t)...)
	got, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if got = append(got, '\n'); *update {
		if err := os.WriteFile(vectorFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s differs (if it is meant: go test ./internal/ident -run TestVectors -update)", vectorFile)
	}
	names, judged := map[string]bool{}, map[string]int{}
	for _, v := range all {
		judged[v.Judgement]++
		if names[v.Name] {
			t.Errorf("two vectors are named %q", v.Name)
		}
		names[v.Name] = true
		if got := v.judge(t); got != v.Judgement {
			t.Errorf("%s: %s, want %s", v.Name, got, v.Judgement)
		}
	}
	if judged[holds] < 30 || judged[refused] < 200 || judged[noKey] < 80 {
		t.Errorf("too few are left: %v", judged)
	}
}
