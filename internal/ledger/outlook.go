package ledger

import (
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/proof"
)

// Waiting means that an action was asked for, and others have to agree or its
// time has to come.
type Waiting struct{ Request [32]byte }

func (w *Waiting) Error() string {
	return fmt.Sprintf("waits for approval: request %x (hint: quorate request show %x)", w.Request, w.Request[:8])
}

// Outlook is what a live request still waits for.
type Outlook struct {
	Missing action.Need // humans, operators and regions beyond those who count now
	Could   []string    // members whose approval would count now
	Veto    []string    // members who can end it
	Opens   uint64      // when its lock and window let it happen, in milliseconds of block time; 0: not known yet, or never
}

// Outlook says, as of a block time, what a request waits for. Of one that
// nothing can come of any more it is empty.
func (s *State) Outlook(r *Request, now uint64) (o Outlook) {
	rules, version := s.policy()
	if !r.State.Live() || version != r.Policy || r.State == RequestOpen && now >= r.Deadline {
		return o
	}
	ctx := txContext{block: Block{Time: now}}
	humans, _ := s.approvers(ctx, r, r.terms(rules))
	o.Missing = r.Need.Missing(humans)
	counts := map[string]bool{}
	for _, m := range humans {
		counts[m.ID] = true
	}
	for _, a := range r.Approvals {
		counts[a.Member] = true // one human is asked once, even if the word was lost with a credential
	}
	s.Members(func(m *action.MemberRecord) bool {
		if ctx.who = ofMember(m); !m.Human() || ctx.who.mayAct(now) != nil {
			return true
		}
		if !counts[m.ID] && s.mayDecide(ctx, rules, policy.Approve, r) == nil {
			o.Could = append(o.Could, m.ID)
		}
		if s.mayDecide(ctx, rules, policy.Veto, r) == nil {
			o.Veto = append(o.Veto, m.ID)
		}
		return true
	})
	o.Opens = s.opens(ctx, rules, r)
	return o
}

func (s *State) opens(ctx txContext, rules *policy.Policy, r *Request) uint64 {
	if r.State != RequestLocked || r.Unlock == 0 {
		return 0
	}
	terms := r.terms(rules)
	at, _ := terms.OpensAt(max(ctx.block.Time, r.Unlock))
	return at
}

// Grant returns the grant of an action, by its hash. It may have ended.
func (s *State) Grant(hash [32]byte) (*action.Grant, bool) {
	raw := s.Get(s.ns.Grant(hash[:]))
	if raw == nil {
		return nil, false
	}
	return mustParse(action.ParseGrant(raw)), true
}

func (s *State) exitPath(key []byte) proof.Path { return s.ns.Path("exit", proof.Hex(key)) }

// ExitGrant returns the last grant of an exit of a key. It may have ended.
func (s *State) ExitGrant(key []byte) (*action.Grant, bool) {
	hash := s.Get(s.exitPath(key))
	if hash == nil {
		return nil, false
	}
	return s.Grant([32]byte(hash))
}

// FrozenUntil returns when a frozen key comes back by itself, in milliseconds
// of block time; 0 where it is not frozen.
func (s *State) FrozenUntil(k *action.KeyRecord) uint64 {
	if raw := s.Get(s.thawPath(k.Domain, k.PublicKey)); raw != nil {
		return be(raw)
	}
	return 0
}

// Principals returns everybody whom a policy can be asked about: all nodes and
// members, those without a role as well.
func (s *State) Principals() (all []policy.Principal) {
	for _, n := range s.Nodes() {
		all = append(all, ofNode(n).policy())
	}
	s.Members(func(m *action.MemberRecord) bool {
		all = append(all, ofMember(m).policy())
		return true
	})
	return all
}
