package secret

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mapPages maps size zero bytes outside the Go heap, out of core dumps and,
// where the limit permits, locked. Without memory there is no going on.
func mapPages(size int) (mem []byte, locked bool) {
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		panic(fmt.Sprintf("secret: map %d bytes: %v", size, err))
	}
	// An old kernel without MADV_DONTDUMP still has Harden.
	_ = unix.Madvise(mem, unix.MADV_DONTDUMP)
	return mem, unix.Mlock(mem) == nil
}

// unmapPages cannot fail on what mapPages returned.
func unmapPages(mem []byte) { _ = unix.Munmap(mem) }

// Harden keeps the process's memory from core dumps and from being read by
// other processes of the same user (ptrace, /proc/PID/mem). Call it first in
// main, before any secret exists.
func Harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("set core dump limit to zero: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("mark process as not dumpable: %w", err)
	}
	return nil
}
