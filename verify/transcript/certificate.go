package transcript

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// certificate is that of a ceremony among thousands.
type certificate struct {
	params
	roster, block digest
	qual          []int
	headers       map[int]*header
	points        []byte // 48 bytes for each of 0, …, n
	holders       []int
	attestations  [][]byte
}

func readCertificate(r *reader) (*certificate, error) {
	p, err := readParams(r)
	if err != nil {
		return nil, err
	}
	c := &certificate{params: p, roster: r.digest(), block: r.digest(), headers: map[int]*header{}}
	c.qual = readSeats(r, c.n)
	if len(c.qual) > mostDeal {
		r.fail(errors.New("more dealers than may deal"))
	}
	for _, i := range c.qual {
		c.headers[i] = readShortHeader(r, c.roster, i, c.hybrid)
	}
	c.points = r.take((c.n + 1) * curve.size())
	c.holders = readSeats(r, c.n)
	for range c.holders {
		c.attestations = append(c.attestations, r.take(96))
	}
	return c, r.end()
}

// readSeats reads a set: bit i-1 is for seat i.
func readSeats(r *reader, n int) (seats []int) {
	for at, b := range r.take((n + 7) / 8) {
		for bit := range 8 {
			if b>>bit&1 == 1 {
				seats = append(seats, 8*at+bit+1)
			}
		}
	}
	if len(seats) > 0 && seats[len(seats)-1] > n {
		r.fail(errors.New("a seat that there is not"))
	}
	return seats
}

// readShortHeader reads a header that has challenge and answer of the proof of
// f(0), and computes its commitment, of which the challenge has to be the hash.
func readShortHeader(r *reader, roster digest, dealer int, hybrid bool) *header {
	constant, key, challenge, answer, root := r.take(48), r.take(32), r.take(challengeSize), r.take(32), r.take(32)
	mail := make([]byte, 32)
	if hybrid {
		mail = r.take(32)
	}
	rho := r.take(64)
	if r.err != nil {
		return nil
	}
	v, ok1 := curve.element(constant)
	z, ok2 := curve.scalar(answer)
	if !ok1 || !ok2 {
		r.fail(fmt.Errorf("the proof of dealer %d is none", dealer))
		return nil
	}
	commitment := curve.base(z).minus(curve.sum([]element{v}, []*big.Int{little(challenge)}))
	full := &reader{all: slices.Concat(constant, key, commitment.bytes(), answer, root, mail, rho)}
	x := readHeader(full)
	if full.err != nil {
		r.fail(full.err)
	} else if x.challenge(roster, dealer).Cmp(little(challenge)) != 0 {
		r.fail(fmt.Errorf("the proof of dealer %d is false", dealer))
	}
	return x
}

func (c *certificate) key() []byte { return c.points[:curve.size()] }

func (c *certificate) outcome() *Outcome {
	o := c.params.outcome()
	o.Phase, o.Dealers, o.PublicKeys = "done", c.qual, []string{text(c.key())}
	o.Confirmed, o.DepositSafe = len(c.holders), len(c.holders) >= c.t+c.faults()
	return o
}

func (c *certificate) check() error {
	switch {
	case len(c.qual) < c.least() || c.dealers > 0 && len(c.qual) > c.cohorts*c.dealers:
		return fmt.Errorf("%d dealers", len(c.qual))
	case len(c.holders) < c.quorum():
		return errors.New("too few confirmed it")
	}
	points, bad := read(c.n+1, func(j int) []byte { return c.points[48*j : 48*(j+1)] })
	if bad < 0 {
		bad = outside(points)
	}
	if bad >= 0 {
		return fmt.Errorf("point %d is none of the subgroup", bad)
	}
	cid, result := c.cid(), root(c.points, curve.size())
	if !lowDegree(points, c.t, cid[:], result[:]) || !fullDegree(points, c.t) {
		return fmt.Errorf("the points are not those of a polynomial of degree %d", c.t-1)
	}
	if err := c.unbiased(points); err != nil {
		return err
	}
	var keys []element
	for _, i := range c.holders {
		keys = append(keys, points[i])
	}
	if bad := curve.attested(keys, h(prefix+"/confirm", cid[:], result[:]), c.attestations); len(bad) > 0 {
		return fmt.Errorf("the confirmation of participant %d is false", c.holders[bad[0]])
	}
	return nil
}

// unbiased checks that dealers knew what they dealt, and that the key is the
// sum of it, moved by what nobody chose.
func (c *certificate) unbiased(points []element) error {
	by := points[0]
	for _, d := range c.qual {
		x := c.headers[d]
		if x.mails() != c.hybrid || !x.valid(c.roster, d) {
			return fmt.Errorf("dealer %d: a proof is false", d)
		}
		v, _ := curve.element(x.constant)
		by = by.minus(v)
	}
	before := make([]element, len(points))
	for j := range points {
		before[j] = points[j].minus(by)
	}
	_, sums := encode(before)
	transcript := name(c.roster, c.qual, func(d int) *header { return c.headers[d] })
	if !curve.base(delta(transcript, sums, c.block)).minus(by).identity() {
		return errors.New("the key is not the sum of what was dealt")
	}
	return nil
}
