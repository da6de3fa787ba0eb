package participant

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// Invitation is the file that a participant is handed. Its genesis and its
// ceremony are where all trust begins: a participant compares their ids with
// the coordinator by voice, and proves the rest.
type Invitation struct {
	Version  int    `json:"version"` // 1
	Ceremony string `json:"ceremony"`
	Genesis  []byte `json:"genesis"` // the cluster's document, as its operators compared it

	Seat   int    `json:"seat"`
	Name   string `json:"name"`
	Region string `json:"region,omitempty"`
	Zone   string `json:"zone,omitempty"` // of the participant, such as Europe/Paris

	Nodes   []string `json:"nodes"` // operator APIs
	Purpose string   `json:"purpose,omitempty"`

	// MinVersion is the least version of this software, and Builds, when
	// there are any, the source revisions that the coordinator accepts.
	MinVersion string   `json:"min_version,omitempty"`
	Builds     []string `json:"builds,omitempty"`

	Schedule []Turn `json:"schedule,omitempty"`
}

// Turn says when a phase ends at the latest.
type Turn struct {
	Phase  string    `json:"phase"`
	Latest time.Time `json:"latest"`
}

// Limits of an invitation.
const (
	MaxInvitation = 2 * wire.MaxGenesis
	maxNodes      = 4 * wire.MaxNodes
	maxBuilds     = 64
)

// ParseInvitation reads and checks a file.
func ParseInvitation(raw []byte) (*Invitation, error) {
	if len(raw) > MaxInvitation {
		return nil, fmt.Errorf("read invitation: %d bytes are over the limit of %d", len(raw), MaxInvitation)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var inv Invitation
	if err := dec.Decode(&inv); err != nil {
		return nil, fmt.Errorf("read invitation: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("read invitation: something follows it")
	}
	if err := inv.check(); err != nil {
		return nil, fmt.Errorf("read invitation: %w", err)
	}
	return &inv, nil
}

func (inv *Invitation) check() error {
	if inv.Version != 1 {
		return fmt.Errorf("version %d is unknown", inv.Version)
	}
	if _, err := inv.cid(); err != nil {
		return err
	}
	if inv.Seat < 1 || inv.Seat > wire.MaxParticipants {
		return fmt.Errorf("no seat %d", inv.Seat)
	}
	if len(inv.Nodes) > maxNodes || len(inv.Builds) > maxBuilds || len(inv.Schedule) > maxBuilds {
		return errors.New("too many nodes, builds or phases")
	}
	for _, build := range inv.Builds {
		if _, err := hex.DecodeString(build); err != nil || len(build) != 40 && len(build) != 64 {
			return fmt.Errorf("build %q is no source revision", build)
		}
	}
	for _, node := range inv.Nodes {
		if u, err := url.Parse(node); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("node %q is no http address", node)
		}
	}
	if _, err := time.LoadLocation(inv.Zone); err != nil {
		return fmt.Errorf("time zone %q is unknown", inv.Zone)
	}
	_, _, err := action.ParseGenesis(inv.Genesis)
	return err
}

func (inv *Invitation) cid() (id [32]byte, err error) {
	raw, err := hex.DecodeString(inv.Ceremony)
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("ceremony %q is no id", inv.Ceremony)
	}
	return [32]byte(raw), nil
}

// ID returns cid.
func (inv *Invitation) ID() [32]byte {
	id, _ := inv.cid() // it was checked
	return id
}

// Location is where the participant's clock is.
func (inv *Invitation) Location() *time.Location {
	if loc, err := time.LoadLocation(inv.Zone); err == nil && inv.Zone != "" {
		return loc
	}
	return time.Local
}

// Cluster is whose ledger holds the ceremony.
func (inv *Invitation) Cluster() action.ClusterID {
	_, id, _ := action.ParseGenesis(inv.Genesis) // it was checked
	return id
}

// trust is where the light client starts. What it verifies may be of any age:
// a participant was away for a night, and validators cannot leave.
func (inv *Invitation) trust() (proof.Trust, proof.Namespace, error) {
	g, cluster, err := action.ParseGenesis(inv.Genesis)
	if err != nil {
		return proof.Trust{}, "", err
	}
	var vals []proof.Validator
	for _, n := range g.Nodes {
		vals = append(vals, proof.Validator{PubKey: n.Vote[:], Power: proof.VotePower})
	}
	set, err := proof.NewValidatorSet(vals)
	if err != nil {
		return proof.Trust{}, "", fmt.Errorf("read the genesis validators: %w", err)
	}
	return proof.Trust{Cluster: cluster, ChainID: cluster.ChainID(), Validators: set, TrustingPeriod: math.MaxInt64}, proof.Namespace(g.Namespace), nil
}

// Prove returns the ceremony's record and the block time at which the ledger
// held it, from the genesis alone.
func (inv *Invitation) Prove(certificate []byte) (*action.AssemblyRecord, time.Time, error) {
	l, err := newLight(inv)
	if err != nil {
		return nil, time.Time{}, err
	}
	if l, err = l.prove(inv.ID(), certificate); err != nil {
		return nil, time.Time{}, fmt.Errorf("prove the ceremony's record: %w", err)
	}
	return l.record, l.now, nil
}

// Encode returns the file, once it is known to be good.
func (inv *Invitation) Encode() ([]byte, error) {
	inv.Version = 1
	if err := inv.check(); err != nil {
		return nil, fmt.Errorf("write invitation: %w", err)
	}
	raw, err := json.MarshalIndent(inv, "", "  ")
	return append(raw, '\n'), err
}
