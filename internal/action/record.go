package action

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"github.com/quorate/quorate/internal/wire"
)

// Curve says in which group a key lives.
type Curve uint8

const (
	CurveBLS12381G1   Curve = 1
	CurveRistretto255 Curve = 2
)

// PublicKeySize returns the length of an encoded key.
func (c Curve) PublicKeySize() int {
	switch c {
	case CurveBLS12381G1:
		return 48
	case CurveRistretto255:
		return 32
	}
	return 0
}

// KeyState is where a key stands in its life.
type KeyState uint8

const (
	KeyGenerated KeyState = 1 // n - f holders confirmed their shares
	KeyActive    KeyState = 2 // and it may sign
	KeyRevoked   KeyState = 3
	KeyArchived  KeyState = 4 // stopped; shares kept, history kept
	KeyDestroyed KeyState = 5
	KeyFrozen    KeyState = 6 // signs nothing until it is active again
	KeyHeld      KeyState = 7 // by participants that are not nodes: no node signs with it
)

func (s KeyState) String() string {
	switch s {
	case KeyGenerated:
		return "generated"
	case KeyActive:
		return "active"
	case KeyRevoked:
		return "revoked"
	case KeyArchived:
		return "archived"
	case KeyDestroyed:
		return "destroyed"
	case KeyFrozen:
		return "frozen"
	case KeyHeld:
		return "held"
	}
	return "unknown"
}

// Provenance says whether a key was ever whole.
type Provenance uint8

const (
	ProvenanceDealt            Provenance = 1
	ProvenanceImportedWasWhole Provenance = 2
	ProvenanceAssembled        Provenance = 3 // dealt among participants that are not nodes
)

func (p Provenance) String() string {
	switch p {
	case ProvenanceDealt:
		return "dealt"
	case ProvenanceImportedWasWhole:
		return "imported-was-whole"
	case ProvenanceAssembled:
		return "assembled"
	}
	return "unknown"
}

// Use is the one thing that a key is for. It is fixed when the key is made:
// the ceremony's parameters say it, and every custody process keeps to it.
type Use uint8

const (
	UseDuties Use = 0 // a validator's
	UseBeacon Use = 1 // rounds of a randomness beacon (spec/beacon.md)
)

// Known reports whether there is such a use.
func (u Use) Known() bool { return u <= UseBeacon }

func (u Use) String() string {
	switch u {
	case UseDuties:
		return "duties"
	case UseBeacon:
		return "beacon"
	}
	return "unknown"
}

// Stopped reports whether the key signs nothing any more, for good.
func (s KeyState) Stopped() bool {
	return s == KeyRevoked || s == KeyArchived || s == KeyDestroyed
}

// ProposerSettings is what a validator's registration must say. A nil field
// is left to the validator client.
type ProposerSettings struct {
	FeeRecipient *Address `json:"fee_recipient,omitempty"`
	GasLimit     *uint64  `json:"gas_limit,omitempty,string"`
	Graffiti     *string  `json:"graffiti,omitempty"`
}

// Address is an execution-layer address.
type Address [20]byte

func (a Address) MarshalText() ([]byte, error) { return []byte("0x" + hex.EncodeToString(a[:])), nil }

func (a *Address) UnmarshalText(b []byte) error {
	if len(b) != 42 || string(b[:2]) != "0x" {
		return errors.New("parse address: want 0x and 40 hex digits")
	}
	_, err := hex.Decode(a[:], b[2:])
	return err
}

// Or returns s with the fields that it leaves open taken from d.
func (s ProposerSettings) Or(d ProposerSettings) ProposerSettings {
	if s.FeeRecipient == nil {
		s.FeeRecipient = d.FeeRecipient
	}
	if s.GasLimit == nil {
		s.GasLimit = d.GasLimit
	}
	if s.Graffiti == nil {
		s.Graffiti = d.Graffiti
	}
	return s
}

// SettingsChange is what becomes of a key's settings: a field is set, opened
// again, or left as it is. So two changes of different fields never undo each
// other, whoever approves them when.
type SettingsChange struct {
	Set  ProposerSettings
	Open SettingsFields
}

// SettingsFields is a set of fields of ProposerSettings.
type SettingsFields uint8

const (
	FieldFeeRecipient SettingsFields = 1 << iota
	FieldGasLimit
	FieldGraffiti
	allFields = FieldFeeRecipient | FieldGasLimit | FieldGraffiti
)

// Change returns what makes want of s.
func (s ProposerSettings) Change(want ProposerSettings) (c SettingsChange) {
	switch {
	case want.FeeRecipient == nil && s.FeeRecipient != nil:
		c.Open |= FieldFeeRecipient
	case want.FeeRecipient != nil && (s.FeeRecipient == nil || *s.FeeRecipient != *want.FeeRecipient):
		c.Set.FeeRecipient = want.FeeRecipient
	}
	switch {
	case want.GasLimit == nil && s.GasLimit != nil:
		c.Open |= FieldGasLimit
	case want.GasLimit != nil && (s.GasLimit == nil || *s.GasLimit != *want.GasLimit):
		c.Set.GasLimit = want.GasLimit
	}
	switch {
	case want.Graffiti == nil && s.Graffiti != nil:
		c.Open |= FieldGraffiti
	case want.Graffiti != nil && (s.Graffiti == nil || *s.Graffiti != *want.Graffiti):
		c.Set.Graffiti = want.Graffiti
	}
	return c
}

// After returns s after a change.
func (s ProposerSettings) After(c SettingsChange) ProposerSettings {
	if c.Open&FieldFeeRecipient != 0 {
		s.FeeRecipient = nil
	}
	if c.Open&FieldGasLimit != 0 {
		s.GasLimit = nil
	}
	if c.Open&FieldGraffiti != 0 {
		s.Graffiti = nil
	}
	return c.Set.Or(s)
}

func (c SettingsChange) encode(e *wire.Encoder) {
	c.Set.encode(e)
	e.U8(uint8(c.Open))
}

func decodeSettingsChange(d *wire.Decoder) SettingsChange {
	c := SettingsChange{Set: decodeSettings(d), Open: SettingsFields(d.U8())}
	if c.Open&^allFields != 0 {
		d.Fail(fmt.Errorf("settings: fields %b", c.Open))
	}
	return c
}

// MaxGraffiti is the length of a block's graffiti field.
const MaxGraffiti = 32

// String says what is set, for the audit log.
func (s ProposerSettings) String() string {
	var set []string
	if s.FeeRecipient != nil {
		set = append(set, fmt.Sprintf("fee recipient 0x%x", *s.FeeRecipient))
	}
	if s.GasLimit != nil {
		set = append(set, fmt.Sprintf("gas limit %d", *s.GasLimit))
	}
	if s.Graffiti != nil {
		set = append(set, fmt.Sprintf("graffiti %q", *s.Graffiti))
	}
	return cmp.Or(strings.Join(set, ", "), "nothing set")
}

func (s ProposerSettings) encode(e *wire.Encoder) {
	e.Bool(s.FeeRecipient != nil)
	if s.FeeRecipient != nil {
		e.Fixed(s.FeeRecipient[:])
	}
	e.Bool(s.GasLimit != nil)
	if s.GasLimit != nil {
		e.U64(*s.GasLimit)
	}
	e.Bool(s.Graffiti != nil)
	if s.Graffiti != nil {
		e.String(*s.Graffiti)
	}
}

func decodeSettings(d *wire.Decoder) (s ProposerSettings) {
	if d.Bool() {
		s.FeeRecipient = new(Address)
		d.Fixed(s.FeeRecipient[:])
	}
	if d.Bool() {
		s.GasLimit = new(d.U64())
	}
	if d.Bool() {
		s.Graffiti = new(d.String(MaxGraffiti))
	}
	return s
}

// KeyRecord is a key in the inventory.
type KeyRecord struct {
	Domain     Domain
	Curve      Curve
	PublicKey  []byte
	State      KeyState
	Provenance Provenance
	Owner      string // operator or cluster that answers for it
	Purpose    string
	Exercise   bool // made in a rehearsal: never counts as real
	Use        Use

	Epoch    uint32
	Ceremony [32]byte // cid of the ceremony that made this epoch's shares
	T, N     uint16
	Without  uint32 // bit i: seat i of the N has no share
	// Commitment is the sharing polynomial in the exponent, t points from
	// the public key on: from it follows what verifies each holder's partials.
	// Of a key that participants hold the ceremony's certificate says that, and
	// this is empty.
	Commitment []byte

	Created  uint64 // height
	Settings ProposerSettings
}

// Held reports whether participants that are not nodes hold the shares: an
// assembly's are those of epoch 0, and nodes take the key over with epoch 1.
func (k *KeyRecord) Held() bool { return k.Provenance == ProvenanceAssembled && k.Epoch == 0 }

// Holds reports whether a seat of the nodes has a share of the key.
func (k *KeyRecord) Holds(seat int) bool {
	return !k.Held() && seat >= 1 && seat <= int(k.N) && k.Without>>seat&1 == 0
}

// Holders counts the seats that have a share.
func (k *KeyRecord) Holders() int { return int(k.N) - bits.OnesCount32(k.Without) }

const (
	recordVersion = 1
	keyVersion    = 2 // of key records, which say since then what the key is for
)

// Encode returns the record's canonical bytes.
func (k *KeyRecord) Encode() []byte {
	var e wire.Encoder
	e.U8(keyVersion)
	e.String(string(k.Domain))
	e.U8(uint8(k.Curve))
	e.Fixed(k.PublicKey)
	e.U8(uint8(k.State))
	e.U8(uint8(k.Provenance))
	e.String(k.Owner)
	e.String(k.Purpose)
	e.Bool(k.Exercise)
	e.U8(uint8(k.Use))
	e.U32(k.Epoch)
	e.Fixed(k.Ceremony[:])
	e.U16(k.T)
	e.U16(k.N)
	e.U32(k.Without)
	e.Fixed(k.Commitment)
	e.U64(k.Created)
	k.Settings.encode(&e)
	return e.Out()
}

// ParseKeyRecord reads what Encode returned.
func ParseKeyRecord(b []byte) (*KeyRecord, error) {
	var k KeyRecord
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != keyVersion {
		d.Fail(fmt.Errorf("version %d", v))
	}
	k.Domain = Domain(d.String(wire.MaxName))
	k.Curve = Curve(d.U8())
	size := k.Curve.PublicKeySize()
	if d.Err() == nil && size == 0 {
		d.Fail(fmt.Errorf("curve %d", k.Curve))
	}
	k.PublicKey = make([]byte, size)
	d.Fixed(k.PublicKey)
	k.State = KeyState(d.U8())
	k.Provenance = Provenance(d.U8())
	k.Owner = d.String(wire.MaxName)
	k.Purpose = d.String(wire.MaxName)
	k.Exercise = d.Bool()
	if k.Use = Use(d.U8()); !k.Use.Known() {
		d.Fail(fmt.Errorf("use %d", k.Use))
	}
	k.Epoch = d.U32()
	d.Fixed(k.Ceremony[:])
	k.T = d.U16()
	k.N = d.U16()
	k.Without = d.U32()
	most, points := wire.MaxNodes, int(k.T)
	if k.Held() {
		most, points = wire.MaxParticipants, 0
	}
	if int(k.N) > most || k.Without>>(k.N+1) != 0 || k.Without&1 != 0 || int(k.T) > k.Holders() {
		d.Fail(fmt.Errorf("%d shares of %d without %b", k.T, k.N, k.Without))
	}
	if d.Err() == nil {
		k.Commitment = make([]byte, points*size)
		d.Fixed(k.Commitment)
	}
	k.Created = d.U64()
	k.Settings = decodeSettings(d)
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse key record: %w", err)
	}
	return &k, nil
}
