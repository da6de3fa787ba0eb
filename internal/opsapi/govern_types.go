package opsapi

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/ident"
)

// Request is an action that waits, or waited, for others to agree. Its id
// follows from Action, Nonce, Policy and By; Verify computes it. What stands
// beside them is the node's account of how it goes.
type Request struct {
	ID     string `json:"id"`
	Action string `json:"action,omitempty"` // canonical, in hex; not in lists
	Nonce  string `json:"nonce"`            // hash of the transaction that asked
	Policy string `json:"policy"`           // version
	By     string `json:"by"`

	Words                 // for people; who decides calls ReadAction on Action
	Purpose   string      `json:"purpose,omitempty"`
	State     string      `json:"state"`
	Reason    string      `json:"reason,omitempty"` // why it came to an end
	Tier      string      `json:"tier"`
	Height    uint64      `json:"height"` // of its opening
	Approvals []Approval  `json:"approvals"`
	Need      action.Need `json:"need"`

	Opened    time.Time  `json:"opened"` // block time, as all others
	Deadline  time.Time  `json:"deadline"`
	Escalates *time.Time `json:"escalates,omitempty"` // when backups may approve
	Lock      Lock       `json:"lock"`
	Closed    *time.Time `json:"closed,omitempty"`

	// While it waits.
	Waits *Waits `json:"waits_for,omitempty"`
	// While new shares of keys wait: the commitments of their present ones, as in
	// a Proposal. RenewedKeys reads them.
	Commitments []string `json:"commitments,omitempty"`
	// Of an exit or a deposit that was granted: until when it can be carried out.
	GrantEnds *time.Time `json:"grant_ends,omitempty"`
}

// Lock is the delay of a request, from when enough agree.
type Lock struct {
	Time        string     `json:"time"`   // as 1h0m0s
	Blocks      uint64     `json:"blocks"` // beside it
	Until       *time.Time `json:"until,omitempty"`
	UntilHeight uint64     `json:"until_height,omitempty"`
}

// Waits is what a request still needs.
type Waits struct {
	Missing action.Need `json:"missing"`
	Could   []string    `json:"could_approve"` // whose approval would count now
	Veto    []string    `json:"could_veto"`
	Opens   *time.Time  `json:"opens,omitempty"` // when lock and window let it happen
}

// Approval is one member's word.
type Approval struct {
	Member      string    `json:"member"`
	Transaction string    `json:"transaction"` // whose signature it is
	Time        time.Time `json:"time"`
}

// Verify computes the request's id from what it stands for and compares. Only
// then Action is what an approval of the id approves.
func (r *Request) Verify(cluster action.ClusterID) (id, hash [32]byte, canonical []byte, err error) {
	var q action.Request
	canonical, err = hex.DecodeString(r.Action)
	nonce, nerr := hex.DecodeString(r.Nonce)
	version, verr := hex.DecodeString(r.Policy)
	if err := errors.Join(err, nerr, verr); err != nil || len(nonce) != len(q.Nonce) || len(version) != len(q.Policy) {
		return id, hash, nil, fmt.Errorf("verify request: the node's answer is not one: %w", errors.Join(err, errors.New("fields of a wrong length")))
	}
	q = action.Request{Action: canonical, Nonce: [32]byte(nonce), Policy: [32]byte(version), By: r.By}
	if id = q.ID(cluster); hex.EncodeToString(id[:]) != r.ID {
		return id, hash, nil, fmt.Errorf("verify request: its content has the id %x, the node says %.64s: do not approve it, and ask another node", id[:8], r.ID)
	}
	return id, action.HashAction(cluster, canonical), canonical, nil
}

// Requests is one page of them, the latest first.
type Requests struct {
	Requests []Request `json:"requests"`
	Next     string    `json:"next,omitempty"` // what to give as after for the next page
}

// Member is somebody who takes part in governance.
type Member struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Workload    bool              `json:"workload,omitempty"`
	Operator    string            `json:"operator"`
	Region      string            `json:"region"`
	Roles       []string          `json:"roles"`
	Backups     []string          `json:"backups,omitempty"`
	Credentials []ident.PublicKey `json:"credentials"`
	Suspended   *time.Time        `json:"suspended_until,omitempty"`
	NextNonce   uint64            `json:"next_nonce"` // of a transaction that the member signs
}

// Record is what an update of the member starts from.
func (m Member) Record() *action.MemberRecord {
	return &action.MemberRecord{ID: m.ID, Name: m.Name, Workload: m.Workload, Operator: m.Operator, Region: m.Region,
		Roles: m.Roles, Backups: m.Backups, Keys: m.Credentials}
}

// Policy is the policy in force.
type Policy struct {
	Version  string `json:"version"`
	Name     string `json:"name,omitempty"`
	Document string `json:"document"`
	Means    string `json:"means"` // in plain language
	// Principals are everybody whom it is asked about.
	Principals []Principal `json:"principals"`
}

// Principal is who acts, as policies see them.
type Principal struct {
	ID       string   `json:"id"`
	Kind     string   `json:"kind"` // human, workload or node
	Operator string   `json:"operator"`
	Region   string   `json:"region"`
	Roles    []string `json:"roles,omitempty"`
}

// Timer asks for an action in time.
type Timer struct {
	Name   string    `json:"name"`
	By     string    `json:"by"`
	Next   time.Time `json:"next"`
	Every  string    `json:"every,omitempty"` // as 24h0m0s; absent: once
	Rung   uint64    `json:"rung"`
	Action string    `json:"action"` // canonical, in hex
	Words
}

// Proposal is an action that a member may sign a request for.
type Proposal struct {
	Action string `json:"action"` // canonical, in hex
	Words
	// Of new shares of keys: the commitments of their present ones, in hex and in
	// the keys' order. Each begins with its key; the action has their root.
	Commitments []string `json:"commitments,omitempty"`
}

// RenewedKeys returns the keys that a ceremony with the parameters gives new
// shares, and believes none whose commitment is not under the parameters' root.
// Other ceremonies have none.
func RenewedKeys(params dkg.Params, commitments []string) (keys [][]byte, err error) {
	if !params.Mode.Renews() || params.FromAssembly() {
		return nil, nil
	}
	if params.Suite != dkg.SuiteG1 {
		return nil, errors.New("read keys of a ceremony: no keys of that suite are on the ledger")
	}
	var raw [][]byte
	for _, text := range commitments {
		c, err := hex.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("read keys of a ceremony: %w", err)
		}
		raw = append(raw, c)
	}
	root, _, err := params.Prior(raw)
	if err != nil {
		return nil, fmt.Errorf("read keys of a ceremony: %w", err)
	}
	if root != params.Expected {
		return nil, errors.New("read keys of a ceremony: it is about other keys, or other shares of them, than stand beside it")
	}
	for _, c := range raw {
		keys = append(keys, c[:action.CurveBLS12381G1.PublicKeySize()])
	}
	return keys, nil
}
