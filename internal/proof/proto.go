package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// The few protobuf constructs that CometBFT hashes or signs. They follow
// proto3: a scalar or bytes field at its zero value is left out, a
// non-nullable message is always there, even when empty.

func protoUint(b []byte, field int, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = append(b, byte(field<<3))
	return binary.AppendUvarint(b, v)
}

func protoFixed64(b []byte, field int, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = append(b, byte(field<<3|1))
	return binary.LittleEndian.AppendUint64(b, v)
}

func protoBytes(b []byte, field int, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protoMessage(b, field, v)
}

func protoMessage(b []byte, field int, m []byte) []byte {
	b = append(b, byte(field<<3|2))
	b = binary.AppendUvarint(b, uint64(len(m)))
	return append(b, m...)
}

// protoTime is google.protobuf.Timestamp.
func protoTime(t time.Time) []byte {
	b := protoUint(nil, 1, uint64(t.Unix()))
	return protoUint(b, 2, uint64(t.Nanosecond()))
}

// merkleRoot is CometBFT's Merkle root, which is RFC 6962's.
func merkleRoot(leaves [][]byte) [32]byte {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	}
	split := 1
	for split*2 < len(leaves) {
		split *= 2
	}
	l, r := merkleRoot(leaves[:split]), merkleRoot(leaves[split:])
	return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
}
