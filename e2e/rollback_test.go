package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/rpc"
)

// present are the duties that make a rollback dangerous: past ones, the ones
// that are due, and the last that a lease allows.
func (c *cluster) present(key bls.PublicKey, salt uint64) []duty {
	epoch := c.epoch()
	return []duty{
		c.block(key, c.slot(), salt),
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

// fence is the last moment at which a restarted holder has to sign what is
// due: it may wait for two epochs, and a moment for its registration.
func (c *cluster) twoEpochs() time.Duration {
	return 2*time.Duration(c.network.Preset.SlotsPerEpoch)*c.network.SlotDuration + 3*time.Second
}

// oneRestored puts an old disk back into one of the four nodes, which is f of
// them. It was stopped in order, so that the others remember an end which the
// disk contradicts.
func oneRestored(t *testing.T, bin string) {
	c := newCluster(t, bin, 2)
	key := c.keys[0]
	const rolled = 2
	home := c.node(rolled).Home
	c.mustSign(rolled, c.block(key, 8, honestSalt))
	old := filepath.Join(t.TempDir(), "old")
	c.copyHome(rolled, old)

	signed := c.present(key, honestSalt)
	for _, d := range signed {
		if err := c.partial(home, d); err != nil {
			t.Errorf("before: %v", err)
		}
	}
	c.stopNode(rolled, syscall.SIGTERM)
	c.putBack(rolled, old)
	if err := c.startNode(rolled); err != nil {
		t.Fatal(err)
	}
	c.eventually(5*time.Second, "the restored node registers", func() error {
		s, err := c.status(home)
		if err == nil && !s.Registered {
			err = errors.New("not yet")
		}
		return err
	})
	if log := c.lifeLog(rolled); strings.Contains(log, "proven") {
		t.Errorf("an old record was taken for the last: %s", log)
	}
	c.tempt(rolled, home, signed, c.fence(home))
	// The others have signed on meanwhile.
	c.mustSign(0, c.vote(key, c.epoch(), c.epoch()+1, 5))
}

// fence waits until a holder is registered, and returns the time from which
// it has to sign again.
func (c *cluster) fence(home string) time.Time { return time.Now().Add(c.twoEpochs()) }

// tempt asks a holder for everything that contradicts what it signed, again
// and again, until it signs what is due. That has to come in time.
func (c *cluster) tempt(i int, home string, signed []duty, until time.Time) {
	c.t.Helper()
	from := time.Now()
	others := c.otherwise(signed)
	fresh := c.keys[0]
	c.eventually(time.Until(until), fmt.Sprintf("node%d signs again", i), func() error {
		for _, d := range others {
			if err := c.partial(home, d); err == nil {
				c.t.Errorf("node%d signs %s after a rollback", i, d)
			}
		}
		epoch := c.epoch()
		if err := c.partial(home, c.vote(fresh, epoch-1, epoch, 9)); err != nil {
			return err
		}
		return c.partial(home, c.block(fresh, c.slot()+1, 9))
	})
	for _, d := range others {
		if err := c.partial(home, d); err == nil {
			c.t.Errorf("node%d signs %s after a rollback", i, d)
		}
	}
	c.t.Logf("node%d was tempted for %s", i, time.Since(from).Round(time.Second))
}

// allRestored puts old disks back into all nodes at once: the ledger with all
// leases is rolled back, too, and nobody remembers anything.
func allRestored(t *testing.T, bin string) {
	c := newCluster(t, bin, 2)
	key := c.keys[0]
	old := t.TempDir()
	for i := range 4 {
		c.copyHome(i, filepath.Join(old, c.node(i).Name))
	}
	// Leases after the copies: the old ledger knows nothing of them.
	copied := c.epoch()
	c.eventually(30*time.Second, "leases go beyond the copies", func() error {
		if c.epoch() < copied+2 {
			return errors.New("not yet")
		}
		return nil
	})
	var signed []duty
	for _, d := range c.present(key, honestSalt) {
		c.mustSign(0, d)
		for i := range 4 {
			if err := c.partial(c.node(i).Home, d); err != nil {
				t.Logf("node%d: %v", i, err) // a later duty may be signed already
			}
		}
		signed = append(signed, d)
	}
	c.stop()
	for i := range 4 {
		c.putBack(i, filepath.Join(old, c.node(i).Name))
	}
	c.start()
	until := time.Now().Add(c.twoEpochs())
	for i := range 4 {
		for _, d := range c.otherwise(signed) {
			c.refuses(i, http.StatusPreconditionFailed, d)
		}
	}
	for i := range 4 {
		c.tempt(i, c.node(i).Home, signed, until)
	}
	c.mustSign(0, c.block(key, c.slot()+2, 9))
}

// cloned runs a copy of a node beside it. While the original stands still the
// copy takes its place; then both go on.
func cloned(t *testing.T, bin string) {
	c := newCluster(t, bin, 2)
	key := c.keys[0]
	const twin = 1
	original := c.node(twin)
	clone := original
	clone.Home = filepath.Join(t.TempDir(), "clone")
	// The original stands still from the copy on, or its consensus engine
	// and the clone's would keep each other out.
	pids := []int{original.PID, original.Custody["validator"]}
	for _, d := range c.present(key, honestSalt)[:1] {
		c.mustSign(twin, d)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer syscall.Kill(pid, syscall.SIGCONT) //nolint:errcheck // it may have ended
	}
	c.copyFiles(original.Home, clone.Home)
	c.moveNode(clone.Home)
	p := launch(t, filepath.Join(bin, "quorate"), "node", "run", "--home", clone.Home, "--custody-binary", filepath.Join(bin, "quorate-custody"))
	registered := func(home string, want bool) func() error {
		return func() error {
			select {
			case <-p.done:
				t.Fatalf("the clone ended: %v\n%s", p.err, p.output())
			default:
			}
			s, err := c.status(home)
			if err == nil && (s.Registered && !s.Ended) != want {
				err = fmt.Errorf("%+v", s)
			}
			return err
		}
	}
	c.eventually(30*time.Second, "the clone takes the original's place", registered(clone.Home, true))
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	// Within its lease the original signs what it is asked, and so it may:
	// the clone is fenced beyond all of that. But nobody takes its partials.
	duties := c.present(key, honestSalt)
	for i, d := range duties {
		first := c.partial(original.Home, d)
		second := c.partial(clone.Home, c.otherwise(duties)[i])
		if first == nil && second == nil {
			t.Errorf("original and clone signed against each other: %s", d)
		}
		t.Logf("original: %v; clone: %v", first, second)
	}
	// Node 0 takes a signature from the other three as long as the original
	// is all that answers for its seat, and both are up.
	for range 3 {
		for i, d := range c.present(c.keys[1], honestSalt) {
			c.race(i, []duty{d, c.otherwise([]duty{d})[0]})
		}
	}
	c.tempt(twin, clone.Home, duties, time.Now().Add(c.twoEpochs()))
	// The newer one counts: with another node down it is needed.
	c.stopNode(3, syscall.SIGTERM)
	_ = json.Marshal
}

var listens = regexp.MustCompile(`127\.0\.0\.1:(\d+)`)

// moveNode gives a home ports of its own.
func (c *cluster) moveNode(home string) {
	c.t.Helper()
	base, err := freePorts()
	if err != nil {
		c.t.Fatal(err)
	}
	file := filepath.Join(home, "config.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	text = listens.ReplaceAllFunc(text, func([]byte) []byte {
		base++
		return fmt.Appendf(nil, "127.0.0.1:%d", base)
	})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// recordLost starts custody on records that are missing or cut short. Only Run
// on a whole one may sign; nothing makes a new one.
func recordLost(t *testing.T, bin string) {
	c := newCluster(t, bin, 2)
	key := c.keys[0]
	const i = 3
	home := c.node(i).Home
	signed := c.present(key, honestSalt)
	for _, d := range signed {
		if err := c.partial(home, d); err != nil {
			t.Fatal(err)
		}
	}
	c.stopNode(i, syscall.SIGTERM)
	record := filepath.Join(home, "custody-validator", "slashing.log")
	whole, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []struct {
		name string
		do   func() error
	}{
		{"deleted", func() error { return os.Remove(record) }},
		{"emptied", func() error { return os.WriteFile(record, nil, 0o600) }},
		{"header cut short", func() error { return os.WriteFile(record, whole[:7], 0o600) }},
		{"zeroes", func() error { return os.WriteFile(record, make([]byte, len(whole)), 0o600) }},
		{"one byte flipped", func() error {
			flipped := append([]byte(nil), whole...)
			flipped[len(flipped)/2] ^= 1
			return os.WriteFile(record, flipped, 0o600)
		}},
	} {
		if err := damage.do(); err != nil {
			t.Fatal(err)
		}
		p := launch(t, filepath.Join(bin, "quorate-custody"), "run", "--home", filepath.Join(home, "custody-validator"), "--socket", filepath.Join(home, "custody-validator.sock"))
		select {
		case <-p.done:
			if p.err == nil || !strings.Contains(p.output(), "slashing record") {
				t.Errorf("%s: custody ended with %v and says: %s", damage.name, p.err, p.output())
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: custody runs", damage.name)
			p.signal(syscall.SIGKILL)
			<-p.done
		}
		if err := c.startNode(i); err == nil || !strings.Contains(err.Error(), "slashing record") {
			t.Errorf("%s: the node starts, or does not say why not: %v", damage.name, err)
		}
	}
	// A tail that is missing is found out by the others, or fenced.
	for _, less := range []int{1, 20, 200} {
		if err := os.WriteFile(record, whole[:len(whole)-less], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.startNode(i); err != nil {
			t.Logf("%d bytes less: %v", less, err)
			continue
		}
		for _, d := range c.otherwise(signed) {
			if err := c.partial(home, d); err == nil {
				t.Errorf("%d bytes less: %s is signed", less, d)
			}
		}
		c.stopNode(i, syscall.SIGKILL)
	}
	c.mustSign(0, c.block(c.keys[1], 1, 1))
}

// deletedAndBack deletes a key, imports it again and restarts everybody in
// order, so that no floor hides what the record itself remembers.
func deletedAndBack(t *testing.T, bin string) {
	c := newCluster(t, bin, 0)
	archive, err := txtar.ParseFile(filepath.Join("testdata", "script", "keymanager.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var keystore []byte
	for _, f := range archive.Files {
		if f.Name == "import.json" {
			keystore = f.Data
		}
	}
	key := publicKey(t, "0x9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27f4ae4040902382ae2910c15e2b420d07")
	c.keymanager(http.MethodPost, 0, string(keystore), `"imported"`)
	signed := []duty{c.block(key, 100, honestSalt), c.vote(key, 20, 21, honestSalt)}
	c.nameHolders(key)
	for n, d := range signed {
		c.mustSign(n, d)
		for i := range 4 { // a quorum signed; now everybody has
			if err := c.partial(c.node(i).Home, d); err != nil {
				t.Errorf("node%d: %v", i, err)
			}
		}
	}
	c.keymanager(http.MethodDelete, 1, fmt.Sprintf(`{"pubkeys":["%s"]}`, key), `"deleted"`)
	for i := range 4 {
		for _, d := range append(c.otherwise(signed), c.block(key, 101, 1)) {
			c.refuses(i, http.StatusNotFound, d)
		}
	}
	c.keymanager(http.MethodPost, 2, string(keystore), `"imported"`)
	for i := range 4 {
		c.stopNode(i, syscall.SIGTERM)
		if err := c.startNode(i); err != nil {
			t.Fatal(err)
		}
		c.awaitLog(i, "the record is proven to be the last", 10*time.Second)
	}
	for i := range 4 {
		for _, d := range c.otherwise(signed) {
			c.refuses(i, http.StatusPreconditionFailed, d)
			if err := c.partial(c.node(i).Home, d); err == nil || rpc.CodeOf(err) != rpc.CodeSlashable {
				t.Errorf("node%d: %v, want slashable, for %s", i, err, d)
			}
		}
	}
	c.mustSign(3, c.block(key, 102, 1))
	c.mustSign(3, c.vote(key, 21, 22, 1))
}

// keymanager asks a node to import or delete.
func (c *cluster) keymanager(method string, node int, body, want string) {
	c.t.Helper()
	token, err := os.ReadFile(filepath.Join(c.node(node).Home, "keymanager.token"))
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.node(node).Signer+"/eth/v1/keystores", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(raw), want) {
		c.t.Fatalf("%s keystores: %v, status %d: %s", method, err, resp.StatusCode, raw)
	}
}

var _ = custody.MethodSign
