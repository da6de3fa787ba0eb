package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
)

// present are the duties that make a rollback dangerous: the ones that are due,
// and the last that a lease allows. It waits until those who hold the sockets
// have a lease so long, for nobody extends it on the way.
func (c *cluster) present(key bls.PublicKey, salt uint64, sockets ...string) []duty {
	c.t.Helper()
	epoch := c.epoch()
	c.eventually(patience, "leases reach the end of the next epoch", func() error {
		epoch = c.epoch()
		for _, socket := range sockets {
			if s, err := c.status(socket); err != nil || s.Ceiling.Target < epoch+1 {
				return fmt.Errorf("%s: %+v, %w", socket, s, err)
			}
		}
		return nil
	})
	return []duty{
		c.block(key, c.network.Preset.SlotsPerEpoch*epoch, salt),
		c.block(key, c.network.Preset.SlotsPerEpoch*(epoch+2)-1, salt),
		c.vote(key, epoch-1, epoch, salt),
		c.vote(key, epoch, epoch+1, salt),
	}
}

// otherwise are the same duties with other contents.
func (c *cluster) otherwise(duties []duty) (others []duty) {
	for _, d := range duties {
		body := strings.Replace(d.body, fmt.Sprintf("0x%064x", 3), fmt.Sprintf("0x%064x", 4), 1)
		others = append(others, c.duty(d.key, body))
	}
	return others
}

const honestSalt = 3 // what otherwise replaces

// twoEpochs is how long a restarted holder may wait before it signs what is
// due.
func (c *cluster) twoEpochs() time.Duration {
	return 2 * time.Duration(c.network.Preset.SlotsPerEpoch) * c.network.SlotDuration
}

// oneRestored puts old disks back into one of the four nodes, which is f of
// them. The first node was stopped in order, and the others remember an end
// that the disk contradicts. The second was killed after a life that the disk
// knows nothing of, and the disk fits the end that the others remember.
func oneRestored(t *testing.T) {
	c := newCluster(t, 2)
	old := t.TempDir()
	const first, second = 2, 1
	c.mustSign(first, c.block(c.keys[0], 8, honestSalt))
	copied := filepath.Join(old, "first")
	c.copyHome(first, copied)
	signed := c.signPartials(first)
	c.stopNode(first, syscall.SIGTERM)
	c.restored(first, copied, signed)

	copied = filepath.Join(old, "second")
	c.stopNode(second, syscall.SIGTERM)
	c.copyFiles(c.node(second).Home, copied)
	if err := c.startNode(second); err != nil {
		t.Fatal(err)
	}
	c.awaitLog(second, provenText)
	signed = c.signPartials(second)
	c.stopNode(second, syscall.SIGKILL)
	c.restored(second, copied, signed)
	c.mustSign(0, c.vote(c.keys[1], c.epoch(), c.epoch()+1, 5))
}

// twoRestored kills f = 2 of seven nodes at once and puts old disks back into
// both.
func twoRestored(t *testing.T) {
	c := newClusterOf(t, 7, 1)
	victims := []int{2, 5}
	old := t.TempDir()
	signed := map[int][]duty{}
	for _, v := range victims {
		c.copyHome(v, filepath.Join(old, c.node(v).Name))
	}
	for _, v := range victims {
		signed[v] = c.signPartials(v)
	}
	for _, v := range victims {
		c.stopNode(v, syscall.SIGKILL)
		c.putBack(v, filepath.Join(old, c.node(v).Name))
	}
	c.mustSign(0, c.vote(c.keys[0], c.epoch(), c.epoch()+1, honestSalt)) // the five others do
	for _, v := range victims {
		if err := c.startNode(v); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range victims {
		c.tempt(c.socket(v), signed[v])
	}
	c.mustSign(victims[0], c.block(c.keys[0], c.slot()+2, 9))
}

// signPartials has a holder alone sign all that is due.
func (c *cluster) signPartials(i int) []duty {
	c.t.Helper()
	signed := c.present(c.keys[0], honestSalt, c.socket(i))
	for _, d := range signed {
		if err := c.partial(c.socket(i), d); err != nil {
			c.t.Errorf("node%d before its disk is restored: %v", i, err)
		}
	}
	return signed
}

// restored starts a node on an old disk and tempts it.
func (c *cluster) restored(i int, from string, signed []duty) {
	c.t.Helper()
	c.putBack(i, from)
	if err := c.startNode(i); err != nil {
		c.t.Fatal(err)
	}
	c.awaitLog(i, "signs blocks and attestations again when its floor has passed")
	if log := c.lifeLog(i); strings.Contains(log, provenText) {
		c.t.Errorf("an old record was taken for the last: %s", log)
	}
	c.tempt(c.socket(i), signed)
}

// tempt asks a holder for everything that contradicts what it signed, again
// and again, until it signs what is due: when its floor has passed, which lies
// in the epoch after its registration at the latest.
func (c *cluster) tempt(socket string, signed []duty) {
	c.t.Helper()
	from := time.Now()
	others := c.otherwise(signed)
	provoke := func() {
		for _, d := range others {
			if err := c.partial(socket, d); err == nil {
				c.t.Errorf("%s signs %s after a rollback", socket, d)
			}
		}
	}
	c.eventually(c.twoEpochs()+patience, socket+" signs what is due", func() error {
		provoke()
		s, err := c.status(socket)
		if err != nil {
			return err
		}
		if !action.CeilingAt(c.network, time.Now()).Covers(s.Floor) {
			c.t.Errorf("%s has a floor of %+v in slot %d", socket, s.Floor, c.slot())
		}
		epoch := c.epoch()
		if err := c.partial(socket, c.vote(c.keys[0], epoch-1, epoch, 9)); err != nil {
			return err
		}
		return c.partial(socket, c.block(c.keys[0], c.slot()+1, 9))
	})
	provoke()
	c.t.Logf("tempted for %s", time.Since(from).Round(time.Second))
}

// allRestored puts old disks back into all nodes at once: the ledger with all
// leases is rolled back, too, and nobody remembers anything.
func allRestored(t *testing.T) {
	c := newCluster(t, 2)
	key := c.keys[0]
	old := t.TempDir()
	for i := range 4 {
		c.copyHome(i, filepath.Join(old, c.node(i).Name))
	}
	// Leases after the copies: the old ledger knows nothing of them.
	copied := c.epoch()
	c.eventually(patience, "leases go beyond the copies", func() error {
		if c.epoch() < copied+2 {
			return errors.New("not yet")
		}
		return nil
	})
	var signed []duty
	for _, d := range c.present(key, honestSalt, c.socket(0), c.socket(1), c.socket(2), c.socket(3)) {
		c.mustSign(0, d)
		for i := range 4 {
			if err := c.partial(c.socket(i), d); err != nil {
				t.Errorf("node%d before its disk is restored: %v", i, err)
			}
		}
		signed = append(signed, d)
	}
	c.stop()
	for i := range 4 {
		c.putBack(i, filepath.Join(old, c.node(i).Name))
	}
	c.start()
	for i := range 4 {
		for _, d := range c.otherwise(signed) {
			c.refuses(i, http.StatusPreconditionFailed, d)
		}
	}
	for i := range 4 {
		c.tempt(c.socket(i), signed)
	}
	c.mustSign(0, c.block(key, c.slot()+2, 9))
}
