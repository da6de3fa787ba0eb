package verify

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// largeLog writes a log with a checkpoint in each MiB to a file.
func largeLog(t testing.TB, w *world, size int64) *os.File {
	f, err := os.Create(filepath.Join(t.TempDir(), "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	events := w.write(f, shape{size: size, checkpoints: 1 << 20, erased: 100, signed: 100_000}, nil)
	t.Logf("%d MiB, %d events", size>>20, events)
	return f
}

func (w *world) check(t testing.TB, f *os.File) *Report {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	r, err := w.g.Check(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// cpu is the processor time that this process has used.
func cpu(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A large log verifies in memory that does not depend on its size. Everything
// is on: tree, checkpoints, cosignatures, transactions. How fast, BenchmarkLog
// measures and this only says.
func TestConstantMemory(t *testing.T) {
	size := int64(64 << 20)
	if os.Getenv("QUORATE_CHECK") != "" {
		size = 1 << 30
	}
	w := newWorld(t)
	f := largeLog(t, w, size)
	w.check(t, f) // the page cache, and what is made once
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, from := cpu(t), time.Now()
	r := w.check(t, f)
	spent, passed := cpu(t)-began, time.Since(from)
	runtime.ReadMemStats(&after)
	rate := float64(size) / 1e6 / spent.Seconds()
	t.Logf("%d events, %d checkpoints, %d cosignatures: %.0f MB/s of processor time (%v), %v passed, heap %d KiB more",
		r.Events, r.Checkpoints, r.Cosignatures, rate, spent, passed, (int64(after.HeapSys)-int64(before.HeapSys))>>10)
	if r.Checkpoints < uint64(size>>20)*9/10 || r.Cosignatures != r.Checkpoints {
		t.Errorf("the log has %d checkpoints", r.Checkpoints)
	}
	if more := int64(after.HeapSys) - int64(before.HeapSys); more > 8<<20 {
		t.Errorf("the heap grew by %d bytes", more)
	}
}

// go test -run '^$' -bench Log -benchtime 1x -cpu 1
func BenchmarkLog(b *testing.B) {
	const size = 1 << 30
	w := newWorld(b)
	f := largeLog(b, w, size)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		w.check(b, f)
	}
}

// The limit: one SHA-256 over the same bytes would be the least that a
// checker could do; a tree takes more.
func BenchmarkTree(b *testing.B) {
	var t tree
	event := body(7, "node/node0", [32]byte{7})
	var salt [16]byte
	b.SetBytes(int64(len(event) + 21))
	var scratch []byte
	var leaf [32]byte
	for b.Loop() {
		leaf, scratch = tagged(scratch, tagLeaf, salt[:], event)
		t.append(leaf)
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	w := newWorld(b)
	note := w.checkpoint(5, [32]byte{5})
	b.SetBytes(int64(len(note)))
	for b.Loop() {
		if _, err := w.g.Check(bufio.NewReader(bytes.NewReader(note))); err != nil {
			b.Fatal(err)
		}
	}
}
