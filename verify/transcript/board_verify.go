package transcript

import (
	"math/big"
	"slices"

	"github.com/cloudflare/circl/kem/xwing"
)

// This file takes a ceremony from complete dealings to those against which no
// complaint was upheld.

func (b *board) takeReport(from int, m *report) error {
	s := b.seats[from]
	switch {
	case b.phase != phaseVerify:
		return errPhase
	case !s.asked:
		return errSender
	case s.spoke:
		return errTwice
	case m.transcript != b.transcript || !b.about(from, m):
		return errShape
	}
	s.spoke = true
	for _, a := range m.accusations {
		b.accusations = append(b.accusations, accusation{from, a.dealer, a.at})
	}
	for i := range m.complaints {
		b.judge(from, &m.complaints[i])
	}
	for _, d := range m.withheld {
		if !b.excluded[d] {
			b.pending = append(b.pending, claim{d, from, nil})
		}
	}
	if len(b.which(func(s *seat) bool { return s.asked && !s.spoke })) == 0 {
		b.endVerify()
	}
	return nil
}

// about tells whether a report says only what its sender was asked.
func (b *board) about(from int, m *report) bool {
	counts := func(d int) bool { return slices.Contains(b.set, d) }
	for _, a := range m.accusations {
		if b.round > 1 || b.cohorts == 1 || !counts(a.dealer) || a.at > b.n || b.seats[a.dealer].cohort != b.seats[from].cohort {
			return false
		}
	}
	for _, c := range m.complaints {
		if !counts(c.dealer) || b.round > 1 && !b.posted[[2]int{c.dealer, from}] || slices.Contains(m.withheld, c.dealer) {
			return false
		}
	}
	for _, d := range m.withheld {
		if b.round > 1 || !b.hybrid || !counts(d) {
			return false
		}
	}
	return true
}

func (b *board) judge(from int, c *complaint) {
	if b.excluded[c.dealer] {
		return
	}
	switch opened, fault := b.check(from, c, nil); {
	case !opened:
		b.blame(from, falseComplaint)
	case b.hybrid && fault != badDealing:
		b.pending = append(b.pending, claim{c.dealer, from, c})
	default:
		b.sentence(c.dealer, from, fault)
	}
}

func (b *board) sentence(dealer, from int, fault string) {
	if fault == "" {
		b.blame(from, falseComplaint)
		return
	}
	b.exclude(dealer, fault)
}

// check tells whether a complaint opens what was sent, and what is wrong with
// that. hybrid is the secret of the other leg.
func (b *board) check(from int, c *complaint, hybrid []byte) (opened bool, fault string) {
	x, key := b.header(c.dealer), b.seats[from].key
	context := [][]byte{b.roster[:], u16(c.dealer), u16(from)}
	if !leads(leafHash(c.leaf), from-1, b.n, c.path, digest(x.root)) ||
		!shares(key, x.r, c.shared, c.proof, prefix+"/dleq", context...) {
		return false, ""
	}
	point, ok := curve.element(c.leaf[:48])
	if !ok {
		return true, badDealing
	}
	ciphertext, ok := curve.scalar(c.leaf[48:])
	if !ok {
		return true, badShare
	}
	of := h(prefix+"/mask-key", append(context, x.r, key, c.shared, hybrid)...)
	share := new(big.Int).Sub(ciphertext, curve.reduce(wide(prefix+"/mask", of[:])))
	if !curve.base(share.Mod(share, orderG1)).minus(point).identity() {
		return true, badShare
	}
	return true, ""
}

func (b *board) endVerify() {
	for _, i := range b.which(func(s *seat) bool { return s.asked && !s.spoke }) {
		b.blame(i, absentVerdict)
	}
	for _, s := range b.seats {
		s.asked = false
	}
	if len(b.pending) > 0 {
		b.enter(phaseAnswer, b.answer)
		return
	}
	b.endRound()
}

// claimed takes what a dealer answers off the list of what it has to.
func (b *board) claimed(dealer, from int, complained bool) (claim, error) {
	if b.phase != phaseAnswer {
		return claim{}, errPhase
	}
	i := slices.IndexFunc(b.pending, func(c claim) bool {
		return c.dealer == dealer && c.from == from && (c.complaint != nil) == complained
	})
	if i < 0 {
		return claim{}, errSender
	}
	c := b.pending[i]
	b.pending = slices.Delete(b.pending, i, i+1)
	return c, nil
}

func (b *board) takeOpening(from int, m *opening) error {
	c, err := b.claimed(from, m.recipient, true)
	if err != nil {
		return err
	}
	secret, letter, err := xwing.Encapsulate(b.seats[c.from].letters, m.coins)
	if err != nil {
		return err
	}
	if b.sent(from, c.from, letter, m.path) {
		_, fault := b.check(c.from, c.complaint, secret)
		b.sentence(from, c.from, fault)
	} else {
		b.exclude(from, badAnswer)
	}
	b.answered()
	return nil
}

func (b *board) takePosting(from int, m *posting) error {
	c, err := b.claimed(from, m.recipient, false)
	if err != nil {
		return err
	}
	if !b.sent(from, c.from, m.letter, m.path) {
		return errShape
	}
	b.posted[[2]int{from, c.from}] = true
	b.answered()
	return nil
}

// sent tells whether a letter is the one that a dealer committed to.
func (b *board) sent(dealer, to int, letter []byte, path []digest) bool {
	i := slices.Index(b.joined, to)
	return leads(leafHash(letter), i, len(b.joined), path, digest(b.header(dealer).mail))
}

func (b *board) answered() {
	if len(b.pending) == 0 {
		b.endAnswer()
	}
}

func (b *board) endAnswer() {
	for len(b.pending) > 0 {
		b.exclude(b.pending[0].dealer, absentAnswer)
	}
	b.endRound()
}

// endRound asks those again who got a letter by a posting, or lets all vote.
func (b *board) endRound() {
	b.count()
	again := false
	for k := range b.posted {
		if b.round == 1 && !b.excluded[k[0]] {
			b.seats[k[1]].asked, b.seats[k[1]].spoke, again = true, false, true
		}
	}
	switch {
	case len(b.set) < b.least():
		b.abort()
	case again:
		b.round = 2
		b.enter(phaseVerify, b.verify)
	default:
		b.enter(phaseReplay, b.replay)
	}
}
