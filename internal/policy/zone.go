package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/quorate/quorate/internal/wire"
)

const (
	minuteMS = 60_000
	dayMS    = 24 * 60 * minuteMS
	maxTime  = 253_402_300_799_999 // end of the year 9999; later counts as never
)

// A Zone is a local time with every change of its offset written down. Rules
// of time zones change by decree, so replicas with different tzdata would
// disagree: the state machine knows what the document pins, and nothing else.
type Zone struct {
	Name    string
	Until   uint64 // milliseconds; from then on nothing is known. 0: the last offset holds for good
	Offsets []Offset
}

// An Offset holds from a moment to the next one's.
type Offset struct {
	From  int64 // milliseconds; what lies before the first is unknown
	East  int64 // milliseconds ahead of UTC
	since bool  // whether From was written
}

var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // day 0 of the epoch was a Thursday

// A Window is open on some days of a week between two local times.
type Window struct {
	Zone *Zone
	Week
}

// A Week says on which days something is open, and when, on any clock.
type Week struct {
	Days     [7]bool // from Sunday
	From, To int64   // milliseconds after local midnight; To > From, and may lie in the next day
}

var everyDay = [7]bool{true, true, true, true, true, true, true}

// ParseWeek reads "mon-fri 09:00-18:00". Without days it is every day; what ends
// before it begins goes over midnight.
func ParseWeek(text string) (Week, error) {
	fields := strings.Fields(text)
	w := Week{Days: everyDay}
	if len(fields) == 0 || !w.setHours(fields[len(fields)-1]) {
		return w, fmt.Errorf("window %q: want one like 09:00-18:00, or mon-fri 09:00-18:00", text)
	}
	if len(fields) > 1 {
		w.Days = [7]bool{}
	}
	for _, f := range fields[:len(fields)-1] {
		for _, d := range strings.Split(strings.TrimSuffix(f, ","), ",") {
			if wrong := w.addDays(d); wrong != "" {
				return w, fmt.Errorf("window %q: %s", text, wrong)
			}
		}
	}
	return w, nil
}

func (w *Week) setHours(text string) bool {
	from, to, _ := strings.Cut(text, "-")
	f, ok1 := parseClock(from)
	t, ok2 := parseClock(to)
	if w.From, w.To = f, t; t < f {
		w.To += dayMS
	}
	return ok1 && ok2 && f != t && f != dayMS
}

// next returns the first moment at or after ms that the window is open,
// for local times that are offset ms ahead of UTC.
func (w *Window) next(ms, offset int64) int64 {
	local := ms + offset
	today := floorDiv(local, dayMS)
	for day := today - 1; day <= today+7; day++ {
		if !w.Days[floorMod(day+4, 7)] {
			continue
		}
		if start, end := day*dayMS+w.From, day*dayMS+w.To; local < end {
			return max(local, start) - offset
		}
	}
	return maxTime + 1 // no day is open
}

func floorDiv(a, b int64) int64 {
	if q := a / b; a%b >= 0 {
		return q
	}
	return a/b - 1
}

func floorMod(a, b int64) int64 { return a - floorDiv(a, b)*b }

// OpensAt returns the next moment at or after ms inside the window; false
// when there is none that the zone's pinned offsets tell.
func (w *Window) OpensAt(ms uint64) (uint64, bool) {
	if w == nil {
		return ms, true
	}
	if ms > maxTime {
		return 0, false
	}
	z, from := w.Zone, int64(ms)
	end := int64(maxTime)
	if z.Until != 0 {
		end = min(end, int64(z.Until)-1)
	}
	i, _ := slices.BinarySearchFunc(z.Offsets, from+1, func(o Offset, at int64) int { return int(min(max(o.From-at, -1), 1)) })
	for i = max(i-1, 0); i < len(z.Offsets); i++ {
		o, last := z.Offsets[i], end
		if i+1 < len(z.Offsets) {
			last = min(end, z.Offsets[i+1].From-1)
		}
		if at := w.next(max(from, o.From), o.East); at <= last {
			return uint64(at), true
		}
	}
	return 0, false
}

func (d *document) zones(root mapping) map[string]*Zone {
	out := map[string]*Zone{"UTC": {Name: "UTC", Offsets: []Offset{{}}}}
	if !root.has("zones") {
		return out
	}
	m, _ := d.mapping(root.fields["zones"], "zones")
	for _, name := range m.order {
		if name == "UTC" {
			d.add(m.keys[name], "UTC is always there: delete this zone")
			continue
		}
		if len(out) > 16 || len(name) > wire.MaxName {
			d.add(m.keys[name], "more than 16 zones, or a name over %d bytes: leave out what no window uses", wire.MaxName)
			break
		}
		if z := d.zone(name, m.fields[name]); z != nil {
			out[name] = z
		}
	}
	return out
}

func (d *document) zone(name string, n *yaml.Node) *Zone {
	m, ok := d.mapping(n, "zone "+name, "until", "offsets")
	if !ok || !m.need("offsets", "a list such as [{utc: +01:00}]") {
		return nil
	}
	z := &Zone{Name: name, Until: uint64(m.moment("until"))}
	for i, on := range d.list(m.fields["offsets"], "offsets", wire.MaxPolicyOffsets) {
		om, ok := d.mapping(on, "an offset", "from", "utc")
		if !ok || !om.need("utc", "an offset such as +01:00") {
			return nil
		}
		o := Offset{From: om.moment("from"), since: om.has("from")}
		if o.East, ok = parseOffset(om.text("utc")); !ok {
			d.add(om.pos("utc"), "utc must be an offset from -14:00 to +14:00: write it as +05:30")
			return nil
		}
		if i > 0 && (!o.since || o.From <= z.Offsets[i-1].From) {
			d.add(om.pos("from"), "offsets must follow in time: give each but the first a from later than the one before")
			return nil
		}
		z.Offsets = append(z.Offsets, o)
	}
	if len(z.Offsets) == 0 {
		d.add(m.pos("offsets"), "zone %s has no offset: write at least [{utc: +01:00}]", name)
		return nil
	}
	if last := z.Offsets[len(z.Offsets)-1].From; m.has("until") && int64(z.Until) <= last {
		d.add(m.pos("until"), "until must lie after the last offset's from")
		return nil
	}
	return z
}

// parseOffset reads +05:30 in milliseconds.
func parseOffset(s string) (int64, bool) {
	if len(s) != 6 || (s[0] != '+' && s[0] != '-') {
		return 0, false
	}
	v, ok := parseClock(s[1:])
	if s[0] == '-' {
		v = -v
	}
	return v, ok && v >= -14*60*minuteMS && v <= 14*60*minuteMS
}

// parseClock reads 09:30 as milliseconds after midnight; 24:00 is its end.
func parseClock(s string) (int64, bool) {
	h, m, ok := strings.Cut(s, ":")
	if !ok || len(h) != 2 || len(m) != 2 {
		return 0, false
	}
	hours, err1 := strconv.ParseUint(h, 10, 8)
	minutes, err2 := strconv.ParseUint(m, 10, 8)
	if err1 != nil || err2 != nil || minutes > 59 || hours > 24 || hours == 24 && minutes > 0 {
		return 0, false
	}
	return int64(hours*60+minutes) * minuteMS, true
}

func (d *document) window(n *yaml.Node, zones map[string]*Zone) *Window {
	m, ok := d.mapping(n, "window", "zone", "days", "hours")
	if !ok || !m.need("zone", "a name under zones, or UTC") {
		return nil
	}
	w := &Window{zones[m.text("zone")], Week{everyDay, 0, dayMS}}
	if name := m.text("zone"); w.Zone == nil && name != "" {
		var known []string
		for k := range zones {
			known = append(known, k)
		}
		slices.Sort(known)
		d.add(m.pos("zone"), "no zone is named %q: pin it under zones (quorate policy pin-zone %s prints that), or %s", name, name, didYouMean(name, known))
		return nil
	}
	if m.has("days") {
		w.Days = [7]bool{}
		m.words("days", func(s string) string { return w.addDays(s) })
	}
	if m.has("hours") {
		if !w.setHours(m.text("hours")) {
			d.add(m.pos("hours"), "hours must be two different times: write 09:00-17:00, or 22:00-06:00 over midnight")
			return nil
		}
	}
	if w.Days == [7]bool{} {
		return nil // days were complained about
	}
	return w
}

// addDays reads mon or mon-fri.
func (w *Week) addDays(s string) string {
	first, last, ranged := strings.Cut(s, "-")
	if !ranged {
		last = first
	}
	i, j := slices.Index(days, first), slices.Index(days, last)
	if i < 0 || j < 0 {
		return fmt.Sprintf("no day is named %q: use sun, mon, tue, wed, thu, fri, sat, or a range such as mon-fri", s)
	}
	for ; ; i = (i + 1) % 7 {
		w.Days[i] = true
		if i == j {
			return ""
		}
	}
}
