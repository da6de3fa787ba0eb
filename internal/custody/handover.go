package custody

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/seal"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/slashing"
)

// This file takes keys from one committee to another. Old holders give their
// shares up, durably, before they take a further lease, and say how far they
// went. New holders sign above all that the old ones could have signed, until
// enough of them have said so.

// succeedOthers puts keys under the floor of a hand-over, where it has one for
// this seat. A key without a record is one that this process never held: were
// no floor set for it, it must not sign what can be slashed. One that was
// deleted stays so: only whoever handed it over, and has no share of the old
// epoch, signs with it again. An assembly's key has signed no duty: nobody asked
// for one, and its participants' shares sign under tags of our own only.
func (p *Process) succeedOthers(keys [][]byte, params dkg.Params, handover action.Handover) error {
	unknown := slashing.HistoryRefuse
	if params.FromAssembly() {
		unknown = slashing.HistoryNone
	}
	floored := handover.Floored>>p.seat.Index&1 == 1
	return each(fixed(keys), func(key slashing.Key) error {
		s, _ := p.record.Status(key)
		_, held := p.shares.at(key, params.Old.Epoch, action.UseDuties)
		switch {
		case floored && s.Stopped && held:
			return p.record.Raise(key, slashing.Floor(handover.Floor))
		case floored:
			return p.record.Register(key, slashing.History{Mode: slashing.HistoryOthers, Floor: slashing.Floor(handover.Floor)})
		case s.Registered:
			return nil // stopped or not: a new share changes neither
		}
		return p.record.Register(key, slashing.History{Mode: unknown})
	})
}

// each does something for all keys at once, so that they share fsyncs.
func each(keys []slashing.Key, do func(slashing.Key) error) error {
	var g errgroup.Group
	g.SetLimit(256)
	for _, k := range keys {
		g.Go(func() error { return do(k) })
	}
	return g.Wait()
}

// fixed gives keys that a ceremony names their length.
func fixed(keys [][]byte) []slashing.Key {
	out := make([]slashing.Key, len(keys))
	for i, k := range keys {
		out[i] = slashing.Key(k)
	}
	return out
}

// marksToTake names the lists of how far old holders went, if there are enough
// of them for this seat to go by.
func (p *Process) marksToTake(params dkg.Params, c circumstances) (names [][32]byte) {
	h := c.handover
	if h.Floored>>p.seat.Index&1 == 0 || len(c.stops) < h.StopsNeeded(int(params.Old.T)) {
		return nil
	}
	for i := range dkg.Seats(h.Held).All() {
		if stop, ok := c.stops[i]; ok && !slices.Contains(names, stop.Marks) { // two may have gone equally far
			names = append(names, stop.Marks)
		}
	}
	return names
}

// relax lowers the floor of a hand-over to what the old holders prove: each
// list is signed by the incarnation that the ledger had then. It is only about
// the sharing that the hand-over began; a later one has a floor of its own.
func (p *Process) relax(params dkg.Params, c circumstances, keys [][]byte, s *seat) error {
	if len(p.marksToTake(params, c)) == 0 {
		return nil
	}
	id := params.ID()
	said := make([][]action.Ceiling, len(keys))
	for i, stop := range c.stops {
		raw, err := s.source(stop.Marks)
		if err != nil {
			return err
		}
		marks, err := action.ParseMarks(raw)
		if err != nil || action.HashMarks(raw) != stop.Marks || len(marks) != len(keys) || !stop.Verify(p.cluster, p.domain, id, uint16(i)) {
			return rpc.Errorf(rpc.CodeMalformed, "what seat %d is said to have signed does not bear its signature", i)
		}
		for k, m := range marks {
			said[k] = append(said[k], m)
		}
	}
	needed := c.handover.StopsNeeded(int(params.Old.T))
	floors := map[slashing.Key]slashing.Floor{}
	var mine []slashing.Key
	for k, key := range fixed(keys) {
		if held, ok := p.shares.get(key); ok && held.epoch == params.Epoch {
			mine = append(mine, key)
			floors[key] = slashing.Floor(c.handover.FloorAt(said[k], needed))
		}
	}
	if err := each(mine, func(k slashing.Key) error { return p.record.Relax(k, floors[k]) }); err != nil {
		return err
	}
	p.log.Info("signing goes on where the old holders stopped", "keys", len(mine), "stops", len(c.stops), "needed", needed)
	return nil
}

// handOver gives up, for good, the shares that a reshare replaced, and writes
// down that it did: only then the lease goes on. Keys whose shares went to
// others are stopped. A holder that stays and has no new share keeps the old
// one, which signs no more.
func (p *Process) handOver(params dkg.Params, handover action.Handover, keys [][]byte) error {
	id := params.ID()
	left := handover.Left>>p.seat.Index&1 == 1
	var mine []slashing.Key
	var retired []seal.Entry
	var shares []seal.Slot
	speaks := recorded(params)
	if !speaks {
		keys = nil // a beacon's rounds are anybody's: nothing of them is stopped, and nobody asks how far they went
	}
	for _, k := range keys {
		speaks = speaks && p.held(k, params.Old.Epoch)
		held, ok := p.shares.get(slashing.Key(k))
		if !ok || held.epoch >= params.Epoch { // it never was here, or came back since
			continue
		}
		mine = append(mine, slashing.Key(k))
		h := p.header(seal.KindRetired, k)
		h.Curve, h.N, h.T, h.X, h.Epoch = action.CurveBLS12381G1, uint16(params.N), params.Old.T, p.seat.Index, held.epoch
		if p.safe.Has(h.Slot()) {
			continue
		}
		retired = append(retired, seal.Entry{Header: h, Secret: held.scalar})
		h.Kind = seal.KindShare
		shares = append(shares, h.Slot())
	}
	if left {
		if err := each(mine, p.record.Stop); err != nil {
			return fmt.Errorf("hand over %d keys: %w", len(keys), err)
		}
	}
	note := seal.Entry{Header: p.header(seal.KindHandover, id[:]), Secret: secret.New([]byte{0})}
	if speaks {
		note.Secret = secret.New([]byte{1})
	}
	defer note.Secret.Destroy()
	if err := p.safe.Put(append(retired, note)...); err != nil { // together
		return fmt.Errorf("hand over %d keys: %w", len(keys), err)
	}
	p.handovers[id] = speaks
	p.life.obeyed(uint64(len(p.handovers)))
	if err := p.safe.Destroy(shares...); err != nil {
		return fmt.Errorf("hand over %d keys: %w", len(keys), err)
	}
	p.log.Info("keys handed over", "keys", len(keys), "ceremony", fmt.Sprintf("%x", id[:8]))
	return nil
}

// held reports whether a share of an epoch is in the safe, to sign with or not.
func (p *Process) held(key []byte, epoch uint32) bool {
	for _, kind := range []seal.Kind{seal.KindShare, seal.KindRetired} {
		h := p.header(kind, key)
		h.Epoch = epoch
		if p.safe.Has(h.Slot()) {
			return true
		}
	}
	return false
}

// lastWord says how far this seat went with shares that were replaced, if the
// ledger wants to know it and does not. It covers what former lives may have
// signed. Nothing is said of keys whose record is not whole, nor by a seat that
// had not all of the shares when they were replaced: it may have lost them, and
// its memory with them.
func (p *Process) lastWord(id [32]byte, c circumstances, keys [][]byte) (*LastWord, error) {
	if _, said := c.stops[int(p.seat.Index)]; said || !p.handovers[id] {
		return nil, nil
	}
	p.signing.Lock() // what was under way with the old shares is in the record now
	defer p.signing.Unlock()
	marks := make([]action.Ceiling, len(keys))
	for i, k := range keys {
		status, _ := p.record.Status(slashing.Key(k))
		reached, whole := status.Reached()
		former, ok := p.life.former([bls.PublicKeySize]byte(k))
		if !whole || !ok {
			return nil, nil
		}
		marks[i] = former.Max(action.Ceiling(reached))
	}
	w := LastWord{Marks: action.EncodeMarks(marks)}
	w.Stop = action.Stop{Incarnation: p.life.id, Marks: action.HashMarks(w.Marks)}
	w.Stop.Signature = [ed25519.SignatureSize]byte(p.life.sign(w.Stop.Message(p.cluster, p.domain, id, p.seat.Index)))
	return &w, nil
}
