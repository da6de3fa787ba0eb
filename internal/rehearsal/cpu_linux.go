package rehearsal

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// spend returns the processor time that work takes on this thread. Work that
// blst spreads over threads counts with the part done here; what uses more is
// measured alone, by the process's account.
func spend(work func() error) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := cpu(unix.CLOCK_THREAD_CPUTIME_ID)
	err := work()
	return cpu(unix.CLOCK_THREAD_CPUTIME_ID) - before, err
}

// spendAll is spend for work that is alone in the process.
func spendAll(work func() error) (time.Duration, error) {
	before := cpu(unix.CLOCK_PROCESS_CPUTIME_ID)
	err := work()
	return cpu(unix.CLOCK_PROCESS_CPUTIME_ID) - before, err
}

// cpu reads one of the kernel's clocks, which count finer than its accounts.
func cpu(clock int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// peakMemory is the most that the process ever had resident, in MiB.
func peakMemory() int {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return int(u.Maxrss >> 10)
}
