package transcript

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// prefix begins the tags of ceremonies among thousands.
const prefix = "quorate/v1/assembly"

const (
	paramsSize = 98
	mostSeats  = 4096
	mostDeal   = 256
)

// params are what participants agreed on beforehand.
type params struct {
	raw              []byte
	exercise, hybrid bool
	n, t             int
	cohorts, dealers int // dealers of each cohort, 0: everybody deals
	document         digest
	join, deal, verify,
	answer, replay, confirm uint64 // milliseconds
}

func readParams(r *reader) (p params, err error) {
	p.raw = r.take(paramsSize)
	f := &reader{all: p.raw, err: r.err}
	p.exercise, p.hybrid = f.flag(), f.flag()
	p.n, p.t, p.cohorts, p.dealers = f.number(2), f.number(2), f.number(2), f.number(2)
	f.digest() // nonce
	p.document = f.digest()
	for _, phase := range []*uint64{&p.join, &p.deal, &p.verify, &p.answer, &p.replay, &p.confirm} {
		if *phase = uint64(f.number(4)); *phase == 0 {
			f.fail(errors.New("a phase without time"))
		}
	}
	drawn := p.cohorts * p.dealers
	switch {
	case f.err != nil:
		return p, f.err
	case p.n < 4 || p.n > mostSeats:
		return p, fmt.Errorf("%d participants", p.n)
	case p.dealers == 0 && (p.cohorts != 1 || p.n > mostDeal):
		return p, errors.New("everybody deals, among too many")
	case p.dealers > 0 && (p.cohorts < 1 || drawn > mostDeal || drawn > p.quorum()):
		return p, errors.New("too many dealers are drawn")
	}
	return p, safe(p.t, p.n)
}

// safe refuses thresholds that a third of the holders could turn against the rest.
func safe(t, n int) error {
	f := (n - 1) / 3
	if n < 1 || t < 1 || 2*t-n <= max(f, 1) || t > n-f {
		return fmt.Errorf("%d of %d is no safe threshold", t, n)
	}
	return nil
}

func (p *params) faults() int { return (p.n - 1) / 3 }
func (p *params) quorum() int { return p.n - p.faults() }

// least is the smallest QUAL.
func (p *params) least() int {
	if p.dealers == 0 {
		return p.t
	}
	return 2*p.cohorts*p.dealers/3 + 1
}

func (p *params) cid() digest {
	if p.exercise {
		return h(prefix+"/exercise", p.raw)
	}
	return h(prefix, p.raw)
}

func (p *params) outcome() *Outcome {
	cid := p.cid()
	return &Outcome{Ceremony: hex.EncodeToString(cid[:]), Exercise: p.exercise, Hybrid: p.hybrid, Participants: p.n, Threshold: p.t}
}
