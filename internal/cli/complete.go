package cli

import (
	"context"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/opsapi"
)

// completeTime is how long somebody who pressed Tab waits for a node.
const completeTime = 2 * time.Second

// complete offers the values that a flag takes.
func complete(c *cobra.Command, flag string, values ...string) {
	if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is not there, or completed twice
	}
}

// complete offers what a node of --address lists, for the first argument. A
// node that does not answer offers nothing.
func (a *app) complete(list func(ctx context.Context, c *opsapi.Client) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
		defer cancel()
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return list(ctx, c), cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) completeRequests(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	return a.complete(func(ctx context.Context, c *opsapi.Client) (ids []string) {
		page, err := c.Requests(ctx, url.Values{"limit": {"100"}})
		for _, r := range page.Requests {
			if err == nil {
				ids = append(ids, shorten(r.ID, shortID)+"\t"+printable(r.Rule+" by "+r.By))
			}
		}
		return ids
	})(cmd, args, typed)
}

func (a *app) completeMembers(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	return a.complete(func(ctx context.Context, c *opsapi.Client) (ids []string) {
		members, err := c.Members(ctx)
		for _, m := range members {
			if err == nil {
				ids = append(ids, m.ID+"\t"+printable(m.Name+", "+m.Operator))
			}
		}
		return ids
	})(cmd, args, typed)
}

func (a *app) completeKeys(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	return a.complete(func(ctx context.Context, c *opsapi.Client) (ids []string) {
		keys, err := c.Keys(ctx)
		for _, k := range keys {
			if err == nil {
				ids = append(ids, k.PublicKey+"\t"+printable(k.State+" "+k.Purpose))
			}
		}
		return ids
	})(cmd, args, typed)
}

func (a *app) completeTimers(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	return a.complete(func(ctx context.Context, c *opsapi.Client) (ids []string) {
		timers, err := c.Timers(ctx)
		for _, t := range timers {
			if err == nil {
				ids = append(ids, t.Name+"\t"+t.Rule)
			}
		}
		return ids
	})(cmd, args, typed)
}

func (a *app) completeAssemblies(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	return a.complete(func(ctx context.Context, c *opsapi.Client) (ids []string) {
		all, err := c.Assemblies(ctx)
		for _, one := range all {
			if err == nil {
				ids = append(ids, one.ID+"\t"+printable(one.Phase+" "+one.Purpose))
			}
		}
		return ids
	})(cmd, args, typed)
}

func (a *app) completeCeremonies(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	ids, directive := a.completeAssemblies(cmd, args, typed)
	more, _ := a.complete(func(ctx context.Context, c *opsapi.Client) (ids []string) {
		all, err := c.Ceremonies(ctx)
		for _, one := range all {
			if err == nil {
				ids = append(ids, one.ID+"\t"+printable(one.Phase+" "+one.Mode+" "+one.Purpose))
			}
		}
		return ids
	})(cmd, args, typed)
	return append(ids, more...), directive
}
