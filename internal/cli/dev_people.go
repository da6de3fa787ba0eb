package cli

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones are pinned on machines that know none

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/policy"
)

// A scenario is who takes part in a cluster for development, and under which
// policy. Only a founding reads it: afterwards the genesis says so.
type scenario struct {
	operators []site // of the nodes, in turn; none: each has its own
	people    []action.MemberRecord
	policy    func() ([]byte, error)
}

// site is an operator and where he is.
type site struct{ operator, region, zone string }

const scenarioTeam = "team"

// alone is one custodian, whom the policy lets do everything.
func alone() scenario {
	return scenario{
		people: []action.MemberRecord{{ID: "admin", Name: "Admin", Operator: "operator0", Region: "region0", Roles: []string{action.RoleCustodian}}},
		policy: func() ([]byte, error) { return policy.Dev(), nil },
	}
}

// sites are those of the team, whose working days hardly meet.
func sites() []site {
	return []site{{"lisbon", "eu-west", "Europe/Lisbon"}, {"bengaluru", "ap-south", "Asia/Kolkata"}, {"denver", "us-west", "America/Denver"}}
}

// team is three operators who have to agree across three time zones.
func team() scenario {
	s := scenario{operators: sites(), policy: walkthrough}
	for _, p := range []struct {
		id, name, role string
		at             int
	}{
		{"ana", "Ana Ribeiro", action.RoleCustodian, 0}, {"bhavik", "Bhavik Rao", action.RoleCustodian, 1}, {"carol", "Carol Whitehorse", action.RoleCustodian, 2},
		{"dinesh", "Dinesh Iyer", action.RoleApprover, 1}, {"erin", "Erin Castillo", action.RoleAuditor, 2}, {"deploy", "Deployment", "", 0},
	} {
		m := action.MemberRecord{ID: p.id, Name: p.name, Operator: s.operators[p.at].operator, Region: s.operators[p.at].region, Roles: []string{p.role}}
		if p.role == "" {
			m.Roles, m.Workload = []string{}, true
		}
		s.people = append(s.people, m)
	}
	return s
}

//go:embed documents/walkthrough.yaml
var walkthroughDocument string

// pinnedYears is how long the offsets in the walk-through's policy hold.
const pinnedYears = 5

func walkthrough() ([]byte, error) {
	var zones strings.Builder
	from := time.Now().UTC().Truncate(24 * time.Hour)
	for _, s := range sites() {
		text, err := policy.PinZone(s.zone, from, from.AddDate(pinnedYears, 0, 0))
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			zones.WriteString("  " + line)
		}
	}
	doc := []byte(strings.Replace(walkthroughDocument, "{{zones}}\n", zones.String(), 1))
	_, err := policy.Compile(doc)
	return doc, err
}

func (o devOptions) cast() (scenario, error) {
	switch o.scenario {
	case "":
		return alone(), nil
	case scenarioTeam:
		return team(), nil
	}
	return scenario{}, fail(exitBadUse, "--scenario takes team, or is left out", "no scenario is named %q", o.scenario)
}

// site returns where a node stands.
func (s scenario) site(i int) site {
	if len(s.operators) == 0 {
		return site{operator: fmt.Sprintf("operator%d", i), region: fmt.Sprintf("region%d", i)}
	}
	return s.operators[i%len(s.operators)]
}

// writePeople makes everybody's key, without a passphrase, and returns their
// records.
func (c *devCluster) writePeople(s scenario) ([]action.MemberRecord, error) {
	if err := os.MkdirAll(c.peoplePath(), 0o700); err != nil {
		return nil, fmt.Errorf("create directory: %w", err)
	}
	var out []action.MemberRecord
	for _, m := range s.people {
		file, public, err := credential.GenerateUnsealed(rand.Reader, ident.Ed25519)
		if err != nil {
			return nil, err
		}
		if err := writeNew(c.keyFile(m.ID), file, 0o600); err != nil {
			return nil, err
		}
		m.Keys = []ident.PublicKey{public}
		out = append(out, m)
	}
	return out, nil
}

func (c *devCluster) peoplePath() string       { return filepath.Join(c.dir, "people") }
func (c *devCluster) keyFile(id string) string { return filepath.Join(c.peoplePath(), id+".key") }
func (c *devCluster) policyPath() string       { return filepath.Join(c.dir, "policy.yaml") }

// pinPeople holds the keys to this cluster before their first use.
func (c *devCluster) pinPeople() error {
	for _, m := range c.people() {
		if err := writePin(c.keyFile(m.ID)+pinSuffix, c.id); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// people returns the members whose keys lie here, in the genesis's order: one
// that was founded before there were any has none.
func (c *devCluster) people() (out []action.MemberRecord) {
	for _, m := range c.genesis.Members {
		if _, err := os.Stat(c.keyFile(m.ID)); err == nil {
			out = append(out, m)
		}
	}
	return out
}

// isTeam reports whether people have to agree here before anything happens.
func (c *devCluster) isTeam() bool { return len(custodians(c.genesis.Members)) > 1 }

func custodians(members []action.MemberRecord) (ids []string) {
	for _, m := range members {
		if slices.Contains(m.Roles, action.RoleCustodian) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// as speaks for one of the people.
func (c *devCluster) as(id string) *app {
	return &app{stdout: io.Discard, stderr: io.Discard, output: "text", yes: true,
		address: c.nodeOf(id).config.Listen.Ops, identity: c.keyFile(id), genesis: c.genesisPath()}
}

// nodeOf returns a node of the member's own operator.
func (c *devCluster) nodeOf(id string) *devNode {
	for _, m := range c.genesis.Members {
		for _, n := range c.nodes {
			if rec, ok := c.genesis.Node(n.name); ok && m.ID == id && rec.Operator == m.Operator {
				return n
			}
		}
	}
	return c.nodes[0]
}

// openAsTeam has custodians agree on a ceremony and returns its id.
func (c *devCluster) openAsTeam(ctx context.Context, req opsapi.OpenCeremony) (string, error) {
	who := custodians(c.people())
	if len(who) < 2 {
		return "", fail(exitFailed, "choose another --dir", "the keys of the custodians are not in %s", c.peoplePath())
	}
	first := c.as(who[0])
	client, err := first.client()
	if err != nil {
		return "", err
	}
	proposed, err := first.proposedCeremonies(ctx, client, req)
	if err != nil {
		return "", err
	}
	done, err := first.askFor(ctx, proposed[0].act, askOptions{purpose: req.Purpose, approve: true})
	if err != nil {
		return "", err
	}
	for _, id := range who[1:] {
		if done.Executed || done.Request == nil {
			break
		}
		sp, err := c.as(id).speaker(ctx)
		if err != nil {
			return "", err
		}
		r, err := sp.request(ctx, done.Request.ID)
		if err != nil {
			return "", err
		}
		if _, err := sp.decide(ctx, r, action.Approve); err != nil {
			return "", err
		}
		if r, err = sp.request(ctx, r.ID); err != nil {
			return "", err
		}
		done.Request, done.Executed = &r.Request, r.State == "executed"
	}
	if !done.Executed {
		return "", fail(exitFailed, "", "open ceremony: the request %s", standing(*done.Request))
	}
	return fmt.Sprintf("%x", proposed[0].params.ID()), nil
}

// sayPeople shows who there is.
func (c *devCluster) sayPeople() {
	people := c.people()
	if len(people) == 0 {
		return
	}
	say := c.progress.say
	say("\nPeople, whose keys lie in %s without a passphrase", c.peoplePath())
	zones := map[string]string{}
	for _, s := range sites() {
		zones[s.operator] = s.zone
	}
	for _, m := range people {
		role := strings.Join(m.Roles, ", ")
		if m.Workload {
			role = "workload"
		}
		there := ""
		if loc, err := time.LoadLocation(zones[m.Operator]); err == nil && zones[m.Operator] != "" {
			there = ", where it is " + time.Now().In(loc).Format("15:04 MST")
		}
		say("  %-7s %-10s at %s%s", m.ID, role, m.Operator, there)
	}
}

// walk shows how people agree, to be copied and pasted.
func (c *devCluster) walk() {
	if !c.isTeam() || len(c.people()) == 0 || len(c.pubkeys) == 0 {
		return
	}
	say := c.progress.say
	say("\nWalk through it. An exit takes two operators, and five seconds for a veto:\n")
	program := programName()
	for _, id := range []string{"ana", "bhavik"} {
		say("  %s() { %s --address %s --identity %s \"$@\"; }", id, program, c.nodeOf(id).config.Listen.Ops, c.keyFile(id))
	}
	say("  ana key exit %s --validator-index 7 --purpose 'end of term' --approve --yes", c.pubkeys[len(c.pubkeys)-1])
	say("  ID=$(bhavik request list --ids)")
	say("  bhavik request show $ID")
	say("  bhavik request approve $ID             # looks at it, asks, signs")
	say("  bhavik request watch $ID               # the time lock, then: executed")
	say("  ana key exit --request $ID             # what was agreed on, signed by 3 of 4 holders")
	say("  ana audit list                         # who asked, who agreed, what happened")
	say("  TX=$(ana request show $ID --transactions | tail -1)")
	say("  ana audit receipt $TX --out approval.receipt")
	say("  ana audit verify approval.receipt --genesis %s   # the last approval, proven to anybody", c.genesisPath())
}

// programName is how to call this program again.
func programName() string {
	self, err := os.Executable()
	if err != nil {
		return "quorate"
	}
	if found, err := exec.LookPath("quorate"); err == nil && found == self {
		return "quorate"
	}
	return self
}

// foundPolicy returns the scenario's policy, which a team finds in a file, too.
func (c *devCluster) foundPolicy(s scenario) ([]byte, error) {
	doc, err := s.policy()
	if err != nil || len(s.operators) == 0 {
		return doc, err
	}
	return doc, durable.WriteOSFile(c.policyPath(), doc, 0o644)
}
