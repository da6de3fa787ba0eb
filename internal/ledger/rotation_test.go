package ledger

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
)

const day = 24 * hour

// rotating is rules under which new shares need two, with rotation as given.
func rotating(rotation string) string {
	return strings.Replace(rules, "tiers:\n", "tiers:\n  - {name: refresh, actions: [ceremony.refresh], approvals: 2, operators: 2, approvers: [custodian], deadline: 2d}\n", 1) +
		"rotation:\n" + rotation
}

// rotations are what stands in the log of them.
func (w *world) rotations() (said []string) {
	for _, ev := range w.events {
		if ev.Kind == EventRotation {
			said = append(said, ev.Detail)
		}
	}
	return said
}

// days lets days pass as a ledger would that rests: with a block when
// something is due.
func (w *world) days(n int) {
	for end := w.block.Time + uint64(n)*day; w.block.Time < end; {
		at, waits, height := w.view().NextDue()
		switch {
		case height:
			w.next()
		case waits && at <= end:
			w.at(max(at, w.block.Time))
		default:
			w.at(end)
		}
	}
}

// TestRotation: keys whose shares have grown old are asked for, once, again
// after nobody agreed, and no longer once they have new ones.
func TestRotation(t *testing.T) {
	c := newCouncil(t)
	c.govern(rotating("  - {kind: key, purpose: pool, every: 30d, grace: 7d}\n"))
	first := c.openAs(c.Ana.Record.ID, c.Params(2, 1), "pool")
	first.run()
	other := c.openAs(c.Ana.Record.ID, c.Params(1, 2), "other")
	other.run()
	keys := first.view().sharedBy(first.id)
	since := c.view().sharing(first.id).since
	k, _ := c.view().Key(action.DomainValidator, keys[0])
	if due, overdue, ok := c.view().RotationOf(k); !ok || due != since+30*day || overdue != since+37*day {
		t.Fatalf("due %d, overdue %d, %t", due, overdue, ok)
	}
	c.days(29)
	if said := c.rotations(); said != nil {
		t.Fatalf("early: %q", said)
	}
	c.days(2)
	waits := live(c.view())
	if len(waits) != 1 || waits[0].By != "timer/rotation" || len(c.rotations()) != 1 || !strings.Contains(c.rotations()[0], "2 keys") {
		t.Fatalf("%d requests, log %q", len(waits), c.rotations())
	}
	if got := c.view().KeysOf(waits[0]); !slices.EqualFunc(got, keys, bytes.Equal) {
		t.Fatalf("the request is about %x, want %x", got, keys)
	}
	// Nobody agrees: it lapses after two days, and then there is another.
	c.days(1)
	if n := len(c.rotations()); n != 1 {
		t.Errorf("asked %d times while one request waits", n)
	}
	c.days(2)
	waits = live(c.view())
	if len(waits) != 1 || len(c.rotations()) != 2 || c.count(EventExpired) != 1 {
		t.Fatalf("%d requests, %d lapsed, log %q", len(waits), c.count(EventExpired), c.rotations())
	}
	// Two agree, and the holders make new shares.
	c.Request, c.id = waits[0].Request, waits[0].ID(c.ID)
	c.both()
	c.want(RequestExecuted)
	a := mustParse(action.ParseAction(waits[0].Action))
	params := mustParse(dkg.ParseParams(a.Ceremony.Params))
	if b := c.goOn(first, params).run(); b.Phase() != dkg.PhaseDone {
		t.Fatalf("the refresh ended %s: %v", b.Phase(), b.Faults())
	}
	c.days(1)
	if c.view().sharing(first.id) != nil {
		t.Error("shares that are no more are watched")
	}
	asked := len(c.rotations())
	c.days(28)
	if n := len(c.rotations()); n != asked {
		t.Errorf("asked again %q", c.rotations())
	}
	// A frozen key is left alone; so is who is asked for nothing.
	s := c.view()
	frozen, _ := s.Key(action.DomainValidator, keys[1])
	frozen.State = action.KeyFrozen
	s.putKey(frozen)
	c.commit(s)
	c.days(2)
	waits = live(c.view())
	if len(waits) != 1 || len(c.rotations()) != asked+1 || !slices.EqualFunc(c.view().KeysOf(waits[0]), keys[:1], bytes.Equal) {
		t.Errorf("%d requests, log %q", len(waits), c.rotations())
	}
}

// openAs opens a ceremony that the policy in force grants at once.
func (c *council) openAs(id string, p dkg.Params, purpose string) *players {
	c.Helper()
	tx := action.Tx{Cluster: c.ID, Kind: action.KindRequest, Signer: member(id), Nonce: c.Case.Nonce(id), Body: CeremonyOpen{Params: p, Purpose: purpose}.Encode()}
	c.world.want(OK, tx.Sign(c.Ana.Keys[0]))
	out := &players{world: c.world, id: p.ID(), seats: map[int]*dkg.Participant{}}
	for _, seat := range c.Roster {
		out.seats[int(seat.Index)] = c.Participant(p, int(seat.Index))
	}
	return out
}

// TestRotationUnderPolicy: the ledger asks as anybody does. Who may not ask is
// told so once a day; where nobody has to agree the refresh begins at once; and
// a policy that is new counts at once, for all shares that there are.
func TestRotationUnderPolicy(t *testing.T) {
	const rule = "  - {kind: key, every: 30d}\n"
	for name, x := range map[string]struct {
		doc      string
		says     string
		ceremony bool
	}{
		"not permitted": {strings.Replace(rotating(rule), "permit (principal is Clock, action, resource)", "permit (principal is Clock, action in Action::\"execute\", resource)", 1),
			"rotation may not request ceremony.refresh", false},
		"at once": {rules + "rotation:\n" + rule, "refreshed at once", true},
	} {
		c := newCouncil(t)
		var all []*players
		for i := range sharingsPerBlock + 3 {
			p := c.openAs("ana", c.Params(1, byte(i+1)), "pool")
			if p.run().Phase() != dkg.PhaseDone {
				t.Fatal("no key")
			}
			all = append(all, p)
		}
		c.days(40)
		if said := c.rotations(); said != nil {
			t.Fatalf("%s: without a rule: %q", name, said)
		}
		c.open(c.Ana, &action.Action{Rule: action.RulePolicy, Document: []byte(x.doc)})
		c.both()
		c.want(RequestExecuted)
		c.next()
		if n := len(c.rotations()); n == 0 || n > sharingsPerBlock {
			t.Errorf("%s: %d looked at in one block", name, n)
		}
		c.next()
		said := c.rotations()
		if !x.ceremony && len(said) != len(all) || x.ceremony && len(said) != maxOpenOf {
			t.Errorf("%s: %d of %d asked for", name, len(said), len(all))
		}
		for _, s := range said {
			if !strings.Contains(s, x.says) {
				t.Fatalf("%s: %s", name, s)
			}
		}
		if !x.ceremony {
			c.days(1)
			if n := len(c.rotations()); n != 2*len(all) {
				t.Errorf("%s: said %d times, want %d", name, n, 2*len(all))
			}
			continue
		}
		// As ceremonies end, the others have their turn.
		for range len(all) {
			for _, id := range c.view().OpenCeremonies() {
				board, about := c.view().Ceremony(id)
				of := slices.IndexFunc(all, func(p *players) bool { return slices.EqualFunc(c.view().sharedBy(p.id), about.Keys, bytes.Equal) })
				if b := c.goOn(all[of], board.Params()).run(); b.Phase() != dkg.PhaseDone {
					t.Fatalf("refresh: %s %v", b.Phase(), b.Faults())
				}
			}
			c.at(c.block.Time + busyAgain)
		}
		if n := len(c.rotations()); n != len(all) {
			t.Errorf("%s: %d refreshed, want %d", name, n, len(all))
		}
	}
}

// FuzzParseSharing reads back what it writes.
func FuzzParseSharing(f *testing.F) {
	f.Add((&sharing{since: 1, next: 2, asked: [32]byte{3}}).encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		if x, err := parseSharing(in); err == nil && !bytes.Equal(x.encode(), in) {
			t.Fatal("sharing changed")
		}
	})
}

// TestTimersHaveNoKeys: what takes keys a timer cannot ask for, and says so
// when it is set; nor does it pose as the ledger.
func TestTimersHaveNoKeys(t *testing.T) {
	c := newCouncil(t)
	inner := mustParse(action.ParseAction(c.settings(1).Encode()))
	refresh := &action.Action{Rule: action.RuleRefresh, Ceremony: action.Ceremony{Params: c.Params(1, 1).Encode()}}
	for want, timer := range map[string]action.Timer{
		"put a rotation into the policy": {Name: "t", Action: refresh.Encode()},
		"choose another":                 {Name: "rotation", Action: inner.Encode()},
	} {
		timer.First = c.block.Time + hour
		if r, _ := c.ask(c.Ana, &action.Action{Rule: action.RuleTimerSet, Timer: timer}); r.Code == OK || !strings.Contains(r.Info, want) {
			t.Errorf("%s: %s", want, fmt.Sprint(r))
		}
	}
}
