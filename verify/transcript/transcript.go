package transcript

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
)

// Outcome is what a file was found to prove.
type Outcome struct {
	Kind         string     `json:"kind"` // what magics says
	Ceremony     string     `json:"ceremony"`
	Cluster      string     `json:"cluster,omitempty"` // on a ledger
	Mode         string     `json:"mode,omitempty"`    // there, too
	Epoch        int        `json:"epoch,omitempty"`   // of the shares that it made
	Exercise     bool       `json:"exercise,omitempty"`
	Hybrid       bool       `json:"hybrid"`
	Beacon       bool       `json:"beacon,omitempty"`   // its key is a randomness beacon's
	Assembly     string     `json:"assembly,omitempty"` // the ceremony whose participants handed the key over
	Participants int        `json:"participants"`
	Threshold    int        `json:"threshold"`
	Phase        string     `json:"phase"` // in which it ended
	Dealers      []int      `json:"qualified_dealers,omitempty"`
	PublicKeys   []string   `json:"public_keys,omitempty"`
	Confirmed    int        `json:"confirmed"`
	DepositSafe  bool       `json:"deposit_safe"`
	Faults       []Fault    `json:"faults,omitempty"`  // archives of ceremonies among thousands
	Cohorts      []*Outcome `json:"cohorts,omitempty"` // federations
}

// Fault is what a participant did.
type Fault struct {
	Seat   int    `json:"seat"`
	Fault  string `json:"fault"`
	Blamed bool   `json:"blamed"`
}

// magic is how a kind of file begins, how large it may be and who judges it.
type magic struct {
	line  string
	kind  string
	most  int
	judge func(body *reader) (*Outcome, error) // from behind the line
}

func magics() []magic {
	return []magic{
		{"quorate ceremony archive v1\n", "ceremony archive", mostArchive, replay},
		{certificateLine, "ceremony certificate", mostCertificate, func(r *reader) (*Outcome, error) {
			c, err := readCertificate(r)
			if err == nil {
				err = c.check()
			}
			if err != nil {
				return nil, err
			}
			return c.outcome(), nil
		}},
		{"quorate ceremony federation v1\n", "federation", mostFederation, federate},
		{"quorate ledger ceremony archive v1\n", "ledger ceremony archive", mostArchive, replayLedger},
		{"quorate ledger ceremony certificate v1\n", "ledger ceremony certificate", mostArchive, checkLedger},
	}
}

const (
	certificateLine = "quorate ceremony certificate v2\n"

	mostArchive     = 512 << 20
	mostFederation  = 64 << 20
	mostCertificate = 4 << 20
)

// Longest is the size of the beginning of a file that Is wants to see, and
// Most that of the largest file.
const (
	Longest = 64
	Most    = mostArchive
)

// Is tells whether a file that begins so says that it is a transcript.
func Is(beginning []byte) bool {
	for _, m := range magics() {
		if bytes.HasPrefix(beginning, []byte(m.line)) {
			return true
		}
	}
	return false
}

// Verify checks a file of any kind with nothing else at hand.
func Verify(raw []byte) (*Outcome, error) {
	for _, m := range magics() {
		if !bytes.HasPrefix(raw, []byte(m.line)) {
			continue
		}
		if len(raw) > m.most {
			return nil, fmt.Errorf("verify %s: it is over the limit of %d bytes", m.kind, m.most)
		}
		r := &reader{all: raw, at: len(m.line)}
		o, err := m.judge(r)
		if err != nil {
			return nil, fmt.Errorf("verify %s: read up to byte %d: %w", m.kind, r.at, err)
		}
		o.Kind = m.kind
		return o, nil
	}
	return nil, errors.New("verify transcript: the file is none of a ceremony")
}

func text(point []byte) string { return "0x" + hex.EncodeToString(point) }
