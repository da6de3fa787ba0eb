package assembly

import (
	"bytes"
	"slices"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/wire"
)

// This file takes a ceremony from its opening to a set of complete dealings.

func (b *Board) takeJoin(from int, m *Join) error {
	s := b.at(from)
	switch {
	case b.phase != PhaseJoin:
		return ErrPhase
	case s.joined || s.blamed:
		return ErrDuplicate
	case (len(m.HybridKey) > 0) != b.params.Hybrid:
		return ErrShape
	}
	if m.Key.VerifyProof(m.Possession, wire.TagAssemblyPoP, joinContext(b.cid, from, m.HybridKey)...) {
		s.joined, s.key, s.hybrid = true, m.Key, m.HybridKey
	} else {
		b.blame(from, dkg.BadPossession)
	}
	if len(b.which(func(s *place) bool { return s.joined || s.blamed })) == int(b.params.N) {
		b.endJoin()
	}
	return nil
}

func joinContext(cid [32]byte, from int, hybridKey []byte) [][]byte {
	return [][]byte{cid[:], be16(from), hybridKey}
}

// endJoin goes on with n-f participants. Who is absent gets no ciphertext;
// points for its share are dealt all the same: a leaf is that of a seat.
func (b *Board) endJoin() {
	for _, i := range b.which(func(s *place) bool { return !s.joined && !s.blamed }) {
		b.blame(i, dkg.AbsentJoin)
	}
	b.joined = b.Joined()
	if len(b.joined) < b.params.quorum() {
		b.abort()
		return
	}
	parts := [][]byte{b.cid[:]}
	for _, i := range b.joined {
		parts = append(parts, be16(i), b.at(i).key.Bytes(), b.at(i).hybrid)
	}
	b.roster = wire.Hash(wire.TagAssemblyRoster, parts...)
	if b.params.Dealers > 0 {
		b.enter(PhaseDraw, 0)
		return
	}
	for _, i := range b.joined {
		b.at(i).cohort = 1
	}
	b.cohorts = [][]int{b.joined}
	b.begin(b.joined)
}

// draw puts the participants in an order that nobody could choose. The one at
// p belongs to cohort p mod C, and the first in each cohort deal.
func (b *Board) draw(random [32]byte) {
	type ranked struct {
		by   digest
		seat int
	}
	var all []ranked
	for _, i := range b.joined {
		all = append(all, ranked{wire.Hash(wire.TagAssemblyDraw, b.roster[:], random[:], be16(i)), i})
	}
	slices.SortFunc(all, func(x, y ranked) int { return bytes.Compare(x.by[:], y.by[:]) })
	cohorts := int(b.params.Cohorts)
	b.cohorts = make([][]int, cohorts)
	var dealers []int
	for p, r := range all {
		c := p % cohorts
		b.at(r.seat).cohort = c + 1
		b.cohorts[c] = append(b.cohorts[c], r.seat)
		if p < cohorts*int(b.params.Dealers) {
			dealers = append(dealers, r.seat)
		}
	}
	slices.Sort(dealers)
	b.begin(dealers)
}

func (b *Board) begin(dealers []int) {
	b.dealers = dealers
	b.enter(PhaseDeal, b.params.Deadlines.Deal)
}

func (b *Board) isDealer(i int) bool {
	_, ok := slices.BinarySearch(b.dealers, i)
	return ok
}

func (b *Board) takeHeader(from int, m *Header) error {
	s := b.at(from)
	switch {
	case b.phase != PhaseDeal:
		return ErrPhase
	case !b.isDealer(from):
		return ErrSender
	case (m.Mail != digest{}) != b.params.Hybrid:
		return ErrShape
	case b.excluded.Has(from) || s.header != nil && bytes.Equal(s.header.fields(), m.fields()):
		return ErrDuplicate
	}
	switch {
	case s.header != nil:
		b.exclude(from, dkg.Equivocation)
	case !m.valid(b.roster, from):
		b.exclude(from, dkg.BadHeader)
	default:
		s.header = m
		s.body, s.have = make([]byte, int(b.params.N)*leafSize), newSeats(chunks(int(b.params.N)))
	}
	b.dealt()
	return nil
}

func (b *Board) takeDealing(from int, m *Chunk) error {
	s, n := b.at(from), int(b.params.N)
	switch {
	case b.phase != PhaseDeal:
		return ErrPhase
	case s.header == nil || b.excluded.Has(from):
		return ErrSender
	case s.have.Has(int(m.Index) + 1):
		return ErrDuplicate
	case !m.fits(s.header.Root, n, leafSize):
		return ErrShape
	}
	copy(s.body[int(m.Index)*chunkLeaves*leafSize:], m.Body)
	s.have.add(int(m.Index) + 1)
	if len(s.have.List()) == chunks(n) {
		s.tree = wire.CutTree(s.body, leafSize)
	}
	b.dealt()
	return nil
}

// complete returns the dealers whose dealing is all there.
func (b *Board) complete() (out []int) {
	for _, d := range b.dealers {
		if b.at(d).tree != nil && !b.excluded.Has(d) {
			out = append(out, d)
		}
	}
	return out
}

// dealt ends the phase early when nobody is waited for.
func (b *Board) dealt() {
	for _, d := range b.dealers {
		if b.at(d).tree == nil && !b.excluded.Has(d) {
			return
		}
	}
	b.endDeal()
}

func (b *Board) endDeal() {
	for _, d := range b.dealers {
		if b.at(d).tree == nil && !b.excluded.Has(d) {
			b.exclude(d, dkg.AbsentDeal)
		}
	}
	b.set = b.complete()
	b.transcript = transcript(b.roster, b.set, b.header)
	if len(b.set) < b.params.minDealers() {
		b.abort()
		return
	}
	b.round = 1
	for _, i := range b.joined {
		b.at(i).may = true
	}
	b.enter(PhaseVerify, b.params.Deadlines.Verify)
}

func (b *Board) header(i int) *Header { return b.at(i).header }

// leaf returns V_i and the ciphertext for i, of a complete dealing.
func (b *Board) leaf(dealer, i int) []byte {
	return b.at(dealer).body[(i-1)*leafSize : i*leafSize]
}
