package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/cosmos/iavl"
	ics23 "github.com/cosmos/ics23/go"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quorate/quorate/internal/proof"
)

// ErrNotKept: the store has no version of that height, or no more.
var ErrNotKept = errors.New("version not kept")

// Reader reads the pairs of one kind as of the last commit. Each call sees one
// commit as a whole. A database that cannot be read is no state to go on with,
// so it panics.
type Reader struct {
	s    *Store
	area byte
}

// State reads the authenticated state.
func (s *Store) State() Reader { return Reader{s, areaState} }

// Bodies reads the bodies.
func (s *Store) Bodies() Reader { return Reader{s, areaBody} }

// Get returns the value of a key, nil when there is none.
func (r Reader) Get(key []byte) []byte {
	v, err := r.s.read(r.area, key)
	if err != nil {
		panic(fmt.Errorf("read ledger state: %w", err))
	}
	return v
}

// Iterate visits the pairs whose keys begin with prefix and are not below
// from, in order, until visit returns false.
func (r Reader) Iterate(prefix, from []byte, visit func(key, value []byte) bool) {
	span := util.BytesPrefix(areaKey(r.area, prefix))
	if first := areaKey(r.area, from); bytes.Compare(first, span.Start) > 0 {
		span.Start = first
	}
	it := r.s.db.NewIterator(span, nil)
	defer it.Release()
	for it.Next() {
		if !visit(bytes.Clone(it.Key()[1:]), bytes.Clone(it.Value())) {
			return
		}
	}
	if err := it.Error(); err != nil {
		panic(fmt.Errorf("iterate ledger state: %w", err))
	}
}

// At returns root and meta of a block that is still kept.
func (s *Store) At(height uint64) (root [32]byte, meta []byte, err error) {
	v, err := s.versionAt(height)
	if err != nil {
		return root, nil, fmt.Errorf("read block %d: %w", height, err)
	}
	return v.root, v.meta, nil
}

func (s *Store) versionAt(height uint64) (*version, error) {
	b, err := s.read(areaVersion, heightKey(height))
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, ErrNotKept
	}
	return decodeVersion(b)
}

// Prove returns what a certificate needs about each path in the state after
// the block at height, in order and without repeats.
func (s *Store) Prove(height uint64, paths ...proof.Path) ([]proof.Claim, error) {
	s.versions.RLock()
	defer s.versions.RUnlock()
	claims, err := s.prove(height, paths)
	if err != nil {
		return nil, fmt.Errorf("prove state after block %d: %w", height, err)
	}
	return claims, nil
}

func (s *Store) prove(height uint64, paths []proof.Path) ([]proof.Claim, error) {
	v, err := s.versionAt(height)
	if err != nil {
		return nil, err
	}
	tree, err := s.past.GetImmutable(int64(v.tree))
	if err != nil {
		return nil, err
	}
	var claims []proof.Claim
	for _, p := range slices.Compact(slices.Sorted(slices.Values(paths))) {
		c, err := claim(tree, []byte(p))
		if err != nil {
			return nil, fmt.Errorf("prove %q: %w", p, err)
		}
		claims = append(claims, c)
	}
	return claims, nil
}

func claim(tree *iavl.ImmutableTree, key []byte) (proof.Claim, error) {
	p, err := tree.GetProof(key)
	if err != nil {
		return proof.Claim{}, err
	}
	if e := p.GetExist(); e != nil {
		g, err := edge(e)
		if err != nil {
			return proof.Claim{}, err
		}
		return proof.Claim{Key: key, Value: e.Value, Inclusion: &proof.Inclusion{Version: g.Version, Path: g.Path}}, nil
	}
	left, err := edge(p.GetNonexist().GetLeft())
	if err != nil {
		return proof.Claim{}, err
	}
	right, err := edge(p.GetNonexist().GetRight())
	if err != nil {
		return proof.Claim{}, err
	}
	a, err := proof.NewAbsence(left, right)
	return proof.Claim{Key: key, Absence: a}, err
}

// edge converts IAVL's own form of a proof, nil to nil.
func edge(e *ics23.ExistenceProof) (*proof.Edge, error) {
	if e == nil {
		return nil, nil
	}
	version, err := proof.ParseLeafOp(e.Leaf.Prefix)
	if err != nil {
		return nil, err
	}
	g := &proof.Edge{
		Leaf: proof.Leaf{Key: e.Key, ValueHash: sha256.Sum256(e.Value), Version: version},
		Path: make([]proof.Step, len(e.Path)),
	}
	for i, op := range e.Path {
		if g.Path[i], err = proof.ParseInnerOp(op.Prefix, op.Suffix); err != nil {
			return nil, err
		}
	}
	return g, nil
}
