package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// parentEnv makes the test binary a parent that waits to be killed.
const parentEnv = "QUORATE_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentEnv) == "" {
		os.Exit(m.Run())
	}
	c, err := startChild("sleep", exec.Command("sleep", "600"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(c.pid)
	<-c.done
}

// TestChildDiesWithParent kills a parent in the one way that it cannot notice.
func TestChildDiesWithParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil || pid <= 1 {
		t.Fatalf("child's pid: %d, %v", pid, err)
	}
	if !alive(pid) {
		t.Fatal("the child never ran")
	}
	parent.Process.Kill() //nolint:errcheck // Wait tells
	parent.Wait()         //nolint:errcheck // it was killed
	eventually(t, "the child dies", func() bool { return !alive(pid) })
}

// alive reports whether a process exists and is not a zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick, end := time.NewTicker(5*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: not in a minute", what)
		}
	}
}

func TestStopChild(t *testing.T) {
	obedient, err := startChild("cat", exec.Command("cat"))
	if err != nil {
		t.Fatal(err)
	}
	obedient.stop(time.Minute)
	if obedient.running() {
		t.Error("a child that obeys still runs")
	}
	cmd := exec.Command("sh", "-c", `trap "" TERM; echo ready; while :; do sleep 600; done`)
	ready, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	deaf, err := startChild("sh", cmd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ready.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	deaf.stop(20 * time.Millisecond)
	var exit *exec.ExitError
	if !errors.As(deaf.err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("a child that does not obey: %v, want killed", deaf.err)
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want exitCode
	}{
		{errors.New("x"), exitFailed},
		{&opsapi.Error{Status: 400}, exitBadUse},
		{&opsapi.Error{Status: 401}, exitDenied},
		{&opsapi.Error{Status: 403}, exitDenied},
		{&opsapi.Error{Status: 404}, exitNotFound},
		{&opsapi.Error{Status: 409}, exitFailed},
		{&opsapi.Error{Status: 503}, exitUnavailable},
		{fmt.Errorf("ask: %w", &url.Error{Op: "Get", Err: syscall.ECONNREFUSED}), exitUnavailable},
		{hinted(&opsapi.Error{Status: 404}, "look there"), exitNotFound},
		{fail(exitWaiting, "", "two approvals are missing"), exitWaiting},
	} {
		if got, _ := explain(c.err); got != c.want {
			t.Errorf("%v: exit %d, want %d", c.err, got, c.want)
		}
	}
	if _, hint := explain(hinted(&opsapi.Error{Status: 404}, "look there")); hint != "look there" {
		t.Errorf("hint %q", hint)
	}
	if _, hint := explain(hinted(&opsapi.Error{Status: 404, Hint: "the node's"}, "look there")); hint != "the node's" {
		t.Errorf("hint %q: the one who knows more goes first", hint)
	}
}

func TestBadUse(t *testing.T) {
	for _, args := range [][]string{
		{"nonsense"}, {"key"}, {"key", "show"}, {"key", "list", "extra"}, {"--nonsense"}, {"node", "run"},
		{"key", "list", "-o", "xml"}, {"dev", "--nodes", "many"}, {"dev", "start-node"},
		{"key", "import"}, {"key", "import", "k.json"}, {"key", "import", "k.json", "--password-file", "nowhere"}, {"key", "exit"},
		{"key", "import-slashing"}, {"key", "import-slashing", "a.json", "b.json"}, {"key", "import-slashing", "a.json", "--from-postgres", "c"},
		{"key", "import-slashing", "a.json", "--out", "b.json"}, {"key", "exit", "0x00", "--epoch", "-1"},
		{"request"}, {"request", "show"}, {"request", "approve"}, {"request", "list", "--all", "--state", "open"}, {"request", "approve", "abcd"},
		{"policy"}, {"policy", "propose"}, {"policy", "propose", "nowhere"}, {"policy", "diff", "nowhere"}, {"policy", "test", "nowhere"},
		{"policy", "pin-zone", "Nowhere/Land"}, {"policy", "pin-zone", "Europe/Lisbon", "--to", "soon"},
		{"timer"}, {"timer", "set", "t"}, {"timer", "set", "t", "--in", "1h"}, {"timer", "set", "t", "--", "key", "freeze", "0x00"},
		{"timer", "set", "t", "--in", "-1h", "--", "key", "freeze", "0x00"}, {"timer", "set", "t", "--at", "noon", "--", "key", "freeze", "0x00"},
		{"timer", "set", "t", "--in", "1h", "--", "key", "freeze"}, {"timer", "set", "t", "--in", "1h", "--", "version"}, {"timer", "set", "t", "--in", "1h", "--", "nonsense"},
		{"key", "freeze", "0x00"}, {"key", "freeze", strings.Repeat("00", 48), "--for", "0s"}, {"key", "freeze", strings.Repeat("00", 48)}, {"key", "settings", "0x00"},
		{"key", "exit", "0x00", "--request", "abcd"}, {"member", "enrol", "dora"}, {"member", "enrol", "dora", "--operator", "o", "--region", "r", "--credential", "0x00"},
		{"member", "update", "dora"}, {"member", "suspend", "dora", "--for", "-1s"}, {"dev", "--scenario", "nonsense", "--dir", t.TempDir()},
		{"member", "keygen", "--unsealed", "--ssh", "b"},
		{"request", "list", "--state", "nonsense"}, {"audit", "export", "--out", "x", "--kind", "grantd"}, {"ceremony", "open", "--mode", "refesh"},
		{"member"}, {"member", "keygen"}, {"member", "keygen", "--out", "a", "--ssh", "b"}, {"member", "keygen", "--ssh", "b", "--hybrid"},
		{"member", "login"}, {"member", "login", "alice"}, {"member", "login", "alice", "--out", "s"}, {"member", "login", "alice", "--out", "s", "--identity", "nowhere"},
		{"ceremony", "open", "--phase-timeout", "25h"}, {"ceremony", "open", "--phase-timeout", "-1s"}, {"ceremony", "open", "--phase-timeout", "1ns"},
	} {
		var stdout, stderr bytes.Buffer
		if code := Main(context.Background(), args, &stdout, &stderr); code != int(exitBadUse) {
			t.Errorf("quorate %v: exit %d, want 2", args, code)
		}
		if !strings.Contains(stderr.String(), "hint: ") {
			t.Errorf("quorate %v: no hint in %q", args, stderr.String())
		}
	}
}

// TestPublishedNetworks reads each known network's configuration as a file.
func TestPublishedNetworks(t *testing.T) {
	for _, name := range eth.NetworkNames() {
		byName, err := readNetwork(name)
		if err != nil {
			t.Fatal(err)
		}
		text := "BLOB_SCHEDULE:\n  - EPOCH: 1\n    MAX_BLOBS_PER_BLOCK: 9\nTERMINAL_TOTAL_DIFFICULTY: 58750000000000000000000\n"
		for k, v := range byName {
			text += k + ": " + v + "\n"
		}
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		byFile, err := readNetwork(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !sameNetwork(byName, byFile) {
			t.Errorf("%s: file gives %v, name %v", name, byFile, byName)
		}
	}
}

func FuzzParseNetwork(f *testing.F) {
	f.Add([]byte("PRESET_BASE: 'minimal'\nSECONDS_PER_SLOT: 1\nGENESIS_FORK_VERSION: 0x00000001\n"))
	f.Add([]byte("GENESIS_FORK_VERSION: [1]"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		config, err := parseNetwork(raw)
		if err != nil {
			return
		}
		if _, err := eth.NetworkFromConfig(config); err != nil {
			t.Errorf("accepted, but no network: %v", err)
		}
	})
}

func TestReadPassword(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		"secret": "secret", "secret\n": "secret\n", " two words ": " two words ", strings.Repeat("x", wire.MaxPassword): strings.Repeat("x", wire.MaxPassword),
		"": "", strings.Repeat("x", wire.MaxPassword+1): "",
	} {
		path := filepath.Join(dir, "password")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readPassword(path)
		if (err == nil) != (want != "") || got.Len() != len(want) || err == nil && !got.Equal(secret.New([]byte(want))) {
			t.Errorf("a file of %d bytes: a password of %d, %v", len(content), got.Len(), err)
		}
		if err != nil && strings.Contains(err.Error(), "xx") {
			t.Errorf("the error shows it: %v", err)
		}
	}
}

func TestSocketPath(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 80))
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(deep, "custody-validator.sock")
	if len(long) <= maxSocket {
		t.Fatalf("%s is too short to test", long)
	}
	if _, err := socketPath(long); err == nil {
		t.Error("a path that does not fit was accepted")
	}
	t.Chdir(deep)
	if got, err := socketPath(long); err != nil || got != "custody-validator.sock" {
		t.Errorf("from inside: %q, %v", got, err)
	}
}
