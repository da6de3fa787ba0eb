package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/rpc"
)

// clonedNode runs a copy of a whole node beside it. It has the original's
// identity, so the others keep one of the two out, and a process that cannot
// show the ledger its own registration signs nothing that can be slashed.
func clonedNode(t *testing.T) {
	c := newCluster(t, 2)
	key := c.keys[0]
	const twin = 1
	clone := filepath.Join(filepath.Dir(c.dir), "clone")
	c.copyHome(twin, clone)
	signer := c.moveNode(clone)
	p := launch(t, filepath.Join(bin, "quorate"), "node", "run", "--home", clone, "--custody-binary", filepath.Join(bin, "quorate-custody"))
	socket := filepath.Join(clone, "custody-validator.sock")
	c.eventually(patience, "the clone runs", func() error {
		select {
		case <-p.done:
			t.Fatalf("the clone ended: %v\n%s", p.err, p.output())
		default:
		}
		_, err := c.status(socket)
		return err
	})
	c.mu.Lock()
	c.nodes = append(c.nodes, clusterNode{Name: "clone", Home: clone, Signer: signer})
	c.mu.Unlock()
	for end := time.Now().Add(c.twoEpochs()); time.Now().Before(end); {
		// Rivals at the original, the clone and another node; then the two
		// alone, at their sockets.
		for _, d := range c.present(key, honestSalt) {
			others := c.otherwise([]duty{d})
			var all sync.WaitGroup
			for node, d := range map[int]duty{twin: d, 4: others[0], 3: others[0]} {
				all.Go(func() { c.sign(node, d) })
			}
			all.Wait()
			c.partial(c.socket(twin), d) //nolint:errcheck // the slasher judges
			c.partial(socket, others[0]) //nolint:errcheck // the slasher judges
		}
	}
	// One of the two answers for the seat, or none: the others suffice.
	c.eventually(patience, "a duty is signed beside the clone", func() error {
		if status, answer := c.sign(0, c.block(c.keys[1], c.slot()+1, 1)); status != http.StatusOK {
			return fmt.Errorf("status %d: %s", status, answer)
		}
		return nil
	})
}

// clonedCustody swaps a custody process for a copy of it behind its node's
// back, and swaps back: the node hands out partials of whichever it reaches,
// and nobody takes those of the older incarnation.
func clonedCustody(t *testing.T) {
	c := newCluster(t, 2)
	key := c.keys[0]
	const twin = 1
	dir := filepath.Dir(c.dir)
	run := func(name string) (*process, string) {
		socket := filepath.Join(dir, name+".sock")
		return launch(t, filepath.Join(bin, "quorate-custody"), "run", "--home", filepath.Join(dir, name), "--socket", socket), socket
	}
	leased := func(socket string, fenced bool) func() error {
		return func() error {
			s, err := c.status(socket)
			if err == nil && (!s.Registered || s.Ceiling.Slot < c.slot() || s.Fenced != fenced) {
				err = fmt.Errorf("%+v", s)
			}
			return err
		}
	}
	// Custody outside its node, as in production, behind a switch.
	c.stopNode(twin, syscall.SIGTERM)
	c.copyFiles(filepath.Join(c.node(twin).Home, "custody-validator"), filepath.Join(dir, "original"))
	original, first := run("original")
	middle := newExchange(t, filepath.Join(dir, "custody.sock"), first)
	c.editConfig(c.node(twin).Home, func(text string) string { return text + "custody:\n  socket: " + middle.path + "\n" })
	if err := c.startNode(twin); err != nil {
		t.Fatal(err)
	}
	c.eventually(patience, "the original has a lease and is proven", leased(first, false))

	duties := c.present(key, honestSalt, first)
	c.copyStill(filepath.Join(dir, "original"), filepath.Join(dir, "clone"), original.cmd.Process.Pid)
	_, second := run("clone")
	middle.to(second)
	c.eventually(patience, "the clone has a lease", leased(second, true))
	// Within its lease the original signs on, and may: the clone's floor is
	// above all of it.
	for i, other := range c.otherwise(duties) {
		if err := c.partial(first, duties[i]); err != nil {
			t.Errorf("the original in its lease: %v", err)
		}
		if err := c.partial(second, other); rpc.CodeOf(err) != rpc.CodeFenced {
			t.Errorf("the clone signs %s: %v, want fenced", other, err)
		}
	}
	// But nobody takes what it signs, even where it is needed.
	middle.to(first)
	c.stopNode(3, syscall.SIGTERM)
	at := len(c.nodeLog(0))
	c.eventually(patience, "the original's partials are refused", func() error {
		if status, answer := c.sign(0, c.block(c.keys[1], c.slot(), 1)); status == http.StatusOK {
			t.Fatalf("signed with the older incarnation: %s", answer)
		}
		if log := c.nodeLog(0); !strings.Contains(log[min(at, len(log)):], "under an incarnation that is not its present one") {
			return errors.New("node0 does not say so")
		}
		return nil
	})
	middle.to(second)
	c.tempt(second, duties)
	c.eventually(patience, "the clone counts", func() error {
		if status, answer := c.sign(0, c.block(c.keys[1], c.slot()+1, 1)); status != http.StatusOK {
			return fmt.Errorf("status %d: %s", status, answer)
		}
		return nil
	})
	epoch := c.epoch()
	if err := c.partial(first, c.vote(c.keys[1], epoch, epoch+1, 9)); rpc.CodeOf(err) != rpc.CodeFenced {
		t.Errorf("the original after its lease: %v, want fenced", err)
	}
}

// exchange is a unix socket that leads to one of several.
type exchange struct {
	path string

	mu     sync.Mutex
	target string
	conns  map[net.Conn]bool
}

func newExchange(t *testing.T, path, target string) *exchange {
	t.Helper()
	x := &exchange{path: path, target: target, conns: map[net.Conn]bool{}}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go x.connect(conn)
		}
	}()
	return x
}

func (x *exchange) connect(in net.Conn) {
	defer in.Close()
	x.mu.Lock()
	out, err := net.Dial("unix", x.target)
	if err == nil {
		x.conns[out] = true
	}
	x.mu.Unlock()
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		io.Copy(out, in) //nolint:errcheck // either end may go
		out.Close()
	}()
	io.Copy(in, out) //nolint:errcheck // either end may go
}

// to leads new connections elsewhere and ends the old ones.
func (x *exchange) to(target string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.target = target
	for conn := range x.conns {
		conn.Close()
	}
	clear(x.conns)
}

var listens = regexp.MustCompile(`127\.0\.0\.1:(\d+)`)

// moveNode gives a home ports of its own, and returns its signer's address.
func (c *cluster) moveNode(home string) (signer string) {
	c.t.Helper()
	base, err := freePorts()
	if err != nil {
		c.t.Fatal(err)
	}
	signer = fmt.Sprintf("http://127.0.0.1:%d", base)
	c.editConfig(home, func(text string) string {
		return listens.ReplaceAllStringFunc(text, func(string) string {
			base++
			return fmt.Sprintf("127.0.0.1:%d", base-1) // the signer's comes first
		})
	})
	return signer
}

func (c *cluster) editConfig(home string, edit func(string) string) {
	c.t.Helper()
	file := filepath.Join(home, "config.yaml")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(edit(string(text))), 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}
