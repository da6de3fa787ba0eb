package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bench"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/opsapi"
)

func (a *app) benchCommand() *cobra.Command {
	return noun("bench", "Measure this machine: a cluster of its own beside what cryptography and disk alone would do", a.benchSign(), a.benchDKG(), a.benchLedger(), a.benchBeacon(), a.benchEngine())
}

func (a *app) benchSign() *cobra.Command {
	var nodes, seconds, keys int
	var concurrency []int
	c := &cobra.Command{Use: "sign", Short: "Measure signatures per second, latency, processor time and memory", Args: cobra.NoArgs,
		Long: `Start a cluster in a temporary directory, make keys in a ceremony, and ask it
over HTTP for attestations, each distinct and slashable. The limit is measured
before and after, on the same cores: t partial signatures, combine, verify, and
a record on disk for each partial. Ratios are comparable between machines;
rates are not.`,
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.bench(ctx, nodes, func(c *benchCluster) ([]bench.Figure, error) {
				return bench.Sign(ctx, c.view, bench.SignConfig{
					Dir: c.dir, Duration: time.Duration(seconds) * time.Second, Concurrency: concurrency,
					Keys: max(keys, slices.Max(append(concurrency, 1))), Progress: c.progress.say,
				})
			})
		})}
	f := c.Flags()
	f.IntVar(&nodes, "nodes", 4, "how many nodes")
	f.IntVar(&seconds, "seconds", 5, "how long each measurement takes")
	f.IntVar(&keys, "keys", 512, "how many keys to sign with, at least one for each caller")
	f.IntSliceVar(&concurrency, "concurrency", []int{1, 8, 64}, "how many callers wait for an answer at once")
	return c
}

func (a *app) benchDKG() *cobra.Command {
	var nodes int
	var keys, participants []int
	var plot string
	c := &cobra.Command{Use: "dkg", Short: "Measure making keys: the cryptography, and whole ceremonies", Args: cobra.NoArgs,
		Long: `Measure the processor time of each step of a ceremony, without a network: those
of nodes, and those among thousands (4096 participants take ten minutes: ask
for them). Then start a cluster in a temporary directory and measure whole
ceremonies on it, from the request until the keys stand in the inventory.
Beside each figure stands what its group operations alone cost, and its budget:
what it was to cost by the design, on a core that nothing disturbs. The
operations that budgets are made of are measured, too.`,
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.benchReport(func(p *progress) ([]bench.Figure, error) {
				figures, err := steps(ctx, participants, p.say)
				if err != nil {
					return nil, err
				}
				if plot != "" {
					if err := os.WriteFile(plot, []byte(bench.Plot(figures)), 0o644); err != nil {
						return nil, fmt.Errorf("write the plot: %w", err)
					}
				}
				whole, err := a.onCluster(ctx, p, nodes, func(c *benchCluster) ([]bench.Figure, error) { return c.ceremonies(ctx, keys) })
				return append(figures, whole...), err
			})
		})}
	f := c.Flags()
	f.IntVar(&nodes, "nodes", 4, "how many nodes hold the ceremonies")
	f.IntSliceVar(&participants, "participants", []int{4, 16, 64, 256, 1024}, "sizes of ceremonies of one key, ascending, up to 4096")
	f.StringVar(&plot, "plot", "", "SVG file for the cost of one participant as their number grows")
	f.IntSliceVar(&keys, "keys", []int{1, 10, 100, 1000}, "how many keys to make in each ceremony")
	return c
}

// benchCluster is a cluster of its own in a directory that goes with it.
type benchCluster struct {
	*devCluster
	view *bench.Cluster
	keys map[string]bool // active, of earlier ceremonies
}

// bench measures on a fresh cluster and prints what it found.
func (a *app) bench(ctx context.Context, nodes int, measure func(*benchCluster) ([]bench.Figure, error)) error {
	return a.benchReport(func(p *progress) ([]bench.Figure, error) { return a.onCluster(ctx, p, nodes, measure) })
}

// benchReport measures and prints what it found.
func (a *app) benchReport(measure func(*progress) ([]bench.Figure, error)) (err error) {
	p := newProgress(a.stderr)
	defer p.abandon()
	report := bench.Report{Machine: bench.ThisMachine()}
	if report.Figures, err = measure(p); err != nil {
		return err
	}
	report.Machine.Done()
	return a.print(report, func(t *table) { benchTable(t, report) })
}

// onCluster runs measure on a fresh cluster.
func (a *app) onCluster(ctx context.Context, p *progress, nodes int, measure func(*benchCluster) ([]bench.Figure, error)) ([]bench.Figure, error) {
	dir, err := os.MkdirTemp("", "quorate-bench-")
	if err != nil {
		return nil, fmt.Errorf("create directory: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	endWithGoRun(ctx)
	c := &benchCluster{devCluster: &devCluster{app: a, progress: p, dir: dir}, keys: map[string]bool{}}
	base, err := freePorts(ctx, nodes)
	if err != nil {
		return nil, err
	}
	options := devOptions{nodes: nodes, network: "mainnet", listen: "127.0.0.1", basePort: base, given: func(string) bool { return false }}
	if err := c.open(ctx, options); err != nil {
		return nil, err
	}
	defer c.stop()
	if err := c.start(ctx); err != nil {
		return nil, err
	}
	if err := c.look(); err != nil {
		return nil, err
	}
	return measure(c)
}

// freePorts finds a base from which on nobody listens. It looks anywhere, so
// that two runs do not get in each other's way.
func freePorts(ctx context.Context, nodes int) (int, error) {
	const lowest, step, places, tries = 20_000, 200, 60, 100 // below what the kernel gives to outgoing connections
	var taken error
	for range tries {
		base := lowest + rand.IntN(places)*step
		if taken = portsFree(ctx, base, nodes); taken == nil {
			return base, nil
		}
	}
	return 0, fmt.Errorf("find free ports: %w", taken)
}

func portsFree(ctx context.Context, base, nodes int) error {
	for i := range nodes {
		for offset := portSigner; offset <= portPeer; offset++ {
			address := net.JoinHostPort("127.0.0.1", strconv.Itoa(base+portStep*i+offset))
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
			if err != nil {
				return err
			}
			l.Close() //nolint:errcheck // it was only a question
		}
	}
	return nil
}

// look describes the running cluster to package bench.
func (c *benchCluster) look() error {
	network, err := eth.NetworkFromConfig(c.genesis.Network)
	if err != nil {
		return err
	}
	th, err := action.DefaultThreshold(len(c.nodes))
	if err != nil {
		return err
	}
	c.view = &bench.Cluster{Network: network, T: th.T(), Keys: c}
	for _, n := range c.nodes {
		view := bench.Node{Signer: n.config.Listen.Signer, PIDs: []int{n.child.pid}}
		for _, cu := range n.status.Custody {
			view.PIDs = append(view.PIDs, cu.PID)
		}
		c.view.Nodes = append(c.view.Nodes, view)
	}
	return nil
}

// steps measures what needs no cluster, while there is none.
func steps(ctx context.Context, participants []int, say func(format string, args ...any)) ([]bench.Figure, error) {
	operations, err := bench.Operations()
	if err != nil {
		return nil, err
	}
	nodes, err := bench.DKG(say)
	if err != nil {
		return nil, err
	}
	figures := append(operations, nodes...)
	for _, n := range participants {
		for _, hybrid := range []bool{false, true} {
			more, err := bench.Large(ctx, n, hybrid, say)
			if err != nil {
				return nil, err
			}
			figures = append(figures, more...)
		}
	}
	return figures, nil
}

func (c *benchCluster) ceremonies(ctx context.Context, sizes []int) (figures []bench.Figure, err error) {
	for _, keys := range sizes {
		f, err := bench.Ceremony(ctx, c.view, keys)
		if err != nil {
			return nil, err
		}
		c.progress.say("%d keys in the inventory after %.2f s, %.2f CPU-seconds per operator; refreshed after %.2f s, %.2f CPU-seconds",
			keys, f[0].Measured, f[0].OperatorCPU, f[1].Measured, f[1].OperatorCPU)
		figures = append(figures, f...)
	}
	return figures, nil
}

// Make runs a ceremony: see [bench.KeyMaker].
func (c *benchCluster) Make(ctx context.Context, keys int) ([]bls.PublicKey, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, ceremonyTime+time.Duration(keys)*100*time.Millisecond)
	defer cancel()
	ops, began := c.nodes[0].ops, time.Now()
	opened, err := ops.Open(ctx, opsapi.OpenCeremony{Keys: keys, Purpose: "bench"})
	if err != nil {
		return nil, 0, fmt.Errorf("open ceremony: %w", err)
	}
	if _, err := c.done(ctx, opened.ID); err != nil {
		return nil, 0, err
	}
	var made []bls.PublicKey
	if err := poll(ctx, func() (bool, error) {
		made, err = c.fresh(ctx)
		return len(made) >= keys, err
	}); err != nil {
		return nil, 0, err
	}
	took := time.Since(began)
	for _, k := range made {
		c.keys[k.String()] = true
	}
	for _, n := range c.nodes {
		if err := poll(ctx, func() (bool, error) {
			st, err := n.ops.Status(ctx)
			return err == nil && len(st.Custody) > 0 && st.Custody[0].Keys >= len(c.keys), err
		}); err != nil {
			return nil, 0, fmt.Errorf("wait for %s to hold its shares: %w", n.name, err)
		}
	}
	return made, took, nil
}

// Refresh runs a refresh: see [bench.KeyMaker].
func (c *benchCluster) Refresh(ctx context.Context, keys []bls.PublicKey) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, ceremonyTime+time.Duration(len(keys))*100*time.Millisecond)
	defer cancel()
	req := opsapi.OpenCeremony{Mode: "refresh", Purpose: "bench"}
	for _, k := range keys {
		req.PublicKeys = append(req.PublicKeys, k.String())
	}
	began := time.Now()
	opened, err := c.nodes[0].ops.Open(ctx, req)
	if err != nil {
		return 0, fmt.Errorf("open refresh: %w", err)
	}
	if _, err := c.done(ctx, opened.ID); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, poll(ctx, func() (bool, error) {
		one, err := c.done(ctx, opened.ID)
		return !slices.ContainsFunc(one.Seats, func(s opsapi.Seat) bool { return !s.Holds }), err
	})
}

// done waits until a ceremony has ended well.
func (c *benchCluster) done(ctx context.Context, id string) (one opsapi.Ceremony, err error) {
	return one, poll(ctx, func() (bool, error) {
		if one, err = c.nodes[0].ops.Ceremony(ctx, id); err == nil && one.Phase == "aborted" {
			err = fmt.Errorf("ceremony %s was aborted with %d faults", one.ID, len(one.Faults))
		}
		return one.Phase == "done", err
	})
}

// fresh returns the active keys that no earlier ceremony made.
func (c *benchCluster) fresh(ctx context.Context) (made []bls.PublicKey, err error) {
	all, err := c.nodes[0].ops.Keys(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		if k.State != "active" || c.keys[k.PublicKey] {
			continue
		}
		key, err := parseKey(k.PublicKey)
		if err != nil {
			return nil, err
		}
		made = append(made, key)
	}
	return made, nil
}

// pollEvery is fine enough for ceremonies that take a second.
const pollEvery = 25 * time.Millisecond

// poll asks until the answer is yes or an error.
func poll(ctx context.Context, ask func() (bool, error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		yes, err := ask()
		if yes || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(errors.New("the cluster took too long"), ctx.Err())
		}
	}
}

func benchTable(t *table, r bench.Report) {
	t.row(fmt.Sprintf("%s, %d cores, %s, load %s to %s", r.Machine.CPU, r.Machine.Cores, r.Machine.Go, r.Machine.LoadBefore, r.Machine.LoadAfter))
	t.row()
	t.row("FIGURE", "SHARES", "KEYS", "CALLERS", "MEASURED", "LEAST", "RUNS", "LIMIT", "RATIO", "BUDGET", "LEAST/BUDGET", "UNIT", "P50 ms", "P99 ms", "CPU", "LIMIT CPU", "CPU RATIO", "RSS MiB")
	optional := func(v float64, format string) string {
		if v == 0 {
			return ""
		}
		return fmt.Sprintf(format, v)
	}
	for _, f := range r.Figures {
		cpu := optional(f.CPU, "%.2f ms")
		if f.OperatorCPU > 0 {
			cpu = fmt.Sprintf("%.2f s", f.OperatorCPU)
		}
		name := f.Name
		if f.Hybrid {
			name += " hybrid"
		}
		held := ""
		if f.N > 0 {
			held = shares(f.T, f.N)
		}
		t.row(name, held, optional(float64(f.Keys), "%.0f"), optional(float64(f.Concurrency), "%.0f"),
			fmt.Sprintf("%.4g", f.Measured), optional(f.Least, "%.4g"), optional(float64(f.Runs), "%.0f"), fmt.Sprintf("%.4g", f.Limit), fmt.Sprintf("%.2f", f.Ratio), optional(f.Budget, "%.4g"), optional(f.OfBudget, "%.2f"), f.Unit,
			optional(f.P50, "%.2f"), optional(f.P99, "%.2f"), cpu, optional(f.LimitCPU, "%.2f ms"), optional(f.CPURatio, "%.2f"), optional(f.RSS, "%.0f"))
	}
	t.row()
	t.row("CPU is of all processes of the cluster per signature, or of one operator's per ceremony. A ratio of 1 is the limit.")
}
