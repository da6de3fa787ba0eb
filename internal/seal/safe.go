package seal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

var (
	// ErrExists is wrapped where a record would take the place of another.
	ErrExists = errors.New("a record stands there already")
	// ErrUnknown is wrapped where no such record stands.
	ErrUnknown = errors.New("no such record")
)

// Owner is the custody process that a safe belongs to.
type Owner struct {
	Cluster action.ClusterID
	Domain  action.Domain
}

// Safe is a file of sealed records, at most one for each [Slot].
//
// It is a durable log. Put appends its records in one frame, with one fsync
// however many they are. Destroy starts a new segment without the destroyed
// records, which leave the disk with the old one; what blocks the disk itself
// still remembers is sealed, and worth nothing after the next refresh. Each
// segment starts with the version of this layout.
//
// Secrets pass through: a Safe keeps the sealed form only.
type Safe struct {
	owner  Owner
	sealer Sealer
	tail   durable.Tail

	mu   sync.Mutex
	log  *durable.Log
	live map[Slot][]byte // records as they stand in the file
	size int             // of live, together
}

// Slot is the place of a record: new shares of a key stand beside the old
// ones because their epoch differs.
type Slot struct {
	Kind      Kind
	Namespace string
	Exercise  bool
	Key       string // the public key's bytes
	Epoch     uint32
}

// Slot returns where a record with this header stands.
func (h Header) Slot() Slot {
	return Slot{Kind: h.Kind, Namespace: h.Namespace, Exercise: h.Exercise, Key: string(h.Key), Epoch: h.Epoch}
}

func (s Slot) String() string {
	return fmt.Sprintf("%s/%x epoch %d", s.Namespace, s.Key[:min(len(s.Key), 48)], s.Epoch)
}

// Entry is a secret on its way into or out of a safe.
type Entry struct {
	Header
	Secret secret.Bytes
}

func (o Owner) identity() durable.Identity {
	return durable.Identity{Cluster: o.Cluster, Domain: string(o.Domain)}
}

// Create makes an empty safe at path. It refuses to replace one.
func Create(fsys durable.FS, path string, owner Owner, sealer Sealer) (*Safe, error) {
	s := &Safe{owner: owner, sealer: sealer, tail: durable.TailClean, live: make(map[Slot][]byte)}
	log, err := durable.Create(fsys, path, owner.identity(), s.snapshot()...)
	if err != nil {
		return nil, fmt.Errorf("create safe: %w", err)
	}
	s.log = log
	return s, nil
}

// Open reads a safe and hands every entry to visit, which becomes the owner of
// its secret. One record that does not open, or that belongs to another
// owner, stops it: a custody process without all its shares says so at start.
func Open(fsys durable.FS, path string, owner Owner, sealer Sealer, visit func(Entry) error) (*Safe, error) {
	s := &Safe{owner: owner, sealer: sealer, live: make(map[Slot][]byte)}
	first := true
	found, err := durable.Recover(fsys, path, owner.identity(), func(r durable.Record) error {
		if first {
			first = false
			return checkVersion(r.Payload)
		}
		return s.load(bytes.Clone(r.Payload), visit)
	})
	if err != nil {
		return nil, fmt.Errorf("open safe: %w", err)
	}
	s.tail = found.Tail
	if s.log, err = found.Resume(s.snapshot()...); err != nil {
		return nil, fmt.Errorf("open safe: %w", err)
	}
	return s, nil
}

func (s *Safe) load(record []byte, visit func(Entry) error) error {
	h, value, err := OpenRecord(s.sealer, record)
	if err != nil {
		return err
	}
	if err := s.admit(&h, record); err != nil {
		value.Destroy()
		return err
	}
	if err := visit(Entry{h, value}); err != nil {
		return fmt.Errorf("take %s: %w", h.Slot(), err)
	}
	return nil
}

// maxSize keeps the snapshot of a full safe within one frame of the log; the
// rest of the frame is for lengths. It is room for 200,000 shares.
const maxSize = wire.MaxLogFrame - wire.MaxLogFrame/16

// admit takes a record in, unless it is of another owner, its slot is taken or
// the safe is full.
func (s *Safe) admit(h *Header, record []byte) error {
	if h.Cluster != s.owner.Cluster || h.Domain != s.owner.Domain {
		return fmt.Errorf("record %s is of cluster %x, domain %q", h.Slot(), h.Cluster[:4], h.Domain)
	}
	if _, taken := s.live[h.Slot()]; taken {
		return fmt.Errorf("record %s: %w", h.Slot(), ErrExists)
	}
	if s.size+len(record) > maxSize {
		return fmt.Errorf("record %s: the safe is full with %d records", h.Slot(), len(s.live))
	}
	s.live[h.Slot()] = record
	s.size += len(record)
	return nil
}

// drop is the inverse of admit.
func (s *Safe) drop(slot Slot) {
	s.size -= len(s.live[slot])
	delete(s.live, slot)
}

// Tail says how the file ended when it was opened. After
// durable.TailUncertain the last batch that was put may be missing.
func (s *Safe) Tail() durable.Tail { return s.tail }

// Put seals entries and makes them durable, together or not at all. It
// refuses an entry whose slot is taken. It does not consume the secrets. An
// error that wraps durable.ErrPoisoned must end the process.
func (s *Safe) Put(entries ...Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if len(entries) > wire.MaxKeysPerBatch {
		return fmt.Errorf("put %d records: limit is %d", len(entries), wire.MaxKeysPerBatch)
	}
	records := make([][]byte, len(entries))
	for i, e := range entries {
		var err error
		if records[i], err = SealRecord(s.sealer, e.Header, e.Secret); err != nil {
			return fmt.Errorf("put %s: %w", e.Slot(), err)
		}
	}
	pending, err := s.append(entries, records)
	if err != nil {
		return fmt.Errorf("put %d records: %w", len(entries), err)
	}
	if err := pending.Wait(); err != nil {
		return fmt.Errorf("put %d records: %w", len(entries), err)
	}
	return nil
}

func (s *Safe) append(entries []Entry, records [][]byte) (durable.Pending, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range entries {
		if err := s.admit(&entries[i].Header, records[i]); err != nil {
			for _, e := range entries[:i] {
				s.drop(e.Slot())
			}
			return durable.Pending{}, err
		}
	}
	return s.log.Append(records...), nil
}

// Destroy removes records for ever, all of them or none; it is durable on a
// nil return. It refuses a slot in which nothing stands.
func (s *Safe) Destroy(slots ...Slot) error {
	if len(slots) == 0 {
		return nil
	}
	pending, err := s.remove(slots)
	if err == nil {
		err = pending.Wait()
	}
	if err != nil {
		return fmt.Errorf("destroy %d records: %w", len(slots), err)
	}
	return nil
}

func (s *Safe) remove(slots []Slot) (durable.Pending, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, slot := range slots {
		if _, ok := s.live[slot]; !ok {
			return durable.Pending{}, fmt.Errorf("record %s: %w", slot, ErrUnknown)
		}
	}
	for _, slot := range slots {
		s.drop(slot) // a slot named twice is dropped once
	}
	return s.log.Rotate(s.snapshot()...), nil
}

// Has reports whether a record stands in a slot.
func (s *Safe) Has(slot Slot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[slot] != nil
}

// Slots lists what stands in the safe, in a fixed order.
func (s *Safe) Slots() []Slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sorted()
}

func (s *Safe) sorted() []Slot {
	slots := make([]Slot, 0, len(s.live))
	for slot := range s.live {
		slots = append(slots, slot)
	}
	slices.SortFunc(slots, func(a, b Slot) int {
		return cmp.Or(
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Epoch, b.Epoch),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(fmt.Sprint(a.Exercise), fmt.Sprint(b.Exercise)),
		)
	})
	return slots
}

// Failed is closed when a write failed: end the process then.
func (s *Safe) Failed() <-chan struct{} { return s.log.Failed() }

// Close ends the safe; what Put and Destroy acknowledged is durable.
func (s *Safe) Close() error { return s.log.Close() }

// version is what a segment starts with.
const version = 1

// snapshot is the version and then every live record. Its caller holds mu, or
// the safe alone.
func (s *Safe) snapshot() [][]byte {
	out := [][]byte{{version}}
	for _, slot := range s.sorted() {
		out = append(out, s.live[slot])
	}
	return out
}

func checkVersion(b []byte) error {
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != version {
		d.Fail(fmt.Errorf("version %d, want %d", v, version))
	}
	if err := d.Finish(); err != nil {
		return fmt.Errorf("parse safe: %w", err)
	}
	return nil
}
