package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/opsapi"
)

// assemblyOf returns a ceremony of participants; false when the id is none of
// one, and may be that of a ceremony of nodes.
func assemblyOf(ctx context.Context, c *opsapi.Client, id string, seats bool) (opsapi.Assembly, bool, error) {
	one, err := c.Assembly(ctx, id, seats)
	var answer *opsapi.Error
	if errors.As(err, &answer) && (answer.Status == http.StatusNotFound || answer.Status == http.StatusBadRequest) {
		return one, false, nil
	}
	return one, err == nil, err
}

func showAssembly(t *table, v opsapi.Assembly) {
	t.row("ceremony", v.ID, exerciseWord(v.Exercise))
	if v.Purpose != "" {
		t.row("purpose", v.Purpose)
	}
	t.row("phase", v.Phase)
	if v.Deadline != nil {
		t.row("until", clock(*v.Deadline))
	}
	t.row("shares", shares(v.Threshold, v.Participants))
	if v.PublicKey != "" {
		t.row("key", v.PublicKey)
	}
	for _, s := range v.Seats {
		t.row(fmt.Sprintf("seat %d", s.Seat), s.Name, s.Region, strings.Join(participantWords(s), ", "))
	}
	for _, f := range v.Faults {
		name := ""
		if f.Seat >= 1 && f.Seat <= len(v.Seats) {
			name = v.Seats[f.Seat-1].Name
		}
		t.row("fault", fmt.Sprintf("seat %d", f.Seat), name, f.Kind, blamedWord(f.Attributable))
	}
}

func participantWords(s opsapi.AssemblySeat) (words []string) {
	for _, w := range []struct {
		is   bool
		word string
	}{{s.Joined, "joined"}, {s.Dealt, "dealt"}, {s.Reported, "reported"}, {s.Voted, "replayed"}, {s.Confirmed, "holds its share"}} {
		if w.is {
			words = append(words, w.word)
		}
	}
	return words
}

// watchAssembly follows a ceremony of participants; its exit code says how it
// ended.
func (a *app) watchAssembly(ctx context.Context, c *opsapi.Client, id string) error {
	w := &watching{progress: newProgress(a.stdout)}
	for {
		one, err := c.Assembly(ctx, id, false)
		if err != nil {
			return err
		}
		if a.output == "text" {
			w.draw(one, time.Now())
		}
		if one.Phase == "done" || one.Phase == "aborted" {
			return a.endAssembly(one)
		}
		select {
		case <-time.After(max(watchEvery, time.Duration(one.Participants)*time.Millisecond)): // the larger the answer, the rarer
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *app) endAssembly(one opsapi.Assembly) error {
	if a.output == "json" {
		if err := a.print(one, nil); err != nil {
			return err
		}
	}
	if one.Phase == "aborted" {
		return fail(exitFailed, "quorate ceremony show "+one.ID, "ceremony was aborted: %s", plural(len(one.Faults), "fault"))
	}
	if a.output == "json" {
		return nil
	}
	return a.print(one, func(t *table) {
		confirmed := 0
		for _, c := range one.Cohorts {
			confirmed += c.Confirmed
		}
		t.row("key", one.PublicKey, exerciseWord(one.Exercise))
		t.row("shares", fmt.Sprintf("%s, confirmed %d", shares(one.Threshold, one.Participants), confirmed))
		if len(one.Faults) > 0 {
			t.row("who and why:", "quorate ceremony show "+one.ID)
		}
		t.row("prove it with:", "quorate ceremony export "+one.ID+" --archive FILE --certificate FILE")
	})
}

// watching draws cohorts: bars on a terminal, lines elsewhere.
type watching struct {
	progress *progress
	drawn    int    // rows on the terminal
	last     string // line
}

func (w *watching) draw(v opsapi.Assembly, now time.Time) {
	out := w.progress.out
	lines := cohortLines(v, w.progress.terminal)
	if !w.progress.terminal {
		if text := strings.Join(lines, "\n"); text != w.last {
			w.last = text
			fmt.Fprintln(out, text)
		}
		return
	}
	head := fmt.Sprintf("%s, %s", v.Phase, shares(v.Threshold, v.Participants))
	if v.Deadline != nil {
		head += ", until " + clock(*v.Deadline)
		if left := v.Deadline.Sub(now); left > 0 {
			head += fmt.Sprintf(" (%s left)", left.Truncate(time.Second))
		}
	}
	if w.drawn > 0 {
		fmt.Fprintf(out, "\033[%dA\033[J", w.drawn)
	}
	lines = append([]string{head}, lines...)
	fmt.Fprintln(out, strings.Join(lines, "\n"))
	w.drawn = w.progress.rows(lines)
}

// steps are what a cohort does, in the order of the phases.
type step struct {
	word      string
	done, all int
}

func cohortSteps(c opsapi.AssemblyCohort) []step {
	return []step{
		{"joined", c.Joined, c.Seats}, {"dealt", c.Dealt, c.Dealers}, {"reported", c.Reported, c.Joined},
		{"replayed", c.Voted, c.Joined}, {"confirmed", c.Confirmed, c.Joined},
	}
}

// stepOf is which of them a phase waits for.
var stepOf = map[string]int{"join": 0, "draw": 0, "deal": 1, "verify": 2, "answer": 2, "replay": 3, "publish": 3, "freeze": 3, "confirm": 4, "done": 4, "aborted": 4}

func cohortLines(v opsapi.Assembly, bars bool) (lines []string) {
	at, absent := stepOf[v.Phase], 0
	for _, c := range v.Cohorts {
		if c.Cohort == 0 && at > 0 {
			absent = c.Seats - c.Joined // and they take no further part
			continue
		}
		name := "everybody"
		if c.Cohort > 0 && v.CohortCount > 1 {
			name = fmt.Sprintf("cohort %d", c.Cohort)
		}
		steps := cohortSteps(c)
		line := fmt.Sprintf("%-9s", name)
		if bars {
			line += " " + bar(steps[at].done, steps[at].all)
		} else {
			line = fmt.Sprintf("%-8s %s", v.Phase, line)
		}
		for _, s := range steps[:at+1] {
			if s.all > 0 {
				line += fmt.Sprintf(" %s %d/%d", s.word, s.done, s.all)
			}
		}
		if took, ok := c.Latency[v.Phase]; ok && took.Heard > 0 {
			line += fmt.Sprintf(", half within %s", (time.Duration(took.P50) * time.Millisecond).Round(100*time.Millisecond))
		}
		if c.Refused > 0 {
			line += fmt.Sprintf(", refused %d", c.Refused)
		}
		if len(c.Regions) > 0 {
			line += " (" + printable(strings.Join(c.Regions, ", ")) + ")"
		}
		lines = append(lines, line)
	}
	if absent > 0 || len(v.Faults) > 0 {
		line := fmt.Sprintf("%-9s absent %d, faults %d", "together", absent, len(v.Faults))
		if !bars {
			line = fmt.Sprintf("%-8s %s", v.Phase, line)
		}
		lines = append(lines, line)
	}
	return lines
}

// modeAssembly is what a list calls the ceremonies of participants.
const modeAssembly = "participants"

// listedAssembly is one in a list.
type listedAssembly struct {
	Mode string `json:"mode"`
	opsapi.Assembly
}
