package dkg_test

import (
	"encoding/json"
	"flag"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
)

var update = flag.Bool("update", false, "write spec/vectors/ceremony/ledger-* anew")

const vectors = "../../spec/vectors/ceremony"

// story is a ceremony and the fault that it has.
type story struct {
	c     *dkgtest.Ceremony
	seat  int // 0: none
	fault dkg.FaultKind
}

// golden are the ceremonies on a ledger behind the vectors: of each mode an
// honest one, one with false shares and one with a silent seat. An importer's
// false shares end the import, so that nothing is left to prove; a false
// complaint stands in for them.
func golden(t *testing.T) map[string]story {
	with := func(c *dkgtest.Ceremony, seat int, act dkgtest.Behaviour, fault dkg.FaultKind) story {
		c.Acts[seat] = act
		return story{c, seat, fault}
	}
	honest := func(c *dkgtest.Ceremony) story { return story{c: c} }
	suite, other := dkg.SuiteG1, dkg.SuiteRistretto
	secrets := [][]byte{scalar(suite, 2), scalar(suite, 3), scalar(suite, 200)}
	// Seat 5 deals and gets no share.
	outside := dkgtest.Params(suite, true, 5, 3)
	outside.T, outside.Without = threshold(4), seats(5)
	beacon := dkgtest.Params(suite, false, 4, 1)
	beacon.Use = action.UseBeacon
	imported := func() *dkgtest.Ceremony { return open(t, importing(outside, 5, secrets), secrets...) }
	refreshed := func(hybrid bool) *dkgtest.Ceremony {
		return renew(t, made(t, dkgtest.Params(suite, hybrid, 4, 2)), nil)
	}
	reshared := func(hybrid bool) *dkgtest.Ceremony {
		return renew(t, made(t, dkgtest.Params(other, hybrid, 5, 2)), reshare(seats(2)))
	}
	// Seats 1 to 4 hand over to 4 to 7.
	moved := dkgtest.Params(suite, false, 7, 2)
	moved.T, moved.Without = threshold(4), seats(5, 6, 7)
	// Seven participants hand over: one is silent, or two deal falsely.
	handed, falsely := handOver(t, 4, false, people(7)), handOver(t, 5, true, people(7))
	handed.People[3] = dkgtest.Silent
	falsely.People[2], falsely.People[6] = falseDealers[0].act, falseDealers[0].act
	return map[string]story{
		"ledger-handover-silent":    honest(handed),
		"ledger-handover-bad-share": {falsely, 2, dkg.BadShare},
		"ledger-handover":           honest(handOver(t, 7, false, people(4))),
		"ledger-honest":             honest(open(t, dkgtest.Params(suite, false, 4, 2))),
		"ledger-hybrid":             with(open(t, dkgtest.Params(suite, true, 4, 1)), 2, dkgtest.Silent, dkg.AbsentJoin),
		"ledger-ristretto":          honest(open(t, dkgtest.Params(other, false, 7, 3))),
		"ledger-bad-share":          with(open(t, dkgtest.Params(other, true, 4, 2)), 3, falseShares(1), dkg.BadShare),
		"ledger-beacon":             honest(open(t, beacon)),
		"ledger-import":             honest(imported()),
		"ledger-import-complaint":   with(imported(), 3, falseComplaint(5), dkg.FalseComplaint),
		"ledger-import-silent":      with(imported(), 3, dkgtest.Silent, dkg.AbsentJoin),
		"ledger-refresh":            honest(refreshed(false)),
		"ledger-refresh-bad-share":  with(refreshed(true), 3, falseShares(1), dkg.BadShare),
		"ledger-refresh-silent":     with(refreshed(false), 2, dkgtest.Silent, dkg.AbsentJoin),
		"ledger-reshare":            honest(reshared(false)),
		"ledger-reshare-bad-share":  with(reshared(true), 3, falseShares(1), dkg.BadShare),
		"ledger-reshare-silent":     with(reshared(false), 4, dkgtest.Silent, dkg.AbsentJoin),
		"ledger-reshare-moved":      honest(renew(t, made(t, moved), reshare(seats(1, 2, 3)))),
	}
}

// falseComplaint accuses a dealer that dealt well.
func falseComplaint(dealer int) dkgtest.Behaviour {
	return alter(func(c *dkgtest.Ceremony, q *dkg.Participant, m *dkg.Verdict) {
		m.Complaints = []dkg.Complaint{dkg.Accuse(q, c.Board, c.Source, dealer, 0)}
	})
}

// TestGolden holds the formats and the protocol to files that other
// implementations read. They change only with a decision.
func TestGolden(t *testing.T) {
	for name, s := range golden(t) {
		x := transcript(t, s.c)
		if faults := s.c.Board.Faults(); s.seat == 0 && len(faults) != 0 || s.seat != 0 && !s.c.Has(s.seat, s.fault) {
			t.Errorf("%s: faults %v", name, faults)
		}
		files := map[string][]byte{"certificate": x.Certificate(), "archive": x.Archive()}
		said := map[string]any{"name": name}
		for ext, raw := range files {
			again, err := dkg.VerifyTranscript(raw)
			if err != nil {
				t.Fatalf("%s.%s: %v", name, ext, err)
			}
			said[ext] = again.Outcome()
			dkgtest.Golden(t, vectors, name+"."+ext, raw, *update)
		}
		raw, err := json.MarshalIndent(said, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		dkgtest.Golden(t, vectors, name+".json", append(raw, '\n'), *update)
	}
}
