package custody

import (
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/action/actiontest"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

// approvals is a world with people in it, and a request that two of them have
// to approve.
func approvals(w *world, asked *action.Action) *actiontest.Case {
	c := actiontest.People()
	c.Cluster = w.cluster
	c.Request = action.Request{Action: asked.Encode(), Nonce: [32]byte{1}, Policy: [32]byte{2}, By: "member/ana"}
	other := *asked
	other.PublicKey, other.Ceremony.Purpose = make([]byte, 48), "another" // one of which counts
	c.Other = action.Request{Action: other.Encode(), Nonce: [32]byte{3}, Policy: [32]byte{2}, By: "member/ana"}
	numbers := map[string]uint64{}
	c.Nonce = func(id string) uint64 { numbers[id]++; return numbers[id] }
	w.enrol(c, nil)
	return c
}

// enrol writes the members' records, those given in place of their own.
func (w *world) enrol(c *actiontest.Case, instead map[string]*action.MemberRecord) {
	for _, p := range c.Enrolled() {
		m := &p.Record
		if instead[m.ID] != nil {
			m = instead[m.ID]
		}
		w.ledger.Set(ns.Member([]byte(m.ID)), m.Encode())
	}
}

// evidence proves a grant that names the transactions, and everybody who signed
// them, as a ledger would that was deceived or that deceives.
func (w *world) evidence(c *actiontest.Case, path proof.Path, g *action.Grant, txs [][]byte, members map[string]*action.MemberRecord) Evidence {
	w.ledger.Set(path, g.Encode())
	paths := []proof.Path{path}
	seen := map[string]bool{}
	for _, raw := range txs {
		if tx, err := action.ParseTx(raw); err == nil && !seen[tx.Signer.Name] {
			seen[tx.Signer.Name] = true
			paths = append(paths, ns.Member([]byte(tx.Signer.Name)))
		}
	}
	w.enrol(c, members)
	defer w.enrol(c, nil)
	return Evidence{Certificate: w.certify(paths...), Approvals: txs}
}

// TestForgedApprovals: custody releases nothing on approvals that the members
// did not give, even when the whole ledger says that they did.
func TestForgedApprovals(t *testing.T) {
	w := newWorld(t, 4, nil)
	p := w.start(0)
	key := w.give(p, "key")
	duty := eth.Duty{Fork: w.fork(), Message: &eth.VoluntaryExit{Epoch: 7, ValidatorIndex: 1}}
	asked := &action.Action{Rule: action.RuleExit, Domain: action.DomainValidator, PublicKey: key[:], Duty: eth.EncodeDuty(duty)}
	c := approvals(w, asked)
	hash := asked.Hash(w.cluster)
	path := ns.Grant(hash[:])
	sign := func(ev Evidence) error {
		_, err := ask(p, MethodSign, SignRequest{Key: key, Duty: eth.EncodeDuty(duty), Evidence: ev}.Encode())
		return err
	}
	honest := func() [][]byte { return [][]byte{c.Approve(c.Ana, 0, nil), c.Approve(c.Bo, 1, nil)} }

	forgeries := c.Forgeries()
	for _, f := range forgeries {
		refused(t, f.Name, sign(w.evidence(c, path, c.Grant(f.Txs), f.Txs, f.Members)), rpc.CodeNotGranted)
	}
	txs := honest()
	g := c.Grant(txs)
	for name, ev := range map[string]Evidence{
		"approvals that the grant does not name": w.evidence(c, path, c.Grant(honest()), txs, nil),
		"in another order":                       w.evidence(c, path, g, [][]byte{txs[1], txs[0]}, nil),
		"fewer than the grant names":             w.evidence(c, path, g, txs[:1], nil),
		"more than the grant names":              w.evidence(c, path, g, append(txs, txs[0]), nil),
		"members who are not shown":              {Certificate: w.evidence(c, path, g, nil, nil).Certificate, Approvals: txs},
	} {
		refused(t, name, sign(ev), rpc.CodeNotGranted)
	}
	if n := len(forgeries) + 5; n < 100 {
		t.Errorf("only %d forgeries", n)
	}
	t.Logf("%d forgeries refused", len(forgeries)+5)
	if err := sign(w.evidence(c, path, g, txs, nil)); err != nil {
		t.Errorf("honest approvals: %v", err)
	}
}

// TestFloors: what the genesis asks for no ledger can lower.
func TestFloors(t *testing.T) {
	w := newWorld(t, 4, func(g *action.Genesis) {
		g.Floors = map[action.Rule]action.Need{action.RuleExit: {Approvals: 2, Operators: 2}}
	})
	p := w.start(0)
	key := w.give(p, "key")
	duty := eth.Duty{Fork: w.fork(), Message: &eth.VoluntaryExit{Epoch: 7, ValidatorIndex: 1}}
	asked := &action.Action{Rule: action.RuleExit, Domain: action.DomainValidator, PublicKey: key[:], Duty: eth.EncodeDuty(duty)}
	c := approvals(w, asked)
	hash := asked.Hash(w.cluster)
	for _, try := range []struct {
		name string
		txs  [][]byte
		ok   bool
	}{
		{"nobody", nil, false},
		{"one", [][]byte{c.Approve(c.Ana, 0, nil)}, false},
		{"two of one operator", [][]byte{c.Approve(c.Ana, 0, nil), c.Approve(c.Abe, 0, nil)}, false},
		{"two operators", [][]byte{c.Approve(c.Ana, 0, nil), c.Approve(c.Bo, 0, nil)}, true},
	} {
		g := c.Grant(try.txs)
		g.Need = action.Need{} // what a loosened policy asks for
		_, err := ask(p, MethodSign, SignRequest{Key: key, Duty: eth.EncodeDuty(duty), Evidence: w.evidence(c, ns.Grant(hash[:]), g, try.txs, nil)}.Encode())
		if try.ok && err != nil {
			t.Errorf("%s: %v", try.name, err)
		}
		if !try.ok {
			refused(t, try.name, err, rpc.CodeNotGranted)
		}
	}
}

// TestCeremonyNeedsApprovals: no seat is taken, and no seed drawn, in a
// ceremony that nobody agreed on.
func TestCeremonyNeedsApprovals(t *testing.T) {
	w := newWorld(t, 4, func(g *action.Genesis) {
		g.Floors = map[action.Rule]action.Need{action.RuleKeygen: {Approvals: 2, Operators: 2}}
	})
	p := w.start(0)
	params := w.params(dkg.ModeKeygen, 1)
	id := params.ID()
	board, _, err := dkg.NewBoard(params, uint64(time.Now().UnixMilli()))
	if err != nil {
		t.Fatal(err)
	}
	w.ledger.Set(ns.Ceremony(id[:]), board.Encode())
	asked := &action.Action{Rule: action.RuleKeygen, Ceremony: action.Ceremony{Params: params.Encode()}}
	c := approvals(w, asked)
	step := func(g *action.Grant, txs [][]byte, members map[string]*action.MemberRecord) error {
		ev := w.evidence(c, ns.Grant(id[:]), g, txs, members)
		paths := []proof.Path{ns.Ceremony(id[:]), ns.Grant(id[:])}
		for _, m := range c.Enrolled() {
			paths = append(paths, ns.Member([]byte(m.Record.ID)))
		}
		w.enrol(c, members)
		defer w.enrol(c, nil)
		ev.Certificate = w.certify(paths...)
		var e wire.Encoder
		e.Fixed(id[:])
		ev.encode(&e)
		e.Count(0)
		_, err := ask(p, MethodCeremony, e.Out())
		return err
	}
	for _, f := range c.Forgeries() {
		refused(t, f.Name, step(c.Grant(f.Txs), f.Txs, f.Members), rpc.CodeNotGranted)
	}
	txs := [][]byte{c.Approve(c.Ana, 0, nil), c.Approve(c.Bo, 1, nil)}
	another := *c
	other := w.params(dkg.ModeKeygen, 1)
	another.Request.Action = (&action.Action{Rule: action.RuleKeygen, Ceremony: action.Ceremony{Params: other.Encode()}}).Encode()
	theirs := [][]byte{another.Approve(c.Ana, 0, nil), another.Approve(c.Bo, 1, nil)}
	refused(t, "approvals of another ceremony", step(another.Grant(theirs), theirs, nil), rpc.CodeNotGranted)
	// No floor stands for a refresh. This is none.
	mislabelled := *c
	mislabelled.Request.Action = (&action.Action{Rule: action.RuleRefresh, Ceremony: action.Ceremony{Params: params.Encode()}}).Encode()
	free := mislabelled.Grant(nil)
	free.Need = action.Need{}
	refused(t, "a keygen under the name of a refresh", step(free, nil, nil), rpc.CodeNotGranted)
	if s := statusOf(t, p); len(s.Pending) != 0 {
		t.Fatalf("a seat was taken: %x", s.Pending)
	}
	if err := step(c.Grant(txs), txs, nil); err != nil {
		t.Fatal(err)
	}
	if s := statusOf(t, p); len(s.Pending) != 1 {
		t.Error("no seat was taken")
	}
}
