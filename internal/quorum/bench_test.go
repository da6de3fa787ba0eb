package quorum

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/bls"
)

// BenchmarkSign compares a signature at n = 4, t = 3 with holders in memory
// with its primitives: t partial signatures, combine, verify, on as many
// processors.
func BenchmarkSign(b *testing.B) {
	key, shares := deal(b, 4, 3)
	c := newCluster(b, key, shares)
	defer c.Close()
	primitives := func(n uint64) error {
		var partials []bls.Partial
		for _, s := range shares[:3] {
			partials = append(partials, s.SignPartial(root(n)))
		}
		sig, err := bls.Combine(3, partials)
		if err == nil && !bls.Verify(key.PublicKey, root(n), sig) {
			err = fmt.Errorf("signature %d is wrong", n)
		}
		return err
	}
	quorum := func(n uint64) error {
		_, _, err := c.Sign(b.Context(), key, nil, root(n))
		return err
	}
	for _, concurrency := range []int{1, 64} {
		b.Run(fmt.Sprintf("primitives/c=%d", concurrency), func(b *testing.B) { load(b, concurrency, primitives) })
		b.Run(fmt.Sprintf("quorum/c=%d", concurrency), func(b *testing.B) {
			before := c.askedInAll()
			load(b, concurrency, quorum)
			b.ReportMetric(float64(c.askedInAll()-before)/float64(b.N), "partials/op")
		})
	}
}

func (c *cluster) askedInAll() (n int64) {
	for _, h := range c.holders {
		n += h.asked.Load()
	}
	return n
}

// load also reports processor time, which says more where others run, too.
func load(b *testing.B, concurrency int, do func(uint64) error) {
	work := make(chan uint64)
	var wg sync.WaitGroup
	for range concurrency {
		wg.Go(func() {
			for n := range work {
				if err := do(n); err != nil {
					b.Error(err)
				}
			}
		})
	}
	before := cpu()
	b.ResetTimer()
	for n := range b.N {
		work <- uint64(n)
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpu is what this process has used so far, user and system.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkPrimitives(b *testing.B) {
	key, shares := deal(b, 4, 3)
	partials := []bls.Partial{shares[0].SignPartial(root(1)), shares[1].SignPartial(root(1)), shares[3].SignPartial(root(1))}
	sig, err := bls.Combine(3, partials)
	if err != nil {
		b.Fatal(err)
	}
	encoded := partials[0].Bytes()
	for name, do := range map[string]func(){
		"sign":    func() { shares[0].SignPartial(root(1)) },
		"parse":   func() { bls.ParsePartial(encoded[:]) },
		"combine": func() { bls.Combine(3, partials) },
		"verify":  func() { bls.Verify(key.PublicKey, root(1), sig) },
		"bytes":   func() { partials[0].Bytes() },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				do()
			}
		})
	}
	for _, n := range []int{2, 8, 32} {
		signed := make([]bls.Signed, n)
		for i := range signed {
			var p []bls.Partial
			for _, s := range shares[:3] {
				p = append(p, s.SignPartial(root(uint64(i))))
			}
			sig, err := bls.Combine(3, p)
			if err != nil {
				b.Fatal(err)
			}
			signed[i] = bls.Signed{Key: key.PublicKey, Message: root(uint64(i)), Sig: sig}
		}
		b.Run(fmt.Sprintf("batch of %d, each", n), func(b *testing.B) {
			for b.Loop() {
				if bad := verifyEach(signed); bad != 0 {
					b.Fatal(bad)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/signature")
		})
	}
}

func verifyEach(signed []bls.Signed) (bad int) {
	batch := make([]*claim, len(signed))
	for i := range signed {
		batch[i] = &claim{signed[i], make(chan verdict, 1)}
	}
	verifyAll(batch)
	for _, c := range batch {
		if v := <-c.verdict; !v.good {
			bad++
		}
	}
	return bad
}
