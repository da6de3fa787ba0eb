package verify

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
)

// event is what the checks need of an event's body.
type event struct {
	actor   []byte
	request [32]byte
	enrols  string // the member whom it gives the credentials that were asked for
}

const (
	eventMember = 24
	kindRequest = 5
)

// parseEvent holds a body to its form.
func parseEvent(body []byte) (ev event, err error) {
	d := decoder{in: body}
	if version := d.u8(); version != 1 {
		d.fail("event of version %d", version)
	}
	kind := d.u16()
	d.u64() // height
	d.u64() // time
	var object []byte
	for i := range 6 { // actor, human, operator, region, purpose, object
		switch b := d.bytes(maxField); i {
		case 0:
			ev.actor = b
		case 5:
			object = b
		}
	}
	ev.request = d.hash()
	d.u64() // cause
	d.bool()
	if detail := d.bytes(maxField); kind == eventMember && (string(detail) == "enrolled" || string(detail) == "changed") {
		ev.enrols = string(object)
	}
	return ev, d.end()
}

// roster is whose signatures a file is read with: those whom the genesis
// names, and members whom the file itself shows to have been enrolled.
type roster struct {
	g        *Genesis
	enrolled map[string][]identity
	asked    map[string][]identity // credentials that requests would give
	waiting  int
}

// maxAsked bounds the credentials that wait for their enrolment.
const maxAsked = 1 << 12

func newRoster(g *Genesis) *roster {
	return &roster{g: g, enrolled: map[string][]identity{}, asked: map[string][]identity{}}
}

// transaction checks a signed transaction against an event that it caused.
func (ro *roster) transaction(raw []byte, ev event, r *Transactions) error {
	if sha256.Sum256(raw) != ev.request {
		return fmt.Errorf("the transaction is not the one that caused the event")
	}
	d := decoder{in: raw}
	if version := d.u8(); version != 1 {
		d.fail("transaction of version %d", version)
	}
	cluster := d.hash()
	kind := d.u16()
	class := d.u8()
	name := d.bytes(maxName)
	d.u64()     // nonce
	d.fixed(16) // salt
	body := d.bytes(maxTransaction)
	signed := raw[:d.at]
	sig := d.bytes(1 << 13)
	if err := d.end(); err != nil {
		return fmt.Errorf("the transaction: %w", err)
	}
	signer := map[uint8]string{1: "node/", 2: "member/"}[class] + string(name)
	if cluster != ro.g.Cluster || !bytes.Equal(ev.actor, []byte(signer)) {
		return fmt.Errorf("the transaction is of %q, the event of %q", signer, ev.actor)
	}
	if slices.ContainsFunc(slices.Concat(ro.g.signers[signer], ro.enrolled[signer]), func(k identity) bool { return k.verify("quorate/v1/tx", signed, sig) }) {
		r.Verified++
	} else {
		r.Unverified++
	}
	if kind == kindRequest {
		ro.ask(body)
		ro.enrol(ev) // what happened at once is the event before
	}
	return nil
}

// ask remembers the credentials that the body of a request would give a
// member: the action is member.enrol or member.update, with a member's record.
func (ro *roster) ask(body []byte) {
	outer := decoder{in: body}
	d := decoder{in: outer.bytes(maxTransaction)}
	d.u8() // version
	if rule := string(d.bytes(maxName)); rule != "member.enrol" && rule != "member.update" {
		return
	}
	d = decoder{in: d.bytes(maxTransaction)}
	d.u8() // version
	id := "member/" + string(d.bytes(maxName))
	for range 3 { // name, operator, region
		d.bytes(maxName)
	}
	d.bool()      // workload
	d.u64()       // suspended until
	for range 2 { // roles, backups
		for range d.count(maxNodes, 4) {
			d.bytes(maxName)
		}
	}
	var keys []identity
	for range d.count(maxNodes, 4) {
		k, err := newIdentity(bytes.Clone(d.bytes(1 << 12)))
		if err != nil {
			return
		}
		keys = append(keys, k)
	}
	if d.end() != nil || ro.waiting+len(keys) > maxAsked {
		return
	}
	ro.asked[id] = append(ro.asked[id], keys...)
	ro.waiting += len(keys)
}

// enrol takes into account what an event says of a member: the credentials
// that were asked for him count from here on.
func (ro *roster) enrol(ev event) {
	if asked := ro.asked[ev.enrols]; len(asked) > 0 {
		ro.enrolled[ev.enrols] = append(ro.enrolled[ev.enrols], asked...)
		ro.waiting -= len(asked)
		delete(ro.asked, ev.enrols)
	}
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
	return newRoster(g).transaction(signed, entries[0].event, &r.Transactions)
}
