package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cosmos/iavl"
	"github.com/syndtr/goleveldb/leveldb"

	"github.com/quorate/quorate/internal/wire"
)

// ErrSnapshot is wrapped by every reason to refuse a snapshot's content.
var ErrSnapshot = errors.New("snapshot refused")

var errChunkHash = fmt.Errorf("%w: chunk differs from its hash", ErrSnapshot)

// Check is what a restore asks its caller, who knows what a light client knows
// and what a body means. Everything else comes from strangers.
type Check struct {
	// Head says whether a state with this root and meta stands after the block
	// at height: whether the trusted AppHash follows from them.
	Head func(height uint64, root [32]byte, meta []byte) error
	// Body says whether a body is what its key says. The state in which it
	// may be named is not complete yet.
	Body func(key, value []byte) error
}

// Restore fills an empty store from a snapshot, chunk by chunk. Until Finish
// has succeeded the store stays at height 0, also across a crash.
type Restore struct {
	s     *Store
	m     Snapshot
	check Check
	next  int // chunk

	version  *version
	importer *iavl.Importer
	lastLeaf []byte
	lastBody []byte
	lastNode uint64 // its version; the last of all is the root
	subtrees []subtree
	pairs    leveldb.Batch
	size     int // of pairs
}

// subtree is one that waits for its parent.
type subtree struct {
	first  []byte // its least key
	height uint8
}

// Restore begins to restore m.
func (s *Store) Restore(m Snapshot, check Check) (*Restore, error) {
	s.exec.Lock()
	defer s.exec.Unlock()
	if s.err != nil {
		return nil, fmt.Errorf("restore snapshot %d: %w", m.Height, s.err)
	}
	if s.head.Load().height != 0 || s.height != 0 || s.restoring {
		return nil, fmt.Errorf("restore snapshot %d: store is not empty", m.Height)
	}
	if check.Head == nil || check.Body == nil {
		return nil, fmt.Errorf("restore snapshot %d: no check given", m.Height)
	}
	if err := s.db.Put(areaKey(areaRestore, nil), nil, synced); err != nil {
		return nil, s.fail(fmt.Errorf("restore snapshot %d: %w", m.Height, err))
	}
	s.restoring = true
	return &Restore{s: s, m: m, check: check}, nil
}

// Chunk takes the next chunk. After an error only Abort is left.
func (r *Restore) Chunk(index int, chunk []byte) error {
	if err := r.chunk(index, chunk); err != nil {
		return fmt.Errorf("restore chunk %d of snapshot %d: %w", index, r.m.Height, err)
	}
	return nil
}

func (r *Restore) chunk(index int, chunk []byte) error {
	if index != r.next || index >= len(r.m.Chunks) {
		return fmt.Errorf("%w: chunk %d is next of %d", ErrSnapshot, r.next, len(r.m.Chunks))
	}
	if len(chunk) > maxChunk || chunkHash(chunk) != r.m.Chunks[index] {
		return errChunkHash
	}
	r.next++
	d := wire.NewDecoder(chunk)
	for first := index == 0; d.Len() > 0 && d.Err() == nil; first = false {
		if err := r.record(d, first); err != nil {
			return err
		}
		if r.size >= chunkSize {
			if err := r.flush(); err != nil {
				return err
			}
		}
	}
	if err := d.Finish(); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return nil
}

func (r *Restore) record(d *wire.Decoder, first bool) error {
	kind := d.U8()
	if first != (kind == recordVersion) {
		return fmt.Errorf("%w: version record out of place", ErrSnapshot)
	}
	var err error
	switch kind {
	case recordVersion:
		err = r.begin(d.Bytes(wire.MaxFrame))
	case recordLeaf:
		err = r.leaf(d)
	case recordInner:
		err = r.inner(d)
	case recordBody:
		err = r.body(d)
	default:
		err = fmt.Errorf("record of kind %d", kind)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return nil
}

func (r *Restore) begin(b []byte) error {
	v, err := decodeVersion(b)
	if err != nil {
		return err
	}
	if v.height != r.m.Height || v.tree == 0 || v.tree > v.height {
		return fmt.Errorf("version %d of block %d", v.tree, v.height)
	}
	// The caller's check comes before the importer allocates by the version.
	if err := r.check.Head(v.height, v.root, bytes.Clone(v.meta)); err != nil {
		return err
	}
	r.version = v
	r.importer, err = r.s.tree.Import(int64(v.tree))
	return err
}

var errNodeOrder = errors.New("tree nodes out of order")

// pair reads a key and a value, which in a snapshot is never empty.
func pair(d *wire.Decoder) (key, value []byte, err error) {
	key, value = d.Bytes(wire.MaxPath), d.Bytes(wire.MaxFrame)
	if d.Err() == nil && (len(key) == 0 || len(value) == 0) {
		d.Fail(errWriteSize)
	}
	return key, value, d.Err()
}

func (r *Restore) leaf(d *wire.Decoder) error {
	version := d.U64()
	key, value, err := pair(d)
	if err != nil {
		return err
	}
	if bytes.Compare(key, r.lastLeaf) <= 0 {
		return errNodeOrder
	}
	r.lastLeaf = key
	r.subtrees = append(r.subtrees, subtree{first: key})
	if string(key) != countKey {
		r.put(areaState, key, value)
	}
	return r.add(&iavl.ExportNode{Key: key, Value: value, Version: int64(version)})
}

// inner joins the last two subtrees. The key by which a node sends a search
// left or right is not in its hash, so it is not taken from the snapshot.
func (r *Restore) inner(d *wire.Decoder) error {
	version, height, n := d.U64(), d.U8(), len(r.subtrees)
	if d.Err() != nil {
		return d.Err()
	}
	if n < 2 || height > wire.MaxProofSteps || height <= r.subtrees[n-1].height || height <= r.subtrees[n-2].height {
		return errNodeOrder
	}
	split := r.subtrees[n-1].first
	r.subtrees[n-2].height = height
	r.subtrees = r.subtrees[:n-1]
	return r.add(&iavl.ExportNode{Key: split, Height: int8(height), Version: int64(version)})
}

func (r *Restore) add(n *iavl.ExportNode) error {
	if n.Version < 1 || uint64(n.Version) > r.version.tree {
		return fmt.Errorf("node of version %d", n.Version)
	}
	r.lastNode = uint64(n.Version)
	return r.importer.Add(n)
}

func (r *Restore) body(d *wire.Decoder) error {
	key, value, err := pair(d)
	if err != nil {
		return err
	}
	if bytes.Compare(key, r.lastBody) <= 0 {
		return errNodeOrder
	}
	r.lastBody = key
	if err := r.check.Body(key, value); err != nil {
		return err
	}
	r.put(areaBody, key, value)
	return nil
}

func (r *Restore) put(area byte, key, value []byte) {
	put(&r.pairs, area, key, value)
	r.size += len(key) + len(value)
}

func (r *Restore) flush() error {
	defer func() { r.size = 0; r.pairs.Reset() }()
	return r.s.db.Write(&r.pairs, synced)
}

// Finish checks the whole and makes the store stand at the snapshot's height.
func (r *Restore) Finish() error {
	r.s.exec.Lock()
	defer r.s.exec.Unlock()
	r.s.versions.Lock()
	defer r.s.versions.Unlock()
	if err := r.finish(); err != nil {
		return fmt.Errorf("finish restoring snapshot %d: %w", r.m.Height, err)
	}
	return nil
}

func (r *Restore) finish() error {
	if r.next != len(r.m.Chunks) || r.version == nil {
		return fmt.Errorf("%w: %d of %d chunks", ErrSnapshot, r.next, len(r.m.Chunks))
	}
	if err := r.importer.Commit(); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if root := r.s.tree.Hash(); [32]byte(root) != r.version.root {
		return fmt.Errorf("%w: root %x, want %x", ErrSnapshot, root, r.version.root)
	}
	// The hash vouches for the root's version, and each root is of its own.
	if r.lastNode != r.version.tree {
		return fmt.Errorf("%w: root of version %d, want %d", ErrSnapshot, r.lastNode, r.version.tree)
	}
	put(&r.pairs, areaVersion, heightKey(r.m.Height), r.version.encode())
	put(&r.pairs, areaRestore, nil, nil)
	if err := r.s.db.Write(&r.pairs, synced); err != nil {
		return r.s.fail(err)
	}
	r.s.oldest = r.m.Height
	r.s.head.Store(r.version)
	r.s.restoring = false
	r.s = nil
	return nil
}

// Abort empties the store again. It does nothing after Finish has succeeded.
func (r *Restore) Abort() error {
	if r.s == nil {
		return nil
	}
	s := r.s
	s.exec.Lock()
	defer s.exec.Unlock()
	s.versions.Lock()
	defer s.versions.Unlock()
	r.s, s.restoring = nil, false
	if r.importer != nil {
		r.importer.Close()
	}
	if err := errors.Join(s.wipe(), s.grow(0, 0)); err != nil {
		return s.fail(fmt.Errorf("abort restoring snapshot %d: %w", r.m.Height, err))
	}
	return nil
}
