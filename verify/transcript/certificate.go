package transcript

import (
	"bytes"
	"errors"
	"fmt"
)

// Outcome is what a certificate proves.
type Outcome struct {
	Ceremony     [32]byte
	Exercise     bool
	Hybrid       bool
	Participants int
	Threshold    int
	Dealers      []int
	PublicKey    [48]byte
	Confirmed    []int
	DepositSafe  bool
}

const magic = "quorate ceremony certificate v1\n"

// certificate is a parsed one; every slice points into the file.
type certificate struct {
	params           []byte
	exercise, hybrid bool
	n, t             int
	cohorts, dealers int
	roster, block    []byte
	qual             []int
	headers          map[int]header
	points           []byte // 48 bytes for each of 0, …, n
	holders          []int
	attestations     []byte // 96 bytes for each holder
}

// header is that of a dealing.
type header struct {
	all, statement                                   []byte // statement: all but rho
	constant, r, commitment, answer, root, mail, rho []byte
}

const (
	paramsSize = 98
	headerSize = 48 + 32 + 48 + 32 + 32 + 32 + 64
	mostSeats  = 4096
	mostDeal   = 256
)

// Verify checks a certificate with nothing else at hand.
func Verify(raw []byte) (*Outcome, error) {
	c, err := parse(raw)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, fmt.Errorf("verify certificate: %w", err)
	}
	return &Outcome{
		Ceremony: c.cid(), Exercise: c.exercise, Hybrid: c.hybrid, Participants: c.n, Threshold: c.t, Dealers: c.qual,
		PublicKey: [48]byte(c.points), Confirmed: c.holders, DepositSafe: len(c.holders) >= c.t+c.faults(),
	}, nil
}

func (c *certificate) faults() int { return (c.n - 1) / 3 }

func (c *certificate) cid() [32]byte {
	if c.exercise {
		return h(prefix+"/exercise", c.params)
	}
	return h(prefix, c.params)
}

func parse(raw []byte) (*certificate, error) {
	if !bytes.HasPrefix(raw, []byte(magic)) {
		return nil, errors.New("not one of a ceremony")
	}
	r := &reader{b: raw[len(magic):]}
	c := &certificate{params: r.take(paramsSize), headers: map[int]header{}}
	if err := c.readParams(); err != nil {
		return nil, err
	}
	c.roster, c.block = r.take(32), r.take(32)
	count := r.number(4)
	if count > mostDeal {
		return nil, errors.New("too many dealers")
	}
	last := 0
	for range count {
		i := r.number(2)
		if i <= last || i > c.n {
			return nil, errors.New("dealers out of order")
		}
		last, c.qual = i, append(c.qual, i)
		c.headers[i] = readHeader(r.take(headerSize))
	}
	c.points = r.take((c.n + 1) * 48)
	bits := r.take((c.n + 7) / 8)
	for i := range 8 * len(bits) {
		if bits[i/8]>>(i%8)&1 == 1 {
			c.holders = append(c.holders, i+1)
		}
	}
	c.attestations = r.take(96 * len(c.holders))
	switch {
	case r.bad:
		return nil, errShort
	case len(r.b) > 0:
		return nil, errors.New("bytes follow it")
	case len(c.holders) > 0 && c.holders[len(c.holders)-1] > c.n:
		return nil, errors.New("a holder that has no seat")
	}
	return c, nil
}

func (c *certificate) readParams() error {
	r := &reader{b: c.params}
	exercise, hybrid := r.number(1), r.number(1)
	c.exercise, c.hybrid = exercise == 1, hybrid == 1
	c.n, c.t, c.cohorts, c.dealers = r.number(2), r.number(2), r.number(2), r.number(2)
	r.take(64) // nonce and roster document
	for range 6 {
		if r.number(4) == 0 {
			return errors.New("a phase without time")
		}
	}
	f := c.faults()
	drawn := c.cohorts * c.dealers
	switch {
	case r.bad:
		return errShort
	case exercise > 1 || hybrid > 1:
		return errors.New("a flag that is neither 0 nor 1")
	case c.n < 4 || c.n > mostSeats || 2*c.t-c.n <= max(f, 1) || c.t > c.n-f:
		return fmt.Errorf("%d of %d is no safe threshold", c.t, c.n)
	case c.dealers == 0 && (c.cohorts != 1 || c.n > mostDeal):
		return errors.New("everybody deals, among too many")
	case c.dealers > 0 && (c.cohorts < 1 || drawn > mostDeal || drawn > c.n-f):
		return errors.New("too many dealers are drawn")
	}
	return nil
}

// readHeader cuts a header into its fields; nil for none.
func readHeader(b []byte) (out header) {
	if b == nil {
		return out
	}
	r := &reader{b: b}
	out.all, out.statement = b, b[:headerSize-64]
	for _, f := range []struct {
		into *[]byte
		size int
	}{{&out.constant, 48}, {&out.r, 32}, {&out.commitment, 48}, {&out.answer, 32}, {&out.root, 32}, {&out.mail, 32}, {&out.rho, 64}} {
		*f.into = r.take(f.size)
	}
	return out
}
