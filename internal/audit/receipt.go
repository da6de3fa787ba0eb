package audit

import (
	"errors"
	"fmt"

	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// ErrNoReceipt: the ledger recorded no event of the transaction, or has
// erased it.
var ErrNoReceipt = errors.New("no event of this transaction")

// Receipt proves what a transaction did: its events, that they are in the
// log, and that the ledger committed to that log.
type Receipt struct {
	Cluster     action.ClusterID
	Transaction [32]byte
	Raw         []byte // empty when it is no longer at hand
	Events      []ReceiptEvent
	Certificate []byte
}

// ReceiptEvent is one event with its way to the root.
type ReceiptEvent struct {
	Index uint64
	Event *ledger.Event
	Path  [][32]byte
}

// NewReceipt collects what a log holds of a transaction.
func NewReceipt(log Log, cluster action.ClusterID, tx [32]byte, cert *proof.Certificate) (*Receipt, error) {
	first, ok := log.FirstEvent(tx)
	if !ok {
		return nil, ErrNoReceipt
	}
	raw, err := cert.Encode()
	if err != nil {
		return nil, err
	}
	r := &Receipt{Cluster: cluster, Transaction: tx, Certificate: raw}
	for i := first; i < cert.State.LogSize && len(r.Events) < wire.MaxRequest; i++ {
		ev := log.Event(i)
		if ev == nil || ev.Request != tx {
			break
		}
		path, err := Inclusion(log, i, cert.State.LogSize)
		if err != nil {
			return nil, err
		}
		r.Events = append(r.Events, ReceiptEvent{i, ev, path})
	}
	if len(r.Events) == 0 {
		return nil, ErrNoReceipt
	}
	return r, nil
}

// Encode returns the receipt file.
func (r *Receipt) Encode() []byte {
	var e wire.Encoder
	e.Fixed([]byte(receiptMagic))
	e.U16(fileVersion)
	e.Fixed(r.Cluster[:])
	e.Fixed(r.Transaction[:])
	e.Bytes(r.Raw)
	e.Count(len(r.Events))
	for _, ev := range r.Events {
		e.U64(ev.Index)
		e.Fixed(ev.Event.Salt[:])
		e.Bytes(ev.Event.Encode())
		e.Count(len(ev.Path))
		for _, h := range ev.Path {
			e.Fixed(h[:])
		}
	}
	e.Bytes(r.Certificate)
	return e.Out()
}

// ParseReceipt reads a receipt and checks its form only.
func ParseReceipt(b []byte) (*Receipt, error) {
	if len(b) > wire.MaxReceipt {
		return nil, fmt.Errorf("parse receipt: %d bytes are over the limit of %d", len(b), wire.MaxReceipt)
	}
	d := wire.NewDecoder(b)
	var magic [len(receiptMagic)]byte
	if d.Fixed(magic[:]); string(magic[:]) != receiptMagic {
		d.Fail(errors.New("no receipt"))
	}
	if v := d.U16(); d.Err() == nil && v != fileVersion {
		d.Fail(fmt.Errorf("version %d", v))
	}
	r := new(Receipt)
	d.Fixed(r.Cluster[:])
	d.Fixed(r.Transaction[:])
	r.Raw = d.Bytes(wire.MaxTx)
	for range d.Count(wire.MaxRequest, 8+16+4+4) {
		ev := ReceiptEvent{Index: d.U64()}
		salt := make([]byte, 16)
		d.Fixed(salt)
		body := d.Bytes(wire.MaxEvent)
		ev.Path = make([][32]byte, d.Count(wire.MaxProofSteps, 32))
		for i := range ev.Path {
			d.Fixed(ev.Path[i][:])
		}
		if d.Err() != nil {
			break
		}
		var err error
		ev.Event, err = ledger.ParseEvent(append(salt, body...))
		d.Fail(err)
		r.Events = append(r.Events, ev)
	}
	r.Certificate = d.Bytes(wire.MaxProof)
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse receipt: %w", err)
	}
	return r, nil
}

func (v *verifier) receipt(raw []byte, report *Report) error {
	r, err := ParseReceipt(raw)
	if err != nil {
		return err
	}
	if r.Cluster != v.cluster {
		return fmt.Errorf("it is of cluster %x", r.Cluster)
	}
	if len(r.Events) == 0 {
		return ErrNoReceipt
	}
	state, err := v.certificate(r.Certificate, report)
	if err != nil {
		return err
	}
	for i, ev := range r.Events {
		if ev.Event.Request != r.Transaction || i > 0 && ev.Index != r.Events[i-1].Index+1 {
			return fmt.Errorf("event %d is not of this transaction, or out of order", ev.Index)
		}
		leaf := ev.Event.Leaf()
		path := make([][]byte, len(ev.Path))
		for i := range path {
			path[i] = ev.Path[i][:]
		}
		if err := merkle.VerifyInclusion(rfc6962.DefaultHasher, ev.Index, state.LogSize, rfc6962.DefaultHasher.HashLeaf(leaf[:]), path, state.LogRoot[:]); err != nil {
			return fmt.Errorf("event %d is not in the log: %w", ev.Index, err)
		}
	}
	report.Events = uint64(len(r.Events))
	for _, ev := range r.Events {
		report.Entries = append(report.Entries, EntryOf(ev.Index, ev.Event))
	}
	if len(r.Raw) == 0 {
		return nil
	}
	return v.transaction(r.Raw, r.Events[0].Event, report)
}
