package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/opsapi"
)

// devNode is one node of a cluster on this machine.
type devNode struct {
	name   string
	home   home
	config config
	ops    *opsapi.Client
	child  *child        // the process that was started last
	status opsapi.Status // as of when the node was last found healthy
}

func newDevNode(name string, h home) (*devNode, error) {
	conf, err := h.readConfig()
	if err != nil {
		return nil, err
	}
	token, err := readToken(h.opsToken())
	if err != nil {
		return nil, err
	}
	return &devNode{name: name, home: h, config: conf, ops: opsapi.NewClient(conf.Listen.Ops, token)}, nil
}

func (n *devNode) logPath() string { return n.home.path("node.log") }

// checkPorts says which port is taken before anything starts.
func (c *devCluster) checkPorts(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := checkPorts(ctx, n.name, n.config.Listen); err != nil {
			return err
		}
	}
	return nil
}

func checkPorts(ctx context.Context, node string, l listen) error {
	for _, s := range []struct{ what, addr string }{
		{"signer", l.Signer}, {"metrics", l.Metrics}, {"operator API", l.Ops}, {"consensus", l.Consensus}, {"peers", l.Peer},
	} {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.addr)
		if err != nil {
			return fail(exitFailed, "stop what listens there, or make another cluster with other --dir and --base-port", "%s of %s cannot listen: %w", s.what, node, err)
		}
		listener.Close() //nolint:errcheck // it was only a question
	}
	return nil
}

// launch starts the node's process.
func (c *devCluster) launch(n *devNode) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	log, err := os.OpenFile(n.logPath(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	defer log.Close()
	cmd := exec.Command(self, "node", "run", "--home", string(n.home), "--custody-binary", c.custody)
	cmd.Dir = string(n.home)
	cmd.Stdout, cmd.Stderr = log, log
	child, err := startChild(n.name, cmd)
	if err != nil {
		return err
	}
	n.child = child
	return nil
}

// startTime is how long nodes may take to find each other.
const startTime = 60 * time.Second

// start launches all nodes and waits until each is healthy.
func (c *devCluster) start(ctx context.Context) error {
	c.progress.begin("starting nodes")
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for _, n := range c.nodes {
		if err := c.launch(n); err != nil {
			return err
		}
	}
	for i, n := range c.nodes {
		c.progress.at(i, len(c.nodes), "waiting for "+n.name)
		if err := c.await(ctx, n); err != nil {
			return err
		}
	}
	c.progress.end(fmt.Sprintf("height %d", c.nodes[0].status.Height))
	return nil
}

// others returns the names of the nodes that run beside n.
func (c *devCluster) others(n *devNode) (names []string) {
	for _, o := range c.nodes {
		if o != n && o.child != nil && o.child.running() {
			names = append(names, o.name)
		}
	}
	return names
}

// await returns when a node answers, has a ledger and its custody process,
// and is connected to the nodes that run: one that ends meanwhile is not waited for.
func (c *devCluster) await(ctx context.Context, n *devNode) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	missing := "it does not answer yet"
	for {
		st, err := n.ops.Status(ctx)
		if err == nil && st.PID == n.child.pid {
			if missing = lacks(st, c.others(n)); missing == "" {
				n.status = st
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-n.child.done:
			return fail(exitFailed, "its log is "+n.logPath(), "%s ended while it started (%s)%s", n.name, n.child.verdict(), tail(n.logPath()))
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fail(exitUnavailable, "its log is "+n.logPath(), "%s is not ready: %s", n.name, missing)
		}
	}
}

// lacks says what a node still waits for, "" for nothing.
func lacks(st opsapi.Status, peers []string) string {
	if st.Height == 0 {
		return "the ledger has no block"
	}
	for _, cu := range st.Custody {
		if !cu.Up {
			return "custody " + cu.Domain + " is down: " + cu.Error
		}
	}
	connected := map[string]bool{}
	for _, p := range st.Peers {
		connected[p.Name] = p.Connected
	}
	for _, p := range peers {
		if !connected[p] {
			return "no connection to " + p
		}
	}
	return ""
}

// tail returns the end of a log, to be read below an error.
func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	const most = 2 << 10
	if info, err := f.Stat(); err == nil && info.Size() > most {
		f.Seek(-most, io.SeekEnd) //nolint:errcheck // then the whole log is read, to the same limit
	}
	raw, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil || len(raw) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return "\n  " + strings.Join(lines[max(0, len(lines)-8):], "\n  ")
}

// ended returns the nodes' processes that are gone.
func (c *devCluster) ended() (gone []*child) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.child != nil && !n.child.running() {
			gone = append(gone, n.child)
		}
	}
	return gone
}

// stopTime is how long a node may take to end before it is killed.
const stopTime = 5 * time.Second

// stop ends all nodes, at once, and takes back dev.json.
func (c *devCluster) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	os.Remove(c.statePath()) //nolint:errcheck // the next start removes it
	var all sync.WaitGroup
	for _, n := range c.nodes {
		if n.child != nil {
			all.Go(func() { n.child.stop(stopTime) })
		}
	}
	all.Wait()
}
