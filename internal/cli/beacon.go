package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/opsapi"
)

func (a *app) beaconCommand() *cobra.Command {
	key := &cobra.Command{Use: "key", Short: "Show the key whose signatures are the beacon's outputs", Args: cobra.NoArgs, RunE: a.run(a.beaconKey)}
	return noun("beacon", "Public randomness, one value for each height of the ledger", a.beaconInit(), key, a.beaconGet(), a.beaconVerify())
}

func (a *app) beaconInit() *cobra.Command {
	var o askOptions
	var hybrid bool
	var phase time.Duration
	init := &cobra.Command{Use: "init", Short: "Open the ceremony that makes the beacon's key", Args: cobra.NoArgs,
		Long: `Open the ceremony that makes the beacon's key, as "ceremony open" does for
validators. The key signs heights of the ledger and nothing else, for good;
"ceremony open --mode refresh" or "reshare" renews its shares. Where there is a
beacon already the new one takes its place.`,
		RunE: a.run(func(ctx context.Context, _ []string) error {
			timeout, err := phaseTimeout(phase)
			if err != nil {
				return err
			}
			req := opsapi.OpenCeremony{Mode: dkg.ModeKeygen.String(), Keys: 1, Use: action.UseBeacon.String(), Hybrid: hybrid, Purpose: "beacon", PhaseTimeout: timeout}
			if o.purpose = req.Purpose; a.isMember() || a.compose != nil {
				return a.ceremonyAsMember(ctx, req, o)
			}
			return a.ceremonyOpen(ctx, req)
		})}
	init.Flags().BoolVar(&hybrid, "hybrid", false, "protect dealt shares with X-Wing as well, against a quantum computer")
	init.Flags().DurationVar(&phase, "phase-timeout", 0, "how long to wait, in each phase, for who is silent (default: 30 s)")
	o.asks(init)
	return init
}

func (a *app) beaconKey(ctx context.Context, _ []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	k, err := c.BeaconKey(ctx)
	if err != nil {
		return err
	}
	return a.print(k, func(t *table) {
		t.row("public key", k.PublicKey)
		t.row("scheme", k.Scheme)
		t.row("cluster", k.Cluster)
		t.row("state", k.State)
		t.row("shares", shares(k.Threshold, k.Holders)+fmt.Sprintf(", epoch %d", k.Epoch))
		t.row("rounds", fmt.Sprintf("%d to %d so far", k.Created+1, k.Height))
		t.row("ceremony", k.Ceremony)
	})
}

func (a *app) beaconGet() *cobra.Command {
	var height uint64
	var prove bool
	get := &cobra.Command{Use: "get", Short: "Get the beacon's output of a height", Args: cobra.NoArgs,
		Long: `Get the beacon's output of a height, by default the newest. With -o json it is
a file that "beacon verify" and quorate-verify check, against the public key or,
with --proof, against the genesis alone.`,
		Example: `  quorate beacon get --height 1200 --proof -o json > round.json
  quorate beacon verify round.json --genesis genesis.json`,
		RunE: a.run(func(ctx context.Context, _ []string) error { return a.getRound(ctx, height, prove) })}
	get.Flags().Uint64Var(&height, "height", 0, "which height (default: the newest)")
	get.Flags().BoolVar(&prove, "proof", false, "with a proof that the key is the cluster's")
	return get
}

func (a *app) getRound(ctx context.Context, height uint64, prove bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	r, err := c.BeaconRound(ctx, height, prove)
	if err != nil {
		return err
	}
	// The node is not believed: what it says has to be a round, and the one
	// that was asked for.
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	key, _ := hex.DecodeString(strings.TrimPrefix(r.PublicKey, "0x")) // one that does not decode is no round's either
	_, err = audit.VerifyRound(raw, key)
	if err == nil && height != 0 && r.Round != height {
		err = fmt.Errorf("round %d was asked for", height)
	}
	if err != nil {
		return fmt.Errorf("the node gave no good round: %w", err)
	}
	return a.print(r, func(t *table) { showRound(t, r) })
}

func showRound(t *table, r audit.Round) {
	t.row("round", r.Round)
	t.row("randomness", r.Randomness)
	t.row("signature", r.Signature)
	t.row("public key", r.PublicKey)
}

func (a *app) beaconVerify() *cobra.Command {
	var genesis, key string
	verify := &cobra.Command{Use: "verify FILE...", Short: "Check outputs of a beacon, offline", Args: cobra.MinimumNArgs(1),
		Long: `Check files that "beacon get -o json" wrote: that the key signed the height, and
that the randomness is the signature's hash. Give the beacon's public key, or
the genesis of its cluster: a file with --proof shows that the key is one.`,
		RunE: a.run(func(_ context.Context, args []string) error { return a.verifyRounds(genesis, key, args) })}
	verify.Flags().StringVar(&genesis, "genesis", "", "genesis file of the cluster")
	verify.Flags().StringVar(&key, "key", "", "the beacon's public key")
	verify.MarkFlagsOneRequired("genesis", "key")
	verify.MarkFlagsMutuallyExclusive("genesis", "key")
	return verify
}

// verdictOnRound is what became of one file.
type verdictOnRound struct {
	File       string `json:"file"`
	OK         bool   `json:"ok"`
	Round      uint64 `json:"round,omitempty"`
	Randomness string `json:"randomness,omitempty"`
	Error      string `json:"error,omitempty"`
}

func (a *app) verifyRounds(genesis, key string, files []string) error {
	check := func(raw []byte) (*audit.Round, error) {
		pk, err := parsePubkey(key)
		if err != nil {
			return nil, err
		}
		return audit.VerifyRound(raw, pk)
	}
	if genesis != "" {
		doc, err := os.ReadFile(genesis)
		if err == nil {
			_, _, err = action.ParseGenesis(doc)
		}
		if err != nil {
			return fail(exitBadUse, "--genesis FILE, the file that all operators compared", "read genesis: %w", err)
		}
		check = func(raw []byte) (*audit.Round, error) { return audit.VerifyProvenRound(raw, doc) }
	} else if _, err := parsePubkey(key); err != nil {
		return err
	}
	var refused []string
	verdicts := []verdictOnRound{}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			return fail(exitNotFound, "", "read round: %w", err)
		}
		v := verdictOnRound{File: name}
		if r, err := check(raw); err != nil {
			v.Error, refused = err.Error(), append(refused, name)
		} else {
			v.OK, v.Round, v.Randomness = true, r.Round, r.Randomness
		}
		verdicts = append(verdicts, v)
	}
	err := a.print(verdicts, func(t *table) {
		for _, v := range verdicts {
			if v.OK {
				t.row(v.File, fmt.Sprintf("round %d verifies", v.Round), v.Randomness)
			} else {
				t.row(v.File, "REFUSED: "+v.Error)
			}
		}
	})
	if err == nil && len(refused) > 0 {
		err = fail(exitFailed, "", "refused: %s", strings.Join(refused, ", "))
	}
	return err
}
