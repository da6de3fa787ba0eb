package verify

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// event is what the checks need of an event's body.
type event struct {
	actor   []byte
	request [32]byte
}

// parseEvent holds a body to its form.
func parseEvent(body []byte) (ev event, err error) {
	d := decoder{in: body}
	if version := d.u8(); version != 1 {
		d.fail("event of version %d", version)
	}
	d.u16()            // kind
	d.u64()            // height
	d.u64()            // time
	for i := range 6 { // actor, human, operator, region, purpose, object
		b := d.bytes(maxField)
		if i == 0 {
			ev.actor = b
		}
	}
	ev.request = d.hash()
	d.u64() // cause
	d.bool()
	d.bytes(maxField) // detail
	return ev, d.end()
}

// transaction checks a signed transaction against an event that it caused.
func (g *Genesis) transaction(raw []byte, ev event, r *Transactions) error {
	if sha256.Sum256(raw) != ev.request {
		return fmt.Errorf("the transaction is not the one that caused the event")
	}
	d := decoder{in: raw}
	if version := d.u8(); version != 1 {
		d.fail("transaction of version %d", version)
	}
	cluster := d.hash()
	d.u16() // kind
	class := d.u8()
	name := d.bytes(maxName)
	d.u64()     // nonce
	d.fixed(16) // salt
	d.bytes(maxTransaction)
	signed := raw[:d.at]
	sig := d.bytes(1 << 13)
	if err := d.end(); err != nil {
		return fmt.Errorf("the transaction: %w", err)
	}
	signer := map[uint8]string{1: "node/", 2: "member/"}[class] + string(name)
	if cluster != g.Cluster || !bytes.Equal(ev.actor, []byte(signer)) {
		return fmt.Errorf("the transaction is of %q, the event of %q", signer, ev.actor)
	}
	keys, known := g.signers[signer]
	if !known {
		r.Unknown++
		return nil
	}
	for _, k := range keys {
		if k.verify("quorate/v1/tx", signed, sig) {
			r.Verified++
			return nil
		}
	}
	return fmt.Errorf("the signature of %s under the transaction does not verify", signer)
}

// receipt checks a receipt file.
func (g *Genesis) receipt(raw []byte, r *Report) error {
	d := &decoder{in: raw, at: len(receiptMagic)}
	if version := d.u16(); version != 1 {
		d.fail("receipt of version %d", version)
	}
	if cluster := d.hash(); d.err == nil && cluster != g.Cluster {
		d.fail("it is of cluster %x", cluster)
	}
	tx := d.hash()
	signed := d.bytes(maxTransaction)
	type entry struct {
		event
		index uint64
		leaf  [32]byte
		path  [][32]byte
	}
	entries := make([]entry, d.count(maxRequest, 32))
	for i := range entries {
		e := &entries[i]
		e.index = d.u64()
		salt, body := d.fixed(16), d.bytes(maxEvent)
		e.path = make([][32]byte, d.count(maxPath, 32))
		for j := range e.path {
			e.path[j] = d.hash()
		}
		if d.err != nil {
			return d.err
		}
		var err error
		if e.event, err = parseEvent(body); err != nil {
			return fmt.Errorf("event %d: %w", e.index, err)
		}
		if e.request != tx || i > 0 && e.index != entries[i-1].index+1 {
			return fmt.Errorf("event %d is not of this transaction, or out of order", e.index)
		}
		e.leaf = taggedHash(tagLeaf, salt, body)
	}
	certificate := d.bytes(maxCertificate)
	if err := d.end(); err != nil {
		return err
	}
	if len(entries) == 0 {
		return fmt.Errorf("it holds no event")
	}
	p, err := g.certificate(certificate)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	for _, e := range entries {
		if root, ok := pathRoot(e.leaf, e.index, p.size, e.path); !ok || root != p.root {
			return fmt.Errorf("event %d is not in the log", e.index)
		}
	}
	r.Events, r.Height, r.Time = uint64(len(entries)), p.height, p.at
	if len(signed) == 0 {
		return nil
	}
	return g.transaction(signed, entries[0].event, &r.Transactions)
}
