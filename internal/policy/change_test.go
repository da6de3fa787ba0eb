package policy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// randomPolicy writes a small document with a bit of everything.
func randomPolicy(r *rand.Rand) string {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	var doc strings.Builder
	doc.WriteString(head + "permissions: |\n")
	for range 1 + r.IntN(5) {
		fmt.Fprintf(&doc, "  %s (%s, %s, resource%s)%s;\n", pick("permit", "permit", "permit", "forbid"),
			pick("principal", `principal in Role::"custodian"`, `principal == Human::"a"`, "principal is Node", `principal in Role::"approver"`),
			pick("action", `action in Action::"policy.*"`, `action in Action::"approve"`, `action in [Action::"request", Action::"execute"]`, `action == Action::"request policy.change"`),
			pick("", "", " is Policy", " is Key"),
			pick("", "", "", ` when { context.time < datetime("2027-01-01") }`, ` unless { principal.operator == "x" }`, ` when { resource.purpose == "cold" }`))
	}
	doc.WriteString("tiers:\n")
	for i := range 1 + r.IntN(3) {
		approvals := r.IntN(4)
		fmt.Fprintf(&doc, "  - {name: t%d, actions: [%s], approvals: %d", i, pick("'*'", "policy.change", "sign.*", "key.freeze"), approvals)
		if i < 2 {
			fmt.Fprintf(&doc, ", when: '%s'", pick(`principal.operator == "x"`, "resource.exercise", `action != "key.freeze"`, "true"))
		}
		if approvals > 0 {
			fmt.Fprintf(&doc, ", operators: %d, regions: %d, approvers: [%s], self_approval: %s", r.IntN(approvals+1), r.IntN(approvals+1),
				pick("custodian", "approver", "custodian, approver"), pick("true", "false"))
			doc.WriteString(pick("", "", ", deadline: 3d", ", deadline: 5d") + pick("", ", escalate: {after: 1d, to: [auditor, member:b]}", ", escalate: {after: 2d, to: [auditor]}"))
			doc.WriteString(pick("", "", ", veto: [custodian]", ", veto: [auditor]"))
		}
		doc.WriteString(pick("", "", ", delay: {time: 1h, blocks: 5}", ", delay: {time: 2h, blocks: 4}"))
		doc.WriteString(pick("", "", ", window: {zone: UTC, days: mon-fri}", ", window: {zone: UTC, days: mon-thu, hours: 08:00-16:00}", ", window: {zone: Z}") + "}\n")
	}
	doc.WriteString("zones: {Z: {until: 2030-01-01, offsets: [{utc: +01:00}]}}\n")
	return doc.String()
}

func randomPair(r *rand.Rand) (a, b *Policy) {
	for a == nil || b == nil { // some have tiers that are never reached
		a, _ = Compile([]byte(randomPolicy(r)))
		b, _ = Compile([]byte(randomPolicy(r)))
	}
	return a, b
}

var (
	people = []Principal{
		{ID: "a", Kind: "human", Operator: "x", Region: "eu", Roles: []string{"custodian"}},
		{ID: "b", Kind: "human", Operator: "y", Region: "us", Roles: []string{"custodian", "approver"}},
		{ID: "c", Kind: "human", Operator: "y", Region: "eu", Roles: []string{"approver", "auditor"}},
		{ID: "n", Kind: "node", Operator: "x", Region: "eu"},
	}
	things = []Resource{PolicyResource(), {Kind: "key", ID: "k", Purpose: "cold"}, {Kind: "key", ID: "d", Exercise: true}}
)

// scenario is one way in which a request could go.
type scenario struct {
	approvals map[int]uint64 // who approves, and how long after the request
	delay     Delay
	minute    uint64 // of a week in which it is executed
	veto      int    // who vetoes, -1: nobody
}

func randomScenario(r *rand.Rand) scenario {
	s := scenario{approvals: map[int]uint64{}, veto: r.IntN(len(people)*3) - len(people)*2}
	for i := range people {
		if r.IntN(3) > 0 {
			s.approvals[i] = r.Uint64N(6 * 24 * 3_600_000)
		}
	}
	s.delay = Delay{r.Uint64N(4) * 3_600_000, r.Uint64N(7)}
	s.minute = 1_800_000_000_000/60_000 + r.Uint64N(7*24*60)
	return s
}

// passes plays a scenario under terms, as simply as can be.
func (s scenario) passes(t *Terms, requester Principal) bool {
	ids, operators, regions := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, age := range s.approvals {
		if p := people[i]; (t.Deadline == 0 || age <= t.Deadline) && t.Counts(p, requester.ID, age) {
			ids[p.ID], operators[p.Operator], regions[p.Region] = true, true, true
		}
	}
	if s.veto >= 0 && t.MayVeto(people[s.veto]) || len(ids) < t.Approvals || len(operators) < t.Operators || len(regions) < t.Regions {
		return false
	}
	opens, ok := t.OpensAt(s.minute * 60_000)
	return s.delay.Time >= t.Delay.Time && s.delay.Blocks >= t.Delay.Blocks && ok && opens == s.minute*60_000
}

// Diff finds exactly what brute force finds, and a request that it does not
// call harder (easier) goes through in every scenario in which it did (does).
func TestDiff(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	found := map[Effect]int{}
	for range 40 {
		before, after := randomPair(r)
		type key struct {
			Verb
			action, who, on string
		}
		got := map[key]map[Effect]bool{}
		actions := []string{"policy.change", "sign.deposit", "key.freeze"}
		for _, c := range Diff(before, after, Universe{Principals: people, Resources: things, Actions: actions, Time: 1_790_000_000_000}) {
			k := key{c.Verb, c.Action, c.Principal.ID, c.Resource.ID}
			if got[k] == nil {
				got[k] = map[Effect]bool{}
			}
			if got[k][c.Effect] {
				t.Fatalf("%v stands twice", c)
			}
			got[k][c.Effect] = true
			found[c.Effect]++
		}
		for _, v := range Verbs() {
			for _, a := range actions {
				for _, who := range people {
					for _, on := range things {
						q := Query{Action: a, Principal: who, Resource: on, Time: 1_790_000_000_000}
						was, is := before.May(v, q) == nil, after.May(v, q) == nil
						var x, y Terms
						if v == Request {
							var err1, err2 error
							x, err1 = before.Terms(q)
							y, err2 = after.Terms(q)
							was, is = was && err1 == nil, is && err2 == nil
						}
						effects := got[key{v, a, who.ID, on.ID}]
						if effects[Allowed] != (!was && is) || effects[Forbidden] != (was && !is) {
							t.Fatalf("%s %s by %s on %s: was %t, is %t, but %v\n%s\n%s", v, a, who.ID, on.ID, was, is, effects, before.doc, after.doc)
						}
						if !was || !is || v != Request {
							if effects[Easier] || effects[Harder] {
								t.Fatalf("what cannot be asked for twice is easier or harder: %v", effects)
							}
							continue
						}
						for range 40 {
							s := randomScenario(r)
							p, n := s.passes(&x, who), s.passes(&y, who)
							if p && !n && !effects[Harder] || n && !p && !effects[Easier] {
								t.Fatalf("%+v: passed %t, passes %t, but %v\n%s\n%s", s, p, n, effects, x, y)
							}
						}
					}
				}
			}
		}
		if same := Diff(before, before, Universe{Principals: people, Resources: things}); same != nil {
			t.Fatalf("a policy differs from itself: %v", same)
		}
	}
	for _, e := range []Effect{Allowed, Forbidden, Easier, Harder} {
		if found[e] < 20 {
			t.Errorf("only %d changes are %s", found[e], e)
		}
	}
}

func TestSummary(t *testing.T) {
	old := string(Team())
	changed := strings.NewReplacer("    approvals: 2\n    operators: 2\n    approvers: [custodian, approver]\n    self_approval: true\n    delay",
		"    approvals: 3\n    operators: 2\n    approvers: [custodian, approver]\n    self_approval: true\n    delay",
		"delay: {time: 24h, blocks: 600}", "delay: {time: 1h, blocks: 600}",
		"action in Action::\"secret.*\"", "action in [Action::\"secret.put\", Action::\"secret.get\"]",
		"principal in Role::\"approver\",\n    action in [Action::\"approve\", Action::\"veto\"]", "principal in Role::\"approver\",\n    action in Action::\"approve\"",
		"every: 180d", "every: 90d").Replace(old)
	got := Summary(Diff(compile(t, old), compile(t, changed), Universe{
		Principals: []Principal{alice, bob, dora}, Resources: []Resource{key1, PolicyResource()},
		Actions: []string{"sign.voluntary_exit", "policy.change", "secret.get", "secret.rotate"}}))
	want := `Becomes allowed
  approve secret.rotate by alice, bob and dora on key k1 and policy policy
  veto secret.rotate by alice and bob on key k1 and policy policy
  execute secret.rotate by alice, bob and dora on key k1 and policy policy
Becomes forbidden
  veto sign.voluntary_exit by dora on key k1 and policy policy
  veto policy.change by dora on key k1 and policy policy
Becomes easier
  request policy.change by alice and bob on key k1 and policy policy: a delay of 1 hour in place of 1 day
Becomes harder
  request sign.voluntary_exit by alice and bob on key k1 and policy policy: 3 approvals in place of 2
Rules
  no longer: Keys of the domain "validator" are rotated every 180 days, and overdue 30 days later.
  now: Keys of the domain "validator" are rotated every 90 days, and overdue 30 days later.
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Lockout agrees with trying everyone as requester, every set of approvers,
// every executor, at times before and after any statement's.
func TestLockout(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	locked, open := 0, 0
	for range 500 {
		p, err := Compile([]byte(randomPolicy(r)))
		if err != nil {
			continue
		}
		var members []Principal
		for _, m := range people {
			if r.IntN(4) > 0 {
				members = append(members, m)
			}
		}
		// At every time there has to be a way, the same at all times.
		way := false
		for _, req := range members {
			for set := range 1 << len(members) {
				for _, exec := range members {
					always := true
					for _, at := range []uint64{0, 1_798_761_599_999, 1_798_761_600_000, maxTime} {
						always = always && changeable(p, req, exec, members, set, at)
					}
					way = way || always
				}
			}
		}
		err = p.Lockout(members)
		if (err == nil) != way {
			t.Fatalf("a way: %t, but %v\n%v\n%s", way, err, members, p.doc)
		}
		if locked++; way {
			open++
			locked--
		}
	}
	if locked < 40 || open < 40 {
		t.Errorf("%d locked, %d open: the policies exercise too little", locked, open)
	}
}

func changeable(p *Policy, req, exec Principal, members []Principal, set int, at uint64) bool {
	ask := func(v Verb, who Principal) bool {
		return p.May(v, Query{Action: "policy.change", Principal: who, Resource: PolicyResource(), Time: at}) == nil
	}
	terms, err := p.Terms(Query{Action: "policy.change", Principal: req, Resource: PolicyResource(), Time: at})
	if err != nil || !ask(Request, req) || !ask(Execute, exec) {
		return false
	}
	operators, regions, n := map[string]bool{}, map[string]bool{}, 0
	for i, m := range members {
		if set>>i&1 == 0 {
			continue
		}
		last := uint64(1 << 60) // as late as the deadline lets it be
		if terms.Deadline > 0 {
			last = terms.Deadline
		}
		if !ask(Approve, m) || !terms.Counts(m, req.ID, last) {
			return false
		}
		operators[m.Operator], regions[m.Region] = true, true
		n++
	}
	if terms.Window != nil {
		if _, ok := terms.OpensAt(maxTime - 8*dayMS); !ok {
			return false
		}
	}
	return n >= terms.Approvals && len(operators) >= terms.Operators && len(regions) >= terms.Regions
}

func TestLockoutReasons(t *testing.T) {
	everyone := "permissions: |\n  permit (principal, action, resource);\n"
	for name, c := range map[string]struct{ doc, says string }{
		"no permit":     {head + "permissions: |\n  permit (principal is Node, action, resource);\n" + tiers, "permit some member to request policy.change"},
		"time runs out": {head + "permissions: |\n  permit (principal, action, resource) when { context.time < datetime(\"2999-01-01\") };\n" + tiers, "at any time; permit some member"},
		"no tier":       {head + everyone + "tiers:\n  - {name: s, actions: [sign.*], approvals: 0}\n", "add a tier for policy.change"},
		"too many":      {head + everyone + "tiers:\n  - {name: g, actions: ['*'], approvals: 3, approvers: [custodian]}\n", "asks for 3 approvals, and when a asks, only b (y, us) may and would count; lower the numbers"},
		"one operator":  {head + everyone + "tiers:\n  - {name: g, actions: ['*'], approvals: 1, operators: 1, approvers: [auditor]}\n", "only nobody"},
		"no executor":   {head + "permissions: |\n  permit (principal, action in [Action::\"request\", Action::\"approve\"], resource);\n" + tiers, "nobody may execute policy.change"},
		"window ends":   {head + everyone + "tiers:\n  - {name: g, actions: ['*'], approvals: 0, window: {zone: Z}}\nzones: {Z: {until: 2030-01-01, offsets: [{utc: +01:00}]}}\n", "pinned until 2030-01-01T00:00:00Z only; use UTC"},
	} {
		if err := compile(t, c.doc).Lockout(people[:2]); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	crowd := make([]Principal, 9000)
	for i := range crowd {
		crowd[i] = human(fmt.Sprint("m", i), "x", "custodian")
	}
	start := time.Now()
	if err := compile(t, head+everyone+"tiers:\n  - {name: g, actions: ['*'], approvals: 2, operators: 2, approvers: [custodian]}\n").Lockout(crowd); err == nil {
		t.Error("one operator is two")
	}
	if took := time.Since(start); took > time.Minute { // counted anew for each it is nine
		t.Errorf("a crowd takes %v", took)
	}
	if err := compile(t, head+everyone+tiers).Lockout(nil); err == nil {
		t.Error("nobody is enough")
	}
}

func TestExamples(t *testing.T) {
	doc, err := os.ReadFile("testdata/questions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := ParseExamples(doc)
	if err != nil || len(examples) < 8 {
		t.Fatal(len(examples), err)
	}
	policy, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := compile(t, string(policy))
	for _, o := range RunExamples(p, examples) {
		if !o.Pass {
			t.Errorf("line %d, %s: %s", o.Line, o.Name, o.Got)
		}
		o.Example.Allow = !o.Allow
		if RunExamples(p, []Example{o.Example})[0].Pass {
			t.Errorf("line %d, %s: passes with either answer", o.Line, o.Name)
		}
	}
	for bad, says := range map[string]string{
		"examples:\n  - {name: a}\n": "2:5: an example lacks the field \"verb\"",
		"examples:\n  - {name: a, verb: do, action: sign.deposit, by: {kind: human}, on: {kind: key}, expect: allowed}\n":      "2:33: no policy knows",
		"examples:\n  - {name: a, verb: veto, action: sign.deposit, by: {kind: human}, on: {kind: key}, expect: maybe}\n":      "2:93: expect must be",
		"examples:\n  - {name: a, verb: veto, action: sign.deposit, by: {kind: human, roles: [x]}, on: {}, expect: allowed}\n": "2:75: no role",
	} {
		if _, err := ParseExamples([]byte(bad)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func TestRules(t *testing.T) {
	doc, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := compile(t, string(doc))
	if r, ok := p.Rotation(Resource{Kind: "secret", Purpose: "api-token"}); !ok || r.Every != 30*dayMS {
		t.Errorf("%v, %t", r, ok)
	}
	if r, ok := p.Rotation(Resource{Kind: "secret", Purpose: "ap"}); ok {
		t.Errorf("an api-* rule takes ap: %v", r)
	}
	if r, ok := p.Retention("events"); !ok || r.Keep != 3650*dayMS {
		t.Errorf("%v, %t", r, ok)
	}
	if _, ok := p.Retention("usage"); ok {
		t.Error("usage lapses, though nothing says so")
	}
	if r, ok := p.Residency(Resource{Kind: "secret", Purpose: "gdpr-x"}); !ok || !slices.Equal(r.Regions, []string{"eu", "ch"}) {
		t.Errorf("%v, %t", r, ok)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(Team())
	f.Add(Dev())
	for _, name := range []string{"example.yaml", "questions.yaml"} {
		doc, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	r := rand.New(rand.NewPCG(11, 12))
	for range 8 {
		f.Add([]byte(randomPolicy(r)))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := Compile(doc)
		again, err2 := Compile(doc)
		if fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("two answers: %v, %v", err, err2)
		}
		if err != nil {
			list := err.(Errors)
			for _, e := range list {
				if lines := strings.Count(string(doc), "\n") + 1; e.Line < 1 || e.Column < 1 || e.Line > lines || e.Message == "" ||
					strings.Contains(e.Message, "stumble") {
					t.Fatalf("%v in a document of %d lines", e, lines)
				}
			}
			return
		}
		if p.Describe() != again.Describe() {
			t.Fatal("described in two ways")
		}
		if Diff(p, again, Universe{Principals: people[:2], Resources: things[:1], Actions: []string{"policy.change"}}) != nil {
			t.Fatal("differs from itself")
		}
		_ = p.Lockout(people)
		for _, w := range slices.Collect(maps.Values(p.zones)) {
			terms := Terms{Window: &Window{w, Week{Days: [7]bool{true}, To: dayMS}}}
			if at, ok := terms.OpensAt(5); ok {
				if again, ok := terms.OpensAt(at); !ok || at != again {
					t.Fatalf("opens at %d, then at %d", at, again)
				}
			}
		}
	})
}
