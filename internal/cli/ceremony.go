package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/opsapi"
)

func (a *app) ceremonyCommand() *cobra.Command {
	var req opsapi.OpenCeremony
	var phase time.Duration
	open := &cobra.Command{Use: "open", Short: "Open a ceremony that makes new keys", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, _ []string) error {
			if phase < 0 || phase > 24*time.Hour || phase != phase.Truncate(time.Millisecond) {
				return fail(exitBadUse, "--phase-timeout takes 1ms to 24h", "phase time-out %s", phase)
			}
			req.PhaseTimeout = uint32(phase.Milliseconds())
			return a.ceremonyOpen(ctx, req)
		})}
	open.Flags().IntVar(&req.Keys, "keys", 1, "how many keys to make")
	open.Flags().BoolVar(&req.Hybrid, "hybrid", false, "protect dealt shares with X-Wing as well, against a quantum computer")
	open.Flags().StringVar(&req.Suite, "suite", "", "group of the keys (default bls12-381)")
	open.Flags().StringVar(&req.Purpose, "purpose", "", "what the keys are for; stands in the inventory")
	open.Flags().DurationVar(&phase, "phase-timeout", 0, "how long to wait, in each phase, for who is silent (default: 30 s and some time for each key)")
	list := &cobra.Command{Use: "list", Short: "Show all ceremonies", Args: cobra.NoArgs, RunE: a.run(a.ceremonyList)}
	show := &cobra.Command{Use: "show ID", Short: "Show one ceremony", Args: cobra.ExactArgs(1), RunE: a.run(a.ceremonyShow)}
	watch := &cobra.Command{Use: "watch ID", Short: "Follow a ceremony until it is done", Args: cobra.ExactArgs(1), RunE: a.run(a.ceremonyWatch)}
	return noun("ceremony", "Ceremonies that make keys", open, list, show, watch)
}

func (a *app) ceremonyOpen(ctx context.Context, req opsapi.OpenCeremony) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	opened, err := c.Open(ctx, req)
	if err != nil {
		return err
	}
	return a.print(opened, func(t *table) {
		t.row("opened ceremony", opened.ID)
		t.row("follow it with:", "quorate ceremony watch "+opened.ID)
	})
}

func (a *app) ceremonyList(ctx context.Context, _ []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	all, err := c.Ceremonies(ctx)
	if err != nil {
		return err
	}
	return a.print(all, func(t *table) {
		t.row("ID", "MODE", "PHASE", "KEYS", "SHARES", "BY")
		for _, c := range all {
			t.row(c.ID, c.Mode, c.Phase, c.Keys, shares(c.Threshold, len(c.Seats)), c.By)
		}
	})
}

func (a *app) ceremonyShow(ctx context.Context, args []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	one, err := c.Ceremony(ctx, args[0])
	if err != nil {
		return hinted(err, "quorate ceremony list")
	}
	return a.print(one, func(t *table) { showCeremony(t, one) })
}

func showCeremony(t *table, c opsapi.Ceremony) {
	t.row("ceremony", c.ID)
	t.row("mode", c.Mode)
	t.row("phase", c.Phase)
	if c.Deadline != nil {
		t.row("until", clock(*c.Deadline))
	}
	t.row("keys", c.Keys)
	t.row("shares", shares(c.Threshold, len(c.Seats)))
	t.row("opened by", c.By)
	for _, s := range c.Seats {
		t.row(fmt.Sprintf("seat %d", s.Index), s.Node, strings.Join(seatWords(s), ", "))
	}
	for _, f := range c.Faults {
		t.row("fault", fmt.Sprintf("seat %d", f.Seat), nodeOf(c, f.Seat), f.Kind)
	}
}

// nodeOf names who holds a seat.
func nodeOf(c opsapi.Ceremony, seat int) string {
	for _, s := range c.Seats {
		if s.Index == seat {
			return s.Node
		}
	}
	return ""
}

func seatWords(s opsapi.Seat) (words []string) {
	for _, w := range []struct {
		is   bool
		word string
	}{{s.Joined, "joined"}, {s.Dealt, "dealt"}, {s.Holds, "holds its shares"}} {
		if w.is {
			words = append(words, w.word)
		}
	}
	return words
}

// shares names a threshold.
func shares(t, n int) string { return fmt.Sprintf("%d of %d", t, n) }

// ceremonyWatch follows a ceremony; its exit code says how it ended.
func (a *app) ceremonyWatch(ctx context.Context, args []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	one, err := watchCeremony(ctx, c, args[0], func(c opsapi.Ceremony) {
		if a.output == "text" {
			fmt.Fprintf(a.stdout, "%s\n", ceremonyLine(c))
		}
	})
	if err != nil {
		return hinted(err, "quorate ceremony list")
	}
	if a.output == "json" {
		if err := a.print(one, nil); err != nil {
			return err
		}
	}
	if one.Phase == "aborted" {
		return fail(exitFailed, "quorate ceremony show "+one.ID, "ceremony was aborted: %d faults", len(one.Faults))
	}
	return nil
}

// watchCeremony calls changed at each change until the ceremony has ended.
func watchCeremony(ctx context.Context, c *opsapi.Client, id string, changed func(opsapi.Ceremony)) (opsapi.Ceremony, error) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last := ""
	for {
		one, err := c.Ceremony(ctx, id)
		if err != nil {
			return one, err
		}
		if line := ceremonyLine(one); line != last {
			last = line
			changed(one)
		}
		if one.Phase == "done" || one.Phase == "aborted" {
			return one, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return one, ctx.Err()
		}
	}
}

const watchEvery = 200 * time.Millisecond

func ceremonyLine(c opsapi.Ceremony) string {
	var joined, dealt, holds int
	for _, s := range c.Seats {
		joined, dealt, holds = joined+count(s.Joined), dealt+count(s.Dealt), holds+count(s.Holds)
	}
	return fmt.Sprintf("%-8s joined %d, dealt %d, confirmed %d of %d; faults %d", c.Phase, joined, dealt, holds, len(c.Seats), len(c.Faults))
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
