package node

import (
	"context"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/rpc"
)

// A cluster makes a beacon. From then on its ceremonies take their randomness
// from it, any node gives its outputs away, and a refresh changes none.
func TestBeacon(t *testing.T) {
	nodes := startCluster(t, 4)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	made := func(open func() ([32]byte, error)) {
		t.Helper()
		id, err := open()
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if _, err := n.WaitCeremony(ctx, id); err != nil {
				t.Fatal(err)
			}
			if err := n.awaitActive(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	keygen := func(use action.Use) func() ([32]byte, error) {
		return func() ([32]byte, error) { return nodes[0].OpenCeremony(ctx, 1, use, false, "test", 0) }
	}
	made(keygen(action.UseBeacon))
	view, err := nodes[1].View()
	if err != nil {
		t.Fatal(err)
	}
	beacon := view.Beacon()
	key := [48]byte(beacon.PublicKey)
	pk, err := bls.ParsePublicKey(key[:])
	if err != nil {
		t.Fatal(err)
	}
	height, _ := nodes[0].Height()
	round := func(n *Node, height uint64) [96]byte {
		t.Helper()
		began := time.Now()
		raw, err := n.Round(ctx, key, height)
		if err != nil {
			t.Fatalf("%s: round %d: %v", n.Name(), height, err)
		}
		t.Logf("%s: round %d in %v", n.Name(), height, time.Since(began))
		if sig, err := bls.ParseSignature(raw[:]); err != nil || !bls.Verify(pk, bls.NewRound(n.Cluster(), height), sig) {
			t.Fatalf("%s: round %d does not verify: %v", n.Name(), height, err)
		}
		return raw
	}
	first := round(nodes[0], height)
	for _, n := range nodes {
		if round(n, height) != first {
			t.Errorf("%s makes another output", n.Name())
		}
	}

	// An output of a height comes when the height is there, or not at all.
	ahead, _ := nodes[0].Height()
	_, err = nodes[0].Round(ctx, key, ahead+2)
	if now, _ := nodes[0].Height(); err == nil && now < ahead+2 {
		t.Errorf("an output of height %d at %d", ahead+2, now)
	}
	if _, err := nodes[0].Round(ctx, key, 1<<63); rpc.CodeOf(err) == rpc.CodeOK {
		t.Error("an output of the far future")
	}
	duty := eth.Duty{Message: &eth.RandaoReveal{Epoch: 1}, Fork: eth.ForkInfo{GenesisValidatorsRoot: *nodes[0].Network().GenesisValidatorsRoot}}
	if _, err := nodes[0].Signer().Sign(ctx, "", key, duty); rpc.CodeOf(err) != rpc.CodeNotGranted {
		t.Errorf("a duty of the beacon's key: %v", err)
	}

	// A ceremony now takes an output.
	began := time.Now()
	made(keygen(action.UseDuties))
	t.Logf("a ceremony with the beacon's randomness in %v", time.Since(began))
	view, err = nodes[2].View()
	if err != nil {
		t.Fatal(err)
	}
	var taken, missed int
	size, _ := view.LogRoot()
	for i := range size {
		switch ev := view.Event(i); ev.Kind {
		case ledger.EventBeacon:
			taken++
		case ledger.EventBeaconMissed:
			missed++
		}
	}
	if taken != 1 || missed != 0 {
		t.Errorf("%d outputs taken, %d missed", taken, missed)
	}

	made(func() ([32]byte, error) {
		ids, err := nodes[3].Renew(ctx, ledger.Renewal{Mode: dkg.ModeRefresh, Keys: [][]byte{key[:]}}, false, 0)
		if err != nil {
			return [32]byte{}, err
		}
		return ids[0], nil
	})
	clear(nodes[1].rounds.recent) // what it remembers proves nothing
	if round(nodes[1], height) != first {
		t.Error("another output after the refresh")
	}
	later, _ := nodes[1].Height()
	round(nodes[1], later)
}
