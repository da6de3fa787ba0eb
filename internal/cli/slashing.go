package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/wire"
)

func (a *app) exportSlashingCommand() *cobra.Command {
	var out string
	var own bool
	c := &cobra.Command{
		Use: "export-slashing [PUBKEY...]", Short: "Write the slashing history of keys as an EIP-3076 interchange",
		Args: cobra.MaximumNArgs(maxExport),
		Long: `Asks all holders for what they signed and writes the maximum of each record,
once n - f of them have answered. Without a PUBKEY it writes all keys.

A key that still signs outgrows its history at once. Before another signer gets
the key, delete it here (the Keymanager API's DELETE answers with its history),
or make sure that no validator client asks for it any more.`,
		RunE: a.run(func(ctx context.Context, pubkeys []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			doc, err := c.ExportSlashing(ctx, pubkeys, own)
			if err != nil {
				return hinted(err, "quorate key list")
			}
			return a.writeInterchange(out, doc)
		}),
	}
	c.Flags().StringVar(&out, "out", "", "file to write to (default: standard output)")
	c.Flags().BoolVar(&own, "node", false, "only what the holder of this one node knows: too little for another signer")
	return c
}

// maxExport is how many keys fit into a URL.
const maxExport = 100

func (a *app) importSlashingCommand() *cobra.Command {
	var postgres, out string
	c := &cobra.Command{
		Use: "import-slashing [FILE]", Short: "Raise watermarks from an EIP-3076 interchange, or from Web3Signer's database", Args: cobra.MaximumNArgs(1),
		Long: `Takes a slashing history, from an EIP-3076 interchange or out of Web3Signer's
database, and has n - f holders at least record it durably. It only ever raises
watermarks, so repeating it does no harm, and it is the way to repair a record
that is too low. Nothing lowers one.

With --from-postgres and --out the history goes into a file as an interchange,
and not into the cluster: to look at it, or for another time.

Stop Web3Signer first, or set its high watermark: then everything below that
counts as signed, and it may go on until there.`,
		RunE: a.run(func(ctx context.Context, files []string) error {
			if (len(files) == 1) == (postgres != "") {
				return fail(exitBadUse, "quorate key import-slashing --help", "give either an interchange or --from-postgres")
			}
			if postgres != "" {
				return a.importPostgres(ctx, postgres, out)
			}
			if out != "" {
				return fail(exitBadUse, "quorate key import-slashing --help", "--out goes with --from-postgres")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.sendSlashing(ctx, c, files[0])
		}),
	}
	c.Flags().StringVar(&postgres, "from-postgres", "", "file with the connection string of Web3Signer's database (it holds a password, hence a file)")
	c.Flags().StringVar(&out, "out", "", "with --from-postgres: write the interchange to this file instead, - for standard output")
	return c
}

func (a *app) sendSlashing(ctx context.Context, c *opsapi.Client, file string) error {
	doc, err := durable.ReadFile(durable.OS{}, file, wire.MaxImportBody)
	if err != nil {
		return fail(exitBadUse, "", "read interchange: %w", err)
	}
	return a.raise(ctx, c, doc)
}

// raise hands the cluster an interchange.
func (a *app) raise(ctx context.Context, c *opsapi.Client, doc []byte) error {
	imported, err := c.ImportSlashing(ctx, doc)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "the slashing history of %s is recorded\n", plural(imported.Keys, "key"))
	return nil
}

// writeInterchange writes to a file, or to standard output for "" and "-".
func (a *app) writeInterchange(out string, doc []byte) (err error) {
	doc = append(doc, '\n')
	if out == "" || out == "-" {
		_, err = a.stdout.Write(doc)
	} else {
		err = durable.WriteOSFile(out, doc, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write interchange: %w", err)
	}
	return nil
}
