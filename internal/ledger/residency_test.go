package ledger

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
)

// TestResidency: no ceremony brings shares out of the regions in which they
// may be; what is about other keys, or moves none, goes on.
func TestResidency(t *testing.T) {
	w := newWorld(t, 7) // whose regions are 0, 1, 2, 0, 1, 2, 0
	first := w.open(alice, CeremonyOpen{Params: w.Params(1, 1), Purpose: "pool-eu"})
	first.run()
	keys := w.inventory()
	w.govern(w.Genesis.Policy + "\nresidency:\n  - {kind: key, purpose: \"pool-*\", regions: [region0, region1]}\n")
	imported := ledgertest.Import(w.Params(1, 2), 1, [][]byte{append([]byte{0x80}, keys[0][1:]...)})
	for name, c := range map[string]struct {
		open CeremonyOpen
		says string // "": it is opened
	}{
		"keygen":                 {CeremonyOpen{Params: w.Params(1, 3), Purpose: "pool-eu"}, "seat 3 (node02, in region2), seat 6 (node05, in region2)"},
		"keygen of another kind": {CeremonyOpen{Params: w.Params(1, 4), Purpose: "spare"}, ""},
		"import":                 {CeremonyOpen{Params: imported, Purpose: "pool-eu", Keys: [][]byte{append([]byte{0x80}, keys[0][1:]...)}}, "region2"},
		"reshare that stays out": {w.renewing(5, keys, to(seatsOf(6))), "which seat 3 (node02, in region2) is not"},
		"reshare that comes in":  {w.renewing(6, keys, to(seatsOf(3, 6))), ""},
		"refresh":                {w.renewing(7, keys, nil), ""},
	} {
		s := w.begin(w.block.Time + 1000) // each on its own: the block is given up
		r := carry(s, w.block, w.Tx(alice, action.KindRequest, c.open.Encode()))
		if c.says == "" && r.Code != OK || c.says != "" && (r.Code != CodeConflict || !strings.Contains(r.Info, c.says)) {
			t.Errorf("%s: %s (%s)", name, r.Code, r.Info)
		}
		w.block.Height--
	}
	// It comes in, and from then on stays.
	r := w.follow(first, w.renewing(6, keys, to(seatsOf(3, 6))))
	if b := r.run(); b.Phase() != dkg.PhaseDone {
		t.Fatalf("the reshare ended %s: %v", b.Phase(), b.Faults())
	}
	rec, err := w.view().Key(action.DomainValidator, keys[0])
	if err != nil {
		t.Fatal(err)
	}
	rules, _ := w.view().policy()
	if out := Outside(rules, keyResource(rec), HoldersAt(HoldersOf(rec), w.Roster)); out != "" {
		t.Errorf("afterwards %s", out)
	}
}
