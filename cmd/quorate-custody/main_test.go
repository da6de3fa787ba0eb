package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/rpc"
)

// role says what this test binary is in a child process.
const role = "QUORATE_TEST_ROLE"

// nobody is a user other than this one.
const nobody = 65534

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "custody":
		main()
	case "client":
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := reach(ctx, os.Args[1]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// patience is how long a test waits for what comes at once on an idle machine.
const patience = time.Minute

// reach asks the custody behind a socket for its status, as soon as somebody
// listens there.
func reach(ctx context.Context, socket string) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			c := rpc.NewClient(conn, custody.Options())
			defer c.Close()
			_, err = c.Call(ctx, custody.MethodStatus, nil)
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// open is a directory that every user may reach.
func open(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o777), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// self is this binary where every user can run it.
func self(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(open(t), "quorate-custody")
	if err := os.WriteFile(path, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func command(as string, binary string, uid int, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), role+"="+as)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if uid != os.Getuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	return cmd
}

// home runs init and bind for a cluster of one, as a user.
func home(t *testing.T, binary string, uid int) string {
	t.Helper()
	dir := filepath.Join(open(t), "home")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, uid, -1)); err != nil {
		t.Fatal(err)
	}
	do := func(args ...string) []byte {
		t.Helper()
		out, err := command("custody", binary, uid, args...).Output()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	var rec action.CustodyRecord
	if err := json.Unmarshal(do("init", "--home", dir, "--domain", "validator"), &rec); err != nil {
		t.Fatal(err)
	}
	network, err := eth.LookupNetwork("mainnet")
	if err != nil {
		t.Fatal(err)
	}
	identity, _, err := ident.Generate(ident.Ed25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	g := &action.Genesis{Version: 1, Time: time.Now().UTC(), Namespace: "root", Network: network.Config(), Policy: "version: 1\n", ImportHistory: action.HistoryRefuse,
		Nodes: []action.NodeRecord{{Name: "n", Operator: "o", Region: "r", Identity: identity.Public(), Vote: action.HexKey{1}, Custody: []action.CustodyRecord{rec}}}}
	doc, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(filepath.Dir(dir), "genesis.json")
	if err := os.WriteFile(file, doc, 0o644); err != nil {
		t.Fatal(err)
	}
	do("bind", "--home", dir, "--genesis", file, "--node", "n")
	return dir
}

// running is a custody process that answers.
type running struct {
	*exec.Cmd
	socket string
	stdin  io.Closer // nil: /dev/null
	stderr bytes.Buffer
	done   chan struct{}
	err    error // after done
}

func start(t *testing.T, binary, home string, uid, allow int, pipe bool) *running {
	t.Helper()
	r := &running{socket: filepath.Join(open(t), "s"), done: make(chan struct{})}
	r.Cmd = command("custody", binary, uid, "run", "--home", home, "--socket", r.socket, "--allow-uid", strconv.Itoa(allow))
	r.Stderr = &r.stderr
	if pipe {
		stdin, err := r.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		r.stdin = stdin
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		r.err = r.Wait()
		close(r.done)
	}()
	t.Cleanup(func() { r.Process.Kill(); <-r.done })
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if info, err := os.Lstat(r.socket); err == nil && info.Sys().(*syscall.Stat_t).Uid != uint32(uid) == (allow != uid && uid == 0) {
			if mode := info.Mode().Perm(); mode == 0o600 || mode == 0o666 {
				return r
			}
		}
		select {
		case <-tick.C:
		case <-r.done:
			t.Fatalf("it ended: %v\n%s", r.err, &r.stderr)
		}
	}
}

func (r *running) field(t *testing.T, file, pattern string) string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", r.Process.Pid, file))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(pattern).FindSubmatch(raw)
	if m == nil {
		t.Fatalf("no %s in %s", pattern, raw)
	}
	return string(m[1])
}

func TestUse(t *testing.T) {
	for _, args := range [][]string{{}, {"frobnicate", "--home", "x"}, {"init"}, {"run", "--home", "x"}, {"init", "--home", "x", "more"}} {
		err := run(args)
		if !errors.As(err, new(useError)) {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, args := range [][]string{{"init", "--home", t.TempDir(), "--domain", "nonsense"}, {"bind", "--home", t.TempDir(), "--genesis", "nowhere"}} {
		if err := run(args); err == nil || errors.As(err, new(useError)) {
			t.Errorf("%q: %v", args, err)
		}
	}
	out, err := command("custody", os.Args[0], os.Getuid(), "init").CombinedOutput()
	if err == nil || err.Error() != "exit status 2" || !strings.Contains(string(out), "usage:") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The process serves the one user, hardened, and ends in order when it is
// told to, or when who started it is gone.
func TestRun(t *testing.T) {
	binary := os.Args[0]
	dir := home(t, binary, os.Getuid())
	for _, f := range []string{"seal.root", "identity.sealed", "genesis.json", "node", "shares.safe", "slashing.log"} {
		if info, err := os.Stat(filepath.Join(dir, f)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info, err)
		}
	}
	r := start(t, binary, dir, os.Getuid(), os.Getuid(), false)
	if info, err := os.Stat(r.socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	if err := reach(t.Context(), r.socket); err != nil {
		t.Fatal(err)
	}
	if locked := r.field(t, "status", `VmLck:\s+(\d+)`); locked == "0" {
		t.Error("nothing is locked")
	}
	if got := r.field(t, "status", `Seccomp:\s+(\d)`); got != "2" {
		t.Error("no filter")
	}
	if got := r.field(t, "limits", `Max core file size\s+(\S+)`); got != "0" {
		t.Errorf("core files of %s bytes", got)
	}

	// A second process on the same home would be a second memory.
	out, err := command("custody", binary, os.Getuid(), "run", "--home", dir, "--socket", r.socket+"2").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "start custody") {
		t.Errorf("started twice: %s", out)
	}
	if err := reach(t.Context(), r.socket); err != nil {
		t.Error(err)
	}

	r.Process.Signal(syscall.SIGTERM)
	<-r.done
	if r.err != nil {
		t.Errorf("SIGTERM: %v\n%s", r.err, &r.stderr)
	}
	if _, err := os.Lstat(r.socket); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the socket is still there")
	}

	// kill -9 leaves the socket, and the next start takes its place.
	r = start(t, binary, dir, os.Getuid(), os.Getuid(), false)
	r.Process.Kill()
	<-r.done
	left := r.socket
	r = &running{socket: left}
	out, err = command("custody", binary, os.Getuid(), "run", "--home", dir, "--socket", filepath.Join(dir, "genesis.json")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "something else than a socket") {
		t.Errorf("a file in the socket's place: %s", out)
	}
	if _, err := os.Stat(filepath.Join(dir, "genesis.json")); err != nil {
		t.Error(err)
	}
	again := command("custody", binary, os.Getuid(), "run", "--home", dir, "--socket", left)
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for reach(ctx, left) != nil && ctx.Err() == nil {
	}
	if ctx.Err() != nil {
		t.Error("it does not come back")
	}
	again.Process.Kill()
	again.Wait()

	// As a child it ends with the pipe that its parent holds.
	r = start(t, binary, dir, os.Getuid(), os.Getuid(), true)
	if err := reach(t.Context(), r.socket); err != nil {
		t.Fatal(err)
	}
	r.stdin.Close()
	select {
	case <-r.done:
		if r.err != nil {
			t.Errorf("orphaned: %v\n%s", r.err, &r.stderr)
		}
	case <-time.After(patience):
		t.Error("it outlives its parent")
	}
}

// Who asks is decided by the kernel's word on who it is, whatever the file
// permissions say.
func TestOneUserMayAsk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for other users")
	}
	binary := self(t)
	expect := func(what string, r *running, uid int, want bool) {
		t.Helper()
		out, err := command("client", binary, uid, r.socket).CombinedOutput()
		refused := err != nil && err.Error() == "exit status 1" && strings.Contains(string(out), "connection lost")
		if want && err != nil || !want && !refused {
			t.Errorf("%s: user %d: %v %s\n%s", what, uid, err, out, &r.stderr)
		}
	}
	root := home(t, binary, 0)
	r := start(t, binary, root, 0, 0, false)
	if err := os.Chmod(r.socket, 0o666); err != nil {
		t.Fatal(err)
	}
	expect("root's, for root, open to all", r, 0, true)
	expect("root's, for root, open to all", r, nobody, false)
	r.Process.Kill()
	<-r.done

	r = start(t, binary, root, 0, nobody, false)
	expect("root's, for another", r, nobody, true)
	expect("root's, for another", r, 0, false)

	// In production custody is a user of its own, without privileges, and the
	// node another.
	other := home(t, binary, nobody)
	r = start(t, binary, other, nobody, 0, false)
	expect("another's, for root", r, 0, true)
	expect("another's, for root", r, nobody, false)
	expect("another's, for root", r, nobody-1, false)
	// Nobody but root looks into it: what can be dumped belongs to its user.
	info, err := os.Stat(fmt.Sprintf("/proc/%d/mem", r.Process.Pid))
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("its memory belongs to user %d (%v)", info.Sys().(*syscall.Stat_t).Uid, err)
	}
}
