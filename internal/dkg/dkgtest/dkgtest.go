// Package dkgtest runs whole ceremonies in memory, on the real board with the
// real participants.
//
// Owns: [Ceremony], a ledger of one ceremony with a clock that it moves
// itself, and [Behaviour], by which a seat departs from the protocol.
//
// Never: a mock, a goroutine, or randomness: a ceremony is a function of its
// parameters and behaviours.
package dkgtest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/secret"
)

// Behaviour returns what a seat posts in place of what it should.
type Behaviour func(c *Ceremony, seat int, honest []dkg.Message) []dkg.Message

// Silent posts nothing.
func Silent(*Ceremony, int, []dkg.Message) []dkg.Message { return nil }

// Ceremony is a ledger with one ceremony and the seats around it.
type Ceremony struct {
	Board   *dkg.Board
	Events  []dkg.Event
	Refused map[int][]error // messages that the board did not take, by seat; by -i of participant i

	Acts    map[int]Behaviour // nil or absent: honest
	People  map[int]Behaviour // the same of participants of an assembly that deal
	Restart bool              // make every participant anew from its seed before each step

	params       dkg.Params
	imports      [][]byte
	old          map[int]map[string][]byte // seat -> public key -> share
	participants map[int]*dkg.Participant
	assembly     *Assembly
	dealers      map[int]*dkg.Dealer
	blobs        map[[32]byte][]byte
	now, height  uint64
}

// Params returns parameters with minutes for each phase.
func Params(suite dkg.Suite, hybrid bool, n, keys int) dkg.Params {
	f := (n - 1) / 3
	return dkg.Params{
		Mode: dkg.ModeKeygen, Suite: suite, Hybrid: hybrid,
		N: uint8(n), T: uint8((n+f)/2 + 1), Keys: uint32(keys),
		Nonce:     sha256.Sum256(fmt.Append(nil, suite, hybrid, n, keys)),
		Deadlines: dkg.Deadlines{Join: 60e3, Deal: 60e3, Verify: 60e3, Answer: 60e3, Confirm: 60e3, Publish: 60e3},
	}
}

// New opens a ceremony. imports are the importer's secret keys.
func New(p dkg.Params, imports ...[]byte) (*Ceremony, error) {
	c := &Ceremony{
		Refused: make(map[int][]error), Acts: make(map[int]Behaviour), People: make(map[int]Behaviour), dealers: make(map[int]*dkg.Dealer),
		params: p, imports: imports, participants: make(map[int]*dkg.Participant),
		old:   make(map[int]map[string][]byte),
		blobs: make(map[[32]byte][]byte), now: 1_700_000_000_000,
	}
	var err error
	c.Board, c.Events, err = dkg.NewBoard(p, c.now)
	return c, err
}

// Renew opens a refresh, or what edit makes of it, of the keys of a ceremony
// that is done, among the holders it had.
func Renew(c *Ceremony, edit func(*dkg.Params)) (*Ceremony, error) {
	result, err := dkg.ReadResult(c.Board, c.Source)
	if err != nil {
		return nil, err
	}
	p := c.params
	p.Mode, p.Importer, p.Expected, p.Epoch = dkg.ModeRefresh, 0, [32]byte{}, p.Epoch+1
	p.Old = dkg.Old{T: uint16(p.T), Dealers: p.Members(), Epoch: p.Epoch - 1}
	p.Nonce = sha256.Sum256(p.Nonce[:])
	if edit != nil {
		edit(&p)
	}
	var commitments [][]byte
	for k := range result.Keys() {
		commitments = append(commitments, result.Commitment(k))
	}
	if p.Expected, _, err = p.Prior(commitments); err != nil {
		return nil, err
	}
	next, err := New(p)
	if err != nil {
		return nil, err
	}
	_, bodies, err := p.Prior(commitments)
	for _, b := range bodies {
		next.blobs[b.Name] = b.Body
	}
	for seat := range c.Board.Holders().All() {
		shares, err := c.Shares(seat)
		if err != nil {
			return nil, err
		}
		next.old[seat] = make(map[string][]byte)
		for k := range shares {
			next.old[seat][string(result.PublicKey(k))] = shares[k]
		}
	}
	return next, err
}

// Restore gives a seat back what it held after another ceremony, as an old
// disk would.
func (c *Ceremony) Restore(seat int, of *Ceremony) {
	result, err := dkg.ReadResult(of.Board, of.Source)
	if err != nil {
		panic(err)
	}
	shares, err := of.Shares(seat)
	if err != nil {
		panic(err)
	}
	for k := range shares {
		c.old[seat][string(result.PublicKey(k))] = shares[k]
	}
}

// Forget makes a seat lose what it held before the ceremony.
func (c *Ceremony) Forget(seat int) { delete(c.old, seat) }

// Participant returns a seat's participant.
func (c *Ceremony) Participant(seat int) (*dkg.Participant, error) {
	if q := c.participants[seat]; q != nil && !c.Restart {
		return q, nil
	}
	digest := sha256.Sum256(fmt.Append(nil, "dkgtest seed", seat))
	seed := secret.New(digest[:])
	var q *dkg.Participant
	var err error
	switch {
	case c.params.Mode.Renews():
		q, err = dkg.NewHolder(c.params, seat, seed, func(pk []byte) (held secret.Bytes) {
			if share := c.old[seat][string(pk)]; share != nil {
				held = secret.New(bytes.Clone(share))
			}
			return held
		})
	case c.params.Mode == dkg.ModeImport && seat == int(c.params.Importer):
		var keys []secret.Bytes
		for _, k := range c.imports {
			keys = append(keys, secret.New(bytes.Clone(k)))
		}
		q, err = dkg.NewImporter(c.params, seed, keys)
	default:
		q, err = dkg.NewParticipant(c.params, seat, seed)
	}
	c.participants[seat] = q
	return q, err
}

// Source is the archive of stored bodies.
func (c *Ceremony) Source(name [32]byte) ([]byte, error) {
	if b, ok := c.blobs[name]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("no body is stored under %x", name[:8])
}

// announced is Source, for bodies that the board says to gather.
func (c *Ceremony) announced(name [32]byte) ([]byte, error) {
	if !slices.Contains(c.Board.Bodies(), name) {
		return nil, fmt.Errorf("body %x is wanted in %s, but not announced", name[:8], c.Board.Phase())
	}
	return c.Source(name)
}

// Post puts a message on the ledger in a seat's name.
func (c *Ceremony) Post(seat int, m dkg.Message) error {
	return c.post(m, func(m dkg.Message) (*dkg.Board, []dkg.Event, error) { return c.Board.Apply(c.now, seat, m) })
}

func (c *Ceremony) post(m dkg.Message, apply func(dkg.Message) (*dkg.Board, []dkg.Event, error)) error {
	raw := m.Encode()
	parsed, err := dkg.ParseMessage(raw)
	if err != nil {
		return err
	}
	if !bytes.Equal(parsed.Encode(), raw) {
		return fmt.Errorf("%T changes when it is parsed", m)
	}
	next, events, err := apply(parsed)
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Kind == dkg.EventStore {
			c.blobs[e.Name] = raw
		}
	}
	return c.take(next, events)
}

func (c *Ceremony) take(next *dkg.Board, events []dkg.Event) error {
	encoded := next.Encode()
	again, err := dkg.ParseBoard(encoded)
	if err != nil {
		return err
	}
	if !bytes.Equal(again.Encode(), encoded) {
		return errors.New("a board changes when it is parsed")
	}
	c.Board, c.Events = again, append(c.Events, events...)
	return nil
}

// Tick begins a block at a time in milliseconds.
func (c *Ceremony) Tick(now uint64) error {
	c.now, c.height = now, c.height+1
	next, events := c.Board.Tick(now, sha256.Sum256(fmt.Append(nil, "block", c.height)))
	return c.take(next, events)
}

// Step lets every seat act once and reports whether anything was posted.
func (c *Ceremony) Step() (moved bool, err error) {
	for seat := 1; seat <= int(c.params.N); seat++ {
		q, err := c.Participant(seat)
		if err != nil {
			return false, err
		}
		out, err := q.Next(c.Board, c.announced)
		if err != nil {
			if !errors.Is(err, dkg.ErrNoShares) {
				return false, fmt.Errorf("seat %d: %w", seat, err)
			}
			out = nil
		}
		if act := c.Acts[seat]; act != nil {
			out = act(c, seat, out)
		}
		for _, m := range out {
			if err := c.Post(seat, m); err == nil {
				moved = true
			} else if !slices.ContainsFunc(c.Refused[seat], func(e error) bool { return e.Error() == err.Error() }) {
				c.Refused[seat] = append(c.Refused[seat], err)
			}
		}
	}
	dealt, err := c.stepPeople()
	return moved || dealt, err
}

// Run goes on until the ceremony is over. When nobody has anything to say it
// lets the phase run out.
func (c *Ceremony) Run() error {
	for range 1000 {
		moved, err := c.Step()
		if err != nil {
			return err
		}
		switch phase := c.Board.Phase(); {
		case phase == dkg.PhaseAborted, phase == dkg.PhaseDone && !moved:
			return nil
		case moved || phase == dkg.PhaseFreeze:
			err = c.Tick(c.now + 1000)
		default:
			err = c.Tick(c.Board.Deadline())
		}
		if err != nil {
			return err
		}
	}
	return errors.New("the ceremony does not end")
}

// Blamed returns the seats with an attributable fault.
func (c *Ceremony) Blamed() (seats dkg.Seats) {
	for _, f := range c.Board.Faults() {
		if f.Kind.Attributable() && !(c.assembly != nil && f.Kind.OfDealer()) {
			seats = seats.With(int(f.Seat))
		}
	}
	return seats
}

// BlamedPeople returns the participants with an attributable fault.
func (c *Ceremony) BlamedPeople() (out dkg.Dealers) {
	for _, f := range c.Board.Faults() {
		if f.Kind.Attributable() && c.assembly != nil && f.Kind.OfDealer() {
			out = out.With(int(f.Seat))
		}
	}
	return out
}

// Has reports whether the board names a seat for a fault.
func (c *Ceremony) Has(seat int, kind dkg.FaultKind) bool {
	return slices.ContainsFunc(c.Board.Faults(), func(f dkg.Fault) bool { return int(f.Seat) == seat && f.Kind == kind })
}

// Shares returns a seat's shares, in the suite's encoding.
func (c *Ceremony) Shares(seat int) ([][]byte, error) {
	q, err := c.Participant(seat)
	if err != nil {
		return nil, err
	}
	shares, err := q.ExposeSecretShares(c.Board, c.Source)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(shares))
	for i, s := range shares {
		s.Secret.Expose(func(b []byte) { out[i] = bytes.Clone(b) })
	}
	return out, nil
}

// Reconstruct interpolates shares at 0, in plain integer arithmetic.
func Reconstruct(suite dkg.Suite, shares map[int][]byte) []byte {
	order, little := orders(suite)
	sum := new(big.Int)
	for i, share := range shares {
		num, den := big.NewInt(1), big.NewInt(1)
		for j := range shares {
			if j != i {
				num.Mul(num, big.NewInt(int64(j)))
				den.Mul(den, big.NewInt(int64(j-i)))
			}
		}
		b := bytes.Clone(share)
		if little {
			slices.Reverse(b)
		}
		den.ModInverse(den.Mod(den, order), order)
		sum.Add(sum, num.Mul(num.Mul(num, den), new(big.Int).SetBytes(b)))
	}
	b := sum.Mod(sum, order).FillBytes(make([]byte, 32))
	if little {
		slices.Reverse(b)
	}
	return b
}

// PublicKey returns the encoding of s·G.
func PublicKey(suite dkg.Suite, s []byte) []byte {
	if suite == dkg.SuiteG1 {
		return multiply[bls.G1Scalar, bls.G1Point](bls.G1{}, s)
	}
	return multiply[kem.Scalar, kem.Point](kem.Ristretto{}, s)
}

func multiply[S, P any](g interface {
	SetScalar(*S, []byte) error
	BaseMult(*P, *S)
	AppendPoints([]byte, []P) []byte
}, b []byte) []byte {
	var s S
	if err := g.SetScalar(&s, b); err != nil {
		panic(err)
	}
	p := make([]P, 1)
	g.BaseMult(&p[0], &s)
	return g.AppendPoints(nil, p)
}

func orders(suite dkg.Suite) (order *big.Int, little bool) {
	hex := "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001"
	if suite == dkg.SuiteRistretto {
		hex, little = "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", true
	}
	order, _ = new(big.Int).SetString(hex, 16)
	return order, little
}
