// Command quorate-custody is the process that holds one operator's shares of
// one key domain. It reaches nothing but the unix socket on which the node
// asks it, and takes no orders that the ledger has not proven.
//
//	quorate-custody init --home DIR --domain validator
//	quorate-custody bind --home DIR --genesis FILE --node NAME
//	quorate-custody run  --home DIR --socket PATH --allow-uid UID
//
// Exit codes: 0 done, 1 failed, 2 bad use.
package main

import (
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
)

const usage = `usage: quorate-custody init --home DIR --domain validator
       quorate-custody bind --home DIR --genesis FILE --node NAME
       quorate-custody run  --home DIR --socket PATH [--allow-uid UID]
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
	}
	return useError("unknown verb " + args[0])
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
