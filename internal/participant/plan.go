package participant

import (
	"fmt"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/policy"
)

// Desk is when somebody is there, by the clock on the wall.
type Desk struct {
	Week policy.Week
	Zone *time.Location
	Away *Away
}

// Away are days, of everybody's own calendar, on which nobody is there.
type Away struct{ days map[string]bool }

const maxAway = 400

// ParseAway reads days such as 2026-12-25, and ranges such as
// 2026-12-24..2027-01-01.
func ParseAway(texts []string) (*Away, error) {
	a := &Away{map[string]bool{}}
	for _, text := range texts {
		first, last, ranged := strings.Cut(text, "..")
		if !ranged {
			last = first
		}
		from, err1 := time.Parse(time.DateOnly, first)
		to, err2 := time.Parse(time.DateOnly, last)
		if err1 != nil || err2 != nil || to.Before(from) || to.Sub(from) > maxAway*24*time.Hour {
			return nil, fmt.Errorf("%q: want a day such as 2026-12-25, or 2026-12-24..2027-01-01", text)
		}
		for ; !from.After(to); from = from.AddDate(0, 0, 1) {
			a.days[from.Format(time.DateOnly)] = true
		}
	}
	return a, nil
}

// on returns when somebody is there whose day begins on the day of t, if ever.
func (d Desk) on(t time.Time) (comes, goes time.Time, ok bool) {
	year, month, day := t.Date()
	at := func(since int64) time.Time {
		return time.Date(year, month, day, 0, int(since/time.Minute.Milliseconds()), 0, 0, t.Location())
	}
	ok = d.Week.Days[t.Weekday()] && (d.Away == nil || !d.Away.days[t.Format(time.DateOnly)])
	return at(d.Week.From), at(d.Week.To), ok
}

// MaxPhase is how long the ledger waits for people in one phase.
const MaxPhase = 7 * 24 * time.Hour

// horizon is for how many days ahead a plan looks at the calendar.
const horizon = 60

// First returns when somebody is there for the first time who comes at or after t.
func (d Desk) First(t time.Time) (comes, goes time.Time, ok bool) {
	// At noon no change of the clock makes a day of two or of none.
	year, month, day := t.In(d.Zone).Date()
	for k := -1; k <= horizon; k++ {
		if comes, goes, ok = d.on(time.Date(year, month, day+k, 12, 0, 0, 0, d.Zone)); ok && !comes.Before(t) {
			return comes, goes, true
		}
	}
	return time.Time{}, time.Time{}, false
}

// PhaseTime returns how long a phase has to last so that, whenever it begins
// within the horizon, everybody is there once from coming to going. A phase may
// begin early, when nobody is waited for in the one before: so it must not be
// fitted to one beginning. The worst is just after somebody came.
func PhaseTime(from time.Time, desks []Desk) (longest time.Duration, err error) {
	for _, d := range desks {
		for after, at := from, from; after.Before(from.AddDate(0, 0, horizon)); {
			comes, goes, ok := d.First(at)
			if !ok {
				return 0, fmt.Errorf("nobody in %s is there for %d days after %s", d.Zone, horizon, at.In(d.Zone).Format(time.DateOnly))
			}
			longest = max(longest, goes.Sub(after))
			after, at = comes, comes.Add(1)
		}
	}
	return longest, nil
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
