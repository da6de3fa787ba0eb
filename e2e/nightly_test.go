package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/opsapi"
)

// TestSlowDisk makes every fsync of one node, and of its custody, take a
// second. Who asks another node gets every signature, as soon as before but for
// the turn that a duty's leader has: one duty in four waits for it.
func TestSlowDisk(t *testing.T) {
	if !isNightly() {
		return
	}
	needsClusters(t) // and alone: it measures latencies
	const slow, samples, leadTurn = 3, 400, 150 * time.Millisecond
	c := newCluster(t, 8)
	var slot uint64
	measure := func() (p50, p99 time.Duration) {
		var took []time.Duration
		for n := range samples {
			if n%len(c.keys) == 0 {
				slot++ // of the past: these keys have no history
			}
			d := c.block(c.keys[n%len(c.keys)], slot, 1)
			from := time.Now()
			c.mustSign(n%slow, d)
			took = append(took, time.Since(from))
		}
		slices.Sort(took)
		return took[samples/2], took[samples*99/100]
	}
	measure() // warm
	p50, p99 := measure()
	n := c.node(slow)
	trace := launch(t, "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=1000000",
		"-p", strconv.Itoa(n.PID), "-p", strconv.Itoa(n.Custody["validator"]))
	// The holder alone shows that its disk is slow.
	c.eventually(patience, "the disk is slow", func() error {
		from := time.Now()
		if err := c.partial(c.socket(slow), c.randao(c.keys[0], uint64(from.UnixNano()))); err != nil {
			return err
		}
		if took := time.Since(from); took < time.Second {
			return fmt.Errorf("a partial in %s; %s", took, trace.output())
		}
		return nil
	})
	measure() // the others learn who is slow
	slow50, slow99 := measure()
	t.Logf("p50 %s and p99 %s; with one node at a second per fsync %s and %s, none of %d failed", p50, p99, slow50, slow99, samples)
	if slow99 > leadTurn+2*p99 {
		t.Errorf("p99 goes from %s to %s", p99, slow99)
	}
}

// write is a change of a key's fee recipient to a value of its own.
type write struct {
	node, key     int
	called, ended time.Time
	acked         bool
	at            int // in the log
}

// TestLinearizable cuts the cluster into random parts, again and again, while
// clients write and read at every node. The audit log says in which order the
// writes took effect, so that nothing has to be searched for: every
// acknowledged write stands in it once, between its call and its answer, and a
// node's reads go forwards, and never behind what it acknowledged.
func TestLinearizable(t *testing.T) {
	if !isNightly() {
		return
	}
	needsClusters(t)
	t.Parallel()
	const partitions, keys = 200, 3
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	c := newNetCluster(t, keys)
	c.http.Timeout = 4 * time.Second
	all := &clients{done: make(chan struct{})}
	var mu sync.Mutex
	writes := map[int]*write{}
	var reads []read
	var next atomic.Int64
	for node := range c.nodes {
		written, looked := 0, 0
		all.again(func() {
			n, key := int(next.Add(1)), written%keys
			written++
			w := &write{node: node, key: key, called: time.Now()}
			status, _ := c.setRecipient(node, key, n)
			w.ended, w.acked = time.Now(), status == http.StatusAccepted
			mu.Lock()
			writes[n] = w
			mu.Unlock()
		})
		all.again(func() {
			r := read{node: node, key: looked % keys, called: time.Now()}
			looked++
			if r.value = c.recipient(node, r.key); r.value != 0 {
				mu.Lock()
				reads = append(reads, r)
				mu.Unlock()
			}
		})
	}
	c.cutAtRandom(chance, partitions)
	took := c.healed(0, 1<<30)
	all.end()
	c.judge(writes, reads)
	t.Logf("%d partitions, whole again after %s", partitions, took.Round(time.Millisecond))
}

type read struct {
	node, key, value int
	called           time.Time
}

// recipient reads what a node holds; 0 where it has nothing yet.
func (c *netCluster) recipient(node, key int) int {
	_, answer := c.request(http.MethodGet, fmt.Sprintf("%s/eth/v1/validator/%s/feerecipient", c.nodes[node].Signer, c.keys[key]), c.tokens[node], "")
	_, rest, ok := strings.Cut(answer, `"ethaddress":"0x`)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(rest[:40], 16, 64)
	if err != nil {
		c.t.Errorf("node%d answers %s", node, answer)
	}
	return int(n)
}

// history returns the writes in the order in which they took effect.
func (c *netCluster) history() (order []int) {
	c.t.Helper()
	for from := uint64(0); ; {
		var page opsapi.Events
		if err := c.get(0, fmt.Sprintf("/v1/events?from=%d&limit=1000", from), &page); err != nil {
			c.t.Fatal(err)
		}
		for _, e := range page.Events {
			if hex, ok := strings.CutPrefix(e.Detail, "fee recipient 0x"); ok && e.Kind == "key settings" {
				n, err := strconv.ParseInt(hex, 16, 64)
				if err != nil {
					c.t.Fatal(err)
				}
				order = append(order, int(n))
			}
		}
		if from += uint64(len(page.Events)); from >= page.Size || len(page.Events) == 0 {
			return order
		}
	}
}

// judge holds writes and reads against the order of the audit log.
func (c *netCluster) judge(writes map[int]*write, reads []read) {
	c.t.Helper()
	c.whole(healTime)
	at := map[int]int{}
	order := c.history()
	for i, n := range order {
		if _, twice := at[n]; twice {
			c.t.Errorf("write %d took effect twice", n)
		}
		at[n] = i + 1
		if writes[n] == nil && n < 1<<30 {
			c.t.Errorf("nobody wrote %d", n)
		}
	}
	// From the end: no later write may have ended before an earlier one was
	// called.
	acked := 0
	first := time.Now()
	for _, n := range slices.Backward(order) {
		w := writes[n]
		if w == nil {
			continue
		}
		if w.called.After(first) {
			c.t.Errorf("write %d was called after the answer to one that took effect later", n)
		}
		if w.acked && w.ended.Before(first) {
			first = w.ended
		}
	}
	type place struct{ node, key int }
	answered := map[place][]*write{}
	for n, w := range writes {
		if !w.acked {
			continue
		}
		acked++
		if at[n] == 0 {
			c.t.Errorf("write %d was acknowledged and lost", n)
		}
		p := place{w.node, w.key}
		answered[p] = append(answered[p], w)
		w.at = at[n]
	}
	seen := map[place]int{}
	for _, r := range reads {
		p := place{r.node, r.key}
		if at[r.value] == 0 {
			c.t.Errorf("node%d showed %d, which never took effect", r.node, r.value)
		}
		least := seen[p]
		for _, w := range answered[p] {
			if w.ended.Before(r.called) {
				least = max(least, w.at)
			}
		}
		if at[r.value] < least {
			c.t.Errorf("node%d showed write %d, which is older than what it had shown or acknowledged", r.node, r.value)
		}
		seen[p] = max(seen[p], at[r.value])
	}
	c.t.Logf("%d writes, %d acknowledged, %d in the log; %d reads", len(writes), acked, len(order), len(reads))
	if acked == 0 || len(reads) == 0 || acked == len(writes) {
		c.t.Error("nothing was acknowledged, or nothing failed: the test has shown nothing")
	}
}
