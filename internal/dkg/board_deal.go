package dkg

import (
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// This file takes a ceremony from its opening to a set of complete dealings.

func (b *Board) takeJoin(now uint64, from int, m *Join) error {
	s := b.at(from)
	switch {
	case b.phase != PhaseJoin:
		return ErrPhase
	case !b.params.Parties().Has(from):
		return ErrSender
	case s.joined || s.blamed:
		return ErrDuplicate
	case (len(m.HybridKey) > 0) != b.params.Hybrid:
		return ErrShape
	}
	if m.Key.VerifyProof(m.Possession, wire.TagPoP, joinContext(b.cid, from, m.HybridKey)...) {
		s.joined = true
		s.key = [kem.PointSize]byte(m.Key.Bytes())
		s.hybrid = hybridHash(m.HybridKey)
		s.join = blobName(m.Encode())
		b.store(s.join)
	} else {
		s.blamed = true
		b.blame(from, BadPossession)
	}
	if b.which(func(s *place) bool { return s.joined || s.blamed }) == b.params.Parties() {
		b.endJoin(now)
	}
	return nil
}

func joinContext(cid [32]byte, from int, hybridKey []byte) [][]byte {
	return [][]byte{cid[:], {byte(from)}, hybridKey}
}

func hybridHash(key []byte) [32]byte { return wire.Hash(wire.TagJoin, key) }

// endJoin goes on with n-f receivers and enough dealers. Who is absent gets no ciphertext; since
// commitments to its shares are made all the same, they can be repaired later.
func (b *Board) endJoin(now uint64) {
	for i := range b.params.Parties().All() {
		if s := b.at(i); !s.joined && !s.blamed {
			b.blame(i, AbsentJoin)
		}
	}
	if b.receivers().Len() < b.params.quorum() || !b.params.FromAssembly() && b.dealers().Len() < b.params.minDealers() {
		b.abort()
		return
	}
	b.enter(PhaseDeal, now, b.params.Deadlines.Deal)
}

func (b *Board) takeHeader(now uint64, from int, m *Header) error {
	s, hybrid := b.at(from), 0
	if b.params.Hybrid {
		hybrid = b.receivers().Len() * kem.CiphertextSize
	}
	switch {
	case b.phase != PhaseDeal:
		return ErrPhase
	case !b.dealers().Has(from):
		return ErrSender
	case len(m.Knowledge) != b.params.knowledge() || len(m.Encapsulations) != hybrid:
		return ErrShape
	}
	name := blobName(m.Encode())
	if b.excluded.Has(from) || s.header == name {
		return ErrDuplicate
	}
	switch {
	case s.header != [32]byte{}:
		b.exclude(from, Equivocation)
	case !m.R.VerifyProof(m.Rho, wire.TagPoKRho, headerContext(b.cid, b.roster(), from, m)...):
		// Whoever could post another's R would learn its shares from the
		// complaints against himself.
		b.exclude(from, BadHeader)
	default:
		s.header, s.root, s.r = name, m.Root, [kem.PointSize]byte(m.R.Bytes())
		s.encaps = b.params.encapsRoot(m)
		b.store(name)
	}
	b.move(now)
	return nil
}

// headerContext makes the proof of ρ a signature over the header.
func headerContext(cid, roster [32]byte, dealer int, m *Header) [][]byte {
	return [][]byte{cid[:], roster[:], be16(dealer), m.Knowledge, m.Root[:], m.Encapsulations}
}

func (b *Board) takeChunk(now uint64, from int, m *Chunk) error {
	s, shape := b.at(from), b.dealing()
	switch {
	case b.phase != PhaseDeal:
		return ErrPhase
	case s.header == [32]byte{} || b.excluded.Has(from):
		return ErrSender
	case hasBit(s.chunks, int(m.Index)):
		return ErrDuplicate
	case !shape.check(s.root, int(m.Index), m.Path, m.Body):
		return ErrShape
	}
	s.chunks = withBit(s.chunks, int(m.Index), shape.chunks())
	b.store(chunkName(s.root, int(m.Index)))
	b.move(now)
	return nil
}

// complete returns the dealers whose dealing is all there.
func (b *Board) complete() Dealers {
	if b.params.FromAssembly() {
		return b.dealt
	}
	chunks := b.dealing().chunks()
	return b.which(func(s *place) bool {
		return s.header != [32]byte{} && countBits(s.chunks, chunks) == chunks
	}).Dealers().Without(b.excluded)
}

// move ends the phase early when nobody is waited for.
func (b *Board) move(now uint64) {
	if b.dealers().Dealers().Without(b.complete().Union(b.excluded)) == "" {
		b.endDeal(now)
	}
}

// endDeal names the seats that are absent. Of an assembly anybody may be.
func (b *Board) endDeal(now uint64) {
	complete := b.complete()
	for i := range b.dealers().Dealers().Without(complete.Union(b.excluded)).All() {
		b.blame(i, AbsentDeal)
	}
	b.beginRound(now, complete)
}
