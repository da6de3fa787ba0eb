package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/opsapi"
)

func (a *app) auditCommand() *cobra.Command {
	var from uint64
	var limit int
	list := &cobra.Command{Use: "list", Short: "Show entries of the audit log",
		Long: `Show the newest entries of the audit log, the last one last, or those from an index
on. Long ids are cut after 16 digits; -o json has them whole.`,
		Example: `  quorate audit list --limit 20
  quorate audit list --from 0`,
		Args: cobra.NoArgs}
	list.RunE = a.run(func(ctx context.Context, _ []string) error {
		return a.auditList(ctx, from, limit, !list.Flags().Changed("from"))
	})
	list.Flags().Uint64Var(&from, "from", 0, "index of the first entry (default: so that the newest are shown)")
	list.Flags().IntVar(&limit, "limit", 100, "how many entries at most")
	return noun("audit", "The log of everything that was asked, decided and done",
		list, a.auditExportCommand(), a.auditReceiptCommand(), a.auditCheckpointCommand(), a.auditVerifyCommand())
}

// auditExport is what to export and where to.
type auditExport struct {
	out, format string
	filter      audit.Filter
	from, to    string
}

func (a *app) auditExportCommand() *cobra.Command {
	var e auditExport
	c := &cobra.Command{Use: "export --out FILE", Short: "Write the audit log to a file",
		Long: `Write the audit log to a file.

The format log is evidence: quorate-verify and quorate audit verify check it
against the genesis alone. Of events that the flags do not select it holds the
commitment, so that it stays whole. jsonl and csv hold the selected events.`,
		Args: cobra.NoArgs, RunE: a.run(func(ctx context.Context, _ []string) error { return a.auditExport(ctx, e) })}
	f := c.Flags()
	f.StringVar(&e.out, "out", "", "file to write, - for the standard output")
	f.StringVar(&e.format, "format", opsapi.FormatLog, "log, jsonl or csv")
	f.StringVar(&e.filter.Key, "key", "", "only events about this public key")
	f.StringVar(&e.filter.Member, "member", "", "only what this member did")
	f.StringVar(&e.filter.Region, "region", "", "only what was done in this region")
	f.StringVar(&e.filter.Kind, "kind", "", "only events of this kind, such as granted")
	complete(c, "kind", ledger.EventKinds()...)
	complete(c, "format", opsapi.FormatLog, opsapi.FormatLines, opsapi.FormatCSV)
	f.StringVar(&e.from, "from", "", "only events at or after this time (RFC 3339, or a date)")
	f.StringVar(&e.to, "to", "", "only events before this time")
	return c
}

func (a *app) auditExport(ctx context.Context, e auditExport) error {
	if e.out == "" {
		return fail(exitBadUse, "quorate audit export --out audit.log", "--out names no file")
	}
	if kinds := ledger.EventKinds(); e.filter.Kind != "" && !slices.Contains(kinds, e.filter.Kind) {
		return fail(exitBadUse, "there are: "+strings.Join(kinds, ", "), "no events are of the kind %q", e.filter.Kind)
	}
	for text, t := range map[string]*time.Time{e.from: &e.filter.From, e.to: &e.filter.To} {
		if text == "" {
			continue
		}
		var err error
		if *t, err = time.Parse(time.RFC3339, text); err != nil {
			if *t, err = time.Parse(time.DateOnly, text); err != nil {
				return fail(exitBadUse, "as in 2026-01-02 or 2026-01-02T15:04:05Z", "%q is no time", text)
			}
		}
	}
	if err := a.fetch(e.out, func(c *opsapi.Client, w io.Writer) error { return c.Export(ctx, w, e.format, e.filter) }); err != nil {
		return err
	}
	return a.wrote(e.out, e.format == opsapi.FormatLog)
}

// wrote says where a file is, and how to check it if it is evidence.
func (a *app) wrote(path string, evidence bool) error {
	if path == "-" {
		return nil
	}
	return a.print(map[string]string{"file": path}, func(t *table) {
		t.row("written to", path)
		if evidence {
			t.row("check it with:", "quorate audit verify --genesis genesis.json "+path+", or quorate-verify")
		}
	})
}

func (a *app) auditReceiptCommand() *cobra.Command {
	var out string
	c := &cobra.Command{Use: "receipt TRANSACTION --out FILE", Short: "Write the proof of what a transaction did", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, args []string) error {
			if out == "" {
				return fail(exitBadUse, "quorate audit receipt TRANSACTION --out FILE", "--out names no file")
			}
			if err := a.fetch(out, func(c *opsapi.Client, w io.Writer) error { return c.Receipt(ctx, w, args[0]) }); err != nil {
				return err
			}
			return a.wrote(out, true)
		})}
	c.Flags().StringVar(&out, "out", "", "file to write, - for the standard output")
	return c
}

func (a *app) auditCheckpointCommand() *cobra.Command {
	out := "-"
	c := &cobra.Command{Use: "checkpoint", Short: "Write the newest signed checkpoint of the log", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, _ []string) error {
			if err := a.fetch(out, func(c *opsapi.Client, w io.Writer) error { return c.Checkpoint(ctx, w) }); err != nil {
				return err
			}
			return a.wrote(out, true)
		})}
	c.Flags().StringVar(&out, "out", out, "file to write, - for the standard output")
	return c
}

// fetch has the node write a file, which appears only when it is whole.
func (a *app) fetch(path string, get func(*opsapi.Client, io.Writer) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if path == "-" {
		return get(c, a.stdout)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	err = get(c, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name()) //nolint:errcheck // what matters has failed already
	}
	return err
}

func (a *app) auditVerifyCommand() *cobra.Command {
	var genesis string
	c := &cobra.Command{Use: "verify FILE...", Short: "Check audit logs, receipts and checkpoints against the genesis", Args: cobra.MinimumNArgs(1),
		RunE: a.run(func(_ context.Context, args []string) error { return a.auditVerify(genesis, args) })}
	c.Flags().StringVar(&genesis, "genesis", "", "genesis file; by default genesis.json beside the first FILE")
	return c
}

// verdict is what became of one file.
type verdict struct {
	File string `json:"file"`
	OK   bool   `json:"ok"`
	*audit.Report
	Proves []audit.Entry `json:"proves,omitempty"` // of a receipt
	Error  string        `json:"error,omitempty"`
}

func (a *app) auditVerify(genesis string, files []string) error {
	if genesis == "" {
		genesis = filepath.Join(filepath.Dir(files[0]), "genesis.json")
	}
	doc, err := os.ReadFile(genesis)
	if err != nil {
		return fail(exitBadUse, "--genesis FILE, the file that all operators compared", "read genesis: %w", err)
	}
	verifier, err := audit.NewVerifier(doc)
	if err != nil {
		return fail(exitBadUse, "--genesis FILE, the file that all operators compared", "%w", err)
	}
	var refused []string
	verdicts := []verdict{}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return fail(exitBadUse, "", "%w", err)
		}
		v := verdict{File: name}
		v.Report, err = verifier.Verify(f)
		f.Close() //nolint:errcheck // it was only read
		if v.OK = err == nil; !v.OK {
			v.Error = err.Error()
			refused = append(refused, name)
		} else {
			v.Proves = v.Entries
		}
		verdicts = append(verdicts, v)
	}
	err = a.print(verdicts, func(t *table) {
		t.row("FILE", "KIND", "EVENTS", "ERASED", "CHECKPOINTS", "COSIGNATURES", "SIGNED BY MEMBERS", "HEIGHT")
		for _, v := range verdicts {
			if v.OK {
				t.row(v.File, v.Kind, v.Events, v.Erased, v.Checkpoints, v.Cosignatures, v.Transactions.Verified, v.Height)
			} else {
				t.row(v.File, "REFUSED: "+v.Error)
			}
		}
		for _, v := range verdicts {
			if len(v.Proves) > 0 {
				t.row()
				t.row(v.File + " proves:")
				for _, e := range v.Proves {
					t.row(fmt.Sprintf("  %s  %s by %s: %s: %s", clock(e.Time), e.Kind, e.Actor, e.Object, e.Detail))
				}
			}
		}
	})
	if err == nil && len(refused) > 0 {
		err = fail(exitFailed, "", "refused: %s", strings.Join(refused, ", "))
	}
	return err
}

func (a *app) auditList(ctx context.Context, from uint64, limit int, newest bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if newest {
		log, err := c.Events(ctx, 0, 1)
		if err != nil {
			return err
		}
		from = log.Size - min(log.Size, uint64(max(limit, 0)))
	}
	log, err := c.Events(ctx, from, limit)
	if err != nil {
		return err
	}
	return a.print(log, func(t *table) {
		t.row("INDEX", "TIME", "WHAT", "WHO", "OBJECT", "DETAIL")
		for _, e := range log.Events {
			if e.Erased {
				t.row(e.Index, "", "erased")
				continue
			}
			t.row(e.Index, clock(e.Time), e.Kind, cutIDs(e.Actor), cutIDs(e.Object), e.Detail)
		}
		t.row()
		t.row("in all:", fmt.Sprintf("%d entries, root %s", log.Size, log.Root))
		if from > 0 {
			t.row("before these:", fmt.Sprintf("quorate audit list --from %d", from-min(from, uint64(max(limit, 0)))))
		}
		if next := from + uint64(len(log.Events)); next < log.Size {
			t.row("go on with:", fmt.Sprintf("quorate audit list --from %d", next))
		}
	})
}

var longID = regexp.MustCompile(`[0-9a-f]{64,}`)

// cutIDs shortens ids for a table. What takes an id takes its beginning.
func cutIDs(path string) string {
	return longID.ReplaceAllStringFunc(path, func(id string) string { return id[:shortID] + "…" })
}
