package slashing

import (
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/eth"
)

// The quorum model gives a rolled-back disk the power of a traitor. This one
// shows that incarnations take that power away: one holder, whose disk is
// rolled back and cloned at will, whose processes may all run at once, and
// whose ledger may be restored from before everything, never releases a
// slashable pair. Signing is one step here: that a record is on disk before
// anything is released, the quorum model has shown to be enough.

// epochs has one slot in each epoch and one epoch in each unit of time.
var epochs = &eth.Network{Preset: eth.Preset{SlotsPerEpoch: 1}, SlotDuration: time.Second, GenesisTime: 1}

func at(t uint8) time.Time { return time.Unix(1+int64(t), 0) }

// ceiling is an action.Ceiling that keeps a state of the world small.
type ceiling struct{ slot, source, target uint8 }

func small(c action.Ceiling) ceiling {
	return ceiling{uint8(c.Slot), uint8(c.Source), uint8(c.Target)}
}

func (c ceiling) big() action.Ceiling {
	return action.Ceiling{Slot: uint64(c.slot), Source: uint64(c.source), Target: uint64(c.target)}
}

func (c ceiling) max(o ceiling) ceiling { return small(c.big().Max(o.big())) }

func ceilingAt(t uint8) ceiling { return small(action.CeilingAt(epochs, at(t))) }

const maxLives = 3 // processes that the holder starts in all

// process is one incarnation of the holder. What it may do it may do as soon
// as the ledger says so, for certificates need not be fresh.
type process struct {
	started        bool
	ended          bool
	opened, record uint8
	number         uint8 // of its registration, 0 before
	floored        bool  // but for a process in which the key was made
	floor, ceiling ceiling
}

// chain is the ledger, as far as it concerns the holder. Each transaction is
// in a block of its own. A block's time is when the votes for the block before
// were cast, so the first one after a halt is as old as the halt.
type chain struct {
	voted    uint8 // when the votes for the last block were cast
	id       uint8 // index of the registered process, from 1
	previous uint8
	number   uint8
	former   ceiling
	ceiling  ceiling
}

// closing is what the other holders remember of a process that ended in order.
type closing struct {
	id, record uint8
	floored    bool
	floor      ceiling
}

type history struct {
	now      uint8
	chain    chain
	restores uint8 // of the ledger, still to come
	closing  closing
	lives    [maxLives]process
	released uint16
}

// flaw is a precaution that a world lacks.
type flaw string

const (
	noFlaw          flaw = "none"
	noFloor         flaw = "no floor"
	noCeiling       flaw = "signs beyond what was committed"
	noHeader        flaw = "the floor ignores the header's time"
	staleHeader     flaw = "the floor is that of the registration's own header"
	noLease         flaw = "the ledger grants a ceiling beyond the lease"
	atFloor         flaw = "> became >= at the floor"
	sourceFree      flaw = "the floor leaves out the source"
	aboveCeiling    flaw = "<= became < +2 at the ceiling"
	madeTooEarly    flaw = "no floor for a key that was made before the registration"
	registersAgain  flaw = "an older life registers again and keeps its floor"
	survivesRestore flaw = "processes outlive a restore of the ledger"
	anyClosing      flaw = "a closing counts for later lives too"
	anyRecord       flaw = "a closing counts for any record"
	closingLifts    flaw = "a closing lifts the floor that its own process was under"
	noWitness       flaw = "a process vouches for itself"
)

type incarnationModel struct {
	flaw     flaw
	until    uint8 // the last epoch
	lives    int
	restores uint8
	messages messages
	records  *records
}

func (m incarnationModel) start() history { return history{restores: m.restores} }

func (m incarnationModel) bad(h history) bool { return m.messages.slashable(h.released) }

func (m incarnationModel) next(h history) iter.Seq2[string, history] {
	return func(yield func(string, history) bool) {
		if h.now < m.until {
			later := h
			later.now++
			if !yield("time passes", later) {
				return
			}
		}
		if h.chain.voted != h.now {
			block := h
			block.chain.voted = h.now
			if !yield("a block", block) {
				return
			}
		}
		if h.restores > 0 {
			if !yield("the ledger is restored", m.restore(h)) {
				return
			}
		}
		for i := range m.lives {
			for act, after := range m.life(h, i) {
				if !yield(fmt.Sprintf("%d %s", i+1, act), after) {
					return
				}
			}
			if !h.lives[i].started {
				break // they start in order
			}
		}
	}
}

// restore puts an empty ledger in the place of the present one: an older one
// remembers more. Whoever restores a ledger stops everything first, and what
// witnesses had in memory is gone.
func (m incarnationModel) restore(h history) history {
	h.chain = chain{}
	h.restores--
	h.closing = closing{}
	for i := range h.lives {
		h.lives[i].ended = h.lives[i].ended || h.lives[i].started && m.flaw != survivesRestore
	}
	return h
}

func (m incarnationModel) life(h history, i int) iter.Seq2[string, history] {
	return func(yield func(string, history) bool) {
		l := h.lives[i]
		switch {
		case l.ended:
			return
		case !l.started:
			m.starts(h, i)(yield)
			return
		}
		if h.chain.id != uint8(i+1) {
			if !yield("is registered", m.register(h, i)) {
				return
			}
		} else if !yield("extends its lease", m.lease(h, i)) {
			return
		}
		if l.number == 0 {
			return
		}
		closed := h
		closed.lives[i].ended = true
		closed.closing = closing{uint8(i + 1), l.record, l.floored, l.floor}
		if !yield("closes", closed) {
			return
		}
		if after, ok := m.prove(h, i); ok && !yield("is proven by witnesses", after) {
			return
		}
		for j, f := range m.messages.facts {
			record, allowed := m.records.step(l.record, f)
			if !allowed || !m.permits(l, f) {
				continue
			}
			signed := h
			signed.lives[i].record = record
			signed.released |= 1 << j
			if !yield("signs "+nameOf(f), signed) {
				return
			}
		}
	}
}

// starts opens the disk that any process has left or writes to, or an empty
// one, which allows whatever an older one does.
func (m incarnationModel) starts(h history, i int) iter.Seq2[string, history] {
	return func(yield func(string, history) bool) {
		for j := -1; j < i; j++ {
			after := h
			l := &after.lives[i]
			l.started = true
			what := "starts on an old disk"
			if j >= 0 {
				l.opened, l.record = h.lives[j].record, h.lives[j].record
				what = fmt.Sprintf("starts on the disk of %d", j+1)
			}
			if !yield(what, after) {
				return
			}
		}
	}
}

func (m incarnationModel) register(h history, i int) history {
	own := h.chain.voted // the time of the block that the transaction is in
	h.chain = chain{
		voted: h.now, id: uint8(i + 1), previous: h.chain.id, number: h.chain.number + 1,
		former: h.chain.former.max(h.chain.ceiling),
	}
	l := &h.lives[i]
	if l.number > 0 && m.flaw != registersAgain {
		l.ended = true // it sees another number than its own
		return h
	}
	if l.number > 0 {
		return h
	}
	// The key was made in the first process, once it was registered.
	made := i == 0 && (h.chain.number == 1 || m.flaw == madeTooEarly)
	l.number, l.floored = h.chain.number, !made && m.flaw != noFloor
	header := h.chain.voted // the time of the next block
	switch m.flaw {
	case noHeader:
		l.floor = h.chain.former
	case staleHeader:
		l.floor = small(action.FloorAfter(epochs, h.chain.former.big(), at(own)))
	default:
		l.floor = small(action.FloorAfter(epochs, h.chain.former.big(), at(header)))
	}
	return h
}

func (m incarnationModel) lease(h history, i int) history {
	most := ceilingAt(h.chain.voted)
	if m.flaw == noLease {
		most = ceilingAt(h.chain.voted + 1)
	}
	h.chain.ceiling = h.chain.ceiling.max(most)
	h.chain.voted = h.now
	h.lives[i].ceiling = h.lives[i].ceiling.max(h.chain.ceiling)
	return h
}

// prove gives a process that opened the record with which the one right before
// it closed the floor that the other had. It has none only if the other was
// proven as well, and so on back to the making of the key.
func (m incarnationModel) prove(h history, i int) (history, bool) {
	l, c := &h.lives[i], h.closing
	if h.chain.id != uint8(i+1) || !l.floored {
		return h, false
	}
	last := c.id == h.chain.previous || m.flaw == anyClosing
	same := c.record == l.opened || m.flaw == anyRecord
	if !(c.id > 0 && last && same) && m.flaw != noWitness {
		return h, false
	}
	if m.flaw == closingLifts {
		c.floored = false
	}
	l.floored, l.floor = c.floored, c.floor
	return h, true
}

// permits is custody's rule: above the floor, and up to the ceiling.
func (m incarnationModel) permits(l process, f Facts) bool {
	if l.number == 0 {
		return false
	}
	low, high := l.floor.big(), l.ceiling.big()
	switch m.flaw {
	case aboveCeiling:
		high = action.Ceiling{Slot: high.Slot + 1, Source: high.Source + 1, Target: high.Target + 1}
	case noCeiling:
		high = ceilingAt(m.until).big()
	}
	switch f := f.(type) {
	case Block:
		floor := f.Slot > low.Slot || m.flaw == atFloor && f.Slot == low.Slot
		return (floor || !l.floored) && f.Slot <= high.Slot
	case Attestation:
		floor := f.Target > low.Target || m.flaw == atFloor && f.Target == low.Target
		source := f.Source >= low.Source || m.flaw == sourceFree
		return (floor && source || !l.floored) && f.Source <= high.Source && f.Target <= high.Target
	}
	return false
}

// Three lives in three epochs with a restore are too many to explore at each
// run: {noFlaw, 3, 2, 1} takes a minute and half a gigabyte, and is safe in all
// 2,335,458 states (blocks) and 2,177,730 (votes).
func TestIncarnationModel(t *testing.T) {
	worlds := map[string]messages{
		"blocks": newMessages(Block{1, root(0)}, Block{1, root(1)}, Block{2, root(0)}, Block{2, root(1)}, Block{3, root(0)}, Block{3, root(1)}),
		"votes": newMessages(Attestation{0, 1, root(0)}, Attestation{0, 2, root(0)}, Attestation{0, 3, root(0)},
			Attestation{1, 2, root(0)}, Attestation{1, 2, root(1)}, Attestation{1, 3, root(0)}, Attestation{2, 3, root(0)}),
	}
	for _, c := range []struct {
		flaw     flaw
		lives    int
		until    uint8
		restores uint8
		unsafe   string // the worlds in which it shows
	}{
		{noFlaw, 3, 1, 1, ""},
		{noFlaw, 2, 2, 1, ""},
		{noFloor, 2, 2, 0, "blocks votes"},
		{noCeiling, 2, 2, 0, "blocks votes"},
		{noHeader, 2, 2, 1, "blocks votes"},
		{staleHeader, 2, 2, 1, "blocks votes"},
		{noLease, 2, 2, 1, "blocks votes"},
		{atFloor, 2, 2, 0, "blocks votes"},
		{sourceFree, 2, 2, 0, "votes"},
		{aboveCeiling, 2, 2, 0, "blocks votes"},
		{madeTooEarly, 2, 2, 0, "blocks votes"},
		{registersAgain, 2, 2, 0, "blocks votes"},
		{survivesRestore, 2, 2, 1, "blocks votes"},
		{anyClosing, 3, 1, 0, "blocks votes"},
		{anyRecord, 2, 2, 0, "blocks votes"},
		{closingLifts, 3, 1, 0, "blocks votes"},
		{noWitness, 2, 2, 0, "blocks votes"},
	} {
		for what, messages := range worlds {
			if c.unsafe != "" && !strings.Contains(c.unsafe, what) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s/lives=%d,until=%d,restores=%d", what, c.flaw, c.lives, c.until, c.restores), func(t *testing.T) {
				m := incarnationModel{c.flaw, c.until, c.lives, c.restores, messages, newRecords()}
				states, way := search(m.start(), m.next, m.bad)
				judge(t, states, way, strings.Contains(c.unsafe, what))
			})
		}
	}
}
