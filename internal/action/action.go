package action

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/wire"
)

// An Action is something that needs a grant: the ledger decides on its exact
// canonical bytes, and custody carries out those bytes and no others.
type Action struct {
	Rule      Rule
	Domain    Domain
	PublicKey []byte

	// One of these, by Rule.
	Duty     []byte           // RuleExit, RuleDeposit: the canonical duty to sign
	Settings ProposerSettings // RuleSettings
}

// Encode returns the action's canonical bytes.
func (a *Action) Encode() []byte {
	var e wire.Encoder
	e.U8(1)
	e.String(string(a.Rule))
	e.String(string(a.Domain))
	e.Bytes(a.PublicKey)
	switch a.Rule {
	case RuleExit, RuleDeposit:
		e.Bytes(a.Duty)
	case RuleSettings:
		a.Settings.encode(&e)
	}
	return e.Out()
}

// ParseAction reads what Encode returned.
func ParseAction(b []byte) (*Action, error) {
	var a Action
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != 1 {
		d.Fail(fmt.Errorf("version %d", v))
	}
	a.Rule = Rule(d.String(wire.MaxName))
	a.Domain = Domain(d.String(wire.MaxName))
	a.PublicKey = d.Bytes(48)
	switch a.Rule {
	case RuleExit, RuleDeposit:
		a.Duty = d.Bytes(1 << 10)
	case RuleSettings:
		a.Settings = decodeSettings(d)
	case RuleArchive:
	default:
		d.Fail(errors.New("unknown kind of action"))
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse action: %w", err)
	}
	return &a, nil
}

// Hash names the action; a grant stands under it.
func (a *Action) Hash(cluster ClusterID) [32]byte {
	return wire.Hash(wire.TagGrant, cluster[:], a.Encode())
}

// Grant is the ledger's permission to carry out one action.
type Grant struct {
	Action  []byte
	By      string // who asked
	Height  uint64
	Expires uint64 // milliseconds of block time
}

// Encode returns the grant's canonical bytes.
func (g *Grant) Encode() []byte {
	var e wire.Encoder
	e.U8(1)
	e.Bytes(g.Action)
	e.String(g.By)
	e.U64(g.Height)
	e.U64(g.Expires)
	return e.Out()
}

// ParseGrant reads what Encode returned.
func ParseGrant(b []byte) (*Grant, error) {
	var g Grant
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != 1 {
		d.Fail(fmt.Errorf("version %d", v))
	}
	g.Action = d.Bytes(4 << 10)
	g.By = d.String(2 * wire.MaxName)
	g.Height = d.U64()
	g.Expires = d.U64()
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse grant: %w", err)
	}
	return &g, nil
}
