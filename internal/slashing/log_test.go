package slashing

import (
	"testing"
)

// What ReadLog reads is what was signed, in order, and its chain goes on
// across openings where the one before ended.
func TestReadLog(t *testing.T) {
	c := Config{Dir: t.TempDir()}
	if err := Init(c); err != nil {
		t.Fatal(err)
	}
	key, genesis := Key{1}, Root{2}
	var want []Facts
	var last Logged
	for life := range uint64(3) {
		r, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Register(key, History{Mode: HistoryNone}); err != nil {
			t.Fatal(err)
		}
		want = nil
		for _, f := range []Facts{
			Block{Slot: 10*life + 1, Root: Root{1}}, Attestation{Source: life, Target: life + 1, Root: Root{2}}, Other{Kind: "RANDAO_REVEAL", Root: Root{byte(life)}},
			Block{Slot: 10 * life, Root: Root{3}}, // refused
		} {
			if err := r.Begin(Bounds{MaxSlot: 100, MaxTarget: 100}, Item{key, &genesis, f}).Wait()[0]; err == nil {
				want = append(want, f)
			}
		}
		usage, err := r.Usage(0)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		var got []Logged
		if err := ReadLog(c, func(l Logged) { got = append(got, l) }); err != nil {
			t.Fatal(err)
		}
		if got[0].Seq != last.Seq || got[0].Chain != last.Chain || got[0].Facts != nil {
			t.Errorf("life %d begins with %+v, the one before ended with %+v", life, got[0], last)
		}
		last = got[len(got)-1]
		if last.Seq != usage.Seq || last.Chain != usage.Chain {
			t.Errorf("life %d ends with %+v, the record with %+v", life, last, usage)
		}
		for _, l := range got {
			if l.Facts == nil {
				continue
			}
			if len(want) == 0 || l.Facts != want[0] || l.Key != key {
				t.Fatalf("life %d: %+v, want %+v", life, l, want)
			}
			want = want[1:]
		}
		if len(want) != 0 {
			t.Errorf("life %d: %+v is not in the log", life, want)
		}
	}
	if err := ReadLog(Config{Dir: t.TempDir()}, func(Logged) {}); err == nil {
		t.Error("a log that is not there can be read")
	}
}
