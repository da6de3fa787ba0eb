package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cosmos/iavl"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quorate/quorate/internal/wire"
)

// Config says where the store lives and how much history it keeps.
type Config struct {
	Dir  string // holds the database and the snapshots; created if missing
	Keep int    // blocks about which Prove can speak, at least two; 0 means DefaultKeep
}

// DefaultKeep outlasts any certificate that a client may still be waiting for.
const DefaultKeep = 100

// Write is one change of a pair; a nil Value deletes.
type Write struct{ Key, Value []byte }

// ErrFailed is wrapped by every error after a write that failed.
var ErrFailed = errors.New("store failed earlier, restart to recover")

// What the database holds besides IAVL's own records, whose keys begin with a
// letter.
const (
	areaState   = 1 // key -> value, as of the last commit
	areaBody    = 2 // key -> body
	areaVersion = 3 // height -> version
	areaRestore = 4 // present while a snapshot is being restored
	areaRetired = 5 // IAVL's version -> what goes with it
)

// version is what is recorded of one block.
type version struct {
	height uint64
	tree   uint64 // IAVL's version, see countKey
	root   [32]byte
	meta   []byte
}

// countKey holds, in the tree only, the number of blocks that had an effect,
// which is IAVL's version. A block without effects leaves root and version
// alone. As each version rewrites this leaf, no node of its path outlives the
// version: no root is ever shared between versions or becomes an inner node of
// a later one, cases in which IAVL's pruning and import are fragile. And the
// root's hash vouches for the version. No path sorts before it.
const countKey = "\x00count"

// Store is the state after some block, and the few before it.
//
// Stage, Discard, Commit and Restore belong to the one goroutine that executes
// blocks. Everything else may be called at any time by anyone, and sees the
// last commit.
type Store struct {
	dir   string
	keep  uint64
	files storage.Storage
	db    *leveldb.DB
	head  atomic.Pointer[version] // last commit; height 0 before the first

	// versions guards the tree's history against removal: Prove and Snapshot
	// hold it for reading, pruning and Restore for writing.
	versions sync.RWMutex
	past     *iavl.MutableTree // to read versions; shares no node with tree, which changes its own

	exec   sync.Mutex // guards what follows; taken before versions
	trunk  *trunk
	tree   *iavl.MutableTree
	staged map[string][]byte // nil value: deleted; not yet committed
	height uint64            // for which it is staged; 0 when no block is open
	root   [32]byte          // with what is staged
	oldest uint64            // first height whose version is kept
	err    error             // of the write that failed

	restoring bool // between Restore and its Finish or Abort
}

// Height is that of the last committed block, 0 before the first.
func (s *Store) Height() uint64 { return s.head.Load().height }

// Root is the tree's root after the last committed block.
func (s *Store) Root() [32]byte { return s.head.Load().root }

// Meta is what the last Commit was given.
func (s *Store) Meta() []byte { return bytes.Clone(s.head.Load().meta) }

// Stage adds writes to the block at height, on top of what is staged for it
// already, and returns the root that its commit will have. Nothing is durable.
// A write that changes nothing is left out, so that it does not move the root.
func (s *Store) Stage(height uint64, writes []Write) ([32]byte, error) {
	s.exec.Lock()
	defer s.exec.Unlock()
	if err := s.begin(height); err != nil {
		return [32]byte{}, fmt.Errorf("stage block %d: %w", height, err)
	}
	for _, w := range writes {
		if err := s.stage(w); err != nil {
			// The tree may hold half of a write: start the block again.
			s.discard()
			return [32]byte{}, fmt.Errorf("stage write to %q for block %d: %w", w.Key, height, err)
		}
	}
	if len(s.staged) > 0 {
		s.root = [32]byte(s.tree.WorkingHash())
	}
	return s.root, nil
}

// begin checks that height is the next one, and opens it.
func (s *Store) begin(height uint64) error {
	head := s.head.Load()
	switch {
	case s.err != nil:
		return s.err
	case s.restoring:
		return errors.New("a snapshot is being restored")
	case height == 0 || head.height != 0 && height != head.height+1:
		return fmt.Errorf("the last block is %d", head.height)
	case s.height == height:
		return nil
	case s.height != 0:
		return fmt.Errorf("block %d is staged", s.height)
	}
	s.height, s.root = height, head.root
	return nil
}

var errWriteSize = errors.New("key or value empty or too long")

func (w Write) check() error {
	if len(w.Key) == 0 || len(w.Key) > wire.MaxPath || len(w.Value) > wire.MaxFrame ||
		w.Value != nil && len(w.Value) == 0 {
		return errWriteSize
	}
	return nil
}

func (s *Store) stage(w Write) error {
	if err := w.check(); err != nil {
		return err
	}
	was, ok := s.staged[string(w.Key)]
	if !ok {
		var err error
		if was, err = s.read(areaState, w.Key); err != nil {
			return err
		}
	}
	if bytes.Equal(was, w.Value) { // values are never empty: nil is absence
		return nil
	}
	key, value := bytes.Clone(w.Key), bytes.Clone(w.Value) // the tree keeps them
	var err error
	if len(s.staged) == 0 {
		_, err = s.tree.Set([]byte(countKey), binary.BigEndian.AppendUint64(nil, s.head.Load().tree+1))
	}
	s.staged[string(key)] = value
	if err == nil && value == nil {
		_, _, err = s.tree.Remove(key)
	} else if err == nil {
		_, err = s.tree.Set(key, value)
	}
	return err
}

// Discard forgets what is staged.
func (s *Store) Discard() {
	s.exec.Lock()
	defer s.exec.Unlock()
	s.discard()
}

func (s *Store) discard() {
	s.tree.Rollback()
	clear(s.staged)
	s.height = 0
}

// Commit makes the block at height durable: what is staged for it, its bodies,
// and meta, which Meta and At return. When it returns nil all of it is on
// disk; after a crash before that, all of it or nothing is.
func (s *Store) Commit(height uint64, meta []byte, bodies []Write) error {
	s.exec.Lock()
	defer s.exec.Unlock()
	if err := s.begin(height); err != nil {
		return fmt.Errorf("commit block %d: %w", height, err)
	}
	rider := new(leveldb.Batch)
	for _, b := range bodies {
		if err := b.check(); err != nil {
			return fmt.Errorf("commit body %q of block %d: %w", b.Key, height, err)
		}
		put(rider, areaBody, b.Key, b.Value)
	}
	for k, v := range s.staged {
		put(rider, areaState, []byte(k), v)
	}
	next := &version{height: height, tree: s.head.Load().tree, root: s.root, meta: bytes.Clone(meta)}
	if len(s.staged) > 0 {
		next.tree++
	}
	put(rider, areaVersion, heightKey(height), next.encode())
	if err := s.commit(next, rider); err != nil {
		return s.fail(fmt.Errorf("commit block %d: %w", height, err))
	}
	clear(s.staged)
	s.height = 0
	if s.oldest == 0 {
		s.oldest = height
	}
	s.head.Store(next)
	return nil
}

// commit writes everything, and removes the versions that are no longer kept.
// It leaves them for a later block while somebody reads history, unless they
// become many.
func (s *Store) commit(next *version, rider *leveldb.Batch) error {
	if backlog := int64(s.head.Load().height) - int64(s.oldest+s.keep); s.oldest != 0 && backlog >= 0 {
		locked := s.versions.TryLock()
		if !locked && backlog >= int64(s.keep) {
			s.versions.Lock()
			locked = true
		}
		if locked {
			defer s.versions.Unlock()
			if err := s.prune(s.head.Load().height-s.keep+1, rider); err != nil {
				return err
			}
		}
	}
	if len(s.staged) == 0 {
		return s.trunk.write(rider)
	}
	root, tree, err := s.trunk.save(s.tree, rider)
	if err != nil {
		return err
	}
	if uint64(tree) != next.tree || [32]byte(root) != next.root {
		return fmt.Errorf("tree at version %d with root %x, want %d and %x", tree, root, next.tree, next.root)
	}
	if tree == 1 {
		return nil
	}
	return s.trunk.retire(s.tree, tree-1)
}

// prune makes oldest the oldest version, with the next write.
func (s *Store) prune(oldest uint64, rider *leveldb.Batch) error {
	first, err := s.versionAt(s.oldest)
	if err != nil {
		return fmt.Errorf("prune block %d: %w", s.oldest, err)
	}
	last, err := s.versionAt(oldest)
	if err != nil {
		return fmt.Errorf("prune before block %d: %w", oldest, err)
	}
	for ; s.oldest < oldest; s.oldest++ {
		put(rider, areaVersion, heightKey(s.oldest), nil)
	}
	for v := max(first.tree, 1); v < last.tree; v++ {
		if err := s.trunk.remove(int64(v), rider); err != nil {
			return fmt.Errorf("prune version %d: %w", v, err)
		}
	}
	return nil
}

// Compact throws away what was erased of the bodies that can be. Until then
// the database only says that it is gone.
func (s *Store) Compact() error {
	for _, prefix := range erasable {
		if err := s.db.CompactRange(*util.BytesPrefix(areaKey(areaBody, []byte(prefix)))); err != nil {
			return fmt.Errorf("compact store: %w", err)
		}
	}
	return nil
}

// erasable is how the keys of bodies begin that the ledger erases.
var erasable = []string{"event/", "tx/", "ask/"}

// fail makes err the answer to everything from now on.
func (s *Store) fail(err error) error {
	s.err = fmt.Errorf("%w: %w", ErrFailed, err)
	return err
}

// Close releases the database. Readers must have finished.
func (s *Store) Close() error {
	s.exec.Lock()
	defer s.exec.Unlock()
	s.err = errors.New("store is closed")
	return errors.Join(s.db.Close(), s.files.Close())
}

// read returns nil for a key that is not there.
func (s *Store) read(area byte, key []byte) ([]byte, error) {
	v, err := s.db.Get(areaKey(area, key), nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, nil
	}
	return v, err
}

func put(b *leveldb.Batch, area byte, key, value []byte) {
	if value == nil {
		b.Delete(areaKey(area, key))
	} else {
		b.Put(areaKey(area, key), value)
	}
}

func areaKey(area byte, key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), area), key...)
}

func heightKey(h uint64) []byte { return binary.BigEndian.AppendUint64(nil, h) }

const versionFormat = 1

func (v *version) encode() []byte {
	var e wire.Encoder
	e.U8(versionFormat)
	e.U64(v.height)
	e.U64(v.tree)
	e.Fixed(v.root[:])
	e.Bytes(v.meta)
	return e.Out()
}

func decodeVersion(b []byte) (*version, error) {
	d := wire.NewDecoder(b)
	if f := d.U8(); f != versionFormat {
		d.Fail(fmt.Errorf("version record of format %d", f))
	}
	v := &version{height: d.U64(), tree: d.U64()}
	d.Fixed(v.root[:])
	v.meta = d.Bytes(wire.MaxFrame)
	return v, d.Finish()
}

var synced = &opt.WriteOptions{Sync: true}
