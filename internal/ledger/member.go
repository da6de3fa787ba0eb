package ledger

import (
	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/policy"
)

// Members visits all members in order of their ids.
func (s *State) Members(visit func(*action.MemberRecord) bool) {
	s.iterate(s.ns.Prefix("member"), func(_, v []byte) bool {
		return visit(mustParse(action.ParseMemberRecord(v)))
	})
}

func (s *State) putMember(m *action.MemberRecord) { s.set(s.ns.Member([]byte(m.ID)), m.Encode()) }

// executeOnMember changes who takes part. A change after which nobody could
// change anything any more is refused.
func (s *State) executeOnMember(ctx txContext, a *action.Action) error {
	id := a.Name
	if a.Member != nil {
		id = a.Member.ID
	}
	old, enrolled := s.Member(id)
	if enrolled == (a.Rule == action.RuleEnrol) {
		if enrolled {
			return refuse(CodeConflict, "member %s is enrolled already", id)
		}
		return refuse(CodeNotFound, "there is no member %s", id)
	}
	what := "enrolled"
	switch a.Rule {
	case action.RuleEnrol, action.RuleUpdate:
		m := *a.Member
		if err := m.Check(); err != nil {
			return refuse(CodeMalformed, "%w", err)
		}
		if m.Suspended != 0 {
			return refuse(CodeMalformed, "a suspension is an action of its own")
		}
		if err := s.ownKeys(&m); err != nil {
			return err
		}
		if enrolled {
			what, m.Suspended = "changed", old.Suspended
		}
		s.putMember(&m)
	case action.RuleRemove:
		what = "removed"
		s.delete(s.ns.Member([]byte(id)))
	case action.RuleSuspend:
		if a.Until <= ctx.block.Time {
			return refuse(CodeMalformed, "a suspension needs an end in the future")
		}
		what, old.Suspended = "suspended", max(old.Suspended, a.Until)
		s.putMember(old)
	case action.RuleReinstate:
		if old.Suspended <= ctx.block.Time {
			return refuse(CodeConflict, "member %s is not suspended", id)
		}
		what, old.Suspended = "reinstated", 0
		s.putMember(old)
	}
	if a.Rule != action.RuleSuspend { // which ends by itself
		rules, _ := s.policy()
		if err := rules.Lockout(s.principals()); err != nil {
			return refuse(CodeConflict, "after this change nobody could change anything any more: %w", err)
		}
	}
	s.record(ctx, Event{Kind: EventMember, Object: "member/" + id, Detail: what})
	return nil
}

// ownKeys refuses a credential that is another's: approvals count humans.
func (s *State) ownKeys(m *action.MemberRecord) (err error) {
	own := map[string]bool{}
	for _, k := range m.Keys {
		if own[string(k.Bytes())] {
			return refuse(CodeMalformed, "a key of member %s stands twice", m.ID)
		}
		own[string(k.Bytes())] = true
	}
	s.Members(func(other *action.MemberRecord) bool {
		for _, k := range other.Keys {
			if other.ID != m.ID && own[string(k.Bytes())] {
				err = refuse(CodeConflict, "a key of member %s is %s's", m.ID, other.ID)
			}
		}
		return err == nil
	})
	return err
}

// principals is everybody who can act, as policies see them.
func (s *State) principals() (all []policy.Principal) {
	s.Members(func(m *action.MemberRecord) bool {
		all = append(all, ofMember(m).policy())
		return true
	})
	for _, n := range s.Nodes() {
		all = append(all, principal{name: "node/" + n.Name, kind: kindNode, operator: n.Operator, region: n.Region}.policy())
	}
	return all
}
