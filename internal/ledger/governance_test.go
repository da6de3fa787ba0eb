package ledger

import (
	"bytes"
	"encoding/hex"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/action/actiontest"
)

// TestForgedApprovals: whatever somebody presents in place of two approvals,
// nothing is granted; afterwards the honest two still are enough.
func TestForgedApprovals(t *testing.T) {
	c := newCouncil(t)
	c.open(c.Ana, c.exit(9))
	c.Other = c.Request
	c.open(c.Ana, c.exit(1))
	forgeries := c.Forgeries()
	start := *c.world
	for _, f := range forgeries {
		*c.world = start
		c.world.state, c.bodies = maps.Clone(start.state), maps.Clone(start.bodies)
		s := c.view()
		for _, m := range f.Members {
			s.putMember(m)
		}
		c.commit(s)
		c.next(f.Txs...)
		c.next()
		if c.granted(c.asked) || c.status() == RequestExecuted {
			t.Errorf("%s: granted", f.Name)
		}
	}
	*c.world = start
	if len(forgeries) < 100 {
		t.Errorf("only %d forgeries", len(forgeries))
	}
	t.Logf("%d forgeries granted nothing", len(forgeries))
	c.say(c.Ana, action.Approve)
	c.say(c.Bo, action.Approve)
	if c.want(RequestExecuted); !c.granted(c.asked) {
		t.Error("two honest approvals granted nothing")
	}
}

// TestHonestApprovals: a credential of any suite approves.
func TestHonestApprovals(t *testing.T) {
	for k := range 4 {
		c := newCouncil(t)
		c.open(c.Ana, c.exit(1))
		for _, p := range []*actiontest.Person{c.Ana, c.Bo} {
			if r := c.next(c.Approve(p, k, nil))[0]; r.Code != OK {
				t.Errorf("credential %d of %s: %s (%s)", k, p.Record.ID, r.Code, r.Info)
			}
		}
		c.want(RequestExecuted)
	}
}

// TestReplayedApprovals: an approval counts for the one request, however often
// the same is asked for and the transaction comes back.
func TestReplayedApprovals(t *testing.T) {
	for name, end := range map[string]func(c *council){
		"while it waits":     func(*council) {},
		"cancelled":          func(c *council) { c.say(c.Ana, action.Cancel) },
		"vetoed":             func(c *council) { c.say(c.Abe, action.Veto) },
		"lapsed":             func(c *council) { c.at(c.block.Time + 25*hour) },
		"executed":           func(c *council) { c.say(c.Ana, action.Approve) },
		"under a new policy": func(c *council) { c.govern(rules + "# changed\n"); c.at(c.block.Time + 25*hour) },
	} {
		c := newCouncil(t)
		c.open(c.Ana, c.exit(1))
		old := c.Approve(c.Bo, 0, nil)
		again := func() []byte { // the same words, signed again
			was := c.Request
			defer func() { c.Request = was }()
			d, _ := action.ParseTx(old)
			return c.Approve(c.Bo, 1, func(tx *action.Tx, _ *action.Decision) { tx.Body = d.Body })
		}
		c.next(old, old)
		if r, _ := c.view().Request(c.id); len(r.Approvals) != 1 {
			t.Fatalf("%s: %d approvals of one transaction twice in a block", name, len(r.Approvals))
		}
		if end(c); name != "while it waits" {
			before := c.id
			if c.open(c.Ana, c.exit(1)); c.id == before {
				t.Fatalf("%s: asked again, and it is the same request", name)
			}
		}
		if r := c.next(old)[0]; r.Code != CodeNonce {
			t.Errorf("%s: replayed: %s", name, r.Code)
		}
		if r := c.next(again())[0]; r.Code == OK {
			t.Errorf("%s: approved again with old words", name)
		}
		want := 0
		if name == "while it waits" {
			want = 1
		}
		if r, _ := c.view().Request(c.id); len(r.Approvals) != want {
			t.Errorf("%s: %d approvals, want %d", name, len(r.Approvals), want)
		}
	}
}

// TestExecutesInTheBlock: in the block of the last approval, or of the first
// that comes after the lock, and not one earlier.
func TestExecutesInTheBlock(t *testing.T) {
	c := newCouncil(t)
	c.open(c.Ana, c.exit(1))
	c.say(c.Ana, action.Approve)
	c.want(RequestOpen)
	c.say(c.Bo, action.Approve)
	c.want(RequestExecuted)

	// The lock runs from the block after: the one with the last approval may
	// have the time of a ledger that stood still.
	c.open(c.Ana, c.settings(1))
	c.sayAs(c.Bo, c.Ana)
	c.want(RequestLocked)
	agreed := c.block
	if _, _, height := c.view().NextDue(); !height {
		t.Error("no node would make the block that the lock begins with")
	}
	c.at(agreed.Time + 100*hour)
	c.want(RequestLocked)
	began := c.block
	c.at(began.Time + hour - 1)
	c.want(RequestLocked)
	c.at(began.Time + hour) // height 3 after the agreement
	if c.want(RequestExecuted); c.block.Height != agreed.Height+3 {
		t.Errorf("executed at height %d, agreed at %d", c.block.Height, agreed.Height)
	}

	// Time alone is not enough.
	c.open(c.Ana, c.settings(2))
	c.sayAs(c.Bo, c.Ana)
	agreed = c.block
	began = c.nextAt(1000)
	c.at(began.Time + 5*hour)
	c.want(RequestLocked)
	if _, _, height := c.view().NextDue(); !height {
		t.Error("no node would make the blocks that the lock waits for")
	}
	c.next()
	if c.want(RequestExecuted); c.block.Height != agreed.Height+3 {
		t.Errorf("executed at height %d, agreed at %d", c.block.Height, agreed.Height)
	}

	// Nor are heights alone.
	c.open(c.Ana, c.settings(3))
	c.sayAs(c.Bo, c.Ana)
	began = c.nextAt(1000)
	for range 10 {
		c.at(began.Time + 1)
	}
	c.at(began.Time + hour - 1)
	c.want(RequestLocked)
	if at, waits, _ := c.view().NextDue(); !waits || at != began.Time+hour {
		t.Errorf("due at %d", at)
	}
	c.at(began.Time + 5*hour)
	c.want(RequestExecuted)
}

// TestTimesOfARequest: its deadline and its escalation run from the block after
// it was opened, for the same reason.
func TestTimesOfARequest(t *testing.T) {
	c := newCouncil(t)
	c.open(c.Ana, c.settings(1))
	c.at(c.block.Time + 100*hour) // the ledger stood still
	r, _ := c.view().Request(c.id)
	if r.State != RequestOpen || r.Escalated || r.Opened != c.block.Time || r.Deadline != c.block.Time+24*hour || r.Escalate != c.block.Time+2*hour {
		t.Errorf("%+v", r)
	}
	c.at(c.block.Time + 2*hour)
	if r, _ := c.view().Request(c.id); !r.Escalated {
		t.Error("it does not escalate")
	}
	c.at(r.Deadline)
	c.want(RequestExpired)
}

// TestDemoted: who lost the role that his approval rested on agrees no longer.
func TestDemoted(t *testing.T) {
	c := newCouncil(t)
	c.open(c.Ana, c.settings(7))
	c.both()
	c.edit("bo", func(m *action.MemberRecord) { m.Roles = []string{action.RoleObserver} })
	c.next()
	c.at(c.block.Time + 2*hour)
	c.next()
	c.want(RequestOpen)
}

// TestEnds: what ends a request, and that nothing follows then.
func TestEnds(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(c *council)
		want RequestState
	}{
		"veto":                 {func(c *council) { c.say(c.Abe, action.Veto) }, RequestVetoed},
		"veto during the lock": {func(c *council) { c.both(); c.say(c.Abe, action.Veto) }, RequestVetoed},
		"cancel":               {func(c *council) { c.say(c.Ana, action.Cancel) }, RequestCancelled},
		"deadline":             {func(c *council) { c.say(c.Ana, action.Approve); c.at(c.block.Time + 25*hour) }, RequestExpired},
		"another policy": {func(c *council) {
			c.both()
			c.govern(rules + "# changed\n")
			c.at(c.block.Time + 2*hour)
			c.next()
		}, RequestStale},
		"the asker left": {func(c *council) { c.sayAs(c.Bo, c.Abe); c.drop("ana"); c.at(c.block.Time + 2*hour); c.next(); c.next() }, RequestFailed},
		"the key left": {func(c *council) {
			c.both()
			c.archive()
			c.next()
			c.at(c.block.Time + 2*hour)
			c.next()
			c.next()
		}, RequestExecuted}, // settings of an archived key can be set
	} {
		c := newCouncil(t)
		c.open(c.Ana, c.settings(7))
		end.do(c)
		if got := c.status(); got != end.want {
			t.Errorf("%s: the request is %s, want %s", name, got, end.want)
			continue
		}
		for _, p := range []*actiontest.Person{c.Ana, c.Bo, c.Abe} {
			if _, ok := c.view().Member(p.Record.ID); !ok {
				continue
			}
			if r := c.say(p, action.Approve); r.Code != CodePhase {
				t.Errorf("%s: approval afterwards: %s (%s)", name, r.Code, r.Info)
			}
		}
		c.at(c.block.Time + 48*hour)
		if k, _ := c.view().Key(c.key.Domain, c.key.PublicKey); end.want != RequestExecuted && k.Settings.GasLimit != nil {
			t.Errorf("%s: executed all the same", name)
		}
		if n := len(live(c.view())); n != 0 {
			t.Errorf("%s: %d requests wait", name, n)
		}
	}
}

// TestApprovalsAreCountedWhenUsed: who has left, is suspended or lost the
// credential agrees to nothing any more, also when the lock runs already.
func TestApprovalsAreCountedWhenUsed(t *testing.T) {
	for name, change := range map[string]func(c *council){
		"removed":            func(c *council) { c.drop("bo") },
		"suspended":          func(c *council) { c.edit("bo", func(m *action.MemberRecord) { m.Suspended = c.block.Time + 40*hour }) },
		"credential revoked": func(c *council) { c.edit("bo", func(m *action.MemberRecord) { m.Keys = m.Keys[1:] }) },
		"another operator's": func(c *council) { c.edit("bo", func(m *action.MemberRecord) { m.Operator = "op0" }) },
		"now a workload":     func(c *council) { c.edit("bo", func(m *action.MemberRecord) { m.Workload = true }) },
	} {
		c := newCouncil(t)
		c.open(c.Ana, c.settings(7))
		c.both()
		c.want(RequestLocked)
		change(c)
		c.at(c.block.Time + 2*hour)
		c.next()
		c.next()
		if got := c.status(); got != RequestOpen {
			t.Errorf("%s: the request is %s, want open", name, got)
		}
		if name == "credential revoked" { // he agrees again, with another one
			if r := c.next(c.Approve(c.Bo, 1, nil))[0]; r.Code != OK || c.status() != RequestLocked {
				t.Errorf("approval with a new credential: %s (%s), the request is %s", r.Code, r.Info, c.status())
			}
		}
	}
}

// TestWhoMayApprove: the policy's roles, humans once each, and backups when
// the request has escalated.
func TestWhoMayApprove(t *testing.T) {
	c := newCouncil(t)
	c.open(c.Ana, c.settings(7))
	if r := c.say(c.Bot, action.Approve); r.Code != CodeDenied {
		t.Errorf("a workload approved: %s", r.Code)
	}
	c.say(c.Ana, action.Approve)
	if r := c.next(c.Approve(c.Ana, 1, nil))[0]; r.Code != CodeConflict {
		t.Errorf("one human approved twice, with two keys: %s", r.Code)
	}
	if r := c.say(c.Abe, action.Cancel); r.Code != CodeDenied {
		t.Errorf("another cancelled: %s", r.Code)
	}
	// Bo is gone for a while; Una stands in for him, and is no custodian.
	una := actiontest.NewPerson("una", "op2", "denver", action.RoleApprover)
	s := c.view()
	s.putMember(&una.Record)
	bo := c.Bo.Record
	bo.Backups = []string{"una"}
	s.putMember(&bo)
	c.commit(s)
	if r := c.say(una, action.Approve); r.Code != CodeDenied {
		t.Errorf("a backup approved before the escalation: %s", r.Code)
	}
	c.at(c.block.Time + 3*hour)
	if r := c.say(una, action.Approve); r.Code != OK {
		t.Errorf("a backup approves after the escalation: %s (%s)", r.Code, r.Info)
	}
	c.want(RequestLocked)
}

// TestStandIn: who has no role of his own that counts approves for the member
// whom he stands in for, once the request has escalated, and is counted.
func TestStandIn(t *testing.T) {
	c := newCouncil(t)
	c.open(c.Ana, c.settings(7))
	c.say(c.Ana, action.Approve)
	ulf := actiontest.NewPerson("ulf", "op2", "denver", action.RoleObserver)
	s := c.view()
	s.putMember(&ulf.Record)
	bo := c.Bo.Record
	bo.Backups = []string{"ulf"}
	s.putMember(&bo)
	c.commit(s)
	c.at(c.block.Time + 3*hour)
	if r := c.say(ulf, action.Approve); r.Code != OK {
		t.Errorf("who stands in: %s (%s)", r.Code, r.Info)
	}
	c.want(RequestLocked)
}

// TestAskAgain: the same question while it waits gets the same answer, and
// one asker cannot fill the ledger.
func TestAskAgain(t *testing.T) {
	c := newCouncil(t)
	c.open(c.Ana, c.exit(0))
	if r, _ := c.ask(c.Ana, c.exit(0)); r.Code != OK || r.Request != c.id {
		t.Errorf("asked again: %s, request %x", r.Code, r.Request)
	}
	if r, _ := c.ask(c.Bo, c.exit(0)); r.Code != OK || r.Request == c.id {
		t.Errorf("asked by another: %s, request %x", r.Code, r.Request)
	}
	for i := 1; i < maxLive; i++ {
		c.open(c.Ana, c.settings(uint64(i)))
	}
	if r, _ := c.ask(c.Ana, c.settings(0)); r.Code != CodeBusy {
		t.Errorf("request %d of one asker: %s", maxLive+1, r.Code)
	}
	c.say(c.Ana, action.Cancel)
	if r, _ := c.ask(c.Ana, c.settings(0)); r.Code != OK {
		t.Errorf("after one was cancelled: %s", r.Code)
	}
}

// TestBreakGlass: one stops, at once; it comes back by itself, or when two say so.
func TestBreakGlass(t *testing.T) {
	c := newCouncil(t)
	freeze := func(until uint64) Code {
		r, _ := c.ask(c.Abe, &action.Action{Rule: action.RuleFreeze, Domain: c.key.Domain, PublicKey: c.key.PublicKey, Until: until})
		return r.Code
	}
	state := func() action.KeyState { k, _ := c.view().Key(c.key.Domain, c.key.PublicKey); return k.State }
	if code := freeze(c.block.Time + 31*24*hour); code != CodeMalformed {
		t.Errorf("frozen for ever: %s", code)
	}
	end := c.block.Time + hour
	if code := freeze(end); code != OK || state() != action.KeyFrozen {
		t.Fatalf("freeze: %s, key is %s", code, state())
	}
	if code := freeze(end - 1); code != CodeConflict {
		t.Errorf("a freeze was shortened: %s", code)
	}
	if r, _ := c.ask(c.Ana, c.exit(1)); r.Code == OK {
		t.Error("an exit of a frozen key")
	}
	c.at(end - 1)
	if state() != action.KeyFrozen {
		t.Error("thawed early")
	}
	if c.at(end); state() != action.KeyActive {
		t.Error("not thawed")
	}
	freeze(c.block.Time + hour)
	longer := c.block.Time + 10*hour
	freeze(longer)
	if c.at(c.block.Time + 2*hour); state() != action.KeyFrozen {
		t.Error("the shorter freeze ended the longer")
	}
	c.open(c.Ana, &action.Action{Rule: action.RuleUnfreeze, Domain: c.key.Domain, PublicKey: c.key.PublicKey})
	c.say(c.Ana, action.Approve)
	if state() != action.KeyFrozen {
		t.Error("one thawed it")
	}
	if c.say(c.Bo, action.Approve); state() != action.KeyActive {
		t.Error("two did not thaw it")
	}
	if c.at(longer + hour); state() != action.KeyActive {
		t.Error("the end of a freeze that was lifted did something")
	}
}

// TestTimer: it asks under its own name, on time, and does not make up for
// what it missed.
func TestTimer(t *testing.T) {
	c := newCouncil(t)
	first := c.block.Time + hour
	set := &action.Action{Rule: action.RuleTimerSet, Timer: action.Timer{Name: "rotate", First: first, Every: hour, Action: c.settings(1).Encode()}}
	if r, _ := c.ask(c.Ana, set); r.Code != OK {
		t.Fatal(r)
	}
	c.at(first - 1)
	if n := len(live(c.view())); n != 0 {
		t.Fatalf("rung early: %d requests", n)
	}
	c.at(first + 5*hour + 1)
	requests := live(c.view())
	if len(requests) != 1 || requests[0].By != "timer/rotate" {
		t.Fatalf("requests %+v", requests)
	}
	c.view().Timers(func(tm *Timer) bool {
		if tm.Rung != 1 || tm.Next != first+6*hour {
			t.Errorf("rung %d times, next %d", tm.Rung, tm.Next)
		}
		return true
	})
	if r, _ := c.ask(c.Ana, &action.Action{Rule: action.RuleTimerCancel, Name: "rotate"}); r.Code != OK {
		t.Fatal(r)
	}
	events := len(c.events)
	if c.at(c.block.Time + 100*hour); len(c.events) > events+2 { // the request's own end
		t.Errorf("a cancelled timer rings: %+v", c.last())
	}
}

// TestPolicyChange: it is under policy itself, never goes wrong half-way, and
// nobody can lock everybody out.
func TestPolicyChange(t *testing.T) {
	c := newCouncil(t)
	change := func(doc string) *action.Action {
		return &action.Action{Rule: action.RulePolicy, Document: []byte(doc)}
	}
	for name, doc := range map[string]string{
		"no policy":         "version: 1\nnome: test\n",
		"Cedar that is not": strings.Replace(rules, "permit (principal is Clock", "permit (principal was Clock", 1),
		"everybody out":     strings.Replace(rules, "approvals: 2\n    approvers: [custodian]", "approvals: 9\n    approvers: [custodian]", 1),
		"the same":          rules,
	} {
		if r, _ := c.ask(c.Ana, change(doc)); r.Code != CodeMalformed && r.Code != CodeConflict {
			t.Errorf("%s: %s (%s)", name, r.Code, r.Info)
		} else if name == "no policy" && !strings.Contains(r.Info, "2:1") {
			t.Errorf("%s: %q does not say where", name, r.Info)
		}
	}
	c.open(c.Bo, c.exit(3))
	waiting := c.id
	next := strings.Replace(rules, "name: test", "name: next", 1)
	c.open(c.Ana, change(next))
	c.say(c.Ana, action.Approve)
	c.say(c.Bo, action.Approve)
	c.want(RequestExecuted)
	if doc := c.view().PolicyDocument(c.view().PolicyVersion()); string(doc) != next {
		t.Error("another policy is in force")
	}
	if r, _ := c.view().Request(waiting); r.State != RequestStale {
		t.Errorf("a request under the old policy is %s", r.State)
	}
}

// TestTimerAndItsSetter: who may not approve his own request approves no timer's
// that he set.
func TestTimerAndItsSetter(t *testing.T) {
	c := newCouncil(t)
	c.govern(strings.Replace(rules, `  - name: exit
    actions: [sign.voluntary_exit]
    approvals: 2
    operators: 2
    approvers: [custodian]
    self_approval: true`, `  - name: exit
    actions: [sign.voluntary_exit]
    approvals: 1
    approvers: [custodian]`, 1))
	// Asked for by herself she cannot approve it.
	c.open(c.Ana, c.exit(1))
	if r := c.say(c.Ana, action.Approve); r.Code != CodeDenied {
		t.Fatalf("her own request: %s", r.Code)
	}
	exit := c.exit(2)
	set := &action.Action{Rule: action.RuleTimerSet, Timer: action.Timer{Name: "mine", First: c.block.Time + 10_000, Action: exit.Encode()}}
	if r, _ := c.ask(c.Ana, set); r.Code != OK {
		t.Fatalf("set: %s (%s)", r.Code, r.Info)
	}
	c.at(c.block.Time + 20_000)
	for _, r := range live(c.view()) {
		if r.By == "timer/mine" {
			c.Request, c.id = r.Request, r.ID(c.ID)
		}
	}
	c.next()
	r := c.say(c.Ana, action.Approve)
	c.next()
	c.next()
	if c.granted(exit) {
		t.Errorf("granted with one person's word (%s)", r.Code)
	}
}

// TestDraftsAreLimited: reading policies takes time, of which nobody has a whole
// block, and the others theirs. What is agreed on is not held up.
func TestDraftsAreLimited(t *testing.T) {
	c := newCouncil(t)
	c.open(c.Ana, &action.Action{Rule: action.RulePolicy, Document: []byte(rules + "# agreed\n")})
	c.say(c.Ana, action.Approve)
	draft := func(p *actiontest.Person, n uint64, document string) []byte {
		a := &action.Action{Rule: action.RulePolicy, Document: []byte(document)}
		tx := action.Tx{Cluster: c.ID, Kind: action.KindRequest, Signer: member(p.Record.ID), Nonce: c.Case.Nonce(p.Record.ID) + n, Body: Ask{Action: a}.Encode()}
		return tx.Sign(p.Keys[0])
	}
	for range 2 { // in each block anew
		var got []Code
		for _, r := range c.next(
			draft(c.Ana, 0, "no policy"), draft(c.Ana, 1, rules+"# a\n"), draft(c.Ana, 2, rules+"# b\n"), draft(c.Ana, 3, "no policy"),
			draft(c.Bo, 0, rules+"# c\n"),
		) {
			got = append(got, r.Code)
		}
		if want := []Code{CodeMalformed, OK, CodeBusy, CodeBusy, OK}; !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	c.next(draft(c.Bo, 0, "no policy"), draft(c.Bo, 1, "no policy"), c.Approve(c.Bo, 0, func(tx *action.Tx, _ *action.Decision) { tx.Nonce += 2 }))
	c.want(RequestExecuted)
}

// TestMembersCannotLockThemselvesOut: the last who can change anything stay.
func TestMembersCannotLockThemselvesOut(t *testing.T) {
	c := newCouncil(t)
	remove := func(id string) Result {
		r, request := c.ask(c.Ana, &action.Action{Rule: action.RuleRemove, Name: id})
		if r.Code == OK {
			c.Request, c.id = request, r.Request
			c.say(c.Ana, action.Approve)
			c.say(c.Bo, action.Approve)
		}
		return r
	}
	if r := remove("abe"); r.Code != OK || c.status() != RequestExecuted {
		t.Fatalf("%s (%s)", r.Code, r.Info)
	}
	if r := remove("bo"); r.Code != CodeConflict || !strings.Contains(r.Info, "nobody could") {
		t.Errorf("the last but one was removed: %s (%s)", r.Code, r.Info)
	}
	s := c.view()
	s.putMember(&c.Abe.Record)
	c.commit(s)
	suspend := func(id string) Result {
		r, _ := c.ask(c.Abe, &action.Action{Rule: action.RuleSuspend, Name: id, Until: c.block.Time + hour})
		return r
	}
	if r := suspend("ana"); r.Code != OK {
		t.Errorf("one of three is suspended: %s (%s)", r.Code, r.Info)
	}
	if r := suspend("bo"); r.Code != CodeConflict {
		t.Errorf("a rogue shuts out all the others: %s (%s)", r.Code, r.Info)
	}
	c.at(c.block.Time + 2*hour)
	theft := action.MemberRecord{ID: "mallory", Name: "M", Operator: "op3", Region: "x", Roles: []string{action.RoleCustodian}, Keys: c.Bo.Record.Keys}
	if r, _ := c.ask(c.Ana, &action.Action{Rule: action.RuleEnrol, Member: &theft}); r.Code != CodeConflict {
		t.Errorf("two members with one key: %s (%s)", r.Code, r.Info)
	}
}

// TestHeldBack: what waits because somebody who agreed is suspended goes on in
// the block after the suspension's end, with nobody's doing.
func TestHeldBack(t *testing.T) {
	for name, comes := range map[string]func(c *council, end uint64){
		"its time is over": func(c *council, end uint64) { c.at(end) },
		"reinstated": func(c *council, _ uint64) {
			if r, _ := c.ask(c.Ana, &action.Action{Rule: action.RuleReinstate, Name: "abe"}); r.Code != OK {
				t.Fatal(r)
			}
		},
	} {
		c := newCouncil(t)
		c.open(c.Ana, c.exit(1))
		c.sayAs(c.Abe)
		end := c.block.Time + 2*hour
		for _, until := range []uint64{c.block.Time + hour, end} {
			if r, _ := c.ask(c.Ana, &action.Action{Rule: action.RuleSuspend, Name: "abe", Until: until}); r.Code != OK {
				t.Fatal(r)
			}
		}
		c.sayAs(c.Bo)
		c.at(end - hour) // the shorter suspension's end
		c.next()
		c.want(RequestOpen)
		comes(c, end)
		c.next()
		if got := c.status(); got != RequestExecuted {
			t.Errorf("%s: the request is %s", name, got)
		}
	}
}

// TestRefusedForGood: who was told no is not surprised later, when somebody
// who has a copy brings the transaction again and it would be taken.
func TestRefusedForGood(t *testing.T) {
	c := newCouncil(t)
	unfreeze := &action.Action{Rule: action.RuleUnfreeze, Domain: c.key.Domain, PublicKey: c.key.PublicKey}
	tx := action.Tx{Cluster: c.ID, Kind: action.KindRequest, Signer: member("ana"), Nonce: c.Case.Nonce("ana"), Body: Ask{Action: unfreeze}.Encode()}
	raw := tx.Sign(c.Ana.Keys[0])
	if r := c.next(raw)[0]; r.Code != CodeConflict {
		t.Fatalf("unfreeze what is not frozen: %s (%s)", r.Code, r.Info)
	}
	if r, _ := c.ask(c.Abe, &action.Action{Rule: action.RuleFreeze, Domain: c.key.Domain, PublicKey: c.key.PublicKey, Until: c.block.Time + hour}); r.Code != OK {
		t.Fatal(r)
	}
	if r := c.next(raw)[0]; r.Code != CodeNonce || len(live(c.view())) != 0 {
		t.Errorf("brought again: %s (%s), %d requests", r.Code, r.Info, len(live(c.view())))
	}
	c.open(c.Ana, unfreeze) // she herself can ask again
}

// TestFloorAboveATier: a request that nobody could ever approve is refused,
// with the reason, and not left to expire.
func TestFloorAboveATier(t *testing.T) {
	c := newCouncil(t)
	s := c.view()
	s.set(s.floorPath(action.RuleArchive), []byte("1 1 0"))
	c.commit(s)
	r, _ := c.ask(c.Ana, &action.Action{Rule: action.RuleArchive, Domain: c.key.Domain, PublicKey: c.key.PublicKey})
	if r.Code != CodeDenied || !strings.Contains(r.Info, "name approvers in a tier for key.archive") || len(live(c.view())) != 0 {
		t.Errorf("%s (%s)", r.Code, r.Info)
	}
}

// TestRequestsInOrder: all there ever were, the latest first, a page at a time.
func TestRequestsInOrder(t *testing.T) {
	c := newCouncil(t)
	var want [][32]byte
	for i := range 9 {
		c.open(c.Ana, c.settings(uint64(i)))
		if want = append([][32]byte{c.id}, want...); i%3 == 0 {
			c.say(c.Ana, action.Cancel)
		}
	}
	for n := range want {
		var got [][32]byte
		var after *[32]byte
		if n > 0 {
			after = &want[n-1]
		}
		c.view().RequestsAfter(after, func(id [32]byte, r *Request) bool {
			got = append(got, id)
			return true
		})
		if !slices.Equal(got, want[n:]) {
			t.Errorf("after %d: %x", n, got)
		}
	}
	c.view().RequestsAfter(new([32]byte), func([32]byte, *Request) bool { t.Error("after none"); return false })
	var named [][32]byte
	c.view().RequestsNamed(hex.EncodeToString(c.id[:3]), func(id [32]byte, _ *Request) bool { named = append(named, id); return true })
	if !slices.Equal(named, want[:1]) {
		t.Errorf("named: %x", named)
	}
}

// FuzzParseGovernance: records of governance read back as they were written.
func FuzzParseGovernance(f *testing.F) {
	r := &Request{Request: action.Request{Action: []byte{1, 2}, By: "member/ana"}, State: RequestLocked, Purpose: "p", Tier: "t", Need: action.Need{Approvals: 2},
		Height: 1, Opened: 2, Deadline: 3, Escalate: 4, Lock: 5, Blocks: 6, Unlock: 7, UnlockHeight: 8, Escalated: true, Closed: 9, Reason: "r",
		Approvals: []Approval{{Member: "bo", Tx: [32]byte{1}, Key: [32]byte{2}, Time: 10}}}
	t := &Timer{Timer: action.Timer{Name: "tic", First: 1, Every: 2, Action: []byte{3}}, By: "node/n", Next: 4, Rung: 5}
	if got, err := parseRequest(r.encode()); err != nil || !reflect.DeepEqual(got, r) {
		f.Errorf("request: %v, %+v", err, got)
	}
	if got, err := parseTimer(t.encode()); err != nil || !reflect.DeepEqual(got, t) {
		f.Errorf("timer: %v, %+v", err, got)
	}
	f.Add(r.encode())
	f.Add(t.encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		if r, err := parseRequest(in); err == nil && !bytes.Equal(r.encode(), in) {
			t.Fatal("request changed")
		}
		if x, err := parseTimer(in); err == nil && !bytes.Equal(x.encode(), in) {
			t.Fatal("timer changed")
		}
	})
}
