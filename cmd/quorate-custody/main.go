// Command quorate-custody is the process that holds one operator's shares of
// one key domain. It reaches nothing but the unix socket on which the node
// asks it, and takes no orders that the ledger has not proven.
//
//	quorate-custody init --home DIR --domain validator
//	quorate-custody bind --home DIR --genesis FILE --node NAME
//	quorate-custody run  --home DIR --socket PATH --allow-uid UID
//	quorate-custody log  --home DIR
//
// Exit codes: 0 done, 1 failed, 2 bad use.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/slashing"
)

const usage = `usage: quorate-custody init --home DIR --domain validator
       quorate-custody bind --home DIR --genesis FILE --node NAME
       quorate-custody run  --home DIR --socket PATH [--allow-uid UID]
       quorate-custody log  --home DIR

log writes what the slashing record says since it was last opened, a line of
JSON for each use of a key, with the chain that the ledger anchors.
`

func main() {
	err := run(os.Args[1:])
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp), errors.As(err, new(useError)):
		fmt.Fprint(os.Stderr, err, "\n", usage)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "quorate-custody:", err)
		os.Exit(1)
	}
}

type useError string

func (e useError) Error() string { return string(e) }

func run(args []string) error {
	if len(args) == 0 {
		return useError("a verb is missing")
	}
	if err := secret.Harden(); err != nil { // init and bind hold secrets, too
		return err
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(os.Stderr)
	var (
		home    = flags.String("home", "", "directory of this custody process")
		domain  = flags.String("domain", "", "key domain: validator")
		genesis = flags.String("genesis", "", "genesis document")
		node    = flags.String("node", "", "name of the node in the genesis")
		socket  = flags.String("socket", "", "unix socket to answer on")
		uid     = flags.Int("allow-uid", os.Getuid(), "the one user that may ask")
	)
	if err := flags.Parse(args[1:]); err != nil {
		return useError(err.Error())
	}
	if flags.NArg() > 0 || *home == "" {
		return useError("--home is missing, or there are words after the flags")
	}
	switch args[0] {
	case "init":
		rec, err := custody.Init(*home, action.Domain(*domain))
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(rec)
	case "bind":
		doc, err := os.ReadFile(*genesis)
		if err != nil {
			return err
		}
		return custody.Bind(*home, doc, *node)
	case "run":
		if *socket == "" {
			return useError("--socket is missing")
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return custody.Run(untilOrphaned(ctx), custody.Config{
			Home: *home, Socket: *socket, AllowUID: *uid,
			Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		})
	case "log":
		return writeLog(*home, os.Stdout)
	}
	return useError("unknown verb " + args[0])
}

// logLine is a line of the log verb.
type logLine struct {
	Sequence    uint64  `json:"sequence"`
	Chain       string  `json:"chain"`
	PublicKey   string  `json:"public_key,omitempty"`
	Kind        string  `json:"kind,omitempty"` // of the duty; none: the entry is no use of a key
	Slot        *uint64 `json:"slot,omitempty,string"`
	Source      *uint64 `json:"source,omitempty,string"`
	Target      *uint64 `json:"target,omitempty,string"`
	SigningRoot string  `json:"signing_root,omitempty"`
}

func writeLog(home string, w io.Writer) error {
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	err := custody.ReadLog(home, func(l slashing.Logged) {
		line := logLine{Sequence: l.Seq, Chain: fmt.Sprintf("%x", l.Chain)}
		if l.Facts != nil {
			line.PublicKey = fmt.Sprintf("0x%x", l.Key)
		}
		switch f := l.Facts.(type) {
		case slashing.Block:
			line.Kind, line.Slot, line.SigningRoot = "BLOCK", &f.Slot, fmt.Sprintf("0x%x", f.Root)
		case slashing.Attestation:
			line.Kind, line.Source, line.Target, line.SigningRoot = "ATTESTATION", &f.Source, &f.Target, fmt.Sprintf("0x%x", f.Root)
		case slashing.Other:
			line.Kind, line.SigningRoot = f.Kind, fmt.Sprintf("0x%x", f.Root)
		}
		enc.Encode(line) //nolint:errcheck // Flush returns it
	})
	return errors.Join(err, out.Flush())
}

// untilOrphaned ends ctx when whoever started this process with a pipe as its
// input closes the pipe, as dying does. Under a service manager the input is
// no pipe, and says nothing.
func untilOrphaned(ctx context.Context) context.Context {
	info, err := os.Stdin.Stat()
	if err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		io.Copy(io.Discard, os.Stdin) //nolint:errcheck // however it ends, nobody holds the other end
	}()
	return ctx
}
