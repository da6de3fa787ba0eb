package policy

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Describe says in plain language what a policy means.
func (p *Policy) Describe() string {
	var out strings.Builder
	title := "Policy"
	if p.name != "" {
		title += fmt.Sprintf(" %q", p.name)
	}
	fmt.Fprintf(&out, "%s, version %s\n\nWho may do what\n  What no line here allows is forbidden.\n", title, hex.EncodeToString(p.hash[:8]))
	for _, permit := range []bool{true, false} {
		if !permit {
			out.WriteString("\n  Whatever is allowed above:\n")
		}
		some := false
		for _, s := range p.permissions.all {
			if bool(s.policy.Effect()) == permit {
				fmt.Fprintf(&out, "  - %s\n", s.sentence())
				some = true
			}
		}
		if !some {
			fmt.Fprintf(&out, "  - %s\n", map[bool]string{true: "Nobody may do anything.", false: "Nothing is forbidden."}[permit])
		}
	}
	out.WriteString("\nWhat a request has to meet\n  The first tier that matches counts. What no tier covers is never granted.\n")
	for i, t := range p.tiers {
		fmt.Fprintf(&out, "  %d. %s (line %d): %s", i+1, t.terms.Tier, t.at.line, enumerate(t.actions, "and"))
		if t.when != nil {
			fmt.Fprintf(&out, ", when %s", strings.Join(strings.Fields(t.when.text), " "))
		}
		fmt.Fprintf(&out, "\n     %s\n", t.terms.String())
	}
	if lines := p.ruleLines(); lines != nil {
		out.WriteString("\nRules\n")
		for _, l := range lines {
			fmt.Fprintf(&out, "  - %s\n", l)
		}
	}
	return out.String()
}

// quorum says how many approvals are needed, and from where.
func (t *Terms) quorum() string {
	if t.Approvals == 0 {
		return "no approval"
	}
	out := plural(t.Approvals, "approval")
	var spread []string
	if t.Operators > 1 {
		spread = append(spread, plural(t.Operators, "operator"))
	}
	if t.Regions > 1 {
		spread = append(spread, plural(t.Regions, "region"))
	}
	if spread != nil {
		out += " from at least " + enumerate(spread, "and")
	}
	return out
}

// String says in plain language what has to happen.
func (t Terms) String() string {
	out := "No approval is needed."
	if t.Approvals > 0 {
		self := "the requester's own does not count"
		if t.Self {
			self = "the requester's own counts"
		}
		out = fmt.Sprintf("%s by different %s; %s.", upper(t.quorum()), enumerate(plurals(t.Roles), "or"), self)
	}
	if t.EscalateAfter > 0 {
		out += fmt.Sprintf(" After %s without them %s count, too.", duration(t.EscalateAfter), enumerate(plurals(t.Backups), "and"))
	}
	if t.Deadline > 0 {
		out += fmt.Sprintf(" Without them it lapses after %s.", duration(t.Deadline))
	}
	if t.Delay != (Delay{}) {
		out += fmt.Sprintf(" Then %s and %d blocks pass.", duration(t.Delay.Time), t.Delay.Blocks)
	}
	if t.Window != nil {
		out += fmt.Sprintf(" It is executed only %s.", t.Window)
	}
	if len(t.Veto) > 0 {
		out += fmt.Sprintf(" Until then %s may veto it.", enumerate(plurals(t.Veto), "and"))
	}
	if t.Approvals == 0 && t.Delay == (Delay{}) && t.Window == nil {
		out = "At once, without approval."
	}
	return out
}

// String says when a window is open.
func (w *Window) String() string {
	if w == nil {
		return "at any time"
	}
	var open []string
	for i := range 7 {
		if d := (i + 1) % 7; w.Days[d] {
			open = append(open, days[d])
		}
	}
	when := "on " + enumerate(open, "and")
	switch strings.Join(open, " ") {
	case "mon tue wed thu fri sat sun":
		when = "every day"
	case "mon tue wed thu fri":
		when = "from mon to fri"
	}
	out := when
	if w.From != 0 || w.To != dayMS {
		out += fmt.Sprintf(" from %02d:%02d to %02d:%02d", w.From/minuteMS/60, w.From/minuteMS%60, w.To%dayMS/minuteMS/60, w.To/minuteMS%60)
		if w.To > dayMS {
			out += " of the next day"
		}
	}
	out += ", " + w.Zone.Name + " time"
	if w.Zone.Until != 0 {
		out += " (pinned until " + moment(int64(w.Zone.Until)) + ", never after)"
	}
	return out
}

// ruleLines says in plain language what the ledger reads as data.
func (p *Policy) ruleLines() (out []string) {
	for _, r := range p.rotations {
		line := fmt.Sprintf("%s are rotated every %s", upper(r.Selector.String()), duration(r.Every))
		if r.Grace > 0 {
			line += fmt.Sprintf(", and overdue %s later", duration(r.Grace))
		}
		out = append(out, line+".")
	}
	for _, r := range p.retentions {
		out = append(out, fmt.Sprintf("%s are kept for %s.", upper(r.Of), duration(r.Keep)))
	}
	for _, r := range p.residencies {
		out = append(out, fmt.Sprintf("%s stay in %s.", upper(r.Selector.String()), enumerate(r.Regions, "and")))
	}
	return out
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// plurals says of roles who holds them.
func plurals(roles []string) []string {
	out := make([]string, len(roles))
	for i, r := range roles {
		if id, ok := strings.CutPrefix(r, "member:"); ok {
			out[i] = id
		} else {
			out[i] = r + "s"
		}
	}
	return out
}

func enumerate(list []string, and string) string {
	switch n := len(list); n {
	case 0:
		return "nobody"
	case 1:
		return list[0]
	default:
		return strings.Join(list[:n-1], ", ") + " " + and + " " + list[n-1]
	}
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// duration says a number of milliseconds in up to all of its units.
func duration(ms uint64) string {
	if ms == 0 {
		return "no time"
	}
	var parts []string
	for _, u := range []struct {
		ms   uint64
		name string
	}{{units['y'], "year"}, {units['d'], "day"}, {units['h'], "hour"}, {units['m'], "minute"}, {units['s'], "second"}} {
		if n := ms / u.ms; n > 0 {
			parts = append(parts, plural(int(n), u.name))
			ms %= u.ms
		}
	}
	return enumerate(parts, "and")
}

func orNever(ms uint64) string {
	if ms == 0 {
		return "never"
	}
	return duration(ms)
}

func moment(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
