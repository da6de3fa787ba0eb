package verify

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const rounds = "../spec/vectors/beacon"

func readRound(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(rounds, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

type roundVerdicts struct {
	PublicKey string `json:"public_key"`
	Verdicts  map[string]struct{ Key, Genesis bool }
}

func roundVectors(t testing.TB) (v roundVerdicts, key []byte, g *Genesis) {
	t.Helper()
	if err := json.Unmarshal(readRound(t, "verdicts.json"), &v); err != nil {
		t.Fatal(err)
	}
	key, err := hex.DecodeString(strings.TrimPrefix(v.PublicKey, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	if g, err = ParseGenesis(readRound(t, "genesis.json")); err != nil {
		t.Fatal(err)
	}
	return v, key, g
}

// The product wrote these rounds and judged them; this module comes to the
// same judgement.
func TestRoundVectors(t *testing.T) {
	v, key, g := roundVectors(t)
	if len(v.Verdicts) < 20 {
		t.Fatalf("%d files", len(v.Verdicts))
	}
	for name, want := range v.Verdicts {
		raw := readRound(t, "rounds/"+name+".json")
		if _, err := CheckRound(raw, key); (err == nil) != want.Key {
			t.Errorf("%s under the key: %v, want %t", name, err, want.Key)
		}
		if _, err := g.CheckRound(raw); (err == nil) != want.Genesis {
			t.Errorf("%s against the genesis: %v, want %t", name, err, want.Genesis)
		}
		if _, err := CheckRound(raw, make([]byte, 48)); err == nil {
			t.Errorf("%s: accepted under another key", name)
		}
	}
}

// A flipped bit of a proof is refused, whichever it is.
func TestRoundFlips(t *testing.T) {
	_, _, g := roundVectors(t)
	var r Round
	if err := json.Unmarshal(readRound(t, "rounds/proven-by-later-validators.json"), &r); err != nil {
		t.Fatal(err)
	}
	for at := range r.Proof {
		bent := r
		bent.Proof = bytes.Clone(r.Proof)
		bent.Proof[at] ^= 1 << (at % 8)
		raw, err := json.Marshal(bent)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.CheckRound(raw); err == nil {
			t.Errorf("byte %d flipped, and accepted", at)
		}
	}
}

func FuzzCheckRound(f *testing.F) {
	v, _, g := roundVectors(f)
	known := map[string]bool{}
	for name, want := range v.Verdicts {
		raw := readRound(f, "rounds/"+name+".json")
		if f.Add(raw); want.Genesis {
			var r Round
			if err := json.Unmarshal(raw, &r); err != nil {
				f.Fatal(err)
			}
			known[r.Randomness] = true
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		// What verifies says what one of ours does: nobody else has the keys.
		if r, err := g.CheckRound(in); err == nil && !known[strings.ToLower(r.Randomness)] {
			t.Fatalf("forged %s", in)
		}
	})
}
