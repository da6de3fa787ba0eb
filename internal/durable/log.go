package durable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/quorate/quorate/internal/wire"
)

var (
	// ErrMissing means that there is no log where one must be.
	ErrMissing = errors.New("log is missing")
	// ErrDamaged means that durable records are unreadable or gone.
	ErrDamaged = errors.New("log is damaged")
	// ErrForeign means that the log belongs to another cluster or domain.
	ErrForeign = errors.New("log belongs to another owner")
	// ErrPoisoned means that a write or fsync failed. What the disk holds is
	// unknown from then on: end the process.
	ErrPoisoned = errors.New("log is poisoned")
	// ErrClosed means that the owner closed the log.
	ErrClosed = errors.New("log is closed")
)

// Log is an append-only log of records with group commit: while one fsync
// runs, all that is appended gathers in the next frame.
//
// One goroutine, started by Create or Resume and ended by Close or by the
// first failure, owns the file.
type Log struct {
	fsys FS
	path string
	id   Identity

	// Owned by the committer goroutine.
	file    File
	segment [32]byte // link of the segment's header
	at      position
	zeroed  int64 // end of the zeros written ahead

	failed chan struct{} // closed when poisoned
	done   chan struct{} // closed when the committer has ended

	mu      sync.Mutex
	work    sync.Cond // signalled when queue or closing changes
	queue   []*batch
	seq     uint64 // of the last record appended, durable or not
	size    int64  // of the segment once the queue is written
	closing bool
	err     error // why nothing can be appended any more
	stats   Stats
}

// Stats counts what a log has made durable since it was opened.
type Stats struct {
	Records uint64
	Syncs   uint64
}

// batch is one frame to be: its header is left blank until it is sealed.
type batch struct {
	kind    frameKind
	buf     []byte
	records int
	done    chan struct{} // closed when durable or failed; err is final then
	err     error
}

func newBatch(kind frameKind) *batch {
	return &batch{kind: kind, buf: make([]byte, frameHeaderSize+4), done: make(chan struct{})}
}

func (b *batch) add(payload []byte) {
	b.buf = binary.BigEndian.AppendUint32(b.buf, uint32(len(payload)))
	b.buf = append(b.buf, payload...)
	b.records++
	binary.BigEndian.PutUint32(b.buf[frameHeaderSize:], uint32(b.records))
}

func (b *batch) finish(err error) {
	b.err = err
	close(b.done)
}

// batchTarget closes a frame for further appends: a frame beyond it gains
// nothing from sharing an fsync.
const batchTarget = 1 << 20

// Pending is an append under way.
type Pending struct {
	batch *batch
	seq   uint64
}

// Wait returns nil once the append is durable. An error means that it is
// unknown whether it is, now or after a restart.
func (p Pending) Wait() error {
	<-p.batch.done
	return p.batch.err
}

// Seq is the sequence of the append's first record.
func (p Pending) Seq() uint64 { return p.seq }

// Append queues records, which become durable together or not at all. Their
// order on disk is the order of the calls, so that an owner who must keep
// an order calls it under the lock that defines the order.
func (l *Log) Append(payloads ...[]byte) Pending { return l.enqueue(kindRecords, payloads) }

// Rotate queues the start of a new segment with a snapshot that stands for
// everything appended before. The old segment disappears in the same rename
// that shows the new one.
func (l *Log) Rotate(snapshot ...[]byte) Pending { return l.enqueue(kindSnapshot, snapshot) }

func (l *Log) enqueue(kind frameKind, payloads [][]byte) Pending {
	size := frameHeaderSize + 4
	for _, p := range payloads {
		size += 4 + len(p)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := Pending{seq: l.seq + 1}
	err := l.err
	switch {
	case err != nil:
	case len(payloads) == 0:
		err = errors.New("append to log: nothing to append")
	case size-frameHeaderSize > wire.MaxLogFrame:
		err = fmt.Errorf("append to log: %d bytes, over the limit of %d", size, wire.MaxLogFrame)
	}
	if err != nil {
		p.batch = newBatch(kind)
		p.batch.finish(err)
		return p
	}
	p.batch = l.openBatch(kind, size)
	before := len(p.batch.buf)
	for _, payload := range payloads {
		p.batch.add(payload)
	}
	if kind == kindRecords {
		l.seq += uint64(len(payloads))
		l.size += int64(len(p.batch.buf) - before)
	} else {
		l.size = framesStart + int64(len(p.batch.buf))
	}
	l.work.Signal()
	return p
}

// openBatch returns the last batch of the queue if the payloads may join it,
// else a new one. The committer has removed what it is writing. l.mu is held.
func (l *Log) openBatch(kind frameKind, size int) *batch {
	if n := len(l.queue); n > 0 && kind == kindRecords {
		if b := l.queue[n-1]; b.kind == kindRecords && len(b.buf)+size <= batchTarget {
			return b
		}
	}
	b := newBatch(kind)
	l.queue = append(l.queue, b)
	l.size += frameHeaderSize + 4
	return b
}

// Size is how long the segment is once everything appended is written.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Stats returns what was made durable so far.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Failed is closed when the log is poisoned, so that the owner can end the
// process even when nobody waits for an append.
func (l *Log) Failed() <-chan struct{} { return l.failed }

// Err says why nothing can be appended any more, or nil.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close makes everything appended durable and ends the committer. It returns
// the error that poisoned the log, if one did.
func (l *Log) Close() error {
	l.mu.Lock()
	l.closing = true
	if l.err == nil {
		l.err = ErrClosed
	}
	l.work.Signal()
	l.mu.Unlock()
	<-l.done
	if err := l.Err(); !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}

// commitLoop is the committer goroutine.
func (l *Log) commitLoop() {
	defer close(l.done)
	defer func() { _ = l.file.Close() }() // everything acknowledged is synced
	for {
		b := l.next()
		if b == nil {
			return
		}
		if err := l.commit(b); err != nil {
			l.poison(err, b)
			return
		}
		l.mu.Lock()
		l.stats.Syncs++
		if b.kind == kindRecords {
			l.stats.Records += uint64(b.records)
		}
		l.mu.Unlock()
		b.finish(nil)
	}
}

// next waits for a batch; nil means that the log is closed and written.
func (l *Log) next() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closing {
		l.work.Wait()
	}
	if len(l.queue) == 0 {
		return nil
	}
	b := l.queue[0]
	l.queue = l.queue[1:]
	return b
}

func (l *Log) poison(cause error, writing *batch) {
	err := fmt.Errorf("append to log %s: %w: %w", l.path, ErrPoisoned, cause)
	l.mu.Lock()
	l.err = err
	waiting := l.queue
	l.queue = nil
	l.mu.Unlock()
	close(l.failed)
	writing.finish(err)
	for _, b := range waiting {
		b.finish(err)
	}
}

func (l *Log) commit(b *batch) error {
	if b.kind == kindSnapshot {
		return l.rotate(b)
	}
	next := sealFrame(b.buf, b.kind, l.at, b.records)
	if err := l.zeroUpTo(next.end); err != nil {
		return err
	}
	if _, err := l.file.WriteAt(b.buf, l.at.end); err != nil {
		return err
	}
	// After the frame, so that a process killed in between leaves a mark
	// that disowns the torn frame.
	if _, err := l.file.WriteAt(encodeMark(l.segment, next), markAt(next.frame)); err != nil {
		return err
	}
	if err := l.file.Datasync(); err != nil {
		return err
	}
	l.at = next
	return nil
}

// zeroUpTo writes zeros ahead, at least until end.
func (l *Log) zeroUpTo(end int64) error {
	if end <= l.zeroed {
		return nil
	}
	zeros := make([]byte, zeroChunk)
	for l.zeroed < end {
		if _, err := l.file.WriteAt(zeros, l.zeroed); err != nil {
			return err
		}
		l.zeroed += zeroChunk
	}
	return nil
}

// nextPath is where a segment is built; Clean removes one left behind.
func nextPath(path string) string { return path + abandonedMark + "next" }

// rotate builds the segment that starts with the snapshot b, and switches to
// it. Only when the directory is synced may anything be acknowledged that
// stands in the new segment alone.
func (l *Log) rotate(b *batch) error {
	f, err := l.fsys.Open(nextPath(l.path), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	at, segment, err := writeSegment(f, l.id, l.at, b)
	if err == nil {
		err = l.fsys.Rename(nextPath(l.path), l.path)
	}
	if err == nil {
		err = syncParent(l.fsys, l.path)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if l.file != nil {
		_ = l.file.Close() // read by nobody any more, its name is gone
	}
	l.file, l.segment, l.at, l.zeroed = f, segment, at, at.end
	return nil
}

func writeSegment(f File, id Identity, last position, b *batch) (at position, segment [32]byte, err error) {
	header, segment := encodeHeader(id, last)
	start := position{frame: last.frame, seq: last.seq, link: segment, end: framesStart}
	at = sealFrame(b.buf, kindSnapshot, start, b.records)
	prefix := make([]byte, framesStart)
	copy(prefix, header)
	copy(prefix[markAt(start.frame):], encodeMark(segment, start))
	copy(prefix[markAt(at.frame):], encodeMark(segment, at))
	if _, err := f.WriteAt(prefix, 0); err != nil {
		return at, segment, err
	}
	if _, err := f.WriteAt(b.buf, framesStart); err != nil {
		return at, segment, err
	}
	return at, segment, f.Sync()
}
