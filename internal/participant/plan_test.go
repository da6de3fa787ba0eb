package participant

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/policy"
)

var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "Asia/Tokyo", "America/Sao_Paulo", "Australia/Lord_Howe"}

// TestPhaseTime begins phases at any time, over weekends, holidays and changes of
// the clock: in each everybody is there once from coming to going, and no
// shorter one would always do.
func TestPhaseTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 365*24*60).Draw(t, "start")) * time.Minute)
		closed := start.AddDate(0, 0, rapid.IntRange(0, 50).Draw(t, "holidays begin"))
		away, err := ParseAway([]string{closed.Format(time.DateOnly) + ".." + closed.AddDate(0, 0, rapid.IntRange(0, 3).Draw(t, "holidays")).Format(time.DateOnly)})
		if err != nil {
			t.Fatal(err)
		}
		var desks []Desk
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(zones), 1, 3, rapid.ID).Draw(t, "zones") {
			zone, err := time.LoadLocation(name)
			if err != nil {
				t.Fatal(err)
			}
			from := rapid.Int64Range(0, 24*60-1).Draw(t, "from")
			week := policy.Week{From: from * 60_000, To: (from + rapid.Int64Range(30, 24*60).Draw(t, "length")) * 60_000}
			for i := range week.Days {
				week.Days[i] = rapid.Bool().Draw(t, "day")
			}
			week.Days[rapid.IntRange(0, 6).Draw(t, "a day")] = true
			desks = append(desks, Desk{week, zone, away})
		}
		lasts, err := PhaseTime(start, desks)
		if err != nil {
			t.Fatal(err)
		}
		begins := start.Add(time.Duration(rapid.IntRange(0, 50*24*60).Draw(t, "later")) * time.Minute)
		tight := false
		for _, d := range desks {
			comes, goes, ok := d.First(begins)
			if !ok || comes.Before(begins) || goes.After(begins.Add(lasts)) {
				t.Fatalf("a phase of %s that begins at %s ends before the window in %s, %s to %s", lasts, begins, d.Zone, comes, goes)
			}
			if !d.Week.Days[comes.In(d.Zone).Weekday()] || away.days[comes.In(d.Zone).Format(time.DateOnly)] {
				t.Fatalf("nobody comes on %s", comes.In(d.Zone))
			}
			for after := start; !tight && after.Before(start.AddDate(0, 0, horizon)); {
				comes, goes, _ := d.First(after.Add(1))
				tight = goes.Sub(after) == lasts
				after = comes
			}
		}
		if !tight {
			t.Fatalf("%s is longer than needed", lasts)
		}
	})
	winter := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		window, away string
		zone         *time.Location
		want         time.Duration
	}{
		{"09:00-18:00", "", time.UTC, 33 * time.Hour},
		{"09:00-18:00", "", paris, 33 * time.Hour}, // on 29 March a day of 23 hours, which makes it shorter
		{"mon-fri 09:00-18:00", "", time.UTC, 81 * time.Hour},
		{"mon-fri 09:00-18:00", "2026-01-16..2026-01-19", time.UTC, (5*24 + 9) * time.Hour},
		{"22:00-06:00", "", time.UTC, 32 * time.Hour},
	} {
		week, err := policy.ParseWeek(c.window)
		if err != nil {
			t.Fatal(err)
		}
		away, err := ParseAway(strings.Fields(c.away))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := PhaseTime(winter, []Desk{{week, c.zone, away}}); err != nil || got != c.want {
			t.Errorf("%s without %q in %s: %s, %v", c.window, c.away, c.zone, got, err)
		}
	}
	if _, err := PhaseTime(winter, []Desk{{Zone: time.UTC}}); err == nil {
		t.Error("somebody who is never there has a phase")
	}
	for _, text := range []string{"", "tomorrow", "2026-02-30", "2026-02-03..2026-02-01", "2026-01-01..2036-01-01"} {
		if _, err := ParseAway([]string{text}); err == nil {
			t.Errorf("%q is taken for days", text)
		}
	}
}

func TestSchedule(t *testing.T) {
	opened := time.Unix(1_800_000_000, 0)
	p := assembly.Params{Deadlines: assembly.Deadlines{Join: 1000, Deal: 2000, Verify: 4000, Answer: 8000, Replay: 16000, Confirm: 32000}}
	last := func(p assembly.Params) time.Duration {
		turns := Schedule(p, opened)
		return turns[len(turns)-1].Latest.Sub(opened)
	}
	if got := last(p); got != 71*time.Second {
		t.Errorf("everything ends after %s", got)
	}
	p.Hybrid = true
	if got := last(p); got != 91*time.Second {
		t.Errorf("hybrid, everything ends after %s", got)
	}
}
