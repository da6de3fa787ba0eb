package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// An Effect is what a change of policy does to somebody.
type Effect string

const (
	Allowed   Effect = "allowed"   // was forbidden
	Forbidden Effect = "forbidden" // was allowed
	Easier    Effect = "easier"    // could be asked for, and now asks for less
	Harder    Effect = "harder"    // … for more
	Changed   Effect = "changed"   // a rule that the ledger reads as data
)

// A Change is one difference between two policies.
type Change struct {
	Effect    Effect
	Verb      Verb
	Action    string
	Principal Principal
	Resource  Resource
	Params    map[string]string
	Text      string // what is easier, harder or changed
}

// A Universe is what two policies are compared over: every verb with every
// action by every principal on every resource.
type Universe struct {
	Principals []Principal
	Resources  []Resource
	Actions    []string            // nil: all
	Params     []map[string]string // of requests; nil: none
	Time       uint64              // milliseconds of block time
}

// Diff says what a new policy would allow that the old one forbids, and the
// reverse, and whose requests it makes easier or harder. A request without
// terms counts as forbidden. It is complete for the universe, which holds
// the members and keys that there are: it says nothing of those to come.
func Diff(old, new *Policy, u Universe) []Change {
	actions, params := u.Actions, u.Params
	if actions == nil {
		actions = Actions()
	}
	if params == nil {
		params = []map[string]string{nil}
	}
	var out []Change
	for _, a := range actions {
		for _, who := range u.Principals {
			for _, on := range u.Resources {
				q := Query{Action: a, Principal: who, Resource: on, Time: u.Time}
				for _, v := range []Verb{Approve, Veto, Execute} {
					if c, ok := allowance(old.May(v, q), new.May(v, q)); ok {
						out = append(out, Change{Effect: c, Verb: v, Action: a, Principal: who, Resource: on})
					}
				}
				for _, q.Params = range params {
					out = append(out, diffRequest(old, new, q)...)
				}
			}
		}
	}
	return append(out, diffRules(old, new)...)
}

func allowance(old, new error) (Effect, bool) {
	if (old == nil) == (new == nil) {
		return "", false
	}
	if new == nil {
		return Allowed, true
	}
	return Forbidden, true
}

func diffRequest(old, new *Policy, q Query) (out []Change) {
	oldTerms, oldErr := old.ask(q)
	newTerms, newErr := new.ask(q)
	c := Change{Verb: Request, Action: q.Action, Principal: q.Principal, Resource: q.Resource, Params: q.Params}
	if effect, ok := allowance(oldErr, newErr); ok {
		c.Effect = effect
		if c.Text = "had: " + oldTerms.String(); effect == Allowed {
			c.Text = "with: " + newTerms.String()
		}
		return []Change{c}
	}
	if newErr != nil {
		return nil
	}
	easier, harder := compareTerms(&oldTerms, &newTerms)
	if len(easier) > 0 {
		c.Effect, c.Text = Easier, strings.Join(easier, "; ")
		out = append(out, c)
	}
	if len(harder) > 0 {
		c.Effect, c.Text = Harder, strings.Join(harder, "; ")
		out = append(out, c)
	}
	return out
}

// ask returns the terms of a request that may be made.
func (p *Policy) ask(q Query) (Terms, error) {
	if err := p.May(Request, q); err != nil {
		return Terms{}, err
	}
	return p.Terms(q)
}

// compareTerms says in what way the new terms can be met where the old could
// not, and the reverse.
func compareTerms(old, new *Terms) (easier, harder []string) {
	note := func(direction int, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); direction < 0 {
			easier = append(easier, text)
		} else if direction > 0 {
			harder = append(harder, text)
		}
	}
	for _, n := range []struct {
		what     string
		old, new int
	}{{"approvals", old.Approvals, new.Approvals}, {"operators", old.Operators, new.Operators}, {"regions", old.Regions, new.Regions}} {
		note(cmp.Compare(n.new, n.old), "%d %s in place of %d", n.new, n.what, n.old)
	}
	note(cmp.Compare(new.Delay.Time, old.Delay.Time), "a delay of %s in place of %s", duration(new.Delay.Time), duration(old.Delay.Time))
	note(cmp.Compare(new.Delay.Blocks, old.Delay.Blocks), "a delay of %d blocks in place of %d", new.Delay.Blocks, old.Delay.Blocks)
	// Zero is never: the latest of deadlines and of escalations.
	note(cmp.Compare(old.Deadline-1, new.Deadline-1), "a deadline of %s in place of %s", orNever(new.Deadline), orNever(old.Deadline))
	note(cmp.Compare(new.EscalateAfter-1, old.EscalateAfter-1), "escalation after %s in place of %s", orNever(new.EscalateAfter), orNever(old.EscalateAfter))
	if new.Self != old.Self {
		note(map[bool]int{true: -1, false: 1}[new.Self], "the requester's own approval counts: %t", new.Self)
	}
	sets := func(what string, old, new []string, more int) {
		for _, r := range new {
			if !slices.Contains(old, r) {
				note(more, "%s: %s, too", what, r)
			}
		}
		for _, r := range old {
			if !slices.Contains(new, r) {
				note(-more, "%s: %s no longer", what, r)
			}
		}
	}
	sets("approvers", old.Roles, new.Roles, -1)
	sets("backups", old.Backups, new.Backups, -1)
	sets("veto", old.Veto, new.Veto, 1)
	less, more := compareWindows(old.Window, new.Window)
	if more {
		note(-1, "open %s in place of %s", new.Window, old.Window)
	}
	if less {
		note(1, "open %s in place of %s", new.Window, old.Window)
	}
	return easier, harder
}

// compareWindows says whether the new window misses a moment of the old, and
// whether it has one that the old lacks.
func compareWindows(old, new *Window) (less, more bool) {
	switch {
	case old == nil && new == nil:
		return false, false
	case old == nil:
		return true, false
	case new == nil:
		return false, true
	case !old.Zone.equal(new.Zone):
		return true, true // to be safe: pinned offsets are not compared hour by hour
	}
	const week = 7 * 24 * 60
	var a, b [week]bool
	old.mark(a[:])
	new.mark(b[:])
	for i := range a {
		less = less || a[i] && !b[i]
		more = more || b[i] && !a[i]
	}
	return less, more
}

// mark sets the minutes of a week in which a window is open.
func (w *Window) mark(week []bool) {
	for day, open := range w.Days {
		for m := w.From / minuteMS; open && m < w.To/minuteMS; m++ {
			week[(int64(day)*24*60+m)%int64(len(week))] = true
		}
	}
}

func (z *Zone) equal(o *Zone) bool { return z.Until == o.Until && slices.Equal(z.Offsets, o.Offsets) }

// diffRules compares what the ledger reads as data, line by line.
func diffRules(old, new *Policy) (out []Change) {
	before, after := old.ruleLines(), new.ruleLines()
	if slices.Equal(before, after) {
		return nil
	}
	for _, l := range before {
		if !slices.Contains(after, l) {
			out = append(out, Change{Effect: Changed, Text: "no longer: " + l})
		}
	}
	for _, l := range after {
		if !slices.Contains(before, l) {
			out = append(out, Change{Effect: Changed, Text: "now: " + l})
		}
	}
	if out == nil {
		out = []Change{{Effect: Changed, Text: "the rules stand in another order: " + strings.Join(after, "; ")}}
	}
	return out
}

// Summary says in plain language what changes, those who are alike together.
func Summary(changes []Change) string {
	if len(changes) == 0 {
		return "Nothing changes for those who were compared.\n"
	}
	type group struct {
		Effect
		Verb
		action, text, params string
	}
	var order []group
	who, on := map[group][]string{}, map[group][]string{}
	for _, c := range changes {
		params := []string{}
		for _, k := range slices.Sorted(maps.Keys(c.Params)) {
			params = append(params, k+"="+c.Params[k])
		}
		g := group{c.Effect, c.Verb, c.Action, c.Text, strings.Join(params, " ")}
		if who[g] == nil {
			order = append(order, g)
		}
		who[g] = appendNew(who[g], c.Principal.ID)
		on[g] = appendNew(on[g], strings.TrimSpace(c.Resource.Kind+" "+c.Resource.ID))
	}
	var out strings.Builder
	for _, effect := range []struct {
		Effect
		title string
	}{{Allowed, "Becomes allowed"}, {Forbidden, "Becomes forbidden"}, {Easier, "Becomes easier"}, {Harder, "Becomes harder"}, {Changed, "Rules"}} {
		title := effect.title + "\n"
		for _, g := range order {
			if g.Effect != effect.Effect {
				continue
			}
			line := g.text
			if g.Effect != Changed {
				line = strings.TrimSuffix(fmt.Sprintf("%s %s by %s on %s: %s", g.Verb, g.action, few(who[g]), few(on[g]), g.text), ": ")
			}
			if g.params != "" {
				line += " (if " + g.params + ")"
			}
			out.WriteString(title + "  " + line + "\n")
			title = ""
		}
	}
	return out.String()
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func few(list []string) string {
	if n := len(list); n > 6 {
		return fmt.Sprintf("%s and %d others", strings.Join(list[:5], ", "), n-5)
	}
	return enumerate(list, "and")
}
