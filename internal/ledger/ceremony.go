package ledger

import (
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

const (
	// maxOpenCeremonies bounds what deadlines have to be looked at in each block.
	maxOpenCeremonies = 64
	// maxOpenOf bounds how many of them one signer has opened, so that f nodes
	// that never finish theirs leave room for the others.
	maxOpenOf = 8
	// maxPhase bounds how long a ceremony can wait for a seat, or for the answer
	// of a participant that has dealt, in milliseconds.
	maxPhase = 24 * 60 * 60 * 1000
)

// Paths: the board stands under ns.Ceremony, where custody finds it; beside
// it what only the ledger needs.

func (s *State) aboutPath(id [32]byte) proof.Path { return s.ns.Path("about", proof.Hex(id[:])) }
func (s *State) openPath(id [32]byte) proof.Path  { return s.ns.Path("open", proof.Hex(id[:])) }
func (s *State) claimPath(key []byte) proof.Path  { return s.ns.Path("claim", proof.Hex(key)) }

// frozePath holds the height at which a ceremony fixed what its randomness is
// to decide about.
func (s *State) frozePath(id [32]byte) proof.Path { return s.ns.Path("froze", proof.Hex(id[:])) }

// BlobPath is where the body of a ceremony message lies, by its name.
func BlobPath(name [32]byte) []byte { return append([]byte("blob/"), name[:]...) }

// Blob returns a body of a ceremony, nil when there is none.
func (s *State) Blob(name [32]byte) []byte { return s.getBody(BlobPath(name)) }

// Source is Blob as package dkg asks for it.
func (s *State) Source(name [32]byte) ([]byte, error) {
	if b := s.Blob(name); b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("body %x is not on the ledger", name[:8])
}

// About is what the ledger knows of a ceremony beside its board.
type About struct {
	Purpose string
	Owner   string // operator that asked for it
	By      string
	Opened  uint64 // height
	Time    uint64 // milliseconds of block time
	Keys    [][]byte
}

func (a About) encode() []byte {
	var e wire.Encoder
	e.U8(1)
	for _, f := range []string{a.Purpose, a.Owner, a.By} {
		e.String(f)
	}
	e.U64(a.Opened)
	e.U64(a.Time)
	e.Count(len(a.Keys))
	for _, k := range a.Keys {
		e.Bytes(k)
	}
	return e.Out()
}

func parseAbout(b []byte) (a About, err error) {
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != 1 {
		d.Fail(fmt.Errorf("version %d", v))
	}
	for _, f := range []*string{&a.Purpose, &a.Owner, &a.By} {
		*f = d.String(2 * wire.MaxName)
	}
	a.Opened, a.Time = d.U64(), d.U64()
	for range d.Count(wire.MaxKeysPerBatch, 4) {
		a.Keys = append(a.Keys, d.Bytes(64))
	}
	return a, d.Finish()
}

// Ceremony returns a ceremony's board and circumstances, nil when there is none.
func (s *State) Ceremony(id [32]byte) (*dkg.Board, About) {
	board := s.board(id)
	if board == nil {
		return nil, About{}
	}
	return board, mustParse(parseAbout(s.Get(s.aboutPath(id))))
}

// Ceremonies visits all ceremonies in order of their ids.
func (s *State) Ceremonies(visit func(*dkg.Board, About) bool) {
	s.iterate(s.ns.Prefix("ceremony"), func(_, v []byte) bool {
		b := mustParse(dkg.ParseBoard(v))
		return visit(b, mustParse(parseAbout(s.Get(s.aboutPath(b.ID())))))
	})
}

// OpenCeremonies returns the ids of those that wait for somebody or for time.
func (s *State) OpenCeremonies() (ids [][32]byte) {
	s.iterate(s.ns.Prefix("open"), func(_, v []byte) bool {
		ids = append(ids, [32]byte(v))
		return true
	})
	return ids
}

func (s *State) board(id [32]byte) *dkg.Board {
	raw := s.Get(s.ns.Ceremony(id[:]))
	if raw == nil {
		return nil
	}
	return mustParse(dkg.ParseBoard(raw))
}

// Roster seats the nodes' custody processes of a domain.
func (s *State) Roster(domain action.Domain) action.Roster {
	var nodes []action.NodeRecord
	for _, n := range s.Nodes() {
		nodes = append(nodes, *n)
	}
	return action.NewRoster(nodes, domain)
}

// seat returns who holds a seat of a ceremony.
func (s *State) seat(board *dkg.Board, index uint16) (action.Seat, error) {
	roster := s.Roster(action.DomainValidator)
	if roster.Hash(s.cluster) != board.Params().Roster || int(index) < 1 || int(index) > len(roster) {
		return action.Seat{}, refuse(CodeConflict, "ceremony %x has no seat %d", board.ID(), index)
	}
	return roster[index-1], nil
}

// CeremonyOpen is an [Ask] for a ceremony. One on keys that exist names them.
type CeremonyOpen struct {
	Params  dkg.Params
	Purpose string
	Keys    [][]byte
}

// Ask returns what is asked for.
func (b CeremonyOpen) Ask() Ask {
	a := &action.Action{Rule: b.Params.Rule(), Ceremony: action.Ceremony{Params: b.Params.Encode(), Purpose: b.Purpose}}
	if a.Rule == action.RuleHandover {
		a.PublicKey = b.Keys[0]
		return Ask{Action: a, Purpose: b.Purpose}
	}
	return Ask{Action: a, Purpose: b.Purpose, Keys: b.Keys}
}

// Encode returns the body of the transaction.
func (b CeremonyOpen) Encode() []byte { return b.Ask().Encode() }

func (s *State) openCeremony(ctx txContext, a *action.Action, keys [][]byte, g *action.Grant) error {
	b := a.Ceremony
	p, err := dkg.ParseParams(b.Params)
	if err != nil {
		return refuse(CodeMalformed, "%w", err)
	}
	roster := s.Roster(action.DomainValidator)
	id, d, longest := p.ID(), p.Deadlines, uint32(maxPhase) // the longest dealing
	if p.FromAssembly() {
		longest = maxAssemblyPhase
	}
	switch {
	case p.Rule() != a.Rule:
		return refuse(CodeMalformed, "parameters of another kind of ceremony than %s", a.Rule)
	case p.Suite != dkg.SuiteG1:
		return refuse(CodeMalformed, "keys of the %s domain are of another curve", action.DomainValidator)
	case max(d.Join, d.Verify, d.Answer, d.Confirm, d.Publish) > maxPhase || d.Deal > longest:
		return refuse(CodeMalformed, "a phase is longer than a day, or one in which participants deal than a week")
	case len(keys) != 0 && a.Rule == action.RuleHandover:
		return refuse(CodeMalformed, "the action names its key, and none comes with it")
	case p.Cluster != s.cluster:
		return refuse(CodeCluster, "ceremony is for another cluster")
	case p.Roster != roster.Hash(s.cluster) || int(p.N) != len(roster):
		return refuse(CodeConflict, "ceremony seats others than the ledger: %d seats", len(roster))
	case !p.Mode.Renews() && p.Without != 0:
		return refuse(CodeMalformed, "keys come to be with all seats: a reshare takes shares away")
	case s.Get(s.ns.Ceremony(id[:])) != nil:
		return refuse(CodeConflict, "ceremony %x was opened before", id)
	}
	if a.Rule == action.RuleHandover {
		keys = [][]byte{a.PublicKey}
	}
	if err := s.roomFor(ctx.who); err != nil {
		return err
	}
	if err := s.claim(p, keys, id, ctx.who, roster); err != nil {
		return err
	}
	if err := s.checkResidency(p, b.Purpose, keys, roster); err != nil {
		return err
	}
	board, events, err := dkg.NewBoard(p, ctx.block.Time)
	if err != nil {
		return refuse(CodeMalformed, "%w", err)
	}
	about := About{Purpose: b.Purpose, Owner: ctx.who.operator, By: ctx.who.name, Opened: uint64(ctx.block.Height), Time: ctx.block.Time, Keys: keys}
	s.set(s.aboutPath(id), about.encode())
	s.set(s.openPath(id), id[:])
	s.set(s.ns.Grant(id[:]), g.Encode())
	s.record(ctx, Event{Kind: EventCeremonyOpened, Object: ceremonyName(id), Purpose: b.Purpose,
		Detail: fmt.Sprintf("%d keys%s, %d of %d", p.Keys, usedFor(p), p.T, p.N)})
	return s.advance(ctx, board, events, nil)
}

// roomFor limits how many ceremonies are open at once.
func (s *State) roomFor(who principal) error {
	open, own := s.OpenCeremonies(), 0
	for _, id := range open {
		if _, about := s.Ceremony(id); about.By == who.name {
			own++
		}
	}
	if len(open) >= maxOpenCeremonies || own >= maxOpenOf {
		return refuse(CodeBusy, "%d ceremonies are open, %d of them by %s", len(open), own, who.name)
	}
	return nil
}

// claim makes sure that one ceremony at a time is about an existing key.
func (s *State) claim(p dkg.Params, keys [][]byte, id [32]byte, who principal, roster action.Roster) error {
	switch {
	case p.Mode == dkg.ModeKeygen && len(keys) != 0:
		return refuse(CodeMalformed, "new keys have no names yet")
	case p.Mode == dkg.ModeImport:
		if err := s.checkImport(p, keys, who, roster); err != nil {
			return err
		}
	case p.FromAssembly():
		if err := s.checkHandover(p, keys); err != nil {
			return err
		}
	case p.Mode.Renews():
		if err := s.checkRenewal(p, keys); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if s.Get(s.claimPath(k)) != nil {
			return refuse(CodeConflict, "another ceremony is about key 0x%x", k)
		}
		s.set(s.claimPath(k), id[:])
	}
	return nil
}

// checkImport lets a node import keys of its own only, and of those that the
// ledger knows only what was archived: what is frozen comes back otherwise.
func (s *State) checkImport(p dkg.Params, keys [][]byte, who principal, roster action.Roster) error {
	if len(keys) != int(p.Keys) || dkg.ExpectedKeys(keys) != p.Expected {
		return refuse(CodeMalformed, "the keys are not those of the parameters")
	}
	if who.kind == kindNode && roster[p.Importer-1].Node != who.id() {
		return refuse(CodeDenied, "a node opens imports of its own only")
	}
	next := uint32(0)
	for _, k := range keys {
		if len(k) != action.CurveBLS12381G1.PublicKeySize() {
			return refuse(CodeMalformed, "public key of %d bytes", len(k))
		}
		if old, err := s.Key(action.DomainValidator, k); err == nil {
			if old.State != action.KeyArchived || old.Use != p.Use {
				return refuse(CodeConflict, "key 0x%x is here already: it is %s", k, old.State)
			}
			next = max(next, old.Epoch+1)
		}
	}
	if p.Epoch != next {
		return refuse(CodeConflict, "the shares of these keys go on with epoch %d", next)
	}
	return nil
}

func (s *State) ceremonyMessage(ctx txContext, tx VerifiedTx, b CeremonyMessage) error {
	if tx.env.Signer.Class != action.SignerNode {
		return refuse(CodeDenied, "only a node carries what custody says")
	}
	board := s.board(b.Ceremony)
	if board == nil {
		return refuse(CodeNotFound, "ceremony %x is not on the ledger", b.Ceremony)
	}
	msg, err := dkg.ParseMessage(b.Message)
	if err != nil {
		return refuse(CodeMalformed, "%w", err)
	}
	seat, err := s.seat(board, b.Seat)
	if err != nil {
		return err
	}
	next, events, err := board.Apply(ctx.block.Time, int(b.Seat), msg)
	if err != nil {
		return refuse(CodePhase, "%w", err)
	}
	// Who says it, not who carries it.
	ctx.who = principal{name: fmt.Sprintf("custody/%s/seat%d", action.DomainValidator, b.Seat), operator: seat.Operator, region: seat.Region}
	return s.advance(ctx, next, events, b.Message)
}

// tickCeremonies lets the deadlines of open ceremonies pass.
func (s *State) tickCeremonies(ctx txContext) {
	for _, id := range s.OpenCeremonies() {
		board := s.board(id)
		var random [32]byte
		if board.Phase() == dkg.PhaseFreeze {
			var ok bool
			if random, ok = s.randomness(ctx, be(s.Get(s.frozePath(id)))); !ok {
				continue
			}
			s.delete(s.frozePath(id))
		}
		next, events := board.Tick(ctx.block.Time, random)
		if next == board {
			continue
		}
		if err := s.advance(ctx, next, events, nil); err != nil {
			panic(fmt.Sprintf("ledger: time cannot fail ceremony %x: %v", id, err))
		}
	}
}

// advance stores a board's next state and does what its events say.
func (s *State) advance(ctx txContext, board *dkg.Board, events []dkg.Event, message []byte) error {
	id, p := board.ID(), board.Params()
	object := ceremonyName(id)
	s.set(s.ns.Ceremony(id[:]), board.Encode())
	for _, ev := range events {
		switch ev.Kind {
		case dkg.EventStore:
			s.setBody(BlobPath(ev.Name), message)
		case dkg.EventFault:
			s.record(ctx, Event{Kind: EventCeremonyFault, Object: object, Detail: fmt.Sprintf("%s: %s in round %d", p.Blames(ev.Fault), ev.Fault.Kind, ev.Fault.Round)})
		case dkg.EventPhase:
			switch ev.Phase {
			case dkg.PhaseDone:
				commit := s.createKeys
				if p.Mode.Renews() {
					commit = s.renewKeys
				}
				if err := commit(ctx, board); err != nil {
					return err
				}
				s.close(board)
				s.record(ctx, Event{Kind: EventCeremonyDone, Object: object, Detail: fmt.Sprintf("dealers %s, holders %s", board.Dealers(), board.Holders())})
				s.watchShares(ctx, id)
			case dkg.PhaseAborted:
				s.close(board)
				s.record(ctx, Event{Kind: EventCeremonyAborted, Object: object})
			default:
				if ev.Phase == dkg.PhaseFreeze {
					s.set(s.frozePath(id), eb(uint64(ctx.block.Height)))
				}
				s.record(ctx, Event{Kind: EventCeremonyStep, Object: object, Detail: ev.Phase.String()})
			}
		}
	}
	return nil
}

// close takes a ceremony off the list of those that wait.
func (s *State) close(board *dkg.Board) {
	id := board.ID()
	s.delete(s.openPath(id))
	_, about := s.Ceremony(id)
	for _, k := range about.Keys {
		s.delete(s.claimPath(k))
	}
}

// createKeys puts the keys of a finished ceremony into the inventory.
func (s *State) createKeys(ctx txContext, board *dkg.Board) error {
	p, id := board.Params(), board.ID()
	_, about := s.Ceremony(id)
	provenance := action.ProvenanceDealt
	if p.Mode == dkg.ModeImport {
		provenance = action.ProvenanceImportedWasWhole
	}
	result, err := dkg.ReadResult(board, s.Source)
	if err != nil {
		return refuse(CodeConflict, "%w", err)
	}
	for k := range result.Keys() {
		rec := &action.KeyRecord{
			Domain: action.DomainValidator, Curve: action.CurveBLS12381G1, PublicKey: result.PublicKey(k), State: action.KeyActive, Provenance: provenance,
			Owner: about.Owner, Purpose: about.Purpose, Ceremony: id, T: uint16(p.T), N: uint16(p.N), Commitment: result.Commitment(k),
			Use: p.Use, Epoch: p.Epoch, Created: uint64(ctx.block.Height),
		}
		if old, err := s.Key(rec.Domain, rec.PublicKey); err == nil {
			rec.Settings = old.Settings
		}
		s.putKey(rec)
		if rec.Use == action.UseBeacon {
			s.set(s.ns.Beacon(), rec.PublicKey)
		}
	}
	s.record(ctx, Event{Kind: EventKeyCreated, Object: ceremonyName(id), Detail: fmt.Sprintf("%d keys%s, %s", p.Keys, usedFor(p), provenance)})
	return nil
}

// usedFor says what keys are for, where that is not a validator's duties.
func usedFor(p dkg.Params) string {
	if p.Use == action.UseDuties {
		return ""
	}
	return " for a " + p.Use.String()
}

func ceremonyName(id [32]byte) string { return fmt.Sprintf("ceremony/%x", id) }

// Origin names what made a key, as events do.
func Origin(k *action.KeyRecord) string {
	if k.Held() {
		return assemblyName(k.Ceremony)
	}
	return ceremonyName(k.Ceremony)
}
