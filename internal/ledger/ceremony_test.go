package ledger

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
)

// players are the seats of one ceremony around a ledger.
type players struct {
	*world
	id    [32]byte
	seats map[int]*dkg.Participant
	// post returns what a seat posts in place of what it should; nil: as it should.
	post func(seat int, m []dkg.Message) []dkg.Message
}

func (w *world) open(who action.Signer, o CeremonyOpen, imports ...[]byte) *players {
	w.Helper()
	w.want(OK, w.Tx(who, action.KindRequest, o.Encode()))
	p := &players{world: w, id: o.Params.ID(), seats: map[int]*dkg.Participant{}}
	for _, seat := range w.Roster {
		p.seats[int(seat.Index)] = w.Participant(o.Params, int(seat.Index), imports...)
	}
	return p
}

func (p *players) board() *dkg.Board {
	b, _ := p.view().Ceremony(p.id)
	return b
}

// step makes a block of what all seats have to say, and reports whether the
// ledger took any of it.
func (p *players) step() (moved bool) {
	p.Helper()
	s := p.view()
	board, _ := s.Ceremony(p.id)
	var txs [][]byte
	for _, seat := range p.Roster {
		i := int(seat.Index)
		out, err := p.seats[i].Next(board, s.Source)
		if err != nil {
			p.Fatalf("seat %d in %s: %v", i, board.Phase(), err)
		}
		if p.post != nil {
			out = p.post(i, out)
		}
		for _, m := range out { // the next node carries it: it does not matter which
			txs = append(txs, p.Tx(ledgertest.Node(i%len(p.Roster)), action.KindCeremonyMessage, p.say(p.id, i, m)))
		}
	}
	for _, r := range p.next(txs...) {
		if r.Code != OK && r.Code != CodePhase {
			p.Fatalf("%s: %s", board.Phase(), r.Info)
		}
		moved = moved || r.Code == OK
	}
	return moved
}

// run goes on until the ceremony is over; when nobody has anything to say,
// time passes.
func (p *players) run() *dkg.Board {
	p.Helper()
	for range 200 {
		moved := p.step()
		switch b := p.board(); {
		case b.Phase() == dkg.PhaseAborted, b.Phase() == dkg.PhaseDone && !moved:
			return b
		case !moved && b.Deadline() > p.block.Time:
			p.at(b.Deadline())
		}
	}
	p.Fatalf("stuck in %s", p.board().Phase())
	return nil
}

func (w *world) count(kind EventKind) (n int) {
	for _, ev := range w.events {
		if ev.Kind == kind {
			n++
		}
	}
	return n
}

func TestKeygen(t *testing.T) {
	w := newWorld(t, 4)
	params := w.Params(3, 1)
	params.Hybrid = true
	p := w.open(alice, CeremonyOpen{Params: params, Purpose: "validators"})
	if open := w.view().OpenCeremonies(); len(open) != 1 || open[0] != p.id {
		t.Fatalf("open %x", open)
	}
	board := p.run()
	if board.Phase() != dkg.PhaseDone || len(board.Faults()) != 0 || !board.DepositSafe() {
		t.Fatalf("ended %s, faults %v, holders %s", board.Phase(), board.Faults(), board.Holders())
	}
	if len(w.view().OpenCeremonies()) != 0 || w.count(EventCeremonyDone) != 1 || w.count(EventKeyCreated) != 1 {
		t.Fatal("a finished ceremony is open still, or finished twice")
	}
	result, err := dkg.ReadResult(board, w.view().Source)
	if err != nil {
		t.Fatal(err)
	}
	var keys []*action.KeyRecord
	w.view().Keys(action.DomainValidator, func(k *action.KeyRecord) bool { keys = append(keys, k); return true })
	if len(keys) != 3 {
		t.Fatalf("%d keys", len(keys))
	}
	for k := range result.Keys() {
		rec, err := w.view().Key(action.DomainValidator, result.PublicKey(k))
		if err != nil {
			t.Fatal(err)
		}
		if rec.State != action.KeyActive || rec.Provenance != action.ProvenanceDealt || rec.Owner != "op0" || rec.Purpose != "validators" ||
			rec.Ceremony != p.id || rec.T != 3 || rec.N != 4 || rec.Epoch != 0 || !bytes.Equal(rec.Commitment, result.Commitment(k)) {
			t.Errorf("key %d: %+v", k, rec)
		}
	}
	// What a seat said is recorded as its operator's, not as the carrier's.
	for _, ev := range w.events {
		if seat, ok := strings.CutPrefix(ev.Actor, "custody/validator/seat"); ok && ev.Operator != fmt.Sprintf("op%d", seat[0]-'1') {
			t.Errorf("%s: recorded as %s of %s", ev.Kind, ev.Actor, ev.Operator)
		}
	}
	// t + f hold their shares: now, and only now, it may be deposited to.
	w.want(OK, w.Tx(alice, action.KindRequest, actionOn(keys[0], action.RuleDeposit, 1)))
	w.want(OK, w.Tx(alice, action.KindRequest, actionOn(keys[0], action.RuleExit, 1)))

	visited := 0
	w.view().Ceremonies(func(b *dkg.Board, a About) bool {
		visited++
		return b.ID() == p.id && a.By == alice.String()
	})
	if visited != 1 {
		t.Errorf("%d ceremonies", visited)
	}
}

// TestDeposit: a key of which only n - f seats proved their shares may not be
// deposited to until another one does.
func TestDeposit(t *testing.T) {
	w := newWorld(t, 7)
	late := true
	p := w.open(alice, CeremonyOpen{Params: w.Params(1, 1)})
	p.post = func(seat int, out []dkg.Message) []dkg.Message {
		return slices.DeleteFunc(out, func(m dkg.Message) bool {
			_, confirms := m.(*dkg.Confirm)
			return confirms && late && seat > 5
		})
	}
	board := p.run()
	if board.Phase() != dkg.PhaseDone || board.Holders().Len() != 5 {
		t.Fatalf("ended %s, holders %s", board.Phase(), board.Holders())
	}
	var key *action.KeyRecord
	w.view().Keys(action.DomainValidator, func(k *action.KeyRecord) bool { key = k; return false })
	w.want(CodeConflict, w.Tx(alice, action.KindRequest, actionOn(key, action.RuleDeposit, 1)))
	late = false
	p.step()
	if !p.board().DepositSafe() {
		t.Fatalf("holders %s", p.board().Holders())
	}
	w.want(OK, w.Tx(alice, action.KindRequest, actionOn(key, action.RuleDeposit, 1)))
}

func TestSilentSeatIsNamed(t *testing.T) {
	w := newWorld(t, 4)
	p := w.open(alice, CeremonyOpen{Params: w.Params(1, 1)})
	p.post = func(seat int, out []dkg.Message) []dkg.Message {
		if seat == 2 {
			return nil
		}
		return out
	}
	began := w.block.Time
	board := p.run()
	if board.Phase() != dkg.PhaseDone || board.Holders() != dkg.AllSeats(4).Without(dkg.Seats(0).With(2)) {
		t.Fatalf("ended %s, holders %s", board.Phase(), board.Holders())
	}
	if w.block.Time < began+60e3 {
		t.Error("nobody waited for the silent seat")
	}
	if f := board.Faults(); len(f) != 1 || f[0].Seat != 2 || f[0].Kind.Attributable() {
		t.Errorf("faults %v", f)
	}
	i := slices.IndexFunc(w.events, func(ev Event) bool { return ev.Kind == EventCeremonyFault })
	if i < 0 || !strings.Contains(w.events[i].Detail, "seat 2") || w.events[i].Actor != "ledger" {
		t.Errorf("events %+v", w.events)
	}
}

// TestTooManySilent: time alone ends a ceremony that cannot succeed.
func TestTooManySilent(t *testing.T) {
	w := newWorld(t, 4)
	key := dkgtest.PublicKey(dkg.SuiteG1, secretKey(5))
	open := CeremonyOpen{Params: ledgertest.Import(w.Params(1, 1), 1, [][]byte{key}), Keys: [][]byte{key}}
	p := w.open(node0, open, secretKey(5))
	p.post = func(seat int, out []dkg.Message) []dkg.Message {
		if seat > 2 {
			return nil
		}
		return out
	}
	p.step()
	p.at(p.board().Deadline() - 1)
	if p.board().Phase() != dkg.PhaseJoin {
		t.Fatalf("%s before the deadline", p.board().Phase())
	}
	p.at(p.board().Deadline())
	if p.board().Phase() != dkg.PhaseAborted || len(w.view().OpenCeremonies()) != 0 || w.last().Kind != EventCeremonyAborted {
		t.Fatalf("%s after it, events %+v", p.board().Phase(), w.last())
	}
	// Nothing that was claimed stays so.
	open.Params.Nonce[0]++
	w.want(OK, w.Tx(node0, action.KindRequest, open.Encode()))
	// An aborted ceremony takes nothing more.
	w.want(CodePhase, w.Tx(node0, action.KindCeremonyMessage, w.say(p.id, 3, p.seats[3].Join())))
}

func secretKey(b byte) []byte { return append(make([]byte, 31), b) }

func TestImportCeremony(t *testing.T) {
	w := newWorld(t, 4)
	secrets := [][]byte{secretKey(2), secretKey(3)}
	var keys [][]byte
	for _, s := range secrets {
		keys = append(keys, dkgtest.PublicKey(dkg.SuiteG1, s))
	}
	old := w.giveKey(action.KeyRecord{PublicKey: []byte{1}, State: action.KeyArchived})
	old.PublicKey, old.Epoch = keys[1], 4 // it was here before, and is archived
	gas := uint64(7)
	old.Settings.GasLimit = &gas
	s := w.view()
	s.putKey(old)
	w.commit(s)

	open := CeremonyOpen{Params: ledgertest.Import(w.Params(2, 1), 2, keys), Purpose: "import", Keys: keys}
	w.want(CodeConflict, w.Tx(node1, action.KindRequest, open.Encode())) // epoch 0 again
	open.Params.Epoch = 5
	board := w.open(node1, open, secrets...).run()
	if board.Phase() != dkg.PhaseDone || len(board.Faults()) != 0 {
		t.Fatalf("ended %s, faults %v", board.Phase(), board.Faults())
	}
	first, err := w.view().Key(action.DomainValidator, keys[0])
	if err != nil || first.Provenance != action.ProvenanceImportedWasWhole || first.Owner != "op1" || first.Epoch != 5 { // one number for all of them
		t.Errorf("%+v, %v", first, err)
	}
	if again, err := w.view().Key(action.DomainValidator, keys[1]); err != nil || again.State != action.KeyActive || again.Epoch != 5 || *again.Settings.GasLimit != 7 {
		t.Errorf("%+v, %v", again, err)
	}
	open.Params.Nonce[0]++
	w.want(CodeConflict, w.Tx(node1, action.KindRequest, open.Encode())) // in use now
}

// TestImportOfAKeyThatIsThere: an import is no way around a freeze. Only a key
// that was archived comes back.
func TestImportOfAKeyThatIsThere(t *testing.T) {
	for _, state := range []action.KeyState{action.KeyGenerated, action.KeyActive, action.KeyFrozen, action.KeyRevoked, action.KeyArchived, action.KeyDestroyed} {
		w := newWorld(t, 4)
		keys := [][]byte{dkgtest.PublicKey(dkg.SuiteG1, secretKey(2))}
		old := w.giveKey(action.KeyRecord{PublicKey: []byte{1}, State: state})
		old.PublicKey = keys[0]
		s := w.view()
		s.putKey(old)
		w.commit(s)
		open := CeremonyOpen{Params: ledgertest.Import(w.Params(1, 1), 2, keys), Purpose: "import", Keys: keys}
		open.Params.Epoch = 1
		want := CodeConflict
		if state == action.KeyArchived {
			want = OK
		}
		w.want(want, w.Tx(node1, action.KindRequest, open.Encode()))
	}
}

func TestImportClaims(t *testing.T) {
	w := newWorld(t, 4)
	key := func(b byte) []byte { return dkgtest.PublicKey(dkg.SuiteG1, secretKey(b)) }
	nonce := byte(0)
	open := func(importer uint8, keys ...[]byte) CeremonyOpen {
		nonce++
		return CeremonyOpen{Params: ledgertest.Import(w.Params(1, nonce), importer, keys), Keys: keys}
	}
	try := func(code Code, who action.Signer, o CeremonyOpen) {
		t.Helper()
		w.want(code, w.Tx(who, action.KindRequest, o.Encode()))
	}
	try(CodeConflict, node0, open(1, key(2), key(2))) // one key twice
	try(CodeDenied, node0, open(2, key(2)))           // another node's import
	try(CodeDenied, olga, open(1, key(2)))
	try(CodeMalformed, node0, open(1, key(2)[:32])) // not a key of this curve
	wrong := open(1, key(2))
	wrong.Keys = [][]byte{key(3)}
	try(CodeMalformed, node0, wrong)
	wrong.Keys = nil
	try(CodeMalformed, node0, wrong)
	try(CodeMalformed, alice, CeremonyOpen{Params: w.Params(1, 99), Keys: [][]byte{key(2)}}) // a keygen with keys

	try(OK, node0, open(1, key(2), key(3)))
	try(CodeConflict, node0, open(1, key(3)))         // by the same node
	try(CodeConflict, node1, open(2, key(4), key(2))) // by another, hidden among others
	try(OK, alice, open(2, key(4)))                   // a custodian, for any node: and key 4 was not left claimed

	// In one block the first wins.
	a, b := open(1, key(7)), open(2, key(7))
	if r := w.next(w.Tx(node1, action.KindRequest, b.Encode()), w.Tx(node0, action.KindRequest, a.Encode())); r[0].Code != OK || r[1].Code != CodeConflict {
		t.Fatalf("two imports in one block: %v", r)
	}
}

func TestCeremonyOpenIsChecked(t *testing.T) {
	w := newWorld(t, 4)
	for name, c := range map[string]struct {
		code   Code
		who    action.Signer
		change func(p *dkg.Params)
	}{
		"observer":        {CodeDenied, olga, nil},
		"node":            {CodeDenied, node0, nil},
		"other cluster":   {CodeCluster, alice, func(p *dkg.Params) { p.Cluster[0]++ }},
		"other roster":    {CodeConflict, alice, func(p *dkg.Params) { p.Roster[0]++ }},
		"other size":      {CodeConflict, alice, func(p *dkg.Params) { p.N, p.T = 7, 5 }},
		"unsafe":          {CodeMalformed, alice, func(p *dkg.Params) { p.T = 2 }},
		"other curve":     {CodeMalformed, alice, func(p *dkg.Params) { p.Suite = dkg.SuiteRistretto }},
		"no time":         {CodeMalformed, alice, func(p *dkg.Params) { p.Deadlines.Answer = 0 }},
		"for ever":        {CodeMalformed, alice, func(p *dkg.Params) { p.Deadlines.Answer = 1<<32 - 1 }},
		"no keys":         {CodeMalformed, alice, func(p *dkg.Params) { p.Keys = 0 }},
		"keygen, seat 1":  {CodeMalformed, alice, func(p *dkg.Params) { p.Importer = 1 }},
		"import, seat 0":  {CodeMalformed, alice, func(p *dkg.Params) { p.Mode = dkg.ModeImport; p.Expected[0] = 1 }},
		"import, seat 5":  {CodeMalformed, alice, func(p *dkg.Params) { p.Mode = dkg.ModeImport; p.Importer = 5; p.Expected[0] = 1 }},
		"import, no keys": {CodeMalformed, alice, func(p *dkg.Params) { p.Mode = dkg.ModeImport; p.Importer = 4; p.Expected[0] = 1 }},
		"good":            {OK, alice, nil},
	} {
		p := w.Params(1, 1)
		if c.change != nil {
			c.change(&p)
		}
		raw := w.Tx(c.who, action.KindRequest, CeremonyOpen{Params: p}.Encode())
		if r := carry(w.view(), w.block, raw); r.Code != c.code {
			t.Errorf("%s: %s (%s), want %s", name, r.Code, r.Info, c.code)
		}
	}
	o := CeremonyOpen{Params: w.Params(1, 1)}
	w.want(OK, w.Tx(alice, action.KindRequest, o.Encode()))
	w.want(CodeConflict, w.Tx(alice, action.KindRequest, o.Encode()))
}

func TestOpenCeremoniesAreLimited(t *testing.T) {
	w := newWorld(t, 4)
	open := func(who action.Signer, nonce byte) []byte {
		key := dkgtest.PublicKey(dkg.SuiteG1, secretKey(1+nonce))
		return w.Tx(who, action.KindRequest, CeremonyOpen{Params: ledgertest.Import(w.Params(1, nonce), 1, [][]byte{key}), Keys: [][]byte{key}}.Encode())
	}
	for i := range byte(maxOpenOf) {
		w.want(OK, open(node0, i))
	}
	w.want(CodeBusy, open(node0, 100))
	w.want(OK, open(alice, 101)) // others are not in its way
	for i := range byte(maxOpenCeremonies - maxOpenOf - 1) {
		w.openUnchecked(w.Params(1, i))
	}
	w.want(CodeBusy, open(alice, 102))
	// Time makes room again.
	w.at(w.block.Time + 1e9)
	w.at(w.block.Time + 1e9)
	if open := w.view().OpenCeremonies(); len(open) != 0 {
		t.Fatalf("%d open", len(open))
	}
	w.want(OK, open(node0, 103))
}

// TestCustodySpeaksForItself: only a seat's own custody process says something
// in its name, in this ceremony, in these words.
func TestCustodySpeaksForItself(t *testing.T) {
	w := newWorld(t, 4)
	p := w.open(alice, CeremonyOpen{Params: w.Params(1, 1)})
	other := w.open(alice, CeremonyOpen{Params: w.Params(1, 2)})
	join := p.seats[1].Join().Encode()
	good := CeremonyMessage{Ceremony: p.id, Seat: 1, Message: join, Signature: w.Say(p.id, 1, join)}
	for name, c := range map[string]struct {
		code   Code
		change func(m *CeremonyMessage)
	}{
		"seat 2 signs for 1":   {CodeSigner, func(m *CeremonyMessage) { m.Signature = w.Say(p.id, 2, join) }},
		"signed as seat 2":     {CodeSigner, func(m *CeremonyMessage) { m.Seat = 2 }},
		"for another ceremony": {CodeSigner, func(m *CeremonyMessage) { m.Signature = w.Say(other.id, 1, join) }},
		"in another ceremony":  {CodePhase, func(m *CeremonyMessage) { m.Ceremony = other.id; m.Signature = w.Say(other.id, 1, join) }},
		"in no ceremony":       {CodeNotFound, func(m *CeremonyMessage) { m.Ceremony[0]++ }},
		"other words":          {CodeSigner, func(m *CeremonyMessage) { m.Message = p.seats[2].Join().Encode() }},
		"the node's signature": {CodeSigner, func(m *CeremonyMessage) {
			m.Signature = w.Keys[node0].Sign("quorate/v1/ceremony/message", action.CeremonyParts(p.id, 1, join)...)
		}},
		"no signature":     {CodeSigner, func(m *CeremonyMessage) { m.Signature = nil }},
		"half a signature": {CodeSigner, func(m *CeremonyMessage) { m.Signature = append([]byte{byte(ident.Ed25519)}, m.Signature[1:65]...) }},
		"seat 0":           {CodeConflict, func(m *CeremonyMessage) { m.Seat = 0 }},
		"seat 5":           {CodeConflict, func(m *CeremonyMessage) { m.Seat = 5 }},
		"seat 65535":       {CodeConflict, func(m *CeremonyMessage) { m.Seat = 65535 }},
		"nothing":          {CodeMalformed, func(m *CeremonyMessage) { m.Message = nil; m.Signature = w.Say(p.id, 1, nil) }},
		"no message":       {CodeMalformed, func(m *CeremonyMessage) { m.Message = []byte{99}; m.Signature = w.Say(p.id, 1, m.Message) }},
		"a message out of season": {CodePhase, func(m *CeremonyMessage) {
			m.Message = (&dkg.Confirm{CID: p.id, Attestation: []byte{1}}).Encode()
			m.Signature = w.Say(p.id, 1, m.Message)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w.TB = t
			m := good
			c.change(&m)
			w.want(c.code, w.Tx(node0, action.KindCeremonyMessage, m.Encode()))
		})
	}
	w.TB = t
	w.want(CodeDenied, w.Tx(alice, action.KindCeremonyMessage, good.Encode())) // people carry nothing
	w.want(OK, w.Tx(node1, action.KindCeremonyMessage, good.Encode()))         // any node does
	w.want(CodePhase, w.Tx(node0, action.KindCeremonyMessage, good.Encode()))  // said before

	// What seat 2 makes of another's words is recorded as its own fault.
	stolen := CeremonyMessage{Ceremony: p.id, Seat: 2, Message: join, Signature: w.Say(p.id, 2, join)}
	w.want(OK, w.Tx(node0, action.KindCeremonyMessage, stolen.Encode()))
	if ev := w.last(); ev.Kind != EventCeremonyFault || !strings.HasPrefix(ev.Detail, "seat 2: no proof of possession") {
		t.Errorf("recorded %+v", ev)
	}
}
