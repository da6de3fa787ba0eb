package seal

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/durable/durabletest"
	"github.com/quorate/quorate/internal/secret"
)

const path = "custody/shares"

func entry(key byte, epoch uint32) Entry {
	h := shareHeader(epoch)
	h.Key[0] = key
	return Entry{h, hold(fmt.Sprintf("share of key %d in epoch %d", key, epoch))}
}

// contents opens the safe on disk and returns what it yields.
func contents(fsys durable.FS) (map[Slot]string, *Safe, error) {
	got := make(map[Slot]string)
	s, err := Open(fsys, path, owner, testKey(), func(e Entry) error {
		got[e.Slot()] = string(bytesOf(e.Secret))
		return nil
	})
	return got, s, err
}

func expect(entries ...Entry) map[Slot]string {
	want := make(map[Slot]string)
	for _, e := range entries {
		want[e.Slot()] = string(bytesOf(e.Secret))
	}
	return want
}

func check(t *testing.T, fsys durable.FS, entries ...Entry) *Safe {
	t.Helper()
	got, s, err := contents(fsys)
	if err != nil {
		t.Fatal(err)
	}
	if want := expect(entries...); !maps.Equal(got, want) {
		t.Fatalf("safe holds %v, want %v", got, want)
	}
	if len(s.Slots()) != len(entries) {
		t.Fatalf("safe lists %v", s.Slots())
	}
	return s
}

func TestSafe(t *testing.T) {
	disk := durabletest.NewDisk()
	if _, _, err := contents(disk); !errors.Is(err, durable.ErrMissing) {
		t.Fatalf("opened nothing: %v", err)
	}
	s := must(Create(disk, path, owner, testKey()))
	a, b, a2 := entry(1, 1), entry(2, 1), entry(1, 2)
	if err := errors.Join(s.Put(), s.Put(a, b), s.Put(a2), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(disk, path, owner, testKey()); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("created twice: %v", err)
	}

	s = check(t, disk, a, b, a2)
	if s.Tail() != durable.TailClean {
		t.Errorf("tail is %s", s.Tail())
	}
	if err := s.Put(entry(3, 1), a); !errors.Is(err, ErrExists) {
		t.Errorf("put twice: %v", err)
	}
	if err := s.Put(entry(3, 1), entry(3, 1)); !errors.Is(err, ErrExists) {
		t.Errorf("put twice in one batch: %v", err)
	}
	foreign := entry(4, 1)
	foreign.Cluster[0]++
	if err := s.Put(foreign); err == nil {
		t.Error("put another cluster's")
	}
	foreign = entry(4, 1)
	foreign.Domain = "secret"
	if err := s.Put(foreign); err == nil {
		t.Error("put another domain's")
	}
	if err := s.Destroy(a.Slot(), entry(9, 9).Slot()); !errors.Is(err, ErrUnknown) {
		t.Errorf("destroyed an unknown one: %v", err)
	}
	sealed := string(s.live[a.Slot()])
	if err := s.Destroy(a.Slot(), a.Slot()); err != nil {
		t.Fatal(err)
	}
	for _, name := range disk.Paths() {
		if content, _ := disk.Content(name); strings.Contains(string(content), sealed) {
			t.Errorf("%s still holds the destroyed record", name)
		}
	}
	if err := errors.Join(s.Put(entry(3, 1)), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = check(t, disk, b, a2, entry(3, 1))
	if err := errors.Join(s.Destroy(s.Slots()...), s.Put(a), s.Destroy(a.Slot()), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := check(t, disk).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSafeOfAnotherOwner(t *testing.T) {
	disk := durabletest.NewDisk()
	s := must(Create(disk, path, owner, testKey()))
	if err := errors.Join(s.Put(entry(1, 1)), s.Close()); err != nil {
		t.Fatal(err)
	}
	none := func(e Entry) error { t.Errorf("yields %s", e.Slot()); return nil }
	if _, err := Open(disk, path, Owner{cluster, "secret"}, testKey(), none); !errors.Is(err, durable.ErrForeign) {
		t.Errorf("another domain: %v", err)
	}
	if _, err := Open(disk, path, owner, must(testRoot(8).Key(cluster, owner.Domain)), none); !errors.Is(err, ErrSealed) {
		t.Errorf("another root: %v", err)
	}
	// A log of ours that holds a record of another's, sealed with our key.
	foreign := entry(1, 1)
	foreign.Cluster = action.ClusterID{9}
	log := must(durable.Create(disk, "forged", owner.identity(), []byte{version}, must(SealRecord(testKey(), foreign.Header, foreign.Secret))))
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(disk, "forged", owner, testKey(), none); err == nil {
		t.Error("another cluster's record was taken")
	}
	log = must(durable.Create(disk, "newer", owner.identity(), []byte{version + 1}))
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(disk, "newer", owner, testKey(), none); err == nil {
		t.Error("a newer layout was taken")
	}
	broken := errors.New("no room")
	if _, err := Open(disk, path, owner, testKey(), func(Entry) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("visit's error: %v", err)
	}
}

// Whatever byte of the file changes, no altered secret comes out, and one
// that is lost is not lost in silence.
func TestSafeEveryFlip(t *testing.T) {
	disk := durabletest.NewDisk()
	s := must(Create(disk, path, owner, testKey()))
	a, b, c := entry(1, 1), entry(2, 1), entry(3, 1)
	if err := errors.Join(s.Put(a, b), s.Put(c), s.Close()); err != nil {
		t.Fatal(err)
	}
	want := expect(a, b, c)
	good, _ := disk.Content(path)
	used := len(strings.TrimRight(string(good), "\x00"))
	refused := 0
	for i := range used {
		if good[i] == 0 && i%32 != 0 {
			continue // most of it is padding
		}
		bad := []byte(string(good))
		bad[i] ^= 0x10
		flipped := durabletest.NewDisk()
		flipped.SetContent(path, bad)
		got, s, err := contents(flipped)
		if err != nil {
			refused++
			continue
		}
		for slot, value := range got {
			if want[slot] != value {
				t.Fatalf("byte %d flipped: %s holds %q", i, slot, value)
			}
		}
		if len(got) != len(want) && s.Tail() != durable.TailUncertain {
			t.Fatalf("byte %d flipped: %d of %d records, tail %s", i, len(got), len(want), s.Tail())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Error("no flip was refused: nothing was tested")
	}
}

// A crash at any operation of any kind leaves each batch whole or absent, and
// keeps what was acknowledged.
func TestSafeCrashes(t *testing.T) {
	a, b, c, d := entry(1, 1), entry(2, 1), entry(1, 2), entry(2, 2)
	// states[i] is right after i steps were acknowledged.
	states := []map[Slot]string{expect(), expect(a, b), expect(a, b, c, d), expect(c, d)}
	run := func(disk *durabletest.Disk) (acknowledged int) {
		s, err := Create(disk, path, owner, testKey())
		if err != nil {
			return -1
		}
		for _, step := range []func() error{
			func() error { return s.Put(a, b) },
			func() error { return s.Put(c, d) },
			func() error { return s.Destroy(a.Slot(), b.Slot()) },
		} {
			if step() != nil {
				break
			}
			acknowledged++
		}
		_ = s.Close() // it may be poisoned, as arranged
		return acknowledged
	}
	clean := durabletest.NewDisk()
	if run(clean) != 3 {
		t.Fatal("the run without faults fails")
	}
	for op := range clean.Ops() {
		for _, fault := range durabletest.Faults {
			for _, loss := range durabletest.Losses {
				disk := durabletest.NewDisk()
				disk.Inject(op+1, fault)
				acknowledged := run(disk)
				got, s, err := contents(disk.Crash(loss, rand.New(rand.NewPCG(uint64(op), uint64(fault)))))
				if err != nil {
					if acknowledged < 0 && errors.Is(err, durable.ErrMissing) {
						continue
					}
					t.Fatalf("%s at operation %d, then %s: %v", fault, op, loss, err)
				}
				// The step under way may have happened.
				i := max(acknowledged, 0)
				if !maps.Equal(got, states[i]) && (i == 3 || !maps.Equal(got, states[i+1])) {
					t.Fatalf("%s at operation %d, then %s: after %d steps it holds %v", fault, op, loss, acknowledged, got)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestSafeIsNotOverfilled(t *testing.T) {
	s := must(Create(durabletest.NewDisk(), path, owner, testKey()))
	defer s.Close()
	s.size = maxSize - 10
	if err := s.Put(entry(1, 1)); err == nil || len(s.Slots()) != 0 {
		t.Errorf("put into a full safe: %v", err)
	}
}

func batchOf(n int, epoch uint32) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		e := entry(byte(i), epoch)
		e.Key[1] = byte(i >> 8)
		e.Secret = secret.New(make([]byte, 32))
		entries[i] = e
	}
	return entries
}

func BenchmarkPut1000(b *testing.B) {
	s := must(Create(durable.OS{}, filepath.Join(b.TempDir(), "shares"), owner, testKey()))
	defer s.Close()
	batch := batchOf(1000, 0)
	for epoch := uint32(1); b.Loop(); epoch++ {
		for i := range batch {
			batch[i].Epoch = epoch
		}
		if err := s.Put(batch...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen10000(b *testing.B) {
	file := filepath.Join(b.TempDir(), "shares")
	s := must(Create(durable.OS{}, file, owner, testKey()))
	if err := errors.Join(s.Put(batchOf(10_000, 1)...), s.Close()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := 0
		s, err := Open(durable.OS{}, file, owner, testKey(), func(e Entry) error {
			n++
			e.Secret.Destroy()
			return nil
		})
		if err != nil || n != 10_000 {
			b.Fatal(n, err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
