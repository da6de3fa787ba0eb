// Package audittest runs a small cluster in memory whose evidence verifies.
//
// Owns: [Cluster], a real ledger with the keys of its nodes, members and
// witness, which makes blocks, certificates and checkpoints.
//
// Never: a mock. Everything follows from names and numbers, so that two runs
// make the same bytes.
package audittest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ident/identtest"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/proof/prooftest"
	"github.com/quorate/quorate/internal/wire"
)

// Members: Alice, with a hybrid key, is a custodian, Bob, with a classical
// one, Dave, with that of an SSH agent, and Erin, with a passkey, approve, and
// Carol, with a hybrid one again, has to be enrolled first.
var (
	Alice = action.Signer{Class: action.SignerMember, Name: "alice"}
	Bob   = action.Signer{Class: action.SignerMember, Name: "bob"}
	Carol = action.Signer{Class: action.SignerMember, Name: "carol"}
	Dave  = action.Signer{Class: action.SignerMember, Name: "dave"}
	Erin  = action.Signer{Class: action.SignerMember, Name: "erin"}
)

const policy = `version: 1
name: audittest
permissions: |
  @id("custodians")
  permit (principal in Role::"custodian", action, resource);
  @id("approvers")
  permit (principal in Role::"approver", action in Action::"approve", resource);
  @id("clock")
  permit (principal is Clock, action, resource);
  @id("timers")
  @reason("timers run")
  forbid (principal, action in Action::"timer.cancel", resource);
tiers:
  - name: govern
    actions: [policy.change, member.enrol]
    approvals: 4
    approvers: [custodian, approver]
    self_approval: true
  - name: at-once
    actions: ["*"]
    approvals: 0
`

// Witness is the witness that the genesis names.
const Witness = "witness.example/w1"

// Node names node number i, from 0.
func Node(i int) action.Signer {
	return action.Signer{Class: action.SignerNode, Name: fmt.Sprintf("node%d", i)}
}

// Cluster is four nodes' ledger.
type Cluster struct {
	Genesis     *action.Genesis
	Doc         []byte // the genesis file
	ID          action.ClusterID
	Signatories *audit.Signatories

	keys     map[action.Signer]ident.PrivateKey
	agent    ed25519.PrivateKey       // of Dave
	passkey  *identtest.Authenticator // of Erin
	nonces   map[action.Signer]uint64
	kv, body ledgertest.Memory
	frontier []byte
	height   uint64
	txs      map[[32]byte][]byte
	size     uint64
	root     [32]byte
	tb       testing.TB
}

func seed(name string) []byte {
	h := sha256.Sum256([]byte("audittest " + name))
	return h[:]
}

// WitnessKey is the witness's.
func WitnessKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(seed(Witness)) }

func vote(i int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(seed("vote of " + Node(i).Name))
}

const nodes = 4

// New founds the cluster and makes its first block.
func New(tb testing.TB) *Cluster {
	tb.Helper()
	network, err := eth.LookupNetwork("mainnet")
	if err != nil {
		tb.Fatal(err)
	}
	c := &Cluster{keys: map[action.Signer]ident.PrivateKey{}, nonces: map[action.Signer]uint64{}, kv: ledgertest.Memory{}, body: ledgertest.Memory{}, txs: map[[32]byte][]byte{}, tb: tb}
	key := func(suite ident.Suite, name string) ident.PrivateKey {
		k, err := ident.FromSeed(suite, append(seed(name), seed("quantum-safe "+name)...))
		if err != nil {
			tb.Fatal(err)
		}
		return k
	}
	g := &action.Genesis{
		Version: 1, Time: time.UnixMilli(1_700_000_000_000).UTC(), Namespace: "root", ImportHistory: action.HistoryNone, Network: network.Config(),
		Policy:    policy,
		Witnesses: []action.WitnessRecord{{Name: Witness, Key: action.HexKey(WitnessKey().Public().(ed25519.PublicKey))}},
	}
	for i := range nodes {
		who := Node(i)
		c.keys[who] = key(ident.Ed25519MLDSA65, who.Name)
		g.Nodes = append(g.Nodes, action.NodeRecord{
			Name: who.Name, Operator: fmt.Sprintf("op%d", i), Region: fmt.Sprintf("region%d", i%2),
			Identity: c.keys[who].Public(), Vote: action.HexKey(vote(i).Public().(ed25519.PublicKey)), Comet: "127.0.0.1:1", Peer: "127.0.0.1:2",
			Custody: []action.CustodyRecord{{Domain: action.DomainValidator, Identity: key(ident.Ed25519MLDSA65, "custody of "+who.Name).Public()}},
		})
	}
	for who, suite := range map[action.Signer]ident.Suite{Alice: ident.Ed25519MLDSA65, Bob: ident.Ed25519, Carol: ident.Ed25519MLDSA65} {
		c.keys[who] = key(suite, who.Name)
	}
	for _, m := range []struct {
		who  action.Signer
		role string
		key  ident.PublicKey
	}{
		{Alice, action.RoleCustodian, c.keys[Alice].Public()}, {Bob, action.RoleApprover, c.keys[Bob].Public()},
		{Dave, action.RoleApprover, c.agentKey()}, {Erin, action.RoleApprover, c.newPasskey()},
	} {
		g.Members = append(g.Members, action.MemberRecord{ID: m.who.Name, Name: m.who.Name, Operator: "op0", Region: "region0", Roles: []string{m.role}, Keys: []ident.PublicKey{m.key}})
	}
	if c.Doc, err = json.MarshalIndent(g, "", "  "); err != nil {
		tb.Fatal(err)
	}
	if c.Genesis, c.ID, err = action.ParseGenesis(c.Doc); err != nil {
		tb.Fatal(err)
	}
	c.Signatories = audit.NewSignatories(c.Genesis, c.ID)
	c.Block()
	return c
}

// View is the committed state.
func (c *Cluster) View() *ledger.State {
	st, err := ledger.NewState(c.ID, "root", c.kv, c.body, c.frontier, nil)
	if err != nil {
		c.tb.Fatal(err)
	}
	return st
}

// Usage is a node's report, which makes one event.
func (c *Cluster) Usage(node int) []byte {
	who := Node(node)
	return c.tx(who, action.KindUsage, ledger.UsageReport{Domain: action.DomainValidator, Sequence: c.nonces[who] + 1, Chain: [32]byte(seed(fmt.Sprint(c.nonces[who])))}.Encode())
}

// Denied is a member's request that no rule allows.
func (c *Cluster) Denied(who action.Signer) []byte {
	return c.ask(who, &action.Action{Rule: action.RuleTimerCancel, Name: "any"})
}

func (c *Cluster) ask(who action.Signer, a *action.Action) []byte {
	return c.tx(who, action.KindRequest, ledger.Ask{Action: a, Purpose: "evidence"}.Encode())
}

// Enrolment is Alice's request to enrol Carol.
func (c *Cluster) Enrolment() []byte {
	return c.ask(Alice, &action.Action{Rule: action.RuleEnrol, Member: c.carol()})
}

// NewKey is Alice's request for another key of Carol's, which nobody has to
// agree to. Carol signs with it from here on.
func (c *Cluster) NewKey() []byte {
	var err error
	if c.keys[Carol], err = ident.FromSeed(ident.Ed25519, slices.Concat(seed("new key of carol"), seed(""))); err != nil {
		c.tb.Fatal(err)
	}
	return c.ask(Alice, &action.Action{Rule: action.RuleUpdate, Member: c.carol()})
}

func (c *Cluster) carol() *action.MemberRecord {
	return &action.MemberRecord{ID: Carol.Name, Name: Carol.Name, Operator: "op1", Region: "region1", Roles: []string{action.RoleApprover}, Keys: []ident.PublicKey{c.keys[Carol].Public()}}
}

// Approval is a member's, of the only request that waits.
func (c *Cluster) Approval(who action.Signer) []byte {
	var id [32]byte
	var r *ledger.Request
	c.View().LiveRequests(func(i [32]byte, q *ledger.Request) bool {
		id, r = i, q
		return false
	})
	return c.tx(who, action.KindDecision, action.Decision{Request: id, Action: action.HashAction(c.ID, r.Action), Policy: r.Policy, Verdict: action.Approve}.Encode())
}

// Ceremony is Alice's request for keys, which makes several events.
func (c *Cluster) Ceremony() []byte {
	roster := action.NewRoster(c.Genesis.Nodes, action.DomainValidator)
	p := dkg.Params{Mode: dkg.ModeKeygen, Suite: dkg.SuiteG1, N: nodes, T: 3, Keys: 1, Nonce: [32]byte{byte(c.nonces[Alice])}, Cluster: c.ID, Roster: roster.Hash(c.ID),
		Deadlines: dkg.Deadlines{Join: 60e3, Deal: 60e3, Verify: 60e3, Answer: 60e3, Confirm: 60e3, Publish: 60e3}}
	return c.ask(Alice, &action.Action{Rule: action.RuleKeygen, Ceremony: action.Ceremony{Params: p.Encode(), Purpose: "evidence"}})
}

func (c *Cluster) tx(who action.Signer, kind action.Kind, body []byte) []byte {
	c.nonces[who]++
	tx := action.Tx{Cluster: c.ID, Kind: kind, Signer: who, Nonce: c.nonces[who], Body: body}
	copy(tx.Salt[:], seed(fmt.Sprint("salt ", who, c.nonces[who])))
	switch who {
	case Dave:
		return tx.Signed(append([]byte{byte(ident.SSH)}, ed25519.Sign(c.agent, ident.SSHMessage(wire.TagTx, tx.Unsigned()))...))
	case Erin:
		return tx.Signed(c.assertion(wire.Hash(wire.TagTx, tx.Unsigned())))
	}
	return tx.Sign(c.keys[who])
}

// agentKey makes Dave's key, as ssh-keygen -t ed25519 does.
func (c *Cluster) agentKey() ident.PublicKey {
	c.agent = ed25519.NewKeyFromSeed(seed("agent of dave"))
	var blob wire.Encoder
	blob.String("ssh-ed25519")
	blob.Bytes(c.agent.Public().(ed25519.PublicKey))
	key, err := ident.NewSSH(blob.Out(), false)
	if err != nil {
		c.tb.Fatal(err)
	}
	return key
}

// newPasskey makes Erin's.
func (c *Cluster) newPasskey() ident.PublicKey {
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed("passkey of erin"))
	if err != nil {
		c.tb.Fatal(err)
	}
	c.passkey = identtest.New("example.org", "https://console.example.org")
	c.passkey.Key = private
	key, err := ident.NewPasskey(private.Public(), c.passkey.RPID, []string{c.passkey.Origin})
	if err != nil {
		c.tb.Fatal(err)
	}
	return key
}

func (c *Cluster) assertion(challenge [32]byte) []byte {
	var a credential.Assertion
	a.Response.AuthenticatorData, a.Response.ClientDataJSON, a.Response.Signature = c.passkey.Assert(challenge[:])
	raw, err := a.Encode()
	if err != nil {
		c.tb.Fatal(err)
	}
	return raw
}

// Block carries out transactions.
func (c *Cluster) Block(txs ...[]byte) {
	c.tb.Helper()
	st := c.View()
	if c.height == 0 {
		if err := st.Genesis(c.Genesis); err != nil {
			c.tb.Fatal(err)
		}
	}
	c.height++
	b := ledger.Block{Height: int64(c.height), Time: uint64(c.time().UnixMilli()), Hash: [32]byte(seed(fmt.Sprint("block ", c.height)))}
	st.Begin(b)
	for _, raw := range txs {
		tx, err := ledger.Parse(raw)
		if err != nil {
			c.tb.Fatal(err)
		}
		verified, err := st.Verify(tx, new(ledger.Seen))
		if err != nil {
			c.tb.Fatal(err)
		}
		if r := st.Apply(b, verified); r.Code != ledger.OK && r.Code != ledger.CodeDenied {
			c.tb.Fatal(r)
		}
		c.txs[action.HashTx(raw)] = raw
	}
	for _, w := range st.Writes() {
		c.kv[string(w.Key)] = w.Value
	}
	for _, w := range st.Bodies() {
		c.body[string(w.Key)] = w.Value
	}
	c.frontier = st.Frontier()
	c.size, c.root = st.LogRoot()
}

func (c *Cluster) time() time.Time {
	return c.Genesis.Time.Add(time.Duration(c.height) * time.Second)
}

// Erase removes an event's body.
func (c *Cluster) Erase(i uint64) { delete(c.body, string(ledger.EventPath(i))) }

// Certificate proves the state as it is, by the block that would follow. With
// replaced it leads there over a change of all validators.
func (c *Cluster) Certificate(replaced bool) *proof.Certificate {
	now := []ed25519.PrivateKey{vote(0), vote(1), vote(2), vote(3)}
	cert := &proof.Certificate{State: proof.State{AppVersion: 1, KVRoot: [32]byte(seed("kv")), LogSize: c.size, LogRoot: c.root}}
	if replaced {
		next := []ed25519.PrivateKey{vote(4), vote(5), vote(6), vote(7), vote(8)}
		h := c.header(1, now, next, seed("an older state"))
		cert.Links = []proof.Link{{Header: h, Commit: prooftest.Sign(&h, now), Next: prooftest.Validators(next)}}
		now = next
	}
	app := cert.State.AppHash(c.ID)
	cert.Header = c.header(c.height+1, now, now, app[:])
	cert.Commit = prooftest.Sign(&cert.Header, now)
	return cert
}

func (c *Cluster) header(height uint64, now, next []ed25519.PrivateKey, app []byte) proof.Header {
	vals, after := prooftest.Validators(now).Hash(), prooftest.Validators(next).Hash()
	proposer := prooftest.Validators(now).Validators()[0].Address()
	filler := seed(fmt.Sprint("filler ", height))
	return proof.Header{
		BlockVersion: 11, AppVersion: 1, ChainID: c.ID.ChainID(), Height: height, Time: c.Genesis.Time.Add(time.Duration(height) * time.Second),
		LastBlockID:    proof.BlockID{Hash: filler, Parts: proof.PartSetHeader{Total: 1, Hash: filler}},
		LastCommitHash: filler, DataHash: filler, ConsensusHash: filler, LastResultsHash: filler, EvidenceHash: filler,
		ValidatorsHash: vals[:], NextValidatorsHash: after[:], AppHash: app, ProposerAddress: proposer[:],
	}
}

// Lines are what a node signs of the log at a size.
func (c *Cluster) Lines(node int, at audit.Checkpoint) []byte {
	lines, err := c.Signatories.Sign(Node(node).Name, c.keys[Node(node)], at)
	if err != nil {
		c.tb.Fatal(err)
	}
	return lines
}

// Note makes a checkpoint of a size, signed by a quorum and cosigned.
func (c *Cluster) Note(size uint64) audit.Note {
	root, err := audit.Root(c.View(), size)
	if err != nil {
		c.tb.Fatal(err)
	}
	at := audit.Checkpoint{Size: size, Root: root}
	lines := map[string][]byte{}
	for i := range nodes {
		lines[Node(i).Name] = c.Lines(i, at)
	}
	raw, err := c.Signatories.Assemble(at, Node(1).Name, lines)
	if err != nil {
		c.tb.Fatal(err)
	}
	text, _, _ := bytes.Cut(raw, []byte("\n\n"))
	return audit.Note{Checkpoint: at, Raw: c.Signatories.Cosign(raw, audit.Cosignature{Witness: Witness, Time: c.time()}.Line(WitnessKey(), append(text, '\n')))}
}

// Transaction returns a transaction that a block carried.
func (c *Cluster) Transaction(_ uint64, hash [32]byte) []byte { return c.txs[hash] }
