package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/participant"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/wire"
)

// proposed is what a coordinator wants of a ceremony.
type proposed struct {
	participants      string
	threshold         int
	cohorts, dealers  int
	hybrid, exercise  bool
	window            string
	away              []string
	phase             time.Duration
	software, purpose string
}

func (a *app) ceremonyPropose() *cobra.Command {
	var p proposed
	var o askOptions
	c := &cobra.Command{Use: "propose", Short: "Ask for a ceremony of people who run no node", Args: cobra.NoArgs,
		Long: `Ask for a ceremony among the participants of FILE, in the order of their seats:
CSV whose first line names the columns, or a YAML list.

  name,region,zone,key,member
  alice,eu,Europe/Paris,0x01…,alice

key is what "quorate member keygen" printed to the participant, zone where the
participant's clock is. member, which may be left out, names the member whose
enrolled credential the key is; the ledger then checks that it is.

Phases last so long that everybody has one whole --window in each, whenever it
begins; those that nobody is waited for end early. Weekends count when the window
names days, holidays when --away does; a column window in FILE is for people with
other hours or weekends. --phase sets one length for all, for people who sit at
their desks together.

Up to 256 participants all deal. More of them, or --cohorts, have dealers drawn.`,
		Example: `  quorate ceremony propose --participants people.csv --window 09:00-18:00 --purpose "treasury" --identity alice.key
  quorate ceremony propose --participants people.csv --window "mon-fri 09:00-18:00" --away 2026-12-24..2026-12-26 --identity alice.key
  quorate ceremony propose --participants people.csv --phase 10m --exercise --identity alice.key`,
		RunE: a.run(func(ctx context.Context, _ []string) error {
			p.purpose = o.purpose
			return a.propose(ctx, p, o)
		})}
	f := c.Flags()
	f.StringVar(&p.participants, "participants", "", "file of those who are asked")
	f.IntVar(&p.threshold, "threshold", 0, "how many shares sign (default: ⌊(n+f)/2⌋+1)")
	f.IntVar(&p.cohorts, "cohorts", 1, "groups of participants, each of which checks its own dealers")
	f.IntVar(&p.dealers, "dealers", 0, "dealers of each cohort (default: everybody among up to 256 in one cohort, else 128 together)")
	f.BoolVar(&p.hybrid, "hybrid", false, "protect dealt shares with X-Wing as well, against a quantum computer")
	f.BoolVar(&p.exercise, "exercise", false, "rehearse with real people: the key that is made does not count")
	f.StringVar(&p.window, "window", "09:00-18:00", "when participants are at their desks, by their own clocks; with days, such as \"mon-fri 09:00-18:00\"")
	f.StringSliceVar(&p.away, "away", nil, "days on which nobody is, such as 2026-12-25 or 2026-12-24..2026-12-26; may be repeated")
	f.DurationVar(&p.phase, "phase", 0, "how long a phase lasts at most (default: so that everybody has a whole window)")
	f.StringVar(&p.software, "min-version", "", "oldest version of this program that may take part, such as v1.2.0")
	o.asks(c)
	c.MarkFlagRequired("participants") //nolint:errcheck // the flag is defined above
	return c
}

// desks are when the guests are there.
func (p proposed) desks(guests []participant.Guest) ([]participant.Desk, error) {
	week, err := policy.ParseWeek(p.window)
	if err != nil {
		return nil, err
	}
	away, err := participant.ParseAway(p.away)
	return participant.Desks(guests, week, away), err
}

// plan turns what a coordinator wants into parameters.
func (p proposed) plan(guests []participant.Guest, now time.Time) (assembly.Params, time.Duration, error) {
	fails := func(err error) (assembly.Params, time.Duration, error) {
		return assembly.Params{}, 0, fail(exitBadUse, "", "plan ceremony: %w", err)
	}
	n, t := len(guests), p.threshold
	if t == 0 {
		th, err := action.DefaultThreshold(n)
		if err != nil {
			return fails(err)
		}
		t = th.T()
	}
	phase := p.phase
	if phase == 0 {
		desks, err := p.desks(guests)
		if err != nil {
			return fails(err)
		}
		if phase, err = participant.PhaseTime(now, desks); err != nil {
			return fails(err)
		}
	}
	if phase < time.Second || phase > participant.MaxPhase {
		return assembly.Params{}, 0, fail(exitBadUse, "propose it for after the holidays, widen --window, or set --phase",
			"plan ceremony: phases of %s: want 1s to %s", opsapi.Briefly(phase), opsapi.Briefly(participant.MaxPhase))
	}
	dealers := p.dealers
	if dealers == 0 && (p.cohorts > 1 || n > wire.MaxDealers) {
		dealers = max(min(128, n/2)/max(p.cohorts, 1), 1)
	}
	ms := uint32(phase.Milliseconds())
	params := assembly.Params{
		Exercise: p.exercise, Hybrid: p.hybrid, N: uint16(n), T: uint16(t), Cohorts: uint16(p.cohorts), Dealers: uint16(dealers),
		Deadlines: assembly.Deadlines{Join: ms, Deal: ms, Verify: ms, Answer: ms, Replay: ms, Confirm: ms},
	}
	rand.Read(params.Nonce[:])
	var roster assembly.Roster
	for _, g := range guests {
		roster = append(roster, g.Key)
	}
	params.Roster = roster.Hash()
	if err := params.Check(); err != nil {
		return fails(err)
	}
	return params, phase, nil
}

func readGuests(path string) ([]participant.Guest, error) {
	raw, err := durable.ReadFile(durable.OS{}, path, participant.MaxGuests)
	if err != nil {
		return nil, fail(exitNotFound, "one line for each participant: quorate ceremony propose --help", "read participants: %w", err)
	}
	guests, err := participant.ParseGuests(raw)
	if err != nil {
		return nil, fail(exitBadUse, "quorate ceremony propose --help shows the columns", "%s: %w", path, err)
	}
	return guests, nil
}

// proposal is what propose prints.
type proposal struct {
	Ceremony     string             `json:"ceremony"`
	Participants int                `json:"participants"`
	Threshold    int                `json:"threshold"`
	Phase        string             `json:"phase"`
	Schedule     []participant.Turn `json:"schedule"` // if it opened now, and every phase ran to its end
	Asked        *asked             `json:"asked,omitempty"`
}

func (a *app) propose(ctx context.Context, p proposed, o askOptions) error {
	guests, err := readGuests(p.participants)
	if err != nil {
		return err
	}
	now := time.Now()
	params, phase, err := p.plan(guests, now)
	if err != nil {
		return err
	}
	ask, err := opsapi.AskAssembly(action.Assembly{Params: params.Encode(), Purpose: p.purpose, Software: p.software}, participant.Seats(guests))
	if err != nil {
		return fail(exitBadUse, "Ed25519 keys are shorter than hybrid ones, short names and regions help as well", "plan ceremony: %w", err)
	}
	id := params.ID()
	out := proposal{
		Ceremony: hex.EncodeToString(id[:]), Participants: len(guests), Threshold: int(params.T),
		Phase: opsapi.Briefly(phase), Schedule: participant.Schedule(params, now),
	}
	if err := a.explainPhases(p, phase, guests, out.Schedule); err != nil {
		return err
	}
	if !a.isMember() && a.compose == nil {
		return a.proposeAsNode(ctx, ask, out, p)
	}
	o.seats = ask.Seats
	if out.Asked, err = a.askFor(ctx, ask.Action, o); err != nil || out.Asked == nil {
		return err
	}
	if err := a.print(out, func(t *table) {
		t.row("ceremony", out.Ceremony)
		if out.Asked.Executed {
			t.row("opened", fmt.Sprintf("at height %d", out.Asked.Height))
		} else {
			t.row("request", out.Asked.Request.ID)
			t.row("state", standing(*out.Asked.Request))
		}
		out.next(t, p)
	}); err != nil {
		return err
	}
	return waiting(out.Asked)
}

func (p *proposal) next(t *table, asked proposed) {
	t.row("invite with:", fmt.Sprintf("quorate ceremony invite %s --participants %s --genesis genesis.json --out invitations", p.Ceremony, asked.participants))
}

// proposeAsNode has the node ask, whose token --identity is.
func (a *app) proposeAsNode(ctx context.Context, ask ledger.Ask, out proposal, p proposed) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if _, err := c.OpenAssembly(ctx, ask); err != nil {
		return err
	}
	return a.print(out, func(t *table) {
		t.row("opened ceremony", out.Ceremony)
		out.next(t, p)
	})
}

func (a *app) explainPhases(p proposed, phase time.Duration, guests []participant.Guest, turns []participant.Turn) error {
	t := newTable(a.stderr)
	var desks []participant.Desk
	if p.phase > 0 {
		t.row(fmt.Sprintf("each phase lasts %s at most", opsapi.Briefly(phase)))
	} else {
		var err error
		if desks, err = p.desks(guests); err != nil {
			return err
		}
		t.row(fmt.Sprintf("each phase lasts %s at most: whenever it begins, everybody has one whole window in it", opsapi.Briefly(phase)))
	}
	const shown = 4
	head := []any{"PHASE", "ENDS AT THE LATEST"}
	for _, d := range desks[:min(shown, len(desks))] {
		head = append(head, "WINDOW IN "+d.Zone.String())
	}
	if len(desks) > shown {
		head = append(head, fmt.Sprintf("AND %d MORE", len(desks)-shown))
	}
	t.row(head...)
	began := turns[0].Latest.Add(-phase)
	for _, turn := range turns {
		row := []any{turn.Phase, clock(turn.Latest)}
		for _, d := range desks[:min(shown, len(desks))] {
			window := "none is known"
			if comes, goes, ok := d.First(began); ok {
				window = comes.Format("Mon 02 15:04") + goes.Format("–15:04")
			}
			row = append(row, window)
		}
		t.row(row...)
		began = turn.Latest
	}
	return t.w.Flush()
}

func (a *app) ceremonyInvite() *cobra.Command {
	var file, out string
	var nodes, builds []string
	c := &cobra.Command{Use: "invite CEREMONY", Short: "Write an invitation for each participant", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeAssemblies,
		Long: `Write DIR/SEAT-NAME.json for each participant of FILE, once the ceremony is open.
The ledger has to prove that it is about exactly these people. An invitation holds
nothing secret. It tells its reader the genesis, so send it on a way that nobody
can change it, and compare the ids of ceremony and cluster by voice.

Give --node every node that participants can reach. They ask them in turns, so
that one that is away, or that lies, costs them time and nothing else.`,
		Example: `  quorate ceremony invite 3f2a… --participants people.csv --genesis genesis.json --node https://node1.example.org:9003 --node https://node2.example.org:9003`,
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.invite(ctx, args[0], file, out, nodes, builds)
		})}
	f := c.Flags()
	f.StringVar(&file, "participants", "", "file of those who are asked, as the ceremony was proposed with")
	f.StringVar(&out, "out", "invitations", "directory for the invitations")
	f.StringSliceVar(&nodes, "node", nil, "operator API that participants reach, such as https://node1.example.org:9003; may be repeated (default: --address)")
	f.StringSliceVar(&builds, "build", nil, "source revision of a build that participants may use, as quorate version shows it; may be repeated (default: any)")
	c.MarkFlagRequired("participants") //nolint:errcheck // the flag is defined above
	return c
}

// proveOpen waits for the block that proves a ceremony that has just opened.
func proveOpen(ctx context.Context, c *opsapi.Client, inv *participant.Invitation) (*action.AssemblyRecord, error) {
	for until := time.Now().Add(appearTime); ; {
		raw, err := c.AssemblyProof(ctx, inv.Ceremony)
		if err != nil {
			return nil, err
		}
		record, _, err := inv.Prove(raw)
		if !errors.Is(err, participant.ErrUnknown) || time.Now().After(until) {
			return record, err
		}
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// visit says which nodes of an invitation are of no use from here. They may be
// from elsewhere.
func (a *app) visit(ctx context.Context, inv *participant.Invitation) {
	c, err := newCourier(inv, nil)
	if err != nil {
		return // the address that the coordinator asks is always there
	}
	const patience = 5 * time.Second
	for _, n := range c.nodes {
		ctx, cancel := context.WithTimeout(ctx, patience)
		if _, err := c.look(ctx, n); err != nil {
			fmt.Fprintf(a.stderr, "note: %s does not show the ceremony: %s\n", n.Address(), printable(err.Error()))
		}
		cancel()
	}
}

// invited is what invite prints.
type invited struct {
	Ceremony    string   `json:"ceremony"`
	Cluster     string   `json:"cluster"`
	Invitations []string `json:"invitations"`
}

func (a *app) invite(ctx context.Context, id, file, dir string, nodes, builds []string) error {
	guests, err := readGuests(file)
	if err != nil {
		return err
	}
	if a.genesis == "" {
		return fail(exitBadUse, "give --genesis the document that the operators compared; each node's home has it", "an invitation tells participants where their trust begins")
	}
	genesis, err := durable.ReadFile(durable.OS{}, a.genesis, wire.MaxGenesis)
	if err != nil {
		return fail(exitBadUse, "give --genesis the document that the operators compared", "read genesis: %w", err)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if _, err := a.cluster(ctx, c); err != nil {
		return err
	}
	if len(nodes) == 0 {
		nodes = []string{c.Address()}
	}
	if len(nodes) == 1 {
		fmt.Fprintf(a.stderr, "note: participants can ask %s alone, and wait while it is away: name several with --node\n", nodes[0])
	}
	inv := participant.Invitation{Version: 1, Ceremony: id, Genesis: genesis, Seat: 1, Nodes: nodes, Builds: builds}
	if _, err := inv.Encode(); err != nil {
		return fail(exitBadUse, "the ceremony's id is what propose printed", "%w", err)
	}
	record, err := proveOpen(ctx, c, &inv)
	if err != nil {
		return hinted(err, "is it open? quorate ceremony list")
	}
	if participant.Seats(guests).Hash() != record.Seats {
		return fail(exitFailed, "give the file that the ceremony was proposed with, with the same lines in the same order", "the ceremony is about other participants than those of %s", file)
	}
	params, err := assembly.ParseParams(record.Params)
	if err != nil {
		return err
	}
	a.visit(ctx, &inv)
	inv.Purpose, inv.MinVersion = record.Purpose, record.Software
	inv.Schedule = participant.Schedule(params, time.UnixMilli(int64(record.Opened)))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write invitations: %w", err)
	}
	made := invited{Ceremony: id, Cluster: inv.Cluster().String()}
	for i, g := range guests {
		inv.Seat, inv.Name, inv.Region, inv.Zone = i+1, g.Name, g.Region, g.Zone
		raw, err := inv.Encode()
		if err != nil {
			return err
		}
		path := filepath.Join(dir, fmt.Sprintf("%0*d-%s.json", len(fmt.Sprint(len(guests))), i+1, g.Name))
		if err := durable.WriteOSFile(path, raw, 0o644); err != nil {
			return err
		}
		made.Invitations = append(made.Invitations, path)
	}
	return a.print(made, func(t *table) {
		t.row("ceremony", made.Ceremony)
		t.row("cluster", made.Cluster)
		t.row("invitations", fmt.Sprintf("%d in %s", len(guests), dir))
		t.row("they run:", "quorate ceremony join INVITATION --identity KEYFILE")
		t.row("you run:", "quorate ceremony watch "+id)
	})
}
