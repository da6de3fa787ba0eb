package custody

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/slashing"
)

// incarnation is this process from its start to its end. The slashing record
// on disk may be older than it should be, for disks are restored and machines
// cloned; what the ledger committed to beforehand is not. So slashable duties
// are signed only between a floor, above which no incarnation before went, and
// a ceiling, up to which the ledger let this one go.
type incarnation struct {
	id      [32]byte // public half of a key that exists in this memory only
	sign    func(msg []byte) []byte
	network *eth.Network
	path    proof.Path
	older   map[[bls.PublicKeySize]byte]bool // keys that incarnations before could sign with
	opened  action.Anchor                    // how far the record had come at the start

	mu      sync.RWMutex
	number  uint64         // 0 until the ledger has shown the registration
	ended   bool           // the ledger has shown a newer one
	lost    uint64         // entries that the record had once and lacked at the start: a disk that was rolled back
	floor   action.Ceiling // of the older keys
	ceiling action.Ceiling
	source  uint64 // highest source epoch that was asked for

	handovers uint64 // reshares that replaced shares and were obeyed
}

// show takes a certificate of the incarnation's record. It need not be fresh:
// the id is younger than this process, and ceilings only rise.
func (in *incarnation) show(v proof.Verified) error {
	raw, ok := v.Get(in.path)
	if !ok {
		return rpc.Errorf(rpc.CodeNotGranted, "the certificate does not prove the incarnation")
	}
	rec, err := action.ParseIncarnation(raw)
	if err != nil {
		return malformed(err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if rec.ID != in.id {
		if in.number == 0 || rec.Number < in.number {
			return rpc.Errorf(rpc.CodeNotGranted, "the certificate is older than this incarnation")
		}
		in.ended = true
		return rpc.Errorf(rpc.CodeFenced, "incarnation %d of this custody was replaced by %d", in.number, rec.Number)
	}
	switch {
	case in.number == 0:
		in.number, in.floor = rec.Number, action.FloorAfter(in.network, rec.Former, v.Time())
		if rec.RolledBack(in.opened) {
			in.lost = max(1, rec.Before.Sequence-in.opened.Sequence)
		}
	case rec.Number != in.number:
		// Somebody registered in between and we again after it: the floor of
		// then does not cover what was signed meanwhile.
		in.ended = true
		return rpc.Errorf(rpc.CodeFenced, "incarnation %d of this custody was replaced", in.number)
	}
	// A share that others have one in place of must not sign under a ceiling
	// that they did not know of.
	if rec.Handovers > in.handovers {
		return rpc.Errorf(rpc.CodeFenced, "%d reshares replaced shares of this custody, and it was shown %d", rec.Handovers, in.handovers)
	}
	in.ceiling = in.ceiling.Max(rec.Ceiling)
	return nil
}

// permits says whether a slashable duty lies between floor and ceiling.
// Whether it contradicts what was signed is the record's question.
func (in *incarnation) permits(key [bls.PublicKeySize]byte, facts eth.Slashable) error {
	if facts == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	asked := reach(facts)
	in.source = max(in.source, asked.Source)
	switch {
	case in.ended:
		return rpc.Errorf(rpc.CodeFenced, "this custody process was replaced by a newer one")
	case in.number == 0:
		return rpc.Errorf(rpc.CodeFenced, "this custody process is not registered on the ledger yet")
	case in.older[key] && !above(facts, in.floor):
		return rpc.Errorf(rpc.CodeFenced, "after a restart this holder signs above slot %d and epoch %d only, from about %s on: %s", in.floor.Slot, in.floor.Target, in.clock(in.floor.Slot+1), in.doubt())
	case !in.ceiling.Covers(asked):
		return rpc.Errorf(rpc.CodeFenced, "the lease ends at slot %d, source %d and target %d (%s): the ledger has not extended it, which takes more than two thirds of the nodes and one block, and signing returns with that block", in.ceiling.Slot, in.ceiling.Source, in.ceiling.Target, in.clock(in.ceiling.Slot+1))
	}
	return nil
}

// clock is when a slot begins.
func (in *incarnation) clock(slot uint64) string {
	at := time.Unix(int64(in.network.GenesisTime), 0).Add(time.Duration(slot) * in.network.SlotDuration)
	return at.UTC().Format("2006-01-02 15:04:05 UTC")
}

// doubt says why there is a floor. in.mu is held.
func (in *incarnation) doubt() string {
	if in.lost > 0 {
		return fmt.Sprintf("its slashing record was rolled back by %d entries or more", in.lost)
	}
	return "it cannot prove what it signed before"
}

// inherit puts keys under the floor whose shares come from a seed of an older
// incarnation: the disk may have been rolled back to before they first signed.
func (in *incarnation) inherit(keys [][]byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, k := range keys {
		in.older[[bls.PublicKeySize]byte(k)] = true
	}
}

// born puts keys under the floor that were made before the registration: a
// clone that registered first may have signed with them.
func (in *incarnation) born(keys [][]byte) {
	in.mu.RLock()
	registered := in.number > 0
	in.mu.RUnlock()
	if !registered {
		in.inherit(keys)
	}
}

// succeed takes the place of a former life whose end is proven: the record on
// disk is the last, so what held for that life holds for this one, its floor
// included. What it was fenced off from it may never have known.
func (in *incarnation) succeed(floor action.Ceiling) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.floor = floor
	if floor == (action.Ceiling{}) {
		clear(in.older)
	}
}

// fence returns the incarnation's number and the floor that older keys are
// under, zero where there is none; false before the registration, which decides
// on both.
func (in *incarnation) fence() (number uint64, floor action.Ceiling, ok bool) {
	in.mu.RLock()
	defer in.mu.RUnlock()
	if len(in.older) > 0 {
		floor = in.floor
	}
	return in.number, floor, in.number > 0
}

// former returns what lives before this one may have signed with a key at
// most; false where this one cannot say.
func (in *incarnation) former(key [bls.PublicKeySize]byte) (c action.Ceiling, ok bool) {
	in.mu.RLock()
	defer in.mu.RUnlock()
	if in.older[key] {
		c = in.floor
	}
	return c, in.number > 0 && !in.ended
}

// obeyed counts a reshare that replaced shares and was carried out.
func (in *incarnation) obeyed(all uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.handovers = all
}

// reach is the ceiling that a duty needs.
func reach(facts eth.Slashable) (c action.Ceiling) {
	switch f := facts.(type) {
	case eth.BlockFacts:
		c.Slot = f.Slot
	case eth.AttestationFacts:
		c.Source, c.Target = f.SourceEpoch, f.TargetEpoch
	}
	return c
}

// above reports whether nothing that was signed at or below the floor can be
// in conflict with the duty. A source may equal the floor's: a vote with a
// higher target surrounds another only from below its source.
func above(facts eth.Slashable, floor action.Ceiling) bool {
	switch f := facts.(type) {
	case eth.BlockFacts:
		return f.Slot > floor.Slot
	case eth.AttestationFacts:
		return f.TargetEpoch > floor.Target && f.SourceEpoch >= floor.Source
	}
	return false
}

// describe fills in what the status says of the incarnation.
func (in *incarnation) describe(s *Status) {
	in.mu.RLock()
	defer in.mu.RUnlock()
	s.Incarnation, s.Registered, s.Ended = in.id, in.number > 0, in.ended
	s.Floor, s.Ceiling, s.Source, s.Fenced = in.floor, in.ceiling, in.source, len(in.older) > 0
	s.Lost, s.Handovers = in.lost, in.handovers
}

// lease shows this process what the ledger holds of its incarnation.
func (p *Process) lease(cert []byte) error {
	v, err := p.chain.proven(cert)
	if err != nil {
		return err
	}
	_, _, before := p.life.fence()
	if err := p.life.show(v); err != nil {
		return err
	}
	if life := p.status(); !before && life.Lost > 0 {
		p.log.Error("the slashing record was rolled back: the ledger holds a longer one; blocks and attestations wait for the floor to pass", "lost", life.Lost, "slot", life.Floor.Slot, "epoch", life.Floor.Target)
	}
	return p.mend()
}

// mend lifts the fences of a record whose last entries were lost. Whatever
// they let be signed lay under a ceiling of an incarnation before, and the
// floor is at or above all of those; without it the holder would be lost for
// its keys.
func (p *Process) mend() error {
	if !p.torn.Swap(false) {
		return nil
	}
	life := p.status()
	p.log.Warn("the last entries of the slashing record were lost; signing goes on above the floor", "slot", life.Floor.Slot, "epoch", life.Floor.Target)
	if err := p.record.RaiseAll(slashing.Floor(life.Floor)); err != nil {
		return fmt.Errorf("mend the slashing record: %w", err)
	}
	return nil
}

// tornKeys reports whether keys are fenced because their record lost its end.
func tornKeys(r *slashing.Record) bool {
	return slices.ContainsFunc(r.Keys(), func(k slashing.Key) bool {
		s, _ := r.Status(k)
		return s.Fence&slashing.FenceTornTail != 0
	})
}
