package custody

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/proof/prooftest"
	"github.com/quorate/quorate/internal/rpc"
)

// faults is how many calls of each class a process makes until one fails: the
// first, the second, and so on.
const faults = 100

// A disk that reports an error ends the process, whatever call it was: nothing
// leaves after it, nothing is tried again, and what left before forbids what
// contradicts it in the next life.
func TestDiskErrorsEndTheProcess(t *testing.T) {
	if os.Getenv("QUORATE_CHECK") == "" {
		t.Skip("each of 200 calls fails in a process of its own under ./check, or with QUORATE_CHECK=1")
	}
	s := &sweep{world: newWorld(t, 1, nil)}
	// A ledger of long ago: its floors lie below everything here, so that in
	// the next life the record alone stands between a duty and its rival.
	s.ledger = prooftest.New(1)
	s.ledger.Cluster, s.ledger.ChainID = s.cluster, s.cluster.ChainID()
	p := s.open(0)
	s.key = s.give(p, "key")
	p.close()

	for _, class := range []struct {
		name  string
		calls []uint64
		errno syscall.Errno
	}{
		{"EIO at each of the first 100 fsyncs", syncCalls, syscall.EIO},
		{"ENOSPC at each of the first 100 writes", writeCalls, syscall.ENOSPC},
	} {
		t.Run(class.name, func(t *testing.T) {
			began := time.Now()
			s.left.Store(0)
			s.early.Store(0)
			var g errgroup.Group
			g.SetLimit(2 * runtime.GOMAXPROCS(0))
			for nth := 1; nth <= faults; nth++ {
				g.Go(func() error {
					if err := s.run(&injector{calls: class.calls, nth: nth, errno: class.errno}); err != nil {
						t.Errorf("call %d: %v", nth, err)
					}
					return nil
				})
			}
			g.Wait() //nolint:errcheck // each says its own
			t.Logf("%d processes, %d failed before they were ready; %d signatures left before the errors and none after, nothing was tried again; %v",
				faults, s.early.Load(), s.left.Load(), time.Since(began).Round(time.Millisecond))
			if s.left.Load() < faults || s.early.Load() == 0 {
				t.Error("the errors did not hit where they should")
			}
		})
	}
}

type sweep struct {
	*world
	key   [48]byte
	homes atomic.Int32
	left  atomic.Int32 // signatures that left
	early atomic.Int32 // processes that never answered

	mu sync.Mutex // guards the ledger
}

// run lets one process sign until a call fails, and then looks at what it left.
func (s *sweep) run(in *injector) error {
	home := 1000 + int(s.homes.Add(1))
	if err := os.CopyFS(s.home(home), os.DirFS(s.home(0))); err != nil {
		return err
	}
	defer os.RemoveAll(s.home(home))
	for _, f := range []string{fileRoot, fileIdentity} { // CopyFS does not keep modes
		if err := os.Chmod(filepath.Join(s.home(home), f), 0o600); err != nil {
			return err
		}
	}
	var attach func()
	p := s.spawnWith(home, func(cmd *exec.Cmd) (err error) {
		attach, err = in.prepare(cmd)
		return err
	}, func() { attach() })
	released, err := s.signUntil(p, in)
	if err != nil {
		return err
	}
	if err := p.exit(s.t); err != nil {
		return fmt.Errorf("%w\n%s", err, p.stderr)
	}
	if err := <-in.done; err != nil {
		return err
	}
	if n := in.after.Load(); n != 0 {
		return fmt.Errorf("%d durable calls after the error", n)
	}
	return s.after(home, released)
}

// duty number i: blocks and votes in turn, each slashable with its rival.
func (s *sweep) duty(i int, rival byte) eth.Duty {
	if i%2 == 0 {
		return s.block(s.epoch()*32-10_000+uint64(i), rival)
	}
	target := s.epoch() - 1000 + uint64(i)
	return s.attestation(target-1, target, rival)
}

// signUntil asks for one signature after another until one fails, and then for
// a few more. It returns how many left.
func (s *sweep) signUntil(p *process, in *injector) (released int, err error) {
	if !p.Up() {
		s.early.Add(1)
	} else if err := s.lease(p); err != nil && !in.hit.Load() {
		return 0, err
	}
	failed := 0
	for i := 0; failed < 3; i++ {
		answer, err := p.sign(s.world, s.key, s.duty(i, 1))
		switch {
		case err != nil:
			if failed++; !in.hit.Load() {
				return 0, fmt.Errorf("before the error: %w", err)
			}
		case in.hit.Load():
			return 0, fmt.Errorf("duty %d was signed after the error", i)
		case !s.verifies(s.key, s.duty(i, 1), answer):
			return 0, fmt.Errorf("the partial of duty %d does not verify", i)
		default:
			released++
		}
	}
	s.left.Add(int32(released))
	return released, nil
}

// certificate registers an incarnation on the ledger of long ago.
func (s *sweep) certificate(id [32]byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lives++
	path := ns.Incarnation(nodeName(0), "validator")
	s.ledger.Set(path, action.Incarnation{Number: uint64(s.lives), ID: id, Ceiling: action.CeilingAt(s.network, time.Now())}.Encode())
	return s.certify(path)
}

func (s *sweep) lease(p *process) error {
	st, err := p.Status(context.Background())
	if err != nil {
		return err
	}
	return p.Lease(context.Background(), s.certificate(st.Incarnation))
}

// after starts the home once more, on a disk that works: what left must not be
// contradicted, and the holder must not be lost.
func (s *sweep) after(home, released int) error {
	p, err := open(Config{Home: s.home(home), Log: s.logger()})
	if err != nil {
		return err
	}
	defer p.close()
	if _, err := ask(p, MethodLease, s.certificate(p.life.id)); err != nil {
		return err
	}
	for i := range released {
		if _, err := s.sign(p, s.key, s.duty(i, 2), nil); rpc.CodeOf(err) != rpc.CodeSlashable {
			return fmt.Errorf("the rival of duty %d of %d, in the next life: %w", i, released, err)
		}
	}
	for i := range 2 {
		if _, err := s.sign(p, s.key, s.duty(released+2+i, 1), nil); err != nil {
			return fmt.Errorf("the next duty in the next life: %w", err)
		}
	}
	return nil
}
