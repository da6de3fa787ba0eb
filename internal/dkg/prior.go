package dkg

import (
	"fmt"

	"github.com/quorate/quorate/internal/secret"
)

// This file holds what a refresh or a reshare starts from: the commitments of
// the keys as they are shared now. The ledger posts them when it opens the
// ceremony, as chunks under the root in the parameters, so that receivers who
// hold nothing yet can check V_0 = Y_i.

// posted reports whether the ledger posts how the keys are shared. Participants
// of an assembly bring, each, the one commitment that is theirs.
func (p *Params) posted() bool { return p.Mode.Renews() && !p.FromAssembly() }

// prior returns the shape of the commitments that are replaced.
func (p *Params) prior() shape {
	return newShape(int(p.Old.T)*p.Suite.pointSize(), int(p.Keys))
}

// Posted is a body that the ledger keeps for a ceremony under its name.
type Posted struct {
	Name [32]byte
	Body []byte
}

// Prior cuts the commitments of the keys, in order, into the bodies that a
// ceremony needs of them. Their root is Params.Expected, which need not be set
// yet: the bodies of other parameters differ, the root does not.
func (p Params) Prior(commitments [][]byte) (root [32]byte, bodies []Posted, err error) {
	if p.Old.T < 1 || len(commitments) == 0 || len(commitments) != int(p.Keys) {
		return root, nil, fmt.Errorf("post %d commitments of %d keys: %w", len(commitments), p.Keys, ErrShape)
	}
	shape := p.prior()
	all := make([]byte, 0, shape.leaf*shape.leaves)
	for k, c := range commitments {
		if len(c) != shape.leaf {
			return root, nil, fmt.Errorf("post commitment of key %d: %d bytes: %w", k, len(c), ErrShape)
		}
		all = append(all, c...)
	}
	root, parts, paths := shape.cut(all)
	for c := range parts {
		m := &Chunk{CID: p.ID(), Index: uint32(c), Path: paths[c], Body: parts[c]}
		bodies = append(bodies, Posted{chunkName(root, c), m.Encode()})
	}
	return root, bodies, nil
}

// priorChunks returns the names of the bodies of [Params.Prior].
func (p *Params) priorChunks() (names [][32]byte) {
	if !p.posted() {
		return nil
	}
	for c := range p.prior().chunks() {
		names = append(names, chunkName(p.Expected, c))
	}
	return names
}

// readPrior returns a reader of old commitments that keeps the last chunk.
func (p *Params) readPrior(src Source) func(key int) ([]byte, error) {
	if !p.posted() {
		return nil
	}
	shape, last := p.prior(), -1
	var body []byte
	return func(key int) ([]byte, error) {
		if c := key / shape.perChunk; c != last {
			b, err := readBody(src, shape, p.Expected, c)
			if err != nil {
				return nil, fmt.Errorf("read the sharing before: %w", err)
			}
			body, last = b, c
		}
		at := key % shape.perChunk * shape.leaf
		return body[at : at+shape.leaf], nil
	}
}

// Holding looks up this seat's share of a key in the epoch that is replaced;
// the zero value stands for none. The participant does not keep it.
type Holding func(publicKey []byte) secret.Bytes

// NewHolder takes the seat of one who may hold shares already. One that holds
// none, or no good ones, receives all the same.
func NewHolder(p Params, me int, seed secret.Bytes, held Holding) (*Participant, error) {
	q, err := NewParticipant(p, me, seed)
	if err == nil {
		q.holding = held
	}
	return q, err
}

// old returns this seat's share of a key that is replaced.
func (q *Participant) old(leaf []byte) secret.Bytes {
	if q.holding == nil {
		return secret.Bytes{}
	}
	return q.holding(leaf[:q.params.Suite.pointSize()])
}

// constants returns what this seat deals: f_k(0) for each key, nil where they
// are drawn or zero. It fails with errNothingHeld where a share is missing.
func (q *Participant) constants(src Source) ([]secret.Bytes, error) {
	if q.params.Mode != ModeReshare {
		return q.keys, nil
	}
	read := q.params.readPrior(src)
	out := make([]secret.Bytes, q.params.Keys)
	for k := range out {
		leaf, err := read(k)
		if err != nil {
			return nil, err
		}
		if out[k] = q.old(leaf); out[k].Len() == 0 {
			return nil, fmt.Errorf("deal key %d: %w", k, errNothingHeld)
		}
	}
	return out, nil
}

// checkConstants compares what was dealt with what everybody knows of this
// seat's shares: a dealing of stale ones would only earn it blame.
func (q *Participant) checkConstants(src Source, leaves []byte, leaf int) error {
	if q.params.Mode != ModeReshare {
		return nil
	}
	read, size, arith := q.params.readPrior(src), q.params.Suite.pointSize(), q.params.Suite.arithmetic()
	for k := range int(q.params.Keys) {
		prior, err := read(k)
		if err != nil {
			return err
		}
		want, ok := arith.commitment(prior, int(q.params.Old.T), q.me)
		if !ok || string(want) != string(leaves[k*leaf:k*leaf+size]) {
			return fmt.Errorf("deal key %d: %w", k, errNothingHeld)
		}
	}
	return nil
}
