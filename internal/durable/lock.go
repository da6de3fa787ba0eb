package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrLocked means that another process owns the directory.
var ErrLocked = errors.New("in use by another process")

// lockName is the file in a locked directory that carries the lock.
const lockName = "LOCK"

// DirLock is a directory held by this process alone.
type DirLock struct{ f *os.File }

// Lock takes dir for this process. The kernel lets go of the lock when the
// process dies, however it dies. It guards against a second start by
// mistake, not against a copy of the directory elsewhere.
func Lock(dir string) (*DirLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := readHolder(f)
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock directory %s: %w%s", dir, ErrLocked, holder)
		}
		return nil, fmt.Errorf("lock directory %s: %w", dir, err)
	}
	// The pid only serves the message above, so it need not be durable.
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock directory %s: %w", dir, err)
	}
	return &DirLock{f}, nil
}

func readHolder(f *os.File) string {
	var buf [20]byte
	n, _ := f.ReadAt(buf[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (pid %d)", pid)
}

// Close gives the directory back. The file stays: removing it would let a
// waiting process lock a name that is gone.
func (l *DirLock) Close() error { return l.f.Close() }
