package assembly

import (
	"errors"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/kem"
)

// Sabotage is a way to break the protocol that a rehearsal plays.
type Sabotage string

const (
	// What anyone can do.
	NoPossession    Sabotage = "no-possession"    // joins with a key that is not its own
	SecondKey       Sabotage = "second-key"       // joins twice
	NoSeat          Sabotage = "no-seat"          // speaks for seats 0 and n+1
	WrongSender     Sabotage = "wrong-sender"     // speaks for another seat
	OtherSession    Sabotage = "other-session"    // repeats a message of another ceremony
	FalseComplaint  Sabotage = "false-complaint"  // opens a share that is right
	BadOpening      Sabotage = "bad-opening"      // complains with a false proof
	FalseAccusation Sabotage = "false-accusation" // names a fault that is not there
	FalseVote       Sabotage = "false-vote"       // votes for other sums
	FalseConfirm    Sabotage = "false-confirm"    // confirms without a share
	// What a dealer can do.
	HighDegree   Sabotage = "high-degree"   // deals degree t
	LowDegree    Sabotage = "low-degree"    // deals degree t-2: harmless in a sum
	ZeroConstant Sabotage = "zero-constant" // deals f(0) = 0
	BadShare     Sabotage = "bad-share"     // one false share
	BadShares    Sabotage = "bad-shares"    // f+1 false shares
	OffSubgroup  Sabotage = "off-subgroup"  // a point of small order in a commitment
	Infinity     Sabotage = "infinity"      // the identity as a commitment
	Equivocation Sabotage = "equivocation"  // two headers
	Withheld     Sabotage = "withheld"      // a header without its dealing; with hybrid, no letters either
	CopiedRho    Sabotage = "copied-rho"    // another dealer's R
	BadAnswer    Sabotage = "bad-answer"    // hybrid: a false share, and other coins than those it sent with
)

// Sabotages returns all of them: what begins with the ceremony, what any
// participant can do later, and what takes a dealer.
func Sabotages() (joining, later, dealing []Sabotage) {
	return []Sabotage{NoPossession, SecondKey, NoSeat, WrongSender, OtherSession},
		[]Sabotage{FalseComplaint, BadOpening, FalseAccusation, FalseVote, FalseConfirm},
		[]Sabotage{HighDegree, LowDegree, ZeroConstant, BadShare, BadShares, OffSubgroup, Infinity, Equivocation, Withheld, CopiedRho, BadAnswer}
}

// Outcome is what a board should say of a saboteur: the faults of which it may
// be named for one, and whether the name is blame. Of some nothing shows: what
// they post is refused as if it had never been, or harms nobody.
func (s Sabotage) Outcome() (faults []dkg.FaultKind) {
	switch s {
	case NoPossession:
		return []dkg.FaultKind{dkg.BadPossession}
	case FalseComplaint, BadOpening:
		return []dkg.FaultKind{dkg.FalseComplaint}
	case FalseAccusation, FalseVote:
		return []dkg.FaultKind{dkg.Dissent}
	case FalseConfirm:
		return []dkg.FaultKind{dkg.BadConfirm}
	case HighDegree:
		return []dkg.FaultKind{dkg.BadDealing}
	case ZeroConstant, CopiedRho:
		return []dkg.FaultKind{dkg.BadHeader}
	case BadShare, BadShares:
		return []dkg.FaultKind{dkg.BadShare}
	case OffSubgroup, Infinity:
		return []dkg.FaultKind{dkg.BadDealing, dkg.BadShare}
	case Equivocation:
		return []dkg.FaultKind{dkg.Equivocation}
	case Withheld:
		return []dkg.FaultKind{dkg.AbsentDeal, dkg.AbsentAnswer}
	case BadAnswer:
		return []dkg.FaultKind{dkg.BadAnswer, dkg.BadShare}
	}
	return nil
}

// Saboteur is a participant that breaks the protocol. It exists in rehearsals
// only: NewSaboteur wants an exercise.
type Saboteur struct {
	*Participant
	Kind    Sabotage
	Victims []int // of BadShare, BadShares and BadAnswer, in this order
}

// NewSaboteur turns a participant of an exercise.
func NewSaboteur(q *Participant, kind Sabotage) (*Saboteur, error) {
	if !q.params.Exercise {
		return nil, errors.New("sabotage a ceremony: it is not an exercise")
	}
	return &Saboteur{Participant: q, Kind: kind}, nil
}

// Join says what a saboteur joins with.
func (s *Saboteur) Join() []Message {
	m := s.Participant.Join()
	switch s.Kind {
	case NoPossession:
		m.Key = kemKey(s.draw("stolen key"))
	case OtherSession:
		m.CID[0] ^= 1
	case SecondKey:
		second := *m
		second.Key = kemKey(s.draw("second key"))
		return []Message{m, &second}
	}
	return []Message{m}
}

// Deal says what a saboteur deals.
func (s *Saboteur) Deal(b *Board) ([]Message, error) {
	n, t := int(s.params.N), int(s.params.T)
	values := make([]bls.G1Scalar, t+1)
	s.fill(b, values)
	switch s.Kind {
	case HighDegree:
		t++
	case LowDegree:
		t--
	case ZeroConstant:
		values[0] = bls.G1Scalar{}
	}
	shares := g1.Extend(values[:t], n)
	points := commit(shares)
	mine := points[s.me*pointSize : (s.me+1)*pointSize]
	switch s.Kind {
	case BadShare, BadAnswer:
		s.spoil(shares, 1)
	case BadShares:
		s.spoil(shares, s.params.faults()+1)
	case OffSubgroup:
		p := make([]bls.G1Point, 1)
		q := outside()
		if err := g1.SetPoint(&p[0], mine); err != nil {
			return nil, err
		}
		g1.AddPoint(&p[0], &q)
		copy(mine, g1.AppendPoints(nil, p))
	case Infinity:
		copy(mine, g1.AppendPoints(nil, make([]bls.G1Point, 1)))
	}
	out, err := s.seal(b, shares, points)
	if err != nil {
		return nil, err
	}
	switch s.Kind {
	case Equivocation:
		second := *out[0].(*Header)
		second.Root[0] ^= 1
		wide := s.draw("rho", b.roster[:])
		s.prove(b, &second, &shares[0], kem.NewSecretKey(&wide))
		return append(out, &second), nil
	case Withheld:
		if !s.params.Hybrid {
			return out[:1], nil
		}
	case CopiedRho:
		h := out[0].(*Header)
		for _, d := range b.joined { // somebody's key serves as well as a dealer's R
			if d != s.me {
				h.R = b.at(d).key
				break
			}
		}
	}
	return out, nil
}

// spoil makes the shares of some victims false.
func (s *Saboteur) spoil(shares []bls.G1Scalar, count int) {
	var one bls.G1Scalar
	g1.SetWeight(&one, &[16]byte{1})
	for _, i := range s.Victims[:min(count, len(s.Victims))] {
		g1.AddScalar(&shares[i], &one)
	}
}

// Letter withholds what it should send.
func (s *Saboteur) Letter(recipient int) *Letter {
	if s.Kind == Withheld {
		return nil
	}
	return s.Participant.Letter(recipient)
}

// Answer opens other coins, or nothing.
func (s *Saboteur) Answer(b *Board) []Message {
	if s.Kind == Withheld {
		return nil
	}
	out := s.Participant.Answer(b)
	for _, m := range out {
		if o, ok := m.(*Opening); ok && s.Kind == BadAnswer {
			o.Coins[0] ^= 1
		}
	}
	return out
}

// Report complains about, or accuses, a dealer that did nothing wrong.
func (s *Saboteur) Report(b *Board, accusations []Accusation, mail func(int) *Letter, honest func(dealer int) bool) (*Report, error) {
	r, err := s.Participant.Report(b, accusations, mail)
	if err != nil || b.round > 1 {
		return r, err
	}
	for _, d := range b.set {
		if d == s.me || !honest(d) {
			continue
		}
		switch s.Kind {
		case FalseComplaint, BadOpening:
			c := s.complain(b, d)
			if s.Kind == BadOpening {
				c.Shared = [kem.PointSize]byte(kemKey(s.draw("other point")).Bytes())
			}
			r.Complaints, r.Withheld = []Complaint{c}, nil
			return r, nil
		case FalseAccusation:
			if b.at(d).cohort == b.at(s.me).cohort {
				r.Accusations = []Accusation{{Dealer: uint16(d), At: b.params.N}}
				return r, nil
			}
		}
	}
	return r, nil
}

// Vote names other sums.
func (s *Saboteur) Vote(b *Board, f *Finding) *Vote {
	v := s.Participant.Vote(b, f)
	if s.Kind == FalseVote {
		v.Sums[0] ^= 1
	}
	return v
}

// Confirm attests with another share.
func (s *Saboteur) Confirm(b *Board) (*Confirm, error) {
	m, err := s.Participant.Confirm(b)
	if err != nil || s.Kind != FalseConfirm {
		return m, err
	}
	var other bls.G1Scalar
	wide := s.draw("other share")
	g1.SetWide(&other, &wide)
	copy(m.Attestation[:], g1.Attest(&other, attestMessage(b.cid, b.result)))
	return m, nil
}

func kemKey(wide [64]byte) kem.PublicKey { return kem.NewSecretKey(&wide).Public() }

// outside returns a point of the curve outside the subgroup.
func outside() (p bls.G1Point) {
	for x := byte(1); x != 0; x++ {
		enc := make([]byte, pointSize)
		enc[0], enc[pointSize-1] = 0x80, x
		if g1.SetPoint(&p, enc) == nil && len(g1.Outside([]bls.G1Point{p})) == 1 {
			return p
		}
	}
	panic("assembly: no such point") // there are two for every other x
}
