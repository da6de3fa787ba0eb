package durable

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/quorate/quorate/internal/wire"
)

// Tail is what stood at the end of a recovered log.
type Tail int

const (
	// TailClean: the log ends with a whole frame and nothing hints at more.
	TailClean Tail = iota + 1
	// TailDiscarded: a frame was being written when the process died, and
	// the marks show that its fsync had not returned. Nobody was told that
	// it is durable, so it is gone without harm.
	TailDiscarded
	// TailUncertain: the last frame cannot be read, or a mark cannot, and
	// what is lost may have been acknowledged.
	TailUncertain
)

func (t Tail) String() string {
	switch t {
	case TailClean:
		return "clean"
	case TailDiscarded:
		return "interrupted write discarded"
	case TailUncertain:
		return "last records may be lost"
	}
	return "invalid tail"
}

// Record is one payload in the order in which it was appended. Payloads of a
// snapshot carry the sequence of the last record that they stand for.
type Record struct {
	Seq      uint64
	Snapshot bool
	Payload  []byte
}

// Create makes a new log that starts with a snapshot. It refuses to replace
// one. The log exists durably when Create returns.
func Create(fsys FS, path string, id Identity, snapshot ...[]byte) (*Log, error) {
	if len(id.Domain) > wire.MaxName {
		return nil, fmt.Errorf("create log %s: domain name over the limit of %d", path, wire.MaxName)
	}
	f, err := fsys.Open(path, os.O_RDONLY, 0)
	if err == nil {
		return nil, errors.Join(fmt.Errorf("create log %s: %w", path, fs.ErrExist), f.Close())
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("create log %s: %w", path, err)
	}
	return start(fsys, path, id, position{}, snapshot)
}

// Recovered is a log that was read to its end. Nothing can be appended to it
// before its owner has said, by Resume, what state came of it: then a fresh
// segment starts, and whatever hung torn at the end of the old one is gone
// with it.
type Recovered struct {
	Tail Tail
	Seq  uint64 // of the last record

	fsys FS
	path string
	id   Identity
	at   position
}

// Resume continues the log with a segment that starts with the snapshot. The
// new segment is durable when Resume returns.
func (r *Recovered) Resume(snapshot ...[]byte) (*Log, error) {
	return start(r.fsys, r.path, r.id, r.at, snapshot)
}

func start(fsys FS, path string, id Identity, at position, snapshot [][]byte) (*Log, error) {
	l := &Log{
		fsys: fsys, path: path, id: id, at: at, seq: at.seq,
		failed: make(chan struct{}), done: make(chan struct{}),
	}
	l.work.L = &l.mu
	p := l.Rotate(snapshot...)
	if len(l.queue) == 0 { // refused: too large or empty
		return nil, fmt.Errorf("start log %s: %w", path, p.Wait())
	}
	if err := l.rotate(l.next()); err != nil {
		return nil, fmt.Errorf("start log %s: %w", path, err)
	}
	go l.commitLoop()
	return l, nil
}

// Recover reads the log at path and hands every record to apply, oldest
// first. It changes nothing on disk. Only when it returns without error may
// its caller use the state that apply built.
func Recover(fsys FS, path string, id Identity, apply func(Record) error) (*Recovered, error) {
	f, err := fsys.Open(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open log %s: %w", path, ErrMissing)
	}
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", path, err)
	}
	defer f.Close()
	r := &Recovered{fsys: fsys, path: path, id: id}
	if err := r.read(f, apply); err != nil {
		return nil, fmt.Errorf("open log %s: %w", path, err)
	}
	return r, nil
}

func (r *Recovered) read(f File, apply func(Record) error) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size < framesStart {
		return fmt.Errorf("%w: %d bytes long", ErrDamaged, size)
	}
	prefix := make([]byte, framesStart)
	if _, err := f.ReadAt(prefix, 0); err != nil {
		return err
	}
	if r.at, err = decodeHeader(prefix[:blockSize], r.id); err != nil {
		return err
	}
	even, evenOK := decodeMark(r.at.link, 0, prefix[markAt(0):][:markSize])
	odd, oddOK := decodeMark(r.at.link, 1, prefix[markAt(1):][:markSize])
	marks := &marks{intact: evenOK && oddOK}
	for _, m := range []struct {
		position
		ok bool
	}{{even, evenOK}, {odd, oddOK}} {
		if m.ok {
			marks.known = append(marks.known, m.position)
		}
	}
	in := bufio.NewReaderSize(io.NewSectionReader(f, framesStart, size-framesStart), int(min(size, 1<<20)))
	first := r.at.frame + 1
	if err := marks.check(r.at); err != nil {
		return err
	}
	for {
		payloads, kind, next, err := readFrame(in, r.at, size)
		if err != nil {
			return err
		}
		if payloads == nil {
			break
		}
		if (kind == kindSnapshot) != (next.frame == first) {
			return fmt.Errorf("%w: frame %d is of the wrong kind", ErrDamaged, next.frame)
		}
		if err := marks.check(next); err != nil {
			return err
		}
		for i, p := range payloads {
			rec := Record{Seq: r.at.seq + 1 + uint64(i), Payload: p}
			if kind == kindSnapshot {
				rec = Record{Seq: r.at.seq, Snapshot: true, Payload: p}
			}
			if err := apply(rec); err != nil {
				return fmt.Errorf("record %d: %w", rec.Seq, err)
			}
		}
		r.at = next
	}
	r.Seq = r.at.seq
	if r.at.frame < first {
		return fmt.Errorf("%w: snapshot is unreadable", ErrDamaged)
	}
	rest, err := allZeroFrom(f, r.at.end, size)
	if err != nil {
		return err
	}
	r.Tail, err = marks.judge(r.at.frame, rest)
	return err
}

// readFrame reads the frame after at. Nil payloads without an error mean that
// none stands there, or none that can be read.
func readFrame(in *bufio.Reader, at position, size int64) ([][]byte, frameKind, position, error) {
	none := func() ([][]byte, frameKind, position, error) { return nil, 0, position{}, nil }
	head, err := in.Peek(frameHeaderSize)
	if errors.Is(err, io.EOF) {
		return none()
	}
	if err != nil {
		return nil, 0, position{}, err
	}
	length := int64(binary.BigEndian.Uint32(head))
	if length == 0 || length > wire.MaxLogFrame || at.end+frameHeaderSize+length > size {
		return none()
	}
	buf := make([]byte, frameHeaderSize+length)
	if _, err := io.ReadFull(in, buf); err != nil {
		return nil, 0, position{}, err
	}
	kind := frameKind(buf[4])
	payloads, err := parseBody(buf[frameHeaderSize:])
	if err != nil || (kind != kindRecords && kind != kindSnapshot) {
		return none()
	}
	sealed := append([]byte(nil), buf[:frameHeaderSize]...)
	next := sealFrame(buf, kind, at, len(payloads))
	if string(sealed) != string(buf[:frameHeaderSize]) {
		return none()
	}
	return payloads, kind, next, nil
}

func allZeroFrom(f File, from, size int64) (bool, error) {
	buf := make([]byte, 64<<10)
	for from < size {
		n := min(int64(len(buf)), size-from)
		if _, err := f.ReadAt(buf[:n], from); err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if !allZero(buf[:n]) {
			return false, nil
		}
		from += n
	}
	return true, nil
}

// marks are the readable marks of a segment.
type marks struct {
	intact bool // both
	known  []position
}

// check compares the marks with a frame that was read.
func (m *marks) check(at position) error {
	for _, k := range m.known {
		if k.frame == at.frame && (k.link != at.link || k.end != at.end) {
			return fmt.Errorf("%w: frame %d is not the one that was written", ErrDamaged, at.frame)
		}
	}
	return nil
}

// judge decides what the end of a log means, when last is its last readable
// frame and zeros says that only zeros follow.
//
// Frame k+1 is written after the fsync of frame k and of its mark returned.
// Hence the highest mark, which names the last frame whose writing was
// complete in the eyes of the kernel, is:
//
//   - last+2 or more: frame last+1 was acknowledged and cannot be read;
//   - last+1: it was written completely, perhaps synced and acknowledged;
//   - last: whatever follows is a frame whose mark was not written yet;
//   - last-1: the mark of last did not make it, so the fsync of last never
//     returned and frame last+1 was never begun;
//   - less: impossible, marks and frames are not of one file.
//
// One unreadable mark lets the highest be one too low.
func (m *marks) judge(last uint64, zeros bool) (Tail, error) {
	var highest uint64
	for _, k := range m.known {
		highest = max(highest, k.frame)
	}
	switch {
	case len(m.known) == 0:
		return 0, fmt.Errorf("%w: both marks are unreadable", ErrDamaged)
	case highest > last+1:
		return 0, fmt.Errorf("%w: frame %d was written, the last readable one is %d", ErrDamaged, highest, last)
	case highest+1 < last:
		return 0, fmt.Errorf("%w: marks end at frame %d, frames at %d", ErrDamaged, highest, last)
	case highest == last+1 || !m.intact:
		return TailUncertain, nil
	case zeros:
		return TailClean, nil
	case highest == last:
		return TailDiscarded, nil
	}
	return TailUncertain, nil
}
