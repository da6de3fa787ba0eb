package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/wire"
)

// law is a policy: its document is written from it.
type law struct {
	name  string
	tiers []tierOf
	nodes []action.Rule // what nodes may do
	clock bool          // whether timers may do everything
	never action.Rule   // what nobody may execute
	every uint64        // when shares are to be made anew
	keep  [2]uint64     // how long bodies of events, and those about requests, are kept; 0: for good
}

type tierOf struct {
	name     string
	rules    []action.Rule // nil: all
	nodes    bool          // asked by nodes
	need     action.Need
	roles    []string
	self     bool
	delay    uint64
	blocks   uint64
	office   bool // from nine to five
	deadline uint64
	escalate uint64
	to       []string
	veto     []string
}

func (l law) document() string {
	var b strings.Builder
	list := func(name string, of []string) {
		if of != nil {
			fmt.Fprintf(&b, "    %s: [%s]\n", name, strings.Join(of, ", "))
		}
	}
	fmt.Fprintf(&b, "version: 1\nname: %s\npermissions: |\n", l.name)
	b.WriteString("  permit (principal in Role::\"custodian\", action, resource);\n")
	b.WriteString("  permit (principal in Role::\"approver\", action in [Action::\"approve\", Action::\"veto\"], resource);\n")
	for _, r := range l.nodes {
		fmt.Fprintf(&b, "  permit (principal is Node, action in Action::\"%s\", resource);\n", r)
	}
	if l.clock {
		b.WriteString("  permit (principal is Clock, action, resource);\n")
	}
	if l.never != "" {
		fmt.Fprintf(&b, "  forbid (principal, action in [Action::\"execute %s\"], resource);\n", l.never)
	}
	b.WriteString("tiers:\n")
	for _, t := range l.tiers {
		fmt.Fprintf(&b, "  - name: %s\n", t.name)
		var rules []string
		for _, r := range t.rules {
			rules = append(rules, string(r))
		}
		if rules == nil {
			rules = []string{`"*"`}
		}
		list("actions", rules)
		if t.nodes {
			b.WriteString("    when: principal.kind == \"node\"\n")
		}
		fmt.Fprintf(&b, "    approvals: %d\n", t.need.Approvals)
		if t.need.Approvals > 0 {
			fmt.Fprintf(&b, "    operators: %d\n    regions: %d\n    self_approval: %t\n", t.need.Operators, t.need.Regions, t.self)
		}
		list("approvers", t.roles)
		list("veto", t.veto)
		if t.delay > 0 {
			fmt.Fprintf(&b, "    delay: {time: %ds, blocks: %d}\n", t.delay/1000, t.blocks)
		}
		if t.office {
			b.WriteString("    window: {zone: UTC, hours: 09:00-17:00}\n")
		}
		if t.deadline > 0 {
			fmt.Fprintf(&b, "    deadline: %ds\n", t.deadline/1000)
		}
		if t.escalate > 0 {
			fmt.Fprintf(&b, "    escalate: {after: %ds, to: [%s]}\n", t.escalate/1000, strings.Join(t.to, ", "))
		}
	}
	if l.every > 0 {
		fmt.Fprintf(&b, "rotation:\n  - {kind: key, every: %ds}\n", l.every/1000)
	}
	if l.keep != [2]uint64{} {
		b.WriteString("retention:\n")
	}
	for i, of := range []string{"events", "requests"} {
		if l.keep[i] > 0 {
			fmt.Fprintf(&b, "  - {of: %s, keep: %ds}\n", of, l.keep[i]/1000)
		}
	}
	return b.String()
}

// party is who does something.
type party struct {
	name, id, kind, operator, region string
	roles                            []string
	suspended                        uint64
	key                              ident.PublicKey // of a node
	behind                           string          // of a timer, who set it
}

func (o *oracle) terms(rule action.Rule, who party) (tierOf, bool) {
	for _, t := range o.laws[o.law].tiers {
		if (t.rules == nil || slices.Contains(t.rules, rule)) && (!t.nodes || who.kind == "node") {
			return t, true
		}
	}
	return tierOf{}, false
}

func (l law) may(v policy.Verb, rule action.Rule, who party) bool {
	if v == policy.Execute && rule == l.never {
		return false
	}
	return slices.Contains(who.roles, "custodian") ||
		slices.Contains(who.roles, "approver") && (v == policy.Approve || v == policy.Veto) ||
		who.kind == "node" && slices.Contains(l.nodes, rule) ||
		who.kind == "timer" && l.clock
}

func holds(who party, roles []string) bool {
	return slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(who.roles, r) || r == "member:"+who.id })
}

// counts says whether somebody's approval is one that a tier asks for.
func (t tierOf) counts(who party, requester string, age uint64) bool {
	return who.kind == "human" && (t.self || who.id != requester) &&
		(holds(who, t.roles) || t.escalate > 0 && age >= t.escalate && holds(who, t.to))
}

// requester is whoever asks, or had a timer set that does.
func (r *oracleRequest) requester() string {
	by := r.by
	if strings.HasPrefix(by, "timer/") {
		by = r.behind
	}
	_, id, _ := strings.Cut(by, "/")
	return id
}

func (o *oracle) party(m *action.MemberRecord) party {
	p := party{name: "member/" + m.ID, id: m.ID, kind: "human", operator: m.Operator, region: m.Region, roles: m.Roles, suspended: m.Suspended}
	if m.Workload {
		p.kind = "workload"
	}
	return p
}

func (o *oracle) named(name string) (party, bool) {
	class, id, _ := strings.Cut(name, "/")
	switch class {
	case "node":
		p, ok := o.nodes[id]
		return p, ok
	case "member":
		if m := o.members[id]; m != nil {
			return o.party(m), true
		}
		return party{}, false
	}
	return party{name: name, id: id, kind: "timer"}, true
}

// distinct humans, operators and regions among members.
func reached(need action.Need, by []party) bool {
	ids, operators, regions := map[string]int{}, map[string]int{}, map[string]int{}
	for _, p := range by {
		ids[p.id]++
		operators[p.operator]++
		regions[p.region]++
	}
	return len(ids) >= int(need.Approvals) && len(operators) >= int(need.Operators) && len(regions) >= int(need.Regions)
}

// stuck says that nobody could change the policy any more, under a law with members.
func (o *oracle) stuck(l law, members map[string]*action.MemberRecord) bool {
	var all []party
	for _, n := range o.nodes {
		all = append(all, n)
	}
	for _, m := range members {
		if o.now >= m.Suspended {
			all = append(all, o.party(m))
		}
	}
	was := o.law
	defer func() { o.law = was }()
	o.law = slices.IndexFunc(o.laws, func(x law) bool { return x.name == l.name })
	executes := slices.ContainsFunc(all, func(p party) bool { return l.may(policy.Execute, action.RulePolicy, p) })
	return !executes || !slices.ContainsFunc(all, func(asker party) bool {
		if !l.may(policy.Request, action.RulePolicy, asker) {
			return false
		}
		t, _ := o.terms(action.RulePolicy, asker)
		var agree []party
		for _, p := range all {
			if t.counts(p, asker.id, 1<<60) && l.may(policy.Approve, action.RulePolicy, p) {
				agree = append(agree, p)
			}
		}
		return reached(t.need, agree)
	})
}

func policyVersion(l law) [32]byte { return wire.Hash(wire.TagPolicy, []byte(l.document())) }

// standing adds the roles of those whom somebody may stand in for.
func (o *oracle) standing(r *oracleRequest, who party) party {
	if r.escalated {
		for _, id := range slices.Sorted(maps.Keys(o.members)) {
			if m := o.members[id]; slices.Contains(m.Backups, who.id) {
				who.roles = slices.Concat(who.roles, m.Roles)
			}
		}
	}
	return who
}
