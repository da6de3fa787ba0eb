package participant

import (
	"fmt"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/dkg/assembly"
)

// Window is when people are at their desks, by the clock on their wall.
type Window struct {
	From, To time.Duration // since midnight; To may lie on the next day
}

const day = 24 * time.Hour

// ParseWindow reads "09:00-18:00". One that ends before it begins goes over
// midnight.
func ParseWindow(text string) (w Window, err error) {
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		return w, fmt.Errorf("window %q: want one like 09:00-18:00", text)
	}
	for _, part := range []struct {
		text string
		into *time.Duration
	}{{from, &w.From}, {to, &w.To}} {
		var h, m int
		if n, err := fmt.Sscanf(part.text, "%d:%d", &h, &m); err != nil || n != 2 || fmt.Sprintf("%02d:%02d", h, m) != part.text || h < 0 || m < 0 || m > 59 || h*60+m > 24*60 {
			return w, fmt.Errorf("window %q: %q is no time of day", text, part.text)
		}
		*part.into = time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	}
	if w.To <= w.From {
		w.To += day
	}
	return w, nil
}

// on returns the window that opens on the day of t, in t's zone.
func (w Window) on(t time.Time) (opens, closes time.Time) {
	y, m, d := t.Date()
	at := func(since time.Duration) time.Time {
		return time.Date(y, m, d, 0, int(since/time.Minute), 0, 0, t.Location())
	}
	return at(w.From), at(w.To)
}

// First returns the first window that opens at or after t, on the clocks of a
// zone.
func (w Window) First(t time.Time, zone *time.Location) (opens, closes time.Time) {
	for at := t.In(zone).AddDate(0, 0, -1); ; at = at.AddDate(0, 0, 1) {
		if opens, closes = w.on(at); !opens.Before(t) {
			return opens, closes
		}
	}
}

// horizon is how far ahead clocks that are changed count.
const horizon = 60

// PhaseTime returns how long a phase has to last so that, whenever it begins,
// every zone has one whole window in it. A phase may begin early, when nobody
// is waited for in the one before: so it must not be fitted to one beginning.
// The worst one is just after a window opened; the next one then counts.
func (w Window) PhaseTime(from time.Time, zones []*time.Location) (longest time.Duration) {
	for _, zone := range zones {
		for k := range horizon {
			opened, _ := w.on(from.In(zone).AddDate(0, 0, k))
			_, closes := w.on(from.In(zone).AddDate(0, 0, k+1))
			longest = max(longest, closes.Sub(opened))
		}
	}
	return longest
}

// Schedule says when each phase ends at the latest: if every one before it
// runs to its end, too.
func Schedule(p assembly.Params, opened time.Time) (turns []Turn) {
	d := p.Deadlines
	type phase struct {
		name string
		ms   uint32
	}
	phases := []phase{{"join", d.Join}, {"deal", d.Deal}, {"verify", d.Verify}}
	if p.Hybrid { // letters that came late are reported on once more
		phases = append(phases, phase{"answer", d.Answer}, phase{"verify again", d.Verify}, phase{"answer again", d.Answer})
	}
	phases = append(phases, phase{"replay", d.Replay}, phase{"publish", d.Replay}, phase{"confirm", d.Confirm})
	for _, f := range phases {
		opened = opened.Add(time.Duration(f.ms) * time.Millisecond)
		turns = append(turns, Turn{f.name, opened.UTC()})
	}
	return turns
}
