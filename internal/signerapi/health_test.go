package signerapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
)

type healthFunc func() []Check

func (h healthFunc) Health(context.Context) []Check { return h() }

func TestHealthcheck(t *testing.T) {
	checks := []Check{{ID: "quorum", Up: true}}
	f := newFixture(t, func(c *Config) { c.Health = healthFunc(func() []Check { return checks }) })
	wantBody(t, f.do("GET", "/healthcheck", ""), 200,
		`{"status":"UP","checks":[{"id":"default-check","status":"UP"},{"id":"quorum","status":"UP"}],"outcome":"UP"}`)
	checks = []Check{{ID: "quorum", Reason: "2 of 3 holders"}, {ID: "fence", Up: true}}
	w := f.do("GET", "/healthcheck", "")
	if w.Code != 503 || w.Body.String() != `{"status":"DOWN","checks":[{"id":"default-check","status":"UP"},`+
		`{"id":"quorum","status":"DOWN","data":{"reason":"2 of 3 holders"}},{"id":"fence","status":"UP"}],"outcome":"DOWN"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type watermarks struct {
	mark *Watermark
	err  error
}

func (m watermarks) HighWatermark(context.Context) (*Watermark, error) { return m.mark, m.err }

func TestHighWatermark(t *testing.T) {
	for _, test := range []struct {
		marks  Watermarks
		status int
		body   string
	}{
		{nil, 200, `{}`},
		{watermarks{}, 200, `{}`},
		{watermarks{mark: &Watermark{Epoch: 0, Slot: 18446744073709551615}}, 200, `{"epoch":"0","slot":"18446744073709551615"}`},
		{watermarks{err: rpc.Errorf(rpc.CodeUnavailable, "")}, 503, `{"error":"unavailable"}`},
	} {
		f := newFixture(t, func(c *Config) { c.Watermarks = test.marks })
		wantBody(t, f.do("GET", "/api/v1/eth2/highWatermark", ""), test.status, test.body)
	}
}

func TestPublicKeys(t *testing.T) {
	f := newFixture(t)
	wantBody(t, f.do("GET", "/api/v1/eth2/publicKeys", ""), 200, `["`+pubkey(f.signer.key()).String()+`"]`)
	f.config.Signer = keyList{f.signer, nil}
	wantBody(t, f.do("GET", "/api/v1/eth2/publicKeys", ""), 200, `[]`)
	f.config.Signer = keyList{f.signer, [][48]byte{{1}, {2}}}
	wantBody(t, f.do("GET", "/api/v1/eth2/publicKeys", ""), 200, `["`+pubkey{1}.String()+`","`+pubkey{2}.String()+`"]`)
}

type keyList struct {
	*keySigner
	keys [][48]byte
}

func (k keyList) Keys() [][48]byte { return k.keys }

type reloaderFunc func(context.Context) (int, error)

func (r reloaderFunc) Reload(ctx context.Context) (int, error) { return r(ctx) }

func TestReload(t *testing.T) {
	type outcome struct {
		failed int
		err    error
	}
	begun, outcomes := make(chan struct{}), make(chan outcome)
	f := newFixture(t, func(c *Config) {
		c.Reloader = reloaderFunc(func(context.Context) (int, error) {
			begun <- struct{}{}
			o := <-outcomes
			return o.failed, o.err
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.reloads.run(ctx) }()
	status := func() reloadState {
		w := f.do("GET", "/reload", "")
		want(t, w, 200)
		var s reloadState
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := status(); s != (reloadState{Status: "idle"}) {
		t.Errorf("at first: %+v", s)
	}
	for _, test := range []struct {
		outcome
		status, cause string
	}{
		{outcome{}, "completed", ""},
		{outcome{failed: 3}, "completed_with_errors", "Reload completed with 3 signer loading error(s)"},
		{outcome{err: errors.New("ledger is behind")}, "failed", "ledger is behind"},
	} {
		want(t, f.do("POST", "/reload", ""), 202)
		<-begun
		want(t, f.do("POST", "/reload", ""), 409)
		if s := status(); s.Status != "running" || s.LastError != "" || s.Time == "" {
			t.Errorf("meanwhile: %+v", s)
		}
		outcomes <- test.outcome
		for status().Status == "running" {
			runtime.Gosched()
		}
		if s := status(); s.Status != test.status || s.LastError != test.cause || s.Time == "" {
			t.Errorf("afterwards: %+v", s)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// One line for each request says who signed what and how it went, and neither
// body nor token.
func TestSignLog(t *testing.T) {
	var log bytes.Buffer
	f := newFixture(t, withKeymanager(nil), func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	f.do("POST", f.sign, randao, "Authorization", "Bearer "+testToken)
	f.signer.before = func(context.Context, string, eth.Duty) error { return rpc.Errorf(rpc.CodeSlashable, "slot 7") }
	f.do("POST", f.sign, randao)
	f.do("POST", f.sign, `{"secret":1}`)
	f.admin("POST", "/eth/v1/keystores", importBody(t, nil, strings.Repeat("k", 48), "pässword-of-a-key"))
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines:\n%s", len(lines), &log)
	}
	short := pubkey(f.signer.key()).String()[:14]
	for i, want := range [][]string{
		{"level=INFO", "msg=sign", "key=" + short + " ", "type=RANDAO_REVEAL", "epoch=411400", "outcome=signed", "took="},
		{"level=WARN", "key=" + short + " ", "outcome=refused", "slot 7"},
		{"level=WARN", "key=" + short + " ", "outcome=malformed"},
		{"level=WARN", "keystore not imported"},
	} {
		for _, part := range want {
			if !strings.Contains(lines[i], part) {
				t.Errorf("line %d lacks %s: %s", i, part, lines[i])
			}
		}
	}
	for _, secret := range []string{testToken, "genesis_validators_root", "pässword-of", strings.Repeat("k", 48)} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
}
