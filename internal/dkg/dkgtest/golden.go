package dkgtest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Golden compares bytes with those of a vector, or writes the vector anew.
func Golden(t *testing.T, dir, file string, got []byte, update bool) {
	t.Helper()
	path := filepath.Join(dir, file)
	if update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case slices.Equal(want, got):
	case filepath.Ext(file) == ".json":
		t.Errorf("%s:\n%s", file, cmp.Diff(string(want), string(got)))
	default:
		t.Errorf("%s: the ceremony makes other bytes (if it is meant, run this test with -update)", file)
	}
}
