package dkg

import "fmt"

// Bodies returns the names of everything stored that a participant may have
// to read now: who joined, the sharing that is replaced, and the dealings that
// count. A caller that fetches
// from afar gathers them first.
func (b *Board) Bodies() [][32]byte {
	var names [][32]byte
	if b.params.Hybrid {
		for i := range b.Joined().All() {
			names = append(names, b.at(i).join)
		}
	}
	if b.phase >= PhaseDeal && b.phase <= PhaseDone {
		names = append(names, b.params.priorChunks()...)
	}
	chunks, set := b.dealing().chunks(), b.set
	if b.params.FromAssembly() && set != "" {
		names, set = append(names, b.dealings()...), ""
	}
	for d := range set.All() {
		s := b.at(d)
		names = append(names, s.header)
		for c := range chunks {
			names = append(names, chunkName(s.root, c))
		}
	}
	if b.phase == PhaseDone {
		names = append(names, b.ResultChunks()...)
	}
	return names
}

// Commitment returns the t points that fix the polynomial of key k in the
// exponent: what an inventory keeps, and [PublicShares] reads.
func (r *Result) Commitment(k int) []byte { return append([]byte(nil), r.leaf(k)...) }

// PublicShares computes Y_1, …, Y_n from a key's commitment.
func PublicShares(s Suite, commitment []byte, t, n int) ([][]byte, error) {
	if t < 1 || t > n || len(commitment) != t*s.pointSize() {
		return nil, fmt.Errorf("read commitment of %d bytes: %w", len(commitment), ErrShape)
	}
	all, err := s.arithmetic().commitments(commitment, t, n)
	if err != nil {
		return nil, fmt.Errorf("read commitment: %w", err)
	}
	return all[1:], nil
}
