package rehearsal

import (
	"context"
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/dkg/assembly"
)

// FederationResult is what a rehearsal of a federation leaves.
type FederationResult struct {
	Certificate []byte // nil when too few cohorts made a key
	Cohorts     []*Result
	Report      *FederationReport
}

// FederationReport is how it went.
type FederationReport struct {
	Seed         string            `json:"seed"`
	Participants int               `json:"participants"`
	Outcome      *assembly.Outcome `json:"outcome,omitempty"`
	Score        Score             `json:"score"` // over all cohorts
	Cohorts      []*Report         `json:"cohorts"`

	CertificateBytes int     `json:"certificate_bytes"`
	LightVerify      float64 `json:"light_verify_cpu_s"`
	WallSeconds      float64 `json:"wall_s"`
	PeakMiB          int     `json:"peak_mib"`
}

// Federate plays as many ceremonies as there are cohorts, each with a key of
// its own, and lets them converge. A cohort that made no key stays out.
func Federate(ctx context.Context, c Config) (*FederationResult, error) {
	began := time.Now()
	if c.Cohorts < 2 || c.Participants/c.Cohorts < 4 {
		return nil, fmt.Errorf("rehearse a federation of %d cohorts among %d: want 2 cohorts of 4 at least", c.Cohorts, c.Participants)
	}
	r := &FederationResult{Report: &FederationReport{Seed: c.Seed, Participants: c.Participants}}
	var worlds []*world
	var certificates [][]byte
	defer func() {
		for _, w := range worlds {
			w.destroy()
		}
	}()
	for i := range c.Cohorts {
		one := c
		one.Cohorts, one.Dealers, one.Threshold = 1, 0, 0
		one.Participants = (i+1)*c.Participants/c.Cohorts - i*c.Participants/c.Cohorts
		one.Seed = fmt.Sprintf("%s cohort %d", c.Seed, i+1)
		result, w, err := run(ctx, one)
		if err != nil {
			return nil, fmt.Errorf("rehearse cohort %d: %w", i+1, err)
		}
		r.Cohorts = append(r.Cohorts, result)
		r.Report.add(result.Report)
		if result.Certificate == nil {
			w.destroy()
			continue
		}
		worlds, certificates = append(worlds, w), append(certificates, result.Certificate)
	}
	var err error
	if len(certificates) >= c.Cohorts-(c.Cohorts-1)/3 {
		err = r.converge(worlds, certificates)
	}
	r.Report.CertificateBytes, r.Report.WallSeconds, r.Report.PeakMiB = len(r.Certificate), time.Since(began).Seconds(), peakMemory()
	return r, err
}

// converge lets the present members of each cohort sign for it.
func (r *FederationResult) converge(worlds []*world, certificates [][]byte) error {
	n := len(certificates)
	f, err := assembly.NewFederation(n-(n-1)/3, certificates)
	if err != nil {
		return err
	}
	for i, w := range worlds {
		var seats []int
		var parts [][]byte
		for _, k := range w.board.Holders() {
			if s := w.seats[k-1]; s.saboteur == nil {
				part, err := s.honest.SignFederation(w.board, f)
				if err != nil {
					return fmt.Errorf("cohort %d, participant %d: %w", i+1, k, err)
				}
				seats, parts = append(seats, k), append(parts, part)
			}
		}
		if len(seats) < int(w.params.T) {
			continue // a key that too few honest members hold
		}
		if err := f.Sign(i+1, seats, parts); err != nil {
			return err
		}
	}
	r.Certificate = f.Encode()
	took, err := spendAll(func() (err error) {
		r.Report.Outcome, err = assembly.Verify(r.Certificate)
		return err
	})
	r.Report.LightVerify = took.Seconds()
	return err
}

func (r *FederationReport) add(one *Report) {
	r.Cohorts = append(r.Cohorts, one)
	s, o := &r.Score, one.Score
	s.Malicious += o.Malicious
	s.Absent += o.Absent
	s.Right += o.Right
	s.Missed += o.Missed
	s.HonestBlamed += o.HonestBlamed
	s.AbsentBlamed += o.AbsentBlamed
	s.HonestHolders += o.HonestHolders
}
