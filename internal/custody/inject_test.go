package custody

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An injector sits between a process and the kernel: every fsync, fdatasync and
// pwrite64 of the whole process, whatever thread makes it, waits until the
// injector lets it pass or gives it an error. Only the log and file writers of
// package durable make these calls. strace counts for each thread, and a Go
// program's n-th fsync is on none in particular, hence this.
//
// The kernel's side is a seccomp filter that the process puts on itself before
// it becomes custody (becomeInjected); custody's own filter comes on top.
type injector struct {
	calls []uint64      // of the class that is counted
	nth   int           // of them gets
	errno syscall.Errno // this

	hit   atomic.Bool
	after atomic.Int32 // durable calls that came after it, all classes
	seen  atomic.Int32 // counted so far
	done  chan error
}

var (
	syncCalls  = []uint64{unix.SYS_FSYNC, unix.SYS_FDATASYNC}
	writeCalls = []uint64{unix.SYS_PWRITE64}
)

const injected = "QUORATE_TEST_INJECTED" // the process finds its end of the injector at descriptor 3

// prepare has a command's process pass through the injector. Call attach once
// it has started.
func (in *injector) prepare(cmd *exec.Cmd) (attach func(), err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	child := os.NewFile(uintptr(pair[1]), "injected")
	cmd.ExtraFiles = []*os.File{child}
	cmd.Env = append(cmd.Env, injected+"=1")
	in.done = make(chan error, 1)
	return func() {
		child.Close()
		go func() { in.done <- in.serve(pair[0]) }()
	}, nil
}

// The structs of linux/seccomp.h.
type (
	notification struct {
		id         uint64
		pid, flags uint32
		nr         int32
		arch       uint32
		ip         uint64
		args       [6]uint64
	}
	notificationAnswer struct {
		id    uint64
		val   int64
		errno int32
		flags uint32
	}
)

const (
	ioctlReceive = 0xc0502100
	ioctlSend    = 0xc0182101
	goOn         = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE
)

// serve receives the listener, and answers until the process is gone.
func (in *injector) serve(socket int) error {
	defer unix.Close(socket)
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), oob, 0)
	if err != nil {
		return fmt.Errorf("receive listener: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("receive listener: %d messages, %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return fmt.Errorf("receive listener: %w", err)
	}
	defer unix.Close(fds[0])
	for {
		poll := []unix.PollFd{{Fd: int32(fds[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return fmt.Errorf("poll: %w", err)
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			return nil // nobody is left under the filter
		}
		var ask notification
		if errno := ioctl(fds[0], ioctlReceive, unsafe.Pointer(&ask)); errno != 0 {
			continue // it was killed meanwhile
		}
		answer := notificationAnswer{id: ask.id, flags: goOn}
		if in.decide(uint64(ask.nr)) {
			answer.flags, answer.errno = 0, -int32(in.errno)
		}
		ioctl(fds[0], ioctlSend, unsafe.Pointer(&answer)) // an error: it was killed meanwhile
	}
}

// decide reports whether a call fails.
func (in *injector) decide(nr uint64) bool {
	if in.hit.Load() {
		in.after.Add(1)
		return false
	}
	if slices.Contains(in.calls, nr) && in.seen.Add(1) == int32(in.nth) {
		in.hit.Store(true)
		return true
	}
	return false
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) syscall.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	return errno
}

// becomeInjected puts the filter on this process, hands the listener over and
// starts the program anew under it.
func becomeInjected() error {
	load := unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}
	ret := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	program := []unix.SockFilter{load}
	calls := slices.Concat(syncCalls, writeCalls)
	for i, nr := range calls {
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jt: uint8(len(calls) - i)})
	}
	program = append(program, ret(unix.SECCOMP_RET_ALLOW), ret(unix.SECCOMP_RET_USER_NOTIF))
	runtime.LockOSThread() // the filter is on this thread only, and so is what exec leaves
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// A call that was received is not interrupted by signals, so that each is
	// received once.
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	listener, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&filter)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(listener)), nil, 0); err != nil {
		return err
	}
	unix.Close(3)
	unix.Close(int(listener))
	os.Unsetenv(injected)
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

// exit waits until a process has ended by itself, with an error.
func (p *process) exit(t testing.TB) error {
	t.Helper()
	select {
	case err := <-p.exited:
		if code := (*exec.ExitError)(nil); !errors.As(err, &code) || code.ExitCode() != 1 {
			return fmt.Errorf("the process ended with %v", err)
		}
		return nil
	case <-time.After(time.Minute):
		return errors.New("the process goes on")
	}
}
