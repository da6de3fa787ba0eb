package signerapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
)

// Every published request gets the signature that others computed, in both
// forms of answer.
func TestSignVectors(t *testing.T) {
	file := readVectors(t)
	f := newFixture(t)
	if got := pubkey(f.signer.key()).String(); got != file.PublicKey {
		t.Fatalf("the vectors are for key %s, the test signs with %s", file.PublicKey, got)
	}
	for _, v := range file.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			w := f.do("POST", f.sign, string(v.Request))
			want(t, w, 200)
			if got := w.Body.String(); got != v.Signature {
				t.Errorf("got  %s\nwant %s", got, v.Signature)
			}
			w = f.do("POST", f.sign, string(v.Request), "Accept", "application/json")
			want(t, w, 200)
			if got := w.Body.String(); got != fmt.Sprintf(`{"signature":"%s"}`, v.Signature) {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestSignNegotiation(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		accept []string
		json   bool
	}{
		{nil, false}, // Teku, Prysm
		{[]string{""}, false},
		{[]string{"application/json"}, true}, // Lighthouse, Lodestar, Nimbus
		{[]string{"Application/JSON"}, true},
		{[]string{"*/*"}, true}, // curl, Go clients that set it
		{[]string{"application/json; charset=utf-8"}, true},
		{[]string{"text/html, application/json;q=0.1"}, true},
		{[]string{"application/json;q=0"}, true}, // as Web3Signer
		{[]string{"text/plain"}, false},
		{[]string{"text/plain, */*;q=0.1"}, true},
		{[]string{"text/plain", "application/json"}, true},
		{[]string{"application/*"}, false}, // as Web3Signer
		{[]string{"application/octet-stream"}, false},
		{[]string{";;,,"}, false},
	} {
		var headers []string
		for _, a := range test.accept {
			headers = append(headers, "Accept", a)
		}
		w := f.do("POST", f.sign, randao, headers...)
		want(t, w, 200)
		kind := contentText
		if test.json {
			kind = contentJSON
		}
		if got := w.Header().Get("Content-Type"); got != kind {
			t.Errorf("Accept %q: %s, want %s", test.accept, got, kind)
		}
		if isJSON := strings.HasPrefix(w.Body.String(), `{"signature":"0x`); isJSON != test.json {
			t.Errorf("Accept %q: body %s", test.accept, w.Body)
		}
		if !test.json && len(w.Body.String()) != 2+192 {
			t.Errorf("Accept %q: %d characters of text", test.accept, w.Body.Len())
		}
	}
}

// What the signer says becomes the status that validator clients know.
func TestSignStatuses(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		err    error
		status int
		text   string // in the error
	}{
		{rpc.Errorf(rpc.CodeMalformed, "contradicts itself"), 400, "contradicts itself"},
		{rpc.Errorf(rpc.CodeUnknownKey, ""), 404, "unknown key"},
		{rpc.Errorf(rpc.CodeSlashable, "slot 7 was signed"), 412, "slot 7 was signed"},
		{rpc.Errorf(rpc.CodeFenced, ""), 412, "fenced"},
		{rpc.Errorf(rpc.CodeOutOfRange, ""), 412, "out of range"},
		{rpc.Errorf(rpc.CodeNotGranted, ""), 412, "not granted"},
		{rpc.Errorf(rpc.CodeUnavailable, "2 of 3"), 503, "2 of 3"},
		{fmt.Errorf("ask holders: %w", rpc.ErrConn), 503, "no quorum"},
		{fmt.Errorf("ask holders: %w", context.DeadlineExceeded), 503, "no quorum"},
		{rpc.Errorf(rpc.CodeInternal, "open /secret/path"), 500, "internal error"},
		{rpc.Errorf(rpc.CodeWrongCluster, "abc"), 500, "internal error"},
		{errors.New("open /secret/path"), 500, "internal error"},
	} {
		f.signer.before = func(context.Context, string, eth.Duty) error { return test.err }
		w := f.do("POST", f.sign, randao)
		want(t, w, test.status)
		if body := w.Body.String(); !strings.Contains(body, test.text) || strings.Contains(body, "/secret/path") {
			t.Errorf("%v: %s", test.err, body)
		}
	}
}

// A signing root that is not the duty's is refused before anyone is asked.
func TestSignRootMismatch(t *testing.T) {
	body := strings.Replace(randao, `{`, `{"signingRoot":"0x`+strings.Repeat("ab", 32)+`",`, 1)
	for strict, status := range map[bool]int{false: 500, true: 400} {
		f := newFixture(t, func(c *Config) { c.Strict = strict })
		w := f.do("POST", f.sign, body)
		want(t, w, status)
		if f.signer.asked != 0 {
			t.Error("the signer was asked")
		}
		if !strings.Contains(w.Body.String(), "signing root") {
			t.Errorf("unclear: %s", w.Body)
		}
	}
}

type explosive struct{ t *testing.T }

func (e explosive) Read([]byte) (int, error) {
	e.t.Error("the body was read")
	return 0, io.EOF
}

func TestSignIdentifiers(t *testing.T) {
	f := newFixture(t)
	key := pubkey(f.signer.key()).String()
	digits := key[2:]
	for id, status := range map[string]int{
		"0x" + strings.ToUpper(digits): 400,
		"0X" + digits:                  400,
		digits:                         400,
		key[:97]:                       400,
		key + "0":                      400,
		key + "00":                     400,
		"0x" + strings.Repeat("g", 96): 400,
		"0x":                           400,
		"":                             400,
		"%30x" + digits:                400,
		key + "%00":                    400,
		"0x" + strings.Repeat("0", 96): 404,
		"0x" + strings.Repeat("f", 96): 404,
		key + "/":                      404,
		key + "/..":                    404,
		"..%2f" + key:                  400,
		"../sign/" + key:               404,
		"./" + key:                     404,
		"/" + key:                      404,
	} {
		r := httptest.NewRequest("POST", "/", explosive{t})
		if err := setEscapedPath(r.URL, signPrefix+id); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("identifier %q: status %d, want %d", id, w.Code, status)
			continue
		}
		want(t, w, status)
	}
}

func TestRouting(t *testing.T) {
	f := newFixture(t, withKeymanager(nil))
	key := pubkey(f.signer.key()).String()
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 404},
		{"GET", "/api/v1/eth2/publicKeys/", 404},
		{"GET", "/api/v1/eth2//publicKeys", 404},
		{"POST", "/api/v1/eth2/../eth2/sign/" + key, 404},
		{"POST", "//api/v1/eth2/sign/" + key, 404},
		{"POST", "/api/v1/eth2/%73ign/" + key, 404},
		{"POST", "/api/v1/eth2/sign", 404},
		{"POST", "/API/v1/eth2/sign/" + key, 404},
		{"GET", "/upcheck%2f..%2fhealthcheck", 404},
		{"GET", "/..;/upcheck", 404},
		{"GET", "/upcheck\\..\\reload", 404},
		{"GET", "/metrics", 404},
		{"GET", "/eth/v1/validator/" + key, 404},
		{"GET", "/eth/v1/validator/" + key + "/", 404},
		{"GET", "/eth/v1/validator/" + key + "/feerecipient/", 404},
		{"GET", f.sign, 405},
		{"PUT", f.sign, 405},
		{"DELETE", "/reload", 405},
		{"POST", "/upcheck", 405},
		{"POST", "/api/v1/eth2/publicKeys", 405},
		{"OPTIONS", "/upcheck", 405},
		{"HEAD", "/upcheck", 200},
		{"GET", "/upcheck", 200},
	} {
		r := httptest.NewRequest(test.method, "/", nil)
		if err := setEscapedPath(r.URL, test.path); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("%s %s: status %d, want %d", test.method, test.path, w.Code, test.status)
			continue
		}
		want(t, w, test.status)
		if allow := w.Header().Get("Allow"); (w.Code == 405) != (allow != "") {
			t.Errorf("%s %s: Allow %q", test.method, test.path, allow)
		}
	}
}

func TestGuards(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		host    string
		headers []string
		status  int
	}{
		{"localhost", nil, 200},
		{"LOCALHOST:9000", nil, 200},
		{"127.0.0.1:9000", nil, 200},
		{"attacker.example", nil, 403},
		{"localhost.attacker.example", nil, 403},
		{"", nil, 403},
		{"localhost", []string{"Origin", "https://attacker.example"}, 403},
		{"localhost", []string{"Origin", "null"}, 403},
		{"localhost", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"localhost", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"localhost", []string{"Content-Type", "application/json; charset=utf-8"}, 200},
		{"localhost", []string{"Content-Type", "application/x-www-form-urlencoded"}, 200},
		{"localhost", []string{"Content-Type", "text/plain"}, 415},
		{"localhost", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415},
		{"localhost", []string{"Content-Type", ";;"}, 415},
		{"localhost", []string{"Content-Encoding", "gzip"}, 415},
	} {
		r := httptest.NewRequest("POST", f.sign, strings.NewReader(randao))
		r.Host = test.host
		for i := 0; i < len(test.headers); i += 2 {
			r.Header.Set(test.headers[i], test.headers[i+1])
		}
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("host %q %q: status %d, want %d", test.host, test.headers, w.Code, test.status)
		}
	}
	open := newFixture(t, func(c *Config) { c.Hosts = []string{"*"} })
	r := httptest.NewRequest("GET", "/upcheck", nil)
	r.Host = "anything.example"
	w := httptest.NewRecorder()
	open.ServeHTTP(w, r)
	want(t, w, 200)
}

func TestPanicIsAnswered(t *testing.T) {
	f := newFixture(t)
	f.signer.before = func(context.Context, string, eth.Duty) error { panic("share 0xdeadbeef") }
	w := f.do("POST", f.sign, randao)
	want(t, w, 500)
	if strings.Contains(w.Body.String(), "beef") {
		t.Errorf("details leave: %s", w.Body)
	}
	if len(f.signing.places) != 0 {
		t.Error("a place stays taken")
	}
}

func TestErrorForms(t *testing.T) {
	f := newFixture(t, withKeymanager(nil))
	for path, field := range map[string]string{"/api/v1/eth2/none": "error", "/eth/v1/keystores": "message"} {
		w := f.do("GET", path, "")
		var body map[string]string
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body[field] == "" {
			t.Errorf("%s: %s, want the field %s", path, w.Body, field)
		}
	}
}
