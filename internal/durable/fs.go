package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is what this package needs of a file system. No operation but Sync,
// Datasync and SyncDir promises anything about what survives a crash.
type FS interface {
	// Open opens a file with the flags of package os.
	Open(path string, flag int, perm fs.FileMode) (File, error)
	// Rename replaces newPath atomically.
	Rename(oldPath, newPath string) error
	Remove(path string) error
	// ReadDir returns the names in dir, sorted.
	ReadDir(dir string) ([]string, error)
	// SyncDir makes the creations, renames and removals in dir durable.
	SyncDir(dir string) error
}

// File is an open file of an FS.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	// Sync makes content and metadata durable.
	Sync() error
	// Datasync makes content durable, and what metadata is needed to read it.
	Datasync() error
}

// OS is the operating system's file system.
type OS struct{}

type osFile struct{ *os.File }

func (OS) Open(path string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (OS) Rename(oldPath, newPath string) error { return os.Rename(oldPath, newPath) }
func (OS) Remove(path string) error             { return os.Remove(path) }

func (OS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Datasync() error { return datasync(f.File) }

// syncParent makes path's entry in its directory durable.
func syncParent(fsys FS, path string) error { return fsys.SyncDir(filepath.Dir(path)) }
