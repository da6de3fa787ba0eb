package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/opsapi"
)

// askOptions are the flags of every command that asks for an action.
type askOptions struct {
	purpose string
	approve bool
	details []opsapi.Detail // to show in place of the action's own
	keys    [][]byte        // that the action names by hash
	seats   []byte          // likewise, a list of participants
}

// asks adds them to a command.
func (o *askOptions) asks(c *cobra.Command) *cobra.Command {
	if c.Flags().Lookup("purpose") == nil {
		c.Flags().StringVar(&o.purpose, "purpose", "", "why; it stands in the request and in the audit log")
	}
	c.Flags().BoolVar(&o.approve, "approve", false, "approve it as well, where the policy counts the asker's own word")
	return c
}

// asked is what came of asking.
type asked struct {
	Executed    bool            `json:"executed"` // nobody else had to agree
	Transaction string          `json:"transaction"`
	Height      uint64          `json:"height"`
	Request     *opsapi.Request `json:"request,omitempty"` // what waits
}

// ask has a member sign for an action, once he has seen in words what its
// bytes say. While others have to agree its error exits with 4.
func (a *app) ask(ctx context.Context, act *action.Action, o askOptions) error {
	done, err := a.askFor(ctx, act, o)
	if err != nil || done == nil {
		return err
	}
	if err := a.print(done, func(t *table) {
		if done.Executed {
			t.row("done", fmt.Sprintf("at height %d", done.Height))
			return
		}
		t.row("request", done.Request.ID)
		t.row("state", standing(*done.Request))
	}); err != nil {
		return err
	}
	return waiting(done)
}

// waiting is the error of what others have to agree to.
func waiting(done *asked) error {
	if done.Executed {
		return nil
	}
	id := done.Request.ID[:shortID]
	hint := "follow it with: quorate request watch " + id
	if w := done.Request.Waits; w != nil && w.Missing != (action.Need{}) {
		hint = "they run: quorate request approve " + id
	}
	return fail(exitWaiting, hint, "request %s %s", id, standing(*done.Request))
}

// askFor returns what came of asking; nil where the action was only wanted in
// bytes.
func (a *app) askFor(ctx context.Context, act *action.Action, o askOptions) (*asked, error) {
	canonical := act.Encode()
	if a.compose != nil {
		*a.compose = canonical
		return nil, nil
	}
	parsed, words, err := opsapi.ReadAction(canonical)
	if err != nil {
		return nil, err
	}
	sp, err := a.speaker(ctx)
	if err != nil {
		return nil, err
	}
	if o.details != nil {
		words.Details = o.details
	}
	verb := "ask for"
	if o.approve {
		verb = "ask for and approve"
	}
	if err := a.confirm(ctx, sp, verb, words); err != nil {
		return nil, err
	}
	sent, err := sp.submit(ctx, action.KindRequest, ledger.Ask{Action: parsed, Purpose: o.purpose, Keys: o.keys, Seats: o.seats}.Encode())
	if err != nil {
		return nil, err
	}
	done := &asked{Executed: sent.Request == "", Transaction: sent.Hash, Height: sent.Height}
	if done.Executed {
		return done, nil
	}
	r, err := sp.request(ctx, sent.Request)
	if err != nil {
		return nil, err
	}
	if string(r.canonical) != string(canonical) {
		return nil, fmt.Errorf("request %s stands for another action than was asked for: tell the other operators", sent.Request)
	}
	if o.approve {
		if _, err := sp.decide(ctx, r, action.Approve); err != nil {
			return nil, hinted(err, "the request is open: quorate request show "+sent.Request[:shortID])
		}
		if r, err = sp.request(ctx, sent.Request); err != nil {
			return nil, err
		}
	}
	done.Request, done.Executed = &r.Request, r.State == "executed"
	return done, nil
}

// verified is a request whose id was computed here from what it stands for.
type verified struct {
	opsapi.Request
	id, hash  [32]byte
	canonical []byte
	action    *action.Action
}

// request fetches a request and believes nothing of it that does not follow
// from its id.
func (s *speaker) request(ctx context.Context, text string) (verified, error) {
	r, err := s.client.Request(ctx, text)
	if err != nil {
		return verified{}, hinted(err, "quorate request list")
	}
	return verify(s.cluster, r, text)
}

func verify(cluster action.ClusterID, r opsapi.Request, text string) (v verified, err error) {
	v.Request = r
	if v.id, v.hash, v.canonical, err = r.Verify(cluster); err != nil {
		return v, err
	}
	if !strings.HasPrefix(r.ID, strings.ToLower(strings.TrimPrefix(text, "0x"))) {
		return v, fmt.Errorf("the node was asked for request %s and answers with %s", text, r.ID[:shortID])
	}
	if v.action, v.Words, err = opsapi.ReadAction(v.canonical); err != nil {
		return v, err
	}
	v.Details = append(v.Details, renewed(v.action, &r)...)
	return v, nil
}

// decide signs a word on a request.
func (s *speaker) decide(ctx context.Context, r verified, verdict action.Verdict) (opsapi.Submitted, error) {
	version, err := version32(r.Policy)
	if err != nil {
		return opsapi.Submitted{}, err
	}
	return s.submit(ctx, action.KindDecision, action.Decision{Request: r.id, Action: r.hash, Policy: version, Verdict: verdict}.Encode())
}

// confirm shows what is about to be signed and asks for a yes.
func (a *app) confirm(ctx context.Context, sp *speaker, verb string, words opsapi.Words) error {
	t := newTable(a.stderr)
	t.row("as", fmt.Sprintf("%s (%s, %s)", sp.member.ID, sp.member.Operator, sp.member.Region))
	showWords(t, words)
	if err := t.w.Flush(); err != nil {
		return err
	}
	return a.sure(ctx, fmt.Sprintf("Sign, as %s, to %s this?", sp.member.ID, verb), "what would be signed", "signed")
}

// sure asks a question to which --yes is the answer, too. It wants to have
// something confirmed, and says what was not done if it is not.
func (a *app) sure(ctx context.Context, question, what, done string) error {
	if a.yes {
		return nil
	}
	if !isTerminal(os.Stdin) {
		return fail(exitBadUse, "look at it, then give --yes", "nobody is at a terminal to confirm %s", what)
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // nothing calls a read of a terminal off
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n') // what is no yes is a no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case line := <-answer:
		if line == "y" || line == "yes" {
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
	}
	return fail(exitFailed, "", "not confirmed: nothing was %s", done)
}

// showWords shows what an action is; a value of several lines comes last.
func showWords(t *table, w opsapi.Words) {
	t.row("action", w.Rule)
	t.row("", w.Says)
	for _, d := range w.Details {
		if !strings.Contains(d.Value, "\n") {
			t.row(d.Name, d.Value)
		}
	}
	for _, d := range w.Details {
		if strings.Contains(d.Value, "\n") {
			t.row(d.Name + ":")
			for line := range strings.Lines(d.Value) {
				t.row("  " + strings.TrimRight(line, "\n"))
			}
		}
	}
}
