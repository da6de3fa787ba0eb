package dkg

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// Phase is where a ceremony stands. Numbers are never used again.
type Phase uint8

const (
	PhaseJoin    Phase = 1 // seats post their keys
	PhaseDeal    Phase = 2 // dealers post headers and chunks
	PhaseVerify  Phase = 3 // seats post verdicts on the set of dealings
	PhaseAnswer  Phase = 4 // hybrid: accused dealers open what they sent
	PhaseFreeze  Phase = 5 // waits for the next block's hash
	PhaseConfirm Phase = 6 // seats confirm the result they computed
	PhasePublish Phase = 7 // anyone posts the confirmed result
	PhaseDone    Phase = 8 // usable; late confirmations are still taken
	PhaseAborted Phase = 9
)

func (p Phase) String() string {
	names := [...]string{"", "join", "deal", "verify", "answer", "freeze", "confirm", "publish", "done", "aborted"}
	if int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// FaultKind says what a seat did or did not do. Numbers are never used again.
type FaultKind uint8

const (
	// Absence: the network, the machine or the operator may be the cause.
	AbsentJoin    FaultKind = 1
	AbsentDeal    FaultKind = 2
	AbsentVerdict FaultKind = 3
	AbsentAnswer  FaultKind = 4
	AbsentConfirm FaultKind = 5
	AbsentReplay  FaultKind = 6 // among thousands, where it ended the ceremony
	// Attributable: only the seat's own key holder can have done it.
	BadPossession  FaultKind = 16 // joined with a key it does not hold
	BadHeader      FaultKind = 17 // does not know ρ: perhaps another's R
	Equivocation   FaultKind = 18 // two headers
	BadDealing     FaultKind = 19 // anyone can see it
	BadShare       FaultKind = 20 // an upheld complaint
	BadAnswer      FaultKind = 21 // opened something else than it had posted
	FalseComplaint FaultKind = 22
	Dissent        FaultKind = 23 // contradicts what follows from public data
	BadConfirm     FaultKind = 24 // does not hold the shares it confirms
)

// Attributable reports whether the fault proves misbehaviour.
func (k FaultKind) Attributable() bool { return k >= BadPossession }

func (k FaultKind) String() string {
	switch k {
	case AbsentJoin:
		return "absent from join"
	case AbsentDeal:
		return "absent from deal"
	case AbsentVerdict:
		return "absent from verify"
	case AbsentAnswer:
		return "absent from answer"
	case AbsentConfirm:
		return "absent from confirm"
	case AbsentReplay:
		return "absent from replay"
	case BadPossession:
		return "no proof of possession"
	case BadHeader:
		return "false header"
	case Equivocation:
		return "equivocation"
	case BadDealing:
		return "false dealing"
	case BadShare:
		return "false share"
	case BadAnswer:
		return "false answer"
	case FalseComplaint:
		return "false complaint"
	case Dissent:
		return "dissent"
	case BadConfirm:
		return "false confirmation"
	}
	return fmt.Sprintf("fault %d", uint8(k))
}

// OfDealer reports whether the fault is one of dealing.
func (k FaultKind) OfDealer() bool {
	switch k {
	case AbsentDeal, AbsentAnswer, BadHeader, Equivocation, BadDealing, BadShare, BadAnswer:
		return true
	}
	return false
}

// Fault names who did what in which verification round (0 before): a seat or,
// where an assembly hands over and the fault is one of dealing, a participant
// of that assembly. See [Params.Blames].
type Fault struct {
	Seat  uint16
	Kind  FaultKind
	Round uint8
}

// Blames names whom a fault is about.
func (p *Params) Blames(f Fault) string {
	if p.FromAssembly() && f.Kind.OfDealer() {
		return fmt.Sprintf("participant %d", f.Seat)
	}
	return fmt.Sprintf("seat %d", f.Seat)
}

// EventKind numbers are never used again.
type EventKind uint8

const (
	EventPhase       EventKind = 1 // Phase began
	EventStore       EventKind = 2 // the message's bytes are to be kept under Name
	EventFault       EventKind = 3
	EventConfirmed   EventKind = 4 // Seat holds its shares of the result
	EventDepositSafe EventKind = 5 // t+f seats hold theirs
)

// Event is something that a transition made true.
type Event struct {
	Kind  EventKind
	Phase Phase
	Name  [32]byte
	Fault Fault
	Seat  uint8 // EventConfirmed
}

// Reasons why a message is refused. A refused message leaves no trace.
var (
	ErrCeremony  = errors.New("message of another ceremony")
	ErrPhase     = errors.New("not in this phase")
	ErrSender    = errors.New("not this seat's to say")
	ErrDuplicate = errors.New("said before")
	ErrShape     = errors.New("does not fit the ceremony")
)

// Board is the public state of a ceremony: what the ledger keeps. It is a
// value: [Board.Apply] and [Board.Tick] return another and leave it as it was.
// Bodies of headers and chunks are kept beside it, under the names that
// events give.
type Board struct {
	params   Params
	cid      [32]byte
	phase    Phase
	deadline uint64 // milliseconds of block time; 0 when nothing waits for time
	arming   uint32 // how long the phase lasts from the next Tick on; 0 once it runs
	round    uint8
	seats    []place // seat i at i-1

	dealt     Dealers    // participants that have dealt; seats have a place
	order     wire.Range // over their dealings, as they came
	set       Dealers    // of the current round; QUAL after the freeze
	excluded  Dealers    // that are out
	pending   []claim
	sums      [32]byte // agreed root of the sums over set
	delta     [32]byte // block hash after the freeze; zero for δ = 0
	result    [32]byte // root that n-f seats confirmed
	published []byte   // bit c: chunk c of the result is there
	weighted  []byte   // t encoded points: weighted sums over the published keys
	faults    []Fault

	events []Event // of the transition under way; never encoded
}

// place is what one seat has posted.
type place struct {
	joined  bool
	blamed  bool // it joined with a key that it does not hold
	key     [kem.PointSize]byte
	hybrid  [32]byte // hash of its X-Wing key
	join    [32]byte // name of its Join
	header  [32]byte // name of its Header
	r       [kem.PointSize]byte
	root    [32]byte
	encaps  [32]byte // root over its X-Wing ciphertexts
	chunks  []byte   // bit c: chunk c is there
	spoke   bool     // verdict of this round is there
	faulty  Dealers
	sums    [32]byte
	result  [32]byte
	attests []byte // its confirmation; nil when there is none
	checked bool   // the confirmation was looked at
	holds   bool   // and verified
}

// claim is a complaint whose ciphertext the dealer has yet to open (hybrid).
type claim struct {
	dealer     uint16
	from       uint8
	key        uint32
	shared     kem.Shared
	point      []byte // V_from
	ciphertext [32]byte
	r          [kem.PointSize]byte // of the dealing
	encaps     [32]byte            // root over its X-Wing ciphertexts
}

// NewBoard opens a ceremony at a block time in milliseconds.
func NewBoard(p Params, now uint64) (*Board, []Event, error) {
	if err := p.Check(); err != nil {
		return nil, nil, err
	}
	b := &Board{params: p, cid: p.ID(), seats: make([]place, p.N)}
	b.enter(PhaseJoin, now, p.Deadlines.Join)
	return b, b.flush(), nil
}

// Apply takes a message that the ledger knows to come from a seat.
func (b *Board) Apply(now uint64, from int, m Message) (*Board, []Event, error) {
	if m.ceremony() != b.cid {
		return nil, nil, ErrCeremony
	}
	if !b.params.seats().Has(from) {
		return nil, nil, fmt.Errorf("take message of seat %d: %w", from, errSeat)
	}
	next := b.clone()
	var err error
	switch m := m.(type) {
	case *Join:
		err = next.takeJoin(now, from, m)
	case *Header:
		err = next.takeHeader(now, from, m)
	case *Chunk:
		if m.Result {
			err = next.takeResult(now, m)
		} else {
			err = next.takeChunk(now, from, m)
		}
	case *Verdict:
		err = next.takeVerdict(now, from, m)
	case *Answer:
		if err = ErrSender; !b.params.FromAssembly() {
			err = next.takeAnswer(now, from, m)
		}
	case *Confirm:
		err = next.takeConfirm(now, from, m)
	default:
		err = errKind
	}
	if err != nil {
		return nil, nil, fmt.Errorf("take %T of seat %d: %w", m, from, err)
	}
	return next, next.flush(), nil
}

// Tick lets time pass. The ledger calls it at the beginning of each block,
// before the block's transactions, with that block's time and hash: after a
// freeze it is the hash of a later block.
func (b *Board) Tick(now uint64, block [32]byte) (*Board, []Event) {
	// The time of a block is that of the votes on the one before, which on a
	// ledger at rest lies far back: a phase's time runs from the first block
	// after the one that began it.
	if b.arming > 0 {
		next := b.clone()
		next.deadline, next.arming = milliseconds(now, b.arming), 0
		return next, nil
	}
	if b.phase != PhaseFreeze && (b.deadline == 0 || now < b.deadline) {
		return b, nil
	}
	next := b.clone()
	switch b.phase {
	case PhaseJoin:
		next.endJoin(now)
	case PhaseDeal:
		next.endDeal(now)
	case PhaseVerify:
		next.endVerify(now)
	case PhaseAnswer:
		next.endAnswer(now)
	case PhaseFreeze:
		next.delta = block
		next.enter(PhaseConfirm, now, b.params.Deadlines.Confirm)
	case PhaseConfirm, PhasePublish:
		next.blameAbsent(AbsentConfirm, func(s *place) bool { return s.attests == nil })
		next.abort()
	}
	return next, next.flush()
}

// enter begins a phase; a duration of 0 means that it does not end by time.
func (b *Board) enter(p Phase, now uint64, duration uint32) {
	b.phase, b.deadline, b.arming = p, 0, duration
	if duration > 0 {
		b.deadline = milliseconds(now, duration)
	}
	b.events = append(b.events, Event{Kind: EventPhase, Phase: p})
}

func (b *Board) abort() {
	b.pending = nil
	b.enter(PhaseAborted, 0, 0)
}

func (b *Board) store(name [32]byte) {
	b.events = append(b.events, Event{Kind: EventStore, Name: name})
}

// blame records a fault, once for each seat, kind and round.
func (b *Board) blame(i int, kind FaultKind) {
	f := Fault{uint16(i), kind, b.round}
	for _, g := range b.faults {
		if g == f {
			return
		}
	}
	b.faults = append(b.faults, f)
	b.events = append(b.events, Event{Kind: EventFault, Fault: f})
}

// blameAbsent records the receivers that did not do what absent looks for.
func (b *Board) blameAbsent(kind FaultKind, absent func(*place) bool) {
	for i := range b.receivers().All() {
		if absent(b.at(i)) {
			b.blame(i, kind)
		}
	}
}

// exclude takes a dealer out for the whole batch.
func (b *Board) exclude(i int, kind FaultKind) {
	b.blame(i, kind)
	b.excluded = b.excluded.With(i)
	kept := b.pending[:0:0]
	for _, c := range b.pending {
		if int(c.dealer) != i {
			kept = append(kept, c)
		}
	}
	b.pending = kept
}

func (b *Board) at(i int) *place { return &b.seats[i-1] }

func (b *Board) which(has func(*place) bool) Seats {
	var s Seats
	for i := range b.seats {
		if has(&b.seats[i]) {
			s = s.With(i + 1)
		}
	}
	return s
}

func (b *Board) flush() []Event {
	out := b.events
	b.events = nil
	return out
}

// clone copies what a transition may change: places and lists, but not the
// bytes in them, which are replaced and never written to.
func (b *Board) clone() *Board {
	c := *b
	c.seats = append([]place(nil), b.seats...)
	c.pending = append([]claim(nil), b.pending...)
	c.faults = append([]Fault(nil), b.faults...)
	return &c
}

// Params returns the parameters.
func (b *Board) Params() Params { return b.params }

// ID returns cid.
func (b *Board) ID() [32]byte { return b.cid }

// Phase returns the phase.
func (b *Board) Phase() Phase { return b.phase }

// Deadline returns when the phase ends at the latest, in milliseconds of
// block time; 0 when it does not end by time.
func (b *Board) Deadline() uint64 { return b.deadline }

// Joined returns the seats that take part.
func (b *Board) Joined() Seats { return b.which(func(s *place) bool { return s.joined }) }

// receivers returns the seats that joined to get shares, dealers those that
// joined to deal.
func (b *Board) receivers() Seats { return b.Joined() & b.params.Members() }
func (b *Board) dealers() Seats   { return b.Joined() & b.params.dealers() }

// dealing returns the shape of every dealing.
func (b *Board) dealing() shape { return b.params.dealing(b.receivers()) }

// Dealers returns the dealers whose dealings count so far; QUAL from the
// freeze on.
func (b *Board) Dealers() Dealers { return b.set }

// Faults returns who did what, oldest first.
func (b *Board) Faults() []Fault { return append([]Fault(nil), b.faults...) }

// Result returns the root of the public result that n-f seats confirmed.
func (b *Board) Result() (root [32]byte, ok bool) {
	return b.result, b.phase == PhasePublish || b.phase == PhaseDone
}

// ResultChunks returns the names of the chunks of the public result.
func (b *Board) ResultChunks() [][32]byte {
	var names [][32]byte
	for c := range b.params.result().chunks() {
		names = append(names, chunkName(b.result, c))
	}
	return names
}

// Holders returns the seats whose confirmation of the result verified.
func (b *Board) Holders() Seats { return b.which(func(s *place) bool { return s.holds }) }

// DepositSafe reports whether t+f seats hold their shares, so that the key
// stays usable even if f of them lied: only then may it receive a deposit,
// and old shares be erased.
func (b *Board) DepositSafe() bool {
	return b.phase == PhaseDone && b.Holders().Len() >= int(b.params.T)+b.params.faults()
}

// roster names who joined with which keys.
func (b *Board) roster() [32]byte {
	parts := [][]byte{b.cid[:]}
	for i := range b.Joined().All() {
		s := b.at(i)
		parts = append(parts, []byte{byte(i)}, s.key[:], s.hybrid[:])
	}
	return wire.Hash(wire.TagRoster, parts...)
}

// transcript names the dealings of a set of dealers.
func (b *Board) transcript(set Dealers) [32]byte {
	roster := b.roster()
	parts := [][]byte{roster[:]}
	if b.params.FromAssembly() {
		root := b.order.Root()
		parts = append(parts, root[:], be32(b.dealt.Len()), []byte(set))
		return wire.Hash(wire.TagVerdict, parts...)
	}
	for i := range set.All() {
		parts = append(parts, be16(i), b.at(i).header[:])
	}
	return wire.Hash(wire.TagVerdict, parts...)
}

func blobName(body []byte) [32]byte { return wire.Hash(wire.TagBlob, body) }

func chunkName(root [32]byte, index int) [32]byte {
	return wire.Hash(wire.TagBlob, root[:], []byte{byte(index >> 8), byte(index)})
}

func hasBit(set []byte, i int) bool { return i/8 < len(set) && set[i/8]&(1<<(i%8)) != 0 }

// withBit returns a copy of set, of a size for n bits, with bit i.
func withBit(set []byte, i, n int) []byte {
	out := make([]byte, (n+7)/8)
	copy(out, set)
	out[i/8] |= 1 << (i % 8)
	return out
}

func countBits(set []byte, n int) int {
	count := 0
	for i := range n {
		if hasBit(set, i) {
			count++
		}
	}
	return count
}
