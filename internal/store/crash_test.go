//go:build !race

// goleveldb closes a channel on which its compaction may still answer when the
// disk fails; it recovers from that, and the race detector reports it.

package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/syndtr/goleveldb/leveldb/opt"
)

// small makes the database rotate its journal and compact within a few blocks,
// so that a short run crosses all of its ways to write.
func small() *opt.Options {
	o := options()
	o.WriteBuffer = 4 << 10
	o.CompactionTableSize = 4 << 10
	return o
}

const crashBlocks = 25

// run commits blocks on the disk until one fails, and returns the last height
// that was acknowledged.
func run(t *testing.T, m *model, blocks [][2][]Write, d *ram, o *opt.Options) (acked uint64) {
	t.Helper()
	s, err := open(d, Config{Keep: 5}, o)
	if err != nil {
		return 0
	}
	defer s.Close()
	acked = s.Height()
	for s.Height() < crashBlocks {
		h := s.Height() + 1
		if _, err := s.Stage(h, blocks[h][0]); err != nil {
			return acked
		}
		if err := s.Commit(h, []byte("meta"), blocks[h][1]); err != nil {
			if _, again := s.Stage(s.Height()+1, nil); !errors.Is(again, ErrFailed) {
				t.Fatalf("store goes on after %v: %v", err, again)
			}
			return acked
		}
		acked = h
	}
	return acked
}

func crashModel(t *testing.T) (*model, [][2][]Write) {
	m := newModel(7)
	blocks := make([][2][]Write, 1)
	for range crashBlocks {
		w, b := m.block(t)
		blocks = append(blocks, [2][]Write{w, b})
	}
	return m, blocks
}

// TestPowerFailure cuts the power at every operation on the disk. Whatever the
// disk then kept of what was not synced, the store comes back at the last
// acknowledged block or at the one after it, whole, and goes on from there.
func TestPowerFailure(t *testing.T) {
	m, blocks := crashModel(t)
	d := newRAM()
	if got := run(t, m, blocks, d, small()); got != crashBlocks {
		t.Fatalf("undisturbed run ends at %d", got)
	}
	total := d.ops
	t.Logf("%d operations, %d syncs", total, d.syncs)
	step := 1
	if testing.Short() {
		step = 7
	}
	dice := rand.New(rand.NewPCG(1, 1))
	for at := 1; at <= total; at += step {
		d := newRAM()
		d.failAt = at
		acked := run(t, m, blocks, d, small())
		for name, left := range map[string]*ram{
			"nothing unsynced survives": d.afterCrash(func(int) int { return 0 }, nil),
			"all survives":              d.afterCrash(func(n int) int { return n }, nil),
			"a prefix survives":         d.afterCrash(func(n int) int { return dice.IntN(n + 1) }, nil),
			"a garbled prefix survives": d.afterCrash(func(n int) int { return dice.IntN(n + 1) }, dice),
		} {
			s, err := open(left, Config{Keep: 5}, small())
			if err != nil {
				t.Fatalf("power lost at operation %d, %s: %v", at, name, err)
			}
			if h := s.Height(); h != acked && h != acked+1 {
				t.Fatalf("power lost at operation %d, %s: acknowledged %d, came back at %d", at, name, acked, h)
			}
			m.check(t, s)
			m.checkNodes(t, s)
			s.Close()
			if at%10 == 1 {
				if got := run(t, m, blocks, left, small()); got != crashBlocks {
					t.Fatalf("power lost at operation %d, %s: cannot go on past %d", at, name, got)
				}
			}
		}
	}
}

// Without syncing, the same experiment must lose acknowledged blocks: else it
// would prove nothing.
func TestPowerFailureNoticesMissingSync(t *testing.T) {
	m, blocks := crashModel(t)
	o := small()
	o.NoSync = true
	d := newRAM()
	d.failAt = 60
	acked := run(t, m, blocks, d, o)
	s, err := open(d.afterCrash(func(int) int { return 0 }, nil), Config{Keep: 5}, small())
	if err == nil {
		defer s.Close()
		if acked > 0 && s.Height() == acked {
			t.Fatal("nothing was lost without a single sync")
		}
	}
}

// TestDamage flips bytes in the middle of what was synced. The store either
// notices, or comes back at some block whole: never in between.
func TestDamage(t *testing.T) {
	m, blocks := crashModel(t)
	d := newRAM()
	run(t, m, blocks, d, small())
	dice := rand.New(rand.NewPCG(2, 2))
	refused, whole := 0, 0
	for range 150 {
		hurt := d.afterCrash(func(n int) int { return n }, nil)
		for _, f := range hurt.files {
			if len(f.data) > 0 && dice.IntN(3) == 0 {
				f.data[dice.IntN(len(f.data))] ^= byte(1 << dice.IntN(8))
			}
		}
		if damaged(t, m, hurt) {
			refused++
		} else {
			whole++
		}
	}
	t.Logf("%d refused, %d whole", refused, whole)
	if refused == 0 {
		t.Fatal("no damage was noticed")
	}
}

// damaged says whether the store, or the first look at it, refuses.
func damaged(t *testing.T, m *model, d *ram) (refused bool) {
	s, err := open(d, Config{Keep: 5}, small())
	if err != nil {
		return true
	}
	defer s.Close()
	defer func() {
		if r := recover(); r != nil { // a Reader met a block that does not read
			refused = true
		}
	}()
	pairs := pairsOf(s.State())
	if want := m.pairs[s.Height()]; fmt.Sprint(pairs) != fmt.Sprint(want) {
		t.Fatalf("back at block %d with another state", s.Height())
	}
	return false
}

// A crash at any operation of a restore leaves an empty store or a whole one.
func TestRestoreCutShort(t *testing.T) {
	m, s, snap := source(t)
	into := func(d *ram) error {
		to, err := open(d, Config{Keep: 5}, small())
		if err != nil {
			return err
		}
		defer to.Close()
		return restore(to, snap, trusting(s, m), func(i int) ([]byte, error) { return s.Chunk(snap.Height, i) })
	}
	d := newRAM()
	if err := into(d); err != nil {
		t.Fatal(err)
	}
	for at := 1; at < d.ops; at += 3 {
		cut := newRAM()
		cut.failAt = at
		failed := into(cut)
		left := cut.afterCrash(func(n int) int { return n / 2 }, nil)
		to, err := open(left, Config{Keep: 5}, small())
		if err != nil {
			t.Fatalf("cut at operation %d: %v", at, err)
		}
		switch to.Height() {
		case 0:
			if len(pairsOf(to.State())) != 0 || len(pairsOf(to.Bodies())) != 0 {
				t.Fatalf("cut at operation %d: something stayed", at)
			}
		case snap.Height:
			m.check(t, to)
		default:
			t.Fatalf("cut at operation %d: height %d", at, to.Height())
		}
		if failed == nil && to.Height() == 0 {
			t.Fatalf("cut at operation %d: a finished restore was lost", at)
		}
		to.Close()
	}
}
