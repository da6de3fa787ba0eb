package quorum

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/rpc"
)

// Seats without a share are not asked, and do not count.
func TestCommittee(t *testing.T) {
	key, shares := deal(t, 6, 3)
	for _, without := range [][]int{{0}, {5}, {1, 3}} {
		key := key
		key.Shares = append([]bls.PublicKey(nil), key.Shares...)
		for _, i := range without {
			key.Shares[i] = bls.PublicKey{}
		}
		c := newCluster(t, key, shares, silent) // node0 when it is asked
		for _, h := range c.holders {
			h.conduct.Store(int64(honest))
		}
		for i := range 6 {
			if _, err := c.sign(t, root(uint64(i))); err != nil {
				t.Fatal(err)
			}
		}
		for _, i := range without {
			if n := c.holders[i].asked.Load(); n != 0 {
				t.Errorf("without %v: %s was asked %d times", without, c.holders[i].Name(), n)
			}
		}
		c.Close()
	}
	key.Shares = []bls.PublicKey{key.Shares[0], {}, key.Shares[2], {}, {}, {}}
	c := newCluster(t, key, shares)
	defer c.Close()
	if _, err := c.sign(t, root(1)); err == nil {
		t.Error("two holders make three")
	}
}

// A quorum that fails for epochs alone says that asking again may help; one
// that would fail in any epoch does not.
func TestOtherEpochs(t *testing.T) {
	key, shares := deal(t, 4, 3)
	for _, tc := range []struct {
		conducts []conduct
		again    bool
	}{
		{[]conduct{otherEpoch, otherEpoch, otherEpoch, otherEpoch}, true},
		{[]conduct{otherEpoch, otherEpoch, honest, honest}, true},
		{[]conduct{otherEpoch, otherEpoch, down, honest}, true},
		{[]conduct{slashable, slashable, honest, honest}, false},
		{[]conduct{down, down, honest, honest}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, key, shares, tc.conducts...)
			_, err := c.sign(t, root(1))
			c.Close() // waits for those still asked
			if !errors.Is(err, ErrBelowQuorum) || errors.Is(err, ErrEpoch) != tc.again {
				t.Errorf("%v: %v", tc.conducts, err)
			}
			for _, m := range c.members.all {
				if m.failures > 0 && tc.conducts[m.Index()-1] == otherEpoch {
					t.Errorf("%v: %s is suspended for its epoch", tc.conducts, m.Name())
				}
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, key, shares, otherEpoch)
		defer c.Close()
		if report, err := c.sign(t, root(1)); err != nil || report.Failures[0].Code != rpc.CodeEpoch {
			t.Errorf("one of another epoch stops the others: %+v, %v", report, err)
		}
	})
}
