package slashing

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/quorate/quorate/internal/durable"
)

// fileName is the log in the record's directory.
const fileName = "slashing.log"

// defaultCompactAt is the size at which the log starts over from a snapshot.
const defaultCompactAt = 64 << 20

// Config says where a record lives and whose it is.
type Config struct {
	// Dir exists already, and its owner holds its durable.Lock for as long
	// as the record is open: two records on one log are two memories.
	Dir string
	// FS is durable.OS if nil.
	FS durable.FS
	// Owner must be the same at every open.
	Owner durable.Identity
	// Genesis is the network's genesis validators root, if it has one that
	// is known beforehand. Else the first duty or import pins it.
	Genesis *Root
	// CompactAt is the log size in bytes at which a snapshot is due; 64 MiB
	// if zero.
	CompactAt int64
}

func (c Config) fs() durable.FS {
	if c.FS == nil {
		return durable.OS{}
	}
	return c.FS
}

func (c Config) path() string { return filepath.Join(c.Dir, fileName) }

// Record is the memory of a custody process. Whoever holds a share asks it
// before every use:
//
//	ticket := record.Begin(bounds, items...)
//	// compute the partial signatures
//	errs := ticket.Wait()
//	// release those whose error is nil, and no other
//
// One lock covers decisions, imports, stops and floors of all keys, so that
// the order of the log is the order of the decisions. It is held for a few
// microseconds per duty and never during I/O; what limits the rate is the
// fsync, which all share.
//
// When the log fails, memory is ahead of the disk and stays there: later
// duties are refused by both the rule and the log, and the owner must end
// the process (see Failed).
type Record struct {
	compactAt int64
	log       *durable.Log

	mu       sync.Mutex
	state    *state
	last     durable.Pending // the newest append, if begun
	begun    bool
	snapshot int64 // size of the log right after the last snapshot
}

// Init creates an empty record. It refuses where one exists.
func Init(c Config) error {
	s := newState()
	if c.Genesis != nil {
		s.pinned, s.genesis = true, *c.Genesis
	}
	log, err := durable.Create(c.fs(), c.path(), c.Owner, s.snapshot()...)
	if err != nil {
		return fmt.Errorf("init slashing record: %w", err)
	}
	return log.Close()
}

// Open loads a record. A missing or damaged one is an error. If the last
// records were lost, every key is fenced (FenceTornTail), durably so before
// Open returns.
func Open(c Config) (*Record, error) {
	s := newState()
	found, err := durable.Recover(c.fs(), c.path(), c.Owner, s.replay)
	if err != nil {
		return nil, fmt.Errorf("open slashing record: %w", err)
	}
	if !s.loaded {
		return nil, fmt.Errorf("open slashing record: %w: snapshot without head", durable.ErrDamaged)
	}
	if c.Genesis != nil && s.pinned && s.genesis != *c.Genesis {
		return nil, fmt.Errorf("open slashing record: pinned to genesis validators root %x, the network has %x", s.genesis, *c.Genesis)
	}
	if c.Genesis != nil {
		s.pinned, s.genesis = true, *c.Genesis
	}
	if found.Tail == durable.TailUncertain {
		for _, ks := range s.keys {
			ks.Fence |= FenceTornTail
		}
	}
	s.starts++
	log, err := found.Resume(s.snapshot()...)
	if err != nil {
		return nil, fmt.Errorf("open slashing record: %w", err)
	}
	r := &Record{compactAt: c.CompactAt, log: log, state: s, snapshot: log.Size()}
	if r.compactAt == 0 {
		r.compactAt = defaultCompactAt
	}
	return r, nil
}

// replay rebuilds the state from the log.
func (s *state) replay(rec durable.Record) error {
	if rec.Snapshot {
		return s.load(rec.Payload)
	}
	x, err := decodeEntry(rec.Payload)
	if err != nil {
		return err
	}
	s.apply(x, rec.Payload)
	if s.seq != rec.Seq {
		return fmt.Errorf("entry %d stands at %d", s.seq, rec.Seq)
	}
	if x.kind == entryRegister {
		s.keys[x.key].ready = true
	}
	return nil
}

// Close makes everything begun durable and closes the log.
func (r *Record) Close() error { return r.log.Close() }

// Failed is closed when the log can no longer be trusted. The owner must end
// the process then, and release nothing more.
func (r *Record) Failed() <-chan struct{} { return r.log.Failed() }

// Item is one duty that someone asks a partial signature for.
type Item struct {
	Key Key
	// Genesis is the duty's genesis validators root. Only kinds that cannot
	// be slashed may come without.
	Genesis *Root
	Facts   Facts
}

// Ticket is the outcome of Begin.
type Ticket struct {
	errs    []error
	pending durable.Pending
	any     bool // something is pending
}

// Refused says, before anything is durable, why item i may never be released,
// or nil. A nil is no permission: only Wait gives that.
func (t *Ticket) Refused(i int) error { return t.errs[i] }

// Wait returns one error per item. Nil means that the duty is on disk and its
// signature may leave the process; everything else means that it must not.
func (t *Ticket) Wait() []error {
	out := make([]error, len(t.errs))
	copy(out, t.errs)
	if !t.any {
		return out
	}
	if err := t.pending.Wait(); err != nil {
		for i := range out {
			if out[i] == nil {
				out[i] = fmt.Errorf("record duty: %w", err)
			}
		}
	}
	return out
}

// Begin decides about the items in their order and starts to write down those
// that it allows. The same message asked for again is written down again,
// hence it waits for the fsync that covers the first, too.
func (r *Record) Begin(b Bounds, items ...Item) *Ticket {
	t := &Ticket{errs: make([]error, len(items))}
	r.mu.Lock()
	defer r.mu.Unlock()
	var payloads [][]byte
	for i, item := range items {
		ks := r.state.keys[item.Key]
		if rule := r.decide(b, item, ks); rule != "" {
			var s Status
			if ks != nil {
				s = ks.Status
			}
			t.errs[i] = explain(rule, item.Key, s, item.Facts, b)
			continue
		}
		if item.Genesis != nil && !r.state.pinned {
			payloads = append(payloads, r.state.change(entry{kind: entryGenesis, genesis: *item.Genesis}))
		}
		payloads = append(payloads, r.state.change(dutyEntry(item.Key, item.Facts)))
	}
	if len(payloads) > 0 {
		t.pending = r.append(payloads)
		t.any = true
	}
	return t
}

// decide returns the rule that refuses an item, or "". r.mu is held.
func (r *Record) decide(b Bounds, item Item, ks *keyState) Rule {
	if ks == nil || !ks.ready {
		return RuleUnknownKey
	}
	_, other := item.Facts.(Other)
	if item.Genesis == nil && !other {
		return RuleGenesis
	}
	if item.Genesis != nil && r.state.pinned && *item.Genesis != r.state.genesis {
		return RuleGenesis
	}
	_, d := step(ks.Status, item.Facts, b)
	switch {
	case !d.Allowed:
		return d.Rule
	case !ks.roomFor(item.Facts.usage()):
		return RuleMalformed
	}
	return ""
}

// change applies an entry and returns its encoding, which must be appended
// before r.mu is released.
func (s *state) change(x entry) []byte {
	payload := x.encode()
	s.apply(x, payload)
	return payload
}

// append queues payloads, and a snapshot when one is due. r.mu is held.
func (r *Record) append(payloads [][]byte) durable.Pending {
	r.last, r.begun = r.log.Append(payloads...), true
	// Twice the last snapshot: else one that is large by itself would be
	// written again at every append.
	if size := r.log.Size(); size > r.compactAt && size > 2*r.snapshot {
		r.log.Rotate(r.state.snapshot()...)
		r.snapshot = r.log.Size()
	}
	return r.last
}

// change applies changes that are no duties, and queues them. r.mu is held.
func (r *Record) change(changes []entry) durable.Pending {
	payloads := make([][]byte, len(changes))
	for i, x := range changes {
		payloads[i] = r.state.change(x)
	}
	return r.append(payloads)
}

// write makes a change durable that is no duty.
func (r *Record) write(x entry) error {
	r.mu.Lock()
	p := r.change([]entry{x})
	r.mu.Unlock()
	return p.Wait()
}

// Register lets a key sign, from the moment on when it returns nil. What is
// known of the key already stays: a registration only adds.
func (r *Record) Register(k Key, h History) error {
	if h.Mode > HistoryOthers || h.Mode != HistoryFloor && h.Mode != HistoryOthers && h.Floor != (Floor{}) {
		return fmt.Errorf("register key %x: contradictory history", k[:4])
	}
	r.mu.Lock()
	if !r.state.roomFor(k) {
		defer r.mu.Unlock()
		return fmt.Errorf("register key %x: %w", k[:4], errFull)
	}
	p := r.change([]entry{{kind: entryRegister, key: k, history: h}})
	r.mu.Unlock()
	if err := p.Wait(); err != nil {
		return fmt.Errorf("register key %x: %w", k[:4], err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.keys[k].ready = true
	return nil
}

// Stop refuses every later duty of a key, durably when it returns nil. The
// history stays, for the day when the key comes back. A key that is stopped
// already costs no write, only waiting for the one that stopped it.
func (r *Record) Stop(k Key) error {
	r.mu.Lock()
	ks := r.state.keys[k]
	if ks == nil {
		defer r.mu.Unlock()
		return fmt.Errorf("stop key %x: %w", k[:4], ErrUnknownKey)
	}
	if !ks.Stopped {
		r.change([]entry{{kind: entryStop, key: k}})
	}
	last, begun := r.last, r.begun
	r.mu.Unlock()
	if !begun {
		return nil
	}
	if err := last.Wait(); err != nil {
		return fmt.Errorf("stop key %x: %w", k[:4], err)
	}
	return nil
}

// ErrUnknownKey means that the record has never heard of a key.
var ErrUnknownKey = errors.New("key is not in the slashing record")

// Relax states that the holders whose floor HistoryOthers set went no further
// than f. It is the one change that lets more be signed than before, and it
// leaves every other floor and all watermarks as they are.
func (r *Record) Relax(k Key, f Floor) error {
	s, known := r.Status(k)
	switch {
	case !known:
		return fmt.Errorf("relax floor of key %x: %w", k[:4], ErrUnknownKey)
	case s.Others.min(f) == s.Others: // it says nothing new
		return nil
	}
	if err := r.write(entry{kind: entryRelax, key: k, floor: f}); err != nil {
		return fmt.Errorf("relax floor of key %x: %w", k[:4], err)
	}
	return nil
}

// Raise states that nothing above the floor was ever signed with the key. It
// lifts the key's fences. A floor never goes down.
func (r *Record) Raise(k Key, f Floor) error {
	if _, known := r.Status(k); !known {
		return fmt.Errorf("raise floor of key %x: %w", k[:4], ErrUnknownKey)
	}
	if err := r.write(entry{kind: entryRaise, key: k, floor: f}); err != nil {
		return fmt.Errorf("raise floor of key %x: %w", k[:4], err)
	}
	return nil
}

// RaiseAll states that this record allowed nothing above the floor. It lifts
// FenceTornTail of every key, and no other fence: what a key signed elsewhere
// it cannot know.
func (r *Record) RaiseAll(f Floor) error {
	if err := r.write(entry{kind: entryRaiseAll, floor: f}); err != nil {
		return fmt.Errorf("raise floor of all keys: %w", err)
	}
	return nil
}

// Status returns what is known of a key.
func (r *Record) Status(k Key) (Status, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ks := r.state.keys[k]
	if ks == nil {
		return Status{}, false
	}
	return ks.Status, true
}

// Keys returns every key that the record knows, in order of their bytes.
func (r *Record) Keys() []Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.sortedKeys()
}
