package custody

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/slashing"
)

// The three traces by which the model of package slashing found a double sign,
// each of which has to end in a refusal here.

// A process on an old disk is fenced, and ends in order. Its word vouches for
// the record as it was fenced: the fence goes on.
func TestFencedProcessHandsOnItsFence(t *testing.T) {
	w := newWorld(t, 4, nil)
	ps := w.startAll()
	key := w.give(ps[0], "key")
	w.signed(ps[0], key, w.block(w.epoch()*32+1, 1), nil)
	first := ps[0].life.id
	ps[0].close() // without a last word: whoever comes next cannot know what was signed
	ps[0] = w.open(0)
	w.anchor(ps[0])
	second := ps[0].life.id
	w.enter(ps[0], 10, first)
	conflict := w.block(w.epoch()*32+2, 2)
	_, err := w.sign(ps[0], key, conflict, nil)
	refused(t, "below the floor", err, rpc.CodeFenced)

	closing := w.must(ps[0], MethodClose, nil)
	for _, p := range ps[1:] {
		w.must(p, MethodWitness, closing)
	}
	ps[0].close()
	ps[0] = w.open(0)
	w.anchor(ps[0])
	third := ps[0].life.id
	w.enter(ps[0], 11, second)
	w.must(ps[0], MethodProve, proveRequest(w.certify(w.allIncarnations()...), w.testimony(ps[1], third), w.testimony(ps[2], third)))
	_, err = w.sign(ps[0], key, conflict, nil)
	refused(t, "the fence of the life before", err, rpc.CodeFenced)
	if got := ps[0].status().Floor; got == (action.Ceiling{}) {
		t.Error("the floor is gone")
	}
}

// An incarnation that was replaced does not come back by registering again.
func TestReplacedIncarnationStaysEnded(t *testing.T) {
	w := newWorld(t, 4, nil)
	p := w.startAll()[0]
	key := w.give(p, "key")
	w.signed(p, key, w.block(w.epoch()*32+1, 1), nil)
	// A clone registered as 10, then this process once more as 11.
	again := action.Incarnation{Number: 11, ID: p.life.id, Ceiling: action.CeilingAt(w.network, time.Now())}
	w.ledger.Set(ns.Incarnation(p.seat.Node, "validator"), again.Encode())
	_, err := ask(p, MethodLease, w.certify(ns.Incarnation(p.seat.Node, "validator")))
	refused(t, "registered again", err, rpc.CodeFenced)
	_, err = w.sign(p, key, w.block(w.epoch()*32+2, 2), nil)
	refused(t, "a block after that", err, rpc.CodeFenced)
}

// A key that was made before its process was registered is under the floor: a
// clone that registered first may have signed with it.
func TestKeyOlderThanItsRegistration(t *testing.T) {
	in := &incarnation{older: map[[48]byte]bool{}}
	key := make([]byte, 48)
	in.born([][]byte{key})
	if !in.older[[48]byte(key)] {
		t.Error("a key made before the registration is under no floor")
	}
	in = &incarnation{older: map[[48]byte]bool{}, number: 1}
	in.born([][]byte{key})
	if len(in.older) != 0 {
		t.Error("a key made after the registration is under a floor")
	}
}

// A record that lost its end fences its keys until the ledger has shown a
// floor that is above whatever was lost. The holder is not lost with it.
func TestTornRecordIsMendedByTheFloor(t *testing.T) {
	w := newWorld(t, 4, nil)
	p := w.start(0)
	key := w.give(p, "key")
	signed, conflict := w.block(w.epoch()*32+2, 1), w.block(w.epoch()*32+2, 2)
	w.signed(p, key, signed, nil)
	p.close()
	path := filepath.Join(w.home(0), "slashing.log")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(bytes.TrimRight(raw, "\x00"))-1] ^= 1
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}

	p = w.open(0)
	if s, _ := p.record.Status(key); s.Fence != slashing.FenceTornTail {
		t.Fatalf("fence of a torn record: %s", s.Fence)
	}
	w.anchor(p)
	w.lease(p)
	s, _ := p.record.Status(key)
	if want := slashing.Floor(p.life.floor); s.Fence != 0 || s.Floor != want || want.Slot == 0 {
		t.Errorf("after the registration: fence %s, floor %+v, want %+v", s.Fence, s.Floor, want)
	}
	_, err = w.sign(p, key, conflict, nil)
	refused(t, "what the lost entry forbade", err, rpc.CodeFenced)
	// It is durable, whoever proves what next time.
	p = w.restart(p)
	if again, _ := p.record.Status(key); again.Floor != s.Floor {
		t.Errorf("floor %+v after another restart, %+v before", again.Floor, s.Floor)
	}
}
