package bls

import (
	"crypto/sha256"
	"encoding/binary"

	blst "github.com/supranational/blst/bindings/go"

	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/wire"
)

// dstBeacon separates rounds of a beacon from every signature of Ethereum's
// and from attestations.
var dstBeacon = []byte("QUORATE-V1-BEACON_BLS12381G2_XMD:SHA-256_SSWU_RO_")

// Round is what a beacon signs: one height of one cluster's ledger. A beacon
// key signs nothing else, and no other key signs one (decision 0015). The zero
// value is no round.
type Round struct{ message [32]byte }

// NewRound names the round of a height.
func NewRound(cluster [32]byte, height uint64) Round {
	return Round{wire.Hash(wire.TagBeacon, cluster[:], binary.BigEndian.AppendUint64(nil, height))}
}

// Bytes is the message that is hashed to G2.
func (r Round) Bytes() [32]byte { return r.message }

// SignRound signs a round. A destroyed share yields the zero partial, which
// nothing accepts.
func (s Share) SignRound(r Round) Partial {
	p := multiply(hashMessage(r), s.scalar)
	if isZero(&p) {
		return Partial{}
	}
	return Partial{index: s.index, sig: Signature{point: p}}
}

// Randomness is what a round yields, given its signature in the compressed
// form: nobody can tell it from a random number before the signature is known.
func Randomness(signature []byte) [32]byte { return sha256.Sum256(signature) }

// Message is what a signature is about: an [eth.SigningRoot] or a [Round]. The
// type decides the tag, so that the one never verifies as the other.
type Message interface{ Bytes() [32]byte }

func hashMessage(m Message) *blst.P2 {
	var dst []byte
	switch m.(type) {
	case eth.SigningRoot:
		dst = dstEthereum
	case Round:
		dst = dstBeacon
	default:
		return new(blst.P2) // the identity, under which nothing verifies
	}
	b := m.Bytes()
	return blst.HashToG2(b[:], dst)
}
