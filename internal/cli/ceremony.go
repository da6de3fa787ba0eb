package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/opsapi"
)

func (a *app) ceremonyCommand() *cobra.Command {
	var req opsapi.OpenCeremony
	var phase, deal time.Duration
	var o askOptions
	var keys []string
	var all bool
	open := &cobra.Command{Use: "open", Short: "Open a ceremony that makes new keys, or new shares of keys", Args: cobra.NoArgs,
		Long: `Open a ceremony.

--mode keygen makes --keys N new keys. --mode refresh gives keys new shares:
shares from before, wherever copies of them are, are worth nothing afterwards.
--mode reshare does so for other --seats or another --threshold; with --lost it
repairs: those seats have lost their shares and receive new ones. Both take
--all, or --keys with public keys. The keys sign all the while.

--mode handover takes the key of --keys over from participants that are not nodes,
who deal with "quorate ceremony hand-over". The key signs once nodes hold it.

With a node's token the node asks for the ceremony, with a member's --identity the
member does. Where others have to agree the command exits with 4, and the ceremony
opens when they did.`,
		Example: `  quorate ceremony open --keys 10
  quorate ceremony open --mode refresh --all
  quorate ceremony open --mode reshare --all --seats 1,2,3,5
  quorate ceremony open --mode reshare --keys 0x93247f…,0xa4b1c8… --lost 3
  quorate ceremony open --mode handover --keys 0x8c1d2a… --deal-timeout 48h`,
		RunE: a.run(func(ctx context.Context, _ []string) error {
			var err error
			if req.PhaseTimeout, err = phaseTimeout(phase); err != nil {
				return err
			}
			if req.DealTimeout, err = dealTimeout(deal); err != nil {
				return err
			}
			o.purpose = req.Purpose
			if err := whichKeys(&req, keys, all); err != nil {
				return err
			}
			if a.isMember() || a.compose != nil {
				return a.ceremonyAsMember(ctx, req, o)
			}
			return a.ceremonyOpen(ctx, req)
		})}
	open.Flags().StringVar(&req.Mode, "mode", "keygen", strings.Join(opsapi.Modes(), ", "))
	open.Flags().StringSliceVar(&keys, "keys", nil, "keygen: how many keys to make (default 1); else the public keys")
	open.Flags().BoolVar(&all, "all", false, "refresh, reshare: every active key")
	open.Flags().IntSliceVar(&req.Seats, "seats", nil, "reshare, handover: the seats that hold shares afterwards (default: those that do now; of a handover: all)")
	open.Flags().IntVar(&req.Threshold, "threshold", 0, "reshare, handover: how many of them sign (default: the safe one)")
	open.Flags().IntSliceVar(&req.Lost, "lost", nil, "reshare: seats that have lost their shares")
	open.Flags().BoolVar(&req.Hybrid, "hybrid", false, "protect dealt shares with X-Wing as well, against a quantum computer")
	open.Flags().StringVar(&req.Suite, "suite", "", "group of the keys (default bls12-381)")
	open.Flags().StringVar(&req.Purpose, "purpose", "", "what the keys are for; stands in the inventory")
	open.Flags().DurationVar(&phase, "phase-timeout", 0, "how long to wait, in each phase, for who is silent (default: 30 s and some time for each key)")
	open.Flags().DurationVar(&deal, "deal-timeout", 0, "handover: how long participants have to deal; with --hybrid as long again to answer, but a day at most (default: a day)")
	complete(open, "mode", opsapi.Modes()...)
	o.asks(open)
	list := &cobra.Command{Use: "list", Short: "Show all ceremonies", Args: cobra.NoArgs, RunE: a.run(a.ceremonyList)}
	show := &cobra.Command{Use: "show ID", Short: "Show one ceremony", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeCeremonies, RunE: a.run(a.ceremonyShow)}
	watch := &cobra.Command{Use: "watch ID", Short: "Follow a ceremony until it is done", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeCeremonies, RunE: a.run(a.ceremonyWatch)}
	return noun("ceremony", "Ceremonies that make keys", open, list, show, watch, a.ceremonyExport(), a.ceremonyVerify(), a.ceremonyRehearse(),
		a.ceremonyPropose(), a.ceremonyInvite(), a.ceremonyJoin(), a.ceremonyOffline(), a.ceremonyCarry(), a.ceremonyHandOver(), a.ceremonySign())
}

// phaseTimeout is how many milliseconds --phase-timeout says.
func phaseTimeout(phase time.Duration) (uint32, error) {
	if phase < 0 || phase > 24*time.Hour || phase != phase.Truncate(time.Millisecond) {
		return 0, fail(exitBadUse, "--phase-timeout takes 1ms to 24h", "phase time-out %s", phase)
	}
	return uint32(phase.Milliseconds()), nil
}

// dealTimeout is how many milliseconds --deal-timeout says.
func dealTimeout(deal time.Duration) (uint32, error) {
	if deal < 0 || deal > 7*24*time.Hour || deal != deal.Truncate(time.Millisecond) {
		return 0, fail(exitBadUse, "--deal-timeout takes 1ms to 168h", "deal time-out %s", deal)
	}
	return uint32(deal.Milliseconds()), nil
}

// whichKeys reads --keys, which is a number or a list, and --all.
func whichKeys(req *opsapi.OpenCeremony, keys []string, all bool) error {
	switch {
	case !slices.Contains(opsapi.Modes(), req.Mode):
		return fail(exitBadUse, "--mode takes "+strings.Join(opsapi.Modes(), ", "), "mode %q is unknown", req.Mode)
	case req.Mode != "keygen":
		if (len(keys) > 0) == all {
			return fail(exitBadUse, "name keys with --keys 0x…,0x…, or take --all", "which keys to %s is not clear", req.Mode)
		}
		req.PublicKeys = keys
		return nil
	case all:
		return fail(exitBadUse, "--all goes with --mode refresh or reshare", "new keys cannot be all keys")
	case len(keys) == 0:
		req.Keys = 1
		return nil
	}
	n, err := strconv.Atoi(strings.Join(keys, ","))
	if err != nil {
		return fail(exitBadUse, "--keys 10; public keys go with --mode refresh or reshare", "how many keys to make: %q is no number", strings.Join(keys, ","))
	}
	req.Keys = n
	return nil
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
		for _, id := range append([]string{opened.ID}, opened.More...) {
			t.row("opened ceremony", id)
			t.row("follow it with:", "quorate ceremony watch "+id)
		}
	})
}

func (a *app) ceremonyList(ctx context.Context, _ []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	nodes, err := c.Ceremonies(ctx)
	if err != nil {
		return err
	}
	people, err := c.Assemblies(ctx)
	if err != nil {
		return err
	}
	all := []any{}
	for _, c := range nodes {
		all = append(all, c)
	}
	for _, c := range people {
		all = append(all, listedAssembly{modeAssembly, c})
	}
	return a.print(all, func(t *table) {
		if len(all) == 0 {
			t.row("no ceremonies yet: quorate ceremony open, or propose for people who run no node")
			return
		}
		t.row("ID", "MODE", "PHASE", "KEYS", "SHARES", "BY")
		for _, c := range nodes {
			t.row(c.ID, c.Mode, c.Phase, c.Keys, shares(c.Threshold, c.Holders), c.By)
		}
		for _, c := range people {
			t.row(c.ID, modeAssembly, c.Phase, 1, shares(c.Threshold, c.Participants), c.By)
		}
	})
}

// ceremonyNamed takes a ceremony's id or the beginning of one.
func ceremonyNamed(ctx context.Context, c *opsapi.Client, text string) (string, error) {
	return named(text, 64, "quorate ceremony list", func() (ids []string, err error) {
		nodes, err := c.Ceremonies(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range nodes {
			ids = append(ids, one.ID)
		}
		people, err := c.Assemblies(ctx)
		for _, one := range people {
			ids = append(ids, one.ID)
		}
		return ids, err
	})
}

func (a *app) ceremonyShow(ctx context.Context, args []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	id, err := ceremonyNamed(ctx, c, args[0])
	if err != nil {
		return err
	}
	if one, ok, err := assemblyOf(ctx, c, id, true); err != nil {
		return err
	} else if ok {
		return a.print(one, func(t *table) { showAssembly(t, one) })
	}
	one, err := c.Ceremony(ctx, id)
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
	t.row("shares", shares(c.Threshold, c.Holders)+fmt.Sprintf(", epoch %d", c.Epoch))
	t.row("opened by", c.By)
	if f := c.From; f != nil {
		t.row("key", f.PublicKey)
		t.row("handed over by", fmt.Sprintf("%s participants of ceremony %s; dealt %d", shares(f.Threshold, f.Participants), f.Ceremony, f.Dealt))
		t.row("", f.Words(c.Phase))
	}
	for _, s := range c.Seats {
		t.row(fmt.Sprintf("seat %d", s.Index), s.Node, strings.Join(seatWords(s), ", "))
	}
	if h := c.Handover; h != nil && len(h.Floored) > 0 {
		t.row("hand-over", fmt.Sprintf("seats %v sign blocks and attestations above slot %d, or from where %d old holders stopped: %d have said so", h.Floored, h.Floor, h.Needed, len(h.Stopped)))
	}
	for _, f := range c.Faults {
		if f.Participant {
			t.row("fault", fmt.Sprintf("participant %d", f.Seat), "", f.Kind)
			continue
		}
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
	}{{!s.Member, "gets no share"}, {s.Joined, "joined"}, {s.Dealt, "dealt"}, {s.Holds, "holds its shares"}} {
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
	id, err := ceremonyNamed(ctx, c, args[0])
	if err != nil {
		return err
	}
	if _, ok, err := assemblyOf(ctx, c, id, false); err != nil {
		return err
	} else if ok {
		return a.watchAssembly(ctx, c, id)
	}
	one, err := watchCeremony(ctx, c, id, func(c opsapi.Ceremony) {
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
	if f := one.From; f != nil && a.output == "text" {
		fmt.Fprintln(a.stdout, f.Words(one.Phase))
	}
	if one.Phase == "aborted" {
		return fail(exitFailed, "quorate ceremony show "+one.ID, "ceremony was aborted: %s", plural(len(one.Faults), "fault"))
	}
	return nil
}

// watchCeremony calls changed at each change until the ceremony has ended. One
// that was opened through another node may reach this one a block later.
func watchCeremony(ctx context.Context, c *opsapi.Client, id string, changed func(opsapi.Ceremony)) (opsapi.Ceremony, error) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last, appears := "", time.Now().Add(appearTime)
	for {
		one, err := c.Ceremony(ctx, id)
		var answer *opsapi.Error
		unknown := errors.As(err, &answer) && answer.Status == http.StatusNotFound && last == "" && time.Now().Before(appears)
		if err != nil && !unknown {
			return one, err
		}
		if line := ceremonyLine(one); !unknown && line != last {
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

const (
	watchEvery = 200 * time.Millisecond
	appearTime = 2 * time.Second
)

func ceremonyLine(c opsapi.Ceremony) string {
	var joined, dealt, holds int
	for _, s := range c.Seats {
		joined, dealt, holds = joined+count(s.Joined), dealt+count(s.Dealt), holds+count(s.Holds)
	}
	of := ""
	if f := c.From; f != nil {
		dealt, of = f.Dealt, fmt.Sprintf(" of %d", f.Participants)
	}
	return fmt.Sprintf("%-8s joined %d, dealt %d%s, confirmed %d of %d; faults %d", c.Phase, joined, dealt, of, holds, c.Holders, len(c.Faults))
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
