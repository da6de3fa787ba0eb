package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/kem"
	simulated "github.com/quorate/quorate/internal/rehearsal"
	"github.com/quorate/quorate/internal/wire"
)

// Large measures ceremonies of one key among n participants, of whom all deal
// up to 256 and else 128 that are drawn from cohorts of 64 or less. They are
// rehearsals in which nobody is absent or malicious.
func Large(ctx context.Context, n int, hybrid bool, progress func(format string, args ...any)) ([]Figure, error) {
	cohorts := 1
	if n > wire.MaxDealers {
		cohorts = min(n/16, 64)
	}
	defer oneCore()()
	c := simulated.Config{Participants: n, Cohorts: cohorts, Hybrid: hybrid, Seed: rand.Text()}
	before, err := largeLimits(n, hybrid)
	if err != nil {
		return nil, err
	}
	r, err := simulated.Run(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("measure a ceremony among %d: %w", n, err)
	}
	took, err := verifications(r)
	if err != nil {
		return nil, fmt.Errorf("measure a ceremony among %d: %w", n, err)
	}
	after, err := largeLimits(n, hybrid)
	if err != nil {
		return nil, err
	}
	progress("a ceremony among %d (hybrid %t): %.0f s", n, hybrid, r.Report.WallSeconds)
	report, limit := r.Report, before.mean(after).of(r.Report)
	bare := func(name, limitIs string) Figure {
		return Figure{Name: name, N: n, T: report.Threshold, Keys: 1, Dealers: report.Dealers, Hybrid: hybrid, Unit: "CPU-ms", LimitIs: limitIs}
	}
	spread := func(name, limitIs string, of simulated.Spread, limit float64, runs int) Figure {
		f := bare(name, limitIs)
		f.Least, f.Runs = 1000*of.Least, runs
		return f.duration(1000*of.Median, 1000*limit).within()
	}
	verify := func(name, limitIs string, of verification, limit float64) Figure {
		f := bare(name, limitIs)
		f.Bytes = of.bytes
		return f.runs(of.took, 1000*limit).within()
	}
	cpu := report.CPU
	share := float64(report.Dealers) / float64(n)
	participant := share*cpu.Deal.Median + cpu.Report.Median + cpu.Inspect.Median + cpu.Replay + cpu.Confirm.Median
	figures := []Figure{
		verify("dkg_verify", largeVerifyLimit, took.archive, limit.verify),
		verify("dkg_verify_dealings", largeDealingsLimit, took.dealings, limit.dealings),
		bare("dkg_participant", "what stands there for the share of dealing, for receiving, and for reading all points and checking their sums").
			duration(1000*participant, 1000*(share*limit.deal+limit.receive+limit.points)),
	}
	if n <= 16 && !hybrid { // dkg_deal and the others are those of the nodes' own ceremonies
		return figures, nil
	}
	return append([]Figure{
		spread("dkg_deal", largeDealLimit, cpu.Deal, limit.deal, report.Dealers),
		spread("dkg_receive", largeReceiveLimit, cpu.Report, limit.receive, n),
		verify("dkg_light_verify", largeLightLimit, took.certificate, limit.light),
	}, figures...), nil
}

// verification is what checking a transcript, or a part of one, took.
type verification struct {
	bytes int
	took  []float64 // milliseconds, each time
}

type verified struct{ archive, dealings, certificate verification }

// verifications checks what a ceremony left again and again.
func verifications(r *simulated.Result) (v verified, err error) {
	whole := func(raw []byte) (verification, error) {
		took, err := often(func() (time.Duration, error) {
			return spend(func() error { _, err := assembly.Verify(raw); return err })
		})
		return verification{len(raw), took}, err
	}
	if v.archive, err = whole(r.Archive); err != nil {
		return v, err
	}
	if v.certificate, err = whole(r.Certificate); err != nil {
		return v, err
	}
	v.dealings.took, err = often(func() (took time.Duration, err error) {
		took, v.dealings.bytes, err = verifyDealings(r.Archive)
		return took, err
	})
	return v, err
}

// verifyDealings replays an archive, and returns what its dealings cost alone:
// their headers, proofs and points, and the sums of these. What others publish
// as verification of a transcript has no more in it: no joins, reports, votes
// or confirmations.
func verifyDealings(archive []byte) (spent time.Duration, bytes int, err error) {
	f, rest, err := assembly.Begin(archive)
	if err != nil {
		return 0, 0, err
	}
	entries, _ := assembly.ReadEntries(rest) // up to the seals, which are none
	for _, e := range entries {
		phase := f.Board().Phase()
		if phase == assembly.PhaseReplay {
			took, err := spend(func() error { _, err := f.Finding(); return err })
			return spent + took, bytes, err
		}
		took, err := spend(func() error { return f.Take(e.Raw) })
		if err != nil {
			return 0, 0, err
		}
		if phase == assembly.PhaseDeal {
			spent, bytes = spent+took, bytes+len(e.Raw)
		}
	}
	return 0, 0, errors.New("measure the dealings: the ceremony ended before they were looked at")
}

// Each limit in words.
const (
	largeDealLimit     = "n+1 constant-time base multiplications, compressed; n+2 in ristretto255 for the masks and the proof of rho; hybrid: n encapsulations"
	largeReceiveLimit  = "for each dealer one multiplication in ristretto255 and one point decompression, hybrid: one decapsulation; one base multiplication"
	largeDealingsLimit = "for each dealer n+1 decompressions and additions, its proofs, and the signatures of its messages; n+1 subgroup checks, two multi-scalar multiplications"
	largeVerifyLimit   = "for each dealer n+1 decompressions and additions; n+1 subgroup checks, two multi-scalar multiplications; every signature, proof and confirmation"
	largeLightLimit    = "n+1 decompressions and subgroup checks, two multi-scalar multiplications, the dealers' proofs, n confirmations decoded and verified in one batch"
)

// limits has the prices of single steps, in seconds.
type limits struct {
	deal                      float64
	receiveEach, base         float64
	pointsEach, sums          float64 // a dealer's points; what is checked of their sums
	proofsEach                float64 // of a dealer
	confirm                   float64
	signature, possession     float64
	receive, points, dealings float64 // for a whole ceremony
	verify, light             float64
}

func (a limits) mean(b limits) limits {
	for _, v := range [][2]*float64{{&a.deal, &b.deal}, {&a.receiveEach, &b.receiveEach}, {&a.base, &b.base}, {&a.pointsEach, &b.pointsEach},
		{&a.sums, &b.sums}, {&a.proofsEach, &b.proofsEach}, {&a.confirm, &b.confirm}, {&a.signature, &b.signature}, {&a.possession, &b.possession}} {
		*v[0] = mean(*v[0], *v[1])
	}
	return a
}

// of adds up a ceremony.
func (a limits) of(r *simulated.Report) limits {
	n, dealers := float64(r.Participants), float64(r.Dealers)
	messages := 4 * n // join, report, vote, confirm
	chunks := (n + 2047) / 2048
	a.receive = dealers*a.receiveEach + a.base
	a.points = dealers*a.pointsEach + a.sums
	a.light = a.sums + dealers*a.proofsEach + a.confirm
	a.dealings = a.points + dealers*(a.proofsEach+(1+chunks)*a.signature)
	a.verify = a.dealings + a.confirm + n*a.possession + (messages+n)*a.signature // and seals
	return a
}

func largeLimits(n int, hybrid bool) (l limits, err error) {
	t := (n+(n-1)/3)/2 + 1
	w := newGroupwork(n, n+1, 1)
	confirmations := newConfirmations(n)
	var coins [kem.CoinsSize]byte
	key := kem.NewHybridKey(&[32]byte{1})
	letter, _, err := kem.Encapsulate(key.Public(), &coins)
	if err != nil {
		return l, err
	}
	identity, _, err := ident.Generate(ident.Ed25519, rand.Reader)
	if err != nil {
		return l, err
	}
	signature := identity.Sign(wire.TagAssemblyMessage, coins[:])
	proof := w.dhKey.Prove(wire.TagPoP)
	proven := func() error {
		if !w.dhPoint.VerifyProof(proof, wire.TagPoP) {
			return errors.New("measure the limit: a proof does not verify")
		}
		return nil
	}
	for _, step := range []struct {
		into *float64
		per  int
		work func() error
	}{
		{&l.deal, 1, func() error { return w.dealTo(n, hybrid, key.Public(), &coins) }},
		{&l.receiveEach, 64, func() error {
			return times(64, func() error {
				w.dhKey.Shared(w.dhPoint)
				if hybrid {
					if _, err := key.Decapsulate(letter); err != nil {
						return err
					}
				}
				return bls.G1{}.SetPoint(new(bls.G1Point), w.encoded[:48])
			})
		}},
		{&l.base, 64, func() error {
			return times(64, func() error { bls.G1{}.BaseMult(new(bls.G1Point), &w.scalars[0]); return nil })
		}},
		{&l.pointsEach, 1, w.addAll},
		{&l.sums, 1, func() error { return w.checkSums(t) }},
		{&l.proofsEach, 16, func() error {
			return times(16, func() error {
				g := bls.G1{}
				points := make([]bls.G1Point, 1)
				if err := g.SetPoint(&points[0], w.encoded[:48]); err != nil {
					return err
				}
				g.VarTimeMultiMult(points, w.scalars[:1], 128)
				g.BaseMult(&points[0], &w.scalars[0])
				return proven()
			})
		}},
		{&l.confirm, 1, confirmations.verify},
		{&l.signature, 64, func() error {
			return times(64, func() error {
				return identity.Public().Verify(signature, wire.TagAssemblyMessage, coins[:])
			})
		}},
		{&l.possession, 64, func() error { return times(64, proven) }},
	} {
		took, err := price(step.work)
		if err != nil {
			return l, err
		}
		*step.into = took.Seconds() / float64(step.per)
	}
	return l, nil
}

func times(n int, work func() error) error {
	for range n {
		if err := work(); err != nil {
			return err
		}
	}
	return nil
}

// dealTo is what a dealer cannot do without.
func (w *groupwork) dealTo(n int, hybrid bool, key []byte, coins *[kem.CoinsSize]byte) error {
	g := bls.G1{}
	out := make([]bls.G1Point, n+1)
	for i := range out {
		g.BaseMult(&out[i], &w.scalars[0])
	}
	g.AppendPoints(nil, out)
	for range n + 2 {
		w.dhKey.Shared(w.dhPoint)
	}
	if !hybrid {
		return nil
	}
	return times(n, func() error {
		_, _, err := kem.Encapsulate(key, coins)
		return err
	})
}

// addAll reads a dealer's points into a sum.
func (w *groupwork) addAll() error {
	g := bls.G1{}
	size := g.PointSize()
	var p bls.G1Point
	for i := range w.points {
		if err := g.SetPoint(&p, w.encoded[i*size:(i+1)*size]); err != nil {
			return fmt.Errorf("measure the limit: %w", err)
		}
		g.AddPoint(&p, &w.points[i])
	}
	return nil
}

// checkSums is what the points of a result have to pass.
func (w *groupwork) checkSums(t int) error {
	if err := w.addAll(); err != nil {
		return err
	}
	g := bls.G1{}
	scalars := make([]bls.G1Scalar, len(w.points))
	for i := range scalars {
		scalars[i] = w.scalars[0]
	}
	g.Outside(w.points)
	g.VarTimeMultiMult(w.points, scalars, 255)
	g.VarTimeMultiMult(w.points[:t], scalars[:t], 255)
	g.AppendPoints(nil, w.points)
	return nil
}
