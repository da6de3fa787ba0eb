package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bench"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/node"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

func (a *app) benchLedger() *cobra.Command {
	var nodes, transactions, blocks int
	var pause time.Duration
	c := &cobra.Command{Use: "ledger", Short: "Measure the ledger: how soon it commits, and how much governance it carries out", Args: cobra.NoArgs,
		Long: `Start a cluster in a temporary directory and, beside it, as many processes of
the consensus engine alone, configured the same, with an application that does
nothing. Submit one transaction to each in turn, and compare how long it takes
until it is committed where it was submitted. Then measure in this process how
many transactions of governance a replica carries out on one core, up to the
block on disk, beside writing the same changes and nothing else.`,
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.bench(ctx, nodes, func(c *benchCluster) ([]bench.Figure, error) {
				commit, err := c.commits(ctx, bench.CommitConfig{Nodes: nodes, T: c.view.T, Transactions: transactions, Pause: pause})
				if err != nil {
					return nil, err
				}
				c.progress.say("commit: %.2f ms, the engine alone %.2f ms", commit.Measured, commit.Limit)
				apply, err := bench.Apply(filepath.Join(c.dir, "apply"), *c.genesis, blocks, c.progress.say)
				return append([]bench.Figure{commit}, apply...), err
			})
		})}
	f := c.Flags()
	f.IntVar(&nodes, "nodes", 4, "how many nodes")
	f.IntVar(&transactions, "transactions", 100, "how many commits to measure")
	f.DurationVar(&pause, "pause", 100*time.Millisecond, "how long to let the ledgers rest before each")
	f.IntVar(&blocks, "blocks", 20, "how many blocks of governance to carry out")
	return c
}

// benchEngine is the process that bench ledger starts for each engine.
func (a *app) benchEngine() *cobra.Command {
	e := node.EmptyEngine{Log: slog.New(slog.NewTextHandler(a.stderr, nil))}
	c := &cobra.Command{Use: "engine", Hidden: true, Short: "Run the consensus engine alone, for bench ledger", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, _ []string) error { return e.Run(ctx, os.Stdin, a.stdout) })}
	f := c.Flags()
	f.StringVar(&e.Home, "home", "", "directory for the engine's data")
	f.StringSliceVar(&e.Addresses, "addresses", nil, "where the engines listen")
	f.IntVar(&e.Self, "self", 0, "which of them this is")
	return c
}

func (c *benchCluster) commits(ctx context.Context, cfg bench.CommitConfig) (bench.Figure, error) {
	member, err := c.member()
	if err != nil {
		return bench.Figure{}, err
	}
	engines, err := c.startEngines(ctx, cfg.Nodes)
	if err != nil {
		return bench.Figure{}, err
	}
	defer engines.stop()
	return bench.Commit(ctx, member, engines, cfg)
}

// benchMember submits what takes nobody's agreement: it lets time pass.
type benchMember struct {
	*benchCluster
	stopwatch
	id string
}

func (c *benchCluster) member() (*benchMember, error) {
	id := c.people()[0].ID
	file, err := os.ReadFile(c.keyFile(id))
	if err != nil {
		return nil, fmt.Errorf("read the member's key: %w", err)
	}
	signer, err := credential.Open(file, secret.Bytes{})
	return &benchMember{c, stopwatch{Signer: signer}, id}, err
}

// Commit submits over HTTP. See [bench.Committer].
func (m *benchMember) Commit(ctx context.Context) (time.Duration, error) {
	_, err := m.nodes[0].ops.Submit(ctx, m.benchCluster.id, m.id, action.KindTick, nil, &m.stopwatch)
	return time.Since(m.signed), err
}

// stopwatch notes when a transaction was signed: it is submitted then.
type stopwatch struct {
	credential.Signer
	signed time.Time
}

func (s *stopwatch) Sign(ctx context.Context, tag wire.Tag, parts ...[]byte) ([]byte, error) {
	sig, err := s.Signer.Sign(ctx, tag, parts...)
	s.signed = time.Now()
	return sig, err
}

// engines are the processes of a cluster that agrees on nothing.
type engines struct {
	children []*child
	answers  *bufio.Scanner // of the first
	log      string
}

func (c *benchCluster) startEngines(ctx context.Context, n int) (*engines, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start engines: %w", err)
	}
	base, err := freePorts(ctx, n)
	if err != nil {
		return nil, err
	}
	var addresses []string
	for i := range n {
		addresses = append(addresses, net.JoinHostPort("127.0.0.1", strconv.Itoa(base+portStep*i+portConsensus)))
	}
	e := &engines{log: filepath.Join(c.dir, "engines.log")}
	log, err := os.OpenFile(e.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start engines: %w", err)
	}
	defer log.Close()
	for i := range n {
		name := fmt.Sprint("engine", i)
		cmd := exec.Command(self, "bench", "engine", "--home", filepath.Join(c.dir, name), "--self", strconv.Itoa(i), "--addresses", strings.Join(addresses, ","))
		cmd.Stderr = log
		var answers io.Reader
		if i == 0 {
			if answers, err = cmd.StdoutPipe(); err != nil {
				return nil, fmt.Errorf("start engines: %w", err)
			}
			e.answers = bufio.NewScanner(answers)
		}
		started, err := startChild(name, cmd)
		if err != nil {
			e.stop()
			return nil, err
		}
		e.children = append(e.children, started)
	}
	return e, nil
}

// Commit asks the first engine, which measures itself. See [bench.Committer].
func (e *engines) Commit(context.Context) (time.Duration, error) {
	if _, err := fmt.Fprintln(e.children[0].stdin); err != nil {
		return 0, fmt.Errorf("ask engine: %w%s", err, tail(e.log))
	}
	if !e.answers.Scan() {
		return 0, fmt.Errorf("ask engine: %w%s", errors.Join(io.ErrUnexpectedEOF, e.answers.Err()), tail(e.log))
	}
	ns, err := strconv.ParseInt(e.answers.Text(), 10, 64)
	return time.Duration(ns), err
}

func (e *engines) stop() {
	var all sync.WaitGroup
	for _, c := range e.children {
		all.Go(func() { c.stop(stopTime) })
	}
	all.Wait()
}
