package action

import (
	"crypto/ed25519"

	"github.com/quorate/quorate/internal/wire"
)

// Anchor is how far a custody process's slashing record has come. The process
// states it under its incarnation's key when it registers and with each lease,
// so that the ledger holds one of every epoch, and a record that comes back
// shorter shows.
type Anchor struct {
	Sequence   uint64   // entries of the record
	Chain      [32]byte // hash chain over all of them
	Watermarks [32]byte // digest of what every key signed at most
}

// Behind reports whether a record at a cannot be a continuation of one at o.
func (a Anchor) Behind(o Anchor) bool {
	return a.Sequence < o.Sequence || a.Sequence == o.Sequence && a.Chain != o.Chain
}

func (a Anchor) encode(e *wire.Encoder) {
	e.U64(a.Sequence)
	e.Fixed(a.Chain[:])
	e.Fixed(a.Watermarks[:])
}

func decodeAnchor(d *wire.Decoder) (a Anchor) {
	a.Sequence = d.U64()
	d.Fixed(a.Chain[:])
	d.Fixed(a.Watermarks[:])
	return a
}

// SignedAnchor is an anchor as the custody process hands it out.
type SignedAnchor struct {
	Anchor
	Signature [ed25519.SignatureSize]byte // by the key whose public half is the incarnation's id
}

// Message is what an incarnation signs of an anchor.
func (a Anchor) Message(cluster ClusterID, domain Domain) []byte {
	var e wire.Encoder
	a.encode(&e)
	h := wire.Hash(wire.TagAnchor, cluster[:], []byte(domain), e.Out())
	return h[:]
}

// Verify reports whether the incarnation id stated the anchor.
func (a SignedAnchor) Verify(cluster ClusterID, domain Domain, id [32]byte) bool {
	return ed25519.Verify(id[:], a.Message(cluster, domain), a.Signature[:])
}

// EncodeTo appends the anchor and its signature.
func (a SignedAnchor) EncodeTo(e *wire.Encoder) {
	a.encode(e)
	e.Fixed(a.Signature[:])
}

// DecodeSignedAnchor reads what EncodeTo wrote.
func DecodeSignedAnchor(d *wire.Decoder) (a SignedAnchor) {
	a.Anchor = decodeAnchor(d)
	d.Fixed(a.Signature[:])
	return a
}

// Anchored is an anchor on the ledger, with the epoch in which it took it.
type Anchored struct {
	Anchor
	Epoch uint64
}

func (a Anchored) encode(e *wire.Encoder) {
	a.Anchor.encode(e)
	e.U64(a.Epoch)
}

func decodeAnchored(d *wire.Decoder) Anchored {
	return Anchored{decodeAnchor(d), d.U64()}
}
