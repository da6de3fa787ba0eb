package prooftest

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/quorate/quorate/internal/proof"
)

// tree is a balanced tree over sorted keys, hashed as IAVL does. Its hashing
// is written out once more, so that it checks package proof's.
type tree struct {
	root *node
	keys []string
}

type node struct {
	proof.Node
	hash        [32]byte
	first       string // least key of the subtree
	value       []byte
	left, right *node
}

func newTree(kv map[string][]byte) tree {
	keys := slices.Sorted(maps.Keys(kv))
	return tree{root: build(kv, keys), keys: keys}
}

func build(kv map[string][]byte, keys []string) *node {
	n := &node{first: keys[0]}
	n.Version = 1
	varints := func(vs ...int64) (b []byte) {
		for _, v := range vs {
			b = binary.AppendVarint(b, v)
		}
		return b
	}
	if len(keys) == 1 {
		n.value, n.Size = kv[keys[0]], 1
		h := sha256.Sum256(n.value)
		b := binary.AppendUvarint(varints(0, 1, 1), uint64(len(keys[0])))
		b = append(append(append(b, keys[0]...), 32), h[:]...)
		n.hash = sha256.Sum256(b)
		return n
	}
	n.left, n.right = build(kv, keys[:len(keys)/2]), build(kv, keys[len(keys)/2:])
	n.Height, n.Size = max(n.left.Height, n.right.Height)+1, uint64(len(keys))
	b := append(append(varints(int64(n.Height), int64(n.Size), 1), 32), n.left.hash[:]...)
	n.hash = sha256.Sum256(append(append(b, 32), n.right.hash[:]...))
	return n
}

func (t tree) claim(key string) proof.Claim {
	i, found := slices.BinarySearch(t.keys, key)
	if found {
		e, value := t.edge(key)
		return proof.Claim{Key: []byte(key), Value: value, Inclusion: &proof.Inclusion{Version: e.Version, Path: e.Path}}
	}
	var left, right *proof.Edge
	if i > 0 {
		left, _ = t.edge(t.keys[i-1])
	}
	if i < len(t.keys) {
		right, _ = t.edge(t.keys[i])
	}
	a, err := proof.NewAbsence(left, right)
	if err != nil {
		panic(err)
	}
	return proof.Claim{Key: []byte(key), Absence: a}
}

func (t tree) edge(key string) (*proof.Edge, []byte) {
	var path []proof.Step
	n := t.root
	for n.left != nil {
		s := proof.Step{Node: n.Node}
		if key >= n.right.first {
			s.Left, s.Sibling, n = true, n.left.hash, n.right
		} else {
			s.Sibling, n = n.right.hash, n.left
		}
		path = append(path, s)
	}
	slices.Reverse(path)
	leaf := proof.Leaf{Key: []byte(key), ValueHash: sha256.Sum256(n.value), Version: n.Version}
	return &proof.Edge{Leaf: leaf, Path: path}, n.value
}
