package opsapi

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/secret"
)

// The fixture's log is the real one; what signs and certifies is a cluster's,
// and shown where there is one (package node).

func (f *fixture) Checkpoint(context.Context) ([]byte, error) {
	if f.refuse != nil {
		return nil, f.refuse
	}
	return []byte("quorate/\n"), nil
}

// Prove has no headers to prove anything with.
func (f *fixture) Prove(context.Context, func(proof.Namespace) []proof.Path) ([]byte, error) {
	return nil, rpc.Errorf(rpc.CodeUnavailable, "there is no consensus here")
}

func (f *fixture) Tile(path string) ([]byte, error) {
	view, err := f.View()
	if err != nil {
		return nil, err
	}
	return audit.Tile(view, 1, path)
}

func (f *fixture) EventReceipt(_ context.Context, tx [32]byte) ([]byte, error) {
	if tx == ([32]byte{}) {
		return nil, audit.ErrNoReceipt
	}
	return tx[:], f.refuse
}

// ExportLog fails after two bytes when it has to.
func (f *fixture) ExportLog(_ context.Context, w io.Writer, filter audit.Filter) error {
	if filter.Member == "nobody" {
		return f.refuse
	}
	io.WriteString(w, "QU") //nolint:errcheck // the test looks at it
	return f.refuse
}

func TestEvidence(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		target, kind string
		status       int
		body         string // part of it
	}{
		{"/tlog/checkpoint", kindText, 200, "quorate/"},
		{"/tlog/tile/entries/000.p/1", kindBinary, 200, "\x00\x20"},
		{"/tlog/tile/0/000", "application/json", 404, "no such tile"},
		{"/tlog/tile/0/000.p/2", "application/json", 404, "no such tile"},
		{"/v1/receipts/0x" + strings.Repeat("41", 32), kindBinary, 200, strings.Repeat("A", 32)},
		{"/v1/receipts/" + strings.Repeat("00", 32), "application/json", 404, "no event"},
		{"/v1/receipts/41", "application/json", 400, "64 hex digits"},
		{"/v1/events/export", kindBinary, 200, "QU"},
		{"/v1/events/export?format=jsonl", "application/jsonl", 200, `"kind":"genesis"`},
		{"/v1/events/export?format=jsonl&kind=denied", "application/jsonl", 200, ""},
		{"/v1/events/export?format=xml", "application/json", 400, "unknown"},
		{"/v1/events/export?key=0x00", "application/json", 400, "96 hex digits"},
		{"/v1/events/export?key=" + strings.Repeat("ab", 48), "application/json", 404, "not in the validator inventory"},
		{"/v1/events/export?from=yesterday", "application/json", 400, "no time"},
	} {
		w := f.do("GET", c.target, "")
		if w.Code != c.status || w.Header().Get("Content-Type") != c.kind || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%s: %d %s %q", c.target, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
	rows, err := csv.NewReader(f.do("GET", "/v1/events/export?format=csv", "").Body).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][1] != "genesis" {
		t.Errorf("%v, %v", rows, err)
	}
}

// A file that broke off must not look like a whole one to whoever fetches it.
func TestExportBreaksOff(t *testing.T) {
	f := newFixture(t)
	server := httptest.NewServer(f.server)
	defer server.Close()
	client := NewClient(server.URL, secret.Bytes{})
	var out bytes.Buffer
	if err := client.Export(t.Context(), &out, FormatLog, audit.Filter{}); err != nil || out.String() != "QU" {
		t.Fatal(out.String(), err)
	}
	f.refuse = rpc.Errorf(rpc.CodeUnavailable, "no quorum")
	var refused *Error
	if err := client.Export(t.Context(), &out, FormatLog, audit.Filter{}); err == nil || errors.As(err, &refused) {
		t.Errorf("after two bytes: %v", err)
	}
	if err := client.Export(t.Context(), &out, FormatLog, audit.Filter{Member: "nobody"}); !errors.As(err, &refused) || refused.Status != 503 {
		t.Errorf("before the first: %v", err)
	}
	if err := client.Checkpoint(t.Context(), &out); !errors.As(err, &refused) || refused.Status != 503 {
		t.Error(err)
	}
}
