package custody

import (
	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/slashing"
	"github.com/quorate/quorate/internal/wire"
)

func (p *Process) exportSlashing(body []byte) ([]byte, error) {
	keys, err := DecodeKeys(body, MaxHistoryKeys)
	if err != nil {
		return nil, malformed(err)
	}
	ic, err := p.record.Export(keys...)
	if err != nil {
		return nil, rpc.Errorf(rpc.CodeUnknownKey, "%v", err)
	}
	return ic.Encode()
}

// importSlashing raises watermarks by a history from elsewhere. The ledger has
// to have granted the document: who brings in a false one is known, and without one
// nobody who reaches the socket keeps a key from signing.
func (p *Process) importSlashing(body []byte) error {
	d := wire.NewDecoder(body)
	ev := decodeEvidence(d)
	doc := d.Bytes(wire.MaxFrame)
	if err := d.Finish(); err != nil {
		return malformed(err)
	}
	ic, err := slashing.ParseInterchange(doc)
	if err != nil {
		return malformed(err)
	}
	if err := p.grantedExactly(HistoryAction(doc, len(ic.Keys)), ev); err != nil {
		return err
	}
	// History cannot lie ahead of the clock. Without this bound whoever gets
	// to import could burn a key's future.
	b := p.bounds()
	strangers := 0
	for _, k := range ic.Keys {
		if s, _ := p.record.Status(k.Key); !s.Registered {
			strangers++
		}
		if w := k.Watermarks; w.Block.Slot > b.MaxSlot || w.Vote.Target > b.MaxTarget || w.Vote.Source > b.MaxTarget {
			return rpc.Errorf(rpc.CodeOutOfRange, "the history of key 0x%x lies beyond slot %d or epoch %d", k.Key[:8], b.MaxSlot, b.MaxTarget)
		}
	}
	if strangers > 0 && strangers+p.strangers() > maxStrangers {
		return rpc.Errorf(rpc.CodeUnavailable, "histories of more than %d keys that never came", maxStrangers)
	}
	if err := p.record.Import(ic); err != nil {
		return malformed(err)
	}
	return nil
}

// HistoryAction asks that watermarks be raised by a document.
func HistoryAction(doc []byte, keys int) *action.Action {
	return &action.Action{Rule: action.RuleHistory, Domain: action.DomainValidator,
		History: action.History{Hash: action.HashHistory(doc), Keys: uint32(keys)}}
}

// maxStrangers bounds the histories of keys that are not here (yet). They stay
// for ever, and a record that grew without bound could not be opened again.
const maxStrangers = 2 * wire.MaxKeysPerBatch

// strangers counts the keys of which the record knows a history only.
func (p *Process) strangers() (n int) {
	for _, k := range p.record.Keys() {
		if s, _ := p.record.Status(k); !s.Registered {
			n++
		}
	}
	return n
}
