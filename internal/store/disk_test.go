//go:build !race

package store

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

// ram is a disk in memory that can fail at a given operation and that knows
// what a power failure would leave.
type ram struct {
	mu     sync.Mutex
	files  map[storage.FileDesc]*ramFile
	meta   storage.FileDesc
	ops    int // operations so far that could fail
	failAt int // the first operation that fails, with all after it; 0 means never
	syncs  int
}

type ramFile struct {
	data   []byte
	synced int
}

var errRAM = errors.New("disk failed")

func newRAM() *ram { return &ram{files: map[storage.FileDesc]*ramFile{}} }

// afterCrash is what a power failure leaves: of every file what was synced,
// and of the rest a prefix chosen by cut, whose last byte may be garbage.
func (d *ram) afterCrash(cut func(unsynced int) int, garble *rand.Rand) *ram {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := newRAM()
	next.meta = d.meta
	for fd, f := range d.files {
		n := f.synced + cut(len(f.data)-f.synced)
		data := slices.Clone(f.data[:n])
		if garble != nil && n > f.synced {
			data[n-1] ^= byte(1 + garble.IntN(255))
		}
		next.files[fd] = &ramFile{data: data, synced: n}
	}
	return next
}

func (d *ram) op() error {
	d.ops++
	if d.failAt > 0 && d.ops >= d.failAt {
		return errRAM
	}
	return nil
}

type nothing struct{}

func (nothing) Unlock() {}

func (d *ram) Lock() (storage.Locker, error) { return nothing{}, nil }
func (d *ram) Log(string)                    {}
func (d *ram) Close() error                  { return nil }

func (d *ram) SetMeta(fd storage.FileDesc) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op(); err != nil {
		return err
	}
	d.meta = fd
	return nil
}

func (d *ram) GetMeta() (storage.FileDesc, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.meta.Zero() {
		return d.meta, os.ErrNotExist
	}
	return d.meta, nil
}

func (d *ram) List(t storage.FileType) ([]storage.FileDesc, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var fds []storage.FileDesc
	for fd := range d.files {
		if fd.Type&t != 0 {
			fds = append(fds, fd)
		}
	}
	return fds, nil
}

type ramReader struct{ *bytes.Reader }

func (ramReader) Close() error { return nil }

func (d *ram) Open(fd storage.FileDesc) (storage.Reader, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.files[fd]
	if !ok {
		return nil, os.ErrNotExist
	}
	return ramReader{bytes.NewReader(f.data[:len(f.data):len(f.data)])}, nil
}

func (d *ram) Create(fd storage.FileDesc) (storage.Writer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op(); err != nil {
		return nil, err
	}
	f := &ramFile{}
	d.files[fd] = f
	return &ramWriter{d, f}, nil
}

func (d *ram) Remove(fd storage.FileDesc) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op(); err != nil {
		return err
	}
	delete(d.files, fd)
	return nil
}

func (d *ram) Rename(from, to storage.FileDesc) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op(); err != nil {
		return err
	}
	d.files[to] = d.files[from]
	delete(d.files, from)
	return nil
}

type ramWriter struct {
	d *ram
	f *ramFile
}

var _ io.Writer = (*ramWriter)(nil)

func (w *ramWriter) Write(b []byte) (int, error) {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	if err := w.d.op(); err != nil {
		n := len(b) / 2 // failed, but half persisted
		w.f.data = append(w.f.data, b[:n]...)
		return n, err
	}
	w.f.data = append(w.f.data, b...)
	return len(b), nil
}

func (w *ramWriter) Sync() error {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	if err := w.d.op(); err != nil {
		return err
	}
	w.d.syncs++
	w.f.synced = len(w.f.data)
	return nil
}

func (w *ramWriter) Close() error { return nil }
