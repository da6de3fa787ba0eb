package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/participant"
)

func (a *app) ceremonyHandOver() *cobra.Command {
	var o seatOptions
	var nodes []string
	var p paper
	c := &cobra.Command{Use: "hand-over INVITATION CEREMONY [--in FILE...]", Short: "Hand a participant's share over to the nodes, and destroy it", Args: cobra.MinimumNArgs(2),
		Long: `Deal this seat's share to the nodes in a ceremony that takes the participants' key
over, as "quorate ceremony open --mode handover" opened it, and stay until the nodes
hold the key. Then the share is destroyed, with the seed and the letters from which
it could be had again: the ledger's proof that it may be stays in the home.

INVITATION is the one to the ceremony that made the key. Compare the id of the other
ceremony with the coordinator, by voice: whoever deals in it gives the key away.

The command may be stopped and started again. Until it has destroyed the share, and
every other participant's command theirs, so many shares as sign can still sign.

On a machine without a network give --in what "quorate ceremony carry --hand-over"
wrote, and carry --out back; the last summons destroys the share.`,
		Example: `  quorate ceremony hand-over alice.json 93f2c0…d1 --identity alice.key
  quorate ceremony hand-over alice.json 93f2c0…d1 --in summons --out reply --identity alice.key`,
		RunE: a.run(func(ctx context.Context, args []string) error {
			p.in = append(p.in, args[2:]...) // what a shell makes of --in *.png
			return a.handOver(ctx, args[0], args[1], nodes, o, p)
		})}
	o.on(c)
	p.on(c, "what was carried here", "what to carry back")
	c.Flags().StringSliceVar(&nodes, "node", nil, "operator APIs to ask, in place of those that the invitation names")
	return c
}

// handing is a participant's stay in a hand-over.
type handing struct {
	*app
	*participant.HandOver
	inv     *participant.Invitation
	id      string
	home    string
	courier *courier
	agreed  bool
	failed  int           // nodes in a row that did not help
	idle    time.Duration // last pause in which nothing waited for time
	line    string
	note    string
}

// handed is what came of it.
type handed struct {
	Ceremony  string   `json:"ceremony"`
	Seat      int      `json:"seat"`
	PublicKey string   `json:"pubkey"`
	Phase     string   `json:"phase,omitempty"`
	Dealt     bool     `json:"dealt"`
	Destroyed bool     `json:"share_destroyed"`
	Messages  int      `json:"messages,omitempty"` // to carry back
	Files     []string `json:"files,omitempty"`
}

func (a *app) handOver(ctx context.Context, path, id string, nodes []string, o seatOptions, p paper) error {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 32 {
		return fail(exitBadUse, "quorate ceremony list shows it, with mode handover", "%q is no ceremony's id", id)
	}
	inv, err := a.readInvitation(path, o)
	if err != nil {
		return err
	}
	h := &handing{app: a, inv: inv, id: id, home: seatHome(path, o)}
	file, passphrase, err := a.keyFile(ctx)
	if err != nil {
		return err
	}
	defer passphrase.Destroy()
	signer, err := credential.Open(file, passphrase)
	if err != nil {
		return hinted(err, passphraseHint)
	}
	h.HandOver, err = participant.OpenHandOver(participant.Config{
		Dir: h.home, Invitation: inv, Signer: signer, Sealer: credential.NewBox(file, passphrase), Random: rand.Reader,
	}, [32]byte(raw))
	if err != nil {
		return hinted(err, handOverHint(err))
	}
	defer h.Close()
	switch {
	case h.Done():
		return h.leave()
	case len(p.in) > 0:
		return h.offline(ctx, p)
	}
	if h.courier, err = newCourier(inv, nodes); err != nil {
		return err
	}
	return h.stay(ctx)
}

func handOverHint(err error) string {
	switch {
	case errors.Is(err, participant.ErrNoShare):
		return "--home is the directory of a seat that holds a share and its certificate, as quorate ceremony join left it; quorate ceremony export --certificate has the certificate again"
	case errors.Is(err, participant.ErrOtherKey):
		return "compare the ceremony's id with the coordinator: nothing was dealt"
	case errors.Is(err, participant.ErrDealtElsewhere):
		return "a node says that what was dealt is false: start the command on the --home that dealt, for it alone can answer; on this one, when the ceremony is over"
	}
	return seatHint(err)
}

// stay asks until the ceremony is over.
func (h *handing) stay(ctx context.Context) error {
	for {
		ended, err := h.round(ctx)
		if err != nil {
			return err
		}
		if ended {
			return h.end()
		}
		select {
		case <-time.After(h.pause()):
		case <-ctx.Done():
			return fail(exitInterrupted, "go on with the same command, on the same --home: the share is still there", "stopped before the nodes held the key")
		}
	}
}

// round asks one node where the ceremony stands, and says what is due.
func (h *handing) round(ctx context.Context) (ended bool, err error) {
	var summons *participant.Summons
	raw, err := h.courier.node().Summons(ctx, h.id)
	if err == nil {
		summons, err = participant.ParseSummons(raw)
	}
	if err == nil {
		err = h.Take(summons)
	}
	if errors.Is(err, participant.ErrStop) {
		return false, hinted(err, handOverHint(err))
	}
	if err != nil {
		return false, h.another(ctx, err)
	}
	if h.Board().Phase() == dkg.PhaseAborted {
		return true, nil
	}
	if err := h.agree(ctx); err != nil || h.Settled() {
		return true, err
	}
	reply, err := h.Reply(ctx)
	if err != nil {
		return false, hinted(err, handOverHint(err))
	}
	h.show(len(reply.Posts))
	err = postDealing(ctx, reply, []*stop{h.courier.node()})
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		h.say(err.Error())
	case err != nil:
		return false, h.another(ctx, err)
	}
	h.failed = 0
	h.courier.helped()
	return false, nil
}

// another takes another node. Who never reached any is told; later on nodes may
// be away for a while.
func (h *handing) another(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	h.say(fmt.Sprintf("%s: %v", h.courier.name(), err))
	h.courier.failed()
	if h.failed++; h.Board() == nil && h.failed >= len(h.courier.nodes) {
		return noNode(err)
	}
	return nil
}

func (h *handing) say(text string) {
	if text != h.note {
		h.note = text
		fmt.Fprintf(h.stderr, "note: %s\n", printable(text))
	}
}

// agree shows who gets the key and asks for a yes, once.
func (h *handing) agree(ctx context.Context) error {
	if h.agreed {
		return nil
	}
	p, old := h.Board().Params(), h.Assembly()
	t := newTable(h.stderr)
	t.row("ceremony", h.id)
	t.row("cluster", h.inv.Cluster().String())
	t.row("", "compare both with the coordinator, by voice")
	t.row("key", "0x"+hex.EncodeToString(h.PublicKey()))
	t.row("from", fmt.Sprintf("%s participants, of whom you are seat %d, %s", shares(int(old.T), int(old.N)), h.inv.Seat, printable(h.inv.Name)))
	t.row("to", shares(int(p.T), p.Members().Len())+" nodes")
	for _, s := range h.Nodes() {
		if p.Members().Has(int(s.Index)) {
			t.row("", fmt.Sprintf("%s of %s, in %s", s.Node, s.Operator, s.Region))
		}
	}
	if err := t.w.Flush(); err != nil {
		return err
	}
	h.agreed = true
	return h.sure(ctx, "Hand your share over to them, and destroy it when they hold the key?", "to whom the share goes", "done")
}

// show says where the ceremony stands, and until when somebody may be needed.
func (h *handing) show(says int) {
	b, p := h.Board(), h.Board().Params()
	line := fmt.Sprintf("%-8s dealt %d of %d", b.Phase(), b.Dealt().Len(), p.Old.N)
	if h.Dealt() {
		line += ", you too"
	}
	if b.Phase() >= dkg.PhaseConfirm {
		line += fmt.Sprintf(", nodes with their shares %d", b.Holders().Len())
	}
	if says > 0 {
		line += "; saying " + plural(says, "message")
	}
	if d := b.Deadline(); d > 0 && b.Phase() < dkg.PhaseDone {
		line += ", until " + localTime(time.UnixMilli(int64(d)), h.inv.Location())
	}
	if line != h.line {
		h.line = line
		fmt.Fprintln(h.stderr, line)
		if until, needed := h.neededUntil(); needed {
			fmt.Fprintf(h.stderr, "         leave this running until %s: a node that says you lied to it, you have to answer\n", localTime(until, h.inv.Location()))
		}
	}
}

// neededUntil says until when the nodes may ask a dealer to open what it sent,
// if each phase takes as long as it may: in hybrid mode alone they do.
func (h *handing) neededUntil() (until time.Time, needed bool) {
	b, p := h.Board(), h.Board().Params()
	if !p.Hybrid || b.Phase() < dkg.PhaseDeal || b.Phase() > dkg.PhaseAnswer {
		return until, false
	}
	ms := b.Deadline()
	if b.Phase() == dkg.PhaseDeal {
		ms += uint64(p.Deadlines.Verify)
	}
	if b.Phase() != dkg.PhaseAnswer {
		ms += uint64(b.AnswerTime())
	}
	return time.UnixMilli(int64(ms)), true
}

// pause is short where the dealer may be asked something. What the last nodes
// need to confirm their shares may be a second, or a new machine.
func (h *handing) pause() time.Duration {
	switch {
	case h.Board() == nil:
		return 2 * time.Second
	case h.Board().Deadline() == 0:
		h.idle = min(max(2*h.idle, pollLeast), pollMost)
		return h.idle
	}
	return pollAfter(h.Board().Deadline(), h.Time())
}

// end destroys the share if the nodes hold the key.
func (h *handing) end() error {
	if h.Board().Phase() == dkg.PhaseAborted {
		if err := h.print(h.outcome(), h.table); err != nil {
			return err
		}
		return fail(exitFailed, "quorate ceremony show "+h.id+" says who was absent or lied; your share is what it was", "the ceremony was aborted: the participants hold the key as before")
	}
	if err := h.Destroy(); err != nil {
		return err
	}
	return h.leave()
}

func (h *handing) outcome() handed {
	out := handed{Ceremony: h.id, Seat: h.inv.Seat, PublicKey: "0x" + hex.EncodeToString(h.PublicKey()), Destroyed: h.Done()}
	if b := h.Board(); b != nil {
		out.Phase, out.Dealt = b.Phase().String(), h.Dealt()
	}
	return out
}

func (h *handing) leave() error { return h.print(h.outcome(), h.table) }

func (h *handing) table(t *table) {
	out := h.outcome()
	t.row("ceremony", out.Ceremony)
	t.row("key", out.PublicKey)
	if out.Phase != "" {
		t.row("phase", out.Phase)
		t.row("you dealt", out.Dealt)
	}
	if !out.Destroyed {
		return
	}
	old := h.Assembly()
	t.row("your share", "destroyed: the nodes hold the key, as "+h.home+"/handed-over proves")
	t.row("", "destroy every copy of it, too")
	t.row("until then", fmt.Sprintf("any %d of the %d old shares sign, as long as no more than %d are destroyed", old.T, old.N, old.N-old.T))
}

// offline takes one step on a machine without a network.
func (h *handing) offline(ctx context.Context, p paper) error {
	raw, err := p.read()
	if err != nil {
		return err
	}
	s, err := participant.ParseSummons(raw)
	if err != nil {
		return fail(exitBadUse, "--in takes what quorate ceremony carry --hand-over wrote", "%w", err)
	}
	if err := h.Take(s); err != nil {
		hint := handOverHint(err)
		if hint == "" {
			hint = "who carried it, or the node that it came from, lies: take a summons from another node"
		}
		return hinted(err, hint)
	}
	if h.Board().Phase() == dkg.PhaseAborted {
		return h.end()
	}
	if err := h.agree(ctx); err != nil {
		return err
	}
	if h.Settled() {
		return h.end()
	}
	reply, err := h.Reply(ctx)
	if err != nil {
		return hinted(err, handOverHint(err))
	}
	out := h.outcome()
	out.Messages = len(reply.Posts)
	if out.Files, err = p.write(h.app, reply.Encode()); err != nil {
		return err
	}
	newest := h.Time()
	return h.print(out, func(t *table) {
		h.table(t)
		t.row("newest block", localTime(newest, h.inv.Location()), "compare with your watch: nothing else tells whether this is new")
		t.row("says", plural(out.Messages, "message"))
		if until, needed := h.neededUntil(); needed {
			t.row("carry again", "until "+localTime(until, h.inv.Location())+": a node that says you lied to it, you have to answer")
		}
		for _, f := range out.Files {
			t.row("carry back", f)
		}
	})
}

// carryHandOver carries between a hand-over and a machine without a network.
func (a *app) carryHandOver(ctx context.Context, path, id string, nodes []string, p paper) error {
	inv, err := a.readInvitation(path, seatOptions{anyBuild: true})
	if err != nil {
		return err
	}
	c, err := newCourier(inv, nodes)
	if err != nil {
		return err
	}
	out := carried{Ceremony: id, Seat: inv.Seat}
	if len(p.in) > 0 {
		raw, err := p.read()
		if err != nil {
			return err
		}
		reply, err := participant.ParseHandOverReply(raw)
		if err != nil {
			return fail(exitBadUse, "--in takes what quorate ceremony hand-over wrote", "%w", err)
		}
		if hex.EncodeToString(reply.Ceremony[:]) != id || reply.Seat != inv.Seat {
			return fail(exitBadUse, "give the invitation and the ceremony that the reply was made with", "the reply is of seat %d in ceremony %x", reply.Seat, reply.Ceremony)
		}
		// Nobody sees here whether a node that says so did carry it.
		err = postDealing(ctx, reply, c.awake())
		if errors.As(err, new(*refusal)) {
			out.Refused = err.Error()
		} else if err != nil {
			return noNode(err)
		}
		out.Messages = len(reply.Posts)
	}
	if p.out != "" || p.show {
		raw, board, at, err := c.summons(ctx, id)
		if err != nil {
			return err
		}
		out.Phase, out.Newest = board.Phase().String(), &at
		if d := board.Deadline(); d > 0 && board.Phase() < dkg.PhaseDone {
			out.Until = new(time.UnixMilli(int64(d)).UTC())
		}
		if out.Files, err = p.write(a, raw); err != nil {
			return err
		}
	}
	return a.print(out, func(t *table) { showCarried(t, out, inv, len(p.in) > 0) })
}
