package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/migrate"
)

func (a *app) importSlashingCommand() *cobra.Command {
	var postgres, out string
	c := &cobra.Command{
		Use: "import-slashing", Short: "Make an EIP-3076 interchange of Web3Signer's slashing database", Args: cobra.NoArgs,
		Long: `Reads Web3Signer's slashing database and writes an EIP-3076 interchange, which
goes with the keystores into the Keymanager API as slashing_protection.

Stop Web3Signer first, or set its high watermark: then everything below that
counts as signed, and it may go on until there.`,
		RunE: a.run(func(ctx context.Context, _ []string) error { return a.importSlashing(ctx, postgres, out) }),
	}
	c.Flags().StringVar(&postgres, "from-postgres", "", "file with the connection string of the database (it holds a password, hence a file)")
	c.Flags().StringVar(&out, "out", "", "file to write the interchange to (default: standard output)")
	_ = c.MarkFlagRequired("from-postgres") // fails for unknown names only
	return c
}

func (a *app) importSlashing(ctx context.Context, connectionFile, out string) error {
	connection, err := readToken(connectionFile)
	if err != nil {
		return fail(exitBadUse, "write the connection string into a file that only you can read", "read connection string: %w", err)
	}
	defer connection.Destroy()
	var db migrate.Web3Signer
	connection.Expose(func(raw []byte) { db, err = migrate.ReadWeb3Signer(ctx, string(raw)) })
	if err != nil {
		return err
	}
	doc, err := db.History.Encode()
	if err != nil {
		return err
	}
	doc = append(doc, '\n')
	if out == "" {
		_, err = a.stdout.Write(doc)
	} else {
		err = durable.WriteOSFile(out, doc, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write interchange: %w", err)
	}
	fmt.Fprintf(a.stderr, "%d validators, genesis validators root 0x%x\n", len(db.History.Keys), db.History.Genesis)
	switch {
	case db.HighSlot != nil && db.HighEpoch != nil:
		fmt.Fprintf(a.stderr, "all below slot %d and epoch %d, the high watermark, counts as signed\n", *db.HighSlot, *db.HighEpoch)
	case db.Sessions > 0:
		fmt.Fprintf(a.stderr, "warning: %d other sessions are connected to the database; if one of them is Web3Signer, stop it and repeat this\n", db.Sessions)
	}
	return nil
}
