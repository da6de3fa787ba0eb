package action

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// The table of crypto.md, and what must be refused.
func TestThreshold(t *testing.T) {
	for n, want := range map[int]int{4: 3, 5: 4, 6: 4, 7: 5, 8: 6, 10: 7, 13: 9} {
		th, err := DefaultThreshold(n)
		if err != nil || th.T() != want {
			t.Errorf("default threshold of %d: %v, %v; want %d", n, th, err, want)
		}
	}
	for n := 1; n <= 16; n++ {
		for tt := 0; tt <= n+1; tt++ {
			f := (n - 1) / 3
			safe := tt >= 1 && tt <= n && 2*tt-n > f && 2*tt-n > 1 && tt <= n-f
			if _, err := NewThreshold(tt, n); (err == nil) != safe {
				t.Errorf("threshold %d of %d: %v; want safe = %v", tt, n, err, safe)
			}
		}
	}
	if _, err := NewThreshold(2, 3); err == nil {
		t.Error("2 of 3 accepted: one rollback double-signs")
	}
	// Any quorum of signers meets the holders that stopped, even if f of those lie.
	for n := 4; n <= 16; n++ {
		th, err := DefaultThreshold(n)
		if err != nil {
			t.Fatal(err)
		}
		if n-(th.StopQuorum()-th.F()) >= th.T() {
			t.Errorf("%v: %d stop records leave a signing quorum", th, th.StopQuorum())
		}
	}
}

func testGenesis(t testing.TB, n int) *Genesis {
	g := &Genesis{Version: 1, Time: time.Unix(1_800_000_000, 0).UTC(), Namespace: "root", ImportHistory: HistoryRefuse, Network: map[string]string{"CONFIG_NAME": "mainnet"},
		Policy: "version: 1\n"}
	for i := range n {
		node, _, err := ident.Generate(ident.Ed25519, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		cust, _, _ := ident.Generate(ident.Ed25519MLDSA65, rand.Reader)
		rec := NodeRecord{Name: "node" + string(rune('0'+i)), Operator: "op", Region: "eu", Identity: node.Public(),
			Comet: "127.0.0.1:1", Peer: "127.0.0.1:2", Custody: []CustodyRecord{{DomainValidator, cust.Public()}}}
		rand.Read(rec.Vote[:])
		g.Nodes = append(g.Nodes, rec)
	}
	m, _, _ := ident.Generate(ident.Ed25519, rand.Reader)
	g.Members = []MemberRecord{{ID: "alice", Name: "Alice", Operator: "op", Region: "eu", Roles: []string{RoleCustodian}, Keys: []ident.PublicKey{m.Public()}}}
	return g
}

func TestGenesis(t *testing.T) {
	g := testGenesis(t, 4)
	doc, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	got, id, err := ParseGenesis(doc)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := json.Marshal(got); !bytes.Equal(again, doc) {
		t.Error("a genesis changes when it is read and written")
	}
	_, other, err := ParseGenesis(append(bytes.Clone(doc), '\n'))
	if err != nil || other == id {
		t.Error("the cluster id does not cover every byte of the document")
	}
	// A node is pinned by an Ed25519 key of its own; a person's kinds of key are members' only.
	var e wire.Encoder
	e.String("ssh-ed25519")
	e.Bytes(g.Members[0].Keys[0].Ed25519())
	ssh, err := ident.NewSSH(e.Out(), false)
	if err != nil {
		t.Fatal(err)
	}
	text := func(pk ident.PublicKey) string { return "0x" + hex.EncodeToString(pk.Bytes()) }
	if _, _, err := ParseGenesis([]byte(strings.Replace(string(doc), text(g.Members[0].Keys[0]), text(ssh), 1))); err != nil {
		t.Errorf("a member with an SSH key: %v", err)
	}
	for name, bad := range map[string]string{
		"a node's SSH key": strings.Replace(string(doc), text(g.Nodes[0].Identity), text(ssh), 1),
		"unknown field":    strings.Replace(string(doc), `"version":1`, `"version":1,"x":1`, 1),
		"version":          strings.Replace(string(doc), `"version":1`, `"version":2`, 1),
		"trailing":         string(doc) + "{}",
		"node twice":       strings.Replace(string(doc), `"node1"`, `"node0"`, 1),
		"bad name":         strings.Replace(string(doc), `"node1"`, `"Node/1"`, 1),
		"role":             strings.Replace(string(doc), `"custodian"`, `"king"`, 1),
		"no policy":        strings.Replace(string(doc), `version: 1\n`, ``, 1),
		"floor":            strings.Replace(string(doc), `"import_history"`, `"floors":{"ceremony.nothing":{"approvals":1}},"import_history"`, 1),
	} {
		if _, _, err := ParseGenesis([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	g := testGenesis(t, 4)
	n, err := ParseNodeRecord(g.Nodes[0].Encode())
	if err != nil || !bytes.Equal(n.Encode(), g.Nodes[0].Encode()) {
		t.Errorf("node record: %v", err)
	}
	m, err := ParseMemberRecord(g.Members[0].Encode())
	if err != nil || !bytes.Equal(m.Encode(), g.Members[0].Encode()) {
		t.Errorf("member record: %v", err)
	}
	k := &KeyRecord{Domain: DomainValidator, Curve: CurveBLS12381G1, PublicKey: make([]byte, 48), State: KeyActive, N: 4, T: 3,
		Commitment: make([]byte, 3*48),
		Settings:   ProposerSettings{FeeRecipient: &Address{1}, GasLimit: new(uint64(30_000_000))}}
	got, err := ParseKeyRecord(k.Encode())
	if err != nil || !bytes.Equal(got.Encode(), k.Encode()) {
		t.Errorf("key record: %v", err)
	}
}

// everyAction is an action of every rule, with nothing left out.
func everyAction(m *MemberRecord) (all []*Action) {
	key := []byte{47: 9}
	archive := (&Action{Rule: RuleArchive, Domain: DomainValidator, PublicKey: key}).Encode()
	for rule, s := range shapes {
		a := &Action{Rule: rule}
		if s.ofKey() {
			a.Domain, a.PublicKey = DomainValidator, key
		}
		switch s {
		case shapeKeyUntil:
			a.Until = 7
		case shapeDuty:
			a.Duty = []byte{1, 2}
		case shapeHistory:
			a.Domain, a.History = DomainValidator, History{Hash: [32]byte{1}, Keys: 2}
		case shapeSettings:
			a.Settings = SettingsChange{Set: ProposerSettings{FeeRecipient: &Address{1}, GasLimit: new(uint64(30_000_000))}, Open: FieldGraffiti}
		case shapeCeremony:
			a.Ceremony = Ceremony{Params: []byte{1, 2, 3}, Purpose: "pool"}
		case shapeHandover:
			a.PublicKey, a.Ceremony = key, Ceremony{Params: []byte{1, 2, 3}, Purpose: "pool"}
		case shapeAssembly:
			a.Assembly = Assembly{Params: []byte{4, 5}, Purpose: "pool", Seats: [32]byte{6}, Software: "v1"}
		case shapeMember:
			a.Member = m
		case shapeName:
			a.Name = "bo"
		case shapeNameUntil:
			a.Name, a.Until = "bo", 8
		case shapeDocument:
			a.Document = []byte("version: 1\n")
		case shapeTimer:
			a.Timer = Timer{Name: "tic", First: 9, Every: 10, Action: archive}
		}
		all = append(all, a)
	}
	return all
}

// Every action keeps all that it says, and none can be read as another.
func TestActionsRoundTrip(t *testing.T) {
	g := testGenesis(t, 1)
	seen := map[[32]byte]Rule{}
	for _, a := range everyAction(&g.Members[0]) {
		raw := a.Encode()
		got, err := ParseAction(raw)
		if err != nil {
			t.Errorf("%s: %v", a.Rule, err)
			continue
		}
		same := func(x, y *Action) bool { // members hold keys, which do not compare
			p, q := *x, *y
			p.Member, q.Member = nil, nil
			return reflect.DeepEqual(p, q) && (x.Member == nil) == (y.Member == nil) && (x.Member == nil || bytes.Equal(x.Member.Encode(), y.Member.Encode()))
		}
		if !same(got, a) || !bytes.Equal(got.Encode(), raw) {
			t.Errorf("%s: %+v became %+v", a.Rule, a, got)
		}
		if a.Hash(ClusterID{1}) == a.Hash(ClusterID{2}) {
			t.Errorf("%s: its hash holds in two clusters", a.Rule)
		}
		if other, twice := seen[a.Hash(ClusterID{1})]; twice {
			t.Errorf("%s and %s share a hash", a.Rule, other)
		}
		seen[a.Hash(ClusterID{1})] = a.Rule
		for i := range raw {
			if _, err := ParseAction(raw[:i]); err == nil {
				t.Errorf("%s: the first %d of %d bytes are an action", a.Rule, i, len(raw))
			}
		}
		if _, err := ParseAction(append(bytes.Clone(raw), 0)); err == nil {
			t.Errorf("%s: a byte more is the same action", a.Rule)
		}
	}
	if len(seen) != len(shapes) {
		t.Errorf("%d actions of %d rules", len(seen), len(shapes))
	}
}

func TestTxSignature(t *testing.T) {
	key, _, _ := ident.Generate(ident.Ed25519, rand.Reader)
	tx := Tx{Cluster: ClusterID{1}, Kind: KindTick, Signer: Signer{SignerNode, "node0"}, Nonce: 1, Salt: [16]byte{3}, Body: []byte("body")}
	raw := tx.Sign(key)
	got, err := ParseTx(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.VerifySignature(key.Public()); err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if got, err := ParseTx(bad); err == nil && got.VerifySignature(key.Public()) == nil {
			t.Errorf("byte %d of a transaction is not signed", i)
		}
	}
}

func FuzzParseTx(f *testing.F) {
	key, _ := ident.FromSeed(ident.Ed25519, make([]byte, ident.SeedSize))
	tx := Tx{Kind: KindTick, Signer: Signer{SignerMember, "a"}, Nonce: 1}
	f.Add(tx.Sign(key))
	f.Fuzz(func(t *testing.T, in []byte) {
		if tx, err := ParseTx(in); err == nil && tx.Nonce == 0 {
			t.Fatal("accepted nonce zero")
		}
	})
}

func FuzzParseRecords(f *testing.F) {
	g := testGenesis(f, 1)
	f.Add(g.Nodes[0].Encode())
	f.Add(g.Members[0].Encode())
	for _, a := range everyAction(&g.Members[0]) {
		f.Add(a.Encode())
	}
	f.Add(Decision{Verdict: Veto}.Encode())
	f.Add(Participants{{Name: "ana", Region: "lisbon", Member: "ana", Key: g.Nodes[0].Identity}}.Encode())
	f.Add((&AssemblyRecord{Assembly: Assembly{Params: []byte{1}, Software: "v1"}, By: "node/n", Entries: 2, Phase: 3, Sealed: true, PublicKey: []byte{4}}).Encode())
	f.Add((&KeyRecord{Curve: CurveBLS12381G1, PublicKey: make([]byte, 48), State: KeyHeld, Provenance: ProvenanceAssembled, T: 2731, N: 4096}).Encode())
	f.Add((&KeyRecord{Curve: CurveBLS12381G1, PublicKey: make([]byte, 48), State: KeyActive, Provenance: ProvenanceAssembled, Epoch: 1, T: 1, N: 4, Commitment: make([]byte, 48)}).Encode())
	f.Add((&Grant{Request: Request{Action: []byte{1}, By: "node/n"}, Need: Need{1, 2, 3}, Approvals: make([][32]byte, 2)}).Encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		if n, err := ParseNodeRecord(in); err == nil && !bytes.Equal(n.Encode(), in) {
			t.Fatal("node record changed")
		}
		if m, err := ParseMemberRecord(in); err == nil && !bytes.Equal(m.Encode(), in) {
			t.Fatal("member record changed")
		}
		if k, err := ParseKeyRecord(in); err == nil && !bytes.Equal(k.Encode(), in) {
			t.Fatal("key record changed")
		}
		if a, err := ParseAction(in); err == nil && !bytes.Equal(a.Encode(), in) {
			t.Fatal("action changed")
		}
		if ps, err := ParseParticipants(in); err == nil && !bytes.Equal(ps.Encode(), in) {
			t.Fatal("list of participants changed")
		}
		if r, err := ParseAssemblyRecord(in); err == nil && !bytes.Equal(r.Encode(), in) {
			t.Fatal("record of an assembly changed")
		}
		if g, err := ParseGrant(in); err == nil && !bytes.Equal(g.Encode(), in) {
			t.Fatal("grant changed")
		}
		if d, err := ParseDecision(in); err == nil && !bytes.Equal(d.Encode(), in) {
			t.Fatal("decision changed")
		}
	})
}
