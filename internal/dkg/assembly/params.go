package assembly

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/wire"
)

// Params is all that participants agree on beforehand. It is hashed into the
// ceremony id, which everything else is bound to.
type Params struct {
	Exercise bool // a rehearsal with throw-away keys
	Hybrid   bool // masks need X-Wing as well as Diffie-Hellman
	N, T     uint16
	Cohorts  uint16 // groups of participants, each of which checks its own dealers
	Dealers  uint16 // of each cohort; 0 where everybody deals, in one cohort

	Nonce     [32]byte
	Roster    [32]byte // of the identity keys, see [Roster]
	Deadlines Deadlines
}

// Deadlines are the longest durations of the phases, in milliseconds.
type Deadlines struct {
	Join, Deal, Verify, Answer, Replay, Confirm uint32
}

const paramsSize = 1 + 1 + 4*2 + 2*32 + 6*4

func (d *Deadlines) all() [6]*uint32 {
	return [...]*uint32{&d.Join, &d.Deal, &d.Verify, &d.Answer, &d.Replay, &d.Confirm}
}

// Encode returns the canonical bytes.
func (p Params) Encode() []byte {
	var e wire.Encoder
	e.Bool(p.Exercise)
	e.Bool(p.Hybrid)
	for _, v := range [...]uint16{p.N, p.T, p.Cohorts, p.Dealers} {
		e.U16(v)
	}
	e.Fixed(p.Nonce[:])
	e.Fixed(p.Roster[:])
	for _, v := range p.Deadlines.all() {
		e.U32(*v)
	}
	return e.Out()
}

// ParseParams reads what Encode wrote, and checks it.
func ParseParams(b []byte) (Params, error) {
	d := wire.NewDecoder(b)
	p := readParams(d)
	if err := d.Finish(); err != nil {
		return Params{}, fmt.Errorf("parse ceremony parameters: %w", err)
	}
	return p, nil
}

func readParams(d *wire.Decoder) Params {
	p := Params{Exercise: d.Bool(), Hybrid: d.Bool(), N: d.U16(), T: d.U16(), Cohorts: d.U16(), Dealers: d.U16()}
	d.Fixed(p.Nonce[:])
	d.Fixed(p.Roster[:])
	for _, v := range p.Deadlines.all() {
		*v = d.U32()
	}
	if d.Err() == nil {
		d.Fail(p.Check())
	}
	return p
}

// Check refuses parameters that no ceremony may run with.
func (p Params) Check() error {
	if p.N < 4 || p.N > wire.MaxParticipants {
		return fmt.Errorf("check ceremony parameters: %d participants, want 4 to %d", p.N, wire.MaxParticipants)
	}
	if _, err := action.NewThreshold(int(p.T), int(p.N)); err != nil {
		return fmt.Errorf("check ceremony parameters: %w", err)
	}
	drawn := int(p.Cohorts) * int(p.Dealers)
	switch {
	case p.Dealers == 0 && (p.Cohorts != 1 || p.N > wire.MaxDealers):
		return fmt.Errorf("check ceremony parameters: everybody deals in one cohort of at most %d", wire.MaxDealers)
	case p.Dealers > 0 && (p.Cohorts < 1 || drawn > wire.MaxDealers || drawn > p.quorum()):
		return fmt.Errorf("check ceremony parameters: %d dealers, want at most %d and n-f", drawn, wire.MaxDealers)
	}
	for _, v := range p.Deadlines.all() {
		if *v == 0 {
			return errors.New("check ceremony parameters: a phase without time")
		}
	}
	return nil
}

// ID returns cid. Those of rehearsals are hashed under a tag of their own.
func (p Params) ID() [32]byte {
	if p.Exercise {
		return wire.Hash(wire.TagAssemblyExercise, p.Encode())
	}
	return wire.Hash(wire.TagAssembly, p.Encode())
}

func (p *Params) faults() int { return (int(p.N) - 1) / 3 }
func (p *Params) quorum() int { return int(p.N) - p.faults() }

// minDealers is the smallest QUAL. Where all deal it is t. Of drawn dealers it
// is more than two thirds: while a third of the participants are corrupt, more
// than two thirds of 128 drawn ones are with probability 2^-47.
func (p *Params) minDealers() int {
	if p.Dealers == 0 {
		return int(p.T)
	}
	return 2*int(p.Cohorts)*int(p.Dealers)/3 + 1
}

// Seats is a set of seats, bit i-1 for seat i.
type Seats []byte

func newSeats(n int) Seats { return make(Seats, (n+7)/8) }

func (s Seats) Has(i int) bool { return i > 0 && (i-1)/8 < len(s) && s[(i-1)/8]&(1<<((i-1)%8)) != 0 }
func (s Seats) add(i int)      { s[(i-1)/8] |= 1 << ((i - 1) % 8) }

// List returns the seats in ascending order.
func (s Seats) List() (out []int) {
	for i := 1; i <= 8*len(s); i++ {
		if s.Has(i) {
			out = append(out, i)
		}
	}
	return out
}

func be16(v int) []byte { return []byte{byte(v >> 8), byte(v)} }
