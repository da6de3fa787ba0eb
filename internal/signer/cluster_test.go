package signer

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var order, _ = new(big.Int).SetString("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001", 16)

// deal makes a fresh t-of-n key: its record as the ledger has it after a
// ceremony, and the holders' shares.
func deal(t testing.TB, n, threshold int) (*action.KeyRecord, []bls.Share) {
	t.Helper()
	r := &action.KeyRecord{Domain: action.DomainValidator, Curve: action.CurveBLS12381G1, State: action.KeyActive,
		N: uint16(n), T: uint16(threshold)}
	poly := make([]*big.Int, threshold)
	for i := range poly {
		var err error
		if poly[i], err = rand.Int(rand.Reader, order); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := bls.NewSecretKey((*[32]byte)(poly[0].FillBytes(make([]byte, 32))))
	if err != nil {
		t.Fatal(err)
	}
	pk := whole.PublicKey().Bytes()
	whole.Destroy()
	r.PublicKey, r.Commitment = pk[:], pk[:]
	var shares []bls.Share
	for x := 1; x <= n; x++ {
		sum := new(big.Int)
		for _, c := range slices.Backward(poly) {
			sum.Mod(sum.Add(sum.Mul(sum, big.NewInt(int64(x))), c), order)
		}
		share, err := bls.NewShare(uint16(x), (*[32]byte)(sum.FillBytes(make([]byte, 32))))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(share.Destroy)
		if x < threshold { // the commitment is the values at 0, …, t-1
			point := share.PublicShare().Bytes()
			r.Commitment = append(r.Commitment, point[:]...)
		}
		shares = append(shares, share)
	}
	return r, shares
}

// cluster is nodes that ask each other, each with a custody in memory that
// signs with real shares.
type cluster struct {
	t       testing.TB
	id      action.ClusterID
	network *eth.Network
	nodes   []*node
}

// node is one signer, and the Relay and Ledger that it stands on.
type node struct {
	*Signer
	cluster *cluster
	name    string

	mu       sync.Mutex
	shares   map[Key]bls.Share
	refuse   func(custody.SignRequest) error // custody's decision
	life     [32]byte                        // under which custody answers
	epoch    uint32                          // of its shares
	asked    []custody.SignRequest
	actions  []*action.Action // granted
	proofErr error
	grantErr error
	leaseErr error
	extended int
	down     bool
	lies     bool // its rounds are of other heights

	blamed, recorded, rounds atomic.Int64
}

// newCluster starts n nodes on mainnet, or another network.
func newCluster(t testing.TB, n int, network *eth.Network) *cluster {
	t.Helper()
	if network == nil {
		var err error
		if network, err = eth.LookupNetwork("mainnet"); err != nil {
			t.Fatal(err)
		}
	}
	c := &cluster{t: t, network: network, id: action.ClusterID{7}}
	var roster action.Roster
	for i := range n {
		roster = append(roster, action.Seat{Index: uint16(i + 1), Node: fmt.Sprintf("node%d", i)})
	}
	for i, seat := range roster {
		nd := &node{cluster: c, name: seat.Node, shares: map[Key]bls.Share{}, life: registered(i)}
		var err error
		nd.Signer, err = New(Config{Cluster: c.id, Self: seat.Node, Roster: roster, Network: network, Custody: nd, Peers: nd, Ledger: nd,
			Observe: nd, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nd.Close)
		c.nodes = append(c.nodes, nd)
	}
	return c
}

// registered is the life of a node's custody that the ledger knows.
func registered(i int) [32]byte { return [32]byte{1, 31: byte(i)} }

// deal gives the cluster a key.
func (c *cluster) deal() Key { return c.dealFor(action.UseDuties) }

func (c *cluster) dealFor(use action.Use) Key {
	c.t.Helper()
	n := len(c.nodes)
	th, err := action.DefaultThreshold(n)
	if err != nil {
		c.t.Fatal(err)
	}
	record, shares := deal(c.t, n, th.T())
	record.Use = use
	key := Key(record.PublicKey)
	for i, nd := range c.nodes {
		nd.shares[key] = shares[i]
		nd.SetKey(record)
	}
	return key
}

// Relay is the custody process.
func (n *node) Relay(_ context.Context, method uint16, body []byte) ([]byte, error) {
	if method == custody.MethodRound {
		return n.round(body)
	}
	req, err := custody.ParseSignRequest(body)
	if method != custody.MethodSign || err != nil {
		return nil, rpc.Errorf(rpc.CodeMalformed, "method %d: %v", method, err)
	}
	n.mu.Lock()
	n.asked = append(n.asked, req)
	refuse, share, life, epoch := n.refuse, n.shares[req.Key], n.life, n.epoch
	n.mu.Unlock()
	if refuse != nil {
		if err := refuse(req); err != nil {
			return nil, err
		}
	}
	duty, err := eth.DecodeDuty(req.Duty)
	if err != nil {
		return nil, rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	root, err := duty.SigningRoot(n.cluster.network)
	if err != nil {
		return nil, rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	return custody.SignResponse{Partial: share.SignPartial(root).Bytes(), Epoch: epoch, Incarnation: life}.Encode(), nil
}

// round is the custody process asked for a beacon's.
func (n *node) round(body []byte) ([]byte, error) {
	req, err := custody.ParseRoundRequest(body)
	if err != nil {
		return nil, rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if want := fmt.Sprintf("%s proves key %x by header %d", n.name, req.Key, req.Height); string(req.Certificate) != want {
		return nil, rpc.Errorf(rpc.CodeNotGranted, "the certificate is %q, want %q", req.Certificate, want)
	}
	round := bls.NewRound(n.cluster.id, req.Height)
	if n.lies {
		round = bls.NewRound(n.cluster.id, req.Height+1)
	}
	return custody.SignResponse{Partial: n.shares[req.Key].SignRound(round).Bytes(), Epoch: n.epoch, Incarnation: n.life}.Encode(), nil
}

// Call is the network between nodes.
func (n *node) Call(ctx context.Context, name string, method uint16, body []byte) ([]byte, error) {
	for _, other := range n.cluster.nodes {
		switch {
		case other.name != name || other.down:
		case method == MethodPartial:
			return other.Partial(ctx, body)
		case method == MethodRound:
			return other.PartialRound(ctx, body)
		}
	}
	return nil, fmt.Errorf("call %s: %w", name, rpc.ErrConn)
}

// The ledger of a node. What it proves says of itself what it is.

func (n *node) ProveKey(_ context.Context, key Key, header uint64) ([]byte, error) {
	if header > 0 {
		return fmt.Appendf(nil, "%s proves key %x by header %d", n.name, key, header), n.proofErr
	}
	return fmt.Appendf(nil, "%s proves key %x", n.name, key), n.proofErr
}

func (n *node) ProveGrant(_ context.Context, a *action.Action) (custody.Evidence, error) {
	return custody.Evidence{Certificate: fmt.Appendf(nil, "%s proves grant %x", n.name, a.Encode())}, n.proofErr
}

func (n *node) Incarnation(name string) [32]byte {
	for i, other := range n.cluster.nodes {
		if other.name == name {
			return registered(i)
		}
	}
	return [32]byte{}
}

func (n *node) ExtendLease(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.extended++
	return n.leaseErr
}

func (n *node) Grant(_ context.Context, a *action.Action) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.actions = append(n.actions, a)
	return n.grantErr
}

func (n *node) QuorumDone(time.Duration, int, bool)   { n.rounds.Add(1) }
func (n *node) Hedged()                               {}
func (n *node) Blamed(string)                         { n.blamed.Add(1) }
func (n *node) Recorded(what string, _ time.Duration) { n.recorded.Add(1) }

func (n *node) set(change func(*node)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

// requests returns what custody was asked since the last time.
func (n *node) requests() []custody.SignRequest {
	n.mu.Lock()
	defer n.mu.Unlock()
	asked := n.asked
	n.asked = nil
	return asked
}

func (c *cluster) fork() eth.ForkInfo {
	f := eth.ForkInfo{CurrentVersion: c.network.Forks[eth.Fulu].Version, GenesisValidatorsRoot: eth.Root{0x42}}
	if c.network.GenesisValidatorsRoot != nil {
		f.GenesisValidatorsRoot = *c.network.GenesisValidatorsRoot
	}
	return f
}

func (c *cluster) duty(m eth.Message) eth.Duty { return eth.Duty{Message: m, Fork: c.fork()} }

func (c *cluster) block(slot uint64) eth.Duty {
	return c.duty(&eth.BeaconBlockHeader{Slot: slot, ProposerIndex: 77})
}

func (c *cluster) vote(target uint64) eth.Duty {
	return c.duty(&eth.AttestationData{Slot: target * 32, Source: eth.Checkpoint{Epoch: target - 1}, Target: eth.Checkpoint{Epoch: target}})
}

func (c *cluster) randao(epoch uint64) eth.Duty { return c.duty(&eth.RandaoReveal{Epoch: epoch}) }

// signed wants a good signature.
func (c *cluster) signed(n *node, key Key, duty eth.Duty) {
	c.t.Helper()
	raw, err := n.Sign(c.t.Context(), "", key, duty)
	if err != nil {
		c.t.Errorf("%s: sign %s: %v", n.name, duty.Kind(), err)
		return
	}
	pk, err := bls.ParsePublicKey(key[:])
	if err != nil {
		c.t.Fatal(err)
	}
	sig, err := bls.ParseSignature(raw[:])
	if err != nil {
		c.t.Fatal(err)
	}
	root, err := duty.SigningRoot(c.network)
	if err != nil || !bls.Verify(pk, root, sig) {
		c.t.Errorf("%s: the signature of %s does not verify: %v", n.name, duty.Kind(), err)
	}
}

// refused wants no signature and a code.
func (c *cluster) refused(n *node, key Key, duty eth.Duty, want rpc.Code) {
	c.t.Helper()
	sig, err := n.Sign(c.t.Context(), "", key, duty)
	if err == nil || rpc.CodeOf(err) != want || sig != [bls.SignatureSize]byte{} {
		c.t.Errorf("%s: sign %s: %v, want %s", n.name, duty.Kind(), err, want)
	}
}
