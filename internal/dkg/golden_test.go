package dkg_test

import (
	"encoding/json"
	"flag"
	"testing"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
)

var update = flag.Bool("update", false, "write spec/vectors/ceremony/ledger-* anew")

const vectors = "../../spec/vectors/ceremony"

// golden are the ceremonies on a ledger behind the vectors.
func golden(t *testing.T) map[string]*dkgtest.Ceremony {
	with := func(p dkg.Params, acts map[int]dkgtest.Behaviour, keys ...[]byte) *dkgtest.Ceremony {
		c := open(t, p, keys...)
		for seat, act := range acts {
			c.Acts[seat] = act
		}
		return c
	}
	suite, other := dkg.SuiteG1, dkg.SuiteRistretto
	secrets := [][]byte{scalar(suite, 2), scalar(suite, 3), scalar(suite, 200)}
	// Seat 5 deals and gets no share.
	outside := dkgtest.Params(suite, true, 5, 3)
	outside.T, outside.Without = threshold(4), seats(5)
	return map[string]*dkgtest.Ceremony{
		"ledger-honest":    with(dkgtest.Params(suite, false, 4, 2), nil),
		"ledger-hybrid":    with(dkgtest.Params(suite, true, 4, 1), map[int]dkgtest.Behaviour{2: dkgtest.Silent}),
		"ledger-ristretto": with(dkgtest.Params(other, false, 7, 3), nil),
		"ledger-bad-share": with(dkgtest.Params(other, true, 4, 2), map[int]dkgtest.Behaviour{3: falseShares(1)}),
		"ledger-import":    with(importing(outside, 5, secrets), nil, secrets...),
		"ledger-refresh":   renew(t, made(t, dkgtest.Params(suite, false, 4, 2)), nil),
		"ledger-reshare":   renew(t, made(t, dkgtest.Params(other, false, 5, 2)), reshare(seats(2))),
	}
}

// TestGolden holds the formats and the protocol to files that other
// implementations read. They change only with a decision.
func TestGolden(t *testing.T) {
	for name, c := range golden(t) {
		x := transcript(t, c)
		files := map[string][]byte{"certificate": x.Certificate(), "archive": x.Archive()}
		if c.Board.Params().Mode.Renews() {
			// What it began with is not in it, so that nobody can replay it.
			if _, err := dkg.VerifyTranscript(files["archive"]); err == nil {
				t.Errorf("%s: its archive verifies", name)
			}
			delete(files, "archive")
		}
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
