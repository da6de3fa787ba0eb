package rehearsal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/internal/dkg/assembly"
)

// Result is what a rehearsal leaves.
type Result struct {
	Archive     []byte
	Certificate []byte // nil when the ceremony was aborted
	Report      *Report
}

// Run plays a ceremony to its end. Cancelling ctx ends it early.
func Run(ctx context.Context, c Config) (*Result, error) {
	r, w, err := run(ctx, c)
	if w != nil {
		w.destroy()
	}
	return r, err
}

// run leaves the world as it is at the end.
func run(ctx context.Context, c Config) (*Result, *world, error) {
	if c.Progress == nil {
		c.Progress = func(string, ...any) {}
	}
	began := time.Now()
	w, err := newWorld(c)
	if err != nil {
		return nil, nil, err
	}
	for w.board.Phase() < assembly.PhaseDone {
		if err := w.play(ctx); err != nil {
			return nil, w, fmt.Errorf("rehearse phase %s: %w", w.board.Phase(), err)
		}
	}
	r := &Result{Report: w.report}
	if r.Archive, err = w.close(ctx); err != nil {
		return nil, w, err
	}
	if r.Certificate, err = w.certify(); err != nil {
		return nil, w, err
	}
	w.report.score(w)
	w.report.ArchiveBytes, w.report.CertificateBytes = len(r.Archive), len(r.Certificate)
	w.report.WallSeconds, w.report.PeakMiB = time.Since(began).Seconds(), peakMemory()
	return r, w, nil
}

func (w *world) destroy() {
	for _, s := range w.seats {
		s.honest.Destroy()
	}
}

// posted is a message on its way to the ledger.
type posted struct {
	at        uint64
	seat      int // whose it claims to be
	raw       []byte
	signature []byte
}

// play lets everybody act who has to in this phase, and lets the ledger take
// what arrives until the phase is over.
func (w *world) play(ctx context.Context) error {
	phase, began, wall := w.board.Phase(), w.now, time.Now()
	if err := w.prepare(ctx, phase); err != nil {
		return err
	}
	out, took, err := w.act(ctx, phase)
	if err != nil {
		return err
	}
	w.report.spent(phase, took)
	step := Step{Phase: phase.String(), Messages: len(out)}
	ledger, err := spendAll(func() error { return w.deliver(phase, out, &step) })
	if err != nil {
		return err
	}
	w.report.Ledger += ledger.Seconds()
	if w.board.Phase() == phase { // who is missing does not come
		w.tick(max(w.now+1, w.board.Deadline()))
	}
	step.SimulatedSeconds, step.WallSeconds = float64(w.now-began)/1000, time.Since(wall).Seconds()
	w.report.Steps = append(w.report.Steps, step)
	w.config.Progress("%-8s %d messages, %d refused, %.1f s", step.Phase, step.Messages, step.Refused, step.WallSeconds)
	return nil
}

// prepare does once what all honest participants would do each, because it is
// a function of public data: inspecting a cohort's dealings, replaying all.
func (w *world) prepare(ctx context.Context, phase assembly.Phase) error {
	switch {
	case phase == assembly.PhaseDeal:
		return w.corrupt()
	case phase == assembly.PhaseVerify && w.inspected == nil:
		w.inspected = map[int][]assembly.Accusation{}
		for c := 1; c <= int(w.params.Cohorts); c++ {
			took, _ := spendAll(func() error {
				w.inspected[c] = w.board.Inspect(c)
				return nil
			})
			w.report.inspect = append(w.report.inspect, took.Seconds())
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	case phase == assembly.PhaseReplay:
		took, err := spendAll(func() (err error) {
			w.found, err = w.board.Examine()
			return err
		})
		w.report.replay = took.Seconds()
		return err
	}
	return nil
}

// act asks every seat what it posts, on all cores. What each says depends on
// nobody else's turn, so that the order does not show.
func (w *world) act(ctx context.Context, phase assembly.Phase) ([]posted, []float64, error) {
	out, took := make([][]posted, len(w.seats)), make([]float64, len(w.seats))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for k, s := range w.seats {
		if !s.present(phase) {
			continue
		}
		delay := w.delay(phase, s)
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var messages []assembly.Message
			spent, err := spend(func() (err error) {
				messages, err = w.says(phase, s)
				return err
			})
			if err != nil {
				return fmt.Errorf("participant %d: %w", s.index, err)
			}
			if messages != nil {
				took[k] = spent.Seconds()
			}
			for i, m := range messages {
				p := posted{at: w.now + delay + uint64(i), seat: s.index, raw: m.Encode()}
				if phase == assembly.PhaseJoin && s.plays(assembly.WrongSender) {
					p.seat = s.index%len(w.seats) + 1
				}
				p.signature = assembly.SignMessage(s.identity, p.seat, p.raw)
				out[k] = append(out[k], p)
				if phase == assembly.PhaseJoin && s.plays(assembly.NoSeat) {
					for _, nobody := range []int{0, len(w.seats) + 1} {
						q := p
						q.seat, q.signature = nobody, assembly.SignMessage(s.identity, nobody, p.raw)
						out[k] = append(out[k], q)
					}
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	all := slices.Concat(out...)
	slices.SortStableFunc(all, func(a, b posted) int { return cmp.Compare(a.at, b.at) })
	return all, took, nil
}

// delay is the simulated time until a seat's message arrives: its morning, its
// machine's work, the way to the ledger.
func (w *world) delay(phase assembly.Phase, s *seat) uint64 {
	work := map[assembly.Phase]float64{assembly.PhaseDeal: 0.14, assembly.PhaseVerify: 0.05, assembly.PhaseReplay: 2.5, assembly.PhaseConfirm: 0.02}
	ms := float64(regions[s.region].latency)*(1+w.chance.ExpFloat64()) + work[phase]*float64(len(w.seats))*s.slowness
	if phase == assembly.PhaseJoin {
		ms += w.chance.Float64() * 8 * hour
	}
	return uint64(ms)
}

// says is what a seat posts in a phase.
func (w *world) says(phase assembly.Phase, s *seat) ([]assembly.Message, error) {
	b := w.board
	joined := b.Cohort(s.index) > 0
	switch {
	case phase == assembly.PhaseJoin:
		if s.saboteur != nil {
			return s.saboteur.Join(), nil
		}
		return []assembly.Message{s.honest.Join()}, nil
	case !joined:
		return nil, nil
	case phase == assembly.PhaseDeal:
		if _, drawn := slices.BinarySearch(b.Dealers(), s.index); !drawn {
			return nil, nil
		}
		if s.saboteur != nil {
			return s.saboteur.Deal(b)
		}
		return s.honest.Deal(b)
	case phase == assembly.PhaseVerify && b.MayReport(s.index):
		return w.reports(s)
	case phase == assembly.PhaseAnswer:
		if s.saboteur != nil {
			return s.saboteur.Answer(b), nil
		}
		return s.honest.Answer(b), nil
	case phase == assembly.PhaseReplay:
		if s.saboteur != nil {
			return []assembly.Message{s.saboteur.Vote(b, w.found)}, nil
		}
		return []assembly.Message{s.honest.Vote(b, w.found)}, nil
	case phase == assembly.PhasePublish && s == w.publisher():
		return s.honest.Publish(b, w.found)
	case phase == assembly.PhaseConfirm:
		return w.confirms(s)
	}
	return nil, nil
}

// publisher is who posts the sums. Anyone would, but looks first whether
// somebody else did.
func (w *world) publisher() *seat {
	i := slices.IndexFunc(w.seats, func(s *seat) bool { return s.gone == 0 && !s.bad })
	return w.seats[max(i, 0)]
}

func (w *world) reports(s *seat) ([]assembly.Message, error) {
	found := w.inspected[w.board.Cohort(s.index)]
	mail := func(dealer int) *assembly.Letter { return w.letter(dealer, s.index) }
	var m *assembly.Report
	var err error
	if s.saboteur != nil {
		m, err = s.saboteur.Report(w.board, found, mail, w.dealsWell)
	} else {
		m, err = s.honest.Report(w.board, found, mail)
	}
	return []assembly.Message{m}, err
}

func (w *world) confirms(s *seat) ([]assembly.Message, error) {
	var m *assembly.Confirm
	var err error
	if s.saboteur != nil {
		m, err = s.saboteur.Confirm(w.board)
	} else {
		m, err = s.honest.Confirm(w.board)
	}
	if errors.Is(err, assembly.ErrNoShare) {
		return nil, nil
	}
	return []assembly.Message{m}, err
}

// deliver puts messages on the ledger in the order of their arrival, each in
// the block of its second.
func (w *world) deliver(phase assembly.Phase, out []posted, step *Step) error {
	for _, p := range out {
		if block := (p.at + 999) / 1000 * 1000; block > w.now {
			w.tick(block)
		}
		m, err := w.roster.CheckMessage(p.seat, p.raw, p.signature)
		if err == nil {
			err = w.board.Apply(p.seat, m)
		}
		if err != nil {
			step.Refused++
			w.late[p.seat] = w.late[p.seat] || errors.Is(err, assembly.ErrPhase)
			continue
		}
		w.archive.Post(p.seat, p.raw, p.signature)
	}
	return nil
}

// tick begins a block. Its hash stands for a beacon's output.
func (w *world) tick(now uint64) {
	w.now = now
	w.height++
	random := w.config.draw("block", w.height)
	w.board.Tick(now, random)
	w.archive.Tick(now, random)
}

// close lets everybody who is still there seal the archive, and replays it.
func (w *world) close(ctx context.Context) ([]byte, error) {
	var seals []assembly.Seal
	for _, s := range w.seats {
		if s.gone == 0 && !s.bad {
			seals = append(seals, w.archive.Seal(s.identity, s.index))
		}
	}
	raw := w.archive.Close(seals)
	var again *assembly.Board
	took, err := spendAll(func() (err error) {
		again, err = assembly.Replay(raw)
		return err
	})
	if err != nil {
		return nil, err
	}
	if again.Phase() != w.board.Phase() {
		return nil, fmt.Errorf("the archive ends in phase %s, not %s", again.Phase(), w.board.Phase())
	}
	w.report.FullVerify = took.Seconds()
	w.config.Progress("archive of %d bytes verified in %.2f CPU-s", len(raw), took.Seconds())
	return raw, ctx.Err()
}

func (w *world) certify() ([]byte, error) {
	if w.board.Phase() != assembly.PhaseDone {
		return nil, nil
	}
	c, err := w.board.Certificate()
	if err != nil {
		return nil, err
	}
	raw := c.Encode()
	took, err := spendAll(func() error {
		_, err := assembly.Verify(raw)
		return err
	})
	w.report.LightVerify = took.Seconds()
	w.config.Progress("certificate of %d bytes verified in %.2f CPU-s", len(raw), took.Seconds())
	return raw, err
}
