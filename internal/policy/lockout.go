package policy

import "fmt"

// PolicyResource is what a change of the policy is a change of.
func PolicyResource() Resource { return Resource{Kind: "policy", ID: "policy"} }

// Lockout refuses a policy under which the given members (and nodes, and what
// else acts on the ledger) could not at any time change it again: everything
// else a change of policy can repair. Some member has to be allowed to ask for
// policy.change, enough of the others to approve it, and somebody to execute
// it, whatever the time: a permit that looks at the time is not relied upon,
// a forbid that does counts as in force. Ask it again before a member goes.
func (p *Policy) Lockout(members []Principal) error {
	furthest, why := -1, "there is no member"
	for _, m := range members {
		step, reason := p.changeBy(m, members)
		if step == passed {
			return nil
		}
		if step > furthest {
			furthest, why = step, reason
		}
	}
	return fmt.Errorf("accept policy: nobody could ever change it again: %s", why)
}

const passed = 5

// changeBy says how far a member comes with a change of the policy, and what stops him.
func (p *Policy) changeBy(m Principal, members []Principal) (int, string) {
	may := func(v Verb, who Principal) error {
		return p.permissions.decide(p.permissions.steady, v, &Query{Action: "policy.change", Principal: who, Resource: PolicyResource()})
	}
	if err := may(Request, m); err != nil {
		return 0, err.Error() + ", at any time; permit some member to request policy.change"
	}
	t, err := p.Terms(Query{Action: "policy.change", Principal: m, Resource: PolicyResource()})
	if err != nil {
		return 1, err.Error() + "; add a tier for policy.change"
	}
	var approving []Principal
	executor := false
	for _, o := range members {
		if t.Counts(o, m.ID, maxTime) && may(Approve, o) == nil {
			approving = append(approving, o)
		}
		executor = executor || may(Execute, o) == nil
	}
	switch {
	case !t.Met(approving):
		return 2, fmt.Sprintf("tier %q on line %d asks for %s, and when %s asks, only %s may and would count; lower the numbers, widen approvers, or set self_approval",
			t.Tier, t.Line, t.quorum(), m.ID, names(approving))
	case !executor:
		return 3, "nobody may execute policy.change at any time; permit some member or node to"
	case t.Window != nil && t.Window.Zone.Until != 0:
		return 4, fmt.Sprintf("tier %q on line %d waits for a window in %s, whose offsets are pinned until %s only; use UTC, or no window, for policy.change",
			t.Tier, t.Line, t.Window.Zone.Name, moment(int64(t.Window.Zone.Until)))
	}
	return passed, ""
}

func names(of []Principal) string {
	var out []string
	for _, p := range of {
		out = append(out, fmt.Sprintf("%s (%s, %s)", p.ID, p.Operator, p.Region))
	}
	if out == nil {
		return "nobody"
	}
	return enumerate(out, "and")
}
