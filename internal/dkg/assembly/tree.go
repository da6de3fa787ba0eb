package assembly

import "crypto/sha256"

// Trees are those of RFC 6962, kept with all their levels: a ceremony asks a
// tree of thousands for thousands of paths.

type digest = [sha256.Size]byte

type tree [][]digest // leaves first, the root last

func newTree(leaves []digest) tree {
	t := tree{leaves}
	for len(leaves) > 1 {
		up := make([]digest, (len(leaves)+1)/2)
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

// newTreeOf cuts bytes into equal leaves.
func newTreeOf(body []byte, size int) tree {
	leaves := make([]digest, 0, len(body)/size)
	for ; len(body) >= size; body = body[size:] {
		leaves = append(leaves, leafHash(body[:size]))
	}
	return newTree(leaves)
}

func (t tree) root() digest { return t[len(t)-1][0] }

// path returns the siblings from node i of a level up to the root.
func (t tree) path(level, i int) (path []digest) {
	for ; level < len(t)-1; level, i = level+1, i/2 {
		if sibling := i ^ 1; sibling < len(t[level]) {
			path = append(path, t[level][sibling])
		}
	}
	return path
}

// pathRoot returns the root that path leads to from the hash at i of n; ok is
// false when the path has another length than that position's.
func pathRoot(hash digest, i, n int, path []digest) (root digest, ok bool) {
	if i < 0 || i >= n {
		return digest{}, false
	}
	for last := n - 1; last > 0; i, last = i/2, last/2 {
		if i == last && i%2 == 0 {
			continue
		}
		if len(path) == 0 {
			return digest{}, false
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

func leafHash(leaf []byte) digest {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(leaf)
	return digest(h.Sum(nil))
}

func nodeHash(left, right *digest) digest {
	var b [1 + 2*sha256.Size]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// Bodies travel in chunks of 2^chunkLevel leaves, each a node of the tree.
const (
	chunkLevel  = 11
	chunkLeaves = 1 << chunkLevel
	maxPath     = 13 // in a tree of MaxParticipants+1 leaves
)

func chunks(leaves int) int { return (leaves + chunkLeaves - 1) / chunkLeaves }

// cut returns the chunks of a body.
func (t tree) cut(body []byte, size int) (out []Chunk) {
	for c := range chunks(len(t[0])) {
		lo, hi := c*chunkLeaves, min((c+1)*chunkLeaves, len(t[0]))
		// A last chunk of few leaves is a subtree that ends below chunkLevel
		// and is promoted to it.
		out = append(out, Chunk{Index: uint8(c), Path: t.path(min(chunkLevel, len(t)-1), c), Body: body[lo*size : hi*size]})
	}
	return out
}

// fits reports whether a chunk is the one it says of a tree with that root.
func (c *Chunk) fits(root digest, leaves, size int) bool {
	index := int(c.Index)
	if index >= chunks(leaves) {
		return false
	}
	want := min(chunkLeaves, leaves-index*chunkLeaves)
	if len(c.Body) != want*size {
		return false
	}
	got, ok := pathRoot(newTreeOf(c.Body, size).root(), index, chunks(leaves), c.Path)
	return ok && got == root
}
