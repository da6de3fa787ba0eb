package slashing

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/wire"
)

// entryKind is the first byte of a payload of the log. Values are stable.
type entryKind uint8

const (
	entryHead     entryKind = 1 // snapshot: what is not per key
	entryKey      entryKind = 2 // snapshot: one key
	entryGenesis  entryKind = 3
	entryRegister entryKind = 4
	entryStop     entryKind = 5
	entryRaise    entryKind = 6
	entryRaiseAll entryKind = 7
	entryImport   entryKind = 8
	entryBlock    entryKind = 9
	entryVote     entryKind = 10
	entryOther    entryKind = 11
	entryRelax    entryKind = 12
)

const (
	stateVersion = 4   // 2 had a second strategy, 3 no floor of other holders
	maxKinds     = 256 // of usage, per key
)

// entry is one change of the state. Which fields count depends on the kind.
type entry struct {
	kind    entryKind
	genesis Root
	key     Key
	history History    // entryRegister
	floor   Floor      // entryRaise, entryRaiseAll, entryRelax
	marks   Watermarks // entryImport
	facts   Facts      // entryBlock, entryVote, entryOther
}

func dutyEntry(key Key, f Facts) entry {
	e := entry{key: key, facts: f}
	switch f.(type) {
	case Block:
		e.kind = entryBlock
	case Attestation:
		e.kind = entryVote
	default:
		e.kind = entryOther
	}
	return e
}

func (x entry) encode() []byte {
	e := wire.NewEncoder(make([]byte, 0, 128))
	e.U8(uint8(x.kind))
	if x.kind != entryGenesis && x.kind != entryRaiseAll {
		e.Fixed(x.key[:])
	}
	switch x.kind {
	case entryGenesis:
		e.Fixed(x.genesis[:])
	case entryRegister:
		e.U8(uint8(x.history.Mode))
		encodeFloor(e, x.history.Floor)
	case entryRaise, entryRaiseAll, entryRelax:
		encodeFloor(e, x.floor)
	case entryImport:
		encodeMarks(e, x.marks)
	case entryBlock, entryVote, entryOther:
		encodeFacts(e, x.facts)
	}
	return e.Out()
}

func decodeEntry(payload []byte) (entry, error) {
	d := wire.NewDecoder(payload)
	x := entry{kind: entryKind(d.U8())}
	if x.kind != entryGenesis && x.kind != entryRaiseAll {
		d.Fixed(x.key[:])
	}
	switch x.kind {
	case entryGenesis:
		d.Fixed(x.genesis[:])
	case entryRegister:
		x.history = History{Mode: HistoryMode(d.U8()), Floor: decodeFloor(d)}
		if x.history.Mode > HistoryOthers {
			d.Fail(fmt.Errorf("history mode %d", x.history.Mode))
		}
	case entryStop:
	case entryRaise, entryRaiseAll, entryRelax:
		x.floor = decodeFloor(d)
	case entryImport:
		x.marks = decodeMarks(d)
	case entryBlock:
		x.facts = decodeBlock(d)
	case entryVote:
		x.facts = decodeVote(d)
	case entryOther:
		x.facts = decodeOther(d)
	default:
		d.Fail(fmt.Errorf("entry of kind %d", x.kind))
	}
	return x, d.Finish()
}

func encodeFacts(e *wire.Encoder, f Facts) {
	switch f := f.(type) {
	case Block:
		e.U64(f.Slot)
		e.Fixed(f.Root[:])
	case Attestation:
		e.U64(f.Source)
		e.U64(f.Target)
		e.Fixed(f.Root[:])
	case Other:
		e.String(f.Kind)
		e.Fixed(f.Root[:])
	}
}

func decodeBlock(d *wire.Decoder) (f Block) {
	f.Slot = d.U64()
	d.Fixed(f.Root[:])
	return f
}

func decodeVote(d *wire.Decoder) (f Attestation) {
	f.Source, f.Target = d.U64(), d.U64()
	d.Fixed(f.Root[:])
	return f
}

func decodeOther(d *wire.Decoder) (f Other) {
	f.Kind = d.String(maxKind)
	d.Fixed(f.Root[:])
	return f
}

func encodeFloor(e *wire.Encoder, f Floor) {
	e.U64(f.Slot)
	e.U64(f.Source)
	e.U64(f.Target)
}

func decodeFloor(d *wire.Decoder) Floor {
	return Floor{Slot: d.U64(), Source: d.U64(), Target: d.U64()}
}

func encodeMarks(e *wire.Encoder, w Watermarks) {
	encodeBlockMark(e, w.Block)
	encodeVoteMark(e, w.Vote)
}

func decodeMarks(d *wire.Decoder) Watermarks {
	return Watermarks{Block: decodeBlockMark(d), Vote: decodeVoteMark(d)}
}

func encodeBlockMark(e *wire.Encoder, m BlockMark) {
	e.Bool(m.Known)
	e.Bool(m.Ours)
	encodeFacts(e, Block{m.Slot, m.Root})
}

func decodeBlockMark(d *wire.Decoder) BlockMark {
	known, ours, b := d.Bool(), d.Bool(), decodeBlock(d)
	return BlockMark{known, ours, b.Slot, b.Root}
}

func encodeVoteMark(e *wire.Encoder, m VoteMark) {
	e.Bool(m.Known)
	e.Bool(m.Ours)
	encodeFacts(e, Attestation{m.Source, m.Target, m.Root})
}

func decodeVoteMark(d *wire.Decoder) VoteMark {
	known, ours, v := d.Bool(), d.Bool(), decodeVote(d)
	return VoteMark{known, ours, v.Source, v.Target, v.Root}
}

// state is everything that the log says. It changes only by apply and load,
// live and at replay alike.
type state struct {
	loaded  bool   // a snapshot head was read
	starts  uint64 // how often the record was opened
	seq     uint64 // of the last entry
	chain   Root   // over all entries, see Usage
	pinned  bool
	genesis Root
	keys    map[Key]*keyState
}

type keyState struct {
	Status
	uses []use // in order of kind

	// ready says that the registration is durable. Not part of the log.
	ready bool
}

// use counts one kind of duty of one key.
type use struct {
	kind  string
	total uint64
	last  uint64 // sequence of the last one
}

// A record begins with a snapshot, which has to fit into one frame of its log:
// one that had grown beyond could not be opened again. A key with every kind of
// duty that there is takes less than keyRoom.
const (
	keyRoom = 1 << 10
	maxKeys = wire.MaxLogFrame/keyRoom - 1
)

var errFull = fmt.Errorf("the record is full with %d keys", maxKeys)

// roomFor says whether keys, which are all different, can be added.
func (s *state) roomFor(keys ...Key) bool {
	n := len(s.keys)
	for _, k := range keys {
		if s.keys[k] == nil {
			n++
		}
	}
	return n <= maxKeys
}

func newState() *state { return &state{keys: map[Key]*keyState{}} }

func (s *state) key(k Key) *keyState {
	ks := s.keys[k]
	if ks == nil {
		ks = &keyState{}
		s.keys[k] = ks
	}
	return ks
}

// apply makes one change. payload is the entry's encoding, which goes into
// the chain. It trusts the entry: decisions are made before.
func (s *state) apply(x entry, payload []byte) {
	s.seq++
	s.chain = wire.Hash(wire.TagUsage, s.chain[:], payload)
	switch x.kind {
	case entryGenesis:
		s.pinned, s.genesis = true, x.genesis
		return
	case entryRaiseAll:
		for _, ks := range s.keys {
			ks.Status = ks.raised(x.floor, FenceTornTail)
		}
		return
	}
	ks := s.key(x.key)
	switch x.kind {
	case entryRegister:
		ks.Status = ks.registered(x.history)
	case entryStop:
		ks.Status = ks.stopped()
	case entryRaise:
		ks.Status = ks.raised(x.floor, fenceAll)
	case entryRelax:
		ks.Status = ks.relaxed(x.floor)
	case entryImport:
		ks.Status = ks.imported(x.marks)
	case entryBlock, entryVote, entryOther:
		ks.Status = ks.signed(x.facts)
		ks.count(x.facts.usage(), s.seq)
	}
}

// roomFor says whether a use of the kind can be counted.
func (ks *keyState) roomFor(kind string) bool {
	return len(ks.uses) < maxKinds || slices.ContainsFunc(ks.uses, func(u use) bool { return u.kind == kind })
}

func (ks *keyState) count(kind string, seq uint64) {
	i := slices.IndexFunc(ks.uses, func(u use) bool { return u.kind >= kind })
	if i < 0 {
		i = len(ks.uses)
	}
	if i == len(ks.uses) || ks.uses[i].kind != kind {
		ks.uses = slices.Insert(ks.uses, i, use{kind: kind})
	}
	ks.uses[i].total++
	ks.uses[i].last = seq
}

// snapshot encodes the whole state: a head, then the keys in order.
func (s *state) snapshot() [][]byte {
	e := wire.NewEncoder(nil)
	e.U8(uint8(entryHead))
	e.U16(stateVersion)
	e.U64(s.starts)
	e.U64(s.seq)
	e.Fixed(s.chain[:])
	e.Bool(s.pinned)
	e.Fixed(s.genesis[:])
	out := make([][]byte, 1, 1+len(s.keys))
	out[0] = e.Out()
	for _, k := range s.sortedKeys() {
		out = append(out, encodeKey(k, s.keys[k]))
	}
	return out
}

func (s *state) sortedKeys() []Key {
	keys := make([]Key, 0, len(s.keys))
	for k := range s.keys {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
	return keys
}

func encodeKey(k Key, ks *keyState) []byte {
	e := wire.NewEncoder(make([]byte, 0, 256))
	e.U8(uint8(entryKey))
	e.Fixed(k[:])
	encodeStatus(e, ks.Status)
	e.Count(len(ks.uses))
	for _, u := range ks.uses {
		e.String(u.kind)
		e.U64(u.total)
		e.U64(u.last)
	}
	return e.Out()
}

func encodeStatus(e *wire.Encoder, s Status) {
	e.Bool(s.Registered)
	e.Bool(s.Stopped)
	e.Bool(s.Imported)
	e.U8(uint8(s.Fence))
	e.Bool(s.Floored)
	encodeFloor(e, s.Floor)
	e.Bool(s.Succeeds)
	encodeFloor(e, s.Others)
	encodeMarks(e, s.Watermarks)
}

// load reads one payload of a snapshot.
func (s *state) load(payload []byte) error {
	d := wire.NewDecoder(payload)
	switch kind := entryKind(d.U8()); {
	case kind == entryHead && !s.loaded:
		s.loaded = true
		version := d.U16()
		s.starts, s.seq = d.U64(), d.U64()
		d.Fixed(s.chain[:])
		s.pinned = d.Bool()
		d.Fixed(s.genesis[:])
		if version != stateVersion {
			d.Fail(fmt.Errorf("state of version %d, this program reads %d", version, stateVersion))
		}
	case kind == entryKey && s.loaded:
		k, ks := decodeKey(d)
		if s.keys[k] != nil {
			d.Fail(fmt.Errorf("key %x twice", k[:4]))
		}
		s.keys[k] = ks
	default:
		d.Fail(fmt.Errorf("snapshot entry of kind %d", kind))
	}
	return d.Finish()
}

func decodeKey(d *wire.Decoder) (Key, *keyState) {
	var k Key
	d.Fixed(k[:])
	ks := &keyState{ready: true}
	ks.Registered, ks.Stopped, ks.Imported = d.Bool(), d.Bool(), d.Bool()
	ks.Fence = Fence(d.U8())
	if ks.Fence&^fenceAll != 0 {
		d.Fail(fmt.Errorf("fence %#x", uint8(ks.Fence)))
	}
	ks.Floored = d.Bool()
	ks.Floor = decodeFloor(d)
	ks.Succeeds = d.Bool()
	ks.Others = decodeFloor(d)
	ks.Watermarks = decodeMarks(d)
	n := d.Count(maxKinds, 4+8+8)
	for range n {
		ks.uses = append(ks.uses, use{kind: d.String(maxKind), total: d.U64(), last: d.U64()})
	}
	return k, ks
}
