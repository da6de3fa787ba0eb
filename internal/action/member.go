package action

import (
	"errors"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// MemberRecord is somebody who takes part in governance: a human, or a
// machine identity, which can ask but never counts as agreement.
type MemberRecord struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Workload bool              `json:"workload,omitempty"`
	Operator string            `json:"operator"`
	Region   string            `json:"region"`
	Roles    []string          `json:"roles"`             // custodian, approver, observer, auditor
	Backups  []string          `json:"backups,omitempty"` // members who stand in when a request escalates
	Keys     []ident.PublicKey `json:"keys"`              // credentials; each of them signs for the member

	// Suspended is when a suspension ends, in milliseconds of block time.
	Suspended uint64 `json:"-"`
}

// Roles of a member.
const (
	RoleCustodian = "custodian"
	RoleApprover  = "approver"
	RoleObserver  = "observer"
	RoleAuditor   = "auditor"
)

var roles = map[string]bool{RoleCustodian: true, RoleApprover: true, RoleObserver: true, RoleAuditor: true}

const (
	maxKeys    = 16
	maxRoles   = 8
	maxBackups = 8
	// MaxMember bounds a member's record.
	MaxMember = maxKeys*(ident.MaxPublicKey+4) + 4<<10
)

// Human reports whether the member counts where people have to agree.
func (m *MemberRecord) Human() bool { return !m.Workload }

// Verify checks that one of the member's credentials signed the transaction.
func (m *MemberRecord) Verify(tx *Tx) error {
	for _, k := range m.Keys {
		if tx.VerifySignature(k) == nil {
			return nil
		}
	}
	return ident.ErrSignature
}

// Check says what is wrong with a record that somebody wrote.
func (m *MemberRecord) Check() error {
	if err := errors.Join(CheckName("member id", m.ID), CheckName("operator", m.Operator), CheckName("region", m.Region)); err != nil {
		return err
	}
	if len(m.Keys) == 0 || len(m.Keys) > maxKeys || len(m.Name) > wire.MaxName {
		return fmt.Errorf("member %s: needs 1 to %d keys and a name of at most %d bytes", m.ID, maxKeys, wire.MaxName)
	}
	if len(m.Roles) > maxRoles || len(m.Backups) > maxBackups {
		return fmt.Errorf("member %s: more than %d roles or %d backups", m.ID, maxRoles, maxBackups)
	}
	for i, r := range m.Roles {
		if !roles[r] || slices.Contains(m.Roles[:i], r) {
			return fmt.Errorf("member %s: role %q is unknown or stands twice", m.ID, r)
		}
	}
	for _, b := range m.Backups {
		if err := CheckName("backup", b); err != nil || b == m.ID {
			return fmt.Errorf("member %s: %q cannot be a backup", m.ID, b)
		}
	}
	_, err := ParseMemberRecord(m.Encode())
	return err
}

// Encode returns the canonical bytes.
func (m *MemberRecord) Encode() []byte {
	var e wire.Encoder
	e.U8(recordVersion)
	for _, s := range []string{m.ID, m.Name, m.Operator, m.Region} {
		e.String(s)
	}
	e.Bool(m.Workload)
	e.U64(m.Suspended)
	for _, list := range [][]string{m.Roles, m.Backups} {
		e.Count(len(list))
		for _, s := range list {
			e.String(s)
		}
	}
	e.Count(len(m.Keys))
	for _, k := range m.Keys {
		e.Bytes(k.Bytes())
	}
	return e.Out()
}

// ParseMemberRecord reads what Encode returned.
func ParseMemberRecord(b []byte) (*MemberRecord, error) {
	var m MemberRecord
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != recordVersion {
		d.Fail(fmt.Errorf("version %d", v))
	}
	for _, s := range []*string{&m.ID, &m.Name, &m.Operator, &m.Region} {
		*s = d.String(wire.MaxName)
	}
	m.Workload = d.Bool()
	m.Suspended = d.U64()
	for range d.Count(maxRoles, 4) {
		m.Roles = append(m.Roles, d.String(wire.MaxName))
	}
	for range d.Count(maxBackups, 4) {
		m.Backups = append(m.Backups, d.String(wire.MaxName))
	}
	for range d.Count(maxKeys, 4) {
		m.Keys = append(m.Keys, decodeIdentity(d))
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse member record: %w", err)
	}
	return &m, nil
}
