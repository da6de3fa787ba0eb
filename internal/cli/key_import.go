package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

func (a *app) keyImportCommand() *cobra.Command {
	var passwordFile, slashing string
	c := &cobra.Command{
		Use: "import KEYSTORE.json...", Short: "Deal keys that were whole to the holders", Args: cobra.MinimumNArgs(1),
		Long: `Decrypts EIP-2335 keystores in the custody process of the node that is asked,
which deals each key in shares and destroys it. The inventory and the log say
of such a key that it was whole: copies of the keystore are still as good as it.

Stop the validator client that has the key first, and bring its slashing
history with --slashing. What counts as signed without one, the cluster's
genesis says: nothing may be signed (refuse), everything up to now, or nothing.`,
		RunE: a.run(func(ctx context.Context, files []string) error {
			return a.keyImport(ctx, files, passwordFile, slashing)
		}),
	}
	c.Flags().StringVar(&passwordFile, "password-file", "", "file with the password of all the keystores")
	c.Flags().StringVar(&slashing, "slashing", "", "EIP-3076 interchange to import before the keys; without it no key is imported if it fails")
	c.MarkFlagRequired("password-file") //nolint:errcheck // the flag is defined above
	return c
}

// importResult is what became of one keystore.
type importResult struct {
	File      string `json:"file"`
	PublicKey string `json:"pubkey,omitempty"`
	Status    string `json:"status"` // imported, duplicate or error
	Error     string `json:"error,omitempty"`
}

// keyImport imports one keystore after another and says of each what became of
// it. The exit code is that of the first failure.
func (a *app) keyImport(ctx context.Context, files []string, passwordFile, slashingFile string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	password, err := readPassword(passwordFile)
	if err != nil {
		return fail(exitBadUse, "write the password into a file that only you can read", "read password: %w", err)
	}
	defer password.Destroy()
	keystores := make([][]byte, len(files))
	for i, file := range files {
		if keystores[i], err = durable.ReadFile(durable.OS{}, file, wire.MaxKeystore); err != nil {
			return fail(exitBadUse, "", "read keystore: %w", err)
		}
	}
	if slashingFile != "" {
		if err := a.sendSlashing(ctx, c, slashingFile); err != nil {
			return err
		}
	}
	results := make([]importResult, len(files))
	var first error
	for i, file := range files {
		var err error
		if results[i], err = importOne(ctx, c, file, keystores[i], password); err != nil && first == nil {
			code, hint := explain(err)
			first = fail(code, hint, "import %s: %w", file, err)
		}
	}
	if err := a.print(results, func(t *table) {
		t.row("KEYSTORE", "STATUS", "PUBKEY")
		for _, r := range results {
			t.row(r.File, r.Status, r.PublicKey+r.Error)
		}
	}); err != nil {
		return err
	}
	return first
}

func importOne(ctx context.Context, c *opsapi.Client, file string, keystore []byte, password secret.Bytes) (importResult, error) {
	imported, err := c.ImportKeystore(ctx, keystore, password)
	r := importResult{File: file, PublicKey: imported.PublicKey, Status: "duplicate"}
	switch {
	case err != nil:
		r.Status, r.Error = "error", err.Error()
	case imported.Created:
		r.Status = "imported"
	}
	return r, err
}

// readPassword reads a file as it is: of a password, EIP-2335 leaves out line
// ends and all other control codes.
func readPassword(path string) (secret.Bytes, error) {
	f, err := os.Open(path)
	if err != nil {
		return secret.Bytes{}, err
	}
	defer f.Close()
	buf := make([]byte, wire.MaxPassword+1) // one piece: a buffer that grows leaves copies
	defer secret.Wipe(buf)
	n, err := io.ReadFull(f, buf)
	switch {
	case err == nil:
		return secret.Bytes{}, fmt.Errorf("%s is over %d bytes", path, wire.MaxPassword)
	case n == 0:
		return secret.Bytes{}, fmt.Errorf("%s is empty: %w", path, err)
	case err != io.ErrUnexpectedEOF:
		return secret.Bytes{}, err
	}
	return secret.New(buf[:n]), nil
}
