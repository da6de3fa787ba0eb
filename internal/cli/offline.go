package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/participant"
	"github.com/quorate/quorate/internal/qr"
)

func (a *app) ceremonyOffline() *cobra.Command {
	var o seatOptions
	var p paper
	c := &cobra.Command{Use: "offline INVITATION --in FILE...", Short: "Take part in a ceremony from a machine without a network", Args: cobra.MinimumNArgs(1),
		Long: `Take the next step of a seat whose keys never see a network. --in is what
"quorate ceremony carry" wrote on another machine, a file or pictures of QR codes;
--out gets what goes back there.

This machine checks everything that one on a network checks, except that what it is
shown is new: it prints of when it is, for you to compare with your watch. What is
old makes it late, and cannot make it do anything wrong.`,
		Example: `  quorate ceremony offline alice.json --in bundle --out reply --identity alice.key
  quorate ceremony offline alice.json --in bundle-*.png --out reply.png --identity alice.key`,
		RunE: a.run(func(ctx context.Context, args []string) error {
			p.in = append(p.in, args[1:]...) // what a shell makes of --in *.png
			return a.offline(ctx, args[0], o, p)
		})}
	o.on(c)
	p.on(c, "what was carried here", "what to carry back")
	c.MarkFlagRequired("in") //nolint:errcheck // the flag is defined above
	c.MarkFlagsOneRequired("out", "qr")
	return c
}

func (a *app) ceremonyCarry() *cobra.Command {
	var p paper
	var nodes []string
	var wait bool
	var handover string
	c := &cobra.Command{Use: "carry INVITATION [--in FILE...]", Short: "Carry between a ceremony and a machine without a network", Args: cobra.MinimumNArgs(1),
		Long: `Hand over what "quorate ceremony offline" wrote, where --in is given, and write to
--out what happened since. No key is needed here, and nothing here is believed.
--wait waits for the next phase, so that there is something new to carry.

With --hand-over it carries between a ceremony in which nodes take the participants'
key over and "quorate ceremony hand-over" on that machine.`,
		Example: `  quorate ceremony carry alice.json --out bundle
  quorate ceremony carry alice.json --in reply --out bundle --wait
  quorate ceremony carry alice.json --hand-over 93f2c0…d1 --in reply --out summons`,
		RunE: a.run(func(ctx context.Context, args []string) error {
			p.in = append(p.in, args[1:]...) // what a shell makes of --in *.png
			if handover != "" {
				return a.carryHandOver(ctx, args[0], handover, nodes, p)
			}
			return a.carry(ctx, args[0], nodes, wait, p)
		})}
	p.on(c, "what was carried here", "what to carry back")
	c.Flags().StringSliceVar(&nodes, "node", nil, "operator APIs to ask, in place of those that the invitation names")
	c.Flags().BoolVar(&wait, "wait", false, "wait until the ceremony is in another phase than the reply was written in")
	c.Flags().StringVar(&handover, "hand-over", "", "id of the ceremony among nodes that takes the key over")
	c.MarkFlagsMutuallyExclusive("wait", "hand-over")
	return c
}

// paper is how something crosses the gap.
type paper struct {
	in   []string
	out  string
	show bool
}

func (p *paper) on(c *cobra.Command, in, out string) {
	c.Flags().StringSliceVar(&p.in, "in", nil, in+": a file, or pictures of QR codes, PNG or JPEG, in any order")
	c.Flags().StringVar(&p.out, "out", "", out+": a file, or pictures if it ends in .png")
	c.Flags().BoolVar(&p.show, "qr", false, "show it as QR codes on the terminal as well")
}

// read returns what was carried here.
func (p *paper) read() ([]byte, error) {
	var frames []string
	for _, path := range p.in {
		raw, err := durable.ReadFile(durable.OS{}, path, participant.MaxLog+(1<<20))
		if err != nil {
			return nil, fail(exitNotFound, "", "read what was carried: %w", err)
		}
		if !qr.IsPicture(raw) {
			if len(p.in) > 1 {
				return nil, fail(exitBadUse, "--in takes one file, or pictures alone", "%s is no picture, and not the only file", path)
			}
			return raw, nil
		}
		text, err := qr.Read(raw)
		if err != nil {
			return nil, fail(exitFailed, "take the picture again: closer, straight, in even light", "%s: %w", path, err)
		}
		frames = append(frames, text)
	}
	raw, err := qr.Join(frames)
	switch {
	case errors.Is(err, qr.ErrMissing):
		return nil, fail(exitBadUse, "name the pictures of the others with --in, too", "%w", err)
	case errors.Is(err, qr.ErrMixed):
		return nil, fail(exitBadUse, "leave out the pictures of what was carried before", "%w", err)
	}
	return raw, err
}

// write returns the files that it made.
func (p *paper) write(a *app, raw []byte) (made []string, err error) {
	if p.show {
		if err := p.print(a, raw); err != nil {
			return nil, err
		}
	}
	if p.out == "" {
		return nil, nil
	}
	base, pictures := strings.CutSuffix(p.out, ".png")
	if !pictures {
		return []string{p.out}, durable.WriteOSFile(p.out, raw, 0o644)
	}
	frames, err := qr.Frames(raw, qr.PicturePart)
	if err != nil {
		return nil, hinted(err, "it is too long for pictures: carry a file")
	}
	old, _ := filepath.Glob(base + "-*.png") // of another message, which nobody must mistake for this one's
	for _, path := range append(old, p.out) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	for i, f := range frames {
		picture, err := qr.PNG(f)
		if err != nil {
			return nil, err
		}
		path := p.out
		if len(frames) > 1 {
			path = fmt.Sprintf("%s-%0*d.png", base, len(fmt.Sprint(len(frames))), i+1)
		}
		if err := durable.WriteOSFile(path, picture, 0o644); err != nil {
			return nil, err
		}
		made = append(made, path)
	}
	return made, nil
}

// mostShown is how many codes somebody photographs from a terminal.
const mostShown = 40

func (p *paper) print(a *app, raw []byte) error {
	frames, err := qr.Frames(raw, qr.TerminalPart)
	if err != nil || len(frames) > mostShown {
		return fail(exitBadUse, "give --out FILE, or --out FILE.png for fewer and larger codes", "%d bytes are too many for QR codes on a terminal", len(raw))
	}
	for i, f := range frames {
		code, err := qr.Terminal(f)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stderr, "%s%d of %d\n", code, i+1, len(frames))
	}
	return nil
}

// carried is what either side of the gap prints.
type carried struct {
	Ceremony string     `json:"ceremony"`
	Seat     int        `json:"seat"`
	Phase    string     `json:"phase,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
	Entries  uint64     `json:"entries"`
	Newest   *time.Time `json:"newest_block,omitempty"`
	Messages int        `json:"messages"` // said, or handed over
	Sealed   bool       `json:"sealed"`   // the ceremony has ended, and this seat said so
	Files    []string   `json:"files,omitempty"`
	Refused  string     `json:"refused,omitempty"`
}

func (a *app) offline(ctx context.Context, path string, o seatOptions, p paper) error {
	s, inv, done, err := a.takeSeat(ctx, path, o)
	if err != nil {
		return err
	}
	defer done()
	raw, err := p.read()
	if err != nil {
		return err
	}
	b, err := participant.ParseBundle(raw)
	if err != nil {
		return fail(exitBadUse, "--in takes what quorate ceremony carry wrote", "%w", err)
	}
	if err := s.Take(b); err != nil {
		return hinted(err, carriedHint(err, s))
	}
	if err := checkTerms(s, inv, o); err != nil {
		return err
	}
	if err := missed(s); err != nil {
		return err
	}
	a.showTerms(s)
	reply, err := s.Reply(ctx)
	if err != nil {
		return err
	}
	board := s.Board()
	out := carried{Ceremony: inv.Ceremony, Seat: inv.Seat, Phase: board.Phase().String(), Entries: s.Entries(), Messages: len(reply.Posts), Sealed: len(reply.Seal) > 0}
	newest := s.Time()
	out.Newest = &newest
	if d := board.Deadline(); d > 0 && !out.Sealed {
		until := time.UnixMilli(int64(d)).UTC()
		out.Until = &until
	}
	if out.Files, err = p.write(a, reply.Encode()); err != nil {
		return err
	}
	if out.Sealed {
		fmt.Fprintln(a.stderr, boardLine(board))
		if err := a.leave(s, seatHome(path, o)); err != nil {
			return err
		}
		fmt.Fprintln(a.stderr, "carry the reply back once more: it seals the archive")
		return nil
	}
	return a.print(out, func(t *table) {
		t.row("phase", boardLine(board))
		t.row("newest block", localTime(newest, inv.Location()), "compare with your watch: nothing else tells whether this is new")
		if out.Until != nil {
			t.row("until", localTime(*out.Until, inv.Location()))
		}
		t.row("says", plural(out.Messages, "message"))
		for _, f := range out.Files {
			t.row("carry back", f)
		}
	})
}

func carriedHint(err error, s *participant.Seat) string {
	if errors.Is(err, participant.ErrGap) && s.Entries() == 0 {
		return "carry all of it: quorate ceremony carry without --in"
	}
	if errors.Is(err, participant.ErrGap) || errors.Is(err, participant.ErrOld) {
		return fmt.Sprintf("carry a newer bundle: quorate ceremony carry --in the last reply (it has followed %d entries)", s.Entries())
	}
	if hint := seatHint(err); hint != "" {
		return hint
	}
	return "who carried it, or the node that it came from, lies: take a bundle from another node"
}

func (a *app) carry(ctx context.Context, path string, nodes []string, wait bool, p paper) error {
	inv, err := a.readInvitation(path, seatOptions{anyBuild: true})
	if err != nil {
		return err
	}
	c, err := newCourier(inv, nodes)
	if err != nil {
		return err
	}
	out := carried{Ceremony: inv.Ceremony, Seat: inv.Seat}
	var reply *participant.Reply
	if len(p.in) > 0 {
		raw, err := p.read()
		if err != nil {
			return err
		}
		if reply, err = participant.ParseReply(raw); err != nil {
			return fail(exitBadUse, "--in takes what quorate ceremony offline wrote", "%w", err)
		}
		if reply.Ceremony != inv.ID() || reply.Seat != inv.Seat {
			return fail(exitBadUse, "give the invitation that the reply was made with", "the reply is of seat %d in ceremony %x", reply.Seat, reply.Ceremony)
		}
		// Nobody sees here whether a node that says so did carry it.
		err = c.post(ctx, reply, c.awake())
		var refused refusals
		if errors.As(err, &refused) {
			out.Refused = err.Error()
		} else if err != nil {
			return noNode(err)
		}
		out.Messages, out.Sealed = len(reply.Posts)-len(refused), len(reply.Seal) > 0
	}
	if p.out != "" || p.show {
		if err := a.fetchFor(ctx, c, &out, reply, wait, p); err != nil {
			return err
		}
	}
	return a.print(out, func(t *table) {
		showCarried(t, out, inv, reply != nil)
		if out.Sealed {
			t.row("done", "the ceremony has ended, and this seat sealed its archive")
		}
	})
}

func showCarried(t *table, out carried, inv *participant.Invitation, replied bool) {
	if replied {
		t.row("handed over", plural(out.Messages, "message"))
	}
	for line := range strings.Lines(out.Refused) {
		t.row("note", strings.TrimSpace(line))
	}
	if out.Phase != "" {
		t.row("phase", out.Phase)
	}
	if out.Newest != nil {
		t.row("newest block", localTime(*out.Newest, inv.Location()))
	}
	if out.Until != nil {
		t.row("until", localTime(*out.Until, inv.Location()))
	}
	for _, f := range out.Files {
		t.row("carry over", f)
	}
}

// fetchFor writes what happened since a reply, when there is something new. It
// believes no single node: all are asked, and the newest that is proven counts.
func (a *app) fetchFor(ctx context.Context, c *courier, out *carried, reply *participant.Reply, wait bool, p paper) error {
	from := uint64(0)
	if reply != nil {
		from = reply.Entries
	}
	var b *participant.Bundle
	for b == nil {
		seen, err := c.lookAround(ctx)
		if err != nil {
			return err
		}
		params, err := assembly.ParseParams(seen.Params)
		if err != nil {
			return err
		}
		phase := assembly.Phase(seen.Phase)
		out.Phase, out.Entries, out.Newest, out.Until = phase.String(), seen.Entries, &seen.at, nil
		if seen.Deadline > 0 {
			until := time.UnixMilli(int64(seen.Deadline)).UTC()
			out.Until = &until
		}
		// In hybrid mode a seat waits for letters, too.
		letters := params.Hybrid && phase == assembly.PhaseVerify
		if wait && reply != nil && phase == reply.Phase && phase < assembly.PhaseDone && !(letters && len(reply.Posts) == 0) {
			select {
			case <-time.After(pollAfter(seen.Deadline, seen.at)):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if b, err = c.fetchUpTo(ctx, seen, from); err != nil {
			if c.node().failed > len(c.nodes) {
				return noNode(err)
			}
			c.failed()
			continue
		}
		if letters {
			c.letters(ctx, b, c.dealers(ctx))
		}
	}
	var err error
	out.Files, err = p.write(a, b.Encode())
	return err
}
