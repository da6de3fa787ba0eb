package slashing

import "github.com/quorate/quorate/internal/durable"

// Logged is an entry of a record's log.
type Logged struct {
	Seq   uint64
	Chain Root // over all entries up to this one, as in Usage
	// Key and Facts say what was to be signed. Facts is nil where the entry is
	// no use of a key: a registration, a floor, an import.
	Key   Key
	Facts Facts
}

// ReadLog hands out what a record's log says, oldest first, and changes
// nothing. A log begins at the last opening, or where it was compacted; the
// first entry stands for all before. Of a record that is open it may miss the
// newest.
func ReadLog(c Config, visit func(Logged)) error {
	s := newState()
	_, err := durable.Recover(c.fs(), c.path(), c.Owner, func(rec durable.Record) error {
		begun := s.loaded
		if err := s.replay(rec); err != nil {
			return err
		}
		if rec.Snapshot && begun {
			return nil // of one key: the head stands for all of it
		}
		l := Logged{Seq: s.seq, Chain: s.chain}
		if !rec.Snapshot {
			x, err := decodeEntry(rec.Payload)
			if err != nil {
				return err
			}
			l.Key, l.Facts = x.key, x.facts
		}
		visit(l)
		return nil
	})
	return err
}
