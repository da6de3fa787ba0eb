package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestPartitions cuts the wires between nodes.
func TestPartitions(t *testing.T) {
	needsClusters(t)
	t.Parallel()
	t.Run("who stands alone", func(t *testing.T) { t.Parallel(); cutOff(t) })
	t.Run("without a ledger", func(t *testing.T) { t.Parallel(); outage(t) })
}

// healTime is how soon everything works again when the wires are whole.
const healTime = 30 * time.Second

// cutOff cuts off f nodes, whom nobody misses, and then cuts the cluster in
// half, where nothing may be decided on either side.
func cutOff(t *testing.T) {
	c := newNetCluster(t, 2)
	const alone = 3
	c.cut(0, 0, 0, 1)
	var slowest time.Duration
	for i := range alone {
		slowest = max(slowest, c.eventually(10*time.Second, "the others decide", func() error {
			if status, answer := c.setRecipient(i, 0, i+1); status != http.StatusAccepted {
				return fmt.Errorf("node%d: %d %s", i, status, answer)
			}
			return nil
		}))
		c.mustSign(i, c.block(c.keys[0], c.slot()+uint64(i), uint64(i)))
	}
	stuck := c.heights()[alone]
	if status, _ := c.setRecipient(alone, 1, 99); status == http.StatusAccepted {
		t.Error("a node that stands alone says that the ledger took a write")
	}
	if status, _ := c.sign(alone, c.block(c.keys[1], c.slot(), 1)); status == http.StatusOK {
		t.Error("a node that stands alone signs")
	}
	if at := c.heights()[alone]; at != stuck {
		t.Errorf("a node that stands alone went from height %d to %d", stuck, at)
	}
	c.cut(0, 0, 0, 0)
	took := c.healed(1, 10)
	t.Logf("one of four cut off: the others decide within %s; whole again after %s", slowest.Round(time.Millisecond), took.Round(time.Millisecond))

	c.cut(0, 0, 1, 1)
	c.settled()
	before := c.heights()
	var writers sync.WaitGroup
	for end, n := time.Now().Add(time.Duration(nightly(20, 60))*time.Second), 0; time.Now().Before(end); n++ {
		for i := range c.nodes {
			writers.Go(func() {
				if status, answer := c.setRecipient(i, i%2, 1000+4*n+i); status == http.StatusAccepted {
					t.Errorf("half of the cluster takes a write: node%d: %s", i, answer)
				}
				if status, answer := c.sign(i, c.block(c.keys[i%2], c.slot(), uint64(i))); status == http.StatusOK {
					t.Errorf("half of the cluster signs: node%d: %s", i, answer)
				}
			})
		}
		writers.Wait()
	}
	if after := c.heights(); after != before {
		t.Errorf("halves of the cluster went from heights %v to %v", before, after)
	}
	c.cut(0, 0, 0, 0)
	took = c.healed(2, 11)
	t.Logf("two and two for %d s: no block, no signature; whole again after %s", nightly(20, 60), took.Round(time.Millisecond))
}

// settled waits until what was under way when the wires were cut has ended.
func (c *netCluster) settled() {
	c.t.Helper()
	last, since := c.heights(), time.Now()
	c.eventually(10*time.Second, "heights stand still", func() error {
		if now := c.heights(); now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) < time.Second {
			return errors.New("not yet")
		}
		return nil
	})
}

// healed waits until the cluster is whole, takes a write at each node, and
// signs what is due.
func (c *netCluster) healed(key, n int) time.Duration {
	c.t.Helper()
	key %= len(c.keys)
	from := time.Now()
	c.whole(healTime)
	for i := range c.nodes {
		c.eventually(healTime-time.Since(from), "the cluster works", func() error {
			if status, answer := c.setRecipient(i, key, 4*n+i); status != http.StatusAccepted {
				return fmt.Errorf("node%d: %d %s", i, status, answer)
			}
			return nil
		})
	}
	c.eventually(healTime-time.Since(from), "the cluster signs", func() error {
		if status, answer := c.sign(3, c.block(c.keys[key], c.slot()+1, uint64(n))); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, answer)
		}
		return nil
	})
	return time.Since(from)
}

// outage takes the consensus network away and leaves the other: nodes sign on
// for as long as the ledger allowed them to beforehand, then say why they do
// not, and go on when it is back.
func outage(t *testing.T) {
	c := newNetCluster(t, 1)
	key := c.keys[0]
	c.split(consensusNet, 0, 1, 2, 3)
	c.settled()
	var ends uint64 // the slot up to which t holders may sign
	for i := range c.nodes {
		s, err := c.status(c.socket(i))
		if err != nil {
			t.Fatal(err)
		}
		ends = max(ends, s.Ceiling.Slot)
	}
	from, began := time.Now(), c.slot()
	signed := 0
	var refusal string
	for last := began; refusal == ""; {
		<-time.After(time.Until(time.Unix(int64(c.network.GenesisTime), 0).Add(time.Duration(last+1) * c.network.SlotDuration)))
		slot := c.slot()
		last = slot
		switch status, answer := c.sign(signed%4, c.block(key, slot, 1)); {
		case status == http.StatusOK:
			signed++
		case slot <= ends:
			t.Fatalf("slot %d is not signed in a lease up to %d: %d %s", slot, ends, status, answer)
		default:
			refusal = fmt.Sprintf("%d %s", status, answer)
		}
		if slot > ends+1 {
			t.Fatalf("slot %d is signed after a lease up to %d", slot, ends)
		}
	}
	if !strings.Contains(refusal, "lease") {
		t.Errorf("the refusal after the lease does not say why: %s", refusal)
	}
	if signed == 0 || c.slot() < began+c.network.Preset.SlotsPerEpoch/2 {
		t.Errorf("only %d slots were signed without a ledger", signed)
	}
	c.mustSign(0, c.randao(key, 1)) // it cannot be slashed, and needs no lease
	t.Logf("without a ledger %d slots were signed in %s, then: %s", signed, time.Since(from).Round(time.Second), refusal)
	c.split(consensusNet, 0, 0, 0, 0)
	t.Logf("signing again %s after the ledger was back", c.healed(0, 20).Round(time.Millisecond))
}
