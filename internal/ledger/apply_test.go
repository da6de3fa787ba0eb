package ledger

import (
	"bytes"
	"crypto/ed25519"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

func settingsOf(k *action.KeyRecord, gas uint64) []byte {
	return grantOf(action.Action{Rule: action.RuleSettings, Domain: k.Domain, PublicKey: k.PublicKey, Settings: action.SettingsChange{Set: action.ProposerSettings{GasLimit: &gas}}})
}

func actionOn(k *action.KeyRecord, rule action.Rule, duty ...byte) []byte {
	return grantOf(action.Action{Rule: rule, Domain: k.Domain, PublicKey: k.PublicKey, Duty: duty})
}

func TestGenesis(t *testing.T) {
	w := newWorld(t, 4)
	s := w.view()
	if nodes := s.Nodes(); len(nodes) != 4 || nodes[2].Name != ledgertest.Node(2).Name {
		t.Fatalf("%d nodes", len(nodes))
	}
	if m, ok := s.Member("alice"); !ok || len(m.Keys) != 2 {
		t.Fatal("no alice")
	}
	if _, ok := s.Member("mallory"); ok {
		t.Fatal("a member that nobody enrolled")
	}
	if size, _ := s.LogRoot(); size != 1 || w.last().Kind != EventGenesis || s.Event(0).Object != w.ID.String() {
		t.Fatalf("events %v", w.events)
	}
}

// TestRules: who may ask for what, and that absence means no.
func TestRules(t *testing.T) {
	w := newWorld(t, 4)
	k := w.giveKey(action.KeyRecord{PublicKey: []byte{1}, State: action.KeyActive})
	bodies := map[action.Rule][]byte{
		action.RuleSettings: settingsOf(k, 1), action.RuleArchive: actionOn(k, action.RuleArchive), action.RuleExit: actionOn(k, action.RuleExit, 1),
	}
	for _, c := range []struct {
		who  action.Signer
		rule action.Rule
		code Code
	}{
		{alice, action.RuleSettings, OK}, {node0, action.RuleSettings, OK}, {olga, action.RuleSettings, CodeDenied},
		{alice, action.RuleArchive, CodeDenied}, {node0, action.RuleArchive, CodeDenied}, {olga, action.RuleArchive, CodeDenied},
		{alice, action.RuleExit, OK}, {node0, action.RuleExit, CodeDenied}, {olga, action.RuleExit, CodeDenied},
	} {
		raw := w.Tx(c.who, action.KindRequest, bodies[c.rule])
		r := w.want(c.code, raw)
		ev := w.last()
		if ev.Actor != c.who.String() || ev.Request != action.HashTx(raw) || (ev.Kind == EventDenied) != (c.code == CodeDenied) {
			t.Fatalf("%s asks for %s: recorded %+v", c.who, c.rule, ev)
		}
		if c.code == CodeDenied && !strings.Contains(r.Info, string(c.rule)) {
			t.Errorf("the denial %q does not name the rule", r.Info)
		}
		w.want(CodeNonce, raw) // done or denied: the number is used up
	}
	if ev := w.events[len(w.events)-1]; ev.Human != olga.Name || ev.Operator != "op0" {
		t.Errorf("recorded %+v", ev)
	}
}

func TestSettings(t *testing.T) {
	w := newWorld(t, 4)
	k := w.giveKey(action.KeyRecord{PublicKey: []byte{1}, State: action.KeyActive})
	w.want(OK, w.Tx(node0, action.KindRequest, settingsOf(k, 30_000_000)))
	got, err := w.view().Key(k.Domain, k.PublicKey)
	if err != nil || *got.Settings.GasLimit != 30_000_000 || w.last().Kind != EventKeySettings {
		t.Fatalf("%+v, %v", got, err)
	}
	other := *k
	other.PublicKey = bytes.Repeat([]byte{2}, 48)
	w.want(CodeNotFound, w.Tx(node0, action.KindRequest, settingsOf(&other, 1)))
	other = *k
	other.Domain = "secret"
	w.want(CodeNotFound, w.Tx(node0, action.KindRequest, settingsOf(&other, 1)))
}

func TestChangedKeys(t *testing.T) {
	w := newWorld(t, 4)
	k := w.giveKey(action.KeyRecord{PublicKey: []byte{1}, State: action.KeyActive})
	w.giveKey(action.KeyRecord{PublicKey: []byte{2}, State: action.KeyActive})
	s := w.view()
	carry(s, w.block, w.Tx(node0, action.KindRequest, settingsOf(k, 7)))
	if changed := s.ChangedKeys(); len(changed) != 1 || !bytes.Equal(changed[0].PublicKey, k.PublicKey) {
		t.Fatalf("changed %v", changed)
	}
	var keys []byte
	w.view().Keys(action.DomainValidator, func(k *action.KeyRecord) bool { keys = append(keys, k.PublicKey[0]); return true })
	if !bytes.Equal(keys, []byte{1, 2}) {
		t.Fatalf("inventory %v", keys)
	}
}

func TestArchive(t *testing.T) {
	w := newWorld(t, 4)
	w.govern(strings.NewReplacer(`"key.settings"]`, `"key.settings", Action::"key.archive"]`, `forbid (principal,`, `forbid (principal is Human,`).Replace(ledgertest.Policy))
	for state, code := range map[action.KeyState]Code{
		action.KeyGenerated: OK, action.KeyActive: OK, action.KeyRevoked: CodeConflict, action.KeyArchived: CodeConflict, action.KeyDestroyed: CodeConflict,
	} {
		k := w.giveKey(action.KeyRecord{PublicKey: []byte{byte(state)}, State: state})
		w.want(code, w.Tx(node0, action.KindRequest, actionOn(k, action.RuleArchive)))
		if got, _ := w.view().Key(k.Domain, k.PublicKey); code == OK && got.State != action.KeyArchived {
			t.Errorf("a %s key is %s", state, got.State)
		}
		w.want(CodeConflict, w.Tx(alice, action.KindRequest, actionOn(k, action.RuleExit, 1))) // nothing signs with it any more
	}
}

func TestGrant(t *testing.T) {
	w := newWorld(t, 4)
	k := w.giveKey(action.KeyRecord{PublicKey: []byte{1}, State: action.KeyActive})
	exit := &action.Action{Rule: action.RuleExit, Domain: k.Domain, PublicKey: k.PublicKey, Duty: []byte("exit at 7")}
	w.want(OK, w.Tx(alice, action.KindRequest, Ask{Action: exit}.Encode()))
	find := func(a *action.Action) *action.Grant {
		hash := a.Hash(w.ID)
		raw := w.view().Get(w.view().ns.Grant(hash[:]))
		if raw == nil {
			return nil
		}
		g, err := action.ParseGrant(raw)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	first := find(exit)
	if first == nil || !bytes.Equal(first.Action, exit.Encode()) || first.By != alice.String() ||
		first.Height != uint64(w.block.Height) || first.Expires != w.block.Time+grantLifetime {
		t.Fatalf("granted %+v", first)
	}
	other := *exit
	other.Duty = []byte("exit at 8")
	if find(&other) != nil {
		t.Fatal("another exit is granted, too")
	}
	w.want(OK, w.Tx(alice, action.KindRequest, Ask{Action: exit}.Encode())) // once more, for longer
	if again := find(exit); again.Expires <= first.Expires {
		t.Fatalf("granted again %+v", again)
	}
	// No ceremony, no holders: nothing may be deposited to it.
	w.want(CodeConflict, w.Tx(alice, action.KindRequest, actionOn(k, action.RuleDeposit, 1)))
}

func TestFreshness(t *testing.T) {
	w := newWorld(t, 4)
	at := func(i int) []byte {
		return w.view().Get(w.view().ns.Fresh(ledgertest.Node(i).Name, string(action.DomainValidator)))
	}
	nonce := func(b byte) []byte {
		return Freshness{Domain: action.DomainValidator, Nonce: [32]byte{b}}.Encode()
	}
	size, _ := w.view().LogRoot()
	w.want(OK, w.Tx(node0, action.KindFreshness, nonce(1)))
	w.want(OK, w.Tx(node1, action.KindFreshness, nonce(2)))
	w.want(OK, w.Tx(node0, action.KindFreshness, nonce(3)))
	if at(0)[0] != 3 || at(1)[0] != 2 || at(2) != nil {
		t.Fatalf("nonces %x, %x, %x", at(0), at(1), at(2))
	}
	if now, _ := w.view().LogRoot(); now != size {
		t.Error("freshness is an event; it happens twice a minute")
	}
	w.want(CodeDenied, w.Tx(alice, action.KindFreshness, nonce(4)))
	for _, domain := range []action.Domain{"", "secret", "../x", action.Domain(strings.Repeat("x", wire.MaxName))} {
		w.want(CodeDenied, w.Tx(node0, action.KindFreshness, Freshness{Domain: domain}.Encode()))
	}
}

// Usage against a naive account: a sequence counts once within an incarnation.
func TestUsage(t *testing.T) {
	w := newWorld(t, 4)
	k := w.giveKey(action.KeyRecord{PublicKey: []byte{1}, State: action.KeyActive})
	report := func(incarnation byte, sequence uint64, keys ...[]byte) []byte {
		return UsageReport{Domain: action.DomainValidator, Incarnation: [16]byte{incarnation}, Sequence: sequence, Chain: [32]byte{9}, Keys: keys}.Encode()
	}
	rapid.Check(t, func(t *rapid.T) {
		who := ledgertest.Node(rapid.IntRange(0, 3).Draw(t, "node"))
		incarnation, last, any := byte(0), uint64(0), w.view().Get(w.view().ns.Usage(who.Name, string(action.DomainValidator))) != nil
		if any { // a new one, so that the account begins here
			incarnation, last = 255, 0
			w.want(OK, w.Tx(who, action.KindUsage, report(254, 1)))
			w.want(OK, w.Tx(who, action.KindUsage, report(incarnation, last)))
		}
		for range rapid.IntRange(1, 10).Draw(t, "reports") {
			in, seq := rapid.ByteMax(1).Draw(t, "incarnation"), rapid.Uint64Range(0, 6).Draw(t, "sequence")
			code := OK
			if any && in == incarnation && seq <= last {
				code = CodeConflict
			}
			w.want(code, w.Tx(who, action.KindUsage, report(in, seq, k.PublicKey)))
			if code == OK {
				any, incarnation, last = true, in, seq
				if w.view().LastUse(k.Domain, k.PublicKey) != w.block.Time || w.last().Kind != EventUsage {
					t.Fatalf("last use %d at %d", w.view().LastUse(k.Domain, k.PublicKey), w.block.Time)
				}
			}
		}
	})
	w.want(CodeNotFound, w.Tx(node0, action.KindUsage, report(9, 9, k.PublicKey, bytes.Repeat([]byte{7}, 48))))
	w.want(CodeDenied, w.Tx(alice, action.KindUsage, report(9, 9, k.PublicKey)))
	w.want(CodeDenied, w.Tx(node0, action.KindUsage, UsageReport{Domain: "secret"}.Encode()))
	if w.view().LastUse(k.Domain, bytes.Repeat([]byte{7}, 48)) != 0 {
		t.Error("an unknown key was used")
	}
}

// TestIncarnations: a new life ends the one before, knows how far it went, and
// no lease reaches beyond what the block's time allows or ever goes down.
func TestIncarnations(t *testing.T) {
	w := newWorld(t, 4)
	network, err := w.Genesis.EthNetwork()
	if err != nil {
		t.Fatal(err)
	}
	w.block.Time = 1000 * (network.GenesisTime + 100*uint64(network.SlotDuration.Seconds())*network.Preset.SlotsPerEpoch)
	register := func(who action.Signer, life byte) []byte {
		id, a := w.Life(life, action.Anchor{})
		return w.Tx(who, action.KindRegistration, Registration{Domain: action.DomainValidator, ID: id, Anchor: a}.Encode())
	}
	lease := func(life byte, source uint64) []byte {
		id, a := w.Life(life, action.Anchor{})
		return w.Tx(node0, action.KindLease, Lease{Domain: action.DomainValidator, ID: id, Source: source, Anchor: a}.Encode())
	}
	now := func() action.Incarnation { return w.view().Incarnation(node0.Name, action.DomainValidator) }

	w.want(CodeDenied, lease(1, 50)) // no life yet
	w.want(OK, register(node0, 1))
	w.want(CodeConflict, register(node0, 1))
	if in := now(); in.Number != 1 || in.Ceiling != (action.Ceiling{}) || in.Former != (action.Ceiling{}) {
		t.Fatalf("first life %+v", in)
	}
	w.want(OK, lease(1, 50))
	first := now().Ceiling
	if first.Source != 50 || first.Target != 101 || first.Slot != 102*network.Preset.SlotsPerEpoch-1 {
		t.Fatalf("ceiling %+v in epoch 100", first)
	}
	w.want(OK, lease(1, 10)) // asks for less; a ceiling does not go down
	if now().Ceiling != first {
		t.Fatalf("ceiling %+v after %+v", now().Ceiling, first)
	}
	w.want(OK, lease(1, 1<<63)) // asks for more than there is
	if c := now().Ceiling; c.Source != 100 || c != action.CeilingAt(network, time.UnixMilli(int64(w.block.Time))) {
		t.Fatalf("ceiling %+v in epoch 100", c)
	}

	w.want(OK, register(node0, 2))
	if in := now(); in.Number != 2 || in.Former != (action.Ceiling{Slot: first.Slot, Source: 100, Target: 101}) || in.Ceiling != (action.Ceiling{}) {
		t.Fatalf("second life %+v", in)
	}
	w.want(CodeDenied, lease(1, 50)) // the first is over for good
	w.want(OK, register(node0, 3))
	if in := now(); in.Former.Target != 101 {
		t.Fatalf("what the first promised is forgotten by the third: %+v", in)
	}
	w.want(CodeDenied, register(alice, 4))
	w.want(CodeSigner, w.Tx(node0, action.KindRegistration, Registration{Domain: "secret"}.Encode()))
	if in := w.view().Incarnation(node1.Name, action.DomainValidator); in.Number != 0 {
		t.Fatalf("node1 has a life: %+v", in)
	}
}

func TestMisbehaviour(t *testing.T) {
	w := newWorld(t, 4)
	s := w.view()
	s.Misbehaviour(w.block, "DUPLICATE_VOTE", [20]byte{1}, 3)
	voter := proof.Validator{PubKey: ledgertest.Vote(node1).Public().(ed25519.PublicKey)}
	s.Misbehaviour(w.block, "DUPLICATE_VOTE", voter.Address(), 4)
	events := s.Events()
	if len(events) != 2 || events[0].Kind != EventIncident || events[1].Object != "node/"+node1.Name {
		t.Fatalf("recorded %+v", events)
	}
}

// TestFailureLeavesNoTrace carries random transactions, good and bad, one
// after another through one block.
func TestFailureLeavesNoTrace(t *testing.T) {
	w := newWorld(t, 4)
	k := w.giveKey(action.KeyRecord{PublicKey: []byte{1}, State: action.KeyActive})
	all := bodies(w.Cluster)
	kinds := slices.Sorted(maps.Keys(all))
	signers := []action.Signer{node0, node1, alice, olga}
	rapid.Check(t, func(t *rapid.T) {
		s := w.view()
		s.Begin(w.block)
		for range 20 {
			kind := rapid.SampledFrom(kinds).Draw(t, "kind")
			body := all[kind]
			switch rapid.IntRange(0, 5).Draw(t, "body") {
			case 0:
				kind, body = action.KindRequest, settingsOf(k, rapid.Uint64().Draw(t, "gas"))
			case 1:
				kind, body = action.KindRequest, CeremonyOpen{Params: w.Params(1, rapid.Byte().Draw(t, "nonce"))}.Encode()
			}
			raw := w.Numbered(rapid.SampledFrom(signers).Draw(t, "who"), rapid.Uint64Range(1, 30).Draw(t, "number"), kind, body)
			before, traced := digest(s), trace(s)
			r := carry(s, w.block, raw)
			if !moved(s, before, traced, r.Code) {
				t.Fatalf("%s (%s): left no trace, or one that it must not leave", r.Code, r.Info)
			}
		}
	})
}
