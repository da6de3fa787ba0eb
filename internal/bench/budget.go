package bench

import (
	"crypto/rand"
	"errors"
	"time"

	"github.com/quorate/quorate/internal/bls"
)

// A budget is what a step was to cost, from the design: sums of single
// operations that were measured on a core that nothing disturbs. So it is the
// least of a step's runs that stands beside it, and [Operations] tell whether
// this core does each as fast.

// stepBudget is in milliseconds, of a ceremony of one key.
type stepBudget struct{ deal, receive, verify, light float64 }

// budgets are by participants. Up to 256 all deal, among more 128. A node
// receives and verifies in one step.
var budgets = map[int]stepBudget{
	4:    {deal: 0.31, receive: 0.32 + 0.84, light: 3.8},
	64:   {deal: 4.3, receive: 3.7, verify: 79, light: 32},
	256:  {deal: 18, receive: 15, verify: 1300, light: 84},
	1024: {deal: 86, receive: 8.5, verify: 2800, light: 233},
	4096: {deal: 550, receive: 8, verify: 10_000, light: 930},
}

// hybridBudget is for one dealer and recipient.
const hybridBudget = 0.139

// within sets the budget of a figure that has one, and what part of it the
// least of its runs took. With hybrid keys only dealing and receiving cost more.
func (f Figure) within() Figure {
	b := budgets[f.N]
	if f.Keys != 1 {
		return f
	}
	switch f.Name {
	case "dkg_deal":
		f.Budget = b.deal
		if f.Hybrid && b.deal > 0 {
			f.Budget += hybridBudget * float64(f.N)
		}
	case "dkg_receive":
		f.Budget = b.receive
		if f.Hybrid && b.receive > 0 {
			f.Budget += hybridBudget * float64(f.Dealers)
		}
	case "dkg_verify", "dkg_verify_dealings":
		f.Budget = b.verify
	case "dkg_light_verify":
		f.Budget = b.light
	}
	f.OfBudget = over(f.Least, f.Budget)
	return f
}

// Operations measures those that the budgets are sums of.
func Operations() (figures []Figure, err error) {
	defer oneCore()()
	g := bls.G1{}
	var wide [64]byte
	rand.Read(wide[:])
	var s bls.G1Scalar
	g.SetWide(&s, &wide)
	points := make([]bls.G1Point, 1)
	g.BaseMult(&points[0], &s)
	encoded := g.AppendPoints(nil, points)
	message := [][]byte{g.Attest(&s, confirmed)}
	for _, o := range []struct {
		name, is string
		budget   float64 // microseconds
		work     func() bool
	}{
		{"g1_decompress", "a compressed point of G1 read: one square root", 15, func() bool { return g.SetPoint(new(bls.G1Point), encoded) == nil }},
		{"g1_subgroup", "whether it lies in the subgroup", 44, func() bool { return len(g.Outside(points)) == 0 }},
		{"g2_sign", "a message hashed to G2, multiplied, compressed", 357, func() bool { return len(g.Attest(&s, confirmed)) > 0 }},
		{"g2_verify", "its signature read and verified: two pairings", 1027, func() bool { return len(g.VerifyAttestations(points, confirmed, message)) == 0 }},
	} {
		var all []float64
		for until := time.Now().Add(operationTime); time.Now().Before(until); {
			began := time.Now()
			if !o.work() {
				return nil, errors.New("measure the operations: " + o.name + " fails")
			}
			all = append(all, float64(time.Since(began))/float64(time.Microsecond))
		}
		f := Figure{Name: o.name, Unit: "µs", LimitIs: o.is, Budget: o.budget}.runs(all, o.budget)
		f.OfBudget = over(f.Least, f.Budget)
		figures = append(figures, f)
	}
	return figures, nil
}

const operationTime = 200 * time.Millisecond
