package assembly

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// Phase is where a ceremony stands. Numbers are never used again.
type Phase uint8

const (
	PhaseJoin    Phase = 1  // participants post their keys
	PhaseDraw    Phase = 2  // waits for randomness, which draws cohorts and dealers
	PhaseDeal    Phase = 3  // dealers post headers and chunks
	PhaseVerify  Phase = 4  // participants report on what they received
	PhaseAnswer  Phase = 5  // hybrid: accused dealers open or post what they sent
	PhaseReplay  Phase = 6  // n-f participants replay everything and vote
	PhasePublish Phase = 7  // anyone posts the sums that they agreed on
	PhaseFreeze  Phase = 8  // waits for randomness, which unbiases the key
	PhaseConfirm Phase = 9  // participants confirm their shares
	PhaseDone    Phase = 10 // usable
	PhaseAborted Phase = 11
)

func (p Phase) String() string {
	names := [...]string{"", "join", "draw", "deal", "verify", "answer", "replay", "publish", "freeze", "confirm", "done", "aborted"}
	if int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// Fault names a participant and what it did.
type Fault struct {
	Seat int
	Kind dkg.FaultKind
}

// Reasons why a message is refused, those of smaller ceremonies. A refused
// message leaves no trace.
var (
	ErrCeremony  = dkg.ErrCeremony
	ErrPhase     = dkg.ErrPhase
	ErrSender    = dkg.ErrSender
	ErrDuplicate = dkg.ErrDuplicate
	ErrShape     = dkg.ErrShape
)

// Board is the public state of a ceremony, a function of what was posted. It
// is for use by one goroutine; reading it from several while nobody applies
// is fine.
type Board struct {
	params   Params
	cid      [32]byte
	phase    Phase
	now      uint64
	since    uint64 // beginning of the phase
	deadline uint64 // 0 when nothing waits for time
	round    int    // of verification
	places   []place

	joined  []int // ascending, final from the end of PhaseJoin on
	roster  [32]byte
	dealers []int // drawn, ascending
	cohorts [][]int

	set         []int // dealers whose dealings count; QUAL after the votes
	transcript  [32]byte
	excluded    Seats
	pending     []claim
	postings    map[[2]int]*Letter // dealer and recipient
	accusations []charge
	finding     *Finding // of whoever follows and examines; nil if nobody does
	agreed      *Vote    // what n-f voted
	sums        []byte   // encoded Y_0, …, Y_n over QUAL
	have        Seats    // which chunks of it are there
	block       [32]byte
	points      []bls.G1Point // Y_j + δ·G
	result      digest
	holders     Seats
	faults      []Fault
}

// place is what one participant has posted.
type place struct {
	joined  bool
	blamed  bool // any attributable fault
	key     kem.PublicKey
	hybrid  []byte
	cohort  int // 1 and up
	header  *Header
	body    []byte    // of the dealing
	have    Seats     // which chunks of it are there
	tree    wire.Tree // over its leaves, once it is complete
	may     bool      // report in this round
	spoke   bool      // and has
	voted   [32]byte  // content of its vote
	confirm *Confirm
}

// claim waits for a dealer's answer (hybrid).
type claim struct {
	dealer, from int
	complaint    *Complaint // nil: nothing came
}

type charge struct {
	from int
	Accusation
}

// NewBoard opens a ceremony at a time in milliseconds.
func NewBoard(p Params, now uint64) (*Board, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	n := int(p.N)
	b := &Board{params: p, cid: p.ID(), now: now, places: make([]place, n), excluded: newSeats(n), postings: map[[2]int]*Letter{}}
	b.enter(PhaseJoin, p.Deadlines.Join)
	return b, nil
}

// Apply takes a message that is known to come from a participant.
func (b *Board) Apply(from int, m Message) error {
	if m.ceremony() != b.cid {
		return ErrCeremony
	}
	if from < 1 || from > int(b.params.N) {
		return fmt.Errorf("take message of participant %d: %w", from, errSeat)
	}
	var err error
	switch m := m.(type) {
	case *Join:
		err = b.takeJoin(from, m)
	case *Header:
		err = b.takeHeader(from, m)
	case *Chunk:
		if m.Sums {
			err = b.takeSums(from, m)
		} else {
			err = b.takeDealing(from, m)
		}
	case *Report:
		err = b.takeReport(from, m)
	case *Opening:
		err = b.takeOpening(from, m)
	case *Posting:
		err = b.takePosting(from, m)
	case *Vote:
		err = b.takeVote(from, m)
	case *Confirm:
		err = b.takeConfirm(from, m)
	default:
		err = errKind
	}
	if err != nil {
		return fmt.Errorf("take %s of participant %d: %w", strings.TrimPrefix(fmt.Sprintf("%T", m), "*assembly."), from, err)
	}
	return nil
}

// Tick lets time pass, with randomness that nobody knew before: a block's
// hash or a beacon's output. Randomness is used only if it comes after what
// it decides about.
func (b *Board) Tick(now uint64, random [32]byte) {
	b.now = max(b.now, now)
	switch {
	case b.phase == PhaseDraw:
		b.draw(random)
	case b.phase == PhaseFreeze:
		b.unbias(random)
	case b.deadline == 0 || b.now < b.deadline:
	case b.phase == PhaseJoin:
		b.endJoin()
	case b.phase == PhaseDeal:
		b.endDeal()
	case b.phase == PhaseVerify:
		b.endVerify()
	case b.phase == PhaseAnswer:
		b.endAnswer()
	case b.phase == PhaseReplay:
		b.endReplay()
	case b.phase == PhaseConfirm:
		b.endConfirm()
	default: // nobody has the sums that n-f voted for
		b.abort()
	}
}

// enter begins a phase; a duration of 0 means that it does not end by time.
func (b *Board) enter(p Phase, duration uint32) {
	b.phase, b.since, b.deadline = p, b.now, 0
	if duration > 0 {
		b.deadline = b.now + uint64(duration)
	}
}

func (b *Board) abort() {
	b.pending = nil
	b.enter(PhaseAborted, 0)
}

// blame records a fault, once for each participant and kind.
func (b *Board) blame(i int, kind dkg.FaultKind) {
	if kind.Attributable() {
		b.at(i).blamed = true
	}
	if f := (Fault{i, kind}); !slices.Contains(b.faults, f) {
		b.faults = append(b.faults, f)
	}
}

// exclude takes a dealer out.
func (b *Board) exclude(i int, kind dkg.FaultKind) {
	b.blame(i, kind)
	b.excluded.add(i)
	b.pending = slices.DeleteFunc(b.pending, func(c claim) bool { return c.dealer == i })
}

func (b *Board) at(i int) *place { return &b.places[i-1] }

func (b *Board) which(has func(*place) bool) (seats []int) {
	for i := range b.places {
		if has(&b.places[i]) {
			seats = append(seats, i+1)
		}
	}
	return seats
}

// Params returns the parameters.
func (b *Board) Params() Params { return b.params }

// ID returns cid.
func (b *Board) ID() [32]byte { return b.cid }

// Phase returns the phase.
func (b *Board) Phase() Phase { return b.phase }

// Deadline returns when the phase ends at the latest; 0 when it does not end
// by time.
func (b *Board) Deadline() uint64 { return b.deadline }

// Joined returns who takes part, in ascending order.
func (b *Board) Joined() []int { return b.which(func(s *place) bool { return s.joined }) }

// Dealers returns who was drawn.
func (b *Board) Dealers() []int { return slices.Clone(b.dealers) }

// Qualified returns the dealers whose dealings count so far; QUAL from the
// votes on.
func (b *Board) Qualified() []int { return slices.Clone(b.set) }

// Cohort returns the number of a participant's cohort, from 1; 0 before the
// draw and for who did not join.
func (b *Board) Cohort(i int) int { return b.at(i).cohort }

// Faults returns who did what, oldest first.
func (b *Board) Faults() []Fault { return slices.Clone(b.faults) }

// Standing is how far one participant has come.
type Standing struct {
	Cohort    int // from 1; 0 before the draw and for who did not join
	Joined    bool
	Dealer    bool // drawn
	Dealt     bool
	Reported  bool
	Voted     bool
	Confirmed bool
	Blamed    bool
}

// Standing returns how far a participant has come.
func (b *Board) Standing(i int) Standing {
	s := b.at(i)
	return Standing{Cohort: s.cohort, Joined: s.joined, Dealer: b.isDealer(i), Dealt: s.tree != nil, Reported: s.spoke,
		Voted: s.voted != [32]byte{}, Confirmed: s.confirm != nil, Blamed: s.blamed}
}

// Mail returns what a dealer committed to send off the ledger: the root over
// one ciphertext for each who joined, in order.
func (b *Board) Mail(dealer int) (root [32]byte, ok bool) {
	if h := b.at(dealer).header; h != nil && b.params.Hybrid {
		return h.Mail, true
	}
	return root, false
}

// FaultsFrom returns the faults but the first n, for whoever has seen those.
func (b *Board) FaultsFrom(n int) []Fault { return slices.Clone(b.faults[n:]) }

// Holders returns who confirmed a share of the result.
func (b *Board) Holders() []int { return b.holders.List() }

// PublicKey returns the key that was made.
func (b *Board) PublicKey() (key bls.PublicKey, ok bool) {
	if b.phase != PhaseDone {
		return key, false
	}
	key, err := bls.ParsePublicKey(g1.AppendPoints(nil, b.points[:1]))
	return key, err == nil
}

// DepositSafe reports whether t+f participants hold their shares, so that the
// key stays usable even if f of them lied.
func (b *Board) DepositSafe() bool {
	return b.phase == PhaseDone && len(b.Holders()) >= int(b.params.T)+b.params.faults()
}

// Claims returns what a dealer has to answer now: participants whose complaint
// it must open, and those to whom it must post their ciphertext.
func (b *Board) Claims(dealer int) (open, post []int) {
	for _, c := range b.pending {
		switch {
		case c.dealer != dealer:
		case c.complaint != nil:
			open = append(open, c.from)
		default:
			post = append(post, c.from)
		}
	}
	return open, post
}

// AwaitsRandomness tells whether the next tick decides something by its
// randomness. No message is taken before.
func (p Phase) AwaitsRandomness() bool { return p == PhaseDraw || p == PhaseFreeze }

// Ended reports whether nothing comes after.
func (p Phase) Ended() bool { return p == PhaseDone || p == PhaseAborted }

// MayReport tells whether a participant is asked for a report now.
func (b *Board) MayReport(i int) bool {
	return b.phase == PhaseVerify && b.at(i).may && !b.at(i).spoke
}

// before counts who joined below seat i.
func (b *Board) before(i int) int {
	at, _ := slices.BinarySearch(b.joined, i)
	return at
}

func transcript(roster [32]byte, set []int, header func(i int) *Header) [32]byte {
	parts := [][]byte{roster[:]}
	for _, d := range set {
		parts = append(parts, be16(d), header(d).fields())
	}
	return wire.Hash(wire.TagAssemblyTranscript, parts...)
}
