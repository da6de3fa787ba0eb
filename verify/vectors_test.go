package verify

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

const vectors = "../spec/vectors/evidence"

func read(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func vectorGenesis(t testing.TB) *Genesis {
	g, err := ParseGenesis(read(t, "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// names lists the files of a directory of vectors.
func names(t testing.TB, dir string) (out []string) {
	entries, err := os.ReadDir(filepath.Join(vectors, dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, dir+"/"+e.Name())
	}
	return out
}

// The product wrote these files and judged them; this module comes to the same
// judgement, and reads the same facts.
func TestVectors(t *testing.T) {
	g := vectorGenesis(t)
	reports := map[string]*Report{}
	for _, name := range names(t, "good") {
		r, err := g.Check(bytes.NewReader(read(t, name)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		reports[filepath.Base(name)] = r
	}
	got, err := json.MarshalIndent(reports, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if want := read(t, "good.json"); !bytes.Equal(append(got, '\n'), want) {
		t.Errorf("reports are\n%s\nand the product's\n%s", got, want)
	}
	for _, name := range names(t, "bad") {
		if r, err := g.Check(bytes.NewReader(read(t, name))); err == nil {
			t.Errorf("%s: accepted: %+v", name, r)
		}
	}
}

// Evidence of one cluster means nothing in another.
func TestOtherGenesis(t *testing.T) {
	other, err := ParseGenesis(append(read(t, "genesis.json"), ' '))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t, "good") {
		if _, err := other.Check(bytes.NewReader(read(t, name))); err == nil {
			t.Errorf("%s: accepted under another genesis", name)
		}
	}
}

func FuzzCheck(f *testing.F) {
	g := vectorGenesis(f)
	known := map[string]bool{}
	for _, dir := range []string{"good", "bad"} {
		for _, name := range names(f, dir) {
			raw := read(f, name)
			known[string(raw)] = dir == "good"
			if len(raw) < 4<<10 { // ML-DSA is slow under the fuzzer
				f.Add(raw)
			}
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		// What verifies is one of ours: nobody else has the keys.
		if _, err := g.Check(bytes.NewReader(in)); err == nil && !known[string(in)] {
			t.Fatalf("forged %x", in)
		}
	})
}
