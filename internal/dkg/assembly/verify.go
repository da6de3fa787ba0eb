package assembly

import (
	"encoding/hex"
	"strings"
)

// Outcome is what a transcript proves, for people and scripts.
type Outcome struct {
	File         string       `json:"file"` // archive or certificate
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
	Faults       []NamedFault `json:"faults,omitempty"` // archives only
}

// NamedFault is a fault in words.
type NamedFault struct {
	Seat   int    `json:"seat"`
	Fault  string `json:"fault"`
	Blamed bool   `json:"blamed"`
}

// Verify checks an archive or a certificate, whichever the file is.
func Verify(raw []byte) (*Outcome, error) {
	if !strings.HasPrefix(string(raw[:min(len(raw), len(archiveMagic))]), archiveMagic) {
		c, err := ParseCertificate(raw)
		if err == nil {
			err = c.Verify()
		}
		if err != nil {
			return nil, err
		}
		return c.outcome()
	}
	b, err := Replay(raw)
	if err != nil {
		return nil, err
	}
	return b.Outcome("archive"), nil
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
