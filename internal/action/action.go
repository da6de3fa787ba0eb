package action

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/wire"
)

// Rule is a kind of action, as policies and people name it.
type Rule string

const (
	RuleKeygen   Rule = "ceremony.keygen"
	RuleImport   Rule = "ceremony.import"
	RuleRefresh  Rule = "ceremony.refresh"
	RuleReshare  Rule = "ceremony.reshare"
	RuleAssembly Rule = "ceremony.assembly" // among participants that are not nodes
	RuleHandover Rule = "ceremony.handover" // from whom nodes take their key over

	RuleExit    Rule = "sign.voluntary_exit"
	RuleDeposit Rule = "sign.deposit"

	RuleSettings Rule = "key.settings"
	RuleArchive  Rule = "key.archive"
	RuleFreeze   Rule = "key.freeze" // tightens: what it stops comes back by itself
	RuleUnfreeze Rule = "key.unfreeze"
	RuleHistory  Rule = "key.history" // a slashing history comes from elsewhere

	RuleEnrol     Rule = "member.enrol"
	RuleUpdate    Rule = "member.update"
	RuleRemove    Rule = "member.remove"
	RuleSuspend   Rule = "member.suspend" // tightens, like RuleFreeze
	RuleReinstate Rule = "member.reinstate"

	RulePolicy Rule = "policy.change"

	RuleTimerSet    Rule = "timer.set"
	RuleTimerCancel Rule = "timer.cancel"
)

// shapes says what an action of each rule carries. A rule that is missing
// does not exist.
var shapes = map[Rule]shape{
	RuleKeygen: shapeCeremony, RuleImport: shapeCeremony, RuleRefresh: shapeCeremony, RuleReshare: shapeCeremony,
	RuleAssembly: shapeAssembly, RuleHandover: shapeHandover,
	RuleExit: shapeDuty, RuleDeposit: shapeDuty,
	RuleSettings: shapeSettings, RuleArchive: shapeKey, RuleFreeze: shapeKeyUntil, RuleUnfreeze: shapeKey,
	RuleEnrol: shapeMember, RuleUpdate: shapeMember, RuleRemove: shapeName, RuleSuspend: shapeNameUntil, RuleReinstate: shapeName,
	RulePolicy:   shapeDocument,
	RuleHistory:  shapeHistory,
	RuleTimerSet: shapeTimer, RuleTimerCancel: shapeName,
}

type shape uint8

const (
	shapeKey       shape = iota + 1 // Domain and PublicKey, alone
	shapeKeyUntil                   // and Until
	shapeDuty                       // and Duty
	shapeSettings                   // and Settings
	shapeCeremony                   // Ceremony
	shapeMember                     // Member
	shapeName                       // Name
	shapeNameUntil                  // Name and Until
	shapeDocument                   // Document
	shapeTimer                      // Timer
	shapeHistory                    // Domain and History
	shapeAssembly                   // Assembly
	shapeHandover                   // PublicKey and Ceremony
)

func (s shape) ofKey() bool { return s >= shapeKey && s <= shapeSettings }

// Action is something that the ledger decides on. A grant and an approval
// hold for exactly its canonical bytes and for no others.
type Action struct {
	Rule Rule

	// What it is about, by Rule.
	Domain    Domain         // of the key
	PublicKey []byte         // of the key
	Duty      []byte         // the canonical duty to sign
	Settings  SettingsChange // of the key
	Until     uint64         // milliseconds of block time when what was stopped comes back; 0: never by itself
	Ceremony  Ceremony
	Assembly  Assembly
	Member    *MemberRecord
	Name      string // of a member or a timer
	Document  []byte // a policy
	Timer     Timer
	History   History
}

// History names an EIP-3076 document. Custody raises watermarks by no other.
type History struct {
	Hash [32]byte // HashHistory of its bytes
	Keys uint32   // of which it speaks, as whoever asks says
}

// HashHistory names an EIP-3076 document by its bytes.
func HashHistory(document []byte) [32]byte { return wire.Hash(wire.TagHistory, document) }

// Ceremony asks for a ceremony: parameters as package dkg encodes them, which
// stand for the keys that exist already by a hash.
type Ceremony struct {
	Params  []byte
	Purpose string
}

// Timer asks for an action again and again, in block time.
type Timer struct {
	Name   string
	First  uint64 // milliseconds of block time
	Every  uint64 // milliseconds; 0: once
	Action []byte // canonical
}

const (
	// MaxAction bounds an action; the largest changes the policy.
	MaxAction = wire.MaxPolicy + 4<<10

	maxParams = 1 << 10
)

// OfKey reports whether an action of the rule is about one key.
func (r Rule) OfKey() bool { return shapes[r].ofKey() }

// OfCeremony reports whether an action of the rule opens a ceremony among nodes.
func (r Rule) OfCeremony() bool { return shapes[r] == shapeCeremony || shapes[r] == shapeHandover }

// Known reports whether there is such a rule.
func (r Rule) Known() bool { return shapes[r] != 0 }

// Encode returns the canonical bytes.
func (a *Action) Encode() []byte {
	var e wire.Encoder
	e.U8(1)
	e.String(string(a.Rule))
	s := shapes[a.Rule]
	if s.ofKey() {
		e.String(string(a.Domain))
		e.Bytes(a.PublicKey)
	}
	switch s {
	case shapeKeyUntil:
		e.U64(a.Until)
	case shapeDuty:
		e.Bytes(a.Duty)
	case shapeSettings:
		a.Settings.encode(&e)
	case shapeCeremony:
		a.Ceremony.encode(&e)
	case shapeHandover:
		e.Bytes(a.PublicKey)
		a.Ceremony.encode(&e)
	case shapeAssembly:
		a.Assembly.encode(&e)
	case shapeMember:
		e.Bytes(a.Member.Encode())
	case shapeName:
		e.String(a.Name)
	case shapeNameUntil:
		e.String(a.Name)
		e.U64(a.Until)
	case shapeDocument:
		e.Bytes(a.Document)
	case shapeTimer:
		e.String(a.Timer.Name)
		e.U64(a.Timer.First)
		e.U64(a.Timer.Every)
		e.Bytes(a.Timer.Action)
	case shapeHistory:
		e.String(string(a.Domain))
		e.Fixed(a.History.Hash[:])
		e.U32(a.History.Keys)
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
	s := shapes[a.Rule]
	if s.ofKey() {
		a.Domain = Domain(d.String(wire.MaxName))
		a.PublicKey = d.Bytes(48)
	}
	switch s {
	case shapeKey:
	case shapeKeyUntil:
		a.Until = d.U64()
	case shapeDuty:
		a.Duty = d.Bytes(1 << 10)
	case shapeSettings:
		a.Settings = decodeSettingsChange(d)
	case shapeCeremony:
		a.Ceremony = decodeCeremony(d)
	case shapeHandover:
		a.PublicKey = d.Bytes(48)
		a.Ceremony = decodeCeremony(d)
	case shapeAssembly:
		a.Assembly = decodeAssembly(d)
	case shapeMember:
		raw := d.Bytes(MaxMember)
		if d.Err() == nil {
			var err error
			a.Member, err = ParseMemberRecord(raw)
			d.Fail(err)
		}
	case shapeName:
		a.Name = d.String(wire.MaxName)
	case shapeNameUntil:
		a.Name = d.String(wire.MaxName)
		a.Until = d.U64()
	case shapeDocument:
		a.Document = d.Bytes(wire.MaxPolicy)
	case shapeTimer:
		a.Timer = Timer{Name: d.String(wire.MaxName), First: d.U64(), Every: d.U64(), Action: d.Bytes(MaxAction)}
	case shapeHistory:
		a.Domain = Domain(d.String(wire.MaxName))
		d.Fixed(a.History.Hash[:])
		a.History.Keys = d.U32()
	default:
		d.Fail(errors.New("unknown kind of action"))
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse action: %w", err)
	}
	return &a, nil
}

func (c *Ceremony) encode(e *wire.Encoder) {
	e.Bytes(c.Params)
	e.String(c.Purpose)
}

func decodeCeremony(d *wire.Decoder) Ceremony {
	return Ceremony{Params: d.Bytes(maxParams), Purpose: d.String(wire.MaxName)}
}

// Hash names the action in a cluster.
func (a *Action) Hash(cluster ClusterID) [32]byte { return HashAction(cluster, a.Encode()) }

// HashAction names an action by its canonical bytes.
func HashAction(cluster ClusterID, canonical []byte) [32]byte {
	return wire.Hash(wire.TagGrant, cluster[:], canonical)
}
