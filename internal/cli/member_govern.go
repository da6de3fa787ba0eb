package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
)

// memberGovernCommands show who takes part, and ask for changes of it.
func (a *app) memberGovernCommands() []*cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Show who takes part", Args: cobra.NoArgs, RunE: a.run(a.memberList)}
	show := &cobra.Command{Use: "show ID", Short: "Show one member", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeMembers, RunE: a.run(a.memberShow)}
	var o askOptions
	named := func(use, short, long string, rule action.Rule) *cobra.Command {
		return o.asks(&cobra.Command{Use: use + " ID", Short: short, Long: long, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeMembers,
			RunE: a.run(func(ctx context.Context, args []string) error {
				return a.ask(ctx, &action.Action{Rule: rule, Name: args[0]}, o)
			})})
	}
	return []*cobra.Command{list, show, a.memberEnrolCommand(), a.memberUpdateCommand(),
		named("remove", "Ask for a member to be removed", "Approvals of a member who was removed do not count any more, not even those for what still waits.", action.RuleRemove),
		a.memberSuspendCommand(),
		named("reinstate", "Ask for a suspension to end before its time", "", action.RuleReinstate)}
}

func (a *app) memberList(ctx context.Context, _ []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	members, err := c.Members(ctx)
	if err != nil {
		return err
	}
	return a.print(members, func(t *table) {
		t.row("ID", "NAME", "KIND", "OPERATOR", "REGION", "ROLES", "STATE")
		for _, m := range members {
			state := "active"
			if m.Suspended != nil {
				state = "suspended until " + clock(*m.Suspended)
			}
			t.row(m.ID, m.Name, memberKind(m.Workload), m.Operator, m.Region, strings.Join(m.Roles, ", "), state)
		}
	})
}

func memberKind(workload bool) string {
	if workload {
		return "workload"
	}
	return "human"
}

func (a *app) memberShow(ctx context.Context, args []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	m, err := c.Member(ctx, args[0])
	if err != nil {
		return err
	}
	return a.print(m, func(t *table) {
		t.row("member", m.ID)
		t.row("name", m.Name)
		t.row("kind", memberKind(m.Workload))
		t.row("operator", m.Operator)
		t.row("region", m.Region)
		t.row("roles", strings.Join(m.Roles, ", "))
		if len(m.Backups) > 0 {
			t.row("backups", strings.Join(m.Backups, ", "))
		}
		if m.Suspended != nil {
			t.row("suspended until", clock(*m.Suspended))
		}
		for _, k := range m.Credentials {
			t.row("credential", fmt.Sprintf("%s 0x%x", k.Suite(), k.Bytes()))
		}
	})
}

// memberFlags are what a record is made of.
type memberFlags struct {
	name, operator, region      string
	roles, backups, credentials []string
	workload                    bool
}

func (m *memberFlags) on(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&m.name, "name", "", "name for people to read")
	f.StringVar(&m.operator, "operator", "", "for which operator the member acts")
	f.StringVar(&m.region, "region", "", "where the member is")
	f.StringSliceVar(&m.roles, "role", nil, "custodian, approver, observer or auditor; may be repeated")
	f.StringSliceVar(&m.backups, "backup", nil, "member who stands in when a request escalates; may be repeated")
	f.StringSliceVar(&m.credentials, "credential", nil, "credential as quorate member keygen prints it; may be repeated")
	f.BoolVar(&m.workload, "workload", false, "a machine identity: it may ask, and never counts as agreement")
	c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{action.RoleCustodian, action.RoleApprover, action.RoleObserver, action.RoleAuditor}, cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // the flag is defined above
}

// apply puts what the flags say into a record.
func (m *memberFlags) apply(r *action.MemberRecord, given func(flag string) bool) error {
	for flag, field := range map[string]struct {
		into *string
		from string
	}{"name": {&r.Name, m.name}, "operator": {&r.Operator, m.operator}, "region": {&r.Region, m.region}} {
		if given(flag) {
			*field.into = field.from
		}
	}
	if given("role") {
		r.Roles = m.roles
	}
	if given("backup") {
		r.Backups = m.backups
	}
	if given("workload") {
		r.Workload = m.workload
	}
	if given("credential") {
		r.Keys = nil
		for _, text := range m.credentials {
			var k ident.PublicKey
			if err := k.UnmarshalText([]byte(text)); err != nil {
				return fail(exitBadUse, "--credential takes what quorate member keygen prints", "%w", err)
			}
			r.Keys = append(r.Keys, k)
		}
	}
	if err := r.Check(); err != nil {
		return fail(exitBadUse, "quorate member enrol --help", "%w", err)
	}
	return nil
}

func (a *app) memberEnrolCommand() *cobra.Command {
	var o askOptions
	var m memberFlags
	c := &cobra.Command{Use: "enrol ID", Short: "Ask for somebody to take part", Args: cobra.ExactArgs(1),
		Long: `The new member runs quorate member keygen and keeps the key; the credential that
it prints goes here. Compare it with the new member over another channel: whoever
has its key speaks as that member.`,
		Example: "  quorate member enrol dora --name 'Dora Lang' --operator lisbon --region eu --role approver --credential 0x01…"}
	c.RunE = a.run(func(ctx context.Context, args []string) error {
		r := &action.MemberRecord{ID: args[0]}
		if err := m.apply(r, c.Flags().Changed); err != nil {
			return err
		}
		return a.ask(ctx, &action.Action{Rule: action.RuleEnrol, Member: r}, o)
	})
	m.on(c)
	for _, flag := range []string{"operator", "region", "credential"} {
		c.MarkFlagRequired(flag) //nolint:errcheck // the flag is defined above
	}
	return o.asks(c)
}

func (a *app) memberUpdateCommand() *cobra.Command {
	var o askOptions
	var m memberFlags
	flags := []string{"name", "operator", "region", "role", "backup", "credential", "workload"}
	c := &cobra.Command{Use: "update ID", Short: "Ask for a member's record to be changed", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeMembers,
		Long: `What no flag names stays as it is. --role, --backup and --credential replace the
whole list. What a credential that goes has approved counts no more.`}
	c.RunE = a.run(func(ctx context.Context, args []string) error {
		if !slices.ContainsFunc(flags, c.Flags().Changed) {
			return fail(exitBadUse, "quorate member update --help", "no flag says what to change")
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		old, err := client.Member(ctx, args[0])
		if err != nil {
			return err
		}
		r := old.Record()
		if err := m.apply(r, c.Flags().Changed); err != nil {
			return err
		}
		return a.ask(ctx, &action.Action{Rule: action.RuleUpdate, Member: r}, o)
	})
	m.on(c)
	return o.asks(c)
}

func (a *app) memberSuspendCommand() *cobra.Command {
	var o askOptions
	var lasts time.Duration
	c := &cobra.Command{Use: "suspend ID", Short: "Ask for a member to be stopped for a while", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeMembers,
		Long: `A suspended member asks, approves and vetoes nothing, and what they approved does
not count, until the time is over or they are reinstated. For when a key may be
stolen: a removal waits longer, under most policies.`,
		RunE: a.run(func(ctx context.Context, args []string) error {
			if lasts <= 0 {
				return fail(exitBadUse, "--for takes a time such as 72h, 720h at most", "%w", errors.New("a suspension needs a time"))
			}
			until := uint64(time.Now().Add(lasts).UnixMilli())
			return a.ask(ctx, &action.Action{Rule: action.RuleSuspend, Name: args[0], Until: until}, o)
		})}
	c.Flags().DurationVar(&lasts, "for", 72*time.Hour, "after which time it ends by itself, 720h at most")
	return o.asks(c)
}
