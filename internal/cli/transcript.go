package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/opsapi"
)

func (a *app) ceremonyExport() *cobra.Command {
	var archive, certificate string
	c := &cobra.Command{Use: "export ID", Short: "Write the files that prove a ceremony to others", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeCeremonies,
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.exportTranscripts(ctx, args[0], archive, certificate)
		})}
	c.Flags().StringVar(&archive, "archive", "", "file for everything public: whoever has it computes the keys again")
	c.Flags().StringVar(&certificate, "certificate", "", "file that proves how the keys are shared, and no more")
	c.MarkFlagsOneRequired("archive", "certificate")
	return c
}

func (a *app) exportTranscripts(ctx context.Context, id, archive, certificate string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if id, err = ceremonyNamed(ctx, c, id); err != nil {
		return err
	}
	files, err := fetchTranscripts(ctx, c, id, archive != "", certificate != "")
	if err != nil {
		return err
	}
	// The node is not believed: what it says has to prove itself.
	for path, raw := range map[string][]byte{archive: files.archive, certificate: files.certificate} {
		if path == "" {
			continue
		}
		got, err := transcriptID(raw)
		if err != nil {
			return fmt.Errorf("export ceremony %s: %w", id, err)
		}
		if got != id {
			return fmt.Errorf("export ceremony %s: the node gave that of %s", id, got)
		}
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			return fmt.Errorf("export ceremony: %w", err)
		}
	}
	return a.print(map[string]string{"ceremony": id, "archive": archive, "certificate": certificate}, func(t *table) {
		t.row("exported ceremony", id)
		t.row("check it with:", strings.Join(strings.Fields("quorate ceremony verify "+archive+" "+certificate), " "))
	})
}

// transcripts are the files that prove a ceremony.
type transcripts struct{ archive, certificate []byte }

// fetchTranscripts asks a node for those of either kind of ceremony. Those
// of participants come only where they are wanted: they may be long.
func fetchTranscripts(ctx context.Context, c *opsapi.Client, id string, archive, certificate bool) (t transcripts, err error) {
	_, ok, err := assemblyOf(ctx, c, id, false)
	if err != nil {
		return t, err
	}
	if !ok {
		x, err := c.Transcripts(ctx, id)
		return transcripts{x.Archive, x.Certificate}, hinted(err, "quorate ceremony list")
	}
	if archive {
		var raw bytes.Buffer
		if err := c.AssemblyArchive(ctx, id, &raw); err != nil {
			return t, err
		}
		t.archive = raw.Bytes()
	}
	if certificate {
		t.certificate, err = c.AssemblyCertificate(ctx, id)
	}
	return t, err
}

// transcriptID verifies a transcript and returns the id of its ceremony.
func transcriptID(raw []byte) (string, error) {
	proven, err := verifyTranscript(raw)
	if err != nil {
		return "", err
	}
	if o, ok := proven.(*assembly.Outcome); ok {
		return o.Ceremony, nil
	}
	return proven.(*dkg.TranscriptOutcome).Ceremony, nil
}

func (a *app) ceremonyVerify() *cobra.Command {
	return &cobra.Command{Use: "verify FILE...", Short: "Check archives and certificates of ceremonies", Args: cobra.MinimumNArgs(1),
		Long: `Check transcripts of ceremonies, with nothing else at hand. A certificate alone
proves that its key is shared as it says and that each seat it names knows its
share. An archive is replayed: every signature and proof, every point that was
dealt, every complaint and vote. What is not as it says fails. Compare the
ceremony's id with what the ledger or the participants tell you: anyone can
hold a ceremony of his own.`,
		RunE: a.run(func(_ context.Context, args []string) error { return a.verifyTranscripts(args) })}
}

func (a *app) verifyTranscripts(files []string) error {
	outcomes := map[string]any{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return fail(exitNotFound, "", "read transcript: %w", err)
		}
		if outcomes[file], err = verifyTranscript(raw); err != nil {
			return fail(exitFailed, "it is not what was written, or not all of it: get the file again, and ask who changed it if that fails too", "verify %s: %w", file, err)
		}
	}
	return a.print(outcomes, func(t *table) {
		for _, file := range files {
			o, ok := outcomes[file].(*assembly.Outcome)
			if !ok {
				showProven(t, file, outcomes[file].(*dkg.TranscriptOutcome))
				continue
			}
			t.row(file, o.File+" verifies")
			if len(o.Cohorts) > 0 {
				showFederation(t, o)
				continue
			}
			t.row("  ceremony", o.Ceremony, exerciseWord(o.Exercise))
			t.row("  shares", shares(o.Threshold, o.Participants))
			t.row("  ended in phase", o.Phase)
			t.row("  key", o.PublicKey)
			t.row("  confirmed by", o.Confirmed)
			t.row("  safe to deposit to", depositWord(o.DepositSafe, o.Threshold, o.Participants))
			showFaults(t, o.Faults)
		}
	})
}

func showFederation(t *table, all *assembly.Outcome) {
	t.row("  statement", all.Ceremony, exerciseWord(all.Exercise))
	t.row("  signed by", shares(all.Confirmed, len(all.Cohorts))+" cohorts; "+fmt.Sprintf("%d have to", all.Threshold))
	for i, o := range all.Cohorts {
		t.row(fmt.Sprintf("  cohort %d", i+1), "ceremony "+o.Ceremony)
		t.row("    shares", fmt.Sprintf("%s, confirmed %d", shares(o.Threshold, o.Participants), o.Confirmed))
		t.row("    key", o.PublicKey)
	}
}

// depositWord says why a key is not safe to deposit to, and how many shares it
// takes where t of n participants sign.
func depositWord(safe bool, t, n int) string {
	switch f := (n - 1) / 3; {
	case safe:
		return "yes"
	case n > 0:
		return fmt.Sprintf("no: %d have to confirm their share, as %d sign and %d may lie", t+f, t, f)
	}
	return "no: too few confirmed their share, as some of them may lie"
}

// showFaults names, for each kind of fault, all whose it is: there may be
// thousands of them.
func showFaults(t *table, faults []assembly.NamedFault) {
	var kinds []assembly.NamedFault
	seats := map[string][]string{}
	for _, f := range faults {
		if seats[f.Fault] == nil {
			kinds = append(kinds, f)
		}
		seats[f.Fault] = append(seats[f.Fault], strconv.Itoa(f.Seat))
	}
	for _, k := range kinds {
		word := "  absent"
		if k.Blamed {
			word = "  blamed"
		}
		t.row(word, fmt.Sprintf("participant %s: %s", strings.Join(seats[k.Fault], ", "), k.Fault))
	}
}

func exerciseWord(exercise bool) string {
	if exercise {
		return "(an exercise: its keys do not count)"
	}
	return ""
}

func verifyTranscript(raw []byte) (any, error) {
	if !dkg.IsTranscript(raw) {
		return assembly.Verify(raw)
	}
	x, err := dkg.VerifyTranscript(raw)
	if err != nil {
		return nil, err
	}
	return x.Outcome(), nil
}

func showProven(t *table, file string, p *dkg.TranscriptOutcome) {
	t.row(file, p.File+" verifies")
	t.row("  ceremony", p.Ceremony)
	t.row("  of cluster", p.Cluster)
	t.row("  mode", fmt.Sprintf("%s, shares of epoch %d", p.Mode, p.Epoch))
	if p.Assembly != "" {
		t.row("  handed over by", "the participants of ceremony "+p.Assembly)
	}
	t.row("  shares", shares(p.Threshold, p.Seats))
	for _, key := range p.PublicKeys {
		if p.Beacon {
			key += " of a beacon"
		}
		t.row("  key", key)
	}
	t.row("  confirmed by", p.Confirmed)
	t.row("  safe to deposit to", depositWord(p.DepositSafe, 0, 0))
}
