package cli

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/participant"
	"github.com/quorate/quorate/internal/secret"
)

func TestCheckClock(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for off, words := range map[time.Duration]string{
		0: "", 29 * time.Second: "", -29 * time.Second: "", 149 * time.Second: "",
		-31 * time.Second: "31s behind", 151 * time.Second: "2m31s ahead of", 3 * time.Hour: "3h0m0s ahead of",
	} {
		err := checkClock(now.Add(off), now, oldest)
		if (err == nil) != (words == "") || err != nil && !strings.Contains(err.Error(), words) {
			t.Errorf("off by %s: %v", off, err)
		}
	}
	if checkClock(now.Add(31*time.Second), now, 0) == nil {
		t.Error("31 s ahead of a block that is new")
	}
}

// TestTurns asks nodes in turns, leaves out who fails for longer and longer,
// and never has nobody to ask.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := newCourier(&participant.Invitation{Seat: 1, Nodes: []string{"http://a", "http://b", "http://c"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		asked := func(turns int, bad string) (out string) {
			for range turns {
				name := strings.TrimPrefix(c.name(), "http://")
				out += name
				if strings.Contains(bad, name) {
					c.failed()
				} else {
					c.helped()
				}
			}
			return out
		}
		if got := asked(6, ""); got != "bcabca" {
			t.Errorf("all are well: %s", got)
		}
		if got := asked(6, "c"); got != "bcabab" {
			t.Errorf("one fails: %s", got)
		}
		time.Sleep(restLeast) // of the bubble's time
		if got := asked(6, "c"); got != "abcaba" {
			t.Errorf("one fails again: %s", got)
		}
		time.Sleep(restLeast) // of the bubble's time
		if n := len(c.awake()); n != 2 {
			t.Errorf("%d nodes are awake", n)
		}
		time.Sleep(restLeast) // of the bubble's time
		if got := asked(3, ""); got != "bca" {
			t.Errorf("all are well again: %s", got)
		}
		if got := asked(8, "abc"); got[:4] != "bcab" || len(c.awake()) != 1 {
			t.Errorf("all fail: %s, %d awake", got, len(c.awake()))
		}
	})
}

// TestBehind ends where nobody shows the present, and bears with it later on.
func TestBehind(t *testing.T) {
	c, err := newCourier(&participant.Invitation{Nodes: []string{"http://a", "http://b"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	now := time.Now()
	j := &joining{app: &app{stderr: &said}, courier: c, progress: newProgress(&said), told: map[string]string{},
		clock: checkClock(now, now.Add(-oldest-maxSkew-time.Second), oldest)}
	if err := j.complain(t.Context(), errBehind); err != nil {
		t.Errorf("there is another node to ask: %v", err)
	}
	if err := j.complain(t.Context(), errBehind); err == nil || !strings.Contains(err.Error(), "ahead of the ledger's") {
		t.Errorf("nobody shows the present: %v", err)
	}
	j.present, j.failed = true, 0
	for range 4 {
		if err := j.complain(t.Context(), errBehind); err != nil {
			t.Errorf("it had seen the present: %v", err)
		}
	}
	if got := strings.Count(said.String(), "no block of the present"); got != 2 {
		t.Errorf("said %d times:\n%s", got, said.String())
	}
}

func TestBriefly(t *testing.T) {
	for d, want := range map[time.Duration]string{33 * time.Hour: "33h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 6 * time.Second: "6s", time.Hour + time.Second: "1h0m1s"} {
		if got := opsapi.Briefly(d); got != want {
			t.Errorf("%s: %s", d, got)
		}
	}
}

// TestPaper carries messages of several lengths in files and in pictures, and
// leaves no picture of a longer one behind.
func TestPaper(t *testing.T) {
	dir, a := t.TempDir(), &app{stderr: io.Discard}
	for _, size := range []int{4000, 1500, 10} {
		want := bytes.Repeat([]byte{byte(size)}, size)
		for _, name := range []string{"reply", "reply.png"} {
			out := paper{out: filepath.Join(dir, name), show: size < 5000}
			made, err := out.write(a, want)
			if err != nil {
				t.Fatal(err)
			}
			in := paper{in: made}
			if got, err := in.read(); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s of %d bytes: %v", name, size, err)
			}
			if len(made) > 1 {
				in.in = made[1:]
				if _, err := in.read(); err == nil || !strings.Contains(err.Error(), "missing: 1 of") {
					t.Errorf("%s of %d bytes without its first picture: %v", name, size, err)
				}
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "reply-*.png"))
	if err != nil || len(left) > 0 {
		t.Errorf("pictures of a longer message are left: %v, %v", left, err)
	}
	file := filepath.Join(dir, "reply")
	if _, err := (&paper{in: []string{file, file}}).read(); err == nil {
		t.Error("two files are one message")
	}
	long := &paper{show: true}
	if _, err := long.write(a, make([]byte, 100_000)); err == nil || !strings.Contains(err.Error(), "too many for QR codes") {
		t.Error(err)
	}
}

func TestPlan(t *testing.T) {
	guests := make([]participant.Guest, 5)
	guests[0].Zone, guests[1].Zone = "Europe/Paris", "Asia/Tokyo"
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := proposed{cohorts: 1, window: "09:00-18:00"}
	params, phase, err := p.plan(guests, now)
	if err != nil || phase != 33*time.Hour || params.T != 4 || params.Dealers != 0 || params.Deadlines.Join != uint32(phase.Milliseconds()) {
		t.Error(params, phase, err)
	}
	weekdays := p
	weekdays.window = "mon-fri 09:00-18:00"
	if _, phase, err := weekdays.plan(guests, now); err != nil || phase != 81*time.Hour {
		t.Error("over a weekend:", phase, err)
	}
	again, _, err := p.plan(guests, now)
	if err != nil || again.Nonce == params.Nonce {
		t.Error("two ceremonies of the same people have the same id")
	}
	for name, change := range map[string]func(*proposed){
		"long holidays":  func(p *proposed) { p.away = []string{"2026-06-10..2026-06-20"} },
		"no such day":    func(p *proposed) { p.away = []string{"christmas"} },
		"never there":    func(p *proposed) { p.away = []string{"2026-06-01..2026-09-20"} },
		"no such window": func(p *proposed) { p.window = "morning" },
		"no time":        func(p *proposed) { p.phase = time.Millisecond },
		"two months":     func(p *proposed) { p.phase = 60 * 24 * time.Hour },
		"unsafe":         func(p *proposed) { p.threshold = 2 },
		"no cohort":      func(p *proposed) { p.cohorts, p.dealers = 0, 1 },
	} {
		q := p
		change(&q)
		if _, _, err := q.plan(guests, now); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, _, err := p.plan(guests[:3], now); err == nil {
		t.Error("three participants: taken")
	}
}

// TestPicturesOfBefore writes a short message, a long and a short one again:
// what lies there is always the pictures of the last one.
func TestPicturesOfBefore(t *testing.T) {
	p := paper{out: filepath.Join(t.TempDir(), "r.png")}
	for _, size := range []int{10, 5000, 2500, 10} {
		made, err := p.write(nil, make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		there, err := filepath.Glob(strings.TrimSuffix(p.out, ".png") + "*")
		if err != nil || !slices.Equal(there, made) || (len(made) == 1) != (size == 10) {
			t.Errorf("%d bytes: wrote %v, there are %v, %v", size, made, there, err)
		}
		p.in = made
		if got, err := p.read(); err != nil || len(got) != size {
			t.Errorf("%d bytes: read %d, %v", size, len(got), err)
		}
	}
}

// TestRefusedMessages counts what no node took, and keeps what each had against it.
func TestRefusedMessages(t *testing.T) {
	var nodes []*stop
	for _, name := range []string{"http://one", "http://two"} {
		nodes = append(nodes, &stop{Client: opsapi.NewClient(name, secret.Bytes{})})
	}
	messages := []participant.Post{{Message: []byte("late")}, {Message: []byte("good")}, {Message: []byte("half")}}
	err := say(nodes, 3, messages, func(n *stop, p opsapi.AssemblyPost) error {
		if string(p.Message) == "late" || string(p.Message) == "half" && n == nodes[0] {
			return &opsapi.Error{Status: http.StatusConflict, Text: "wrong phase"}
		}
		return nil
	})
	var refused refusals
	if !errors.As(err, &refused) || len(refused) != 1 || !errors.As(err, new(*refusal)) {
		t.Fatalf("refused %d: %v", len(refused), err)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[0], "http://one") || !strings.HasPrefix(lines[1], "http://two") {
		t.Errorf("%q", err)
	}
	if err := say(nodes, 3, messages[1:], func(*stop, opsapi.AssemblyPost) error { return nil }); err != nil {
		t.Errorf("all were taken: %v", err)
	}
}

// TestWrapped counts the rows that a terminal makes of lines.
func TestWrapped(t *testing.T) {
	bars := strings.Repeat("█", 20)
	for width, want := range map[int]int{0: 3, 20: 3, 19: 4, 10: 4, 7: 5, 3: 10} {
		if got := wrapped([]string{bars, "", "wide"}, width); got != want {
			t.Errorf("width %d: %d rows, want %d", width, got, want)
		}
	}
}

// TestWatching shows cohorts as bars on a terminal, as lines elsewhere, and
// the same thing once.
func TestWatching(t *testing.T) {
	v := opsapi.Assembly{Phase: "deal", Participants: 8, Threshold: 6, CohortCount: 2, Faults: make([]opsapi.Fault, 2), Cohorts: []opsapi.AssemblyCohort{
		{Cohort: 0, Seats: 1}, {Cohort: 1, Seats: 4, Joined: 4, Dealers: 2, Dealt: 1, Regions: []string{"eu", "u\x1bs"}}, {Cohort: 2, Seats: 3, Joined: 3, Dealers: 2, Refused: 3},
	}}
	var out bytes.Buffer
	w := watching{progress: &progress{out: &out}}
	w.draw(v, time.Now())
	w.draw(v, time.Now())
	want := "deal     cohort 1  joined 4/4 dealt 1/2 (eu, u�s)\ndeal     cohort 2  joined 3/3 dealt 0/2, refused 3\ndeal     together  absent 1, faults 2\n"
	if got := out.String(); got != want {
		t.Errorf("got:\n%s", got)
	}
	out.Reset()
	w = watching{progress: &progress{out: &out}}
	w.draw(opsapi.Assembly{Phase: "aborted", CohortCount: 1, Faults: make([]opsapi.Fault, 3), Cohorts: []opsapi.AssemblyCohort{{Seats: 4, Joined: 1}}}, time.Now())
	if got := out.String(); got != "aborted  together  absent 3, faults 3\n" {
		t.Errorf("got:\n%s", got)
	}
	out.Reset()
	w = watching{progress: &progress{out: &out, terminal: true}}
	w.draw(v, time.Now())
	w.draw(v, time.Now())
	if got := out.String(); !strings.Contains(got, "cohort 1  ██████████░░░░░░░░░░ ") || strings.Count(got, "\033[4A\033[J") != 1 {
		t.Errorf("got:\n%q", got)
	}
}
