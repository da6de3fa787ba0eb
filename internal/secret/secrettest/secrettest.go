// Package secrettest checks that a type does not leak the secret it holds.
//
// Owns: [Check], the one test that every secret type has, and [Find], the
// scanner below it; [Timing], which looks for a secret in how long work takes.
//
// Never: a real secret. A canary is made for the test.
package secrettest

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// Check prints, logs and marshals v, alone and inside other values, in every
// way that the standard library knows, and fails when any part of canary
// comes out. canary is the secret in v, at least 8 bytes.
func Check[T any](t testing.TB, v T, canary []byte) {
	t.Helper()
	if len(canary) < window {
		t.Fatalf("canary of %d bytes, want %d or more", len(canary), window)
	}
	scan := newScanner(canary)
	seen := make(map[string]bool) // most ways print the same
	report := func(how, out string) {
		t.Helper()
		if seen[out] {
			return
		}
		seen[out] = true
		if form, found := scan.find([]byte(out)); found {
			t.Errorf("%T leaks as %s through %s", v, form, how)
		}
	}

	type hidden struct{ s T }
	type deeper struct {
		name string
		in   hidden
		list []T
		ptr  *T
	}
	nested := map[string]any{
		"value":      v,
		"pointer":    &v,
		"exported":   struct{ S T }{v},
		"unexported": hidden{v},
		"deeper":     deeper{"x", hidden{v}, []T{v}, &v},
		"deeper ptr": &deeper{"x", hidden{v}, []T{v}, &v},
		"array":      [1]T{v},
		"slice":      []T{v},
		"map":        map[string]T{"k": v},
		"interface":  []any{v, hidden{v}},
		"error":      fmt.Errorf("wrap %v", v),
	}
	for name, n := range nested {
		for _, verb := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
			for _, flags := range []string{"", "+", "#", "0", "- ", "# ", "300", ".400"} {
				format := "%" + flags + string(verb)
				report(fmt.Sprintf("fmt %s of %s", format, name), fmt.Sprintf(format, n))
			}
		}
		report("print of "+name, fmt.Sprint(n)+fmt.Sprintln(n))
		report("slog of "+name, logged(n))
		// Errors are fine here; what matters is what is written before one.
		out, err := json.Marshal(n)
		report("json of "+name, string(out)+errorText(err))
	}

	if _, err := json.Marshal(v); err == nil {
		t.Errorf("%T marshals to JSON, want an error", v)
	}
	if m, ok := any(v).(encoding.TextMarshaler); !ok {
		t.Errorf("%T has no MarshalText that refuses", v)
	} else if _, err := m.MarshalText(); err == nil {
		t.Errorf("%T marshals to text, want an error", v)
	}
	if err := gob.NewEncoder(new(bytes.Buffer)).Encode(v); err == nil {
		t.Errorf("%T encodes to gob, want an error", v)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func logged(v any) string {
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "k", v, slog.Group("g", "k", v))
	slog.New(slog.NewJSONHandler(&out, nil)).With("w", v).Info("m", "k", v, slog.Group("g", "k", v))
	return out.String()
}

// window is the length of the shortest run of secret bytes that counts as a
// leak; shorter ones happen by chance.
const window = 8

// Find looks for any window of canary in out: raw, quoted, hex, base64, octal,
// binary, decimal bytes and, for the whole, as one decimal number; forwards
// and reversed.
func Find(out, canary []byte) (form string, found bool) { return newScanner(canary).find(out) }

// scanner holds all that would be a leak of one canary.
type scanner struct {
	exact   []needle // case matters
	lowered []needle // looked for in lower case
}

type needle struct {
	form string
	text []byte
}

func newScanner(canary []byte) *scanner {
	s := new(scanner)
	reversed := slices.Clone(canary)
	slices.Reverse(reversed)
	for _, c := range [][]byte{canary, reversed} {
		s.add(&s.exact, "one decimal number", new(big.Int).SetBytes(c).String())
		for i := 0; i+window <= len(c); i++ {
			s.addWindow(c[i : i+window])
		}
	}
	return s
}

func (s *scanner) add(to *[]needle, form, text string) {
	*to = append(*to, needle{form, []byte(text)})
}

func (s *scanner) addWindow(w []byte) {
	s.add(&s.exact, "raw bytes", string(w))
	s.add(&s.exact, "quoted bytes", strings.Trim(fmt.Sprintf("%q", w), `"`))
	s.add(&s.lowered, "hex", hex.EncodeToString(w))
	for _, sep := range []string{" ", ", ", ","} {
		s.add(&s.exact, "decimal bytes", joined(w, "%d", sep))
		s.add(&s.exact, "octal bytes", joined(w, "%o", sep))
		s.add(&s.exact, "binary bytes", joined(w, "%b", sep))
		s.add(&s.lowered, "hex bytes", joined(w, "%02x", sep))
		s.add(&s.lowered, "hex bytes", joined(w, "%x", sep))
		s.add(&s.lowered, "hex bytes", joined(w, "0x%x", sep))
	}
	// Six bytes are two whole groups of base64; the windows that follow one
	// another cover its three alignments.
	s.add(&s.exact, "base64", base64.StdEncoding.EncodeToString(w[:6]))
	s.add(&s.exact, "base64", base64.URLEncoding.EncodeToString(w[:6]))
}

func joined(w []byte, format, sep string) string {
	parts := make([]string, len(w))
	for i, b := range w {
		parts[i] = fmt.Sprintf(format, b)
	}
	return strings.Join(parts, sep)
}

func (s *scanner) find(out []byte) (form string, found bool) {
	for _, n := range s.exact {
		if bytes.Contains(out, n.text) {
			return n.form, true
		}
	}
	lower := bytes.ToLower(out)
	for _, n := range s.lowered {
		if bytes.Contains(lower, n.text) {
			return n.form, true
		}
	}
	return "", false
}
