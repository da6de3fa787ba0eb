package policy

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// An Example is a question with the answer that a policy should give.
type Example struct {
	Line  int
	Name  string
	Verb  Verb
	Query Query

	Allow bool
	Tier  string // of a request that is allowed; "" if it does not matter
}

// An Outcome is what became of an example.
type Outcome struct {
	Example
	Got  string // what the policy says, in words
	Pass bool
}

// ParseExamples reads a document of examples:
//
//	examples:
//	  - name: an approver cannot ask
//	    verb: request
//	    action: sign.voluntary_exit
//	    by: {kind: human, id: dora, operator: acme, region: eu, roles: [approver]}
//	    on: {kind: key, id: k1, purpose: cold}
//	    params: {amount: 32}
//	    time: 2027-01-01T00:00:00Z
//	    expect: forbidden     # or allowed
//	    tier: cold            # of a request that is allowed
func ParseExamples(doc []byte) ([]Example, error) {
	d := &document{}
	out := d.examples(doc)
	if err := d.err(); err != nil {
		return nil, err
	}
	return out, nil
}

func (d *document) examples(doc []byte) (out []Example) {
	root := d.parseYAML(doc)
	if root == nil {
		return nil
	}
	m, ok := d.mapping(root, "the document", "examples")
	if !ok || !m.need("examples", "a list of questions with their answers") {
		return nil
	}
	for _, n := range d.list(m.fields["examples"], "examples", 1000) {
		out = append(out, d.example(n))
	}
	return out
}

func (d *document) example(n *yaml.Node) (e Example) {
	m, ok := d.mapping(n, "an example", "name", "verb", "action", "by", "on", "params", "time", "expect", "tier")
	if !ok || !m.need("name", "what it shows") || !m.need("verb", "request, approve, veto or execute") || !m.need("action", "an action") ||
		!m.need("by", "who does it") || !m.need("on", "what it is done to") || !m.need("expect", "allowed or forbidden") {
		return e
	}
	e = Example{Line: n.Line, Name: m.text("name"), Verb: Verb(m.text("verb")), Tier: m.text("tier"), Allow: m.text("expect") == "allowed"}
	e.Query = Query{Action: m.text("action"), Time: uint64(m.moment("time"))}
	if _, ok := actionGroups[leafAction(e.Verb, e.Query.Action)]; !ok {
		d.add(m.pos("action"), "no policy knows %q with %q: use request, approve, veto or execute, and an action such as sign.deposit", e.Verb, e.Query.Action)
	}
	if m.text("expect") != "allowed" && m.text("expect") != "forbidden" {
		d.add(m.pos("expect"), "expect must be allowed or forbidden")
	}
	if m.has("tier") && (e.Verb != Request || !e.Allow) {
		d.add(m.keys["tier"], "only a request that is allowed has a tier: delete it")
	}
	if by, ok := d.mapping(m.fields["by"], "by", "kind", "id", "operator", "region", "roles"); ok && by.need("kind", "human, workload, node or timer") {
		e.Query.Principal = Principal{Kind: by.text("kind"), ID: by.text("id"), Operator: by.text("operator"), Region: by.text("region"),
			Roles: by.words("roles", checkRole)}
	}
	if on, ok := d.mapping(m.fields["on"], "on", "kind", "id", "domain", "owner", "purpose", "state", "exercise"); ok && on.need("kind", "key, member, policy, …") {
		e.Query.Resource = Resource{Kind: on.text("kind"), ID: on.text("id"), Domain: on.text("domain"), Owner: on.text("owner"),
			Purpose: on.text("purpose"), State: on.text("state"), Exercise: on.boolean("exercise")}
	}
	if m.has("params") {
		params, _ := d.mapping(m.fields["params"], "params")
		e.Query.Params = map[string]string{}
		for _, k := range params.order {
			e.Query.Params[k] = params.text(k)
		}
	}
	return e
}

// RunExamples asks a policy each question. A request is allowed only if it has terms.
func RunExamples(p *Policy, examples []Example) []Outcome {
	var out []Outcome
	for _, e := range examples {
		o := Outcome{Example: e, Got: "allowed"}
		err := p.May(e.Verb, e.Query)
		tier := ""
		if err == nil && e.Verb == Request {
			var t Terms
			if t, err = p.Terms(e.Query); err == nil {
				tier = t.Tier
				o.Got = fmt.Sprintf("allowed under tier %q: %s", tier, t)
			}
		}
		if err != nil {
			o.Got = "forbidden: " + strings.TrimSpace(err.Error())
		}
		o.Pass = (err == nil) == e.Allow && (e.Tier == "" || e.Tier == tier)
		out = append(out, o)
	}
	return out
}
