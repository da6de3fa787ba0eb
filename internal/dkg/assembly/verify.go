package assembly

import (
	"encoding/hex"
	"errors"
)

// Outcome is what a transcript proves, for people and scripts.
type Outcome struct {
	File         string       `json:"file"` // archive, certificate or federation
	Ceremony     string       `json:"ceremony"`
	Exercise     bool         `json:"exercise"`
	Hybrid       bool         `json:"hybrid"`
	Participants int          `json:"participants"`
	Threshold    int          `json:"threshold"`
	Phase        string       `json:"phase"`
	Dealers      []int        `json:"qualified_dealers"`
	PublicKey    string       `json:"public_key,omitempty"`
	Confirmed    int          `json:"confirmed"`
	DepositSafe  bool         `json:"deposit_safe"`
	Faults       []NamedFault `json:"faults,omitempty"`  // archives only
	Cohorts      []*Outcome   `json:"cohorts,omitempty"` // federations only
}

// NamedFault is a fault in words.
type NamedFault struct {
	Seat   int    `json:"seat"`
	Fault  string `json:"fault"`
	Blamed bool   `json:"blamed"`
}

// Verify checks an archive, a certificate or a federation, whichever the file is.
func Verify(raw []byte) (*Outcome, error) {
	switch {
	case begins(raw, archiveMagic):
		b, err := Replay(raw)
		if err != nil {
			return nil, err
		}
		return b.Outcome("archive"), nil
	case begins(raw, certificateMagic):
		return verifyCertificate(raw)
	case begins(raw, federationMagic):
		f, err := ParseFederation(raw)
		if err != nil {
			return nil, err
		}
		return f.Verify()
	}
	return nil, errors.New("verify transcript: the file is none of a ceremony")
}

func begins(raw []byte, magic string) bool {
	return len(raw) >= len(magic) && string(raw[:len(magic)]) == magic
}

func verifyCertificate(raw []byte) (*Outcome, error) {
	c, err := ParseCertificate(raw)
	if err == nil {
		err = c.Verify()
	}
	if err != nil {
		return nil, err
	}
	return c.outcome()
}

func (p *Params) outcome(file string) *Outcome {
	cid := p.ID()
	return &Outcome{File: file, Ceremony: hex.EncodeToString(cid[:]), Exercise: p.Exercise, Hybrid: p.Hybrid,
		Participants: int(p.N), Threshold: int(p.T)}
}

func (c *Certificate) outcome() (*Outcome, error) {
	key, err := c.PublicKey()
	if err != nil {
		return nil, err
	}
	o := c.params.outcome("certificate")
	o.Phase, o.Dealers, o.PublicKey = PhaseDone.String(), c.qual, key.String()
	o.Confirmed = len(c.holders.List())
	o.DepositSafe = o.Confirmed >= o.Threshold+c.params.faults()
	return o, nil
}

// Outcome describes a ceremony as it stands.
func (b *Board) Outcome(file string) *Outcome {
	o := b.params.outcome(file)
	o.Phase, o.Dealers, o.Confirmed, o.DepositSafe = b.phase.String(), b.set, len(b.Holders()), b.DepositSafe()
	if key, ok := b.PublicKey(); ok {
		o.PublicKey = key.String()
	}
	for _, f := range b.faults {
		o.Faults = append(o.Faults, NamedFault{f.Seat, f.Kind.String(), f.Kind.Attributable()})
	}
	return o
}
