package ledger

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// This file acts on the policy's rotation: keys whose shares are older than it
// says, the ledger itself asks to refresh, as a timer would. What follows the
// policy decides, as for anybody's request. Keys that one ceremony gave their
// present shares form a sharing, and are looked at and asked for together.

const (
	// rotationTimer is under whose name the ledger asks. No other timer has it.
	rotationTimer = "rotation"
	// rotationPhase is how long each phase of a ceremony may take that nobody
	// waits for. One in which everybody delivers ends at once.
	rotationPhase = 30 * 60 * 1000
	// askedAgain is when keys that are still due are asked for again.
	askedAgain = 24 * 60 * 60 * 1000
	// busyAgain is the same where too much was under way.
	busyAgain = 10 * 60 * 1000
	// sharingsPerBlock bounds how many are looked at at once after a change of
	// the policy.
	sharingsPerBlock = 16
	never            = math.MaxUint64
)

// sharing is the present shares of the keys that got them from one ceremony.
type sharing struct {
	since uint64   // milliseconds of block time, when the ceremony was opened
	next  uint64   // when to look at it again
	asked [32]byte // id of the last request for new ones
}

func (x *sharing) encode() []byte {
	var e wire.Encoder
	e.U8(1)
	e.U64(x.since)
	e.U64(x.next)
	e.Fixed(x.asked[:])
	return e.Out()
}

func parseSharing(b []byte) (*sharing, error) {
	var x sharing
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != 1 {
		d.Fail(fmt.Errorf("version %d", v))
	}
	x.since, x.next = d.U64(), d.U64()
	d.Fixed(x.asked[:])
	return &x, d.Finish()
}

func (s *State) sharingPath(id [32]byte) proof.Path { return s.ns.Path("sharing", proof.Hex(id[:])) }

func (s *State) sharing(id [32]byte) *sharing {
	if raw := s.Get(s.sharingPath(id)); raw != nil {
		return mustParse(parseSharing(raw))
	}
	return nil
}

// watchShares begins to watch the age of the shares that a ceremony made.
func (s *State) watchShares(ctx txContext, id [32]byte) {
	_, about := s.Ceremony(id)
	s.set(s.sharingPath(id), (&sharing{since: about.Time, next: never}).encode())
	s.lookAtShares(ctx, id)
}

// SharesSince returns when the ceremony that made a key's present shares was
// opened, in milliseconds of block time; 0 where that is not known.
func (s *State) SharesSince(k *action.KeyRecord) uint64 {
	if x := s.sharing(k.Ceremony); x != nil {
		return x.since
	}
	return 0
}

// RotationOf says when the policy wants new shares of a key, and when they are
// overdue, in milliseconds of block time; false where it never does.
func (s *State) RotationOf(k *action.KeyRecord) (due, overdue uint64, ok bool) {
	rules, _ := s.policy()
	since := s.SharesSince(k)
	rule, ok := rules.Rotation(keyResource(k))
	if !ok || since == 0 || k.State.Stopped() {
		return 0, 0, false
	}
	return since + rule.Every, since + rule.Every + rule.Grace, true
}

// Rotations counts the keys that are to get new shares, and those of them that
// are overdue.
func (s *State) Rotations(now uint64) (due, overdue int) {
	if rules, _ := s.policy(); !rules.Rotates() {
		return 0, 0
	}
	s.Keys(action.DomainValidator, func(k *action.KeyRecord) bool {
		if from, late, ok := s.RotationOf(k); ok && from <= now {
			if due++; late <= now {
				overdue++
			}
		}
		return true
	})
	return due, overdue
}

// lookAtShares asks for new shares of the keys of a sharing that are due, and
// says when to look again.
func (s *State) lookAtShares(ctx txContext, id [32]byte) {
	x := s.sharing(id)
	if x == nil {
		return
	}
	name := hex.EncodeToString(id[:])
	if x.next != never {
		s.delete(s.timePath(x.next, dueRotation, name))
	}
	alive, due, next := s.dueShares(ctx.block.Time, id, x.since)
	if !alive {
		s.delete(s.sharingPath(id))
		return
	}
	if x.next = next; len(due) > 0 {
		x.next = min(next, ctx.block.Time+s.askRotation(ctx, id, x, due))
	}
	if x.next != never {
		s.wakeAt(x.next, dueRotation, name)
	}
	s.set(s.sharingPath(id), x.encode())
}

// dueShares returns the keys of a sharing that are due, whether it has any
// left, and when to look at it again for the sake of the others.
func (s *State) dueShares(now uint64, id [32]byte, since uint64) (alive bool, due [][]byte, next uint64) {
	rules, _ := s.policy()
	next = never
	for _, k := range s.sharedBy(id) {
		rec, err := s.Key(action.DomainValidator, k)
		if err != nil || rec.Ceremony != id || rec.State.Stopped() {
			continue // it has other shares by now, or needs none
		}
		alive = true
		rule, ok := rules.Rotation(keyResource(rec))
		switch at := since + rule.Every; {
		case !ok:
		case at > now:
			next = min(next, at)
		case rec.State == action.KeyFrozen || s.Get(s.claimPath(k)) != nil || len(due) == maxRenewal:
			next = min(next, now+askedAgain)
		default:
			due = append(due, k)
		}
	}
	return alive, due, next
}

// sharedBy returns the keys that a ceremony gave shares, in order.
func (s *State) sharedBy(id [32]byte) [][]byte {
	board, about := s.Ceremony(id)
	if about.Keys != nil {
		return about.Keys
	}
	result := mustParse(dkg.ReadResult(board, s.Source))
	keys := make([][]byte, result.Keys())
	for i := range keys {
		keys[i] = result.PublicKey(i)
	}
	return sortedKeys(keys)
}

// askRotation asks for new shares of keys that are shared alike, unless the
// request of last time still waits. It returns after which time to look again.
func (s *State) askRotation(ctx txContext, id [32]byte, x *sharing, keys [][]byte) uint64 {
	if r, ok := s.Request(x.asked); ok && r.State.Live() {
		return askedAgain
	}
	ctx.who = principal{name: "timer/" + rotationTimer, kind: kindTimer}
	ctx.hash = wire.Hash(wire.TagRequest, s.cluster[:], []byte(ctx.who.name), id[:], eb(ctx.block.Time)) // no two alike
	detail := fmt.Sprintf("%d keys have shares from %s", len(keys), moment(x.since))
	var request [32]byte
	var why error
	code := s.attempt(func(s *State) Code {
		if request, why = s.askRefresh(ctx, keys); why != nil {
			return CodeConflict
		}
		return OK
	})
	var refused *Error
	switch {
	case errors.As(why, &refused) && refused.Code == CodeBusy:
		return busyAgain
	case code != OK:
		detail += ": " + why.Error()
	case request == [32]byte{}:
		detail += ": refreshed at once"
	default:
		detail += fmt.Sprintf(": request %x", request)
	}
	x.asked = request
	s.record(ctx, Event{Kind: EventRotation, Object: ceremonyName(id), Detail: detail})
	return askedAgain
}

func (s *State) askRefresh(ctx txContext, keys [][]byte) (request [32]byte, err error) {
	roster := s.Roster(action.DomainValidator)
	const phase = rotationPhase
	base := dkg.Params{Suite: dkg.SuiteG1, N: uint8(len(roster)), Cluster: s.cluster, Roster: roster.Hash(s.cluster), Nonce: ctx.hash, Hybrid: true,
		Deadlines: dkg.Deadlines{Join: phase, Deal: phase, Verify: phase, Answer: phase, Confirm: phase, Publish: phase}}
	opens, err := s.PlanRenewal(Renewal{Mode: dkg.ModeRefresh, Keys: keys, Purpose: rotationTimer}, base)
	if err != nil {
		return request, err
	}
	if len(opens) != 1 {
		panic("ledger: own state is damaged: keys of one ceremony are not shared alike")
	}
	return s.ask(ctx, opens[0].Ask(), nil)
}

// rotationDue looks at a sharing whose time has come.
func (s *State) rotationDue(ctx txContext, name string) { s.lookAtShares(ctx, parseID(name)) }

// rotationChanged looks at some sharings under a policy that is new, and has
// the next block look at those after them.
func (s *State) rotationChanged(ctx txContext, from string) {
	var ids [][32]byte
	prefix := s.ns.Prefix("sharing")
	s.iterateFrom(prefix, prefix+proof.Path(from), func(path, _ []byte) bool {
		ids = append(ids, parseID(string(path[len(prefix):])))
		return len(ids) <= sharingsPerBlock
	})
	for i, id := range ids {
		if i == sharingsPerBlock {
			s.wakeAtHeight(uint64(ctx.block.Height)+1, dueSharings, hex.EncodeToString(id[:]))
			return
		}
		s.lookAtShares(ctx, id)
	}
}

func parseID(name string) [32]byte {
	raw, err := hex.DecodeString(name)
	if err != nil || len(raw) != 32 {
		panic("ledger: own state is damaged: due entry " + name)
	}
	return [32]byte(raw)
}

func keyResource(k *action.KeyRecord) policy.Resource {
	return policy.Resource{Kind: "key", ID: fmt.Sprintf("0x%x", k.PublicKey), Domain: string(k.Domain), Owner: k.Owner,
		Purpose: k.Purpose, State: k.State.String(), Exercise: k.Exercise}
}
