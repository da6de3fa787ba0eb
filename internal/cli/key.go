package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/opsapi"
)

func (a *app) keyCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Show the inventory of keys", Args: cobra.NoArgs, RunE: a.run(a.keyList)}
	show := &cobra.Command{Use: "show PUBKEY", Short: "Show one key", Args: cobra.ExactArgs(1), RunE: a.run(a.keyShow)}
	show.ValidArgsFunction = a.completeKeys
	verbs := []*cobra.Command{list, show, a.keyImportCommand(), a.exportSlashingCommand(), a.importSlashingCommand(), a.keyExitCommand()}
	return noun("key", "Keys of the cluster", append(verbs, a.keyGovernCommands()...)...)
}

func (a *app) keyList(ctx context.Context, _ []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	keys, err := c.Keys(ctx)
	if err != nil {
		return err
	}
	return a.print(keys, func(t *table) {
		if len(keys) == 0 {
			t.row("no keys yet: quorate ceremony open makes some, quorate key import brings some")
			return
		}
		t.row("PUBKEY", "STATE", "PROVENANCE", "SHARES", "USE", "OWNER", "LAST USE", "ROTATION")
		for _, k := range keys {
			used := "never"
			if k.LastUse != nil {
				used = clock(*k.LastUse)
			}
			t.row(k.PublicKey, k.State, k.Provenance, shares(k.Threshold, k.Holders), k.Use, k.Owner, used, rotation(k))
		}
	})
}

// rotation says when a key gets new shares.
func rotation(k opsapi.Key) string {
	switch {
	case k.RotationDue == nil:
		return "never"
	case k.Rotation != "":
		return k.Rotation + " since " + clock(*k.RotationDue)
	}
	return clock(*k.RotationDue)
}

func (a *app) keyShow(ctx context.Context, args []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	pubkey, err := named(args[0], 96, "quorate key list", func() (all []string, err error) {
		keys, err := c.Keys(ctx)
		for _, k := range keys {
			all = append(all, k.PublicKey)
		}
		return all, err
	})
	if err != nil {
		return err
	}
	k, err := c.Key(ctx, pubkey)
	if err != nil {
		return hinted(err, "quorate key list")
	}
	return a.print(k, func(t *table) {
		t.row("pubkey", k.PublicKey)
		t.row("domain", k.Domain)
		t.row("state", k.State)
		t.row("provenance", k.Provenance)
		t.row("use", k.Use)
		t.row("shares", shares(k.Threshold, k.Holders))
		t.row("epoch", k.Epoch)
		if k.SharesSince != nil {
			t.row("shares since", clock(*k.SharesSince))
		}
		if k.From != nil {
			t.row("handed over by", k.From.Words())
		}
		t.row("rotation", rotation(k))
		t.row("owner", k.Owner)
		t.row("purpose", k.Purpose)
		t.row("ceremony", k.Ceremony)
		t.row("created", "height", k.Created)
		if k.LastUse != nil {
			t.row("last use", clock(*k.LastUse))
		}
		if k.FeeRecipient != "" {
			t.row("fee recipient", k.FeeRecipient)
		}
		if k.GasLimit != nil {
			t.row("gas limit", *k.GasLimit)
		}
		if k.Graffiti != nil {
			t.row("graffiti", *k.Graffiti)
		}
	})
}
