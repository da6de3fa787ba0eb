package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cosmos/iavl"
	"github.com/syndtr/goleveldb/leveldb"
	ldberrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quorate/quorate/internal/durable"
)

// ErrDamaged: the database contradicts itself. The node needs a new copy of
// the state from its peers.
var ErrDamaged = errors.New("store damaged")

// cachedNodes bounds IAVL's cache: some 40 MiB, the upper levels of a tree of
// any size and all of a small one.
const cachedNodes = 100_000

// cachedBlocks bounds the database's cache. It has room for the index of every
// table of a million pairs: without, each read of a node reads an index again,
// and a block costs five times as much.
const cachedBlocks = 64 << 20

// options keep the database small in memory. A batch of any size goes through
// the journal, so that there is one way to be durable and not two. Nothing is
// compressed: most of it is hashes, and with a million objects a commit spent
// two fifths of its time on that. A million pairs are some 500 tables.
func options() *opt.Options {
	return &opt.Options{
		BlockCacheCapacity:           cachedBlocks,
		WriteBuffer:                  8 << 20,
		Compression:                  opt.NoCompression,
		OpenFilesCacheCapacity:       500,
		DisableLargeBatchTransaction: true,
		DisableSeeksCompaction:       true,
		Filter:                       filter.NewBloomFilter(10),
		Strict:                       opt.StrictAll,
	}
}

// Open opens the store in c.Dir, or begins one at height 0.
func Open(c Config) (*Store, error) {
	dir := filepath.Join(c.Dir, "state")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	files, err := storage.OpenFile(dir, false)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	s, err := open(disk{files, dir}, c, options())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), files.Close())
	}
	return s, nil
}

// disk makes the name of a new file durable before anything is written to it:
// syncing a file need not sync the directory that names it.
type disk struct {
	storage.Storage
	dir string
}

func (d disk) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := d.Storage.Create(fd)
	if err != nil {
		return nil, err
	}
	if err := (durable.OS{}).SyncDir(d.dir); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func open(files storage.Storage, c Config, o *opt.Options) (*Store, error) {
	s := &Store{dir: c.Dir, keep: uint64(c.Keep), staged: make(map[string][]byte)}
	if c.Keep == 0 {
		s.keep = DefaultKeep
	} else if c.Keep < 2 {
		// What goes with a version is written with the block after the next.
		return nil, fmt.Errorf("keep %d versions: want at least 2", c.Keep)
	}
	if err := removeStillborn(files); err != nil {
		return nil, err
	}
	db, err := leveldb.Open(files, o)
	torn := ldberrors.IsCorrupted(err)
	if torn {
		// A write that a crash cut short looks like damage. Open without what
		// does not read, and see whether the rest is whole.
		lenient := *o
		lenient.Strict = opt.DefaultStrict
		db, err = leveldb.Open(files, &lenient)
	}
	if err != nil {
		return nil, err
	}
	s.db, s.files = db, files
	if err := s.load(torn); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// removeStillborn removes what a crash leaves of a database that was being
// made: a manifest to which nothing points yet, and nothing else.
func removeStillborn(files storage.Storage) error {
	if _, err := files.GetMeta(); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	all, err := files.List(storage.TypeAll)
	if err != nil {
		return err
	}
	for _, fd := range all {
		if fd.Type != storage.TypeManifest {
			return fmt.Errorf("%w: entry point missing beside %s", ErrDamaged, fd)
		}
	}
	for _, fd := range all {
		if err := files.Remove(fd); err != nil {
			return err
		}
	}
	return nil
}

// load brings up what the database holds, and checks that it is one state.
func (s *Store) load(torn bool) error {
	restoring, err := s.db.Has(areaKey(areaRestore, nil), nil)
	if err != nil {
		return err
	}
	if restoring {
		if err := s.wipe(); err != nil {
			return err
		}
	}
	head, oldest, err := s.versionRange()
	if err != nil {
		return err
	}
	var past *version
	if oldest == 0 {
		past = head
	} else if past, err = s.versionAt(oldest); err != nil {
		return err
	}
	if err := s.grow(past.tree, head.tree); err != nil {
		return err
	}
	if got := s.tree.Version(); uint64(got) != head.tree {
		return fmt.Errorf("%w: tree at version %d, want %d at block %d", ErrDamaged, got, head.tree, head.height)
	}
	if root := s.tree.Hash(); [32]byte(root) != head.root {
		return fmt.Errorf("%w: root %x at block %d, want %x", ErrDamaged, root, head.height, head.root)
	}
	s.head.Store(head)
	s.oldest = oldest
	if torn {
		return s.verify()
	}
	return nil
}

// grow loads the tree at its last version. A crash loses what was to be
// written about the version before: that is retired again.
func (s *Store) grow(oldest, last uint64) error {
	first := int64(last)
	s.trunk = &trunk{db: s.db}
	for ; first > int64(max(oldest, 1)); first-- {
		if ok, err := s.trunk.retired(first - 1); err != nil {
			return err
		} else if ok {
			break
		}
	}
	s.trunk.first = first
	s.tree = iavl.NewMutableTree(s.trunk, cachedNodes, true, iavl.NewNopLogger())
	s.past = iavl.NewMutableTree(&trunk{db: s.db}, cachedNodes/4, true, iavl.NewNopLogger())
	if _, err := s.tree.Load(); err != nil {
		return err
	}
	for ; first < int64(last); first++ {
		if err := s.trunk.retire(s.tree, first); err != nil {
			return err
		}
	}
	return nil
}

// versionRange returns the last version, and the height of the first that is
// kept. There may be no gap between them.
func (s *Store) versionRange() (head *version, oldest uint64, err error) {
	head = &version{root: sha256.Sum256(nil)} // IAVL's root of the empty tree
	it := s.db.NewIterator(util.BytesPrefix([]byte{areaVersion}), nil)
	defer it.Release()
	for it.Next() {
		v, err := decodeVersion(it.Value())
		if err != nil {
			return nil, 0, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if oldest != 0 && v.height != head.height+1 || !bytes.Equal(it.Key(), areaKey(areaVersion, heightKey(v.height))) {
			return nil, 0, fmt.Errorf("%w: block %d follows block %d", ErrDamaged, v.height, head.height)
		}
		if oldest == 0 {
			oldest = v.height
		}
		head = v
	}
	return head, oldest, it.Error()
}

// verify walks the whole tree and compares it with the plain pairs. Where a
// commit was lost from the middle, the tree lacks the nodes that still matter
// of it.
func (s *Store) verify() error {
	it := s.db.NewIterator(util.BytesPrefix([]byte{areaState}), nil)
	defer it.Release()
	var bad error
	_, err := s.tree.Iterate(func(key, value []byte) bool {
		if string(key) == countKey {
			return false
		}
		if !it.Next() || !bytes.Equal(it.Key()[1:], key) || !bytes.Equal(it.Value(), value) {
			bad = fmt.Errorf("%w: tree and pairs differ at %q", ErrDamaged, key)
		}
		return bad != nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if bad == nil && it.Next() {
		bad = fmt.Errorf("%w: %q is not in the tree", ErrDamaged, it.Key()[1:])
	}
	return errors.Join(bad, it.Error())
}

// wipe empties the database.
func (s *Store) wipe() error {
	it := s.db.NewIterator(nil, nil)
	defer it.Release()
	b := new(leveldb.Batch)
	marker := areaKey(areaRestore, nil)
	for it.Next() {
		if !bytes.Equal(it.Key(), marker) {
			b.Delete(it.Key())
		}
		if b.Len() == 1000 {
			if err := s.db.Write(b, synced); err != nil {
				return err
			}
			b.Reset()
		}
	}
	b.Delete(marker) // last: a crash before it wipes again
	return errors.Join(it.Error(), s.db.Write(b, synced))
}
