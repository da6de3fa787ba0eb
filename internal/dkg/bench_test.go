//go:build linux

package dkg_test

import (
	"fmt"
	"testing"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
)

func fresh(tb testing.TB, c *dkgtest.Ceremony) *dkg.Participant {
	c.Restart = true
	q, err := c.Participant(1)
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

func sizes(b *testing.B, run func(b *testing.B, p dkg.Params)) {
	for _, n := range []int{4, 16} {
		for _, keys := range []int{1, 100} {
			for _, hybrid := range []bool{false, true} {
				b.Run(fmt.Sprintf("n=%d/keys=%d/hybrid=%t", n, keys, hybrid), func(b *testing.B) {
					run(b, dkgtest.Params(dkg.SuiteG1, hybrid, n, keys))
				})
			}
		}
	}
}

func BenchmarkDeal(b *testing.B) {
	sizes(b, func(b *testing.B, p dkg.Params) {
		c := open(b, p)
		until(b, c, dkg.PhaseDeal)
		for b.Loop() {
			b.StopTimer()
			q := fresh(b, c)
			b.StartTimer()
			if _, _, err := q.Deal(c.Board, c.Source); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkReceive is everything from complete dealings to a verdict: both
// the public checks and the seat's own share.
func BenchmarkReceive(b *testing.B) {
	sizes(b, func(b *testing.B, p dkg.Params) {
		c := open(b, p)
		until(b, c, dkg.PhaseVerify)
		for b.Loop() {
			b.StopTimer()
			q := fresh(b, c)
			b.StartTimer()
			if _, err := q.Verify(c.Board, c.Source); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkConfirm(b *testing.B) {
	sizes(b, func(b *testing.B, p dkg.Params) {
		c := open(b, p)
		until(b, c, dkg.PhaseConfirm)
		for b.Loop() {
			b.StopTimer()
			q := fresh(b, c)
			if _, err := q.Verify(c.Board, c.Source); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if _, err := q.Confirm(c.Board, c.Source); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCeremony1000 is a whole ceremony of 1000 keys among 4 operators,
// boards included; cpu-s/operator is what each of them spends.
func BenchmarkCeremony1000(b *testing.B) {
	for name, suite := range suites {
		for _, hybrid := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/hybrid=%t", name, hybrid), func(b *testing.B) {
				for b.Loop() {
					c := open(b, dkgtest.Params(suite, hybrid, 4, 1000))
					before := cpuSeconds()
					if err := c.Run(); err != nil || c.Board.Phase() != dkg.PhaseDone {
						b.Fatal(c.Board.Phase(), err)
					}
					// One process plays 4 operators but a single ledger: each
					// operator's own ledger costs as much as this one.
					b.ReportMetric((cpuSeconds()-before)/4, "cpu-s/operator")
				}
			})
		}
	}
}
