package transcript

import (
	"bytes"
	"slices"
)

// This file takes a ceremony from its opening to complete dealings.

func (b *board) takeJoin(from int, m *join) error {
	s := b.seats[from]
	switch {
	case b.phase != phaseJoin:
		return errPhase
	case s.joined || s.blamed:
		return errTwice
	case (len(m.letters) > 0) != b.hybrid:
		return errShape
	}
	if knows(m.key, m.proof, prefix+"/pop", b.id[:], u16(from), m.letters) {
		s.joined, s.key, s.letters = true, m.key, m.letters
	} else {
		b.blame(from, badPossession)
	}
	if len(b.which(func(s *seat) bool { return s.joined || s.blamed })) == b.n {
		b.endJoin()
	}
	return nil
}

func (b *board) endJoin() {
	for _, i := range b.which(func(s *seat) bool { return !s.joined && !s.blamed }) {
		b.blame(i, absentJoin)
	}
	b.joined = b.which(func(s *seat) bool { return s.joined })
	if len(b.joined) < b.quorum() {
		b.abort()
		return
	}
	parts := [][]byte{b.id[:]}
	for _, i := range b.joined {
		parts = append(parts, u16(i), b.seats[i].key, b.seats[i].letters)
	}
	b.roster = h(prefix+"/roster", parts...)
	if b.dealers > 0 {
		b.enter(phaseDraw, 0)
		return
	}
	b.begin(b.joined)
}

// draw orders the joined by hashes that nobody could choose.
func (b *board) draw(randomness digest) {
	by := map[int]digest{}
	for _, i := range b.joined {
		by[i] = h(prefix+"/draw", b.roster[:], randomness[:], u16(i))
	}
	order := slices.Clone(b.joined)
	slices.SortFunc(order, func(x, y int) int { a, c := by[x], by[y]; return bytes.Compare(a[:], c[:]) })
	for p, i := range order {
		b.seats[i].cohort = p % b.cohorts
	}
	drawn := order[:b.cohorts*b.dealers]
	slices.Sort(drawn)
	b.begin(drawn)
}

func (b *board) begin(dealers []int) {
	b.drawn = slices.Clone(dealers)
	b.enter(phaseDeal, b.deal)
}

func (b *board) takeHeader(from int, m *header) error {
	s := b.seats[from]
	switch {
	case b.phase != phaseDeal:
		return errPhase
	case !slices.Contains(b.drawn, from):
		return errSender
	case m.mails() != b.hybrid:
		return errShape
	case b.excluded[from] || s.header != nil && bytes.Equal(s.header.all, m.all):
		return errTwice
	}
	switch {
	case s.header != nil:
		b.exclude(from, equivocation)
	case !m.valid(b.roster, from):
		b.exclude(from, badHeader)
	default:
		s.header, s.body = m, make([]byte, b.n*leafSize)
	}
	b.dealt()
	return nil
}

func (b *board) takeDealing(from int, m *chunk) error {
	s := b.seats[from]
	switch {
	case b.phase != phaseDeal:
		return errPhase
	case s.header == nil || b.excluded[from]:
		return errSender
	case s.have[m.index]:
		return errTwice
	case !m.fits(digest(s.header.root), b.n, leafSize):
		return errShape
	}
	copy(s.body[m.index*chunkLeaves*leafSize:], m.body)
	s.have[m.index] = true
	b.dealt()
	return nil
}

// awaited lists the dealers whose dealing is not all there.
func (b *board) awaited() []int {
	return slices.DeleteFunc(slices.Clone(b.drawn), func(d int) bool {
		return b.excluded[d] || len(b.seats[d].have) == chunks(b.n)
	})
}

func (b *board) dealt() {
	if len(b.awaited()) == 0 {
		b.endDeal()
	}
}

func (b *board) endDeal() {
	for _, d := range b.awaited() {
		b.exclude(d, absentDeal)
	}
	b.set = slices.Clone(b.drawn)
	b.count()
	if len(b.set) < b.least() {
		b.abort()
		return
	}
	b.round = 1
	for _, i := range b.joined {
		b.seats[i].asked = true
	}
	b.enter(phaseVerify, b.verify)
}

// leaf returns V_i and the ciphertext for i.
func (b *board) leaf(dealer, i int) []byte {
	return b.seats[dealer].body[(i-1)*leafSize : i*leafSize]
}
