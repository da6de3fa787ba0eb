package custody

import (
	"crypto/rand"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

// trustingPeriod is no bound: a process that starts goes by the genesis, at
// whatever age, and one that runs for long without a certificate must not be
// worse off. What is recent, the nonce proves; keys of validators that have
// left do not count while nobody can leave.
const trustingPeriod = time.Duration(math.MaxInt64)

// chain is the ledger as custody sees it: only what certificates prove, and
// only when they prove that they are recent.
type chain struct {
	ns    proof.Namespace
	path  proof.Path           // where this process's nonce stands
	clock func() time.Duration // runs on while the machine sleeps

	mu     sync.Mutex
	client proof.Client
	fresh  proof.Freshness
	newest time.Time // of all headers that were shown
}

func newChain(g *action.Genesis, cluster action.ClusterID, node string, domain action.Domain) (*chain, error) {
	var vals []proof.Validator
	for _, n := range g.Nodes {
		vals = append(vals, proof.Validator{PubKey: n.Vote[:], Power: proof.VotePower})
	}
	set, err := proof.NewValidatorSet(vals)
	if err != nil {
		return nil, fmt.Errorf("read the genesis validators: %w", err)
	}
	client, err := proof.NewClient(proof.Trust{Cluster: cluster, ChainID: cluster.ChainID(), Validators: set, TrustingPeriod: trustingPeriod})
	if err != nil {
		return nil, err
	}
	ns := proof.Namespace(g.Namespace)
	return &chain{
		ns: ns, path: ns.Fresh(node, string(domain)), clock: bootTime,
		client: client, fresh: proof.NewFreshness(wire.FreshnessWindow),
	}, nil
}

func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("custody: no CLOCK_BOOTTIME: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// challenge draws the nonce that the next anchor has to prove.
func (c *chain) challenge() (nonce [32]byte) {
	rand.Read(nonce[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh = c.fresh.Ask(nonce, c.clock())
	return nonce
}

// anchor takes a certificate that proves the nonce.
func (c *chain) anchor(raw []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.admit(raw)
	if err != nil {
		return err
	}
	fresh, err := c.fresh.Prove(v, c.path)
	if err != nil {
		return rpc.Errorf(rpc.CodeNotGranted, "anchor at height %d: %v", v.Height(), err)
	}
	c.fresh = fresh
	return nil
}

// proven returns what a certificate proves, however old it is.
func (c *chain) proven(raw []byte) (proof.Verified, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.admit(raw)
}

// verify returns what a certificate proves, if it is proven to be recent.
func (c *chain) verify(raw []byte) (proof.Verified, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.admit(raw)
	if err != nil {
		return proof.Verified{}, err
	}
	if err := c.fresh.Fresh(v, c.clock()); err != nil {
		return proof.Verified{}, rpc.Errorf(rpc.CodeNotGranted, "certificate of height %d: %v", v.Height(), err)
	}
	return v, nil
}

func (c *chain) admit(raw []byte) (proof.Verified, error) {
	cert, err := proof.Parse(raw)
	if err != nil {
		return proof.Verified{}, rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	client, v, err := c.client.Verify(cert)
	if err != nil {
		return proof.Verified{}, rpc.Errorf(rpc.CodeNotGranted, "%v", err)
	}
	c.client = client
	if v.Time().After(c.newest) {
		c.newest = v.Time()
	}
	return v, nil
}

// now is an upper bound of ledger time, which a grant's expiry is held against:
// what may have passed since the anchor, and never before a header that was
// shown, should this machine's clock run slow.
func (c *chain) now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.fresh.Latest(c.clock())
	if at.Before(c.newest) {
		at = c.newest
	}
	return at, ok
}

// anchored returns the height of the last anchor, 0 before the first.
func (c *chain) anchored() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	height, _, _, _ := c.fresh.Anchored()
	return height
}
