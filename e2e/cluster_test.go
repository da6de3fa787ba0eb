package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/signerapi"
	"github.com/quorate/quorate/internal/slasher"
)

// cluster is a `quorate dev` of real processes, and the judges that watch every
// signature and every partial that the test gets out of it. Its network
// has slots of a second, epochs of eight, and hours behind it, so that leases
// pass while one looks and there is no lack of duties.
type cluster struct {
	t       *testing.T
	dir     string
	network *eth.Network
	dev     *process
	stop    func() // ends the whole cluster in order
	http    *http.Client
	slasher *slasher.Slasher // of validators
	holders *slasher.Slasher // of holders: what each of them signs alone

	mu       sync.Mutex
	keys     []bls.PublicKey
	nodes    []clusterNode
	partials map[emitted]map[uint16]bls.Partial
	given    map[emitted]duty // what clients have a signature of

	asked atomic.Int64 // requests for a signature
	logs  [4]holderLog // of the first four nodes
}

// clusterNode is an entry of dev.json.
type clusterNode struct {
	Name, Home, Signer, Ops, Metrics string
	PID                              int
	Custody                          map[string]int `json:"custody_pids"`
}

// emitted is a message of a key, of which there may be partials.
type emitted struct {
	key  bls.PublicKey
	root [32]byte
}

// pastHours lie behind a cluster's network.
const pastHours = 3

// newCluster founds a cluster of four and waits until it is ready.
func newCluster(t *testing.T, validators int) *cluster {
	t.Helper()
	return newClusterOf(t, 4, validators)
}

func newClusterOf(t *testing.T, nodes, validators int) *cluster {
	t.Helper()
	c := emptyCluster(t)
	base, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	c.stop = c.stopDev
	c.start("--network", c.dir+".yaml", "--nodes", strconv.Itoa(nodes), "--validators", strconv.Itoa(validators), "--base-port", strconv.Itoa(base))
	c.nameHolders(c.keys...)
	c.awaitLeases()
	t.Cleanup(c.end)
	return c
}

// emptyCluster has a network, its judges, and no nodes yet.
func emptyCluster(t *testing.T) *cluster {
	t.Helper()
	// Sockets lie in it, whose paths have to be short: nothing of the test's name.
	dir, err := os.MkdirTemp(bin, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck // TestMain removes all of it
	c := &cluster{
		t: t, dir: filepath.Join(dir, "c"), slasher: slasher.New(slasher.Config{Verify: true}), holders: slasher.New(slasher.Config{}),
		http:     &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
		partials: map[emitted]map[uint16]bls.Partial{}, given: map[emitted]duty{},
	}
	config := map[string]string{
		"CONFIG_NAME": "doublesign", "PRESET_BASE": "minimal", "SECONDS_PER_SLOT": "1",
		"GENESIS_FORK_VERSION": "0x00000001", "ALTAIR_FORK_VERSION": "0x01000001", "ALTAIR_FORK_EPOCH": "0",
		"GENESIS_TIME":            strconv.FormatInt(time.Now().Add(-pastHours*time.Hour).Unix(), 10),
		"GENESIS_VALIDATORS_ROOT": "0x" + strings.Repeat("42", 32),
	}
	if c.network, err = eth.NetworkFromConfig(config); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for k, v := range config {
		fmt.Fprintf(&text, "%s: '%s'\n", k, v)
	}
	if err := os.WriteFile(c.dir+".yaml", []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// threshold is how many holders make a signature.
func (c *cluster) threshold() int {
	th, err := action.DefaultThreshold(len(c.nodes))
	if err != nil {
		c.t.Fatal(err)
	}
	return th.T()
}

// start runs `quorate dev` and waits for dev.json.
func (c *cluster) start(args ...string) {
	c.t.Helper()
	os.Remove(c.statePath())
	c.dev = launch(c.t, filepath.Join(bin, "quorate"), append([]string{"dev", "--dir", c.dir}, args...)...)
	c.eventually(2*patience, "the cluster is ready", func() error {
		select {
		case <-c.dev.done:
			c.t.Fatalf("quorate dev ended: %v\n%s", c.dev.err, c.dev.output())
		default:
		}
		return c.load()
	})
}

// nameHolders lets the second judge tell holders apart. It needs a name for
// each, no more: whether partials are good shows where t of them meet.
func (c *cluster) nameHolders(keys ...bls.PublicKey) {
	for _, key := range keys {
		names := make([]bls.PublicKey, len(c.nodes))
		for i := range names {
			secret, err := bls.GenerateSecretKey()
			if err != nil {
				c.t.Fatal(err)
			}
			names[i] = secret.PublicKey()
		}
		c.holders.Deal(key, c.threshold(), names)
	}
}

// awaitLeases waits until every holder with keys may sign what is due.
func (c *cluster) awaitLeases() {
	c.t.Helper()
	c.eventually(patience, "every holder has a lease", func() error {
		for i := range c.nodes {
			s, err := c.status(c.socket(i))
			if err != nil || s.Keys > 0 && (!s.Registered || s.Ceiling.Slot < c.slot()) {
				return fmt.Errorf("node%d: %+v, %w", i, s, err)
			}
		}
		return nil
	})
}

func (c *cluster) statePath() string { return filepath.Join(c.dir, "dev.json") }

// load reads dev.json: process ids change with each start.
func (c *cluster) load() error {
	raw, err := os.ReadFile(c.statePath())
	if err != nil {
		return err
	}
	var s struct {
		Nodes      []clusterNode
		Validators []string
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	var keys []bls.PublicKey
	for _, v := range s.Validators {
		keys = append(keys, publicKey(c.t, v))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes, c.keys = s.Nodes, keys
	return nil
}

func publicKey(t *testing.T, text string) bls.PublicKey {
	raw, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := bls.ParsePublicKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (c *cluster) node(i int) clusterNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i]
}

// stopDev ends the cluster of a `quorate dev`.
func (c *cluster) stopDev() {
	c.dev.signal(syscall.SIGINT)
	<-c.dev.done
}

// end stops the cluster after the test and has the judge speak.
func (c *cluster) end() {
	c.stop()
	for _, p := range append(c.slasher.Pairs(), c.holders.Pairs()...) {
		c.t.Errorf("slashable: %s", p)
	}
	if c.slasher.Seen() == 0 {
		c.t.Error("the slasher saw nothing: the test has shown nothing")
	}
	if c.t.Failed() {
		for i := range c.nodes {
			log := c.nodeLog(i)
			c.t.Logf("end of %s's log:\n%s", c.node(i).Name, log[max(0, len(log)-4<<10):])
		}
	}
}

// nodeLog returns a node's log.
func (c *cluster) nodeLog(i int) string {
	raw, err := os.ReadFile(filepath.Join(c.node(i).Home, "node.log"))
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// startNode starts a node that has ended; its fate is in the error.
func (c *cluster) startNode(i int) error {
	out, err := exec.Command(filepath.Join(bin, "quorate"), "dev", "start-node", c.node(i).Name, "--dir", c.dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("start %s: %w: %s", c.node(i).Name, err, bytes.TrimSpace(out))
	}
	return c.load()
}

// stopNode ends a node with a signal and waits until it is gone, and custody.
func (c *cluster) stopNode(i int, s syscall.Signal) {
	c.t.Helper()
	n := c.node(i)
	if err := syscall.Kill(n.PID, s); err != nil {
		c.t.Fatal(err)
	}
	c.awaitGone(n)
}

func (c *cluster) awaitGone(n clusterNode) {
	c.t.Helper()
	c.eventually(patience, n.Name+" has ended", func() error {
		for _, pid := range []int{n.PID, n.Custody["validator"]} {
			if alive(strconv.Itoa(pid)) {
				return fmt.Errorf("process %d runs", pid)
			}
		}
		return nil
	})
}

// eventually tries until it works, and fails the test where that takes longer.
func (c *cluster) eventually(limit time.Duration, what string, try func() error) time.Duration {
	c.t.Helper()
	from := time.Now()
	var err error
	if !eventually(limit, func() bool { err = try(); return err == nil }) {
		c.t.Fatalf("%s: not within %s: %v", what, limit, err)
	}
	return time.Since(from)
}

// slot and epoch are those of the clock.
func (c *cluster) slot() uint64 {
	slot, _ := c.network.SlotAt(time.Now())
	return slot
}

func (c *cluster) epoch() uint64 { return c.network.EpochOf(c.slot()) }

// duty is a request to sign, as a validator client makes it.
type duty struct {
	key   bls.PublicKey
	epoch uint32 // of the shares, where a holder is asked past its node
	body  string
	duty  eth.Duty
}

func (d duty) String() string {
	return fmt.Sprintf("%+v (%.4x…)", d.duty.Slashable(), sha256.Sum256([]byte(d.body)))
}

const forkInfo = `"fork_info":{"fork":{"previous_version":"0x00000001","current_version":"0x01000001","epoch":"0"},"genesis_validators_root":"0x4242424242424242424242424242424242424242424242424242424242424242"}`

// block proposes at a slot; salt tells one body from another.
func (c *cluster) block(key bls.PublicKey, slot, salt uint64) duty {
	return c.duty(key, fmt.Sprintf(`{"type":"BLOCK_V2",%s,"beacon_block":{"version":"DENEB","block_header":{"slot":"%d","proposer_index":"1","parent_root":"0x%064x","state_root":"0x%064x","body_root":"0x%064x"}}}`,
		forkInfo, slot, 1, 2, salt))
}

// vote attests from one epoch to another.
func (c *cluster) vote(key bls.PublicKey, source, target, salt uint64) duty {
	return c.duty(key, fmt.Sprintf(`{"type":"ATTESTATION",%s,"attestation":{"slot":"%d","index":"0","beacon_block_root":"0x%064x","source":{"epoch":"%d","root":"0x%064x"},"target":{"epoch":"%d","root":"0x%064x"}}}`,
		forkInfo, target*c.network.Preset.SlotsPerEpoch, salt, source, 1, target, 2))
}

// randao is a duty that cannot be slashed.
func (c *cluster) randao(key bls.PublicKey, epoch uint64) duty {
	return c.duty(key, fmt.Sprintf(`{"type":"RANDAO_REVEAL",%s,"randao_reveal":{"epoch":"%d"}}`, forkInfo, epoch))
}

func (c *cluster) duty(key bls.PublicKey, body string) duty {
	req, err := signerapi.ParseSignRequest([]byte(body), c.network)
	if err != nil {
		panic(err) // of a body that stands above
	}
	return duty{key: key, body: body, duty: req.Duty}
}

// unreachable is the status where no HTTP answer came.
const unreachable = 0

// post asks a node to sign something, whatever it is.
func (c *cluster) post(node int, key bls.PublicKey, body string) (status int, answer string) {
	c.asked.Add(1)
	resp, err := c.http.Post(c.node(node).Signer+"/api/v1/eth2/sign/"+key.String(), "application/json", strings.NewReader(body))
	if err != nil {
		return unreachable, err.Error()
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return unreachable, err.Error()
	}
	return resp.StatusCode, strings.TrimSpace(string(raw))
}

// sign asks a node for a signature, which the slasher verifies and judges.
func (c *cluster) sign(node int, d duty) (status int, answer string) {
	status, answer = c.post(node, d.key, d.body)
	if status != http.StatusOK {
		return status, answer
	}
	raw, err := hex.DecodeString(strings.TrimPrefix(answer, "0x"))
	if err == nil {
		_, err = c.slasher.WatchDuty(c.network, d.key, d.duty, raw)
	}
	if err == nil {
		c.give(d)
	}
	if err != nil {
		c.t.Errorf("node%d answers 200 with %q: %v", node, answer, err)
	}
	return status, answer
}

// give remembers what a client has a signature of.
func (c *cluster) give(d duty) {
	root, err := d.duty.SigningRoot(c.network)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.given[emitted{d.key, root.Bytes()}] = d
}

// mustSign is sign where nothing stands against it.
func (c *cluster) mustSign(node int, d duty) {
	c.t.Helper()
	if status, answer := c.sign(node, d); status != http.StatusOK {
		c.t.Errorf("node%d: status %d for %s: %s", node, status, d, answer)
	}
}

// refuses is sign where only one answer is right. A node that has no answer in
// time, or has yet to hear of a change, is asked again; one that signs is not.
func (c *cluster) refuses(node, want int, d duty) {
	c.t.Helper()
	var status int
	var answer string
	eventually(patience, func() bool {
		status, answer = c.sign(node, d)
		return status == want || status == http.StatusOK
	})
	if status != want {
		c.t.Errorf("node%d: status %d, want %d for %s: %s", node, status, want, d, answer)
	}
}

// partial asks a custody process at its socket, as a node in an intruder's
// hands would. Once there are t partials of one message they are combined, and
// the slasher judges that as a signature: any t of a kind are one, whether or
// not an honest node would have put them together. It verifies against the
// validator's key, so every partial that counts was good.
func (c *cluster) partial(socket string, d duty) error {
	var raw []byte
	err := c.custody(socket, func(ctx context.Context, cu *rpc.Client) (err error) {
		raw, err = cu.Call(ctx, custody.MethodSign, custody.SignRequest{Key: d.key.Bytes(), Epoch: d.epoch, Duty: eth.EncodeDuty(d.duty)}.Encode())
		return err
	})
	if err != nil {
		return err
	}
	answer, err := custody.ParseSignResponse(raw)
	if err != nil {
		return err
	}
	p, err := bls.ParsePartial(answer.Partial[:])
	if err != nil {
		return err
	}
	return c.collect(d, p)
}

func (c *cluster) collect(d duty, p bls.Partial) error {
	root, err := d.duty.SigningRoot(c.network)
	if err != nil {
		return err
	}
	message := slasher.Message{Facts: d.duty.Slashable(), Root: root}
	if _, err := c.holders.WatchPartial(d.key, message, p); err != nil {
		return err
	}
	c.mu.Lock()
	at := emitted{d.key, root.Bytes()}
	if c.partials[at] == nil {
		c.partials[at] = map[uint16]bls.Partial{}
	}
	c.partials[at][p.Index()] = p
	var all []bls.Partial
	for _, p := range c.partials[at] {
		all = append(all, p)
	}
	c.mu.Unlock()
	if len(all) < c.threshold() {
		return nil
	}
	sig, err := bls.Combine(c.threshold(), all)
	if err != nil {
		return err
	}
	_, err = c.slasher.Watch(d.key, message, sig)
	return err
}

// socket is where a node's custody process answers.
func (c *cluster) socket(i int) string {
	return filepath.Join(c.node(i).Home, "custody-validator.sock")
}

// custody talks to the custody process behind a socket.
func (c *cluster) custody(socket string, talk func(context.Context, *rpc.Client) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	client := rpc.NewClient(conn, custody.Options())
	defer client.Close()
	return talk(ctx, client)
}

// status asks a custody process about its incarnation.
func (c *cluster) status(socket string) (s custody.Status, err error) {
	err = c.ask(socket, func(ctx context.Context, cu *custody.Client) error {
		s, err = cu.Status(ctx)
		return err
	})
	return s, err
}

// usage returns how many signatures a custody process has ever recorded.
func (c *cluster) usage(socket string) (sequence uint64) {
	c.t.Helper()
	err := c.ask(socket, func(ctx context.Context, cu *custody.Client) error {
		u, err := cu.Usage(ctx, 0)
		sequence = u.Sequence
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return sequence
}

// ask is custody, with the node's own client.
func (c *cluster) ask(socket string, talk func(context.Context, *custody.Client) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := custody.NewClient(socket)
	var running sync.WaitGroup
	running.Go(func() { client.Run(ctx) }) //nolint:errcheck // it ends with ctx
	defer running.Wait()
	defer cancel()
	for !client.Up() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return talk(ctx, client)
}

// copyHome copies a node's home as a disk's snapshot would: its processes
// stand still meanwhile.
func (c *cluster) copyHome(i int, to string) {
	c.t.Helper()
	n := c.node(i)
	c.copyStill(n.Home, to, n.PID, n.Custody["validator"])
}

// copyStill copies files while the processes that write them stand still.
func (c *cluster) copyStill(from, to string, pids ...int) {
	c.t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			c.t.Fatal(err)
		}
		defer syscall.Kill(pid, syscall.SIGCONT) //nolint:errcheck // it was there a moment ago
	}
	c.copyFiles(from, to)
}

func (c *cluster) copyFiles(from, to string) {
	c.t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		c.t.Fatalf("copy %s: %v: %s", from, err, out)
	}
}

// putBack replaces a home by a copy; the copy stays.
func (c *cluster) putBack(i int, from string) {
	c.t.Helper()
	home := c.node(i).Home
	if err := os.RemoveAll(home); err != nil {
		c.t.Fatal(err)
	}
	c.copyFiles(from, home)
}
