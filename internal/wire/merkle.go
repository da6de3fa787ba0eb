package wire

import "crypto/sha256"

// Digest is the hash of a leaf or of a node of a [Tree].
type Digest = [sha256.Size]byte

// Tree is one of RFC 6962 with all its levels, leaves first and the root last:
// a ceremony asks a tree of thousands for thousands of paths. A block of 2^b
// leaves at a multiple of 2^b is a node of the tree over all leaves, so that
// one root authenticates single leaves and whole chunks alike.
type Tree [][]Digest

// NewTree makes the tree over hashes of leaves or of blocks; one hash at least.
func NewTree(leaves []Digest) Tree {
	t := Tree{leaves}
	for len(leaves) > 1 {
		up := make([]Digest, (len(leaves)+1)/2)
		for i := range up {
			if 2*i+1 == len(leaves) { // nothing to pair it with
				up[i] = leaves[2*i]
				continue
			}
			up[i] = nodeHash(&leaves[2*i], &leaves[2*i+1])
		}
		t, leaves = append(t, up), up
	}
	return t
}

// CutTree makes the tree over bytes cut into leaves of equal size.
func CutTree(body []byte, size int) Tree {
	leaves := make([]Digest, 0, len(body)/size)
	for ; len(body) >= size; body = body[size:] {
		leaves = append(leaves, LeafHash(body[:size]))
	}
	return NewTree(leaves)
}

// Root returns the root.
func (t Tree) Root() Digest { return t[len(t)-1][0] }

// Path returns the siblings from node i of a level up to the root.
func (t Tree) Path(level, i int) (path []Digest) {
	for ; level < len(t)-1; level, i = level+1, i/2 {
		if sibling := i ^ 1; sibling < len(t[level]) {
			path = append(path, t[level][sibling])
		}
	}
	return path
}

// PathRoot returns the root that path leads to from the hash at i of n; ok is
// false when the path has another length than that position's.
func PathRoot(hash Digest, i, n int, path []Digest) (root Digest, ok bool) {
	if i < 0 || i >= n {
		return Digest{}, false
	}
	for last := n - 1; last > 0; i, last = i/2, last/2 {
		if i == last && i%2 == 0 {
			continue
		}
		if len(path) == 0 {
			return Digest{}, false
		}
		if i%2 == 1 {
			hash = nodeHash(&path[0], &hash)
		} else {
			hash = nodeHash(&hash, &path[0])
		}
		path = path[1:]
	}
	return hash, len(path) == 0
}

// Range is what a tree that grows keeps of its leaves: the roots of its whole
// blocks, the largest first. Its root is that of [Tree] over the same leaves.
type Range []Digest

// Append returns the range with one more leaf, behind n.
func (r Range) Append(n int, hash Digest) Range {
	keep := len(r)
	for ; n&1 == 1; n >>= 1 {
		keep--
		hash = nodeHash(&r[keep], &hash)
	}
	return append(append(make(Range, 0, keep+1), r[:keep]...), hash)
}

// Root returns the root, zeros over no leaf.
func (r Range) Root() (root Digest) {
	for i := len(r) - 1; i >= 0; i-- {
		if i == len(r)-1 {
			root = r[i]
			continue
		}
		root = nodeHash(&r[i], &root)
	}
	return root
}

// LeafHash hashes a leaf.
func LeafHash(leaf []byte) Digest {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(leaf)
	return Digest(h.Sum(nil))
}

func nodeHash(left, right *Digest) Digest {
	var b [1 + 2*sha256.Size]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// Path appends the siblings of a path, behind their number.
func (e *Encoder) Path(path []Digest) {
	e.Count(len(path))
	for i := range path {
		e.Fixed(path[i][:])
	}
}

// Path reads what Encoder.Path wrote, at most that many siblings.
func (d *Decoder) Path(most int) []Digest {
	n := d.Count(most, len(Digest{}))
	if n == 0 {
		return nil
	}
	path := make([]Digest, n)
	for i := range path {
		d.Fixed(path[i][:])
	}
	return path
}
