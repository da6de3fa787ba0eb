package ledger

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/quorate/quorate/internal/wire"
)

// EventKind is what happened. Numbers are never used again.
type EventKind uint16

const (
	EventGenesis         EventKind = 1
	EventCeremonyOpened  EventKind = 2
	EventCeremonyStep    EventKind = 3 // a phase began or a seat delivered
	EventCeremonyFault   EventKind = 4 // a seat was blamed, excluded or absent
	EventCeremonyDone    EventKind = 5
	EventCeremonyAborted EventKind = 6
	EventKeyCreated      EventKind = 7
	EventKeySettings     EventKind = 8
	EventKeyArchived     EventKind = 9
	EventGranted         EventKind = 10
	EventDenied          EventKind = 11
	EventUsage           EventKind = 12
	EventIncident        EventKind = 13 // a validator voted twice: it cheated, or was rolled back
	EventIncarnation     EventKind = 14 // a custody process started
	EventRequested       EventKind = 15 // an action waits for others to agree
	EventApproved        EventKind = 16
	EventVetoed          EventKind = 17
	EventCancelled       EventKind = 18
	EventExpired         EventKind = 19
	EventEscalated       EventKind = 20 // backups may approve now
	EventLocked          EventKind = 21 // enough have agreed; the time lock runs
	EventExecuted        EventKind = 22
	EventFailed          EventKind = 23 // agreed on, and impossible by then
	EventMember          EventKind = 24 // enrolled, changed, removed, suspended or reinstated
	EventPolicy          EventKind = 25
	EventKeyFrozen       EventKind = 26
	EventKeyUnfrozen     EventKind = 27
	EventTimer           EventKind = 28 // set, cancelled or rung
	EventKeyRenewed      EventKind = 30 // keys have shares of a new epoch
	EventRotation        EventKind = 31 // keys have had their shares for longer than the policy says
	EventErased          EventKind = 32 // bodies of events were kept for as long as the policy says
	EventStopped         EventKind = 34 // an old holder said where it stopped
	EventBeacon          EventKind = 38 // a ceremony's randomness is a beacon's output
	EventBeaconMissed    EventKind = 39 // and here it is not, for none came
)

// Event is one entry of the audit log, the same everywhere: who did what to
// what, when, why, and because of which other event.
type Event struct {
	Kind     EventKind
	Height   uint64
	Time     uint64 // milliseconds of block time
	Actor    string // "node/…", "member/…", "ledger"
	Human    string // enrolled human behind the actor, where there is one
	Operator string
	Region   string
	Purpose  string
	Object   string   // ledger path, as text
	Request  [32]byte // hash of the transaction that caused it; zero for time
	Cause    uint64   // 1 + index of the event that caused this one; 0: none
	Exercise bool
	Detail   string

	Salt [16]byte // not part of the body: it opens the commitment
}

// moment is a block time in an event's detail. A time that no calendar of four
// digits has stands as its number.
func moment(ms uint64) string {
	const last = 253_402_300_799_999 // of the year 9999
	if ms > last {
		return fmt.Sprint(ms)
	}
	return time.UnixMilli(int64(ms)).UTC().Format(time.RFC3339)
}

// Encode returns the event's canonical body.
func (ev *Event) Encode() []byte {
	var e wire.Encoder
	e.U8(1)
	e.U16(uint16(ev.Kind))
	e.U64(ev.Height)
	e.U64(ev.Time)
	for _, s := range []string{ev.Actor, ev.Human, ev.Operator, ev.Region, ev.Purpose, ev.Object} {
		e.String(s)
	}
	e.Fixed(ev.Request[:])
	e.U64(ev.Cause)
	e.Bool(ev.Exercise)
	e.String(ev.Detail)
	return e.Out()
}

// ParseEvent reads a body, and the salt that is stored before it.
func ParseEvent(salted []byte) (*Event, error) {
	var ev Event
	d := wire.NewDecoder(salted)
	d.Fixed(ev.Salt[:])
	if v := d.U8(); d.Err() == nil && v != 1 {
		d.Fail(fmt.Errorf("version %d", v))
	}
	ev.Kind = EventKind(d.U16())
	ev.Height = d.U64()
	ev.Time = d.U64()
	for _, s := range []*string{&ev.Actor, &ev.Human, &ev.Operator, &ev.Region, &ev.Purpose, &ev.Object} {
		*s = d.String(maxEventField)
	}
	d.Fixed(ev.Request[:])
	ev.Cause = d.U64()
	ev.Exercise = d.Bool()
	ev.Detail = d.String(maxEventField)
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse event: %w", err)
	}
	return &ev, nil
}

const maxEventField = 1 << 10

// Leaf is the salted commitment that the hash tree holds in place of the
// body, which can then be erased without breaking a proof.
func (ev *Event) Leaf() [32]byte {
	return wire.Hash(wire.TagEventLeaf, ev.Salt[:], ev.Encode())
}

// EventPath is where the body of event number i lies, the salt before it.
func EventPath(i uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte("event/"), i)
}

// record appends an event. Its salt follows from the salt that the signer of
// the transaction chose, or from the block where time alone acted.
func (s *State) record(ctx txContext, ev Event) {
	ev.Height, ev.Time = uint64(ctx.block.Height), ctx.block.Time
	ev.Request = ctx.hash
	ev.Actor, ev.Human, ev.Operator, ev.Region = ctx.who.name, ctx.who.human(), ctx.who.operator, ctx.who.region
	if len(ev.Detail) > maxEventField {
		ev.Detail = ev.Detail[:maxEventField]
	}
	index := s.log.size()
	salt := wire.Hash(wire.TagEventSalt, ctx.salt, binary.BigEndian.AppendUint64(nil, index))
	copy(ev.Salt[:], salt[:])
	s.setBody(EventPath(index), append(ev.Salt[:], ev.Encode()...))
	s.appendLeaf(index, ev.Leaf())
	if ev.Request != ([32]byte{}) && s.getBody(requestPath(ev.Request)) == nil {
		s.setBody(requestPath(ev.Request), binary.BigEndian.AppendUint64(nil, index))
	}
	s.events = append(s.events, ev)
}

// logFrontier is the right edge of the RFC 6962 tree over all events: enough
// to append and to compute the root, in O(log n) space.
type logFrontier struct{ r *compact.Range }

var logRange = compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}

func (l logFrontier) size() uint64 { return l.r.End() }

// append tells visit of every node of the tree that the leaf completes.
func (l logFrontier) append(leaf [32]byte, visit compact.VisitFn) {
	if err := l.r.Append(rfc6962.DefaultHasher.HashLeaf(leaf[:]), visit); err != nil {
		panic("ledger: event log: " + err.Error()) // a range that ends at another size than it says
	}
}

func (l logFrontier) root() (out [32]byte) {
	if l.size() == 0 {
		copy(out[:], rfc6962.DefaultHasher.EmptyRoot())
		return out
	}
	root, err := l.r.GetRootHash(nil)
	if err != nil {
		panic("ledger: event log: " + err.Error()) // a range from 0 always has a root
	}
	copy(out[:], root)
	return out
}

func (l logFrontier) clone() logFrontier {
	c, err := parseFrontier(l.encode())
	if err != nil {
		panic("ledger: event log: " + err.Error())
	}
	return c
}

func (l logFrontier) encode() []byte {
	var e wire.Encoder
	e.U64(l.size())
	for _, h := range l.r.Hashes() {
		e.Fixed(h)
	}
	return e.Out()
}

func parseFrontier(b []byte) (logFrontier, error) {
	if len(b) == 0 {
		return logFrontier{logRange.NewEmptyRange(0)}, nil
	}
	d := wire.NewDecoder(b)
	size := d.U64()
	var hashes [][]byte
	for rest := d.Rest(); len(rest) >= 32; rest = rest[32:] {
		hashes = append(hashes, rest[:32:32])
	}
	r, err := logRange.NewRange(0, size, hashes)
	if err != nil || d.Err() != nil || len(b) != 8+32*len(hashes) {
		return logFrontier{}, fmt.Errorf("parse event log frontier of %d bytes: damaged", len(b))
	}
	return logFrontier{r}, nil
}
