package cli

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// child is a process that does not outlive this one.
type child struct {
	name    string
	pid     int
	process *os.Process
	stdin   io.WriteCloser // open as long as we live: the child ends when it closes
	done    chan struct{}  // closed when the process has ended
	err     error          // how, after done
	told    atomic.Bool    // we asked it to stop
}

// startChild starts cmd. Its output goes where cmd says. When this process
// dies, however it dies, the kernel kills the child.
func startChild(name string, cmd *exec.Cmd) (*child, error) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	// A group of its own, so that Ctrl-C in a terminal reaches us alone and
	// we stop the children in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c := &child{name: name, stdin: stdin, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel watches the thread that made the child, not the process:
		// it has to stay for as long as the child does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		c.process, c.pid = cmd.Process, cmd.Process.Pid
		started <- nil
		c.err = cmd.Wait()
		close(c.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return c, nil
}

// running reports whether the process has not ended yet.
func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// stop asks the child to end and waits for it, at most for the grace time.
// After that it is killed.
func (c *child) stop(grace time.Duration) {
	c.told.Store(true)
	c.stdin.Close()                   //nolint:errcheck // it ended already
	c.process.Signal(syscall.SIGTERM) //nolint:errcheck // it ended already
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		c.process.Kill() //nolint:errcheck // it ended already
		<-c.done
	}
}

// verdict says how the child ended, for people.
func (c *child) verdict() string {
	if c.err == nil {
		return "ended"
	}
	return c.err.Error()
}
