package verify

import "crypto/sha256"

// tree is an RFC 6962 tree while it grows: the roots of the perfect subtrees
// that make it up, one for each bit of its size.
type tree struct {
	size  uint64
	peaks [64][32]byte
}

func leafNode(leaf [32]byte) [32]byte {
	var b [33]byte
	copy(b[1:], leaf[:])
	return sha256.Sum256(b[:])
}

func innerNode(left, right *[32]byte) [32]byte {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

func (t *tree) append(leaf [32]byte) {
	h := leafNode(leaf)
	level := 0
	for ; t.size>>level&1 == 1; level++ {
		h = innerNode(&t.peaks[level], &h)
	}
	t.peaks[level] = h
	t.size++
}

func (t *tree) root() [32]byte {
	root, begun := sha256.Sum256(nil), false
	for level := range t.peaks {
		if t.size>>level&1 == 0 {
			continue
		}
		if !begun {
			root, begun = t.peaks[level], true
			continue
		}
		root = innerNode(&t.peaks[level], &root)
	}
	return root
}

// pathRoot climbs an audit path from leaf number index of size (RFC 9162,
// 2.1.3.2). ok is false when the path has another length than it must.
func pathRoot(leaf [32]byte, index, size uint64, path [][32]byte) (root [32]byte, ok bool) {
	if index >= size {
		return root, false
	}
	h, last := leafNode(leaf), size-1
	for i := range path {
		if last == 0 {
			return root, false
		}
		if index&1 == 1 || index == last {
			h = innerNode(&path[i], &h)
			for index&1 == 0 && index != 0 {
				index, last = index>>1, last>>1
			}
		} else {
			h = innerNode(&h, &path[i])
		}
		index, last = index>>1, last>>1
	}
	return h, last == 0
}
