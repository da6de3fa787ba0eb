package bench

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is USER_HZ, which Linux fixes for every architecture that Go
// knows.
const ticksPerSecond = 100

// cpuOf is the processor time that the processes have used so far.
func cpuOf(pids []int) (time.Duration, error) {
	var ticks int64
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("account for process %d: %w", pid, err)
		}
		n, err := parseStat(string(raw))
		if err != nil {
			return 0, fmt.Errorf("account for process %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// parseStat returns utime + stime, the 14th and 15th field. The second is a
// name in parentheses, in which anything may stand.
func parseStat(stat string) (ticks int64, err error) {
	const utime = 14 - 3 // after the name and its parenthesis
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) <= utime+1 {
		return 0, fmt.Errorf("%d fields in stat", len(fields))
	}
	for _, f := range fields[utime : utime+2] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read stat: %w", err)
		}
		ticks += n
	}
	return ticks, nil
}

// rssOf is the resident memory of the processes together, in MiB. Pages that
// they share count for each.
func rssOf(pids []int) (mib float64, err error) {
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, fmt.Errorf("weigh process %d: %w", pid, err)
		}
		_, rest, _ := strings.Cut(string(raw), "VmRSS:")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != "kB" {
			return 0, fmt.Errorf("weigh process %d: its status has no VmRSS", pid)
		}
		kib, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("weigh process %d: %w", pid, err)
		}
		mib += float64(kib) / 1024
	}
	return mib, nil
}

// ownCPU is what this process has used so far.
func ownCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0 // only bad arguments fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// spend returns the processor time that work takes.
func spend(work func() error) (time.Duration, error) {
	before := ownCPU()
	err := work()
	return ownCPU() - before, err
}

// oneCore keeps this process on one core until it is undone, which is what
// figures of single steps are about: otherwise sums would be spread over cores,
// and work move between them. Go has two processors all the same; with one, the
// scheduler hands it over during every longer call of blst.
func oneCore() (undo func()) {
	runtime.GOMAXPROCS(2)
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return runtime.SetDefaultGOMAXPROCS // on all cores, with more noise
	}
	for cpu := range len(before) * 64 {
		if before.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	keepTo(&one)
	return func() {
		keepTo(&before)
		runtime.SetDefaultGOMAXPROCS()
	}
}

// keepTo puts all threads there are on some cores, and so those that they start.
// It looks twice, for one may have been started meanwhile.
func keepTo(cpus *unix.CPUSet) {
	for range 2 {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return
		}
		for _, t := range threads {
			if id, err := strconv.Atoi(t.Name()); err == nil {
				unix.SchedSetaffinity(id, cpus) //nolint:errcheck // it may have ended
			}
		}
	}
}
