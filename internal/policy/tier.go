package policy

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/wire"
)

// Delay is a time lock: both parts have to pass, the first in block time,
// the second in blocks, so that no clock opens it alone.
type Delay struct {
	Time   uint64 // milliseconds
	Blocks uint64
}

// Terms are what a request has to meet before its action may be executed.
type Terms struct {
	Tier string
	Line int // of the tier in the document

	Approvals int      // distinct humans
	Operators int      // of distinct operators
	Regions   int      // in distinct regions
	Roles     []string // whose approvals count
	Self      bool     // whether the requester may approve, too

	Delay         Delay    // from the approval that was the last to be needed
	Window        *Window  // when it may be executed; nil: always
	Deadline      uint64   // milliseconds from the request until it lapses without its approvals; 0: never
	EscalateAfter uint64   // milliseconds from the request until backups count; 0: never
	Backups       []string // roles, or member:ID
	Veto          []string // roles that may veto, until it is executed
}

// OpensAt returns the next moment at or after ms inside the window; false:
// never again, because the zone's pinned offsets are used up.
func (t *Terms) OpensAt(ms uint64) (uint64, bool) { return t.Window.OpensAt(ms) }

// Counts says whether the approval of a principal counts, age milliseconds
// after the request by requester. Whether he may approve at all says [Policy.May].
func (t *Terms) Counts(p Principal, requester string, age uint64) bool {
	if p.Kind != "human" || p.ID == requester && !t.Self {
		return false
	}
	return holdsRole(p, t.Roles) || t.EscalateAfter > 0 && age >= t.EscalateAfter && holdsRole(p, t.Backups)
}

// MayVeto says whether a principal's role may veto. Whether he may at all says [Policy.May].
func (t *Terms) MayVeto(p Principal) bool { return p.Kind == "human" && holdsRole(p, t.Veto) }

func holdsRole(p Principal, among []string) bool {
	return slices.ContainsFunc(among, func(r string) bool {
		return slices.Contains(p.Roles, r) || r == "member:"+p.ID
	})
}

// Met says whether approvals by these distinct humans suffice.
func (t *Terms) Met(by []Principal) bool {
	ids, operators, regions := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, p := range by {
		ids[p.ID], operators[p.Operator], regions[p.Region] = true, true, true
	}
	return len(ids) >= t.Approvals && len(operators) >= t.Operators && len(regions) >= t.Regions
}

// A tier is the terms of some actions, under a condition.
type tier struct {
	terms   Terms
	at      pos
	actions []string
	when    *condition
}

func (t *tier) covers(name string) bool {
	return slices.ContainsFunc(t.actions, func(p string) bool { return covers(p, name) })
}

var tierFields = []string{"name", "actions", "when", "approvals", "operators", "regions", "approvers", "self_approval",
	"delay", "window", "deadline", "escalate", "veto"}

func (d *document) tiers(n *yaml.Node, zones map[string]*Zone) []*tier {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > wire.MaxPolicyTiers {
		d.add(at(n), "tiers must be a list of 1 to %d: write one \"- name: …\" for each", wire.MaxPolicyTiers)
		return nil
	}
	var out []*tier
	for _, c := range n.Content {
		t := d.tier(c, zones)
		if t == nil {
			continue
		}
		for _, old := range out {
			if old.terms.Tier == t.terms.Tier {
				d.add(t.at, "a tier named %q stands already on line %d: choose another name", t.terms.Tier, old.at.line)
			}
		}
		if by := shadow(t, out); by != "" {
			d.add(t.at, "tier %q is never reached, the first match wins: move it above %s, or give those a when", t.terms.Tier, by)
		}
		out = append(out, t)
	}
	return out
}

// shadow names the tiers without a condition that take all of a tier's actions.
func shadow(t *tier, before []*tier) string {
	var by []string
	for _, a := range actionNames {
		if !t.covers(a) {
			continue
		}
		i := slices.IndexFunc(before, func(b *tier) bool { return b.when == nil && b.covers(a) })
		if i < 0 {
			return ""
		}
		if name := fmt.Sprintf("%q", before[i].terms.Tier); !slices.Contains(by, name) {
			by = append(by, name)
		}
	}
	return strings.Join(by, ", ")
}

func (d *document) tier(n *yaml.Node, zones map[string]*Zone) *tier {
	m, ok := d.mapping(n, "a tier", tierFields...)
	if !ok || !m.need("name", "a short name") || !m.need("actions", "actions such as [sign.*]") || !m.need("approvals", "their number; 0 if none are needed") {
		return nil
	}
	t := &tier{at: at(n), actions: m.words("actions", checkPattern)}
	if m.has("when") {
		t.when = d.condition(m.fields["when"])
	}
	t.terms = Terms{Tier: m.text("name"), Line: n.Line,
		Approvals: int(m.number("approvals", 100)), Operators: int(m.number("operators", wire.MaxNodes)), Regions: int(m.number("regions", wire.MaxNodes)),
		Roles: m.words("approvers", checkRole), Self: m.boolean("self_approval"),
		Deadline: m.duration("deadline"), Veto: m.words("veto", checkRole)}
	if err := action.CheckName("name", t.terms.Tier); err != nil && t.terms.Tier != "" {
		d.add(m.pos("name"), "%s", err)
	}
	if len(t.actions) == 0 && len(d.list(m.fields["actions"], "actions", 64)) == 0 {
		d.add(m.pos("actions"), "actions is empty: name what the tier is for, such as [sign.*]")
	}
	if m.has("window") {
		t.terms.Window = d.window(m.fields["window"], zones)
	}
	t.terms.Delay = m.delay()
	m.escalation(&t.terms)
	m.consistent(&t.terms)
	return t
}

func (m mapping) delay() Delay {
	if !m.has("delay") {
		return Delay{}
	}
	dm, ok := m.d.mapping(m.fields["delay"], "delay", "time", "blocks")
	if !ok {
		return Delay{}
	}
	out := Delay{dm.duration("time"), dm.number("blocks", 1<<32)}
	if dm.need("time", "a duration such as 24h") && dm.need("blocks", "a number of blocks, so that no clock can open the lock alone") &&
		(out.Time == 0) != (out.Blocks == 0) {
		m.d.add(dm.at, "a delay needs both time and blocks above 0: a clock alone must not open it")
	}
	return out
}

func (m mapping) escalation(t *Terms) {
	if !m.has("escalate") {
		return
	}
	em, ok := m.d.mapping(m.fields["escalate"], "escalate", "after", "to")
	if !ok || !em.need("after", "a duration such as 12h") || !em.need("to", "the backups: roles, or member:NAME") {
		return
	}
	t.EscalateAfter = em.duration("after")
	t.Backups = em.words("to", func(s string) string {
		if id, ok := strings.CutPrefix(s, "member:"); ok {
			if err := action.CheckName("member", id); err != nil {
				return err.Error()
			}
			return ""
		}
		if why := checkRole(s); why != "" {
			return why + "; a single person is member:NAME"
		}
		return ""
	})
	if t.Deadline > 0 && t.EscalateAfter >= t.Deadline {
		m.d.add(em.pos("after"), "backups would be asked when the deadline is over: choose after below it")
	}
	if em.has("after") && t.EscalateAfter == 0 {
		m.d.add(em.pos("after"), "after must be above 0: if backups count at once, name them under approvers")
	}
}

// consistent refuses terms that nobody could meet, or that say nothing.
func (m mapping) consistent(t *Terms) {
	for _, part := range []struct {
		name string
		n    int
	}{{"operators", t.Operators}, {"regions", t.Regions}} {
		if part.n > t.Approvals {
			m.d.add(m.pos(part.name), "%d approvals cannot come from %d %s: raise approvals, or lower %s", t.Approvals, part.n, part.name, part.name)
		}
	}
	if t.Approvals > 0 && !m.has("approvers") {
		m.need("approvers", "the roles whose approvals count, such as [custodian]")
	}
	if m.fields["approvals"].Value == "0" {
		for _, name := range []string{"approvers", "self_approval", "deadline", "escalate"} {
			if m.has(name) {
				m.d.add(m.keys[name], "%s means nothing with 0 approvals: delete it, or ask for approvals", name)
			}
		}
	}
	if m.fields["approvals"].Value == "0" && !m.has("delay") && !m.has("window") && m.has("veto") {
		m.d.add(m.keys["veto"], "there is no time for a veto: ask for approvals or a delay, or delete veto")
	}
}
