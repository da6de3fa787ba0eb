package secrettest_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/secret/secrettest"
)

var canary = []byte("\x91\x00canary-\xf0\x0d-of-thirty-two-bytes")

// leaky redacts itself, and leaks all the same when it is nested.
type leaky struct{ b []byte }

func (leaky) String() string               { return "[secret]" }
func (leaky) GoString() string             { return "[secret]" }
func (leaky) MarshalJSON() ([]byte, error) { return nil, fmt.Errorf("refused") }

// spy records that a check failed.
type spy struct {
	testing.TB
	failed bool
}

func (s *spy) Helper()               {}
func (s *spy) Errorf(string, ...any) { s.failed = true }

func TestCheckFires(t *testing.T) {
	s := &spy{TB: t}
	secrettest.Check(s, leaky{canary}, canary)
	if !s.failed {
		t.Fatal("Check passed a type that leaks when nested")
	}
}

func TestFind(t *testing.T) {
	reversed := slices.Clone(canary)
	slices.Reverse(reversed)
	for _, out := range []string{
		string(canary),
		hex.EncodeToString(canary),
		fmt.Sprintf("%X", canary[5:20]),
		fmt.Sprintf("% x", canary),
		fmt.Sprintf("%#v", canary),
		fmt.Sprintf("%v", canary),
		fmt.Sprintf("%q", canary),
		fmt.Sprintf("%o", canary),
		fmt.Sprintf("%b", canary),
		hex.EncodeToString(reversed),
		new(big.Int).SetBytes(canary).String(),
		new(big.Int).SetBytes(reversed).String(),
		base64.StdEncoding.EncodeToString(canary),
		base64.RawURLEncoding.EncodeToString(canary[1:]),
		base64.StdEncoding.EncodeToString(append([]byte("xy"), canary...)),
	} {
		if _, found := secrettest.Find([]byte("before "+out+" after"), canary); !found {
			t.Errorf("not found in %q", out)
		}
	}
	if form, found := secrettest.Find([]byte("an innocent line, 0x91 of them"), canary); found {
		t.Errorf("found %s in an innocent line", form)
	}
}
