package action

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// Assembly asks for a ceremony among participants that are not nodes.
type Assembly struct {
	Params   []byte // as package dkg/assembly encodes them; they name the participants' keys
	Purpose  string
	Seats    [32]byte // hash of the list of participants, see [Participants]
	Software string   // the oldest version that may take part; "" is any
}

func (a *Assembly) encode(e *wire.Encoder) {
	e.Bytes(a.Params)
	e.String(a.Purpose)
	e.Fixed(a.Seats[:])
	e.String(a.Software)
}

func decodeAssembly(d *wire.Decoder) Assembly {
	a := Assembly{Params: d.Bytes(maxParams), Purpose: d.String(wire.MaxName)}
	d.Fixed(a.Seats[:])
	a.Software = d.String(wire.MaxName)
	return a
}

// Participant is who may take a seat of such a ceremony.
type Participant struct {
	Name   string
	Region string
	Member string // whose enrolled credential the key is; "" where nobody vouches for it
	Key    ident.PublicKey
}

// EncodeTo appends the participant.
func (p *Participant) EncodeTo(e *wire.Encoder) {
	for _, s := range [...]string{p.Name, p.Region, p.Member} {
		e.String(s)
	}
	e.Bytes(p.Key.Bytes())
}

// DecodeParticipant reads what EncodeTo wrote.
func DecodeParticipant(d *wire.Decoder) (p Participant) {
	for _, s := range [...]*string{&p.Name, &p.Region, &p.Member} {
		*s = d.String(wire.MaxName)
	}
	raw := d.Bytes(wire.MaxSealedKey)
	if d.Err() == nil {
		var err error
		p.Key, err = ident.ParsePublicKey(raw)
		d.Fail(err)
	}
	return p
}

// Participants are those of seats 1, …, n.
type Participants []Participant

// Encode returns the canonical bytes.
func (ps Participants) Encode() []byte {
	var e wire.Encoder
	e.U8(recordVersion)
	e.Count(len(ps))
	for i := range ps {
		ps[i].EncodeTo(&e)
	}
	return e.Out()
}

// Hash is what an action says of the list.
func (ps Participants) Hash() [32]byte { return wire.Hash(wire.TagParticipants, ps.Encode()) }

// ParseParticipants reads a list and checks all that can be known of it alone.
func ParseParticipants(b []byte) (ps Participants, err error) {
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != recordVersion {
		d.Fail(fmt.Errorf("version %d", v))
	}
	for range d.Count(wire.MaxParticipants, 4*4) {
		ps = append(ps, DecodeParticipant(d))
		if d.Err() != nil {
			break
		}
	}
	if err = d.Finish(); err == nil {
		err = ps.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("parse list of participants: %w", err)
	}
	return ps, nil
}

// Check says what is wrong with a list that somebody wrote. A key that sits
// twice would count for two.
func (ps Participants) Check() error {
	names, keys := map[string]int{}, map[string]int{}
	for i, p := range ps {
		seat := i + 1
		err := errors.Join(CheckName("name", p.Name), CheckName("region", p.Region))
		if p.Member != "" {
			err = errors.Join(err, CheckName("member", p.Member))
		}
		if p.Key.Ed25519() == nil {
			err = errors.Join(err, errors.New("needs an Ed25519 or hybrid key: passkeys and SSH keys cannot sign on an air-gapped machine"))
		}
		if err != nil {
			return fmt.Errorf("seat %d: %w", seat, err)
		}
		key := string(p.Key.Bytes())
		if other := cmp.Or(names[p.Name], keys[key]); other != 0 {
			return fmt.Errorf("seats %d and %d have the same name or key", other, seat)
		}
		names[p.Name], keys[key] = seat, seat
	}
	return nil
}

// AssemblyRecord is what the ledger holds, and proves, of such a ceremony. The
// log lies beside the tree: whoever follows it to Link knows that it is whole.
type AssemblyRecord struct {
	Assembly
	Owner, By string // operator that asked for it, and who
	Height    uint64 // at which it opened
	Opened    uint64 // milliseconds of block time
	Entries   uint64
	Link      [32]byte // after the last entry
	Last      uint64   // height of the last entry
	Phase     uint8
	Deadline  uint64 // milliseconds of block time; 0: none
	Faults    uint32 // that the board names
	Seals     uint16 // participants that sealed the link
	Sealed    bool   // enough of them
	PublicKey []byte // once it is done
}

// Encode returns the record's canonical bytes.
func (r *AssemblyRecord) Encode() []byte {
	var e wire.Encoder
	e.U8(recordVersion)
	r.Assembly.encode(&e)
	e.String(r.Owner)
	e.String(r.By)
	for _, v := range [...]uint64{r.Height, r.Opened, r.Entries, r.Last, r.Deadline} {
		e.U64(v)
	}
	e.Fixed(r.Link[:])
	e.U8(r.Phase)
	e.U32(r.Faults)
	e.U16(r.Seals)
	e.Bool(r.Sealed)
	e.Bytes(r.PublicKey)
	return e.Out()
}

// ParseAssemblyRecord reads what Encode returned.
func ParseAssemblyRecord(b []byte) (*AssemblyRecord, error) {
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != recordVersion {
		d.Fail(fmt.Errorf("version %d", v))
	}
	r := &AssemblyRecord{Assembly: decodeAssembly(d), Owner: d.String(wire.MaxName), By: d.String(2 * wire.MaxName)}
	for _, v := range [...]*uint64{&r.Height, &r.Opened, &r.Entries, &r.Last, &r.Deadline} {
		*v = d.U64()
	}
	d.Fixed(r.Link[:])
	r.Phase, r.Faults, r.Seals, r.Sealed = d.U8(), d.U32(), d.U16(), d.Bool()
	r.PublicKey = d.Bytes(CurveBLS12381G1.PublicKeySize())
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse record of an assembly: %w", err)
	}
	return r, nil
}
