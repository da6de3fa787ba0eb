package policy

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/wire"
)

// Rules are what a policy states as data for the ledger: how often things are
// rotated, how long records stay, where things may lie. Of each list the first
// rule that matches counts.

// A Selector says which resources a rule is for; an empty part matches all,
// and a * at the end of a text whatever follows.
type Selector struct{ Kind, Domain, Purpose string }

func (s Selector) matches(r Resource) bool {
	return matches(s.Kind, r.Kind) && matches(s.Domain, r.Domain) && matches(s.Purpose, r.Purpose)
}

func matches(pattern, text string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(text, prefix)
	}
	return pattern == "" || pattern == text
}

// A Rotation says how often something is replaced or refreshed.
type Rotation struct {
	Selector
	Every, Grace uint64 // milliseconds: due after Every, overdue after Every + Grace
}

// A Retention says how long the ledger keeps records.
type Retention struct {
	Of   string // events, requests, ceremonies, usage
	Keep uint64 // milliseconds
}

// A Residency says in which regions something may lie.
type Residency struct {
	Selector
	Regions []string
}

var retained = []string{"events", "requests", "ceremonies", "usage"}

// Rotation returns how often a resource is to be rotated; false: never asked for.
func (p *Policy) Rotation(r Resource) (Rotation, bool) {
	return first(p.rotations, func(x Rotation) bool { return x.matches(r) })
}

// Rotates says whether anything is ever to be rotated.
func (p *Policy) Rotates() bool { return len(p.rotations) > 0 }

// Retention returns how long records are kept; false: for good.
func (p *Policy) Retention(of string) (Retention, bool) {
	return first(p.retentions, func(x Retention) bool { return x.Of == of })
}

// Residency returns where a resource may lie; false: anywhere.
func (p *Policy) Residency(r Resource) (Residency, bool) {
	return first(p.residencies, func(x Residency) bool { return x.matches(r) })
}

func first[R any](rules []R, fits func(R) bool) (R, bool) {
	if i := slices.IndexFunc(rules, fits); i >= 0 {
		return rules[i], true
	}
	return *new(R), false
}

const maxRules = 64

// minRetention is longer than any ceremony waits for who has to see approvals.
const minRetention = 8 * 24 * 60 * 60 * 1000

func (d *document) rotations(n *yaml.Node) (out []Rotation) {
	for _, c := range d.list(n, "rotation", maxRules) {
		m, ok := d.mapping(c, "a rotation", "kind", "domain", "purpose", "every", "grace")
		if !ok || !m.need("kind", "key or secret") || !m.need("every", "a duration such as 90d") {
			continue
		}
		r := Rotation{m.selector(), m.duration("every"), m.duration("grace")}
		if m.fields["every"].Value == "0" {
			d.add(m.pos("every"), "every must be above 0: delete the rule if nothing is to be rotated")
		}
		out = append(out, r)
	}
	return out
}

func (d *document) retentions(n *yaml.Node) (out []Retention) {
	for _, c := range d.list(n, "retention", maxRules) {
		m, ok := d.mapping(c, "a retention", "of", "keep")
		if !ok || !m.need("of", strings.Join(retained, ", ")) || !m.need("keep", "a duration such as 7y") {
			continue
		}
		r := Retention{m.text("of"), m.duration("keep")}
		if r.Keep < minRetention {
			d.add(m.pos("keep"), "keep must be at least 8d: until then a ceremony or a grant may have to show who agreed")
		}
		if !slices.Contains(retained, r.Of) {
			d.add(m.pos("of"), "nothing named %q is retained: %s", r.Of, didYouMean(r.Of, retained))
		}
		if slices.ContainsFunc(out, func(o Retention) bool { return o.Of == r.Of }) {
			d.add(m.pos("of"), "the retention of %s stands twice: keep one", r.Of)
		}
		out = append(out, r)
	}
	return out
}

func (d *document) residencies(n *yaml.Node) (out []Residency) {
	for _, c := range d.list(n, "residency", maxRules) {
		m, ok := d.mapping(c, "a residency", "kind", "domain", "purpose", "regions")
		if !ok || !m.need("kind", "key or secret") || !m.need("regions", "names of regions such as [eu]") {
			continue
		}
		r := Residency{m.selector(), m.words("regions", func(s string) string {
			if err := action.CheckName("region", s); err != nil {
				return err.Error()
			}
			return ""
		})}
		if len(m.fields["regions"].Content) == 0 && m.fields["regions"].Kind == yaml.SequenceNode {
			d.add(m.pos("regions"), "no region is left for it: name one")
		}
		out = append(out, r)
	}
	return out
}

func (m mapping) selector() Selector {
	s := Selector{m.text("kind"), m.text("domain"), m.text("purpose")}
	if kinds := []string{"key", "secret"}; !slices.Contains(kinds, s.Kind) {
		m.d.add(m.pos("kind"), "kind must be key or secret: %s", didYouMean(s.Kind, kinds))
	}
	for _, name := range []string{"domain", "purpose"} {
		if t := m.text(name); len(t) > wire.MaxName || strings.Contains(strings.TrimSuffix(t, "*"), "*") {
			m.d.add(m.pos(name), "%s must be a text of at most %d bytes, with * at its end only", name, wire.MaxName)
		}
	}
	return s
}

// String says in words what a selector takes.
func (s Selector) String() string {
	out := s.Kind + "s"
	if s.Domain != "" {
		out += fmt.Sprintf(" of the domain %q", s.Domain)
	}
	if s.Purpose != "" {
		out += fmt.Sprintf(" for the purpose %q", s.Purpose)
	}
	return out
}
