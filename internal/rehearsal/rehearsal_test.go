package rehearsal

import (
	"bytes"
	"encoding/json"
	"math/bits"
	"os"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
)

func play(t *testing.T, c Config) *Result {
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
		"all deal":      {Participants: 40, Malicious: 30, Absent: 3},
		"drawn":         {Participants: 72, Cohorts: 6, Dealers: 6, Malicious: 25, Absent: 5},
		"drawn, hybrid": {Participants: 48, Cohorts: 4, Dealers: 8, Malicious: 30, Hybrid: true},
	} {
		t.Run(name, func(t *testing.T) {
			c.Seed = name
			r := play(t, c)
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
	sizes := []int{4, 7, 10}
	if os.Getenv("QUORATE_CHECK") == "" {
		sizes = []int{7, 10}
	}
	joining, later, dealing := assembly.Sabotages()
	for _, list := range [][]assembly.Sabotage{joining, later, dealing} {
		for _, kind := range list {
			for _, n := range sizes {
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
	a, b := play(t, c), play(t, c)
	if !bytes.Equal(a.Archive, b.Archive) || !bytes.Equal(a.Certificate, b.Certificate) {
		t.Error("two runs differ")
	}
	c.Seed = "other"
	if other := play(t, c); bytes.Equal(a.Certificate, other.Certificate) {
		t.Error("another seed makes the same key")
	}
}

// Cohorts with keys of their own converge, and nobody can take one away.
func TestFederation(t *testing.T) {
	r, err := Federate(t.Context(), Config{Participants: 18, Cohorts: 4, Malicious: 25, Seed: "federation"})
	if err != nil {
		t.Fatal(err)
	}
	s := r.Report.Score
	if r.Certificate == nil || s.Missed+s.HonestBlamed > 0 || s.Malicious != 4 {
		t.Fatalf("%+v", s)
	}
	o, err := assembly.Verify(r.Certificate)
	if err != nil || o.File != "federation" || len(o.Cohorts) != 4 || o.Participants != 18 || o.Confirmed != 4 || o.Threshold != 3 {
		t.Fatalf("%+v, %v", o, err)
	}
	work := bytes.Clone(r.Certificate)
	for at := 0; at < len(work); at += 61 {
		work[at] ^= 1 << (at % 8)
		if _, err := assembly.Verify(work); err == nil {
			t.Errorf("byte %d may flip", at)
		}
		work[at] ^= 1 << (at % 8)
	}
	var certificates [][]byte
	for _, c := range r.Cohorts {
		certificates = append(certificates, c.Certificate)
	}
	f, err := assembly.NewFederation(3, certificates)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Verify(); err == nil {
		t.Error("a federation that nobody signed verifies")
	}
	certificates[1] = certificates[0]
	if _, err := assembly.NewFederation(3, certificates); err == nil {
		t.Error("one cohort counts twice")
	}
	if _, err := assembly.NewFederation(2, certificates[2:3]); err == nil {
		t.Error("one cohort is a federation")
	}
}

// Every threshold of shares makes the key, and no fewer do.
func TestSharesMakeTheKey(t *testing.T) {
	_, w, err := run(t.Context(), Config{Participants: 7, Malicious: 15, Faults: []assembly.Sabotage{assembly.BadShare}, Seed: "shares"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.destroy()
	key, ok := w.board.PublicKey()
	if !ok {
		t.Fatal("no key")
	}
	shares := map[int][]byte{}
	for _, s := range w.seats {
		share, err := s.honest.ExposeSecretShare(w.board)
		if err != nil {
			t.Fatal(err)
		}
		share.Expose(func(b []byte) { shares[s.index] = bytes.Clone(b) })
	}
	makes := func(set uint) bool {
		some := map[int][]byte{}
		for i, share := range shares {
			if set&(1<<(i-1)) != 0 {
				some[i] = share
			}
		}
		whole, err := bls.NewSecretKey((*[32]byte)(dkgtest.Reconstruct(dkg.SuiteG1, some)))
		return err == nil && whole.PublicKey() == key
	}
	for set := uint(1); set < 1<<7; set++ {
		if enough := bits.OnesCount(set) >= int(w.params.T); makes(set) != enough {
			t.Errorf("shares %07b: make the key %t, want %t", set, !enough, enough)
		}
	}
}

// A thousand participants, a tenth of them absent and one in twenty
// malicious, on this machine.
func TestThousand(t *testing.T) {
	if os.Getenv("QUORATE_NIGHTLY") == "" {
		return // a minute of two cores
	}
	r := play(t, Config{Participants: 1024, Cohorts: 32, Absent: 10, Malicious: 5, Seed: "thousand"})
	s := r.Report.Score
	if s.Missed+s.HonestBlamed+s.AbsentBlamed > 0 || s.Malicious != 51 || r.Certificate == nil {
		t.Errorf("%+v", s)
	}
	if r.Report.WallSeconds > 600 || r.Report.PeakMiB > 8<<10 {
		t.Errorf("it took %.0f s and %d MiB", r.Report.WallSeconds, r.Report.PeakMiB)
	}
}

// A dealer who is the last of all has dealt when its first header comes: the
// second finds the phase over, takes part in nothing, and misleads nobody.
func TestEquivocationTooLate(t *testing.T) {
	r, err := Run(t.Context(), Config{Participants: 4, Malicious: 25, Faults: []assembly.Sabotage{assembly.Equivocation}, Seed: "x4"})
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Report.Score; s != (Score{Malicious: 1, Right: 1, HonestHolders: 3}) || len(r.Report.Outcome.Faults) > 0 {
		t.Errorf("%+v, faults %v", s, r.Report.Outcome.Faults)
	}
}

// What cannot be played is refused, so that nobody takes a calm ceremony for one
// that withstood it.
func TestFaultsThatNeedMore(t *testing.T) {
	for _, c := range []Config{
		{Participants: 8, Malicious: 25, Faults: []assembly.Sabotage{assembly.BadAnswer}},
		{Participants: 8, Malicious: 25, Faults: []assembly.Sabotage{assembly.HighDegree, assembly.FalseAccusation}},
	} {
		if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "only ") {
			t.Errorf("%v: %v", c.Faults, err)
		}
	}
}
