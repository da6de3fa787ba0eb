package custody

import (
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

// proveRequest is what Client.Prove sends.
func proveRequest(cert []byte, testimonies ...[]byte) []byte {
	var e wire.Encoder
	e.Bytes(cert)
	e.Count(len(testimonies))
	for _, t := range testimonies {
		e.Bytes(t)
	}
	return e.Out()
}

// testimony asks a witness for what it says to the next incarnation of seat 1.
func (w *world) testimony(p *Process, next [32]byte) []byte {
	w.t.Helper()
	return w.must(p, MethodTestify, testifyRequest(1, next))
}

func testifyRequest(seat uint16, next [32]byte) []byte {
	var e wire.Encoder
	e.U16(seat)
	e.Fixed(next[:])
	return e.Out()
}

// repeated is what a witness would say that forgot to whom it spoke.
func (w *world) repeated(p *Process, next [32]byte) []byte {
	return p.testimony(p.seen[1].closing, next).Encode()
}

// enter registers a process's incarnation after another.
func (w *world) enter(p *Process, number uint64, previous [32]byte) {
	w.t.Helper()
	w.leaseUpTo(p, action.Incarnation{Number: number, ID: p.life.id, Previous: previous, Ceiling: action.CeilingAt(w.network, time.Now())})
}

func (w *world) allIncarnations() (paths []proof.Path) {
	for _, s := range w.roster {
		paths = append(paths, ns.Incarnation(s.Node, "validator"))
	}
	return paths
}

// A process that ended in order goes on without a floor, when f + 1 others
// testify that its record is the last. Nothing less will do.
func TestTestimony(t *testing.T) {
	w := newWorld(t, 4, nil)
	ps := w.startAll()
	key := w.give(ps[0], "key")
	block := func(body byte) eth.Duty { return w.block(w.epoch()*32+uint64(body), body) }

	w.signed(ps[0], key, block(1), nil)
	closing := w.must(ps[0], MethodClose, nil)
	_, err := w.sign(ps[0], key, block(2), nil)
	refused(t, "after the last word", err, rpc.CodeUnavailable)
	for _, p := range ps[1:] {
		w.must(p, MethodWitness, closing)
	}
	_, err = ask(ps[0], MethodWitness, closing)
	refused(t, "one's own closing", err, rpc.CodeMalformed)
	forged := append([]byte(nil), closing...)
	forged[40]++ // the sequence
	_, err = ask(ps[1], MethodWitness, forged)
	refused(t, "a forged closing", err, rpc.CodeMalformed)

	first := ps[0].life.id
	ps[0].close()
	ps[0] = w.open(0)
	w.anchor(ps[0])
	next := ps[0].life.id
	w.enter(ps[0], 10, first)
	_, err = w.sign(ps[0], key, block(2), nil)
	refused(t, "a block below the floor", err, rpc.CodeFenced)

	present := func() []byte { return w.certify(w.allIncarnations()...) }
	one, two := w.testimony(ps[1], next), w.testimony(ps[2], next)
	forOther := w.repeated(ps[2], [32]byte{1})
	for name, all := range map[string][][]byte{
		"no testimony":             {},
		"one of two":               {one},
		"the same twice":           {one, one},
		"one for another":          {one, forOther},
		"one with another's voice": {one, append([]byte{0, 4}, one[2:]...)},
	} {
		_, err = ask(ps[0], MethodProve, proveRequest(present(), all...))
		refused(t, name, err, rpc.CodeNotGranted)
	}
	three := w.testimony(ps[3], next)
	gone := ps[3].life.id
	ps[3].close()
	ps[3] = w.open(3) // a later life of a witness makes its word void
	w.anchor(ps[3])
	w.enter(ps[3], 11, gone)
	_, err = ask(ps[0], MethodProve, proveRequest(present(), one, three))
	refused(t, "a witness that is no more", err, rpc.CodeNotGranted)
	_, err = ask(ps[0], MethodProve, proveRequest(w.certify(w.allIncarnations()[1:]...), one, two))
	refused(t, "without one's own incarnation", err, rpc.CodeNotGranted)
	w.must(ps[0], MethodProve, proveRequest(present(), one, two))
	w.signed(ps[0], key, block(2), nil)

	// The record has gone on: neither the old closing, nor a process that
	// ended without one, lifts the floor again.
	ps[0].close()
	second := next
	ps[0] = w.open(0)
	w.anchor(ps[0])
	next = ps[0].life.id
	w.enter(ps[0], 12, second)
	for _, p := range ps[1:3] { // nor does hearing of the closing again make it new
		w.must(p, MethodWitness, closing)
		_, err = ask(p, MethodTestify, testifyRequest(1, next))
		refused(t, "a second testimony to one closing", err, rpc.CodeNotGranted)
	}
	_, err = ask(ps[0], MethodProve, proveRequest(present(), w.repeated(ps[1], next), w.repeated(ps[2], next)))
	refused(t, "an end without a last word", err, rpc.CodeNotGranted)
	w.enter(ps[0], 12, first) // even if the ledger's word on the order were bent
	_, err = ask(ps[0], MethodProve, proveRequest(present(), w.repeated(ps[1], next), w.repeated(ps[2], next)))
	refused(t, "a record that went on", err, rpc.CodeNotGranted)

	// An old closing does not take the place of a later one.
	last := w.must(ps[0], MethodClose, nil)
	w.must(ps[1], MethodWitness, last)
	_, err = ask(ps[1], MethodWitness, closing)
	refused(t, "an old closing, repeated", err, rpc.CodeFenced)
	got, err := ParseTestimony(w.testimony(ps[1], next))
	if err != nil || got.Closing.Incarnation != next || got.Witness != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = ask(ps[1], MethodTestify, testifyRequest(4, next))
	refused(t, "about a seat that never closed", err, rpc.CodeNotGranted)
	_, err = ask(ps[1], MethodTestify, testifyRequest(1, [32]byte{}))
	refused(t, "to nobody", err, rpc.CodeMalformed)
}

// A process that is fenced, because the disk may have been rolled back before
// it, hands its floor on: its own end in order proves nothing of what was lost.
func TestFloorsAreHandedOn(t *testing.T) {
	w := newWorld(t, 4, nil)
	ps := w.startAll()
	key := w.give(ps[0], "key")
	ps[0].close() // without a last word: from here on the disk is in doubt
	former := ps[0].life.id
	next := func(number uint64) {
		t.Helper()
		ps[0] = w.open(0)
		w.anchor(ps[0])
		w.leaseUpTo(ps[0], action.Incarnation{Number: number, ID: ps[0].life.id, Previous: former, Ceiling: action.CeilingAt(w.network, time.Now())})
		former = ps[0].life.id
	}
	fenced := func(what string) {
		t.Helper()
		_, err := w.sign(ps[0], key, w.block(w.epoch()*32, 1), nil)
		refused(t, what, err, rpc.CodeFenced)
	}
	end := func() {
		t.Helper()
		closing := w.must(ps[0], MethodClose, nil)
		for _, p := range ps[1:] {
			w.must(p, MethodWitness, closing)
		}
		ps[0].close()
	}
	prove := func() error {
		id := ps[0].life.id
		_, err := ask(ps[0], MethodProve, proveRequest(w.certify(w.allIncarnations()...), w.testimony(ps[1], id), w.testimony(ps[2], id)))
		return err
	}
	next(10)
	fenced("after an end without a last word")
	end()
	next(11)
	if err := prove(); err != nil {
		t.Fatal(err)
	}
	fenced("after the end in order of one that was fenced")
	if s := statusOf(t, ps[0]); s.Floor.Slot < w.epoch()*32 {
		t.Errorf("floor %+v", s.Floor)
	}

	// Nor does one that ends before it knew its floor prove anything.
	ps[0].close()
	ps[0] = w.open(0)
	w.anchor(ps[0])
	_, err := ask(ps[0], MethodClose, nil)
	refused(t, "the last word of one that was never registered", err, rpc.CodeFenced)
}
