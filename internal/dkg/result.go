package dkg

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/wire"
)

// This file holds what a ceremony makes public. Its secrets are in shares.go.

// Result is the public outcome: for every key a polynomial in the exponent,
// whose value at 0 is the public key and at i what verifies seat i's partials.
type Result struct {
	params Params
	leaves []byte
}

// Source returns the bytes that the ledger stored under a name that an event
// gave. It need not be trusted: what it returns is checked against the board.
type Source func(name [32]byte) ([]byte, error)

// ReadResult reads the result that a board confirms.
func ReadResult(b *Board, src Source) (*Result, error) {
	root, ok := b.Result()
	if !ok {
		return nil, fmt.Errorf("read result in phase %s: %w", b.phase, ErrPhase)
	}
	shape := b.params.result()
	r := &Result{params: b.params}
	for c := range shape.chunks() {
		body, err := readBody(src, shape, root, c)
		if err != nil {
			return nil, err
		}
		r.leaves = append(r.leaves, body...)
	}
	return r, nil
}

// readBody fetches the leaves of a chunk and checks them against their root.
func readBody(src Source, shape shape, root [32]byte, index int) ([]byte, error) {
	c, err := readChunkOf(src, shape, root, index)
	if err != nil {
		return nil, err
	}
	return c.Body, nil
}

func readChunkOf(src Source, shape shape, root [32]byte, index int) (*Chunk, error) {
	raw, err := src(chunkName(root, index))
	if err != nil {
		return nil, fmt.Errorf("fetch chunk %d: %w", index, err)
	}
	m, err := ParseMessage(raw)
	if err != nil {
		return nil, fmt.Errorf("read chunk %d: %w", index, err)
	}
	c, ok := m.(*Chunk)
	if !ok || int(c.Index) != index || !shape.check(root, index, c.Path, c.Body) {
		return nil, fmt.Errorf("read chunk %d: %w", index, errBody)
	}
	return c, nil
}

var errBody = errors.New("not what the board names")

// Keys returns how many keys there are.
func (r *Result) Keys() int { return int(r.params.Keys) }

// PublicKey returns the encoding of key k.
func (r *Result) PublicKey(k int) []byte {
	size := r.params.Suite.pointSize()
	return r.leaf(k)[:size:size]
}

// PublicKeys returns the encodings of all keys.
func (r *Result) PublicKeys() (keys [][]byte) {
	for k := range r.Keys() {
		keys = append(keys, r.PublicKey(k))
	}
	return keys
}

func (r *Result) leaf(k int) []byte {
	size := r.params.result().leaf
	return r.leaves[k*size : (k+1)*size]
}

// unbias is δ_k: it depends on QUAL, on every sum, and on a block that came
// after both were fixed, so that the last dealer to choose does not choose the
// keys. A block's hash can be ground by its proposer; BLS and Schnorr keys do
// not mind, a beacon would.
func (b *Board) unbias(k int) [64]byte {
	transcript := b.transcript(b.set)
	return wire.HashWide(wire.TagUnbias, transcript[:], b.sums[:], b.delta[:], be32(k))
}

// root returns the root of the tree over the points.
func (h *holding[S, P]) root() [32]byte {
	root, _, _ := h.params.result().cut(h.leaves())
	return root
}

func (h *holding[S, P]) leaves() []byte { return h.e.g.AppendPoints(nil, h.points) }
