package action

import (
	"crypto/ed25519"
	"fmt"
	"math/bits"
	"slices"

	"github.com/quorate/quorate/internal/wire"
)

// Handover is what the ledger says of a reshare when it commits it. Seats are
// sets of bits; bit i is seat i.
type Handover struct {
	// Floor lies at or above every ceiling of the old holders.
	Floor Ceiling
	// Past lies at or above whatever was signed in sharings before the one
	// that was replaced. The old holders may not know of all of it.
	Past Ceiling
	// Held are the seats that had a share. None of them takes a further ceiling
	// before it has given up signing with it.
	Held uint32
	// Floored are the seats that sign slashable duties above the floor only:
	// those that were no holders before, and all, when the old and the new
	// holders could sign without an honest one in common.
	Floored uint32
	// Left are the seats that held a share and hold none from now on.
	Left uint32
}

const handoverVersion = 2 // 1 knew no stops

// Encode returns the record's canonical bytes.
func (h Handover) Encode() []byte {
	var e wire.Encoder
	e.U8(handoverVersion)
	h.Floor.encode(&e)
	h.Past.encode(&e)
	e.U32(h.Held)
	e.U32(h.Floored)
	e.U32(h.Left)
	return e.Out()
}

// ParseHandover reads what Encode returned.
func ParseHandover(b []byte) (h Handover, err error) {
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != handoverVersion {
		d.Fail(fmt.Errorf("version %d", v))
	}
	h.Floor, h.Past = readCeiling(d), readCeiling(d)
	h.Held, h.Floored, h.Left = d.U32(), d.U32(), d.U32()
	if err := d.Finish(); err != nil {
		return Handover{}, fmt.Errorf("parse hand-over: %w", err)
	}
	return h, nil
}

// StopsNeeded is how many of the old holders, of whom t together signed, have
// to say where they stopped. All but f of them speak the truth, and those that
// are left are one more than could miss in a quorum: whatever the old holders
// signed, one that did and says so is among them.
func (h Handover) StopsNeeded(t int) int {
	n := bits.OnesCount32(h.Held)
	return n - t + 1 + (n-1)/3
}

// FloorAt returns the floor of one key, given where old holders stopped with
// it: it is exact once so many have said so as are needed. What is needed is
// any so many of them, so that the lowest count, and a liar that names a mark
// far above the others' holds up nobody once they have all spoken.
func (h Handover) FloorAt(stopped []Ceiling, needed int) Ceiling {
	if needed < 1 || len(stopped) < needed {
		return h.Floor
	}
	nth := func(part func(Ceiling) uint64) uint64 {
		all := make([]uint64, len(stopped))
		for i, c := range stopped {
			all[i] = part(c)
		}
		slices.Sort(all)
		return all[needed-1]
	}
	exact := Ceiling{
		Slot:   nth(func(c Ceiling) uint64 { return c.Slot }),
		Source: nth(func(c Ceiling) uint64 { return c.Source }),
		Target: nth(func(c Ceiling) uint64 { return c.Target }),
	}
	return h.Floor.Min(h.Past.Max(exact))
}

// Stop is the word of an incarnation, for its seat, that it signs no more with
// the shares that a reshare replaced, and how far it went. The ledger keeps it
// if the incarnation is the present one.
type Stop struct {
	Incarnation [32]byte
	Marks       [32]byte                    // HashMarks of how far it went with each key
	Signature   [ed25519.SignatureSize]byte // by the key whose public half is the incarnation's id
}

// Message is what the incarnation signs.
func (s Stop) Message(cluster ClusterID, domain Domain, ceremony [32]byte, seat uint16) []byte {
	var e wire.Encoder
	e.Fixed(ceremony[:])
	e.U16(seat)
	e.Fixed(s.Incarnation[:])
	e.Fixed(s.Marks[:])
	h := wire.Hash(wire.TagStop, cluster[:], []byte(domain), e.Out())
	return h[:]
}

// Verify reports whether the incarnation that the stop names said so.
func (s Stop) Verify(cluster ClusterID, domain Domain, ceremony [32]byte, seat uint16) bool {
	return ed25519.Verify(s.Incarnation[:], s.Message(cluster, domain, ceremony, seat), s.Signature[:])
}

// Encode returns the record's canonical bytes.
func (s Stop) Encode() []byte {
	var e wire.Encoder
	e.U8(recordVersion)
	e.Fixed(s.Incarnation[:])
	e.Fixed(s.Marks[:])
	e.Fixed(s.Signature[:])
	return e.Out()
}

// ParseStop reads what Encode returned.
func ParseStop(b []byte) (s Stop, err error) {
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != recordVersion {
		d.Fail(fmt.Errorf("version %d", v))
	}
	d.Fixed(s.Incarnation[:])
	d.Fixed(s.Marks[:])
	d.Fixed(s.Signature[:])
	if err := d.Finish(); err != nil {
		return Stop{}, fmt.Errorf("parse stop: %w", err)
	}
	return s, nil
}

// EncodeMarks returns the canonical bytes of how far a holder went with each
// key of a ceremony, in the keys' order.
func EncodeMarks(marks []Ceiling) []byte {
	var e wire.Encoder
	e.Count(len(marks))
	for _, c := range marks {
		c.encode(&e)
	}
	return e.Out()
}

// ParseMarks reads what EncodeMarks returned.
func ParseMarks(b []byte) (marks []Ceiling, err error) {
	d := wire.NewDecoder(b)
	for range d.Count(wire.MaxKeysPerBatch, 24) {
		marks = append(marks, readCeiling(d))
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse marks: %w", err)
	}
	return marks, nil
}

// HashMarks names encoded marks.
func HashMarks(b []byte) [32]byte { return wire.Hash(wire.TagStopMarks, b) }
