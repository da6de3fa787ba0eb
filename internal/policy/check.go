package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/quorate/quorate/internal/wire"
)

// What an expression stands for.
type sort string

const (
	aText      sort = "a text"
	aBool      sort = "a yes or no"
	aSet       sort = "a set of texts"
	aTime      sort = "a time"
	aPrincipal sort = "a principal"
	aResource  sort = "a resource"
	anAction   sort = "an action"
	actionSet  sort = "a set of actions"
	aRole      sort = "a role"
	wrong      sort = "" // already complained about
)

var attributes = map[string]map[string]sort{
	"principal": {"id": aText, "operator": aText, "region": aText, "roles": aSet},
	"resource":  {"id": aText, "domain": aText, "owner": aText, "purpose": aText, "state": aText, "exercise": aBool},
	"context":   {"time": aTime},
}

var attributeNames = map[string][]string{
	"principal": {"id", "operator", "region", "roles"},
	"resource":  {"id", "domain", "owner", "purpose", "state", "exercise"},
	"context":   {"time"},
}

// A checker types one statement. What passes it can be evaluated on every
// query, and yields no error.
type checker struct {
	p      *problems
	tokens []token
	at     pos
	nodes  int
	timed  bool
}

// bad complains at the first of the given runs of tokens that the statement has.
func (c *checker) bad(run []string, format string, args ...any) sort {
	c.p.add(find(c.tokens, c.at, run...), format, args...)
	return wrong
}

func quoted(uid types.EntityUID) []string {
	return []string{string(uid.Type), "::", `"` + string(uid.ID) + `"`}
}

func (c *checker) statement(s *statement, p *ast.Policy) {
	for _, a := range p.Annotations {
		switch a.Key {
		case "id":
			s.name = string(a.Value)
		case "reason":
			s.reason = string(a.Value)
		default:
			c.bad([]string{"@", string(a.Key)}, "no annotation is named %q: use @id or @reason", a.Key)
		}
		if len(a.Value) == 0 || len(a.Value) > 4*wire.MaxName {
			c.bad([]string{"@", string(a.Key)}, "@%s needs a text of 1 to %d bytes", a.Key, 4*wire.MaxName)
		}
	}
	c.scope(p.Principal, "principal", principalTypes, []string{"Role"})
	c.scope(p.Resource, "resource", resourceTypes, nil)
	switch a := p.Action.(type) {
	case ast.ScopeTypeEq:
		c.action(a.Entity, true)
		s.actions = []types.EntityUID{a.Entity}
	case ast.ScopeTypeIn:
		c.action(a.Entity, false)
		s.actions = []types.EntityUID{a.Entity}
	case ast.ScopeTypeInSet:
		for _, e := range a.Entities {
			c.action(e, false)
		}
		s.actions = append([]types.EntityUID{}, a.Entities...)
		if len(a.Entities) == 0 {
			c.bad([]string{"[", "]"}, "an empty list of actions matches nothing: name one, or delete the statement")
		}
	}
	for _, cond := range p.Conditions {
		c.want(cond.Body, aBool)
	}
	s.timed = c.timed
}

// scope checks what a statement says of its principal or resource.
func (c *checker) scope(node ast.IsScopeNode, what string, direct, groups []string) {
	kind := func(t types.EntityType, allowed []string) {
		if !slices.Contains(allowed, string(t)) {
			c.bad([]string{string(t)}, "no %s is of the type %s: %s", what, t, didYouMean(string(t), allowed))
		}
	}
	in := func(e types.EntityUID) {
		if groups == nil {
			c.bad([]string{what, "in"}, "resources have no groups: write resource is Key, or compare resource.purpose")
			return
		}
		if kind(e.Type, groups); e.Type == "Role" {
			c.role(e)
		}
	}
	switch n := node.(type) {
	case ast.ScopeTypeEq:
		kind(n.Entity.Type, direct)
		c.id(n.Entity)
	case ast.ScopeTypeIn:
		in(n.Entity)
	case ast.ScopeTypeIs:
		kind(n.Type, direct)
	case ast.ScopeTypeIsIn:
		kind(n.Type, direct)
		in(n.Entity)
	}
}

func (c *checker) id(e types.EntityUID) {
	if e.ID == "" || len(e.ID) > wire.MaxPath {
		c.bad(quoted(e), "%s needs a name of 1 to %d bytes", e.Type, wire.MaxPath)
	}
}

func (c *checker) role(e types.EntityUID) {
	if why := checkRole(string(e.ID)); !c.p.full() && why != "" {
		c.bad(quoted(e), "%s", why)
	}
}

// action checks a name of one action with its verb, or of a group.
func (c *checker) action(e types.EntityUID, single bool) {
	id := string(e.ID)
	_, leaf := actionGroups[e]
	switch {
	case e.Type != "Action":
		c.bad([]string{string(e.Type), "::"}, "%s is not an action: write Action::\"request sign.deposit\", Action::\"sign.*\" or Action::\"approve\"", e.Type)
	case leaf, c.p.full():
	case !slices.Contains(groupNames, id):
		hint := didYouMean(id, groupNames)
		if strings.HasPrefix(hint, "use one of") {
			hint = "write a verb, an action, or both: \"approve\", \"sign.*\", \"request sign.deposit\""
		}
		c.bad(quoted(e), "no action is named %q: %s", id, hint)
	case single:
		c.bad(quoted(e), "%q names several actions: write \"action in\" in place of \"action ==\"", id)
	}
}

// want checks an expression that has to be of a sort.
func (c *checker) want(n ast.IsNode, s sort) {
	if got := c.sort(n); got != s && got != wrong {
		c.bad(clue(n), "expected %s, found %s", s, got)
	}
}

// clue is the part of an expression that is easiest to find in the text.
func clue(n ast.IsNode) []string {
	switch n := n.(type) {
	case ast.NodeTypeAccess:
		if v, ok := n.Arg.(ast.NodeTypeVariable); ok {
			return []string{string(v.Name), ".", string(n.Value)}
		}
	case ast.NodeTypeVariable:
		return []string{string(n.Name)}
	case ast.NodeValue:
		switch v := n.Value.(type) {
		case types.String:
			return []string{`"` + string(v) + `"`}
		case types.EntityUID:
			return quoted(v)
		case types.Boolean, types.Long:
			return []string{v.String()}
		}
	case ast.NodeTypeExtensionCall:
		return []string{string(n.Name)}
	}
	return []string{"when", "{"}
}

func (c *checker) sort(n ast.IsNode) sort {
	if c.nodes++; c.nodes > maxNodes {
		if c.nodes == maxNodes+1 {
			c.bad(nil, "the statement has more than %d parts: split it", maxNodes)
		}
		return wrong
	}
	switch n := n.(type) {
	case ast.NodeTypeOr:
		return c.both(n.BinaryNode, aBool)
	case ast.NodeTypeAnd:
		return c.both(n.BinaryNode, aBool)
	case ast.NodeTypeNot:
		c.want(n.Arg, aBool)
		return aBool
	case ast.NodeTypeLessThan:
		return c.both(n.BinaryNode, aTime)
	case ast.NodeTypeLessThanOrEqual:
		return c.both(n.BinaryNode, aTime)
	case ast.NodeTypeGreaterThan:
		return c.both(n.BinaryNode, aTime)
	case ast.NodeTypeGreaterThanOrEqual:
		return c.both(n.BinaryNode, aTime)
	case ast.NodeTypeEquals:
		return c.equal(n.BinaryNode)
	case ast.NodeTypeNotEquals:
		return c.equal(n.BinaryNode)
	case ast.NodeTypeContains:
		c.want(n.Left, aSet)
		c.want(n.Right, aText)
		return aBool
	case ast.NodeTypeContainsAll:
		return c.both(n.BinaryNode, aSet)
	case ast.NodeTypeContainsAny:
		return c.both(n.BinaryNode, aSet)
	case ast.NodeTypeIsEmpty:
		c.want(n.Arg, aSet)
		return aBool
	case ast.NodeTypeLike:
		c.want(n.Arg, aText)
		return aBool
	case ast.NodeTypeIs:
		return c.is(n)
	case ast.NodeTypeIsIn:
		c.is(n.NodeTypeIs)
		return c.in(ast.BinaryNode{Left: n.Left, Right: n.Entity})
	case ast.NodeTypeIn:
		return c.in(n.BinaryNode)
	case ast.NodeTypeVariable:
		return map[types.String]sort{"principal": aPrincipal, "action": anAction, "resource": aResource, "context": "the context"}[n.Name]
	case ast.NodeTypeAccess:
		return c.access(n)
	case ast.NodeTypeSet:
		return c.set(n)
	case ast.NodeTypeExtensionCall:
		return c.call(n)
	case ast.NodeValue:
		return c.value(n.Value)
	}
	return c.bad(nil, "an expression that policies do without: use comparisons, in, is, like and contains")
}

func (c *checker) both(n ast.BinaryNode, s sort) sort {
	c.want(n.Left, s)
	c.want(n.Right, s)
	return aBool
}

func (c *checker) equal(n ast.BinaryNode) sort {
	l, r := c.sort(n.Left), c.sort(n.Right)
	run := clue(n.Right)
	if run[0] == "when" {
		run = clue(n.Left)
	}
	switch {
	case l == wrong || r == wrong:
	case l == aPrincipal && r == aResource, l == aResource && r == aPrincipal:
		c.bad(run, "a principal is never its resource: compare principal.id with resource.id")
	case l != r:
		c.bad(run, "%s is never equal to %s", l, r)
	case l == aRole || l == actionSet || l == "the context":
		c.bad(run, "%s cannot be compared: use in", l)
	}
	return aBool
}

func (c *checker) is(n ast.NodeTypeIs) sort {
	allowed := principalTypes
	switch c.sort(n.Left) {
	case aPrincipal:
	case aResource:
		allowed = resourceTypes
	case wrong:
		return wrong
	default:
		return c.bad([]string{"is"}, "is asks for the type of a principal or resource only")
	}
	if !slices.Contains(allowed, string(n.EntityType)) {
		return c.bad([]string{"is", string(n.EntityType)}, "no such type as %s: %s", n.EntityType, didYouMean(string(n.EntityType), allowed))
	}
	return aBool
}

func (c *checker) in(n ast.BinaryNode) sort {
	l, r := c.sort(n.Left), c.sort(n.Right)
	switch {
	case l == wrong || r == wrong:
	case l == aPrincipal && r == aRole, l == anAction && (r == anAction || r == actionSet):
	case l == aText:
		c.bad([]string{"in"}, "a text is in nothing: write [\"a\", \"b\"].contains(…)")
	default:
		c.bad([]string{"in"}, "%s is never in %s: in asks whether a principal has a role, or an action is in a group", l, r)
	}
	return aBool
}

func (c *checker) access(n ast.NodeTypeAccess) sort {
	v, ok := n.Arg.(ast.NodeTypeVariable)
	name := string(n.Value)
	if !ok {
		return c.bad([]string{".", name}, "only principal, resource and context have attributes")
	}
	s, ok := attributes[string(v.Name)][name]
	if !ok {
		return c.bad([]string{string(v.Name), ".", name}, "%s has no attribute %q: %s", v.Name, name, didYouMean(name, attributeNames[string(v.Name)]))
	}
	c.timed = c.timed || s == aTime
	return s
}

func (c *checker) set(n ast.NodeTypeSet) sort {
	if len(n.Elements) == 0 {
		return c.bad([]string{"[", "]"}, "an empty set: name its elements")
	}
	first := c.sort(n.Elements[0])
	for _, e := range n.Elements[1:] {
		if s := c.sort(e); s != first && s != wrong && first != wrong {
			return c.bad(clue(e), "a set of %s cannot hold %s", first, s)
		}
	}
	switch first {
	case aText:
		return aSet
	case anAction:
		return actionSet
	case wrong:
		return wrong
	}
	return c.bad(clue(n.Elements[0]), "a set cannot hold %s: use texts or actions", first)
}

func (c *checker) call(n ast.NodeTypeExtensionCall) sort {
	if n.Name == "datetime" && len(n.Args) == 1 {
		if v, ok := n.Args[0].(ast.NodeValue); ok {
			if s, ok := v.Value.(types.String); ok {
				if _, err := types.ParseDatetime(string(s)); err != nil {
					return c.bad(clue(v), "not a time: write datetime(\"2027-03-01T00:00:00Z\")")
				}
				return aTime
			}
		}
		return c.bad([]string{"datetime"}, "datetime takes one text: write datetime(\"2027-03-01T00:00:00Z\")")
	}
	return c.bad([]string{string(n.Name)}, "no function %s here: use comparisons, in, is, like, contains, containsAll, containsAny, isEmpty and datetime", n.Name)
}

func (c *checker) value(v types.Value) sort {
	switch v := v.(type) {
	case types.String:
		return aText
	case types.Boolean:
		return aBool
	case types.Long:
		return c.bad([]string{strconv.FormatInt(int64(v), 10)}, "nothing here is a number: put conditions on parameters under a tier's when")
	case types.EntityUID:
		switch {
		case v.Type == "Role":
			c.role(v)
			return aRole
		case v.Type == "Action":
			c.action(v, false)
			return anAction
		case slices.Contains(principalTypes, string(v.Type)):
			c.id(v)
			return aPrincipal
		case slices.Contains(resourceTypes, string(v.Type)):
			c.id(v)
			return aResource
		}
		return c.bad([]string{string(v.Type), "::"}, "no such type as %s: %s", v.Type, didYouMean(string(v.Type), slices.Concat(principalTypes, resourceTypes, []string{"Role", "Action"})))
	}
	return c.bad(nil, "a value that policies do without: %s", strings.TrimSpace(fmt.Sprint(v)))
}
