package policy

import (
	"fmt"
	"slices"
)

// PolicyResource is what a change of the policy is a change of.
func PolicyResource() Resource { return Resource{Kind: "policy", ID: "policy"} }

// Lockout refuses a policy under which the given members (and nodes, and what
// else acts on the ledger) could not at any time change it again: everything
// else a change of policy can repair. Some member has to be allowed to ask for
// policy.change, enough of the others to approve it, and somebody to execute
// it, whatever the time: a permit that looks at the time is not relied upon,
// a forbid that does counts as in force. Ask it again before a member goes.
func (p *Policy) Lockout(members []Principal) error {
	w := way{p: p, tallies: map[int]*tally{}}
	for _, m := range members {
		if w.may(Approve, m) == nil {
			w.approving = append(w.approving, m)
		}
		w.executor = w.executor || w.may(Execute, m) == nil
	}
	furthest, why := -1, "there is no member"
	for _, m := range members {
		step, reason := w.begunBy(m)
		if step == passed {
			return nil
		}
		if step > furthest {
			furthest, why = step, reason()
		}
	}
	return fmt.Errorf("accept policy: nobody could ever change it again: %s", why)
}

// A way is what a change of the policy has to go.
type way struct {
	p         *Policy
	approving []Principal // who may approve it
	executor  bool        // whether anybody may execute it
	tallies   map[int]*tally
}

func (w *way) may(v Verb, who Principal) error {
	return w.p.permissions.decide(w.p.permissions.steady, v, &Query{Action: "policy.change", Principal: who, Resource: PolicyResource()})
}

// A tally is whose approvals count under one tier, whoever asks. It spares a
// cluster of many members from counting them for each.
type tally struct {
	who                []Principal
	byID               map[string]Principal
	operators, regions map[string]int // how many approve from there
}

func (w *way) tally(t *Terms) *tally {
	if w.tallies[t.Line] == nil {
		y := &tally{byID: map[string]Principal{}, operators: map[string]int{}, regions: map[string]int{}}
		for _, m := range w.approving {
			if _, twice := y.byID[m.ID]; !twice && t.Counts(m, "", maxTime) {
				y.who, y.byID[m.ID] = append(y.who, m), m
				y.operators[m.Operator]++
				y.regions[m.Region]++
			}
		}
		w.tallies[t.Line] = y
	}
	return w.tallies[t.Line]
}

// enough says whether all who count suffice when m asks.
func (y *tally) enough(t *Terms, m Principal) bool {
	n, operators, regions := len(y.byID), len(y.operators), len(y.regions)
	if own, counts := y.byID[m.ID]; counts && !t.Self {
		n--
		if y.operators[own.Operator] == 1 {
			operators--
		}
		if y.regions[own.Region] == 1 {
			regions--
		}
	}
	return n >= t.Approvals && operators >= t.Operators && regions >= t.Regions
}

const passed = 5

// begunBy says how far a change comes that a member asks for, and what stops it.
func (w *way) begunBy(m Principal) (int, func() string) {
	if err := w.may(Request, m); err != nil {
		return 0, func() string { return err.Error() + ", at any time; permit some member to request policy.change" }
	}
	t, err := w.p.Terms(Query{Action: "policy.change", Principal: m, Resource: PolicyResource()})
	if err != nil {
		return 1, func() string { return err.Error() + "; add a tier for policy.change" }
	}
	switch y := w.tally(&t); {
	case !y.enough(&t, m):
		return 2, func() string {
			return fmt.Sprintf("tier %q on line %d asks for %s, and when %s asks, only %s may and would count; lower the numbers, widen approvers, or set self_approval",
				t.Tier, t.Line, t.quorum(), m.ID, names(slices.DeleteFunc(slices.Clone(y.who), func(o Principal) bool { return o.ID == m.ID && !t.Self })))
		}
	case !w.executor:
		return 3, func() string {
			return "nobody may execute policy.change at any time; permit some member or node to"
		}
	case t.Window != nil && t.Window.Zone.Until != 0:
		return 4, func() string {
			return fmt.Sprintf("tier %q on line %d waits for a window in %s, whose offsets are pinned until %s only; use UTC, or no window, for policy.change",
				t.Tier, t.Line, t.Window.Zone.Name, moment(int64(t.Window.Zone.Until)))
		}
	}
	return passed, nil
}

func names(of []Principal) string {
	var out []string
	for _, p := range of {
		out = append(out, fmt.Sprintf("%s (%s, %s)", p.ID, p.Operator, p.Region))
	}
	return few(out)
}
