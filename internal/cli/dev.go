package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/wire"
)

// devOptions are the flags of `quorate dev`. A flag that was not given takes
// the value that an existing cluster was made with.
type devOptions struct {
	dir        string
	nodes      int
	network    string
	validators int
	listen     string
	basePort   int
	scenario   string

	given func(flag string) bool
}

// defaultDevDir is where a cluster lies that names no --dir.
const defaultDevDir = "quorate-dev"

func (a *app) devCommand() *cobra.Command {
	var o devOptions
	c := &cobra.Command{Use: "dev", Short: "Run a whole cluster on this machine until interrupted",
		Long: `Run a whole cluster on this machine: a node process for each operator, each
with its custody process, and a ceremony that makes validator keys. It prints
a first verified signature and stays until interrupted. The same --dir again
goes on where it stopped. Nothing of it is fit to guard value: all shares lie
on one machine.

With --scenario team there are three operators in three time zones, a custodian
with each, and a policy under which nobody does anything alone. It prints what to
paste to walk through a request, its approvals and what comes of them.

When everything is up it writes DIR/dev.json: addresses, process ids, keys.`,
		Args: cobra.NoArgs}
	c.RunE = a.run(func(ctx context.Context, _ []string) error { return a.dev(ctx, o) })
	f := c.Flags()
	f.StringVar(&o.dir, "dir", defaultDevDir, "directory of the cluster, created on the first start")
	f.IntVar(&o.nodes, "nodes", 4, "how many nodes")
	f.StringVar(&o.network, "network", "mainnet", "mainnet, hoodi or another public network, or a YAML file with the consensus-specs' configuration keys")
	f.IntVar(&o.validators, "validators", 2, "how many validator keys to make on the first start")
	f.StringVar(&o.listen, "listen", "127.0.0.1", "address to listen on")
	f.IntVar(&o.basePort, "base-port", 9000, "first port; node i begins 10·i above it")
	f.StringVar(&o.scenario, "scenario", "", "team: three operators who have to agree (default: one custodian, whom everything is allowed)")
	complete(c, "scenario", scenarioTeam)
	o.given = func(flag string) bool { return f.Changed(flag) }

	var dir string
	start := &cobra.Command{Use: "start-node NAME", Short: "Start a node again that has ended", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.devStartNode(ctx, dir, args[0]) })}
	start.Flags().StringVar(&dir, "dir", defaultDevDir, "directory of the running cluster")
	c.AddCommand(start)
	return c
}

// devCluster is a cluster of child processes on one machine.
type devCluster struct {
	app      *app
	progress *progress
	dir      string
	custody  string // binary
	genesis  *action.Genesis
	id       action.ClusterID
	pubkeys  []string

	mu    sync.Mutex // nodes' children, and DIR/dev.json which names them
	nodes []*devNode
}

func (a *app) dev(ctx context.Context, o devOptions) error {
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return fmt.Errorf("find directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	endWithGoRun(ctx)
	lock, err := durable.Lock(dir)
	if errors.Is(err, durable.ErrLocked) {
		return fail(exitFailed, "stop that one, or choose another --dir and --base-port", "another quorate dev runs here: %w", err)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	c := &devCluster{app: a, progress: newProgress(a.stdout), dir: dir}
	defer c.progress.abandon()
	// What a run before this one left is not true any more.
	if err := durable.Remove(durable.OS{}, c.statePath()); err != nil {
		return err
	}
	if err := c.open(ctx, o); err != nil {
		return err
	}
	if err := c.checkPorts(ctx); err != nil {
		return err
	}
	defer c.stop()
	if err := c.start(ctx); err != nil {
		return err
	}
	if err := c.makeKeys(ctx, o.validators); err != nil {
		return err
	}
	proof, err := c.prove(ctx)
	if err != nil {
		return err
	}
	// The socket first: whoever reads dev.json may ask at once.
	serve, err := c.listen()
	if err != nil {
		return err
	}
	if err := c.writeState(); err != nil {
		return err
	}
	c.summary(proof)
	c.stay(ctx, serve)
	return nil
}

// open finds the cluster that lies in the directory, or makes one.
func (c *devCluster) open(ctx context.Context, o devOptions) error {
	if err := c.findCustody(ctx); err != nil {
		return err
	}
	doc, err := durable.ReadFile(durable.OS{}, c.genesisPath(), wire.MaxGenesis)
	if errors.Is(err, os.ErrNotExist) {
		doc, err = c.found(ctx, o)
	}
	if err != nil {
		return err
	}
	if c.genesis, c.id, err = action.ParseGenesis(doc); err != nil {
		return err
	}
	if err := c.pinPeople(); err != nil {
		return err
	}
	for _, n := range c.genesis.Nodes {
		d, err := newDevNode(n.Name, c.home(n.Name))
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, d)
	}
	// In the order of their ports: node10 comes after node2.
	slices.SortFunc(c.nodes, func(a, b *devNode) int { return nodeIndex(a.name) - nodeIndex(b.name) })
	return c.sameAs(o)
}

// sameAs refuses flags that say something else than the cluster was made with.
func (c *devCluster) sameAs(o devOptions) error {
	hint := "leave the flag out to go on with this cluster, or choose another --dir"
	if o.given("nodes") && o.nodes != len(c.nodes) {
		return fail(exitBadUse, hint, "the cluster in %s has %d nodes, not %d", c.dir, len(c.nodes), o.nodes)
	}
	if o.given("scenario") && (o.scenario == scenarioTeam) != c.isTeam() {
		return fail(exitBadUse, hint, "the cluster in %s was not made with --scenario %s", c.dir, o.scenario)
	}
	if o.given("network") {
		config, err := readNetwork(o.network)
		if err != nil {
			return err
		}
		if !sameNetwork(config, c.genesis.Network) {
			return fail(exitBadUse, hint, "the cluster in %s is for network %s, which is not the network %s", c.dir, c.genesis.Network["CONFIG_NAME"], o.network)
		}
	}
	want := listenAt(o.listen, o.basePort)
	if have := c.nodes[0].config.Listen; (o.given("listen") || o.given("base-port")) && have != want {
		return fail(exitBadUse, hint, "the cluster in %s begins at %s, not at %s", c.dir, have.Signer, want.Signer)
	}
	return nil
}

func sameNetwork(a, b map[string]string) bool {
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return len(a) == len(b)
}

func (c *devCluster) home(name string) home { return home(filepath.Join(c.dir, name)) }
func (c *devCluster) genesisPath() string   { return filepath.Join(c.dir, "genesis.json") }
func (c *devCluster) statePath() string     { return filepath.Join(c.dir, "dev.json") }
func (c *devCluster) socketPath() string    { return filepath.Join(c.dir, "dev.sock") }

func nodeName(i int) string { return "node" + strconv.Itoa(i) }

func nodeIndex(name string) int {
	i, _ := strconv.Atoi(name[len("node"):]) // nodeName made it
	return i
}

// portStep is how far the ports of two nodes lie apart.
const portStep = 10

// stay keeps the cluster until ctx ends: it serves start-node and says when a
// node has ended.
func (c *devCluster) stay(ctx context.Context, serve func(context.Context)) {
	var serving sync.WaitGroup
	defer serving.Wait()
	serving.Go(func() { serve(ctx) })
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	told := map[*child]bool{}
	for {
		select {
		case <-ctx.Done():
			c.progress.say("\nstopping")
			return
		case <-tick.C:
		}
		for _, gone := range c.ended() {
			if !told[gone] {
				told[gone] = true
				c.progress.say("%s has ended (%s). Start it again with: quorate dev start-node %s --dir %s", gone.name, gone.verdict(), gone.name, c.dir)
			}
		}
	}
}
