package cli

import (
	"context"
	"fmt"

	"github.com/quorate/quorate/internal/migrate"
)

// importPostgres reads Web3Signer's slashing database and hands the history to
// the cluster, or writes it to a file.
func (a *app) importPostgres(ctx context.Context, connectionFile, out string) error {
	connection, err := readToken(connectionFile)
	if err != nil {
		return fail(exitBadUse, "write the connection string into a file that only you can read", "read connection string: %w", err)
	}
	defer connection.Destroy()
	var db migrate.Web3Signer
	connection.Expose(func(raw []byte) { db, err = migrate.ReadWeb3Signer(ctx, string(raw)) })
	if err != nil {
		return hinted(err, "the file holds one line, such as postgres://USER:PASSWORD@HOST:5432/DATABASE, of a user who may read")
	}
	doc, err := db.History.Encode()
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "%s, genesis validators root 0x%x\n", plural(len(db.History.Keys), "validator"), db.History.Genesis)
	switch {
	case db.HighSlot != nil && db.HighEpoch != nil:
		fmt.Fprintf(a.stderr, "all below slot %d and epoch %d, the high watermark, counts as signed\n", *db.HighSlot, *db.HighEpoch)
	case db.Sessions > 0:
		fmt.Fprintf(a.stderr, "warning: %d other sessions are connected to the database; if one of them is Web3Signer, stop it and repeat this\n", db.Sessions)
	}
	if out != "" {
		return a.writeInterchange(out, doc)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	return a.raise(ctx, c, doc)
}
