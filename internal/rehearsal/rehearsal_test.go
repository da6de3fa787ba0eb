package rehearsal

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/quorate/quorate/internal/dkg/assembly"
)

func run(t *testing.T, c Config) *Result {
	t.Helper()
	c.Progress = t.Logf
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Nobody is blamed for what they did not do, and nobody gets away with what
// they did, whoever deals.
func TestEverySabotageIsJudged(t *testing.T) {
	for name, c := range map[string]Config{
		"all deal":         {Participants: 40, Malicious: 30, Absent: 2},
		"all deal, hybrid": {Participants: 40, Malicious: 30, Hybrid: true},
		"drawn":            {Participants: 96, Cohorts: 6, Dealers: 8, Malicious: 25, Absent: 5},
		"drawn, hybrid":    {Participants: 64, Cohorts: 4, Dealers: 8, Malicious: 28, Hybrid: true},
	} {
		t.Run(name, func(t *testing.T) {
			c.Seed = name
			r := run(t, c)
			s := r.Report.Score
			if s.Missed+s.HonestBlamed+s.AbsentBlamed > 0 || s.Malicious == 0 || r.Certificate == nil {
				text, _ := json.MarshalIndent(r.Report, "", " ")
				t.Fatalf("%s", text)
			}
			o, err := assembly.Verify(r.Certificate)
			if err != nil || o.PublicKey != r.Report.Outcome.PublicKey || !o.Exercise {
				t.Errorf("%+v, %v", o, err)
			}
		})
	}
}

// Each kind alone, among few.
func TestEachSabotage(t *testing.T) {
	joining, later, dealing := assembly.Sabotages()
	for _, list := range [][]assembly.Sabotage{joining, later, dealing} {
		for _, kind := range list {
			for _, n := range []int{4, 7, 10} {
				c := Config{Participants: n, Malicious: 100/n + 1, Faults: []assembly.Sabotage{kind}, Hybrid: kind == assembly.BadAnswer || n == 7, Seed: string(kind)}
				if kind == assembly.FalseAccusation {
					if n < 10 {
						continue
					}
					c.Cohorts, c.Dealers = 2, 3
				}
				c.Progress = func(string, ...any) {}
				r, err := Run(t.Context(), c)
				if err != nil {
					t.Fatalf("%s among %d: %v", kind, n, err)
				}
				if s := r.Report.Score; s.Missed+s.HonestBlamed > 0 || s.Malicious != 1 || r.Certificate == nil {
					text, _ := json.MarshalIndent(r.Report, "", " ")
					t.Errorf("%s among %d: %s", kind, n, text)
				}
			}
		}
	}
}

func TestSameSeedSameArchive(t *testing.T) {
	c := Config{Participants: 24, Cohorts: 2, Dealers: 6, Malicious: 20, Absent: 8, Seed: "again"}
	a, b := run(t, c), run(t, c)
	if !bytes.Equal(a.Archive, b.Archive) || !bytes.Equal(a.Certificate, b.Certificate) {
		t.Error("two runs differ")
	}
	c.Seed = "other"
	if other := run(t, c); bytes.Equal(a.Certificate, other.Certificate) {
		t.Error("another seed makes the same key")
	}
}
