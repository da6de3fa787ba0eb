package assembly

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/wire"
)

// Federation is what ceremonies that ran side by side converge in without
// sharing a key: their certificates, and the signatures of T cohorts under the
// root over all of them.
type Federation struct {
	t            int
	certificates [][]byte
	parsed       []*Certificate
	signatures   map[int][]byte // of cohort i, from 1
}

const (
	federationMagic = "quorate ceremony federation v1\n"
	maxCohorts      = wire.MaxDealers
	maxFederation   = 64 << 20
)

// NewFederation joins certificates in their order. It wants signatures of T
// cohorts, C - ⌊(C-1)/3⌋ at least, and 2 where there are 2.
func NewFederation(t int, certificates [][]byte) (*Federation, error) {
	f := &Federation{t: t, certificates: certificates, signatures: map[int][]byte{}}
	n := len(certificates)
	if n < 2 || n > maxCohorts || t > n || t < n-(n-1)/3 {
		return nil, fmt.Errorf("federate %d cohorts, %d to sign: want C - ⌊(C-1)/3⌋ of at most %d", n, t, maxCohorts)
	}
	seen := map[string]bool{}
	for i, raw := range certificates {
		c, err := ParseCertificate(raw)
		if err != nil {
			return nil, fmt.Errorf("federate cohort %d: %w", i+1, err)
		}
		if key := string(c.points[:pointSize]); seen[key] {
			return nil, fmt.Errorf("federate cohort %d: another has the same key", i+1)
		} else {
			seen[key] = true
		}
		f.parsed = append(f.parsed, c)
	}
	return f, nil
}

// Message is what every cohort signs.
func (f *Federation) Message() []byte {
	leaves := make([]digest, len(f.certificates))
	for i, raw := range f.certificates {
		leaves[i] = wire.LeafHash(raw)
	}
	root := wire.NewTree(leaves).Root()
	m := wire.Hash(wire.TagFederation, be16(f.t), be16(len(leaves)), root[:])
	return m[:]
}

// SignFederation makes a participant's part of its cohort's signature.
func (q *Participant) SignFederation(b *Board, f *Federation) ([]byte, error) {
	s, err := q.share(b)
	if err != nil {
		return nil, fmt.Errorf("sign federation: %w", err)
	}
	return g1.Attest(&s, f.Message()), nil
}

// Sign combines the parts of a cohort's members, t of them at least, and keeps
// the signature if it is one.
func (f *Federation) Sign(cohort int, seats []int, parts [][]byte) error {
	if cohort < 1 || cohort > len(f.parsed) {
		return fmt.Errorf("sign federation for cohort %d: there is none", cohort)
	}
	c := f.parsed[cohort-1]
	t := int(c.params.T)
	if len(seats) < t || len(parts) != len(seats) {
		return fmt.Errorf("sign federation for cohort %d: %d parts, want %d", cohort, len(parts), t)
	}
	signature, err := g1.CombineAttestations(short(seats[:t]), parts[:t])
	if err != nil {
		return fmt.Errorf("sign federation for cohort %d: %w", cohort, err)
	}
	if !f.signed(c, signature) {
		return fmt.Errorf("sign federation for cohort %d: %w", cohort, errCohort)
	}
	f.signatures[cohort] = signature
	return nil
}

var errCohort = errors.New("the signature is not that of the cohort's key")

func (f *Federation) signed(c *Certificate, signature []byte) bool {
	key := make([]bls.G1Point, 1)
	return g1.SetPoint(&key[0], c.points[:pointSize]) == nil && len(g1.Outside(key)) == 0 &&
		g1.VerifyAttestations(key, f.Message(), [][]byte{signature}) == nil
}

// Encode returns the canonical bytes.
func (f *Federation) Encode() []byte {
	var e wire.Encoder
	e.Fixed([]byte(federationMagic))
	e.U16(uint16(f.t))
	e.Count(len(f.certificates))
	for _, raw := range f.certificates {
		e.Bytes(raw)
	}
	for i := range f.certificates {
		e.Bytes(f.signatures[i+1]) // empty: it did not sign
	}
	return e.Out()
}

// ParseFederation reads what Encode wrote. It proves nothing before Verify.
func ParseFederation(raw []byte) (*Federation, error) {
	if len(raw) > maxFederation || !begins(raw, federationMagic) {
		return nil, errors.New("parse federation: not one of ceremonies")
	}
	d := wire.NewDecoder(raw[len(federationMagic):])
	t := int(d.U16())
	var certificates [][]byte
	for range d.Count(maxCohorts, 4) {
		certificates = append(certificates, d.Bytes(wire.MaxCertificate))
	}
	signatures := map[int][]byte{}
	for i := range certificates {
		s := d.Bytes(attestationSize)
		if len(s) == attestationSize {
			signatures[i+1] = s
		} else if len(s) != 0 {
			d.Fail(errCohort)
		}
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse federation: %w", err)
	}
	f, err := NewFederation(t, certificates)
	if err != nil {
		return nil, err
	}
	f.signatures = signatures
	return f, nil
}

// Verify checks every certificate and every signature.
func (f *Federation) Verify() (*Outcome, error) {
	id := f.Message()
	all := &Outcome{File: "federation", Ceremony: hex.EncodeToString(id), Exercise: f.parsed[0].params.Exercise,
		Threshold: f.t, Phase: PhaseDone.String(), Confirmed: len(f.signatures)}
	for i, c := range f.parsed {
		if err := c.Verify(); err != nil {
			return nil, fmt.Errorf("cohort %d: %w", i+1, err)
		}
		if c.params.Exercise != all.Exercise {
			return nil, fmt.Errorf("cohort %d: exercises and real ceremonies do not mix", i+1)
		}
		o, err := c.outcome()
		if err != nil {
			return nil, fmt.Errorf("cohort %d: %w", i+1, err)
		}
		all.Participants += o.Participants
		all.Cohorts = append(all.Cohorts, o)
		if s := f.signatures[i+1]; s != nil && !f.signed(c, s) {
			return nil, fmt.Errorf("cohort %d: %w", i+1, errCohort)
		}
	}
	if len(f.signatures) < f.t {
		return nil, fmt.Errorf("verify federation: %d cohorts signed, want %d", len(f.signatures), f.t)
	}
	return all, nil
}
