package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/opsapi"
)

// shortID is how much of a request's id people see; any beginning that no
// other request has names it.
const shortID = 16

func (a *app) requestCommand() *cobra.Command {
	var q requestQuery
	list := &cobra.Command{Use: "list", Short: "Show what waits for approval", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, _ []string) error { return a.requestList(ctx, q) })}
	f := list.Flags()
	f.BoolVar(&q.all, "all", false, "show those that came to an end as well")
	f.StringVar(&q.state, "state", "", "only those in this state: "+strings.Join(opsapi.RequestStates(), ", "))
	f.StringVar(&q.rule, "rule", "", "only those for this kind of action, such as sign.voluntary_exit")
	f.StringVar(&q.by, "by", "", "only those that this member asked for")
	f.StringVar(&q.after, "after", "", "the page after the request of this full id")
	f.IntVar(&q.limit, "limit", 100, "how many at most")
	f.BoolVar(&q.ids, "ids", false, "print nothing but their ids")
	list.MarkFlagsMutuallyExclusive("all", "state")
	complete := a.completeRequests
	show := &cobra.Command{Use: "show ID", Short: "Show one request: what it would do, who agreed, who is missing", Args: cobra.ExactArgs(1),
		ValidArgsFunction: complete}
	var transactions bool
	show.Flags().BoolVar(&transactions, "transactions", false, "print nothing but the transactions that asked and approved, in their order, for quorate audit receipt")
	show.RunE = a.run(func(ctx context.Context, args []string) error { return a.requestShow(ctx, args[0], transactions) })
	watch := &cobra.Command{Use: "watch ID", Short: "Follow a request to its end; exits 0 if it was executed", Args: cobra.ExactArgs(1),
		ValidArgsFunction: complete, RunE: a.run(a.requestWatch)}
	verb := func(v action.Verdict, short, long string) *cobra.Command {
		return &cobra.Command{Use: v.String() + " ID", Short: short, Long: long, Args: cobra.ExactArgs(1), ValidArgsFunction: complete,
			RunE: a.run(func(ctx context.Context, args []string) error { return a.requestDecide(ctx, args[0], v) })}
	}
	return noun("request", "What waits for people to agree", list, show, watch,
		verb(action.Approve, "Agree to a request", `Computes the request's id and the action's hash from the canonical bytes, shows
in words what those bytes do, and signs for exactly that: for this request, this
action, this version of the policy, in this cluster. What the node says of it
counts for nothing.`),
		verb(action.Veto, "End a request for good", "Ends a request, if its tier lets your role veto. Whoever still wants it asks again."),
		verb(action.Cancel, "Withdraw a request of your own", "Ends a request. Only who asked for it can."))
}

type requestQuery struct {
	all, ids        bool
	state, rule, by string
	after           string
	limit           int
}

func (q requestQuery) values() url.Values {
	v := url.Values{"limit": {strconv.Itoa(q.limit)}}
	for name, value := range map[string]string{"state": q.state, "rule": q.rule, "by": q.by, "after": q.after} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.all {
		v.Set("state", "all")
	}
	return v
}

func (a *app) requestList(ctx context.Context, q requestQuery) error {
	if states := opsapi.RequestStates(); q.state != "" && !slices.Contains(states, q.state) {
		return fail(exitBadUse, "--state takes "+strings.Join(states, ", "), "state %q is unknown", q.state)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	page, err := c.Requests(ctx, q.values())
	if err != nil {
		return err
	}
	return a.print(page, func(t *table) {
		if q.ids {
			for _, r := range page.Requests {
				t.row(r.ID)
			}
			return
		}
		if len(page.Requests) == 0 && page.Next == "" {
			if q.all || q.state != "" {
				t.row("no such requests")
			} else {
				t.row("nothing waits (quorate request list --all shows what came to an end)")
			}
			return
		}
		t.row("ID", "ACTION", "OBJECT", "BY", "STATE")
		for _, r := range page.Requests {
			t.row(shorten(r.ID, shortID), r.Rule, shortObject(r.Object), strings.TrimPrefix(r.By, "member/"), standing(r))
		}
		if page.Next != "" {
			t.row()
			t.row("more: --after " + page.Next)
		}
	})
}

func shorten(s string, n int) string { return s[:min(n, len(s))] }

// shortObject keeps a key's name within a column.
func shortObject(s string) string {
	if kind, id, ok := strings.Cut(s, " "); ok && len(id) > 24 {
		return kind + " " + id[:20] + "…"
	}
	return s
}

// standing says in one line how a request goes.
func standing(r opsapi.Request) string {
	w := r.Waits
	switch {
	case w == nil:
		out := r.State
		if r.Closed != nil {
			out += " at " + clock(*r.Closed)
		}
		if r.Reason != "" {
			out += ": " + r.Reason
		}
		return out
	case w.Missing != (action.Need{}):
		what := "it"
		if w.Missing.Approvals > 1 {
			what = "them"
		}
		return fmt.Sprintf("waits for %s until %s; %s", missing(w.Missing), clock(r.Deadline), could(w.Could, "could give "+what, "nobody could give "+what+" now"))
	case w.Opens == nil && r.State == "locked" && r.Lock.Until == nil:
		return fmt.Sprintf("is agreed and waits for the next block, from which %s and %d blocks count; %s", r.Lock.Time, r.Lock.Blocks, could(w.Veto, "can veto", "nobody can veto"))
	case w.Opens == nil:
		return "is agreed, but no window opens before its deadline " + clock(r.Deadline)
	}
	return fmt.Sprintf("is agreed and happens at %s, not below height %d; %s", clock(*w.Opens), r.Lock.UntilHeight, could(w.Veto, "can veto", "nobody can veto"))
}

// missing says how much agreement a request lacks.
func missing(n action.Need) string {
	out := plural(max(1, int(n.Approvals)), "approval")
	if n.Operators > 0 {
		out += " from " + plural(int(n.Operators), "more operator")
	}
	if n.Regions > 0 {
		out += " in " + plural(int(n.Regions), "more region")
	}
	return out
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func could(who []string, verb, nobody string) string {
	switch n := len(who); {
	case n == 0:
		return nobody
	case n == 1:
		return who[0] + " " + verb
	case n > 6:
		return fmt.Sprintf("%s and %d others %s", strings.Join(who[:5], ", "), n-5, verb)
	default:
		return strings.Join(who[:n-1], ", ") + " or " + who[n-1] + " " + verb
	}
}

func (a *app) requestShow(ctx context.Context, id string, transactions bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	cluster, err := a.cluster(ctx, c)
	if err != nil {
		return err
	}
	r, err := c.Request(ctx, id)
	if err != nil {
		return hinted(err, "quorate request list")
	}
	v, err := verify(cluster, r, id)
	if err != nil {
		return err
	}
	return a.print(v.Request, func(t *table) {
		if !transactions {
			showRequest(t, v)
			return
		}
		if !strings.HasPrefix(r.By, "timer/") {
			t.row(r.Nonce)
		}
		for _, ap := range r.Approvals {
			t.row(ap.Transaction)
		}
	})
}

func showRequest(t *table, r verified) {
	t.row("request", r.ID)
	t.row("", "computed here from by, policy and action; the rest is what the node says")
	t.row("by", strings.TrimPrefix(r.By, "member/"))
	if r.Purpose != "" {
		t.row("purpose", r.Purpose)
	}
	t.row("opened", clock(r.Opened), fmt.Sprintf("height %d", r.Height))
	t.row("state", standing(r.Request))
	need := plural(int(r.Need.Approvals), "approval")
	if r.Need.Operators > 1 {
		need += fmt.Sprintf(" of %d operators", r.Need.Operators)
	}
	if r.Need.Regions > 1 {
		need += fmt.Sprintf(" in %d regions", r.Need.Regions)
	}
	if r.Need.Approvals == 0 {
		need = "no approval"
	}
	if r.Lock.Time != "0s" {
		need += fmt.Sprintf(", then %s and %d blocks", r.Lock.Time, r.Lock.Blocks)
	}
	t.row("needs", need, "tier "+r.Tier)
	for _, ap := range r.Approvals {
		t.row("approved", clock(ap.Time), ap.Member+", transaction "+shorten(ap.Transaction, shortID)+"…")
	}
	if r.Escalates != nil && r.Waits != nil {
		t.row("escalates", clock(*r.Escalates), "backups may approve from then on")
	}
	if r.Waits != nil && len(r.Waits.Veto) > 0 {
		t.row("veto", could(r.Waits.Veto, "can end it", ""))
	}
	if r.GrantEnds != nil {
		t.row("granted", "until "+clock(*r.GrantEnds), "quorate key exit --request "+r.ID[:shortID])
	}
	t.row("policy", r.Policy[:shortID])
	t.row("action hash", fmt.Sprintf("%x", r.hash))
	showWords(t, r.Words)
}

// requestWatch follows a request; its exit code says how it ended.
func (a *app) requestWatch(ctx context.Context, args []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last := ""
	for {
		r, err := c.Request(ctx, args[0])
		if err != nil {
			return hinted(err, "quorate request list")
		}
		if line := standing(r); line != last && a.output == "text" {
			last = line
			fmt.Fprintln(a.stdout, printable(line))
		}
		if r.Waits == nil {
			return a.ended(r)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *app) ended(r opsapi.Request) error {
	if a.output == "json" {
		if err := a.print(r, nil); err != nil {
			return err
		}
	}
	hint := "quorate request show " + shorten(r.ID, shortID)
	switch r.State {
	case "executed":
		return nil
	case "vetoed":
		return fail(exitDenied, hint, "the request was vetoed %s", r.Reason)
	}
	return fail(exitFailed, hint, "the request came to nothing: %s", standing(r))
}

func (a *app) requestDecide(ctx context.Context, text string, verdict action.Verdict) error {
	sp, err := a.speaker(ctx)
	if err != nil {
		return err
	}
	r, err := sp.request(ctx, text)
	if err != nil {
		return err
	}
	if r.Waits == nil {
		return fail(exitFailed, "quorate request show "+r.ID[:shortID], "request %s is over: %s", r.ID[:shortID], standing(r.Request))
	}
	if r.action.Rule == action.RulePolicy && verdict == action.Approve {
		if r.Details, err = sp.policyChange(ctx, r); err != nil {
			return err
		}
	}
	r.Details = append(r.Details, opsapi.Detail{Name: "asked by", Value: strings.TrimPrefix(r.By, "member/")})
	if own := func(d opsapi.Detail) bool { return d.Name == "purpose" }; r.Purpose != "" && !slices.ContainsFunc(r.Details, own) {
		r.Details = append(r.Details, opsapi.Detail{Name: "purpose", Value: r.Purpose + ", the node says: no signature covers it"})
	}
	if err := a.confirm(ctx, sp, verdict.String(), r.Words); err != nil {
		return err
	}
	if _, err := sp.decide(ctx, r, verdict); err != nil {
		return hinted(err, "quorate request show "+r.ID[:shortID])
	}
	after, err := sp.request(ctx, r.ID)
	if err != nil {
		return err
	}
	return a.print(after.Request, func(t *table) {
		t.row(map[action.Verdict]string{action.Approve: "approved", action.Veto: "vetoed", action.Cancel: "cancelled"}[verdict], after.ID)
		t.row("state", standing(after.Request))
	})
}

func version32(text string) (v [32]byte, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(v) {
		return v, errors.New("ask node: a version is none")
	}
	return [32]byte(raw), nil
}
