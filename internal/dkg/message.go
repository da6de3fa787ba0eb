package dkg

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// Message is one of the types below. Who posts it is not in it: the ledger
// authenticates the seat. The ceremony id is, so that a message of another
// session is refused wherever it comes from.
type Message interface {
	Encode() []byte
	ceremony() [32]byte
}

// Kinds of messages; numbers are never used again.
const (
	kindJoin byte = iota + 1
	kindHeader
	kindChunk
	kindVerdict
	kindAnswer
	kindConfirm
	kindResult
	kindDealing
)

// Join brings a seat's keys for this ceremony alone.
type Join struct {
	CID [32]byte
	kem.Keys
}

// Header opens a dealing.
type Header struct {
	CID            [32]byte
	R              kem.PublicKey // ρ·B
	Rho            kem.Proof     // knowledge of ρ, over the whole header
	Knowledge      []byte        // knowledge of f_k(0) for every key k
	Root           [32]byte      // of the tree whose leaves are the keys' points and ciphertexts
	Encapsulations []byte        // hybrid only: one X-Wing ciphertext for each joined seat
}

// Chunk carries some leaves of the poster's dealing, or with Result of the
// ceremony's public result, which anyone may post.
type Chunk struct {
	CID    [32]byte
	Result bool
	Index  uint32
	Path   []digest
	Body   []byte
}

// Verdict is what a seat finds in the dealings of one round. Everything but
// the complaints follows from public data, so honest seats agree on it.
type Verdict struct {
	CID        [32]byte
	Transcript [32]byte // of the round's dealings
	Faulty     Dealers  // that anyone can see to be faulty
	Sums       [32]byte // root of the sums over the others' dealings
	Complaints []Complaint
}

// Complaint opens one ciphertext of the poster's, and with it all that the
// dealer sent to that seat.
//
// The board has the root of a seat's dealing, whose leaves are the keys'. Of
// what participants deal it has one root over all dealings: there the leaf is
// the whole dealing, and At its position.
type Complaint struct {
	Dealer uint16
	At     uint32
	Shared kem.Shared // K_i
	Proof  kem.Proof  // that it is
	Leaf   []byte
	Path   []digest
}

// Answer opens the hybrid leg to one seat that complained.
type Answer struct {
	CID       [32]byte
	Recipient uint8
	Coins     [kem.CoinsSize]byte
	HybridKey []byte   // of the recipient
	Path      []digest // of its ciphertext in the header
}

// Confirm says that the poster computed this result and holds its shares of
// every key in it.
type Confirm struct {
	CID         [32]byte
	Result      [32]byte
	Attestation []byte
}

const (
	maxPoint       = 48
	maxKnowledge   = maxPoint + 32
	maxAttestation = 96
	maxLeaf        = maxPoint*wire.MaxNodes + 32*wire.MaxNodes
	// maxDealing bounds a participant's dealing; the rest of its fields,
	// its path among them, stay below a kilobyte.
	maxDealing = maxLeaf + wire.MaxNodes*kem.CiphertextSize + 1<<10
)

var (
	errKind = errors.New("unknown kind of ceremony message")
	errSeat = errors.New("no such seat")
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
	case kindChunk, kindResult:
		m = readChunk(d, cid, kind == kindResult)
	case kindVerdict:
		m = readVerdict(d, cid)
	case kindDealing:
		m = readDealing(d, cid)
	case kindAnswer:
		m = readAnswer(d, cid)
	case kindConfirm:
		c := &Confirm{CID: cid}
		d.Fixed(c.Result[:])
		c.Attestation = d.Bytes(maxAttestation)
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
	e.Fixed(m.R.Bytes())
	e.Fixed(m.Rho[:])
	e.Bytes(m.Knowledge)
	e.Fixed(m.Root[:])
	e.Bytes(m.Encapsulations)
	return e.Out()
}

func readHeader(d *wire.Decoder, cid [32]byte) *Header {
	m := &Header{CID: cid, R: kem.ReadPublicKey(d)}
	d.Fixed(m.Rho[:])
	m.Knowledge = d.Bytes(maxKnowledge)
	d.Fixed(m.Root[:])
	m.Encapsulations = d.Bytes(wire.MaxNodes * kem.CiphertextSize)
	return m
}

// encapsulations returns the tree over the ciphertexts in a header.
func (m *Header) encapsulations() wire.Tree {
	return wire.CutTree(m.Encapsulations, kem.CiphertextSize)
}

// encapsRoot is what the board keeps of them: zeros where there are none.
func (p *Params) encapsRoot(m *Header) (root [32]byte) {
	if p.Hybrid {
		root = m.encapsulations().Root()
	}
	return root
}

func (m *Chunk) Encode() []byte {
	kind := kindChunk
	if m.Result {
		kind = kindResult
	}
	e := wire.NewMessage(kind, m.CID)
	e.U32(m.Index)
	e.Path(m.Path)
	e.Bytes(m.Body)
	return e.Out()
}

func readChunk(d *wire.Decoder, cid [32]byte, result bool) *Chunk {
	return &Chunk{CID: cid, Result: result, Index: d.U32(), Path: d.Path(maxPath), Body: d.Bytes(wire.MaxChunk)}
}

func (m *Verdict) Encode() []byte {
	e := wire.NewMessage(kindVerdict, m.CID)
	e.Fixed(m.Transcript[:])
	e.Bytes([]byte(m.Faulty))
	e.Fixed(m.Sums[:])
	e.Count(len(m.Complaints))
	for _, c := range m.Complaints {
		e.U16(c.Dealer)
		e.U32(c.At)
		e.Fixed(c.Shared[:])
		e.Fixed(c.Proof[:])
		e.Bytes(c.Leaf)
		e.Path(c.Path)
	}
	return e.Out()
}

func readVerdict(d *wire.Decoder, cid [32]byte) *Verdict {
	m := &Verdict{CID: cid}
	d.Fixed(m.Transcript[:])
	m.Faulty = readDealers(d, wire.MaxParticipants)
	d.Fixed(m.Sums[:])
	for range d.Count(wire.MaxComplaints, 2+4+kem.PointSize+kem.ProofSize+4+4) {
		c := Complaint{Dealer: d.U16(), At: d.U32()}
		d.Fixed(c.Shared[:])
		d.Fixed(c.Proof[:])
		c.Leaf = d.Bytes(maxDealing)
		c.Path = d.Path(maxPath)
		if n := len(m.Complaints); c.Dealer == 0 || n > 0 && c.Dealer <= m.Complaints[n-1].Dealer {
			d.Fail(errSeat)
			break
		}
		m.Complaints = append(m.Complaints, c)
	}
	return m
}

func (m *Answer) Encode() []byte {
	e := wire.NewMessage(kindAnswer, m.CID)
	e.U8(m.Recipient)
	e.Fixed(m.Coins[:])
	e.Fixed(m.HybridKey)
	e.Path(m.Path)
	return e.Out()
}

func readAnswer(d *wire.Decoder, cid [32]byte) *Answer {
	m := &Answer{CID: cid, Recipient: d.U8(), HybridKey: make([]byte, kem.HybridKeySize)}
	d.Fixed(m.Coins[:])
	d.Fixed(m.HybridKey)
	m.Path = d.Path(maxPath)
	return m
}

func (m *Confirm) Encode() []byte {
	e := wire.NewMessage(kindConfirm, m.CID)
	e.Fixed(m.Result[:])
	e.Bytes(m.Attestation)
	return e.Out()
}

func (m *Join) ceremony() [32]byte    { return m.CID }
func (m *Header) ceremony() [32]byte  { return m.CID }
func (m *Chunk) ceremony() [32]byte   { return m.CID }
func (m *Verdict) ceremony() [32]byte { return m.CID }
func (m *Answer) ceremony() [32]byte  { return m.CID }
func (m *Confirm) ceremony() [32]byte { return m.CID }
func (m *Dealing) ceremony() [32]byte { return m.CID }
