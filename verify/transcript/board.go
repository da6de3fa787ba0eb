package transcript

import (
	"errors"
	"slices"
)

// This file is the ceremony of spec/assembly.md as a state machine: posts and
// ticks go in, a phase and faults come out. What a board would refuse is an
// error: an archive holds none of it.

// Phases, in the words of the specification.
const (
	phaseJoin    = "join"
	phaseDraw    = "draw"
	phaseDeal    = "deal"
	phaseVerify  = "verify"
	phaseAnswer  = "answer"
	phaseReplay  = "replay"
	phasePublish = "publish"
	phaseFreeze  = "freeze"
	phaseConfirm = "confirm"
	phaseDone    = "done"
	phaseAborted = "aborted"
)

// Faults. The first ones blame nobody.
const (
	absentJoin     = "absent from join"
	absentDeal     = "absent from deal"
	absentVerdict  = "absent from verify"
	absentAnswer   = "absent from answer"
	absentConfirm  = "absent from confirm"
	absentReplay   = "absent from replay"
	badPossession  = "no proof of possession"
	badHeader      = "false header"
	equivocation   = "equivocation"
	badDealing     = "false dealing"
	badShare       = "false share"
	badAnswer      = "false answer"
	falseComplaint = "false complaint"
	dissent        = "dissent"
	badConfirm     = "false confirmation"
)

func attributable(fault string) bool {
	switch fault {
	case absentJoin, absentDeal, absentVerdict, absentAnswer, absentReplay, absentConfirm:
		return false
	}
	return true
}

var (
	errPhase  = errors.New("said in a phase that does not ask for it")
	errSender = errors.New("not this participant's to say")
	errTwice  = errors.New("said before")
	errShape  = errors.New("it does not fit the ceremony")
)

// board is the public state of a ceremony.
type board struct {
	params
	id       digest
	phase    string
	now      uint64
	deadline uint64 // 0: nothing waits for time
	seats    map[int]*seat

	joined      []int
	roster      digest
	drawn       []int
	set         []int  // dealers that count
	transcript  digest // name of their dealings
	excluded    map[int]bool
	round       int
	pending     []claim
	posted      map[[2]int]bool // dealer, recipient
	accusations []accusation
	finding     *finding // what votes should say, from the first one on
	sums        []byte   // as posted
	have        map[int]bool
	points      []element
	result      digest
	holders     []int
	faults      []Fault
}

// seat is what a participant said.
type seat struct {
	joined, blamed bool
	key, letters   []byte // ephemeral keys
	cohort         int
	header         *header
	body           []byte // leaves of the dealing
	have           map[int]bool
	asked, spoke   bool // for a report in this round
	vote           *vote
	confirmed      *confirmation
}

// claim waits for a dealer; without a complaint nothing came.
type claim struct {
	dealer, from int
	complaint    *complaint
}

type accusation struct{ from, dealer, at int }

const leafSize = 48 + 32

func newBoard(p params, opened uint64) *board {
	b := &board{params: p, id: p.cid(), now: opened, seats: map[int]*seat{}, excluded: map[int]bool{}, posted: map[[2]int]bool{}, have: map[int]bool{}}
	for i := 1; i <= p.n; i++ {
		b.seats[i] = &seat{have: map[int]bool{}}
	}
	b.enter(phaseJoin, p.join)
	return b
}

func (b *board) enter(phase string, duration uint64) {
	b.phase, b.deadline = phase, 0
	if duration > 0 {
		b.deadline = b.now + duration
	}
}

func (b *board) abort() { b.enter(phaseAborted, 0) }

// tick begins a block.
func (b *board) tick(now uint64, randomness digest) {
	b.now = max(b.now, now)
	late := b.deadline > 0 && b.now >= b.deadline
	switch {
	case b.phase == phaseDraw:
		b.draw(randomness)
	case b.phase == phaseFreeze:
		b.unbias(randomness)
	case !late:
	case b.phase == phaseJoin:
		b.endJoin()
	case b.phase == phaseDeal:
		b.endDeal()
	case b.phase == phaseVerify:
		b.endVerify()
	case b.phase == phaseAnswer:
		b.endAnswer()
	case b.phase == phaseReplay:
		b.endReplay()
	case b.phase == phaseConfirm:
		b.endConfirm()
	default:
		b.abort()
	}
}

// which lists seats.
func (b *board) which(has func(*seat) bool) (out []int) {
	for i := 1; i <= b.n; i++ {
		if has(b.seats[i]) {
			out = append(out, i)
		}
	}
	return out
}

func (b *board) blame(i int, fault string) {
	f := Fault{i, fault, attributable(fault)}
	b.seats[i].blamed = b.seats[i].blamed || f.Blamed
	if !slices.Contains(b.faults, f) {
		b.faults = append(b.faults, f)
	}
}

func (b *board) exclude(dealer int, fault string) {
	b.blame(dealer, fault)
	b.excluded[dealer] = true
	b.pending = slices.DeleteFunc(b.pending, func(c claim) bool { return c.dealer == dealer })
}

func (b *board) header(dealer int) *header { return b.seats[dealer].header }

// count keeps the dealers in the set that are not excluded.
func (b *board) count() {
	b.set = slices.DeleteFunc(b.set, func(d int) bool { return b.excluded[d] })
	b.transcript = name(b.roster, b.set, b.header)
}

func (b *board) outcome() *Outcome {
	o := b.params.outcome()
	o.Phase, o.Dealers, o.Confirmed, o.Faults = b.phase, b.set, len(b.holders), b.faults
	if b.phase == phaseDone {
		o.PublicKeys = []string{text(b.points[0].bytes())}
		o.DepositSafe = len(b.holders) >= b.t+b.params.faults()
	}
	return o
}
