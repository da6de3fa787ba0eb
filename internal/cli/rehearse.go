package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/rehearsal"
)

func (a *app) ceremonyRehearse() *cobra.Command {
	var config rehearsal.Config
	var absent, malicious, out string
	var faults []string
	var federation bool
	c := &cobra.Command{Use: "rehearse", Short: "Play a large ceremony on this machine, with throw-away keys", Args: cobra.NoArgs,
		Long: `Play a ceremony among participants that are simulated: far away, late, absent,
or malicious in every way that the protocol knows. The protocol is the real
one, the keys are throw-away ones, and the same seed plays the same ceremony.
DIR gets its archive and its certificate, which "quorate ceremony verify"
checks, and report.json, which says who was blamed, why, and whether rightly.

` + faultNames(),
		RunE: a.run(func(ctx context.Context, _ []string) error {
			var err error
			if config.Absent, err = percent("--absent", absent); err != nil {
				return err
			}
			if config.Malicious, err = percent("--malicious", malicious); err != nil {
				return err
			}
			for _, f := range faults {
				config.Faults = append(config.Faults, assembly.Sabotage(f))
			}
			if config.Seed == "" {
				config.Seed = rand.Text()
			}
			if federation {
				return a.federate(ctx, config, out)
			}
			return a.rehearse(ctx, config, out)
		})}
	f := c.Flags()
	f.IntVar(&config.Participants, "participants", 64, "how many take part")
	f.IntVar(&config.Cohorts, "cohorts", 1, "groups of participants, each of which checks its own dealers")
	f.IntVar(&config.Dealers, "dealers", 0, "dealers of each cohort (default: everybody among up to 256 in one cohort, else 128 together)")
	f.IntVar(&config.Threshold, "threshold", 0, "how many shares sign (default: ⌊(n+f)/2⌋+1)")
	f.StringVar(&absent, "absent", "0%", "how many are absent, half of them from the middle on")
	f.StringVar(&malicious, "malicious", "0%", "how many break the protocol")
	f.StringSliceVar(&faults, "faults", nil, "what they do (default: everything)")
	f.BoolVar(&config.Hybrid, "hybrid", false, "protect dealt shares with X-Wing as well")
	f.StringVar(&config.Seed, "seed", "", "what the rehearsal follows from (default: a new one, told in the report)")
	f.BoolVar(&federation, "federation", false, "each cohort makes a key of its own, and they converge in one certificate")
	f.StringVar(&out, "out", "", "directory for archive, certificate and report.json; made if it is not there")
	if err := c.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag stands above
	}
	return c
}

func faultNames() string {
	joining, later, dealing := assembly.Sabotages()
	var b strings.Builder
	b.WriteString("Faults:")
	for _, list := range [][]assembly.Sabotage{joining, later, dealing} {
		for _, s := range list {
			b.WriteString(" " + string(s))
		}
	}
	b.WriteString("\n(bad-answer with --hybrid, false-accusation with --cohorts 2 or more)")
	return b.String()
}

// percent reads "10%" or "10".
func percent(flag, text string) (int, error) {
	v, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
	if err != nil || v < 0 || v > 100 {
		return 0, fail(exitBadUse, flag+" takes 0% to 100%", "read %s %q", flag, text)
	}
	return v, nil
}

func (a *app) rehearse(ctx context.Context, config rehearsal.Config, dir string) error {
	config.Progress = a.say
	r, err := rehearsal.Run(ctx, config)
	if err != nil && config.Absent+config.Malicious > 33 {
		return hinted(err, "where more than a third are absent or malicious, nothing is promised: lower --absent or --malicious")
	}
	if err != nil {
		return err
	}
	if err := writeRehearsal(dir, r.Report, r.Archive, r.Certificate); err != nil {
		return err
	}
	if err := a.print(r.Report, func(t *table) { showRehearsal(t, r.Report, dir) }); err != nil {
		return err
	}
	return judgeRehearsal(r.Report.Score, r.Certificate != nil, dir)
}

// federate is rehearse for cohorts with keys of their own.
func (a *app) federate(ctx context.Context, config rehearsal.Config, dir string) error {
	config.Progress = a.say
	r, err := rehearsal.Federate(ctx, config)
	if err != nil {
		return err
	}
	for i, c := range r.Cohorts {
		if err := writeRehearsal(filepath.Join(dir, fmt.Sprintf("cohort-%02d", i+1)), c.Report, c.Archive, c.Certificate); err != nil {
			return err
		}
	}
	if err := writeRehearsal(dir, r.Report, nil, r.Certificate); err != nil {
		return err
	}
	if err := a.print(r.Report, func(t *table) {
		t.row("participants", r.Report.Participants)
		t.row("cohorts", len(r.Cohorts))
		t.row("malicious", fmt.Sprintf("%d: %d judged rightly, %d missed", r.Report.Score.Malicious, r.Report.Score.Right, r.Report.Score.Missed))
		t.row("CPU to verify the certificate", fmt.Sprintf("%.3f s for %d bytes", r.Report.LightVerify, r.Report.CertificateBytes))
		t.row("took", fmt.Sprintf("%.0f s, %d MiB", r.Report.WallSeconds, r.Report.PeakMiB))
		t.row("check it with:", "quorate ceremony verify "+filepath.Join(dir, "certificate"))
	}); err != nil {
		return err
	}
	return judgeRehearsal(r.Report.Score, r.Certificate != nil, dir)
}

func (a *app) say(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }

// writeRehearsal writes what there is.
func writeRehearsal(dir string, report any, archive, certificate []byte) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory for the rehearsal: %w", err)
	}
	for name, content := range map[string][]byte{"archive": archive, "certificate": certificate, "report.json": append(text, '\n')} {
		if content == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

func judgeRehearsal(s rehearsal.Score, done bool, dir string) error {
	see := "see " + filepath.Join(dir, "report.json")
	if wrong := s.HonestBlamed + s.AbsentBlamed; wrong+s.Missed > 0 {
		return fail(exitFailed, see, "rehearsal judged wrongly: %d honest or absent blamed, %d malicious missed", wrong, s.Missed)
	}
	if !done {
		return fail(exitFailed, see, "rehearsal ended without a key")
	}
	return nil
}

// mostSeats is how many seats a report for people names.
const mostSeats = 20

// judgement is what the ceremony said of somebody who did not follow the protocol.
func judgement(s rehearsal.Played) string {
	said := "not blamed"
	if s.Blamed {
		said = "blamed"
	}
	if len(s.Faults) > 0 {
		said += ", " + strings.Join(s.Faults, ", ")
	}
	if !s.Right {
		said += "; that is wrong"
	}
	return said
}

func showRehearsal(t *table, r *rehearsal.Report, dir string) {
	t.row("participants", fmt.Sprintf("%d, of whom %d dealt; %s sign", r.Participants, r.Dealers, shares(r.Threshold, r.Participants)))
	t.row("ended in phase", r.Outcome.Phase)
	t.row("key (an exercise)", cmp.Or(r.Outcome.PublicKey, "none"))
	t.row("confirmed by", r.Outcome.Confirmed)
	t.row("malicious", fmt.Sprintf("%d: %d judged rightly, %d missed", r.Score.Malicious, r.Score.Right, r.Score.Missed))
	t.row("absent", r.Score.Absent)
	t.row("blamed wrongly", r.Score.HonestBlamed+r.Score.AbsentBlamed)
	for i, s := range r.Seats {
		if i == mostSeats {
			t.row("", fmt.Sprintf("%s more in %s", plural(len(r.Seats)-i, "seat"), filepath.Join(dir, "report.json")))
			break
		}
		t.row(fmt.Sprintf("seat %d", s.Seat), fmt.Sprintf("%s, in %s: %s", s.Role, s.Region, judgement(s)))
	}
	t.row("CPU to deal", fmt.Sprintf("%.3f s", r.CPU.Deal.Median))
	t.row("CPU to receive", fmt.Sprintf("%.3f s", r.CPU.Report.Median))
	t.row("CPU to replay", fmt.Sprintf("%.2f s for %d bytes", r.FullVerify, r.ArchiveBytes))
	t.row("CPU to verify the certificate", fmt.Sprintf("%.3f s for %d bytes", r.LightVerify, r.CertificateBytes))
	t.row("took", fmt.Sprintf("%.0f s, %d MiB", r.WallSeconds, r.PeakMiB))
	file := "certificate"
	if r.CertificateBytes == 0 {
		file = "archive" // a ceremony that ended without a key has no other proof
	}
	t.row("all of it", filepath.Join(dir, "report.json"))
	t.row("check it with:", "quorate ceremony verify "+filepath.Join(dir, file))
}
