package action

import (
	"fmt"

	"github.com/quorate/quorate/internal/wire"
)

// HistoryImport is a slashing history that a node brings in from elsewhere, as
// the ledger keeps it: the newest of each node. Custody raises watermarks only
// by a document that one of these names, so that whoever makes a cluster sign
// less does so in everybody's sight.
type HistoryImport struct {
	Hash    [32]byte // HashHistory of the EIP-3076 document
	Expires uint64   // milliseconds; later nobody takes the document
}

// HashHistory names an EIP-3076 document by its bytes.
func HashHistory(document []byte) [32]byte { return wire.Hash(wire.TagHistory, document) }

// Encode returns the record's canonical bytes.
func (h HistoryImport) Encode() []byte {
	var e wire.Encoder
	e.U8(recordVersion)
	e.Fixed(h.Hash[:])
	e.U64(h.Expires)
	return e.Out()
}

// ParseHistoryImport reads what Encode returned.
func ParseHistoryImport(b []byte) (h HistoryImport, err error) {
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != recordVersion {
		d.Fail(fmt.Errorf("version %d", v))
	}
	d.Fixed(h.Hash[:])
	h.Expires = d.U64()
	if err := d.Finish(); err != nil {
		return HistoryImport{}, fmt.Errorf("parse history import: %w", err)
	}
	return h, nil
}
