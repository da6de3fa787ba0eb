package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/secret"
)

// app is one run of the command line.
type app struct {
	stdout, stderr io.Writer

	address  string
	identity string
	output   string

	passphraseFD *int // nil: ask the terminal
	genesis      string
	yes          bool

	// compose, when set, takes the canonical action of a command that would
	// ask for one, in place of asking.
	compose *[]byte

	began bool // a command runs: what goes wrong from here on is not bad use
}

// Main runs a command line and returns the process's exit code.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return int(exitDone)
	}
	err = interrupted(ctx, err)
	code, hint := explain(err)
	if !a.began {
		code, hint = exitBadUse, cmp.Or(hint, usage(cmd))
	}
	text, own := cutHint(err.Error())
	fmt.Fprintf(stderr, "quorate: %s\n", text)
	if hint = cmp.Or(own, hint); hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", hint)
	}
	return int(code)
}

// usage is how a command wants to be called.
func usage(c *cobra.Command) string {
	help := c.CommandPath() + " --help"
	line := strings.TrimSuffix(c.UseLine(), " [flags]")
	if c.HasSubCommands() || line == c.CommandPath() {
		return help
	}
	return line + "; more in " + help
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "quorate",
		Short: "A key custodian that no single operator, administrator or machine can betray",
		Long: `quorate runs and asks nodes of a Quorate cluster: keys split among operators,
used only as a Byzantine-fault-tolerant ledger allows, with evidence of each use.

  quorate dev       a whole cluster on this machine, to try it

Exit codes: 0 done, 1 failed, 2 bad use, 3 denied by policy, 4 waiting for
approval, 5 not found, 6 unavailable, 130 interrupted.`,
		Version:       readVersion().Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != "text" && a.output != "json" {
				return fmt.Errorf("output %q is unknown, want text or json", a.output)
			}
			return nil
		},
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("quorate {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.StringVar(&a.address, "address", "127.0.0.1:9003", "operator API of the node to ask")
	flags.StringVar(&a.identity, "identity", "", "who asks: ops.token in the node's home, a session's token, a member's key file, or ssh:FINGERPRINT")
	flags.Func("passphrase-fd", "open file `descriptor` to read a key file's passphrase from (default: ask the terminal)", func(s string) error {
		fd, err := strconv.ParseUint(s, 10, 16)
		a.passphraseFD = new(int(fd))
		return err
	})
	flags.StringVarP(&a.output, "output", "o", "text", "text or json")
	flags.StringVar(&a.genesis, "genesis", "", "genesis document of the cluster that --identity signs for (default: that of its first use)")
	flags.BoolVarP(&a.yes, "yes", "y", false, "sign without asking on the terminal")
	complete(root, "output", "text", "json")
	root.AddCommand(a.devCommand(), a.nodeCommand(), a.keyCommand(), a.ceremonyCommand(), a.requestCommand(), a.memberCommand(), a.policyCommand(), a.timerCommand(), a.auditCommand(), a.beaconCommand(), a.doctorCommand(), a.benchCommand(), a.versionCommand())
	return root
}

// noun is a command that only has verbs.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return fmt.Errorf("quorate %s needs a verb: %s", use, strings.Join(names(verbs), ", "))
	}}
	c.AddCommand(verbs...)
	return c
}

func names(cmds []*cobra.Command) (out []string) {
	for _, c := range cmds {
		out = append(out, c.Name())
	}
	return out
}

// run marks where flags end and work begins.
func (a *app) run(work func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.began = true
		return work(cmd.Context(), args)
	}
}

// client asks the node of --address. A member's key is no token: what needs
// one says so, and what a member signs asks for signer.
func (a *app) client() (*opsapi.Client, error) {
	path := strings.TrimPrefix(a.identity, "file:")
	if file, err := durable.ReadFile(durable.OS{}, path, credential.MaxFile); path == "" || strings.HasPrefix(path, "ssh:") || err == nil && credential.IsFile(file) {
		return opsapi.NewClient(a.address, secret.Bytes{}), nil
	}
	token, err := readToken(path)
	if err != nil {
		return nil, fail(exitBadUse, "give --identity the file ops.token in the node's home", "read identity: %w", err)
	}
	return opsapi.NewClient(a.address, token), nil
}

// maxToken bounds a token file.
const maxToken = 4 << 10

// readToken reads a bearer token.
func readToken(path string) (secret.Bytes, error) {
	f, err := os.Open(path)
	if err != nil {
		return secret.Bytes{}, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxToken))
	if err != nil {
		return secret.Bytes{}, err
	}
	defer secret.Wipe(raw)
	return secret.New(bytes.TrimSpace(raw)), nil
}
