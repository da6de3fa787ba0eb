package assembly

import (
	"slices"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// This file takes a ceremony from complete dealings to those against which no
// complaint was upheld. There are at most two rounds of reports: in the second
// only those speak whose ciphertext came late.

func (b *Board) takeReport(from int, m *Report) error {
	s := b.at(from)
	switch {
	case b.phase != PhaseVerify:
		return ErrPhase
	case !s.may:
		return ErrSender
	case s.spoke:
		return ErrDuplicate
	case m.Transcript != b.transcript || !b.about(from, m):
		return ErrShape
	}
	s.spoke = true
	for _, a := range m.Accusations {
		b.accusations = append(b.accusations, charge{from, a})
	}
	for i := range m.Complaints {
		b.judge(from, &m.Complaints[i])
	}
	for _, d := range m.Withheld {
		if !b.excluded.Has(int(d)) {
			b.pending = append(b.pending, claim{dealer: int(d), from: from})
		}
	}
	if len(b.which(func(s *place) bool { return s.may && !s.spoke })) == 0 {
		b.endVerify()
	}
	return nil
}

// about tells whether a report speaks of what its poster is asked about.
func (b *Board) about(from int, m *Report) bool {
	counts := func(d uint16) bool { _, ok := slices.BinarySearch(b.set, int(d)); return ok }
	for _, a := range m.Accusations {
		if b.round > 1 || len(b.cohorts) == 1 || !counts(a.Dealer) || a.At > b.params.N || b.at(int(a.Dealer)).cohort != b.at(from).cohort {
			return false
		}
	}
	for _, c := range m.Complaints {
		if !counts(c.Dealer) || b.round > 1 && b.postings[[2]int{int(c.Dealer), from}] == nil {
			return false
		}
	}
	for _, d := range m.Withheld {
		if b.round > 1 || !b.params.Hybrid || !counts(d) || slices.ContainsFunc(m.Complaints, func(c Complaint) bool { return c.Dealer == d }) {
			return false
		}
	}
	return true
}

// judge decides a complaint, or leaves it pending until the dealer opens the
// hybrid leg, which the complainant cannot.
func (b *Board) judge(from int, c *Complaint) {
	dealer := int(c.Dealer)
	if b.excluded.Has(dealer) {
		return
	}
	switch opened, fault := c.check(b, from, nil); {
	case !opened:
		b.blame(from, dkg.FalseComplaint)
	case b.params.Hybrid && fault != dkg.BadDealing:
		b.pending = append(b.pending, claim{dealer, from, c})
	default:
		b.sentence(dealer, from, fault)
	}
}

// sentence excludes a dealer for a fault, or blames who complained of none.
func (b *Board) sentence(dealer, from int, fault dkg.FaultKind) {
	if fault == 0 {
		b.blame(from, dkg.FalseComplaint)
		return
	}
	b.exclude(dealer, fault)
}

// check is Check with what the board knows.
func (c *Complaint) check(b *Board, from int, hybrid []byte) (opened bool, fault dkg.FaultKind) {
	return c.Check(int(b.params.N), b.roster, from, b.at(from).key, b.header(int(c.Dealer)), hybrid)
}

// Check verifies a complaint by itself, from the accused header and the key
// that the complainant joined with: opened tells whether it shows what the
// dealer sent, and fault what is wrong with that, 0 when nothing is. In hybrid
// mode the fault stands only with the secret of the other leg.
func (c *Complaint) Check(n int, roster [32]byte, from int, key kem.PublicKey, h *Header, hybrid []byte) (opened bool, fault dkg.FaultKind) {
	dealer := int(c.Dealer)
	root, ok := wire.PathRoot(wire.LeafHash(c.Leaf[:]), from-1, n, c.Path)
	if !ok || root != h.Root || !key.VerifyShared(h.R, c.Shared, c.Proof, wire.TagAssemblyDLEQ, complaintContext(roster, dealer, from)...) {
		return false, 0
	}
	var want, got bls.G1Point
	var share bls.G1Scalar
	if g1.SetPoint(&want, c.Leaf[:pointSize]) != nil {
		return true, dkg.BadDealing
	}
	if g1.SetScalar(&share, c.Leaf[pointSize:]) != nil {
		return true, dkg.BadShare
	}
	unmask(&share, maskKey(roster, dealer, from, h.R.Bytes(), key.Bytes(), c.Shared, hybrid))
	g1.BaseMult(&got, &share)
	if !g1.Equal(&got, &want) {
		return true, dkg.BadShare
	}
	return true, 0
}

func complaintContext(roster [32]byte, dealer, from int) [][]byte {
	return [][]byte{roster[:], be16(dealer), be16(from)}
}

// maskKey derives the key of a dealer's mask for one recipient.
func maskKey(roster [32]byte, dealer, i int, r, key []byte, shared kem.Shared, hybrid []byte) [32]byte {
	return wire.Hash(wire.TagAssemblyMaskKey, roster[:], be16(dealer), be16(i), r, key, shared[:], hybrid)
}

func mask(key [32]byte) (m bls.G1Scalar) {
	wide := wire.HashWide(wire.TagAssemblyMask, key[:])
	g1.SetWide(&m, &wide)
	return m
}

func unmask(share *bls.G1Scalar, key [32]byte) {
	m := mask(key)
	g1.SubScalar(share, &m)
}

// endVerify goes on with whatever was reported: silence costs nobody but the
// silent, who may hold a false share.
func (b *Board) endVerify() {
	for _, i := range b.which(func(s *place) bool { return s.may && !s.spoke }) {
		b.blame(i, dkg.AbsentVerdict)
	}
	for i := range b.places {
		b.places[i].may = false
	}
	if len(b.pending) > 0 {
		b.enter(PhaseAnswer, b.params.Deadlines.Answer)
		return
	}
	b.endRound()
}

func (b *Board) takeOpening(from int, m *Opening) error {
	i, err := b.claim(from, int(m.Recipient), true)
	if err != nil {
		return err
	}
	c := b.pending[i]
	ciphertext, shared, err := kem.Encapsulate(b.at(c.from).hybrid, &m.Coins)
	if err != nil {
		return ErrShape
	}
	b.pending = slices.Delete(b.pending, i, i+1)
	if b.isLetter(from, c.from, &Letter{ciphertext, m.Path}) {
		_, fault := c.complaint.check(b, c.from, shared[:])
		b.sentence(from, c.from, fault)
	} else {
		b.exclude(from, dkg.BadAnswer)
	}
	b.answered()
	return nil
}

func (b *Board) takePosting(from int, m *Posting) error {
	i, err := b.claim(from, int(m.Recipient), false)
	switch {
	case err != nil:
		return err
	case !b.isLetter(from, int(m.Recipient), &m.Letter):
		return ErrShape
	}
	b.pending = slices.Delete(b.pending, i, i+1)
	b.postings[[2]int{from, int(m.Recipient)}] = &m.Letter
	b.answered()
	return nil
}

// claim finds what a dealer answers.
func (b *Board) claim(dealer, from int, complaint bool) (int, error) {
	if b.phase != PhaseAnswer {
		return 0, ErrPhase
	}
	i := slices.IndexFunc(b.pending, func(c claim) bool {
		return c.dealer == dealer && c.from == from && (c.complaint != nil) == complaint
	})
	if i < 0 {
		return 0, ErrSender
	}
	return i, nil
}

// isLetter tells whether a ciphertext is the one that a dealer committed to.
func (b *Board) isLetter(dealer, to int, l *Letter) bool {
	root, ok := wire.PathRoot(wire.LeafHash(l.Ciphertext), b.before(to), len(b.joined), l.Path)
	return ok && root == b.header(dealer).Mail
}

func (b *Board) answered() {
	if len(b.pending) == 0 {
		b.endAnswer()
	}
}

// endAnswer excludes dealers that stayed silent, without blame: an absent
// dealer looks the same.
func (b *Board) endAnswer() {
	for len(b.pending) > 0 {
		b.exclude(b.pending[0].dealer, dkg.AbsentAnswer)
	}
	b.endRound()
}

// endRound asks those again whose ciphertext is on the ledger now, or goes on
// to the replay.
func (b *Board) endRound() {
	b.set = slices.DeleteFunc(b.set, func(d int) bool { return b.excluded.Has(d) })
	b.transcript = transcript(b.roster, b.set, b.header)
	again := false
	if b.round == 1 {
		for k := range b.postings {
			if !b.excluded.Has(k[0]) {
				b.at(k[1]).may, b.at(k[1]).spoke, again = true, false, true
			}
		}
	}
	switch {
	case len(b.set) < b.params.minDealers():
		b.abort()
	case again:
		b.round = 2
		b.enter(PhaseVerify, b.params.Deadlines.Verify)
	default:
		b.enter(PhaseReplay, b.params.Deadlines.Replay)
	}
}
