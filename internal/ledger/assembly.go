package ledger

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/proof"
)

// An assembly, a ceremony among participants that are not nodes, is on the
// ledger as its archive that grows: a record with the last link, and the
// entries beside the tree. The board follows from them; it is kept between
// blocks only because to make it anew takes long.

const (
	// maxOpenAssemblies bounds how many boards a node keeps, of up to 50 MB.
	maxOpenAssemblies = 8
	// maxAssembliesOf bounds how many of them one signer has opened.
	maxAssembliesOf = 4
	// maxAssemblyPhase bounds how long one waits for people, in milliseconds.
	maxAssemblyPhase = 7 * 24 * 60 * 60 * 1000
)

// AssemblyEntryPath is where an entry of an assembly's log lies, by its number
// from 1; number 0 is the head.
func AssemblyEntryPath(id [32]byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte("assembly/"), id[:]...), number)
}

func participantPath(id [32]byte, seat int) []byte {
	return binary.BigEndian.AppendUint16(append([]byte("participant/"), id[:]...), uint16(seat))
}

func assemblySealPath(id [32]byte, seat int) []byte {
	return binary.BigEndian.AppendUint16(append([]byte("assembly-seal/"), id[:]...), uint16(seat))
}

func (s *State) openAssemblyPath(id [32]byte) proof.Path {
	return s.ns.Path("open-assembly", proof.Hex(id[:]))
}

// Assembly returns the record of an assembly.
func (s *State) Assembly(id [32]byte) (*action.AssemblyRecord, bool) {
	raw := s.Get(s.ns.Assembly(id[:]))
	if raw == nil {
		return nil, false
	}
	return mustParse(action.ParseAssemblyRecord(raw)), true
}

// Assemblies visits all assemblies in order of their ids.
func (s *State) Assemblies(visit func(id [32]byte, r *action.AssemblyRecord) bool) {
	s.iterate(s.ns.Prefix("assembly"), func(_, v []byte) bool {
		r := mustParse(action.ParseAssemblyRecord(v))
		return visit(assemblyID(r), r)
	})
}

func assemblyID(r *action.AssemblyRecord) [32]byte {
	return mustParse(assembly.ParseParams(r.Params)).ID()
}

// OpenAssemblies returns the ids of those that have not ended.
func (s *State) OpenAssemblies() (ids [][32]byte) {
	s.iterate(s.ns.Prefix("open-assembly"), func(_, v []byte) bool {
		ids = append(ids, [32]byte(v))
		return true
	})
	return ids
}

// Participant returns who may take a seat of an assembly.
func (s *State) Participant(id [32]byte, seat int) (*action.Participant, bool) {
	if seat < 1 || seat > 1<<16-1 {
		return nil, false
	}
	raw := s.getBody(participantPath(id, seat))
	if raw == nil {
		return nil, false
	}
	ps := mustParse(action.ParseParticipants(raw))
	return &ps[0], true
}

// AssemblyEntry returns an entry of an assembly's log, from 1, or its head,
// number 0; nil when there is none.
func (s *State) AssemblyEntry(id [32]byte, number uint64) []byte {
	return s.getBody(AssemblyEntryPath(id, number))
}

// AssemblySealOf returns a participant's seal, nil when there is none.
func (s *State) AssemblySealOf(id [32]byte, seat int) []byte {
	return s.getBody(assemblySealPath(id, seat))
}

// openAssembly checks everything that is asked for and writes the log's head.
func (s *State) openAssembly(ctx txContext, a *action.Assembly, list []byte) error {
	p, err := assembly.ParseParams(a.Params)
	if err != nil {
		return refuse(CodeMalformed, "%w", err)
	}
	id, d := p.ID(), p.Deadlines
	switch {
	case max(d.Join, d.Deal, d.Verify, d.Answer, d.Replay, d.Confirm) > maxAssemblyPhase:
		return refuse(CodeMalformed, "a phase is longer than a week")
	case s.Get(s.ns.Assembly(id[:])) != nil:
		return refuse(CodeConflict, "ceremony %x was opened before", id)
	}
	seats, err := s.participants(a, list)
	if err != nil {
		return err
	}
	if err := s.roomForAssembly(ctx.who); err != nil {
		return err
	}
	var holders []Holder
	for i, seat := range seats {
		holders = append(holders, Holder{i + 1, seat.Name, seat.Region})
	}
	if err := s.mayHold(newKey(a.Purpose), holders); err != nil {
		return err
	}
	var roster assembly.Roster
	for i, seat := range seats {
		roster = append(roster, seat.Key)
		s.setBody(participantPath(id, i+1), action.Participants{seat}.Encode())
	}
	head := assembly.Head(p, roster, ctx.block.Time)
	f, err := assembly.Follow(head)
	if err != nil {
		return refuse(CodeMalformed, "%w", err)
	}
	r := &action.AssemblyRecord{Assembly: *a, Owner: ctx.who.operator, By: ctx.who.name, Height: uint64(ctx.block.Height), Opened: ctx.block.Time, Last: uint64(ctx.block.Height)}
	s.setBody(AssemblyEntryPath(id, 0), head)
	s.set(s.openAssemblyPath(id), id[:])
	s.record(ctx, Event{Kind: EventCeremonyOpened, Object: assemblyName(id), Purpose: a.Purpose, Exercise: p.Exercise,
		Detail: fmt.Sprintf("1 key, %d of %d participants that are not nodes, %d cohorts", p.T, p.N, p.Cohorts)})
	r.Link, r.Phase, r.Deadline = f.Link(), uint8(f.Board().Phase()), f.Board().Deadline()
	s.set(s.ns.Assembly(id[:]), r.Encode())
	return nil
}

// participants reads the list that came with a request, and checks that it is
// what the action says, and that who is said to be a member is one.
func (s *State) participants(a *action.Assembly, list []byte) (action.Participants, error) {
	seats, err := action.ParseParticipants(list)
	switch {
	case err != nil:
		return nil, refuse(CodeMalformed, "%w", err)
	case seats.Hash() != a.Seats:
		return nil, refuse(CodeMalformed, "the list of participants is not the one that the action names")
	}
	for i, seat := range seats {
		if seat.Member == "" {
			continue
		}
		m, ok := s.Member(seat.Member)
		if !ok || !slices.ContainsFunc(m.Keys, func(k ident.PublicKey) bool { return slices.Equal(k.Bytes(), seat.Key.Bytes()) }) {
			return nil, refuse(CodeConflict, "seat %d: its key is no credential of a member %s", i+1, seat.Member)
		}
	}
	return seats, nil
}

func (s *State) roomForAssembly(who principal) error {
	open, own := s.OpenAssemblies(), 0
	for _, id := range open {
		if r, ok := s.Assembly(id); ok && r.By == who.name {
			own++
		}
	}
	if len(open) >= maxOpenAssemblies || own >= maxAssembliesOf {
		return refuse(CodeBusy, "%d ceremonies among participants are open, %d of them by %s", len(open), own, who.name)
	}
	return nil
}

// tickAssemblies lets time pass where that changes something.
func (s *State) tickAssemblies(ctx txContext) {
	for _, id := range s.OpenAssemblies() {
		r, _ := s.Assembly(id)
		var random [32]byte
		due := r.Deadline != 0 && ctx.block.Time >= r.Deadline
		if assembly.Phase(r.Phase).AwaitsRandomness() {
			random, due = s.randomness(ctx, r.Last)
		}
		if !due {
			continue
		}
		f := s.follower(id, r)
		tick := assembly.TickEntry(ctx.block.Time, random)
		if err := f.Take(tick); err != nil {
			panic(fmt.Sprintf("ledger: time cannot fail ceremony %x: %v", id, err))
		}
		s.advanceAssembly(ctx, id, r, f, tick)
	}
}

// assemblyMessage takes what a participant says, and returns the number of its
// entry. A tick stands before the first message of each block, so that who
// replays the log knows when it was said.
func (s *State) assemblyMessage(ctx txContext, tx VerifiedTx, b AssemblyMessage) (uint64, error) {
	if tx.env.Signer.Class != action.SignerNode {
		return 0, refuse(CodeDenied, "only a node carries what a participant says")
	}
	r, ok := s.Assembly(b.Ceremony)
	if !ok {
		return 0, refuse(CodeNotFound, "ceremony %x is not on the ledger", b.Ceremony)
	}
	if _, err := assembly.ParseMessage(b.Message); err != nil {
		return 0, refuse(CodeMalformed, "%w", err)
	}
	if phase := assembly.Phase(r.Phase); phase.Ended() || phase.AwaitsRandomness() {
		return 0, refuse(CodePhase, "the ceremony is in phase %s, where nobody is asked", phase)
	}
	var tick []byte
	if height := uint64(ctx.block.Height); r.Last < height {
		tick = assembly.TickEntry(ctx.block.Time, [32]byte{}) // nothing waits for randomness
	}
	post := assembly.PostEntry(int(b.Seat), b.Message, b.Signature)
	f := s.follower(b.Ceremony, r)
	if err := f.Try(tick, post); err != nil {
		s.cache.keep(f)
		return 0, refuse(CodePhase, "%w", err)
	}
	// Who says it, not who carries it.
	ctx.who = principal{name: fmt.Sprintf("participant/%x/seat%d", b.Ceremony, b.Seat)}
	if tick == nil {
		s.advanceAssembly(ctx, b.Ceremony, r, f, post)
	} else {
		s.advanceAssembly(ctx, b.Ceremony, r, f, tick, post)
	}
	return r.Entries, nil
}

// follower returns the board at the record's link, for its caller alone, who
// keeps it when it has advanced.
func (s *State) follower(id [32]byte, r *action.AssemblyRecord) *assembly.Follower {
	if f := s.cache.take(r.Link); f != nil {
		return f
	}
	f := mustParse(assembly.Follow(s.AssemblyEntry(id, 0)))
	for number := uint64(1); number <= r.Entries; number++ {
		mustParse(f, f.Take(s.AssemblyEntry(id, number)))
	}
	if f.Link() != r.Link {
		panic(fmt.Sprintf("ledger: own state is damaged: the log of ceremony %x ends with another link", id))
	}
	return f
}

// take takes a board that stands at a link out of the cache: it changes in
// place, so that two states cannot share it.
func (c *Cache) take(link [32]byte) *assembly.Follower {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, f := range c.boards {
		if f.Link() == link {
			c.boards = slices.Delete(c.boards, i, i+1)
			return f
		}
	}
	return nil
}

// keep puts a board back. What a state took that is dropped stays until
// others need its place.
func (c *Cache) keep(f *assembly.Follower) {
	if c == nil || f.Board().Phase().Ended() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.boards = append(c.boards, f); len(c.boards) > maxOpenAssemblies {
		c.boards = slices.Delete(c.boards, 0, 1)
	}
}

// advanceAssembly stores entries that the board has taken and does what
// follows. It cannot fail: the board does not go back.
func (s *State) advanceAssembly(ctx txContext, id [32]byte, r *action.AssemblyRecord, f *assembly.Follower, entries ...[]byte) {
	for _, entry := range entries {
		r.Entries++
		s.setBody(AssemblyEntryPath(id, r.Entries), entry)
	}
	b := f.Board()
	before := assembly.Phase(r.Phase)
	r.Link, r.Last, r.Phase, r.Deadline = f.Link(), uint64(ctx.block.Height), uint8(b.Phase()), b.Deadline()
	exercise := b.Params().Exercise
	s.recordFaults(ctx, id, exercise, b.FaultsFrom(int(r.Faults)))
	r.Faults += uint32(len(b.FaultsFrom(int(r.Faults))))
	event := Event{Kind: EventCeremonyStep, Object: assemblyName(id), Detail: b.Phase().String(), Exercise: exercise}
	switch b.Phase() {
	case before:
	case assembly.PhaseDone:
		event.Kind, event.Detail = EventCeremonyDone, fmt.Sprintf("%d dealers, %d holders", len(b.Qualified()), len(b.Holders()))
		s.record(ctx, event)
		s.createHeldKey(ctx, id, r, b)
	case assembly.PhaseAborted:
		event.Kind, event.Detail = EventCeremonyAborted, "in phase "+before.String()
		s.record(ctx, event)
	default:
		s.record(ctx, event)
	}
	if b.Phase().Ended() {
		s.delete(s.openAssemblyPath(id))
	}
	s.set(s.ns.Assembly(id[:]), r.Encode())
	s.cache.keep(f)
}

// maxNamed is how many seats one event names: a detail that is cut short would
// leave some out, and end with the number of another.
const maxNamed = 128

// recordFaults names all who did something, in few events for each kind of
// fault.
func (s *State) recordFaults(ctx txContext, id [32]byte, exercise bool, faults []assembly.Fault) {
	var kinds []dkg.FaultKind
	seats := map[dkg.FaultKind][]string{}
	for _, f := range faults {
		if seats[f.Kind] == nil {
			kinds = append(kinds, f.Kind)
		}
		seats[f.Kind] = append(seats[f.Kind], fmt.Sprint(f.Seat))
	}
	for _, kind := range kinds {
		for some := range slices.Chunk(seats[kind], maxNamed) {
			s.record(ctx, Event{Kind: EventCeremonyFault, Object: assemblyName(id), Exercise: exercise,
				Detail: fmt.Sprintf("%d participants, %s: seats %s", len(some), kind, strings.Join(some, ", "))})
		}
	}
}

// createHeldKey puts the key into the inventory. No custody has a share of it.
func (s *State) createHeldKey(ctx txContext, id [32]byte, r *action.AssemblyRecord, b *assembly.Board) {
	key, _ := b.PublicKey()
	public := key.Bytes()
	r.PublicKey = public[:]
	p := b.Params()
	if p.Exercise {
		return // a key of an exercise counts for nothing
	}
	s.putKey(&action.KeyRecord{
		Domain: action.DomainValidator, Curve: action.CurveBLS12381G1, PublicKey: r.PublicKey, State: action.KeyHeld, Provenance: action.ProvenanceAssembled,
		Owner: r.Owner, Purpose: r.Purpose, Ceremony: id, T: p.T, N: p.N, Created: uint64(ctx.block.Height),
	})
	result, _ := b.Result()
	s.set(s.assembledPath(r.PublicKey), Assembled{id, result, p.N, p.T}.encode())
	s.record(ctx, Event{Kind: EventKeyCreated, Object: assemblyName(id), Detail: "1 key, " + action.ProvenanceAssembled.String()})
}

// assemblySeal takes a participant's word for the whole log.
func (s *State) assemblySeal(ctx txContext, tx VerifiedTx, b AssemblySeal) error {
	if tx.env.Signer.Class != action.SignerNode {
		return refuse(CodeDenied, "only a node carries what a participant says")
	}
	r, ok := s.Assembly(b.Ceremony)
	switch {
	case !ok:
		return refuse(CodeNotFound, "ceremony %x is not on the ledger", b.Ceremony)
	case s.AssemblySealOf(b.Ceremony, int(b.Seat)) != nil:
		return refuse(CodeConflict, "participant %d sealed it before", b.Seat)
	}
	s.setBody(assemblySealPath(b.Ceremony, int(b.Seat)), b.Signature)
	r.Seals++
	p := mustParse(assembly.ParseParams(r.Params))
	if !r.Sealed && int(r.Seals) >= p.SealsWanted(assembly.Phase(r.Phase)) {
		r.Sealed = true
		s.record(ctx, Event{Kind: EventCeremonyStep, Object: assemblyName(b.Ceremony), Exercise: p.Exercise,
			Detail: fmt.Sprintf("%d participants sealed the log of %d entries", r.Seals, r.Entries)})
	}
	s.set(s.ns.Assembly(b.Ceremony[:]), r.Encode())
	return nil
}

func assemblyName(id [32]byte) string { return fmt.Sprintf("assembly/%x", id) }
