package opsapi

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ident/identtest"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

const page = "https://console.example.org"

// withPasskeys restarts the fixture's server, at a time of its own.
func (f *fixture) withPasskeys(t testing.TB, now *time.Time) {
	t.Helper()
	config := f.server.config
	config.Passkeys = RelyingParty{"example.org", []string{page, "https://other.example.org"}}
	config.Now = func() time.Time { return *now }
	var err error
	if f.server, err = New(config); err != nil {
		t.Fatal(err)
	}
}

// ask posts v and reads the answer into out; it returns the status.
func (f *fixture) ask(t testing.TB, path string, v, out any) int {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	w := f.do("POST", path, string(body))
	if w.Code == 200 && out != nil {
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			t.Fatalf("%s: %v in %s", path, err, w.Body)
		}
	}
	return w.Code
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// attestation is what navigator.credentials.create returns.
func attestation(id, client, object []byte) json.RawMessage {
	return fmt.Appendf(nil, `{"id":%q,"rawId":%[1]q,"type":"public-key","authenticatorAttachment":"platform","clientExtensionResults":{},
		"response":{"clientDataJSON":%q,"attestationObject":%q,"transports":["internal"]}}`, b64(id), b64(client), b64(object))
}

// assertion is what navigator.credentials.get returns.
func assertion(auth, client, sig []byte) json.RawMessage {
	return fmt.Appendf(nil, `{"id":"AAAA","rawId":"AAAA","type":"public-key","authenticatorAttachment":"platform","clientExtensionResults":{},
		"response":{"authenticatorData":%q,"clientDataJSON":%q,"signature":%q,"userHandle":"AAAA"}}`, b64(auth), b64(client), b64(sig))
}

// register takes an authenticator through the ceremony.
func (f *fixture) register(t testing.TB, a *identtest.Authenticator) ident.PublicKey {
	t.Helper()
	var options struct {
		PublicKey struct {
			Challenge string `json:"challenge"`
			RP        struct{ ID string }
			User      struct{ ID, Name string }
			Params    []struct{ Alg int } `json:"pubKeyCredParams"`
			Selection struct {
				ResidentKey      string `json:"residentKey"`
				UserVerification string `json:"userVerification"`
			} `json:"authenticatorSelection"`
		} `json:"publicKey"`
	}
	if code := f.ask(t, "/v1/passkeys/options", NewPasskey{"alice"}, &options); code != 200 {
		t.Fatalf("options: %d", code)
	}
	o := options.PublicKey
	if o.RP.ID != "example.org" || o.User.Name != "alice" || len(o.User.ID) < 16 || len(o.Params) != 2 || o.Params[0].Alg != -7 || o.Params[1].Alg != -8 ||
		o.Selection.ResidentKey != "required" || o.Selection.UserVerification != "required" {
		t.Errorf("options %+v", o)
	}
	challenge, err := base64.RawURLEncoding.DecodeString(o.Challenge)
	if err != nil {
		t.Fatal(err)
	}
	var made Passkey
	if code := f.ask(t, "/v1/passkeys", RegisterPasskey{"alice", attestation(a.Attest(challenge))}, &made); code != 200 {
		t.Fatalf("register: %d", code)
	}
	if id, origins := made.Credential.RelyingParty(); made.Member != "alice" || id != "example.org" || len(origins) != 2 {
		t.Errorf("made %s for %s at %v", made.Member, id, origins)
	}
	return made.Credential
}

func member(keys ...ident.PublicKey) action.MemberRecord {
	return action.MemberRecord{ID: "alice", Name: "Alice", Operator: "op", Region: "eu", Roles: []string{action.RoleApprover}, Keys: keys}
}

// TestPasskeySigns goes the whole way: registration, a transaction that the
// ledger prepared, the browser's assertion, a block.
func TestPasskeySigns(t *testing.T) {
	ed := identtest.New("example.org", page)
	ed.Key = ed25519.NewKeyFromSeed(make([]byte, 32))
	for name, a := range map[string]*identtest.Authenticator{"ES256": identtest.New("example.org", page), "EdDSA": ed} {
		now := time.Unix(1e9, 0)
		f := newFixture(t)
		f.withPasskeys(t, &now)
		pk := f.register(t, a)
		f = newFixture(t, member(pk)) // and the ledger has it
		f.withPasskeys(t, &now)
		for nonce := range uint64(3) {
			var prepared Prepared
			if code := f.ask(t, "/v1/transactions/prepare", Prepare{Member: "alice", Kind: action.KindTick}, &prepared); code != 200 {
				t.Fatalf("prepare: %d", code)
			}
			unsigned, err := hex.DecodeString(prepared.Transaction)
			if err != nil {
				t.Fatal(err)
			}
			if message := wire.Hash(wire.TagTx, unsigned); !bytes.Equal(message[:], prepared.Message) || !bytes.Equal(message[:], prepared.PublicKey.Challenge) {
				t.Fatal("the challenge is not the hash of the transaction")
			}
			auth, client, sig := a.Assert(prepared.PublicKey.Challenge)
			req := Submit{prepared.Transaction, Signature{Credential: assertion(auth, client, sig)}}
			var done Submitted
			if code := f.ask(t, "/v1/transactions", req, &done); code != 200 || done.Height != nonce+1 || len(done.Hash) != 64 {
				t.Fatalf("%s: submit: %d %+v", name, code, done)
			}
			// The same again, and what ECDSA lets anybody make of it, count once.
			if code := f.ask(t, "/v1/transactions", req, nil); code != 409 {
				t.Errorf("replayed: %d", code)
			}
			if a != ed {
				req.Credential = assertion(auth, client, identtest.OtherS(sig))
				if code := f.ask(t, "/v1/transactions", req, nil); code != 409 {
					t.Errorf("replayed with the other s: %d", code)
				}
			}
		}
		// What the ledger took verifies for anybody who has the record.
		tx := action.Tx{Cluster: f.cluster, Kind: action.KindTick, Signer: action.Signer{Class: action.SignerMember, Name: "alice"}, Nonce: 9}
		message := wire.Hash(wire.TagTx, tx.Unsigned())
		auth, client, sig := a.Assert(message[:])
		raw, err := Signature{Credential: assertion(auth, client, sig)}.signature()
		if err != nil {
			t.Fatal(err)
		}
		tx.Signed(raw)
		if err := tx.VerifySignature(pk); err != nil {
			t.Error(err)
		}
	}
}

// TestForgedTransactions: none of these gets past the door, none changes the ledger.
func TestForgedTransactions(t *testing.T) {
	now := time.Unix(1e9, 0)
	a := identtest.New("example.org", page)
	pk, err := ident.NewPasskey(a.Key.Public(), "example.org", []string{page})
	if err != nil {
		t.Fatal(err)
	}
	mallory := member(pk)
	mallory.ID = "mallory"
	other := identtest.New("example.org", page)
	otherKey, err := ident.NewPasskey(other.Key.Public(), "example.org", []string{page})
	if err != nil {
		t.Fatal(err)
	}
	mallory.Keys = []ident.PublicKey{otherKey}
	f := newFixture(t, member(pk), mallory)
	f.withPasskeys(t, &now)
	var p Prepared
	if code := f.ask(t, "/v1/transactions/prepare", Prepare{Member: "alice", Kind: action.KindTick}, &p); code != 200 {
		t.Fatal(code)
	}
	var login LoginChallenge
	if code := f.ask(t, "/v1/login/challenge", LoginRequest{"alice"}, &login); code != 200 {
		t.Fatal(code)
	}
	unsigned, _ := hex.DecodeString(p.Transaction)
	change := func(do func(tx *action.Tx)) string {
		e := wire.NewEncoder(bytes.Clone(unsigned))
		e.Bytes(nil)
		tx, err := action.ParseTx(e.Out())
		if err != nil {
			t.Fatal(err)
		}
		do(tx)
		return hex.EncodeToString(tx.Unsigned())
	}
	with := func(set func(*identtest.Authenticator)) json.RawMessage {
		b := *a
		set(&b)
		return assertion(b.Assert(p.Message))
	}
	signed := func(client string) json.RawMessage {
		client = strings.ReplaceAll(client, "$", b64(p.Message))
		return assertion(a.Data(), []byte(client), a.Sign(a.Data(), []byte(client)))
	}
	auth, client, sig := a.Assert(p.Message)
	tagged := wire.Hash(wire.TagGrant, unsigned)
	for name, s := range map[string]Submit{
		"wrong origin":          {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.Origin = "https://evil.example" })}},
		"sibling origin":        {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.Origin = "https://evil.example.org" })}},
		"http":                  {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.Origin = "http://console.example.org" })}},
		"other port":            {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.Origin = page + ":8443" })}},
		"wrong RP id":           {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.RPID = "evil.example" })}},
		"no verification":       {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.Flags = identtest.Present })}},
		"no presence":           {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.Flags = identtest.Verified })}},
		"no flags":              {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.Flags = 0 })}},
		"attested flag":         {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.Flags |= identtest.Attested })}},
		"framed":                {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.Tail = `,"crossOrigin":true}` })}},
		"challenge twice":       {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.Tail = `,"crossOrigin":false,"challenge":"AAAA"}` })}},
		"trailing client data":  {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.Tail = `,"crossOrigin":false}}` })}},
		"another's key":         {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.Key = other.Key })}},
		"another algorithm":     {p.Transaction, Signature{Credential: with(func(a *identtest.Authenticator) { a.Key = ed25519.NewKeyFromSeed(make([]byte, 32)) })}},
		"registration":          {p.Transaction, Signature{Credential: signed(`{"type":"webauthn.create","challenge":"$","origin":"` + page + `","crossOrigin":false}`)}},
		"first challenge wrong": {p.Transaction, Signature{Credential: signed(`{"type":"webauthn.get","challenge":"AAAA","challenge":"$","origin":"` + page + `","crossOrigin":false}`)}},
		"other order":           {p.Transaction, Signature{Credential: signed(`{"challenge":"$","origin":"` + page + `","type":"webauthn.get","crossOrigin":false}`)}},
		"login's challenge":     {p.Transaction, Signature{Credential: assertion(a.Assert(login.Message))}},
		"login's nonce":         {p.Transaction, Signature{Credential: assertion(a.Assert(login.Challenge))}},
		"other tag":             {p.Transaction, Signature{Credential: assertion(a.Assert(tagged[:]))}},
		"truncated authData":    {p.Transaction, Signature{Credential: assertion(auth[:36], client, sig)}},
		"longer authData":       {p.Transaction, Signature{Credential: assertion(append(bytes.Clone(auth), 0), client, sig)}},
		"no authData":           {p.Transaction, Signature{Credential: assertion(nil, client, sig)}},
		"other counter":         {p.Transaction, Signature{Credential: assertion(append(bytes.Clone(auth[:36]), 1), client, sig)}},
		"no client data":        {p.Transaction, Signature{Credential: assertion(auth, nil, sig)}},
		"no signature":          {p.Transaction, Signature{Credential: assertion(auth, client, nil)}},
		"truncated signature":   {p.Transaction, Signature{Credential: assertion(auth, client, sig[:len(sig)-1])}},
		"trailing signature":    {p.Transaction, Signature{Credential: assertion(auth, client, append(bytes.Clone(sig), 0))}},
		"zero signature":        {p.Transaction, Signature{Credential: assertion(auth, client, make([]byte, 64))}},
		"no JSON":               {p.Transaction, Signature{Credential: json.RawMessage(`"x"`)}},
		"padded base64":         {p.Transaction, Signature{Credential: bytes.Replace(assertion(auth, client, sig), []byte(b64(auth)), []byte(b64(auth)+"=="), 1)}},
		"nothing":               {p.Transaction, Signature{}},
		"both":                  {p.Transaction, Signature{Signature: []byte{4}, Credential: assertion(auth, client, sig)}},
		"other nonce":           {change(func(tx *action.Tx) { tx.Nonce++ }), Signature{Credential: assertion(auth, client, sig)}},
		"other salt":            {change(func(tx *action.Tx) { tx.Salt[0]++ }), Signature{Credential: assertion(auth, client, sig)}},
		"other member":          {change(func(tx *action.Tx) { tx.Signer.Name = "mallory" }), Signature{Credential: assertion(auth, client, sig)}},
		"unknown member":        {change(func(tx *action.Tx) { tx.Signer.Name = "nobody" }), Signature{Credential: assertion(auth, client, sig)}},
		"a node":                {change(func(tx *action.Tx) { tx.Signer.Class = action.SignerNode }), Signature{Credential: assertion(auth, client, sig)}},
		"other cluster":         {change(func(tx *action.Tx) { tx.Cluster[0]++ }), Signature{Credential: assertion(auth, client, sig)}},
		"other kind":            {change(func(tx *action.Tx) { tx.Kind = action.KindRequest }), Signature{Credential: assertion(auth, client, sig)}},
		"no transaction":        {"", Signature{Credential: assertion(auth, client, sig)}},
		"no hex":                {"zz", Signature{Credential: assertion(auth, client, sig)}},
	} {
		if code := f.ask(t, "/v1/transactions", s, nil); code != 400 && code != 403 {
			t.Errorf("%s: %d", name, code)
		}
	}
	// The larger s gets in only as the smaller one that this door makes of it.
	raw, err := Signature{Credential: assertion(auth, client, sig)}.signature()
	if err != nil {
		t.Fatal(err)
	}
	if f.height != 0 {
		t.Fatalf("%d forgeries are on the ledger", f.height)
	}
	if code := f.ask(t, "/v1/transactions", Submit{p.Transaction, Signature{Signature: raw}}, nil); code != 200 {
		t.Errorf("what they were forged from: %d", code)
	}
}

// TestForgedRegistrations: what a browser must not get a credential for.
func TestForgedRegistrations(t *testing.T) {
	now := time.Unix(1e9, 0)
	f := newFixture(t)
	if code := f.ask(t, "/v1/passkeys/options", NewPasskey{"alice"}, nil); code != 404 {
		t.Errorf("passkeys that are off: %d", code)
	}
	f.withPasskeys(t, &now)
	good, _ := f.server.challenges.issue(forPasskey, "alice", now)
	bobs, _ := f.server.challenges.issue(forPasskey, "bob", now)
	logins, _ := f.server.challenges.issue(forLogin, "alice", now)
	late, _ := f.server.challenges.issue(forPasskey, "alice", now.Add(-challengeTime))
	try := func(challenge []byte, set func(*identtest.Authenticator)) int {
		a := identtest.New("example.org", page)
		set(a)
		return f.ask(t, "/v1/passkeys", RegisterPasskey{"alice", attestation(a.Attest(challenge))}, nil)
	}
	as := func(*identtest.Authenticator) {}
	if code := try(good, as); code != 200 {
		t.Fatalf("a good one: %d", code)
	}
	for name, code := range map[string]int{
		"another's challenge": try(bobs, as),
		"login's challenge":   try(logins, as),
		"late":                try(late, as),
		"own challenge":       try(bytes.Repeat([]byte{1}, challengeSize), as),
		"short challenge":     try(good[:40], as),
		"no challenge":        try(nil, as),
		"wrong origin":        try(good, func(a *identtest.Authenticator) { a.Origin = "https://evil.example" }),
		"origin's capitals":   try(good, func(a *identtest.Authenticator) { a.Origin = "https://Console.example.org" }),
		"wrong RP id":         try(good, func(a *identtest.Authenticator) { a.RPID = "evil.example" }),
		"no verification":     try(good, func(a *identtest.Authenticator) { a.Flags = identtest.Present }),
		"no presence":         try(good, func(a *identtest.Authenticator) { a.Flags = identtest.Verified }),
		"framed":              try(good, func(a *identtest.Authenticator) { a.Tail = `,"crossOrigin":true}` }),
	} {
		if code != 400 {
			t.Errorf("%s: %d", name, code)
		}
	}
	for _, body := range []string{``, `{}`, `{"member":"alice"}`, `{"member":"alice","credential":{}}`, `{"member":"alice","credential":{"id":"AA","rawId":"AA","type":"public-key","response":{}}}`} {
		if w := f.do("POST", "/v1/passkeys", body); w.Code != 400 {
			t.Errorf("%s: %d", body, w.Code)
		}
	}
}

func TestLogin(t *testing.T) {
	now := time.Unix(1e9, 0)
	key, err := ident.FromSeed(ident.Ed25519MLDSA65, make([]byte, ident.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	a := identtest.New("example.org", page)
	pk, err := ident.NewPasskey(a.Key.Public(), "example.org", []string{page})
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, member(key.Public(), pk))
	config := f.server.config
	config.Listen = "10.0.0.1:9003" // reading needs something
	if f.server, err = New(config); err != nil {
		t.Fatal(err)
	}
	f.withPasskeys(t, &now)
	challenge := func() (c LoginChallenge) {
		t.Helper()
		if code := f.ask(t, "/v1/login/challenge", LoginRequest{"alice"}, &c); code != 200 {
			t.Fatal(code)
		}
		return c
	}
	sign := func(c LoginChallenge) []byte {
		return key.Sign(wire.TagLogin, LoginParts(f.cluster, "node0", "alice", c.Challenge)...)
	}
	begin := func() (l LoggedIn) {
		t.Helper()
		c := challenge()
		if code := f.ask(t, "/v1/login", Login{"alice", c.Challenge, Signature{Signature: sign(c)}}, &l); code != 200 {
			t.Fatal(code)
		}
		return l
	}
	get := func(path, token string) int { return f.do("GET", path, "", "Authorization", "Bearer "+token).Code }

	// By a passkey, with a cookie.
	c := challenge()
	req := Login{"alice", c.Challenge, Signature{Credential: assertion(a.Assert(c.PublicKey.Challenge))}}
	body, _ := json.Marshal(req)
	w := f.do("POST", "/v1/login", string(body))
	cookies := w.Result().Cookies()
	if w.Code != 200 || len(cookies) != 1 || !cookies[0].HttpOnly || !cookies[0].Secure || cookies[0].SameSite != http.SameSiteStrictMode {
		t.Fatalf("%d %v", w.Code, cookies)
	}
	if w := f.do("GET", "/v1/login", "", "Cookie", cookies[0].Name+"="+cookies[0].Value); w.Code != 200 || !strings.Contains(w.Body.String(), `"alice"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := f.do("POST", "/v1/login", string(body)); w.Code != 403 {
		t.Errorf("the same login again: %d", w.Code)
	}

	one := begin()
	for path, want := range map[string]int{"/v1/keys": 200, "/v1/events": 200, "/v1/login": 200, "/v1/slashing": 401} {
		if code := get(path, one.Token); code != want {
			t.Errorf("GET %s in a session: %d, want %d", path, code, want)
		}
		if code := get(path, ""); code != 401 {
			t.Errorf("GET %s without: %d", path, code)
		}
	}
	// Nothing that changes anything is in a session's reach.
	for _, path := range []string{"/v1/ceremonies", "/v1/keys/import", "/v1/keys/0x00/exit", "/v1/slashing"} {
		for _, header := range [][]string{{"Authorization", "Bearer " + one.Token}, {"Cookie", sessionCookie + "=" + one.Token}} {
			if w := f.do("POST", path, `{"keys":1}`, header...); w.Code != 401 {
				t.Errorf("POST %s in a session: %d", path, w.Code)
			}
		}
	}
	if f.do("POST", "/v1/transactions", `{"transaction":""}`, "Authorization", "Bearer "+one.Token).Code != 400 {
		t.Error("a session instead of a signature")
	}

	// It ends: by wish, in time, by the next ones, with the key.
	if f.do("DELETE", "/v1/login", "", "Authorization", "Bearer "+one.Token); get("/v1/keys", one.Token) != 401 {
		t.Error("a session outlives its logout")
	}
	one = begin()
	now = now.Add(sessionTime - time.Second)
	if get("/v1/keys", one.Token) != 200 {
		t.Error("a session ends early")
	}
	now = now.Add(time.Second)
	if get("/v1/keys", one.Token) != 401 {
		t.Error("a session does not end")
	}
	one = begin()
	now = now.Add(time.Second)
	for range sessionsPerMember {
		begin()
	}
	if get("/v1/keys", one.Token) != 401 || len(f.server.sessions.byToken) != sessionsPerMember {
		t.Errorf("%d sessions of one member", len(f.server.sessions.byToken))
	}
	one = begin()
	next := newFixture(t, member(pk)) // the ledger drops the key
	f.state, f.bodies, f.frontier = next.state, next.bodies, next.frontier
	if get("/v1/keys", one.Token) != 401 {
		t.Error("a session outlives its key")
	}
}

// TestOtherOrigins: another page's requests are not the member's.
func TestOtherOrigins(t *testing.T) {
	f := newFixture(t, member())
	for _, c := range []struct {
		header, value string
		code          int
	}{
		{"Origin", "http://127.0.0.1:9003", 200}, {"Sec-Fetch-Site", "same-origin", 200}, {"Sec-Fetch-Site", "none", 200}, {"X-Other", "x", 200},
		{"Origin", "https://evil.example", 403}, {"Origin", "null", 403}, {"Sec-Fetch-Site", "cross-site", 403}, {"Sec-Fetch-Site", "same-site", 403},
	} {
		if w := f.do("POST", "/v1/login/challenge", `{"member":"alice"}`, c.header, c.value); w.Code != c.code {
			t.Errorf("%s: %s: %d, want %d", c.header, c.value, w.Code, c.code)
		}
	}
}

func TestForgedLogins(t *testing.T) {
	now := time.Unix(1e9, 0)
	key, err := ident.FromSeed(ident.Ed25519, make([]byte, ident.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, member(key.Public()))
	f.withPasskeys(t, &now)
	login := func(cluster action.ClusterID, node, who string, challenge []byte, tag wire.Tag) int {
		sig := key.Sign(tag, LoginParts(cluster, node, who, challenge)...)
		return f.ask(t, "/v1/login", Login{who, challenge, Signature{Signature: sig}}, nil)
	}
	issue := func(use, who string, at time.Time) []byte {
		c, _ := f.server.challenges.issue(use, who, at)
		return c
	}
	fresh := issue(forLogin, "alice", now)
	torn := slices.Clone(fresh)
	torn[20]++ // a later end
	for name, code := range map[string]int{
		"another node":        login(f.cluster, "node1", "alice", fresh, wire.TagLogin),
		"another cluster":     login(action.ClusterID{8}, "node0", "alice", fresh, wire.TagLogin),
		"another tag":         login(f.cluster, "node0", "alice", fresh, wire.TagTx),
		"another member":      login(f.cluster, "node0", "bob", issue(forLogin, "bob", now), wire.TagLogin),
		"another's challenge": login(f.cluster, "node0", "alice", issue(forLogin, "bob", now), wire.TagLogin),
		"passkey's challenge": login(f.cluster, "node0", "alice", issue(forPasskey, "alice", now), wire.TagLogin),
		"late":                login(f.cluster, "node0", "alice", issue(forLogin, "alice", now.Add(-challengeTime)), wire.TagLogin),
		"own end":             login(f.cluster, "node0", "alice", torn, wire.TagLogin),
		"own challenge":       login(f.cluster, "node0", "alice", make([]byte, challengeSize), wire.TagLogin),
		"no challenge":        login(f.cluster, "node0", "alice", nil, wire.TagLogin),
	} {
		if code != 403 {
			t.Errorf("%s: %d", name, code)
		}
	}
	if code := login(f.cluster, "node0", "alice", fresh, wire.TagLogin); code != 200 {
		t.Errorf("what they were forged from: %d", code)
	}
	if len(f.server.sessions.used) != 1 {
		t.Errorf("%d challenges are remembered, want those that were answered well", len(f.server.sessions.used))
	}
}

func TestPrepareRefuses(t *testing.T) {
	f := newFixture(t, member())
	for name, c := range map[string]struct {
		req  Prepare
		code int
	}{
		"unknown member": {Prepare{Member: "bob", Kind: action.KindTick}, 404},
		"no name":        {Prepare{Member: "../alice", Kind: action.KindTick}, 400},
		"unknown kind":   {Prepare{Member: "alice", Kind: 999}, 400},
		"no hex":         {Prepare{Member: "alice", Kind: action.KindTick, Body: "x"}, 400},
		"body of a tick": {Prepare{Member: "alice", Kind: action.KindTick, Body: "00"}, 400},
	} {
		if code := f.ask(t, "/v1/transactions/prepare", c.req, nil); code != c.code {
			t.Errorf("%s: %d, want %d", name, code, c.code)
		}
	}
}

func FuzzLoginBody(f *testing.F) {
	key, err := ident.FromSeed(ident.Ed25519, make([]byte, ident.SeedSize))
	if err != nil {
		f.Fatal(err)
	}
	fix := newFixture(f, member(key.Public()))
	f.Add([]byte(`{"transaction":"00","signature":"AA"}`))
	f.Add([]byte(`{"transaction":"00","credential":{"response":{"authenticatorData":"AA","clientDataJSON":"AA","signature":"AA"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, path := range []string{"/v1/transactions", "/v1/login", "/v1/passkeys"} {
			if w := fix.do("POST", path, string(body)); w.Code == 200 || w.Code >= 500 {
				t.Fatalf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	})
}

// TestMemberClient signs through the Go client, as the command line does.
func TestMemberClient(t *testing.T) {
	key, err := ident.FromSeed(ident.Ed25519MLDSA65, make([]byte, ident.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	signer := credential.FromKey(key)
	f := newFixture(t, member(key.Public()))
	lie := func(*Prepared) {}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/transactions/prepare" {
			f.server.ServeHTTP(w, r)
			return
		}
		var p Prepared
		answer := httptest.NewRecorder()
		f.server.ServeHTTP(answer, r)
		if err := json.Unmarshal(answer.Body.Bytes(), &p); err != nil {
			t.Error(err)
		}
		lie(&p)
		json.NewEncoder(w).Encode(p)
	}))
	defer server.Close()
	c := NewClient(server.URL, secret.Bytes{})
	session, err := c.Login(t.Context(), "alice", signer)
	if err != nil || session.Member != "alice" || len(session.Token) < 32 {
		t.Fatalf("login: %+v, %v", session, err)
	}
	if _, err := c.Login(t.Context(), "bob", signer); err == nil {
		t.Error("logs in as somebody else")
	}
	if done, err := c.Submit(t.Context(), f.cluster, "alice", action.KindTick, nil, signer); err != nil || done.Height != 1 {
		t.Errorf("submit: %+v, %v", done, err)
	}
	for name, change := range map[string]func(*action.Tx){
		"cluster": func(tx *action.Tx) { tx.Cluster[0]++ },
		"kind":    func(tx *action.Tx) { tx.Kind = action.KindRequest },
		"body":    func(tx *action.Tx) { tx.Body = []byte{1} },
		"signer":  func(tx *action.Tx) { tx.Signer.Name = "bob" },
		"class":   func(tx *action.Tx) { tx.Signer.Class = action.SignerNode },
	} {
		lie = func(p *Prepared) {
			tx := action.Tx{Cluster: f.cluster, Kind: action.KindTick, Signer: action.Signer{Class: action.SignerMember, Name: "alice"}, Nonce: 7}
			change(&tx)
			p.Transaction = hex.EncodeToString(tx.Unsigned())
		}
		if _, err := c.Submit(t.Context(), f.cluster, "alice", action.KindTick, nil, signer); err == nil || !strings.Contains(err.Error(), "nothing is signed") {
			t.Errorf("another %s than asked for: %v", name, err)
		}
	}
}
