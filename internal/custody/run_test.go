package custody

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/seal"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/slashing"
)

const (
	runHome   = "QUORATE_TEST_RUN_HOME"
	runSocket = "QUORATE_TEST_RUN_SOCKET"
)

// TestMain is a whole custody process where the environment asks for one.
func TestMain(m *testing.M) {
	home := os.Getenv(runHome)
	if home == "" {
		os.Exit(m.Run())
	}
	if os.Getenv(injected) != "" {
		fmt.Fprintln(os.Stderr, becomeInjected())
		os.Exit(2)
	}
	err := Run(context.Background(), Config{Home: home, Socket: os.Getenv(runSocket), AllowUID: os.Getuid(), Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// process is a custody process of its own.
type process struct {
	*Client
	cmd    *exec.Cmd
	stderr *bytes.Buffer // read it after exited
	exited chan error
}

// spawn starts a home's custody in a process of its own and waits until it
// answers or has ended.
func (w *world) spawn(i int) *process {
	return w.spawnWith(i, func(*exec.Cmd) error { return nil }, func() {})
}

// spawnWith calls one function before the start and one right after it.
func (w *world) spawnWith(i int, prepare func(*exec.Cmd) error, started func()) *process {
	w.t.Helper()
	socket := filepath.Join(w.dir, fmt.Sprintf("%d.sock", i))
	p := &process{Client: NewClient(socket), cmd: exec.Command(os.Args[0]), stderr: new(bytes.Buffer), exited: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), runHome+"="+w.home(i), runSocket+"="+socket)
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := prepare(p.cmd); err != nil {
		w.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	started()
	ended := make(chan struct{})
	go func() {
		p.exited <- p.cmd.Wait()
		close(ended)
	}()
	ctx, cancel := context.WithCancel(context.Background())
	connected := make(chan struct{})
	go func() {
		defer close(connected)
		p.Client.Run(ctx)
	}()
	w.t.Cleanup(func() {
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		cancel()
		<-connected
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !p.Up() {
		select {
		case <-ended:
			return p
		case <-tick.C:
		}
	}
	return p
}

// show shows a process of its own what world.start shows one in this process.
func (w *world) show(p *process, i int) error {
	ctx := context.Background()
	s, err := p.Status(ctx)
	if err != nil {
		return err
	}
	w.lives++
	path := ns.Incarnation(nodeName(i), "validator")
	in := action.Incarnation{Number: uint64(w.lives), ID: s.Incarnation, Ceiling: action.CeilingAt(w.network, time.Now())}
	w.ledger.Set(path, in.Encode())
	return p.Lease(ctx, w.certify(path))
}

// memory returns a field of /proc/PID/status, in KiB.
func (p *process) memory(t testing.TB, field string) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(field + `:\s+(\d+)`).FindSubmatch(raw)
	if m == nil {
		t.Fatalf("no %s in %s", field, raw)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

func (p *process) sign(w *world, key [48]byte, duty eth.Duty) (SignResponse, error) {
	raw, err := p.Relay(context.Background(), MethodSign, SignRequest{Key: key, Duty: eth.EncodeDuty(duty)}.Encode())
	if err != nil {
		return SignResponse{}, err
	}
	return ParseSignResponse(raw)
}

// total is how many uses a home's record holds.
func (w *world) total(i int) (n uint64) {
	w.t.Helper()
	p := w.open(i)
	defer p.close()
	u, err := p.record.Usage(0)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, use := range u.Totals {
		n += use.Total
	}
	return n
}

// The whole process signs over its socket under the filter, and what left it
// is in its record when it is killed in the middle of its work.
func TestRunSurvivesKill(t *testing.T) {
	w := newWorld(t, 1, nil)
	q := w.start(0)
	key := w.give(q, "key")
	q.close()
	var signed atomic.Uint64
	for round := range uint64(5) {
		p := w.spawn(0)
		if err := w.show(p, 0); err != nil {
			t.Fatal(err, p.stderr)
		}
		if p.memory(t, "VmLck") == 0 || p.memory(t, "Seccomp") != 2 {
			t.Error("no locked memory, or no filter")
		}
		_, err := p.sign(w, key, w.block(w.epoch()*32, 1))
		refused(t, "a block below the floor", err, rpc.CodeFenced)
		enough := signed.Load() + 30
		var clients sync.WaitGroup
		for c := range uint64(8) {
			clients.Go(func() {
				for i := range uint64(1000) {
					duty := eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: round<<32 | c<<16 | i}}
					answer, err := p.sign(w, key, duty)
					if err != nil {
						return
					}
					if !w.verifies(key, duty, answer) {
						t.Error("a partial does not verify")
					}
					if signed.Add(1) == enough {
						syscall.Kill(p.cmd.Process.Pid, syscall.SIGKILL)
					}
				}
			})
		}
		clients.Wait()
		<-p.exited
		if total := w.total(0); total < signed.Load() {
			t.Errorf("%d signatures left, %d are recorded", signed.Load(), total)
		}
	}
}

// many gives a process n shares at once.
func (w *world) many(p *Process, n int) {
	w.t.Helper()
	entries := make([]seal.Entry, n)
	var g errgroup.Group
	g.SetLimit(256)
	for i := range entries {
		scalar := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
		scalar[0] &= 0x3f
		key := [48]byte{1}
		binary.BigEndian.PutUint64(key[1:], uint64(i))
		h := p.header(seal.KindShare, key[:])
		h.Curve, h.N, h.T, h.X = action.CurveBLS12381G1, 4, 3, p.seat.Index
		entries[i] = seal.Entry{Header: h, Secret: secret.New(scalar[:])}
		g.Go(func() error { return p.record.Register(key, slashing.History{Mode: slashing.HistoryNone}) })
	}
	if err := errors.Join(g.Wait(), p.safe.Put(entries...)); err != nil {
		w.t.Fatal(err)
	}
}

// Ten thousand shares are open within seconds, in little memory.
func TestTenThousandShares(t *testing.T) {
	w := newWorld(t, 1, nil)
	p := w.open(0)
	w.give(p, "a")
	w.give(p, "b")
	p.close()
	q := w.spawn(0)
	t.Logf("2 shares: %d KiB resident, %d KiB locked", q.memory(t, "VmRSS"), q.memory(t, "VmLck"))
	syscall.Kill(q.cmd.Process.Pid, syscall.SIGKILL)
	<-q.exited

	p = w.open(0)
	w.many(p, 10_000)
	p.close()
	began := time.Now()
	p = w.open(0)
	took := time.Since(began)
	if p.shares.count() != 10_002 || took > time.Minute { // alone it is a second
		t.Errorf("%d shares open after %v", p.shares.count(), took)
	}
	keys := p.record.Keys()
	_, err := ask(p, MethodExportSlashing, keyList(keys...))
	refused(t, "all histories in one frame", err, rpc.CodeMalformed)
	p.close()
	q = w.spawn(0)
	if ic, err := q.ExportSlashing(context.Background(), keys); err != nil || len(ic.Keys) != len(keys) {
		t.Errorf("%d of %d histories, %v", len(ic.Keys), len(keys), err)
	}
	rss, locked := q.memory(t, "VmRSS"), q.memory(t, "VmLck")
	t.Logf("10,002 shares: open in %v, %d KiB resident, %d KiB locked", took.Round(time.Millisecond), rss, locked)
	if rss > 256<<10 || locked < 10_000*32>>10 {
		t.Errorf("%d KiB resident, %d KiB locked", rss, locked)
	}
}

// What a home lacks, no start replaces.
func TestIncompleteHomes(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(home string) error
	}{
		"no record":    {func(home string) error { return os.Remove(filepath.Join(home, "slashing.log")) }},
		"empty record": {func(home string) error { return os.Truncate(filepath.Join(home, "slashing.log"), 0) }},
		"no safe":      {func(home string) error { return os.Remove(filepath.Join(home, fileSafe)) }},
		"empty safe":   {func(home string) error { return os.Truncate(filepath.Join(home, fileSafe), 0) }},
		"no root":      {func(home string) error { return os.Remove(filepath.Join(home, fileRoot)) }},
		"open root":    {func(home string) error { return os.Chmod(filepath.Join(home, fileRoot), 0o644) }},
		"another root": {func(home string) error {
			return os.WriteFile(filepath.Join(home, fileRoot), bytes.Repeat([]byte{1}, 32), 0o600)
		}},
		"no identity":     {func(home string) error { return os.Remove(filepath.Join(home, fileIdentity)) }},
		"no genesis":      {func(home string) error { return os.Remove(filepath.Join(home, fileGenesis)) }},
		"another genesis": {func(home string) error { return appendTo(filepath.Join(home, fileGenesis), " ") }},
		"no node":         {func(home string) error { return os.Remove(filepath.Join(home, fileNode)) }},
		"another node":    {func(home string) error { return os.WriteFile(filepath.Join(home, fileNode), []byte("node1"), 0o600) }},
		"unknown node":    {func(home string) error { return os.WriteFile(filepath.Join(home, fileNode), []byte("nobody"), 0o600) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, nil)
			p := w.open(0)
			w.give(p, "key")
			p.close()
			if err := c.spoil(w.home(0)); err != nil {
				t.Fatal(err)
			}
			if p, err := open(Config{Home: w.home(0), Log: w.logger()}); err == nil {
				p.close()
				t.Fatal("it opens")
			} else {
				t.Log(err)
			}
			// Nor does binding it once more make an empty record beside shares.
			if name == "no record" {
				if err := Bind(w.home(0), w.doc, nodeName(0)); err == nil {
					t.Error("bound again")
				}
				if _, err := os.Stat(filepath.Join(w.home(0), "slashing.log")); !errors.Is(err, fs.ErrNotExist) {
					t.Error("there is a record again")
				}
			}
		})
	}
	w := newWorld(t, 2, nil)
	if _, err := Init(w.home(0), action.DomainValidator); err == nil {
		t.Error("a home was made anew")
	}
	if _, err := Init(t.TempDir(), "secret"); err == nil {
		t.Error("a domain that is not built was taken")
	}
	fresh := t.TempDir()
	if _, err := Init(fresh, action.DomainValidator); err != nil {
		t.Fatal(err)
	}
	if err := Bind(fresh, w.doc, nodeName(0)); err == nil {
		t.Error("bound to a cluster that names another identity")
	}
	if err := Bind(fresh, []byte("{}"), nodeName(0)); err == nil {
		t.Error("bound to nothing")
	}
}

func appendTo(path, text string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, text...), 0o600)
}
