package dkg

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// This file is a reshare in which the participants of an assembly deal and
// nodes receive. Whoever deals has no seat and does not join; what it deals is
// one message, of which the board keeps a bit and a place in a tree.

// Dealing is all that a participant deals: a header, and the one leaf that its
// root would be over.
type Dealing struct {
	CID            [32]byte
	Dealer         uint16        // number of the participant in its assembly
	R              kem.PublicKey // as in a Header
	Rho            kem.Proof
	Knowledge      []byte
	Encapsulations []byte
	Path           []digest // from V_0, the participant's Y_d, to the assembly's result
	Leaf           []byte   // t points, then one ciphertext for each receiver
}

func (m *Dealing) Encode() []byte {
	e := wire.NewMessage(kindDealing, m.CID)
	e.U16(m.Dealer)
	e.Fixed(m.R.Bytes())
	e.Fixed(m.Rho[:])
	e.Bytes(m.Knowledge)
	e.Bytes(m.Encapsulations)
	e.Path(m.Path)
	e.Bytes(m.Leaf)
	return e.Out()
}

func readDealing(d *wire.Decoder, cid [32]byte) *Dealing {
	m := &Dealing{CID: cid, Dealer: d.U16(), R: kem.ReadPublicKey(d)}
	d.Fixed(m.Rho[:])
	m.Knowledge = d.Bytes(maxKnowledge)
	m.Encapsulations = d.Bytes(wire.MaxNodes * kem.CiphertextSize)
	m.Path = d.Path(maxPath)
	m.Leaf = d.Bytes(maxLeaf)
	return m
}

// header returns what a seat would have posted ahead of the leaf.
func (m *Dealing) header() *Header {
	return &Header{CID: m.CID, R: m.R, Rho: m.Rho, Knowledge: m.Knowledge, Root: wire.LeafHash(m.Leaf), Encapsulations: m.Encapsulations}
}

// Reasons why a participant's dealing is refused.
var (
	ErrConstant = errors.New("it does not begin with this participant's share of the assembly's key")
	ErrRho      = errors.New("its proof does not hold")
)

// fits checks that a dealing to so many receivers begins with the dealer's
// share of the key, as the assembly's result has it, and the proof that ties
// everything in it together. What it says beyond that is for the receivers.
func (m *Dealing) fits(p *Params, cid, roster [32]byte, receivers Seats) error {
	switch {
	case m.CID != cid:
		return ErrCeremony
	case m.Dealer < 1 || m.Dealer > p.Old.N:
		return errSeat
	case !m.isFor(p, receivers):
		return ErrShape
	case !p.begins(int(m.Dealer), m.Leaf[:p.Suite.pointSize()], m.Path):
		return ErrConstant
	}
	if h := m.header(); !m.R.VerifyProof(m.Rho, wire.TagPoKRho, headerContext(cid, roster, int(m.Dealer), h)...) {
		return ErrRho
	}
	return nil
}

// isFor reports whether a dealing has the sizes of one to so many receivers.
func (m *Dealing) isFor(p *Params, receivers Seats) bool {
	hybrid := 0
	if p.Hybrid {
		hybrid = receivers.Len() * kem.CiphertextSize
	}
	return len(m.Leaf) == p.dealing(receivers).leaf && len(m.Knowledge) == p.knowledge() && len(m.Encapsulations) == hybrid
}

// begins reports whether V_0 is the Y of a participant.
func (p *Params) begins(dealer int, constant []byte, path []digest) bool {
	root, ok := wire.PathRoot(wire.LeafHash(constant), dealer, int(p.Old.N)+1, path)
	return ok && root == p.Expected
}

// ApplyDealer takes a message that the ledger knows to come from a participant
// of the assembly that hands its key over. One that is refused leaves no
// trace and blames nobody: the participant may say it again, better.
func (b *Board) ApplyDealer(now uint64, dealer int, m Message) (*Board, []Event, error) {
	if m.ceremony() != b.cid {
		return nil, nil, ErrCeremony
	}
	if !b.params.FromAssembly() || dealer < 1 || dealer > int(b.params.Old.N) {
		return nil, nil, fmt.Errorf("take message of participant %d: %w", dealer, errSeat)
	}
	next := b.clone()
	err := ErrSender
	switch m := m.(type) {
	case *Dealing:
		err = next.takeDealing(now, dealer, m)
	case *Answer:
		err = next.takeAnswer(now, dealer, m)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("take %T of participant %d: %w", m, dealer, err)
	}
	return next, next.flush(), nil
}

func (b *Board) takeDealing(now uint64, dealer int, m *Dealing) error {
	switch {
	case b.phase != PhaseDeal:
		return ErrPhase
	case int(m.Dealer) != dealer:
		return ErrSender
	case b.dealt.Has(dealer):
		return ErrDuplicate
	}
	if err := m.fits(&b.params, b.cid, b.roster(), b.receivers()); err != nil {
		return err
	}
	b.keepDealing(m)
	if b.dealt.Len() == int(b.params.Old.N) {
		b.beginRound(now, b.dealt)
	}
	return nil
}

func (b *Board) keepDealing(m *Dealing) {
	at := b.dealt.Len()
	b.dealt = b.dealt.With(int(m.Dealer))
	b.order = b.order.Append(at, wire.LeafHash(m.Encode()))
	b.store(dealingName(b.cid, at))
}

// dealingName names a participant's dealing by when it came: what is stored
// under it is held to the root over all of them.
func dealingName(cid [32]byte, at int) [32]byte {
	return wire.Hash(wire.TagBlob, cid[:], binary.BigEndian.AppendUint32(nil, uint32(at)))
}

// dealings names all that participants dealt, in the order in which it came.
func (b *Board) dealings() (names [][32]byte) {
	for at := range b.dealt.Len() {
		names = append(names, dealingName(b.cid, at))
	}
	return names
}

// Dealt returns the participants whose dealings the board has taken.
func (b *Board) Dealt() Dealers { return b.dealt }

// dealt is what participants dealt, and where.
type dealt struct {
	tree wire.Tree
	by   map[int]*Dealing
	at   map[int]int // position
	raw  map[int][]byte
}

// readDealt fetches it and checks it against the board.
func (b *Board) readDealt(src Source) (*dealt, error) {
	out := &dealt{by: map[int]*Dealing{}, at: map[int]int{}, raw: map[int][]byte{}}
	var leaves []digest
	for at, name := range b.dealings() {
		raw, err := src(name)
		if err != nil {
			return nil, fmt.Errorf("fetch dealing %d: %w", at, err)
		}
		parsed, err := ParseMessage(raw)
		m, ok := parsed.(*Dealing)
		if err != nil || !ok {
			return nil, fmt.Errorf("read dealing %d: %w", at, errBody)
		}
		d := int(m.Dealer)
		out.by[d], out.at[d], out.raw[d] = m, at, raw
		leaves = append(leaves, wire.LeafHash(raw))
	}
	if out.tree = wire.NewTree(leaves); len(leaves) == 0 || out.tree.Root() != b.order.Root() {
		return nil, fmt.Errorf("read %d dealings: %w", len(leaves), errBody)
	}
	return out, nil
}
