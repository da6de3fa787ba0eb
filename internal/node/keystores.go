package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/keystore"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/signer"
	"github.com/quorate/quorate/internal/slashing"
	"github.com/quorate/quorate/internal/wire"
)

// What one node asks of another beside partial signatures.
const (
	methodStop     uint16 = 3 // keys that the ledger archived -> EIP-3076 interchange
	methodSlashing uint16 = 4 // EIP-3076 interchange that the ledger granted -> nothing
	methodWitness  uint16 = 5 // custody.Closing -> nothing
	methodTestify  uint16 = 6 // seat and new incarnation -> custody.Testimony
	methodHistory  uint16 = 7 // keys -> EIP-3076 interchange of those that are known

	methodCheckpoint uint16 = 8 // size and root of the audit log -> signature lines under its checkpoint
)

// answerPeer serves the other nodes.
func (n *Node) answerPeer(ctx context.Context, from string, method uint16, body []byte) ([]byte, error) {
	done, err := n.turns.begin(from, method)
	if err != nil {
		return nil, err
	}
	defer done()
	switch method {
	case signer.MethodPartial, methodWitness, methodTestify, methodHistory: // the others wait for the ledger first
		var cancel context.CancelFunc
		ctx, cancel = lasting(ctx)
		defer cancel()
	}
	switch method {
	case signer.MethodPartial:
		return n.signer.Partial(ctx, body)
	case signer.MethodRound:
		return n.signer.PartialRound(ctx, body)
	case methodStop:
		return n.stopArchived(ctx, body)
	case methodSlashing:
		return nil, n.takeHistory(ctx, body)
	case methodWitness:
		return n.custody.Relay(ctx, custody.MethodWitness, body)
	case methodTestify:
		return n.testify(ctx, from, body)
	case methodHistory:
		return n.answerHistory(ctx, body)
	case methodCheckpoint:
		return n.signCheckpoint(ctx, body)
	}
	return nil, rpc.Errorf(rpc.CodeMalformed, "no method %d between nodes", method)
}

// OpenCeremony asks the ledger for new keys and returns the ceremony's id.
// Phase is how long each of its phases may take at most; 0 leaves that to the
// number of keys.
func (n *Node) OpenCeremony(ctx context.Context, keys int, use action.Use, hybrid bool, purpose string, phase time.Duration) ([32]byte, error) {
	p, err := n.keygenParams(keys, use, hybrid, phase)
	if err != nil {
		return [32]byte{}, err
	}
	return n.open(ctx, ledger.CeremonyOpen{Params: p, Purpose: purpose})
}

// KeygenAction is what OpenCeremony asks for, to be asked for by somebody else.
func (n *Node) KeygenAction(keys int, use action.Use, hybrid bool, purpose string, phase time.Duration) (*action.Action, error) {
	p, err := n.keygenParams(keys, use, hybrid, phase)
	if err != nil {
		return nil, err
	}
	return ledger.CeremonyOpen{Params: p, Purpose: purpose}.Ask().Action, nil
}

func (n *Node) keygenParams(keys int, use action.Use, hybrid bool, phase time.Duration) (dkg.Params, error) {
	p, err := n.ceremonyParams(keys)
	p.Mode, p.Use, p.Hybrid = dkg.ModeKeygen, use, hybrid
	if phase != 0 {
		p.Deadlines = deadlines(phase)
	}
	return p, err
}

// Renew gives keys new shares and returns the ceremonies that do it: one for
// keys that are shared alike.
func (n *Node) Renew(ctx context.Context, r ledger.Renewal, hybrid bool, phase time.Duration) (ids [][32]byte, err error) {
	opens, err := n.PlanRenewal(r, hybrid, phase)
	if err != nil {
		return nil, err
	}
	for _, o := range opens {
		id, err := n.open(ctx, o)
		if err != nil {
			return ids, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// PlanRenewal is what Renew asks for, to be asked for by somebody else.
func (n *Node) PlanRenewal(r ledger.Renewal, hybrid bool, phase time.Duration) ([]ledger.CeremonyOpen, error) {
	view, err := n.View()
	if err != nil {
		return nil, err
	}
	base, err := n.ceremonyParams(1)
	if err != nil {
		return nil, err
	}
	opens, err := view.PlanRenewal(r, base)
	for i := range opens {
		p := &opens[i].Params
		p.Hybrid = hybrid
		rand.Read(p.Nonce[:])
		if p.Deadlines = deadlines(phaseTime(len(opens[i].Keys))); phase != 0 {
			p.Deadlines = deadlines(phase)
		}
		if r.Handover { // people are waited for
			p.Deadlines.Deal = cmp.Or(r.Deal, dealTime)
			p.Deadlines.Answer = ledger.AnswerTime(p.Deadlines.Deal)
		}
	}
	return opens, err
}

// dealTime is how long participants have to hand their key over, if nothing
// else is said, in milliseconds: a day.
const dealTime = 24 * 60 * 60 * 1000

func (n *Node) open(ctx context.Context, o ledger.CeremonyOpen) ([32]byte, error) {
	if err := n.Ask(ctx, o.Ask()); err != nil {
		return [32]byte{}, fmt.Errorf("open ceremony: %w", err)
	}
	return o.Params.ID(), nil
}

func (n *Node) ceremonyParams(keys int) (dkg.Params, error) {
	roster := action.NewRoster(n.genesis.Nodes, action.DomainValidator)
	th, err := action.DefaultThreshold(len(roster))
	if err != nil {
		return dkg.Params{}, err
	}
	p := dkg.Params{
		Suite: dkg.SuiteG1, N: uint8(th.N()), T: uint8(th.T()), Keys: uint32(keys),
		Cluster: n.cluster, Roster: roster.Hash(n.cluster), Deadlines: deadlines(phaseTime(keys)),
	}
	rand.Read(p.Nonce[:])
	return p, nil
}

// phaseTime allows a slow machine its time and a restart in between; a phase
// in which everybody delivers ends at once.
func phaseTime(keys int) time.Duration {
	return 30*time.Second + time.Duration(keys)*30*time.Millisecond
}

func deadlines(phase time.Duration) dkg.Deadlines {
	ms := uint32(phase.Milliseconds())
	return dkg.Deadlines{Join: ms, Deal: ms, Verify: ms, Answer: ms, Confirm: ms, Publish: ms}
}

// WaitCeremony waits until a ceremony is over and returns its board.
func (n *Node) WaitCeremony(ctx context.Context, id [32]byte) (*dkg.Board, error) {
	for {
		_, moved := n.app.wait()
		view, err := n.View()
		if err != nil {
			return nil, err
		}
		switch board, _ := view.Ceremony(id); {
		case board == nil:
		case board.Phase() == dkg.PhaseDone:
			return board, nil
		case board.Phase() == dkg.PhaseAborted:
			return board, fmt.Errorf("ceremony %x was aborted: %v", id[:8], board.Faults())
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for ceremony %x: %w", id[:8], ctx.Err())
		}
	}
}

// ImportKeystore decrypts an EIP-2335 keystore in the node's own custody and
// has it deal the key to all. It returns once the key can sign; created is
// false when it could before. Imports take turns: of two of one key, the one
// that fails would destroy what the other deals.
func (n *Node) ImportKeystore(ctx context.Context, raw, password []byte) (created bool, key signer.Key, err error) {
	parsed, err := keystore.Parse(raw)
	if err != nil {
		return false, key, rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	select {
	case n.importing <- struct{}{}:
		defer func() { <-n.importing }()
	case <-ctx.Done():
		return false, key, rpc.Errorf(rpc.CodeUnavailable, "another import is under way")
	}
	if n.active(parsed.PublicKey.Bytes()) {
		return false, parsed.PublicKey.Bytes(), nil
	}
	if key, err = n.custody.Keystore(ctx, raw, password); err != nil {
		return false, key, err
	}
	if n.active(key) {
		return false, key, n.custody.Forget(ctx, [][bls.PublicKeySize]byte{key})
	}
	if err := n.importKey(ctx, key); err != nil {
		return false, key, errors.Join(err, n.custody.Forget(ctx, [][bls.PublicKeySize]byte{key}))
	}
	return true, key, nil
}

func (n *Node) active(key signer.Key) bool {
	r, ok := n.signer.Record(key)
	return ok && r.State == action.KeyActive
}

func (n *Node) importKey(ctx context.Context, key signer.Key) error {
	p, err := n.ceremonyParams(1)
	if err != nil {
		return err
	}
	seat, _ := action.NewRoster(n.genesis.Nodes, action.DomainValidator).Of(n.cfg.Name)
	keys := [][]byte{key[:]}
	p.Mode, p.Importer, p.Expected, p.Hybrid = dkg.ModeImport, uint8(seat.Index), dkg.ExpectedKeys(keys), true
	if r, ok := n.signer.Record(key); ok {
		p.Epoch = r.Epoch + 1
	}
	id, err := n.open(ctx, ledger.CeremonyOpen{Params: p, Purpose: "import", Keys: keys})
	if err != nil {
		return unavailable(err)
	}
	if _, err := n.WaitCeremony(ctx, id); err != nil {
		return rpc.Errorf(rpc.CodeUnavailable, "%v", err)
	}
	return n.awaitActive(ctx, id)
}

// awaitActive waits until the node's own custody has taken the shares of a
// ceremony that is done, so that who imported a key can sign with it at once.
func (n *Node) awaitActive(ctx context.Context, id [32]byte) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		status, err := n.custody.Status(ctx)
		if err != nil {
			return err
		}
		pending := false
		for _, p := range status.Pending {
			pending = pending || p == id
		}
		if !pending {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for custody to take the shares: %w", ctx.Err())
		}
	}
}

// call asks a node, which may be this one.
func (n *Node) call(ctx context.Context, name string, method uint16, body []byte) ([]byte, error) {
	if name == n.cfg.Name {
		return n.answerPeer(ctx, name, method, body)
	}
	return n.peers.Call(ctx, name, method, body)
}

// holders returns the nodes that hold a share of a key.
func (n *Node) holders(record *action.KeyRecord) (nodes []string) {
	for _, seat := range action.NewRoster(n.genesis.Nodes, action.DomainValidator) {
		if record.Holds(int(seat.Index)) {
			nodes = append(nodes, seat.Node)
		}
	}
	return nodes
}

// names are those of all nodes.
func (n *Node) names() (all []string) {
	for _, r := range n.genesis.Nodes {
		all = append(all, r.Name)
	}
	return all
}

// askAll asks this node and every other.
func (n *Node) askAll(ctx context.Context, method uint16, body []byte) (answers map[string][]byte, err error) {
	return n.ask(ctx, n.names(), method, body)
}

// askTime is how long a node that is asked may take.
const askTime = 10 * time.Second

// ask asks some nodes and returns the answers of those that gave one, and why
// the others did not.
func (n *Node) ask(ctx context.Context, nodes []string, method uint16, body []byte) (answers map[string][]byte, err error) {
	answers = map[string][]byte{}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var mu sync.Mutex
	var g sync.WaitGroup
	for _, name := range nodes {
		g.Go(func() {
			answer, e := n.call(ctx, name, method, body)
			mu.Lock()
			defer mu.Unlock()
			if e != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", name, e))
				return
			}
			answers[name] = answer
		})
	}
	g.Wait()
	return answers, err
}

// DeleteKey stops a key for good: the ledger archives it, then so many
// holders stop durably that the rest are too few to sign, even if f of them
// lie. It returns their merged history. It knows no key that no node has a share
// of; stopped says that it was archived before.
func (n *Node) DeleteKey(ctx context.Context, key signer.Key) (history slashing.Interchange, stopped bool, err error) {
	record, ok := n.signer.Record(key)
	if !ok || record.Use != action.UseDuties || record.Held() {
		return history, false, rpc.Errorf(rpc.CodeUnknownKey, "key 0x%x is not in the inventory", key)
	}
	stopped = record.State.Stopped()
	if !stopped {
		a := &action.Action{Rule: action.RuleArchive, Domain: action.DomainValidator, PublicKey: key[:]}
		if err := (signerLedger{n}).Grant(ctx, a); err != nil {
			return history, false, err
		}
	}
	th, err := action.NewThreshold(int(record.T), record.Holders())
	if err != nil {
		return history, stopped, err
	}
	answers, failed := n.ask(ctx, n.holders(record), methodStop, key[:])
	if len(answers) < th.StopQuorum() {
		return history, stopped, rpc.Errorf(rpc.CodeUnavailable, "%d of %d holders stopped, %d have to; ask again when they are back: %v", len(answers), th.N(), th.StopQuorum(), failed)
	}
	told, _ := n.histories(answers)
	history, err = slashing.MergeMax(slices.Collect(maps.Values(told))...)
	return history, stopped, err
}

// stopArchived stops a key in the node's own custody, if the ledger has
// archived it: no node can stop another's keys by itself.
func (n *Node) stopArchived(ctx context.Context, body []byte) ([]byte, error) {
	d := wire.NewDecoder(body)
	var key signer.Key
	d.Fixed(key[:])
	if err := d.Finish(); err != nil {
		return nil, rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	for {
		_, moved := n.app.wait()
		view, err := n.View()
		if err != nil {
			return nil, err
		}
		if r, err := view.Key(action.DomainValidator, key[:]); err == nil && r.State.Stopped() {
			break
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, rpc.Errorf(rpc.CodeNotGranted, "the ledger has not archived the key")
		}
	}
	ctx, cancel := lasting(ctx)
	defer cancel()
	keys := [][bls.PublicKeySize]byte{key}
	if err := n.custody.Stop(ctx, keys); err != nil {
		return nil, err
	}
	ic, err := n.custody.ExportSlashing(ctx, keys)
	if err != nil {
		return nil, err
	}
	return ic.Encode()
}

// Settings returns a key's own proposer settings.
func (n *Node) Settings(key signer.Key) (action.ProposerSettings, error) {
	r, ok := n.signer.Record(key)
	if !ok {
		return action.ProposerSettings{}, rpc.Errorf(rpc.CodeUnknownKey, "key 0x%x is not in the inventory", key)
	}
	return r.Settings, nil
}

// SetSettings changes a key's proposer settings on the ledger. It returns once
// no quorum signs a registration that says otherwise: when the next header is
// there, all who voted for it have the settings.
func (n *Node) SetSettings(ctx context.Context, key signer.Key, change action.SettingsChange) error {
	if err := (signerLedger{n}).Grant(ctx, &action.Action{Rule: action.RuleSettings, Domain: action.DomainValidator, PublicKey: key[:], Settings: change}); err != nil {
		return err
	}
	height, _ := n.Height()
	_, err := n.Certify(ctx, height, n.namespace().Key(string(action.DomainValidator), key[:]))
	return unavailable(err)
}
