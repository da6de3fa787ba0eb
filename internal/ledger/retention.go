package ledger

import (
	"fmt"
	"strings"

	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// This file acts on the policy's retention: bodies of events that are older
// than it says are erased, with the transactions that asked and decided. Their
// salted commitments stay, so every proof does.

const (
	// erasedPerBlock bounds how many events of a class a block looks at.
	erasedPerBlock = 512
	// erasedAgain is how often the log is looked at, at most, where nothing is
	// left over. An erasure is an event itself, which grows old as well.
	erasedAgain = 24 * 60 * 60 * 1000
	eraseName   = "log"
	// shownFor is how long after a request's end somebody may have to be shown
	// who agreed: longer than a ceremony waits for any of its participants.
	shownFor = 8 * 24 * 60 * 60 * 1000
)

// classes of events, as policies name them. A class without a rule of its own
// goes by that of the first.
var classes = [...]string{"events", "requests", "ceremonies", "usage"}

// class says which of them an event is of.
func (k EventKind) class() int {
	switch {
	case k >= EventRequested && k <= EventFailed:
		return 1
	case k >= EventCeremonyOpened && k <= EventCeremonyAborted:
		return 2
	case k == EventUsage:
		return 3
	}
	return 0
}

// erasure is how far erasing has come.
type erasure struct {
	next uint64               // when the log is looked at again
	done [len(classes)]uint64 // of each class, the first event that has not been looked at for good
}

func (x *erasure) encode() []byte {
	var e wire.Encoder
	e.U8(1)
	e.U64(x.next)
	for _, n := range x.done {
		e.U64(n)
	}
	return e.Out()
}

func parseErasure(b []byte) (*erasure, error) {
	var x erasure
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != 1 {
		d.Fail(fmt.Errorf("version %d", v))
	}
	x.next = d.U64()
	for i := range x.done {
		x.done[i] = d.U64()
	}
	return &x, d.Finish()
}

func (s *State) erasurePath() proof.Path { return s.ns.Path("erasure") }

func (s *State) erasure() *erasure {
	if raw := s.Get(s.erasurePath()); raw != nil {
		return mustParse(parseErasure(raw))
	}
	return &erasure{next: never}
}

// keeps returns how long the policy has the bodies of a class kept, in
// milliseconds; false: for good.
func (s *State) keeps(class int) (uint64, bool) {
	rules, _ := s.policy()
	r, ok := rules.Retention(classes[class])
	if !ok {
		r, ok = rules.Retention(classes[0])
	}
	return r.Keep, ok
}

// ShortestRetention is the least time, in milliseconds, after which bodies of
// events are erased; false: they never are. What holds them elsewhere, as
// blocks do, has to go then as well.
func (s *State) ShortestRetention() (least uint64, ok bool) {
	for class := range classes {
		if keep, erased := s.keeps(class); erased && (!ok || keep < least) {
			least, ok = keep, true
		}
	}
	return least, ok
}

// Erased is how many events erasing is done with for good: it grows when there
// may be less on the disk.
func (s *State) Erased() (n uint64) {
	for _, done := range s.erasure().done {
		n += done
	}
	return n
}

// eraseDue erases what the policy has kept for long enough, a batch of it, and
// says when to look again.
func (s *State) eraseDue(ctx txContext, _ string) {
	x := s.erasure()
	if x.next != never {
		s.delete(s.timePath(x.next, dueErase, eraseName))
	}
	x.next = never
	more := false
	var said []string
	for class := range classes {
		n, next, left := s.eraseClass(ctx.block.Time, class, &x.done[class])
		if n > 0 {
			said = append(said, fmt.Sprintf("%d of %s", n, classes[class]))
		}
		x.next, more = min(x.next, next), more || left
	}
	if said != nil {
		s.record(ctx, Event{Kind: EventErased, Object: eraseName, Detail: "bodies " + strings.Join(said, ", ")})
	}
	switch {
	case more:
		x.next = never
		s.wakeAtHeight(uint64(ctx.block.Height)+1, dueErase, eraseName)
	case x.next != never:
		x.next = max(x.next, ctx.block.Time+erasedAgain)
		s.wakeAt(x.next, dueErase, eraseName)
	}
	s.set(s.erasurePath(), x.encode())
}

// eraseClass erases events of one class from a place on, in the order of the
// log. It returns how many, when to go on, and whether more of them are old.
func (s *State) eraseClass(now uint64, class int, at *uint64) (n int, next uint64, more bool) {
	keep, ok := s.keeps(class)
	if !ok {
		return 0, never, false
	}
	for range erasedPerBlock {
		if *at == s.log.size() {
			return n, now + keep, false
		}
		ev := s.Event(*at)
		switch {
		case ev == nil: // of another class, and gone
		case ev.Time+keep > now:
			return n, ev.Time + keep, false
		case ev.Kind.class() == class && s.stillShown(ev, now):
			return n, now + erasedAgain, false
		case ev.Kind.class() == class:
			s.erase(*at, ev)
			n++
		}
		*at++
	}
	return n, never, true
}

// stillShown says whether an event is of a request that is live, or was until
// lately: what was said of it may have to be shown again.
func (s *State) stillShown(ev *Event, now uint64) bool {
	name, ok := strings.CutPrefix(ev.Object, "request/")
	if !ok {
		return false
	}
	r, ok := s.Request(parseID(name))
	return ok && (r.State.Live() || now < r.Closed+shownFor)
}

func (s *State) erase(i uint64, ev *Event) {
	s.setBody(EventPath(i), nil)
	if ev.Kind.class() == 1 {
		s.setBody(TxPath(ev.Request), nil)
		s.setBody(askPath(ev.Request), nil)
	}
}
