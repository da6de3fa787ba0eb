package proof

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/quorate/quorate/internal/wire"
)

// PartSetHeader commits to the parts in which a block was gossiped.
type PartSetHeader struct {
	Total uint32
	Hash  []byte
}

// BlockID names a block: by its header's hash and by its parts.
type BlockID struct {
	Hash  []byte
	Parts PartSetHeader
}

// Header is CometBFT's block header, field for field. Hashes have 32 bytes, or
// none where CometBFT leaves them out (the first block's predecessors).
type Header struct {
	BlockVersion       uint64
	AppVersion         uint64
	ChainID            string
	Height             uint64
	Time               time.Time // always UTC
	LastBlockID        BlockID
	LastCommitHash     []byte
	DataHash           []byte
	ValidatorsHash     []byte // of the set that commits this block
	NextValidatorsHash []byte // of the set that commits the next one
	ConsensusHash      []byte
	AppHash            []byte // of the state after the previous block
	LastResultsHash    []byte
	EvidenceHash       []byte
	ProposerAddress    []byte
}

// Hash is the Merkle root of the fourteen protobuf-encoded fields.
func (h *Header) Hash() [32]byte {
	bytesValue := func(b []byte) []byte { return protoBytes(nil, 1, b) }
	return merkleRoot([][]byte{
		protoUint(protoUint(nil, 1, h.BlockVersion), 2, h.AppVersion),
		protoBytes(nil, 1, []byte(h.ChainID)),
		protoUint(nil, 1, h.Height),
		protoTime(h.Time),
		h.LastBlockID.proto(),
		bytesValue(h.LastCommitHash),
		bytesValue(h.DataHash),
		bytesValue(h.ValidatorsHash),
		bytesValue(h.NextValidatorsHash),
		bytesValue(h.ConsensusHash),
		bytesValue(h.AppHash),
		bytesValue(h.LastResultsHash),
		bytesValue(h.EvidenceHash),
		bytesValue(h.ProposerAddress),
	})
}

func (p PartSetHeader) proto() []byte {
	return protoBytes(protoUint(nil, 1, uint64(p.Total)), 2, p.Hash)
}

// proto serves BlockID and CanonicalBlockID, whose encodings agree.
func (id BlockID) proto() []byte {
	return protoMessage(protoBytes(nil, 1, id.Hash), 2, id.Parts.proto())
}

// hashes lists the fields that are a hash or empty, in wire order.
func (h *Header) hashes() [10]*[]byte {
	return [...]*[]byte{
		&h.LastBlockID.Hash, &h.LastBlockID.Parts.Hash,
		&h.LastCommitHash, &h.DataHash, &h.ValidatorsHash, &h.NextValidatorsHash,
		&h.ConsensusHash, &h.AppHash, &h.LastResultsHash, &h.EvidenceHash,
	}
}

var errHeaderShape = errors.New("header field of wrong length or out of range")

// check is the shape of a header, before any question of trust. Fields of
// variable length are bounded here, so that no two headers share an encoding.
func (h *Header) check() error {
	ok := h.ChainID != "" && len(h.ChainID) <= wire.MaxChainID &&
		h.Height >= 1 && h.Height <= math.MaxInt64 && validTime(h.Time) &&
		len(h.ValidatorsHash) == 32 && len(h.NextValidatorsHash) == 32 &&
		len(h.ProposerAddress) == 20
	for _, f := range h.hashes() {
		ok = ok && (len(*f) == 0 || len(*f) == 32)
	}
	if !ok {
		return errHeaderShape
	}
	return nil
}

func (h *Header) encode(e *wire.Encoder) {
	e.U64(h.BlockVersion)
	e.U64(h.AppVersion)
	e.String(h.ChainID)
	e.U64(h.Height)
	encodeTime(e, h.Time)
	e.U32(h.LastBlockID.Parts.Total)
	for _, f := range h.hashes() {
		e.Bytes(*f)
	}
	e.Bytes(h.ProposerAddress)
}

func decodeHeader(d *wire.Decoder) Header {
	h := Header{
		BlockVersion: d.U64(),
		AppVersion:   d.U64(),
		ChainID:      d.String(wire.MaxChainID),
		Height:       d.U64(),
		Time:         decodeTime(d),
	}
	h.LastBlockID.Parts.Total = d.U32()
	for _, f := range h.hashes() {
		*f = d.Bytes(32)
	}
	h.ProposerAddress = d.Bytes(20)
	if d.Err() == nil {
		d.Fail(h.check())
	}
	return h
}

// The years 1 to 9999, in Unix seconds, are what a protobuf timestamp may say.
const (
	minTime = -62135596800
	maxTime = 253402300799
)

func validTime(t time.Time) bool { return t.Unix() >= minTime && t.Unix() <= maxTime }

func encodeTime(e *wire.Encoder, t time.Time) {
	e.U64(uint64(t.Unix()))
	e.U32(uint32(t.Nanosecond()))
}

func decodeTime(d *wire.Decoder) time.Time {
	sec, nsec := int64(d.U64()), d.U32()
	if nsec >= 1e9 || sec < minTime || sec > maxTime {
		d.Fail(fmt.Errorf("time %d.%09d out of range", sec, nsec))
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}
