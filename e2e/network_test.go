package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/quorate/quorate/internal/opsapi"
)

// netCluster is a cluster whose nodes live in network namespaces of their own,
// as machines do. Two networks join them, one for consensus and one for
// partial signatures; each is made of bridges in one more namespace, and who is
// on another bridge is out of reach. Nothing of the machine's own network is
// touched, and all of it goes when the processes go that hold the namespaces.
type netCluster struct {
	*cluster
	base  int   // first port
	hub   int   // process in whose namespace the bridges are
	rooms []int // processes in whose namespaces the nodes are
	runs  []*process

	tokens []string // of the nodes' Keymanager APIs
}

// The two networks.
const (
	consensusNet = 1
	peerNet      = 2
)

// newNetCluster founds a cluster of operators who know nothing but each
// other's addresses, with the commands that they would use. Founding is what
// the genesis says beside them; without, what development clusters have.
func newNetCluster(t *testing.T, validators int, founding ...string) *netCluster {
	t.Helper()
	const size = 4
	c := &netCluster{cluster: emptyCluster(t), base: 9000, hub: holdNamespace(t)}
	c.stop = c.stopAll
	c.http.Timeout = 10 * time.Second // of those who are cut off, who answer nothing
	c.http.Transport.(*http.Transport).DialContext = c.dial
	for n := consensusNet; n <= peerNet; n++ {
		for b := range size {
			c.ip(c.hub, "link", "add", bridge(n, b), "type", "bridge")
			c.ip(c.hub, "link", "set", bridge(n, b), "up")
		}
	}
	var records []string
	for i := range size {
		c.rooms = append(c.rooms, holdNamespace(t))
		c.ip(c.rooms[i], "link", "set", "lo", "up")
		for n := consensusNet; n <= peerNet; n++ {
			inside := fmt.Sprintf("net%d", n)
			c.ip(c.hub, "link", "add", port(n, i), "type", "veth", "peer", "name", inside, "netns", strconv.Itoa(c.rooms[i]))
			c.ip(c.hub, "link", "set", port(n, i), "master", bridge(n, 0), "up")
			c.ip(c.rooms[i], "addr", "add", address(n, i)+"/24", "dev", inside)
			c.ip(c.rooms[i], "link", "set", inside, "up")
		}
		home, at := filepath.Join(c.dir, fmt.Sprintf("node%d", i)), c.base+10*i
		consensus, peer := fmt.Sprintf("%s:%d", address(consensusNet, i), at+4), fmt.Sprintf("%s:%d", address(peerNet, i), at+5)
		c.quorate("node", "init", "--home", home, "--name", fmt.Sprintf("node%d", i), "--operator", fmt.Sprintf("operator%d", i), "--region", "here",
			"--consensus-address", consensus, "--peer-address", peer, "--listen", "127.0.0.1", "--base-port", strconv.Itoa(at))
		c.editConfig(home, func(text string) string {
			return strings.NewReplacer(fmt.Sprintf("127.0.0.1:%d", at+4), consensus, fmt.Sprintf("127.0.0.1:%d", at+5), peer).Replace(text)
		})
		token, err := os.ReadFile(filepath.Join(home, "keymanager.token"))
		if err != nil {
			t.Fatal(err)
		}
		c.tokens = append(c.tokens, strings.TrimSpace(string(token)))
		records = append(records, filepath.Join(home, "node.json"))
		c.nodes = append(c.nodes, clusterNode{Name: fmt.Sprintf("node%d", i), Home: home,
			Signer: fmt.Sprintf("http://127.0.0.1:%d", at), Ops: fmt.Sprintf("http://127.0.0.1:%d", at+3)})
	}
	genesis := filepath.Join(c.dir, "genesis.json")
	if founding == nil {
		founding = []string{"--policy", "dev"}
	}
	c.quorate(slices.Concat([]string{"node", "genesis", "--network", c.dir + ".yaml", "--history", "none", "--out", genesis}, founding, records)...)
	for i, n := range c.nodes {
		c.quorate("node", "join", "--home", n.Home, "--genesis", genesis)
		c.runs = append(c.runs, nil)
		c.run(i)
	}
	t.Cleanup(c.end)
	c.whole(2 * patience)
	c.makeKeys(validators)
	return c
}

func bridge(network, i int) string  { return fmt.Sprintf("b%d-%d", network, i) }
func port(network, i int) string    { return fmt.Sprintf("p%d-%d", network, i) }
func address(network, i int) string { return fmt.Sprintf("10.77.%d.%d", network, i+1) }

// holdNamespace starts a process that does nothing in a network namespace of
// its own, and returns its id.
func holdNamespace(t *testing.T) int {
	t.Helper()
	p := launchWith(t, func(cmd *exec.Cmd) { cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET }, "sleep", "infinity")
	return p.cmd.Process.Pid
}

// within names a process's network namespace.
func within(pid int) string { return fmt.Sprintf("/proc/%d/ns/net", pid) }

func (c *netCluster) ip(pid int, args ...string) {
	c.t.Helper()
	if out, err := exec.Command("nsenter", append([]string{"--net=" + within(pid), "ip"}, args...)...).CombinedOutput(); err != nil {
		c.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (c *netCluster) quorate(args ...string) string {
	c.t.Helper()
	return c.quorateIn(os.Getpid(), args...)
}

func (c *netCluster) quorateIn(pid int, args ...string) string {
	c.t.Helper()
	cmd := exec.Command("nsenter", append([]string{"--net=" + within(pid), filepath.Join(bin, "quorate")}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("quorate %s: %v: %s", strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

// run starts a node in its namespace.
func (c *netCluster) run(i int) {
	c.t.Helper()
	log, err := os.OpenFile(filepath.Join(c.nodes[i].Home, "node.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	c.runs[i] = launchWith(c.t, func(cmd *exec.Cmd) { cmd.Stdout, cmd.Stderr = log, log },
		"nsenter", "--net="+within(c.rooms[i]), filepath.Join(bin, "quorate"), "node", "run", "--home", c.nodes[i].Home)
}

func (c *netCluster) stopAll() {
	for _, p := range c.runs {
		p.signal(syscall.SIGINT)
	}
	for _, p := range c.runs {
		<-p.done
	}
}

// dial connects to a node's HTTP servers, which listen on the loopback
// interface of its namespace; the port tells which node. A socket belongs to
// the namespace in which its thread was when it was made.
func (c *netCluster) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	at, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer own.Close()
	room, err := os.Open(within(c.rooms[(at-c.base)/10]))
	if err != nil {
		return nil, err
	}
	defer room.Close()
	runtime.LockOSThread() // a thread that cannot come back ends with its goroutine
	if err := unix.Setns(int(room.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	runtime.UnlockOSThread()
	return conn, err
}

// makeKeys holds a ceremony for validators' keys.
func (c *netCluster) makeKeys(count int) {
	c.t.Helper()
	operator := []string{"--address", c.nodes[0].Ops, "--identity", filepath.Join(c.nodes[0].Home, "ops.token")}
	var opened opsapi.Opened
	out := c.quorateIn(c.rooms[0], append(operator, "ceremony", "open", "-o", "json", "--keys", strconv.Itoa(count), "--hybrid")...)
	if err := json.Unmarshal([]byte(out), &opened); err != nil {
		c.t.Fatal(err)
	}
	c.quorateIn(c.rooms[0], append(operator, "ceremony", "watch", opened.ID)...)
	c.eventually(patience, "every node has the keys", func() error {
		for i := range c.nodes {
			var keys []opsapi.Key
			if err := c.get(i, "/v1/keys", &keys); err != nil || len(keys) != count || keys[count-1].State != "active" {
				return fmt.Errorf("node%d lists %+v, %w", i, keys, err)
			}
			if s, err := c.status(c.socket(i)); err != nil || int(s.Keys) != count {
				return fmt.Errorf("node%d: %+v, %w", i, s, err)
			}
			c.keys = nil
			for _, k := range keys {
				c.keys = append(c.keys, publicKey(c.t, k.PublicKey))
			}
		}
		return nil
	})
	c.nameHolders(c.keys...)
	c.awaitLeases()
}

// get reads from a node's operator API.
func (c *netCluster) get(node int, path string, into any) error {
	status, answer := c.request(http.MethodGet, c.nodes[node].Ops+path, "", "")
	if status != http.StatusOK {
		return fmt.Errorf("status %d: %s", status, answer)
	}
	return json.Unmarshal([]byte(answer), into)
}

// heights are those of the nodes' ledgers.
func (c *netCluster) heights() (all [4]uint64) {
	for i := range all {
		var st opsapi.Status
		if err := c.get(i, "/v1/status", &st); err != nil {
			c.t.Errorf("node%d: %v", i, err)
		}
		all[i] = st.Height
	}
	return all
}

// split puts the nodes of a network on the bridges that it names, one for each
// node; those on one bridge reach each other.
func (c *netCluster) split(network int, bridges ...int) {
	c.t.Helper()
	for i, b := range bridges {
		c.ip(c.hub, "link", "set", port(network, i), "master", bridge(network, b))
	}
}

// cut splits both networks.
func (c *netCluster) cut(bridges ...int) {
	c.t.Helper()
	c.split(consensusNet, bridges...)
	c.split(peerNet, bridges...)
}

// cutAtRandom splits them again and again, at moments and into parts that
// chance chooses, and joins them in the end.
func (c *netCluster) cutAtRandom(chance *rand.Rand, times int) {
	c.t.Helper()
	for range times {
		parts := make([]int, len(c.nodes))
		for i := range parts {
			parts[i] = chance.IntN(1 + chance.IntN(len(parts)))
		}
		c.cut(parts...)
		time.Sleep(time.Duration(200+chance.IntN(2500)) * time.Millisecond) // the moment is the test
	}
	c.cut(0, 0, 0, 0)
}

// clients do the same again and again, each at its own pace, until they end.
type clients struct {
	done chan struct{}
	all  sync.WaitGroup
}

func (c *clients) again(f func()) {
	c.all.Go(func() {
		for {
			select {
			case <-c.done:
				return
			case <-time.After(10 * time.Millisecond):
				f()
			}
		}
	})
}

func (c *clients) end() {
	close(c.done)
	c.all.Wait()
}

// setRecipient changes a key's fee recipient; the ledger has to agree.
func (c *netCluster) setRecipient(node, key, n int) (status int, answer string) {
	return c.request(http.MethodPost, fmt.Sprintf("%s/eth/v1/validator/%s/feerecipient", c.nodes[node].Signer, c.keys[key]),
		c.tokens[node], fmt.Sprintf(`{"ethaddress":"0x%040x"}`, n))
}

// whole waits until all nodes see each other and have one ledger.
func (c *netCluster) whole(limit time.Duration) time.Duration {
	c.t.Helper()
	return c.eventually(limit, "the nodes are one cluster", func() error {
		var first uint64
		for i := range c.nodes {
			var st opsapi.Status
			if err := c.get(i, "/v1/status", &st); err != nil {
				return err
			}
			if i == 0 {
				first = st.Height
			}
			if st.Height == 0 || st.Height != first || !st.Custody[0].Up {
				return fmt.Errorf("node%d is at %d, node0 at %d", i, st.Height, first)
			}
			for _, p := range st.Peers {
				if !p.Connected {
					return fmt.Errorf("node%d and %s: %s", i, p.Name, p.Error)
				}
			}
		}
		return nil
	})
}
