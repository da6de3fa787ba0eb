package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/opsapi"
)

// keyGovernCommands ask, as a member, for something to happen to a key.
func (a *app) keyGovernCommands() []*cobra.Command {
	var o askOptions
	one := func(use, short, long string, rule action.Rule) *cobra.Command {
		return o.asks(&cobra.Command{Use: use + " PUBKEY", Short: short, Long: long, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeKeys,
			RunE: a.run(func(ctx context.Context, args []string) error {
				key, err := parsePubkey(args[0])
				if err != nil {
					return err
				}
				return a.ask(ctx, &action.Action{Rule: rule, Domain: action.DomainValidator, PublicKey: key}, o)
			})})
	}
	return []*cobra.Command{
		a.keyFreezeCommand(),
		one("unfreeze", "Ask for a frozen key to sign again", "", action.RuleUnfreeze),
		one("archive", "Ask for a key to be stopped for good", "An archived key never signs again. Its shares and its slashing history are kept.", action.RuleArchive),
		a.keySettingsCommand(),
	}
}

func (a *app) keyFreezeCommand() *cobra.Command {
	var o askOptions
	var lasts time.Duration
	c := &cobra.Command{Use: "freeze PUBKEY", Short: "Stop a key for a while", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeKeys,
		Long: `A frozen key signs nothing, on any node: its validator misses duties until it is
unfrozen or the time is over. For when something is wrong and there is no time
to ask: most policies let one person do it at once.`,
		RunE: a.run(func(ctx context.Context, args []string) error {
			key, err := parsePubkey(args[0])
			if err != nil {
				return err
			}
			if lasts <= 0 {
				return fail(exitBadUse, "--for takes a time such as 24h, 720h at most", "a freeze of %s is none", lasts)
			}
			until := uint64(time.Now().Add(lasts).UnixMilli())
			return a.ask(ctx, &action.Action{Rule: action.RuleFreeze, Domain: action.DomainValidator, PublicKey: key, Until: until}, o)
		})}
	c.Flags().DurationVar(&lasts, "for", 24*time.Hour, "after which time it comes back by itself, 720h at most")
	return o.asks(c)
}

func (a *app) keySettingsCommand() *cobra.Command {
	var o askOptions
	var fee, graffiti string
	var gas uint64
	c := &cobra.Command{Use: "settings PUBKEY", Short: "Ask for what a key's proposals and registrations have to say", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeKeys,
		Long: `What no flag names stays as it is. An empty --fee-recipient or --graffiti, and a
--gas-limit of 0, leave it to the validator client again.`}
	f := c.Flags()
	f.StringVar(&fee, "fee-recipient", "", "address that is paid for proposals")
	f.Uint64Var(&gas, "gas-limit", 0, "gas limit of registrations")
	f.StringVar(&graffiti, "graffiti", "", "graffiti of proposals")
	c.MarkFlagsOneRequired("fee-recipient", "gas-limit", "graffiti")
	c.RunE = a.run(func(ctx context.Context, args []string) error {
		key, err := parsePubkey(args[0])
		if err != nil {
			return err
		}
		var change action.SettingsChange
		if f.Changed("fee-recipient") {
			if fee == "" {
				change.Open |= action.FieldFeeRecipient
			} else {
				change.Set.FeeRecipient = new(action.Address)
				if err := change.Set.FeeRecipient.UnmarshalText([]byte(fee)); err != nil {
					return fail(exitBadUse, "--fee-recipient takes 0x and 40 hex digits", "%w", err)
				}
			}
		}
		if f.Changed("gas-limit") {
			if gas == 0 {
				change.Open |= action.FieldGasLimit
			} else {
				change.Set.GasLimit = &gas
			}
		}
		if f.Changed("graffiti") {
			switch {
			case len(graffiti) > action.MaxGraffiti:
				return fail(exitBadUse, fmt.Sprintf("--graffiti takes at most %d bytes", action.MaxGraffiti), "graffiti of %d bytes", len(graffiti))
			case graffiti == "":
				change.Open |= action.FieldGraffiti
			default:
				change.Set.Graffiti = &graffiti
			}
		}
		return a.ask(ctx, &action.Action{Rule: action.RuleSettings, Domain: action.DomainValidator, PublicKey: key, Settings: change}, o)
	})
	return o.asks(c)
}

func parsePubkey(text string) ([]byte, error) {
	raw, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
	if err != nil || len(raw) != 48 {
		return nil, fail(exitBadUse, "quorate key list", "%.100q is no public key: it has 96 hex digits", text)
	}
	return raw, nil
}

func (a *app) keyExitCommand() *cobra.Command {
	var o askOptions
	var index, epoch uint64
	var request string
	c := &cobra.Command{
		Use: "exit [PUBKEY]", Short: "Sign a voluntary exit", Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeKeys,
		Long: `Asks the ledger to grant a voluntary exit, has it signed, and prints it as JSON.
It sends it nowhere: whoever posts it to a beacon node ends the validator, for
good. It stays good for ever, so keep it as you would keep a key.

With a member's --identity it is that member's request; where others have to
agree it exits with 4. Once they did, the same command again, or --request ID,
signs the very exit that was asked for, for 10 minutes, and anybody may run it.`,
	}
	f := c.Flags()
	f.Uint64Var(&index, "validator-index", 0, "the validator's index (default: as its duties named it)")
	f.Uint64Var(&epoch, "epoch", 0, "from when on the exit is good (default: the present epoch)")
	f.StringVar(&request, "request", "", "sign the exit that this request was granted")
	c.RunE = a.run(func(ctx context.Context, args []string) error {
		var req opsapi.Exit
		if f.Changed("validator-index") {
			req.ValidatorIndex = &index
		}
		if f.Changed("epoch") {
			req.Epoch = &epoch
		}
		if (len(args) == 1) == (request != "") {
			return fail(exitBadUse, "quorate key exit --help", "give either a PUBKEY or --request")
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		if request != "" {
			return a.exitGranted(ctx, client, request)
		}
		if a.isMember() || a.compose != nil {
			return a.exitAsMember(ctx, client, args[0], req, o)
		}
		exit, err := client.Exit(ctx, args[0], req)
		if err != nil {
			return err
		}
		return a.printExit(exit)
	})
	return o.asks(c)
}

// exitAsMember goes on with an exit of the key that was asked for, or asks.
func (a *app) exitAsMember(ctx context.Context, c *opsapi.Client, pubkey string, req opsapi.Exit, o askOptions) error {
	key, err := parsePubkey(pubkey)
	if err != nil {
		return err
	}
	if a.compose == nil {
		old, err := findExit(ctx, c, key, req)
		if err != nil {
			return err
		}
		if old != nil && old.Waits != nil {
			return waiting(&asked{Request: old})
		}
		if old != nil {
			return a.exitGranted(ctx, c, old.ID)
		}
	}
	canonical, err := c.ProposeExit(ctx, pubkey, req)
	if err != nil {
		return hinted(err, "quorate key list")
	}
	act, words, err := opsapi.ReadAction(canonical)
	if err != nil {
		return err
	}
	if act.Rule != action.RuleExit || string(act.PublicKey) != string(key) {
		return fmt.Errorf("the node was asked for an exit of %s and proposes %s of %s: nothing is signed", pubkey, words.Rule, words.Object)
	}
	done, err := a.askFor(ctx, act, o)
	if err != nil || done == nil {
		return err
	}
	if done.Request == nil { // granted at once
		exit, err := c.ExitOf(ctx, canonical)
		if err != nil {
			return err
		}
		return a.printExit(exit)
	}
	if done.Executed {
		return a.exitGranted(ctx, c, done.Request.ID)
	}
	if err := a.print(done, func(t *table) {
		t.row("request", done.Request.ID)
		t.row("state", standing(*done.Request))
	}); err != nil {
		return err
	}
	return waiting(done)
}

// findExit returns a request for such an exit that waits or holds a grant.
func findExit(ctx context.Context, c *opsapi.Client, key []byte, req opsapi.Exit) (*opsapi.Request, error) {
	page, err := c.Requests(ctx, url.Values{"state": {"all"}, "rule": {string(action.RuleExit)}, "object": {hex.EncodeToString(key)}, "limit": {"500"}})
	if err != nil {
		return nil, err
	}
	now, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range page.Requests {
		granted := r.GrantEnds != nil && now.Time.Before(*r.GrantEnds)
		if r.Waits == nil && !granted {
			continue
		}
		full, err := c.Request(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		if same, err := isExit(full, req); err != nil || same {
			return &full, err
		}
	}
	return nil, nil
}

// isExit reports whether a request is for the exit that was asked for.
func isExit(r opsapi.Request, req opsapi.Exit) (bool, error) {
	canonical, err := hex.DecodeString(r.Action)
	if err != nil {
		return false, fmt.Errorf("ask node: read answer: %w", err)
	}
	act, err := action.ParseAction(canonical)
	if err != nil {
		return false, err
	}
	duty, err := eth.DecodeDuty(act.Duty)
	x, ok := duty.Message.(*eth.VoluntaryExit)
	return ok && (req.ValidatorIndex == nil || *req.ValidatorIndex == x.ValidatorIndex) && (req.Epoch == nil || *req.Epoch == x.Epoch), err
}

func (a *app) exitGranted(ctx context.Context, c *opsapi.Client, request string) error {
	exit, err := c.ExitGranted(ctx, request)
	if err != nil {
		return hinted(err, "quorate request show "+shorten(request, shortID))
	}
	return a.printExit(exit)
}

func (a *app) printExit(exit opsapi.SignedVoluntaryExit) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(exit)
}
