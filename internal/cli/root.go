package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
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

	passphraseFD int // -1: ask the terminal
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
	err := root.ExecuteContext(ctx)
	if err == nil {
		return int(exitDone)
	}
	code, hint := explain(err)
	if !a.began {
		code = exitBadUse
		if hint == "" {
			hint = "quorate --help"
		}
	}
	fmt.Fprintf(stderr, "quorate: %v\n", err)
	if hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", hint)
	}
	return int(code)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "quorate",
		Short: "A key custodian that no single operator, administrator or machine can betray",
		Long: `quorate runs and asks nodes of a Quorate cluster: keys split among operators,
used only as a Byzantine-fault-tolerant ledger allows, with evidence of each use.

  quorate dev       a whole cluster on this machine, to try it

Exit codes: 0 done, 1 failed, 2 bad use, 3 denied by policy, 4 waiting for
approval, 5 not found, 6 unavailable.`,
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
	flags := root.PersistentFlags()
	flags.StringVar(&a.address, "address", "127.0.0.1:9003", "operator API of the node to ask")
	flags.StringVar(&a.identity, "identity", "", "who asks: ops.token in the node's home, a session's token, a member's key file, or ssh:FINGERPRINT")
	flags.IntVar(&a.passphraseFD, "passphrase-fd", -1, "open file descriptor to read a key file's passphrase from (default: ask the terminal)")
	flags.StringVarP(&a.output, "output", "o", "text", "text or json")
	flags.StringVar(&a.genesis, "genesis", "", "genesis document of the cluster that --identity signs for (default: that of its first use)")
	flags.BoolVarP(&a.yes, "yes", "y", false, "sign without asking on the terminal")
	root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // the flag is defined above
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
