package durable_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/durable/durabletest"
	"github.com/quorate/quorate/internal/wire"
)

const logPath = "dir/log"

var testID = durable.Identity{Cluster: [32]byte{1}, Domain: "validator"}

// replay collects a log's records; a snapshot is a comma-free list of one
// string per record that it stands for.
func replay(fsys durable.FS) (*durable.Recovered, []string, error) {
	var got []string
	r, err := durable.Recover(fsys, logPath, testID, func(rec durable.Record) error {
		if string(rec.Payload) != "empty" {
			got = append(got, string(rec.Payload))
		}
		if rec.Seq != uint64(len(got)) && !rec.Snapshot {
			return fmt.Errorf("sequence %d for record %d", rec.Seq, len(got))
		}
		return nil
	})
	return r, got, err
}

func payloads(list []string) [][]byte {
	out := [][]byte{[]byte("empty")}
	for _, s := range list {
		out = append(out, []byte(s))
	}
	return out
}

// history is what a run appended and what it was told to be durable.
type history struct {
	created, acked int
	appended       []string
	failedAt       int // operations done when the first error showed
}

func (h *history) append(d *durabletest.Disk, l *durable.Log, s ...string) {
	var bytes [][]byte
	for _, p := range s {
		bytes = append(bytes, []byte(p))
	}
	p := l.Append(bytes...)
	h.appended = append(h.appended, s...)
	h.note(d, p.Wait())
}

func (h *history) note(d *durabletest.Disk, err error) {
	switch {
	case err == nil:
		h.acked = len(h.appended)
	case h.failedAt == 0:
		h.failedAt = d.Ops()
	}
}

// scenario creates a log, appends, rotates and appends again, and goes on
// after errors as an owner must not.
func scenario(d *durabletest.Disk) *history {
	h := &history{}
	l, err := durable.Create(d, logPath, testID, payloads(nil)...)
	if err != nil {
		h.note(d, err)
		return h
	}
	h.created = 1
	h.append(d, l, "a")
	h.append(d, l, "b", "c")
	h.append(d, l, "d")
	h.note(d, l.Rotate(payloads(h.appended)...).Wait())
	h.append(d, l, "e")
	h.append(d, l, "f", "g")
	l.Close()
	return h
}

// Each operation × each fault × each crash: what was acknowledged is there,
// in order, and nothing that was not appended.
func TestLogFaultTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	clean := durabletest.NewDisk()
	scenario(clean)
	total := clean.Ops()
	for n := 1; n <= total+1; n++ {
		for _, fault := range durabletest.Faults {
			for _, loss := range durabletest.Losses {
				repeat := 1
				if loss == durabletest.LoseSome {
					repeat = 8
				}
				for range repeat {
					d := durabletest.NewDisk()
					d.Inject(n, fault)
					h := scenario(d)
					if n > total && h.acked != 7 {
						t.Fatalf("without a fault %d of 7 records acknowledged", h.acked)
					}
					if h.failedAt != 0 && d.Ops() != h.failedAt {
						t.Fatalf("%s at %d: the log touched the disk again after a failure", fault, n)
					}
					checkAfterCrash(t, fmt.Sprintf("%s at %d, %s", fault, n, loss), h, d.Crash(loss, rng), fault, loss)
				}
			}
		}
	}
}

func checkAfterCrash(t *testing.T, name string, h *history, d *durabletest.Disk, fault durabletest.Fault, loss durabletest.Loss) {
	t.Helper()
	r, got, err := replay(d)
	if errors.Is(err, durable.ErrMissing) && h.created == 0 {
		return
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(got) < h.acked || !slices.Equal(got, h.appended[:len(got)]) {
		t.Fatalf("%s: acknowledged %v, found %v", name, h.appended[:h.acked], got)
	}
	plainKill := fault == durabletest.Kill || fault == durabletest.KillPersisted
	if plainKill && loss == durabletest.LoseNothing && r.Tail == durable.TailUncertain {
		t.Fatalf("%s: a killed process leaves no doubt, yet the tail is uncertain", name)
	}
	// A second life goes on where the first ended.
	l, err := r.Resume(payloads(got)...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	p := l.Append([]byte("later"))
	if err := p.Wait(); err != nil || p.Seq() != uint64(len(got)+1) {
		t.Fatalf("%s: append after resume: %v, sequence %d", name, err, p.Seq())
	}
	l.Close()
	r, again, err := replay(d.Crash(durabletest.LoseUnsynced, nil))
	if err != nil || r.Tail != durable.TailClean || !slices.Equal(again, append(got, "later")) {
		t.Fatalf("%s: after resume %v, tail %v, %v", name, again, r.Tail, err)
	}
}

// builtLog returns a disk with a log of a snapshot and three frames, and the
// file offsets at which the last frame begins and ends.
func builtLog(t *testing.T, third string) (content []byte, want []string, last, end int) {
	t.Helper()
	d := durabletest.NewDisk()
	l, err := durable.Create(d, logPath, testID, payloads(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"first", "second", third} {
		last = int(l.Size())
		if err := l.Append([]byte(s)).Wait(); err != nil {
			t.Fatal(err)
		}
		want = append(want, s)
	}
	end = int(l.Size())
	l.Close()
	content, _ = d.Content(logPath)
	return content, want, last, end
}

// The last frame cut off or with a bit flipped at every byte, and any bit
// of the used part of the file flipped: the log says so, or has lost nothing.
func TestDamageNeverRegressesInSilence(t *testing.T) {
	content, want, last, end := builtLog(t, "third")
	check := func(name string, damaged []byte) {
		t.Helper()
		d := durabletest.NewDisk()
		d.SetContent(logPath, damaged)
		r, got, err := replay(d)
		if err != nil {
			if !errors.Is(err, durable.ErrDamaged) && !errors.Is(err, durable.ErrForeign) {
				t.Fatalf("%s: %v", name, err)
			}
			return
		}
		if r.Tail != durable.TailUncertain && !slices.Equal(got, want) {
			t.Fatalf("%s: found %v, tail %v", name, got, r.Tail)
		}
		if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
			t.Fatalf("%s: invented %v", name, got)
		}
	}
	for at := last; at < end; at++ {
		check(fmt.Sprintf("cut at %d", at), content[:at])
		zeroed := slices.Clone(content)
		clear(zeroed[at:])
		check(fmt.Sprintf("zeroed from %d", at), zeroed)
	}
	for at := 0; at < end; at++ {
		for _, bit := range []byte{1, 0x80} {
			flipped := slices.Clone(content[:end])
			flipped[at] ^= bit
			check(fmt.Sprintf("bit %#x of byte %d", bit, at), flipped)
		}
	}
	for _, size := range []int{0, 1, 100, 4096, 12287, 12288, 12400} {
		check(fmt.Sprintf("file cut to %d", size), content[:size])
	}
}

func TestVerdicts(t *testing.T) {
	content, _, last, end := builtLog(t, "third")
	torn := slices.Clone(content)
	copy(torn[end:], "begun but never marked")
	cutLast := slices.Clone(content)
	clear(cutLast[last:])
	middle := slices.Clone(content)
	middle[last-1] ^= 1
	swapped, _, _, _ := builtLog(t, "THIRD") // a whole frame, and not the one that was acknowledged
	copy(swapped[4096:12288], content[4096:12288])
	for _, c := range []struct {
		name    string
		content []byte
		tail    durable.Tail
		err     error
	}{
		{"whole", content, durable.TailClean, nil},
		{"without the zeros written ahead", content[:end], durable.TailClean, nil},
		{"interrupted write", torn, durable.TailDiscarded, nil},
		{"last frame gone", cutLast, durable.TailUncertain, nil},
		{"damage in the middle", middle, 0, durable.ErrDamaged},
		{"another last frame", swapped, 0, durable.ErrDamaged},
		{"emptied", nil, 0, durable.ErrDamaged},
	} {
		d := durabletest.NewDisk()
		d.SetContent(logPath, c.content)
		r, _, err := replay(d)
		if !errors.Is(err, c.err) || (r == nil) != (c.err != nil) || (r != nil && r.Tail != c.tail) {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
	}
	d := durabletest.NewDisk()
	if _, _, err := replay(d); !errors.Is(err, durable.ErrMissing) {
		t.Errorf("missing: %v", err)
	}
	d.SetContent(logPath, content)
	unreadable := errors.New("unreadable")
	for refused := range 4 { // the snapshot and three records
		n := -1
		r, err := durable.Recover(d, logPath, testID, func(durable.Record) error {
			if n++; n == refused {
				return unreadable
			}
			return nil
		})
		if r != nil || !errors.Is(err, unreadable) {
			t.Errorf("record %d that its owner refuses: %+v, %v", refused, r, err)
		}
	}
	other := testID
	other.Domain = "secret"
	if _, err := durable.Recover(d, logPath, other, nil); !errors.Is(err, durable.ErrForeign) {
		t.Errorf("foreign: %v", err)
	}
	if _, err := durable.Create(d, logPath, testID, []byte("x")); err == nil {
		t.Error("Create replaced a log")
	}
}

func TestPoisonReachesEveryone(t *testing.T) {
	d := durabletest.NewDisk()
	l, err := durable.Create(d, logPath, testID, []byte("empty"))
	if err != nil {
		t.Fatal(err)
	}
	d.Inject(4, durabletest.Fail) // zeros, frame, mark, then the fsync
	if err := l.Append([]byte("a")).Wait(); !errors.Is(err, durable.ErrPoisoned) || !errors.Is(err, durabletest.ErrInjected) {
		t.Fatalf("append: %v", err)
	}
	<-l.Failed()
	if err := l.Append([]byte("b")).Wait(); !errors.Is(err, durable.ErrPoisoned) {
		t.Fatalf("append after poison: %v", err)
	}
	if err := l.Rotate([]byte("empty")).Wait(); !errors.Is(err, durable.ErrPoisoned) {
		t.Fatalf("rotate after poison: %v", err)
	}
	if err := l.Close(); !errors.Is(err, durable.ErrPoisoned) {
		t.Fatalf("close after poison: %v", err)
	}
}

// The largest frame that is accepted can be read again. What is refused leaves
// no trace: neither in the numbers nor on the disk.
func TestFrameLimits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := durable.Create(durable.OS{}, path, testID, []byte("empty"))
	if err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, wire.MaxLogFrame-4-4+1) // but for the count and its own length
	for name, p := range map[string]durable.Pending{
		"nothing": l.Append(), "an empty snapshot": l.Rotate(),
		"a byte too many": l.Append(payload), "as many in a snapshot": l.Rotate(payload),
		"as many in two": l.Append(payload[:len(payload)/2-4], payload[len(payload)/2:]),
	} {
		if err := p.Wait(); err == nil || errors.Is(err, durable.ErrPoisoned) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i, p := range []durable.Pending{l.Append([]byte("before")), l.Append(payload[1:]), l.Append([]byte("after"))} {
		if err := p.Wait(); err != nil || p.Seq() != uint64(i+1) {
			t.Fatalf("record %d: sequence %d, %v", i+1, p.Seq(), err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var got []int
	r, err := durable.Recover(durable.OS{}, path, testID, func(rec durable.Record) error {
		got = append(got, len(rec.Payload))
		return nil
	})
	if want := []int{len("empty"), len("before"), len(payload) - 1, len("after")}; err != nil || r.Tail != durable.TailClean || !slices.Equal(got, want) {
		t.Fatalf("found payloads of %v bytes, want %v: %v", got, want, err)
	}
	if _, err := r.Resume(payload); err == nil {
		t.Error("resumed with a snapshot that could not be read again")
	}
	if _, err := durable.Create(durable.OS{}, path+"2", testID); err == nil {
		t.Error("created without a snapshot")
	}
}

// Many writers on a real disk, with rotations in between.
func TestConcurrentAppends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := durable.Create(durable.OS{}, path, testID, []byte("empty"))
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 16, 40
	var mu sync.Mutex // keeps the snapshot in step with the appends
	bySeq := map[uint64]string{}
	var snapshots int
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				mu.Lock()
				s := fmt.Sprintf("%d/%d", w, i)
				p := l.Append([]byte(s))
				bySeq[p.Seq()] = s
				if len(bySeq)%100 == 0 {
					snapshots++
					l.Rotate([]byte(fmt.Sprint(len(bySeq))))
				}
				mu.Unlock()
				if err := p.Wait(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := l.Append([]byte("closing")).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append([]byte("late")).Wait(); !errors.Is(err, durable.ErrClosed) {
		t.Fatalf("append after close: %v", err)
	}
	bySeq[writers*each+1] = "closing"
	var first uint64
	r, err := durable.Recover(durable.OS{}, path, testID, func(rec durable.Record) error {
		if rec.Snapshot {
			first = rec.Seq
			if string(rec.Payload) != fmt.Sprint(rec.Seq) {
				return fmt.Errorf("snapshot %q stands at %d", rec.Payload, rec.Seq)
			}
		} else if bySeq[rec.Seq] != string(rec.Payload) {
			return fmt.Errorf("%q at %d", rec.Payload, rec.Seq)
		}
		return nil
	})
	if err != nil || r.Seq != writers*each+1 || r.Tail != durable.TailClean || first == 0 {
		t.Fatalf("recovered to %d from snapshot %d, %v", r.Seq, first, err)
	}
}

func FuzzRecover(f *testing.F) {
	d := durabletest.NewDisk()
	l, err := durable.Create(d, logPath, testID, []byte("snapshot"))
	if err != nil {
		f.Fatal(err)
	}
	l.Append([]byte("record")).Wait()
	end := l.Size()
	l.Close()
	content, _ := d.Content(logPath)
	f.Add(content[:end])
	f.Add(content[:end-1])
	f.Add([]byte("QUORLOG"))
	f.Fuzz(func(t *testing.T, in []byte) {
		d := durabletest.NewDisk()
		d.SetContent(logPath, in)
		r, err := durable.Recover(d, logPath, testID, func(durable.Record) error { return nil })
		if (err == nil) != (r != nil) {
			t.Fatal("neither result nor error")
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, c := range []int{1, 64} {
		b.Run(fmt.Sprintf("concurrency=%d", c), func(b *testing.B) {
			l, err := durable.Create(durable.OS{}, filepath.Join(b.TempDir(), "log"), testID, []byte("empty"))
			if err != nil {
				b.Fatal(err)
			}
			payload := make([]byte, 120)
			turns := make(chan struct{}, 1024)
			var wg sync.WaitGroup
			for range c {
				wg.Go(func() {
					for range turns {
						if err := l.Append(payload).Wait(); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ResetTimer()
			for range b.N {
				turns <- struct{}{}
			}
			close(turns)
			wg.Wait()
			b.StopTimer()
			s := l.Stats()
			b.ReportMetric(float64(s.Records)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(s.Syncs)/b.Elapsed().Seconds(), "fsyncs/s")
			l.Close()
		})
	}
}
