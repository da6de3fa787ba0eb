package slasher

import (
	"errors"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
)

func network(t testing.TB) *eth.Network {
	t.Helper()
	n, err := eth.LookupNetwork("mainnet")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func fork(n *eth.Network) (f eth.ForkInfo) {
	f.GenesisValidatorsRoot = *n.GenesisValidatorsRoot
	return f
}

// block and vote are duties that differ by a byte of their content.
func block(n *eth.Network, slot uint64, content byte) eth.Duty {
	return eth.Duty{Message: &eth.BeaconBlockHeader{Slot: slot, BodyRoot: eth.Root{content}}, Fork: fork(n)}
}

func vote(n *eth.Network, source, target uint64, content byte) eth.Duty {
	return eth.Duty{Fork: fork(n), Message: &eth.AttestationData{
		BeaconBlockRoot: eth.Root{content},
		Source:          eth.Checkpoint{Epoch: source},
		Target:          eth.Checkpoint{Epoch: target},
	}}
}

func message(t testing.TB, n *eth.Network, d eth.Duty) Message {
	t.Helper()
	root, err := d.SigningRoot(n)
	if err != nil {
		t.Fatal(err)
	}
	return Message{d.Slashable(), root}
}

func TestFindsPlantedPairs(t *testing.T) {
	n := network(t)
	honest := []eth.Duty{block(n, 1, 1), block(n, 2, 1), vote(n, 0, 1, 1), vote(n, 1, 2, 1), vote(n, 2, 5, 1), vote(n, 5, 6, 1)}
	for _, c := range []struct {
		name    string
		plant   eth.Duty
		offence Offence
		pairs   int
	}{
		{"the same block", block(n, 2, 1), "", 0},
		{"the same vote", vote(n, 1, 2, 1), "", 0},
		{"next slot", block(n, 3, 2), "", 0},
		{"next vote, other source", vote(n, 5, 7, 2), "", 0},
		{"a block at the slot of none", block(n, 0, 2), "", 0},
		{"double proposal", block(n, 2, 2), DoubleProposal, 1},
		{"double vote", vote(n, 1, 2, 2), DoubleVote, 1},
		{"double vote, other source", vote(n, 0, 2, 1), DoubleVote, 1},
		{"surrounding", vote(n, 4, 7, 1), Surround, 1},
		{"surrounded", vote(n, 3, 4, 1), Surround, 1},
		{"surrounding two", vote(n, 1, 7, 1), Surround, 2},
		{"a slot is no epoch", block(n, 6, 2), "", 0},
		{"nothing that is slashed for", eth.Duty{Message: &eth.RandaoReveal{Epoch: 2}, Fork: fork(n)}, "", 0},
	} {
		for at := range len(honest) + 1 { // whichever of the two comes first
			s := New(Config{})
			for _, d := range slices.Insert(slices.Clone(honest), at, c.plant) {
				if _, err := s.Watch(bls.PublicKey{}, message(t, n, d), bls.Signature{}); err != nil {
					t.Fatal(err)
				}
			}
			got := s.Pairs()
			wrong := slices.ContainsFunc(got, func(p Pair) bool { return p.Offence != c.offence })
			if len(got) != c.pairs || wrong || s.Seen() != len(honest)+1 {
				t.Errorf("%s, planted at %d: found %v", c.name, at, got)
			}
		}
	}
}

// What it finds in any history are the pairs of the definition, found by
// comparing all with all.
func TestAllAgainstAll(t *testing.T) {
	n := network(t)
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.Uint64Range(0, 4)
		duty := rapid.Custom(func(rt *rapid.T) eth.Duty {
			content := rapid.Byte().Draw(rt, "content") % 2
			if rapid.Bool().Draw(rt, "block") {
				return block(n, small.Draw(rt, "slot"), content)
			}
			return vote(n, small.Draw(rt, "source"), small.Draw(rt, "target"), content)
		})
		duties := rapid.SliceOfN(duty, 0, 12).Draw(t, "duties")
		s := New(Config{})
		var distinct []Message
		for _, d := range duties {
			root, err := d.SigningRoot(n)
			if err != nil {
				t.Fatal(err)
			}
			m := Message{d.Slashable(), root}
			if !slices.Contains(distinct, m) {
				distinct = append(distinct, m)
			}
			if _, err := s.Watch(bls.PublicKey{}, m, bls.Signature{}); err != nil {
				t.Fatal(err)
			}
		}
		want := 0
		for i, a := range distinct {
			for _, b := range distinct[:i] {
				if slashable(a, b) {
					want++
				}
			}
		}
		if got := len(s.Pairs()); got != want {
			t.Fatalf("%d pairs, want %d", got, want)
		}
	})
}

func slashable(a, b Message) bool {
	if x, ok := a.Facts.(eth.BlockFacts); ok {
		y, ok := b.Facts.(eth.BlockFacts)
		return ok && x == y
	}
	x := a.Facts.(eth.AttestationFacts)
	y, ok := b.Facts.(eth.AttestationFacts)
	if !ok {
		return false
	}
	if x.TargetEpoch < y.TargetEpoch {
		x, y = y, x
	}
	return x.TargetEpoch == y.TargetEpoch || x.SourceEpoch < y.SourceEpoch
}

// line deals a key in shares: 7 + 5x, 2 of 3.
func line(t *testing.T) (bls.PublicKey, []bls.Share, []bls.PublicKey) {
	t.Helper()
	scalar := func(v int64) *[32]byte { return (*[32]byte)(big.NewInt(v).FillBytes(make([]byte, 32))) }
	key, err := bls.NewSecretKey(scalar(7))
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	var shares []bls.Share
	var public []bls.PublicKey
	for x := range int64(3) {
		share, err := bls.NewShare(uint16(x+1), scalar(7+5*(x+1)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(share.Destroy)
		shares = append(shares, share)
		public = append(public, share.PublicShare())
	}
	return key.PublicKey(), shares, public
}

func TestPartials(t *testing.T) {
	n := network(t)
	key, shares, public := line(t)
	s := New(Config{Verify: true})
	s.Deal(key, 2, public)
	a, b := message(t, n, block(n, 9, 1)), message(t, n, block(n, 9, 2))
	watch := func(m Message, i int, want int) {
		t.Helper()
		found, err := s.WatchPartial(key, m, shares[i].SignPartial(m.Root))
		if err != nil || len(found) != want {
			t.Errorf("share %d, %s: %v, %v", i+1, m, found, err)
		}
	}
	watch(a, 0, 0)
	watch(a, 0, 0) // the same holder is no second
	watch(b, 1, 0)
	if got := s.Pairs(); len(got) != 0 {
		t.Errorf("one holder each: %v", got)
	}
	watch(b, 0, 1) // against the holder; the key has signed b only
	if got := s.PairsOf(key); len(got) != 0 {
		t.Errorf("one partial of a, two of b: %v", got)
	}
	watch(a, 2, 1) // the second of a
	if got := s.PairsOf(key); len(got) != 1 {
		t.Errorf("nobody combined, yet anybody could: %v", got)
	}
}

func TestForged(t *testing.T) {
	n := network(t)
	key, shares, public := line(t)
	s := New(Config{Verify: true})
	s.Deal(key, 2, public)
	d := block(n, 9, 1)
	m := message(t, n, d)
	right, other := shares[0].SignPartial(m.Root), shares[0].SignPartial(message(t, n, block(n, 9, 2)).Root)
	whole, err := bls.Combine(2, []bls.Partial{right, shares[1].SignPartial(m.Root)})
	if err != nil {
		t.Fatal(err)
	}
	raw := whole.Bytes()
	if _, err := s.WatchDuty(n, key, d, raw[:]); err != nil {
		t.Error(err)
	}
	_, wrongKey := s.Watch(public[0], m, whole)
	_, wrongDuty := s.WatchDuty(n, key, block(n, 9, 2), raw[:])
	_, wrongRoot := s.WatchPartial(key, m, other)
	_, notDealt := s.WatchPartial(public[0], m, right)
	for _, err := range []error{wrongKey, wrongDuty, wrongRoot, notDealt} {
		if !errors.Is(err, ErrForged) {
			t.Errorf("forged: %v", err)
		}
	}
	if s.Seen() != 1 {
		t.Errorf("saw %d", s.Seen())
	}
}
