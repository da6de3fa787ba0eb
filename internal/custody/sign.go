package custody

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/slashing"
	"github.com/quorate/quorate/internal/wire"
)

// sign answers with a partial signature: decode the duty, recompute its root,
// ask who may have it signed, check and record, and only when the record is
// on disk let the partial go.
func (p *Process) sign(_ context.Context, body []byte) ([]byte, error) {
	p.signing.RLock()
	defer p.signing.RUnlock()
	if p.closed {
		return nil, errEnding
	}
	req, err := ParseSignRequest(body)
	if err != nil {
		return nil, malformed(err)
	}
	held, err := p.share(req.Key, req.Epoch, action.UseDuties)
	if err != nil {
		return nil, err
	}
	duty, err := eth.DecodeDuty(req.Duty)
	if err != nil {
		return nil, malformed(err)
	}
	if err := p.permitted(req, duty); err != nil {
		return nil, err
	}
	root, err := duty.SigningRoot(p.network)
	if err != nil {
		return nil, malformed(err)
	}
	if err := p.inRange(duty.Slashable()); err != nil {
		return nil, err
	}
	if err := p.life.permits(req.Key, duty.Slashable()); err != nil {
		return nil, err
	}
	ticket := p.record.Begin(p.bounds(), item(req.Key, duty, root))
	if err := ticket.Refused(0); err != nil {
		return nil, refusal(err)
	}
	// The fsync runs while the curve is busy; nothing leaves before both.
	partial := held.share.SignHashed(p.hashed.get(root))
	if err := ticket.Wait()[0]; err != nil {
		return nil, refusal(err)
	}
	return SignResponse{Partial: partial.Bytes(), Epoch: held.epoch, Incarnation: p.life.id}.Encode(), nil
}

var errEnding = rpc.Errorf(rpc.CodeUnavailable, "this custody process is ending")

// permitted enforces the rule key × type, whatever the node decided before.
// A validator's everyday duty needs no certificate. An exit or a deposit needs
// a grant for exactly these bytes; what tells builders whom to pay must say
// what the ledger holds for the key.
func (p *Process) permitted(req SignRequest, duty eth.Duty) error {
	switch m := duty.Message.(type) {
	case *eth.ValidatorRegistration:
		if m.Pubkey != eth.BLSPubkey(req.Key) {
			return rpc.Errorf(rpc.CodeMalformed, "the registration is of another key")
		}
		return p.settingsFit(req, duty.Kind(), action.Address(m.FeeRecipient), m.GasLimit)
	case *eth.ProposerPreferences:
		return p.settingsFit(req, duty.Kind(), action.Address(m.FeeRecipient), m.TargetGasLimit)
	}
	if !duty.IsDuty() {
		return p.granted(req, duty.Kind())
	}
	return nil
}

// BoundBySettings reports whether a kind of message must say what the ledger
// holds for the key, so that custody wants to see the key's record.
func BoundBySettings(kind eth.Kind) bool {
	return kind == eth.KindValidatorRegistration || kind == eth.KindProposerPreferences
}

// RuleOf returns the rule that allows a kind of message which is no duty.
func RuleOf(kind eth.Kind) action.Rule {
	switch kind {
	case eth.KindVoluntaryExit:
		return action.RuleExit
	case eth.KindDeposit:
		return action.RuleDeposit
	}
	return ""
}

func (p *Process) granted(req SignRequest, kind eth.Kind) error {
	if len(req.Certificate) == 0 {
		return rpc.Errorf(rpc.CodeNotGranted, "%s is no duty: it needs a grant of the ledger", kind)
	}
	return p.grantedExactly(&action.Action{Rule: RuleOf(kind), Domain: p.domain, PublicKey: req.Key[:], Duty: req.Duty}, req.Evidence)
}

// grantedExactly reports whether the ledger granted an action, these bytes and
// no others, and not too long ago.
func (p *Process) grantedExactly(want *action.Action, ev Evidence) error {
	v, err := p.chain.verify(ev.Certificate)
	if err != nil {
		return err
	}
	hash := want.Hash(p.cluster)
	grant, _, err := p.grant(v, p.chain.ns.Grant(hash[:]), ev.Approvals)
	if err != nil {
		return err
	}
	if !bytes.Equal(grant.Action, want.Encode()) {
		return rpc.Errorf(rpc.CodeNotGranted, "the ledger has granted another %s", want.Rule)
	}
	if at, ok := p.chain.now(); !ok || uint64(at.UnixMilli()) >= grant.Expires {
		return rpc.Errorf(rpc.CodeNotGranted, "the grant of this %s has expired", want.Rule)
	}
	return nil
}

// settingsFit compares whom to pay, and the gas limit, with the key's settings
// on the ledger, and with the cluster's defaults where the key has none.
func (p *Process) settingsFit(req SignRequest, kind eth.Kind, recipient action.Address, gas uint64) error {
	if len(req.Certificate) == 0 {
		return rpc.Errorf(rpc.CodeNotGranted, "%s needs the ledger's record of the key", kind)
	}
	v, err := p.chain.verify(req.Certificate)
	if err != nil {
		return err
	}
	raw, ok := v.Get(p.chain.ns.Key(string(p.domain), req.Key[:]))
	if !ok {
		return rpc.Errorf(rpc.CodeNotGranted, "the certificate does not prove the key's record")
	}
	key, err := action.ParseKeyRecord(raw)
	if err != nil {
		return malformed(err)
	}
	if key.State != action.KeyActive {
		return rpc.Errorf(rpc.CodeNotGranted, "the key is %s", key.State)
	}
	want := key.Settings.Or(p.genesis.ProposerDefaults)
	if want.FeeRecipient != nil && *want.FeeRecipient != recipient {
		return rpc.Errorf(rpc.CodeNotGranted, "the ledger holds fee recipient 0x%x for this key, the message says 0x%x", *want.FeeRecipient, recipient)
	}
	if want.GasLimit != nil && *want.GasLimit != gas {
		return rpc.Errorf(rpc.CodeNotGranted, "the ledger holds gas limit %d for this key, the message says %d", *want.GasLimit, gas)
	}
	return nil
}

// item is what the slashing record has to know of a duty.
func item(key [bls.PublicKeySize]byte, duty eth.Duty, root eth.SigningRoot) slashing.Item {
	it := slashing.Item{Key: key}
	if duty.Kind().UsesForkInfo() {
		genesis := slashing.Root(duty.Fork.GenesisValidatorsRoot)
		it.Genesis = &genesis
	}
	switch f := duty.Slashable().(type) {
	case eth.BlockFacts:
		it.Facts = slashing.Block{Slot: f.Slot, Root: root.Bytes()}
	case eth.AttestationFacts:
		it.Facts = slashing.Attestation{Source: f.SourceEpoch, Target: f.TargetEpoch, Root: root.Bytes()}
	default:
		it.Facts = slashing.Other{Kind: duty.Kind().String(), Root: root.Bytes()}
	}
	return it
}

// bounds allows slashable duties up to the end of the next epoch: enough for
// clocks that differ, too little to burn a key's future with one request.
func (p *Process) bounds() slashing.Bounds { return p.boundsAt(now()) }

func (p *Process) boundsAt(t time.Time) slashing.Bounds {
	slot, _ := p.network.SlotAt(t) // before genesis: slot 0
	epoch := p.network.EpochOf(slot) + 1
	return slashing.Bounds{MaxTarget: epoch, MaxSlot: (epoch+1)*p.network.Preset.SlotsPerEpoch - 1}
}

// inRange refuses duties of the far future before anything is asked of the
// lease, so that the answer says what is wrong.
func (p *Process) inRange(facts eth.Slashable) error {
	if facts == nil {
		return nil
	}
	b, asked := p.bounds(), reach(facts)
	if asked.Slot > b.MaxSlot || asked.Target > b.MaxTarget || asked.Source > b.MaxTarget {
		return rpc.Errorf(rpc.CodeOutOfRange, "the duty lies beyond slot %d or epoch %d; check the clocks of the validator client and of this node", b.MaxSlot, b.MaxTarget)
	}
	return nil
}

// refusal gives the slashing record's answer its code.
func refusal(err error) error {
	var r *slashing.Refusal
	if !errors.As(err, &r) {
		return rpc.Errorf(rpc.CodeInternal, "%v", err)
	}
	code := rpc.CodeSlashable
	switch r.Rule {
	case slashing.RuleUnknownKey, slashing.RuleStoppedKey:
		code = rpc.CodeUnknownKey
	case slashing.RuleMalformed, slashing.RuleGenesis:
		code = rpc.CodeMalformed
	case slashing.RuleFenced, slashing.RuleFloor:
		code = rpc.CodeFenced
	case slashing.RuleSlotBound, slashing.RuleTargetBound:
		code = rpc.CodeOutOfRange
	}
	return &rpc.Error{Code: code, Text: r.Error()}
}

// hashCache keeps H(m) of recent roots: the validators of one committee sign
// the same, and half of a signature's cost is the hash.
type hashCache struct {
	mu   sync.Mutex
	last [64]struct {
		root [32]byte
		hash bls.HashedRoot
		set  bool
	}
}

func (c *hashCache) get(root eth.SigningRoot) bls.HashedRoot {
	key := root.Bytes()
	slot := &c.last[key[0]%uint8(len(c.last))]
	c.mu.Lock()
	if slot.set && slot.root == key {
		defer c.mu.Unlock()
		return slot.hash
	}
	c.mu.Unlock()
	h := bls.HashRoot(root)
	c.mu.Lock()
	defer c.mu.Unlock()
	slot.root, slot.hash, slot.set = key, h, true
	return h
}

// register lets keys sign, with what is known of their past: generated keys
// have none, imported ones have what was imported, or what the genesis chose
// for keys without. A generated key that is stopped was registered before a
// crash, and stopped after it: it stays so. An imported one comes back.
func (p *Process) register(keys [][]byte, mode dkg.Mode) error {
	history := slashing.History{Mode: slashing.HistoryNone}
	if mode == dkg.ModeImport {
		switch p.genesis.ImportHistory {
		case action.HistoryRefuse:
			history.Mode = slashing.HistoryRefuse
		case action.HistoryNow:
			at := now()
			if ledger, ok := p.chain.now(); ok && ledger.After(at) {
				at = ledger // a clock set back must not lower the floor
			}
			b := p.boundsAt(at)
			history = slashing.History{Mode: slashing.HistoryFloor, Floor: slashing.Floor{Slot: b.MaxSlot, Source: b.MaxTarget - 1, Target: b.MaxTarget}}
		}
	}
	return each(fixed(keys), func(k slashing.Key) error {
		if s, _ := p.record.Status(k); s.Stopped && mode == dkg.ModeKeygen {
			return nil
		}
		return p.record.Register(k, history)
	})
}

// stop refuses keys from now on, all those that are known here whatever becomes
// of the others. Anybody who reaches the socket may ask for it: it only ever
// makes the process sign less. A disk that fails is told before a key that is
// not known, which the caller may well have expected.
func (p *Process) stop(body []byte) error {
	keys, err := DecodeKeys(body, wire.MaxKeysPerBatch)
	if err != nil {
		return malformed(err)
	}
	var unknown atomic.Pointer[rpc.Error]
	err = each(keys, func(k slashing.Key) error {
		err := p.record.Stop(k)
		if errors.Is(err, slashing.ErrUnknownKey) {
			unknown.Store(&rpc.Error{Code: rpc.CodeUnknownKey, Text: err.Error()})
			return nil
		}
		return err
	})
	if u := unknown.Load(); err == nil && u != nil {
		return u
	}
	return err
}

// usage tells how far the record has come. The incarnation names the opening
// of the record.
func (p *Process) usage(after uint64) (Usage, error) {
	u, err := p.record.Usage(after)
	if err != nil {
		return Usage{}, fmt.Errorf("read usage: %w", err)
	}
	out := Usage{Sequence: u.Seq, Chain: u.Chain}
	var e wire.Encoder
	e.U64(u.Starts)
	copy(out.Incarnation[:], e.Out())
	for i, t := range u.Totals {
		if len(out.Keys) < wire.MaxKeysPerBatch && (i == 0 || t.Key != u.Totals[i-1].Key) {
			out.Keys = append(out.Keys, bytes.Clone(t.Key[:]))
		}
	}
	return out, nil
}
