package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// sentence says in plain language what a statement means.
func (s *statement) sentence() string {
	p := (*ast.Policy)(s.policy.AST())
	who, may := subject(p.Principal), "may"
	if !p.Effect {
		switch p.Principal.(type) {
		case ast.ScopeTypeAll:
			who = "Nobody"
		case ast.ScopeTypeEq:
			may = "may never"
		default:
			who = "No " + strings.TrimPrefix(who, "Any ")
		}
	}
	out := who + " " + may + " " + deeds(p.Action) + object(p.Resource)
	for _, c := range p.Conditions {
		if c.Condition == ast.ConditionWhen {
			out += ", if " + words(c.Body)
		} else {
			out += ", unless " + words(c.Body)
		}
	}
	note := fmt.Sprintf(" (line %d", s.at.line)
	if s.name != "" {
		note += ", " + s.name
	}
	if s.reason != "" {
		note += ": " + s.reason
	}
	return out + "." + note + ")"
}

var spoken = map[types.EntityType]string{"Human": "human", "Workload": "workload", "Node": "node", "Clock": "timer of the ledger"}

func subject(n ast.IsPrincipalScopeNode) string {
	switch n := n.(type) {
	case ast.ScopeTypeEq:
		return fmt.Sprintf("The %s %s", spoken[n.Entity.Type], n.Entity.ID)
	case ast.ScopeTypeIn:
		return "Any " + string(n.Entity.ID)
	case ast.ScopeTypeIs:
		return "Any " + spoken[n.Type]
	case ast.ScopeTypeIsIn:
		return fmt.Sprintf("Any %s that is %s", spoken[n.Type], n.Entity.ID)
	}
	return "Anyone"
}

func deeds(n ast.IsActionScopeNode) string {
	switch n := n.(type) {
	case ast.ScopeTypeEq:
		return string(n.Entity.ID)
	case ast.ScopeTypeIn:
		return deed(n.Entity)
	case ast.ScopeTypeInSet:
		var out []string
		for _, e := range n.Entities {
			out = append(out, deed(e))
		}
		return enumerate(out, "or")
	}
	return "do anything"
}

// deed says what an action or group of actions is.
func deed(e types.EntityUID) string {
	id := string(e.ID)
	verb, what, both := strings.Cut(id, " ")
	switch {
	case both:
		return verb + " " + what
	case slices.Contains(Verbs(), Verb(id)):
		return id + " anything"
	}
	return "do anything with " + id
}

func object(n ast.IsResourceScopeNode) string {
	switch n := n.(type) {
	case ast.ScopeTypeEq:
		return fmt.Sprintf(" on the %s %s", strings.ToLower(string(n.Entity.Type)), n.Entity.ID)
	case ast.ScopeTypeIs:
		return " on any " + strings.ToLower(string(n.Type))
	}
	return ""
}

// words says what a condition means. It knows what the checker lets through.
func words(n ast.IsNode) string {
	pair := func(b ast.BinaryNode, between string) string {
		return words(b.Left) + " " + between + " " + words(b.Right)
	}
	switch n := n.(type) {
	case ast.NodeTypeOr:
		return "(" + pair(n.BinaryNode, "or") + ")"
	case ast.NodeTypeAnd:
		return pair(n.BinaryNode, "and")
	case ast.NodeTypeNot:
		return "not (" + words(n.Arg) + ")"
	case ast.NodeTypeLessThan:
		return pair(n.BinaryNode, "is before")
	case ast.NodeTypeLessThanOrEqual:
		return pair(n.BinaryNode, "is not after")
	case ast.NodeTypeGreaterThan:
		return pair(n.BinaryNode, "is after")
	case ast.NodeTypeGreaterThanOrEqual:
		return pair(n.BinaryNode, "is not before")
	case ast.NodeTypeEquals:
		return operand(n.Left) + " is " + operand(n.Right)
	case ast.NodeTypeNotEquals:
		return operand(n.Left) + " is not " + operand(n.Right)
	case ast.NodeTypeContains:
		if _, literal := n.Left.(ast.NodeTypeSet); literal {
			return words(n.Right) + " is one of " + words(n.Left)
		}
		return pair(n.BinaryNode, "include")
	case ast.NodeTypeContainsAll:
		return pair(n.BinaryNode, "include all of")
	case ast.NodeTypeContainsAny:
		return pair(n.BinaryNode, "include one of")
	case ast.NodeTypeIsEmpty:
		return words(n.Arg) + " are none"
	case ast.NodeTypeLike:
		return words(n.Arg) + " matches " + string(n.Value.MarshalCedar())
	case ast.NodeTypeIs:
		return words(n.Left) + " is a " + strings.ToLower(string(n.EntityType))
	case ast.NodeTypeIsIn:
		return words(n.NodeTypeIs) + " and " + pair(ast.BinaryNode{Left: n.Left, Right: n.Entity}, "is")
	case ast.NodeTypeIn:
		return pair(n.BinaryNode, "is")
	case ast.NodeTypeVariable:
		return map[types.String]string{"principal": "the person or machine", "resource": "the object", "action": "the action"}[n.Name]
	case ast.NodeTypeAccess:
		return attribute(n)
	case ast.NodeTypeSet:
		var out []string
		for _, e := range n.Elements {
			out = append(out, words(e))
		}
		return enumerate(out, "and")
	case ast.NodeTypeExtensionCall:
		return strings.Trim(words(n.Args[0]), `"`)
	case ast.NodeValue:
		return literal(n.Value)
	}
	return "?" // the checker lets nothing else through
}

// operand says what is compared, so that no "and" in it reads as one outside.
func operand(n ast.IsNode) string {
	switch n := n.(type) {
	case ast.NodeTypeAccess:
		if n.Value == "exercise" {
			return "the object's being for exercise"
		}
	case ast.NodeValue, ast.NodeTypeVariable, ast.NodeTypeSet, ast.NodeTypeExtensionCall:
	default:
		return "(" + words(n) + ")"
	}
	return words(n)
}

func attribute(n ast.NodeTypeAccess) string {
	v, _ := n.Arg.(ast.NodeTypeVariable)
	switch {
	case v.Name == "context":
		return "the block's time"
	case v.Name == "principal":
		return "the person's or machine's " + string(n.Value)
	case n.Value == "exercise":
		return "the object is for exercise"
	}
	return "the object's " + string(n.Value)
}

func literal(v types.Value) string {
	if e, ok := v.(types.EntityUID); ok {
		switch {
		case e.Type == "Role":
			return "a holder of the role " + string(e.ID)
		case e.Type == "Action":
			return deed(e)
		}
		return fmt.Sprintf("the %s %s", strings.ToLower(string(e.Type)), e.ID)
	}
	if s, ok := v.(types.String); ok {
		return fmt.Sprintf("%q", string(s))
	}
	return fmt.Sprint(v)
}
