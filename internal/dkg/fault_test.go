package dkg_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
	"github.com/quorate/quorate/internal/kem"
)

// forge replaces a seat's dealing.
func forge(edit func(*dkg.Editor)) dkgtest.Behaviour {
	return func(c *dkgtest.Ceremony, seat int, honest []dkg.Message) []dkg.Message {
		if c.Board.Phase() != dkg.PhaseDeal || len(honest) == 0 {
			return honest
		}
		q, err := c.Participant(seat)
		if err != nil {
			panic(err)
		}
		return dkg.Forge(q, c.Board, c.Source, edit)
	}
}

// alter changes copies of the messages of one type.
func alter[M dkg.Message](change func(c *dkgtest.Ceremony, q *dkg.Participant, m M)) dkgtest.Behaviour {
	return func(c *dkgtest.Ceremony, seat int, honest []dkg.Message) []dkg.Message {
		q, err := c.Participant(seat)
		if err != nil {
			panic(err)
		}
		for i := range honest {
			again, err := dkg.ParseMessage(honest[i].Encode())
			if err != nil {
				panic(err)
			}
			if m, ok := again.(M); ok {
				change(c, q, m)
				honest[i] = m
			}
		}
		return honest
	}
}

// omit leaves out messages.
func omit(which func(dkg.Message) bool) dkgtest.Behaviour {
	return func(_ *dkgtest.Ceremony, _ int, honest []dkg.Message) []dkg.Message {
		return slices.DeleteFunc(honest, which)
	}
}

func is[M dkg.Message](m dkg.Message) bool { _, ok := m.(M); return ok }

func both(acts ...dkgtest.Behaviour) dkgtest.Behaviour {
	return func(c *dkgtest.Ceremony, seat int, out []dkg.Message) []dkg.Message {
		for _, act := range acts {
			out = act(c, seat, out)
		}
		return out
	}
}

func falseShares(seats ...int) dkgtest.Behaviour {
	return forge(func(ed *dkg.Editor) {
		for _, i := range seats {
			ed.AddToShare(1, i, 1)
		}
	})
}

// identity is how each suite writes it.
func identity(s dkg.Suite) []byte {
	if s == dkg.SuiteG1 {
		return append([]byte{0xc0}, make([]byte, 47)...)
	}
	return make([]byte, 32)
}

// scenario is one way to cheat. The cheat sits at seat 2.
type scenario struct {
	name   string
	act    func(p dkg.Params) dkgtest.Behaviour
	fault  dkg.FaultKind
	out    bool // its dealing must not count
	suite  dkg.Suite
	hybrid bool       // only there
	not    []dkg.Mode // elsewhere only
}

const cheat = 2

func always(b dkgtest.Behaviour) func(dkg.Params) dkgtest.Behaviour {
	return func(dkg.Params) dkgtest.Behaviour { return b }
}

var scenarios = []scenario{
	{name: "no proof of possession", fault: dkg.BadPossession, out: true,
		act: always(alter(func(_ *dkgtest.Ceremony, _ *dkg.Participant, m *dkg.Join) { m.Possession = kem.Proof{} }))},
	{name: "another's join", fault: dkg.BadPossession, out: true,
		act: always(func(c *dkgtest.Ceremony, seat int, honest []dkg.Message) []dkg.Message {
			if c.Board.Phase() != dkg.PhaseJoin {
				return honest
			}
			q, _ := c.Participant(1)
			return []dkg.Message{q.Join()}
		})},
	{name: "copied R with own proof", fault: dkg.BadHeader, out: true,
		act: always(copyR(func(theirs, mine *dkg.Header) { mine.R = theirs.R }, true))},
	{name: "copied R with its proof", fault: dkg.BadHeader, out: true,
		act: always(copyR(func(theirs, mine *dkg.Header) { mine.R, mine.Rho = theirs.R, theirs.Rho }, false))},
	{name: "copied header", fault: dkg.BadHeader, out: true,
		act: always(copyR(func(theirs, mine *dkg.Header) { *mine = *theirs }, false))},
	{name: "degree too high", fault: dkg.BadShare, out: true,
		act: func(p dkg.Params) dkgtest.Behaviour {
			return forge(func(ed *dkg.Editor) { // f + x(x-1)…(x-t+1)/t!, which is 0 at the values that are published
				binomial := 1
				for i := int(p.T); i <= int(p.N); i++ {
					ed.AddToShare(0, i, byte(binomial))
					binomial = binomial * (i + 1) / (i + 1 - int(p.T))
				}
			})
		}},
	{name: "identity constant term", fault: dkg.BadDealing, out: true, not: []dkg.Mode{dkg.ModeRefresh},
		act: func(p dkg.Params) dkgtest.Behaviour {
			return forge(func(ed *dkg.Editor) { ed.SetPoint(1, 0, identity(p.Suite)) })
		}},
	{name: "identity commitment", fault: dkg.BadDealing, out: true,
		act: func(p dkg.Params) dkgtest.Behaviour {
			return forge(func(ed *dkg.Editor) { ed.SetPoint(1, 1, identity(p.Suite)) })
		}},
	{name: "not a point", fault: dkg.BadDealing, out: true,
		act: func(p dkg.Params) dkgtest.Behaviour {
			return forge(func(ed *dkg.Editor) { ed.SetPoint(0, 1, slices.Repeat([]byte{0xff}, len(identity(p.Suite)))) })
		}},
	{name: "point outside the subgroup", fault: dkg.BadDealing, out: true, suite: dkg.SuiteG1,
		act: always(forge(func(ed *dkg.Editor) { ed.SetPoint(1, 1, dkg.OutsidePoint(dkg.SuiteG1)) }))},
	{name: "point shifted outside the subgroup", fault: dkg.BadDealing, out: true, suite: dkg.SuiteG1,
		act: always(forge(func(ed *dkg.Editor) { ed.AddPoint(0, 2, dkg.OutsidePoint(dkg.SuiteG1)) }))},
	{name: "another's commitments", fault: dkg.BadDealing, out: true, not: []dkg.Mode{dkg.ModeRefresh},
		act: always(copyDealing)},
	{name: "another's commitments, of which nobody proves knowledge", fault: dkg.BadShare, out: true, not: []dkg.Mode{dkg.ModeKeygen, dkg.ModeReshare},
		act: always(copyDealing)},
	{name: "constant term that is not 0", fault: dkg.BadDealing, out: true, not: []dkg.Mode{dkg.ModeKeygen, dkg.ModeReshare},
		act: func(p dkg.Params) dkgtest.Behaviour {
			return forge(func(ed *dkg.Editor) { ed.SetPoint(1, 0, dkgtest.PublicKey(p.Suite, scalar(p.Suite, 9))) })
		}},
	{name: "another's share", fault: dkg.BadDealing, out: true, not: []dkg.Mode{dkg.ModeKeygen, dkg.ModeRefresh},
		act: always(forge(func(ed *dkg.Editor) {
			ed.Constant(1)
			ed.AddPoint(1, 0, dkgtest.PublicKey(ed.Suite(), scalar(ed.Suite(), 1)))
		}))},
	{name: "no knowledge of the secrets", fault: dkg.BadDealing, out: true, not: []dkg.Mode{dkg.ModeRefresh},
		act: always(alter(func(c *dkgtest.Ceremony, q *dkg.Participant, m *dkg.Header) {
			m.Knowledge[len(m.Knowledge)-5] ^= 1
			dkg.Resign(q, c.Board, m)
		}))},
	{name: "false share to one", fault: dkg.BadShare, out: true, act: always(falseShares(3))},
	{name: "false shares to f+1", fault: dkg.BadShare, out: true,
		act: func(p dkg.Params) dkgtest.Behaviour {
			var to []int
			for i := range (int(p.N)-1)/3 + 1 {
				to = append(to, int(p.N)-i)
			}
			return falseShares(to...)
		}},
	{name: "share that is no scalar", fault: dkg.BadShare, out: true,
		act: always(forge(func(ed *dkg.Editor) { ed.SetShare(1, 3, slices.Repeat([]byte{0xff}, 32)) }))},
	{name: "garbage encapsulation", fault: dkg.BadAnswer, out: true, hybrid: true,
		act: always(alter(func(c *dkgtest.Ceremony, q *dkg.Participant, m *dkg.Header) {
			m.Encapsulations[7] ^= 1
			dkg.Resign(q, c.Board, m)
		}))},
	{name: "false answer", fault: dkg.BadAnswer, out: true, hybrid: true,
		act: always(both(falseShares(3), alter(func(_ *dkgtest.Ceremony, _ *dkg.Participant, m *dkg.Answer) { m.Coins[0] ^= 1 })))},
	{name: "no answer", fault: dkg.AbsentAnswer, out: true, hybrid: true,
		act: always(both(falseShares(3), omit(is[*dkg.Answer])))},
	{name: "equivocation", fault: dkg.Equivocation, out: true,
		act: always(func(c *dkgtest.Ceremony, seat int, honest []dkg.Message) []dkg.Message {
			if c.Board.Phase() != dkg.PhaseDeal || len(honest) == 0 || len(c.Refused[seat]) > 0 {
				return honest
			}
			q, _ := c.Participant(seat)
			other := dkg.Forge(q, c.Board, c.Source, func(ed *dkg.Editor) { ed.AddToShare(0, 1, 1) })
			return append(honest[:1], other...)
		})},
	{name: "withheld chunk", fault: dkg.AbsentDeal, out: true, act: always(omit(is[*dkg.Chunk]))},
	{name: "absent dealer", fault: dkg.AbsentDeal, out: true,
		act: always(omit(func(m dkg.Message) bool { return is[*dkg.Header](m) || is[*dkg.Chunk](m) }))},
	{name: "absent", fault: dkg.AbsentJoin, out: true, act: always(dkgtest.Silent)},
	{name: "false complaint", fault: dkg.FalseComplaint,
		act: always(alter(func(c *dkgtest.Ceremony, q *dkg.Participant, m *dkg.Verdict) {
			m.Complaints = []dkg.Complaint{dkg.Accuse(q, c.Board, c.Source, 1, 0), dkg.Accuse(q, c.Board, c.Source, 3, 1)}
		}))},
	{name: "complaint with a false opening", fault: dkg.FalseComplaint,
		act: always(accuse(func(a *dkg.Complaint) { a.Shared[1] ^= 1 }))},
	{name: "complaint with a false proof", fault: dkg.FalseComplaint,
		act: always(accuse(func(a *dkg.Complaint) { a.Proof[40] ^= 1 }))},
	{name: "complaint about a leaf never dealt", fault: dkg.FalseComplaint,
		act: always(accuse(func(a *dkg.Complaint) { a.Leaf = slices.Clone(a.Leaf); a.Leaf[len(a.Leaf)-1] ^= 1 }))},
	{name: "complaint about another's leaf", fault: dkg.FalseComplaint,
		act: always(accuse(func(a *dkg.Complaint) { a.At ^= 1 }))},
	{name: "complaint about a key that is not", fault: dkg.FalseComplaint,
		act: always(accuse(func(a *dkg.Complaint) { a.At = 1 << 31 }))},
	{name: "false sums", fault: dkg.Dissent,
		act: always(alter(func(_ *dkgtest.Ceremony, _ *dkg.Participant, m *dkg.Verdict) { m.Sums[0] ^= 1 }))},
	{name: "false accusation", fault: dkg.Dissent,
		act: always(alter(func(_ *dkgtest.Ceremony, _ *dkg.Participant, m *dkg.Verdict) { m.Faulty = m.Faulty.With(1) }))},
	{name: "no verdict", fault: dkg.AbsentVerdict, act: always(omit(is[*dkg.Verdict]))},
	{name: "false confirmation", fault: dkg.BadConfirm,
		act: always(alter(func(_ *dkgtest.Ceremony, _ *dkg.Participant, m *dkg.Confirm) {
			m.Attestation[40] ^= 1
		}))},
	{name: "another's confirmation", fault: dkg.BadConfirm,
		act: always(alter(func(c *dkgtest.Ceremony, _ *dkg.Participant, m *dkg.Confirm) {
			q, _ := c.Participant(1)
			theirs, err := q.Confirm(c.Board, c.Source)
			if err != nil {
				panic(err)
			}
			*m = *theirs
		}))},
	{name: "another result", fault: dkg.Dissent,
		act: always(alter(func(_ *dkgtest.Ceremony, _ *dkg.Participant, m *dkg.Confirm) { m.Result[0] ^= 1 }))},
}

// copyR deals with what another seat's header says.
func copyR(change func(theirs, mine *dkg.Header), resign bool) dkgtest.Behaviour {
	return alter(func(c *dkgtest.Ceremony, q *dkg.Participant, m *dkg.Header) {
		other, _ := c.Participant(1)
		theirs, _, err := other.Deal(c.Board, c.Source)
		if err != nil {
			panic(err)
		}
		change(theirs, m)
		if resign {
			dkg.Resign(q, c.Board, m)
		}
	})
}

// copyDealing posts another's leaves as its own: the proof of knowledge is
// what it cannot make.
func copyDealing(c *dkgtest.Ceremony, seat int, honest []dkg.Message) []dkg.Message {
	if c.Board.Phase() != dkg.PhaseDeal || len(honest) == 0 {
		return honest
	}
	q, _ := c.Participant(seat)
	other, _ := c.Participant(1)
	theirs, chunks, err := other.Deal(c.Board, c.Source)
	if err != nil {
		panic(err)
	}
	mine, _, err := q.Deal(c.Board, c.Source)
	if err != nil {
		panic(err)
	}
	copied := *mine
	copied.Root, copied.Knowledge = theirs.Root, theirs.Knowledge
	dkg.Resign(q, c.Board, &copied)
	out := []dkg.Message{&copied}
	for _, m := range chunks {
		out = append(out, m)
	}
	return out
}

// accuse complains about seat 1, with evidence changed.
func accuse(change func(*dkg.Complaint)) dkgtest.Behaviour {
	return alter(func(c *dkgtest.Ceremony, q *dkg.Participant, m *dkg.Verdict) {
		a := dkg.Accuse(q, c.Board, c.Source, 1, 0)
		change(&a)
		m.Complaints = []dkg.Complaint{a}
	})
}

// applies reports whether a scenario is one of ceremonies like that.
func (s scenario) applies(p dkg.Params) bool {
	return (s.suite == 0 || s.suite == p.Suite) && (p.Hybrid || !s.hybrid) && !slices.Contains(s.not, p.Mode)
}

func TestFaults(t *testing.T) {
	all := func(t *testing.T, p dkg.Params) {
		for _, s := range scenarios {
			if !s.applies(p) {
				continue
			}
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.check(t, open(t, p))
			})
		}
	}
	each(t, []int{4}, all)
	if testing.Short() {
		return
	}
	t.Run("n=7", func(t *testing.T) { all(t, dkgtest.Params(dkg.SuiteG1, true, 7, 2)) })
	t.Run("n=10", func(t *testing.T) { all(t, dkgtest.Params(dkg.SuiteRistretto, false, 10, 2)) })
}

func (s scenario) check(t *testing.T, c *dkgtest.Ceremony) {
	t.Helper()
	p := c.Board.Params()
	c.Acts[cheat] = s.act(p)
	finish(t, c)
	if !c.Has(cheat, s.fault) {
		t.Errorf("%s is not named; faults %v", s.fault, c.Board.Faults())
	}
	for _, f := range c.Board.Faults() {
		if f.Seat != cheat {
			t.Errorf("honest seat %d is named for %s", f.Seat, f.Kind)
		}
	}
	if s.fault.Attributable() != c.Blamed().Has(cheat) {
		t.Errorf("blamed %s; faults %v", c.Blamed(), c.Board.Faults())
	}
	want := p.Parties()
	if s.out {
		want = want.Without(dkg.Seats(0).With(cheat))
	}
	if c.Board.Dealers() != want.Dealers() {
		t.Errorf("QUAL %s, want %s", c.Board.Dealers(), want)
	}
}

func TestRefusedMessages(t *testing.T) {
	p := dkgtest.Params(dkg.SuiteG1, true, 4, 2)
	c := open(t, p)
	q, err := c.Participant(1)
	if err != nil {
		t.Fatal(err)
	}
	join := q.Join()
	for _, seat := range []int{-1, 0, 5, 1 << 20} {
		if err := c.Post(seat, join); err == nil {
			t.Errorf("seat %d was let in", seat)
		}
	}
	if err := c.Post(1, join); err != nil {
		t.Fatal(err)
	}
	if err := c.Post(1, join); !errors.Is(err, dkg.ErrDuplicate) {
		t.Errorf("second join: %v", err)
	}
	if err := c.Post(2, &dkg.Confirm{CID: join.CID}); !errors.Is(err, dkg.ErrPhase) {
		t.Errorf("early confirmation: %v", err)
	}

	// Another session of the same people.
	other := p
	other.Nonce[0] ^= 1
	d := open(t, other)
	until(t, d, dkg.PhaseDeal)
	before := d.Board.Encode()
	if err := d.Post(1, join); !errors.Is(err, dkg.ErrCeremony) {
		t.Errorf("replayed join: %v", err)
	}
	if string(d.Board.Encode()) != string(before) {
		t.Error("a refused message left a trace")
	}
	// Relabelled, its proof no longer holds.
	e := open(t, other)
	replay := *join
	replay.CID = e.Board.ID()
	if err := e.Post(1, &replay); err != nil || !e.Has(1, dkg.BadPossession) {
		t.Errorf("relabelled join: %v, faults %v", err, e.Board.Faults())
	}
}

// TestReplayedDealing takes a whole dealing from another session.
func TestReplayedDealing(t *testing.T) {
	p := dkgtest.Params(dkg.SuiteG1, false, 4, 2)
	other := p
	other.Nonce[0] ^= 1
	old := open(t, other)
	until(t, old, dkg.PhaseDeal)
	q, _ := old.Participant(cheat)
	header, chunks, err := q.Deal(old.Board, old.Source)
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, p)
	c.Acts[cheat] = func(c *dkgtest.Ceremony, _ int, honest []dkg.Message) []dkg.Message {
		if c.Board.Phase() != dkg.PhaseDeal {
			return honest
		}
		h := *header
		h.CID = c.Board.ID()
		out := []dkg.Message{header, &h}
		for _, m := range chunks {
			m := *m
			m.CID = c.Board.ID()
			out = append(out, &m)
		}
		return out
	}
	finish(t, c)
	if !c.Has(cheat, dkg.BadHeader) || c.Blamed() != dkg.Seats(0).With(cheat) {
		t.Fatalf("faults %v", c.Board.Faults())
	}
}

// TestLowDegree: among others a dealing of too low a degree harms nobody, and
// is not even a fault; alone it would lower the threshold.
func TestLowDegree(t *testing.T) {
	each(t, []int{4, 7}, func(t *testing.T, p dkg.Params) {
		c := open(t, p)
		c.Acts[cheat] = forge(func(ed *dkg.Editor) { ed.Constant(1) })
		finish(t, c)
		if len(c.Board.Faults()) != 0 {
			t.Fatalf("faults %v", c.Board.Faults())
		}

		keys := [][]byte{scalar(p.Suite, 7), scalar(p.Suite, 9)}
		d := open(t, importing(p, cheat, keys), keys...)
		d.Acts[cheat] = forge(func(ed *dkg.Editor) { ed.Constant(1) })
		if err := d.Run(); err != nil {
			t.Fatal(err)
		}
		if d.Board.Phase() != dkg.PhaseAborted || !d.Has(cheat, dkg.BadDealing) || d.Blamed() != dkg.Seats(0).With(cheat) {
			t.Fatalf("import ended %s, faults %v", d.Board.Phase(), d.Board.Faults())
		}
	})
}

// TestCancellingPoints: what cancels in the sum harms nobody.
func TestCancellingPoints(t *testing.T) {
	outside := dkg.OutsidePoint(dkg.SuiteG1)
	inverse := slices.Clone(outside)
	inverse[0] ^= 0x20
	c := open(t, dkgtest.Params(dkg.SuiteG1, false, 7, 2))
	c.Acts[2] = forge(func(ed *dkg.Editor) { ed.AddPoint(0, 1, outside) })
	c.Acts[3] = forge(func(ed *dkg.Editor) { ed.AddPoint(0, 1, inverse) })
	finish(t, c)
}

// TestManyFaults runs f cheats of different kinds together.
func TestManyFaults(t *testing.T) {
	for _, p := range []dkg.Params{
		dkgtest.Params(dkg.SuiteG1, false, 7, 2), dkgtest.Params(dkg.SuiteG1, true, 7, 2),
		dkgtest.Params(dkg.SuiteG1, true, 10, 2), dkgtest.Params(dkg.SuiteRistretto, true, 10, 2),
	} {
		c := open(t, p)
		c.Acts[2] = both(falseShares(1, 3), accuse(func(a *dkg.Complaint) { a.Proof[40] ^= 1 }))
		c.Acts[4] = forge(func(ed *dkg.Editor) { ed.SetPoint(0, 0, identity(p.Suite)) })
		want := dkg.Seats(0).With(2).With(4)
		if p.N == 10 {
			c.Acts[6] = falseShares(3)
			want = want.With(6)
		}
		finish(t, c)
		if c.Blamed() != want || c.Board.Dealers() != dkg.AllSeats(int(p.N)).Without(want).Dealers() {
			t.Fatalf("blamed %s, want %s; QUAL %s; faults %v", c.Blamed(), want, c.Board.Dealers(), c.Board.Faults())
		}
	}
}

// TestAbort: with more than f seats missing a ceremony ends without a key.
func TestAbort(t *testing.T) {
	// Two against two: nobody can tell who lies, so nobody is named.
	split := map[string]bool{"dissent": true, "result": true}
	for name, act := range map[string]dkgtest.Behaviour{
		"join":    dkgtest.Silent,
		"deal":    omit(is[*dkg.Header]),
		"verify":  omit(is[*dkg.Verdict]),
		"dissent": alter(func(_ *dkgtest.Ceremony, _ *dkg.Participant, m *dkg.Verdict) { m.Sums[0] ^= 1 }),
		"confirm": omit(is[*dkg.Confirm]),
		"result":  alter(func(_ *dkgtest.Ceremony, _ *dkg.Participant, m *dkg.Confirm) { m.Result[0] ^= 1 }),
		"attest":  alter(func(_ *dkgtest.Ceremony, _ *dkg.Participant, m *dkg.Confirm) { m.Attestation = make([]byte, 96) }),
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, dkgtest.Params(dkg.SuiteG1, false, 4, 1))
			c.Acts[1], c.Acts[3] = act, act
			if err := c.Run(); err != nil {
				t.Fatal(err)
			}
			if c.Board.Phase() != dkg.PhaseAborted || (len(c.Board.Faults()) == 0) != split[name] || c.Blamed().Without(dkg.Seats(0).With(1).With(3)) != 0 {
				t.Fatalf("ended %s, faults %v", c.Board.Phase(), c.Board.Faults())
			}
		})
	}
}
