package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/wire"
)

// source is a store of some blocks with a snapshot of several chunks.
func source(t testing.TB) (*model, *Store, Snapshot) {
	t.Helper()
	m := newModel(11)
	s := mustOpen(t, Config{Dir: t.TempDir(), Keep: 5})
	t.Cleanup(func() { s.Close() })
	for range 30 {
		w, b := m.block(t)
		mustCommit(t, s, w, b...)
	}
	for i := range 3 { // bodies that do not fit into one chunk
		b := Write{fmt.Appendf(nil, "large%d", i), bytes.Repeat([]byte{byte(i)}, 700<<10)}
		w, bodies := m.block(t)
		m.bodies[len(m.bodies)-1][string(b.Key)] = b.Value
		mustCommit(t, s, w, append(bodies, b)...)
	}
	snap, err := s.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	if len(snap.Chunks) < 2 {
		t.Fatalf("%d chunks", len(snap.Chunks))
	}
	return m, s, snap
}

// trusting checks a snapshot against what the source itself says.
func trusting(s *Store, m *model) Check {
	return Check{
		Head: func(height uint64, root [32]byte, meta []byte) error {
			if want, _, err := s.At(height); err != nil || root != want || string(meta) != fmt.Sprintf("meta %d", height) {
				return fmt.Errorf("head of %d refused, %w", height, err)
			}
			return nil
		},
		Body: func(key, value []byte) error {
			if !bytes.Equal(m.bodies[s.Height()][string(key)], value) {
				return errors.New("body refused")
			}
			return nil
		},
	}
}

func restore(to *Store, m Snapshot, check Check, chunk func(int) ([]byte, error)) error {
	r, err := to.Restore(m, check)
	if err != nil {
		return err
	}
	for i := range m.Chunks {
		c, err := chunk(i)
		if err == nil {
			err = r.Chunk(i, c)
		}
		if err != nil {
			return errors.Join(err, r.Abort())
		}
	}
	if err := r.Finish(); err != nil {
		return errors.Join(err, r.Abort())
	}
	return r.Abort() // does nothing any more
}

func TestSnapshotRestores(t *testing.T) {
	m, s, snap := source(t)
	parsed, err := ParseSnapshot(snap.Encode())
	if err != nil || parsed.Hash() != snap.Hash() {
		t.Fatalf("manifest changed: %v", err)
	}
	all, err := s.Snapshots()
	if err != nil || len(all) != 1 || all[0].Hash() != snap.Hash() {
		t.Fatalf("snapshots %v, %v", all, err)
	}
	c := Config{Dir: t.TempDir(), Keep: 5}
	to := mustOpen(t, c)
	if err := restore(to, snap, trusting(s, m), func(i int) ([]byte, error) { return s.Chunk(snap.Height, i) }); err != nil {
		t.Fatal(err)
	}
	m.check(t, to)
	// Both go on alike, through pruning and a restart.
	for i := range 40 {
		w, b := m.block(t)
		if mustCommit(t, s, w, b...) != mustCommit(t, to, w, b...) {
			t.Fatal("roots part")
		}
		if i == 20 {
			to.Close()
			to = mustOpen(t, c)
		}
	}
	defer to.Close()
	m.check(t, to)
	checkHistory(t, m, to, 5)
	// Its own snapshot is the same but for the bodies' order of arrival: none.
	a, err1 := s.Snapshot(1)
	b, err2 := to.Snapshot(1)
	if err1 != nil || err2 != nil || a.Hash() != b.Hash() {
		t.Fatalf("snapshots differ: %v %v", err1, err2)
	}
	if _, err := to.Restore(a, trusting(s, m)); err == nil {
		t.Fatal("restored over a state")
	}
}

func TestSnapshotRefused(t *testing.T) {
	m, s, snap := source(t)
	to := mustOpen(t, Config{Dir: t.TempDir(), Keep: 5})
	defer to.Close()
	var chunks [][]byte
	for i := range snap.Chunks {
		c, err := s.Chunk(snap.Height, i)
		if err != nil {
			t.Fatal(err)
		}
		chunks = append(chunks, c)
	}
	// refuse restores chunks whose hashes a stranger's manifest confirms.
	refuse := func(name string, chunks [][]byte, check Check) {
		t.Helper()
		forged := Snapshot{Height: snap.Height}
		for _, c := range chunks {
			forged.Chunks = append(forged.Chunks, chunkHash(c))
		}
		if err := restore(to, forged, check, func(i int) ([]byte, error) { return chunks[i], nil }); err == nil {
			t.Fatalf("%s: restored", name)
		}
		if to.Height() != 0 || len(pairsOf(to.State())) != 0 || len(pairsOf(to.Bodies())) != 0 {
			t.Fatalf("%s: something stayed", name)
		}
	}
	good := trusting(s, m)
	step := max(1, len(chunks[0])/600)
	if testing.Short() {
		step *= 10
	}
	for at := 0; at < min(len(chunks[0]), 20_000); at += step {
		mutant := slices.Clone(chunks[0])
		mutant[at] ^= 1
		refuse(fmt.Sprintf("byte %d", at), append([][]byte{mutant}, chunks[1:]...), good)
	}
	refuse("cut short", append([][]byte{chunks[0][:len(chunks[0])-1]}, chunks[1:]...), good)
	refuse("chunk twice", append([][]byte{chunks[0]}, chunks...), good)
	swapped := slices.Clone(chunks)
	slices.Reverse(swapped)
	refuse("out of order", swapped, good)
	refuse("no version", [][]byte{{}}, good)
	refuse("only the version", [][]byte{chunks[0][:1+4+len(s.head.Load().encode())]}, good)
	noHead := good
	noHead.Head = func(uint64, [32]byte, []byte) error { return errors.New("no") }
	refuse("head not trusted", chunks, noHead)

	r, err := to.Restore(snap, good)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Chunk(0, chunks[1]); !errors.Is(err, ErrSnapshot) {
		t.Fatalf("chunk with another hash: %v", err)
	}
	if _, err := to.Stage(1, nil); err == nil {
		t.Fatal("staged during a restore")
	}
	if err := r.Finish(); !errors.Is(err, ErrSnapshot) {
		t.Fatalf("finished early: %v", err)
	}
	if err := r.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := restore(to, snap, good, func(i int) ([]byte, error) { return chunks[i], nil }); err != nil {
		t.Fatalf("a good snapshot after all the bad ones: %v", err)
	}
	m.check(t, to)
}

func FuzzParseSnapshot(f *testing.F) {
	f.Add(Snapshot{Height: 7, Chunks: [][32]byte{{1}, {2}}}.Encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := ParseSnapshot(in)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("unwrapped error %v", err)
			}
			return
		}
		if !bytes.Equal(m.Encode(), in) {
			t.Fatal("parse then encode changed the manifest")
		}
	})
}

// Whatever a stranger sends, a restore ends in an error and an empty store.
func FuzzRestoreChunk(f *testing.F) {
	m, s, snap := source(f)
	first, err := s.Chunk(snap.Height, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(first[:2000])
	f.Add([]byte{recordLeaf})
	to := mustOpen(f, Config{Dir: f.TempDir(), Keep: 5})
	f.Cleanup(func() { to.Close() })
	f.Fuzz(func(t *testing.T, chunk []byte) {
		forged := Snapshot{Height: snap.Height, Chunks: [][32]byte{chunkHash(chunk)}}
		if err := restore(to, forged, trusting(s, m), func(int) ([]byte, error) { return chunk, nil }); err == nil {
			t.Fatal("restored")
		}
		if to.Height() != 0 || len(pairsOf(to.State())) != 0 {
			t.Fatal("something stayed")
		}
	})
}
