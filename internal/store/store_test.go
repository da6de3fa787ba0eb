package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cosmos/iavl"
	dbm "github.com/cosmos/iavl/db"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quorate/quorate/internal/proof"
)

func mustOpen(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustCommit(t testing.TB, s *Store, writes []Write, bodies ...Write) [32]byte {
	t.Helper()
	h := s.Height() + 1
	root, err := s.Stage(h, writes)
	if err == nil {
		err = s.Commit(h, fmt.Appendf(nil, "meta %d", h), bodies)
	}
	if err != nil {
		t.Fatal(err)
	}
	if s.Root() != root || s.Height() != h {
		t.Fatalf("after commit of %d: height %d, root %x, want %x", h, s.Height(), s.Root(), root)
	}
	return root
}

// model is the naive oracle: maps, and a tree that never forgets.
type model struct {
	pairs, bodies []map[string][]byte // by height
	nodes         *dbm.MemDB          // of tree
	tree          *iavl.MutableTree
	version       []int64 // of the tree, by height
	dice          *rand.Rand
}

func newModel(seed uint64) *model {
	none, nodes := map[string][]byte{}, dbm.NewMemDB()
	return &model{
		pairs: []map[string][]byte{none}, bodies: []map[string][]byte{none},
		version: []int64{0},
		nodes:   nodes,
		tree:    iavl.NewMutableTree(nodes, 100, true, iavl.NewNopLogger()),
		dice:    rand.New(rand.NewPCG(seed, seed)),
	}
}

// block makes the next block's writes and applies them to the model.
func (m *model) block(t testing.TB) (writes, bodies []Write) {
	t.Helper()
	pairs, stored := maps.Clone(m.pairs[len(m.pairs)-1]), maps.Clone(m.bodies[len(m.bodies)-1])
	moved := false
	for range []int{0, 0, 1, 3, 20}[m.dice.IntN(5)] {
		w := Write{Key: fmt.Appendf(nil, "k%d", m.dice.IntN(60))}
		switch m.dice.IntN(4) {
		case 0: // delete, what may not be there
		case 1: // what stands there already
			w.Value = pairs[string(w.Key)]
		default:
			w.Value = fmt.Appendf(nil, "v%d", m.dice.IntN(1000))
		}
		writes = append(writes, w)
		if bytes.Equal(pairs[string(w.Key)], w.Value) {
			continue
		}
		_, err := m.tree.Set([]byte(countKey), binary.BigEndian.AppendUint64(nil, uint64(m.tree.Version()+1)))
		if err != nil {
			t.Fatal(err)
		}
		moved = true
		if w.Value == nil {
			delete(pairs, string(w.Key))
			_, _, err = m.tree.Remove(w.Key)
		} else {
			pairs[string(w.Key)] = w.Value
			_, err = m.tree.Set(w.Key, w.Value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for range m.dice.IntN(3) {
		b := Write{Key: fmt.Appendf(nil, "b%d", m.dice.IntN(10))}
		if m.dice.IntN(3) > 0 {
			b.Value = bytes.Repeat([]byte{byte(m.dice.IntN(256))}, 1+m.dice.IntN(3000))
			stored[string(b.Key)] = b.Value
		} else {
			delete(stored, string(b.Key))
		}
		bodies = append(bodies, b)
	}
	if moved {
		if _, _, err := m.tree.SaveVersion(); err != nil {
			t.Fatal(err)
		}
	}
	m.version = append(m.version, m.tree.Version())
	m.pairs, m.bodies = append(m.pairs, pairs), append(m.bodies, stored)
	return writes, bodies
}

func (m *model) root(t testing.TB, height uint64) [32]byte {
	t.Helper()
	if m.version[height] == 0 {
		return sha256.Sum256(nil)
	}
	tree, err := m.tree.GetImmutable(m.version[height])
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(tree.Hash())
}

func pairsOf(r Reader) map[string][]byte {
	got := map[string][]byte{}
	r.Iterate(nil, nil, func(k, v []byte) bool {
		got[string(k)] = v
		return true
	})
	return got
}

// check compares a store with the model at the store's height.
func (m *model) check(t testing.TB, s *Store) {
	t.Helper()
	h := s.Height()
	if got, want := s.Root(), m.root(t, h); got != want {
		t.Fatalf("root at %d: %x want %x", h, got, want)
	}
	if !maps.EqualFunc(pairsOf(s.State()), m.pairs[h], bytes.Equal) {
		t.Fatalf("state at %d differs", h)
	}
	if !maps.EqualFunc(pairsOf(s.Bodies()), m.bodies[h], bytes.Equal) {
		t.Fatalf("bodies at %d differ", h)
	}
	if err := s.verify(); err != nil {
		t.Fatal(err)
	}
}

// checkNodes: of the tree's nodes the store holds what IAVL itself would hold,
// had it removed the versions before the block that is kept longest.
func (m *model) checkNodes(t testing.TB, s *Store) {
	t.Helper()
	want, v := dbm.NewMemDB(), m.version[s.Height()]
	if v == 0 {
		return
	}
	all, err := m.nodes.Iterator(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for ; all.Valid(); all.Next() {
		if err := want.Set(all.Key(), all.Value()); err != nil {
			t.Fatal(err)
		}
	}
	tree := iavl.NewMutableTree(want, 100, true, iavl.NewNopLogger())
	if err := tree.LoadVersionForOverwriting(v); err != nil {
		t.Fatal(err)
	}
	if v := m.version[s.oldest]; v > 1 {
		if err := tree.DeleteVersionsTo(v - 1); err != nil {
			t.Fatal(err)
		}
	}
	it := s.db.NewIterator(util.BytesPrefix([]byte{'s'}), nil)
	defer it.Release()
	expected, err := want.Iterator([]byte{'s'}, []byte{'t'})
	if err != nil {
		t.Fatal(err)
	}
	for it.Next() {
		if !expected.Valid() || !bytes.Equal(it.Key(), expected.Key()) || !bytes.Equal(it.Value(), expected.Value()) {
			t.Fatalf("after block %d, with history from %d: node %x left", s.Height(), s.oldest, it.Key())
		}
		expected.Next()
	}
	if expected.Valid() {
		t.Fatalf("after block %d, with history from %d: node %x is missing", s.Height(), s.oldest, expected.Key())
	}
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(4) {
		m := newModel(seed)
		c := Config{Dir: t.TempDir(), Keep: 5}
		s := mustOpen(t, c)
		for h := uint64(1); h <= 150; h++ {
			writes, bodies := m.block(t)
			cut := m.dice.IntN(len(writes) + 1) // staging in two parts makes no difference
			if m.dice.IntN(8) == 0 {            // nor does a block that was given up
				if _, err := s.Stage(h, []Write{{[]byte("stray"), []byte("x")}}); err != nil {
					t.Fatal(err)
				}
				s.Discard()
			}
			if _, err := s.Stage(h, writes[:cut]); err != nil {
				t.Fatal(err)
			}
			root, err := s.Stage(h, writes[cut:])
			if err != nil || root != m.root(t, h) {
				t.Fatalf("staged root %x want %x, %v", root, m.root(t, h), err)
			}
			if err := s.Commit(h, fmt.Appendf(nil, "meta %d", h), bodies); err != nil {
				t.Fatal(err)
			}
			if h%3 == 0 {
				m.check(t, s)
				m.checkNodes(t, s)
			}
			if m.dice.IntN(20) == 0 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = mustOpen(t, c)
				m.check(t, s)
			}
			checkHistory(t, m, s, c.Keep)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkHistory proves something at every height that must be kept.
func checkHistory(t *testing.T, m *model, s *Store, keep int) {
	t.Helper()
	head := s.Height()
	for h := head; h > 0 && h+uint64(keep) > head; h-- {
		root, meta, err := s.At(h)
		if err != nil || root != m.root(t, h) || string(meta) != fmt.Sprintf("meta %d", h) {
			t.Fatalf("block %d at %d: root %x meta %q %v", h, head, root, meta, err)
		}
		if m.version[h] == 0 {
			continue // nothing to prove with
		}
		key := fmt.Sprintf("k%d", m.dice.IntN(60))
		claims, err := s.Prove(h, proof.Path(key), "a", proof.Path(key), "z")
		if err != nil || len(claims) != 3 {
			t.Fatalf("prove at %d: %d claims, %v", h, len(claims), err)
		}
		for i := range claims {
			if err := claims[i].Verify(root); err != nil {
				t.Fatal(err)
			}
			if want := m.pairs[h][string(claims[i].Key)]; !bytes.Equal(claims[i].Value, want) || (claims[i].Absence != nil) != (want == nil) {
				t.Fatalf("%q at %d: %q want %q", claims[i].Key, h, claims[i].Value, want)
			}
		}
	}
	for _, h := range []uint64{head + 1, head - min(head, uint64(keep)+1)} {
		if _, err := s.Prove(h, "k1"); !errors.Is(err, ErrNotKept) {
			t.Fatalf("prove at %d of %d: %v", h, head, err)
		}
	}
}

func TestBlockWithoutEffectKeepsRoot(t *testing.T) {
	s := mustOpen(t, Config{Dir: t.TempDir(), Keep: 3})
	defer s.Close()
	root := mustCommit(t, s, []Write{{[]byte("a"), []byte("1")}, {[]byte("b"), []byte("2")}})
	for range 10 { // beyond what is kept, so that the block with the change is pruned
		for _, writes := range [][]Write{
			nil,
			{{[]byte("a"), []byte("1")}},
			{{[]byte("c"), nil}},
		} {
			if got := mustCommit(t, s, writes, Write{[]byte("body"), []byte("x")}); got != root {
				t.Fatalf("root moved at %d", s.Height())
			}
		}
	}
	if got := mustCommit(t, s, []Write{{[]byte("a"), []byte("2")}}); got == root {
		t.Fatal("root did not move")
	}
}

func TestRefused(t *testing.T) {
	s := mustOpen(t, Config{Dir: t.TempDir()})
	defer s.Close()
	mustCommit(t, s, []Write{{[]byte("a"), []byte("1")}})
	for _, w := range []Write{{nil, []byte("x")}, {[]byte("k"), []byte{}}, {make([]byte, 513), []byte("x")}} {
		if _, err := s.Stage(2, []Write{{[]byte("kept out"), []byte("x")}, w}); err == nil {
			t.Errorf("write of %d and %d bytes accepted", len(w.Key), len(w.Value))
		}
	}
	for _, h := range []uint64{0, 1, 3} {
		if _, err := s.Stage(h, nil); err == nil {
			t.Errorf("block %d after 1 accepted", h)
		}
		if err := s.Commit(h, nil, nil); err == nil {
			t.Errorf("commit of %d after 1 accepted", h)
		}
	}
	root := mustCommit(t, s, nil)
	if s.State().Get([]byte("kept out")) != nil {
		t.Fatal("a refused block left something")
	}
	if got, _, err := s.At(1); err != nil || got != root {
		t.Fatal("a refused block moved the root")
	}
	if _, err := Open(Config{Dir: t.TempDir(), Keep: 1}); err == nil {
		t.Error("negative keep accepted")
	}
}

func TestFirstHeightMayBeAny(t *testing.T) {
	c := Config{Dir: t.TempDir()}
	s := mustOpen(t, c)
	staged, err := s.Stage(1000, []Write{{[]byte("a"), []byte("1")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(1000, nil, nil); err != nil || s.Root() != staged {
		t.Fatal(err)
	}
	mustCommit(t, s, []Write{{[]byte("b"), []byte("1")}})
	s.Close()
	s = mustOpen(t, c)
	defer s.Close()
	if s.Height() != 1001 {
		t.Fatal(s.Height())
	}
}

func TestOneStoreAtATime(t *testing.T) {
	c := Config{Dir: t.TempDir()}
	s := mustOpen(t, c)
	defer s.Close()
	if _, err := Open(c); err == nil {
		t.Fatal("opened twice")
	}
}

// Readers, provers and a snapshot go on while blocks are committed and pruned.
func TestReadsWhileCommitting(t *testing.T) {
	s := mustOpen(t, Config{Dir: t.TempDir(), Keep: 4})
	defer s.Close()
	var writes []Write
	for i := range 200 {
		writes = append(writes, Write{fmt.Appendf(nil, "k%03d", i), []byte("0")})
	}
	mustCommit(t, s, writes)
	done := make(chan struct{})
	var wg sync.WaitGroup
	read := func(f func()) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-done:
					return
				default:
					f()
				}
			}
		}()
	}
	read(func() { // one commit as a whole: all values are equal
		var first []byte
		s.State().Iterate([]byte("k"), nil, func(_, v []byte) bool {
			if first == nil {
				first = v
			} else if !bytes.Equal(first, v) {
				t.Errorf("mixed commits: %q and %q", first, v)
				return false
			}
			return true
		})
	})
	for range 2 {
		read(func() {
			h := s.Height()
			claims, err := s.Prove(h, "k007", "k1000")
			if errors.Is(err, ErrNotKept) {
				return // pruned since
			}
			if err != nil {
				t.Error(err)
				return
			}
			if root, _, err := s.At(h); err == nil {
				if err := errors.Join(claims[0].Verify(root), claims[1].Verify(root)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	read(func() {
		if _, err := s.Snapshot(2); err != nil {
			t.Error(err)
		}
	})
	for i := range 60 {
		for j := range writes {
			writes[j].Value = fmt.Appendf(nil, "%d", i+1)
		}
		mustCommit(t, s, slices.Clone(writes))
	}
	close(done)
	wg.Wait()
}

func fill(b *testing.B, s *Store, keys int) {
	for i := 0; i < keys; i += 5000 {
		var writes []Write
		for j := i; j < min(i+5000, keys); j++ {
			h := sha256.Sum256(fmt.Append(nil, j))
			writes = append(writes, Write{fmt.Appendf(nil, "root/key/%x", h), bytes.Repeat([]byte{1}, 150)})
		}
		mustCommit(b, s, writes)
	}
}

func BenchmarkCommit(b *testing.B) {
	s := mustOpen(b, Config{Dir: b.TempDir()})
	defer s.Close()
	const keys = 50_000
	fill(b, s, keys)
	dice := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, 50, 1000} {
		b.Run(fmt.Sprintf("writes=%d", n), func(b *testing.B) {
			for b.Loop() {
				var writes []Write
				for range n {
					h := sha256.Sum256(fmt.Append(nil, dice.IntN(keys)))
					v := make([]byte, 150)
					v[0], v[1], v[2] = byte(dice.Uint32()), byte(dice.Uint32()), 1
					writes = append(writes, Write{fmt.Appendf(nil, "root/key/%x", h), v})
				}
				mustCommit(b, s, writes)
			}
		})
	}
	b.Run("prove", func(b *testing.B) {
		for b.Loop() {
			h := sha256.Sum256(fmt.Append(nil, dice.IntN(keys)))
			if _, err := s.Prove(s.Height(), proof.Path(fmt.Sprintf("root/key/%x", h)), "root/key/7"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
