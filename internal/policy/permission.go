package policy

import (
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"go.yaml.in/yaml/v3"

	"github.com/quorate/quorate/internal/wire"
)

// A statement is one permit or forbid.
type statement struct {
	id      types.PolicyID // its index
	policy  *cedar.Policy
	at      pos
	name    string // @id
	reason  string // @reason
	timed   bool   // it looks at context.time
	actions []types.EntityUID
}

// permissions are the statements in their order. byAction holds, for each
// verb and action, those whose scope it is in; steady the same without
// reliance on time (see [Policy.Lockout]).
type permissions struct {
	all      []*statement
	byAction map[types.EntityUID]statements
	steady   map[types.EntityUID]statements
}

// statements iterate in order, so that the answer's words have one, too.
type statements []*statement

func (s statements) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, st := range s {
			if !yield(st.id, st.policy) {
				return
			}
		}
	}
}

// block is where a literal block's text stands in the document.
func (d *document) block(n *yaml.Node) func(pos) pos {
	indent := 0
	for k, line := range strings.Split(n.Value, "\n") {
		if written := n.Line + k; line != "" && written < len(d.lines) {
			indent = utf8.RuneCountInString(d.lines[written]) - utf8.RuneCountInString(line)
			break
		}
	}
	return func(p pos) pos { return pos{n.Line + p.line, max(indent, 0) + p.column} }
}

var (
	cedarError = regexp.MustCompile(`(?s)<input>:([0-9]{1,9}):([0-9]{1,9})(.*)$`)
	cedarGot   = regexp.MustCompile(`(?s)got (.+) want (.+)$`)
)

func (d *document) permissions(n *yaml.Node) (p permissions) {
	if n.Kind != yaml.ScalarNode || n.Style&yaml.LiteralStyle == 0 || strings.TrimSpace(n.Value) == "" {
		d.add(at(n), "permissions must be Cedar statements in a literal block: write \"permissions: |\" and indent them below")
		return p
	}
	place := d.block(n)
	tokens := lexCedar(n.Value, place)
	if !checkTokens(&d.problems, tokens) {
		return p
	}
	list, err := cedar.NewPolicyListFromBytes("", []byte(n.Value))
	if err != nil {
		d.cedarSyntax(err, tokens, place, at(n))
		return p
	}
	if len(list) == 0 || len(list) > wire.MaxPolicyStatements {
		d.add(at(n), "%d statements, want 1 to %d: write a permit, or merge some", len(list), wire.MaxPolicyStatements)
		return p
	}
	names := map[string]int{}
	for i, pol := range list {
		begin, end := pol.Position().Offset, len(n.Value)
		if i+1 < len(list) {
			end = list[i+1].Position().Offset
		}
		mine := tokens[search(tokens, begin):search(tokens, end)]
		s := &statement{id: types.PolicyID(strconv.Itoa(i)), policy: pol, at: place(pos{pol.Position().Line, pol.Position().Column})}
		c := checker{p: &d.problems, tokens: mine, at: s.at}
		c.statement(s, (*ast.Policy)(pol.AST()))
		if first, twice := names[s.name]; twice && s.name != "" {
			d.add(find(mine, s.at, "id"), "@id(%q) stands already on line %d: choose another", s.name, first)
		}
		names[s.name] = s.at.line
		p.all = append(p.all, s)
	}
	p.index()
	return p
}

func search(tokens []token, offset int) int {
	i, _ := slices.BinarySearchFunc(tokens, offset, func(t token, o int) int { return t.offset - o })
	return i
}

// cedarSyntax keeps an error of Cedar's parser, which points behind the token
// that it did not expect.
func (d *document) cedarSyntax(err error, tokens []token, place func(pos) pos, otherwise pos) {
	m := cedarError.FindStringSubmatch(err.Error())
	if m == nil {
		d.add(otherwise, "not Cedar: %s", err)
		return
	}
	line, _ := strconv.Atoi(m[1])
	column, _ := strconv.Atoi(m[2])
	where, text := place(pos{line, column}), strings.TrimLeft(m[3], ": ")
	hint := "a statement reads permit (principal, action, resource) when { … };"
	before := func(found string) {
		if i := slices.IndexFunc(tokens, func(t token) bool { return t.at == where }); i > 0 && tokens[i-1].text == found {
			where = tokens[i-1].at
		}
	}
	if got := cedarGot.FindStringSubmatch(text); got != nil {
		before(got[1])
		text = fmt.Sprintf("found %s, want %s", got[1], got[2])
		if got[2] == ";" {
			hint = "end a statement with a semicolon"
		}
	} else if _, found, ok := strings.Cut(text, "unexpected effect: "); ok {
		before(found)
		text, hint = "found "+found, "begin a statement with permit or forbid"
	} else if strings.Contains(text, "literal not terminated") {
		hint = "close the quotation mark on the same line"
	}
	d.add(where, "not Cedar: %s: %s", text, hint)
}

// index sorts statements by the verbs and actions that they speak of.
func (p *permissions) index() {
	p.byAction, p.steady = map[types.EntityUID]statements{}, map[types.EntityUID]statements{}
	for _, verb := range Verbs() {
		for _, name := range actionNames {
			leaf := leafAction(verb, name)
			for _, s := range p.all {
				if !slices.ContainsFunc(s.actions, func(a types.EntityUID) bool { return a == leaf || actionGroups[leaf].Parents.Contains(a) }) && s.actions != nil {
					continue
				}
				p.byAction[leaf] = append(p.byAction[leaf], s)
				// Whatever the time: a permit that looks at it may be over, and
				// a forbid that does may be in force.
				switch {
				case !s.timed:
					p.steady[leaf] = append(p.steady[leaf], s)
				case s.policy.Effect() == cedar.Forbid:
					always := *(*ast.Policy)(s.policy.AST())
					always.Conditions = nil
					forced := *s
					forced.policy = cedar.NewPolicyFromAST((*publicast.Policy)(&always))
					p.steady[leaf] = append(p.steady[leaf], &forced)
				}
			}
		}
	}
}

// leafAction is Cedar's name for a verb with an action.
func leafAction(v Verb, name string) types.EntityUID {
	return types.EntityUID{Type: "Action", ID: types.String(string(v) + " " + name)}
}

// actionGroups are all actions as entities: "approve sign.deposit" is in
// "approve sign.*", "approve", "sign.deposit" and "sign.*". It is never written again.
var actionGroups = func() types.EntityMap {
	out := types.EntityMap{}
	for _, v := range Verbs() {
		for _, name := range actionNames {
			groups := []types.EntityUID{}
			for _, id := range []string{string(v), string(v) + " " + family(name) + ".*", name, family(name) + ".*"} {
				groups = append(groups, types.EntityUID{Type: "Action", ID: types.String(id)})
			}
			leaf := leafAction(v, name)
			out[leaf] = types.Entity{UID: leaf, Parents: types.NewEntityUIDSet(groups...)}
		}
	}
	return out
}()

// groupNames are what an action scope may name after "in".
var groupNames = func() []string {
	out := actionPatterns()
	for _, v := range Verbs() {
		out = append(out, string(v))
		for _, a := range actionPatterns() {
			out = append(out, string(v)+" "+a)
		}
	}
	return out
}()

// world is what Cedar sees of one query.
type world struct{ principal, resource, action types.Entity }

func (w *world) Get(uid types.EntityUID) (types.Entity, bool) {
	switch uid {
	case w.principal.UID:
		return w.principal, true
	case w.resource.UID:
		return w.resource, true
	case w.action.UID:
		return w.action, true
	}
	return types.Entity{}, false
}

func newWorld(v Verb, q *Query) (*world, error) {
	pt, rt := principalKinds[q.Principal.Kind], resourceKinds[q.Resource.Kind]
	switch action, ok := actionGroups[leafAction(v, q.Action)]; {
	case !ok:
		return nil, fmt.Errorf("no policy knows %q with %q", v, q.Action)
	case pt == "":
		return nil, fmt.Errorf("no policy knows a principal of the kind %q", q.Principal.Kind)
	case rt == "":
		return nil, fmt.Errorf("no policy knows a resource of the kind %q", q.Resource.Kind)
	default:
		roles := make([]types.Value, len(q.Principal.Roles))
		groups := make([]types.EntityUID, len(q.Principal.Roles))
		for i, r := range q.Principal.Roles {
			roles[i] = types.String(r)
			groups[i] = types.EntityUID{Type: "Role", ID: types.String(r)}
		}
		return &world{action: action,
			principal: types.Entity{
				UID:     types.EntityUID{Type: types.EntityType(pt), ID: types.String(q.Principal.ID)},
				Parents: types.NewEntityUIDSet(groups...),
				Attributes: types.NewRecord(types.RecordMap{
					"id": types.String(q.Principal.ID), "operator": types.String(q.Principal.Operator),
					"region": types.String(q.Principal.Region), "roles": types.NewSet(roles...)})},
			resource: types.Entity{
				UID: types.EntityUID{Type: types.EntityType(rt), ID: types.String(q.Resource.ID)},
				Attributes: types.NewRecord(types.RecordMap{
					"id": types.String(q.Resource.ID), "domain": types.String(q.Resource.Domain),
					"owner": types.String(q.Resource.Owner), "purpose": types.String(q.Resource.Purpose),
					"state": types.String(q.Resource.State), "exercise": types.Boolean(q.Resource.Exercise)})},
		}, nil
	}
}

// Denied says why somebody may not do something.
type Denied struct {
	Verb      Verb
	Action    string
	Principal string
	Why       string // in words
}

func (e *Denied) Error() string {
	return fmt.Sprintf("%s may not %s %s: %s", e.Principal, e.Verb, e.Action, e.Why)
}

func (p *permissions) decide(by map[types.EntityUID]statements, v Verb, q *Query) error {
	denied := func(why string) error { return &Denied{v, q.Action, q.Principal.ID, why} }
	w, err := newWorld(v, q)
	if err != nil {
		return denied(err.Error())
	}
	decision, why := cedar.Authorize(by[w.action.UID], w, cedar.Request{
		Principal: w.principal.UID, Action: w.action.UID, Resource: w.resource.UID,
		Context: types.NewRecord(types.RecordMap{"time": types.NewDatetimeFromMillis(int64(min(q.Time, maxTime)))}),
	})
	switch {
	case len(why.Errors) > 0: // checked statements do not fail; if one did, nothing may rest on it
		i, _ := strconv.Atoi(string(why.Errors[0].PolicyID))
		return denied(p.all[i].String() + " cannot be evaluated")
	case decision == cedar.Allow:
		return nil
	case len(why.Reasons) == 0:
		return denied("no permit applies")
	}
	var forbids []string
	for _, r := range why.Reasons {
		i, _ := strconv.Atoi(string(r.PolicyID))
		forbids = append(forbids, p.all[i].String())
	}
	return denied("forbidden by " + strings.Join(forbids, " and "))
}

// String names a statement for people.
func (s *statement) String() string {
	out := fmt.Sprintf("the statement on line %d", s.at.line)
	if s.name != "" {
		out = fmt.Sprintf("%q on line %d", s.name, s.at.line)
	}
	if s.reason != "" {
		out += " (" + s.reason + ")"
	}
	return out
}
