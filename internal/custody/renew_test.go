package custody

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/seal"
)

// stopDisk is the real file system until the nth operation that makes
// something durable. That one fails, done or not, and all that follow: the
// machine has stopped.
type stopDisk struct {
	durable.OS
	done bool // the last operation reaches the disk, but not the ears

	mu   sync.Mutex
	left int // operations until the stop; 0: none is set
	hit  bool
}

var errStopped = errors.New("the machine has stopped")

// newStopWorld is a world whose custody processes have disks that stop.
func newStopWorld(t testing.TB, n int) (*world, []*stopDisk) {
	w, disks := newWorld(t, n, nil), make([]*stopDisk, n)
	w.disks = map[int]durable.FS{}
	for i := range disks {
		disks[i] = &stopDisk{}
		w.disks[i] = disks[i]
	}
	return w, disks
}

func (d *stopDisk) arm(nth int, done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.done, d.hit = nth, done, false
}

func (d *stopDisk) stopped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hit
}

func (d *stopDisk) pass(op func() error) error {
	d.mu.Lock()
	if d.hit {
		d.mu.Unlock()
		return errStopped
	}
	last := d.left == 1
	if d.left > 0 {
		d.left--
	}
	d.hit = last
	done := d.done
	d.mu.Unlock()
	if !last {
		return op()
	}
	if done {
		op() //nolint:errcheck // nobody is left to hear of it
	}
	return errStopped
}

func (d *stopDisk) Open(path string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := d.OS.Open(path, flag, perm)
	return stopFile{f, d}, err
}
func (d *stopDisk) Rename(a, b string) error {
	return d.pass(func() error { return d.OS.Rename(a, b) })
}
func (d *stopDisk) SyncDir(dir string) error {
	return d.pass(func() error { return d.OS.SyncDir(dir) })
}

type stopFile struct {
	durable.File
	disk *stopDisk
}

func (f stopFile) Sync() error     { return f.disk.pass(f.File.Sync) }
func (f stopFile) Datasync() error { return f.disk.pass(f.File.Datasync) }
func (f stopFile) WriteAt(b []byte, at int64) (int, error) {
	if f.disk.stopped() {
		return 0, errStopped
	}
	return f.File.WriteAt(b, at)
}

// made runs a keygen and returns its last stage and its keys.
func (w *world) made(ps []*Process, keys int) (*stage, [][]byte) {
	w.t.Helper()
	p := w.params(dkg.ModeKeygen, keys)
	p.Hybrid = false
	s := w.openStage(p)
	s.run(len(ps), s.plain(ps))
	result, err := dkg.ReadResult(s.board, s.source)
	if err != nil {
		w.t.Fatal(err)
	}
	var all [][]byte
	for k := range keys {
		all = append(all, result.PublicKey(k))
	}
	return s, all
}

func (s *stage) source(name [32]byte) ([]byte, error) {
	if b := s.blobs[name]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("no body %x", name[:4])
}

// renew opens a refresh of the keys of a stage that is done, or what edit
// makes of it.
func (w *world) renew(last *stage, edit func(*dkg.Params)) *stage {
	w.t.Helper()
	result, err := dkg.ReadResult(last.board, last.source)
	if err != nil {
		w.t.Fatal(err)
	}
	was := last.board.Params()
	p := w.params(dkg.ModeRefresh, int(was.Keys))
	p.Hybrid, p.T, p.Without, p.Epoch = false, was.T, was.Without, was.Epoch+1
	p.Old = dkg.Old{T: uint16(was.T), Dealers: was.Members(), Epoch: was.Epoch}
	if edit != nil {
		edit(&p)
	}
	var commitments [][]byte
	for k := range result.Keys() {
		commitments = append(commitments, result.Commitment(k))
	}
	if p.Expected, _, err = p.Prior(commitments); err != nil {
		w.t.Fatal(err)
	}
	s := w.openStage(p)
	_, bodies, err := p.Prior(commitments)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range bodies {
		s.blobs[b.Name] = b.Body
	}
	return s
}

// goOn lets every process see every state until the ceremony is over and
// nobody has anything to say any more.
func (s *stage) goOn(see func(i int, cert []byte) StepResult) {
	s.t.Helper()
	for range 100 {
		moved := false
		for i := range s.roster {
			moved = s.post(see(i, s.cert()).Posts) || moved
		}
		if phase := s.board.Phase(); !moved && (phase == dkg.PhaseDone || phase == dkg.PhaseAborted) {
			for i := range s.roster { // the last state, once more
				see(i, s.cert())
			}
			return
		}
		if !moved {
			s.tick(1001)
		}
	}
	s.t.Fatalf("the ceremony stands still in %s", s.board.Phase())
}

// outlive steps a process. Where the disk under it stops on the way, it starts
// again, and steps once more after back has looked at it.
func (s *stage) outlive(ps []*Process, disks []*stopDisk, i int, cert []byte, back func()) (StepResult, error) {
	r, err := s.step(ps[i], cert)
	if disks[i].stopped() {
		ps[i].close()
		disks[i].arm(0, false)
		ps[i] = s.start(i)
		back()
		r, err = s.step(ps[i], s.cert())
	}
	return r, err
}

// epochOf wants all shares of a process to be of one epoch.
func epochOf(t testing.TB, p *Process, keys [][]byte) uint32 {
	t.Helper()
	var epochs []uint32
	for _, k := range keys {
		held, ok := p.shares.get([48]byte(k))
		if !ok {
			t.Fatalf("seat %d has no share of key 0x%x", p.seat.Index, k[:4])
		}
		epochs = append(epochs, held.epoch)
	}
	if slices.Max(epochs) != slices.Min(epochs) {
		t.Errorf("seat %d has shares of epochs %v", p.seat.Index, epochs)
	}
	return epochs[0]
}

// TestRefreshSurvivesStops stops the machine under one custody process at
// every operation that makes something durable, done and not done, through
// whole refreshes: whatever it finds when it comes back is all old or all new,
// the ceremony ends as if nothing had been, and the keys are what they were.
func TestRefreshSurvivesStops(t *testing.T) {
	w, disks := newStopWorld(t, 4)
	ps := w.startAll()
	last, keys := w.made(ps, 2)
	full, steps := os.Getenv("QUORATE_CHECK") != "", 0
	for victim := range ps {
		for nth := 1; ; nth++ {
			if !full && nth%4 != victim { // each operation on one of them
				if nth > 4*steps/(victim+1)+8 {
					break
				}
				continue
			}
			was := last.board.Params().Epoch
			s := w.renew(last, nil)
			disks[victim].arm(nth, nth%2 == 0 != (victim%2 == 0))
			stops := 0
			s.goOn(func(i int, cert []byte) StepResult {
				r, err := s.outlive(ps, disks, i, cert, func() {
					stops++
					if at := epochOf(t, ps[i], keys); at != was && at != was+1 {
						t.Errorf("back in epoch %d", at)
					}
				})
				if err != nil {
					t.Fatalf("victim %d, operation %d: seat %d in %s: %v", victim+1, nth, i+1, s.board.Phase(), err)
				}
				return r
			})
			disks[victim].arm(0, false)
			if s.board.Phase() != dkg.PhaseDone || len(s.board.Faults()) != 0 || !s.board.DepositSafe() {
				t.Fatalf("victim %d, operation %d: ended %s, %v, holders %s", victim+1, nth, s.board.Phase(), s.board.Faults(), s.board.Holders())
			}
			w.shares = was + 1
			for i, p := range ps {
				if at := epochOf(t, p, keys); at != was+1 {
					t.Errorf("victim %d, operation %d: seat %d is in epoch %d", victim+1, nth, i+1, at)
				}
				if got := kinds(p); got[seal.KindShare] != len(keys) || len(got) != 1 {
					t.Errorf("victim %d, operation %d: seat %d keeps %v", victim+1, nth, i+1, got)
				}
			}
			for _, k := range keys {
				w.combined(ps, [48]byte(k), eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: uint64(nth)}})
			}
			last = s
			if stops == 0 {
				break
			}
			steps = max(steps, nth)
		}
	}
	if steps < 8 {
		t.Errorf("a refresh has %d durable operations only: nothing was tested", steps)
	}
	t.Logf("stopped at up to %d operations, the keys are in epoch %d", steps, w.shares)
}

// TestEpochsDoNotMix: a process signs in the epoch that the ledger has shown
// to be committed, in no other, and keeps the key's history.
func TestEpochsDoNotMix(t *testing.T) {
	w := newWorld(t, 4, nil)
	ps := w.startAll()
	last, keys := w.made(ps, 1)
	key := [48]byte(keys[0])
	at := func(p *Process, epoch uint32, duty eth.Duty) error {
		w.shares = epoch
		answer, err := w.sign(p, key, duty, nil)
		if err == nil && answer.Epoch != epoch {
			t.Errorf("asked for epoch %d, got %d", epoch, answer.Epoch)
		}
		return err
	}
	block := w.block(w.epoch()*32+1, 1)
	if err := at(ps[0], 0, block); err != nil {
		t.Fatal(err)
	}
	s := w.renew(last, nil)
	s.goOn(func(i int, cert []byte) StepResult {
		r := s.plain(ps)(i, cert)
		if s.board.Phase() < dkg.PhaseDone { // before the commit, the old epoch
			if err := at(ps[i], 0, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}}); err != nil {
				t.Fatal(err)
			}
			refused(t, "an epoch that is not committed", at(ps[i], 1, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}}), rpc.CodeEpoch)
		}
		return r
	})
	refused(t, "the epoch before", at(ps[0], 0, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}}), rpc.CodeEpoch)
	refused(t, "another block at a slot of the epoch before", at(ps[0], 1, w.block(w.epoch()*32+1, 2)), rpc.CodeSlashable)
	if err := at(ps[0], 1, block); err != nil {
		t.Errorf("the same block: %v", err)
	}
	ps[0] = w.restart(ps[0])
	refused(t, "the epoch before, after a restart", at(ps[0], 0, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}}), rpc.CodeEpoch)
}

// TestAbortedRenewal: shares that were kept for an epoch that never came are
// destroyed, and the old ones sign on.
func TestAbortedRenewal(t *testing.T) {
	w := newWorld(t, 4, nil)
	ps := w.startAll()
	last, keys := w.made(ps, 1)
	s := w.renew(last, nil)
	for s.board.Phase() < dkg.PhaseConfirm {
		for i := range ps {
			s.post(s.plain(ps)(i, s.cert()).Posts)
		}
	}
	if r := s.plain(ps)(0, s.cert()); len(r.Posts) != 1 || kinds(ps[0])[seal.KindNext] != 1 {
		t.Fatalf("%d messages, %v", len(r.Posts), kinds(ps[0]))
	}
	ps[0] = w.restart(ps[0])
	s.tick(2000)
	if s.board.Phase() != dkg.PhaseAborted {
		t.Fatal(s.board.Phase())
	}
	for i := range ps {
		s.plain(ps)(i, s.cert())
		if got := kinds(ps[i]); got[seal.KindShare] != 1 || len(got) != 1 {
			t.Errorf("seat %d keeps %v", i+1, got)
		}
	}
	w.combined(ps, [48]byte(keys[0]), eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}})
}
