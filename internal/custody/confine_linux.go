package custody

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// audit architecture and the numbers of calls that could open a way out, for
// the architecture that this binary was built for.
func auditArch() (uint32, error) {
	switch runtime.GOARCH {
	case "amd64":
		return unix.AUDIT_ARCH_X86_64, nil
	case "arm64":
		return unix.AUDIT_ARCH_AARCH64, nil
	}
	return 0, fmt.Errorf("confine custody: no system call filter for %s", runtime.GOARCH)
}

// Offsets into struct seccomp_data.
const (
	offNr   = 0
	offArch = 4
	offArg0 = 16 // low half, little-endian
)

// Confine takes from the process, all its threads and for good, what custody
// never needs: sockets other than AF_UNIX, io_uring (which opens sockets
// without the socket call), new programs, and looking into other processes.
func Confine() error {
	arch, err := auditArch()
	if err != nil {
		return err
	}
	const (
		ret  = unix.BPF_RET | unix.BPF_K
		load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jeq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jge  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		no   = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	)
	filter := []unix.SockFilter{
		{Code: load, K: offArch},
		{Code: jeq, K: arch, Jt: 1},
		{Code: ret, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: load, K: offNr},
	}
	if runtime.GOARCH == "amd64" {
		// The x32 calls have numbers of their own, above this bit.
		filter = append(filter,
			unix.SockFilter{Code: jge, K: 0x40000000, Jf: 1},
			unix.SockFilter{Code: ret, K: no})
	}
	for _, nr := range []uint32{
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE,
		unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD,
	} {
		filter = append(filter,
			unix.SockFilter{Code: jeq, K: nr, Jf: 1},
			unix.SockFilter{Code: ret, K: no})
	}
	filter = append(filter,
		unix.SockFilter{Code: jeq, K: unix.SYS_SOCKET, Jt: 1},
		unix.SockFilter{Code: jeq, K: unix.SYS_SOCKETPAIR, Jf: 3},
		unix.SockFilter{Code: load, K: offArg0},
		unix.SockFilter{Code: jeq, K: unix.AF_UNIX, Jt: 1},
		unix.SockFilter{Code: ret, K: no},
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW})

	// Both calls on one thread: without privileges a filter needs the first.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("confine custody: no new privileges: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// TSYNC puts every thread of the Go runtime under the filter at once, or
	// none: it returns the first that could not follow.
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return fmt.Errorf("confine custody: install system call filter: %w", errno)
	}
	if thread != 0 {
		return fmt.Errorf("confine custody: install system call filter: thread %d has another", thread)
	}
	return nil
}

// peerUID returns the user at the other end of a unix socket.
func peerUID(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var inner error
	err = raw.Control(func(fd uintptr) {
		cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, inner); err != nil {
		return 0, fmt.Errorf("ask for the peer's credentials: %w", err)
	}
	return int(cred.Uid), nil
}
