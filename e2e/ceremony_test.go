package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/keystore"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/secret"
)

// TestCeremonies: making and importing keys while nodes die, with real
// processes.
func TestCeremonies(t *testing.T) {
	needsClusters(t)
	t.Parallel()
	t.Run("kills", func(t *testing.T) { t.Parallel(); ceremonyUnderKills(t) })
	t.Run("a node stays dead", func(t *testing.T) { t.Parallel(); ceremonyWithoutOne(t) })
}

// level has the nodes that run come to the same ledger.
func (c *cluster) level() {
	var nodes []string
	for i := range c.nodes {
		nodes = append(nodes, c.node(i).Ops)
	}
	levelled(nodes)
}

// operate runs a command against a node, with the token of its operator.
func (c *cluster) operate(node int, args ...string) (stdout, stderr string, err error) {
	c.level()
	n := c.node(node)
	cmd := exec.Command(filepath.Join(bin, "quorate"), append([]string{"--address", n.Ops, "--identity", filepath.Join(n.Home, "ops.token")}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func (c *cluster) mustOperate(node int, args ...string) string {
	c.t.Helper()
	out, errs, err := c.operate(node, args...)
	if err != nil {
		c.t.Fatalf("quorate %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	return out
}

// ops reads from a node's operator API.
func (c *cluster) ops(node int) *opsapi.Client {
	return opsapi.NewClient(c.node(node).Ops, secret.Bytes{})
}

// open opens a ceremony and returns its id.
func (c *cluster) open(node int, flags ...string) string {
	c.t.Helper()
	var opened opsapi.Opened
	out := c.mustOperate(node, append([]string{"ceremony", "open", "-o", "json"}, flags...)...)
	if err := json.Unmarshal([]byte(out), &opened); err != nil || opened.ID == "" {
		c.t.Fatalf("open ceremony: %v in %s", err, out)
	}
	return opened.ID
}

// hold opens a ceremony at a node and waits at another until it is over.
func (c *cluster) hold(at, watch int, flags ...string) (id string) {
	c.t.Helper()
	id = c.open(at, flags...)
	c.mustOperate(watch, "ceremony", "watch", id)
	return id
}

// active returns the keys that a node lists as active.
func (c *cluster) active(node int) (keys []bls.PublicKey, err error) {
	list, err := c.ops(node).Keys(c.t.Context())
	for _, k := range list {
		if k.State == "active" {
			keys = append(keys, publicKey(c.t, k.PublicKey))
		}
	}
	return keys, err
}

// holds waits until a node lists so many keys and its custody can sign with
// as many.
func (c *cluster) holds(node, shares, listed int) []bls.PublicKey {
	c.t.Helper()
	var keys []bls.PublicKey
	c.eventually(patience, fmt.Sprintf("node%d has %d shares of %d keys", node, shares, listed), func() error {
		st, err := c.ops(node).Status(c.t.Context())
		if err != nil {
			return err
		}
		if keys, err = c.active(node); err != nil {
			return err
		}
		if len(keys) != listed || len(st.Custody) != 1 || st.Custody[0].Keys != shares {
			return fmt.Errorf("%d keys, custody %+v", len(keys), st.Custody)
		}
		return nil
	})
	return keys
}

// ceremonyUnderKills makes a hundred keys while nodes die at random moments,
// one or two at a time, and are started again. With two dead the ledger stands
// still; with none, whoever came back goes on with what it said before.
func ceremonyUnderKills(t *testing.T) {
	const keys, rounds = 100, 8
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	c := newCluster(t, 1)
	id := c.open(0, "--keys", fmt.Sprint(keys), "--hybrid")
	phase := func() string {
		for i := range 4 {
			if one, err := c.ops(i).Ceremony(t.Context(), id); err == nil {
				return one.Phase
			}
		}
		return "nobody answers"
	}
	during := 0
	for range rounds {
		time.Sleep(time.Duration(chance.IntN(600)) * time.Millisecond) // the moment is the test
		victims := chance.Perm(4)[:1+chance.IntN(2)]
		for _, v := range victims {
			at := phase()
			c.stopNode(v, syscall.SIGKILL)
			t.Logf("killed node%d in phase %s", v, at)
			if at != "done" {
				during++
			}
		}
		for _, v := range victims {
			if err := c.startNode(v); err != nil {
				t.Fatal(err)
			}
		}
	}
	took := c.eventually(3*patience, "the ceremony ends", func() error {
		if at := phase(); at != "done" && at != "aborted" {
			return fmt.Errorf("phase %s", at)
		}
		return nil
	})
	if during == 0 {
		t.Error("no node died before the ceremony was done: the test has shown nothing")
	}
	if show := c.mustOperate(0, "ceremony", "show", id); !strings.Contains(show, "done") || strings.Contains(show, "fault") {
		t.Errorf("the ceremony ended as\n%s", show)
	}
	var all []bls.PublicKey
	for i := range 4 {
		all = c.holds(i, keys+1, keys+1)
	}
	c.connected()
	for i, key := range all {
		c.mustSign(i%4, c.randao(key, 5))
	}
	// Without the first, and then without the last, every holder is needed.
	for _, dead := range []int{0, 3} {
		c.connected()
		c.stopNode(dead, syscall.SIGKILL)
		for i, key := range all[:20] {
			c.mustSign((dead+1+i%3)%4, c.randao(key, uint64(6+dead)))
		}
		if err := c.startNode(dead); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d nodes died before the ceremony was done, %s after the last of them", during, took.Round(time.Millisecond))
}

// connected waits until all nodes have found each other again.
func (c *cluster) connected() {
	c.t.Helper()
	c.eventually(patience, "all nodes are connected", func() error {
		for i := range 4 {
			st, err := c.ops(i).Status(c.t.Context())
			if err != nil {
				return err
			}
			for _, p := range st.Peers {
				if !p.Connected {
					return fmt.Errorf("%s is not connected to %s: %s", st.Node, p.Name, p.Error)
				}
			}
		}
		return nil
	})
}

// ceremonyWithoutOne: who is silent is left out when its time in blocks is up,
// named, and missed by nobody. A key moves in meanwhile.
func ceremonyWithoutOne(t *testing.T) {
	c := newCluster(t, 1)
	const dead = 3
	c.stopNode(dead, syscall.SIGKILL)

	from := time.Now()
	id := c.hold(1, 2, "--keys", "2", "--phase-timeout", "6s", "--purpose", "without node3")
	t.Logf("done after %s", time.Since(from).Round(time.Millisecond))
	if took := time.Since(from); took < 6*time.Second {
		t.Errorf("a phase of 6 s and a dead node took %s", took)
	}
	show := c.mustOperate(0, "ceremony", "show", id)
	for _, want := range []string{`(?m)^phase +done$`, `(?m)^fault +seat 4 +node3 +\S*absent`, `(?m)^seat 4 +node3\s*$`, `(?m)^seat 1 +node0 +joined, dealt, holds its shares$`} {
		if !regexp.MustCompile(want).MatchString(show) {
			t.Errorf("ceremony show does not say %s:\n%s", want, show)
		}
	}
	for i := range dead {
		for _, key := range c.holds(i, 3, 3) {
			c.mustSign(i, c.randao(key, 5))
		}
	}

	// The Keymanager API takes a key in, after its default time for a phase.
	imported, err := bls.GenerateSecretKey()
	if err != nil {
		t.Fatal(err)
	}
	defer imported.Destroy()
	from = time.Now()
	answer := c.importVia(0, makeKeystore(t, imported, "without node3"), "without node3")
	if !strings.Contains(answer, `"imported"`) {
		t.Errorf("import without node3: %s", answer)
	}
	t.Logf("imported after %s", time.Since(from).Round(time.Millisecond))
	for i := range dead {
		c.holds(i, 4, 4)
		c.mustSign(i, c.randao(imported.PublicKey(), uint64(i)))
	}

	// It comes back: it lists the new keys, has no share of them, and does not
	// stand in their way; of the others it signs.
	if err := c.startNode(dead); err != nil {
		t.Fatal(err)
	}
	for _, key := range c.holds(dead, 1, 4) {
		c.mustSign(dead, c.randao(key, 7))
	}
	c.connected()
	c.stopNode(0, syscall.SIGKILL)
	c.mustSign(dead, c.randao(c.keys[0], 8))
}

// makeKeystore encrypts a key with a derivation that costs nothing.
func makeKeystore(t *testing.T, key bls.SecretKey, password string) []byte {
	t.Helper()
	raw, err := keystore.Encrypt(insecureRandom{}, key, secret.New([]byte(password)), keystore.InsecureTestKDF, "m/12381/3600/0/0/0")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// insecureRandom is good enough for salts of keystores that protect nothing.
type insecureRandom struct{}

func (insecureRandom) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return len(b), nil
}

// importVia posts a keystore to a node's Keymanager API.
func (c *cluster) importVia(node int, keystore []byte, password string) string {
	c.t.Helper()
	body, err := json.Marshal(map[string][]string{"keystores": {string(keystore)}, "passwords": {password}})
	if err != nil {
		c.t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(c.node(node).Home, "keymanager.token"))
	if err != nil {
		c.t.Fatal(err)
	}
	status, answer := c.bearer(http.MethodPost, c.node(node).Signer+"/eth/v1/keystores", strings.TrimSpace(string(token)), body)
	if status != http.StatusOK {
		c.t.Fatalf("import keystore: status %d: %s", status, answer)
	}
	return answer
}

// bearer asks with a token, "" for none.
func (c *cluster) bearer(method, url, token string, body []byte) (status int, answer string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := new(http.Client).Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var raw bytes.Buffer
	if _, err := raw.ReadFrom(resp.Body); err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, raw.String()
}
