package ledger

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
)

// beacon makes a key for a beacon.
func (w *world) beacon(nonce byte) *players {
	w.Helper()
	params := w.Params(1, nonce)
	params.Use = action.UseBeacon
	p := w.open(alice, CeremonyOpen{Params: params})
	if board := p.run(); board.Phase() != dkg.PhaseDone {
		w.Fatalf("the beacon's ceremony ended %s", board.Phase())
	}
	return p
}

// output is what a beacon's holders make of a height.
func (p *players) output(height uint64) RoundOutput {
	p.Helper()
	var seats []*dkg.Participant
	for i := range p.Roster {
		seats = append(seats, p.seats[i+1])
	}
	return RoundOutput{height, p.Round(seats, p.board(), p.view().Source, height)}
}

func (p *players) key() [bls.PublicKeySize]byte {
	return [bls.PublicKeySize]byte(p.view().Beacon().PublicKey)
}

// frozen opens a keygen and leads it to where it waits for randomness.
func (w *world) frozen(nonce byte) *players {
	w.Helper()
	p := w.open(alice, CeremonyOpen{Params: w.Params(1, nonce)})
	for p.board().Phase() != dkg.PhaseFreeze {
		p.step()
	}
	return p
}

// shifted reports whether a ceremony has used such randomness.
func (p *players) shifted(random [32]byte) bool {
	return p.board().Phase() > dkg.PhaseFreeze && bytes.Contains(p.board().Encode(), random[:])
}

// Ceremonies wait for the output of the height after the one at which they
// froze, take no other, and go on with it.
func TestCeremonyTakesTheBeaconsOutput(t *testing.T) {
	w := newWorld(t, 4)
	b := w.beacon(1)
	p := w.frozen(2)
	height := uint64(w.block.Height) + 1
	early := b.output(height)
	w.want(CodeConflict, w.Tx(node0, action.KindOutput, b.output(height-1).Encode()))
	if got := w.view().Awaited(); !slices.Equal(got, []Awaited{{height, b.key()}}) || p.board().Phase() != dkg.PhaseFreeze {
		t.Fatalf("awaits %v in %s, want %d", got, p.board().Phase(), height)
	}
	w.next() // and is held back
	w.want(CodeConflict, w.Tx(node0, action.KindOutput, b.output(height+1).Encode()))
	forged := early
	forged.Signature = b.output(height + 1).Signature
	w.want(CodeSigner, w.Tx(node0, action.KindOutput, forged.Encode()))
	forged.Signature = [bls.SignatureSize]byte{0: 0xc0} // the identity
	w.want(CodeSigner, w.Tx(node0, action.KindOutput, forged.Encode()))
	forged.Signature = [bls.SignatureSize]byte{}
	w.want(CodeSigner, w.Tx(node0, action.KindOutput, forged.Encode()))
	if p.board().Phase() != dkg.PhaseFreeze {
		t.Fatalf("went on to %s", p.board().Phase())
	}
	w.want(OK, w.Tx(node1, action.KindOutput, early.Encode()))
	w.want(CodeConflict, w.Tx(node0, action.KindOutput, early.Encode())) // once is enough
	random := bls.Randomness(early.Signature[:])
	if !p.shifted(random) || w.count(EventBeacon) != 1 || w.count(EventBeaconMissed) != 0 || len(w.view().Awaited()) != 0 {
		t.Errorf("in %s, %d outputs, waits for %v", p.board().Phase(), w.count(EventBeacon), w.view().Awaited())
	}
	if out, ok := w.view().Output(height); !ok || out.Randomness != random || !VerifyOutput(w.ID, out.Key, height, out.Signature) {
		t.Errorf("the ledger keeps %+v", out)
	}
	if board := p.run(); board.Phase() != dkg.PhaseDone || len(board.Faults()) != 0 {
		t.Errorf("ended %s: %v", board.Phase(), board.Faults())
	}
	for _, kind := range []string{"froze", "awaited"} {
		w.view().iterate(w.view().ns.Prefix(kind), func(k, _ []byte) bool { t.Errorf("left behind: %s", k); return true })
	}
}

// Two that froze in one block share an output, and one that comes later takes
// its own.
func TestCeremoniesShareAnOutput(t *testing.T) {
	w := newWorld(t, 4)
	b := w.beacon(1)
	one, two := w.open(alice, CeremonyOpen{Params: w.Params(1, 2)}), w.open(alice, CeremonyOpen{Params: w.Params(1, 3)})
	for one.board().Phase() != dkg.PhaseVerify || two.board().Phase() != dkg.PhaseVerify {
		for _, p := range []*players{one, two} {
			if p.board().Phase() < dkg.PhaseVerify {
				p.step()
			}
		}
	}
	w.at(w.block.Time) // both have seen their deadlines begin
	var txs [][]byte
	for _, p := range []*players{one, two} {
		for i := range p.Roster {
			out, err := p.seats[i+1].Next(p.board(), p.view().Source)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range out {
				txs = append(txs, w.Tx(node0, action.KindCeremonyMessage, w.say(p.id, i+1, m)))
			}
		}
	}
	w.next(txs...)
	height := uint64(w.block.Height) + 1
	w.next()
	if got := w.view().Awaited(); !slices.Equal(got, []Awaited{{height, b.key()}}) {
		t.Fatalf("awaits %v, want %d", got, height)
	}
	out := b.output(height)
	w.want(OK, w.Tx(node0, action.KindOutput, out.Encode()))
	w.next()
	if random := bls.Randomness(out.Signature[:]); !one.shifted(random) || !two.shifted(random) {
		t.Errorf("one is in %s, the other in %s", one.board().Phase(), two.board().Phase())
	}
}

// A beacon that does not answer holds a ceremony up for a minute; the hash
// that stands for its output is that of a block which comes after.
func TestBeaconThatDoesNotAnswer(t *testing.T) {
	w := newWorld(t, 4)
	b := w.beacon(1)
	p := w.frozen(2)
	height := uint64(w.block.Height) + 1
	began := w.block.Time + 1000
	w.at(began)
	if at, waits, _ := w.view().NextDue(); !waits || at != began+patience {
		t.Errorf("wakes at %d, want %d", at, began+patience)
	}
	w.at(began + patience - 1)
	if p.board().Phase() != dkg.PhaseFreeze || w.count(EventBeaconMissed) != 0 {
		t.Fatalf("did not wait: %s", p.board().Phase())
	}
	w.at(began + patience)
	hash := w.block.Hash
	w.want(CodeConflict, w.Tx(node0, action.KindOutput, b.output(height).Encode())) // too late: it stands
	if !p.shifted(hash) || w.count(EventBeaconMissed) != 1 {
		t.Errorf("in %s, missed %d times", p.board().Phase(), w.count(EventBeaconMissed))
	}
	if out, ok := w.view().Output(height); !ok || len(out.Key) != 0 || out.Randomness != hash {
		t.Errorf("the ledger keeps %+v", out)
	}
	if board := p.run(); board.Phase() != dkg.PhaseDone {
		t.Errorf("ended %s", board.Phase())
	}
}

// Without a beacon that works, ceremonies wait for nothing.
func TestNoBeacon(t *testing.T) {
	w := newWorld(t, 4)
	goesOn := func(nonce byte) {
		t.Helper()
		p := w.frozen(nonce)
		w.next()
		if !p.shifted(w.block.Hash) || len(w.view().Awaited()) != 0 {
			t.Errorf("in %s", p.board().Phase())
		}
		p.run()
	}
	goesOn(1)
	b := w.beacon(2)
	key := w.view().Beacon()
	freeze := func() {
		w.want(OK, w.Tx(alice, action.KindRequest, grantOf(action.Action{Rule: action.RuleFreeze, Domain: key.Domain, PublicKey: key.PublicKey, Until: w.block.Time + hour})))
	}
	freeze()
	goesOn(3)
	w.want(OK, w.Tx(alice, action.KindRequest, actionOn(key, action.RuleUnfreeze)))
	p := w.frozen(4)
	w.next()
	if len(w.view().Awaited()) != 1 {
		t.Fatal("a beacon that came back is not asked")
	}
	// What was asked for before the key was stopped may still come.
	freeze()
	w.want(OK, w.Tx(node0, action.KindOutput, b.output(w.view().Awaited()[0].Height).Encode()))
	p.run()
	goesOn(5)
}

// What a key is for is fixed when it is made: no action and no ceremony of
// another use touches it, and the newest beacon is the cluster's.
func TestBeaconKey(t *testing.T) {
	w := newWorld(t, 4)
	if w.view().Beacon() != nil {
		t.Fatal("a beacon that nobody made")
	}
	b := w.beacon(1)
	key := w.view().Beacon()
	if key == nil || key.Use != action.UseBeacon || key.State != action.KeyActive {
		t.Fatalf("the beacon is %+v", key)
	}
	if opened := w.events[slices.IndexFunc(w.events, func(ev Event) bool { return ev.Kind == EventCeremonyOpened })]; !strings.Contains(opened.Detail, "for a beacon") {
		t.Errorf("the log says %q", opened.Detail)
	}
	gas := uint64(1)
	for _, a := range []action.Action{
		{Rule: action.RuleExit, Duty: []byte{1}}, {Rule: action.RuleDeposit, Duty: []byte{1}},
		{Rule: action.RuleSettings, Settings: action.SettingsChange{Set: action.ProposerSettings{GasLimit: &gas}}},
	} {
		a.Domain, a.PublicKey = key.Domain, key.PublicKey
		if r := w.want(CodeConflict, w.Tx(alice, action.KindRequest, grantOf(a))); !strings.Contains(r.Info, "beacon") {
			t.Errorf("%s: %s", a.Rule, r.Info)
		}
	}

	w.open(alice, CeremonyOpen{Params: w.Params(1, 2)}).run()
	keys := w.inventory()
	other := keys[slices.IndexFunc(keys, func(k []byte) bool { return !bytes.Equal(k, key.PublicKey) })]
	for _, k := range [][]byte{key.PublicKey, other} { // each as what it is not
		crossed := w.renewing(3, [][]byte{k}, func(p *dkg.Params) {
			if p.Use = action.UseDuties; bytes.Equal(k, other) {
				p.Use = action.UseBeacon
			}
		})
		w.want(CodeConflict, w.Tx(alice, action.KindRequest, crossed.Encode()))
	}
	params := w.Params(2, 4)
	params.Use = action.UseBeacon
	w.want(CodeMalformed, w.Tx(alice, action.KindRequest, CeremonyOpen{Params: params}.Encode())) // two keys are no beacon

	plan, err := w.view().PlanRenewal(Renewal{Mode: dkg.ModeRefresh}, w.Params(1, 5))
	if err != nil || len(plan) != 2 {
		t.Fatalf("plans %d ceremonies: %v", len(plan), err)
	}
	for _, o := range plan {
		if want := bytes.Equal(o.Keys[0], key.PublicKey); (o.Params.Use == action.UseBeacon) != want || len(o.Keys) != 1 {
			t.Errorf("a renewal for %s of %x", o.Params.Use, o.Keys)
		}
	}
	for i, mode := range []func(*dkg.Params){nil, to(0)} {
		o := w.renewing(byte(6+i), [][]byte{key.PublicKey}, func(p *dkg.Params) {
			if p.Use = action.UseBeacon; mode != nil {
				mode(p)
			}
		})
		b = w.follow(b, o)
		b.run()
		now := w.view().Beacon()
		if now.Epoch != uint32(i+1) || now.Use != action.UseBeacon || !bytes.Equal(now.PublicKey, key.PublicKey) {
			t.Fatalf("after renewal %d the beacon is %+v", i+1, now)
		}
	}
	if out := b.output(9); !VerifyOutput(w.ID, key.PublicKey, 9, out.Signature[:]) {
		t.Error("the renewed beacon makes other outputs")
	}
	w.beacon(8)
	if now := w.view().Beacon(); bytes.Equal(now.PublicKey, key.PublicKey) {
		t.Error("the former beacon is still the cluster's")
	}
}

func FuzzParseOutput(f *testing.F) {
	f.Add(Output{Key: make([]byte, 48), Signature: make([]byte, 96), Randomness: [32]byte{1}}.encode())
	f.Add(Output{}.encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		if o, err := parseOutput(in); err == nil && !bytes.Equal(o.encode(), in) {
			t.Fatalf("parse then encode changed %x", in)
		}
	})
}
