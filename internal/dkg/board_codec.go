package dkg

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// boardVersion opens every encoded board.
const boardVersion = 1

// maxBoardFaults bounds the list: every kind once a round for every seat.
const maxBoardFaults = wire.MaxNodes * wire.MaxNodes * 16

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
	e.U32(uint32(b.set))
	e.U32(uint32(b.excluded))
	e.Count(len(b.pending))
	for _, c := range b.pending {
		e.U8(c.dealer)
		e.U8(c.from)
		e.U32(c.key)
		e.Fixed(c.shared[:])
		e.Bytes(c.point)
		e.Fixed(c.ciphertext[:])
	}
	e.Fixed(b.sums[:])
	e.Fixed(b.delta[:])
	e.Fixed(b.result[:])
	e.Bytes(b.published)
	e.Bytes(b.weighted)
	e.Count(len(b.faults))
	for _, f := range b.faults {
		e.U8(f.Seat)
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
	e.U32(uint32(s.faulty))
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
	if b.phase < PhaseJoin || b.phase > PhaseAborted {
		d.Fail(errBoard)
	}
	for i := range b.seats {
		b.seats[i].read(d, p.seats())
	}
	b.set = readSeats(d, p.seats())
	b.excluded = readSeats(d, p.seats())
	for range d.Count(wire.MaxNodes*wire.MaxNodes, 1+1+4+kem.PointSize+4+32) {
		c := claim{dealer: d.U8(), from: d.U8(), key: d.U32()}
		d.Fixed(c.shared[:])
		c.point = d.Bytes(maxPoint)
		d.Fixed(c.ciphertext[:])
		if !p.seats().Has(int(c.dealer)) || !p.seats().Has(int(c.from)) {
			d.Fail(errSeat)
		}
		b.pending = append(b.pending, c)
	}
	d.Fixed(b.sums[:])
	d.Fixed(b.delta[:])
	d.Fixed(b.result[:])
	b.published = d.Bytes((wire.MaxKeysPerBatch + 7) / 8)
	b.weighted = d.Bytes(maxPoint * wire.MaxNodes)
	for range d.Count(maxBoardFaults, 3) {
		f := Fault{Seat: d.U8(), Kind: FaultKind(d.U8()), Round: d.U8()}
		if !p.seats().Has(int(f.Seat)) {
			d.Fail(errSeat)
		}
		b.faults = append(b.faults, f)
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse board: %w", err)
	}
	return b, nil
}

func (s *place) read(d *wire.Decoder, all Seats) {
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
	s.faulty = readSeats(d, all)
	d.Fixed(s.sums[:])
	d.Fixed(s.result[:])
	s.attests = d.Bytes(maxAttestation)
	s.checked = d.Bool()
	s.holds = d.Bool()
}
