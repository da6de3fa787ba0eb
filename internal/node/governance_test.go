package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ledger"
)

// twoAgree asks two operators for everything, and for a second and two blocks
// where it is about members.
const twoAgree = `version: 1
name: two agree
permissions: |
  permit (principal in Role::"custodian", action, resource);
tiers:
  - name: slow
    actions: [member.*]
    approvals: 2
    operators: 2
    approvers: [custodian]
    self_approval: true
    delay: {time: 1s, blocks: 2}
  - name: all
    actions: ["*"]
    approvals: 2
    operators: 2
    approvers: [custodian]
    self_approval: true
`

// people are custodians of different operators, with their keys.
type people struct {
	records []action.MemberRecord
	keys    []ident.PrivateKey
}

func newPeople(t *testing.T, n int) (p people) {
	for i := range n {
		key, _, err := ident.Generate(ident.Ed25519, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		p.keys = append(p.keys, key)
		p.records = append(p.records, action.MemberRecord{ID: fmt.Sprintf("m%d", i), Operator: fmt.Sprintf("op%d", i), Region: "r",
			Roles: []string{action.RoleCustodian}, Keys: []ident.PublicKey{key.Public()}})
	}
	return p
}

// say submits one of their transactions at a node.
func (p people) say(ctx context.Context, n *Node, who int, kind action.Kind, body []byte) (Receipt, error) {
	signer := action.Signer{Class: action.SignerMember, Name: p.records[who].ID}
	view, err := n.View()
	if err != nil {
		return Receipt{}, err
	}
	tx := action.Tx{Cluster: n.cluster, Kind: kind, Signer: signer, Nonce: view.NextNonce(signer), Body: body}
	rand.Read(tx.Salt[:])
	return n.SubmitRaw(ctx, tx.Sign(p.keys[who]))
}

// TestPromptExecution: with the last signature, or as soon as the lock has
// ended, a request is executed within two blocks, though nobody comes back for
// it and the ledger rests in between.
func TestPromptExecution(t *testing.T) {
	p := newPeople(t, 2)
	nodes := startClusterWith(t, 4, func(int, *Config) {}, func(g *action.Genesis) { g.Policy, g.Members = twoAgree, p.records })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, n := range nodes[:2] {
		if err := n.app.await(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	inner := (&action.Action{Rule: action.RuleTimerCancel, Name: "x"}).Encode()
	timer := &action.Action{Rule: action.RuleTimerSet, Timer: action.Timer{Name: "t", First: uint64(time.Now().Add(time.Hour).UnixMilli()), Action: inner}}
	newcomer := newPeople(t, 1).records[0]
	newcomer.ID = "new"
	for _, c := range []struct {
		name   string
		action *action.Action
		locked bool
	}{{"at once", timer, false}, {"locked", &action.Action{Rule: action.RuleEnrol, Member: &newcomer}, true}} {
		asked, err := p.say(ctx, nodes[0], 0, action.KindRequest, ledger.Ask{Action: c.action}.Encode())
		if err != nil || asked.Request == [32]byte{} {
			t.Fatalf("%s: ask: %+v, %v", c.name, asked, err)
		}
		var last Receipt
		for who := range p.keys {
			if last, err = p.approve(ctx, nodes[who], who, asked.Request); err != nil {
				t.Fatalf("%s: approve: %v", c.name, err)
			}
		}
		r := awaitEnd(t, ctx, nodes[0], asked.Request)
		executed := heightOf(t, nodes[0], ledger.EventExecuted, asked.Request)
		from := last.Height
		if c.locked {
			from = lastLocked(nodes[0], executed, r)
		}
		t.Logf("%s: approved at height %d, lock ends at %d or time %d; executed at %d, %d blocks later", c.name, last.Height, r.UnlockHeight, r.Unlock, executed, executed-from)
		if r.State != ledger.RequestExecuted || executed < from || executed > from+2 {
			t.Errorf("%s: %s at height %d, %d blocks after height %d", c.name, r.State, executed, int64(executed)-int64(from), from)
		}
	}
}

func (p people) approve(ctx context.Context, n *Node, who int, request [32]byte) (Receipt, error) {
	for { // the request may be on its way to this node
		view, err := n.View()
		if err != nil {
			return Receipt{}, err
		}
		if r, ok := view.Request(request); ok {
			d := action.Decision{Request: request, Action: action.HashAction(n.cluster, r.Action), Policy: r.Policy, Verdict: action.Approve}
			return p.say(ctx, n, who, action.KindDecision, d.Encode())
		}
		_, moved := n.app.wait()
		select {
		case <-moved:
		case <-ctx.Done():
			return Receipt{}, errors.New("the request never came")
		}
	}
}

// awaitEnd waits until nothing can come of a request any more.
func awaitEnd(t *testing.T, ctx context.Context, n *Node, request [32]byte) *ledger.Request {
	t.Helper()
	for {
		_, moved := n.app.wait()
		view, err := n.View()
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := view.Request(request); ok && !r.State.Live() {
			return r
		}
		select {
		case <-moved:
		case <-ctx.Done():
			t.Fatal("the request waits for ever")
		}
	}
}

// lastLocked returns the last height, before one, at which the lock of a request
// had not ended.
func lastLocked(n *Node, before uint64, r *ledger.Request) uint64 {
	blocks := n.engine.Load().BlockStore()
	for h := before - 1; h > 0; h-- {
		if at := uint64(blocks.LoadBlockMeta(int64(h)).Header.Time.UnixMilli()); at < r.Unlock || h < r.UnlockHeight {
			return h
		}
	}
	return 0
}

// heightOf returns the height of an event on a request.
func heightOf(t *testing.T, n *Node, kind ledger.EventKind, request [32]byte) uint64 {
	t.Helper()
	view, err := n.View()
	if err != nil {
		t.Fatal(err)
	}
	size, _ := view.LogRoot()
	for i := range size {
		if e := view.Event(i); e != nil && e.Kind == kind && e.Object == fmt.Sprintf("request/%x", request) {
			return e.Height
		}
	}
	t.Fatalf("no event %s on the request", kind)
	return 0
}
