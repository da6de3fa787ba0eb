package proof_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cosmos/iavl"
	dbm "github.com/cosmos/iavl/db"
	ics23 "github.com/cosmos/ics23/go"

	"github.com/quorate/quorate/internal/proof"
)

// iavl makes the trees and the proofs, ics23 is the oracle that judges them.

func randomTree(t testing.TB, d dice, keys, versions int) *iavl.ImmutableTree {
	t.Helper()
	tree := iavl.NewMutableTree(dbm.NewMemDB(), 1000, true, iavl.NewNopLogger())
	for v := range versions {
		for range max(1, keys/versions) {
			k := fmt.Appendf(nil, "key%d", d.IntN(2*keys))
			if v > 0 && d.IntN(3) == 0 {
				if _, _, err := tree.Remove(k); err != nil {
					t.Fatal(err)
				}
			} else if _, err := tree.Set(k, d.bytes(1+d.IntN(40))); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := tree.SaveVersion(); err != nil {
			t.Fatal(err)
		}
	}
	return tree.ImmutableTree
}

func edgeOf(t testing.TB, e *ics23.ExistenceProof) *proof.Edge {
	t.Helper()
	if e == nil {
		return nil
	}
	version, err := proof.ParseLeafOp(e.Leaf.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	g := &proof.Edge{Leaf: proof.Leaf{Key: e.Key, ValueHash: sha256.Sum256(e.Value), Version: version}}
	for _, op := range e.Path {
		s, err := proof.ParseInnerOp(op.Prefix, op.Suffix)
		if err != nil {
			t.Fatal(err)
		}
		g.Path = append(g.Path, s)
	}
	return g
}

// claimOf converts IAVL's proof, after ics23 accepted it.
func claimOf(t testing.TB, tree *iavl.ImmutableTree, key []byte) proof.Claim {
	t.Helper()
	p, err := tree.GetProof(key)
	if err != nil {
		t.Fatal(err)
	}
	if ex := p.GetExist(); ex != nil {
		if !ics23.VerifyMembership(ics23.IavlSpec, tree.Hash(), p, key, ex.Value) {
			t.Fatal("ics23 refuses IAVL's proof")
		}
		g := edgeOf(t, ex)
		return proof.Claim{Key: key, Value: ex.Value, Inclusion: &proof.Inclusion{Version: g.Version, Path: g.Path}}
	}
	if !ics23.VerifyNonMembership(ics23.IavlSpec, tree.Hash(), p, key) {
		t.Fatal("ics23 refuses IAVL's proof")
	}
	a, err := proof.NewAbsence(edgeOf(t, p.GetNonexist().Left), edgeOf(t, p.GetNonexist().Right))
	if err != nil {
		t.Fatal(err)
	}
	return proof.Claim{Key: key, Absence: a}
}

func TestProofsOfIAVL(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(1, 1))}
	present, absent := 0, 0
	for _, size := range []int{1, 2, 3, 5, 20, 400} {
		for range 6 {
			tree := randomTree(t, d, size, 1+d.IntN(4))
			if tree.Size() == 0 {
				continue
			}
			root := [32]byte(tree.Hash())
			var other [32]byte
			for i := range 2*size + 2 {
				for _, key := range [][]byte{fmt.Appendf(nil, "key%d", i), fmt.Appendf(nil, "key%d!", i), []byte("a"), []byte("z")} {
					c := claimOf(t, tree, key)
					if err := c.Verify(root); err != nil {
						t.Fatalf("key %q among %d: %v", key, tree.Size(), err)
					}
					if c.Verify(other) == nil {
						t.Fatal("verifies under another root")
					}
					if c.Inclusion != nil {
						present++
						c.Value = append(slices.Clone(c.Value), 0)
						if c.Verify(root) == nil {
							t.Fatal("verifies for another value")
						}
					} else {
						absent++
					}
				}
			}
		}
	}
	if present < 500 || absent < 500 {
		t.Fatalf("one-sided: %d present, %d absent", present, absent)
	}
}

// No absence proof may exist for a key that is there: try every pair of
// leaves, and one alone, as the neighbours of every key.
func TestNoAbsenceOfPresentKeys(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(2, 2))}
	for _, size := range []int{2, 5, 14} {
		tree := randomTree(t, d, size, 3)
		root := [32]byte(tree.Hash())
		var edges []*proof.Edge
		var keys [][]byte
		_, err := tree.Iterate(func(k, _ []byte) bool {
			p, err := tree.GetMembershipProof(k)
			if err != nil {
				t.Fatal(err)
			}
			edges = append(edges, edgeOf(t, p.GetExist()))
			keys = append(keys, k)
			return false
		})
		if err != nil {
			t.Fatal(err)
		}
		edges = append(edges, nil)
		for i, l := range edges {
			for j, r := range edges {
				a, err := proof.NewAbsence(l, r)
				if err != nil {
					continue
				}
				for _, k := range keys {
					if a.Verify(root, k) == nil {
						t.Fatalf("present key %q proven absent between %d and %d", k, i, j)
					}
				}
			}
		}
	}
}

// An inner node's preimage never passes for a leaf, nor a leaf's for an inner
// node: the classic forgeries against a Merkle tree.
func TestNodeKindsDoNotMix(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(3, 3))}
	tree := randomTree(t, d, 50, 1)
	root := [32]byte(tree.Hash())
	c := claimOf(t, tree, []byte("key1"))
	if c.Inclusion == nil {
		c = claimOf(t, tree, firstKey(t, tree))
	}
	for i := range c.Inclusion.Path {
		for _, change := range []func(*proof.Step){
			func(s *proof.Step) { s.Height = 0 },
			func(s *proof.Step) { s.Height = 255 },
			func(s *proof.Step) { s.Height-- },
			func(s *proof.Step) { s.Size = 1 << 63 },
			func(s *proof.Step) { s.Version = 1 << 63 },
			func(s *proof.Step) { s.Left = !s.Left },
		} {
			forged := *c.Inclusion
			forged.Path = slices.Clone(forged.Path)
			change(&forged.Path[i])
			if forged.Verify(root, c.Key, c.Value) == nil {
				t.Fatal("forged step accepted")
			}
		}
		short := proof.Inclusion{Version: c.Inclusion.Version, Path: slices.Delete(slices.Clone(c.Inclusion.Path), i, i+1)}
		if short.Verify(root, c.Key, c.Value) == nil {
			t.Fatal("path with a step left out accepted")
		}
	}
	for _, bad := range [][2][]byte{
		{{0, 2, 2}, nil}, // a leaf's prefix
		{{2, 4, 2}, nil}, // no child
		{append([]byte{2, 4, 2, 32}, make([]byte, 33)...), nil},                         // child without its length
		{append([]byte{2, 4, 2, 33}, make([]byte, 33)...), nil},                         // wrong length
		{{2, 4, 2, 32}, append([]byte{31}, make([]byte, 32)...)},                        // wrong length to the right
		{append(append([]byte{2, 4, 2, 32}, make([]byte, 32)...), 32), make([]byte, 1)}, // both sides
		{{1, 4, 2, 32}, append([]byte{32}, make([]byte, 32)...)},                        // negative height
	} {
		if _, err := proof.ParseInnerOp(bad[0], bad[1]); err == nil {
			t.Errorf("inner operation %x, %x accepted", bad[0], bad[1])
		}
	}
	for _, bad := range [][]byte{nil, {0}, {0, 2}, {0, 2, 2, 0}, {2, 2, 2}, {0, 4, 2}, {0, 2, 1}} {
		if _, err := proof.ParseLeafOp(bad); err == nil {
			t.Errorf("leaf operation %x accepted", bad)
		}
	}
}

// A leaf whose key has 32 bytes hashes what an inner node of height 0 would:
// its key stands where the left child does. Whoever may choose such a key
// could hang any leaf below it, were a parent not higher than its children.
func TestNothingHangsBelowALeaf(t *testing.T) {
	forged := proof.Claim{Key: []byte(grantPath), Value: []byte("granted"), Inclusion: &proof.Inclusion{Version: 1}}
	value := sha256.Sum256(forged.Value)
	leaf := binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(nil, 0), 1), 1)
	leaf = append(append(leaf, byte(len(forged.Key))), forged.Key...)
	key := sha256.Sum256(append(append(leaf, 32), value[:]...))
	if err := forged.Verify(key); err != nil {
		t.Fatalf("this is not how a leaf hashes: %v", err)
	}
	l := ledger4()
	l.Set(proof.Path(key[:]), []byte("harmless"))
	l.Block(time.Second)
	cert := l.Certify(0, proof.Path(key[:]))
	c := client(t, l.Trust(period))
	accept(t, c, cert)
	harmless := sha256.Sum256([]byte("harmless"))
	below := proof.Step{Node: proof.Node{Height: 0, Size: 1, Version: 1}, Sibling: harmless}
	forged.Inclusion.Path = append([]proof.Step{below}, cert.Claims[0].Inclusion.Path...)
	cert.Claims = []proof.Claim{forged}
	refuse(t, c, cert, proof.ErrInclusion)
}

func firstKey(t *testing.T, tree *iavl.ImmutableTree) []byte {
	k, _, err := tree.GetByIndex(0)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(k)
}

// A proof about 50,000 keys stays near 1 KB, and so does one of absence.
func TestProofSize(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(4, 4))}
	tree := randomTree(t, d, 20_000, 1)
	c := proof.Certificate{Claims: []proof.Claim{claimOf(t, tree, firstKey(t, tree))}}
	absent := claimOf(t, tree, []byte("key5000!"))
	for _, claim := range append(c.Claims, absent) {
		if n := len(proof.EncodeClaim(&claim)); n > 1200 {
			t.Errorf("claim about %q takes %d bytes", claim.Key, n)
		} else {
			t.Logf("claim about %q takes %d bytes", claim.Key, n)
		}
	}
}
