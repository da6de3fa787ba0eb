package custody

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/slashing"
	"github.com/quorate/quorate/internal/wire"
)

func (w *world) recordAnchor(p *Process) action.Anchor {
	w.t.Helper()
	d := wire.NewDecoder(w.must(p, MethodRecordAnchor, nil))
	a := action.DecodeSignedAnchor(d)
	if err := d.Finish(); err != nil || !a.Verify(w.cluster, p.domain, p.life.id) {
		w.t.Fatalf("anchor %+v: %v", a, err)
	}
	if a.Verify(w.cluster, "secret", p.life.id) || a.Verify(action.ClusterID{1}, p.domain, p.life.id) {
		w.t.Fatal("an anchor of another cluster or domain")
	}
	return a.Anchor
}

// What the ledger holds of a record shows a disk that was rolled back: the
// holder says so, no testimony helps it, and it signs above the floor only.
func TestAnchorShowsARollback(t *testing.T) {
	w := newWorld(t, 4, nil)
	ps := w.startAll()
	key := w.give(ps[0], "key")
	w.signed(ps[0], key, w.block(w.epoch()*32+1, 1), nil)
	before := w.recordAnchor(ps[0])
	w.signed(ps[0], key, w.block(w.epoch()*32+2, 1), nil)
	after := w.recordAnchor(ps[0])
	if !before.Behind(after) || after.Behind(before) || before.Watermarks == after.Watermarks {
		t.Fatalf("%+v, then %+v", before, after)
	}
	// A duty that cannot be slashed moves the log and no watermark.
	w.signed(ps[0], key, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}}, nil)
	if a := w.recordAnchor(ps[0]); a.Sequence != after.Sequence+1 || a.Chain == after.Chain || a.Watermarks != after.Watermarks {
		t.Fatalf("%+v, then %+v", after, a)
	}

	closing := w.must(ps[0], MethodClose, nil)
	for _, p := range ps[1:] {
		w.must(p, MethodWitness, closing)
	}
	last, end := ps[0].life.id, ps[0].life.opened
	ps[0].close()
	for number, c := range []struct {
		before action.Anchor
		lost   uint64
	}{
		{action.Anchor{Sequence: after.Sequence + 9, Chain: after.Chain}, 8}, // a longer one
		{action.Anchor{Sequence: after.Sequence + 1, Chain: end.Chain}, 1},   // as long, and another
	} {
		p := w.open(0)
		w.anchor(p)
		if opened := w.recordAnchor(p); opened.Sequence != after.Sequence+1 {
			t.Fatalf("opened at %+v", opened)
		}
		w.leaseUpTo(p, action.Incarnation{Number: uint64(20 + number), ID: p.life.id, Previous: last, Before: action.Anchored{Anchor: c.before, Epoch: 7},
			Ceiling: action.CeilingAt(w.network, time.Now())})
		if s := statusOf(t, p); s.Lost != c.lost || !s.Fenced {
			t.Errorf("status %+v, want %d entries lost", s, c.lost)
		}
		_, err := ask(p, MethodProve, proveRequest(w.certify(w.allIncarnations()...), w.repeated(ps[1], p.life.id), w.repeated(ps[2], p.life.id)))
		refused(t, "testimonies for a record that was rolled back", err, rpc.CodeNotGranted)
		_, err = w.sign(p, key, w.block(w.epoch()*32+3, 1), nil)
		refused(t, "below the floor", err, rpc.CodeFenced)
		if !strings.Contains(err.Error(), "rolled back") {
			t.Errorf("%v", err)
		}
		p.close()
	}
}

// The same with a disk: an old copy of the record, and a ledger that has seen
// more of it.
func TestRestoredRecordIsKnown(t *testing.T) {
	w := newWorld(t, 1, nil)
	p := w.start(0)
	key := w.give(p, "key")
	w.signed(p, key, w.block(w.epoch()*32+1, 1), nil)
	p.close()
	path := filepath.Join(w.home(0), "slashing.log")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, restored := range []bool{false, true} {
		p = w.start(0)
		w.signed(p, key, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}}, nil)
		known := w.recordAnchor(p)
		p.close()
		if restored {
			if err := os.WriteFile(path, bytes.Clone(old), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p = w.open(0)
		w.lives++
		w.leaseUpTo(p, action.Incarnation{Number: uint64(w.lives), ID: p.life.id, Before: action.Anchored{Anchor: known}})
		if s := statusOf(t, p); (s.Lost > 0) != restored {
			t.Errorf("restored %v: %d entries lost", restored, s.Lost)
		}
		p.close()
	}
}

// Who reaches the socket raises no watermark and lifts no fence that the
// ledger does not know of.
func TestHistoryNeedsTheLedger(t *testing.T) {
	w := newWorld(t, 2, func(g *action.Genesis) { g.ImportHistory = action.HistoryRefuse })
	p := w.start(0)
	key := w.give(p, "key")
	used := [48]byte{1}
	if err := p.record.Register(used, slashing.History{Mode: slashing.HistoryRefuse}); err != nil {
		t.Fatal(err)
	}
	doc := func(vote bool) []byte {
		ic := slashing.Interchange{Genesis: slashing.Root(*w.network.GenesisValidatorsRoot)}
		for _, k := range []slashing.Key{key, used} {
			marks := slashing.Watermarks{Block: slashing.BlockMark{Known: true, Slot: w.epoch() * 32}}
			if vote {
				marks.Vote = slashing.VoteMark{Known: true, Source: 1, Target: 2}
			}
			ic.Keys = append(ic.Keys, slashing.KeyHistory{Key: k, Watermarks: marks})
		}
		raw, err := ic.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	good := doc(true)
	for name, request := range map[string][]byte{
		"another document": w.historyRequest(good, doc(false), time.Minute),
		"one of long ago":  w.historyRequest(good, good, -time.Minute),
	} {
		_, err := ask(p, MethodImportSlashing, request)
		refused(t, name, err, rpc.CodeNotGranted)
	}
	var e wire.Encoder
	Evidence{}.encode(&e)
	e.Bytes(good)
	_, err := ask(p, MethodImportSlashing, e.Out())
	refused(t, "no certificate", err, rpc.CodeMalformed)
	if s, _ := p.record.Status(key); s.Block.Known {
		t.Errorf("watermarks %+v", s.Watermarks)
	}

	fence := func() slashing.Fence { s, _ := p.record.Status(used); return s.Fence }
	w.must(p, MethodImportSlashing, w.bringIn(doc(false)))
	if fence() != slashing.FenceNoHistory {
		t.Error("a history without a vote lifted the fence")
	}
	w.must(p, MethodImportSlashing, w.bringIn(good))
	if fence() != 0 {
		t.Errorf("fence %s", fence())
	}
}
