package policy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // so that the oracle is there on every machine
)

const windowDoc = head + perms + `tiers:
  - {name: w, actions: ['*'], approvals: 0, window: {zone: Z, days: %s, hours: "%s"}}
zones:
  %s`

func window(t *testing.T, zone, days, hours string, from, to time.Time) *Window {
	t.Helper()
	pinned, err := PinZone(zone, from, to)
	if err != nil {
		t.Fatal(err)
	}
	pinned = "Z:" + strings.TrimPrefix(pinned, zone+":")
	p := compile(t, fmt.Sprintf(windowDoc, days, hours, strings.ReplaceAll(pinned, "\n", "\n  ")))
	terms, err := p.Terms(Query{Action: "sign.deposit"})
	if err != nil {
		t.Fatal(err)
	}
	return terms.Window
}

// open says by Go's time package whether a window stated in words is open.
func open(at time.Time, weekdays map[time.Weekday]bool, from, to int) bool {
	minute := at.Hour()*60 + at.Minute()
	if from < to {
		return weekdays[at.Weekday()] && minute >= from && minute < to
	}
	return weekdays[at.Weekday()] && minute >= from || weekdays[(at.Weekday()+6)%7] && minute < to
}

// Minute by minute around every change of the clocks, and at random between,
// OpensAt agrees with Go's time package and a real time zone.
func TestOpensAt(t *testing.T) {
	from, to := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		zone, days, hours string
		weekdays          []time.Weekday
		from, to          int
	}{
		{"Europe/Berlin", "mon-fri", "09:00-17:00", []time.Weekday{1, 2, 3, 4, 5}, 540, 1020},
		{"Europe/Berlin", "sun", "02:00-03:00", []time.Weekday{0}, 120, 180}, // the hour that is missing, or there twice
		{"America/New_York", "sat-mon", "22:30-02:30", []time.Weekday{6, 0, 1}, 1350, 150},
		{"Australia/Lord_Howe", "[sun, wed]", "01:30-02:15", []time.Weekday{0, 3}, 90, 135}, // clocks move by half an hour
		{"Asia/Kathmandu", "fri-tue", "00:00-24:00", []time.Weekday{5, 6, 0, 1, 2}, 0, 1440},
		{"Pacific/Auckland", "sun", "23:00-05:00", []time.Weekday{0}, 1380, 300},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		weekdays := map[time.Weekday]bool{}
		for _, d := range c.weekdays {
			weekdays[d] = true
		}
		w := window(t, c.zone, c.days, c.hours, from, to)
		check := func(at time.Time) {
			want := at
			for i := 0; !open(want.In(loc), weekdays, c.from, c.to); i++ {
				want = want.Truncate(time.Minute).Add(time.Minute)
			}
			got, ok := w.OpensAt(uint64(at.UnixMilli()))
			if past := !want.Before(to); past && ok || !past && (!ok || got != uint64(want.UnixMilli())) {
				t.Fatalf("%s %s %s after %s: opens at %s (%t), want %s", c.zone, c.days, c.hours, at.In(loc), time.UnixMilli(int64(got)).In(loc), ok, want.In(loc))
			}
		}
		for at := from; at.Before(to); {
			_, next := at.In(loc).ZoneBounds()
			if next.IsZero() || !next.Before(to) {
				break
			}
			for at = next.Add(-30 * time.Hour); at.Before(next.Add(30 * time.Hour)); at = at.Add(47*time.Minute + 1234*time.Millisecond) {
				check(at)
			}
		}
		r := rand.New(rand.NewPCG(5, 6))
		for range 60 {
			check(from.Add(time.Duration(r.Int64N(int64(to.Sub(from))))).Truncate(time.Millisecond))
		}
		check(to.Add(-time.Millisecond))
		if _, ok := w.OpensAt(uint64(to.UnixMilli())); ok {
			t.Errorf("%s opens after its pinned offsets are used up", c.zone)
		}
		if got, ok := w.OpensAt(0); !ok || got < uint64(from.UnixMilli()) {
			t.Errorf("%s opens at %d, before its first pinned offset", c.zone, got)
		}
	}
}

// Without bounds a window opens for good; at the end of time it stops.
func TestOpensForGood(t *testing.T) {
	p := compile(t, head+perms+"tiers:\n  - {name: w, actions: ['*'], approvals: 0, window: {zone: Z, hours: 23:00-01:00}}\nzones:\n  Z: {offsets: [{utc: -12:00}]}\n")
	terms, _ := p.Terms(Query{Action: "sign.deposit"})
	if got, ok := terms.OpensAt(0); !ok || got != 11*3_600_000 {
		t.Errorf("opens at %d, %t", got, ok)
	}
	for _, ms := range []uint64{maxTime + 1, 1 << 63, 1<<64 - 1} {
		if _, ok := terms.OpensAt(ms); ok {
			t.Errorf("opens at %d, after the end of time", ms)
		}
	}
	var none Terms
	if got, ok := none.OpensAt(5); !ok || got != 5 {
		t.Error("terms without a window wait")
	}
}

func TestPinZone(t *testing.T) {
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }
	got, err := PinZone("Europe/Berlin", day(2026, 11, 21), day(2028, 1, 1))
	want := `Europe/Berlin:
  until: 2028-01-01T00:00:00Z
  offsets:
    - {from: 2026-11-21T00:00:00Z, utc: +01:00}
    - {from: 2027-03-28T01:00:00Z, utc: +02:00}
    - {from: 2027-10-31T01:00:00Z, utc: +01:00}
`
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
	for _, c := range []struct {
		zone     string
		from, to time.Time
	}{{"Europe/Nowhere", day(2026, 1, 1), day(2027, 1, 1)}, {"UTC", day(2027, 1, 1), day(2026, 1, 1)}, {"UTC", day(1960, 1, 1), day(2026, 1, 1)}} {
		if _, err := PinZone(c.zone, c.from, c.to); err == nil {
			t.Errorf("%v pinned", c)
		}
	}
}

func TestParseWeek(t *testing.T) {
	const hour = 60 * minuteMS
	office := [7]bool{1: true, 2: true, 3: true, 4: true, 5: true}
	for text, want := range map[string]Week{
		"09:00-18:00":                 {everyDay, 9 * hour, 18 * hour},
		"22:30-06:00":                 {everyDay, 22*hour + 30*minuteMS, 30 * hour},
		"00:00-24:00":                 {everyDay, 0, 24 * hour},
		"mon-fri 09:00-18:00":         {office, 9 * hour, 18 * hour},
		"mon,tue wed-fri 09:00-18:00": {office, 9 * hour, 18 * hour},
		"sat, mon 09:00-18:00":        {[7]bool{1: true, 6: true}, 9 * hour, 18 * hour},
	} {
		if got, err := ParseWeek(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "mon-fri", "9-18", "9:00-18:00", "09:00", "09:00-09:00", "09:00-25:00", "09:61-18:00", "09:00-18:00x", "-9:00-18:00", "someday 09:00-18:00", "mon-fri, 09:00 - 18:00"} {
		if got, err := ParseWeek(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}
