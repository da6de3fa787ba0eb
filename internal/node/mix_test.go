package node

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
)

// Governance in the mix: people come and go, agree, veto and change the policy
// while timers ring.

// agreeing is the cluster's policy, and asks that others agree to some actions.
var agreeing = strings.Replace(ledgertest.Policy, "tiers:\n", `  @id("people approve")
  permit (principal in Role::"approver", action in [Action::"request", Action::"approve", Action::"veto"], resource);
tiers:
  - name: locked
    actions: [key.settings, key.unfreeze]
    approvals: 2
    operators: 2
    approvers: [custodian, approver]
    self_approval: true
    delay: {time: 3s, blocks: 2}
    deadline: 30s
    escalate: {after: 10s, to: [observer]}
    veto: [custodian, approver]
  - name: agreed
    actions: [sign.voluntary_exit, ceremony.import]
    approvals: 2
    approvers: [custodian, approver]
    deadline: 20s
    veto: [custodian]
`, 1)

// maxPeople is how many people the mix knows.
const maxPeople = 8

func person(i int) action.Signer {
	return action.Signer{Class: action.SignerMember, Name: fmt.Sprintf("person%d", i)}
}

// personKey follows from who it is of, and from which of his it is.
func personKey(who action.Signer, i int) ident.PrivateKey {
	seed := sha256.Sum256(fmt.Append(nil, who, i))
	k, err := ident.FromSeed(ident.Ed25519, append(seed[:], seed[:]...))
	if err != nil {
		panic(err)
	}
	return k
}

// anybody is Alice, a node or a person; who is not enrolled is refused.
func (m *mix) anybody() action.Signer {
	switch m.rand.IntN(6) {
	case 0:
		return ledgertest.Alice
	case 1:
		return ledgertest.Node(m.rand.IntN(4))
	}
	who := person(m.rand.IntN(maxPeople))
	if _, known := m.Keys[who]; !known || m.rand.IntN(50) == 0 {
		m.Keys[who] = personKey(who, m.rand.IntN(2))
	}
	return who
}

func (m *mix) record(who action.Signer) *action.MemberRecord {
	roles := [][]string{{action.RoleCustodian}, {action.RoleApprover}, {action.RoleApprover, action.RoleObserver}, {action.RoleObserver}}
	r := &action.MemberRecord{ID: who.Name, Name: who.Name, Operator: fmt.Sprint("op", m.rand.IntN(3)), Region: "region0",
		Roles: roles[m.rand.IntN(4)], Workload: m.rand.IntN(10) == 0, Keys: []ident.PublicKey{personKey(who, 0).Public()}}
	if m.rand.IntN(4) > 0 {
		r.Keys = append(r.Keys, personKey(who, 1).Public())
	}
	if b := person(m.rand.IntN(maxPeople)); b != who {
		r.Backups = []string{b.Name}
	}
	return r
}

// governance is one transaction of it.
func (m *mix) governance(s *ledger.State) []byte {
	ask := func(who action.Signer, a *action.Action) []byte {
		return m.Tx(who, action.KindRequest, ledger.Ask{Action: a, Purpose: "mix"}.Encode())
	}
	someone, until := person(m.rand.IntN(maxPeople)), m.now()+uint64(m.rand.IntN(40))*1000
	switch n := m.rand.IntN(24); {
	case n == 0 && m.rand.IntN(16) == 0:
		return m.policy([]string{ledgertest.Policy, agreeing}[min(1, m.rand.IntN(4))])
	case n < 3:
		rule := []action.Rule{action.RuleEnrol, action.RuleEnrol, action.RuleUpdate}[m.rand.IntN(3)]
		return ask(ledgertest.Alice, &action.Action{Rule: rule, Member: m.record(someone)})
	case n == 3:
		rule := []action.Rule{action.RuleRemove, action.RuleReinstate, action.RuleReinstate}[m.rand.IntN(3)]
		return ask(m.anybody(), &action.Action{Rule: rule, Name: someone.Name})
	case n == 4:
		return ask(m.anybody(), &action.Action{Rule: action.RuleSuspend, Name: someone.Name, Until: until})
	case n == 5:
		return m.Tx(m.anybody(), action.KindRequest, m.actionUntil(s, action.RuleFreeze, until))
	case n == 6:
		return m.Tx(m.anybody(), action.KindRequest, m.action(s, action.RuleUnfreeze, action.ProposerSettings{}))
	case n == 7:
		inner := &action.Action{Rule: action.RuleSuspend, Name: someone.Name, Until: until + 90_000}
		return ask(m.anybody(), &action.Action{Rule: action.RuleTimerSet, Timer: action.Timer{Name: fmt.Sprint("timer", m.rand.IntN(8)), First: until, Every: uint64(m.rand.IntN(2)) * 60_000, Action: inner.Encode()}})
	case n == 8:
		return ask(m.anybody(), &action.Action{Rule: action.RuleTimerCancel, Name: fmt.Sprint("timer", m.rand.IntN(8))})
	case n < 12:
		gas := uint64(m.rand.IntN(1000))
		return m.Tx(m.anybody(), action.KindRequest, m.action(s, action.RuleSettings, action.ProposerSettings{GasLimit: &gas}))
	case n == 12:
		return m.Tx(m.anybody(), action.KindRequest, m.action(s, action.RuleExit, action.ProposerSettings{}))
	}
	var waiting []action.Decision
	s.LiveRequests(func(id [32]byte, r *ledger.Request) bool {
		waiting = append(waiting, action.Decision{Request: id, Action: action.HashAction(m.ID, r.Action), Policy: r.Policy, Verdict: action.Approve})
		return m.rand.IntN(20) > 0
	})
	if len(waiting) == 0 {
		return m.Tx(m.anybody(), action.KindTick, nil)
	}
	d := waiting[len(waiting)-1]
	switch m.rand.IntN(30) {
	case 0:
		d.Verdict = action.Veto
	case 1:
		d.Verdict = action.Cancel
	case 2:
		d.Action[0] ^= 1
	case 3:
		d.Policy[0] ^= 1
	}
	return m.Tx(m.anybody(), action.KindDecision, d.Encode())
}

// policy asks for a policy, of which there are several of the same meaning.
func (m *mix) policy(document string) []byte {
	a := &action.Action{Rule: action.RulePolicy, Document: fmt.Appendf(nil, "%s# %d\n", document, m.rand.IntN(4))}
	return m.Tx(ledgertest.Alice, action.KindRequest, ledger.Ask{Action: a, Purpose: "mix"}.Encode())
}

// crowds are the people of one ceremony among participants after the other.
type crowds struct {
	*assemblytest.Crowd
	follower *assembly.Follower
	made     uint32 // crowds so far
}

// assembly is what they say: late, twice, and in every third ceremony too few
// of them.
func (m *mix) assembly(t testing.TB, s *ledger.State) (txs [][]byte) {
	p := &m.crowds
	if p.Crowd != nil {
		if r, ok := s.Assembly(p.Params.ID()); ok && r.Sealed {
			p.Crowd = nil
		}
	}
	if p.Crowd == nil {
		p.made++
		p.follower = nil
		p.Crowd = assemblytest.New(t, 4, 1, 0, func(a *assembly.Params) {
			a.Nonce[0], a.Nonce[1] = byte(p.made), byte(p.made>>8)
			a.Deadlines = assembly.Deadlines{Join: 9000, Deal: 9000, Verify: 9000, Answer: 9000, Replay: 9000, Confirm: 9000}
		})
	}
	id := p.Params.ID()
	r, ok := s.Assembly(id)
	if !ok {
		ask := ledger.Ask{Action: p.Action("mix"), Seats: p.List.Encode()}
		return [][]byte{m.Tx(ledgertest.Alice, action.KindRequest, ask.Encode())}
	}
	if p.follower == nil {
		var err error
		if p.follower, err = assembly.Follow(s.AssemblyEntry(id, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for p.follower.Entries() < r.Entries {
		if err := p.follower.Take(s.AssemblyEntry(id, p.follower.Entries()+1)); err != nil {
			t.Fatal(err)
		}
	}
	if p.follower.Link() != r.Link {
		t.Fatal("the log ends with another link than the record's")
	}
	for seat := 1; seat <= 4; seat++ {
		if m.rand.IntN(3) == 0 || p.made%3 == 0 && seat < 3 && !p.follower.Board().Phase().Ended() {
			continue // not now, or never
		}
		if p.follower.Board().Phase().Ended() {
			seal := ledger.AssemblySeal{Ceremony: id, Seat: uint16(seat), Signature: assembly.SignSeal(p.Keys[seat-1], r.Link)}
			txs = append(txs, m.Tx(ledgertest.Node(m.rand.IntN(4)), action.KindAssemblySeal, seal.Encode()))
			continue
		}
		for _, post := range p.Next(p.follower, seat) {
			body := ledger.AssemblyMessage{Ceremony: id, Seat: uint16(seat), Message: post.Message, Signature: post.Signature}
			txs = append(txs, m.Tx(ledgertest.Node(m.rand.IntN(4)), action.KindAssembly, body.Encode()))
		}
	}
	return txs
}

// now is about the time of the next block.
func (m *mix) now() uint64 { return uint64(blockTime(m.height).UnixMilli()) }

func (m *mix) actionUntil(s *ledger.State, rule action.Rule, until uint64) []byte {
	a := &action.Action{Rule: rule, Domain: action.DomainValidator, PublicKey: make([]byte, 48), Until: until}
	s.Keys(action.DomainValidator, func(k *action.KeyRecord) bool {
		a.PublicKey = k.PublicKey
		return m.rand.IntN(3) > 0
	})
	return ledger.Ask{Action: a}.Encode()
}
