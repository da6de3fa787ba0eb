package ledger

import (
	"encoding/binary"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/action/actiontest"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
	"github.com/quorate/quorate/internal/wire"
)

// BenchmarkBlock measures what a replica spends on one transaction of a block
// of a thousand: parse, verify with and without the memory of the mempool's
// check, apply. It leaves out the disk.
func BenchmarkBlock(b *testing.B) {
	const size = 1000
	w := newWorld(b, 4)
	key := w.giveKey(action.KeyRecord{PublicKey: []byte{1}, State: action.KeyActive})
	gas := uint64(30_000_000)
	settings := grantOf(action.Action{Rule: action.RuleSettings, Domain: key.Domain, PublicKey: key.PublicKey, Settings: action.SettingsChange{Set: action.ProposerSettings{GasLimit: &gas}}})
	for _, c := range []struct {
		name string
		who  action.Signer
		kind action.Kind
		body []byte
	}{
		{"freshness/node", node0, action.KindFreshness, Freshness{Domain: action.DomainValidator}.Encode()},
		{"settings/node", node0, action.KindRequest, settings},
		{"settings/member-hybrid", alice, action.KindRequest, settings},
	} {
		txs := make([][]byte, size)
		for i := range txs {
			txs[i] = w.Tx(c.who, c.kind, c.body)
		}
		w.rate(b, c.name, txs)
	}
}

// rate measures a block of transactions, after which no request waits: with
// signatures that nobody has seen, and with those that the mempool checked.
func (w *world) rate(b *testing.B, name string, txs [][]byte) {
	for _, mode := range []string{"cold", "seen"} {
		b.Run(name+"/"+mode, func(b *testing.B) {
			var seen *Seen
			if mode == "seen" {
				seen = new(Seen)
			}
			run := func() {
				s := w.view()
				s.Begin(w.block)
				for _, raw := range txs {
					tx, err := Parse(raw)
					if err != nil {
						b.Fatal(err)
					}
					v, err := s.Verify(tx, seen)
					if err != nil {
						b.Fatal(err)
					}
					if r := s.Apply(w.block, v); r.Code != OK {
						b.Fatal(r)
					}
				}
				if n := len(live(s)); n != 0 {
					b.Fatalf("%d requests wait", n)
				}
			}
			run()
			for b.Loop() {
				run()
			}
			b.ReportMetric(float64(b.N*len(txs))/b.Elapsed().Seconds(), "tx/s")
		})
	}
}

// BenchmarkGovernance measures requests that two humans approve and that happen
// then: a third of the transactions asks, the others agree. The second of them
// signs with a key of either suite.
func BenchmarkGovernance(b *testing.B) {
	const size = 999
	for k, suite := range []string{"ed25519", "hybrid"} {
		c := newCouncil(b)
		nonces := map[string]uint64{}
		next := func(p *actiontest.Person) uint64 { nonces[p.Record.ID]++; return nonces[p.Record.ID] }
		c.Case.Nonce = func(id string) uint64 { nonces[id]++; return nonces[id] }
		var txs [][]byte
		for i := range size / 3 {
			a := c.exit(byte(i))
			a.Duty = binary.BigEndian.AppendUint64(nil, uint64(i))
			tx := action.Tx{Cluster: c.ID, Kind: action.KindRequest, Signer: member("ana"), Nonce: next(c.Ana), Body: Ask{Action: a}.Encode()}
			raw := tx.Sign(c.Ana.Keys[0])
			c.Request = action.Request{Action: a.Encode(), Nonce: action.HashTx(raw), Policy: c.view().PolicyVersion(), By: "member/ana"}
			txs = append(txs, raw, c.Approve(c.Ana, 0, nil), c.Approve(c.Bo, k, nil))
		}
		c.rate(b, suite, txs)
	}
}

// BenchmarkCeremonyMessage measures the check of one ceremony message, the
// signature seen before: what each replica does three times.
func BenchmarkCeremonyMessage(b *testing.B) {
	w := newWorld(b, 4)
	p := w.Params(1, 1)
	w.want(OK, w.Tx(alice, action.KindRequest, CeremonyOpen{Params: p}.Encode()))
	raw := w.Tx(node0, action.KindCeremonyMessage, w.say(p.ID(), 1, w.Participant(p, 1).Join()))
	tx, err := Parse(raw)
	if err != nil {
		b.Fatal(err)
	}
	seen, s := new(Seen), w.view()
	for b.Loop() {
		if _, err := s.Verify(tx, seen); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBegin measures what a block without transactions costs while as
// many ceremonies wait as may.
func BenchmarkBegin(b *testing.B) {
	w := newWorld(b, 16)
	for i := range maxOpenCeremonies {
		w.openUnchecked(w.Params(100, byte(i)))
	}
	for b.Loop() {
		w.view().Begin(w.block)
	}
}

// BenchmarkKeys reads a large inventory, as at the start of a node.
func BenchmarkKeys(b *testing.B) {
	w := newWorld(b, 4)
	key := w.giveKey(action.KeyRecord{PublicKey: []byte{1}, State: action.KeyActive})
	s := w.view()
	for i := range 10_000 {
		k := *key
		k.PublicKey = binary.BigEndian.AppendUint64(make([]byte, 40), uint64(i))
		s.putKey(&k)
	}
	w.commit(s)
	for b.Loop() {
		w.view().Keys(action.DomainValidator, func(*action.KeyRecord) bool { return true })
	}
}

// BenchmarkAssembly measures what a replica spends on one participant's
// message of a ceremony of 4096: parse, verify, apply, and the board's share
// of it.
func BenchmarkAssembly(b *testing.B) {
	w := newWorld(b, 4)
	h := w.assemble(assemblytest.New(b, wire.MaxParticipants, 32, 4, nil))
	f := h.follow()
	var txs [][]byte
	for seat := 1; seat <= 1000; seat++ {
		txs = append(txs, h.carry(h.Next(f, seat)[0]))
	}
	for b.Loop() {
		w.cache = &Cache{}
		s := w.view()
		s.Begin(w.block)
		for _, raw := range txs {
			if r := carry(s, w.block, raw); r.Code != OK {
				b.Fatal(r)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(txs)), "µs/message")
}
