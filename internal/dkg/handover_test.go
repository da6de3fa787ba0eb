package dkg_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// people are assemblies by their size, at the threshold that they have by
// default where they are to hand over: n - f.
func people(n int) *dkgtest.Assembly { return dkgtest.NewAssembly(n, n-(n-1)/3, "ours") }

func handOver(t testing.TB, nodes int, hybrid bool, a *dkgtest.Assembly) *dkgtest.Ceremony {
	t.Helper()
	c, err := dkgtest.HandOver(dkgtest.Params(dkg.SuiteG1, hybrid, nodes, 1), a)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// handedOver finishes a hand-over: all that every ceremony owes, and the key
// that it began with.
func handedOver(t *testing.T, c *dkgtest.Ceremony, a *dkgtest.Assembly) {
	t.Helper()
	finish(t, c)
	result, err := dkg.ReadResult(c.Board, c.Source)
	if err != nil || !bytes.Equal(result.PublicKey(0), a.Key) {
		t.Fatalf("the key changed: %v", err)
	}
}

func TestHandOver(t *testing.T) {
	for _, nodes := range []int{4, 7} {
		for _, of := range []int{4, 7, 64} {
			for _, hybrid := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d to %d, hybrid=%t", of, nodes, hybrid), func(t *testing.T) {
					t.Parallel()
					a := people(of)
					c := handOver(t, nodes, hybrid, a)
					handedOver(t, c, a)
					if len(c.Board.Faults()) != 0 || !c.Board.DepositSafe() || c.Board.Dealers().Len() != of {
						t.Fatalf("faults %v, holders %s, dealers %s", c.Board.Faults(), c.Board.Holders(), c.Board.Dealers())
					}
					if of <= 7 {
						proves(t, "hand-over", c)
					}
				})
			}
		}
	}
}

// assembled plays a real assembly to its end.
func assembled(t *testing.T, n int) *dkgtest.Assembly {
	t.Helper()
	c := assemblytest.New(t, n, 1, 0, nil)
	var roster assembly.Roster
	for _, k := range c.Keys {
		roster = append(roster, k.Public())
	}
	f, err := assembly.Follow(assembly.Head(c.Params, roster, 1000))
	if err != nil {
		t.Fatal(err)
	}
	for now := uint64(2000); f.Board().Phase() != assembly.PhaseDone; now += 1000 {
		if now > 100_000 {
			t.Fatalf("the assembly stands still in %s", f.Board().Phase())
		}
		if err := f.Take(assembly.TickEntry(now, [32]byte{byte(now >> 8)})); err != nil {
			t.Fatal(err)
		}
		for seat := 1; seat <= n; seat++ {
			for _, p := range c.Next(f, seat) {
				if f.Try(nil, assembly.PostEntry(p.Seat, p.Message, p.Signature)) == nil {
					c.Took(p)
				}
			}
		}
	}
	cert, err := f.Board().Certificate()
	if err != nil {
		t.Fatal(err)
	}
	if root, ok := f.Board().Result(); !ok || root != cert.Result() {
		t.Error("board and certificate have two results")
	}
	key, err := cert.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	pk := key.Bytes()
	a := &dkgtest.Assembly{ID: c.Params.ID(), T: int(c.Params.T), Key: pk[:], Root: cert.Result(), Paths: cert.Path}
	for seat := 1; seat <= n; seat++ {
		share, err := c.Share(f, seat)
		if err != nil {
			t.Fatal(err)
		}
		share.Expose(func(b []byte) { a.Shares = append(a.Shares, bytes.Clone(b)) })
	}
	return a
}

// TestHandOverOfAnAssembly takes a key from those who made it.
func TestHandOverOfAnAssembly(t *testing.T) {
	a := assembled(t, 5)
	c := handOver(t, 4, true, a)
	c.People[3] = dkgtest.Silent
	handedOver(t, c, a)
	if len(c.Board.Faults()) != 0 || c.Board.Dealers() != seats(1, 2, 4, 5).Dealers() {
		t.Fatalf("faults %v, dealers %s", c.Board.Faults(), c.Board.Dealers())
	}
}

// TestHandOverOn: what participants handed over goes on as any other key.
func TestHandOverOn(t *testing.T) {
	a := people(4)
	c := handOver(t, 5, false, a)
	handedOver(t, c, a)
	next := renew(t, c, reshare(seats(2)))
	finish(t, next)
	sameKeys(t, c, next)
}

// TestHandOverRestart: a dealer made anew from its seed says the same.
func TestHandOverRestart(t *testing.T) {
	a := people(4)
	var said [2][]byte
	for i := range said {
		c := handOver(t, 4, true, a)
		c.Restart = i == 1
		c.People[2] = forgeDealing(func(ed *dkg.Editor) { ed.AddToShare(0, 3, 1) })
		for _, p := range []int{1, 2, 3, 4} {
			act := c.People[p]
			c.People[p] = func(c *dkgtest.Ceremony, p int, out []dkg.Message) []dkg.Message {
				if act != nil {
					out = act(c, p, out)
				}
				for _, m := range out {
					said[i] = append(said[i], m.Encode()...)
				}
				return out
			}
		}
		handedOver(t, c, a)
	}
	if len(said[0]) < 5000 || !bytes.Equal(said[0], said[1]) {
		t.Fatalf("a restarted dealer says something else: %d and %d bytes", len(said[0]), len(said[1]))
	}
}

func forgeDealing(edit func(*dkg.Editor)) dkgtest.Behaviour {
	return onDealing(func(c *dkgtest.Ceremony, q *dkg.Dealer, m *dkg.Dealing) {
		*m = *dkg.ForgeDealing(q, c.Board, c.Source, edit)
	})
}

// onDealing changes a participant's dealing; what is not changed back is signed
// for again only by the change itself.
func onDealing(change func(c *dkgtest.Ceremony, q *dkg.Dealer, m *dkg.Dealing)) dkgtest.Behaviour {
	return func(c *dkgtest.Ceremony, i int, out []dkg.Message) []dkg.Message {
		q, err := c.Dealer(i)
		if err != nil {
			panic(err)
		}
		for k := range out {
			again, err := dkg.ParseMessage(out[k].Encode())
			if m, ok := again.(*dkg.Dealing); ok && err == nil {
				change(c, q, m)
				out[k] = m
			}
		}
		return out
	}
}

func onAnswer(change func(*dkg.Answer)) dkgtest.Behaviour {
	return func(_ *dkgtest.Ceremony, _ int, out []dkg.Message) []dkg.Message {
		for _, m := range out {
			if a, ok := m.(*dkg.Answer); ok {
				change(a)
			}
		}
		return out
	}
}

// falseDealers are the ways in which a participant deals falsely, and what it
// is named for.
var falseDealers = []struct {
	name   string
	fault  dkg.FaultKind
	hybrid bool
	act    dkgtest.Behaviour
}{
	{"false share to one", dkg.BadShare, false, forgeDealing(func(ed *dkg.Editor) { ed.AddToShare(0, 3, 1) })},
	{"false shares to f+1", dkg.BadShare, false, forgeDealing(func(ed *dkg.Editor) { ed.AddToShare(0, 3, 1); ed.AddToShare(0, 4, 1) })},
	{"share that is no scalar", dkg.BadShare, false, forgeDealing(func(ed *dkg.Editor) { ed.SetShare(0, 3, slices.Repeat([]byte{0xff}, 32)) })},
	{"not a point", dkg.BadDealing, false, forgeDealing(func(ed *dkg.Editor) { ed.SetPoint(0, 1, slices.Repeat([]byte{0xff}, 48)) })},
	{"identity commitment", dkg.BadDealing, false, forgeDealing(func(ed *dkg.Editor) { ed.SetPoint(0, 1, identity(dkg.SuiteG1)) })},
	{"outside the subgroup", dkg.BadDealing, false, forgeDealing(func(ed *dkg.Editor) { ed.SetPoint(0, 1, dkg.OutsidePoint(dkg.SuiteG1)) })},
	{"no knowledge of its share", dkg.BadDealing, false, onDealing(func(c *dkgtest.Ceremony, q *dkg.Dealer, m *dkg.Dealing) {
		m.Knowledge[60] ^= 1
		dkg.ResignDealing(q, c.Board, m)
	})},
	{"garbage encapsulation", dkg.BadAnswer, true, onDealing(func(c *dkgtest.Ceremony, q *dkg.Dealer, m *dkg.Dealing) {
		m.Encapsulations[7] ^= 1
		dkg.ResignDealing(q, c.Board, m)
	})},
	{"false answer", dkg.BadAnswer, true, both(forgeDealing(func(ed *dkg.Editor) { ed.AddToShare(0, 3, 1) }), onAnswer(func(a *dkg.Answer) { a.Coins[0] ^= 1 }))},
	{"no answer", dkg.AbsentAnswer, true, both(forgeDealing(func(ed *dkg.Editor) { ed.AddToShare(0, 3, 1) }), omit(is[*dkg.Answer]))},
}

// TestHandOverFaults: false dealers are named and out, others take their
// place, and nobody else is named.
func TestHandOverFaults(t *testing.T) {
	for _, f := range falseDealers {
		for _, hybrid := range []bool{false, true} {
			if f.hybrid && !hybrid {
				continue
			}
			t.Run(fmt.Sprintf("%s, hybrid=%t", f.name, hybrid), func(t *testing.T) {
				t.Parallel()
				a := people(7)
				c := handOver(t, 4, hybrid, a)
				c.People[2], c.People[5] = f.act, f.act // f of them: exactly t are left
				handedOver(t, c, a)
				want := dkg.AllSeats(7).Without(seats(2, 5)).Dealers()
				if f.fault.Attributable() != (c.BlamedPeople() == seats(2, 5).Dealers()) || c.Blamed() != 0 || c.Board.Dealers() != want {
					t.Errorf("blamed %s and %s, QUAL %s", c.BlamedPeople(), c.Blamed(), c.Board.Dealers())
				}
				for _, g := range c.Board.Faults() {
					if g.Kind != f.fault || g.Seat != 2 && g.Seat != 5 {
						t.Errorf("%s is named for %s", new(c.Board.Params()).Blames(g), g.Kind)
					}
				}
				if f.fault.OfDealer() != true {
					t.Errorf("%s is no fault of a dealer", f.fault)
				}
			})
		}
	}
	// A third leaves fewer than t.
	for _, act := range []dkgtest.Behaviour{dkgtest.Silent, falseDealers[0].act, falseDealers[3].act} {
		a := people(7)
		c := handOver(t, 4, false, a)
		c.People[1], c.People[2], c.People[5] = dkgtest.Silent, act, act
		if err := c.Run(); err != nil || c.Board.Phase() != dkg.PhaseAborted {
			t.Fatalf("ended %s: %v", c.Board.Phase(), err)
		}
		if _, err := c.Shares(1); err == nil {
			t.Error("a seat got a share of it all the same")
		}
	}
}

// TestHandOverReceivers: what seats do wrong is named as in every ceremony.
func TestHandOverReceivers(t *testing.T) {
	for _, s := range scenarios {
		if s.fault.OfDealer() || s.fault == dkg.BadPossession || s.fault == dkg.AbsentJoin {
			continue
		}
		for _, hybrid := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, hybrid=%t", s.name, hybrid), func(t *testing.T) {
				t.Parallel()
				a := people(4)
				c := handOver(t, 4, hybrid, a)
				c.Acts[cheat] = s.act(c.Board.Params())
				handedOver(t, c, a)
				if !c.Has(cheat, s.fault) || c.BlamedPeople() != "" || c.Board.Dealers().Len() != 4 {
					t.Errorf("faults %v", c.Board.Faults())
				}
				for _, f := range c.Board.Faults() {
					if f.Seat != cheat {
						t.Errorf("honest seat %d is named for %s", f.Seat, f.Kind)
					}
				}
			})
		}
	}
	// A complaint brings the accused's dealing, not another's or one of elsewhere.
	for name, change := range map[string]func(c *dkgtest.Ceremony, a *dkg.Complaint){
		"another's dealing": func(c *dkgtest.Ceremony, a *dkg.Complaint) { a.Dealer = 2 },
		"its chunk alone":   func(c *dkgtest.Ceremony, a *dkg.Complaint) { a.Leaf = a.Leaf[len(a.Leaf)/2:] },
		"no path":           func(c *dkgtest.Ceremony, a *dkg.Complaint) { a.Path = nil },
	} {
		a := people(4)
		c := handOver(t, 4, false, a)
		c.People[1] = falseDealers[0].act // so that the complaint would hold
		c.Acts[3] = alter(func(c *dkgtest.Ceremony, _ *dkg.Participant, m *dkg.Verdict) {
			for i := range m.Complaints {
				change(c, &m.Complaints[i])
			}
		})
		if err := c.Run(); err != nil || !c.Has(3, dkg.FalseComplaint) || c.BlamedPeople() != "" {
			t.Errorf("%s: %v, faults %v", name, err, c.Board.Faults())
		}
	}
}

// TestHandOverRefused: what is no share of the key, or not for the dealer to
// say, takes no room.
func TestHandOverRefused(t *testing.T) {
	a, other := people(7), dkgtest.NewAssembly(7, 5, "theirs")
	c, elsewhere := handOver(t, 4, true, a), handOver(t, 4, true, other)
	dealing := func(c *dkgtest.Ceremony, i int) *dkg.Dealing {
		until(t, c, dkg.PhaseDeal)
		q, err := c.Dealer(i)
		if err != nil {
			t.Fatal(err)
		}
		out, err := q.Next(c.Board, c.Source)
		if err != nil || len(out) != 1 {
			t.Fatal(out, err)
		}
		return out[0].(*dkg.Dealing)
	}
	for i := range 8 {
		c.People[i], elsewhere.People[i] = dkgtest.Silent, dkgtest.Silent
	}
	c.Acts[4] = dkgtest.Silent // seat 4 does not join, nothing is for it
	for c.Board.Phase() == dkg.PhaseJoin {
		if _, err := c.Step(); err != nil {
			t.Fatal(err)
		}
		if err := c.Tick(c.Board.Deadline()); err != nil {
			t.Fatal(err)
		}
	}
	q, _ := c.Dealer(2)
	good := dealing(c, 2)
	strangers := dealing(elsewhere, 2)
	sign := func(m *dkg.Dealing) { dkg.ResignDealing(q, c.Board, m) }
	for name, try := range map[string]struct {
		from int
		want error
		edit func(m *dkg.Dealing)
	}{
		"another's":                {3, dkg.ErrSender, func(m *dkg.Dealing) {}},
		"another's, renumbered":    {3, dkg.ErrConstant, func(m *dkg.Dealing) { m.Dealer = 3; sign(m) }},
		"participant 0":            {0, nil, func(m *dkg.Dealing) { m.Dealer = 0 }},
		"participant n+1":          {8, nil, func(m *dkg.Dealing) { m.Dealer = 8 }},
		"nobody":                   {-1, nil, func(m *dkg.Dealing) {}},
		"wrong V_0":                {2, dkg.ErrConstant, func(m *dkg.Dealing) { copy(m.Leaf, m.Leaf[48:96]); sign(m) }},
		"the key itself as V_0":    {2, dkg.ErrConstant, func(m *dkg.Dealing) { copy(m.Leaf, a.Key); sign(m) }},
		"another assembly's":       {2, dkg.ErrConstant, func(m *dkg.Dealing) { copy(m.Leaf, strangers.Leaf[:48]); m.Path = strangers.Path; sign(m) }},
		"another assembly's path":  {2, dkg.ErrConstant, func(m *dkg.Dealing) { m.Path = strangers.Path }},
		"a path too long":          {2, dkg.ErrConstant, func(m *dkg.Dealing) { m.Path = append(slices.Clone(m.Path), wire.Digest{}) }},
		"no path":                  {2, dkg.ErrConstant, func(m *dkg.Dealing) { m.Path = nil }},
		"no proof of rho":          {2, dkg.ErrRho, func(m *dkg.Dealing) { m.Rho = kem.Proof{} }},
		"another's R":              {2, dkg.ErrRho, func(m *dkg.Dealing) { m.R = dealing(c, 3).R }},
		"another's R and proof":    {2, dkg.ErrRho, func(m *dkg.Dealing) { m.R, m.Rho = dealing(c, 3).R, dealing(c, 3).Rho }},
		"altered ciphertext":       {2, dkg.ErrRho, func(m *dkg.Dealing) { m.Leaf[len(m.Leaf)-1] ^= 1 }},
		"altered encapsulation":    {2, dkg.ErrRho, func(m *dkg.Dealing) { m.Encapsulations[0] ^= 1 }},
		"a ciphertext more":        {2, dkg.ErrShape, func(m *dkg.Dealing) { m.Leaf = append(m.Leaf, make([]byte, 32)...); sign(m) }},
		"a point more":             {2, dkg.ErrShape, func(m *dkg.Dealing) { m.Leaf = append(m.Leaf, m.Leaf[:48]...); sign(m) }},
		"no encapsulations":        {2, dkg.ErrShape, func(m *dkg.Dealing) { m.Encapsulations = nil; sign(m) }},
		"no knowledge":             {2, dkg.ErrShape, func(m *dkg.Dealing) { m.Knowledge = nil; sign(m) }},
		"of another ceremony":      {2, dkg.ErrCeremony, func(m *dkg.Dealing) { m.CID[0] ^= 1 }},
		"signed for another epoch": {2, dkg.ErrRho, func(m *dkg.Dealing) { m.Rho = strangers.Rho }},
	} {
		again, err := dkg.ParseMessage(good.Encode())
		if err != nil {
			t.Fatal(err)
		}
		m := again.(*dkg.Dealing)
		try.edit(m)
		before := c.Board.Encode()
		if err := c.PostDealer(try.from, m); err == nil || try.want != nil && !errors.Is(err, try.want) {
			t.Errorf("%s: %v, want %v", name, err, try.want)
		}
		if !bytes.Equal(before, c.Board.Encode()) {
			t.Errorf("%s: it left a trace", name)
		}
	}
	if err := c.PostDealer(2, good); err != nil {
		t.Fatal(err)
	}
	if err := c.PostDealer(2, good); !errors.Is(err, dkg.ErrDuplicate) {
		t.Errorf("dealt twice: %v", err)
	}
	other2 := dkg.ForgeDealing(q, c.Board, c.Source, func(ed *dkg.Editor) { ed.AddToShare(0, 1, 1) })
	if err := c.PostDealer(2, other2); !errors.Is(err, dkg.ErrDuplicate) {
		t.Errorf("dealt otherwise, again: %v", err)
	}
	// Seats do not deal and do not answer, participants do nothing else.
	p1, _ := c.Participant(1)
	if err := c.Post(2, good); err == nil {
		t.Error("a seat dealt")
	}
	if err := c.Post(2, &dkg.Answer{CID: c.Board.ID(), Recipient: 1, HybridKey: make([]byte, kem.HybridKeySize)}); !errors.Is(err, dkg.ErrSender) {
		t.Errorf("a seat answered: %v", err)
	}
	if err := c.PostDealer(3, p1.Join()); !errors.Is(err, dkg.ErrSender) {
		t.Errorf("a participant joined: %v", err)
	}
	if err := open(t, dkgtest.Params(dkg.SuiteG1, true, 4, 1)).PostDealer(2, good); err == nil {
		t.Error("a keygen took it")
	}
	// One that holds nothing, or something else, does not deal.
	lost := *a
	lost.Shares = slices.Clone(a.Shares)
	lost.Shares[2] = other.Shares[2]
	d := handOver(t, 4, false, &lost)
	until(t, d, dkg.PhaseDeal)
	wrong, _ := d.Dealer(3)
	if out, err := wrong.Next(d.Board, d.Source); err == nil {
		t.Errorf("dealt %d messages from another share", len(out))
	}
}

// TestHandOverBlindBoard: a ledger that looks at nothing takes a stranger's
// constant; the receivers find it, and the key is what it was.
func TestHandOverBlindBoard(t *testing.T) {
	a := people(4)
	c := handOver(t, 4, false, a)
	c.People[1] = dkgtest.Silent
	until(t, c, dkg.PhaseDeal)
	q, err := c.Dealer(1)
	if err != nil {
		t.Fatal(err)
	}
	false1 := dkg.ForgeDealing(q, c.Board, c.Source, func(ed *dkg.Editor) { ed.SetPoint(0, 0, dkgtest.PublicKey(dkg.SuiteG1, scalar(dkg.SuiteG1, 9))) })
	if err := c.PostDealer(1, false1); !errors.Is(err, dkg.ErrConstant) {
		t.Fatalf("a board that looks: %v", err)
	}
	if err := c.Force(false1, func() (*dkg.Board, []dkg.Event) { return dkg.Force(c.Board, false1) }); err != nil {
		t.Fatal(err)
	}
	handedOver(t, c, a)
	if c.BlamedPeople() != seats(1).Dealers() {
		t.Fatalf("faults %v", c.Board.Faults())
	}
}

// TestHandOverManyFalse: dealings that are false to one seat are more than one
// verdict holds; it complains of the rest when the first are out.
func TestHandOverManyFalse(t *testing.T) {
	const n = 76
	a := people(n)
	c := handOver(t, 10, true, a) // in hybrid mode one verdict holds about twenty
	var want dkg.Dealers
	for i := 1; i <= (n-1)/3; i++ {
		c.People[3*i] = falseDealers[0].act
		want = want.With(3 * i)
	}
	handedOver(t, c, a)
	rounds := uint8(0)
	for _, f := range c.Board.Faults() {
		rounds = max(rounds, f.Round)
	}
	if c.BlamedPeople() != want || c.Blamed() != 0 || rounds < 2 {
		t.Fatalf("blamed %s in %d rounds, seats %s", c.BlamedPeople(), rounds, c.Blamed())
	}
}

// TestHandOverByHand: what a program deals that was made after the spec is
// taken and stands, or is found to be false for what is false in it.
func TestHandOverByHand(t *testing.T) {
	for _, hybrid := range []bool{false, true} {
		for lie, fault := range map[dkgtest.Lie]dkg.FaultKind{dkgtest.Honest: 0, dkgtest.OneShare: dkg.BadShare, dkgtest.Noise: dkg.BadShare} {
			a := people(4)
			c := handOver(t, 5, hybrid, a)
			c.Acts[2] = dkgtest.Silent // it does not join: nothing is for it
			l := &dkgtest.Liar{Seat: 1, Share: a.Shares[0], Path: a.Paths(1)}
			c.People[1] = func(c *dkgtest.Ceremony, _ int, honest []dkg.Message) (out []dkg.Message) {
				if c.Board.Phase() == dkg.PhaseDeal && !c.Board.Dealt().Has(1) {
					if m, err := l.Deal(c.Board, c.Source, dkgtest.Constant); err != nil || !errors.Is(c.PostDealer(1, m), dkg.ErrConstant) {
						t.Errorf("%s: a constant that is not its share is taken, %v", lie, err)
					}
					m, err := l.Deal(c.Board, c.Source, lie)
					if err != nil {
						t.Fatal(err)
					}
					return append(out, m)
				}
				answers, err := l.Answers(c.Board, c.Source)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range answers {
					out = append(out, m)
				}
				return out
			}
			if lie == dkgtest.Honest {
				c.People[4] = dkgtest.Silent // so that it counts
			}
			handedOver(t, c, a)
			if lie == dkgtest.Honest && (c.BlamedPeople() != "" || !c.Board.Dealers().Has(1)) || lie != dkgtest.Honest && !c.Has(1, fault) || c.Blamed() != 0 {
				t.Errorf("%s, hybrid=%t: QUAL %s, faults %v, refused %v", lie, hybrid, c.Board.Dealers(), c.Board.Faults(), c.Refused)
			}
		}
	}
}

// TestHandOverFromACopy: a participant that is started from a copy of its
// directory, which has another seed or none, does not answer for what it dealt
// from the first one: it would seem to have lied.
func TestHandOverFromACopy(t *testing.T) {
	a := people(4)
	c := handOver(t, 4, true, a)
	c.Acts[3] = alter(func(c *dkgtest.Ceremony, q *dkg.Participant, m *dkg.Verdict) {
		m.Complaints = append(m.Complaints, dkg.Accuse(q, c.Board, c.Source, 1, 0))
	})
	share := secret.New(bytes.Clone(a.Shares[0]))
	from, err := dkg.NewDealer(c.Board.Params(), 1, secret.New(bytes.Repeat([]byte{9}, dkg.SeedSize)), share, a.Paths(1))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	c.People[1] = func(c *dkgtest.Ceremony, _ int, honest []dkg.Message) []dkg.Message {
		if len(c.Board.Claims(1)) > 0 {
			if out, err := from.Next(c.Board, c.Source); !errors.Is(err, dkg.ErrDealtElsewhere) {
				t.Errorf("the copy answers %d messages: %v", len(out), err)
			}
			asked++
		}
		return honest
	}
	handedOver(t, c, a)
	if asked == 0 || c.BlamedPeople() != "" || !c.Has(3, dkg.FalseComplaint) {
		t.Errorf("asked %d times, faults %v", asked, c.Board.Faults())
	}
}

// TestHandOverSilentLiars: liars that are silent when they are accused are found
// all at once, also those that would have taken the place of others. If they have
// a seat that accuses them one by one they hold a hand-over up for twice as long
// as one could, and each a few times for what verdicts take.
func TestHandOverSilentLiars(t *testing.T) {
	const n, first, least = 16, 32 * 60 * 1000, 4 * 60 * 1000
	for _, oneByOne := range []bool{false, true} {
		a := people(n)
		p := dkgtest.Params(dkg.SuiteG1, true, 4, 1)
		p.Deadlines.Answer = first
		c, err := dkgtest.HandOver(p, a)
		if err != nil {
			t.Fatal(err)
		}
		// The first, and then all but one that could take its place.
		good, liars := dkg.Dealers("").With(n), seats(1).Dealers()
		for i := 2; i < n; i++ {
			if i <= a.T {
				good = good.With(i)
			} else {
				liars = liars.With(i)
			}
		}
		for i := range liars.All() {
			c.People[i] = both(falseDealers[0].act, omit(is[*dkg.Answer]))
		}
		rounds := 1
		if oneByOne {
			rounds = liars.Len()
			c.Acts[3] = alter(func(_ *dkgtest.Ceremony, _ *dkg.Participant, m *dkg.Verdict) {
				m.Complaints = m.Complaints[:min(1, len(m.Complaints))]
			})
		}
		waited := waits(t, c)
		total := uint64(0)
		for i, ms := range waited {
			if want := uint64(max(first>>i, least)); ms != want {
				t.Errorf("round %d waits for %d ms, want %d", i+1, ms, want)
			}
			total += ms
		}
		if len(waited) != rounds || total > 2*first+uint64(len(waited))*least || c.Board.Dealers() != good || c.Blamed() != 0 {
			t.Errorf("%d rounds, %d ms, QUAL %s, faults %v", len(waited), total, c.Board.Dealers(), c.Board.Faults())
		}
		handedOver(t, c, a)
	}
}

// waits runs a ceremony and returns for how many milliseconds each phase of
// answers waited until its end.
func waits(t *testing.T, c *dkgtest.Ceremony) (waited []uint64) {
	t.Helper()
	now := uint64(1_800_000_000_000)
	for phase := dkg.Phase(0); c.Board.Phase() != dkg.PhaseDone && c.Board.Phase() != dkg.PhaseAborted; {
		moved, err := c.Step()
		if err != nil {
			t.Fatal(err)
		}
		began := c.Board.Phase() != phase
		if phase = c.Board.Phase(); !began && !moved {
			if phase == dkg.PhaseAnswer {
				waited = append(waited, c.Board.Deadline()-now)
			}
			now = c.Board.Deadline()
		}
		if err := c.Tick(now); err != nil { // of a phase that began, the first block
			t.Fatal(err)
		}
	}
	return waited
}

// TestRandomHandOver lets participants and up to f seats do what they like.
func TestRandomHandOver(t *testing.T) {
	bases := map[int]*dkgtest.Assembly{}
	for n := 4; n <= 6; n++ {
		bases[n] = people(n)
	}
	rapid.Check(t, func(r *rapid.T) {
		n, hybrid := rapid.IntRange(4, 6).Draw(r, "n"), rapid.Bool().Draw(r, "hybrid")
		a := bases[n]
		c, err := dkgtest.HandOver(dkgtest.Params(dkg.SuiteG1, hybrid, 4, 1), a)
		if err != nil {
			r.Fatal(err)
		}
		var silent, false1 dkg.Dealers
		for i := 1; i <= n; i++ {
			switch kind := rapid.IntRange(-6, len(falseDealers)).Draw(r, fmt.Sprint("participant ", i)); {
			case kind == len(falseDealers) && i != 1 && i != 3: // seats complain of these
				c.People[i], silent = dkgtest.Silent, silent.With(i)
			case kind >= 0 && kind < len(falseDealers) && (hybrid || !falseDealers[kind].hybrid):
				c.People[i], false1 = falseDealers[kind].act, false1.With(i)
			}
		}
		liar := rapid.IntRange(0, 1).Draw(r, "liar") == 1
		if liar {
			fitting := slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return s.fault.OfDealer() || s.fault == dkg.AbsentJoin })
			c.Acts[2] = rapid.SampledFrom(fitting).Draw(r, "seat").act(c.Board.Params())
		}
		if err := c.Run(); err != nil {
			r.Fatal(err)
		}
		good := dkg.AllSeats(n).Dealers().Without(silent).Without(false1)
		if done := c.Board.Phase() == dkg.PhaseDone; good.Len() >= a.T && !done || false1 != "" && c.BlamedPeople().Without(false1) != "" || c.Blamed().Without(seats(2)) != 0 {
			r.Fatalf("%d good of %d, want %d: ended %s, faults %v", good.Len(), n, a.T, c.Board.Phase(), c.Board.Faults())
		} else if !done {
			return
		}
		// Who weighs is good (two errors can cancel), and the key is the one that was.
		if false1.Len() == 1 && c.Board.Dealers().First(a.T).Without(good) != "" {
			r.Fatalf("QUAL %s, good %s", c.Board.Dealers(), good)
		}
		some := map[int][]byte{}
		for i := range c.Board.Holders().First(3).All() {
			shares, err := c.Shares(i)
			if err != nil {
				r.Fatal(err)
			}
			some[i] = shares[0]
		}
		if !bytes.Equal(dkgtest.PublicKey(dkg.SuiteG1, dkgtest.Reconstruct(dkg.SuiteG1, some)), a.Key) {
			r.Fatal("t shares do not make the key")
		}
		if x, err := dkg.ReadTranscript(c.Board, c.Source); err != nil {
			r.Fatal(err)
		} else if _, err := dkg.VerifyTranscript(x.Archive()); err != nil {
			r.Fatal(err)
		}
	})
}

func TestHandOverParams(t *testing.T) {
	p := handOver(t, 4, false, people(4)).Board.Params()
	if again, err := dkg.ParseParams(p.Encode()); err != nil || again != p || p.Rule() != "ceremony.handover" {
		t.Fatal(again, err, p.Rule())
	}
	for name, edit := range map[string]func(*dkg.Params){
		"refresh":                func(p *dkg.Params) { p.Mode = dkg.ModeRefresh },
		"keygen":                 func(p *dkg.Params) { p.Mode = dkg.ModeKeygen },
		"another curve":          func(p *dkg.Params) { p.Suite = dkg.SuiteRistretto },
		"two keys":               func(p *dkg.Params) { p.Keys = 2 },
		"a beacon's key":         func(p *dkg.Params) { p.Use = 1 },
		"seats that deal":        func(p *dkg.Params) { p.Old.Dealers = seats(1) },
		"a later epoch":          func(p *dkg.Params) { p.Epoch, p.Old.Epoch = 2, 1 },
		"no participants":        func(p *dkg.Params) { p.Old.N = 0 },
		"three":                  func(p *dkg.Params) { p.Old.N, p.Old.T = 3, 2 },
		"4097":                   func(p *dkg.Params) { p.Old.N, p.Old.T = wire.MaxParticipants+1, 2732 },
		"an unsafe threshold":    func(p *dkg.Params) { p.Old.T = 2 },
		"all of them":            func(p *dkg.Params) { p.Old.T = 4 },
		"no result":              func(p *dkg.Params) { p.Expected = [32]byte{} },
		"seats, and their count": func(p *dkg.Params) { p.Old = dkg.Old{T: 3, N: 4, Dealers: dkg.AllSeats(4)} },
	} {
		q := p
		edit(&q)
		if q.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// BenchmarkHandOver is what a hand-over to seven nodes costs: a dealer, the
// ledger for each dealing, and a receiver. The archive of the largest is
// written where QUORATE_ARCHIVE says.
func BenchmarkHandOver(b *testing.B) {
	for _, n := range []int{64, wire.MaxParticipants} {
		for _, hybrid := range []bool{false, true} {
			if n > 64 && hybrid {
				continue // it adds ciphertexts, which the smaller shows
			}
			t := n - (n-1)/3
			a := dkgtest.NewAssembly(n, t, "bench")
			b.Run(fmt.Sprintf("n=%d/t=%d/hybrid=%t", n, t, hybrid), func(b *testing.B) {
				for b.Loop() {
					measure(b, handOver(b, 7, hybrid, a), n)
				}
			})
		}
	}
}

func measure(b *testing.B, c *dkgtest.Ceremony, n int) {
	for i := 1; i <= 7; i++ {
		q, err := c.Participant(i)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Post(i, q.Join()); err != nil {
			b.Fatal(err)
		}
	}
	var dealing, taking float64
	size := 0
	for i := 1; i <= n; i++ {
		before := cpuSeconds()
		q, err := c.Dealer(i)
		if err != nil {
			b.Fatal(err)
		}
		out, err := q.Next(c.Board, c.Source)
		if err != nil || len(out) != 1 {
			b.Fatal(err)
		}
		if i == 1 { // the last one's path may be short
			size = len(out[0].Encode())
		}
		dealing += cpuSeconds() - before
		before = cpuSeconds()
		if err := c.PostDealer(i, out[0]); err != nil {
			b.Fatal(err)
		}
		taking += cpuSeconds() - before
	}
	b.ReportMetric(dealing/float64(n)*1e3, "ms/deal")
	b.ReportMetric(taking/float64(n)*1e3, "ms/take")
	b.ReportMetric(float64(size), "B/dealing")
	b.ReportMetric(float64(len(c.Board.Encode())), "B/board")
	q, err := c.Participant(1)
	if err != nil {
		b.Fatal(err)
	}
	before := cpuSeconds()
	if out, err := q.Next(c.Board, c.Source); err != nil || len(out) != 1 {
		b.Fatal(err)
	}
	b.ReportMetric(cpuSeconds()-before, "cpu-s/receive")
	if file := os.Getenv("QUORATE_ARCHIVE"); file != "" {
		if err := c.Run(); err != nil {
			b.Fatal(err)
		}
		x, err := dkg.ReadTranscript(c.Board, c.Source)
		if err != nil {
			b.Fatal(err)
		}
		before = cpuSeconds()
		if _, err := dkg.VerifyTranscript(x.Archive()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(cpuSeconds()-before, "cpu-s/replay")
		if err := os.WriteFile(file, x.Archive(), 0o600); err != nil {
			b.Fatal(err)
		}
	}
}
