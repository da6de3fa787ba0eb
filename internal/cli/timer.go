package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/action"
)

func (a *app) timerCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Show what asks by itself", Args: cobra.NoArgs, RunE: a.run(a.timerList)}
	var o askOptions
	cancel := &cobra.Command{Use: "cancel NAME", Short: "Ask for a timer to be cancelled", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeTimers,
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.ask(ctx, &action.Action{Rule: action.RuleTimerCancel, Name: args[0]}, o)
		})}
	return noun("timer", "Schedules on the ledger, which ask for actions", list, a.timerSetCommand(), o.asks(cancel))
}

func (a *app) timerSetCommand() *cobra.Command {
	var o askOptions
	var in, every time.Duration
	var at string
	c := &cobra.Command{
		Use: "set NAME -- COMMAND...", Short: "Have the ledger ask for something at a time, once or again and again", Args: cobra.MinimumNArgs(2),
		Long: `COMMAND is one that asks for an action, as it stands after quorate. It is not run:
its action goes into the timer, as it would be now. When its time comes, by the
clock of the blocks, the timer asks for it in its own name, and the policy
decides as it does about anybody's request: it has to let a Clock ask.`,
		Example: `  quorate timer set thaw-on-monday --at 2027-01-04T08:00:00Z -- key unfreeze 0x93…
  quorate timer set quarterly --in 24h --every 2160h -- key settings 0x93… --gas-limit 36000000`,
		RunE: a.run(func(ctx context.Context, args []string) error {
			first, err := firstRing(at, in)
			if err != nil {
				return err
			}
			inner, err := a.composed(ctx, args[1:])
			if err != nil {
				return err
			}
			t := action.Timer{Name: args[0], First: uint64(first.UnixMilli()), Every: uint64(every.Milliseconds()), Action: inner}
			return a.ask(ctx, &action.Action{Rule: action.RuleTimerSet, Timer: t}, o)
		}),
	}
	f := c.Flags()
	f.DurationVar(&in, "in", 0, "time until it first asks, such as 90m")
	f.StringVar(&at, "at", "", "moment at which it first asks, such as 2027-01-04T08:00:00Z")
	f.DurationVar(&every, "every", 0, "time between asking, a minute at least (default: it asks once)")
	c.MarkFlagsOneRequired("in", "at")
	c.MarkFlagsMutuallyExclusive("in", "at")
	return o.asks(c)
}

func firstRing(at string, in time.Duration) (time.Time, error) {
	if at == "" {
		if in <= 0 {
			return time.Time{}, fail(exitBadUse, "--in takes a time such as 90m", "%s is no time ahead", in)
		}
		return time.Now().Add(in), nil
	}
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return t, fail(exitBadUse, "--at takes a moment such as 2027-01-04T08:00:00Z", "%q is no moment", at)
	}
	return t, nil
}

// composed runs a command up to the point where it would ask, and returns the
// canonical action.
func (a *app) composed(ctx context.Context, args []string) ([]byte, error) {
	var canonical []byte
	inner := &app{stdout: io.Discard, stderr: a.stderr}
	root := inner.root()
	inner.compose = &canonical
	root.SetArgs(append([]string{"--address", a.address, "--identity", a.identity}, args...))
	root.SetOut(a.stderr)
	root.SetErr(a.stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		code, hint := explain(err)
		if !inner.began {
			code, hint = exitBadUse, "what follows -- is a command as it stands after quorate, such as: key unfreeze PUBKEY"
		}
		return nil, &failure{code, fmt.Errorf("read what the timer asks for: %w", err), hint}
	}
	if canonical == nil {
		return nil, fail(exitBadUse, "name one that does, such as: key freeze PUBKEY", "quorate %s asks for no action", strings.Join(args, " "))
	}
	return canonical, nil
}

func (a *app) timerList(ctx context.Context, _ []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	timers, err := c.Timers(ctx)
	if err != nil {
		return err
	}
	return a.print(timers, func(t *table) {
		if len(timers) == 0 {
			t.row("no timers (quorate timer set makes one)")
			return
		}
		t.row("NAME", "NEXT", "EVERY", "RUNG", "SET BY", "ASKS FOR")
		for _, one := range timers {
			every := one.Every
			if every == "" {
				every = "once"
			}
			t.row(one.Name, clock(one.Next), every, one.Rung, one.By, one.Rule+": "+one.Says)
		}
	})
}
