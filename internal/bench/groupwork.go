package bench

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"time"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/kem"
)

// groupwork does the group operations that one operator of a ceremony cannot
// do without, on points of no meaning, and nothing else: no hash, no message,
// no tree, no mask.
type groupwork struct {
	n, t, keys int
	dhKey      kem.SecretKey
	dhPoint    kem.PublicKey
	scalars    []bls.G1Scalar // one for each key
	points     []bls.G1Point  // t for each key
	encoded    []byte         // of points
}

func newGroupwork(n, t, keys int) *groupwork {
	w := &groupwork{n: n, t: t, keys: keys, scalars: make([]bls.G1Scalar, keys), points: make([]bls.G1Point, keys*t)}
	var wide [64]byte
	rand.Read(wide[:])
	w.dhKey = kem.NewSecretKey(&wide)
	w.dhPoint = w.dhKey.Public()
	g := bls.G1{}
	for i := range w.scalars {
		rand.Read(wide[:])
		g.SetWide(&w.scalars[i], &wide)
	}
	for i := range w.points {
		g.BaseMult(&w.points[i], &w.scalars[i%keys])
	}
	w.encoded = g.AppendPoints(nil, w.points)
	return w
}

// Each limit in words, as the report gives it.
const (
	dealLimit   = "t constant-time base multiplications for each key, one for the proof of the constants; n+2 in ristretto255 for the masks and the proof of rho"
	verifyLimit = "n·t point decompressions and t subgroup checks for each key, one multi-scalar multiplication over the keys for the own shares and one for each dealer's proof; n in ristretto255 for the masks"
	lightLimit  = "t point decompressions for each key, t multi-scalar multiplications over the keys, t subgroup checks, n-f confirmations decoded and verified in one batch"
	batchLimit  = "group operations alone: those of dkg_deal and dkg_receive, one base multiplication for each key's delta, one attestation"
)

func (w *groupwork) deal() error {
	g := bls.G1{}
	out := make([]bls.G1Point, len(w.points)+1)
	for i := range out {
		g.BaseMult(&out[i], &w.scalars[i%w.keys])
	}
	g.AppendPoints(nil, out)
	for range w.n + 2 {
		w.dhKey.Shared(w.dhPoint)
	}
	return nil
}

func (w *groupwork) verify() error {
	g := bls.G1{}
	size := g.PointSize()
	sums := make([]bls.G1Point, len(w.points))
	for range w.n {
		for i := range sums {
			var p bls.G1Point
			if err := g.SetPoint(&p, w.encoded[i*size:(i+1)*size]); err != nil {
				return fmt.Errorf("measure the limit: %w", err)
			}
			g.AddPoint(&sums[i], &p)
		}
		w.dhKey.Shared(w.dhPoint)
		g.VarTimeMultiMult(w.points[:w.keys], w.scalars, 255)
		g.BaseMult(new(bls.G1Point), &w.scalars[0])
	}
	g.Outside(sums)
	g.VarTimeMultiMult(w.points[:w.keys], w.scalars, 128)
	g.BaseMult(new(bls.G1Point), &w.scalars[0])
	return nil
}

// rest is what follows the verdict.
func (w *groupwork) rest() error {
	g := bls.G1{}
	for i := range w.scalars {
		g.BaseMult(new(bls.G1Point), &w.scalars[i])
	}
	g.AppendPoints(nil, w.points)
	g.Attest(&w.scalars[0], []byte("limit"))
	return nil
}

// settle is what the ledger has to verify of the result.
func (w *groupwork) settle() error {
	g := bls.G1{}
	size := g.PointSize()
	points := make([]bls.G1Point, len(w.points))
	for i := range points {
		if err := g.SetPoint(&points[i], w.encoded[i*size:(i+1)*size]); err != nil {
			return fmt.Errorf("measure the limit: %w", err)
		}
	}
	sums := make([]bls.G1Point, w.t)
	for j := range sums {
		sums[j] = g.VarTimeMultiMult(points[j*w.keys:(j+1)*w.keys], w.scalars, 128)
	}
	g.Outside(sums)
	return nil
}

// confirmations are n of one message that verify, with the points that they
// verify under.
type confirmations struct {
	points  []bls.G1Point
	encoded [][]byte
}

var confirmed = []byte("limit")

func newConfirmations(n int) *confirmations {
	c := &confirmations{points: make([]bls.G1Point, n)}
	g := bls.G1{}
	for i := range n {
		var wide [64]byte
		rand.Read(wide[:])
		var s bls.G1Scalar
		g.SetWide(&s, &wide)
		g.BaseMult(&c.points[i], &s)
		c.encoded = append(c.encoded, g.Attest(&s, confirmed))
	}
	return c
}

// verify decodes the confirmations, and checks each point and their sum.
func (c *confirmations) verify() error {
	if bad := (bls.G1{}).VerifyAttestations(c.points, confirmed, c.encoded); len(bad) > 0 {
		return fmt.Errorf("measure the limit: %d bad confirmations", len(bad))
	}
	return nil
}

// price is the processor time that work takes, the median of several times.
func price(work func() error) (time.Duration, error) {
	const least = 100 * time.Millisecond
	var all []float64
	for spent := time.Duration(0); len(all) < 3 || spent < least; {
		took, err := spend(work)
		if err != nil {
			return 0, err
		}
		all, spent = append(all, float64(took)), spent+took
	}
	return time.Duration(median(all)), nil
}

// often is what work takes, in milliseconds, of 3 to 20 times: what takes long
// varies little.
func often(work func() (time.Duration, error)) (all []float64, err error) {
	for spent := time.Duration(0); len(all) < 3 || len(all) < 20 && spent < 4*time.Second; {
		runtime.GC() // nobody pays for what is left of others
		took, err := work()
		if err != nil {
			return nil, err
		}
		all, spent = append(all, milliseconds(took)), spent+took
	}
	return all, nil
}
