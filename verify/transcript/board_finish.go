package transcript

import (
	"errors"
	"slices"
)

// This file takes a ceremony from the votes to a key.

var errVotes = errors.New("n-f voted for what does not follow from the dealings")

func (b *board) takeVote(from int, m *vote) error {
	s := b.seats[from]
	switch {
	case b.phase != phaseReplay:
		return errPhase
	case !s.joined:
		return errSender
	case s.vote != nil:
		return errTwice
	case m.transcript != b.transcript:
		return errShape
	}
	if b.finding == nil {
		b.finding = b.examine()
	}
	s.vote = m
	if len(b.which(func(o *seat) bool { return o.vote != nil && o.vote.equal(m) })) < b.quorum() {
		return nil
	}
	if !m.equal(&vote{m.transcript, b.finding.faulty, b.finding.liars, b.finding.root}) {
		return errVotes
	}
	for _, i := range b.which(func(o *seat) bool { return o.vote != nil && !o.vote.equal(m) }) {
		b.blame(i, dissent)
	}
	for _, d := range m.faulty {
		b.exclude(d, badDealing)
	}
	for _, i := range m.liars {
		b.blame(i, dissent)
	}
	b.count()
	if len(b.set) < b.least() {
		b.abort()
		return nil
	}
	b.sums = make([]byte, (b.n+1)*curve.size())
	b.enter(phasePublish, b.replay)
	return nil
}

func (b *board) endReplay() {
	for _, i := range b.joined {
		if b.seats[i].vote == nil {
			b.blame(i, absentReplay)
		}
	}
	b.abort()
}

func (b *board) takeSums(from int, m *chunk) error {
	switch {
	case b.phase != phasePublish:
		return errPhase
	case !b.seats[from].joined:
		return errSender
	case b.have[m.index]:
		return errTwice
	case !m.fits(b.finding.root, b.n+1, curve.size()):
		return errShape
	}
	copy(b.sums[m.index*chunkLeaves*curve.size():], m.body)
	b.have[m.index] = true
	if len(b.have) < chunks(b.n+1) {
		return nil
	}
	points, bad := read(b.n+1, func(j int) []byte { return b.sums[48*j : 48*(j+1)] })
	if bad >= 0 || outside(points) >= 0 {
		b.abort()
		return nil
	}
	b.points = points
	b.enter(phaseFreeze, 0)
	return nil
}

// unbias moves the key by what nobody could know while dealing.
func (b *board) unbias(randomness digest) {
	by := curve.base(delta(b.transcript, b.finding.root, randomness))
	for j := range b.points {
		b.points[j] = b.points[j].plus(by)
	}
	_, b.result = encode(b.points)
	if b.points[0].identity() {
		b.abort()
		return
	}
	b.enter(phaseConfirm, b.confirm)
}

func (b *board) takeConfirm(from int, m *confirmation) error {
	s := b.seats[from]
	switch {
	case b.phase != phaseConfirm:
		return errPhase
	case !s.joined:
		return errSender
	case s.confirmed != nil:
		return errTwice
	}
	s.confirmed = m
	if !slices.ContainsFunc(b.joined, func(i int) bool { return b.seats[i].confirmed == nil }) {
		b.endConfirm()
	}
	return nil
}

func (b *board) endConfirm() {
	var who []int
	var keys []element
	var attestations [][]byte
	for _, i := range b.joined {
		switch c := b.seats[i].confirmed; {
		case c == nil:
			b.blame(i, absentConfirm)
		case c.result != b.result:
			b.blame(i, dissent)
		default:
			who, keys, attestations = append(who, i), append(keys, b.points[i]), append(attestations, c.attestation)
		}
	}
	bad := curve.attested(keys, h(prefix+"/confirm", b.id[:], b.result[:]), attestations)
	for k, i := range who {
		if slices.Contains(bad, k) {
			b.blame(i, badConfirm)
			continue
		}
		b.holders = append(b.holders, i)
	}
	if len(b.holders) < b.quorum() {
		b.abort()
		return
	}
	b.enter(phaseDone, 0)
}
