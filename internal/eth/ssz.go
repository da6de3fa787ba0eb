package eth

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// HashTreeRoot is hash_tree_root of c under the sizes of p. It fails where a
// list is over its limit or a bitfield malformed.
func HashTreeRoot(c Container, p Preset) (Root, error) {
	h := hasher{preset: p, chunks: make([]Root, 0, 8)}
	c.Visit(&h)
	if h.err != nil {
		return Root{}, h.err
	}
	return h.container(), nil
}

// hasher collects the chunks of one container or sequence.
type hasher struct {
	preset      Preset
	chunks      []Root
	progressive bool
	err         error
}

var _ Visitor = (*hasher)(nil)

func (h *hasher) container() Root {
	if !h.progressive {
		return merkleize(h.chunks, uint64(len(h.chunks)))
	}
	var active Root
	for i := range h.chunks {
		active[i/8] |= 1 << (i % 8)
	}
	return hashPair(merkleizeProgressive(h.chunks, 1), active)
}

func (h *hasher) fail(name string, err error) {
	if h.err == nil {
		h.err = fmt.Errorf("hash %s: %w", name, err)
	}
}

func (h *hasher) add(r Root) { h.chunks = append(h.chunks, r) }

func (h *hasher) Preset() Preset { return h.preset }
func (h *hasher) Progressive()   { h.progressive = true }

func (h *hasher) Uint64(_ string, v *uint64) {
	var r Root
	binary.LittleEndian.PutUint64(r[:], *v)
	h.add(r)
}

func (h *hasher) Uint256(_ string, v *Uint256) { h.add(Root(*v)) }

func (h *hasher) Bool(_ string, v *bool) {
	var r Root
	if *v {
		r[0] = 1
	}
	h.add(r)
}

func (h *hasher) Bytes(_ string, v []byte) {
	if len(v) <= 32 {
		var r Root
		copy(r[:], v)
		h.add(r)
		return
	}
	chunks := pack(v)
	h.add(merkleize(chunks, uint64(len(chunks))))
}

func (h *hasher) ByteList(name string, v *[]byte, limit Limit) {
	h.list(name, pack(*v), uint64(len(*v)), (limit.N+31)/32, limit)
}

func (h *hasher) Bitvector(name string, v *[]byte, n uint64) {
	if err := CheckBitvector(*v, n); err != nil {
		h.fail(name, err)
		return
	}
	h.add(merkleize(pack(*v), (n+255)/256))
}

func (h *hasher) Bitlist(name string, v *[]byte, limit Limit) {
	n, err := bitlistLen(*v)
	if err != nil {
		h.fail(name, err)
		return
	}
	b := bytes.Clone(*v)
	b[len(b)-1] ^= 1 << (n % 8) // the delimiting bit is not hashed
	chunks := pack(b[:(n+7)/8])
	h.list(name, chunks, n, (limit.N+255)/256, limit)
}

func (h *hasher) Container(name string, c Container) {
	r, err := HashTreeRoot(c, h.preset)
	if err != nil {
		h.fail(name, err)
	}
	h.add(r)
}

func (h *hasher) Uint64s(name string, v *[]uint64, limit Limit) {
	b := make([]byte, 0, 8*len(*v))
	for _, x := range *v {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	h.list(name, pack(b), uint64(len(*v)), (limit.N+3)/4, limit)
}

func (h *hasher) Vector(name string, s Sequence, n uint64) {
	if uint64(s.Len()) != n {
		h.fail(name, fmt.Errorf("%d elements, not %d", s.Len(), n))
		return
	}
	h.add(merkleize(h.elements(name, s), n))
}

func (h *hasher) List(name string, s Sequence, limit Limit) {
	h.list(name, h.elements(name, s), uint64(s.Len()), limit.N, limit)
}

func (h *hasher) elements(name string, s Sequence) []Root {
	sub := hasher{preset: h.preset, chunks: make([]Root, 0, s.Len())}
	for i := range s.Len() {
		s.Visit(i, &sub)
	}
	if sub.err != nil {
		h.fail(name, sub.err)
	}
	return sub.chunks
}

// list adds the root of n elements in chunks, of which the type allows width.
func (h *hasher) list(name string, chunks []Root, n, width uint64, limit Limit) {
	if n > limit.N {
		h.fail(name, fmt.Errorf("%d elements, over the limit of %d", n, limit.N))
		return
	}
	var root Root
	if limit.Progressive {
		root = merkleizeProgressive(chunks, 1)
	} else {
		root = merkleize(chunks, width)
	}
	var length Root
	binary.LittleEndian.PutUint64(length[:], n)
	h.add(hashPair(root, length))
}

// pack cuts b into chunks and pads the last one with zeros.
func pack(b []byte) []Root {
	chunks := make([]Root, (len(b)+31)/32, (len(b)+31)/32+1)
	for i := range chunks {
		copy(chunks[i][:], b[32*i:])
	}
	return chunks
}

// merkleize is the root over chunks, padded with zero chunks to the next power
// of two at or above limit, which is at least len(chunks). It overwrites chunks.
func merkleize(chunks []Root, limit uint64) Root {
	depth := 0
	if limit > 1 {
		depth = bits.Len64(limit - 1)
	}
	if len(chunks) == 0 {
		return zeroHashes[depth]
	}
	for d := range depth {
		if len(chunks)%2 == 1 {
			chunks = append(chunks, zeroHashes[d])
		}
		for i := range len(chunks) / 2 {
			chunks[i] = hashPair(chunks[2*i], chunks[2*i+1])
		}
		chunks = chunks[:len(chunks)/2]
	}
	return chunks[0]
}

// merkleizeProgressive is a spine of complete subtrees, each four times as
// wide as the one before. It overwrites chunks.
func merkleizeProgressive(chunks []Root, leaves int) Root {
	if len(chunks) == 0 {
		return Root{}
	}
	n := min(leaves, len(chunks))
	rest := merkleizeProgressive(chunks[n:], 4*leaves)
	return hashPair(merkleize(chunks[:n:n], uint64(leaves)), rest)
}

func hashPair(a, b Root) Root {
	var buf [64]byte
	copy(buf[:32], a[:])
	copy(buf[32:], b[:])
	return sha256.Sum256(buf[:])
}

// zeroHashes[d] is the root of a tree of depth d over zero chunks.
var zeroHashes = func() (z [65]Root) {
	for d := range len(z) - 1 {
		z[d+1] = hashPair(z[d], z[d])
	}
	return z
}()
