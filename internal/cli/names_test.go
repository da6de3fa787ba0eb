package cli

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/secret"
)

func TestNamed(t *testing.T) {
	ids := []string{"0xabcd01", "0xabcd02", "0xffff00"}
	for _, c := range []struct{ given, want, says string }{
		{"0xffff", "0xffff00", ""},
		{"FFFF0", "0xffff00", ""},
		{"abcd", "", "more than one"},
		{"0000", "", "none begins"},
		{"ff", "ff", ""},         // too short to look for
		{"nope", "nope", ""},     // no hex
		{"000000", "000000", ""}, // whole, if unknown
	} {
		got, err := named(c.given, 6, "hint", func() ([]string, error) { return ids, nil })
		if got != c.want || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("named %q: %q, %v", c.given, got, err)
		}
	}
	lost := errors.New("lost")
	if _, err := named("ffff", 6, "", func() ([]string, error) { return nil, lost }); !errors.Is(err, lost) {
		t.Errorf("a list that fails: %v", err)
	}
}

// TestUsageHints: who called a command badly is told how that one is called.
func TestUsageHints(t *testing.T) {
	for _, c := range []struct{ line, hint string }{
		{"nonsense", "quorate --help"},
		{"key nonsense", "quorate key --help"},
		{"key", "quorate key --help"},
		{"key show", "quorate key show PUBKEY; more in quorate key show --help"},
		{"node init", "quorate node init --help"},
		{"audit receipt --nonsense", "quorate audit receipt TRANSACTION --out FILE; more in quorate audit receipt --help"},
		{"ceremony open --mode refesh", "--mode takes keygen, refresh, reshare, handover"},
		{"key list --identity nowhere", "give --identity the file ops.token in the node's home"},
	} {
		var stderr bytes.Buffer
		if code := Main(t.Context(), strings.Fields(c.line), new(bytes.Buffer), &stderr); code != int(exitBadUse) || !strings.HasSuffix(stderr.String(), "\nhint: "+c.hint+"\n") {
			t.Errorf("quorate %s: exit %d, %s", c.line, code, stderr.String())
		}
	}
}

func TestCutHint(t *testing.T) {
	for text, want := range map[string][2]string{
		"a (hint: b)":              {"a", "b"},
		"a (hint: b (c))":          {"a", "b (c)"},
		"a (hint: b), then c":      {"a (hint: b), then c", ""},
		"a":                        {"a", ""},
		"a (hint: b): c (hint: d)": {"a (hint: b): c", "d"},
	} {
		if rest, hint := cutHint(text); rest != want[0] || hint != want[1] {
			t.Errorf("%q: %q, %q", text, rest, hint)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	fault := errors.New("fault")
	if err := interrupted(ctx, fault); err != fault {
		t.Errorf("while nobody interrupts: %v", err)
	}
	signal := errors.New("signal")
	cancel(signal)
	better := fail(exitInterrupted, "go on", "stopped")
	other := fail(exitFailed, "", "not confirmed")
	for err, want := range map[error]string{
		fault:                              "interrupted", // of a child that was interrupted, too
		better:                             "stopped",
		other:                              "not confirmed",
		&url.Error{Op: "Get", Err: signal}: "interrupted",
		hinted(context.Canceled, "quorate node list"): "interrupted",
	} {
		if got := interrupted(ctx, err); got.Error() != want {
			t.Errorf("%v: %v, want %s", err, got, want)
		}
	}
	var stderr bytes.Buffer
	if code := Main(ctx, []string{"key", "list", "--address", "127.0.0.1:1"}, new(bytes.Buffer), &stderr); code != 130 || stderr.String() != "quorate: interrupted\n" {
		t.Errorf("exit %d, %q", code, stderr.String())
	}
}

// TestAddress: a host alone has the port that nodes have.
func TestAddress(t *testing.T) {
	for given, want := range map[string]string{
		"node1.example": "http://node1.example:9003", "node1.example:80": "http://node1.example:80",
		"[::1]:9": "http://[::1]:9", "https://node1.example": "https://node1.example", "http://a/b/": "http://a/b",
	} {
		if got := opsapi.NewClient(given, secret.Bytes{}).Address(); got != want {
			t.Errorf("%s: %s, want %s", given, got, want)
		}
	}
}
