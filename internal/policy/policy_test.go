package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/quorate/quorate/internal/wire"
)

func compile(t testing.TB, doc string) *Policy {
	t.Helper()
	p, err := Compile([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func human(id, operator string, roles ...string) Principal {
	return Principal{ID: id, Kind: "human", Operator: operator, Region: "eu", Roles: roles}
}

var (
	alice = human("alice", "acme", "custodian")
	bob   = human("bob", "bolt", "custodian")
	carol = human("carol", "crab", "custodian")
	dora  = human("dora", "acme", "approver")
	odd   = human("odd", "acme", "observer", "auditor")
	node0 = Principal{ID: "node0", Kind: "node", Operator: "acme", Region: "eu"}
	clock = Principal{ID: "ledger", Kind: "timer"}
	app   = Principal{ID: "app", Kind: "workload", Operator: "acme"}

	key1 = Resource{Kind: "key", ID: "k1", Domain: "validator", Owner: "acme", Purpose: "pool", State: "active"}
)

func TestTeam(t *testing.T) {
	p := compile(t, string(Team()))
	for _, c := range []struct {
		verb   Verb
		action string
		who    Principal
		on     Resource
		denied string // "" if allowed
	}{
		{Request, "sign.voluntary_exit", alice, key1, ""},
		{Approve, "sign.voluntary_exit", dora, key1, ""},
		{Request, "sign.voluntary_exit", dora, key1, "no permit applies"},
		{Approve, "sign.voluntary_exit", odd, key1, "no permit applies"},
		{Request, "sign.voluntary_exit", node0, key1, "no permit applies"},
		{Execute, "sign.voluntary_exit", node0, key1, ""},
		{Execute, "sign.voluntary_exit", app, key1, "no permit applies"},
		{Execute, "timer.set", clock, Resource{Kind: "timer", ID: "t"}, ""},
		{Request, "key.freeze", carol, key1, ""},
		{Request, "ceremony.refresh", carol, Resource{Kind: "ceremony", ID: "c"}, ""},
		{Request, "ceremony.reshare", node0, Resource{Kind: "ceremony", ID: "c"}, "no permit applies"},
		{Request, "secret.get", alice, Resource{Kind: "secret", ID: "s"}, `forbidden by "no-secrets-yet" on line 36 (nobody has decided who may read secrets)`},
		{Approve, "member.remove", alice, Resource{Kind: "member", ID: "alice"}, `forbidden by "not-on-oneself"`},
		{Approve, "member.remove", alice, Resource{Kind: "member", ID: "bob"}, ""},
		{Veto, "member.remove", alice, Resource{Kind: "member", ID: "alice"}, `forbidden by "not-on-oneself"`},
		{Request, "sign.nothing", alice, key1, "no policy knows"},
		{"sign", "sign.deposit", alice, key1, "no policy knows"},
		{Request, "sign.deposit", Principal{Kind: "robot", ID: "r"}, key1, "principal of the kind"},
		{Request, "sign.deposit", alice, Resource{Kind: "door"}, "resource of the kind"},
	} {
		err := p.May(c.verb, Query{Action: c.action, Principal: c.who, Resource: c.on})
		if c.denied == "" && err != nil || c.denied != "" && (err == nil || !strings.Contains(err.Error(), c.denied)) {
			t.Errorf("%s %s by %s: %v, want %q", c.verb, c.action, c.who.ID, err, c.denied)
		}
		if err != nil && !errors.As(err, new(*Denied)) {
			t.Errorf("%v is no Denied", err)
		}
	}
	exit, err := p.Terms(Query{Action: "sign.voluntary_exit", Principal: alice, Resource: key1})
	if err != nil || exit.Approvals != 2 || exit.Operators != 2 || exit.Delay.Time != 3_600_000 || exit.Delay.Blocks != 60 {
		t.Errorf("an exit's terms: %+v, %v", exit, err)
	}
	for _, rule := range []string{"ceremony.refresh", "ceremony.reshare", "ceremony.handover"} {
		terms, err := p.Terms(Query{Action: rule, Principal: carol, Resource: Resource{Kind: "ceremony", ID: "c"}})
		if err != nil || terms.Tier != "new-keys" || terms.Approvals != 2 || terms.Operators != 2 {
			t.Errorf("%s: %+v, %v", rule, terms, err)
		}
	}
	if exit.Met([]Principal{alice, dora}) || exit.Met([]Principal{alice, alice}) || !exit.Met([]Principal{alice, bob}) {
		t.Error("an exit needs two humans of two operators")
	}
	if freeze, err := p.Terms(Query{Action: "key.freeze", Principal: alice, Resource: key1}); err != nil || !freeze.Met(nil) || freeze.Delay != (Delay{}) {
		t.Errorf("a freeze waits for somebody: %+v, %v", freeze, err)
	}
	if _, err := p.Terms(Query{Action: "secret.get", Principal: alice}); err == nil {
		t.Error("an action in no tier has terms")
	}
	if err := p.Lockout([]Principal{alice, bob, carol}); err != nil {
		t.Error(err)
	}
	if err := p.Lockout([]Principal{alice, bob}); err != nil {
		t.Errorf("one lost key of three locks everyone out: %v", err)
	}
	if err := p.Lockout([]Principal{alice, dora, node0}); err == nil {
		t.Error("one operator is enough to govern")
	}
}

func TestDev(t *testing.T) {
	p := compile(t, string(Dev()))
	for _, a := range []string{"ceremony.keygen", "ceremony.import", "sign.voluntary_exit", "sign.deposit", "key.settings", "key.archive"} {
		q := Query{Action: a, Principal: node0, Resource: key1}
		if err := p.May(Request, q); err != nil {
			t.Error(err)
		}
		if terms, err := p.Terms(q); err != nil || !terms.Met(nil) {
			t.Errorf("%s waits: %v", a, err)
		}
		q.Principal = dora
		if p.May(Request, q) == nil {
			t.Errorf("an approver may request %s", a)
		}
	}
	if err := p.Lockout([]Principal{node0}); err != nil {
		t.Error(err)
	}
}

// A forbid outweighs permits, wherever it stands, and time counts in both.
func TestTime(t *testing.T) {
	p := compile(t, `version: 1
permissions: |
  permit (principal == Human::"alice", action == Action::"request key.freeze", resource)
    when { context.time < datetime("2027-01-01T00:00:00Z") };
  permit (principal == Human::"bob", action, resource);
  forbid (principal, action, resource) when { context.time >= datetime("2027-06-01") };
tiers: [{name: all, actions: "*", approvals: 0}]
`)
	const newYear, june = 1798761600000, 1811808000000
	for _, c := range []struct {
		who  Principal
		at   uint64
		want bool
	}{{alice, 0, true}, {alice, newYear - 1, true}, {alice, newYear, false}, {bob, newYear, true}, {bob, june - 1, true}, {bob, june, false}, {bob, 1<<64 - 1, false}} {
		err := p.May(Request, Query{Action: "key.freeze", Principal: c.who, Resource: key1, Time: c.at})
		if (err == nil) != c.want {
			t.Errorf("%s at %d: %v", c.who.ID, c.at, err)
		}
	}
}

// The first tier that matches counts; what cannot be judged is no.
func TestTermsOrder(t *testing.T) {
	p := compile(t, `version: 1
permissions: |
  permit (principal, action, resource);
tiers:
  - {name: drill, actions: [sign.*], when: resource.exercise, approvals: 0}
  - {name: large, actions: [sign.deposit], when: 'int(params.amount) > 32', approvals: 3, approvers: [custodian]}
  - {name: rest, actions: [sign.*], approvals: 1, approvers: [custodian]}
`)
	for _, c := range []struct {
		action   string
		exercise bool
		params   map[string]string
		want     string // tier, or part of the error
	}{
		{"sign.deposit", true, nil, "drill"},
		{"sign.deposit", false, map[string]string{"amount": "33"}, "large"},
		{"sign.deposit", false, map[string]string{"amount": "32"}, "rest"},
		{"sign.deposit", false, map[string]string{"amount": "many"}, `tier "large" on line 6 cannot be judged`},
		{"sign.deposit", false, nil, `tier "large" on line 6 cannot be judged: no such key: amount`},
		{"sign.voluntary_exit", false, nil, "rest"},
		{"key.freeze", false, nil, "no tier of the policy covers it"},
	} {
		terms, err := p.Terms(Query{Action: c.action, Principal: alice, Resource: Resource{Kind: "key", Exercise: c.exercise}, Params: c.params})
		if got := terms.Tier + fmt.Sprint(err); !strings.Contains(got, c.want) {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func randomQuery(r *rand.Rand) (Verb, Query) {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	q := Query{Action: pick("sign.voluntary_exit", "sign.deposit", "key.freeze", "key.archive", "ceremony.refresh", "member.remove", "policy.change", "secret.get"),
		Principal: Principal{ID: pick("alice", "bob", "r2", ""), Kind: pick("human", "node", "workload", "timer"), Operator: pick("acme", "bolt", ""), Region: pick("eu", "us"), Roles: []string{pick(memberRoles...), pick(memberRoles...)}},
		Resource:  Resource{Kind: pick("key", "member", "policy", "secret", "timer"), ID: pick("alice", "k1"), Purpose: pick("cold", "pool", ""), State: pick("active", "frozen"), Owner: pick("acme", "alice"), Exercise: r.IntN(2) == 0},
		Time:      r.Uint64N(4_000_000_000_000),
	}
	if r.IntN(2) == 0 {
		q.Params = map[string]string{"amount": pick("1", "40", "x", "")}
	}
	return Verbs()[r.IntN(4)], q
}

// Many goroutines with policies of their own, or one shared, agree to the letter.
func TestDeterminism(t *testing.T) {
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	shared := compile(t, string(example))
	answers := make([]string, 8)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			p := shared
			if i%2 == 0 {
				p, _ = Compile(example)
			}
			var out strings.Builder
			r := rand.New(rand.NewPCG(1, 2))
			for range 3000 {
				v, q := randomQuery(r)
				terms, err := p.Terms(q)
				window := terms.Window
				terms.Window = nil
				at, ok := window.OpensAt(q.Time)
				fmt.Fprintln(&out, p.May(v, q), terms, err, at, ok)
			}
			answers[i] = out.String() + p.Describe()
		})
	}
	all.Wait()
	for i, a := range answers {
		if a != answers[0] {
			t.Fatalf("goroutine %d answers differently", i)
		}
	}
	if !strings.Contains(answers[0], "<nil> At once") || !strings.Contains(answers[0], "forbidden by") {
		t.Error("the queries exercise nothing")
	}
}

// What the example decides is pinned: another answer, be it of a newer Cedar
// or CEL or of another processor, would part the replicas. Words may change.
func TestDecisionsPinned(t *testing.T) {
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, all := compile(t, string(example)), sha256.New()
	r := rand.New(rand.NewPCG(13, 14))
	for range 3000 {
		v, q := randomQuery(r)
		terms, err := p.Terms(q)
		at, ok := terms.OpensAt(q.Time)
		fmt.Fprintln(all, p.May(v, q) == nil, err == nil, terms.Tier, at, ok)
	}
	const want = "2ef7307540cc256c89a228620df18ace"
	if got := hex.EncodeToString(all.Sum(nil)[:16]); got != want {
		t.Errorf("the decisions' digest is %s, was %s: a change of decisions needs a new app version", got, want)
	}
}

// The index by action answers as all statements together do.
func TestIndex(t *testing.T) {
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := compile(t, string(example))
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		v, q := randomQuery(r)
		by := p.permissions.byAction
		all := make(map[types.EntityUID]statements, 1)
		all[leafAction(v, q.Action)] = p.permissions.all
		a, b := p.permissions.decide(by, v, &q), p.permissions.decide(all, v, &q)
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("%s %+v: %v with the index, %v without", v, q, a, b)
		}
	}
}

func BenchmarkMayAndTerms(b *testing.B) {
	var doc strings.Builder
	doc.WriteString("version: 1\npermissions: |\n")
	for i := range 20 {
		effect := "permit"
		if i%4 == 3 {
			effect = "forbid"
		}
		fmt.Fprintf(&doc, "  %s (principal in Role::\"custodian\", action in Action::\"sign.*\", resource is Key)\n    when { resource.purpose like \"pool%d*\" && principal.operator != \"bad\" };\n", effect, i)
	}
	doc.WriteString("tiers:\n")
	for i := range 10 {
		fmt.Fprintf(&doc, "  - {name: t%d, actions: sign.*, when: 'resource.purpose == \"p%d\" && has(params.amount)', approvals: 0}\n", i, i)
	}
	doc.WriteString("  - {name: rest, actions: '*', approvals: 0}\n")
	p := compile(b, doc.String())
	q := Query{Action: "sign.voluntary_exit", Principal: alice, Resource: key1}
	q.Resource.Purpose = "pool16"
	b.ReportAllocs()
	for b.Loop() {
		if err := p.May(Request, q); err != nil {
			b.Fatal(err)
		}
		if _, err := p.Terms(q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompileTeam(b *testing.B) {
	for b.Loop() {
		compile(b, string(Team()))
	}
}

func TestHash(t *testing.T) {
	p := compile(t, string(Team()))
	if p.Hash() != wire.Hash(wire.TagPolicy, Team()) || p.Hash() == compile(t, string(Team())+"\n").Hash() {
		t.Error("the hash does not name the document's bytes")
	}
}
