package signerapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

// memoryKeymanager keeps keys in maps. A keystore is its key's 48 bytes and
// opens with the password "right pässword".
type memoryKeymanager struct {
	calls     []string // in order
	keys      map[[48]byte]bool
	own       map[[48]byte]action.ProposerSettings
	cluster   action.ProposerSettings
	passwords [][]byte // as they were handed over, to see them wiped
	fail      error    // of every method
}

func newMemoryKeymanager() *memoryKeymanager {
	return &memoryKeymanager{keys: map[[48]byte]bool{}, own: map[[48]byte]action.ProposerSettings{}}
}

func (k *memoryKeymanager) Import(_ context.Context, keystore, password []byte) (bool, [48]byte, error) {
	k.calls = append(k.calls, "import")
	k.passwords = append(k.passwords, password)
	if k.fail != nil {
		return false, [48]byte{}, k.fail
	}
	if string(password) != "right pässword" {
		return false, [48]byte{}, rpc.Errorf(rpc.CodeMalformed, "password does not open the keystore")
	}
	if len(keystore) != 48 {
		return false, [48]byte{}, rpc.Errorf(rpc.CodeMalformed, "not a keystore")
	}
	key := [48]byte(keystore)
	created := !k.keys[key]
	k.keys[key] = true
	return created, key, nil
}

func (k *memoryKeymanager) ImportSlashing(_ context.Context, interchange []byte) error {
	k.calls = append(k.calls, "slashing")
	if !json.Valid(interchange) {
		return rpc.Errorf(rpc.CodeMalformed, "interchange does not parse")
	}
	return k.fail
}

func (k *memoryKeymanager) Delete(_ context.Context, keys [][48]byte) (out []DeleteOutcome, interchange []byte, err error) {
	k.calls = append(k.calls, "delete")
	for _, key := range keys {
		status := DeleteNotFound
		if active, known := k.keys[key]; active {
			status = Deleted
		} else if known {
			status = DeleteNotActive
		}
		if status != DeleteNotFound {
			k.keys[key] = false
		}
		out = append(out, DeleteOutcome{Status: status})
	}
	return out, []byte(`{"metadata":{},"data":[]}`), k.fail
}

func (k *memoryKeymanager) Settings(_ context.Context, key [48]byte) (own, cluster action.ProposerSettings, err error) {
	return k.own[key], k.cluster, k.fail
}

func (k *memoryKeymanager) SetSettings(_ context.Context, key [48]byte, change action.SettingsChange) error {
	k.own[key] = k.own[key].After(change)
	return k.fail
}

func (k *memoryKeymanager) Exit(_ context.Context, _ [48]byte, index, epoch *uint64) (SignedVoluntaryExit, error) {
	if index == nil {
		return SignedVoluntaryExit{}, rpc.Errorf(rpc.CodeMalformed, "validator_index is not on record")
	}
	exit := SignedVoluntaryExit{Epoch: 7, ValidatorIndex: *index, Signature: [96]byte{0xab}}
	if epoch != nil {
		exit.Epoch = *epoch
	}
	return exit, k.fail
}

func withKeymanager(k *memoryKeymanager) func(*Config) {
	if k == nil {
		k = newMemoryKeymanager()
	}
	return func(c *Config) { c.Keymanager = k }
}

// admin is do with the token.
func (f *fixture) admin(method, target, body string) *httptest.ResponseRecorder {
	f.t.Helper()
	return f.do(method, target, body, "Authorization", "Bearer "+testToken)
}

func wantBody(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	want(t, w, status)
	if got := w.Body.String(); got != body {
		t.Errorf("got  %s\nwant %s", got, body)
	}
}

func TestToken(t *testing.T) {
	f := newFixture(t, withKeymanager(nil))
	for _, test := range []struct {
		header string
		status int
	}{
		{"", 401},
		{"Bearer", 401},
		{"Bearer ", 401},
		{testToken, 401},
		{"Basic " + testToken, 401},
		{"Bearer " + testToken[1:], 403},
		{"Bearer " + testToken + "0", 403},
		{"Bearer " + strings.ToUpper(testToken), 403},
		{"Bearer x", 403},
		{"Bearer " + testToken, 200},
		{"bearer  " + testToken + " ", 200},
	} {
		w := f.do("GET", "/eth/v1/keystores", "", "Authorization", test.header)
		want(t, w, test.status)
		if challenge := w.Header().Get("WWW-Authenticate"); (test.status == 401) != (challenge != "") {
			t.Errorf("%q: challenge %q", test.header, challenge)
		}
	}
	// Without the token nothing says which methods there are.
	want(t, f.do("PATCH", "/eth/v1/keystores", ""), 401)
	want(t, f.admin("PATCH", "/eth/v1/keystores", ""), 405)

	for _, token := range []string{"", "short"} {
		if _, err := New(configWithToken(f, token)); err == nil {
			t.Errorf("token %q was accepted", token)
		}
	}
	without := newFixture(t)
	want(t, without.admin("GET", "/eth/v1/keystores", ""), 404)
}

func TestListKeystores(t *testing.T) {
	f := newFixture(t, withKeymanager(nil))
	wantBody(t, f.admin("GET", "/eth/v1/keystores", ""), 200,
		fmt.Sprintf(`{"data":[{"validating_pubkey":"%s","readonly":false}]}`, pubkey(f.signer.key())))
}

func importBody(t *testing.T, slashing *string, pairs ...string) string {
	t.Helper()
	body := struct {
		Keystores []string `json:"keystores"`
		Passwords []string `json:"passwords"`
		Slashing  *string  `json:"slashing_protection,omitempty"`
	}{[]string{}, []string{}, slashing}
	for i := 0; i < len(pairs); i += 2 {
		body.Keystores = append(body.Keystores, pairs[i])
		body.Passwords = append(body.Passwords, pairs[i+1])
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestImportKeystores(t *testing.T) {
	k := newMemoryKeymanager()
	f := newFixture(t, withKeymanager(k))
	a, b := strings.Repeat("a", 48), strings.Repeat("b", 48)
	history := `{"metadata":{"interchange_format_version":"5"},"data":[]}`
	w := f.admin("POST", "/eth/v1/keystores", importBody(t, &history,
		a, "right pässword", b, "wrong", a, "right pässword", strings.Repeat("c", wire.MaxKeystore+1), "x", b, strings.Repeat("p", wire.MaxPassword+1)))
	wantBody(t, w, 200, `{"data":[{"status":"imported"},`+
		`{"status":"error","message":"malformed: password does not open the keystore"},`+
		`{"status":"duplicate"},`+
		`{"status":"error","message":"keystore over the limit of 65536 bytes"},`+
		`{"status":"error","message":"password over the limit of 1024 bytes"}]}`)
	if want := []string{"slashing", "import", "import", "import"}; !slices.Equal(k.calls, want) {
		t.Errorf("calls %v, want %v", k.calls, want)
	}
	for i, p := range k.passwords {
		if len(p) == 0 || !bytes.Equal(p, make([]byte, len(p))) {
			t.Errorf("password %d was not wiped: %q", i, p)
		}
	}
}

// An interchange that cannot be applied imports nothing.
func TestImportSlashingFirst(t *testing.T) {
	k := newMemoryKeymanager()
	f := newFixture(t, withKeymanager(k))
	bad := "not JSON"
	want(t, f.admin("POST", "/eth/v1/keystores", importBody(t, &bad, strings.Repeat("a", 48), "right pässword")), 400)
	if !slices.Equal(k.calls, []string{"slashing"}) {
		t.Errorf("calls %v", k.calls)
	}
	good := "{}"
	k.fail = rpc.Errorf(rpc.CodeUnavailable, "2 of 4 holders")
	want(t, f.admin("POST", "/eth/v1/keystores", importBody(t, &good, strings.Repeat("a", 48), "right pässword")), 503)
	if len(k.keys) != 0 {
		t.Error("a key was imported")
	}
}

func TestImportRefuses(t *testing.T) {
	k := newMemoryKeymanager()
	f := newFixture(t, withKeymanager(k))
	wantBody(t, f.admin("POST", "/eth/v1/keystores", `{"keystores":[],"passwords":[]}`), 200, `{"data":[]}`)
	for _, body := range []string{
		``, `null x`, `[]`, `{"keystores":["a"],"passwords":[]}`, `{"keystores":["a"],"passwords":[null]}`,
		`{"keystores":["a"],"passwords":[1]}`, `{"keystores":"a","passwords":"b"}`, `{"keystores":[{}],"passwords":["secret"]}`,
		`{"keystores":["a"],"passwords":["\ud800"]}`, "{\"keystores\":[\"a\"],\"passwords\":[\"\xff\"]}", `{"keystores":["a"],"passwords":["secret"`,
	} {
		w := f.admin("POST", "/eth/v1/keystores", body)
		want(t, w, 400)
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("the body is echoed: %s", w.Body)
		}
	}
	if len(k.calls) != 0 {
		t.Errorf("calls %v", k.calls)
	}
}

func TestDeleteKeystores(t *testing.T) {
	k := newMemoryKeymanager()
	f := newFixture(t, withKeymanager(k))
	active, stopped, foreign := pubkey{1}, pubkey{2}, pubkey{0xab}
	k.keys[active], k.keys[stopped] = true, false
	w := f.admin("DELETE", "/eth/v1/keystores", fmt.Sprintf(`{"pubkeys":["%s","%s","%s"]}`,
		active, stopped, "0x"+strings.ToUpper(foreign.String()[2:])))
	wantBody(t, w, 200, `{"data":[{"status":"deleted"},{"status":"not_active"},{"status":"not_found"}],`+
		`"slashing_protection":"{\"metadata\":{},\"data\":[]}"}`)
	for _, body := range []string{``, `{"pubkeys":["0x12"]}`, `{"pubkeys":[12]}`, `{"pubkeys":"` + active.String() + `"}`} {
		want(t, f.admin("DELETE", "/eth/v1/keystores", body), 400)
	}
	k.fail = rpc.Errorf(rpc.CodeUnavailable, "2 of 4 holders stopped")
	want(t, f.admin("DELETE", "/eth/v1/keystores", `{"pubkeys":[]}`), 503)
}

func TestRemoteKeys(t *testing.T) {
	f := newFixture(t, withKeymanager(nil))
	key := pubkey(f.signer.key()).String()
	wantBody(t, f.admin("GET", "/eth/v1/remotekeys", ""), 200, `{"data":[]}`)
	w := f.admin("POST", "/eth/v1/remotekeys", `{"remote_keys":[{"pubkey":"`+key+`","url":"https://remote.signer"},{"pubkey":"`+key+`"}]}`)
	item := `{"status":"error","message":"` + noRemoteKeys + `"}`
	wantBody(t, w, 200, `{"data":[`+item+`,`+item+`]}`)
	wantBody(t, f.admin("DELETE", "/eth/v1/remotekeys", `{"pubkeys":["`+key+`"]}`), 200, `{"data":[{"status":"not_found"}]}`)
	want(t, f.admin("POST", "/eth/v1/remotekeys", `[`), 400)
	want(t, f.do("GET", "/eth/v1/remotekeys", ""), 401)
}

func TestProposerSettings(t *testing.T) {
	k := newMemoryKeymanager()
	f := newFixture(t, withKeymanager(k))
	key := pubkey(f.signer.key()).String()
	path := func(part string) string { return "/eth/v1/validator/" + key + "/" + part }
	const address = "0xabcf8e0d4e9587369b2301d0790347320302cc09"
	for _, test := range []struct {
		method, part, body string
		status             int
		answer             string
	}{
		{"GET", "feerecipient", ``, 404, ``},
		{"GET", "gas_limit", ``, 404, ``},
		{"GET", "graffiti", ``, 404, ``},
		{"DELETE", "graffiti", ``, 204, ``},
		{"POST", "feerecipient", `{"ethaddress":"` + strings.Replace(address, "ab", "AB", 1) + `"}`, 202, ``},
		{"GET", "feerecipient", ``, 200, `{"data":{"pubkey":"` + key + `","ethaddress":"` + address + `"}}`},
		{"POST", "gas_limit", `{"gas_limit":"30000000"}`, 202, ``},
		{"GET", "gas_limit", ``, 200, `{"data":{"pubkey":"` + key + `","gas_limit":"30000000"}}`},
		{"POST", "graffiti", `{"graffiti":"grün & < >"}`, 202, ``},
		{"GET", "graffiti", ``, 200, `{"data":{"pubkey":"` + key + `","graffiti":"grün \u0026 \u003c \u003e"}}`},
		{"POST", "graffiti", `{"graffiti":""}`, 202, ``},
		{"GET", "graffiti", ``, 200, `{"data":{"pubkey":"` + key + `","graffiti":""}}`},
		{"DELETE", "gas_limit", ``, 204, ``},
		{"GET", "gas_limit", ``, 404, ``},
		{"GET", "feerecipient", ``, 200, `{"data":{"pubkey":"` + key + `","ethaddress":"` + address + `"}}`}, // untouched

		{"POST", "feerecipient", `{"ethaddress":"0x0000000000000000000000000000000000000000"}`, 400, ``},
		{"POST", "feerecipient", `{}`, 400, ``},
		{"POST", "feerecipient", `{"ethaddress":"0x12"}`, 400, ``},
		{"POST", "gas_limit", `{"gas_limit":"030"}`, 400, ``},
		{"POST", "gas_limit", `{"gas_limit":"-1"}`, 400, ``},
		{"POST", "gas_limit", `{"gas_limit":"18446744073709551616"}`, 400, ``},
		{"POST", "gas_limit", `{"gas_limit":30000000}`, 400, ``},
		{"POST", "gas_limit", `{}`, 400, ``},
		{"POST", "graffiti", `{"graffiti":"` + strings.Repeat("x", 33) + `"}`, 400, ``},
		{"POST", "graffiti", `{}`, 400, ``},
		{"POST", "graffiti", strings.Repeat(" ", smallBody+1), 413, ``},
		{"PUT", "graffiti", `{}`, 405, ``},
	} {
		w := f.admin(test.method, path(test.part), test.body)
		if w.Code != test.status {
			t.Fatalf("%s %s %s: status %d, want %d: %s", test.method, test.part, test.body, w.Code, test.status, w.Body)
		}
		if test.status == 200 || test.status == 202 || test.status == 204 {
			wantBody(t, w, test.status, test.answer)
		} else {
			want(t, w, test.status)
		}
	}
	limit := uint64(45)
	k.cluster.GasLimit = &limit
	wantBody(t, f.admin("GET", path("gas_limit"), ""), 200, `{"data":{"pubkey":"`+key+`","gas_limit":"45"}}`)

	want(t, f.admin("GET", "/eth/v1/validator/0x12/gas_limit", ""), 400)
	want(t, f.admin("GET", "/eth/v1/validator/"+pubkey{1}.String()+"/gas_limit", ""), 404)
	want(t, f.admin("POST", "/eth/v1/validator/"+pubkey{1}.String()+"/gas_limit", `{"gas_limit":"1"}`), 404)
	k.fail = rpc.Errorf(rpc.CodeNotGranted, "settings need an approval")
	want(t, f.admin("POST", path("gas_limit"), `{"gas_limit":"1"}`), 403)
}

func TestVoluntaryExit(t *testing.T) {
	k := newMemoryKeymanager()
	f := newFixture(t, withKeymanager(k))
	path := "/eth/v1/validator/" + pubkey(f.signer.key()).String() + "/voluntary_exit"
	signature := "0xab" + strings.Repeat("00", 95)
	wantBody(t, f.admin("POST", path+"?validator_index=3", ""), 200,
		`{"data":{"message":{"epoch":"7","validator_index":"3"},"signature":"`+signature+`"}}`)
	wantBody(t, f.admin("POST", path+"?epoch=0&validator_index=3", ""), 200,
		`{"data":{"message":{"epoch":"0","validator_index":"3"},"signature":"`+signature+`"}}`)
	for _, query := range []string{"", "?epoch=x&validator_index=3", "?epoch=&validator_index=3", "?validator_index=-1", "?epoch=01&validator_index=3"} {
		want(t, f.admin("POST", path+query, ""), 400)
	}
	k.fail = rpc.Errorf(rpc.CodeNotGranted, "an exit needs a grant")
	want(t, f.admin("POST", path+"?validator_index=3", ""), 403)
	want(t, f.admin("GET", path, ""), 405)
}

// Two changes at once wait for each other; one that waits too long is told so.
func TestAdministrationOneAtATime(t *testing.T) {
	f := newFixture(t, withKeymanager(nil))
	f.Server.admin.wait = time.Millisecond
	if err := f.Server.admin.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer f.Server.admin.leave()
	want(t, f.admin("POST", "/eth/v1/keystores", `{"keystores":[],"passwords":[]}`), 503)
}
