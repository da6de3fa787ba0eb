package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/secret"
)

func (a *app) memberCommand() *cobra.Command {
	return noun("member", "People who take part in governance", append([]*cobra.Command{a.memberKeygenCommand(), a.memberLoginCommand()}, a.memberGovernCommands()...)...)
}

// keygen says which credential to make.
type keygen struct {
	out      string
	hybrid   bool
	ssh      string
	verified bool
	unsealed bool
}

// madeCredential is what a member hands to whoever enrols it.
type madeCredential struct {
	Suite      string          `json:"suite"`
	Credential ident.PublicKey `json:"credential"`
	File       string          `json:"file,omitempty"`
}

func (a *app) memberKeygenCommand() *cobra.Command {
	var k keygen
	c := &cobra.Command{
		Use: "keygen", Short: "Make a credential, or show that of an SSH key", Args: cobra.NoArgs,
		Long: `Makes a member's key and prints the credential that goes onto the ledger. The
key is kept in FILE, sealed with a passphrase of at least 8 characters that the
terminal is asked for.
With --ssh it stays in the SSH agent of SSH_AUTH_SOCK, and nothing is written.

Afterwards --identity FILE or --identity ssh:FINGERPRINT signs with it.`,
		Example: `  quorate member keygen --out alice.key --hybrid
  quorate member keygen --ssh SHA256:6mG8…`,
		RunE: a.run(func(ctx context.Context, _ []string) error { return a.memberKeygen(ctx, k) }),
	}
	f := c.Flags()
	f.StringVar(&k.out, "out", "", "file to keep the new key in")
	f.BoolVar(&k.hybrid, "hybrid", false, "sign with ML-DSA-65 beside Ed25519, so that either may fall")
	f.StringVar(&k.ssh, "ssh", "", "fingerprint of a key in the SSH agent, as ssh-add -l shows it")
	f.BoolVar(&k.verified, "verify-required", false, "with --ssh: the key's token must ask for its PIN or a fingerprint each time")
	f.BoolVar(&k.unsealed, "unsealed", false, "ask for no passphrase: whoever reads the file signs. For workloads, and to try things out")
	c.MarkFlagsOneRequired("out", "ssh")
	c.MarkFlagsMutuallyExclusive("unsealed", "ssh")
	c.MarkFlagsMutuallyExclusive("out", "ssh")
	c.MarkFlagsMutuallyExclusive("hybrid", "ssh")
	return c
}

func (a *app) memberKeygen(ctx context.Context, k keygen) error {
	made := madeCredential{File: k.out}
	if k.ssh != "" {
		s, err := agentKey(ctx, k.ssh, k.verified)
		if err != nil {
			return err
		}
		made.Credential = s.Public()
	} else {
		suite := ident.Ed25519
		if k.hybrid {
			suite = ident.Ed25519MLDSA65
		}
		if _, err := os.Lstat(k.out); err == nil {
			return fail(exitBadUse, "choose another file", "write key file: %s exists", k.out)
		}
		var file []byte
		var err error
		if file, made.Credential, err = a.newKeyFile(ctx, suite, k); err != nil {
			return err
		}
		if err := writeNew(k.out, file, 0o600); err != nil {
			return err
		}
	}
	made.Suite = made.Credential.Suite().String()
	text, err := made.Credential.MarshalText()
	if err != nil {
		return err
	}
	return a.print(made, func(t *table) {
		t.row("suite", made.Suite)
		t.row("credential", string(text))
	})
}

func (a *app) newKeyFile(ctx context.Context, suite ident.Suite, k keygen) ([]byte, ident.PublicKey, error) {
	if k.unsealed {
		return credential.GenerateUnsealed(rand.Reader, suite)
	}
	passphrase, err := a.passphrase(ctx, "Passphrase for "+k.out, true)
	if err != nil {
		return nil, ident.PublicKey{}, err
	}
	defer passphrase.Destroy()
	file, public, err := credential.Generate(rand.Reader, suite, passphrase)
	if errors.Is(err, credential.ErrShort) { // from --passphrase-fd
		err = fail(exitBadUse, "nothing was written; choose a longer one, or --unsealed for a workload", "%w", err)
	}
	return file, public, err
}

func (a *app) memberLoginCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "login MEMBER", Short: "Get a session that may read", Args: cobra.ExactArgs(1),
		Long: `Signs a challenge of the node with --identity and keeps the session's token in
FILE. For an hour, --identity FILE then reads from that node. It decides nothing:
what does is signed each time.`,
		RunE: a.run(func(ctx context.Context, args []string) error {
			signer, err := a.signer(ctx)
			if err != nil {
				return err
			}
			session, err := opsapi.NewClient(a.address, secret.Bytes{}).Login(ctx, args[0], signer)
			if err != nil {
				return hinted(err, "is the credential of --identity on the ledger as the member's?")
			}
			if err := durable.WriteOSFile(out, []byte(session.Token+"\n"), 0o600); err != nil {
				return err
			}
			return a.print(session.Session, func(t *table) {
				t.row("member", session.Member)
				t.row("expires", clock(session.Expires))
			})
		}),
	}
	c.Flags().StringVar(&out, "out", "", "file for the session's token")
	c.MarkFlagRequired("out") //nolint:errcheck // the flag is defined above
	return c
}

const identityHint = "give --identity a key file of quorate member keygen, or ssh:FINGERPRINT as ssh-add -l shows it"

const passphraseHint = "the passphrase is that of quorate member keygen"

// signer resolves --identity into what signs as a member: ssh:FINGERPRINT, or
// a key file, as file:PATH or PATH.
func (a *app) signer(ctx context.Context) (credential.Signer, error) {
	if fingerprint, ok := strings.CutPrefix(a.identity, "ssh:"); ok {
		return agentKey(ctx, fingerprint, false)
	}
	path := strings.TrimPrefix(a.identity, "file:")
	if path == "" {
		return nil, fail(exitBadUse, identityHint, "this is signed by a member, and --identity names none")
	}
	file, err := durable.ReadFile(durable.OS{}, path, credential.MaxFile)
	if err != nil {
		return nil, fail(exitBadUse, identityHint, "read identity: %w", err)
	}
	if !credential.IsFile(file) {
		return nil, fail(exitBadUse, identityHint, "read identity: %s is no key file", path)
	}
	var passphrase secret.Bytes
	if credential.IsSealed(file) {
		if passphrase, err = a.passphrase(ctx, "Passphrase of "+path, false); err != nil {
			return nil, err
		}
		defer passphrase.Destroy()
	}
	s, err := credential.Open(file, passphrase)
	return s, hinted(err, passphraseHint)
}

func agentKey(ctx context.Context, fingerprint string, verified bool) (credential.Signer, error) {
	s, err := credential.FromAgent(ctx, os.Getenv("SSH_AUTH_SOCK"), fingerprint, verified)
	return s, hinted(err, "ssh-add -l shows the fingerprints of the agent's keys")
}

// passphrase comes from the descriptor of --passphrase-fd or the terminal,
// never from arguments or the environment, where others could read it.
func (a *app) passphrase(ctx context.Context, prompt string, isNew bool) (p secret.Bytes, err error) {
	if a.passphraseFD != nil {
		p, err = credential.PassphraseFrom(*a.passphraseFD)
	} else {
		p, err = credential.AskPassphrase(ctx, prompt, isNew)
	}
	switch {
	case errors.Is(err, credential.ErrDiffer), errors.Is(err, credential.ErrShort):
		return p, fail(exitBadUse, "nothing was written; run the same command again", "%w", err)
	case err != nil:
		return p, fail(exitBadUse, "without a terminal: --passphrase-fd 3 3<FILE", "%w", err)
	}
	return p, nil
}
