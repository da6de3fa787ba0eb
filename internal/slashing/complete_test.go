package slashing

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/durable/durabletest"
)

// drawDuty draws among few slots and epochs near the end of a history that
// moves on, so that conflicts are common and pruning happens.
func drawDuty(t *rapid.T, at uint64) Facts {
	near := rapid.Uint64Range(at, at+6)
	r := root(rapid.Byte().Draw(t, "root") % 2)
	if rapid.Bool().Draw(t, "block") {
		return Block{near.Draw(t, "slot"), r}
	}
	return Attestation{near.Draw(t, "source"), near.Draw(t, "target"), r}
}

// Until something is pruned, the complete strategy refuses what the oracle
// would slash, and nothing else but a source after its target.
func TestCompleteRefusesOnlyTheSlashable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := activeComplete
		var o oracle
		for range rapid.IntRange(1, Keep).Draw(t, "duties") {
			f := drawDuty(t, 0)
			next, d := step(s, f, wide)
			conflict := o.sign(f)
			if vote, ok := f.(Attestation); ok && vote.Source > vote.Target {
				if d.Rule == "" {
					t.Fatalf("allowed %+v", f)
				}
				if conflict == nil {
					o.votes = o.votes[:len(o.votes)-1]
				}
				continue
			}
			if d.Allowed != (conflict == nil) {
				t.Fatalf("%+v: %+v, the oracle names %+v", f, d, conflict)
			}
			if again, d := step(next, f, wide); d.Allowed && !reflect.DeepEqual(again, next) {
				t.Fatal("signing again changed the history")
			} else if !d.Allowed && conflict == nil {
				t.Fatalf("%+v, signed a moment ago: %+v", f, d)
			}
			s = next
		}
	})
}

// Through any number of prunings, and imports that may lie: nothing slashable,
// and never more than Keep of each kind.
func TestCompleteAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := activeComplete
		var o oracle
		allowed := 0
		for at := range uint64(rapid.IntRange(1, 300).Draw(t, "length")) {
			f := drawDuty(t, at)
			if rapid.IntRange(0, 20).Draw(t, "import") == 0 {
				var b []BlockMark
				var v []VoteMark
				switch f := f.(type) {
				case Block:
					b = []BlockMark{{true, rapid.Bool().Draw(t, "ours"), f.Slot, f.Root}}
				case Attestation:
					v = []VoteMark{{true, rapid.Bool().Draw(t, "ours"), f.Source, f.Target, f.Root}}
				}
				h := HistoryOf(Key{}, b, v)
				s = s.imported(h.Watermarks, h.foreign())
				continue
			}
			before := s
			next, d := step(s, f, wide)
			if s = next; !d.Allowed {
				if s != before {
					t.Fatal("a refusal changed the status")
				}
				continue
			}
			allowed++
			if conflict := o.sign(f); conflict != nil {
				t.Fatalf("allowed %+v after %+v", f, conflict)
			}
			if m := s.Messages; len(m.Blocks) > Keep || len(m.Votes) > Keep {
				t.Fatalf("%d blocks, %d votes", len(m.Blocks), len(m.Votes))
			}
		}
	})
}

// What was pruned is refused for ever, and what is kept can be filled in.
func TestPruning(t *testing.T) {
	s := activeComplete
	for i := range uint64(2 * Keep) {
		for _, f := range []Facts{Block{2 * i, root(1)}, Attestation{2 * i, 2*i + 1, root(1)}} {
			next, d := step(s, f, wide)
			if !d.Allowed {
				t.Fatalf("%+v: %+v", f, d)
			}
			s = next
		}
	}
	const kept = 2 * Keep // the oldest slot that is
	for _, c := range []struct {
		f    Facts
		want Rule
	}{
		{Block{kept - 2, root(1)}, RuleBlock},
		{Block{kept - 2, root(2)}, RuleBlock},
		{Block{kept - 1, root(1)}, ""},
		{Block{kept, root(1)}, ""},
		{Block{kept, root(2)}, RuleOtherBlock},
		{Attestation{kept - 2, kept - 1, root(1)}, RuleDoubleVote},
		{Attestation{kept - 3, kept, root(1)}, RuleSurround},
		{Attestation{kept - 2, kept, root(1)}, ""},
		{Attestation{kept, kept + 1, root(2)}, RuleOtherVote},
		{Attestation{kept + 1, kept + 4, root(1)}, RuleSurrounding},
		{Attestation{kept, kept + 1, root(1)}, ""},
	} {
		if d := s.admit(c.f, wide); d.Rule != c.want || d.Allowed != (c.want == "") {
			t.Errorf("%+v: %+v, want %q", c.f, d, c.want)
		} else if !d.Allowed && explain(d.Rule, Key{}, s, c.f, wide).Detail == "" {
			t.Errorf("no words for rule %s", d.Rule)
		}
	}
}

// The strategy outlives restarts, the messages a snapshot, and an export
// brings all of them to another record.
func TestCompleteRecord(t *testing.T) {
	c := testConfig(durabletest.NewDisk())
	c.Strategy = Complete
	c.CompactAt = 1
	r := initRecord(t, c)
	c.Strategy = Minimal // Open goes by the record
	k := Key{1}
	if err := r.Register(k, History{Mode: HistoryNone}); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(100) {
		for _, f := range []Facts{Block{2 * i, root(1)}, Attestation{2 * i, 2*i + 1, root(1)}} {
			if rule := ask(t, r, item(k, f)); rule != "" {
				t.Fatalf("%+v: %q", f, rule)
			}
		}
	}
	r = reopen(t, r, c)
	out, err := r.Export(k)
	if err != nil || r.Strategy() != Complete || len(out.Keys[0].Blocks) != Keep+1 || len(out.Keys[0].Votes) != Keep+1 {
		t.Fatalf("%s, exported %+v, %v", r.Strategy(), out, err)
	}
	data, err := out.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseInterchange(data)
	if err != nil || !reflect.DeepEqual(back, out) {
		t.Fatalf("%+v became %+v, %v", out, back, err)
	}
	c2 := testConfig(durabletest.NewDisk())
	c2.Strategy = Complete
	heir := initRecord(t, c2)
	if err := heir.Register(k, History{}); err != nil {
		t.Fatal(err)
	}
	if err := heir.Import(back); err != nil {
		t.Fatal(err)
	}
	heir = reopen(t, heir, c2)
	for slot := range uint64(202) {
		for _, f := range []Facts{
			Block{slot, root(1)}, Block{slot, root(2)},
			Attestation{slot, slot + 1, root(1)}, Attestation{slot, slot + 1, root(2)}, Attestation{slot, slot + 3, root(1)},
		} {
			was, is := r.state.keys[k].admit(f, wide), heir.state.keys[k].admit(f, wide)
			if is.Allowed && !was.Allowed {
				t.Fatalf("%+v: %+v, with the heir %+v", f, was, is)
			}
			_, isVote := f.(Attestation)
			if slot > 2*(100-Keep)+1 && is.Allowed != was.Allowed {
				t.Fatalf("%+v (vote: %v): %+v, with the heir %+v", f, isVote, was, is)
			}
		}
	}
	// A floor leaves only the maximum.
	if err := heir.Raise(k, Floor{Slot: 500, Source: 5, Target: 500}); err != nil {
		t.Fatal(err)
	}
	floored, err := heir.Export(k)
	if h := floored.Keys[0]; err != nil || h.Block.Slot != 500 || h.Vote.Target != 500 || h.Vote.Source != 198 || h.Blocks != nil || h.Votes != nil {
		t.Fatalf("%+v, %v", floored, err)
	}
	heir.Close()
	r.Close()
}

func TestStrategies(t *testing.T) {
	c := testConfig(durabletest.NewDisk())
	c.Strategy = Complete + 1
	if err := Init(c); err == nil {
		t.Error("Init declared an unknown strategy")
	}
	r := initRecord(t, testConfig(durabletest.NewDisk()))
	if got := fmt.Sprint(r.Strategy(), Complete); got != "minimal complete" {
		t.Error(got)
	}
	r.Close()
}

func FuzzLoadCompleteSnapshot(f *testing.F) {
	s := newState()
	s.strategy = Complete
	s.apply(dutyEntry(Key{1}, Block{8, root(2)}), nil)
	s.apply(dutyEntry(Key{1}, Attestation{8, 9, root(2)}), nil)
	f.Add(s.snapshot()[1])
	f.Fuzz(func(t *testing.T, in []byte) {
		s := newState()
		s.loaded, s.strategy = true, Complete
		if s.load(in) != nil {
			return
		}
		if out := s.snapshot()[1]; !slices.Equal(in, out) {
			t.Fatalf("%x became %x", in, out)
		}
	})
}
