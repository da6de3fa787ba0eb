package assembly

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// This file is what the shares of a ceremony's participants are for. They sign
// under tags of our own, in a ciphersuite of our own: no slashing record stands
// behind them, so that nothing they sign may be a duty.

// Statement is what participants sign together: a hash under one of our tags.
type Statement [32]byte

// StatementOf is the participants' word for a message, of any content.
func StatementOf(cid [32]byte, message []byte) Statement {
	return wire.Hash(wire.TagAssemblyStatement, cid[:], message)
}

// Statement is a cohort's word for the federation.
func (f *Federation) Statement() Statement { return Statement(f.Message()) }

// Part is a participant's part of a signature.
type Part struct {
	Ceremony  [32]byte
	Seat      int
	Statement Statement
	signature [attestationSize]byte
}

const (
	partMagic      = "quorate ceremony signature part v1\n"
	signatureMagic = "quorate ceremony signature v1\n"
)

// SignPart signs with a participant's share, 32 bytes.
func SignPart(p Params, seat int, share secret.Bytes, st Statement) (part Part, err error) {
	err = errors.New("the share is gone")
	share.Expose(func(b []byte) {
		var s bls.G1Scalar
		if err = g1.SetScalar(&s, b); err == nil {
			part = Part{p.ID(), seat, st, [attestationSize]byte(g1.Attest(&s, st[:]))}
		}
	})
	if err != nil {
		return part, fmt.Errorf("sign as participant %d: %w", seat, err)
	}
	return part, nil
}

// Encode returns the file of a part.
func (p *Part) Encode() []byte {
	var e wire.Encoder
	e.Fixed([]byte(partMagic))
	e.Fixed(p.Ceremony[:])
	e.U16(uint16(p.Seat))
	e.Fixed(p.Statement[:])
	e.Fixed(p.signature[:])
	return e.Out()
}

// ParsePart reads it.
func ParsePart(raw []byte) (p Part, err error) {
	if !begins(raw, partMagic) {
		return p, errors.New("read part of a signature: the file is none")
	}
	d := wire.NewDecoder(raw[len(partMagic):])
	d.Fixed(p.Ceremony[:])
	p.Seat = int(d.U16())
	d.Fixed(p.Statement[:])
	d.Fixed(p.signature[:])
	if err := d.Finish(); err != nil {
		return p, fmt.Errorf("read part of a signature: %w", err)
	}
	return p, nil
}

// Signature is what t participants signed.
type Signature struct {
	Ceremony  [32]byte
	Statement Statement
	signature [attestationSize]byte
}

// Encode returns the file of a signature.
func (s *Signature) Encode() []byte {
	var e wire.Encoder
	e.Fixed([]byte(signatureMagic))
	e.Fixed(s.Ceremony[:])
	e.Fixed(s.Statement[:])
	e.Fixed(s.signature[:])
	return e.Out()
}

// ParseSignature reads it. It proves nothing before Certificate.CheckSignature.
func ParseSignature(raw []byte) (s Signature, err error) {
	if !begins(raw, signatureMagic) {
		return s, errors.New("read signature: the file is none of participants")
	}
	d := wire.NewDecoder(raw[len(signatureMagic):])
	d.Fixed(s.Ceremony[:])
	d.Fixed(s.Statement[:])
	d.Fixed(s.signature[:])
	if err := d.Finish(); err != nil {
		return s, fmt.Errorf("read signature: %w", err)
	}
	return s, nil
}

// Combine makes one signature of parts, t good ones at least, and names who
// gave a false one. The certificate must have been verified.
func (c *Certificate) Combine(st Statement, parts []Part) (s Signature, liars []int, err error) {
	cid, given := c.params.ID(), newSeats(int(c.params.N))
	var seats []uint16
	var points []bls.G1Point
	var attestations [][]byte
	for i := range parts {
		p := &parts[i]
		switch {
		case p.Ceremony != cid:
			return s, nil, fmt.Errorf("combine parts: one is of ceremony %x", p.Ceremony)
		case p.Statement != st:
			return s, nil, fmt.Errorf("combine parts: participant %d signed something else", p.Seat)
		case p.Seat < 1 || p.Seat > int(c.params.N):
			return s, nil, fmt.Errorf("combine parts: participant %d: %w", p.Seat, errSeat)
		case given.Has(p.Seat):
			return s, nil, fmt.Errorf("combine parts: participant %d is there twice", p.Seat)
		}
		given.add(p.Seat)
		var point bls.G1Point
		if err := g1.SetPoint(&point, c.points[p.Seat*pointSize:(p.Seat+1)*pointSize]); err != nil {
			return s, nil, err
		}
		seats, points, attestations = append(seats, uint16(p.Seat)), append(points, point), append(attestations, p.signature[:])
	}
	bad := map[int]bool{}
	for _, k := range g1.VerifyAttestations(points, st[:], attestations) {
		bad[k] = true
		liars = append(liars, int(seats[k]))
	}
	var good []uint16
	var of [][]byte
	for k := range seats {
		if !bad[k] && len(good) < int(c.params.T) {
			good, of = append(good, seats[k]), append(of, attestations[k])
		}
	}
	if len(good) < int(c.params.T) {
		return s, liars, fmt.Errorf("combine parts: %d good ones, want %d", len(good), c.params.T)
	}
	raw, err := g1.CombineAttestations(good, of)
	if err != nil {
		return s, liars, err
	}
	s = Signature{cid, st, [attestationSize]byte(raw)}
	return s, liars, c.CheckSignature(s)
}

// CheckSignature verifies a signature of the certificate's participants. The
// certificate must have been verified.
func (c *Certificate) CheckSignature(s Signature) error {
	if s.Ceremony != c.params.ID() {
		return fmt.Errorf("check signature: it is of ceremony %x", s.Ceremony)
	}
	key := make([]bls.G1Point, 1)
	if err := g1.SetPoint(&key[0], c.points[:pointSize]); err != nil {
		return err
	}
	if bad := g1.VerifyAttestations(key, s.Statement[:], [][]byte{s.signature[:]}); len(bad) > 0 {
		return errors.New("check signature: it is not that of the ceremony's key")
	}
	return nil
}

// Params returns the ceremony's parameters.
func (c *Certificate) Params() Params { return c.params }

// Accept takes a cohort's signature into the federation, if it is one.
func (f *Federation) Accept(s Signature) error {
	for i, c := range f.parsed {
		if c.params.ID() != s.Ceremony {
			continue
		}
		if s.Statement != f.Statement() {
			return errors.New("take cohort's signature: it is of something else than this federation")
		}
		if err := c.CheckSignature(s); err != nil {
			return fmt.Errorf("take cohort's signature: %w", err)
		}
		f.signatures[i+1] = s.signature[:]
		return nil
	}
	return fmt.Errorf("take cohort's signature: ceremony %x is none of the federation's", s.Ceremony)
}
