package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestNoDoubleSign is "No double-sign, whatever fails", with real processes:
// the signing part of docs/threat-model.md's acceptance list. An independent
// slasher sees every signature that it gets, and every partial.
func TestNoDoubleSign(t *testing.T) {
	needsClusters(t)
	t.Parallel()
	for _, story := range []struct {
		name string
		tell func(t *testing.T)
	}{
		{"races", races},
		{"requests that must not sign", hostileRequests},
		{"restarts in order", cleanRestarts},
		{"kills", kills},
		{"old disks of one node at a time", oneRestored},
		{"old disks of two of seven nodes", twoRestored},
		{"old disks of all nodes", allRestored},
		{"clone of a node", clonedNode},
		{"clone of a custody process", clonedCustody},
		{"record lost", recordLost},
		{"deleted and imported again", deletedAndBack},
	} {
		t.Run(strings.ReplaceAll(story.name, " ", "_"), func(t *testing.T) { t.Parallel(); story.tell(t) })
	}
}

// isNightly says whether there is time. What runs at night only does not count
// as skipped by day.
func isNightly() bool { return os.Getenv("QUORATE_NIGHTLY") != "" }

// nightly returns the larger number where there is time for it.
func nightly(n, large int) int {
	if isNightly() {
		return large
	}
	return n
}

// races has validator clients that know nothing of each other ask different
// nodes for different messages of one duty, at once. At most one gets a
// signature, and whoever got it, the next duty signs.
func races(t *testing.T) {
	const requests, validators = 10_000, 32
	until := time.Now().Add(2 * time.Minute) // on a machine that is busy with other things fewer will do
	c := newCluster(t, validators)
	var asked, raced, lost, worst atomic.Int64
	var all sync.WaitGroup
	from := time.Now()
	for _, key := range c.keys {
		all.Go(func() {
			// Duties of the past, in order: a new key has no history. Blocks
			// and votes take turns.
			for n := uint64(1); asked.Load() < requests && time.Now().Before(until); n++ {
				due := func(at, salt uint64) duty {
					if n%2 == 0 {
						return c.block(key, at, salt)
					}
					return c.vote(key, at-1, at, salt)
				}
				rivals := []duty{due(n, 1), due(n, 2), due(n, 3)}
				if c.race(rand.IntN(4), rivals) == 0 {
					lost.Add(1)
				}
				raced.Add(1)
				// The next duty of the same kind has no rival.
				began := time.Now()
				c.mustSign(rand.IntN(4), due(n+1, 9))
				worst.Store(max(worst.Load(), int64(time.Since(began))))
				asked.Add(int64(len(rivals)) + 1)
			}
		})
	}
	all.Wait()
	t.Logf("%d requests in %s: %d races, %d of them (%.2f %%) without a signature; the slowest of the next duties took %s",
		asked.Load(), time.Since(from).Round(time.Second), raced.Load(), lost.Load(), 100*float64(lost.Load())/float64(raced.Load()), time.Duration(worst.Load()).Round(time.Millisecond))
	if asked.Load() < requests/20 {
		t.Errorf("only %d requests", asked.Load())
	}
	if lost.Load()*10 > raced.Load() { // on an idle machine one in a hundred
		t.Errorf("%d of %d races ended without a signature", lost.Load(), raced.Load())
	}
}

// race sends each duty to another node at once and counts the messages that
// were signed.
func (c *cluster) race(first int, duties []duty) int {
	statuses := make([]int, len(duties))
	answers := make([]string, len(duties))
	var all sync.WaitGroup
	for i, d := range duties {
		all.Go(func() { statuses[i], answers[i] = c.sign((first+i)%4, d) })
	}
	all.Wait()
	signed := map[string]bool{}
	for i, status := range statuses {
		switch status {
		case http.StatusOK:
			signed[duties[i].body] = true
		case http.StatusPreconditionFailed, http.StatusServiceUnavailable, unreachable:
		default:
			c.t.Errorf("race for %s: status %d: %s", duties[i], status, answers[i])
		}
	}
	if len(signed) > 1 {
		c.t.Errorf("%d of these were signed: %v", len(signed), duties)
	}
	return len(signed)
}

// hostileRequests asks a strict node for what must not be signed. Custody
// records everything before it signs it, so a record that stands still shows
// that there was no partial, either.
func hostileRequests(t *testing.T) {
	c := newCluster(t, 1)
	key := c.keys[0]
	c.stopNode(1, syscall.SIGTERM)
	c.editConfig(c.node(1).Home, func(text string) string { return text + "strict: true\n" })
	if err := c.startNode(1); err != nil {
		t.Fatal(err)
	}
	c.connected()
	const strict = 1
	epoch := c.epoch()
	slots := c.network.Preset.SlotsPerEpoch
	c.mustSign(strict, c.block(key, slots*epoch, 1))
	c.mustSign(strict, c.vote(key, epoch-1, epoch, 1))
	unchanged := func(what string, ask func()) {
		t.Helper()
		var before, after [4]uint64
		for i := range before {
			before[i] = c.usage(c.socket(i))
		}
		ask()
		for i := range after {
			after[i] = c.usage(c.socket(i))
		}
		if before != after {
			t.Errorf("%s: custody recorded something: %v before, %v after", what, before, after)
		}
	}

	const huge, most = 1<<63 - 1, 1<<64 - 1
	unchanged("far future", func() {
		for node := range 4 {
			for _, at := range []uint64{huge / slots, most / slots, 0} {
				far := func() uint64 { return max(at, c.epoch()+4) } // or as near as no lease goes
				c.refuses(node, http.StatusPreconditionFailed, c.block(key, slots*far(), 1))
				c.refuses(node, http.StatusPreconditionFailed, c.vote(key, epoch, far(), 1))
				target := far()
				c.refuses(node, http.StatusPreconditionFailed, c.vote(key, target, target, 1))
			}
			c.refuses(node, http.StatusPreconditionFailed, c.block(key, huge, 1))
			c.refuses(node, http.StatusPreconditionFailed, c.block(key, most, 1))
		}
	})

	good := c.vote(key, epoch, epoch+1, 1).body
	block := c.block(key, slots*(epoch+1), 1).body
	at := func(body, old, new string) string {
		if !strings.Contains(body, old) {
			t.Fatalf("%s is not in %s", old, body)
		}
		return strings.Replace(body, old, new, 1)
	}
	genesis, other := strings.Repeat("42", 32), strings.Repeat("43", 32)
	root := `"signingRoot":"0x` + strings.Repeat("77", 32) + `",`
	unchanged("malformed", func() {
		for name, body := range map[string]string{
			"wrong signing root of a vote":   at(good, `{`, `{`+root),
			"wrong signing root of a block":  at(block, `{`, `{`+root),
			"wrong signing root of a randao": at(c.randao(key, epoch).body, `{`, `{`+root),
			"signing root in both spellings": at(good, `{`, `{`+root+`"signing_root":"0x`+strings.Repeat("77", 32)+`",`),
			"signing root alone":             `{"type":"ATTESTATION",` + strings.TrimSuffix(root, ",") + `}`,
			"wrong genesis root of a vote":   at(good, genesis, other),
			"wrong genesis root of a block":  at(block, genesis, other),
			"wrong genesis root of a randao": at(c.randao(key, epoch).body, genesis, other),
			"no fork":                        at(good, forkInfo+",", ""),
			"vote called a block":            at(good, `"ATTESTATION"`, `"BLOCK_V2"`),
			"block called a vote":            at(block, `"BLOCK_V2"`, `"ATTESTATION"`),
			"vote called a randao":           at(good, `"ATTESTATION"`, `"RANDAO_REVEAL"`),
			"block called a deposit":         at(block, `"BLOCK_V2"`, `"DEPOSIT"`),
			"vote and block in one":          at(good, `"attestation":`, `"beacon_block":{"version":"DENEB"},"attestation":`),
			"field twice":                    at(good, `"index":"0"`, `"index":"0","index":"1"`),
			"slot that wraps":                at(block, fmt.Sprintf(`"slot":"%d"`, slots*(epoch+1)), `"slot":"18446744073709551616"`),
			"negative epoch":                 at(good, fmt.Sprintf(`"epoch":"%d","root":"0x%064x"}}`, epoch+1, 2), fmt.Sprintf(`"epoch":"-1","root":"0x%064x"}}`, 2)),
			"source after target":            c.vote(key, epoch+1, epoch, 1).body,
			"root that is too short":         at(good, fmt.Sprintf("0x%064x", 1), fmt.Sprintf("0x%062x", 1)),
			"unknown type":                   at(good, `"ATTESTATION"`, `"ANYTHING"`),
			"unknown field":                  at(good, `"index":"0"`, `"index":"0","more":"1"`),
			"two documents":                  good + good,
			"vote that was cut short":        good[:len(good)-1],
		} {
			if status, answer := c.post(strict, key, body); status < 400 || status > 499 {
				t.Errorf("%s: status %d, want 4xx: %s", name, status, answer)
			}
		}
	})
	// None of it cost a duty.
	for node := range 4 {
		c.refuses(node, http.StatusPreconditionFailed, c.block(key, slots*epoch, 2))
	}
	c.mustSign(strict, c.vote(key, epoch, epoch+1, 1))
	c.mustSign(2, c.block(key, slots*(epoch+1), 1))
}

// cleanRestarts restarts nodes in order, one after another, while clients sign
// what is due. The others vouch for each record, so no duty waits for a floor.
func cleanRestarts(t *testing.T) {
	c := newCluster(t, 4)
	rest := c.work(turnAway)
	for i := range 4 {
		c.stopNode(i, syscall.SIGTERM)
		if err := c.startNode(i); err != nil {
			t.Fatal(err)
		}
		c.awaitLog(i, provenText)
		s, err := c.status(c.socket(i))
		if err != nil || !s.Registered || s.Fenced {
			t.Errorf("node%d after an orderly restart: %+v, %v", i, s, err)
		}
	}
	rest()
	d := c.block(c.keys[0], c.slot()+2, 7)
	for i := range 4 {
		c.eventually(patience, fmt.Sprintf("node%d signs, which has no floor,", i), func() error { return c.partial(c.socket(i), d) })
		if s, err := c.status(c.socket(i)); err != nil || s.Fenced {
			t.Errorf("node%d has a floor after an orderly restart: %+v, %v", i, s, err)
		}
	}
}

// provenText is what custody logs when enough others vouch for its record.
const provenText = "the record is proven to be the last"

// awaitLog waits until the node's present life has logged something.
func (c *cluster) awaitLog(i int, text string) {
	c.t.Helper()
	c.eventually(patience, fmt.Sprintf("node%d logs %q", i, text), func() error {
		if life := c.lifeLog(i); !strings.Contains(life, text) {
			return fmt.Errorf("the log says %s", life)
		}
		return nil
	})
}

// lifeLog is what a node has logged since its custody last started.
func (c *cluster) lifeLog(i int) string {
	log := c.nodeLog(i)
	return log[max(0, strings.LastIndex(log, "custody is ready")):]
}

// kills has nodes killed, or their custody alone, while clients sign what is
// due. First one node dies again and again, some times while it comes back:
// three holders without a floor are there, so nothing may fail for longer than
// it takes to turn to another node. Then nodes die in any order, and floors
// may keep duties waiting, but not those that cannot be slashed.
func kills(t *testing.T) {
	const requests = 10_000
	c := newCluster(t, 24)
	kill := func(i int) {
		<-time.After(time.Duration(rand.IntN(1500)) * time.Millisecond) // any moment will do
		n := c.node(i)
		pid := n.PID
		if rand.IntN(3) == 0 {
			pid = n.Custody["validator"]
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatalf("kill %s: %v", n.Name, err)
		}
		c.awaitGone(n)
		c.readLog(i)
		if err := c.startNode(i); err != nil {
			t.Fatal(err)
		}
	}
	var acked acknowledged
	written := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { c.write(written, &acked) })
	total := 0
	for _, victim := range rand.Perm(4)[:nightly(1, 4)] {
		c.awaitUnfenced()
		rest := c.work(turnAway)
		for range nightly(12, 40) {
			kill(victim)
			total++
		}
		rest()
	}
	rest := c.work(0)
	for range nightly(8, 40) {
		kill(rand.IntN(4))
		total++
	}
	c.eventually(3*patience, "there were enough requests", func() error {
		if n := c.asked.Load(); n < requests {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	rest()
	close(written)
	writer.Wait()
	fenced := c.awaitUnfenced()
	d := c.block(c.keys[0], c.slot()+1, 7)
	c.mustSign(rand.IntN(4), d)
	t.Logf("%d kills, %d signatures; the last floors passed after %s", total, c.slasher.Seen(), fenced.Round(time.Second))
	c.account(&acked)
}

// turnAway is how long a duty may take while a node is away: a signer gives up
// after four seconds, and then a validator client asks another one, on a busy
// machine a third. Who waits for a floor waits for up to two epochs, 16 s.
const turnAway = 12 * time.Second

// reveals is how many RANDAO reveals a client asks for in a slot.
const reveals = 4

// work has clients ask for what is due, slot by slot, until the function that
// it returns is called: rivals for one block, one client for the next that
// turns to another node where it gets nothing, votes and RANDAO reveals in the
// same way. A duty without a rival that stays unsigned for longer than limit
// is an error; 0 means that only RANDAO reveals are held to that.
func (c *cluster) work(limit time.Duration) (rest func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	var asked, duties, signed atomic.Int64
	var longest atomic.Int64
	insist := func(d duty, limit time.Duration) {
		from := time.Now()
		node := rand.IntN(4)
		var story []string
		for try := 0; ; try++ {
			asked.Add(1)
			status, answer := c.sign((node+try)%4, d)
			took := time.Since(from)
			if status == http.StatusOK {
				signed.Add(1)
				longest.Store(max(longest.Load(), int64(took)))
				return
			}
			if limit == 0 && try > 3 {
				return
			}
			story = append(story, fmt.Sprintf("after %s node%d: %d %s", took.Round(time.Millisecond), (node+try)%4, status, answer))
			if limit > 0 && took > limit {
				c.t.Errorf("not signed: %s: %s", d, strings.Join(story, "; "))
				return
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-done:
			}
		}
	}
	for i, key := range c.keys {
		all.Go(func() {
			epoch := c.epoch()
			for last := c.slot(); ; {
				select {
				case <-done:
					return
				case <-time.After(50 * time.Millisecond):
				}
				slot := c.slot()
				if slot == last {
					continue
				}
				last = slot
				if slot%2 == 0 {
					asked.Add(3)
					c.race(i+int(slot), []duty{c.block(key, slot, 1), c.block(key, slot, 2), c.block(key, slot, 2)})
				} else {
					duties.Add(1)
					insist(c.block(key, slot, 1), limit)
				}
				if now := c.network.EpochOf(slot); now != epoch {
					epoch = now
					duties.Add(1)
					insist(c.vote(key, epoch-1, epoch, slot), limit)
				}
				for n := range uint64(reveals) {
					insist(c.randao(key, reveals*slot+n), turnAway)
				}
			}
		})
	}
	return func() {
		close(done)
		all.Wait()
		c.t.Logf("%d requests, %d blocks and votes without a rival; %d signed without one, the slowest in %s", asked.Load(), duties.Load(), signed.Load(), time.Duration(longest.Load()).Round(time.Millisecond))
	}
}

// awaitUnfenced waits until every holder signs what is due. After a restart
// that nobody vouches for that takes until the second epoch after it.
func (c *cluster) awaitUnfenced() time.Duration {
	c.t.Helper()
	return c.eventually(c.twoEpochs()+patience, "every holder signs again", func() error {
		for i := range 4 {
			if err := c.unfenced(i); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *cluster) unfenced(i int) error {
	s, err := c.status(c.socket(i))
	switch {
	case err != nil:
		return fmt.Errorf("node%d: %w", i, err)
	case !s.Registered || s.Fenced && (c.slot() <= s.Floor.Slot || c.epoch() <= s.Floor.Target):
		return fmt.Errorf("node%d: %+v in slot %d", i, s, c.slot())
	}
	return nil
}
