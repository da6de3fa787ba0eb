package custody

import (
	"crypto/ed25519"
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

// A process that ends in order says how far its record has come, and the
// other holders' processes remember it. When it starts again, f + 1 of them
// testify to it under keys that exist in their memory only. One of those is
// honest and was there at the end, so a record that has come exactly as far
// was not rolled back, and signing goes on without a fence: a clean restart or
// a rolling upgrade costs no duty. A closing vouches for one life only: each
// witness says it to the first that asks.

// Closing is a process's last word.
type Closing struct {
	Seat        uint16
	Number      uint64 // of the incarnation, by which closings have an order
	Incarnation [32]byte
	Sequence    uint64 // of the slashing record
	Chain       [32]byte
	Floor       action.Ceiling // that the process itself was under; zero: none
	Signature   []byte         // by the process's identity
}

func (c Closing) statement() []byte {
	var e wire.Encoder
	e.U16(c.Seat)
	e.U64(c.Number)
	e.Fixed(c.Incarnation[:])
	e.U64(c.Sequence)
	e.Fixed(c.Chain[:])
	e.U64(c.Floor.Slot)
	e.U64(c.Floor.Source)
	e.U64(c.Floor.Target)
	return e.Out()
}

// Encode returns the canonical bytes.
func (c Closing) Encode() []byte {
	e := wire.NewEncoder(c.statement())
	e.Bytes(c.Signature)
	return e.Out()
}

func readClosing(d *wire.Decoder) (c Closing) {
	c.Seat, c.Number = d.U16(), d.U64()
	d.Fixed(c.Incarnation[:])
	c.Sequence = d.U64()
	d.Fixed(c.Chain[:])
	c.Floor = action.Ceiling{Slot: d.U64(), Source: d.U64(), Target: d.U64()}
	c.Signature = d.Bytes(ident.MaxSignature)
	return c
}

// Testimony is what a witness says to the next incarnation of a process whose
// closing it remembers. The key that signs it is the witness's own
// incarnation id.
type Testimony struct {
	Witness   uint16
	Closing   Closing
	Signature [ed25519.SignatureSize]byte
}

func (p *Process) testimonyHash(c Closing, next [32]byte) []byte {
	h := wire.Hash(wire.TagTestimony, p.cluster[:], []byte(p.domain), c.statement(), next[:])
	return h[:]
}

// Encode returns the canonical bytes.
func (t Testimony) Encode() []byte {
	var e wire.Encoder
	e.U16(t.Witness)
	e.Bytes(t.Closing.Encode())
	e.Fixed(t.Signature[:])
	return e.Out()
}

// ParseTestimony reads what Encode returned.
func ParseTestimony(b []byte) (t Testimony, err error) {
	d := wire.NewDecoder(b)
	t.Witness = d.U16()
	inner := wire.NewDecoder(d.Bytes(8 << 10))
	t.Closing = readClosing(inner)
	d.Fixed(t.Signature[:])
	if err := d.Finish(); err != nil {
		return Testimony{}, fmt.Errorf("parse testimony: %w", err)
	}
	if err := inner.Finish(); err != nil {
		return Testimony{}, fmt.Errorf("parse testimony: %w", err)
	}
	return t, nil
}

// closeBook ends all signing by this process and says how far its record came.
func (p *Process) closeBook() ([]byte, error) {
	p.signing.Lock() // waits for what is being signed; nothing is signed after
	p.closed = true
	p.signing.Unlock()
	u, err := p.record.Usage(0)
	if err != nil {
		return nil, fmt.Errorf("close: %w", err)
	}
	number, floor, ok := p.life.fence()
	if !ok {
		return nil, rpc.Errorf(rpc.CodeFenced, "close: this process was not shown its registration, and cannot say what it was fenced off from")
	}
	c := Closing{Seat: p.seat.Index, Number: number, Incarnation: p.life.id, Sequence: u.Seq, Chain: u.Chain, Floor: floor}
	c.Signature = p.identity.Sign(wire.TagClosing, p.cluster[:], []byte(p.domain), c.statement())
	return c.Encode(), nil
}

// witness remembers another process's closing, in memory only.
func (p *Process) witness(body []byte) error {
	d := wire.NewDecoder(body)
	c := readClosing(d)
	if err := d.Finish(); err != nil {
		return malformed(err)
	}
	if int(c.Seat) < 1 || int(c.Seat) > len(p.roster) || c.Seat == p.seat.Index {
		return rpc.Errorf(rpc.CodeMalformed, "no other seat %d", c.Seat)
	}
	if err := p.roster[c.Seat-1].Identity.Verify(c.Signature, wire.TagClosing, p.cluster[:], []byte(p.domain), c.statement()); err != nil {
		return rpc.Errorf(rpc.CodeMalformed, "closing of seat %d: %v", c.Seat, err)
	}
	p.closings.Lock()
	defer p.closings.Unlock()
	switch last := p.seen[c.Seat].closing; {
	case last.Number == c.Number && last.Incarnation == c.Incarnation:
		return nil // known, and perhaps testified to: that does not begin anew
	case last.Number >= c.Number, last.Sequence > c.Sequence:
		return rpc.Errorf(rpc.CodeFenced, "seat %d has ended later than that", c.Seat) // an old one, repeated
	}
	p.seen[c.Seat] = ending{closing: c}
	return nil
}

// ending is a closing that this process witnessed, and whom it told of it.
type ending struct {
	closing Closing
	heir    [32]byte // the one incarnation that it was testified to; zero: none yet
}

// testify says to a new incarnation of a seat what closing it left, and to no
// other incarnation ever after. Nodes relay the question for the seat's own
// node only: whoever else asked first would use the word up.
func (p *Process) testify(body []byte) ([]byte, error) {
	d := wire.NewDecoder(body)
	seat := d.U16()
	var next [32]byte
	d.Fixed(next[:])
	if err := d.Finish(); err != nil {
		return nil, malformed(err)
	}
	p.closings.Lock()
	defer p.closings.Unlock()
	e, ok := p.seen[seat]
	switch {
	case !ok:
		return nil, rpc.Errorf(rpc.CodeNotGranted, "this process saw no closing of seat %d", seat)
	case next == [32]byte{}:
		return nil, rpc.Errorf(rpc.CodeMalformed, "no incarnation has the id zero")
	case e.heir != [32]byte{} && e.heir != next:
		return nil, rpc.Errorf(rpc.CodeNotGranted, "the last closing of seat %d was testified to incarnation %x already", seat, e.heir[:8])
	}
	e.heir = next
	p.seen[seat] = e
	return p.testimony(e.closing, next).Encode(), nil
}

func (p *Process) testimony(c Closing, next [32]byte) Testimony {
	t := Testimony{Witness: p.seat.Index, Closing: c}
	copy(t.Signature[:], p.life.sign(p.testimonyHash(c, next)))
	return t
}

// prove takes testimonies and a fresh certificate of the incarnations that
// they come from, and lifts the floor if they show that the record on this
// disk is the last.
func (p *Process) prove(body []byte) error {
	d := wire.NewDecoder(body)
	cert := d.Bytes(wire.MaxProof)
	var all []Testimony
	for range d.Count(wire.MaxNodes, 100) {
		t, err := ParseTestimony(d.Bytes(16 << 10))
		d.Fail(err)
		all = append(all, t)
	}
	if err := d.Finish(); err != nil {
		return malformed(err)
	}
	v, err := p.chain.verify(cert)
	if err != nil {
		return err
	}
	incarnation := func(seat action.Seat) (action.Incarnation, bool) {
		raw, ok := v.Get(p.chain.ns.Incarnation(seat.Node, string(p.domain)))
		if !ok {
			return action.Incarnation{}, false
		}
		in, err := action.ParseIncarnation(raw)
		return in, err == nil
	}
	own, ok := incarnation(p.seat)
	if !ok || own.ID != p.life.id {
		return rpc.Errorf(rpc.CodeNotGranted, "the certificate does not prove this incarnation")
	}
	if old := own.Before; own.RolledBack(p.life.opened) {
		return rpc.Errorf(rpc.CodeNotGranted, "the slashing record has %d entries, and %d were anchored in epoch %d: no testimony makes it the last", p.life.opened.Sequence, old.Sequence, old.Epoch)
	}
	witnesses := map[uint16]bool{}
	var floor action.Ceiling // the highest of those testified to: an honest witness's is the closing's own
	for _, t := range all {
		if int(t.Witness) < 1 || int(t.Witness) > len(p.roster) || t.Witness == p.seat.Index {
			continue
		}
		in, ok := incarnation(p.roster[t.Witness-1])
		if !ok || !ed25519.Verify(in.ID[:], p.testimonyHash(t.Closing, p.life.id), t.Signature[:]) {
			continue
		}
		c := t.Closing
		if c.Seat == p.seat.Index && c.Incarnation == own.Previous && c.Sequence == p.life.opened.Sequence && c.Chain == p.life.opened.Chain {
			witnesses[t.Witness] = true
			floor = floor.Max(c.Floor)
		}
	}
	if need := (len(p.roster)-1)/3 + 1; len(witnesses) < need {
		return rpc.Errorf(rpc.CodeNotGranted, "%d of %d testimonies fit this record, %d are needed", len(witnesses), len(all), need)
	}
	p.life.succeed(floor)
	p.log.Info("the record is proven to be the last; signing goes on where it ended", "witnesses", len(witnesses))
	return nil
}
