package custody

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// child runs one test of this binary again, in a process of its own, with
// words in its environment.
func child(t testing.TB, test string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.count=1", "-test.timeout=30s")
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

const confined = "QUORATE_TEST_CONFINED"

// Confine cannot be undone, so a child process tries it.
func TestConfine(t *testing.T) {
	if os.Getenv(confined) == "" {
		if out, err := child(t, "TestConfine", confined+"=1").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	socket := func(domain, kind int) error {
		fd, err := unix.Socket(domain, kind, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	// What the filter is to refuse has to work without it, or the test could
	// not fail.
	if err := socket(unix.AF_INET, unix.SOCK_STREAM); err != nil {
		t.Fatalf("no AF_INET before the filter: %v", err)
	}

	// Threads that are there before the filter come under it, too.
	const threads = 6
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	errs := make(chan error, threads)
	ready.Add(threads)
	for range threads {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			<-begin
			errs <- socket(unix.AF_INET, unix.SOCK_STREAM)
		})
	}
	ready.Wait()
	if err := Confine(); err != nil {
		t.Fatal(err)
	}
	close(begin)
	done.Wait()
	for range threads {
		if err := <-errs; err != unix.EPERM {
			t.Errorf("AF_INET on an older thread: %v", err)
		}
	}
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) < threads {
		t.Fatal(tasks, err)
	}
	for _, name := range tasks {
		status, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		for _, want := range []string{"\nSeccomp:\t2\n", "\nNoNewPrivs:\t1\n"} {
			if !bytes.Contains(status, []byte(want)) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
	}

	for name, domain := range map[string]int{"AF_INET": unix.AF_INET, "AF_INET6": unix.AF_INET6, "AF_NETLINK": unix.AF_NETLINK,
		"AF_PACKET": unix.AF_PACKET, "AF_VSOCK": unix.AF_VSOCK, "AF_ALG": unix.AF_ALG, "AF_BLUETOOTH": unix.AF_BLUETOOTH, "AF_XDP": unix.AF_XDP} {
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW} {
			if err := socket(domain, kind); err != unix.EPERM {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if _, err := unix.Socketpair(unix.AF_INET, unix.SOCK_STREAM, 0); err != unix.EPERM {
		t.Errorf("a pair of AF_INET: %v", err)
	}
	if _, err := net.Dial("tcp", "127.0.0.1:1"); err == nil {
		t.Error("dialled")
	}
	calls := map[string]uintptr{"execve": unix.SYS_EXECVE, "execveat": unix.SYS_EXECVEAT, "ptrace": unix.SYS_PTRACE,
		"process_vm_readv": unix.SYS_PROCESS_VM_READV, "process_vm_writev": unix.SYS_PROCESS_VM_WRITEV, "pidfd_getfd": unix.SYS_PIDFD_GETFD,
		"io_uring_setup": unix.SYS_IO_URING_SETUP, "io_uring_enter": unix.SYS_IO_URING_ENTER, "io_uring_register": unix.SYS_IO_URING_REGISTER}
	if runtime.GOARCH == "amd64" {
		const x32 = 0x40000000
		calls["x32 socket"], calls["x32 execve"], calls["x32 getpid"] = x32|41, x32|520, x32|39
	}
	for name, nr := range calls {
		if _, _, errno := unix.Syscall6(nr, 0, 0, 0, 0, 0, 0); errno != unix.EPERM {
			t.Errorf("%s: %v", name, errno)
		}
	}
	if err := exec.Command("/bin/true").Run(); err == nil {
		t.Error("a program ran")
	}

	// What custody lives by goes on.
	if err := socket(unix.AF_UNIX, unix.SOCK_STREAM); err != nil {
		t.Error(err)
	}
	if _, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			fmt.Fprint(c, "hello")
			c.Close()
		}
	}()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var hello [5]byte
	if _, err := c.Read(hello[:]); err != nil || string(hello[:]) != "hello" {
		t.Error(hello, err)
	}
	if err := os.WriteFile(path+".file", []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
}
