package quorum

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var order, _ = new(big.Int).SetString("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001", 16)

// deal makes a fresh t-of-n key.
func deal(t testing.TB, n, threshold int) (Key, []bls.Share) {
	poly := make([]*big.Int, threshold)
	for i := range poly {
		var err error
		if poly[i], err = rand.Int(rand.Reader, order); err != nil {
			t.Fatal(err)
		}
	}
	at := func(x int64) *[32]byte {
		sum := new(big.Int)
		for _, c := range slices.Backward(poly) {
			sum.Mod(sum.Add(sum.Mul(sum, big.NewInt(x)), c), order)
		}
		return (*[32]byte)(sum.FillBytes(make([]byte, 32)))
	}
	secret, err := bls.NewSecretKey(at(0))
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Destroy()
	key := Key{PublicKey: secret.PublicKey(), T: threshold}
	var shares []bls.Share
	for x := range n {
		share, err := bls.NewShare(uint16(x+1), at(int64(x+1)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(share.Destroy)
		shares = append(shares, share)
		key.Shares = append(key.Shares, share.PublicShare())
	}
	return key, shares
}

// conduct is what a holder in memory does with a request.
type conduct int

const (
	honest conduct = iota
	wrongRoot
	wrongIndex // somebody else's good partial
	noPartial
	down
	slashable
	fenced
	outOfRange
	silent // until withdrawn
	otherEpoch
	conducts
)

func (c conduct) String() string {
	return [...]string{"honest", "wrong root", "wrong index", "no partial", "down", "slashable", "fenced", "out of range", "silent", "another epoch"}[c]
}

func (c conduct) lies() bool { return c == wrongRoot || c == wrongIndex || c == noPartial }

// holder signs with a real share, in memory.
type holder struct {
	shares  []bls.Share // all of them
	at      int         // which is its own
	conduct atomic.Int64
	asked   atomic.Int64
}

func (h *holder) Name() string  { return fmt.Sprintf("node%d", h.at) }
func (h *holder) Index() uint16 { return uint16(h.at + 1) }

var another = root(666)

func (h *holder) SignPartial(ctx context.Context, req Request) (bls.Partial, error) {
	h.asked.Add(1)
	switch conduct(h.conduct.Load()) {
	case wrongRoot:
		return h.shares[h.at].SignPartial(another), nil
	case wrongIndex:
		return h.shares[(h.at+1)%len(h.shares)].SignPartial(req.Message.(eth.SigningRoot)), nil
	case noPartial:
		return bls.Partial{}, nil
	case down:
		return bls.Partial{}, fmt.Errorf("call: %w", rpc.ErrConn)
	case slashable:
		return bls.Partial{}, rpc.Errorf(rpc.CodeSlashable, "double vote")
	case fenced:
		return bls.Partial{}, rpc.Errorf(rpc.CodeFenced, "no ceiling yet")
	case outOfRange:
		return bls.Partial{}, rpc.Errorf(rpc.CodeOutOfRange, "slot 9")
	case otherEpoch:
		return bls.Partial{}, rpc.Errorf(rpc.CodeEpoch, "epoch 0, not 1")
	case silent:
		<-ctx.Done()
		return bls.Partial{}, ctx.Err()
	}
	return h.shares[h.at].SignPartial(req.Message.(eth.SigningRoot)), nil
}

// cluster is n holders, node0 being the local one, and a signer that asks them.
type cluster struct {
	*Signer
	key     Key
	holders []*holder

	mu     sync.Mutex
	faults []Fault
}

func newCluster(t testing.TB, key Key, shares []bls.Share, conducts ...conduct) *cluster {
	c := &cluster{key: key}
	config := Config{Blame: func(f Fault) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.faults = append(c.faults, f)
	}}
	for i := range shares {
		h := &holder{shares: shares, at: i}
		if i < len(conducts) {
			h.conduct.Store(int64(conducts[i]))
		}
		c.holders = append(c.holders, h)
		if i == 0 {
			config.Local = h
		} else {
			config.Peers = append(config.Peers, h)
		}
	}
	var err error
	if c.Signer, err = New(config); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) set(conducts ...conduct) {
	for i, conduct := range conducts {
		c.holders[i].conduct.Store(int64(conduct))
	}
}

// sign signs and fails the test where a signature comes out that is none.
func (c *cluster) sign(t testing.TB, r eth.SigningRoot) (Report, error) {
	t.Helper()
	sig, report, err := c.Sign(context.Background(), c.key, nil, r)
	if err == nil && !bls.Verify(c.key.PublicKey, r, sig) {
		t.Fatal("unverified signature returned")
	}
	if err != nil && sig != (bls.Signature{}) {
		t.Fatal("signature returned with an error")
	}
	return report, err
}
