package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/opsapi"
)

// TestRenewals: keys get new shares while they sign, with real processes.
func TestRenewals(t *testing.T) {
	needsClusters(t)
	t.Parallel()
	t.Run("under load", func(t *testing.T) { t.Parallel(); renewUnderLoad(t) })
	t.Run("a node dies", func(t *testing.T) { t.Parallel(); renewWithoutOne(t) })
}

// duties has validators do their duties at some nodes, one client for each key:
// a block in every slot, a vote in every epoch, and what cannot be slashed in
// between. Stop ends it and returns how many signatures were made; each that
// was not is an error of the test, but for those that are excused.
func (c *cluster) duties(nodes []int, keys []bls.PublicKey, excused ...func(duty) bool) (stop func() int) {
	var signed atomic.Int64
	var clients sync.WaitGroup
	over := make(chan struct{})
	for i, key := range keys {
		clients.Go(func() {
			slot, epoch := c.slot(), c.epoch()
			for turn := i; ; turn++ {
				d := c.randao(key, uint64(turn))
				switch now := c.slot(); {
				case c.epoch() > epoch:
					epoch = c.epoch()
					d = c.vote(key, epoch-1, epoch, uint64(i))
				case now > slot:
					slot = now
					d = c.block(key, slot, uint64(i))
				}
				began := time.Now()
				excuse := slices.ContainsFunc(excused, func(f func(duty) bool) bool { return f(d) })
				if status, answer := c.sign(nodes[turn%len(nodes)], d); status == http.StatusOK {
					signed.Add(1)
				} else if !excuse && !slices.ContainsFunc(excused, func(f func(duty) bool) bool { return f(d) }) { // nor since
					c.t.Errorf("node%d: status %d after %s for %s: %s", nodes[turn%len(nodes)], status, time.Since(began), d, answer)
				}
				select {
				case <-over:
					return
				case <-time.After(20 * time.Millisecond): // the clients' own pace
				}
			}
		})
	}
	return func() int {
		close(over)
		clients.Wait()
		return int(signed.Load())
	}
}

// inEpoch wants all keys in an epoch.
func (c *cluster) inEpoch(node int, epoch uint32) {
	c.t.Helper()
	c.level()
	keys, err := c.ops(node).Keys(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	if at := slices.IndexFunc(keys, func(k opsapi.Key) bool { return k.Epoch != epoch }); at >= 0 {
		c.t.Errorf("key %s is in epoch %d, want %d", keys[at].PublicKey, keys[at].Epoch, epoch)
	}
}

func renewUnderLoad(t *testing.T) {
	c := newCluster(t, 8)
	stop := c.duties([]int{0, 1, 2, 3}, c.keys)
	var ids []string
	for epoch, flags := range []string{"--mode refresh --all --hybrid", "--mode refresh --all", "--mode reshare --all"} {
		from := time.Now()
		id := c.hold(epoch%4, (epoch+1)%4, strings.Fields(flags)...)
		ids = append(ids, id)
		t.Logf("%s: done after %s", flags, time.Since(from).Round(time.Millisecond))
		c.inEpoch(epoch%4, uint32(epoch+1))
		show := c.mustOperate(0, "ceremony", "show", id)
		if strings.Contains(show, "fault") || !strings.Contains(show, "epoch "+strconv.Itoa(epoch+1)) {
			t.Errorf("%s ended as\n%s", flags, show)
		}
	}
	// One key alone, and then all: keys of two epochs take two ceremonies.
	c.hold(0, 0, "--mode", "refresh", "--keys", c.keys[3].String())
	out := c.mustOperate(1, "ceremony", "open", "--mode", "refresh", "--all")
	if n := strings.Count(out, "opened ceremony"); n != 2 {
		t.Errorf("%d ceremonies:\n%s", n, out)
	}
	for _, line := range strings.Split(out, "\n") {
		if id, ok := strings.CutPrefix(line, "opened ceremony"); ok {
			c.mustOperate(1, "ceremony", "watch", strings.TrimSpace(id))
		}
	}
	t.Logf("%d signatures meanwhile", stop())
	// What they began with outlives the next ones: all can be replayed.
	for i, id := range ids {
		c.mustOperate(i, "ceremony", "export", id, "--archive", filepath.Join(t.TempDir(), "archive"))
	}
	c.eachThree(c.keys)
}

// eachThree signs with every three of the four holders, so that each of them
// is shown to have a good share.
func (c *cluster) eachThree(keys []bls.PublicKey) {
	c.t.Helper()
	for dead := range 4 {
		c.connected()
		c.stopNode(dead, syscall.SIGINT)
		for i, key := range keys {
			c.mustSign((dead+1+i%3)%4, c.randao(key, uint64(1000+dead)))
		}
		if err := c.startNode(dead); err != nil {
			c.t.Fatal(err)
		}
	}
}

// renewWithoutOne kills a node in the middle of a refresh. The others go on,
// without a signature missed; when it is back it takes part again, or its
// share is repaired.
func renewWithoutOne(t *testing.T) {
	const dead = 3
	c := newCluster(t, 8)
	for round, wait := range []time.Duration{300 * time.Millisecond, 1200 * time.Millisecond, 1900 * time.Millisecond} {
		stop := c.duties([]int{0, 1, 2}, c.keys)
		from := time.Now()
		id := c.open(0, "--mode", "refresh", "--all", "--phase-timeout", "5s")
		time.Sleep(wait) // the moment is the test
		c.stopNode(dead, syscall.SIGKILL)
		one, err := c.ops(0).Ceremony(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		c.mustOperate(1, "ceremony", "watch", id)
		t.Logf("round %d: killed in phase %s, done after %s, %d signatures meanwhile", round, one.Phase, time.Since(from).Round(time.Millisecond), stop())
		if err := c.startNode(dead); err != nil {
			t.Fatal(err)
		}
		c.connected()
		c.awaitLeases()
		// Whatever it missed, a reshare by the others repairs.
		stop = c.duties([]int{0, 1, 2}, c.keys)
		id = c.hold(1, 2, "--mode", "reshare", "--all", "--lost", strconv.Itoa(c.seat(dead)))
		t.Logf("repaired: %d signatures meanwhile", stop())
		show := c.mustOperate(0, "ceremony", "show", id)
		if strings.Count(show, "holds its shares") != 4 {
			c.eventually(patience, "the repaired holder confirms", func() error {
				if show = c.mustOperate(0, "ceremony", "show", id); strings.Count(show, "holds its shares") != 4 {
					return fmt.Errorf("%s", show)
				}
				return nil
			})
		}
	}
	c.eachThree(c.keys)
}

// seat is where a node sits in ceremonies.
func (c *cluster) seat(node int) int {
	c.t.Helper()
	c.level()
	all, err := c.ops(0).Ceremonies(c.t.Context())
	if err != nil || len(all) == 0 {
		c.t.Fatal(err)
	}
	for _, s := range all[0].Seats {
		if s.Node == c.node(node).Name {
			return s.Index
		}
	}
	c.t.Fatalf("node%d has no seat", node)
	return 0
}
