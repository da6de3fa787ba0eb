package ledger

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/policy"
)

// ask decides on an action: it happens at once, or a request waits for those
// who have to agree, or for its time.
func (s *State) ask(ctx txContext, b Ask, raw []byte) (id [32]byte, err error) {
	r := &Request{
		Request: action.Request{Action: b.Action.Encode(), Nonce: ctx.hash, By: ctx.who.name},
		Behind:  ctx.who.behind, Purpose: b.Purpose, State: RequestOpen, Height: uint64(ctx.block.Height), Opened: ctx.block.Time,
	}
	rules, version := s.policy()
	r.Policy = version
	q, err := s.query(ctx, b.Action, ctx.who)
	if err != nil {
		return id, err
	}
	if err := rules.May(policy.Request, q); err != nil {
		return id, refuse(CodeDenied, "%w", err)
	}
	terms, err := rules.Terms(q)
	if err != nil {
		return id, refuse(CodeDenied, "%w", err)
	}
	r.Tier, r.Need, r.Lock, r.Blocks = terms.Tier, s.need(b.Action.Rule, terms), terms.Delay.Time, terms.Delay.Blocks
	if b.Action.Rule == action.RulePolicy {
		if err := s.readDraft(r.By); err != nil {
			return id, err
		}
	}
	if r.Need.Approvals > 0 && len(terms.Roles)+len(terms.Backups) == 0 {
		return id, refuse(CodeDenied, "tier %s asks for no approval and names no approvers, but the genesis asks for %d: nobody could give one (hint: name approvers in a tier for %s)", r.Tier, r.Need.Approvals, b.Action.Rule)
	}
	if r.Need == (action.Need{}) && r.Lock == 0 && r.Blocks == 0 && terms.Window == nil {
		if err := rules.May(policy.Execute, q); err != nil {
			return id, refuse(CodeDenied, "%w", err)
		}
		return id, s.execute(ctx, b, s.grantOf(ctx, r, nil))
	}
	// Who asks again, because a call timed out, finds what waits already.
	asked := s.askedPath(r)
	if old := s.Get(asked); old != nil {
		return [32]byte(old), nil
	}
	// What cannot be carried out is said before anybody spends a word on it.
	if err := s.tryOut(ctx, b, r); err != nil {
		return id, err
	}
	r.Deadline = r.Opened + defaultDeadline
	if terms.Deadline > 0 {
		r.Deadline = r.Opened + terms.Deadline
	}
	if terms.EscalateAfter > 0 {
		r.Escalate = r.Opened + terms.EscalateAfter
	}
	if err := s.countLive(r.By, +1); err != nil {
		return id, err
	}
	id = r.ID(s.cluster)
	s.set(s.livePath(id), id[:])
	s.set(asked, id[:])
	s.set(s.openedPath(id, r), id[:])
	switch {
	case raw != nil:
		s.setBody(TxPath(ctx.hash), raw)
	case b.Keys != nil:
		s.setBody(askPath(ctx.hash), b.Encode())
	}
	s.record(ctx, s.about(r, EventRequested, fmt.Sprintf("tier %s, %d approvals", r.Tier, r.Need.Approvals)))
	s.wakeAtHeight(r.Height+1, dueRequest, hex.EncodeToString(id[:]))
	s.progress(ctx, id, r)
	return id, nil
}

// defaultDeadline is how long a request waits where the policy does not say.
const defaultDeadline = 7 * 24 * 60 * 60 * 1000

// need is what the terms ask for, and never less than the genesis does.
func (s *State) need(rule action.Rule, t policy.Terms) action.Need {
	n := action.Need{Approvals: uint16(t.Approvals), Operators: uint16(t.Operators), Regions: uint16(t.Regions)}
	return n.Max(s.floor(rule))
}

// decide takes a member's word on a request.
func (s *State) decide(ctx txContext, d action.Decision, raw []byte) error {
	r, ok := s.Request(d.Request)
	switch {
	case !ok:
		return refuse(CodeNotFound, "there is no request %x", d.Request[:8])
	case ctx.who.kind != kindHuman && d.Verdict != action.Cancel:
		return refuse(CodeDenied, "%s is no human: only people approve and veto", ctx.who.name)
	case !r.State.Live():
		return refuse(CodePhase, "the request is %s already", r.State)
	case d.Action != action.HashAction(s.cluster, r.Action):
		return refuse(CodeConflict, "what was signed is another action than the request's")
	case d.Policy != r.Policy:
		return refuse(CodeConflict, "what was signed names another version of the policy than the request's")
	}
	rules, version := s.policy()
	if version != r.Policy {
		return refuse(CodePhase, "the policy has changed since the request was opened; open it again")
	}
	if r.State == RequestOpen && ctx.block.Time >= r.Deadline {
		return refuse(CodePhase, "the request has expired")
	}
	s.setBody(TxPath(ctx.hash), raw)
	switch d.Verdict {
	case action.Cancel:
		if ctx.who.name != r.By {
			return refuse(CodeDenied, "only %s, who asked, can cancel; others can veto", r.By)
		}
		s.endRequest(ctx, d.Request, r, RequestCancelled, EventCancelled, "")
		return nil
	case action.Veto:
		if err := s.mayDecide(ctx, rules, policy.Veto, r); err != nil {
			return err
		}
		s.endRequest(ctx, d.Request, r, RequestVetoed, EventVetoed, "by "+ctx.who.name)
		return nil
	}
	humans, _ := s.approvers(ctx, r, r.terms(rules))
	if slices.ContainsFunc(humans, func(m *action.MemberRecord) bool { return m.ID == ctx.who.id() }) {
		return refuse(CodeConflict, "%s has approved already: one human counts once", ctx.who.name)
	}
	// With a credential that was taken from him since, he has not.
	r.Approvals = slices.DeleteFunc(r.Approvals, func(a Approval) bool { return a.Member == ctx.who.id() })
	if len(r.Approvals) == action.MaxApprovals {
		return refuse(CodeBusy, "%d members have approved", action.MaxApprovals)
	}
	if err := s.mayDecide(ctx, rules, policy.Approve, r); err != nil {
		return err
	}
	// If somebody who agreed has left since, a new approval starts the lock anew.
	if !r.Need.Met(humans) {
		if ctx.block.Time >= r.Deadline {
			return refuse(CodePhase, "the request has expired")
		}
		r.reopen()
	}
	r.Approvals = append(r.Approvals, Approval{Member: ctx.who.id(), Tx: ctx.hash, Key: ctx.key, Time: ctx.block.Time})
	s.record(ctx, s.about(r, EventApproved, ""))
	s.progress(ctx, d.Request, r)
	return nil
}

// mayDecide asks the policy whether a member's word counts.
func (s *State) mayDecide(ctx txContext, rules *policy.Policy, verb policy.Verb, r *Request) error {
	a := mustParse(action.ParseAction(r.Action))
	who := ctx.who
	if verb == policy.Approve {
		who.roles = s.rolesIn(r, who)
	}
	q, err := s.query(ctx, a, who)
	if err != nil {
		return err
	}
	if err := rules.May(verb, q); err != nil {
		return refuse(CodeDenied, "%w", err)
	}
	terms := r.terms(rules)
	p := who.policy()
	switch {
	case verb == policy.Veto && len(terms.Veto) == 0:
		return refuse(CodeDenied, "tier %s lets nobody veto", terms.Tier)
	case verb == policy.Veto && !terms.MayVeto(p):
		return refuse(CodeDenied, "tier %s lets %v veto; %s is %v", terms.Tier, terms.Veto, who.name, who.roles)
	case verb == policy.Approve && !terms.Counts(p, r.requester(), ctx.block.Time-r.Opened):
		return refuse(CodeDenied, "an approval of %s does not count in tier %s, which asks for %v", who.name, terms.Tier, terms.Roles)
	}
	return nil
}

// terms are those that the request was opened under. Who decides, and what has
// become of the resource since, chooses no other tier.
func (r *Request) terms(rules *policy.Policy) policy.Terms {
	t, ok := rules.Tier(r.Tier)
	if !ok {
		panic("ledger: own state is damaged: no tier " + r.Tier)
	}
	return t
}

// rolesIn returns a member's roles where a request is concerned: once it has
// escalated, also those of members whom he stands in for.
func (s *State) rolesIn(r *Request, who principal) []string {
	if !r.Escalated {
		return who.roles
	}
	roles := slices.Clone(who.roles)
	for _, id := range s.standsInFor(who.id()) {
		m, ok := s.Member(id)
		if !ok {
			continue
		}
		for _, role := range m.Roles {
			if !slices.Contains(roles, role) {
				roles = append(roles, role)
			}
		}
	}
	return roles
}

// approvers returns the humans whose approval still counts: one who has left,
// is suspended or lost the role agrees to nothing any more, and neither does a
// credential that was taken from its member.
func (s *State) approvers(ctx txContext, r *Request, terms policy.Terms) (humans []*action.MemberRecord, txs [][32]byte) {
	for _, a := range r.Approvals {
		m, ok := s.Member(a.Member)
		if !ok {
			continue
		}
		who := ofMember(m)
		who.roles = s.rolesIn(r, who)
		if terms.Counts(who.policy(), r.requester(), ctx.block.Time-r.Opened) && ctx.block.Time >= m.Suspended && slices.ContainsFunc(m.Keys, func(k ident.PublicKey) bool { return credentialID(k) == a.Key }) {
			humans, txs = append(humans, m), append(txs, a.Tx)
		}
	}
	return humans, txs
}

// progress takes a live request as far as it can go now, and says when to
// look at it again.
func (s *State) progress(ctx txContext, id [32]byte, r *Request) {
	rules, version := s.policy()
	if version != r.Policy {
		s.endRequest(ctx, id, r, RequestStale, EventExpired, "the policy has changed")
		return
	}
	// A block's time can be old, when the ledger rested before it or stood still.
	// That of the block after is not.
	now, height := ctx.block.Time, uint64(ctx.block.Height)
	if !r.Running && height > r.Height {
		late := now - r.Opened
		r.Running, r.Opened, r.Deadline = true, now, r.Deadline+late
		if r.Escalate > 0 {
			r.Escalate += late
		}
	}
	if r.Escalate > 0 && !r.Escalated && ctx.block.Time >= r.Escalate && r.State == RequestOpen {
		r.Escalated = true
		s.record(ctx, s.about(r, EventEscalated, "backups may approve now"))
	}
	terms := r.terms(rules)
	humans, txs := s.approvers(ctx, r, terms)
	if !r.Need.Met(humans) {
		if now >= r.Deadline {
			s.endRequest(ctx, id, r, RequestExpired, EventExpired, "")
			return
		}
		r.reopen() // somebody who agreed may have left
		s.sleep(id, r, now)
		return
	}
	if r.State == RequestOpen {
		r.State, r.Agreed, r.UnlockHeight = RequestLocked, height, height+r.Blocks
	}
	if r.Unlock == 0 {
		if timed := r.Lock > 0 || terms.Window != nil; timed && height == r.Agreed {
			s.wakeAtHeight(height+1, dueRequest, hex.EncodeToString(id[:]))
			s.sleep(id, r, now)
			return
		}
		r.Unlock = now + r.Lock
		if r.Lock > 0 || r.Blocks > 0 {
			s.record(ctx, s.about(r, EventLocked, fmt.Sprintf("until %s and height %d", moment(r.Unlock), r.UnlockHeight)))
		}
	}
	a := mustParse(action.ParseAction(r.Action))
	asker, ok := s.asker(r.By)
	if !ok {
		s.endRequest(ctx, id, r, RequestFailed, EventFailed, r.By+" has left")
		return
	}
	ctx.who = asker
	q, err := s.query(ctx, a, asker)
	if err != nil {
		s.endRequest(ctx, id, r, RequestFailed, EventFailed, err.Error())
		return
	}
	opens, ever := terms.OpensAt(max(now, r.Unlock))
	switch {
	case !ever:
		s.endRequest(ctx, id, r, RequestFailed, EventFailed, "its window never opens again")
	case now < opens:
		s.wakeAt(opens, dueRequest, hex.EncodeToString(id[:]))
		s.sleep(id, r, now)
	case height < r.UnlockHeight:
		s.wakeAtHeight(r.UnlockHeight, dueRequest, hex.EncodeToString(id[:]))
		s.sleep(id, r, now)
	default:
		s.conclude(ctx, id, r, a, rules, q, txs)
	}
}

func (r *Request) reopen() { r.State, r.Agreed, r.Unlock, r.UnlockHeight = RequestOpen, 0, 0, 0 }

// sleep stores a live request until its deadline, its escalation or a word of
// somebody.
func (s *State) sleep(id [32]byte, r *Request, now uint64) {
	name := hex.EncodeToString(id[:])
	if r.Deadline > now {
		s.wakeAt(r.Deadline, dueRequest, name)
	}
	if r.Escalate > now && !r.Escalated {
		s.wakeAt(r.Escalate, dueRequest, name)
	}
	s.putRequest(id, r)
}

// conclude carries a request out, or says why that is impossible.
func (s *State) conclude(ctx txContext, id [32]byte, r *Request, a *action.Action, rules *policy.Policy, q policy.Query, txs [][32]byte) {
	var why error
	code := s.attempt(func(s *State) Code {
		if why = ctx.who.mayAct(ctx.block.Time); why == nil {
			if why = rules.May(policy.Execute, q); why == nil {
				why = s.execute(ctx, s.askOf(r, a), s.grantOf(ctx, r, txs))
			}
		}
		if why != nil {
			return CodeConflict
		}
		return OK
	})
	if code != OK {
		s.endRequest(ctx, id, r, RequestFailed, EventFailed, why.Error())
		return
	}
	s.endRequest(ctx, id, r, RequestExecuted, EventExecuted, "")
}

// askOf returns what was asked for: an action and what came with it. That lies
// in the transaction that asked, or beside it what the ledger itself asked for.
func (s *State) askOf(r *Request, a *action.Action) Ask {
	if raw := s.Tx(r.Nonce); raw != nil {
		tx, err := Parse(raw)
		return mustParse(tx, err).body.(Ask)
	}
	if raw := s.getBody(askPath(r.Nonce)); raw != nil {
		return mustParse(parseAsk(raw))
	}
	return Ask{Action: a} // a timer asked
}

// KeysOf returns the keys that came with a request.
func (s *State) KeysOf(r *Request) [][]byte { return s.askOf(r, nil).Keys }

// grantOf is what custody will be shown of a request that is carried out.
func (s *State) grantOf(ctx txContext, r *Request, txs [][32]byte) *action.Grant {
	return &action.Grant{Request: r.Request, Height: uint64(ctx.block.Height), Expires: ctx.block.Time + grantLifetime, Need: r.Need, Approvals: txs}
}

// grantLifetime is how long after its block a grant can be carried out.
const grantLifetime = 10 * 60 * 1000

// endRequest ends a request.
func (s *State) endRequest(ctx txContext, id [32]byte, r *Request, state RequestState, event EventKind, reason string) {
	if len(reason) > maxEventField {
		reason = reason[:maxEventField]
	}
	r.State, r.Closed, r.Reason = state, ctx.block.Time, reason
	s.putRequest(id, r)
	s.delete(s.livePath(id))
	s.delete(s.askedPath(r))
	s.delete(s.timePath(r.Deadline, dueRequest, hex.EncodeToString(id[:])))
	if err := s.countLive(r.By, -1); err != nil {
		panic("ledger: own state is damaged: " + err.Error())
	}
	s.record(ctx, s.about(r, event, reason))
}

// about is an event on a request.
func (s *State) about(r *Request, kind EventKind, detail string) Event {
	id := r.ID(s.cluster)
	a := mustParse(action.ParseAction(r.Action))
	if detail != "" {
		detail = ": " + detail
	}
	return Event{Kind: kind, Object: fmt.Sprintf("request/%x", id), Purpose: r.Purpose, Detail: string(a.Rule) + " of " + subject(a) + detail}
}

// requestDue looks at a request whose time has come.
func (s *State) requestDue(ctx txContext, name string) {
	id := parseID(name)
	r, ok := s.Request(id)
	if !ok || !r.State.Live() {
		return
	}
	ctx.hash = r.Nonce // what follows is because of who asked
	s.progress(ctx, id, r)
}
