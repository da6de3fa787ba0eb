package verify

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const tagLeaf = "quorate/v1/event-leaf"

// Records of an audit log file.
const (
	recordEvent       = 1
	recordErased      = 2
	recordCheckpoint  = 3
	recordTransaction = 4
	recordEnd         = 5
)

// logCheck reads an audit log once, from its beginning to its end.
type logCheck struct {
	g       *Genesis
	in      *bufio.Reader
	at      int64 // bytes read
	r       *Report
	tree    tree
	scratch []byte

	roster   *roster
	actor    [2 * maxName]byte // of the event before, which a transaction may follow
	event    event
	open     bool
	attached [32]byte // the last transaction's hash
	txs      uint64
	noted    uint64 // size of the last checkpoint
}

// window is how much of the file is in memory: more than the longest record.
const window = maxTransaction + 1<<10

func (g *Genesis) log(in *bufio.Reader, r *Report) error {
	l := &logCheck{g: g, in: in, r: r, roster: newRoster(g)}
	err := l.header()
	for done := false; err == nil && !done; {
		done, err = l.record()
	}
	if err != nil {
		return fmt.Errorf("byte %d, after event %d: %w", l.at, l.tree.size, err)
	}
	return nil
}

// take returns the next n bytes. They are valid until it is called again.
func (l *logCheck) take(n int) ([]byte, error) {
	b, err := l.in.Peek(n)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the file ends too early")
		}
		return nil, err
	}
	l.at += int64(n)
	_, err = l.in.Discard(n) // leaves the bytes where they are until the next Peek
	return b, err
}

// takeBytes returns bytes after their length.
func (l *logCheck) takeBytes(limit int) ([]byte, error) {
	b, err := l.take(4)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(limit) {
		return nil, fmt.Errorf("length %d over the limit of %d", n, limit)
	}
	return l.take(int(n))
}

func (l *logCheck) header() error {
	b, err := l.take(len(logMagic) + 2 + 32)
	if err != nil {
		return err
	}
	b = b[len(logMagic):]
	if version := binary.BigEndian.Uint16(b); version != 1 {
		return fmt.Errorf("audit log of version %d", version)
	}
	if [32]byte(b[2:]) != l.g.Cluster {
		return fmt.Errorf("it is of cluster %x", b[2:])
	}
	return nil
}

func (l *logCheck) record() (done bool, err error) {
	kind, err := l.take(1)
	if err != nil {
		return false, err
	}
	switch kind[0] {
	case recordEvent:
		return false, l.readEvent()
	case recordErased:
		leaf, err := l.take(32)
		if err != nil {
			return false, err
		}
		l.open = false
		l.r.Erased++
		l.tree.append([32]byte(leaf))
		return false, nil
	case recordCheckpoint:
		raw, err := l.takeBytes(maxCheckpoint)
		if err != nil {
			return false, err
		}
		return false, l.checkpoint(raw)
	case recordTransaction:
		raw, err := l.takeBytes(maxTransaction)
		if err != nil {
			return false, err
		}
		return false, l.transaction(raw)
	case recordEnd:
		return true, l.end()
	}
	return false, fmt.Errorf("record of unknown type %d", kind[0])
}

func (l *logCheck) readEvent() error {
	head, err := l.take(16 + 4)
	if err != nil {
		return err
	}
	salt := [16]byte(head)
	n := binary.BigEndian.Uint32(head[16:])
	if n > maxEvent {
		return fmt.Errorf("event of %d bytes", n)
	}
	body, err := l.take(int(n))
	if err != nil {
		return err
	}
	if l.event, err = parseEvent(body); err != nil {
		return err
	}
	l.roster.enrol(l.event)
	// What the event points at will move on; of actors only those that can
	// have signed are compared, and they are short.
	l.event.actor = l.actor[:copy(l.actor[:], l.event.actor)]
	l.open = true
	var leaf [32]byte
	leaf, l.scratch = tagged(l.scratch, tagLeaf, salt[:], body)
	l.tree.append(leaf)
	return nil
}

func (l *logCheck) checkpoint(raw []byte) error {
	c, err := l.g.checkpoint(raw)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if c.size != l.tree.size || c.root != l.tree.root() {
		return errors.New("the checkpoint is not of the events before it")
	}
	if c.size == l.noted {
		return errors.New("a checkpoint follows another without an event between")
	}
	l.open, l.noted = false, c.size
	l.r.Checkpoints++
	l.r.Cosignatures += c.cosignatures
	return nil
}

func (l *logCheck) transaction(raw []byte) error {
	if !l.open {
		return errors.New("a transaction follows no event")
	}
	if l.event.request == l.attached {
		return errors.New("a transaction stands twice")
	}
	l.open, l.attached = false, l.event.request
	l.txs++
	return l.roster.transaction(raw, l.event, &l.r.Transactions)
}

func (l *logCheck) end() error {
	b, err := l.take(4 * 8)
	if err != nil {
		return err
	}
	l.r.Events = l.tree.size
	for i, have := range []uint64{l.tree.size, l.r.Erased, l.r.Checkpoints, l.txs} {
		if stated := binary.BigEndian.Uint64(b[8*i:]); stated != have {
			return fmt.Errorf("%d %s, the end says %d", have, []string{"events", "erased events", "checkpoints", "transactions"}[i], stated)
		}
	}
	raw, err := l.takeBytes(maxCertificate)
	if err != nil {
		return err
	}
	p, err := l.g.certificate(raw)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if p.size != l.tree.size || p.root != l.tree.root() {
		return fmt.Errorf("the ledger committed to a log of %d events with another root", p.size)
	}
	l.r.Height, l.r.Time = p.height, p.at
	if _, err := l.in.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the end")
	}
	return nil
}
