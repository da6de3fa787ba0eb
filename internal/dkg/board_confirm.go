package dkg

import (
	"slices"

	"github.com/quorate/quorate/internal/wire"
)

// This file takes a ceremony from the frozen QUAL to a key that n-f seats hold.

func (b *Board) takeConfirm(now uint64, from int, m *Confirm) error {
	s := b.at(from)
	switch {
	case b.phase != PhaseConfirm && b.phase != PhasePublish && b.phase != PhaseDone:
		return ErrPhase
	case !b.receivers().Has(from):
		return ErrSender
	case s.attests != nil:
		return ErrDuplicate
	case len(m.Attestation) == 0:
		return ErrShape
	}
	s.result, s.attests = m.Result, m.Attestation
	switch b.phase {
	case PhaseConfirm:
		same := b.which(func(o *place) bool { return o.attests != nil && o.result == m.Result })
		if same.Len() >= b.params.quorum() {
			b.publish(now, m.Result)
		}
	case PhasePublish:
		b.compare(from)
		b.settle()
	case PhaseDone:
		b.compare(from)
		b.hold()
	}
	return nil
}

// publish fixes the result that n-f seats computed alike.
func (b *Board) publish(now uint64, result [32]byte) {
	b.result = result
	for i := range b.Joined().All() {
		b.compare(i)
	}
	b.enter(PhasePublish, now, b.params.Deadlines.Publish)
}

// compare blames a seat that confirmed another result than the agreed one,
// which follows from public data.
func (b *Board) compare(i int) {
	if s := b.at(i); s.attests != nil && s.result != b.result {
		b.blame(i, Dissent)
	}
}

func (b *Board) takeResult(now uint64, m *Chunk) error {
	shape := b.params.result()
	switch {
	case b.phase != PhasePublish:
		return ErrPhase
	case hasBit(b.published, int(m.Index)):
		return ErrDuplicate
	case !shape.check(b.result, int(m.Index), m.Path, m.Body):
		return ErrShape
	}
	lo, _ := shape.span(int(m.Index))
	weighted, err := b.params.Suite.arithmetic().weigh(b.weighted, m.Body, int(b.params.T), b.weights(lo))
	if err != nil {
		// n-f seats agreed on this root, so that it takes more than f liars.
		b.abort()
		return nil
	}
	b.weighted = weighted
	b.published = withBit(b.published, int(m.Index), shape.chunks())
	b.store(chunkName(b.result, int(m.Index)))
	b.settle()
	return nil
}

// weights returns the public 128-bit weight of each key, from key lo on, in
// the sum that confirmations are about. They depend on the whole result, so
// that nobody could choose a share to cancel another.
func (b *Board) weights(lo int) func(k int) [16]byte {
	return confirmWeights(b.cid, b.result, lo)
}

func confirmWeights(cid, result [32]byte, lo int) func(k int) [16]byte {
	return func(k int) [16]byte {
		h := wire.Hash(wire.TagBatchWeight, cid[:], result[:], be32(lo+k))
		return [16]byte(h[:16])
	}
}

// settle verifies confirmations once the whole result is there, and is done
// when n-f of them hold.
func (b *Board) settle() {
	chunks := b.params.result().chunks()
	if countBits(b.published, chunks) < chunks {
		return
	}
	b.hold()
	if b.Holders().Len() >= b.params.quorum() {
		b.enter(PhaseDone, 0, 0)
		b.safe(0)
	}
}

// hold verifies the confirmations of the agreed result that nobody has looked
// at yet, together: apart, they would be most of what a small ceremony costs
// the ledger.
func (b *Board) hold() {
	var seats []int
	var attestations [][]byte
	for i := range b.seats {
		if s := &b.seats[i]; s.attests != nil && !s.checked && s.result == b.result {
			s.checked = true
			seats, attestations = append(seats, i+1), append(attestations, s.attests)
		}
	}
	if len(seats) == 0 {
		return
	}
	before := b.Holders().Len()
	bad := b.params.Suite.arithmetic().attested(b.weighted, int(b.params.T), seats, attestMessage(b.cid, b.result), attestations)
	for _, i := range seats {
		if slices.Contains(bad, i) {
			b.blame(i, BadConfirm)
			continue
		}
		b.at(i).holds = true
		b.events = append(b.events, Event{Kind: EventConfirmed, Seat: uint8(i)})
	}
	b.safe(before)
}

// safe tells when a confirmation made the key safe to deposit to.
func (b *Board) safe(before int) {
	need := int(b.params.T) + b.params.faults()
	if b.DepositSafe() && before < need {
		b.events = append(b.events, Event{Kind: EventDepositSafe})
	}
}

// attestMessage is what every confirmation of a result signs alike, so that t
// of them interpolate to one signature under the weighted sum of the keys.
func attestMessage(cid, result [32]byte) []byte {
	m := wire.Hash(wire.TagConfirm, cid[:], result[:])
	return m[:]
}

func be16(v int) []byte { return []byte{byte(v >> 8), byte(v)} }
func be32(v int) []byte { return []byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)} }
