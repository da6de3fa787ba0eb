package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) auditCommand() *cobra.Command {
	var from uint64
	var limit int
	list := &cobra.Command{Use: "list", Short: "Show entries of the audit log", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, _ []string) error { return a.auditList(ctx, from, limit) })}
	list.Flags().Uint64Var(&from, "from", 0, "index of the first entry")
	list.Flags().IntVar(&limit, "limit", 100, "how many entries at most")
	return noun("audit", "The log of everything that was asked, decided and done", list)
}

func (a *app) auditList(ctx context.Context, from uint64, limit int) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	log, err := c.Events(ctx, from, limit)
	if err != nil {
		return err
	}
	return a.print(log, func(t *table) {
		t.row("INDEX", "TIME", "WHAT", "WHO", "OBJECT", "DETAIL")
		for _, e := range log.Events {
			if e.Erased {
				t.row(e.Index, "", "erased")
				continue
			}
			t.row(e.Index, clock(e.Time), e.Kind, e.Actor, e.Object, e.Detail)
		}
		t.row()
		t.row(log.Size, "entries in all, root", log.Root)
	})
}
