package signer

import (
	"testing"
	"testing/synctest"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/rpc"
)

// Every node comes to the same output, whoever lies or is down, as long as t
// holders do neither; who lied is blamed.
func TestRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where a busy machine makes nobody slow
		c := newCluster(t, 4, nil)
		key := c.dealFor(action.UseBeacon)
		pk, err := bls.ParsePublicKey(key[:])
		if err != nil {
			t.Fatal(err)
		}
		var first [bls.SignatureSize]byte
		for i, n := range c.nodes {
			raw, err := n.Round(t.Context(), key, 9)
			if err != nil {
				t.Fatalf("%s: %v", n.name, err)
			}
			if sig, err := bls.ParseSignature(raw[:]); err != nil || !bls.Verify(pk, bls.NewRound(c.id, 9), sig) {
				t.Fatalf("%s: it does not verify: %v", n.name, err)
			}
			if i == 0 {
				first = raw
			} else if raw != first {
				t.Errorf("%s makes another output", n.name)
			}
		}
		c.nodes[0].set(func(n *node) { n.lies = true }) // asked first, for it is its own
		if got, err := c.nodes[0].Round(t.Context(), key, 9); err != nil || got != first || c.nodes[0].blamed.Load() == 0 {
			t.Errorf("with a liar: %v, %d blamed", err, c.nodes[0].blamed.Load())
		}
		c.nodes[3].down = true
		if _, err := c.nodes[1].Round(t.Context(), key, 9); err == nil {
			t.Error("two holders of four made an output")
		}
	})
}

// Neither kind of key is asked for what is the other's.
func TestKeysKeepToTheirUse(t *testing.T) {
	c := newCluster(t, 4, nil)
	beacon, validator := c.dealFor(action.UseBeacon), c.deal()
	n := c.nodes[0]
	c.refused(n, beacon, c.randao(1), rpc.CodeNotGranted)
	c.refused(n, beacon, c.vote(2), rpc.CodeNotGranted)
	if _, err := n.Round(t.Context(), validator, 9); rpc.CodeOf(err) != rpc.CodeNotGranted {
		t.Errorf("a round of a validator's key: %v", err)
	}
	if keys := n.Keys(); len(keys) != 1 || keys[0] != validator {
		t.Errorf("validator clients are shown %x", keys)
	}
	if n.Holds(beacon) || !n.Holds(validator) || !n.Knows(beacon) {
		t.Error("a beacon's key counts as a validator's, or as none")
	}
	if got := n.requests(); len(got) != 0 {
		t.Errorf("custody was asked %d times", len(got))
	}
}
