package bench

import (
	"context"
	"errors"
	"fmt"
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
	return figures, nil
}

type signBench struct {
	cluster *Cluster
	cfg     SignConfig
	limit   *primitives
	voters  []*voter
}

// at measures one concurrency: the limit, the cluster, the limit again.
func (s *signBench) at(ctx context.Context, callers int) ([]Figure, error) {
	if callers < 1 || callers > len(s.voters) {
		return nil, fmt.Errorf("%d callers need as many keys, and there are %d", callers, len(s.voters))
	}
	before, err := s.limit.measure(callers, s.cfg.Duration/2)
	if err != nil {
		return nil, err
	}
	spread, err := s.load(ctx, callers, s.cluster.Nodes)
	if err != nil {
		return nil, err
	}
	single, err := s.load(ctx, callers, s.cluster.Nodes[:1])
	if err != nil {
		return nil, err
	}
	after, err := s.limit.measure(callers, s.cfg.Duration/2)
	if err != nil {
		return nil, err
	}
	limit := pace{mean(before.rate, after.rate), mean(before.p50, after.p50), mean(before.cpu, after.cpu)}
	spread.LimitCPU, single.LimitCPU = limit.cpu, limit.cpu
	single.Name = "sign_throughput_one_node"
	figures := []Figure{spread.rate(spread.Measured, limit.rate), single.rate(single.Measured, limit.rate)}
	if callers == 1 {
		latency := spread
		latency.Name, latency.Unit = "sign_latency", "ms"
		latency.LimitIs = "p50: t partials in parallel on the cores + combine + verify + one fsync"
		figures = append(figures, latency.duration(spread.P50, limit.p50))
	}
	return figures, nil
}

// load measures the cluster, asked through some of its nodes.
func (s *signBench) load(ctx context.Context, callers int, nodes []Node) (Figure, error) {
	f := Figure{Name: "sign_throughput", N: len(s.cluster.Nodes), T: s.cluster.T, Concurrency: callers, Keys: len(s.voters), Unit: "signatures/s", LimitIs: signLimit}
	clients, err := s.clients(callers, nodes)
	if err != nil {
		return f, err
	}
	defer func() {
		for _, c := range clients {
			c.close() //nolint:errcheck // every answer was read
		}
	}()
	// Keys are parsed when they first sign, and averages have to be learnt.
	if _, err := drive(ctx, clients, s.cfg.Duration/5); err != nil {
		return f, err
	}
	pids := s.cluster.pids()
	before, err := cpuOf(pids)
	if err != nil {
		return f, err
	}
	own := ownCPU()
	run, err := drive(ctx, clients, s.cfg.Duration)
	if err != nil {
		return f, err
	}
	own = ownCPU() - own
	after, err := cpuOf(pids)
	if err != nil {
		return f, err
	}
	if err := run.check(); err != nil {
		return f, err
	}
	if f.RSS, err = s.cluster.heaviest(); err != nil {
		return f, err
	}
	f.Measured = float64(run.signed) / run.took.Seconds()
	f.P50, f.P99 = percentile(run.latency, 0.5), percentile(run.latency, 0.99)
	f.CPU = milliseconds(after-before) / float64(run.signed)
	f.GeneratorCPU = milliseconds(own) / float64(run.signed)
	f.Failures = run.failures
	if run.failures > 0 {
		s.cfg.Progress("%d of %d requests failed, one with %s", run.failures, run.failures+run.signed, run.failure)
	}
	s.cfg.Progress("%d callers of %d nodes: %.0f signatures/s, %d verified", callers, len(nodes), f.Measured, len(run.samples))
	return f, nil
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

