package dkg

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// boardVersion opens every encoded board.
const boardVersion = 2

// maxBoardFaults bounds the list: a dealer is excluded once, and a seat has
// few kinds of faults in a round.
const maxBoardFaults = wire.MaxParticipants + wire.MaxNodes*4*256

var errBoard = errors.New("not a board")

// Encode returns the canonical bytes that the ledger's state holds.
func (b *Board) Encode() []byte {
	var e wire.Encoder
	e.U8(boardVersion)
	e.Fixed(b.params.Encode())
	e.U8(uint8(b.phase))
	e.U64(b.deadline)
	e.U32(b.arming)
	e.U8(b.round)
	for i := range b.seats {
		b.seats[i].encode(&e)
	}
	e.Bytes([]byte(b.dealt))
	e.Path(b.order)
	e.Bytes([]byte(b.set))
	e.Bytes([]byte(b.excluded))
	e.Count(len(b.pending))
	for _, c := range b.pending {
		e.U16(c.dealer)
		e.U8(c.from)
		e.U32(c.key)
		e.Fixed(c.shared[:])
		e.Bytes(c.point)
		e.Fixed(c.ciphertext[:])
		e.Fixed(c.r[:])
		e.Fixed(c.encaps[:])
	}
	e.Fixed(b.sums[:])
	e.Fixed(b.delta[:])
	e.Fixed(b.result[:])
	e.Bytes(b.published)
	e.Bytes(b.weighted)
	e.Count(len(b.faults))
	for _, f := range b.faults {
		e.U16(f.Seat)
		e.U8(uint8(f.Kind))
		e.U8(f.Round)
	}
	return e.Out()
}

func (s *place) encode(e *wire.Encoder) {
	e.Bool(s.joined)
	e.Bool(s.blamed)
	e.Fixed(s.key[:])
	e.Fixed(s.hybrid[:])
	e.Fixed(s.join[:])
	e.Fixed(s.header[:])
	e.Fixed(s.r[:])
	e.Fixed(s.root[:])
	e.Fixed(s.encaps[:])
	e.Bytes(s.chunks)
	e.Bool(s.spoke)
	e.Bytes([]byte(s.faulty))
	e.Fixed(s.sums[:])
	e.Fixed(s.result[:])
	e.Bytes(s.attests)
	e.Bool(s.checked)
	e.Bool(s.holds)
}

// ParseBoard reads what Encode wrote.
func ParseBoard(raw []byte) (*Board, error) {
	d := wire.NewDecoder(raw)
	if d.U8() != boardVersion {
		d.Fail(errBoard)
	}
	p := readParams(d)
	if d.Err() == nil {
		d.Fail(p.Check())
	}
	if d.Err() != nil {
		return nil, fmt.Errorf("parse board: %w", d.Err())
	}
	b := &Board{params: p, cid: p.ID(), phase: Phase(d.U8()), deadline: d.U64(), arming: d.U32(), round: d.U8(), seats: make([]place, p.N)}
	most := p.mostDealers()
	if b.phase < PhaseJoin || b.phase > PhaseAborted {
		d.Fail(errBoard)
	}
	for i := range b.seats {
		b.seats[i].read(d, most)
	}
	if b.dealt = readDealers(d, most); !p.FromAssembly() && b.dealt != "" {
		d.Fail(errBoard)
	}
	b.order = d.Path(bits.OnesCount(uint(b.dealt.Len())))
	if len(b.order) != bits.OnesCount(uint(b.dealt.Len())) {
		d.Fail(errBoard)
	}
	b.set = readDealers(d, most)
	b.excluded = readDealers(d, most)
	for range d.Count(wire.MaxNodes*wire.MaxComplaints, 2+1+4+kem.PointSize+4+3*32) {
		c := claim{dealer: d.U16(), from: d.U8(), key: d.U32()}
		d.Fixed(c.shared[:])
		c.point = d.Bytes(maxPoint)
		d.Fixed(c.ciphertext[:])
		d.Fixed(c.r[:])
		d.Fixed(c.encaps[:])
		if c.dealer < 1 || int(c.dealer) > most || !p.seats().Has(int(c.from)) {
			d.Fail(errSeat)
		}
		b.pending = append(b.pending, c)
	}
	d.Fixed(b.sums[:])
	d.Fixed(b.delta[:])
	d.Fixed(b.result[:])
	b.published = d.Bytes((wire.MaxKeysPerBatch + 7) / 8)
	b.weighted = d.Bytes(maxPoint * wire.MaxNodes)
	for range d.Count(maxBoardFaults, 4) {
		f := Fault{Seat: d.U16(), Kind: FaultKind(d.U8()), Round: d.U8()}
		if f.Seat < 1 || int(f.Seat) > most || !f.Kind.OfDealer() && !p.seats().Has(int(f.Seat)) {
			d.Fail(errSeat)
		}
		b.faults = append(b.faults, f)
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse board: %w", err)
	}
	return b, nil
}

func (s *place) read(d *wire.Decoder, dealers int) {
	s.joined = d.Bool()
	s.blamed = d.Bool()
	d.Fixed(s.key[:])
	d.Fixed(s.hybrid[:])
	d.Fixed(s.join[:])
	d.Fixed(s.header[:])
	d.Fixed(s.r[:])
	d.Fixed(s.root[:])
	d.Fixed(s.encaps[:])
	s.chunks = d.Bytes((wire.MaxKeysPerBatch + 7) / 8)
	s.spoke = d.Bool()
	s.faulty = readDealers(d, dealers)
	d.Fixed(s.sums[:])
	d.Fixed(s.result[:])
	s.attests = d.Bytes(maxAttestation)
	s.checked = d.Bool()
	s.holds = d.Bool()
}
