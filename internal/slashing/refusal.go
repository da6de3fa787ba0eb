package slashing

import "fmt"

// Refusal is the error of a duty that may not be signed.
type Refusal struct {
	Rule   Rule
	Detail string
	Hint   string // what an operator can do, if anything
}

func (r *Refusal) Error() string {
	if r.Hint == "" {
		return fmt.Sprintf("refused (%s): %s", r.Rule, r.Detail)
	}
	return fmt.Sprintf("refused (%s): %s; hint: %s", r.Rule, r.Detail, r.Hint)
}

// explain puts a decision in words.
func explain(rule Rule, key Key, s Status, f Facts, b Bounds) *Refusal {
	r := &Refusal{Rule: rule}
	what := describe(f)
	marks := s.Watermarks
	say := func(format string, args ...any) { r.Detail = fmt.Sprintf(format, args...) }
	switch rule {
	case RuleUnknownKey:
		say("key %x is not registered in this slashing record", key[:4])
	case RuleStoppedKey:
		say("key %x was deleted", key[:4])
	case RuleMalformed:
		say("%s is no duty that this record knows", what)
	case RuleGenesis:
		say("%s belongs to another chain than this record", what)
	case RuleFenced:
		say("fenced: %s", s.Fence)
		r.Hint = "import the key's slashing history, which must hold at least one attestation"
		if s.Fence&FenceTornTail != 0 {
			r.Hint = "raise the key's watermarks above everything that it may have signed"
		}
	case RuleSlotBound:
		say("%s lies beyond slot %d", what, b.MaxSlot)
		r.Hint = "check the clocks of the validator client and of this node"
	case RuleTargetBound:
		say("%s lies beyond epoch %d", what, b.MaxTarget)
		r.Hint = "check the clocks of the validator client and of this node"
	case RuleSourceAfterTarget:
		say("%s has its source after its target", what)
	case RuleFloor:
		floor := s.Floor.max(s.Others)
		say("%s is not above the floor (slot %d, source %d, target %d)", what, floor.Slot, floor.Source, floor.Target)
		if s.Succeeds && s.Others.below(f) {
			r.Hint = "other holders had shares of this key; the floor goes down when enough of them have said where they stopped"
		}
	case RuleBlock:
		say("%s is not above the last signed slot %d", what, marks.Block.Slot)
	case RuleDoubleVote:
		say("%s has a target not above the last signed target %d", what, marks.Vote.Target)
	case RuleSurround:
		say("%s has a source below the last signed source %d", what, marks.Vote.Source)
	}
	return r
}

func describe(f Facts) string {
	switch f := f.(type) {
	case Block:
		return fmt.Sprintf("block at slot %d", f.Slot)
	case Attestation:
		return fmt.Sprintf("attestation from epoch %d to %d", f.Source, f.Target)
	case Other:
		return fmt.Sprintf("%.64q", f.Kind)
	}
	return "nothing"
}
