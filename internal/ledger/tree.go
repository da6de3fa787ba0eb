package ledger

import (
	"encoding/binary"

	"github.com/transparency-dev/merkle/compact"
)

// TileHeight is that of a tile of the event log's tree (C2SP tlog-tiles): of
// the inner nodes those at multiples of it are kept, and the others follow.
const TileHeight = 8

// appendLeaf adds an event's commitment to the log, and keeps of the tree what
// proofs and tiles are made from. All of it lies beside the state, and stays
// when the event's body is erased.
func (s *State) appendLeaf(index uint64, leaf [32]byte) {
	s.setBody(leafPath(index), leaf[:])
	s.log.append(leaf, func(id compact.NodeID, hash []byte) {
		if id.Level > 0 && id.Level%TileHeight == 0 {
			s.setBody(nodePath(id.Level, id.Index), hash)
		}
	})
}

// Leaf returns the commitment to entry number i of the audit log.
func (s *State) Leaf(i uint64) (leaf [32]byte, ok bool) {
	ok = copy(leaf[:], s.getBody(leafPath(i))) == len(leaf)
	return leaf, ok
}

// TreeNode returns an inner node of the log's RFC 6962 tree, whose level is a
// multiple of TileHeight, once all leaves below it are there.
func (s *State) TreeNode(level uint, index uint64) (hash [32]byte, ok bool) {
	ok = copy(hash[:], s.getBody(nodePath(level, index))) == len(hash)
	return hash, ok
}

// FirstEvent returns the index of the first event that a transaction caused.
// The others that it caused follow at once.
func (s *State) FirstEvent(request [32]byte) (uint64, bool) {
	raw := s.getBody(requestPath(request))
	if len(raw) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(raw), true
}

func leafPath(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte("leaf/"), i) }

func nodePath(level uint, index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{'t', 'r', 'e', 'e', '/', byte(level)}, index)
}

func requestPath(request [32]byte) []byte { return append([]byte("request/"), request[:]...) }
