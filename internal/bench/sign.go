package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// SignConfig says how the signing path is measured.
type SignConfig struct {
	Dir         string // for the limit's logs, on the disk of the cluster
	Duration    time.Duration
	Concurrency []int
	Keys        int
	Progress    func(format string, args ...any)
}

const signLimit = "t partials + combine + verify + group-commit fsync, same cores"

// Sign measures how a cluster signs attestations, each distinct and
// slashable: asked over HTTP on connections kept alive, all nodes in turn,
// and then one node alone.
func Sign(ctx context.Context, c *Cluster, cfg SignConfig) ([]Figure, error) {
	if len(cfg.Concurrency) == 0 {
		return nil, errors.New("measure signing: no concurrency to measure at")
	}
	keys, _, err := c.Keys.Make(ctx, cfg.Keys)
	if err != nil {
		return nil, err
	}
	limit, err := newPrimitives(cfg.Dir, c.Network, c.T)
	if err != nil {
		return nil, err
	}
	defer limit.close() //nolint:errcheck // scratch logs
	s := &signBench{cluster: c, cfg: cfg, limit: limit}
	for _, k := range keys {
		s.voters = append(s.voters, newVoter(k, c.Network))
	}
	var figures []Figure
	for _, callers := range cfg.Concurrency {
		more, err := s.at(ctx, callers)
		if err != nil {
			return nil, fmt.Errorf("measure signing with %d callers: %w", callers, err)
		}
		figures = append(figures, more...)
	}
	cost, err := recordCost(c, cfg.Dir, slices.Max(cfg.Concurrency), cfg.Duration)
	if err != nil {
		return nil, err
	}
	cfg.Progress("%s, %d callers: %.0f partials/s of %.0f, %.0f %%", cost.Name, cost.Concurrency, cost.Measured, cost.Limit, 100*(1-cost.Ratio))
	return append(figures, cost), nil
}

type signBench struct {
	cluster *Cluster
	cfg     SignConfig
	limit   *primitives
	voters  []*voter
}

// rounds: limit and cluster take turns, so that what else the machine does
// meets both.
const rounds = 3

// at measures one concurrency: the limit, the cluster through all nodes and
// through one, in turns, and the limit again.
func (s *signBench) at(ctx context.Context, callers int) ([]Figure, error) {
	if callers < 1 || callers > len(s.voters) {
		return nil, fmt.Errorf("%d callers need as many keys, and there are %d", callers, len(s.voters))
	}
	var limit tally
	spread := &run{name: "sign_throughput", nodes: s.cluster.Nodes}
	single := &run{name: "sign_throughput_one_node", nodes: s.cluster.Nodes[:1]}
	slice := s.cfg.Duration / rounds
	for range rounds {
		if err := s.limit.measure(callers, slice/2, &limit); err != nil {
			return nil, err
		}
		for _, r := range []*run{spread, single} {
			if err := s.load(ctx, callers, slice, r); err != nil {
				return nil, err
			}
		}
		if err := s.limit.measure(callers, slice/2, &limit); err != nil {
			return nil, err
		}
	}
	figures := []Figure{s.figure(callers, spread, &limit), s.figure(callers, single, &limit)}
	if callers == 1 {
		latency := figures[0]
		latency.Name, latency.Unit = "sign_latency", "ms"
		latency.LimitIs = "p50: t partials in parallel on the cores + combine + verify + one fsync"
		figures = append(figures, latency.duration(latency.P50, percentile(limit.latency, 0.5)))
	}
	for _, f := range figures[:2] {
		if f.Failures > 0 {
			s.cfg.Progress("%s: %d requests failed, one with %s", f.Name, f.Failures, spread.failure+single.failure)
		}
		s.cfg.Progress("%s, %d callers: %.0f/s, limit %.0f/s", f.Name, callers, f.Measured, f.Limit)
	}
	return figures, nil
}

// run is the cluster asked through some of its nodes.
type run struct {
	load
	name  string
	nodes []Node
	own   time.Duration // processor time of the load generator
	rss   float64
}

// load measures the cluster for a time.
func (s *signBench) load(ctx context.Context, callers int, slice time.Duration, r *run) error {
	clients, err := s.clients(callers, r.nodes)
	if err != nil {
		return err
	}
	defer func() {
		for _, c := range clients {
			c.close() //nolint:errcheck // every answer was read
		}
	}()
	// Keys are parsed when they first sign, and averages have to be learnt.
	if err := drive(ctx, clients, slice/3, new(load)); err != nil {
		return err
	}
	pids := s.cluster.pids()
	before, err := cpuOf(pids)
	if err != nil {
		return err
	}
	own := ownCPU()
	if err := drive(ctx, clients, slice, &r.load); err != nil {
		return err
	}
	r.own += ownCPU() - own
	after, err := cpuOf(pids)
	if err != nil {
		return err
	}
	r.cpu += after - before
	if r.rss, err = s.cluster.heaviest(); err != nil {
		return err
	}
	return r.verify()
}

func (s *signBench) figure(callers int, r *run, limit *tally) Figure {
	f := Figure{
		Name: r.name, N: len(s.cluster.Nodes), T: s.cluster.T, Concurrency: callers, Keys: len(s.voters), Unit: "signatures/s", LimitIs: signLimit,
		P50: percentile(r.latency, 0.5), P99: percentile(r.latency, 0.99), Failures: r.failures,
		CPU: r.cpuEach(), GeneratorCPU: milliseconds(r.own) / float64(r.signed), LimitCPU: limit.cpuEach(), RSS: r.rss,
	}
	f.CPURatio = over(f.LimitCPU, f.CPU)
	return f.rate(r.rate(), limit.rate())
}

// clients shares the voters out.
func (s *signBench) clients(callers int, nodes []Node) (clients []*client, err error) {
	for i := range callers {
		var own []*voter
		for k := i; k < len(s.voters); k += callers {
			own = append(own, s.voters[k])
		}
		c, err := newClient(own, nodes)
		if err != nil {
			for _, c := range clients {
				err = errors.Join(err, c.close())
			}
			return nil, err
		}
		c.asked = i // the callers begin at different nodes
		clients = append(clients, c)
	}
	return clients, nil
}
