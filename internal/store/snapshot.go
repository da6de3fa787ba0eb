package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cosmos/iavl"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/wire"
)

// Snapshot names one copy of the whole store, in chunks that can be checked
// one by one against it. It is what CometBFT calls a snapshot's metadata.
type Snapshot struct {
	Height uint64
	Chunks [][32]byte // hashes
}

const (
	snapshotFormat = 1
	chunkSize      = 1 << 20 // a chunk is closed when it reaches this
	maxChunks      = 4096
	maxChunk       = chunkSize + wire.MaxFrame + wire.MaxPath + 64
	maxManifest    = 64 + maxChunks*32
)

// Hash identifies the snapshot.
func (m Snapshot) Hash() [32]byte {
	return wire.Hash(wire.TagSnapshot, []byte("manifest"), m.Encode())
}

func chunkHash(chunk []byte) [32]byte {
	return wire.Hash(wire.TagSnapshot, []byte("chunk"), chunk)
}

// Encode writes the manifest.
func (m Snapshot) Encode() []byte {
	var e wire.Encoder
	e.U8(snapshotFormat)
	e.U64(m.Height)
	e.Count(len(m.Chunks))
	for _, c := range m.Chunks {
		e.Fixed(c[:])
	}
	return e.Out()
}

// ParseSnapshot reads a manifest, from anyone.
func ParseSnapshot(b []byte) (Snapshot, error) {
	d := wire.NewDecoder(b)
	if f := d.U8(); f != snapshotFormat {
		d.Fail(fmt.Errorf("snapshot of format %d", f))
	}
	m := Snapshot{Height: d.U64()}
	m.Chunks = make([][32]byte, d.Count(maxChunks, 32))
	for i := range m.Chunks {
		d.Fixed(m.Chunks[i][:])
	}
	if len(m.Chunks) == 0 {
		d.Fail(errors.New("no chunks"))
	}
	if err := d.Finish(); err != nil {
		return Snapshot{}, fmt.Errorf("parse snapshot: %w", err)
	}
	return m, nil
}

// A chunk is a list of whole records. The first record of the first chunk is
// the version, then come the tree's nodes from the left leaf upwards, children
// before parents, then the bodies.
const (
	recordVersion = 1 // version record
	recordLeaf    = 2 // node version, key, value
	recordInner   = 3 // node version, height
	recordBody    = 4 // key, value
)

// Snapshot copies the last commit into files below the store's directory, from
// which Chunk serves it, and removes all but the latest keep snapshots. Blocks
// go on being committed meanwhile. What is erased from the store later stays
// in a snapshot until that is removed.
func (s *Store) Snapshot(keep int) (Snapshot, error) {
	s.versions.RLock()
	defer s.versions.RUnlock()
	pairs, err := s.db.GetSnapshot()
	if err != nil {
		return Snapshot{}, fmt.Errorf("make snapshot: %w", err)
	}
	defer pairs.Release()
	head, err := lastVersion(pairs)
	if err != nil {
		return Snapshot{}, fmt.Errorf("make snapshot: %w", err)
	}
	w := &chunkWriter{dir: s.snapshotDir(head.height), m: Snapshot{Height: head.height}}
	err = errors.Join(os.RemoveAll(w.dir), os.MkdirAll(w.dir, 0o700))
	if err == nil {
		err = s.export(w, head, pairs)
	}
	if err == nil {
		// Last, so that a snapshot with a manifest is whole.
		err = durable.WriteOSFile(filepath.Join(w.dir, "manifest"), w.m.Encode(), 0o600)
	}
	if err != nil {
		return Snapshot{}, errors.Join(fmt.Errorf("snapshot block %d: %w", head.height, err), os.RemoveAll(w.dir))
	}
	return w.m, s.removeSnapshots(keep)
}

// lastVersion reads the last commit out of the database itself, so that it
// goes with the pairs.
func lastVersion(pairs *leveldb.Snapshot) (*version, error) {
	it := pairs.NewIterator(util.BytesPrefix([]byte{areaVersion}), nil)
	defer it.Release()
	if !it.Last() {
		return nil, errors.Join(ErrNotKept, it.Error())
	}
	return decodeVersion(it.Value())
}

func (s *Store) export(w *chunkWriter, head *version, pairs *leveldb.Snapshot) error {
	w.U8(recordVersion)
	w.Bytes(head.encode())
	tree, err := s.past.GetImmutable(int64(head.tree))
	if err != nil {
		return err
	}
	nodes, err := tree.Export()
	if err != nil {
		return err
	}
	defer nodes.Close()
	for {
		n, err := nodes.Next()
		if errors.Is(err, iavl.ErrorExportDone) {
			break
		}
		if err != nil {
			return err
		}
		if n.Height == 0 {
			w.U8(recordLeaf)
			w.U64(uint64(n.Version))
			w.Bytes(n.Key)
			w.Bytes(n.Value)
		} else {
			w.U8(recordInner)
			w.U64(uint64(n.Version))
			w.U8(uint8(n.Height))
		}
		if err := w.endRecord(); err != nil {
			return err
		}
	}
	it := pairs.NewIterator(util.BytesPrefix([]byte{areaBody}), nil)
	defer it.Release()
	for it.Next() {
		w.U8(recordBody)
		w.Bytes(it.Key()[1:])
		w.Bytes(it.Value())
		if err := w.endRecord(); err != nil {
			return err
		}
	}
	return errors.Join(it.Error(), w.endChunk())
}

type chunkWriter struct {
	wire.Encoder
	dir string
	m   Snapshot
}

func (w *chunkWriter) endRecord() error {
	if w.Len() < chunkSize {
		return nil
	}
	return w.endChunk()
}

func (w *chunkWriter) endChunk() error {
	if len(w.m.Chunks) == maxChunks {
		return fmt.Errorf("state over the limit of %d chunks", maxChunks)
	}
	chunk := w.Out()
	w.Encoder = wire.Encoder{}
	path := filepath.Join(w.dir, chunkName(len(w.m.Chunks)))
	w.m.Chunks = append(w.m.Chunks, chunkHash(chunk))
	return os.WriteFile(path, chunk, 0o600)
}

// Snapshots lists the snapshots at hand, oldest first.
func (s *Store) Snapshots() ([]Snapshot, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "snapshots"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var all []Snapshot
	for _, e := range entries { // in the order of names, which is that of heights
		height, err := strconv.ParseUint(e.Name(), 10, 64)
		if err != nil {
			continue
		}
		m, err := s.manifest(height)
		if errors.Is(err, fs.ErrNotExist) {
			continue // cut short
		}
		if err != nil {
			return nil, fmt.Errorf("list snapshots: %w", err)
		}
		all = append(all, m)
	}
	return all, nil
}

func (s *Store) manifest(height uint64) (Snapshot, error) {
	b, err := durable.ReadFile(durable.OS{}, filepath.Join(s.snapshotDir(height), "manifest"), maxManifest)
	if err != nil {
		return Snapshot{}, err
	}
	return ParseSnapshot(b)
}

// Chunk returns one chunk of a snapshot.
func (s *Store) Chunk(height uint64, index int) ([]byte, error) {
	m, err := s.manifest(height)
	if err == nil && (index < 0 || index >= len(m.Chunks)) {
		err = fmt.Errorf("snapshot has %d chunks", len(m.Chunks))
	}
	var chunk []byte
	if err == nil {
		chunk, err = durable.ReadFile(durable.OS{}, filepath.Join(s.snapshotDir(height), chunkName(index)), maxChunk)
	}
	if err == nil && chunkHash(chunk) != m.Chunks[index] {
		err = errChunkHash
	}
	if err != nil {
		return nil, fmt.Errorf("read chunk %d of snapshot %d: %w", index, height, err)
	}
	return chunk, nil
}

func (s *Store) removeSnapshots(keep int) error {
	all, err := s.Snapshots()
	if err != nil {
		return err
	}
	all = slices.Delete(all, max(0, len(all)-max(keep, 1)), len(all))
	for _, m := range all {
		if err := os.RemoveAll(s.snapshotDir(m.Height)); err != nil {
			return fmt.Errorf("remove snapshot %d: %w", m.Height, err)
		}
	}
	return nil
}

func (s *Store) snapshotDir(height uint64) string {
	return filepath.Join(s.dir, "snapshots", fmt.Sprintf("%020d", height))
}

func chunkName(i int) string { return fmt.Sprintf("chunk-%04d", i) }
