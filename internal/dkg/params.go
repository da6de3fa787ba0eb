package dkg

import (
	"errors"
	"fmt"
	"math"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// Mode says what a ceremony makes. Modes differ in the rule for V_0, in who
// deals and in how dealings are summed, not in the machine. Numbers are never
// used again.
type Mode uint8

const (
	ModeKeygen  Mode = 1 // V_0 ≠ O, dealt by all, shifted by δ
	ModeImport  Mode = 2 // V_0 = existing keys, dealt by one, δ = 0
	ModeRefresh Mode = 3 // V_0 = O, dealt by all and added to what they hold, δ = 0
	ModeReshare Mode = 4 // V_0 = Y_i of before, Lagrange-weighted, δ = 0
)

func (m Mode) String() string {
	names := [...]string{"", "keygen", "import", "refresh", "reshare"}
	if m >= ModeKeygen && int(m) < len(names) {
		return names[m]
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// Renews reports whether the mode gives existing keys new shares.
func (m Mode) Renews() bool { return m == ModeRefresh || m == ModeReshare }

// Rule is the action that the ceremony is: what it may do follows from its
// parameters, so nobody asks for one under the name of another.
func (p *Params) Rule() action.Rule {
	switch p.Mode {
	case ModeKeygen:
		return action.RuleKeygen
	case ModeImport:
		return action.RuleImport
	case ModeRefresh:
		return action.RuleRefresh
	case ModeReshare:
		if p.FromAssembly() {
			return action.RuleHandover
		}
		return action.RuleReshare
	}
	return ""
}

// Suite names the group of the keys.
type Suite uint8

const (
	SuiteG1        Suite = 1 // BLS12-381 public keys
	SuiteRistretto Suite = 2 // ristretto255
)

// pointSize is the length of one encoded point of the suite's group.
func (s Suite) pointSize() int {
	if s == SuiteG1 {
		return 48
	}
	return kem.PointSize
}

// Deadlines are the longest durations of the phases, in milliseconds of block
// time. They begin when the phase does.
type Deadlines struct {
	Join, Deal, Verify, Answer, Confirm, Publish uint32
}

// Old is the sharing that a refresh or a reshare replaces. Its holders are
// seats of the roster or, of a key that an assembly made, that assembly's
// participants: they deal, and have no seat.
type Old struct {
	T        uint16
	Dealers  Seats    // seats that hold a share and deal; of a reshare not all need to
	Epoch    uint32   // of those shares
	Assembly [32]byte // cid of the assembly; zeros where seats deal
	N        uint16   // its participants
}

// Params is all that participants agree on before a ceremony. It is hashed
// into the ceremony id, which everything else is bound to.
type Params struct {
	Mode    Mode
	Suite   Suite
	Hybrid  bool // masks need X-Wing as well as Diffie-Hellman
	Use     action.Use
	N       uint8  // seats of the roster
	T       uint8  // shares that will sign
	Without Seats  // seats that get no share
	Epoch   uint32 // of the shares that are made
	Keys    uint32 // number of keys made in one go

	Nonce   [32]byte
	Cluster [32]byte
	Roster  [32]byte // hash of the document that says who sits where

	Importer uint8    // import: the seat that deals
	Expected [32]byte // import: ExpectedKeys of the existing keys; refresh, reshare: the root of [Params.Prior], or the assembly's result
	Old      Old      // refresh, reshare

	Deadlines Deadlines
}

// paramsSize is the length of every encoding of Params.
const paramsSize = 1 + 1 + 1 + 1 + 1 + 4 + 4 + 4 + 3*32 + 1 + 32 + 2 + 4 + 4 + 32 + 2 + 6*4

// Encode returns the canonical bytes.
func (p Params) Encode() []byte {
	var e wire.Encoder
	e.U8(uint8(p.Mode))
	e.U8(uint8(p.Suite))
	e.U8(p.flags())
	e.U8(p.N)
	e.U8(p.T)
	e.U32(uint32(p.Without))
	e.U32(p.Epoch)
	e.U32(p.Keys)
	e.Fixed(p.Nonce[:])
	e.Fixed(p.Cluster[:])
	e.Fixed(p.Roster[:])
	e.U8(p.Importer)
	e.Fixed(p.Expected[:])
	e.U16(p.Old.T)
	e.U32(uint32(p.Old.Dealers))
	e.U32(p.Old.Epoch)
	e.Fixed(p.Old.Assembly[:])
	e.U16(p.Old.N)
	d := p.Deadlines
	for _, v := range [...]uint32{d.Join, d.Deal, d.Verify, d.Answer, d.Confirm, d.Publish} {
		e.U32(v)
	}
	return e.Out()
}

// flags is whether the ceremony is hybrid, and above that bit what its keys
// are for.
func (p Params) flags() uint8 {
	flags := uint8(p.Use) << 1
	if p.Hybrid {
		flags |= 1
	}
	return flags
}

// ParseParams reads parameters and refuses those that Check does.
func ParseParams(b []byte) (Params, error) {
	d := wire.NewDecoder(b)
	p := readParams(d)
	if err := d.Finish(); err != nil {
		return Params{}, fmt.Errorf("parse ceremony parameters: %w", err)
	}
	return p, p.Check()
}

func readParams(d *wire.Decoder) Params {
	p := Params{Mode: Mode(d.U8()), Suite: Suite(d.U8())}
	flags := d.U8()
	p.Hybrid, p.Use = flags&1 == 1, action.Use(flags>>1)
	p.N, p.T, p.Without, p.Epoch, p.Keys = d.U8(), d.U8(), Seats(d.U32()), d.U32(), d.U32()
	d.Fixed(p.Nonce[:])
	d.Fixed(p.Cluster[:])
	d.Fixed(p.Roster[:])
	p.Importer = d.U8()
	d.Fixed(p.Expected[:])
	p.Old = Old{T: d.U16(), Dealers: Seats(d.U32()), Epoch: d.U32()}
	d.Fixed(p.Old.Assembly[:])
	p.Old.N = d.U16()
	for _, v := range [...]*uint32{&p.Deadlines.Join, &p.Deadlines.Deal, &p.Deadlines.Verify,
		&p.Deadlines.Answer, &p.Deadlines.Confirm, &p.Deadlines.Publish} {
		*v = d.U32()
	}
	return p
}

// Check refuses parameters that no ceremony may run with.
func (p Params) Check() error {
	if p.Mode < ModeKeygen || p.Mode > ModeReshare {
		return fmt.Errorf("check ceremony parameters: mode %d is unknown", p.Mode)
	}
	if p.Suite != SuiteG1 && p.Suite != SuiteRistretto {
		return fmt.Errorf("check ceremony parameters: suite %d is unknown", p.Suite)
	}
	if p.N > wire.MaxNodes {
		return fmt.Errorf("check ceremony parameters: %d seats, want at most %d", p.N, wire.MaxNodes)
	}
	if p.Without.Without(p.seats()) != 0 {
		return fmt.Errorf("check ceremony parameters: seats %s are not all on the roster", p.Without)
	}
	if _, err := action.NewThreshold(int(p.T), p.Members().Len()); err != nil {
		return fmt.Errorf("check ceremony parameters: %w", err)
	}
	if p.Keys < 1 || p.Keys > wire.MaxKeysPerBatch {
		return fmt.Errorf("check ceremony parameters: %d keys, want 1 to %d", p.Keys, wire.MaxKeysPerBatch)
	}
	if !p.Use.Known() || p.Use == action.UseBeacon && (p.Suite != SuiteG1 || p.Mode == ModeImport || p.Keys != 1) {
		return fmt.Errorf("check ceremony parameters: use %d (hint: a beacon has one key of BLS12-381, which was never whole)", p.Use)
	}
	if err := p.checkMode(); err != nil {
		return fmt.Errorf("check ceremony parameters: %w", err)
	}
	d := p.Deadlines
	if min(d.Join, d.Deal, d.Verify, d.Answer, d.Confirm, d.Publish) == 0 {
		return errors.New("check ceremony parameters: a phase without time")
	}
	return nil
}

// checkMode refuses what a mode cannot start from.
func (p Params) checkMode() error {
	if (p.Mode == ModeImport) != p.seats().Has(int(p.Importer)) || p.Mode != ModeImport && p.Importer != 0 {
		return errors.New("an import, and nothing else, names its dealer")
	}
	if (p.Mode == ModeKeygen) != (p.Expected == [32]byte{}) {
		return errors.New("a ceremony on existing keys, and no other, names them")
	}
	switch o := p.Old; {
	case p.Mode == ModeKeygen && p.Epoch != 0:
		return errors.New("new keys begin with epoch 0")
	case !p.Mode.Renews() && o != Old{}:
		return errors.New("a sharing to replace, and no keys that have one")
	case !p.Mode.Renews():
		return nil
	case uint64(p.Epoch) != uint64(o.Epoch)+1:
		return fmt.Errorf("epoch %d cannot follow %d", p.Epoch, o.Epoch)
	case p.FromAssembly():
		return p.checkAssembly()
	case o.N != 0 || o.T < 1 || o.Dealers.Without(p.seats()) != 0 || o.Dealers.Len() < int(o.T):
		return fmt.Errorf("%d shares that dealers %s do not have", o.T, o.Dealers)
	case p.Mode == ModeRefresh && (o.Dealers != p.Members() || o.T != uint16(p.T)):
		return errors.New("a refresh changes neither holders nor threshold")
	}
	return nil
}

// checkAssembly refuses what participants cannot hand over: they have one key
// of one curve, and its first sharing.
func (p Params) checkAssembly() error {
	o := p.Old
	if p.Mode != ModeReshare || p.Suite != SuiteG1 || p.Keys != 1 || o.Epoch != 0 || o.Dealers != 0 || p.Use != action.UseDuties {
		return errors.New("an assembly hands over the one key that it made, by a reshare in which no seat deals")
	}
	if o.N < 4 || o.N > wire.MaxParticipants {
		return fmt.Errorf("an assembly of %d participants, want 4 to %d", o.N, wire.MaxParticipants)
	}
	_, err := action.NewThreshold(int(o.T), int(o.N))
	return err
}

// FromAssembly reports whether those who deal are participants of an assembly.
func (p *Params) FromAssembly() bool { return p.Old.Assembly != [32]byte{} }

// ID returns cid, the name of the one ceremony with these parameters.
func (p Params) ID() [32]byte { return wire.Hash(wire.TagCeremony, p.Encode()) }

// ExpectedKeys commits to the public keys of an import, in order.
func ExpectedKeys(keys [][]byte) [32]byte {
	var all []byte
	for _, k := range keys {
		all = append(all, k...)
	}
	return wire.Hash(wire.TagExpected, all)
}

// Members returns the seats that get shares.
func (p *Params) Members() Seats { return p.seats().Without(p.Without) }

func (p *Params) seats() Seats { return AllSeats(int(p.N)) }
func (p *Params) faults() int  { return (p.Members().Len() - 1) / 3 }
func (p *Params) quorum() int  { return p.Members().Len() - p.faults() }

// Parties returns the seats that have something to do: who deals and who
// receives.
func (p *Params) Parties() Seats { return p.Members() | p.dealers() }

// dealers returns the seats that may deal, none where participants do.
func (p *Params) dealers() Seats {
	switch p.Mode {
	case ModeImport:
		return only(int(p.Importer))
	case ModeReshare:
		return p.Old.Dealers
	}
	return p.Members()
}

// mostDealers is the highest number that a dealer can have.
func (p *Params) mostDealers() int {
	if p.FromAssembly() {
		return int(p.Old.N)
	}
	return int(p.N)
}

// minDealers is the smallest QUAL.
func (p *Params) minDealers() int {
	switch p.Mode {
	case ModeImport:
		return 1
	case ModeReshare:
		return int(p.Old.T)
	}
	return int(p.T)
}

// knowledge is the length of a proof of constants: f(0) = 0 is known to all.
func (p *Params) knowledge() int {
	if p.Mode == ModeRefresh {
		return 0
	}
	return p.Suite.pointSize() + 32
}

// shape describes how a list of equal leaves is cut into chunks.
type shape struct {
	leaf     int // bytes of one leaf
	leaves   int
	perChunk int // a power of two
}

// chunkOverhead bounds what a chunk's encoding adds to its leaves.
const chunkOverhead = 1 << 10

func newShape(leaf, leaves int) shape {
	per := 1
	for per*2*leaf <= wire.MaxChunk-chunkOverhead {
		per *= 2
	}
	return shape{leaf, leaves, per}
}

// dealing returns the shape of a dealing: for each key t points, then one
// ciphertext for each receiver.
func (p *Params) dealing(receivers Seats) shape {
	return newShape(int(p.T)*p.Suite.pointSize()+32*receivers.Len(), int(p.Keys))
}

// result returns the shape of the public result: for each key t points.
func (p *Params) result() shape {
	return newShape(int(p.T)*p.Suite.pointSize(), int(p.Keys))
}

type digest = wire.Digest

// maxPath is the longest path in a tree of at most wire.MaxKeysPerBatch leaves.
const maxPath = 14

func (s shape) chunks() int { return (s.leaves + s.perChunk - 1) / s.perChunk }

// span returns the leaves lo, …, hi-1 of a chunk.
func (s shape) span(chunk int) (lo, hi int) {
	return chunk * s.perChunk, min((chunk+1)*s.perChunk, s.leaves)
}

// check reports whether a body is that chunk of the tree with the root.
func (s shape) check(root digest, chunk int, path []digest, body []byte) bool {
	if chunk < 0 || chunk >= s.chunks() {
		return false
	}
	lo, hi := s.span(chunk)
	if len(body) != (hi-lo)*s.leaf {
		return false
	}
	got, ok := wire.PathRoot(wire.CutTree(body, s.leaf).Root(), chunk, s.chunks(), path)
	return ok && got == root
}

// cut cuts the bytes of all leaves into chunk bodies with their paths.
func (s shape) cut(all []byte) (root digest, bodies [][]byte, paths [][]digest) {
	var blocks []digest
	for c := range s.chunks() {
		lo, hi := s.span(c)
		body := all[lo*s.leaf : hi*s.leaf]
		bodies = append(bodies, body)
		blocks = append(blocks, wire.CutTree(body, s.leaf).Root())
	}
	top := wire.NewTree(blocks)
	for c := range blocks {
		paths = append(paths, top.Path(0, c))
	}
	return top.Root(), bodies, paths
}

// milliseconds guards the sum of a block time and a duration.
func milliseconds(now uint64, d uint32) uint64 {
	if now > math.MaxUint64-uint64(d) {
		return math.MaxUint64
	}
	return now + uint64(d)
}
