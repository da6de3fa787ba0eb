package dkg

import (
	"math"
	"slices"

	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// This file takes a ceremony from complete dealings to the frozen QUAL. A
// round judges one set of dealings; a set that lost a dealer to a complaint
// is judged again, because sums over another set are other sums.

func (b *Board) beginRound(now uint64, set Dealers) {
	b.set = set
	// Thousands of dealers that are found out one by one could go on longer
	// than a round has numbers.
	if set.Len() < b.params.minDealers() || b.round == math.MaxUint8 {
		b.abort()
		return
	}
	b.round++
	for i := range b.seats {
		s := &b.seats[i]
		s.spoke, s.faulty, s.sums = false, "", [32]byte{}
	}
	b.enter(PhaseVerify, now, b.params.Deadlines.Verify)
}

func (b *Board) takeVerdict(now uint64, from int, m *Verdict) error {
	s := b.at(from)
	switch {
	case b.phase != PhaseVerify:
		return ErrPhase
	case !b.receivers().Has(from):
		return ErrSender
	case s.spoke:
		return ErrDuplicate
	case m.Transcript != b.transcript(b.set) || m.Faulty.Without(b.set) != "":
		return ErrShape
	}
	others := b.set.Without(m.Faulty)
	for _, c := range m.Complaints {
		if !others.Has(int(c.Dealer)) {
			return ErrShape
		}
	}
	s.spoke, s.faulty, s.sums = true, m.Faulty, m.Sums
	for i := range m.Complaints {
		b.judge(from, &m.Complaints[i])
	}
	if b.receivers().Without(b.which(func(s *place) bool { return s.spoke })) == 0 {
		b.endVerify(now)
	}
	return nil
}

// accused is the dealing of one key that a complaint is about.
type accused struct {
	leaf   []byte
	key    int
	r      [kem.PointSize]byte
	encaps [32]byte
}

// accused finds it: the complaint has to bring the leaf, and of a participant
// all of its dealing, for the board has only what the path leads to.
func (b *Board) accused(c *Complaint) (a accused, ok bool) {
	if b.params.FromAssembly() {
		root, ok := wire.PathRoot(wire.LeafHash(c.Leaf), int(c.At), b.dealt.Len(), c.Path)
		parsed, err := ParseMessage(c.Leaf)
		m, is := parsed.(*Dealing)
		if !ok || root != b.order.Root() || err != nil || !is || m.Dealer != c.Dealer || !m.isFor(&b.params, b.receivers()) {
			return a, false
		}
		h := m.header()
		return accused{m.Leaf, 0, [kem.PointSize]byte(h.R.Bytes()), b.params.encapsRoot(h)}, true
	}
	d, shape := b.at(int(c.Dealer)), b.dealing()
	root, ok := wire.PathRoot(wire.LeafHash(c.Leaf), int(c.At), shape.leaves, c.Path)
	return accused{c.Leaf, int(c.At), d.r, d.encaps}, ok && root == d.root && len(c.Leaf) == shape.leaf
}

// judge decides a complaint, or leaves it pending until the dealer opens the
// hybrid leg, which the complainant cannot.
func (b *Board) judge(from int, c *Complaint) {
	dealer := int(c.Dealer)
	if b.excluded.Has(dealer) {
		return
	}
	a, ok := b.accused(c)
	if !ok || !b.opens(from, a.r, c) {
		b.blame(from, FalseComplaint)
		return
	}
	point, ok := b.params.Suite.arithmetic().commitment(a.leaf, int(b.params.T), from)
	if !ok {
		b.exclude(dealer, BadDealing)
		return
	}
	at := int(b.params.T)*b.params.Suite.pointSize() + 32*b.receivers().before(from)
	open := claim{c.Dealer, uint8(from), uint32(a.key), c.Shared, point, [32]byte(a.leaf[at:]), a.r, a.encaps}
	if b.params.Hybrid {
		b.pending = append(b.pending, open)
		return
	}
	b.decide(open, nil)
}

// opens reports whether a complaint shows what the seat shares with whoever
// made R. Both keys were parsed when they came.
func (b *Board) opens(from int, r [kem.PointSize]byte, c *Complaint) bool {
	key, err1 := kem.ParsePublicKey(b.at(from).key[:])
	theirs, err2 := kem.ParsePublicKey(r[:])
	return err1 == nil && err2 == nil &&
		key.VerifyShared(theirs, c.Shared, c.Proof, wire.TagDLEQ, complaintContext(b.cid, int(c.Dealer), from)...)
}

func complaintContext(cid [32]byte, dealer, from int) [][]byte {
	return [][]byte{cid[:], be16(dealer), {byte(from)}}
}

// decide blames the dealer or the complainant, given all that went into the mask.
func (b *Board) decide(c claim, hybrid []byte) {
	mask := maskKey(b.roster(), int(c.dealer), int(c.from), c.r[:], b.at(int(c.from)).key[:], c.shared, hybrid)
	if b.params.Suite.arithmetic().matches(c.point, c.ciphertext[:], mask, int(c.key)) {
		b.blame(int(c.from), FalseComplaint)
		return
	}
	b.exclude(int(c.dealer), BadShare)
}

func maskKey(roster [32]byte, dealer, i int, r, key []byte, shared kem.Shared, hybrid []byte) [32]byte {
	return wire.Hash(wire.TagMaskKey, roster[:], be16(dealer), []byte{byte(i)}, r, key, shared[:], hybrid)
}

func (b *Board) takeAnswer(now uint64, from int, m *Answer) error {
	if b.phase != PhaseVerify && b.phase != PhaseAnswer {
		return ErrPhase
	}
	i := slices.IndexFunc(b.pending, func(c claim) bool { return int(c.dealer) == from && c.from == m.Recipient })
	if i < 0 {
		return ErrSender
	}
	c := b.pending[i]
	if hybridHash(m.HybridKey) != b.at(int(c.from)).hybrid {
		return ErrShape
	}
	b.pending = slices.Delete(b.pending, i, i+1)
	ciphertext, shared, err := kem.Encapsulate(m.HybridKey, &m.Coins)
	if err != nil {
		return ErrShape
	}
	receivers := b.receivers()
	root, ok := wire.PathRoot(wire.LeafHash(ciphertext), receivers.before(int(c.from)), receivers.Len(), m.Path)
	if ok && root == c.encaps {
		b.decide(c, shared[:])
	} else {
		b.exclude(from, BadAnswer)
	}
	if b.phase == PhaseAnswer && len(b.pending) == 0 {
		b.endAnswer(now)
	}
	return nil
}

// agreed returns what most seats say of the round, and who says it.
func (b *Board) agreed() (faulty Dealers, sums [32]byte, by Seats) {
	for i := range b.seats {
		s := &b.seats[i]
		if !s.spoke {
			continue
		}
		same := b.which(func(o *place) bool { return o.spoke && o.faulty == s.faulty && o.sums == s.sums })
		if same.Len() > by.Len() {
			faulty, sums, by = s.faulty, s.sums, same
		}
	}
	return faulty, sums, by
}

// endVerify wants n-f equal verdicts: at least n-2f of them are honest, and
// honest verdicts are equal, so that whoever differs has lied.
func (b *Board) endVerify(now uint64) {
	b.blameAbsent(AbsentVerdict, func(s *place) bool { return !s.spoke })
	_, _, by := b.agreed()
	if by.Len() < b.params.quorum() {
		b.abort()
		return
	}
	for i := range b.which(func(s *place) bool { return s.spoke }).Without(by).All() {
		b.blame(i, Dissent)
	}
	if len(b.pending) > 0 {
		b.enter(PhaseAnswer, now, b.AnswerTime())
		return
	}
	b.endRound(now)
}

// AnswerTime is how long dealers have that a round's verdicts accuse, in
// milliseconds: half as long as those of the round before, but no less than four
// times what verdicts have, so that whoever looks now and then does not miss it.
// So dealers that are silent one after the other, round by round, hold a ceremony
// up hardly longer than twice what the first of them could.
func (b *Board) AnswerTime() uint32 {
	d := b.params.Deadlines
	least := min(uint64(d.Answer), 4*uint64(d.Verify))
	return max(d.Answer>>(max(b.round, 1)-1), uint32(least))
}

// endAnswer excludes dealers that stayed silent, without blame: an absent
// dealer looks the same.
func (b *Board) endAnswer(now uint64) {
	for len(b.pending) > 0 {
		b.exclude(int(b.pending[0].dealer), AbsentAnswer)
	}
	b.endRound(now)
}

func (b *Board) endRound(now uint64) {
	faulty, sums, _ := b.agreed()
	for i := range faulty.All() {
		b.exclude(i, BadDealing)
	}
	summed := b.set.Without(faulty)
	left := summed.Without(b.excluded)
	switch {
	case left != summed:
		b.beginRound(now, left)
	case left.Len() < b.params.minDealers():
		b.set = left
		b.abort()
	default:
		b.set, b.sums = left, sums
		b.freeze(now)
	}
}

// freeze fixes QUAL. From here on complaints can only repair a share, never
// change the key.
func (b *Board) freeze(now uint64) {
	if b.params.Mode != ModeKeygen { // the keys are what they were: δ = 0
		b.enter(PhaseConfirm, now, b.params.Deadlines.Confirm)
		return
	}
	b.enter(PhaseFreeze, now, 0)
}
