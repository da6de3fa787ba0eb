package assembly

import (
	"bytes"
	"slices"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/wire"
)

// This file takes a ceremony from the votes to a key that n-f participants hold.

// takeVote freezes the key once n-f participants replayed to the same end. A
// corrupt cohort would let its own bad dealer pass, so that reports alone
// decide nothing.
func (b *Board) takeVote(from int, m *Vote) error {
	s := b.at(from)
	switch {
	case b.phase != PhaseReplay:
		return ErrPhase
	case !s.joined:
		return ErrSender
	case s.voted != [32]byte{}:
		return ErrDuplicate
	case m.Transcript != b.transcript:
		return ErrShape
	}
	s.voted = wire.Hash(wire.TagAssemblyVote, m.Encode())
	same := b.which(func(o *place) bool { return o.voted == s.voted })
	if len(same) < b.params.quorum() {
		return nil
	}
	b.agreed = m
	for _, i := range b.which(func(o *place) bool { return o.voted != [32]byte{} && o.voted != s.voted }) {
		b.blame(i, dkg.Dissent)
	}
	for _, d := range m.Faulty {
		if slices.Contains(b.set, int(d)) {
			b.exclude(int(d), dkg.BadDealing)
		}
	}
	for _, i := range m.Liars {
		if int(i) <= int(b.params.N) {
			b.blame(int(i), dkg.Dissent)
		}
	}
	b.set = slices.DeleteFunc(b.set, func(d int) bool { return b.excluded.Has(d) })
	b.transcript = transcript(b.roster, b.set, b.header)
	if len(b.set) < b.params.minDealers() {
		b.abort()
		return nil
	}
	leaves := int(b.params.N) + 1
	b.sums, b.have = make([]byte, leaves*pointSize), newSeats(chunks(leaves))
	b.enter(PhasePublish, b.params.Deadlines.Replay)
	return nil
}

// endReplay names who is missing where fewer than n-f voted alike. Otherwise
// nobody waits for the others' votes, and those who are late are not absent.
func (b *Board) endReplay() {
	for _, i := range b.joined {
		if b.at(i).voted == [32]byte{} {
			b.blame(i, dkg.AbsentReplay)
		}
	}
	b.abort()
}

func (b *Board) takeSums(from int, m *Chunk) error {
	leaves := int(b.params.N) + 1
	switch {
	case b.phase != PhasePublish:
		return ErrPhase
	case !b.at(from).joined:
		return ErrSender
	case b.have.Has(int(m.Index) + 1):
		return ErrDuplicate
	case !m.fits(b.agreed.Sums, leaves, pointSize):
		return ErrShape
	}
	copy(b.sums[int(m.Index)*chunkLeaves*pointSize:], m.Body)
	b.have.add(int(m.Index) + 1)
	if len(b.have.List()) < chunks(leaves) {
		return nil
	}
	points, good := b.sumPoints()
	if !good || slices.ContainsFunc(points, func(p bls.G1Point) bool { return g1.IsIdentity(&p) }) {
		b.abort() // n-f agreed on this root, so that it takes more than f liars
		return nil
	}
	b.points = points
	b.enter(PhaseFreeze, 0)
	return nil
}

// sumPoints returns the points of the sums, and whether all are of the subgroup:
// those of an own finding are, if it came to the same.
func (b *Board) sumPoints() ([]bls.G1Point, bool) {
	if f := b.finding; f != nil && f.root == b.agreed.Sums {
		return slices.Clone(f.points), true
	}
	points := make([]bls.G1Point, int(b.params.N)+1)
	at := readPoints(points, func(j int) []byte { return b.sums[j*pointSize : (j+1)*pointSize] })
	return points, at < 0 && len(g1.Outside(points)) == 0
}

// unbias shifts the key by what nobody could know while dealing.
func (b *Board) unbias(random [32]byte) {
	b.block = random
	d := delta(b.transcript, b.agreed.Sums, random)
	shift(b.points, &d, g1.AddPoint)
	_, b.result = rootOf(b.points)
	if g1.IsIdentity(&b.points[0]) {
		b.abort()
		return
	}
	b.enter(PhaseConfirm, b.params.Deadlines.Confirm)
}

func delta(transcript [32]byte, sums digest, random [32]byte) (d bls.G1Scalar) {
	wide := wire.HashWide(wire.TagAssemblyUnbias, transcript[:], sums[:], random[:])
	g1.SetWide(&d, &wide)
	return d
}

func (b *Board) takeConfirm(from int, m *Confirm) error {
	s := b.at(from)
	switch {
	case b.phase != PhaseConfirm:
		return ErrPhase
	case !s.joined:
		return ErrSender
	case s.confirm != nil:
		return ErrDuplicate
	}
	s.confirm = m
	if len(b.which(func(s *place) bool { return s.joined && s.confirm == nil })) == 0 {
		b.endConfirm()
	}
	return nil
}

// attestMessage is what every confirmation signs alike, so that t of them
// interpolate to one signature under the key.
func attestMessage(cid [32]byte, result digest) []byte {
	m := wire.Hash(wire.TagAssemblyConfirm, cid[:], result[:])
	return m[:]
}

// endConfirm verifies all confirmations together.
func (b *Board) endConfirm() {
	var seats []int
	var points []bls.G1Point
	var attestations [][]byte
	for _, i := range b.joined {
		switch c := b.at(i).confirm; {
		case c == nil:
			b.blame(i, dkg.AbsentConfirm)
		case !bytes.Equal(c.Result[:], b.result[:]):
			b.blame(i, dkg.Dissent)
		default:
			seats, points, attestations = append(seats, i), append(points, b.points[i]), append(attestations, c.Attestation[:])
		}
	}
	bad := g1.VerifyAttestations(points, attestMessage(b.cid, b.result), attestations)
	b.holders = newSeats(int(b.params.N))
	for k, i := range seats {
		if len(bad) > 0 && bad[0] == k {
			bad = bad[1:]
			b.blame(i, dkg.BadConfirm)
			continue
		}
		b.holders.add(i)
	}
	if len(b.holders.List()) < b.params.quorum() {
		b.abort()
		return
	}
	b.enter(PhaseDone, 0)
}
