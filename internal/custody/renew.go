package custody

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/seal"
	"github.com/quorate/quorate/internal/secret"
)

// This file takes shares from one epoch to the next, so that a crash anywhere
// leaves all or none of a ceremony's keys in the new one:
//
//	keep       new shares are sealed beside the old ones, then confirmed
//	commit     the ledger has committed the epoch: the new shares sign
//	supersede  old shares sign no more; at t + f confirmations they are destroyed
//
// Each step repeats itself harmlessly. The slashing record belongs to the key
// and not to a share: it goes on. What a reshare asks beyond this stands in
// handover.go.

// keep seals this seat's new shares, before its confirmation leaves.
func (p *Process) keep(board *dkg.Board, s *seat) error {
	params, id := board.Params(), board.ID()
	if s.kept || !params.Mode.Renews() || board.Phase() < dkg.PhaseConfirm || !(board.Joined() & params.Members()).Has(int(s.me)) {
		return nil
	}
	shares, err := s.player.ExposeSecretShares(board, s.source)
	if err != nil {
		return err
	}
	var stale []seal.Slot
	var entries []seal.Entry
	for _, out := range shares {
		h := p.header(seal.KindNext, out.PublicKey)
		h.Curve, h.N, h.T, h.X, h.Epoch = action.CurveBLS12381G1, uint16(params.N), uint16(params.T), s.me, params.Epoch
		e := seal.Entry{Header: h, Secret: labelled(out.Secret, id)}
		out.Secret.Destroy()
		switch old, ok := p.next[h.Slot()]; {
		case ok && old.Secret.Equal(e.Secret):
			e.Secret.Destroy()
			continue
		case ok: // of a ceremony that ended unseen
			stale = append(stale, h.Slot())
		}
		entries = append(entries, e)
	}
	if err := p.safe.Destroy(stale...); err != nil {
		return fmt.Errorf("keep new shares: %w", err)
	}
	if err := p.safe.Put(entries...); err != nil {
		return fmt.Errorf("keep %d new shares: %w", len(entries), err)
	}
	for _, e := range entries {
		p.next[e.Slot()] = e
		p.shares.keep(e.Key, true)
	}
	s.kept = true
	return nil
}

// labelled joins a scalar and the ceremony that it is of: keys of two
// ceremonies may be on their way to epochs of one number.
func labelled(scalar secret.Bytes, id [32]byte) (out secret.Bytes) {
	scalar.Expose(func(b []byte) { out = secret.New(append(bytes.Clone(b), id[:]...)) })
	return out
}

// nextOf returns the shares that are kept for a ceremony.
func (p *Process) nextOf(id [32]byte) (out []seal.Entry) {
	for _, e := range p.next {
		e.Secret.Expose(func(b []byte) {
			if len(b) == bls.ScalarSize+len(id) && bytes.Equal(b[bls.ScalarSize:], id[:]) {
				out = append(out, e)
			}
		})
	}
	return out
}

// commit lets the shares sign that were kept for an epoch which the ledger has
// committed: first whatever the hand-over says of their past, then sealed
// together, then used.
func (p *Process) commit(board *dkg.Board, handover action.Handover) ([][]byte, error) {
	id := board.ID()
	var entries []seal.Entry
	var keys, fresh [][]byte
	for _, next := range p.nextOf(id) {
		keys = append(keys, next.Key)
		e := seal.Entry{Header: next.Header}
		e.Kind = sealedAs(board.Params().Use)
		next.Secret.Expose(func(b []byte) { e.Secret = secret.New(bytes.Clone(b[:bls.ScalarSize])) })
		if p.shares.holds([bls.PublicKeySize]byte(next.Key), e.Secret) {
			e.Secret.Destroy()
			continue
		}
		entries, fresh = append(entries, e), append(fresh, next.Key)
	}
	if p.seeds.older[id] {
		p.life.inherit(keys)
	}
	if recorded(board.Params()) {
		if err := p.succeedOthers(fresh, board.Params(), handover); err != nil {
			return nil, fmt.Errorf("hand over %d keys: %w", len(fresh), err)
		}
	}
	return keys, p.activate(keys, entries)
}

// settle does what a committed epoch asks of everybody, whether it took part
// or not. It is done unless this seat has yet to confirm its shares.
func (p *Process) settle(board *dkg.Board, c circumstances) (result StepResult, done bool, err error) {
	id, params := board.ID(), board.Params()
	holds := board.Holders().Has(int(p.seat.Index))
	if holds {
		if result.Active, err = p.commit(board, c.handover); err != nil {
			return StepResult{}, false, err
		}
	}
	s := p.seats[id]
	if s == nil {
		s = newSeat(p.seat.Index)
		p.seats[id] = s
	}
	if need := s.lacks(slices.Concat(board.ResultChunks(), p.marksToTake(params, c))); len(need) > 0 {
		return StepResult{Need: need}, true, nil
	}
	var keys [][]byte
	made, err := dkg.ReadResult(board, s.source)
	if err == nil {
		keys = made.PublicKeys()
	}
	if err == nil && holds {
		err = p.relax(params, c, keys, s)
	}
	if err != nil {
		delete(p.seats, id) // a body that is not what the ledger names must not stay
		return StepResult{}, false, fmt.Errorf("ceremony %x: %w", id[:8], err)
	}
	if err := p.supersede(board, c.handover, keys); err != nil {
		return StepResult{}, false, err
	}
	if result.Stop, err = p.lastWord(id, c, keys); err != nil {
		return StepResult{}, false, err
	}
	if s.player == nil {
		delete(p.seats, id)
	}
	if holds {
		return result, true, p.leave(board, nil)
	}
	return result, false, nil
}

// supersede ends what a committed epoch replaced: old shares sign no more,
// keys that others have taken over are stopped, and at t + f confirmations
// the old shares are destroyed.
func (p *Process) supersede(board *dkg.Board, handover action.Handover, keys [][]byte) error {
	id, params := board.ID(), board.Params()
	for _, k := range keys {
		p.shares.retire([bls.PublicKeySize]byte(k), params.Epoch)
	}
	if _, done := p.handovers[id]; !done && handover.Held>>p.seat.Index&1 == 1 {
		if err := p.handOver(params, handover, keys); err != nil {
			return err
		}
	}
	// A member that has yet to confirm makes its new shares from the old.
	_, underWay, _ := p.seeds.get(id)
	underWay = underWay && params.Members().Has(int(p.seat.Index)) && !board.Holders().Has(int(p.seat.Index))
	if board.DepositSafe() && !underWay {
		return p.erase(keys, params.Epoch)
	}
	return nil
}

// erase destroys shares of keys from before an epoch.
func (p *Process) erase(keys [][]byte, epoch uint32) error {
	of := make(map[string]bool, len(keys))
	for _, k := range keys {
		of[string(k)] = true
	}
	var old []seal.Slot
	for _, slot := range p.safe.Slots() {
		if sealsShare(slot.Kind) && slot.Epoch < epoch && of[slot.Key] {
			old = append(old, slot)
		}
	}
	if len(old) == 0 {
		return nil
	}
	if err := p.safe.Destroy(old...); err != nil {
		return fmt.Errorf("erase %d shares of former epochs: %w", len(old), err)
	}
	for _, slot := range old {
		p.shares.forget([bls.PublicKeySize]byte([]byte(slot.Key)), slot.Epoch)
	}
	p.log.Info("shares of former epochs destroyed", "shares", len(old))
	return nil
}
