package cli

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// endWithGoRun makes this process stop when the `go run` that started it is
// gone: go passes no signal on, so that killing it would leave a cluster
// behind. Under any other parent it does nothing; who starts a daemon from a
// shell may leave.
func endWithGoRun(ctx context.Context) {
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(os.Getppid()), "comm"))
	if err != nil || strings.TrimSpace(string(name)) != "go" {
		return
	}
	set := make(chan struct{})
	go func() {
		// The setting belongs to a thread and ends with it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0, 0, 0) //nolint:errcheck // then we stay, as without it
		close(set)
		<-ctx.Done()
	}()
	<-set
}
