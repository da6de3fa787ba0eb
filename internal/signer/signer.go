package signer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/quorum"
	"github.com/quorate/quorate/internal/rpc"
)

// Key is the name of a validator: its compressed public key.
type Key = [bls.PublicKeySize]byte

// Ledger is what the signer needs of the ledger that its node follows.
type Ledger interface {
	// ProveKey returns a certificate of the key's record, by the header of a
	// height or a later one, that the node's own custody accepts. 0 is the next.
	ProveKey(ctx context.Context, key Key, header uint64) ([]byte, error)
	// ProveGrant does so for a grant, and waits for one that is on its way.
	ProveGrant(ctx context.Context, a *action.Action) (custody.Evidence, error)
	// Incarnation returns the newest life of a node's custody that the ledger
	// knows; the zero id where it knows none.
	Incarnation(node string) [32]byte
	// ExtendLease raises the ceiling of the node's own custody.
	ExtendLease(ctx context.Context) error
	// Grant asks the ledger to grant an action and waits for its decision.
	Grant(ctx context.Context, a *action.Action) error
}

// Relay hands an encoded request to somebody's custody process.
type Relay interface {
	Relay(ctx context.Context, method uint16, body []byte) ([]byte, error)
}

// Peers reaches the other nodes.
type Peers interface {
	Call(ctx context.Context, name string, method uint16, body []byte) ([]byte, error)
}

// MethodPartial is the call by which a node asks another for a partial
// signature. Its body and answer are custody's.
const MethodPartial uint16 = 2

// Config is what a Signer stands on.
type Config struct {
	Cluster action.ClusterID
	Self    string // this node's name
	Roster  action.Roster
	Network *eth.Network
	Custody Relay // this node's own
	Peers   Peers
	Ledger  Ledger
	Log     *slog.Logger
	Observe Observer // may be nil
}

// Observer is told how signing goes, for metrics.
type Observer interface {
	// QuorumDone ends one round: how long it took, how many holders were
	// asked, and whether it ended in a signature.
	QuorumDone(took time.Duration, asked int, reached bool)
	// Hedged is told of a round in which more holders were asked because
	// some were late.
	Hedged()
	// Blamed is told of a holder whose partial was proved false.
	Blamed(holder string)
	// Recorded is told how long the node's own custody took over a "block"
	// or an "attestation".
	Recorded(operation string, took time.Duration)
}

type noObserver struct{}

func (noObserver) QuorumDone(time.Duration, int, bool) {}
func (noObserver) Hedged()                             {}
func (noObserver) Blamed(string)                       {}
func (noObserver) Recorded(string, time.Duration)      {}

// Signer signs duties with whatever t holders answer.
type Signer struct {
	cfg    Config
	quorum *quorum.Signer // of duties
	rounds *quorum.Signer // of a beacon

	mu      sync.RWMutex
	keys    map[Key]*entry
	list    []Key          // keys that sign, sorted; nil until it is asked for, and made anew rather than changed
	indices map[Key]uint64 // validator indices, as duties named them
	genesis *eth.Root      // of the first duty that was signed, where the network has none
}

// entry is a key of the inventory. Its points are parsed when they are first
// needed: to check 50,000 of them takes seconds that a start does not have.
type entry struct {
	record *action.KeyRecord
	once   sync.Once
	key    quorum.Key
	err    error
	former *entry // of the epoch before, since this node started
}

// signs reports whether a validator may sign with it.
func (e *entry) signs() bool {
	return e != nil && e.record.State == action.KeyActive && e.record.Use == action.UseDuties
}

func (e *entry) parsed() (quorum.Key, error) {
	e.once.Do(func() { e.key, e.err = parseKey(e.record) })
	return e.key, e.err
}

// New connects the parts. Nothing is asked before Sign.
func New(cfg Config) (*Signer, error) {
	if cfg.Observe == nil {
		cfg.Observe = noObserver{}
	}
	s := &Signer{cfg: cfg, keys: map[Key]*entry{}, indices: map[Key]uint64{}, genesis: cfg.Network.GenesisValidatorsRoot}
	var err error
	if s.quorum, err = s.connect(MethodPartial, s.Partial, func(seat action.Seat, ask asking) quorum.Holder { return holder{seat, ask, cfg.Ledger} }); err != nil {
		return nil, err
	}
	s.rounds, err = s.connect(MethodRound, s.PartialRound, func(seat action.Seat, ask asking) quorum.Holder { return roundHolder{seat, ask} })
	return s, err
}

// asking hands an encoded request to one holder.
type asking func(ctx context.Context, body []byte) ([]byte, error)

// connect makes the holders that answer to a method.
func (s *Signer) connect(method uint16, own asking, as func(action.Seat, asking) quorum.Holder) (*quorum.Signer, error) {
	q := quorum.Config{Timeout: Timeout, Blame: func(f quorum.Fault) {
		s.cfg.Log.Error("a holder gave a false partial signature", "holder", f.Holder, "key", f.Key.String())
		s.cfg.Observe.Blamed(f.Holder)
	}}
	for _, seat := range s.cfg.Roster {
		if seat.Node == s.cfg.Self {
			q.Local = as(seat, own)
			continue
		}
		q.Peers = append(q.Peers, as(seat, func(ctx context.Context, body []byte) ([]byte, error) {
			return s.cfg.Peers.Call(ctx, seat.Node, method, body)
		}))
	}
	return quorum.New(q)
}

// Timeout bounds a signature: a duty that took longer is late anyway.
const Timeout = 4 * time.Second

// holder is a seat of the roster as package quorum asks it.
type holder struct {
	seat   action.Seat
	ask    asking
	ledger Ledger
}

func (h holder) Name() string  { return h.seat.Node }
func (h holder) Index() uint16 { return h.seat.Index }

func (h holder) SignPartial(ctx context.Context, req quorum.Request) (bls.Partial, error) {
	raw, err := h.ask(ctx, custody.SignRequest{Key: req.Key.Bytes(), Epoch: req.Epoch, Duty: req.Duty}.Encode())
	if err != nil {
		return bls.Partial{}, err
	}
	answer, err := custody.ParseSignResponse(raw)
	if err != nil {
		return bls.Partial{}, err
	}
	// A clone, or a standby that was not told, answers under an older life.
	if slashable(req.Duty) && answer.Incarnation != h.ledger.Incarnation(h.seat.Node) {
		return bls.Partial{}, rpc.Errorf(rpc.CodeFenced, "%s answers under an incarnation that is not its present one on the ledger", h.seat.Node)
	}
	return partialOf(h.seat, answer, req.Epoch)
}

// partialOf reads the partial of an answer, if it was made in that epoch.
func partialOf(seat action.Seat, answer custody.SignResponse, epoch uint32) (bls.Partial, error) {
	if answer.Epoch != epoch {
		return bls.Partial{}, rpc.Errorf(rpc.CodeEpoch, "%s signed in epoch %d, not %d", seat.Node, answer.Epoch, epoch)
	}
	return bls.ParsePartial(answer.Partial[:])
}

// slashable reports whether an encoded duty is of a kind that can be slashed.
func slashable(duty []byte) bool {
	return len(duty) > 0 && (eth.Kind(duty[0]) == eth.KindBlock || eth.Kind(duty[0]) == eth.KindAttestation)
}

// Sign returns the verified signature of a duty. Client names who asked, as
// far as that was proven. Its errors carry an rpc.Code: what a quorum of
// holders refused, or that there is none.
func (s *Signer) Sign(ctx context.Context, client string, key Key, duty eth.Duty) ([bls.SignatureSize]byte, error) {
	none := [bls.SignatureSize]byte{}
	if _, err := s.key(key, action.UseDuties); err != nil {
		return none, err
	}
	root, err := duty.SigningRoot(s.cfg.Network)
	if err != nil {
		return none, rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	encoded := eth.EncodeDuty(duty)
	if !duty.IsDuty() {
		// The ledger decides first; then every holder sees for itself that
		// it did.
		if err := s.cfg.Ledger.Grant(ctx, grantAction(key, duty.Kind(), encoded)); err != nil {
			return none, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	began := time.Now()
	sig, report, err := s.combine(ctx, s.quorum, action.UseDuties, key, encoded, root, s.leaders(key, duty)...)
	s.cfg.Observe.QuorumDone(time.Since(began), report.Asked, err == nil)
	if report.Hedged {
		s.cfg.Observe.Hedged()
	}
	if err != nil {
		return none, err
	}
	if len(report.Failures) > 0 {
		s.cfg.Log.Debug("signed without some holders", "client", client, "failures", report.Failures)
	}
	s.learn(key, duty)
	return sig.Bytes(), nil
}

// combine asks in the epoch of the key's record. While holders and this node
// follow the ledger from one epoch to the next they may differ for a moment,
// in either direction: it goes on with the record, and with the one before,
// until as many as needed agree. Whoever is asked twice signs the same once.
func (s *Signer) combine(ctx context.Context, q *quorum.Signer, use action.Use, key Key, what []byte, message bls.Message, leaders ...uint16) (sig bls.Signature, report quorum.Report, err error) {
	pause := time.NewTicker(epochPoll)
	defer pause.Stop()
	for {
		keys, err := s.epochs(key, use)
		if err != nil {
			return sig, report, err
		}
		var failed error
		for _, k := range keys {
			if sig, report, err = q.Sign(ctx, k, what, message, leaders...); err == nil || !errors.Is(err, quorum.ErrEpoch) {
				return sig, report, err
			}
			failed = err
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return sig, report, failed
		}
	}
}

// epochPoll is how soon holders are asked again who were of another epoch.
const epochPoll = 50 * time.Millisecond

// epochs returns what a key signs with, and before it was renewed.
func (s *Signer) epochs(key Key, use action.Use) ([]quorum.Key, error) {
	k, err := s.key(key, use)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	former := s.keys[key].former
	s.mu.RUnlock()
	if former == nil {
		return []quorum.Key{k}, nil
	}
	before, err := former.parsed()
	if err != nil {
		return nil, err
	}
	return []quorum.Key{k, before}, nil
}

// leaders ranks the holders for a duty that can be signed once: the same on
// every node, another for each key and slot, so that validator clients that
// ask different nodes for different votes are decided between by one holder.
func (s *Signer) leaders(key Key, duty eth.Duty) []uint16 {
	var at uint64
	switch f := duty.Slashable().(type) {
	case eth.BlockFacts:
		at = f.Slot
	case eth.AttestationFacts:
		at = f.TargetEpoch
	default:
		return nil
	}
	n := uint64(len(s.cfg.Roster))
	first := binary.BigEndian.Uint64(key[len(key)-8:]) + at
	ranks := make([]uint16, n)
	for i := range ranks {
		ranks[i] = s.cfg.Roster[(first+uint64(i))%n].Index
	}
	return ranks
}

// learn keeps what signed duties say of a validator and of the chain, and
// which an exit needs.
func (s *Signer) learn(key Key, duty eth.Duty) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m := duty.Message.(type) {
	case *eth.BeaconBlockHeader:
		s.indices[key] = m.ProposerIndex
	case *eth.AggregateAndProof:
		s.indices[key] = m.AggregatorIndex
	case *eth.ContributionAndProof:
		s.indices[key] = m.AggregatorIndex
	}
	if s.genesis == nil && duty.Kind().UsesForkInfo() {
		s.genesis = new(duty.Fork.GenesisValidatorsRoot)
	}
}

// ValidatorIndex returns the index under which a key's duties went.
func (s *Signer) ValidatorIndex(key Key) (uint64, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.indices[key]
	return i, ok
}

// GenesisRoot returns the network's genesis_validators_root, as configured or
// as the first duty had it.
func (s *Signer) GenesisRoot() (eth.Root, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.genesis == nil {
		return eth.Root{}, false
	}
	return *s.genesis, true
}

// Knows says whether a key is in the inventory, whatever its state.
func (s *Signer) Knows(key Key) bool {
	_, ok := s.Record(key)
	return ok
}

// Holds says whether a key may be asked for: it signs duties, or is frozen and comes
// back, which Sign says.
func (s *Signer) Holds(key Key) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.keys[key]
	return e != nil && e.record.Use == action.UseDuties && (e.record.State == action.KeyActive || e.record.State == action.KeyFrozen)
}

// Partial answers for this node's custody: it adds the proof that custody
// wants, where it wants one, and relays. Custody checks everything again.
func (s *Signer) Partial(ctx context.Context, body []byte) ([]byte, error) {
	req, err := custody.ParseSignRequest(body)
	if err != nil {
		return nil, rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	if len(req.Duty) == 0 {
		return nil, rpc.Errorf(rpc.CodeMalformed, "no duty")
	}
	// Whoever asks, this node's share stays out of what the ledger stopped.
	switch r, ok := s.Record(req.Key); {
	case ok && r.State == action.KeyFrozen:
		return nil, frozen(req.Key)
	case ok && r.State.Stopped():
		return nil, notActive(req.Key)
	}
	switch kind := eth.Kind(req.Duty[0]); {
	case custody.BoundBySettings(kind):
		req.Certificate, err = s.cfg.Ledger.ProveKey(ctx, req.Key, 0)
	case custody.RuleOf(kind) != "":
		req.Evidence, err = s.cfg.Ledger.ProveGrant(ctx, grantAction(req.Key, kind, req.Duty))
	default: // as it came
		began := time.Now()
		raw, err := s.cfg.Custody.Relay(ctx, custody.MethodSign, body)
		switch kind {
		case eth.KindBlock:
			s.cfg.Observe.Recorded("block", time.Since(began))
		case eth.KindAttestation:
			s.cfg.Observe.Recorded("attestation", time.Since(began))
		}
		if rpc.CodeOf(err) != rpc.CodeFenced {
			return raw, err
		}
		switch why := s.cfg.Ledger.ExtendLease(ctx); {
		case rpc.CodeOf(why) == rpc.CodeFenced: // it is not the lease
			return raw, err
		case why != nil:
			text := err.Error()
			if refused := (*rpc.Error)(nil); errors.As(err, &refused) {
				text = refused.Text
			}
			return nil, rpc.Errorf(rpc.CodeFenced, "%s; %v", text, why)
		}
		return s.cfg.Custody.Relay(ctx, custody.MethodSign, body)
	}
	if err != nil {
		return nil, err
	}
	return s.cfg.Custody.Relay(ctx, custody.MethodSign, req.Encode())
}

func grantAction(key Key, kind eth.Kind, duty []byte) *action.Action {
	return &action.Action{Rule: custody.RuleOf(kind), Domain: action.DomainValidator, PublicKey: key[:], Duty: duty}
}

// SetKey takes a key's record from the ledger.
func (s *Signer) SetKey(record *action.KeyRecord) {
	if len(record.PublicKey) != bls.PublicKeySize {
		return
	}
	key := Key(record.PublicKey)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &entry{record: record}
	old := s.keys[key]
	if e.signs() != old.signs() {
		s.list = nil
	}
	if old != nil {
		if e.former = old.former; old.record.Epoch != record.Epoch && !old.record.Held() { // of what was held no node has shares
			e.former = &entry{record: old.record}
		}
	}
	s.keys[key] = e
}

func compareKeys(a, b Key) int { return slices.Compare(a[:], b[:]) }

// Keys returns the validators' keys that may sign, sorted. The caller must not change it.
func (s *Signer) Keys() []Key {
	s.mu.RLock()
	list := s.list
	s.mu.RUnlock()
	if list != nil {
		return list
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = []Key{}
	for key, e := range s.keys {
		if e.signs() {
			s.list = append(s.list, key)
		}
	}
	slices.SortFunc(s.list, compareKeys)
	return s.list
}

// Record returns what the ledger holds of a key.
func (s *Signer) Record(key Key) (*action.KeyRecord, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.keys[key]
	if e == nil {
		return nil, false
	}
	return e.record, true
}

func (s *Signer) key(key Key, use action.Use) (quorum.Key, error) {
	s.mu.RLock()
	e := s.keys[key]
	s.mu.RUnlock()
	switch {
	case e != nil && e.record.State == action.KeyFrozen:
		return quorum.Key{}, frozen(key)
	case e == nil || e.record.State != action.KeyActive:
		return quorum.Key{}, notActive(key)
	case e.record.Use != use:
		return quorum.Key{}, rpc.Errorf(rpc.CodeNotGranted, "key 0x%x is for %s and signs nothing else", key, e.record.Use)
	}
	return e.parsed()
}

func notActive(key Key) error { return rpc.Errorf(rpc.CodeUnknownKey, "no active key 0x%x", key) }

func frozen(key Key) error {
	return rpc.Errorf(rpc.CodeNotGranted, "key 0x%x is frozen: no node signs with it until the freeze ends or is lifted (hint: quorate key unfreeze 0x%x)", key, key)
}

func parseKey(r *action.KeyRecord) (quorum.Key, error) {
	if r.Curve != action.CurveBLS12381G1 {
		return quorum.Key{}, errors.New("not a BLS key")
	}
	shares, err := dkg.PublicShares(dkg.SuiteG1, r.Commitment, int(r.T), int(r.N))
	if err != nil {
		return quorum.Key{}, fmt.Errorf("read key 0x%x of the inventory: %w", r.PublicKey, err)
	}
	k := quorum.Key{T: int(r.T), Epoch: r.Epoch}
	if k.PublicKey, err = bls.ParsePublicKey(r.PublicKey); err != nil {
		return quorum.Key{}, fmt.Errorf("read key of the inventory: %w", err)
	}
	for i, y := range shares {
		if !r.Holds(i + 1) {
			k.Shares = append(k.Shares, bls.PublicKey{})
			continue
		}
		pk, err := bls.ParsePublicKey(y)
		if err != nil {
			return quorum.Key{}, fmt.Errorf("read shares of key 0x%x: %w", r.PublicKey, err)
		}
		k.Shares = append(k.Shares, pk)
	}
	return k, nil
}

// Close waits for the answers that are still under way.
func (s *Signer) Close() {
	s.quorum.Close()
	s.rounds.Close()
}
