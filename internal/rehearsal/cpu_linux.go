package rehearsal

import (
	"runtime"
	"syscall"
	"time"
)

// spend returns the processor time that work takes on this thread. Work that
// blst spreads over threads counts with the part done here; what uses more is
// measured alone, by the process's account.
func spend(work func() error) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := cpu(syscall.RUSAGE_THREAD)
	err := work()
	return cpu(syscall.RUSAGE_THREAD) - before, err
}

// spendAll is spend for work that is alone in the process.
func spendAll(work func() error) (time.Duration, error) {
	before := cpu(syscall.RUSAGE_SELF)
	err := work()
	return cpu(syscall.RUSAGE_SELF) - before, err
}

func cpu(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory is the most that the process ever had resident, in MiB.
func peakMemory() int {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return int(u.Maxrss >> 10)
}
