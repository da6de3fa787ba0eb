package custody

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/keystore"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/seal"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// maxAnswer bounds the messages of one answer, so that it fits into a frame.
const maxAnswer = wire.MaxFrame / 2

// seeds are the ceremonies that this process takes part in. They have a lock
// of their own: a seat may compute for seconds, and who asks for the status
// does not wait for it.
type seeds struct {
	older map[[32]byte]bool // drawn before this process started; does not change

	mu   sync.Mutex
	byID map[[32]byte]secret.Bytes
	over map[[32]byte]bool // ceremonies that were left since the start
}

func (s *seeds) get(id [32]byte) (seed secret.Bytes, ok, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seed, ok = s.byID[id]
	return seed, ok, s.over[id]
}

func (s *seeds) put(id [32]byte, seed secret.Bytes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[id] = seed
}

func (s *seeds) leave(id [32]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[id].Destroy()
	delete(s.byID, id)
	s.over[id] = true
}

// pending lists the ceremonies that are not over, as many as an answer holds.
func (s *seeds) pending() (ids [][32]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.byID {
		if len(ids) < maxPending {
			ids = append(ids, id)
		}
	}
	return ids
}

// some reports whether there are ceremonies that are not over.
func (s *seeds) some() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID) > 0
}

// seat is this process's place in one ceremony. All that has to survive a
// restart is the seed in the safe; the rest is made again.
type seat struct {
	me     uint16
	player *dkg.Participant // nil: this process only looks on
	bodies map[[32]byte][]byte
	wanted map[[32]byte]bool
	kept   bool // the new shares are sealed beside the old ones
}

func newSeat(me uint16) *seat {
	return &seat{me: me, bodies: map[[32]byte][]byte{}, wanted: map[[32]byte]bool{}}
}

// ceremony takes a proven state of a ceremony and answers with what this seat
// has to say to it. The same state gets the same answer.
func (p *Process) ceremony(body []byte) ([]byte, error) {
	d := wire.NewDecoder(body)
	var id [32]byte
	d.Fixed(id[:])
	evidence := decodeEvidence(d)
	var imports [][]byte
	for range d.Count(wire.MaxKeysPerBatch, 4) {
		imports = append(imports, d.Bytes(bls.PublicKeySize))
	}
	if err := d.Finish(); err != nil {
		return nil, malformed(err)
	}
	board, around, err := p.provenBoard(id, evidence)
	if err != nil {
		return nil, err
	}
	p.ceremonies.Lock()
	defer p.ceremonies.Unlock()
	result, err := p.step(board, around, imports)
	if err != nil {
		return nil, err
	}
	return result.encode(), nil
}

// provenBoard returns what the ledger holds of a ceremony that is this
// cluster's and seats whom the genesis seats, and what is to know beside it.
func (p *Process) provenBoard(id [32]byte, ev Evidence) (*dkg.Board, circumstances, error) {
	var none circumstances
	v, err := p.chain.verify(ev.Certificate)
	if err != nil {
		return nil, none, err
	}
	raw, ok := v.Get(p.chain.ns.Ceremony(id[:]))
	if !ok {
		return nil, none, rpc.Errorf(rpc.CodeNotGranted, "the certificate does not prove ceremony %x", id[:8])
	}
	board, err := dkg.ParseBoard(raw)
	if err != nil {
		return nil, none, malformed(err)
	}
	params := board.Params()
	if board.ID() != id || params.Cluster != p.cluster || params.Roster != p.roster.Hash(p.cluster) || int(params.N) != len(p.roster) {
		return nil, none, rpc.Errorf(rpc.CodeNotGranted, "ceremony %x is not of this cluster and its seats", id[:8])
	}
	if params.Suite != dkg.SuiteG1 {
		return nil, none, rpc.Errorf(rpc.CodeNotGranted, "ceremony %x makes keys of another curve than the %s domain's", id[:8], p.domain)
	}
	c := circumstances{stops: map[int]action.Stop{}, granted: func() error { return p.ceremonyGranted(v, id, ev.Approvals) }}
	if params.Mode != dkg.ModeReshare || board.Phase() != dkg.PhaseDone {
		return board, c, nil
	}
	if raw, ok = v.Get(p.chain.ns.Handover(id[:])); !ok {
		return nil, none, rpc.Errorf(rpc.CodeNotGranted, "the certificate does not prove the hand-over of ceremony %x", id[:8])
	}
	if c.handover, err = action.ParseHandover(raw); err != nil {
		return nil, none, malformed(err)
	}
	for i := range dkg.Seats(c.handover.Held).All() {
		if raw, ok = v.Get(p.chain.ns.Stop(id[:], i)); ok {
			if c.stops[i], err = action.ParseStop(raw); err != nil {
				return nil, none, malformed(err)
			}
		}
	}
	return board, c, nil
}

// ceremonyGranted checks that this ceremony was agreed on by those who have to.
func (p *Process) ceremonyGranted(v proof.Verified, id [32]byte, approvals [][]byte) error {
	_, a, err := p.grant(v, p.chain.ns.Grant(id[:]), approvals)
	if err != nil {
		return err
	}
	params, err := dkg.ParseParams(a.Ceremony.Params)
	if err != nil || a.Rule != params.Rule() || params.ID() != id {
		return rpc.Errorf(rpc.CodeNotGranted, "the ledger has granted something else than ceremony %x", id[:8])
	}
	return nil
}

// circumstances are what a certificate proves beside a board.
type circumstances struct {
	// granted says why the ceremony was not agreed on: that is looked at when
	// a seat is taken, not with every step.
	granted  func() error
	handover action.Handover     // of a reshare that is committed
	stops    map[int]action.Stop // who has said where it stopped, by seat
}

func (p *Process) step(board *dkg.Board, c circumstances, imports [][]byte) (StepResult, error) {
	if board.Phase() != dkg.PhaseDone || !board.Params().Mode.Renews() {
		return p.takePart(board, c, imports)
	}
	settled, done, err := p.settle(board, c)
	if done || err != nil {
		return settled, err
	}
	result, err := p.takePart(board, c, imports)
	result.Stop = settled.Stop
	return result, err
}

// takePart does what a seat has to do in a ceremony.
func (p *Process) takePart(board *dkg.Board, c circumstances, imports [][]byte) (StepResult, error) {
	id, phase, params := board.ID(), board.Phase(), board.Params()
	me := int(p.seat.Index)
	_, _, over := p.seeds.get(id)
	switch gone := phase == dkg.PhaseDone && !(board.Joined() & params.Members()).Has(me); {
	case over:
		// An older state, which may still count as fresh, says nothing any
		// more: with another seed this seat would say two different things.
		// After a restart no state from before the end is fresh.
		return StepResult{}, nil
	case phase == dkg.PhaseAborted, gone:
		return StepResult{}, p.leave(board, imports)
	}
	s, err := p.takeSeat(board, c.granted, imports)
	if err != nil || s == nil {
		return StepResult{}, err
	}
	if need := s.missing(board); len(need) > 0 {
		return StepResult{Need: need}, nil
	}
	err = p.keep(board, s)
	var msgs []dkg.Message
	if err == nil {
		msgs, err = s.player.Next(board, s.source)
	}
	if errors.Is(err, dkg.ErrNoShares) {
		p.log.Warn("this holder has no valid share of the ceremony's keys; the others can repair it", "ceremony", fmt.Sprintf("%x", id[:8]))
		return StepResult{}, p.leave(board, imports)
	}
	if err != nil {
		delete(p.seats, id) // a body that is not what the board names must not stay
		return StepResult{}, fmt.Errorf("ceremony %x in phase %s: %w", id[:8], phase, err)
	}
	var result StepResult
	size := 0
	for _, m := range msgs {
		raw := m.Encode()
		if size += len(raw); size > maxAnswer {
			break // the rest follows when these stand on the board
		}
		result.Posts = append(result.Posts, Post{Seat: s.me, Message: raw,
			Signature: p.identity.Sign(wire.TagCeremonyMessage, action.CeremonyParts(id, s.me, raw)...)})
	}
	if phase == dkg.PhaseDone && board.Holders().Has(int(s.me)) {
		defer debug.FreeOSMemory() // a large ceremony leaves much behind
		if result.Active, err = p.finish(board, s); err != nil {
			return StepResult{}, err
		}
		return result, p.leave(board, result.Active)
	}
	return result, nil
}

// takeSeat returns this process's seat, nil where it has none. It draws and
// seals the seed before the first word, and only while seats are being
// taken: a seed that is gone later is not replaced, or the seat would say two
// different things.
func (p *Process) takeSeat(board *dkg.Board, granted func() error, imports [][]byte) (*seat, error) {
	id, params := board.ID(), board.Params()
	if s := p.seats[id]; s != nil && s.player != nil {
		return s, nil
	}
	seed, ok, _ := p.seeds.get(id)
	if !ok {
		if board.Phase() != dkg.PhaseJoin || board.Joined().Has(int(p.seat.Index)) || !params.Parties().Has(int(p.seat.Index)) {
			return nil, nil
		}
		if err := granted(); err != nil {
			return nil, err
		}
		var err error
		if seed, err = secret.Random(rand.Reader, dkg.SeedSize); err != nil {
			return nil, err
		}
		if err := p.safe.Put(seal.Entry{Header: p.header(seal.KindSeed, id[:]), Secret: seed}); err != nil {
			return nil, fmt.Errorf("seal the seed of ceremony %x: %w", id[:8], err)
		}
		p.seeds.put(id, seed)
	}
	s := p.seats[id] // that of an onlooker has bodies already
	if s == nil {
		s = newSeat(p.seat.Index)
	}
	var err error
	switch {
	case params.Mode == dkg.ModeImport && int(params.Importer) == int(s.me):
		s.player, err = p.importer(params, seed, imports)
	case params.Mode.Renews():
		s.player, err = dkg.NewHolder(params, int(s.me), seed, func(pk []byte) secret.Bytes {
			share, ok := p.shares.at([bls.PublicKeySize]byte(pk), params.Old.Epoch, params.Use)
			if !ok {
				return secret.Bytes{}
			}
			return share
		})
	default:
		s.player, err = dkg.NewParticipant(params, int(s.me), seed)
	}
	if err != nil {
		return nil, fmt.Errorf("take seat in ceremony %x: %w", id[:8], err)
	}
	p.seats[id] = s
	return s, nil
}

// importer takes the seat that deals the whole keys which keystores left here.
func (p *Process) importer(params dkg.Params, seed secret.Bytes, imports [][]byte) (*dkg.Participant, error) {
	var keys []secret.Bytes
	for _, pk := range imports {
		key, ok := p.imports[string(pk)]
		if !ok {
			return nil, rpc.Errorf(rpc.CodeUnknownKey, "no keystore of key 0x%x was left here", pk)
		}
		keys = append(keys, key)
	}
	return dkg.NewImporter(params, seed, keys)
}

// missing lists the bodies that the seat has to see before it can go on.
func (s *seat) missing(board *dkg.Board) [][32]byte { return s.lacks(board.Bodies()) }

func (s *seat) lacks(names [][32]byte) (need [][32]byte) {
	clear(s.wanted)
	for _, name := range names {
		if s.bodies[name] == nil {
			s.wanted[name] = true
			need = append(need, name)
		}
	}
	return need
}

func (s *seat) source(name [32]byte) ([]byte, error) {
	if b := s.bodies[name]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("body %x was not handed over", name[:8])
}

// blob takes a body that a seat asked for. That it is the one that the ledger
// names, the seat checks when it reads it.
func (p *Process) blob(body []byte) error {
	d := wire.NewDecoder(body)
	var id, name [32]byte
	d.Fixed(id[:])
	d.Fixed(name[:])
	raw := d.Bytes(wire.MaxTx)
	if err := d.Finish(); err != nil {
		return malformed(err)
	}
	p.ceremonies.Lock()
	defer p.ceremonies.Unlock()
	s := p.seats[id]
	if s == nil || !s.wanted[name] {
		return rpc.Errorf(rpc.CodeMalformed, "body %x was not asked for", name[:8])
	}
	s.bodies[name] = raw
	delete(s.wanted, name)
	return nil
}

// finish seals this seat's shares of a ceremony that the ledger has closed,
// and lets them sign: first registered in the slashing record, then sealed,
// then used. So a share that is sealed was registered, and is not registered
// again when this is done again after a crash: its key may have been stopped
// in between.
func (p *Process) finish(board *dkg.Board, s *seat) ([][]byte, error) {
	params := board.Params()
	result, err := dkg.ReadResult(board, s.source)
	if err != nil {
		return nil, fmt.Errorf("finish ceremony: %w", err)
	}
	shares, err := s.player.ExposeSecretShares(board, s.source)
	if err != nil {
		return nil, fmt.Errorf("finish ceremony: %w", err)
	}
	var entries []seal.Entry
	var keys, fresh [][]byte
	for _, out := range shares {
		pk := result.PublicKey(out.Key)
		keys = append(keys, pk)
		if p.shares.holds([bls.PublicKeySize]byte(pk), out.Secret) {
			out.Secret.Destroy()
			continue
		}
		h := p.header(sealedAs(params.Use), pk)
		h.Curve, h.N, h.T, h.X = action.CurveBLS12381G1, uint16(params.N), uint16(params.T), s.me
		h.Epoch = params.Epoch
		entries, fresh = append(entries, seal.Entry{Header: h, Secret: out.Secret}), append(fresh, pk)
	}
	if p.seeds.older[board.ID()] {
		p.life.inherit(keys)
	}
	if recorded(params) {
		if err := p.register(fresh, params.Mode); err != nil {
			return nil, fmt.Errorf("register %d keys for signing: %w", len(fresh), err)
		}
	}
	return keys, p.activate(keys, entries)
}

// activate seals shares of keys that are registered, and lets them sign.
func (p *Process) activate(keys [][]byte, entries []seal.Entry) error {
	if err := p.safe.Put(entries...); err != nil {
		return fmt.Errorf("seal %d shares: %w", len(entries), err)
	}
	p.life.born(keys)
	for _, e := range entries {
		if err := p.shares.load(e); err != nil {
			return err
		}
	}
	if len(entries) > 0 {
		p.log.Info("shares sealed and active", "keys", len(entries), "epoch", entries[0].Epoch)
	}
	return nil
}

// leave ends this process's part in a ceremony: the seed and, of an import,
// the whole keys are destroyed. It is the last thing done, so that a crash
// before it only repeats what is the same again.
func (p *Process) leave(board *dkg.Board, keys [][]byte) error {
	id, params := board.ID(), board.Params()
	var slots []seal.Slot
	if _, ok, _ := p.seeds.get(id); ok {
		slots = append(slots, p.header(seal.KindSeed, id[:]).Slot())
	}
	if params.Mode == dkg.ModeImport && dkg.ExpectedKeys(keys) == params.Expected {
		for _, pk := range keys {
			if key, ok := p.imports[string(pk)]; ok {
				slots = append(slots, p.header(seal.KindImport, pk).Slot())
				delete(p.imports, string(pk))
				defer key.Destroy()
			}
		}
	}
	next := p.nextOf(id)
	for _, e := range next {
		slots = append(slots, e.Slot())
	}
	if err := p.safe.Destroy(slots...); err != nil {
		return fmt.Errorf("leave ceremony %x: %w", id[:8], err)
	}
	for _, e := range next {
		delete(p.next, e.Slot())
		p.shares.keep(e.Key, false)
		e.Secret.Destroy()
	}
	p.seeds.leave(id)
	if s := p.seats[id]; s != nil {
		if s.player != nil {
			s.player.Destroy()
		}
		delete(p.seats, id)
	}
	return nil
}

// keystore decrypts a keystore and keeps the key, sealed, until a ceremony
// that the ledger opens for it deals it. It is the one moment at which a
// whole key is in the cluster's hands.
func (p *Process) keystore(ctx context.Context, body []byte) ([]byte, error) {
	d := wire.NewDecoder(body)
	raw := d.Bytes(wire.MaxKeystore)
	password := d.Bytes(wire.MaxPassword)
	secret.Wipe(body)
	held := secret.New(password)
	defer held.Destroy()
	if err := d.Finish(); err != nil {
		return nil, malformed(err)
	}
	parsed, err := keystore.Parse(raw)
	if err != nil {
		return nil, malformed(err)
	}
	key, err := p.decrypter.Decrypt(ctx, parsed, held)
	if err != nil {
		return nil, malformed(err)
	}
	defer key.Destroy()
	pk := key.PublicKey().Bytes()
	var scalar secret.Bytes
	key.Expose(func(b *[bls.ScalarSize]byte) { scalar = secret.New(bytes.Clone(b[:])) })

	p.ceremonies.Lock()
	defer p.ceremonies.Unlock()
	if _, ok := p.imports[string(pk[:])]; ok {
		scalar.Destroy()
		return pk[:], nil
	}
	if len(p.imports) >= wire.MaxKeysPerBatch {
		scalar.Destroy()
		return nil, rpc.Errorf(rpc.CodeUnavailable, "%d keys wait to be dealt already", len(p.imports))
	}
	if err := p.safe.Put(seal.Entry{Header: p.header(seal.KindImport, pk[:]), Secret: scalar}); err != nil {
		scalar.Destroy()
		return nil, fmt.Errorf("seal key 0x%x: %w", pk[:8], err)
	}
	p.imports[string(pk[:])] = scalar
	return pk[:], nil
}

// forget destroys whole keys that wait to be dealt. A ceremony that still
// needs one of them fails, which is what whoever asks wants.
func (p *Process) forget(body []byte) error {
	keys, err := DecodeKeys(body, wire.MaxKeysPerBatch)
	if err != nil {
		return malformed(err)
	}
	p.ceremonies.Lock()
	defer p.ceremonies.Unlock()
	for _, pk := range keys {
		key, ok := p.imports[string(pk[:])]
		if !ok {
			continue
		}
		if err := p.safe.Destroy(p.header(seal.KindImport, pk[:]).Slot()); err != nil {
			return fmt.Errorf("forget key 0x%x: %w", pk[:8], err)
		}
		delete(p.imports, string(pk[:]))
		key.Destroy()
		clear(p.seats) // they are taken again, with the keys that are left
	}
	return nil
}

// header begins the header of a record of this process.
func (p *Process) header(kind seal.Kind, key []byte) seal.Header {
	return seal.Header{Kind: kind, Cluster: p.cluster, Domain: p.domain, Namespace: string(p.chain.ns), Key: bytes.Clone(key)}
}
