package policy

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/wire"
)

// A Policy is a compiled document. It never changes, and any number of
// goroutines may ask it.
type Policy struct {
	doc         []byte
	hash        [32]byte
	name        string
	permissions permissions
	tiers       []*tier
	zones       map[string]*Zone
	rotations   []Rotation
	retentions  []Retention
	residencies []Residency
}

// A Principal is who does something. The zero values of its parts match nothing.
type Principal struct {
	ID       string
	Kind     string // human, workload, node, timer
	Operator string
	Region   string
	Roles    []string
}

// A Resource is what something is done to.
type Resource struct {
	Kind     string // key, member, policy, ceremony, cluster, timer, secret
	ID       string
	Domain   string
	Owner    string
	Purpose  string
	State    string
	Exercise bool // it exists for drills
}

// A Query is what is asked of a policy. Statements see principal, action,
// resource and time; conditions of tiers see all but the time.
type Query struct {
	Action    string
	Principal Principal
	Resource  Resource
	Params    map[string]string
	Time      uint64 // milliseconds of block time
}

var documentFields = []string{"version", "name", "permissions", "tiers", "zones", "rotation", "retention", "residency"}

// Compile reads a document. An error is of the type [Errors], and the answer
// is the same on every machine. Time and memory are bounded by the limits of
// package wire.
func Compile(doc []byte) (_ *Policy, err error) {
	defer func() {
		// Three parsers of others read the document. A panic of one must not
		// stop every node at the same block.
		if recover() != nil {
			err = Errors{{1, 1, "the document makes a parser stumble: rewrite what was changed last"}}
		}
	}()
	d := &document{}
	p := d.policy(doc)
	if err := d.err(); err != nil {
		return nil, err
	}
	p.doc, p.hash = slices.Clone(doc), wire.Hash(wire.TagPolicy, doc)
	return p, nil
}

func (d *document) policy(doc []byte) *Policy {
	root := d.parseYAML(doc)
	if root == nil {
		return nil
	}
	m, ok := d.mapping(root, "the policy", documentFields...)
	if !ok || !m.need("version", "\"version: 1\"") {
		return nil
	}
	if v := m.fields["version"]; v.Value != "1" {
		d.add(at(v), "version must be 1: this software knows no other")
		return nil
	}
	p := &Policy{name: m.text("name"), zones: map[string]*Zone{}}
	if len(p.name) > 4*wire.MaxName {
		d.add(m.pos("name"), "name is over %d bytes: shorten it", 4*wire.MaxName)
	}
	if m.need("permissions", "\"permissions: |\" with Cedar statements; without one nobody may do anything") {
		p.permissions = d.permissions(m.fields["permissions"])
	}
	p.zones = d.zones(m)
	if m.need("tiers", "the terms of each action; an action in no tier is never granted") {
		p.tiers = d.tiers(m.fields["tiers"], p.zones)
	}
	if m.has("rotation") {
		p.rotations = d.rotations(m.fields["rotation"])
	}
	if m.has("retention") {
		p.retentions = d.retentions(m.fields["retention"])
	}
	if m.has("residency") {
		p.residencies = d.residencies(m.fields["residency"])
	}
	return p
}

// Hash names the version: two documents of the same bytes, and no others, share it.
func (p *Policy) Hash() [32]byte { return p.hash }

// Document returns the bytes that were compiled.
func (p *Policy) Document() []byte { return slices.Clone(p.doc) }

// Name returns what the document calls itself, if anything.
func (p *Policy) Name() string { return p.name }

// May says whether a principal may do something: some permit has to apply
// and no forbid. Its error is a [Denied].
func (p *Policy) May(v Verb, q Query) error {
	return p.permissions.decide(p.permissions.byAction, v, &q)
}

// Terms returns what a request by the principal has to meet: those of the
// first tier, in the document's order, that covers the action and whose
// condition holds. If a condition before it cannot be judged there are none,
// so that no stricter tier is passed over.
func (p *Policy) Terms(q Query) (Terms, error) {
	for _, t := range p.tiers {
		if !t.covers(q.Action) {
			continue
		}
		switch ok, err := t.when.holds(&q); {
		case err != nil:
			return Terms{}, fmt.Errorf("find terms of %s: tier %q on line %d cannot be judged: %w", q.Action, t.terms.Tier, t.at.line, err)
		case ok:
			return t.terms.clone(), nil
		}
	}
	return Terms{}, fmt.Errorf("find terms of %s: no tier of the policy covers it", q.Action)
}

// Tier returns the terms of a tier by its name, under which a request was
// opened, whatever its condition says of anybody else or of a later time.
func (p *Policy) Tier(name string) (Terms, bool) {
	for _, t := range p.tiers {
		if t.terms.Tier == name {
			return t.terms.clone(), true
		}
	}
	return Terms{}, false
}

func (t Terms) clone() Terms {
	t.Roles, t.Backups, t.Veto = slices.Clone(t.Roles), slices.Clone(t.Backups), slices.Clone(t.Veto)
	return t
}
