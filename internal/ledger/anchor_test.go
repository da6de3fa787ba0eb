package ledger

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
)

// Each lease anchors the record of the incarnation that takes it, under that
// incarnation's own key; a record that comes back shorter is an incident.
func TestAnchors(t *testing.T) {
	w := newWorld(t, 4)
	at := func(seq uint64, chain byte) action.Anchor {
		return action.Anchor{Sequence: seq, Chain: [32]byte{chain}, Watermarks: [32]byte{chain, 1}}
	}
	register := func(life byte, a action.Anchor) []byte {
		id, signed := w.Life(life, a)
		return w.Tx(node0, action.KindRegistration, Registration{Domain: action.DomainValidator, ID: id, Anchor: signed}.Encode())
	}
	lease := func(life byte, a action.Anchor) []byte {
		id, signed := w.Life(life, a)
		return w.Tx(node0, action.KindLease, Lease{Domain: action.DomainValidator, ID: id, Source: 1 << 62, Anchor: signed}.Encode())
	}
	now := func() action.Incarnation { return w.view().Incarnation(node0.Name, action.DomainValidator) }
	incident := func() bool { return w.last().Kind == EventIncident }
	network := mustParse(w.Genesis.EthNetwork())
	epochs := func(n uint64) {
		w.block.Time += n * network.Preset.SlotsPerEpoch * uint64(network.SlotDuration.Milliseconds())
	}

	w.want(OK, register(1, at(5, 5)))
	if in := now(); in.Anchor.Anchor != at(5, 5) || in.Before != (action.Anchored{}) || incident() {
		t.Fatalf("first life %+v, %+v", in, w.last())
	}
	w.want(OK, lease(1, at(5, 5))) // nothing was signed meanwhile
	first := now().Anchor.Epoch
	w.want(CodeConflict, lease(1, at(4, 4)))
	w.want(CodeConflict, lease(1, at(5, 6)))
	id, forged := w.Life(1, at(9, 9))
	forged.Chain[0]++
	w.want(CodeSigner, w.Tx(node0, action.KindLease, Lease{Domain: action.DomainValidator, ID: id, Source: 1, Anchor: forged}.Encode()))
	epochs(1)
	w.want(OK, lease(1, at(20, 20)))
	if in := now(); in.Anchor != (action.Anchored{Anchor: at(20, 20), Epoch: first + 1}) {
		t.Fatalf("anchor %+v", in.Anchor)
	}
	if ev := w.last(); ev.Kind != EventUsage || !strings.Contains(ev.Detail, "sequence 20, chain 14") || !strings.Contains(ev.Detail, "watermarks 1401") {
		t.Fatalf("the anchor's event: %+v", ev)
	}

	w.want(OK, register(2, at(20, 20))) // as it was left
	if in := now(); incident() || in.Before != (action.Anchored{Anchor: at(20, 20), Epoch: first + 1}) || in.RolledBack(at(20, 20)) {
		t.Fatalf("second life %+v, %+v", in, w.last())
	}
	w.want(OK, register(3, at(30, 30))) // what was signed after the last anchor
	if incident() {
		t.Fatalf("%+v", w.last())
	}
	for life, a := range map[byte]action.Anchor{4: at(29, 29), 5: at(10, 10)} {
		epochs(1)
		w.want(OK, register(life+10, at(30, 30)))
		w.want(OK, register(life, a))
		if ev := w.last(); !incident() || ev.Object != "custody/node00/validator" || !strings.Contains(ev.Detail, "rolled back") {
			t.Errorf("life %d: %+v", life, ev)
		}
		if in := now(); !in.RolledBack(a) || in.RolledBack(at(31, 31)) {
			t.Errorf("life %d: %+v", life, in)
		}
		epochs(1)
		w.want(OK, lease(life, at(a.Sequence+1, 1))) // it goes on, above its floor
	}
	w.want(OK, register(6, at(12, 12)))
	w.want(OK, register(7, at(12, 13))) // as long, and another
	if !incident() {
		t.Errorf("%+v", w.last())
	}
}

// A history from elsewhere needs who may bring one in, and leaves a grant of
// exactly that document.
func TestHistoryIsGranted(t *testing.T) {
	w := newWorld(t, 4)
	request := func(domain action.Domain, hash byte) (*action.Action, []byte) {
		a := &action.Action{Rule: action.RuleHistory, Domain: domain, History: action.History{Hash: [32]byte{hash}, Keys: 3}}
		return a, Ask{Action: a}.Encode()
	}
	a, body := request(action.DomainValidator, 1)
	w.want(OK, w.Tx(node0, action.KindRequest, body))
	hash := a.Hash(w.ID)
	g, err := action.ParseGrant(w.view().Get(w.view().ns.Grant(hash[:])))
	if err != nil || g.By != node0.String() || g.Expires != w.block.Time+grantLifetime {
		t.Errorf("%+v, %v", g, err)
	}
	if ev := w.last(); ev.Kind != EventGranted || ev.Purpose != "key.history" || !strings.Contains(ev.Object, "history/01") || ev.Actor != node0.String() {
		t.Errorf("%+v", ev)
	}
	_, body = request(action.DomainValidator, 2)
	w.want(CodeDenied, w.Tx(olga, action.KindRequest, body))
	_, body = request("secret", 2)
	w.want(CodeMalformed, w.Tx(node0, action.KindRequest, body))
}
