package store

import (
	"bytes"
	"encoding/binary"

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
	db    *leveldb.DB
	first int64          // IAVL does not see versions before it, see retire
	taken *leveldb.Batch // takes IAVL's writes, where it is not nil
	owed  leveldb.Batch  // joins the next write
}

// save commits the working tree, with the rider.
func (t *trunk) save(tree *iavl.MutableTree, rider *leveldb.Batch) (root []byte, version int64, err error) {
	if err := rider.Replay(&t.owed); err != nil {
		return nil, 0, err
	}
	return tree.SaveVersion()
}

// retire has IAVL remove every version that it sees up to last, and keeps what
// it would have deleted as a record for the day when nobody asks about last
// any more. To find what the next version left behind, IAVL reads whatever the
// two do not share: right after the commit that is all in its cache, and a
// hundred blocks later nothing is. That made a block cost twice as much.
//
// The record joins the next write. Where a crash comes first, it is made again.
func (t *trunk) retire(tree *iavl.MutableTree, last int64) error {
	t.taken = new(leveldb.Batch)
	defer func() { t.taken = nil }()
	if err := tree.DeleteVersionsTo(last); err != nil {
		return err
	}
	t.first = last + 1
	put(&t.owed, areaRetired, heightKey(uint64(last)), t.taken.Dump())
	return nil
}

// retired says whether there is a record of what a version leaves behind.
func (t *trunk) retired(version int64) (bool, error) {
	return t.db.Has(areaKey(areaRetired, heightKey(uint64(version))), nil)
}

// remove adds to b what a retired version leaves behind.
func (t *trunk) remove(version int64, b *leveldb.Batch) error {
	key := areaKey(areaRetired, heightKey(uint64(version)))
	record, err := t.db.Get(key, nil)
	if err != nil {
		return err
	}
	left := new(leveldb.Batch)
	if err := left.Load(record); err != nil {
		return err
	}
	b.Delete(key)
	return left.Replay(b)
}

// write writes b, with what is owed.
func (t *trunk) write(b *leveldb.Batch) error {
	if err := t.owed.Replay(b); err != nil {
		return err
	}
	t.owed.Reset()
	return t.db.Write(b, synced)
}

func (t *trunk) Get(key []byte) ([]byte, error) {
	v, err := t.db.Get(key, nil)
	if err == leveldb.ErrNotFound {
		return nil, nil
	}
	return v, err
}

// Has is how IAVL asks whether a version is there: by the key of its root.
func (t *trunk) Has(key []byte) (bool, error) {
	if first := rootKey(t.first); len(key) == len(first) && key[0] == first[0] && bytes.Compare(key, first) < 0 {
		return false, nil
	}
	return t.db.Has(key, nil)
}

// rootKey is IAVL's: the first node of a version.
func rootKey(version int64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{'s'}, uint64(version)), 0, 0, 0, 1)
}

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
	if b.t.taken != nil {
		return b.Replay(b.t.taken)
	}
	return b.t.write(&b.Batch)
}

func (b *treeBatch) WriteSync() error { return b.Write() }

func (b *treeBatch) Close() error {
	b.Reset()
	return nil
}
