// Package durabletest is a disk in memory that fails, tears, loses and dies
// on request.
//
// Owns: [Disk], a [durable.FS] that remembers what was synced, counts every
// operation that changes something, injects one [Fault] at a chosen one, and
// shows what a crash would have left ([Disk.Crash]).
//
// Never: time, randomness of its own, or mercy: a crash may keep any subset
// of what was not synced.
//
// Start reading at Disk.
package durabletest

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"sync"

	"github.com/quorate/quorate/internal/durable"
)

var (
	// ErrInjected is what a failing operation returns.
	ErrInjected = errors.New("injected fault")
	// ErrKilled is what every operation returns once the process is dead.
	ErrKilled = errors.New("process killed")
)

// Fault is what happens at the chosen operation.
type Fault int

const (
	// Fail: the operation has no effect and returns an error. After a
	// failed sync the data counts as clean and is never written, as on
	// Linux, though reading still shows it.
	Fail Fault = iota + 1
	// FailPersisted: the operation takes effect and returns an error.
	FailPersisted
	// Tear: a write takes effect by half and returns an error. Any other
	// operation fails.
	Tear
	// Kill: the process dies before the operation.
	Kill
	// KillTorn: the process dies in the middle of the write.
	KillTorn
	// KillPersisted: the process dies right after the operation.
	KillPersisted
)

// Faults lists all of them.
var Faults = []Fault{Fail, FailPersisted, Tear, Kill, KillTorn, KillPersisted}

func (f Fault) String() string {
	return [...]string{"none", "fail", "fail-but-persisted", "tear", "kill", "kill-torn", "kill-but-persisted"}[f]
}

// Loss is what a crash takes.
type Loss int

const (
	// LoseNothing: the process died, the machine did not.
	LoseNothing Loss = iota
	// LoseUnsynced: the power failed and nothing unsynced was written.
	LoseUnsynced
	// LoseSome: the power failed and each unsynced write survived whole, by
	// its first half, or not at all; directory changes survived up to some
	// point.
	LoseSome
)

// Losses lists all of them.
var Losses = []Loss{LoseNothing, LoseUnsynced, LoseSome}

func (l Loss) String() string {
	return [...]string{"process-killed", "unsynced-lost", "some-unsynced-lost"}[l]
}

// Disk is a file system in memory. Directories exist as soon as they are
// named.
type Disk struct {
	mu      sync.Mutex
	now     map[string]*inode // as a running process sees it
	safe    map[string]*inode // entries that survive a power failure
	pending []entryChange     // since the last SyncDir, in order
	ops     int
	faultAt int // operation number, 0 for none
	fault   Fault
	killed  bool
}

type entryChange struct {
	dir   string
	apply func(map[string]*inode)
}

type inode struct {
	now    []byte
	safe   []byte
	writes []write // not synced
}

type write struct {
	off  int64
	data []byte
	trim bool // truncation to off instead of a write
}

func (w write) apply(to []byte) []byte {
	if w.trim {
		return append([]byte(nil), to[:min(w.off, int64(len(to)))]...)
	}
	if end := w.off + int64(len(w.data)); end > int64(len(to)) {
		to = append(to, make([]byte, end-int64(len(to)))...)
	}
	copy(to[w.off:], w.data)
	return to
}

// NewDisk returns an empty disk.
func NewDisk() *Disk {
	return &Disk{now: map[string]*inode{}, safe: map[string]*inode{}}
}

// Inject arranges a fault at the n-th changing operation from now, counted
// from 1.
func (d *Disk) Inject(n int, f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faultAt, d.fault = d.ops+n, f
}

// Ops is the number of changing operations so far: creations, writes, syncs,
// truncations, renames, removals and directory syncs.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Kill lets every later operation fail.
func (d *Disk) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.killed = true
}

// Crash returns what the next process finds. The old disk is dead.
func (d *Disk) Crash(loss Loss, rng *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.killed = true
	entries := d.now
	if loss != LoseNothing {
		entries = d.safe
		if loss == LoseSome {
			// Metadata is journalled in order.
			for _, c := range d.pending[:rng.IntN(len(d.pending)+1)] {
				c.apply(entries)
			}
		}
	}
	out := NewDisk()
	for path, i := range entries {
		content := append([]byte(nil), i.now...)
		if loss != LoseNothing {
			content = append([]byte(nil), i.safe...)
			for _, w := range i.writes {
				if loss == LoseUnsynced {
					break
				}
				switch rng.IntN(3) {
				case 1:
					w.data = w.data[:len(w.data)/2]
					content = w.apply(content)
				case 2:
					content = w.apply(content)
				}
			}
		}
		n := &inode{now: content, safe: append([]byte(nil), content...)}
		out.now[path], out.safe[path] = n, n
	}
	return out
}

// Content returns a copy of a file as a running process sees it.
func (d *Disk) Content(path string) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.now[path]
	if !ok {
		return nil, false
	}
	return append([]byte(nil), i.now...), true
}

// SetContent replaces a file durably, behind everyone's back.
func (d *Disk) SetContent(path string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &inode{now: append([]byte(nil), data...), safe: append([]byte(nil), data...)}
	d.now[path], d.safe[path] = n, n
}

// Paths returns all files, sorted.
func (d *Disk) Paths() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for p := range d.now {
		out = append(out, p)
	}
	sort.Strings(out)
	return out
}

// op runs one changing operation under the fault plan. half is what a torn
// operation does, nil if it cannot be torn; failed is what a failure leaves.
func (d *Disk) op(whole, half, failed func()) error {
	if d.killed {
		return ErrKilled
	}
	d.ops++
	fault := Fault(0)
	if d.ops == d.faultAt {
		fault = d.fault
	}
	if fault == Kill || fault == KillTorn || fault == KillPersisted {
		d.killed = true
	}
	switch {
	case fault == 0 || fault == FailPersisted || fault == KillPersisted:
		whole()
	case (fault == Tear || fault == KillTorn) && half != nil:
		half()
	case failed != nil && !d.killed:
		failed()
	}
	switch {
	case fault == 0:
		return nil
	case d.killed:
		return ErrKilled
	}
	return ErrInjected
}

func (d *Disk) changeEntry(dir string, apply func(map[string]*inode)) {
	apply(d.now)
	d.pending = append(d.pending, entryChange{dir, apply})
}

// Open implements durable.FS.
func (d *Disk) Open(path string, flag int, _ fs.FileMode) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.killed {
		return nil, ErrKilled
	}
	i, ok := d.now[path]
	switch {
	case !ok && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	case ok && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrExist}
	case !ok:
		i = &inode{}
		create := func() { d.changeEntry(filepath.Dir(path), func(m map[string]*inode) { m[path] = i }) }
		if err := d.op(create, nil, nil); err != nil {
			return nil, err
		}
	case flag&os.O_TRUNC != 0:
		if err := d.op(func() { i.write(write{trim: true}) }, nil, nil); err != nil {
			return nil, err
		}
	}
	return &file{d, i}, nil
}

// Rename implements durable.FS.
func (d *Disk) Rename(oldPath, newPath string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.now[oldPath]
	if !ok && !d.killed {
		return &fs.PathError{Op: "rename", Path: oldPath, Err: fs.ErrNotExist}
	}
	return d.op(func() {
		d.changeEntry(filepath.Dir(newPath), func(m map[string]*inode) {
			delete(m, oldPath)
			m[newPath] = i
		})
	}, nil, nil)
}

// Remove implements durable.FS.
func (d *Disk) Remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.now[path]; !ok && !d.killed {
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
	}
	return d.op(func() {
		d.changeEntry(filepath.Dir(path), func(m map[string]*inode) { delete(m, path) })
	}, nil, nil)
}

// ReadDir implements durable.FS.
func (d *Disk) ReadDir(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.killed {
		return nil, ErrKilled
	}
	var names []string
	for p := range d.now {
		if filepath.Dir(p) == filepath.Clean(dir) {
			names = append(names, filepath.Base(p))
		}
	}
	sort.Strings(names)
	return names, nil
}

// SyncDir implements durable.FS.
func (d *Disk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.op(func() {
		kept := d.pending[:0:0]
		for _, c := range d.pending {
			if c.dir == filepath.Clean(dir) {
				c.apply(d.safe)
			} else {
				kept = append(kept, c)
			}
		}
		d.pending = kept
	}, nil, nil)
}

type file struct {
	disk *Disk
	i    *inode
}

func (i *inode) write(w write) {
	i.now = w.apply(i.now)
	i.writes = append(i.writes, w)
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	data := append([]byte(nil), b...)
	err := f.disk.op(
		func() { f.i.write(write{off: off, data: data}) },
		func() { f.i.write(write{off: off, data: data[:len(data)/2]}) },
		nil)
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *file) sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.op(func() {
		for _, w := range f.i.writes {
			f.i.safe = w.apply(f.i.safe)
		}
		f.i.writes = nil
	}, nil, func() { f.i.writes = nil })
}

func (f *file) Sync() error     { return f.sync() }
func (f *file) Datasync() error { return f.sync() }

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.killed {
		return 0, ErrKilled
	}
	if off >= int64(len(f.i.now)) {
		return 0, io.EOF
	}
	n := copy(b, f.i.now[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.killed {
		return 0, ErrKilled
	}
	return int64(len(f.i.now)), nil
}

func (f *file) Close() error { return nil }
