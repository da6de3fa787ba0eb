package ledger

import (
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/proof"
)

// execute does what an action says. What the ledger itself can do it does; for
// what custody has to do it leaves the grant.
func (s *State) execute(ctx txContext, b Ask, g *action.Grant) error {
	a := b.Action
	switch {
	case a.Rule.OfKey():
		return s.executeOnKey(ctx, a, g)
	case a.Rule.OfCeremony():
		return s.openCeremony(ctx, a, b.Keys, g)
	}
	switch a.Rule {
	case action.RuleEnrol, action.RuleUpdate, action.RuleRemove, action.RuleSuspend, action.RuleReinstate:
		return s.executeOnMember(ctx, a)
	case action.RulePolicy:
		return s.changePolicy(ctx, a.Document, g.Request.ID(s.cluster))
	case action.RuleTimerSet:
		return s.setTimer(ctx, a.Timer)
	case action.RuleTimerCancel:
		return s.cancelTimer(ctx, a.Name)
	case action.RuleAssembly:
		return s.openAssembly(ctx, &a.Assembly, b.Seats)
	case action.RuleHistory:
		s.leaveGrant(ctx, a, g)
		return nil
	}
	return refuse(CodeMalformed, "nothing carries out %s", a.Rule)
}

// tryOut says whether an action is possible now, without doing it.
func (s *State) tryOut(ctx txContext, b Ask, r *Request) (why error) {
	s.attempt(func(s *State) Code {
		why = s.execute(ctx, b, s.grantOf(ctx, r, nil))
		return CodeConflict // whatever came of it is forgotten
	})
	return why
}

func (s *State) executeOnKey(ctx txContext, a *action.Action, g *action.Grant) error {
	key, err := s.Key(a.Domain, a.PublicKey)
	if err != nil {
		return err
	}
	object := subject(a)
	if key.State == action.KeyHeld && a.Rule != action.RuleArchive {
		return refuse(CodeConflict, "the key is held by participants that are not nodes: no node signs with it")
	}
	if settings, signs := a.Rule == action.RuleSettings, a.Rule == action.RuleExit || a.Rule == action.RuleDeposit; key.Use != action.UseDuties && (settings || signs) {
		return refuse(CodeConflict, "key is for %s and no validator's", key.Use)
	}
	switch a.Rule {
	case action.RuleSettings:
		key.Settings = key.Settings.After(a.Settings)
		s.putKey(key)
		s.record(ctx, Event{Kind: EventKeySettings, Object: object, Detail: key.Settings.String()})
	case action.RuleArchive:
		if key.State.Stopped() || key.State == 0 {
			return refuse(CodeConflict, "key is %s", key.State)
		}
		s.delete(s.thawPath(key.Domain, key.PublicKey))
		key.State = action.KeyArchived
		s.putKey(key)
		s.record(ctx, Event{Kind: EventKeyArchived, Object: object})
	case action.RuleFreeze:
		return s.freeze(ctx, key, a.Until)
	case action.RuleUnfreeze:
		return s.unfreeze(ctx, key)
	case action.RuleExit, action.RuleDeposit:
		if key.State != action.KeyActive {
			return refuse(CodeConflict, "key is %s", key.State)
		}
		if board := s.board(key.Ceremony); a.Rule == action.RuleDeposit && (board == nil || !board.DepositSafe()) {
			return refuse(CodeConflict, "too few holders confirmed their share of the key to deposit to it: t + f have to")
		}
		s.leaveGrant(ctx, a, g)
	}
	return nil
}

// leaveGrant lets custody carry an action out.
func (s *State) leaveGrant(ctx txContext, a *action.Action, g *action.Grant) {
	hash := a.Hash(s.cluster)
	s.set(s.ns.Grant(hash[:]), g.Encode())
	if a.Rule == action.RuleExit {
		s.set(s.exitPath(a.PublicKey), hash[:])
	}
	s.record(ctx, Event{Kind: EventGranted, Object: subject(a), Purpose: string(a.Rule), Detail: fmt.Sprintf("action %x", hash)})
}

// A frozen key signs nothing: nodes stop asking for it and answering for it.
// It comes back by itself at a time, or when those who have to agree do.

// maxStop is how long what one person stops at once stays stopped.
const maxStop = 30 * 24 * 60 * 60 * 1000

func checkEnd(ctx txContext, until uint64) error {
	if until <= ctx.block.Time || until > ctx.block.Time+maxStop {
		return refuse(CodeMalformed, "it needs an end, within 30 days")
	}
	return nil
}

func (s *State) thawPath(d action.Domain, key []byte) proof.Path {
	return s.ns.Path("frozen", string(d), proof.Hex(key))
}

func (s *State) freeze(ctx txContext, key *action.KeyRecord, until uint64) error {
	switch {
	case key.State != action.KeyActive && key.State != action.KeyFrozen:
		return refuse(CodeConflict, "key is %s", key.State)
	}
	if err := checkEnd(ctx, until); err != nil {
		return err
	}
	path := s.thawPath(key.Domain, key.PublicKey)
	if old := s.Get(path); old != nil && until <= be(old) {
		return refuse(CodeConflict, "key is frozen for longer already")
	}
	s.set(path, eb(until))
	s.wakeAt(until, dueThaw, string(key.Domain)+":"+proof.Hex(key.PublicKey))
	key.State = action.KeyFrozen
	s.putKey(key)
	s.record(ctx, Event{Kind: EventKeyFrozen, Object: keyName(key), Detail: "until " + moment(until)})
	return nil
}

func (s *State) unfreeze(ctx txContext, key *action.KeyRecord) error {
	if key.State != action.KeyFrozen {
		return refuse(CodeConflict, "key is %s", key.State)
	}
	s.delete(s.thawPath(key.Domain, key.PublicKey))
	key.State = action.KeyActive
	s.putKey(key)
	s.record(ctx, Event{Kind: EventKeyUnfrozen, Object: keyName(key)})
	return nil
}

// thawDue lets a freeze end.
func (s *State) thawDue(ctx txContext, name string) {
	domain, raw := cutKey(name)
	until := s.Get(s.thawPath(domain, raw))
	if until == nil || be(until) > ctx.block.Time {
		return // unfrozen before, or frozen for longer since
	}
	key, err := s.Key(domain, raw)
	if err == nil && key.State == action.KeyFrozen {
		err = s.unfreeze(ctx, key)
	}
	if err != nil {
		panic("ledger: own state is damaged: " + err.Error())
	}
}

// subject names what an action is about.
func subject(a *action.Action) string {
	switch {
	case a.Rule.OfKey():
		return fmt.Sprintf("%s/%x", a.Domain, a.PublicKey)
	case a.Rule == action.RuleHandover:
		return fmt.Sprintf("%s/%x", action.DomainValidator, a.PublicKey)
	case a.Rule.OfCeremony(), a.Rule == action.RuleAssembly:
		return "ceremony"
	}
	switch a.Rule {
	case action.RuleEnrol, action.RuleUpdate:
		return "member/" + a.Member.ID
	case action.RuleRemove, action.RuleSuspend, action.RuleReinstate:
		return "member/" + a.Name
	case action.RuleHistory:
		return fmt.Sprintf("history/%x", a.History.Hash)
	case action.RuleTimerSet:
		return "timer/" + a.Timer.Name
	case action.RuleTimerCancel:
		return "timer/" + a.Name
	}
	return "policy"
}

func keyName(k *action.KeyRecord) string { return fmt.Sprintf("%s/%x", k.Domain, k.PublicKey) }
