package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// handing is participants who hand their key over to the nodes of a ledger.
type handing struct {
	*players
	h       *hall
	key     []byte
	plan    CeremonyOpen
	dealers map[int]*dkg.Dealer
}

// holding makes a key among n participants.
func holding(t *testing.T, n int) *hall {
	h := newWorld(t, 4).assemble(assemblytest.New(t, n, 1, 0, nil))
	if b := h.run(); b.Phase() != assembly.PhaseDone {
		t.Fatalf("the assembly ended %s", b.Phase())
	}
	return h
}

// plan asks nodes to take over the key of an assembly.
func (h *hall) plan(nonce byte, edit func(*dkg.Params)) CeremonyOpen {
	h.Helper()
	base := h.world.Params(1, nonce)
	plans, err := h.view().PlanRenewal(Renewal{Mode: dkg.ModeReshare, Handover: true, Keys: [][]byte{h.record().PublicKey}, Purpose: "stake"}, base)
	if err != nil {
		h.Fatal(err)
	}
	if edit != nil {
		edit(&plans[0].Params)
	}
	return plans[0]
}

// handOver opens the ceremony and prepares everybody.
func (h *hall) handOver(nonce byte, edit func(*dkg.Params)) *handing {
	h.Helper()
	o := h.plan(nonce, edit)
	x := &handing{players: h.world.open(alice, o), h: h, key: o.Keys[0], plan: o, dealers: map[int]*dkg.Dealer{}}
	for seat := 1; seat <= int(h.Crowd.Params.N); seat++ {
		x.dealers[seat] = x.dealer(seat, seat)
	}
	return x
}

// dealer deals the share of one seat in the name of another.
func (x *handing) dealer(seat, share int) *dkg.Dealer {
	x.Helper()
	f := x.h.follow()
	certificate, err := f.Board().Certificate()
	if err != nil {
		x.Fatal(err)
	}
	held, err := x.h.Share(f, share)
	if err != nil {
		x.Fatal(err)
	}
	seed := sha256.Sum256(fmt.Append(nil, "hand-over seed", seat, share, x.plan.Params.Nonce))
	d, err := dkg.NewDealer(x.plan.Params, seat, secret.New(seed[:]), held, certificate.Path(share))
	if err != nil {
		x.Fatal(err)
	}
	return d
}

// untilDeal has the nodes join.
func (x *handing) untilDeal() {
	x.Helper()
	for x.board().Phase() == dkg.PhaseJoin {
		x.step()
	}
	if phase := x.board().Phase(); phase != dkg.PhaseDeal {
		x.Fatalf("the nodes joined, and it is in phase %s", phase)
	}
}

// says is what a participant has to say, signed.
func (x *handing) says(seat int) []DealerMessage {
	x.Helper()
	s := x.view()
	out, err := x.dealers[seat].Next(x.board(), s.Source)
	if err != nil {
		x.Fatal(err)
	}
	var said []DealerMessage
	for _, m := range out {
		said = append(said, x.sign(x.h.Keys[seat-1], seat, m.Encode()))
	}
	return said
}

func (x *handing) sign(key ident.PrivateKey, seat int, raw []byte) DealerMessage {
	return DealerMessage{Ceremony: x.id, Seat: uint16(seat), Message: raw,
		Signature: key.Sign(wire.TagDealerMessage, action.CeremonyParts(x.id, uint16(seat), raw)...)}
}

func (x *handing) tx(m DealerMessage) []byte {
	return x.world.Tx(ledgertest.Node(int(m.Seat)%4), action.KindDealing, m.Encode())
}

// deal has participants deal, one after the other.
func (x *handing) deal(seats ...int) {
	x.Helper()
	for _, seat := range seats {
		for _, m := range x.says(seat) {
			x.world.want(OK, x.tx(m))
		}
	}
}

func (x *handing) keyRecord() *action.KeyRecord {
	k, err := x.view().Key(action.DomainValidator, x.key)
	if err != nil {
		x.Fatal(err)
	}
	return k
}

// TestHandover: participants hand their key over, one of them absent. The
// nodes hold it under the same public key, and renew it like any other.
func TestHandover(t *testing.T) {
	for _, hybrid := range []bool{false, true} {
		h := holding(t, 5)
		x := h.handOver(1, func(p *dkg.Params) { p.Hybrid = hybrid })
		if k := x.keyRecord(); k.State != action.KeyHeld || !k.Held() || HoldersOf(k) != 0 {
			t.Fatalf("while it is open: %+v", k)
		}
		x.untilDeal()
		x.deal(2, 5, 3, 1)
		board := x.run()
		if board.Phase() != dkg.PhaseDone || !board.DepositSafe() || len(board.Faults()) != 0 {
			t.Fatalf("ended %s: %v", board.Phase(), board.Faults())
		}
		result, err := dkg.ReadResult(board, x.view().Source)
		if err != nil {
			t.Fatal(err)
		}
		k := x.keyRecord()
		if k.State != action.KeyActive || k.Epoch != 1 || k.Held() || !k.Holds(1) || k.Provenance != action.ProvenanceAssembled || k.Ceremony != x.id ||
			k.T != 3 || k.N != 4 || !bytes.Equal(k.Commitment, result.Commitment(0)) || !bytes.Equal(k.Commitment[:48], x.key) || Origin(k) != ceremonyName(x.id) {
			t.Fatalf("taken over: %+v", k)
		}
		if from, ok := x.view().Assembled(x.key); !ok || from.Ceremony != h.id || from.N != 5 || from.T != 4 {
			t.Errorf("it comes from %+v", from)
		}
		handover, stopped := x.view().Handover(x.id)
		if handover != (action.Handover{}) || stopped != 0 || x.view().Get(x.view().ns.Handover(x.id[:])) == nil {
			t.Errorf("somebody held it before: %+v", handover)
		}
		for _, seat := range x.Roster {
			if in := x.view().Incarnation(seat.Node, action.DomainValidator); in.Handovers != 0 {
				t.Errorf("%s gave something up", seat.Node)
			}
		}
		// A second hand-over is refused, and so is a seal of the old state.
		x.world.want(CodeConflict, x.world.Tx(alice, action.KindRequest, x.second().Encode()))
		w := x.world
		w.follow(x.players, w.renewing(9, [][]byte{x.key}, nil)).run()
		if k := x.keyRecord(); k.Epoch != 2 || k.State != action.KeyActive {
			t.Errorf("refreshed: %+v", k)
		}
	}
}

// second asks for the same again under another nonce.
func (x *handing) second() CeremonyOpen {
	o := x.plan
	o.Params.Nonce[0] ^= 1
	return o
}

// TestHandoverAborts: too few participants deal, and nothing has changed: they
// can hand over anew.
func TestHandoverAborts(t *testing.T) {
	h := holding(t, 4)
	before := h.view().Get(h.view().ns.Key(string(action.DomainValidator), h.record().PublicKey))
	x := h.handOver(1, nil)
	x.untilDeal()
	x.deal(1, 2)
	late := x.says(3)[0]
	if board := x.run(); board.Phase() != dkg.PhaseAborted {
		t.Fatalf("ended %s", board.Phase())
	}
	if after := h.view().Get(h.view().ns.Key(string(action.DomainValidator), x.key)); !bytes.Equal(after, before) {
		t.Fatal("the key's record has changed")
	}
	h.world.want(CodePhase, x.tx(late))
	again := h.handOver(2, nil)
	again.untilDeal()
	h.world.want(CodePhase, again.tx(again.sign(h.Keys[2], 3, late.Message))) // of the other ceremony
	again.deal(1, 2, 3, 4)
	if board := again.run(); board.Phase() != dkg.PhaseDone || again.keyRecord().State != action.KeyActive {
		t.Fatalf("the second ended %s", board.Phase())
	}
	// Archived meanwhile, a key stays archived.
	h = holding(t, 4)
	x = h.handOver(1, nil)
	x.untilDeal()
	s, key := h.view(), x.keyRecord()
	key.State = action.KeyArchived
	s.putKey(key)
	h.world.commit(s)
	x.deal(1, 2, 3)
	if board := x.run(); board.Phase() != dkg.PhaseDone || x.keyRecord().State != action.KeyArchived || x.keyRecord().Epoch != 1 {
		t.Fatalf("archived meanwhile, it ended %s: %+v", board.Phase(), x.keyRecord())
	}
}

// TestDealingsAreChecked: whatever is not a participant's own dealing of its
// own share to this ceremony, in time and for the first time, leaves no trace.
func TestDealingsAreChecked(t *testing.T) {
	h := holding(t, 5)
	x := h.handOver(1, nil)
	w := x.world
	early := x.sign(h.Keys[0], 1, (&dkg.Dealing{CID: x.id, Dealer: 1, R: mustJoin(x).Key}).Encode())
	w.want(CodePhase, x.tx(early))
	x.untilDeal()
	one, two := x.says(1)[0], x.says(2)[0]
	other := x.dealer(1, 2) // seat 2's share and path, in seat 1's name
	if _, err := other.Next(x.board(), h.view().Source); err == nil {
		t.Error("a dealer deals from a share that is not its own")
	}
	forge := func(edit func(*DealerMessage)) DealerMessage {
		m := one
		m.Message, m.Signature = slices.Clone(one.Message), slices.Clone(one.Signature)
		edit(&m)
		return m
	}
	edited := func(edit func(*dkg.Dealing)) DealerMessage {
		parsed, err := dkg.ParseMessage(one.Message)
		if err != nil {
			t.Fatal(err)
		}
		d := parsed.(*dkg.Dealing)
		edit(d)
		return x.sign(h.Keys[0], 1, d.Encode())
	}
	for name, c := range map[string]struct {
		m    DealerMessage
		code Code
	}{
		"not signed":            {forge(func(m *DealerMessage) { m.Signature[9] ^= 1 }), CodeSigner},
		"signed by another":     {x.sign(h.Keys[1], 1, one.Message), CodeSigner},
		"of another seat":       {x.sign(h.Keys[1], 2, one.Message), CodePhase},
		"of no seat":            {x.sign(h.Keys[0], 6, one.Message), CodeNotFound},
		"of seat 0":             {x.sign(h.Keys[0], 0, one.Message), CodeNotFound},
		"signed for another":    {forge(func(m *DealerMessage) { m.Seat = 3 }), CodeSigner},
		"to another ceremony":   {forge(func(m *DealerMessage) { m.Ceremony = [32]byte{7} }), CodeNotFound},
		"to the assembly":       {forge(func(m *DealerMessage) { m.Ceremony = h.id }), CodeNotFound},
		"a byte more":           {x.sign(h.Keys[0], 1, append(slices.Clone(one.Message), 0)), CodeMalformed},
		"what a seat says":      {x.sign(h.Keys[0], 1, mustJoin(x).Encode()), CodePhase},
		"with another path":     {edited(func(d *dkg.Dealing) { d.Path[0][0] ^= 1 }), CodePhase},
		"without path":          {edited(func(d *dkg.Dealing) { d.Path = nil }), CodePhase},
		"with another constant": {edited(func(d *dkg.Dealing) { copy(d.Leaf, two.Message[len(two.Message)-len(d.Leaf):]) }), CodePhase},
		"with another leaf":     {edited(func(d *dkg.Dealing) { d.Leaf[len(d.Leaf)-1] ^= 1 }), CodePhase},
		"of another assembly":   {edited(func(d *dkg.Dealing) { d.CID = h.id }), CodePhase},
	} {
		t.Run(name, func(t *testing.T) {
			x.TB = t
			w.want(c.code, x.tx(c.m))
			if err := h.view().TakesDealing(c.m); err == nil {
				t.Error("the door lets it in")
			}
		})
	}
	w.TB = t
	// A member cannot carry it, nor can a dealing stand in another kind of transaction.
	w.want(CodeDenied, w.Tx(alice, action.KindDealing, one.Encode()))
	w.want(CodeSigner, w.Tx(node0, action.KindCeremonyMessage, one.Encode()))
	w.want(CodeSigner, w.Tx(node0, action.KindAssembly, AssemblyMessage{Ceremony: h.id, Seat: 1, Message: one.Message, Signature: one.Signature}.Encode()))
	if err := h.view().TakesDealing(one); err != nil {
		t.Errorf("the door refuses a dealing: %v", err)
	}
	w.want(OK, x.tx(one))
	w.want(CodePhase, x.tx(one))
	w.want(CodePhase, x.tx(edited(func(d *dkg.Dealing) {})))
	if x.board().Dealt().Len() != 1 {
		t.Errorf("dealt %s", x.board().Dealt())
	}
	x.deal(2, 3, 4)
	x.run()
	w.want(CodePhase, x.tx(x.sign(h.Keys[4], 5, one.Message)))
	// A ceremony of nodes alone hears no participants.
	p := w.open(alice, CeremonyOpen{Params: w.Params(1, 77), Purpose: "validators"})
	m := one
	m.Ceremony = p.id
	w.want(CodePhase, x.tx(m))
}

// TestHandoverOnReplicas: in any order, among what is forged or comes twice,
// replicas agree, those that lost what they computed included; and what they
// refuse leaves no trace.
func TestHandoverOnReplicas(t *testing.T) {
	for n := 4; n <= 7; n++ {
		h := holding(t, n)
		x := h.handOver(byte(n), func(p *dkg.Params) { p.Hybrid = n%2 == 0 })
		replicas := []*world{h.world.replica(&Cache{}), h.world.replica(nil)}
		silent := 1 + h.rand.IntN(n)
		var said []DealerMessage // and taken, to be brought again
		for !x.ended() {
			var txs [][]byte
			var want []Code
			add := func(code Code, raw []byte) { txs, want = append(txs, raw), append(want, code) }
			s, board := h.view(), x.board()
			for i, seat := range x.seats {
				out, err := seat.Next(board, s.Source)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range out {
					add(OK, x.Tx(ledgertest.Node(i%4), action.KindCeremonyMessage, x.say(x.id, i, m)))
				}
			}
			before := len(said)
			for seat := 1; seat <= n; seat++ {
				if seat == silent || h.rand.IntN(3) == 0 {
					continue
				}
				for _, m := range x.says(seat) {
					forged := m
					forged.Seat = uint16(seat%n + 1)
					add(CodeSigner, x.tx(forged))
					add(OK, x.tx(m))
					add(CodePhase, x.tx(m))
					said = append(said, m)
				}
			}
			for _, m := range said[:before] {
				add(CodePhase, x.tx(m))
			}
			now := x.block.Time + 1000
			if before == n-1 && board.Phase() == dkg.PhaseDeal {
				now = max(now, board.Deadline()) // nobody knows that the last one never comes
			}
			for i, r := range h.block(now, replicas, txs) {
				// A block may end the phase ahead of a message, or before the next.
				if r.Code != want[i] && (want[i] != OK || r.Code != CodePhase) {
					t.Fatalf("%s (%s), want %s", r.Code, r.Info, want[i])
				}
			}
		}
		if k := x.keyRecord(); x.board().Phase() != dkg.PhaseDone || k.State != action.KeyActive || x.board().Dealt().Has(silent) {
			t.Errorf("of %d: ended %s, the key is %s", n, x.board().Phase(), k.State)
		}
	}
}

func (x *handing) ended() bool {
	phase := x.board().Phase()
	return phase == dkg.PhaseAborted || phase == dkg.PhaseDone && x.board().DepositSafe()
}

// mustJoin is something that a node says in the ceremony.
func mustJoin(x *handing) *dkg.Join { return x.seats[1].Join() }

// TestHandoverIsAskedFor: policies judge it, and only a key that participants
// hold is handed over, as they hold it.
func TestHandoverIsAskedFor(t *testing.T) {
	h := holding(t, 4)
	w := h.world
	good := h.plan(1, nil)
	dealt := w.open(alice, CeremonyOpen{Params: w.Params(1, 50), Purpose: "validators"})
	dealt.run()
	var ours []byte
	for _, k := range w.inventory() {
		if !bytes.Equal(k, good.Keys[0]) {
			ours = k
		}
	}
	held, _ := w.view().Key(action.DomainValidator, good.Keys[0])
	for name, c := range map[string]struct {
		edit func(*CeremonyOpen)
		code Code
	}{
		"another assembly": {func(o *CeremonyOpen) { o.Params.Old.Assembly[0] ^= 1 }, CodeConflict},
		"another result":   {func(o *CeremonyOpen) { o.Params.Expected[0] ^= 1 }, CodeConflict},
		"fewer dealers":    {func(o *CeremonyOpen) { o.Params.Old.T, o.Params.Old.N = 4, 5 }, CodeConflict},
		"a key of nodes":   {func(o *CeremonyOpen) { o.Keys = [][]byte{ours} }, CodeConflict},
		"an unknown key":   {func(o *CeremonyOpen) { o.Keys = [][]byte{make([]byte, 48)} }, CodeNotFound},
		"two weeks":        {func(o *CeremonyOpen) { o.Params.Deadlines.Deal = 2 * maxAssemblyPhase }, CodeMalformed},
		"slow answers":     {func(o *CeremonyOpen) { o.Params.Deadlines.Answer = maxPhase + 1 }, CodeMalformed},
		"slow nodes":       {func(o *CeremonyOpen) { o.Params.Deadlines.Verify = maxPhase + 1 }, CodeMalformed},
		"another epoch":    {func(o *CeremonyOpen) { o.Params.Epoch, o.Params.Old.Epoch = 2, 1 }, CodeMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			w.TB = t
			o := good
			c.edit(&o)
			w.want(c.code, w.Tx(alice, action.KindRequest, o.Encode()))
		})
	}
	w.TB = t
	// A reshare's name does not open it, nor does it open a reshare.
	ask := good.Ask()
	ask.Action.Rule = action.RuleReshare
	w.want(CodeMalformed, w.Tx(alice, action.KindRequest, ask.Encode()))
	ask = good.Ask()
	ask.Keys = good.Keys
	w.want(CodeMalformed, w.Tx(alice, action.KindRequest, ask.Encode()))
	timer := action.Action{Rule: action.RuleTimerSet, Timer: action.Timer{Name: "t", First: w.block.Time + 3_600_000, Action: good.Ask().Action.Encode()}}
	w.want(CodeMalformed, w.Tx(alice, action.KindRequest, grantOf(timer)))
	if _, err := w.view().PlanRenewal(Renewal{Mode: dkg.ModeRefresh, Keys: good.Keys}, w.Params(1, 3)); err == nil || !strings.Contains(err.Error(), "held by participants") {
		t.Errorf("a refresh of it: %v", err)
	}
	for name, r := range map[string]Renewal{"of a key of nodes": {Keys: [][]byte{ours}}, "of no key": {}, "of two": {Keys: [][]byte{ours, good.Keys[0]}},
		"with an unsafe threshold": {Keys: good.Keys, Threshold: 1}, "with lost shares": {Keys: good.Keys, Lost: seatsOf(1)}} {
		r.Mode, r.Handover = dkg.ModeReshare, true
		if _, err := w.view().PlanRenewal(r, w.Params(1, 3)); err == nil {
			t.Errorf("a hand-over %s is planned", name)
		}
	}
	// Policies judge it as an action on that key.
	w.govern(fmt.Sprintf(`version: 1
name: t
permissions: |
  permit (principal, action, resource) unless { action == Action::"request ceremony.handover" && !(resource is Key && resource.purpose == %q && resource.state == "held") };
tiers:
  - {name: stake, actions: [ceremony.handover], approvals: 1, approvers: [custodian, approver], self_approval: true}
  - {name: rest, actions: ["*"], approvals: 0}
`, held.Purpose))
	r := w.want(OK, w.Tx(alice, action.KindRequest, good.Encode()))
	if r.Request == [32]byte{} {
		t.Fatal("nobody has to agree")
	}
	if id := good.Params.ID(); w.view().board(id) != nil {
		t.Fatal("it is open before anybody agreed")
	}
	w.govern(`version: 1
name: t
permissions: |
  permit (principal, action, resource) unless { action == Action::"request ceremony.handover" && resource is Key && resource.purpose == "treasury" };
tiers:
  - {name: rest, actions: ["*"], approvals: 0}
`)
	w.want(CodeDenied, w.Tx(alice, action.KindRequest, good.Encode()))
}

// TestHandoversAgreedAtOnce: of two that were agreed to and locked together one
// begins, and the other never does, though the first is aborted.
func TestHandoversAgreedAtOnce(t *testing.T) {
	h := holding(t, 4)
	w := h.world
	w.govern(`version: 1
name: t
permissions: |
  permit (principal, action, resource);
tiers:
  - {name: stake, actions: [ceremony.handover], approvals: 1, approvers: [custodian, approver], self_approval: true, delay: {time: 10s, blocks: 2}}
  - {name: rest, actions: ["*"], approvals: 0}
`)
	var requests [][32]byte
	plans := []CeremonyOpen{h.plan(1, nil), h.plan(2, nil)}
	for _, o := range plans {
		id := w.want(OK, w.Tx(alice, action.KindRequest, o.Encode())).Request
		requests = append(requests, id)
	}
	for _, id := range requests {
		r, _ := w.view().Request(id)
		d := action.Decision{Request: id, Action: action.HashAction(w.ID, r.Action), Policy: r.Policy, Verdict: action.Approve}
		w.want(OK, w.Tx(alice, action.KindDecision, d.Encode()))
	}
	for range 4 { // while it is locked
		w.next()
		for _, o := range plans {
			if w.view().board(o.Params.ID()) != nil {
				t.Fatal("it is open though it is locked")
			}
		}
	}
	for range 20 {
		w.next()
	}
	var open, failed int
	for i, id := range requests {
		r, _ := w.view().Request(id)
		switch board := w.view().board(plans[i].Params.ID()); {
		case r.State == RequestExecuted && board != nil:
			open++
		case r.State == RequestFailed && board == nil && strings.Contains(r.Reason, "another ceremony is about key"):
			failed++
		default:
			t.Errorf("request %d is %s: %q", i, r.State, r.Reason)
		}
	}
	if open != 1 || failed != 1 {
		t.Fatalf("%d are open, %d failed", open, failed)
	}
	// Nobody deals in it, and it ends. What failed stays so, until somebody asks anew.
	for range 1000 {
		w.next()
	}
	for i, id := range requests {
		r, _ := w.view().Request(id)
		board := w.view().board(plans[i].Params.ID())
		if r.State == RequestFailed && board != nil || r.State == RequestExecuted && board.Phase() != dkg.PhaseAborted {
			t.Errorf("request %d is %s, and its ceremony is there: %t", i, r.State, board != nil)
		}
	}
	if key := h.plan(3, nil).Keys[0]; w.view().Get(w.view().claimPath(key)) != nil {
		t.Error("the key is still claimed")
	}
}
