package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// abandonedMark is in the name of every temporary file.
const abandonedMark = ".tmp-"

// WriteFile replaces path by data so that a crash at any moment leaves the
// old content or the new, whole. It is durable on a nil return; after an
// error either content may be there.
func WriteFile(fsys FS, path string, data []byte, perm fs.FileMode) error {
	if err := writeFile(fsys, path, data, perm); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// WriteOSFile is WriteFile on the operating system's file system.
func WriteOSFile(path string, data []byte, perm fs.FileMode) error {
	return WriteFile(OS{}, path, data, perm)
}

func writeFile(fsys FS, path string, data []byte, perm fs.FileMode) error {
	var suffix [8]byte
	rand.Read(suffix[:])
	tmp := path + abandonedMark + hex.EncodeToString(suffix[:])
	f, err := fsys.Open(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	if err := fillAndClose(f, data); err != nil {
		// Best effort: what stays behind falls to Clean.
		_ = fsys.Remove(tmp)
		return err
	}
	if err := fsys.Rename(tmp, path); err != nil {
		_ = fsys.Remove(tmp)
		return err
	}
	return syncParent(fsys, path)
}

func fillAndClose(f File, data []byte) error {
	_, err := f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// ReadFile returns the content of path, refusing more than max bytes.
func ReadFile(fsys FS, path string, max int64) ([]byte, error) {
	f, err := fsys.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if size > max {
		return nil, fmt.Errorf("read %s: %d bytes, over the limit of %d", path, size, max)
	}
	data := make([]byte, size)
	if n, err := f.ReadAt(data, 0); n != len(data) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	} else if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}

// Remove deletes path, durably on a nil return. A file that does not exist
// counts as removed.
func Remove(fsys FS, path string) error {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	if err := syncParent(fsys, path); err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

// Clean removes the temporary files that killed writers left in dir. Call it
// at start, under the directory's Lock: such a file may hold a secret whose
// real copy is erased one day.
func Clean(fsys FS, dir string) error {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("clean %s: %w", dir, err)
	}
	found := false
	for _, name := range names {
		if !strings.Contains(name, abandonedMark) {
			continue
		}
		found = true
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("clean %s: %w", dir, err)
		}
	}
	if !found {
		return nil
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("clean %s: %w", dir, err)
	}
	return nil
}
