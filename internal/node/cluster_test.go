package node

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/signer"
	"github.com/quorate/quorate/internal/slashing"
)

// A whole cluster in one process: four nodes, four custody processes' worth
// of custody, a real ledger. It makes keys that nobody ever had and signs.
func TestClusterMakesKeysAndSigns(t *testing.T) {
	nodes := startCluster(t, 4)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	keys := makeKeys(t, ctx, nodes, 3)
	network := nodes[0].Network()
	for i, n := range nodes {
		key := keys[i%3]
		duty := eth.Duty{Message: &eth.RandaoReveal{Epoch: uint64(i)}, Fork: eth.ForkInfo{GenesisValidatorsRoot: *network.GenesisValidatorsRoot}}
		checkSignature(t, ctx, n, key, duty)
		vote := eth.Duty{Message: &eth.AttestationData{Slot: 64, Source: eth.Checkpoint{Epoch: uint64(i)}, Target: eth.Checkpoint{Epoch: uint64(i) + 1}}, Fork: duty.Fork}
		checkSignature(t, ctx, n, key, vote)
		checkSignature(t, ctx, n, key, vote) // the same again
		exit := eth.Duty{Message: &eth.VoluntaryExit{Epoch: 7, ValidatorIndex: uint64(i)}, Fork: duty.Fork}
		checkSignature(t, ctx, n, key, exit)
		if i == 0 {
			checkHistory(t, ctx, nodes, key)
		}
		registration := eth.Duty{Message: &eth.ValidatorRegistration{GasLimit: 30_000_000, Timestamp: 1, Pubkey: eth.BLSPubkey(key)}}
		checkSignature(t, ctx, n, key, registration)
	}
}

// A history reaches the holders only with a grant of the ledger, whoever asks.
func checkHistory(t *testing.T, ctx context.Context, nodes []*Node, key [48]byte) {
	t.Helper()
	doc := func(slot uint64) []byte {
		raw, err := slashing.Interchange{Genesis: slashing.Root(*nodes[0].Network().GenesisValidatorsRoot), Keys: []slashing.KeyHistory{
			{Key: key, Watermarks: slashing.Watermarks{Block: slashing.BlockMark{Known: true, Slot: slot}}}}}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	highest := func() uint64 {
		ic, err := nodes[3].ExportSlashing(ctx, [][48]byte{key})
		if err != nil {
			t.Fatal(err)
		}
		return ic.Keys[0].Block.Slot
	}
	if _, err := nodes[1].answerPeer(ctx, "node0", methodSlashing, doc(4000)); rpc.CodeOf(err) != rpc.CodeNotGranted || highest() == 4000 {
		t.Errorf("a peer's history without a grant: %v, slot %d", err, highest())
	}
	if err := nodes[0].ImportSlashing(ctx, doc(5000)); err != nil || highest() != 5000 {
		t.Errorf("import: %v, slot %d", err, highest())
	}
}

// makeKeys makes keys that every node can sign with.
func makeKeys(t *testing.T, ctx context.Context, nodes []*Node, count int) []signer.Key {
	t.Helper()
	began := time.Now()
	id, err := nodes[0].OpenCeremony(ctx, count, action.UseDuties, true, "test", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("opened after %v", time.Since(began))
	board, err := nodes[0].WaitCeremony(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("done after %v, faults %v", time.Since(began), board.Faults())
	for _, n := range nodes {
		if err := n.awaitActive(ctx, id); err != nil {
			t.Fatal(err)
		}
		eventually(t, ctx, n.Name()+" sees the keys", func() bool { return len(n.Signer().Keys()) == count })
	}
	return nodes[0].Signer().Keys()
}

// patience is how long a test with clusters may take before it is said to hang;
// on an idle machine each takes seconds.
const patience = 3 * time.Minute

// eventually waits for what has no event to wait for.
func eventually(t *testing.T, ctx context.Context, what string, there func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not in time", what)
		}
	}
}

func checkSignature(t *testing.T, ctx context.Context, n *Node, key [48]byte, duty eth.Duty) {
	t.Helper()
	began := time.Now()
	raw, err := n.Signer().Sign(ctx, "", key, duty)
	if err != nil {
		t.Errorf("%s: sign %s: %v", n.Name(), duty.Kind(), err)
		return
	}
	t.Logf("%s: %s signed in %v", n.Name(), duty.Kind(), time.Since(began))
	pk, _ := bls.ParsePublicKey(key[:])
	sig, err := bls.ParseSignature(raw[:])
	root, _ := duty.SigningRoot(n.Network())
	if err != nil || !bls.Verify(pk, root, sig) {
		t.Errorf("%s: signature of %s does not verify", n.Name(), duty.Kind())
	}
}

// startCluster runs a cluster whose nodes ask witnesses at an address.
func startCluster(t testing.TB, size int, witnesses ...Witness) []*Node {
	return startClusterWith(t, size, func(_ int, c *Config) { c.Witnesses = witnesses })
}

// startClusterWith lets a test change what a node is configured with, and what
// the genesis says.
func startClusterWith(t testing.TB, size int, change func(i int, c *Config), found ...func(*action.Genesis)) []*Node {
	network, err := eth.LookupNetwork("mainnet")
	if err != nil {
		t.Fatal(err)
	}
	return startClusterOn(t, size, network, func(to string) string { return to }, change, found...)
}

// startClusterOn starts a cluster for a network. lead says where the others
// find a node's consensus that listens at an address.
func startClusterOn(t testing.TB, size int, network *eth.Network, lead func(to string) string, change func(i int, c *Config), found ...func(*action.Genesis)) []*Node {
	dir := t.TempDir()
	g := &action.Genesis{Version: 1, Time: time.Now().UTC().Truncate(time.Second), Namespace: "root", Network: network.Config(),
		ImportHistory: action.HistoryNone, Policy: string(policy.Dev())}
	var with Config
	if change != nil {
		change(0, &with)
	}
	for _, w := range with.Witnesses {
		g.Witnesses = append(g.Witnesses, action.WitnessRecord{Name: w.Name, Key: action.HexKey(witnessKey(w.Name).Public().(ed25519.PublicKey))})
	}
	var ports [][2]string
	for i := range size {
		home := filepath.Join(dir, fmt.Sprint(i))
		identity, vote, err := InitKeys(home)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := custody.Init(filepath.Join(home, "custody"), action.DomainValidator)
		if err != nil {
			t.Fatal(err)
		}
		port := [2]string{freePort(t), freePort(t)}
		ports = append(ports, port)
		g.Nodes = append(g.Nodes, action.NodeRecord{Name: fmt.Sprintf("node%d", i), Operator: fmt.Sprintf("op%d", i), Region: "local",
			Identity: identity, Vote: vote, Comet: lead(port[0]), Peer: port[1], Custody: []action.CustodyRecord{rec}})
	}
	for _, f := range found {
		f(g)
	}
	doc, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	level := slog.LevelWarn
	if os.Getenv("QUORATE_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	out := &testOutput{t: t}
	t.Cleanup(out.end) // runs last: cleanups go backwards
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
	ctx, cancel := context.WithCancel(t.Context())
	var nodes []*Node
	var ended []chan struct{}
	run := func(what string, f func() error) {
		done := make(chan struct{})
		ended = append(ended, done)
		go func() {
			defer close(done)
			if err := f(); err != nil && ctx.Err() == nil {
				log.Error(what, "err", err)
			}
		}()
	}
	for i, rec := range g.Nodes {
		home := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(filepath.Join(home, fileGenesis), doc, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := custody.Bind(filepath.Join(home, "custody"), doc, rec.Name); err != nil {
			t.Fatal(err)
		}
		socket := filepath.Join(dir, fmt.Sprintf("%d.sock", i))
		run("custody", func() error {
			return custody.Run(ctx, custody.Config{Home: filepath.Join(home, "custody"), Socket: socket, AllowUID: os.Getuid(), Log: log, Unconfined: true})
		})
		cfg := Config{Name: rec.Name, Home: home, ConsensusListen: ports[i][0], PeerListen: ports[i][1], CustodySocket: socket, Log: log}
		if change != nil {
			change(i, &cfg)
		}
		n, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
		run("node", func() error { return n.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		for _, done := range ended {
			<-done
		}
	})
	return nodes
}

// testOutput is the test's output until the test ends: goroutines that CometBFT
// leaves behind still log after that, when t.Output would panic.
type testOutput struct {
	t     testing.TB
	mu    sync.Mutex
	ended bool
}

func (o *testOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return len(p), nil
	}
	return o.t.Output().Write(p)
}

func (o *testOutput) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
}

// Ports lie below those that the kernel gives to outgoing connections, and
// those of other tests; no two clusters of this process get the same.
var (
	firstPort  = 10_000 + 100*rand.Int32N(50)
	portsGiven atomic.Int32
)

func freePort(t testing.TB) string {
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+portsGiven.Add(1))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}
