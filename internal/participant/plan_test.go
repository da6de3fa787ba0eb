package participant

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/dkg/assembly"
)

var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "Asia/Tokyo", "America/Sao_Paulo", "Australia/Lord_Howe"}

// TestPhaseTime begins phases at any time, over changes of the clock: each has
// a whole window of every zone, and a minute less would not always do.
func TestPhaseTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(0, 24*60-1).Draw(t, "from")
		w := Window{time.Duration(from) * time.Minute, time.Duration(from+rapid.IntRange(30, 24*60).Draw(t, "length")) * time.Minute}
		var at []*time.Location
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(zones), 1, 4, rapid.ID).Draw(t, "zones") {
			zone, err := time.LoadLocation(name)
			if err != nil {
				t.Fatal(err)
			}
			at = append(at, zone)
		}
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 365*24*60).Draw(t, "start")) * time.Minute)
		lasts := w.PhaseTime(start, at)
		begins := start.Add(time.Duration(rapid.IntRange(0, 50*24*60).Draw(t, "later")) * time.Minute)
		for _, zone := range at {
			opens, closes := w.First(begins, zone)
			if opens.Before(begins) || closes.After(begins.Add(lasts)) {
				t.Fatalf("a phase of %s that begins at %s ends before %s's window, %s to %s", lasts, begins, zone, opens, closes)
			}
		}
	})
	utc := []*time.Location{time.UTC}
	if got := (Window{9 * time.Hour, 18 * time.Hour}).PhaseTime(time.Now(), utc); got != 33*time.Hour {
		t.Errorf("one zone without changes of the clock: %s", got)
	}
}

func TestParseWindow(t *testing.T) {
	for text, want := range map[string]Window{
		"09:00-18:00": {9 * time.Hour, 18 * time.Hour},
		"22:30-06:00": {22*time.Hour + 30*time.Minute, 30 * time.Hour},
		"00:00-24:00": {0, 24 * time.Hour},
	} {
		if got, err := ParseWindow(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "9-18", "9:00-18:00", "09:00", "09:00-25:00", "09:61-18:00", "09:00-18:00x", "-9:00-18:00"} {
		if got, err := ParseWindow(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
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
