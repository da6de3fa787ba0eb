package transcript

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const vectors = "../../spec/vectors/ceremony"

func read(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Both implementations read the same files to the same end.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(vectors, "*.certificate"))
	if err != nil || len(files) < 5 {
		t.Fatal("no vectors: ", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".certificate")
		var want struct {
			Certificate struct {
				Ceremony         string
				Exercise, Hybrid bool
				Participants     int
				Threshold        int
				Qualified        []int  `json:"qualified_dealers"`
				PublicKey        string `json:"public_key"`
				Confirmed        int
				DepositSafe      bool `json:"deposit_safe"`
			}
		}
		if err := json.Unmarshal(read(t, name+".json"), &want); err != nil {
			t.Fatal(err)
		}
		got, err := Verify(read(t, name+".certificate"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		w := want.Certificate
		if hex.EncodeToString(got.Ceremony[:]) != w.Ceremony || got.Exercise != w.Exercise || got.Hybrid != w.Hybrid ||
			got.Participants != w.Participants || got.Threshold != w.Threshold || !slices.Equal(got.Dealers, w.Qualified) ||
			"0x"+hex.EncodeToString(got.PublicKey[:]) != w.PublicKey || len(got.Confirmed) != w.Confirmed || got.DepositSafe != w.DepositSafe {
			t.Errorf("%s: %+v, want %+v", name, got, w)
		}
	}
}

func TestFlippedBytes(t *testing.T) {
	raw := read(t, "absent.certificate")
	for at := range raw {
		if at%5 != 0 && os.Getenv("QUORATE_NIGHTLY") == "" {
			continue
		}
		raw[at] ^= 1 << (at % 8)
		if _, err := Verify(raw); err == nil {
			t.Errorf("byte %d of %d may flip", at, len(raw))
		}
		raw[at] ^= 1 << (at % 8)
	}
	for _, cut := range []int{0, 40, 400, len(raw) - 1} {
		if _, err := Verify(raw[:cut]); err == nil {
			t.Errorf("it may end after %d bytes", cut)
		}
	}
	if _, err := Verify(append(raw, 0)); err == nil {
		t.Error("it may go on")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(read(f, "honest.certificate"))
	f.Add(read(f, "drawn.certificate"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if o, err := Verify(raw); err == nil && len(o.Confirmed) < o.Threshold {
			t.Error("too few confirmed what verifies")
		}
	})
}
