package ledger

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// Timer is a schedule on the ledger: it asks for its action, as anybody would,
// again and again.
type Timer struct {
	action.Timer
	By   string // who set it
	Next uint64 // milliseconds of block time
	Rung uint64 // how often
}

func (t *Timer) encode() []byte {
	var e wire.Encoder
	e.U8(1)
	e.String(t.Name)
	e.String(t.By)
	for _, n := range []uint64{t.First, t.Every, t.Next, t.Rung} {
		e.U64(n)
	}
	e.Bytes(t.Action)
	return e.Out()
}

func parseTimer(b []byte) (*Timer, error) {
	var t Timer
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != 1 {
		d.Fail(fmt.Errorf("version %d", v))
	}
	t.Name = d.String(wire.MaxName)
	t.By = d.String(2 * wire.MaxName)
	for _, n := range []*uint64{&t.First, &t.Every, &t.Next, &t.Rung} {
		*n = d.U64()
	}
	t.Timer.Action = d.Bytes(action.MaxAction)
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse timer: %w", err)
	}
	return &t, nil
}

const (
	// minEvery keeps a timer from filling the ledger by itself.
	minEvery = 60 * 1000
	// maxTimers bounds what can become due in one block.
	maxTimers = 1024
	// farthest is beyond any schedule, and far from where a sum of times overflows.
	farthest = 1 << 52
)

func (s *State) timerPath(name string) proof.Path { return s.ns.Path("timer", name) }

// Timers visits all timers in order of their names.
func (s *State) Timers(visit func(*Timer) bool) {
	s.iterate(s.ns.Prefix("timer"), func(_, v []byte) bool { return visit(mustParse(parseTimer(v))) })
}

func (s *State) timer(name string) (*Timer, bool) {
	raw := s.Get(s.timerPath(name))
	if raw == nil {
		return nil, false
	}
	return mustParse(parseTimer(raw)), true
}

func (s *State) setTimer(ctx txContext, t action.Timer) error {
	if err := action.CheckName("timer", t.Name); err != nil {
		return refuse(CodeMalformed, "%w", err)
	}
	inner, err := action.ParseAction(t.Action)
	switch {
	case err != nil:
		return refuse(CodeMalformed, "%w", err)
	case inner.Rule == action.RuleTimerSet:
		return refuse(CodeMalformed, "a timer does not set timers")
	case inner.Rule == action.RuleAssembly:
		return refuse(CodeMalformed, "a timer has no list of participants: somebody asks for a ceremony among them")
	case inner.Rule == action.RuleImport, inner.Rule == action.RuleRefresh, inner.Rule == action.RuleReshare, inner.Rule == action.RuleHandover:
		return refuse(CodeMalformed, "a timer has no keys to give along: for new shares of keys put a rotation into the policy")
	case t.Name == rotationTimer:
		return refuse(CodeConflict, "under the name %s the ledger itself asks: choose another", t.Name)
	case t.Every != 0 && t.Every < minEvery, t.First <= ctx.block.Time, t.First > farthest, t.Every > farthest:
		return refuse(CodeMalformed, "a timer starts in the future and rings at most once a minute")
	}
	old, replaces := s.timer(t.Name)
	if replaces {
		s.delete(s.timePath(old.Next, dueTimer, old.Name))
	} else if s.countTimers() >= maxTimers {
		return refuse(CodeBusy, "there are %d timers", maxTimers)
	}
	s.putTimer(&Timer{Timer: t, By: ctx.who.name, Next: t.First})
	s.record(ctx, Event{Kind: EventTimer, Object: "timer/" + t.Name, Detail: fmt.Sprintf("set: %s from %s", inner.Rule, moment(t.First))})
	return nil
}

func (s *State) countTimers() (n int) {
	s.Timers(func(*Timer) bool { n++; return true })
	return n
}

func (s *State) putTimer(t *Timer) {
	s.set(s.timerPath(t.Name), t.encode())
	s.wakeAt(t.Next, dueTimer, t.Name)
}

func (s *State) cancelTimer(ctx txContext, name string) error {
	t, ok := s.timer(name)
	if !ok {
		return refuse(CodeNotFound, "there is no timer %s", name)
	}
	s.delete(s.timePath(t.Next, dueTimer, name))
	s.delete(s.timerPath(name))
	s.record(ctx, Event{Kind: EventTimer, Object: "timer/" + name, Detail: "cancelled"})
	return nil
}

// timerDue rings: it asks for the action under the timer's own name. What it
// missed while the ledger stood still it does not make up for.
func (s *State) timerDue(ctx txContext, name string) {
	t, ok := s.timer(name)
	if !ok || t.Next > ctx.block.Time {
		return
	}
	t.Rung++
	ctx.who = principal{name: "timer/" + name, kind: kindTimer, behind: t.By}
	ctx.hash = wire.Hash(wire.TagRequest, s.cluster[:], []byte(ctx.who.name), eb(t.Rung), eb(t.Next)) // no two alike
	switch {
	case t.Every == 0:
		s.delete(s.timerPath(name))
	default:
		t.Next += t.Every * (1 + (ctx.block.Time-t.Next)/t.Every)
		s.putTimer(t)
	}
	a := mustParse(action.ParseAction(t.Timer.Action))
	var why error
	s.attempt(func(s *State) Code {
		if _, why = s.ask(ctx, Ask{Action: a, Purpose: "timer " + name}, nil); why != nil {
			return CodeConflict
		}
		return OK
	})
	detail := "rung: " + string(a.Rule)
	if why != nil {
		detail += ": " + why.Error()
	}
	s.record(ctx, Event{Kind: EventTimer, Object: "timer/" + name, Detail: detail})
}

func be(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
func eb(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// cutKey reads the name under which a key stands in the due index.
func cutKey(name string) (action.Domain, []byte) {
	domain, key, _ := strings.Cut(name, ":")
	raw, err := hex.DecodeString(key)
	if err != nil {
		panic("ledger: own state is damaged: due key " + name)
	}
	return action.Domain(domain), raw
}
