package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/node"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/signerapi"
	"github.com/quorate/quorate/internal/slashing"
)

// nodeProcess is what `quorate node run` runs: a node, the servers in front
// of it, and its custody process.
type nodeProcess struct {
	home    home
	config  config
	log     *slog.Logger
	node    *node.Node
	custody *child // nil when somebody else runs it
}

// nodeGC is how much garbage a node lets lie, in percent of what lives. Half of
// Go's usual costs a node with 10,000 keys about 30 MiB less memory, and a
// signature one percent more processor time. GOGC overrides it.
const nodeGC = 50

// runNode lives a node until ctx ends or a part of it fails.
func runNode(ctx context.Context, h home, binary string, stderr io.Writer) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(nodeGC)
	}
	conf, err := h.readConfig()
	if err != nil {
		return err
	}
	rec, err := h.readRecord()
	if err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(conf.Log)); err != nil {
		return fmt.Errorf("read %s: log: %w", h.config(), err)
	}
	p := &nodeProcess{home: h, config: conf, log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))}
	socket := conf.Custody.Socket
	if socket == "" {
		if socket, err = p.startCustody(binary, stderr); err != nil {
			return err
		}
		defer p.custody.stop(stopTime)
	}
	metrics := signerapi.NewMetrics(readVersion().Version)
	p.node, err = node.Open(node.Config{
		Name: rec.Name, Home: string(h), Log: p.log, CustodySocket: socket, Observe: metrics,
		ConsensusListen: conf.Listen.Consensus, PeerListen: conf.Listen.Peer, Witnesses: conf.witnesses(), KeepBlocks: conf.KeepBlocks,
	})
	if err != nil {
		return err
	}
	return p.run(ctx, metrics)
}

// startCustody runs the custody process as a child and returns its socket.
func (p *nodeProcess) startCustody(binary string, stderr io.Writer) (string, error) {
	if binary == "" {
		binary = p.config.Custody.Binary
	}
	binary, err := custodyBinary(binary)
	if err != nil {
		return "", err
	}
	socket, err := socketPath(p.home.custodySocket(action.DomainValidator))
	if err != nil {
		return "", err
	}
	cmd := exec.Command(binary, "run", "--home", p.home.custody(action.DomainValidator), "--socket", socket, "--allow-uid", strconv.Itoa(os.Getuid()))
	cmd.Stdout, cmd.Stderr = stderr, stderr
	p.custody, err = startChild(filepath.Base(binary), cmd)
	return socket, err
}

// run serves until ctx ends. Node and custody end together: whoever starts
// the one again starts the other, and no restart hides why either failed.
func (p *nodeProcess) run(ctx context.Context, metrics *signerapi.Metrics) error {
	if err := metrics.Gauge("quorate_lease_left_seconds", "How long custody signs blocks and attestations if the ledger stays silent; 0 while it cannot be asked.",
		func() float64 { return p.custodyStatus(ctx).LeaseLeft }); err != nil {
		return err
	}
	if err := metrics.Assemblies(p.node.Hall().Rooms); err != nil {
		return err
	}
	if err := metrics.Gauge("quorate_rotations_overdue", "Keys whose shares are older than the policy says, beyond its grace.",
		func() float64 { _, overdue := p.rotations(); return float64(overdue) }); err != nil {
		return err
	}
	signing, err := p.signerServer(metrics)
	if err != nil {
		return err
	}
	ops, err := p.opsServer()
	if err != nil {
		return err
	}
	scrape, err := new(net.ListenConfig).Listen(ctx, "tcp", p.config.Listen.Metrics)
	if err != nil {
		return fmt.Errorf("listen for metrics on %s: %w", p.config.Listen.Metrics, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	nodeEnded := make(chan struct{})
	g.Go(func() error {
		defer close(nodeEnded)
		return p.node.Run(ctx)
	})
	g.Go(func() error { return signing.Run(ctx) })
	g.Go(func() error { return ops.Run(ctx) })
	g.Go(func() error { return metrics.Serve(ctx, scrape, p.log) })
	if p.custody != nil {
		g.Go(func() error {
			select {
			case <-p.custody.done:
				return fmt.Errorf("custody ended: %s", p.custody.verdict())
			case <-nodeEnded: // the node has custody say its last word
				p.custody.stop(stopTime)
				return nil
			}
		})
	}
	return g.Wait()
}

// hosts returns the names by which the servers may be addressed.
func (p *nodeProcess) hosts() []string {
	hosts := append([]string{"localhost", "127.0.0.1", "::1"}, p.config.Hosts...)
	if host, _, err := net.SplitHostPort(p.config.Listen.Signer); err == nil && host != "" {
		hosts = append(hosts, host)
	}
	return hosts
}

func (p *nodeProcess) signerServer(metrics *signerapi.Metrics) (*signerapi.Server, error) {
	token, err := readToken(p.home.keymanagerToken())
	if err != nil {
		return nil, hinted(err, "quorate node init makes it")
	}
	return signerapi.New(signerapi.Config{
		Network: p.node.Network(), Signer: p.node.Signer(), Health: p,
		Keymanager: keymanager{p.node}, Token: token, Listen: p.config.Listen.Signer, Hosts: p.hosts(), Strict: p.config.Strict,
		Metrics: metrics, Log: p.log.With("part", "signer"),
	})
}

func (p *nodeProcess) opsServer() (*opsapi.Server, error) {
	token, err := readToken(p.home.opsToken())
	if err != nil {
		return nil, hinted(err, "quorate node init makes it")
	}
	return opsapi.New(opsapi.Config{
		Ledger: p.node, Keys: p.node, Evidence: p.node, Hall: p.node.Hall(), Beacon: p.node, Self: p, Token: token,
		Cluster: p.node.Cluster(), Node: p.node.Name(), Passkeys: p.config.Passkeys,
		Listen: p.config.Listen.Ops, Hosts: p.hosts(), Log: p.log.With("part", "ops"),
	})
}

// Status reports on the node for operators.
func (p *nodeProcess) Status(ctx context.Context) opsapi.Status {
	n := p.node
	height, at := n.Height()
	st := opsapi.Status{
		Node: n.Name(), PID: os.Getpid(), Cluster: n.Cluster().String(), Network: n.Network().Name,
		Nodes: len(n.Genesis().Nodes), Height: height, Time: at.UTC(),
	}
	if th, err := action.DefaultThreshold(st.Nodes); err == nil {
		st.Threshold = th.T()
	}
	for _, peer := range n.Peers().Status() {
		s := opsapi.Peer{Name: peer.Name, Address: peer.Address, Connected: peer.Connected, RTT: float64(peer.RTT) / float64(time.Millisecond)}
		if !peer.Connected {
			s.Error = errText(peer.Err)
		}
		st.Peers = append(st.Peers, s)
	}
	st.Custody = []opsapi.Custody{p.custodyStatus(ctx)}
	st.RotationsDue, st.RotationsOverdue = p.rotations()
	return st
}

// rotations counts the keys that the policy wants new shares for.
func (p *nodeProcess) rotations() (due, overdue int) {
	view, err := p.node.View()
	height, at := p.node.Height()
	if err != nil || height == 0 {
		return 0, 0
	}
	return view.Rotations(uint64(at.UnixMilli()))
}

// askTime bounds a question to custody that somebody waits for.
const askTime = time.Second

func (p *nodeProcess) custodyStatus(ctx context.Context) opsapi.Custody {
	c := opsapi.Custody{Domain: string(action.DomainValidator), SlashingStrategy: slashing.Strategy}
	if p.custody != nil {
		c.PID = p.custody.pid
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	st, err := p.node.Custody().Status(ctx)
	c.Up, c.Keys, c.Anchored, c.Error = err == nil, int(st.Keys), st.Anchored, errText(err)
	if st.Registered {
		c.Incarnation, c.LeaseLeft, c.RolledBack = fmt.Sprintf("%x", st.Incarnation), p.node.LeaseLeft(st).Seconds(), st.Lost
		if now := action.CeilingAt(p.node.Network(), time.Now()); st.Fenced && st.Floor.Target >= now.Target-1 {
			c.FencedUntil = &opsapi.Fence{Slot: st.Floor.Slot, Epoch: st.Floor.Target}
		}
	}
	return c
}

// Health says what stands between this node and a signature: t holders.
func (p *nodeProcess) Health(context.Context) []signerapi.Check {
	custody := signerapi.Check{ID: "custody", Up: p.node.Custody().Up()}
	if !custody.Up {
		custody.Reason = "the custody process does not run"
	}
	holders := 0
	for _, peer := range p.node.Peers().Status() {
		if peer.Connected {
			holders++
		}
	}
	if custody.Up {
		holders++
	}
	quorum := signerapi.Check{ID: "quorum"}
	th, err := action.DefaultThreshold(len(p.node.Genesis().Nodes))
	if quorum.Up = err == nil && holders >= th.T(); !quorum.Up {
		quorum.Reason = fmt.Sprintf("%d holders are connected, a signature needs %d", holders, th.T())
	}
	return []signerapi.Check{custody, quorum}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
