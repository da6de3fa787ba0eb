// Package ledgertest founds clusters for tests of the ledger and of what
// stands on it.
//
// Owns: [Cluster], a genesis and the keys of everybody in it, who sign real
// transactions.
//
// Never: a mock. Keys follow from names, so that two processes agree on them.
package ledgertest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// Members of every cluster: Alice is a custodian, Olga observes.
var (
	Alice = action.Signer{Class: action.SignerMember, Name: "alice"}
	Olga  = action.Signer{Class: action.SignerMember, Name: "olga"}
)

// Node names node number i, from 0.
func Node(i int) action.Signer {
	return action.Signer{Class: action.SignerNode, Name: fmt.Sprintf("node%02d", i)}
}

// Cluster is a genesis and the keys of everybody in it.
type Cluster struct {
	Genesis *action.Genesis
	ID      action.ClusterID
	Roster  action.Roster
	Keys    map[action.Signer]ident.PrivateKey
	Custody []ident.PrivateKey       // of seat i at i-1
	Nonces  map[action.Signer]uint64 // last used

	tb testing.TB
}

// Policy of every cluster: a custodian may do everything at once but archive,
// which nobody may; nodes import, and change settings.
const Policy = `version: 1
name: test
permissions: |
  @id("custodians")
  permit (principal in Role::"custodian", action, resource);
  @id("approvers")
  permit (principal in Role::"approver", action in Action::"sign.deposit", resource);
  @id("nodes")
  permit (principal is Node, action in [Action::"ceremony.import", Action::"key.history", Action::"key.settings"], resource);
  @id("clock")
  permit (principal is Clock, action, resource);
  @id("archive")
  @reason("nobody archives")
  forbid (principal, action in Action::"key.archive", resource);
tiers:
  - name: at-once
    actions: ["*"]
    approvals: 0
`

// New founds a cluster of n nodes.
func New(tb testing.TB, n int) *Cluster {
	tb.Helper()
	mainnet, err := eth.LookupNetwork("mainnet")
	if err != nil {
		tb.Fatal(err)
	}
	c := &Cluster{Keys: map[action.Signer]ident.PrivateKey{}, Nonces: map[action.Signer]uint64{}, tb: tb}
	g := &action.Genesis{
		Version: 1, Time: time.UnixMilli(1_700_000_000_000).UTC(), Namespace: "root", ImportHistory: action.HistoryNone, Network: mainnet.Config(),
		Policy: Policy,
	}
	for i := range n {
		who := Node(i)
		c.Keys[who] = key(ident.Ed25519, who.Name)
		c.Custody = append(c.Custody, key(ident.Ed25519MLDSA65, "custody of "+who.Name))
		g.Nodes = append(g.Nodes, action.NodeRecord{
			Name: who.Name, Operator: fmt.Sprintf("op%d", i), Region: fmt.Sprintf("region%d", i%3),
			Identity: c.Keys[who].Public(), Vote: action.HexKey(Vote(who).Public().(ed25519.PublicKey)),
			Comet: "127.0.0.1:1", Peer: "127.0.0.1:2",
			Custody: []action.CustodyRecord{{Domain: action.DomainValidator, Identity: c.Custody[i].Public()}},
		})
	}
	for _, m := range []struct {
		who  action.Signer
		role string
	}{{Alice, action.RoleCustodian}, {Olga, action.RoleObserver}} {
		c.Keys[m.who] = key(ident.Ed25519MLDSA65, m.who.Name)
		g.Members = append(g.Members, action.MemberRecord{ID: m.who.Name, Name: m.who.Name, Operator: "op0", Region: "region0", Roles: []string{m.role},
			Keys: []ident.PublicKey{key(ident.Ed25519, "another of "+m.who.Name).Public(), c.Keys[m.who].Public()}})
	}
	doc, err := json.Marshal(g)
	if err != nil {
		tb.Fatal(err)
	}
	if c.Genesis, c.ID, err = action.ParseGenesis(doc); err != nil {
		tb.Fatal(err)
	}
	c.Roster = action.NewRoster(c.Genesis.Nodes, action.DomainValidator)
	return c
}

// Vote is a node's consensus key.
func Vote(who action.Signer) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("vote of " + who.Name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Life is the incarnation number b of some custody process: its id, and what
// it says of its slashing record.
func (c *Cluster) Life(b byte, record action.Anchor) (id [32]byte, a action.SignedAnchor) {
	seed := sha256.Sum256([]byte{b})
	life := ed25519.NewKeyFromSeed(seed[:])
	a = action.SignedAnchor{Anchor: record}
	copy(a.Signature[:], ed25519.Sign(life, record.Message(c.ID, action.DomainValidator)))
	return [32]byte(life.Public().(ed25519.PublicKey)), a
}

// Stop is what the incarnation that Life returns says, for a node's seat, of
// where it stopped.
func (c *Cluster) Stop(b byte, ceremony [32]byte, seat uint16, marks []action.Ceiling) (s action.Stop, raw []byte) {
	seed := sha256.Sum256([]byte{b})
	life := ed25519.NewKeyFromSeed(seed[:])
	raw = action.EncodeMarks(marks)
	s = action.Stop{Incarnation: [32]byte(life.Public().(ed25519.PublicKey)), Marks: action.HashMarks(raw)}
	copy(s.Signature[:], ed25519.Sign(life, s.Message(c.ID, action.DomainValidator, ceremony, seat)))
	return s, raw
}

// key follows from a name. It is made once: a hybrid key takes a while.
func key(suite ident.Suite, name string) ident.PrivateKey {
	made, _ := keyring.LoadOrStore(name, sync.OnceValue(func() ident.PrivateKey {
		a, b := sha256.Sum256([]byte("classical "+name)), sha256.Sum256([]byte("quantum-safe "+name))
		k, err := ident.FromSeed(suite, append(a[:], b[:]...))
		if err != nil {
			panic(err)
		}
		return k
	}))
	return made.(func() ident.PrivateKey)()
}

var keyring sync.Map

// Tx signs a transaction with the signer's next number.
func (c *Cluster) Tx(who action.Signer, kind action.Kind, body []byte) []byte {
	c.Nonces[who]++
	return c.Numbered(who, c.Nonces[who], kind, body)
}

// Numbered signs a transaction with a number of choice.
func (c *Cluster) Numbered(who action.Signer, nonce uint64, kind action.Kind, body []byte) []byte {
	tx := action.Tx{Cluster: c.ID, Kind: kind, Signer: who, Nonce: nonce, Body: body}
	binary.BigEndian.PutUint64(tx.Salt[8:], nonce)
	return tx.Sign(c.Keys[who])
}

// Params returns parameters of a ceremony of this cluster, with a minute for
// each phase.
func (c *Cluster) Params(keys int, nonce byte) dkg.Params {
	th, err := action.DefaultThreshold(len(c.Roster))
	if err != nil {
		c.tb.Fatal(err)
	}
	return dkg.Params{
		Mode: dkg.ModeKeygen, Suite: dkg.SuiteG1, N: uint8(th.N()), T: uint8(th.T()), Keys: uint32(keys),
		Nonce: [32]byte{nonce}, Cluster: c.ID, Roster: c.Roster.Hash(c.ID),
		Deadlines: dkg.Deadlines{Join: 60e3, Deal: 60e3, Verify: 60e3, Answer: 60e3, Confirm: 60e3, Publish: 60e3},
	}
}

// Import turns parameters into those of an import by a seat.
func Import(p dkg.Params, importer uint8, public [][]byte) dkg.Params {
	p.Mode, p.Importer, p.Keys, p.Expected = dkg.ModeImport, importer, uint32(len(public)), dkg.ExpectedKeys(public)
	return p
}

// Participant plays a seat of a ceremony, the importer with its keys.
func (c *Cluster) Participant(p dkg.Params, seat int, imports ...[]byte) *dkg.Participant {
	digest := sha256.Sum256(fmt.Append(nil, "seed of seat ", seat))
	var q *dkg.Participant
	var err error
	if p.Mode == dkg.ModeImport && seat == int(p.Importer) {
		var keys []secret.Bytes
		for _, k := range imports {
			keys = append(keys, secret.New(append([]byte(nil), k...)))
		}
		q, err = dkg.NewImporter(p, secret.New(digest[:]), keys)
	} else {
		q, err = dkg.NewParticipant(p, seat, secret.New(digest[:]))
	}
	if err != nil {
		c.tb.Fatal(err)
	}
	return q
}

// Say signs what a custody process says in a ceremony.
func (c *Cluster) Say(ceremony [32]byte, seat int, message []byte) []byte {
	return c.Custody[seat-1].Sign(wire.TagCeremonyMessage, action.CeremonyParts(ceremony, uint16(seat), message)...)
}

// Round is a beacon's signature of a height, made with the shares of those who
// played its ceremony.
func (c *Cluster) Round(players []*dkg.Participant, board *dkg.Board, source dkg.Source, height uint64) [bls.SignatureSize]byte {
	c.tb.Helper()
	var partials []bls.Partial
	for i, q := range players {
		shares, err := q.ExposeSecretShares(board, source)
		if err != nil {
			c.tb.Fatal(err)
		}
		shares[0].Secret.Expose(func(b []byte) {
			share, err := bls.NewShare(uint16(i+1), (*[bls.ScalarSize]byte)(bytes.Clone(b)))
			if err != nil {
				c.tb.Fatal(err)
			}
			partials = append(partials, share.SignRound(bls.NewRound(c.ID, height)))
		})
	}
	sig, err := bls.Combine(int(board.Params().T), partials)
	if err != nil {
		c.tb.Fatal(err)
	}
	return sig.Bytes()
}
