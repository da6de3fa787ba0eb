package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/wire"
)

func (a *app) policyCommand() *cobra.Command {
	var document bool
	show := &cobra.Command{Use: "show", Short: "Show the policy in force and what it means", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, _ []string) error { return a.policyShow(ctx, document) })}
	show.Flags().BoolVar(&document, "document", false, "print the document as it is, to edit and propose")
	diff := &cobra.Command{Use: "diff FILE", Short: "Show who could do what differently under the policy in FILE", Args: cobra.ExactArgs(1),
		Long: `Compiles FILE and compares it with the policy in force, for each action by each
member and node on the keys that there are. It asks no one and signs nothing.`,
		RunE: a.run(a.policyDiff)}
	var o askOptions
	propose := &cobra.Command{Use: "propose FILE", Short: "Ask for the policy in FILE to be put in force", Args: cobra.ExactArgs(1),
		Long: `Compiles FILE here first: what is wrong stands with its line and column. Then it
shows the difference to the policy in force and asks for the change. A policy
under which nobody could ever change it again is refused.`,
		RunE: a.run(func(ctx context.Context, args []string) error { return a.policyPropose(ctx, args[0], o) })}
	var under string
	test := &cobra.Command{Use: "test EXAMPLES", Short: "Ask a policy questions whose answers are known", Args: cobra.ExactArgs(1),
		Long: `EXAMPLES is a document of questions with the answers that they should get:

  examples:
    - name: a workload approves nothing
      verb: approve
      action: sign.voluntary_exit
      by: {kind: workload, id: ci, operator: acme, region: eu, roles: [approver]}
      on: {kind: key, id: k1}
      expect: forbidden

It exits with 1 if the policy gives another answer to any of them.`,
		RunE: a.run(func(ctx context.Context, args []string) error { return a.policyTest(ctx, args[0], under) })}
	test.Flags().StringVar(&under, "policy", "", "operators, team, dev, or a file (default: the policy in force)")
	return noun("policy", "Who may do what, and who has to agree", show, diff, o.asks(propose), test, a.pinZoneCommand())
}

func (a *app) pinZoneCommand() *cobra.Command {
	var from, to string
	c := &cobra.Command{Use: "pin-zone ZONE", Short: "Write out a time zone's offsets, to stand under zones in a policy", Args: cobra.ExactArgs(1),
		Long: `Windows of a policy are in local time. Tables of time zones differ between
machines, so a policy carries the offsets that it relies on. Pin them anew, by a
change of the policy, before they run out.`,
		Example: "  quorate policy pin-zone Europe/Lisbon --to 2031-01-01",
		RunE: a.run(func(_ context.Context, args []string) error {
			begin, err := parseDate("from", from, time.Now())
			if err != nil {
				return err
			}
			end, err := parseDate("to", to, begin.AddDate(5, 0, 0))
			if err != nil {
				return err
			}
			text, err := policy.PinZone(args[0], begin, end)
			if err != nil {
				return fail(exitBadUse, "a zone is named as in the tz database, such as Asia/Kolkata", "%w", err)
			}
			if a.output == "json" {
				return a.print(map[string]string{"zone": args[0], "pinned": text}, nil)
			}
			_, err = fmt.Fprint(a.stdout, text)
			return err
		})}
	c.Flags().StringVar(&from, "from", "", "first day, as 2027-01-01 (default: today)")
	c.Flags().StringVar(&to, "to", "", "day on which the offsets run out (default: five years later)")
	return c
}

func parseDate(flag, text string, otherwise time.Time) (time.Time, error) {
	if text == "" {
		return otherwise.UTC().Truncate(24 * time.Hour), nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return t, fail(exitBadUse, "--"+flag+" takes a day such as 2027-01-01", "%q is no day", text)
	}
	return t, nil
}

func (a *app) policyShow(ctx context.Context, document bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	p, err := c.Policy(ctx)
	if err != nil {
		return err
	}
	if a.output == "json" {
		return a.print(p, nil)
	}
	if document {
		_, err = fmt.Fprint(a.stdout, p.Document)
	} else {
		_, err = fmt.Fprint(a.stdout, p.Means)
	}
	return err
}

// policyChanges is what a policy would change, for people and for programs.
type policyChanges struct {
	From    string          `json:"from"` // versions
	To      string          `json:"to"`
	Summary string          `json:"summary"`
	Changes []policy.Change `json:"changes"`
	// Misplaced says which shares are now where the new one would not have them.
	Misplaced []string `json:"misplaced"`
}

func (a *app) policyDiff(ctx context.Context, args []string) error {
	next, err := compileFile(args[0])
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	changes, _, err := compare(ctx, c, next)
	if err != nil {
		return err
	}
	if a.output == "json" {
		return a.print(changes, nil)
	}
	_, err = fmt.Fprint(a.stdout, changes.Summary)
	return err
}

func (a *app) policyPropose(ctx context.Context, file string, o askOptions) error {
	next, err := compileFile(file)
	if err != nil {
		return err
	}
	act := &action.Action{Rule: action.RulePolicy, Document: next.Document()}
	if a.compose != nil {
		return a.ask(ctx, act, o)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	changes, who, err := compare(ctx, c, next)
	if err != nil {
		return err
	}
	if changes.From == changes.To {
		return fail(exitFailed, "quorate policy show", "this policy is in force already")
	}
	if err := next.Lockout(who); err != nil {
		return fail(exitFailed, "change the tier that covers policy.change, or who may ask for it", "%s: %w", file, err)
	}
	o.details = changes.details()
	return a.ask(ctx, act, o)
}

// compileFile compiles a document; what is wrong with it stands with the
// file's name, line and column.
func compileFile(file string) (*policy.Policy, error) {
	doc, err := durable.ReadFile(durable.OS{}, file, wire.MaxPolicy)
	if err != nil {
		return nil, fail(exitBadUse, "quorate policy show --document prints one to start from", "read policy: %w", err)
	}
	p, err := policy.Compile(doc)
	return p, inFile(file, err)
}

// inFile puts a file's name before each error of a document.
func inFile(file string, err error) error {
	var errs policy.Errors
	if !errors.As(err, &errs) {
		return err
	}
	lines := make([]string, len(errs))
	for i, e := range errs {
		lines[i] = file + ":" + e.Error()
	}
	return fail(exitBadUse, "line and column stand before each", "the document does not compile\n%s", strings.Join(lines, "\n"))
}

// compare says what a policy would change for everybody and everything there
// is, and who everybody is.
func compare(ctx context.Context, c *opsapi.Client, next *policy.Policy) (*policyChanges, []policy.Principal, error) {
	now, err := c.Policy(ctx)
	if err != nil {
		return nil, nil, err
	}
	old, err := policy.Compile([]byte(now.Document))
	if err != nil {
		return nil, nil, fmt.Errorf("read the policy in force: %w (hint: use the same version of quorate as the node)", err)
	}
	keys, err := c.Keys(ctx)
	if err != nil {
		return nil, nil, err
	}
	st, err := c.Status(ctx)
	if err != nil {
		return nil, nil, err
	}
	var who []policy.Principal
	for _, p := range now.Principals {
		who = append(who, policy.Principal(p))
	}
	u := universe{principals: append(slices.Clone(who), policy.Principal{ID: "any timer", Kind: "timer"}), time: uint64(st.Time.UnixMilli())}
	u.onKeys(keys)
	for _, p := range now.Principals {
		if p.Kind != "node" {
			u.resources["member"] = append(u.resources["member"], policy.Resource{Kind: "member", ID: p.ID, Owner: p.Operator})
		}
	}
	from, to := old.Hash(), next.Hash()
	out := &policyChanges{From: hex.EncodeToString(from[:]), To: hex.EncodeToString(to[:]), Changes: u.diff(old, next)}
	out.Summary = policy.Summary(out.Changes)
	if out.Misplaced, err = misplaced(ctx, c, next, keys, now.Principals); err != nil {
		return nil, nil, err
	}
	if len(out.Misplaced) > 0 {
		out.Summary += "Contradicted by where shares are now, which it does not move (quorate ceremony open --mode reshare does)\n"
		for _, line := range out.Misplaced {
			out.Summary += "  " + line + "\n"
		}
	}
	return out, who, nil
}

// misplaced says which keys have shares outside the regions in which a policy
// lets them be, those that are alike together.
func misplaced(ctx context.Context, c *opsapi.Client, next *policy.Policy, keys []opsapi.Key, principals []opsapi.Principal) ([]string, error) {
	ceremonies, err := c.Ceremonies(ctx)
	if err != nil {
		return nil, err
	}
	regions := map[string]string{}
	for _, p := range principals {
		if p.Kind == "node" {
			regions[p.ID] = p.Region
		}
	}
	places := map[string][]ledger.Holder{}
	for _, one := range ceremonies {
		for _, s := range one.Seats {
			if s.Member {
				places[one.ID] = append(places[one.ID], ledger.Holder{Seat: s.Index, Name: s.Node, Region: regions[s.Node]})
			}
		}
	}
	out := []string{}
	count := map[string]int{}
	for _, k := range keys {
		why := ledger.Outside(next, policy.Resource{Kind: "key", Domain: k.Domain, Purpose: k.Purpose}, places[k.Ceremony])
		if why != "" {
			if count[why]++; count[why] == 1 {
				out = append(out, why)
			}
		}
	}
	for i, why := range out {
		out[i] = fmt.Sprintf("%s: %s", plural(count[why], "key"), why)
	}
	return out, nil
}

// universe is what two policies are compared over.
type universe struct {
	principals []policy.Principal
	resources  map[string][]policy.Resource // by kind
	time       uint64
}

// onKeys takes one key for all that policies cannot tell apart.
func (u *universe) onKeys(keys []opsapi.Key) {
	u.resources = map[string][]policy.Resource{
		"ceremony": {{Kind: "ceremony", ID: "any", Domain: string(action.DomainValidator)}},
		"policy":   {policy.PolicyResource()}, "timer": {{Kind: "timer", ID: "any"}}, "secret": {{Kind: "secret", ID: "any"}},
	}
	seen := map[policy.Resource]bool{}
	for _, k := range keys {
		r := policy.Resource{Kind: "key", Domain: k.Domain, Owner: k.Owner, Purpose: k.Purpose, State: k.State, Exercise: k.Exercise}
		if !seen[r] {
			seen[r] = true
			r.ID = k.PublicKey
			u.resources["key"] = append(u.resources["key"], r)
		}
	}
	if len(keys) == 0 {
		u.resources["key"] = []policy.Resource{{Kind: "key", ID: "any", Domain: string(action.DomainValidator), State: "active"}}
	}
}

// diff compares each action on the things that it is about.
func (u universe) diff(old, next *policy.Policy) []policy.Change {
	byKind := map[string][]string{}
	for _, name := range policy.Actions() {
		family, _, _ := strings.Cut(name, ".")
		if family == "sign" {
			family = "key"
		}
		byKind[family] = append(byKind[family], name)
	}
	changes := []policy.Change{}
	for i, kind := range []string{"key", "ceremony", "member", "policy", "timer", "secret"} {
		for _, c := range policy.Diff(old, next, policy.Universe{Principals: u.principals, Resources: u.resources[kind], Actions: byKind[kind], Time: u.time}) {
			if c.Effect != policy.Changed || i == 0 { // rules are compared each time
				changes = append(changes, c)
			}
		}
	}
	return changes
}

// policyChange replaces what a new policy means by what it changes, for who
// approves it. The old one is known by its version, which the request names.
func (s *speaker) policyChange(ctx context.Context, r verified) ([]opsapi.Detail, error) {
	next, err := policy.Compile(r.action.Document)
	if err != nil {
		return nil, err
	}
	changes, _, err := compare(ctx, s.client, next)
	if err != nil {
		return nil, err
	}
	if changes.From != r.Policy {
		return nil, fail(exitFailed, "quorate policy show", "the policy has changed since the request was opened, or the node shows another: nothing is signed")
	}
	return changes.details(), nil
}

// details stand in for the whole of what a policy means, for who signs.
func (c *policyChanges) details() []opsapi.Detail {
	return []opsapi.Detail{{Name: "version", Value: c.To}, {Name: "changes", Value: c.Summary}}
}

func (a *app) policyTest(ctx context.Context, file, under string) error {
	raw, err := durable.ReadFile(durable.OS{}, file, 1<<20)
	if err != nil {
		return fail(exitBadUse, "quorate policy test --help shows one", "read examples: %w", err)
	}
	examples, err := policy.ParseExamples(raw)
	if err != nil {
		return inFile(file, err)
	}
	p, err := a.policyUnder(ctx, under)
	if err != nil {
		return err
	}
	outcomes := policy.RunExamples(p, examples)
	failed := 0
	for _, o := range outcomes {
		if !o.Pass {
			failed++
		}
	}
	if err := a.print(outcomes, func(t *table) {
		for _, o := range outcomes {
			mark := "ok"
			if !o.Pass {
				mark = "WRONG"
			}
			t.row(mark, fmt.Sprintf("%s:%d", file, o.Line), o.Name, o.Got)
		}
	}); err != nil {
		return err
	}
	if failed > 0 {
		return fail(exitFailed, "the policy or the example is wrong: quorate policy show", "%d of %d answers are others than expected", failed, len(outcomes))
	}
	return nil
}

func (a *app) policyUnder(ctx context.Context, under string) (*policy.Policy, error) {
	if under != "" {
		doc, err := readPolicy(under)
		if err != nil {
			return nil, err
		}
		return policy.Compile(doc)
	}
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	now, err := c.Policy(ctx)
	if err != nil {
		return nil, err
	}
	return policy.Compile([]byte(now.Document))
}
