package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/slashing"
)

// holderLog is everything that a holder's log has ever said, read between its
// lives: each opening begins a new log where the one before ended.
type holderLog struct {
	end   slashing.Logged
	chain map[uint64]slashing.Root
	used  map[emitted]bool
}

// readLog adds what a holder's log says. The holder must not run.
func (c *cluster) readLog(i int) {
	c.t.Helper()
	if c.logs[i].used == nil {
		c.logs[i] = holderLog{chain: map[uint64]slashing.Root{}, used: map[emitted]bool{}}
	}
	l := &c.logs[i]
	first := true
	err := custody.ReadLog(filepath.Join(c.node(i).Home, "custody-validator"), func(e slashing.Logged) {
		if known, ok := l.chain[e.Seq]; first && l.end.Seq > 0 && (!ok || known != e.Chain) {
			c.t.Errorf("node%d's log begins at %d, %x, and was at %d, %x", i, e.Seq, e.Chain, l.end.Seq, l.end.Chain)
		}
		first = false
		l.end, l.chain[e.Seq] = e, e.Chain
		if e.Facts != nil {
			l.used[emitted{publicKey(c.t, fmt.Sprintf("%x", e.Key)), rootOf(e.Facts)}] = true
		}
	})
	if err != nil {
		c.t.Errorf("node%d: %v", i, err)
	}
}

func rootOf(f slashing.Facts) [32]byte {
	switch f := f.(type) {
	case slashing.Block:
		return f.Root
	case slashing.Attestation:
		return f.Root
	case slashing.Other:
		return f.Root
	}
	panic("unknown facts")
}

// acknowledged are the writes that a cluster said yes to.
type acknowledged struct {
	mu       sync.Mutex
	attempts int
	settings []string        // addresses, each set once
	imports  []bls.PublicKey // keys
	exits    []duty
}

// write keeps changing the ledger until done: fee recipients, exits and, now
// and then, a key that moves in.
func (c *cluster) write(done <-chan struct{}, acked *acknowledged) {
	bearer := c.token()
	for n := 1; ; n++ {
		over := ended(done)
		if over && len(acked.imports) > 0 && len(acked.exits) > 0 && len(acked.settings) > 0 {
			return // one of each at least, however little was possible under kills
		}
		<-time.After(100 * time.Millisecond)
		node, key := rand.IntN(4), c.keys[rand.IntN(len(c.keys))]
		ok := func(status, want int, add func()) {
			acked.mu.Lock()
			defer acked.mu.Unlock()
			acked.attempts++
			if status == want {
				add()
			}
		}
		switch {
		case n%10 == 1 || over && len(acked.imports) == 0:
			imported, err := bls.GenerateSecretKey()
			if err != nil {
				c.t.Error(err)
				return
			}
			body, err := json.Marshal(map[string][]string{"keystores": {string(makeKeystore(c.t, imported, "moves in"))}, "passwords": {"moves in"}})
			if err != nil {
				c.t.Error(err)
				return
			}
			status, answer := c.request(http.MethodPost, c.node(node).Signer+"/eth/v1/keystores", bearer, string(body))
			if !strings.Contains(answer, `"imported"`) {
				status = unreachable
			}
			ok(status, http.StatusOK, func() { acked.imports = append(acked.imports, imported.PublicKey()) })
			imported.Destroy()
		case n%3 == 0 || over && len(acked.exits) == 0:
			d := c.exit(key, uint64(n))
			status, _ := c.sign(node, d)
			ok(status, http.StatusOK, func() { acked.exits = append(acked.exits, d) })
		default:
			address := fmt.Sprintf("0x%040x", n)
			status, _ := c.request(http.MethodPost, fmt.Sprintf("%s/eth/v1/validator/%s/feerecipient", c.node(node).Signer, key), bearer, fmt.Sprintf(`{"ethaddress":"%s"}`, address))
			ok(status, http.StatusAccepted, func() { acked.settings = append(acked.settings, address) })
		}
	}
}

func ended(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// exit is no duty: the ledger has to grant it.
func (c *cluster) exit(key bls.PublicKey, validator uint64) duty {
	return c.duty(key, fmt.Sprintf(`{"type":"VOLUNTARY_EXIT",%s,"voluntary_exit":{"epoch":"1","validator_index":"%d"}}`, forkInfo, validator))
}

// events returns the whole audit log once all nodes have the same.
func (c *cluster) events() []opsapi.Event {
	c.t.Helper()
	var all []opsapi.Event
	c.eventually(patience, "all nodes have one audit log", func() error {
		all = nil
		for {
			page, err := c.ops(0).Events(c.t.Context(), uint64(len(all)), 1000)
			if err != nil {
				return err
			}
			all = append(all, page.Events...)
			if len(page.Events) > 0 && uint64(len(all)) < page.Size {
				continue
			}
			for i := range c.nodes {
				if other, err := c.ops(i).Events(c.t.Context(), 0, 1); err != nil || other.Root != page.Root {
					return fmt.Errorf("%s has a root of %s and %s one of %s, %w", c.node(i).Name, other.Root, c.node(0).Name, page.Root, err)
				}
			}
			return nil
		}
	})
	return all
}

// account holds everything that clients were told against what the holders and
// the ledger remember. Nodes run when it is called and do not after it.
func (c *cluster) account(acked *acknowledged) {
	c.t.Helper()
	lostMarks := c.marksMissing()
	var ends [4]uint64
	for i := range ends {
		ends[i] = c.usage(c.socket(i))
	}
	var events []opsapi.Event
	c.eventually(2*patience, "the ledger anchors everything that was signed", func() error {
		events = c.events()
		for i, end := range ends {
			if at, _ := lastAnchor(events, i); at < end {
				return fmt.Errorf("node%d's log is anchored at %d, and was at %d", i, at, end)
			}
		}
		return nil
	})
	lostWrites := c.writesMissing(events, acked)
	c.stop()
	for i := range c.nodes {
		c.readLog(i)
	}
	unlogged := 0
	for what, d := range c.given {
		holders := 0
		for i := range c.logs {
			if c.logs[i].used[what] {
				holders++
			}
		}
		if holders < c.threshold() {
			unlogged++
			c.t.Errorf("a client has a signature of %s, and %d holders have it in their logs", d, holders)
		}
	}
	anchors := 0
	for i := range c.nodes {
		for _, e := range events {
			if at, chain, ok := anchor(e, i); ok {
				anchors++
				if known, ok := c.logs[i].chain[at]; !ok || fmt.Sprintf("%x", known) != chain {
					c.t.Errorf("the ledger holds %s at %d of node%d's log, which says %x", chain, at, i, known)
				}
			}
		}
	}
	c.t.Logf("%d requests, %d different signatures given: %d not in the logs of t holders, %d above their watermarks; %d anchors, all fit",
		c.asked.Load(), len(c.given), unlogged, lostMarks, anchors)
	c.t.Logf("%d of %d writes acknowledged (%d settings, %d exits, %d imports): %d lost",
		len(acked.settings)+len(acked.exits)+len(acked.imports), acked.attempts, len(acked.settings), len(acked.exits), len(acked.imports), lostWrites)
	if len(c.given) == 0 || anchors == 0 || len(acked.settings) == 0 || len(acked.exits) == 0 || len(acked.imports) == 0 {
		c.t.Error("there is a kind of which nothing was acknowledged: the test has shown nothing")
	}
}

// anchor reads a usage event of a node.
func anchor(e opsapi.Event, node int) (sequence uint64, chain string, ok bool) {
	if e.Kind != "usage" || e.Actor != fmt.Sprintf("node/node%d", node) {
		return 0, "", false
	}
	var keys int
	_, err := fmt.Sscanf(e.Detail, "sequence %d, %d keys, chain %s", &sequence, &keys, &chain)
	return sequence, chain, err == nil
}

func lastAnchor(events []opsapi.Event, node int) (last uint64, chain string) {
	for _, e := range events {
		if at, c, ok := anchor(e, node); ok {
			last, chain = at, c
		}
	}
	return last, chain
}

// marksMissing counts the signatures that fewer than t holders' watermarks
// cover.
func (c *cluster) marksMissing() (missing int) {
	c.t.Helper()
	var keys [][bls.PublicKeySize]byte
	for _, key := range c.keys {
		keys = append(keys, key.Bytes())
	}
	var marks [4]map[slashing.Key]slashing.Watermarks
	for i := range marks {
		marks[i] = map[slashing.Key]slashing.Watermarks{}
		err := c.ask(c.socket(i), func(ctx context.Context, cu *custody.Client) error {
			ic, err := cu.ExportSlashing(ctx, keys)
			for _, k := range ic.Keys {
				marks[i][k.Key] = k.Watermarks
			}
			return err
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	for what, d := range c.given {
		holders := 0
		for i := range marks {
			w := marks[i][what.key.Bytes()]
			switch f := d.duty.Slashable().(type) {
			case eth.BlockFacts:
				if w.Block.Known && w.Block.Slot >= f.Slot {
					holders++
				}
			case eth.AttestationFacts:
				if w.Vote.Known && w.Vote.Target >= f.TargetEpoch && w.Vote.Source >= f.SourceEpoch {
					holders++
				}
			default:
				holders++
			}
		}
		if holders < c.threshold() {
			missing++
			c.t.Errorf("a client has a signature of %s, and the watermarks of %d holders cover it", d, holders)
		}
	}
	return missing
}

// writesMissing counts the acknowledged writes that the ledger does not have.
func (c *cluster) writesMissing(events []opsapi.Event, acked *acknowledged) (missing int) {
	c.t.Helper()
	times := map[string]int{} // of what an event is about
	last := map[string]string{}
	for _, e := range events {
		switch e.Kind {
		case "key settings":
			times[e.Detail]++
			last[e.Object] = e.Detail
		case "granted":
			times[e.Detail]++
		}
	}
	lost := func(format string, args ...any) {
		missing++
		c.t.Errorf(format, args...)
	}
	for _, a := range acked.settings {
		if n := times["fee recipient "+a]; n != 1 {
			lost("fee recipient %s was acknowledged, and is %d times in the audit log", a, n)
		}
	}
	doc, err := os.ReadFile(filepath.Join(c.node(0).Home, "genesis.json"))
	if err != nil {
		c.t.Fatal(err)
	}
	_, cluster, err := action.ParseGenesis(doc)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, d := range acked.exits {
		key := d.key.Bytes()
		a := action.Action{Rule: action.RuleExit, Domain: action.DomainValidator, PublicKey: key[:], Duty: eth.EncodeDuty(d.duty)}
		if n := times[fmt.Sprintf("action %x", a.Hash(cluster))]; n == 0 {
			lost("exit %s was signed, and no grant is in the audit log", d.body)
		}
	}
	for i := range c.nodes {
		active, err := c.active(i)
		if err != nil {
			c.t.Fatal(err)
		}
		has := map[bls.PublicKey]bool{}
		for _, key := range active {
			has[key] = true
		}
		for _, key := range acked.imports {
			if !has[key] {
				lost("%s was imported, and node%d does not list it", key, i)
			}
		}
		// What the state says is what the log says last.
		for object, detail := range last {
			key := publicKey(c.t, object[strings.LastIndex(object, "/")+1:])
			_, answer := c.request(http.MethodGet, fmt.Sprintf("%s/eth/v1/validator/%s/feerecipient", c.node(i).Signer, key), c.token(), "")
			if want := strings.TrimPrefix(detail, "fee recipient "); !strings.Contains(strings.ToLower(answer), want) {
				lost("node%d answers %s where the audit log's last word is %s", i, answer, want)
			}
		}
	}
	for _, key := range acked.imports {
		c.mustSign(rand.IntN(4), c.randao(key, 1))
	}
	return missing
}

// token is that of the Keymanager API, which is one for all nodes here.
func (c *cluster) token() string {
	c.t.Helper()
	raw, err := os.ReadFile(filepath.Join(c.node(0).Home, "keymanager.token"))
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// request asks where nothing is certain; its limit is that of c.http.
func (c *cluster) request(method, url, token, body string) (status int, answer string) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		c.t.Error(err)
		return unreachable, ""
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.http.Do(req)
	if err != nil {
		return unreachable, err.Error()
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return unreachable, err.Error()
	}
	return resp.StatusCode, string(raw)
}
