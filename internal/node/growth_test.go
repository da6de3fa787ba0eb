package node

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/store"
)

// BenchmarkGrowth measures what a transaction costs, disk and all, as the
// ledger grows: blocks of 498, a third of them requests for an exit of any key
// by any of 300 people, the others approvals by two more of them. Every block
// also removes what an old one leaves behind, as it does on a node. A ledger
// that has doubled is made anew. apply-µs/tx is what the state machine takes of
// that, reading from the database, without the tree and the disk. The
// processor's time is that of the whole process: the database compacts itself
// beside the blocks.
func BenchmarkGrowth(b *testing.B) {
	for _, objects := range []int{1e3, 1e4, 1e5, 1e6} {
		b.Run(fmt.Sprint(objects), func(b *testing.B) {
			var g *grown
			var applied, used time.Duration
			for b.Loop() {
				b.StopTimer()
				if g == nil || g.granted > objects {
					g = newGrown(b, objects)
					settle()
					for range 2 * grownKeep {
						g.block(g.txs())
					}
				}
				txs := g.txs()
				applied += g.apply(txs)
				g.block(txs)
				txs = g.txs()
				used -= cpu()
				b.StartTimer()
				g.block(txs)
				used += cpu()
			}
			b.ReportMetric(float64(applied.Microseconds())/float64(b.N*grownBlock), "apply-µs/tx")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*grownBlock), "µs/tx")
			b.ReportMetric(float64(used.Microseconds())/float64(b.N*grownBlock), "cpu-µs/tx")
		})
	}
}

// settle waits until nothing is left to do of what made the ledger grow in a
// minute: no ledger that came to its size block by block has such a debt.
func settle() {
	for used := cpu(); ; {
		time.Sleep(time.Second)
		now := cpu()
		if now-used < 10*time.Millisecond {
			return
		}
		used = now
	}
}

const (
	grownBlock = 498 // transactions
	grownKeep  = 2   // blocks of history: a small ledger is soon as any later one
)

// grown is a replica with so many keys, members and past requests.
type grown struct {
	*mix
	*replica
	keys    int
	granted int
	pairs   []store.Write
}

func newGrown(b *testing.B, objects int) *grown {
	c := ledgertest.New(b, 4)
	g := &grown{mix: &mix{Cluster: c}, replica: openReplica(b, c, b.TempDir(), grownKeep), keys: objects / 3}
	b.Cleanup(func() { g.store.Close() })
	g.replica.block(1)
	ns := proof.Namespace(c.Genesis.Namespace)
	change := &action.Action{Rule: action.RulePolicy, Document: []byte(agreeing)}
	g.want(c.Tx(ledgertest.Alice, action.KindRequest, ledger.Ask{Action: change}.Encode()))
	for i := range objects / 3 {
		k := action.KeyRecord{Domain: action.DomainValidator, Curve: action.CurveBLS12381G1, PublicKey: g.key(i), State: action.KeyActive, N: 4, T: 3, Commitment: make([]byte, 3*48)}
		g.put(ns.Key(string(k.Domain), k.PublicKey), k.Encode())
		m := action.MemberRecord{ID: fmt.Sprint("person", i), Name: "somebody", Operator: fmt.Sprint("op", i%7), Region: "region0", Roles: []string{action.RoleCustodian}}
		if i < 300 {
			m.Keys = []ident.PublicKey{personKey(person(i), 0).Public()}
			c.Keys[person(i)] = personKey(person(i), 0)
		} else {
			id := sha256.Sum256(fmt.Append(nil, i))
			pk, err := ident.ParsePublicKey(append([]byte{byte(ident.Ed25519)}, id[:]...))
			if err != nil {
				b.Fatal(err)
			}
			m.Keys = []ident.PublicKey{pk}
		}
		credential := sha256.Sum256(m.Keys[0].Bytes())
		g.put(ns.Path("credential", proof.Hex(credential[:])), []byte(m.ID))
		g.put(ns.Member([]byte(m.ID)), m.Encode())
	}
	g.flush()
	// A request that has ended stands for all the others.
	txs := g.txs()[:3]
	g.want(txs...)
	id := g.request(txs[0]).ID(c.ID)
	record := g.store.State().Get([]byte(ns.Request(id[:])))
	for i := range objects / 3 {
		id := sha256.Sum256(fmt.Append(nil, "request", i))
		g.put(ns.Request(id[:]), record)
	}
	g.flush()
	return g
}

func (g *grown) key(i int) []byte {
	h := sha256.Sum256(fmt.Append(nil, "key", i))
	return append(h[:], h[:16]...)
}

func (g *grown) put(path proof.Path, value []byte) {
	if g.pairs = append(g.pairs, store.Write{Key: []byte(path), Value: value}); len(g.pairs) == 20_000 {
		g.flush()
	}
}

// flush commits pairs as a block that no transaction made.
func (g *grown) flush() {
	h, frontier, err := parseMeta(g.store.Meta())
	if err != nil {
		g.Fatal(err)
	}
	h.height++
	if h.state.KVRoot, err = g.store.Stage(h.height, g.pairs); err != nil {
		g.Fatal(err)
	}
	if err := g.store.Commit(h.height, encodeMeta(h, frontier), nil); err != nil {
		g.Fatal(err)
	}
	g.app.head, g.app.state, g.pairs = h, nil, nil
}

func (g *grown) request(ask []byte) *action.Request {
	tx, err := ledger.Parse(ask)
	if err != nil {
		g.Fatal(err)
	}
	env := tx.Envelope()
	body := env.Body
	n := binary.BigEndian.Uint32(body)
	st, err := g.view()
	if err != nil {
		g.Fatal(err)
	}
	return &action.Request{Action: body[4 : 4+n], Nonce: tx.Hash(), Policy: st.PolicyVersion(), By: env.Signer.String()}
}

// txs are of one block, checked as they enter the mempool.
func (g *grown) txs() (txs [][]byte) {
	for len(txs) < grownBlock {
		g.granted++
		at := int(sha256.Sum256(fmt.Append(nil, g.granted))[0])<<16 + g.granted*7919
		a := &action.Action{Rule: action.RuleExit, Domain: action.DomainValidator, PublicKey: g.key(at % g.keys), Duty: fmt.Append(nil, g.granted)}
		ask := g.Tx(person(at%300), action.KindRequest, ledger.Ask{Action: a}.Encode())
		r := g.request(ask)
		d := action.Decision{Request: r.ID(g.ID), Action: action.HashAction(g.ID, r.Action), Policy: r.Policy, Verdict: action.Approve}.Encode()
		txs = append(txs, ask, g.Tx(person((at+1)%300), action.KindDecision, d), g.Tx(person((at+2)%300), action.KindDecision, d))
	}
	for _, raw := range txs {
		if code := g.check(raw); code != ledger.OK {
			g.Fatal(code)
		}
	}
	return txs
}

// apply executes a block on a state that is thrown away, and says how long
// that took.
func (g *grown) apply(txs [][]byte) time.Duration {
	begun := time.Now()
	st, err := g.view()
	if err != nil {
		g.Fatal(err)
	}
	height := int64(g.head.height) + 1
	block := ledger.Block{Height: height, Time: uint64(blockTime(height).UnixMilli())}
	st.Begin(block)
	for i, raw := range txs {
		tx, err := g.verify(st, raw)
		if err != nil {
			g.Fatal(err)
		}
		if res := st.Apply(block, tx); res.Code != ledger.OK {
			g.Fatalf("transaction %d: %s", i, res.Code)
		}
	}
	return time.Since(begun)
}

func (g *grown) block(txs [][]byte) { g.want(txs...) }

// want makes a block in which everything succeeds.
func (g *grown) want(txs ...[]byte) {
	codes, _ := g.replica.block(int64(g.head.height)+1, txs...)
	for i, code := range codes {
		if code != ledger.OK {
			g.Fatalf("transaction %d: %s", i, code)
		}
	}
}
