package audit

import (
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/quorate/quorate/internal/ledger"
)

// Log is the event log as the ledger keeps it; *ledger.State is one. What lies
// below a size never changes, but for bodies that are erased.
type Log interface {
	// Event returns nil where the body was erased.
	Event(i uint64) *ledger.Event
	Leaf(i uint64) (leaf [32]byte, ok bool)
	// TreeNode returns inner nodes at multiples of ledger.TileHeight.
	TreeNode(level uint, index uint64) (hash [32]byte, ok bool)
	FirstEvent(request [32]byte) (index uint64, ok bool)
}

// hash returns the root of the perfect subtree above leaves
// [index << level, (index+1) << level).
func hash(log Log, level uint, index uint64) ([]byte, error) {
	if level%ledger.TileHeight != 0 {
		left, err := hash(log, level-1, 2*index)
		if err != nil {
			return nil, err
		}
		right, err := hash(log, level-1, 2*index+1)
		if err != nil {
			return nil, err
		}
		return rfc6962.DefaultHasher.HashChildren(left, right), nil
	}
	if level == 0 {
		leaf, ok := log.Leaf(index)
		if !ok {
			return nil, fmt.Errorf("read audit log: no leaf %d", index)
		}
		return rfc6962.DefaultHasher.HashLeaf(leaf[:]), nil
	}
	node, ok := log.TreeNode(level, index)
	if !ok {
		return nil, fmt.Errorf("read audit log: no node %d of level %d", index, level)
	}
	return node[:], nil
}

func hashes(log Log, ids []compact.NodeID) ([][]byte, error) {
	out := make([][]byte, len(ids))
	for i, id := range ids {
		var err error
		if out[i], err = hash(log, id.Level, id.Index); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Root is the log's root when it had so many entries.
func Root(log Log, size uint64) (root [32]byte, err error) {
	if size == 0 {
		return [32]byte(rfc6962.DefaultHasher.EmptyRoot()), nil
	}
	hs, err := hashes(log, compact.RangeNodes(0, size, nil))
	if err != nil {
		return root, err
	}
	last := hs[len(hs)-1]
	for i := len(hs) - 2; i >= 0; i-- {
		last = rfc6962.DefaultHasher.HashChildren(hs[i], last)
	}
	return [32]byte(last), nil
}

// Inclusion is the RFC 6962 audit path of an entry in the log of a size.
func Inclusion(log Log, index, size uint64) ([][32]byte, error) {
	nodes, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, fmt.Errorf("prove entry %d: %w", index, err)
	}
	return rehash(log, nodes)
}

// Consistency proves that the log of one size is the beginning of that of another.
func Consistency(log Log, from, to uint64) ([][32]byte, error) {
	nodes, err := proof.Consistency(from, to)
	if err != nil {
		return nil, fmt.Errorf("prove growth from %d: %w", from, err)
	}
	return rehash(log, nodes)
}

func rehash(log Log, nodes proof.Nodes) ([][32]byte, error) {
	hs, err := hashes(log, nodes.IDs)
	if err != nil {
		return nil, err
	}
	if hs, err = nodes.Rehash(hs, rfc6962.DefaultHasher.HashChildren); err != nil {
		return nil, err
	}
	out := make([][32]byte, len(hs))
	for i, h := range hs {
		out[i] = [32]byte(h)
	}
	return out, nil
}
