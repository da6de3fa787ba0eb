package store

import (
	corestore "cosmossdk.io/core/store"
	"github.com/cosmos/iavl"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// trunk is the database as IAVL sees it. It makes one atomic, durable write of
// everything that belongs to a commit.
//
// No write goes unsynced, not even one whose loss would do no harm: of two
// unsynced writes a crash can lose the first and keep the second, when the
// database's journal was rotated between them.
type trunk struct {
	db   *leveldb.DB
	hold bool          // keep IAVL's next writes back
	held leveldb.Batch // what was kept back; joins the write after
}

// prune removes the versions up to last, in the next write.
func (t *trunk) prune(tree *iavl.MutableTree, last int64) error {
	t.hold = true
	defer func() { t.hold = false }()
	return tree.DeleteVersionsTo(last)
}

// save commits the working tree, with what was held back and with the rider.
func (t *trunk) save(tree *iavl.MutableTree, rider *leveldb.Batch) (root []byte, version int64, err error) {
	if err := rider.Replay(&t.held); err != nil {
		return nil, 0, err
	}
	return tree.SaveVersion()
}

// write writes b, with what was held back.
func (t *trunk) write(b *leveldb.Batch) error {
	if err := t.held.Replay(b); err != nil {
		return err
	}
	t.held.Reset()
	return t.db.Write(b, synced)
}

func (t *trunk) Get(key []byte) ([]byte, error) {
	v, err := t.db.Get(key, nil)
	if err == leveldb.ErrNotFound {
		return nil, nil
	}
	return v, err
}

func (t *trunk) Has(key []byte) (bool, error) { return t.db.Has(key, nil) }

// Close is the store's to do.
func (t *trunk) Close() error { return nil }

func (t *trunk) Iterator(start, end []byte) (corestore.Iterator, error) {
	it := &treeIterator{Iterator: t.db.NewIterator(&util.Range{Start: start, Limit: end}, nil), start: start, end: end}
	it.step = it.Iterator.Next
	it.First()
	return it, nil
}

func (t *trunk) ReverseIterator(start, end []byte) (corestore.Iterator, error) {
	it := &treeIterator{Iterator: t.db.NewIterator(&util.Range{Start: start, Limit: end}, nil), start: start, end: end}
	it.step = it.Prev
	it.Last()
	return it, nil
}

type treeIterator struct {
	iterator.Iterator
	start, end []byte
	step       func() bool
}

func (it *treeIterator) Domain() (start, end []byte) { return it.start, it.end }
func (it *treeIterator) Next()                       { it.step() }
func (it *treeIterator) Key() []byte                 { return append([]byte(nil), it.Iterator.Key()...) }
func (it *treeIterator) Value() []byte               { return append([]byte(nil), it.Iterator.Value()...) }

func (it *treeIterator) Close() error {
	it.Release()
	return nil
}

func (t *trunk) NewBatch() corestore.Batch { return &treeBatch{t: t} }

// NewBatchWithSize ignores the size: IAVL passes its flush threshold.
func (t *trunk) NewBatchWithSize(int) corestore.Batch { return t.NewBatch() }

type treeBatch struct {
	t *trunk
	leveldb.Batch
}

func (b *treeBatch) Set(key, value []byte) error {
	b.Put(key, value)
	return nil
}

func (b *treeBatch) Delete(key []byte) error {
	b.Batch.Delete(key)
	return nil
}

// GetByteSize is always 0: by it IAVL decides to write a version in several
// pieces, and it must be one.
func (b *treeBatch) GetByteSize() (int, error) { return 0, nil }

func (b *treeBatch) Write() error {
	if b.t.hold {
		return b.Replay(&b.t.held)
	}
	return b.t.write(&b.Batch)
}

func (b *treeBatch) WriteSync() error { return b.Write() }

func (b *treeBatch) Close() error {
	b.Reset()
	return nil
}
