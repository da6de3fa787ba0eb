package bls

import (
	"crypto/rand"
	"testing"

	"github.com/quorate/quorate/internal/eth"
)

// t shares make the one signature of a round that there is, whichever they
// are, and it is good for no other height, cluster or use.
func TestRound(t *testing.T) {
	key, shares := deal(3, upTo(4)...)
	round := NewRound([32]byte{1}, 7)
	var all []Signature
	for _, of := range [][]uint16{{1, 2, 3}, {4, 2, 1}, {2, 3, 4}} {
		var partials []Partial
		for _, x := range of {
			partials = append(partials, shares[x].SignRound(round))
		}
		sig := must(Combine(3, partials))
		if !Verify(key.PublicKey(), round, sig) {
			t.Fatalf("shares %v make no signature", of)
		}
		all = append(all, sig)
	}
	if all[0] != all[1] || all[1] != all[2] {
		t.Error("a round has two signatures")
	}
	for name, other := range map[string]Message{
		"height": NewRound([32]byte{1}, 8), "cluster": NewRound([32]byte{2}, 7), "no round": Round{}, "nothing": nil,
	} {
		if Verify(key.PublicKey(), other, all[0]) {
			t.Errorf("it verifies for another %s", name)
		}
	}
}

// A message is bytes and what they are for: signed as the one, they do not
// verify as the other, each alone or in a batch.
func TestTagsKeepApart(t *testing.T) {
	key, shares := deal(2, 1, 2)
	var root eth.SigningRoot // of 32 zeros, as the zero round
	asRoot := must(Combine(2, []Partial{shares[1].SignPartial(root), shares[2].SignPartial(root)}))
	asRound := must(Combine(2, []Partial{shares[1].SignRound(Round{}), shares[2].SignRound(Round{})}))
	if !Verify(key.PublicKey(), root, asRoot) || !Verify(key.PublicKey(), Round{}, asRound) {
		t.Fatal("a signature does not verify as what it is")
	}
	if Verify(key.PublicKey(), root, asRound) || Verify(key.PublicKey(), Round{}, asRoot) {
		t.Error("a signature verifies as something else")
	}
	claims := []Signed{{key.PublicKey(), root, asRoot}, {key.PublicKey(), Round{}, asRound}}
	if bad, err := VerifyBatch(rand.Reader, claims); err != nil || bad != nil {
		t.Errorf("bad are %v, %v", bad, err)
	}
	claims[0].Sig, claims[1].Sig = asRound, asRoot
	if bad, err := VerifyBatch(rand.Reader, claims); err != nil || len(bad) != 2 {
		t.Errorf("bad are %v, %v, want both", bad, err)
	}
}

func BenchmarkRound(b *testing.B) {
	key, shares := deal(3, upTo(4)...)
	round := NewRound([32]byte{}, 1)
	var partials []Partial
	for _, x := range upTo(3) {
		partials = append(partials, shares[x].SignRound(round))
	}
	sig := must(Combine(3, partials))
	b.Run("partial", func(b *testing.B) {
		for b.Loop() {
			shares[1].SignRound(round)
		}
	})
	b.Run("combine", func(b *testing.B) {
		for b.Loop() {
			must(Combine(3, partials))
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if !Verify(key.PublicKey(), round, sig) {
				b.Fatal("it does not verify")
			}
		}
	})
}
