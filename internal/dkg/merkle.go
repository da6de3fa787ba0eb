package dkg

import (
	"crypto/sha256"
	"math/bits"
)

// Trees are those of RFC 6962. A block of 2^b leaves at a multiple of 2^b is
// a node of the tree over all leaves, so that one root authenticates single
// leaves and whole chunks alike.

type digest = [sha256.Size]byte

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

// treeRoot returns the root over hashes of leaves or of blocks; one hash at least.
func treeRoot(hashes []digest) digest {
	if len(hashes) == 1 {
		return hashes[0]
	}
	split := splitPoint(len(hashes))
	l, r := treeRoot(hashes[:split]), treeRoot(hashes[split:])
	return nodeHash(&l, &r)
}

// treePath returns the siblings from leaf index up to the root.
func treePath(hashes []digest, index int) []digest {
	if len(hashes) == 1 {
		return nil
	}
	split := splitPoint(len(hashes))
	if index < split {
		return append(treePath(hashes[:split], index), treeRoot(hashes[split:]))
	}
	return append(treePath(hashes[split:], index-split), treeRoot(hashes[:split]))
}

// pathRoot returns the root that path leads to from the hash at index of
// size; ok is false when the path has another length than that position's.
func pathRoot(hash digest, index, size int, path []digest) (root digest, ok bool) {
	if index < 0 || index >= size {
		return digest{}, false
	}
	last := size - 1
	for _, sibling := range path {
		if last == 0 {
			return digest{}, false
		}
		if index&1 == 1 || index == last {
			hash = nodeHash(&sibling, &hash)
			for index&1 == 0 {
				index, last = index>>1, last>>1
			}
		} else {
			hash = nodeHash(&hash, &sibling)
		}
		index, last = index>>1, last>>1
	}
	return hash, last == 0
}

// splitPoint is the largest power of two below n.
func splitPoint(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// maxPath is the longest path in a tree of at most wire.MaxKeysPerBatch leaves.
const maxPath = 14
