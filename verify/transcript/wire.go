package transcript

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"hash"
	"math/big"
	"slices"
)

// h and wide are the hashes of the specification: a tag and parts, each with
// its length in front.
func h(tag string, parts ...[]byte) [32]byte {
	s := sha256.New()
	frame(s, tag, parts)
	return [32]byte(s.Sum(nil))
}

func wide(tag string, parts ...[]byte) []byte {
	s := sha512.New()
	frame(s, tag, parts)
	return s.Sum(nil)
}

func frame(s hash.Hash, tag string, parts [][]byte) {
	for _, p := range append([][]byte{[]byte(tag)}, parts...) {
		s.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		s.Write(p)
	}
}

func u16(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }
func u32(v int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }

// little reads a little-endian number.
func little(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}

type digest = [32]byte

func leafHash(leaf []byte) digest { return sha256.Sum256(append([]byte{0}, leaf...)) }

func nodeHash(left, right digest) digest {
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

// root is that of RFC 6962 over equal leaves, one at least.
func root(body []byte, size int) digest {
	hashes := make([]digest, 0, len(body)/size)
	for leaf := range slices.Chunk(body, size) {
		hashes = append(hashes, leafHash(leaf))
	}
	return treeRoot(hashes)
}

func treeRoot(hashes []digest) digest {
	n := len(hashes)
	if n == 1 {
		return hashes[0]
	}
	split := 1
	for split*2 < n {
		split *= 2
	}
	return nodeHash(treeRoot(hashes[:split]), treeRoot(hashes[split:]))
}

// leads tells whether a path leads from the hash at i of n to a root.
func leads(hash digest, i, n int, path []digest, root digest) bool {
	got, rest, ok := climb(hash, i, n, path)
	return ok && len(rest) == 0 && got == root
}

// climb goes from a hash to the root over n, and returns what it leaves of path.
func climb(hash digest, i, n int, path []digest) (_ digest, rest []digest, ok bool) {
	if i < 0 || i >= n {
		return hash, path, false
	}
	if n == 1 {
		return hash, path, true
	}
	split := 1
	for split*2 < n {
		split *= 2
	}
	right := i >= split
	if right {
		hash, path, ok = climb(hash, i-split, n-split, path)
	} else {
		hash, path, ok = climb(hash, i, split, path)
	}
	if !ok || len(path) == 0 {
		return hash, path, false
	}
	if right {
		return nodeHash(path[0], hash), path[1:], true
	}
	return nodeHash(hash, path[0]), path[1:], true
}

var (
	errShort = errors.New("it ends early, or a field is longer than it may be")
	errMore  = errors.New("bytes follow it")
	errOrder = errors.New("a list is not in ascending order")
)

// reader cuts fields off the front. The first error sticks, and everything
// read after it is empty or zero.
type reader struct {
	all []byte
	at  int
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.all)-r.at {
		r.fail(errShort)
	}
	if r.err != nil {
		return nil
	}
	r.at += n
	return r.all[r.at-n : r.at : r.at]
}

// number reads so many bytes, 4 at most.
func (r *reader) number(size int) (v int) {
	for _, b := range r.take(size) {
		v = v<<8 | int(b)
	}
	return v
}

func (r *reader) digest() (d digest) {
	copy(d[:], r.take(32))
	return d
}

func (r *reader) flag() bool {
	v := r.number(1)
	if v > 1 {
		r.fail(errors.New("a flag that is neither 0 nor 1"))
	}
	return v == 1
}

// string reads a length of at most limit, and so many bytes.
func (r *reader) string(limit int) []byte {
	n := r.number(4)
	if n > limit {
		r.fail(errShort)
	}
	return r.take(n)
}

// count reads how many items of at least size bytes follow.
func (r *reader) count(limit, size int) int {
	n := r.number(4)
	if n > limit || n*size > len(r.all)-r.at {
		r.fail(errShort)
	}
	if r.err != nil {
		return 0
	}
	return n
}

func (r *reader) path() (path []digest) {
	for range r.count(mostPath, 32) {
		path = append(path, r.digest())
	}
	return path
}

// mostPath is the height of the tallest tree that a path leads up: over 4097
// points. A message with a longer one is none: nobody is blamed for it.
const mostPath = 13

// end returns the first error, or one if bytes are left.
func (r *reader) end() error {
	if r.err == nil && r.at != len(r.all) {
		return errMore
	}
	return r.err
}
