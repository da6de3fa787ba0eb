package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/wire"
)

// Parts of documents that are right, to put wrong ones between.
const (
	head  = "version: 1\n"
	perms = "permissions: |\n  permit (principal, action, resource);\n"
	tiers = "tiers:\n  - {name: all, actions: ['*'], approvals: 0}\n"
)

// cedarDoc puts one Cedar text on lines 3 and following, two characters in.
func cedarDoc(text string) string {
	return head + "permissions: |\n  " + strings.ReplaceAll(text, "\n", "\n  ") + "\n" + tiers
}

// tierDoc puts fields of one tier on line 6 and following, four characters in.
func tierDoc(fields string) string {
	return head + perms + "tiers:\n  - name: t\n    " + strings.ReplaceAll(fields, "\n", "\n    ") + "\n"
}

func when(cel string) string { return tierDoc("actions: ['*']\napprovals: 0\nwhen: " + cel) }

func TestBadDocuments(t *testing.T) {
	const voters = "actions: ['*']\napprovals: 2\napprovers: [custodian]\n"
	for _, c := range []struct {
		name, doc, at string
		says          string // part of the message: what to do
	}{
		// YAML
		{"empty", "", "1:1", `begin with "version: 1"`},
		{"comment only", "# nothing\n", "1:1", `begin with "version: 1"`},
		{"a list", "- a\n", "1:1", "write the fields version, name"},
		{"tab", head + "\tx: 1\n", "2:2", "indent with spaces"},
		{"unclosed bracket", head + "tiers: [a, b\n", "2:1", "missing bracket"},
		{"colon in a text", head + "name: a: b\n", "2:1", "quote a text that holds a colon"},
		{"two documents", head + perms + tiers + "---\na: b\n", "6:1", "keep one"},
		{"anchor", head + "name: &a x\n", "2:7", "delete it"},
		{"alias", head + "zones: {a: &x {}}\nname: *x\n", "2:12", "delete it"},
		{"merge key", head + perms + tiers + "<<: {name: x}\n", "6:1", "has no field \"<<\""},
		{"tag", head + "name: !!str x\n", "2:7", "delete it"},
		{"not UTF-8", head + "name: \"\xff\"\n", "2:8", "save the document as UTF-8"},
		{"carriage return", "version: 1\r\n", "1:11", "Unix line ends"},
		{"right-to-left override", head + "name: a\u202eb\n", "2:8", "invisible character U+202E: delete it"},
		{"zero-width space", head + "name: a\u200bb\n", "2:8", "U+200B"},
		{"too long", head + strings.Repeat("#", wire.MaxPolicy), "1:1", "shorten it"},
		// fields
		{"no version", perms + tiers, "1:1", "add \"version: 1\""},
		{"other version", "version: 2\n", "1:10", "version must be 1"},
		{"unknown field", head + perms + tiers + "zone: {}\n", "6:1", `did you mean "zones"?`},
		{"field twice", head + perms + tiers + "version: 1\n", "6:1", "keep one (the first is on line 1)"},
		{"no permissions", head + tiers, "1:1", "without one nobody may do anything"},
		{"no tiers", head + perms, "1:1", "an action in no tier is never granted"},
		{"permissions in quotes", head + "permissions: 'permit (principal, action, resource);'\n" + tiers, "2:14", `write "permissions: |"`},
		{"permissions folded", head + "permissions: >\n  permit (principal, action, resource);\n" + tiers, "2:14", `write "permissions: |"`},
		{"permissions empty", head + "permissions: |\n\n" + tiers, "2:14", `write "permissions: |"`},
		// Cedar
		{"no statement", cedarDoc("// nothing"), "2:14", "write a permit"},
		{"no semicolon", cedarDoc("permit (principal, action, resource)\nforbid (principal, action, resource);"), "4:3", "semicolon"},
		{"no effect", cedarDoc("allow (principal, action, resource);"), "3:3", "begin a statement with permit or forbid"},
		{"bad token", cedarDoc("permit (principal, action, resource) when { principal.id = \"a\" };"), "3:60", "a statement reads"},
		{"open text", cedarDoc("permit (principal == Human::\"a, action, resource);"), "3:31", "close the quotation mark"},
		{"unknown action", cedarDoc("permit (principal,\n  action == Action::\"request sign.exit\", resource);"), "4:15", "no action is named"},
		{"misspelt group", cedarDoc("permit (principal, action in [Action::\"approve\", Action::\"sing.*\"], resource);"), "3:52", `did you mean "sign.*"?`},
		{"group with ==", cedarDoc("permit (principal, action == Action::\"sign.*\", resource);"), "3:32", `write "action in"`},
		{"no action", cedarDoc("permit (principal, action in Role::\"custodian\", resource);"), "3:32", "is not an action"},
		{"unknown role", cedarDoc("permit (principal in Role::\"custodain\", action, resource);"), "3:24", `did you mean "custodian"?`},
		{"role as person", cedarDoc("permit (principal == Role::\"custodian\", action, resource);"), "3:24", "use one of Human, Workload, Node, Clock"},
		{"person for object", cedarDoc("permit (principal, action, resource is Human);"), "3:42", "use one of Key, Member"},
		{"object groups", cedarDoc("permit (principal, action, resource in Key::\"k\");"), "3:30", "resource is Key"},
		{"unknown type", cedarDoc("permit (principal is User, action, resource);"), "3:24", "no principal is of the type User"},
		{"unknown attribute", cedarDoc("permit (principal, action, resource)\n  when { resource.purpose == \"a\" && resource.purpos == \"b\" };"), "4:39", `did you mean "purpose"?`},
		{"attribute of the other", cedarDoc("permit (principal, action, resource) when { principal.purpose == \"a\" };"), "3:47", `principal has no attribute "purpose"`},
		{"types differ", cedarDoc("permit (principal, action, resource) when { resource.exercise == \"yes\" };"), "3:68", "a yes or no is never equal to a text"},
		{"not a condition", cedarDoc("permit (principal, action, resource) when { principal.id };"), "3:47", "expected a yes or no, found a text"},
		{"text in list", cedarDoc("permit (principal, action, resource) when { principal.id in [\"a\"] };"), "3:60", ".contains(…)"},
		{"number", cedarDoc("permit (principal, action, resource) when { 5 == 5 };"), "3:47", "under a tier's when"},
		{"arithmetic", cedarDoc("permit (principal, action, resource) when { 1 + 1 == 2 };"), "3:49", "under a tier's when"},
		{"if", cedarDoc("permit (principal, action, resource) when { if true then true else false };"), "3:47", "write two statements"},
		{"has", cedarDoc("permit (principal, action, resource) when { principal has region };"), "3:57", "has is not needed"},
		{"bad time", cedarDoc("permit (principal, action, resource) when { context.time < datetime(\"March\") };"), "3:71", "write datetime("},
		{"other function", cedarDoc("permit (principal, action, resource) when { decimal(\"1.0\") == decimal(\"1.0\") };"), "3:47", "no function decimal"},
		{"principal and resource", cedarDoc("permit (principal, action, resource) when { principal == resource };"), "3:30", "compare principal.id with resource.id"},
		{"annotation", cedarDoc("@name(\"x\")\npermit (principal, action, resource);"), "3:3", "use @id or @reason"},
		{"id twice", cedarDoc("@id(\"x\")\npermit (principal, action, resource);\n@id(\"x\")\nforbid (principal, action, resource);"), "5:4", "choose another"},
		{"deep", cedarDoc("permit (principal, action, resource) when { " + strings.Repeat("(", 40) + "true" + strings.Repeat(")", 40) + " };"), "3:78", "split the statement"},
		{"negations", cedarDoc("permit (principal, action, resource) when { !!!!!true };"), "3:51", "split the statement"},
		{"many parts", cedarDoc("permit (principal, action, resource) when { true" + strings.Repeat(" && true", 600) + " };"), "3:3", "split it"},
		{"template", cedarDoc("permit (principal == ?principal, action, resource);"), "3:24", "write the statement out"},
		{"many statements", cedarDoc(strings.Repeat("permit(principal,action,resource);\n", 257)), "2:14", "merge some"},
		// tiers
		{"tiers empty", head + perms + "tiers: []\n", "4:8", "one \"- name: …\" for each"},
		{"tier without name", head + perms + "tiers:\n  - actions: ['*']\n", "5:5", "a short name"},
		{"tier without actions", tierDoc("approvals: 0"), "5:5", "such as [sign.*]"},
		{"tier without approvals", tierDoc("actions: ['*']"), "5:5", "0 if none are needed"},
		{"tier's name", strings.Replace(tierDoc("actions: ['*']\napprovals: 0"), "name: t", "name: My Tier", 1), "5:11", "lower-case letter"},
		{"misspelt action", tierDoc("actions: [sign.voluntary_exti]\napprovals: 0"), "6:15", `did you mean "sign.voluntary_exit"?`},
		{"name twice", head + perms + "tiers:\n  - {name: a, actions: [sign.*], approvals: 0}\n  - {name: a, actions: [key.*], approvals: 0}\n", "6:5", "choose another name"},
		{"never reached", head + perms + "tiers:\n  - {name: a, actions: [sign.*], approvals: 0}\n  - {name: b, actions: [sign.deposit], approvals: 0}\n", "6:5", `move it above "a"`},
		{"negative", tierDoc("actions: ['*']\napprovals: -1"), "7:16", "digits only"},
		{"octal", tierDoc("actions: ['*']\napprovals: 010"), "7:16", "digits only"},
		{"nobody to approve", tierDoc("actions: ['*']\napprovals: 1"), "5:5", "such as [custodian]"},
		{"more operators than approvals", tierDoc(voters + "operators: 3"), "9:16", "raise approvals, or lower operators"},
		{"role in approvers", tierDoc("actions: ['*']\napprovals: 1\napprovers: [king]"), "8:17", "use one of custodian, approver"},
		{"role twice", tierDoc("actions: ['*']\napprovals: 1\napprovers: [auditor, auditor]"), "8:26", "keep one"},
		{"deadline alone", tierDoc("actions: ['*']\napprovals: 0\ndeadline: 1d"), "8:5", "delete it, or ask for approvals"},
		{"no boolean", tierDoc(voters + "self_approval: yes"), "9:20", "true or false"},
		{"delay without blocks", tierDoc(voters + "delay: {time: 1h}"), "9:12", "no clock can open the lock alone"},
		{"delay of no blocks", tierDoc(voters + "delay: {time: 1h, blocks: 0}"), "9:12", "a clock alone must not open it"},
		{"no duration", tierDoc(voters + "deadline: 3 days"), "9:15", "write 90s, 30m"},
		{"units out of order", tierDoc(voters + "deadline: 3h1d"), "9:15", "or 1d12h"},
		{"late backups", tierDoc(voters + "deadline: 1d\nescalate: {after: 2d, to: [auditor]}"), "10:23", "choose after below it"},
		{"backups at once", tierDoc(voters + "escalate: {after: 0, to: [auditor]}"), "9:23", "name them under approvers"},
		{"backup's name", tierDoc(voters + "escalate: {after: 1d, to: [frank]}"), "9:32", "a single person is member:NAME"},
		{"no time to veto", tierDoc("actions: ['*']\napprovals: 0\nveto: [custodian]"), "8:5", "or delete veto"},
		// windows and zones
		{"unknown zone", tierDoc(voters + "window: {zone: Europe/Berlin}"), "9:20", "pin it under zones"},
		{"no day", tierDoc(voters + "window: {zone: UTC, days: [monday]}"), "9:32", "mon-fri"},
		{"no hours", tierDoc(voters + "window: {zone: UTC, hours: 9-17}"), "9:32", "write 09:00-17:00"},
		{"empty hours", tierDoc(voters + "window: {zone: UTC, hours: 09:00-09:00}"), "9:32", "two different times"},
		{"UTC pinned", head + perms + tiers + "zones:\n  UTC: {offsets: [{utc: +00:00}]}\n", "7:3", "delete this zone"},
		{"offset", head + perms + tiers + "zones:\n  X: {offsets: [{utc: +25:00}]}\n", "7:23", "write it as +05:30"},
		{"offsets out of order", head + perms + tiers + "zones:\n  X:\n    offsets:\n      - {utc: +01:00}\n      - {utc: +02:00}\n", "10:9", "give each but the first a from"},
		{"moment", head + perms + tiers + "zones:\n  X: {until: 1.1.2030, offsets: [{utc: +01:00}]}\n", "7:14", "2026-03-29T01:00:00Z"},
		// conditions
		{"CEL syntax", when("resource.purpose =="), "8:30", "write for example"},
		{"CEL name", when("action == \"sign.deposit\" && resource.color == \"red\""), "8:47", "conditions know action, params"},
		{"CEL types", when("resource.purpose == 5"), "8:28", "int(params.x) makes a number"},
		{"CEL no condition", when("resource.purpose"), "8:11", "compare it with something"},
		{"CEL fraction", when("1.5 == 1.5"), "8:11", "write a whole number"},
		{"CEL expressions", when("resource.purpose.matches('a+')"), "8:35", "conditions know"},
		{"CEL clock", when("now() == 1"), "8:14", "conditions know"},
		{"CEL loop", when("principal.roles.exists(r, r == 'auditor')"), "8:33", "conditions know"},
		{"CEL map", when("'{1: 2} == {1: 2}'"), "8:12", "spell them out"},
		{"CEL arithmetic", when("int(params.a) + 1 == 2"), "8:25", "conditions know"},
		{"CEL cost", when("params.a.contains(params.b)"), "8:11", "compare fewer texts"},
		{"CEL length", when("'" + strings.Repeat("x", 1100) + "'"), "8:11", "split the tier"},
		{"CEL in a block", tierDoc("actions: ['*']\napprovals: 0\nwhen: |\n  action == 'a' &&\n  bogus"), "10:7", "conditions know"},
		{"CEL in quotes", when("'bogus'"), "8:12", "conditions know"},
		// rules
		{"rotation of what", head + perms + tiers + "rotation:\n  - {kind: cluster, every: 1d}\n", "7:12", "kind must be key or secret"},
		{"rotation never", head + perms + tiers + "rotation:\n  - {kind: key, every: 0}\n", "7:24", "delete the rule"},
		{"retention of what", head + perms + tiers + "retention:\n  - {of: event, keep: 1y}\n", "7:10", `did you mean "events"?`},
		{"retention of a day", head + perms + tiers + "retention:\n  - {of: events, keep: 7d}\n", "7:24", "at least 8d"},
		{"retention twice", head + perms + tiers + "retention:\n  - {of: events, keep: 1y}\n  - {of: events, keep: 2y}\n", "8:10", "keep one"},
		{"residency nowhere", head + perms + tiers + "residency:\n  - {kind: key, regions: []}\n", "7:26", "name one"},
		{"inner star", head + perms + tiers + "residency:\n  - {kind: key, purpose: a*b, regions: [eu]}\n", "7:26", "at its end only"},
	} {
		_, err := Compile([]byte(c.doc))
		var list Errors
		if !errors.As(err, &list) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := fmt.Sprintf("%d:%d", list[0].Line, list[0].Column); got != c.at || !strings.Contains(list[0].Message, c.says) {
			t.Errorf("%s: %v\n  want %s: … %s", c.name, list[0], c.at, c.says)
		}
	}
}

// One compilation finds all that is wrong, in the document's order.
func TestAllErrors(t *testing.T) {
	_, err := Compile([]byte(head + "permissions: |\n  permit (principal in Role::\"a\", action, resource is Door);\n" +
		"tiers:\n  - {name: x, actions: [nothing], approvals: many, deadline: soon}\n"))
	want := []string{"3:24: ", "3:55: ", "5:25: ", "5:46: ", "5:62: "}
	var list Errors
	if errors.As(err, &list); len(list) != len(want) {
		t.Fatal(err)
	}
	for i, e := range list {
		if !strings.HasPrefix(e.Error(), want[i]) {
			t.Errorf("%v, want at %s", e, want[i])
		}
	}
}

// The worst that fits into a document is answered in a bounded time, and so is
// the worst question: a block must not wait for either.
func TestBounds(t *testing.T) {
	fill := func(before, repeat, after string, room int) string {
		return before + strings.Repeat(repeat, (room-len(before)-len(after))/len(repeat)) + after
	}
	const room = wire.MaxPolicy - 200
	statement := fill("  permit (principal, action, resource) when { !principal.roles.isEmpty()", " && !principal.roles.contains(\"x\")", " };\n", 2000)
	condition := "    when: '" + fill("", "(", "", 25) + fill("true", " && resource.id.contains(\"xy\")", "", 300) + fill("", ")", "", 25) + "'\n"
	for name, doc := range map[string]string{
		"flow":      fill("", "[", "", room),
		"sequences": fill("", "- ", "x", room),
		"mappings":  fill("", "{a: ", "", room),
		"fields":    fill(head, "a: 1\n", "", room),
		"unknown fields": func() string {
			var b strings.Builder
			for i := 0; b.Len() < room-100; i++ {
				fmt.Fprintf(&b, "versio%d: 1\n", i)
			}
			return b.String()
		}(),
		"unknown actions": func() string {
			var b strings.Builder
			for i := 0; b.Len() < room-1000; i++ {
				fmt.Fprintf(&b, "Action::\"approve sign.deposi%d\", ", i)
			}
			return cedarDoc("permit (principal, action in [" + b.String() + "Action::\"x\"], resource);")
		}(),
		"known actions": cedarDoc(fill("permit (principal, action in [", "Action::\"approve sign.deposit\", ", "Action::\"sign.*\"], resource);", room)),
		"long chain":    cedarDoc(fill("permit (principal, action, resource) when { true", "&&true", "};", room)),
		"texts":         cedarDoc(fill("permit (principal, action, resource) when { resource.id like \"", "*a", "\"};", room)),
		"statements":    head + "permissions: |\n" + fill("", statement, "", room-len(tiers)) + tiers,
		"conditions":    head + perms + "tiers:\n" + strings.Repeat("  - actions: ['*']\n    approvals: 0\n"+condition+"    name: x\n", 64),
		"offsets":       head + perms + tiers + fill("zones:\n  X:\n    offsets:\n", "      - {utc: +01:00}\n", "", room-200),
	} {
		if len(doc) > wire.MaxPolicy {
			t.Fatalf("%s: %d bytes try nothing", name, len(doc))
		}
		start := time.Now()
		p, err := Compile([]byte(doc))
		took := time.Since(start)
		if p != nil {
			q := Query{Action: "sign.deposit", Principal: alice, Resource: Resource{Kind: "key", ID: strings.Repeat("a", wire.MaxPath)}}
			start = time.Now()
			_ = p.May(Approve, q)
			_, _ = p.Terms(q)
			t.Logf("%s: asked in %v", name, time.Since(start))
		} else {
			t.Logf("%s: %.100v", name, err)
		}
		if t.Logf("%s: compiled in %v", name, took); took > time.Minute { // alone it is 0.2 s; what grows without bound is hours
			t.Errorf("%s: %v", name, took)
		}
	}
}
