package assembly

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// Message is one of the types below. Who posts it is not in it; the ceremony
// id is, so that a message of another session is refused wherever it comes from.
type Message interface {
	Encode() []byte
	ceremony() [32]byte
}

// Kinds of messages; numbers are never used again.
const (
	kindJoin byte = iota + 1
	kindHeader
	kindDealing
	kindReport
	kindOpening
	kindPosting
	kindVote
	kindSums
	kindConfirm
)

const (
	pointSize       = bls.PublicKeySize
	scalarSize      = bls.ScalarSize
	attestationSize = bls.SignatureSize
	leafSize        = pointSize + scalarSize // of a dealing: V_i, ciphertext_i
	knowledgeSize   = pointSize + scalarSize
)

// Join brings a participant's keys for this ceremony alone.
type Join struct {
	CID [32]byte
	kem.Keys
}

// Header opens a dealing. The proof of rho covers all of it.
type Header struct {
	CID       [32]byte
	Constant  [pointSize]byte     // V_0
	R         kem.PublicKey       // ρ·B
	Knowledge [knowledgeSize]byte // of f(0)
	Root      digest              // of the tree whose leaf i-1 is V_i, ciphertext_i
	Mail      digest              // hybrid: root over the X-Wing ciphertexts, in order of who joined
	Rho       kem.Proof
}

// Chunk carries leaves of the poster's dealing or, with Sums, of the points
// Y_0, …, Y_n over QUAL, which anyone may post.
type Chunk struct {
	CID   [32]byte
	Sums  bool
	Index uint8
	Path  []digest
	Body  []byte
}

// Report is what a participant found in the dealings.
type Report struct {
	CID         [32]byte
	Transcript  [32]byte
	Accusations []Accusation // about dealers of its own cohort, for anyone to check
	Complaints  []Complaint  // about what it alone could decrypt
	Withheld    []uint16     // hybrid: dealers whose ciphertext did not come
}

// Accusation names a fault that anyone can see: at 1, …, n a false point, at 0
// too high a degree.
type Accusation struct {
	Dealer, At uint16
}

// Complaint opens what a dealer sent to the poster.
type Complaint struct {
	Dealer uint16
	Shared kem.Shared // K_i
	Proof  kem.Proof  // that it is
	Leaf   [leafSize]byte
	Path   []digest
}

// Opening opens the hybrid leg to one participant that complained.
type Opening struct {
	CID       [32]byte
	Recipient uint16
	Coins     [kem.CoinsSize]byte
	Path      []digest
}

// Posting puts on the ledger a ciphertext that did not come.
type Posting struct {
	CID       [32]byte
	Recipient uint16
	Letter
}

// Letter is the X-Wing ciphertext that a dealer sends to one participant off
// the ledger, with its path to Header.Mail.
type Letter struct {
	Ciphertext []byte
	Path       []digest
}

// Vote is a participant's word that it replayed everything public.
type Vote struct {
	CID        [32]byte
	Transcript [32]byte
	Faulty     []uint16 // dealers that anyone can see to be faulty
	Liars      []uint16 // participants whose accusations are false
	Sums       digest   // root over Y_0, …, Y_n of the other dealers
}

// Confirm says that the poster holds its share of the result.
type Confirm struct {
	CID         [32]byte
	Result      digest
	Attestation [attestationSize]byte
}

var (
	errKind  = errors.New("unknown kind of ceremony message")
	errSeat  = errors.New("no such participant")
	errOrder = errors.New("a list is not in ascending order")
)

// ParseMessage reads a message and checks its shape without any state.
func ParseMessage(b []byte) (Message, error) {
	d := wire.NewDecoder(b)
	kind := d.U8()
	var cid [32]byte
	d.Fixed(cid[:])
	var m Message
	switch kind {
	case kindJoin:
		m = &Join{CID: cid, Keys: kem.ReadKeys(d)}
	case kindHeader:
		m = readHeader(d, cid)
	case kindDealing, kindSums:
		m = &Chunk{CID: cid, Sums: kind == kindSums, Index: d.U8(), Path: d.Path(maxPath), Body: d.Bytes(wire.MaxChunk)}
	case kindReport:
		m = readReport(d, cid)
	case kindOpening:
		o := &Opening{CID: cid, Recipient: d.U16()}
		d.Fixed(o.Coins[:])
		o.Path = d.Path(maxPath)
		m = o
	case kindPosting:
		o := &Posting{CID: cid, Recipient: d.U16(), Letter: Letter{Ciphertext: make([]byte, kem.CiphertextSize)}}
		d.Fixed(o.Ciphertext)
		o.Path = d.Path(maxPath)
		m = o
	case kindVote:
		v := &Vote{CID: cid}
		d.Fixed(v.Transcript[:])
		v.Faulty, v.Liars = readSeats(d, wire.MaxDealers), readSeats(d, wire.MaxParticipants)
		d.Fixed(v.Sums[:])
		m = v
	case kindConfirm:
		c := &Confirm{CID: cid}
		d.Fixed(c.Result[:])
		d.Fixed(c.Attestation[:])
		m = c
	default:
		d.Fail(errKind)
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse ceremony message: %w", err)
	}
	return m, nil
}

func (m *Join) Encode() []byte {
	e := wire.NewMessage(kindJoin, m.CID)
	m.Keys.Encode(e)
	return e.Out()
}

func (m *Header) Encode() []byte {
	e := wire.NewMessage(kindHeader, m.CID)
	e.Fixed(m.fields())
	return e.Out()
}

func (m *Header) fields() []byte {
	var e wire.Encoder
	e.Fixed(m.statement())
	e.Fixed(m.Rho[:])
	return e.Out()
}

// statement is what the proof of rho covers.
func (m *Header) statement() []byte {
	var e wire.Encoder
	e.Fixed(m.Constant[:])
	e.Fixed(m.R.Bytes())
	e.Fixed(m.Knowledge[:])
	e.Fixed(m.Root[:])
	e.Fixed(m.Mail[:])
	return e.Out()
}

func readHeader(d *wire.Decoder, cid [32]byte) *Header {
	m := &Header{CID: cid}
	d.Fixed(m.Constant[:])
	m.R = kem.ReadPublicKey(d)
	d.Fixed(m.Knowledge[:])
	d.Fixed(m.Root[:])
	d.Fixed(m.Mail[:])
	d.Fixed(m.Rho[:])
	return m
}

func (m *Chunk) Encode() []byte {
	kind := kindDealing
	if m.Sums {
		kind = kindSums
	}
	e := wire.NewMessage(kind, m.CID)
	e.U8(m.Index)
	e.Path(m.Path)
	e.Bytes(m.Body)
	return e.Out()
}

func (m *Report) Encode() []byte {
	e := wire.NewMessage(kindReport, m.CID)
	e.Fixed(m.Transcript[:])
	e.Count(len(m.Accusations))
	for _, a := range m.Accusations {
		e.U16(a.Dealer)
		e.U16(a.At)
	}
	e.Count(len(m.Complaints))
	for i := range m.Complaints {
		c := &m.Complaints[i]
		e.U16(c.Dealer)
		e.Fixed(c.Shared[:])
		e.Fixed(c.Proof[:])
		e.Fixed(c.Leaf[:])
		e.Path(c.Path)
	}
	writeSeats(e, m.Withheld)
	return e.Out()
}

func readReport(d *wire.Decoder, cid [32]byte) *Report {
	m := &Report{CID: cid}
	d.Fixed(m.Transcript[:])
	last := -1
	ascending := func(v uint16) {
		if int(v) <= last {
			d.Fail(errOrder)
		}
		last = int(v)
	}
	for range d.Count(wire.MaxDealers, 4) {
		a := Accusation{Dealer: d.U16(), At: d.U16()}
		ascending(a.Dealer)
		m.Accusations = append(m.Accusations, a)
	}
	last = -1
	for range d.Count(wire.MaxDealers, 2+kem.PointSize+kem.ProofSize+leafSize) {
		c := Complaint{Dealer: d.U16()}
		ascending(c.Dealer)
		d.Fixed(c.Shared[:])
		d.Fixed(c.Proof[:])
		d.Fixed(c.Leaf[:])
		c.Path = d.Path(maxPath)
		m.Complaints = append(m.Complaints, c)
	}
	m.Withheld = readSeats(d, wire.MaxDealers)
	return m
}

func (m *Opening) Encode() []byte {
	e := wire.NewMessage(kindOpening, m.CID)
	e.U16(m.Recipient)
	e.Fixed(m.Coins[:])
	e.Path(m.Path)
	return e.Out()
}

func (m *Posting) Encode() []byte {
	e := wire.NewMessage(kindPosting, m.CID)
	e.U16(m.Recipient)
	e.Fixed(m.Ciphertext)
	e.Path(m.Path)
	return e.Out()
}

func (m *Vote) Encode() []byte {
	e := wire.NewMessage(kindVote, m.CID)
	e.Fixed(m.Transcript[:])
	writeSeats(e, m.Faulty)
	writeSeats(e, m.Liars)
	e.Fixed(m.Sums[:])
	return e.Out()
}

func (m *Confirm) Encode() []byte {
	e := wire.NewMessage(kindConfirm, m.CID)
	e.Fixed(m.Result[:])
	e.Fixed(m.Attestation[:])
	return e.Out()
}

func writeSeats(e *wire.Encoder, seats []uint16) {
	e.Count(len(seats))
	for _, s := range seats {
		e.U16(s)
	}
}

// readSeats reads seats in ascending order.
func readSeats(d *wire.Decoder, most int) (seats []uint16) {
	for range d.Count(most, 2) {
		s := d.U16()
		if s == 0 || len(seats) > 0 && s <= seats[len(seats)-1] {
			d.Fail(errOrder)
		}
		seats = append(seats, s)
	}
	return seats
}

func (m *Join) ceremony() [32]byte    { return m.CID }
func (m *Header) ceremony() [32]byte  { return m.CID }
func (m *Chunk) ceremony() [32]byte   { return m.CID }
func (m *Report) ceremony() [32]byte  { return m.CID }
func (m *Opening) ceremony() [32]byte { return m.CID }
func (m *Posting) ceremony() [32]byte { return m.CID }
func (m *Vote) ceremony() [32]byte    { return m.CID }
func (m *Confirm) ceremony() [32]byte { return m.CID }
