package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/proof"
)

// Members visits all members in order of their ids.
func (s *State) Members(visit func(*action.MemberRecord) bool) {
	s.iterate(s.ns.Prefix("member"), func(_, v []byte) bool {
		return visit(mustParse(action.ParseMemberRecord(v)))
	})
}

// Beside the records stand two indexes, so that what a change costs does not
// grow with the number of members: whose a credential is, and whom a member
// stands in for.

func (s *State) credentialPath(id [32]byte) proof.Path {
	return s.ns.Path("credential", proof.Hex(id[:]))
}

func (s *State) backupPath(backup, of string) proof.Path { return s.ns.Path("backup", backup, of) }

// credentialID names a credential.
func credentialID(k ident.PublicKey) [32]byte { return sha256.Sum256(k.Bytes()) }

func (s *State) putMember(m *action.MemberRecord) {
	s.deleteMember(m.ID)
	for _, k := range m.Keys {
		s.set(s.credentialPath(credentialID(k)), []byte(m.ID))
	}
	for _, b := range m.Backups {
		s.set(s.backupPath(b, m.ID), []byte(m.ID))
	}
	s.set(s.ns.Member([]byte(m.ID)), m.Encode())
}

func (s *State) deleteMember(id string) {
	old, ok := s.Member(id)
	if !ok {
		return
	}
	for _, k := range old.Keys {
		s.delete(s.credentialPath(credentialID(k)))
	}
	for _, b := range old.Backups {
		s.delete(s.backupPath(b, id))
	}
	s.delete(s.ns.Member([]byte(id)))
}

// standsInFor returns whose backup a member is.
func (s *State) standsInFor(backup string) (ids []string) {
	s.iterate(s.ns.Prefix("backup", backup), func(_, v []byte) bool {
		ids = append(ids, string(v))
		return true
	})
	return ids
}

// What an EventMember says of a member who got credentials. Verifiers of
// evidence read it.
const (
	MemberEnrolled = "enrolled"
	MemberChanged  = "changed"
)

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
	what := MemberEnrolled
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
			what, m.Suspended = MemberChanged, old.Suspended
		}
		s.putMember(&m)
	case action.RuleRemove:
		what = "removed"
		s.deleteMember(id)
	case action.RuleSuspend:
		if err := checkEnd(ctx, a.Until); err != nil {
			return err
		}
		what, old.Suspended = "suspended", max(old.Suspended, a.Until)
		s.putMember(old)
		s.wakeAt(old.Suspended, dueReturn, id)
	case action.RuleReinstate:
		if old.Suspended <= ctx.block.Time {
			return refuse(CodeConflict, "member %s is not suspended", id)
		}
		what, old.Suspended = "reinstated", 0
		s.putMember(old)
		s.heldBack(ctx, id)
	}
	if a.Rule == action.RuleRemove || a.Rule == action.RuleUpdate || a.Rule == action.RuleSuspend {
		rules, _ := s.policy()
		if err := s.locksOut(rules, ctx.block.Time); err != nil {
			return refuse(CodeConflict, "after this change nobody could change anything any more: %w", err)
		}
	}
	s.record(ctx, Event{Kind: EventMember, Object: "member/" + id, Detail: what})
	return nil
}

// returnDue lets a suspension end, unless it was made longer since.
func (s *State) returnDue(ctx txContext, id string) {
	if m, ok := s.Member(id); ok && m.Suspended <= ctx.block.Time {
		s.heldBack(ctx, id)
	}
}

// heldBack has the next block look at what a member agreed to before he was
// suspended: his word counts again, and may be the one that was missing.
func (s *State) heldBack(ctx txContext, id string) {
	s.LiveRequests(func(request [32]byte, r *Request) bool {
		if slices.ContainsFunc(r.Approvals, func(a Approval) bool { return a.Member == id }) {
			s.wakeAtHeight(uint64(ctx.block.Height)+1, dueRequest, hex.EncodeToString(request[:]))
		}
		return true
	})
}

// ownKeys refuses a credential that is another's: approvals count humans.
func (s *State) ownKeys(m *action.MemberRecord) error {
	own := map[[32]byte]bool{}
	for _, k := range m.Keys {
		id := credentialID(k)
		if own[id] {
			return refuse(CodeMalformed, "a key of member %s stands twice", m.ID)
		}
		own[id] = true
		if other := string(s.Get(s.credentialPath(id))); other != "" && other != m.ID {
			return refuse(CodeConflict, "a key of member %s is %s's", m.ID, other)
		}
	}
	return nil
}

// fewMembers is how many are looked at first: if they can change a policy,
// more of them can.
const fewMembers = 64

// locksOut says why nobody could change a policy any more. Who is suspended
// does not count, or one could shut out all the others for a while.
func (s *State) locksOut(rules *policy.Policy, now uint64) error {
	if rules.Lockout(s.principals(now, fewMembers)) == nil {
		return nil
	}
	return rules.Lockout(s.principals(now, math.MaxInt))
}

// principals is everybody who can act, as policies see them: all nodes, and at
// most so many of the members that have a role and are not suspended.
func (s *State) principals(now uint64, most int) (all []policy.Principal) {
	for _, n := range s.Nodes() {
		all = append(all, ofNode(n).policy())
	}
	s.Members(func(m *action.MemberRecord) bool {
		if len(m.Roles) > 0 && now >= m.Suspended {
			all = append(all, ofMember(m).policy())
			most--
		}
		return most > 0
	})
	return all
}
