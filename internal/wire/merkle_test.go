package wire

import (
	"crypto/sha256"
	"math/bits"
	"slices"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// TestTrees compares with another implementation of RFC 6962.
func TestTrees(t *testing.T) {
	sizes := []int{2047, 2048, 2049, 4097}
	for n := 1; n <= 40; n++ {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		var body []byte
		for i := range n {
			leaf := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
			body = append(body, leaf[:]...)
		}
		tr := CutTree(body, 32)
		root := tr.Root()
		for i := 0; i < n; i += 1 + n/50 {
			path := tr.Path(0, i)
			var theirs [][]byte
			for j := range path {
				theirs = append(theirs, path[j][:])
			}
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(i), uint64(n), tr[0][i][:], theirs, root[:]); err != nil {
				t.Fatalf("leaf %d of %d: %v", i, n, err)
			}
			if got, ok := PathRoot(tr[0][i], i, n, path); !ok || got != root {
				t.Fatalf("leaf %d of %d does not verify", i, n)
			}
			if _, ok := PathRoot(tr[0][i], i, n, append(path, root)); ok {
				t.Fatalf("leaf %d of %d: a longer path verifies", i, n)
			}
			if n == 1 {
				continue
			}
			if _, ok := PathRoot(tr[0][i], i, n, path[1:]); ok {
				t.Fatalf("leaf %d of %d: a shorter path verifies", i, n)
			}
			if got, ok := PathRoot(tr[0][i], (i+1)%n, n, path); ok && got == root {
				t.Fatalf("leaf %d of %d verifies elsewhere", i, n)
			}
		}
	}
}

// A range grows to the root of the tree over the same leaves, and what it was
// before stays as it was.
func TestRange(t *testing.T) {
	var r Range
	if r.Root() != (Digest{}) {
		t.Error("nothing has a root")
	}
	var leaves []Digest
	for n := range 300 {
		before, kept := r.Root(), slices.Clone(r)
		next := r.Append(n, LeafHash([]byte{byte(n), byte(n >> 8)}))
		leaves = append(leaves, LeafHash([]byte{byte(n), byte(n >> 8)}))
		if next.Root() != NewTree(leaves).Root() || len(next) != bits.OnesCount(uint(n+1)) {
			t.Fatalf("%d leaves: another root", n+1)
		}
		if r.Root() != before || !slices.Equal(r, kept) {
			t.Fatalf("%d leaves: the range before changed", n+1)
		}
		r = next
	}
}
