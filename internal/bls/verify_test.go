package bls

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/iotest"

	blst "github.com/supranational/blst/bindings/go"
	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/eth"
)

// A batch finds exactly the claims that verify alone as false.
func TestBatchAgreesWithSingles(t *testing.T) {
	_, shares := deal(2, 1, 2, 3)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 12).Draw(t, "n")
		b := batch{hashes: []blst.P2{hashed("a").point, hashed("b").point, hashed("unused").point}}
		var want []int
		for i := range n {
			share := shares[uint16(rapid.IntRange(1, 3).Draw(t, "share"))]
			h := rapid.IntRange(0, 1).Draw(t, "root")
			c := claim{key: share.PublicShare(), hash: h}
			c.sig = share.SignHashed(HashedRoot{point: b.hashes[h]}).sig.point
			switch rapid.IntRange(0, 9).Draw(t, "fault") {
			case 0: // another root
				c.hash = 1 - h
			case 1:
				c.sig = blst.P2Affine{}
			case 2:
				c.key = PublicKey{}
			}
			if !verifyOne(&b.hashes[c.hash], c) {
				want = append(want, i)
			}
			b.claims = append(b.claims, c)
		}
		if got, err := b.findBad(rand.Reader); err != nil || !slices.Equal(got, want) {
			t.Fatalf("bad are %v (%v), want %v", got, err, want)
		}
	})
}

// Two false signatures that cancel out in a plain sum must not pass.
func TestBatchIsRandomised(t *testing.T) {
	round := NewRound([32]byte{}, 1)
	_, shares := deal(2, 1, 2)
	one, two := shares[1].SignRound(round), shares[2].SignRound(round)
	g := blst.P2Generator()
	var up, down blst.P2
	up.FromAffine(&one.sig.point)
	down.FromAffine(&two.sig.point)
	one.sig.point = *up.Add(g).ToAffine()
	two.sig.point = *down.Sub(g).ToAffine()
	public := []PublicKey{shares[1].PublicShare(), shares[2].PublicShare()}
	bad, err := VerifyPartials(rand.Reader, round, public, []Partial{one, two})
	if err != nil || !slices.Equal(bad, []uint16{1, 2}) {
		t.Fatalf("bad are %v (%v), want both", bad, err)
	}
}

func TestVerifyPartialsBlames(t *testing.T) {
	round := NewRound([32]byte{}, 1)
	_, shares := deal(3, upTo(6)...)
	_, others := deal(3, upTo(6)...)
	var public []PublicKey
	for x := range uint16(5) { // 6 has no public share
		public = append(public, shares[x+1].PublicShare())
	}
	public[3] = PublicKey{} // and 4's is absent
	partials := []Partial{
		shares[5].SignRound(round),
		others[2].SignRound(round), // not the share of this key
		shares[6].SignRound(round),
		shares[1].SignRound(NewRound([32]byte{}, 2)),
		shares[4].SignRound(round),
		{index: 5, sig: shares[3].SignRound(round).sig}, // claims another index
		shares[3].SignRound(round),
		{},
	}
	bad, err := VerifyPartials(rand.Reader, round, public, partials)
	if want := []uint16{2, 6, 1, 4, 5, 0}; err != nil || !slices.Equal(bad, want) {
		t.Fatalf("bad are %v (%v), want %v", bad, err, want)
	}
	if bad, err := VerifyPartials(rand.Reader, round, public, []Partial{partials[0], partials[6]}); err != nil || bad != nil {
		t.Fatalf("good partials blamed: %v, %v", bad, err)
	}
}

func TestNoRandomnessIsAnError(t *testing.T) {
	round := NewRound([32]byte{}, 1)
	_, shares := deal(2, 1, 2)
	public := []PublicKey{shares[1].PublicShare(), shares[2].PublicShare()}
	partials := []Partial{shares[1].SignRound(round), shares[2].SignRound(round)}
	broken := errors.New("no entropy")
	if _, err := VerifyPartials(iotest.ErrReader(broken), round, public, partials); !errors.Is(err, broken) {
		t.Fatalf("got %v, want the reader's error", err)
	}
}

func BenchmarkSignHashed(b *testing.B) {
	_, shares := deal(1, 1)
	root := hashed("bench")
	for b.Loop() {
		shares[1].SignHashed(root)
	}
}

func BenchmarkSignPartial(b *testing.B) {
	_, shares := deal(1, 1)
	msg := make([]byte, 32)
	for b.Loop() {
		shares[1].SignHashed(HashedRoot{point: *blst.HashToG2(msg, dstEthereum)})
	}
}

func BenchmarkParsePartial(b *testing.B) {
	_, shares := deal(1, 1)
	enc := shares[1].SignHashed(hashed("bench")).Bytes()
	for b.Loop() {
		_, _ = ParsePartial(enc[:])
	}
}

func BenchmarkParsePublicKey(b *testing.B) {
	_, shares := deal(1, 1)
	enc := shares[1].PublicShare().Bytes()
	for b.Loop() {
		_, _ = ParsePublicKey(enc[:])
	}
}

func BenchmarkCombine(b *testing.B) {
	root := hashed("bench")
	for _, indices := range [][]uint16{
		{1, 2, 3}, {1, 2, 4}, {1, 2, 3, 4, 5}, {1, 2, 4, 6, 7}, {1, 3, 4, 6, 7, 9, 10},
		{1, 2, 4, 5, 7, 8, 10, 11, 13}, {2, 3, 5, 7, 8, 10, 11, 13, 14, 15, 16},
	} {
		_, shares := deal(len(indices), indices...)
		var partials []Partial
		for _, x := range indices {
			partials = append(partials, shares[x].SignHashed(root))
		}
		b.Run(fmt.Sprintf("%d of %v", len(indices), indices), func(b *testing.B) {
			for b.Loop() {
				_, _ = Combine(len(partials), partials)
			}
		})
		b.Run(fmt.Sprintf("%d of %v long", len(indices), indices), func(b *testing.B) {
			for b.Loop() {
				weights, delta := lagrangeAtZero(indices)
				interpolateLong(weights, delta, partials).ToAffine()
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	_, shares := deal(1, 1)
	msg := make([]byte, 32)
	root := HashedRoot{point: *blst.HashToG2(msg, dstEthereum)}
	key, sig := shares[1].PublicShare(), shares[1].SignHashed(root).sig
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			VerifyHashed(key, HashedRoot{point: *blst.HashToG2(msg, dstEthereum)}, sig)
		}
	})
	b.Run("hashed", func(b *testing.B) {
		for b.Loop() {
			VerifyHashed(key, root, sig)
		}
	})
}

func BenchmarkVerifyBatch(b *testing.B) {
	for _, n := range []int{4, 16, 64, 256} {
		_, shares := deal(2, upTo(n)...)
		for _, distinct := range []bool{true, false} {
			var all batch
			msgs := make([]string, n)
			for i := range n {
				msgs[i] = fmt.Sprint(i)
				share := shares[uint16(i+1)]
				if i == 0 || distinct {
					all.hashes = append(all.hashes, hashed(msgs[i]).point)
				}
				h := len(all.hashes) - 1
				all.claims = append(all.claims, claim{
					key: share.PublicShare(), hash: h,
					sig: share.SignHashed(HashedRoot{point: all.hashes[h]}).sig.point,
				})
			}
			b.Run(fmt.Sprintf("n=%d/distinct=%v", n, distinct), func(b *testing.B) {
				for b.Loop() {
					for i := range all.hashes {
						all.hashes[i] = hashed(msgs[i]).point
					}
					if bad, err := all.findBad(rand.Reader); bad != nil || err != nil {
						b.Fatal(bad, err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/claim")
			})
		}
	}
}

// The functions that take a signing root agree with those that take its hash.
// The zero root is the only one that can be had without a duty.
func TestRoots(t *testing.T) {
	var root eth.SigningRoot
	key, shares := deal(2, 1, 2)
	sig := must(Combine(2, []Partial{shares[1].SignPartial(root), shares[2].SignPartial(root)}))
	if sig != key.Sign(root) || !Verify(key.PublicKey(), root, sig) {
		t.Error("the shares' signature is not the key's")
	}
	signed := []Signed{
		{key.PublicKey(), root, sig},
		{shares[1].PublicShare(), root, sig},
		{shares[1].PublicShare(), root, shares[1].SignPartial(root).sig},
		{},
	}
	if bad, err := VerifyBatch(rand.Reader, signed); err != nil || !slices.Equal(bad, []int{1, 3}) {
		t.Errorf("bad are %v (%v), want 1 and 3", bad, err)
	}
	if bad, err := VerifyBatch(rand.Reader, nil); err != nil || bad != nil {
		t.Errorf("an empty batch: %v, %v", bad, err)
	}
}
