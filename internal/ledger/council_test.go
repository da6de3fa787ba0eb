package ledger

import (
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/action/actiontest"
)

// rules of these tests: exits need two custodians of two operators and a lock,
// the rest less.
const rules = `version: 1
name: test
permissions: |
  @id("custodians")
  permit (principal in Role::"custodian", action, resource);
  @id("approvers")
  permit (principal in Role::"approver", action in [Action::"approve", Action::"veto"], resource);
  @id("clock")
  permit (principal is Clock, action, resource);
tiers:
  - name: exit
    actions: [sign.voluntary_exit]
    approvals: 2
    operators: 2
    approvers: [custodian]
    self_approval: true
    deadline: 1d
    veto: [custodian, approver]
  - name: deposit
    actions: [sign.deposit, key.settings]
    approvals: 2
    operators: 2
    approvers: [custodian]
    self_approval: true
    delay: {time: 1h, blocks: 3}
    deadline: 1d
    escalate: {after: 2h, to: [approver]}
    veto: [custodian]
  - name: govern
    actions: [policy.change, member.remove, member.update, member.enrol, key.unfreeze]
    approvals: 2
    approvers: [custodian]
    self_approval: true
  - name: at-once
    actions: ["*"]
    approvals: 0
`

const hour = 60 * 60 * 1000

// council is a world with people in it, and a key that they decide on.
type council struct {
	*world
	*actiontest.Case
	key   *action.KeyRecord
	asked *action.Action
	id    [32]byte
}

func newCouncil(t testing.TB) *council {
	c := &council{world: newWorld(t, 4), Case: actiontest.People()}
	c.govern(rules)
	s := c.view()
	for _, m := range []string{alice.Name, olga.Name} {
		s.deleteMember(m)
	}
	for _, p := range c.Enrolled() {
		s.putMember(&p.Record)
	}
	c.commit(s)
	c.Case.Cluster = c.ID
	c.Case.Nonce = func(id string) uint64 { return c.view().NextNonce(member(id)) }
	c.key = c.giveKey(action.KeyRecord{PublicKey: []byte{1}, State: action.KeyActive})
	return c
}

func member(id string) action.Signer { return action.Signer{Class: action.SignerMember, Name: id} }

// ask opens a request for an action by a person and returns what comes of it.
func (c *council) ask(p *actiontest.Person, a *action.Action) (Result, action.Request) {
	c.Helper()
	tx := action.Tx{Cluster: c.ID, Kind: action.KindRequest, Signer: member(p.Record.ID), Nonce: c.Case.Nonce(p.Record.ID), Salt: [16]byte{1}, Body: Ask{Action: a}.Encode()}
	raw := tx.Sign(p.Keys[0])
	r := c.next(raw)[0]
	return r, action.Request{Action: a.Encode(), Nonce: action.HashTx(raw), Policy: c.view().PolicyVersion(), By: "member/" + p.Record.ID}
}

// open asks for an exit (or another action) that has to wait.
func (c *council) open(p *actiontest.Person, a *action.Action) {
	c.Helper()
	r, request := c.ask(p, a)
	if r.Code != OK || r.Request != request.ID(c.ID) {
		c.Fatalf("ask: %s (%s), request %x", r.Code, r.Info, r.Request)
	}
	c.asked, c.Request, c.id = a, request, r.Request
}

func (c *council) exit(epoch byte) *action.Action {
	return &action.Action{Rule: action.RuleExit, Domain: c.key.Domain, PublicKey: c.key.PublicKey, Duty: []byte{epoch}}
}

func (c *council) settings(gas uint64) *action.Action {
	return &action.Action{Rule: action.RuleSettings, Domain: c.key.Domain, PublicKey: c.key.PublicKey, Settings: action.SettingsChange{Set: action.ProposerSettings{GasLimit: &gas}}}
}

func (c *council) say(p *actiontest.Person, v action.Verdict) Result {
	c.Helper()
	return c.next(c.Approve(p, 0, func(_ *action.Tx, d *action.Decision) { d.Verdict = v }))[0]
}

func (c *council) status() RequestState {
	r, _ := c.view().Request(c.id)
	return r.State
}

func (c *council) want(state RequestState) {
	c.Helper()
	if got := c.status(); got != state {
		r, _ := c.view().Request(c.id)
		c.Fatalf("the request is %s (%s), want %s", got, r.Reason, state)
	}
}

func (c *council) granted(a *action.Action) bool {
	hash := a.Hash(c.ID)
	return c.view().Get(c.view().ns.Grant(hash[:])) != nil
}

func (c *council) nextAt(later uint64) Block { c.at(c.block.Time + later); return c.block }

// both approve.
func (c *council) both() { c.sayAs(c.Ana, c.Bo) }

func (c *council) sayAs(people ...*actiontest.Person) {
	c.Helper()
	for _, p := range people {
		if r := c.say(p, action.Approve); r.Code != OK {
			c.Fatalf("%s approves: %s (%s)", p.Record.ID, r.Code, r.Info)
		}
	}
}

func (c *council) drop(id string) { s := c.view(); s.deleteMember(id); c.commit(s) }

func (c *council) edit(id string, change func(*action.MemberRecord)) {
	s := c.view()
	m, _ := s.Member(id)
	change(m)
	s.putMember(m)
	c.commit(s)
}

func (c *council) archive() {
	s := c.view()
	k, _ := s.Key(c.key.Domain, c.key.PublicKey)
	k.State = action.KeyArchived
	s.putKey(k)
	c.commit(s)
}

func live(s *State) (out []*Request) {
	s.LiveRequests(func(_ [32]byte, r *Request) bool { out = append(out, r); return true })
	return out
}
