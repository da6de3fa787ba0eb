package ledger

import (
	"encoding/binary"
	"testing"

	"github.com/quorate/quorate/internal/action"
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
		for _, mode := range []string{"cold", "seen"} {
			b.Run(c.name+"/"+mode, func(b *testing.B) {
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
				}
				run()
				for b.Loop() {
					run()
				}
				b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds(), "tx/s")
			})
		}
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
