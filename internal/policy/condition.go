package policy

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"go.yaml.in/yaml/v3"

	"github.com/quorate/quorate/internal/wire"
)

// Conditions are CEL, cut down to what is total in time and equal everywhere:
// comparisons of texts, whole numbers and booleans, no loops, no regular
// expressions, no floats, no clock.

const (
	maxCost    = 4096    // of one evaluation, in CEL's units; a condition over it is no
	maxParam   = 4 << 10 // bytes of a parameter that costs are estimated with
	maxCELDeep = 32
	maxNodes   = 512 // parts of one statement or condition
)

var conditionVars = []struct {
	name string
	typ  *cel.Type
	get  func(*Query) any
}{
	{"action", cel.StringType, func(q *Query) any { return q.Action }},
	{"params", cel.MapType(cel.StringType, cel.StringType), func(q *Query) any { return q.Params }},
	{"principal.id", cel.StringType, func(q *Query) any { return q.Principal.ID }},
	{"principal.kind", cel.StringType, func(q *Query) any { return q.Principal.Kind }},
	{"principal.operator", cel.StringType, func(q *Query) any { return q.Principal.Operator }},
	{"principal.region", cel.StringType, func(q *Query) any { return q.Principal.Region }},
	{"principal.roles", cel.ListType(cel.StringType), func(q *Query) any { return q.Principal.Roles }},
	{"resource.id", cel.StringType, func(q *Query) any { return q.Resource.ID }},
	{"resource.kind", cel.StringType, func(q *Query) any { return q.Resource.Kind }},
	{"resource.domain", cel.StringType, func(q *Query) any { return q.Resource.Domain }},
	{"resource.owner", cel.StringType, func(q *Query) any { return q.Resource.Owner }},
	{"resource.purpose", cel.StringType, func(q *Query) any { return q.Resource.Purpose }},
	{"resource.state", cel.StringType, func(q *Query) any { return q.Resource.State }},
	{"resource.exercise", cel.BoolType, func(q *Query) any { return q.Resource.Exercise }},
}

func conditionNames() []string {
	var out []string
	for _, v := range conditionVars {
		out = append(out, v.name)
	}
	return out
}

// conditionEnv is built once, and read only from then on.
var conditionEnv = sync.OnceValues(func() (*cel.Env, error) {
	only := func(name string, ids ...string) *env.Function {
		f := &env.Function{Name: name}
		for _, id := range ids {
			f.Overloads = append(f.Overloads, &env.Overload{ID: id})
		}
		return f
	}
	opts := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(&env.LibrarySubset{
			IncludeMacros: []string{operators.Has},
			IncludeFunctions: []*env.Function{
				only(operators.LogicalAnd), only(operators.LogicalOr), only(operators.LogicalNot),
				only(operators.Equals), only(operators.NotEquals), only(operators.Conditional),
				only(operators.Less, overloads.LessInt64), only(operators.LessEquals, overloads.LessEqualsInt64),
				only(operators.Greater, overloads.GreaterInt64), only(operators.GreaterEquals, overloads.GreaterEqualsInt64),
				only(operators.In, overloads.InList, overloads.InMap), only(operators.Index, overloads.IndexMap),
				only(overloads.Contains), only(overloads.StartsWith), only(overloads.EndsWith),
				only(overloads.Size, overloads.SizeString, overloads.SizeList, overloads.SizeStringInst, overloads.SizeListInst),
				only(overloads.TypeConvertInt, overloads.StringToInt),
			}})),
		cel.HomogeneousAggregateLiterals(), cel.EagerlyValidateDeclarations(true),
		cel.ParserRecursionLimit(maxCELDeep), cel.ParserErrorRecoveryLimit(1), cel.ParserExpressionSizeLimit(wire.MaxPolicyCondition),
		cel.ExpressionNodeLimit(maxNodes), cel.ExpressionNestingDepthLimit(maxCELDeep),
	}
	for _, v := range conditionVars {
		opts = append(opts, cel.Variable(v.name, v.typ))
	}
	return cel.NewCustomEnv(opts...)
})

// A condition decides whether a tier applies.
type condition struct {
	text    string
	program cel.Program
}

// celView is a query as conditions see it.
type celView struct{ q *Query }

func (v celView) ResolveName(name string) (any, bool) {
	for i := range conditionVars {
		if conditionVars[i].name == name {
			return conditionVars[i].get(v.q), true
		}
	}
	return nil, false
}

func (v celView) Parent() cel.Activation { return nil }

// holds says whether a condition is true of a query. What cannot be judged,
// as a parameter that is missing, is an error and never false: else a stricter
// tier would be passed over.
func (c *condition) holds(q *Query) (bool, error) {
	if c == nil {
		return true, nil
	}
	out, _, err := c.program.Eval(celView{q})
	if err != nil {
		return false, err
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("it yields %v", out.Type())
	}
	return bool(b), nil
}

// place translates a position in a scalar's text into the document's, exactly
// where the text stands there letter by letter, and to its beginning otherwise.
func (d *document) place(n *yaml.Node) func(pos) pos {
	if n.Style&yaml.LiteralStyle != 0 {
		return d.block(n)
	}
	line := []rune(d.lines[n.Line-1])
	skip := n.Column - 1
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		skip++
	}
	if skip <= len(line) && strings.HasPrefix(string(line[skip:]), n.Value) {
		return func(p pos) pos { return pos{n.Line, skip + p.column} }
	}
	return func(pos) pos { return at(n) }
}

func (d *document) condition(n *yaml.Node) *condition {
	text, ok := d.text(n, "when")
	if !ok {
		return nil
	}
	if len(text) > wire.MaxPolicyCondition {
		d.add(at(n), "the condition has %d bytes, over the limit of %d: split the tier", len(text), wire.MaxPolicyCondition)
		return nil
	}
	place := d.place(n)
	e, err := conditionEnv()
	if err != nil {
		d.add(at(n), "%s", err)
		return nil
	}
	checked, issues := e.Compile(text)
	if issues.Err() != nil {
		for _, is := range issues.Errors() {
			d.add(place(pos{is.Location.Line(), is.Location.Column() + 1}), "%s", celHint(is.Message))
		}
		return nil
	}
	if !checked.OutputType().IsExactType(cel.BoolType) {
		d.add(at(n), "the condition yields %s: compare it with something, so that it is true or false", checked.OutputType())
		return nil
	}
	if !d.plainCEL(checked, place) {
		return nil
	}
	estimate, err := e.EstimateCost(checked, sizes{})
	if err != nil || estimate.Max > maxCost {
		d.add(at(n), "the condition may cost %d, over the limit of %d: compare fewer texts", estimate.Max, maxCost)
		return nil
	}
	program, err := e.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		d.add(at(n), "%s", err)
		return nil
	}
	return &condition{text, program}
}

// plainCEL lets through what conditions are made of, kind by kind.
func (d *document) plainCEL(checked *cel.Ast, place func(pos) pos) bool {
	fine := true
	info := checked.NativeRep().SourceInfo()
	celast.PostOrderVisit(checked.NativeRep().Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		why := ""
		switch e.Kind() {
		case celast.CallKind, celast.IdentKind, celast.SelectKind, celast.ListKind:
		case celast.LiteralKind:
			switch e.AsLiteral().(type) {
			case types.Bool, types.Int, types.String:
			case types.Double:
				why = "a fraction: write a whole number"
			default:
				why = "only texts, whole numbers, true and false are written here"
			}
		default:
			why = "only comparisons of single values have a place here: spell them out with && and ||"
		}
		if why != "" {
			fine = false
			loc := info.GetStartLocation(e.ID())
			d.add(place(pos{loc.Line(), loc.Column() + 1}), "%s", why)
		}
	}))
	return fine
}

// sizes bounds what the ledger puts into a query, for estimates of cost.
type sizes struct{}

func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	if len(n.Path()) == 0 {
		return nil
	}
	switch strings.Join(n.Path(), ".") {
	case "principal.roles":
		return &cost.SizeEstimate{Min: 0, Max: 8}
	case "params":
		return &cost.SizeEstimate{Min: 0, Max: 64}
	}
	if n.Path()[0] == "params" {
		return &cost.SizeEstimate{Min: 0, Max: maxParam}
	}
	return &cost.SizeEstimate{Min: 0, Max: wire.MaxPath}
}

func (sizes) EstimateCallCost(_, _ string, _ *cost.AstNode, _ []cost.AstNode) *cost.CallEstimate {
	return nil
}

var celUndeclared = regexp.MustCompile(`undeclared reference to '([^']*)'`)

// celHint says in a policy's own words what CEL's checker found.
func celHint(message string) string {
	message, _, _ = strings.Cut(message, "\n")
	message, _, _ = strings.Cut(message, " expecting ")
	if m := celUndeclared.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("nothing is named %s: conditions know %s; &&, ||, !, ==, !=, <, <=, >, >=, in, size, contains, startsWith, endsWith, int and has",
			m[1], strings.Join(conditionNames(), ", "))
	}
	if n := utf8.RuneCountInString(message); n > 300 {
		message = string([]rune(message)[:300]) + " …"
	}
	switch {
	case strings.Contains(message, "no matching overload"):
		return message + ": compare texts with texts and numbers with numbers; int(params.x) makes a number of a text"
	case strings.Contains(message, "Syntax error"), strings.Contains(message, "token recognition"):
		return "not CEL: " + message + ": write for example resource.purpose == \"cold\" && int(params.amount) > 5"
	}
	return message + ": rewrite the condition"
}
