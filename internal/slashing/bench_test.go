package slashing

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
)

func benchKey(i int) (k Key) {
	binary.BigEndian.PutUint64(k[:], uint64(i))
	return k
}

// BenchmarkSign is Begin and Wait of one attestation, on a real disk.
func BenchmarkSign(b *testing.B) {
	for _, c := range []int{1, 64} {
		b.Run(fmt.Sprintf("concurrency=%d", c), func(b *testing.B) { benchSign(b, c) })
	}
}

func benchSign(b *testing.B, c int) {
	cfg := testConfig(nil)
	cfg.Dir = b.TempDir()
	r := initRecord(b, cfg)
	for i := range c {
		if err := r.Register(benchKey(i), History{Mode: HistoryNone}); err != nil {
			b.Fatal(err)
		}
	}
	before := r.log.Stats()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range c {
		wg.Go(func() {
			for n := i; n < b.N; n += c {
				f := Attestation{uint64(n), uint64(n), Root{}}
				if err := r.Begin(wide, item(benchKey(i), f)).Wait()[0]; err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	after := r.log.Stats()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "duties/s")
	b.ReportMetric(float64(after.Syncs-before.Syncs)/b.Elapsed().Seconds(), "fsyncs/s")
	r.Close()
}

// BenchmarkOpen loads a record of 10,000 keys.
func BenchmarkOpen(b *testing.B) {
	cfg := testConfig(nil)
	cfg.Dir = b.TempDir()
	r := initRecord(b, cfg)
	var changes []entry
	for i := range 10_000 {
		changes = append(changes, entry{kind: entryRegister, key: benchKey(i), history: History{Mode: HistoryNone}},
			dutyEntry(benchKey(i), Attestation{1, 2, Root{}}))
	}
	r.mu.Lock()
	p := r.change(changes)
	r.mu.Unlock()
	if err := p.Wait(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r = reopen(b, r, cfg)
	}
	r.Close()
}
