package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/semver"

	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/participant"
	"github.com/quorate/quorate/internal/secret"
)

// seatOptions are what every command of a participant takes.
type seatOptions struct {
	home     string
	anyBuild bool
}

func (o *seatOptions) on(c *cobra.Command) {
	c.Flags().StringVar(&o.home, "home", "", "directory of the seat: its seed, its log, its share (default: beside the invitation)")
	c.Flags().BoolVar(&o.anyBuild, "any-build", false, "take part with a build that the coordinator did not name")
}

func (a *app) ceremonyJoin() *cobra.Command {
	var o seatOptions
	var nodes []string
	c := &cobra.Command{Use: "join INVITATION", Short: "Take part in a ceremony from this machine", Args: cobra.ExactArgs(1),
		Long: `Take the seat that an invitation names, and stay until the ceremony has ended.

--identity is the key file whose credential the coordinator was given. Compare
the ids of ceremony and cluster, which come first, with the coordinator by voice:
from them on everything is proven, and no node is believed.

The command may be stopped and started again at any time, on the same --home: it
says again what it said. In the end the home holds the share, sealed like the key
file, and the certificate. Lose the home before the end and the seat is lost.`,
		Example: `  quorate ceremony join alice.json --identity alice.key`,
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.join(ctx, args[0], nodes, o)
		})}
	o.on(c)
	c.Flags().StringSliceVar(&nodes, "node", nil, "operator APIs to ask, in place of those that the invitation names")
	return c
}

// readInvitation reads a participant's invitation, and holds this build to it.
func (a *app) readInvitation(path string, o seatOptions) (*participant.Invitation, error) {
	raw, err := durable.ReadFile(durable.OS{}, path, participant.MaxInvitation)
	if err != nil {
		return nil, fail(exitNotFound, "the coordinator makes one with: quorate ceremony invite", "read invitation: %w", err)
	}
	inv, err := participant.ParseInvitation(raw)
	if err != nil {
		return nil, fail(exitBadUse, "ask the coordinator for the file anew", "%w", err)
	}
	v := readVersion()
	if !o.anyBuild && len(inv.Builds) > 0 && (v.Modified || !slices.Contains(inv.Builds, v.Revision)) {
		return nil, fail(exitDenied, "build one of "+strings.Join(inv.Builds, ", ")+", or see with the coordinator whether --any-build is right",
			"the coordinator accepts other builds than this one, which is %s", v.words())
	}
	return inv, nil
}

// words name a build.
func (v version) words() string {
	out := v.Version
	if v.Revision != "" {
		out += ", revision " + v.Revision
	}
	if v.Modified {
		out += " with changes"
	}
	return out + ", " + v.Go + " " + v.Platform
}

// takeSeat opens the seat of an invitation. What it returns is to be called
// in the end.
func (a *app) takeSeat(ctx context.Context, path string, o seatOptions) (*participant.Seat, *participant.Invitation, func(), error) {
	inv, err := a.readInvitation(path, o)
	if err != nil {
		return nil, nil, nil, err
	}
	home := seatHome(path, o)
	a.introduce(inv, home)
	file, passphrase, err := a.keyFile(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	signer, err := credential.Open(file, passphrase)
	if err != nil {
		passphrase.Destroy()
		return nil, nil, nil, hinted(err, passphraseHint)
	}
	s, err := participant.Open(participant.Config{
		Dir: home, Invitation: inv, Signer: signer, Sealer: credential.NewBox(file, passphrase), Random: rand.Reader,
	})
	if err != nil {
		passphrase.Destroy()
		return nil, nil, nil, hinted(err, seatHint(err))
	}
	if err := s.Damage(); err != nil {
		fmt.Fprintf(a.stderr, "note: the log in %s is damaged and has to be fetched again: %v\n", home, err)
	}
	return s, inv, func() { s.Close(); passphrase.Destroy() }, nil
}

// keyFile reads the key file of --identity, and asks for its passphrase. What
// belongs to a seat is sealed like it.
func (a *app) keyFile(ctx context.Context) (file []byte, passphrase secret.Bytes, err error) {
	const hint = "give --identity the key file whose credential the coordinator was given; quorate member keygen --out FILE makes one"
	file, err = durable.ReadFile(durable.OS{}, strings.TrimPrefix(a.identity, "file:"), credential.MaxFile)
	if a.identity == "" || err != nil {
		return nil, passphrase, fail(exitBadUse, hint, "a participant signs this, and --identity %q names no key file", a.identity)
	}
	if !credential.IsFile(file) {
		return nil, passphrase, fail(exitBadUse, hint, "read identity: %s is no key file", a.identity)
	}
	if credential.IsSealed(file) {
		passphrase, err = a.passphrase(ctx, "Passphrase of "+a.identity, false)
	}
	return file, passphrase, err
}

func seatHome(invitation string, o seatOptions) string {
	if o.home != "" {
		return o.home
	}
	return strings.TrimSuffix(invitation, filepath.Ext(invitation)) + ".seat"
}

// seatHint says what to do about a seat that does not go on.
func seatHint(err error) string {
	switch {
	case errors.Is(err, durable.ErrLocked):
		return "it is running already, or give another --home"
	case errors.Is(err, participant.ErrForeign):
		return "give --home the directory that the seat joined from"
	case errors.Is(err, participant.ErrIdentity):
		return "give --identity the key file whose credential the coordinator was given"
	case errors.Is(err, credential.ErrPassphrase), errors.Is(err, credential.ErrOtherFile):
		return "the home is sealed like the key file that it was made with: give --identity that file, and its passphrase"
	case errors.Is(err, participant.ErrHandedOver):
		return "quorate ceremony hand-over finishes what a stop left of the share; the nodes sign with the key now"
	case errors.Is(err, participant.ErrStop):
		return "nobody can help that from outside: tell the coordinator, and keep the home"
	}
	return ""
}

// introduce shows what a participant compares before anything happens, and
// later on where it goes on.
func (a *app) introduce(inv *participant.Invitation, home string) {
	if participant.Taken(home) {
		fmt.Fprintf(a.stderr, "seat %d, %s, of ceremony %s…, as %s knows it\n", inv.Seat, printable(inv.Name), shorten(inv.Ceremony, shortID), home)
		return
	}
	t := newTable(a.stderr)
	t.row("ceremony", inv.Ceremony)
	t.row("cluster", inv.Cluster().String())
	t.row("", "compare both with the coordinator, by voice")
	t.row("seat", fmt.Sprintf("%d, %s", inv.Seat, printable(inv.Name)))
	if inv.Purpose != "" {
		t.row("purpose", inv.Purpose)
	}
	t.row("this program", readVersion().words())
	if len(inv.Schedule) > 0 {
		t.row("phases end", "at the latest, by the clock of "+cmp.Or(inv.Zone, "this machine"))
		for _, turn := range inv.Schedule {
			t.row("  "+turn.Phase, localTime(turn.Latest, inv.Location()))
		}
	}
	t.w.Flush() //nolint:errcheck // what stderr does not take is lost
}

func localTime(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("Mon 2006-01-02 15:04:05 MST")
}

const (
	maxSkew   = 30 * time.Second // between this machine's clock and the ledger's
	oldest    = 2 * heartbeat    // newest block of an idle ledger: its time is that of the votes for the one before
	pollLeast = 250 * time.Millisecond
	pollMost  = 30 * time.Second
)

// checkTerms holds the invitation, and this program, to what the ledger proves
// that the ceremony is for and wants.
func checkTerms(s *participant.Seat, inv *participant.Invitation, o seatOptions) error {
	r, own := s.Record(), readVersion().Version
	if r.Purpose != inv.Purpose {
		return fail(exitDenied, "ask the coordinator which is right, and who changed the invitation",
			"the invitation says that the key is for %q, the ledger that it is for %q", inv.Purpose, r.Purpose)
	}
	if r.Software != "" && !o.anyBuild && (!semver.IsValid(own) || semver.Compare(own, r.Software) < 0) {
		return fail(exitDenied, "take a newer build, or see with the coordinator whether --any-build is right",
			"the ceremony takes programs from version %s on; this one is %s", r.Software, own)
	}
	return nil
}

// showTerms shows what a seat signs with its first message, before it does: the
// parameters and the purpose that the ledger proves, whatever a coordinator said.
func (a *app) showTerms(s *participant.Seat) {
	b, r := s.Board(), s.Record()
	if b.Phase() != assembly.PhaseJoin || slices.Contains(b.Joined(), s.Number()) {
		return
	}
	p, dealers := b.Params(), "everybody"
	if p.Dealers > 0 {
		dealers = fmt.Sprintf("%d of each of %s, drawn", p.Dealers, plural(int(p.Cohorts), "cohort"))
	}
	t := newTable(a.stderr)
	t.row("the ledger proves")
	t.row("  purpose", cmp.Or(printable(r.Purpose), "none"), exerciseWord(p.Exercise))
	t.row("  asked for by", printable(r.By))
	t.row("  shares", shares(int(p.T), int(p.N))+" sign")
	t.row("  dealers", dealers)
	t.w.Flush() //nolint:errcheck // what stderr does not take is lost
}

// checkClock compares this machine's clock with a block that may be so old.
func checkClock(now, block time.Time, age time.Duration) error {
	off := now.Sub(block)
	side := "ahead of"
	switch {
	case off < -maxSkew:
		side = "behind"
	case off <= maxSkew+age:
		return nil
	}
	return fail(exitFailed, "set the clock (timedatectl set-ntp true) and start again; if it is right, the node shows an old ledger: name another with --node",
		"the clock of this machine is %s %s the ledger's", off.Abs().Truncate(time.Second), side)
}

// joined is what came of taking part.
type joined struct {
	*assembly.Outcome
	Seat        int    `json:"seat"`
	Share       string `json:"share,omitempty"`       // file
	Certificate string `json:"certificate,omitempty"` // file
}

func (a *app) join(ctx context.Context, path string, nodes []string, o seatOptions) error {
	s, inv, done, err := a.takeSeat(ctx, path, o)
	if err != nil {
		return err
	}
	defer done()
	c, err := newCourier(inv, nodes)
	if err != nil {
		return err
	}
	j := &joining{app: a, seat: s, courier: c, options: o, progress: newProgress(a.stderr), told: map[string]string{}}
	for {
		ended, err := j.round(ctx)
		if err != nil {
			j.progress.abandon()
			return err
		}
		if ended {
			return a.leave(s, seatHome(path, o))
		}
		select {
		case <-time.After(j.pause()):
		case <-ctx.Done():
			return fail(exitInterrupted, "go on with the same command, on the same --home", "stopped before the ceremony ended")
		}
	}
}

// joining is a participant's stay in a ceremony.
type joining struct {
	*app
	seat     *participant.Seat
	courier  *courier
	options  seatOptions
	progress *progress
	failed   int               // nodes in a row that did not help
	present  bool              // a node has shown a block of the present
	clock    error             // what the clock has against the newest block
	told     map[string]string // what was last said about each node
	line     string
	said     time.Time // when the seat first had something to say
	clocked  bool      // the clock was compared with the block that holds it
}

// round asks one node what happened, and says what is due.
func (j *joining) round(ctx context.Context) (ended bool, err error) {
	b, err := j.courier.fetch(ctx, j.seat.Entries())
	if err == nil {
		j.courier.letters(ctx, b, j.seat.Missing())
		if err = j.seat.Take(b); errors.Is(err, participant.ErrStop) {
			return false, hinted(err, seatHint(err))
		}
	}
	if err == nil {
		if err := checkTerms(j.seat, j.courier.inv, j.options); err != nil {
			return false, err
		}
		if j.clock = checkClock(time.Now(), j.seat.Time(), oldest); j.clock != nil {
			err = errBehind
		}
	}
	if err != nil {
		return false, j.complain(ctx, err)
	}
	j.failed, j.present = 0, true
	if err := missed(j.seat); err != nil {
		return false, err
	}
	if j.line == "" {
		j.showTerms(j.seat)
	}
	reply, err := j.seat.Reply(ctx)
	if err != nil {
		return false, hinted(err, seatHint(err))
	}
	if err := j.answered(len(reply.Posts)); err != nil {
		return false, err
	}
	j.show(len(reply.Posts))
	err = j.courier.post(ctx, reply, []*stop{j.courier.node()})
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		j.note(j.courier.name(), err.Error())
	case err != nil:
		return false, j.complain(ctx, err)
	}
	j.courier.helped()
	return j.seat.Board().Phase() >= assembly.PhaseDone, nil
}

// missed says that a ceremony goes on without a seat.
func missed(s *participant.Seat) error {
	b := s.Board()
	if !s.Left() || b.Phase() == assembly.PhaseAborted {
		return nil
	}
	id := b.ID()
	return fail(exitFailed, "tell the coordinator; quorate ceremony watch "+hex.EncodeToString(id[:])+" shows how it goes on",
		"joining has ended, and seat %d had not joined: the ceremony goes on without it", s.Number())
}

// answered looks at the clock once more when the seat's first message is on
// the log. Nobody could know it before it was said: the block that holds it is
// newer.
func (j *joining) answered(says int) error {
	switch {
	case says > 0 && j.said.IsZero():
		j.said = time.Now()
	case says == 0 && !j.said.IsZero() && !j.clocked:
		j.clocked = true
		if err := checkClock(j.said, j.seat.Time(), 0); err != nil && j.seat.Time().Before(j.said) {
			return err
		}
	}
	return nil
}

// complain takes another node. Who never found one that shows the present is
// told; later on nodes may be away for a while, and the ledger may stand still.
func (j *joining) complain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if !errors.Is(err, participant.ErrOld) { // a node that is a block behind others
		j.note(j.courier.name(), fmt.Sprintf("%s: %v", j.courier.name(), err))
	}
	j.courier.failed()
	switch j.failed++; {
	case j.failed < len(j.courier.nodes) || j.present:
		return nil
	case j.clock != nil:
		return j.clock
	}
	return noNode(err)
}

var errBehind = errors.New("it shows no block of the present: it is behind, or the ledger stands still")

func (j *joining) note(node, text string) {
	if text != j.told[node] {
		j.told[node] = text
		j.progress.abandon()
		fmt.Fprintf(j.stderr, "note: %s\n", printable(text))
	}
}

// show says where the ceremony stands, as this seat has verified it.
func (j *joining) show(says int) {
	b := j.seat.Board()
	line := boardLine(b)
	if d := b.Deadline(); d > 0 && b.Phase() < assembly.PhaseDone {
		line += ", until " + localTime(time.UnixMilli(int64(d)), j.courier.inv.Location())
	}
	if missing := j.seat.Missing(); len(missing) > 0 {
		line += fmt.Sprintf("; waits for letters of %s", plural(len(missing), "dealer"))
	}
	if says > 0 {
		line += "; saying " + plural(says, "message")
	}
	if line != j.line {
		j.line = line
		fmt.Fprintln(j.stderr, line)
	}
}

func boardLine(b *assembly.Board) string {
	n := int(b.Params().N)
	out := fmt.Sprintf("%-8s joined %d of %d", b.Phase(), len(b.Joined()), n)
	if b.Phase() >= assembly.PhaseDeal {
		out += fmt.Sprintf(", dealers %d", len(b.Dealers()))
	}
	if b.Phase() >= assembly.PhaseVerify {
		out += fmt.Sprintf(", dealings that count %d", len(b.Qualified()))
	}
	if b.Phase() == assembly.PhaseDone {
		out += fmt.Sprintf(", shares confirmed %d", len(b.Holders()))
	}
	if f := len(b.Faults()); f > 0 {
		out += fmt.Sprintf(", faults %d", f)
	}
	return out
}

// pause is short where a deadline is near, so that thousands of seats do not
// ask all the time, and where there are nodes that were not asked yet.
func (j *joining) pause() time.Duration {
	if j.failed > 0 && j.failed < len(j.courier.nodes) {
		return pollLeast
	}
	b := j.seat.Board()
	if b == nil {
		return 2 * time.Second
	}
	return pollAfter(b.Deadline(), j.seat.Time())
}

// pollAfter is how long nothing happens, most likely.
func pollAfter(deadline uint64, now time.Time) time.Duration {
	if deadline == 0 {
		return pollLeast
	}
	return min(max(time.UnixMilli(int64(deadline)).Sub(now)/100, pollLeast), pollMost)
}

// leave says what the seat takes away, and keeps the certificate, which it
// makes itself.
func (a *app) leave(s *participant.Seat, home string) error {
	b := s.Board()
	out := joined{Outcome: b.Outcome("seat"), Seat: s.Number()}
	if s.HasShare() {
		out.Share = filepath.Join(home, "share")
	}
	if b.Phase() == assembly.PhaseDone {
		certificate, err := b.Certificate()
		if err != nil {
			return err
		}
		out.Certificate = filepath.Join(home, "certificate")
		if err := durable.WriteOSFile(out.Certificate, certificate.Encode(), 0o644); err != nil {
			return err
		}
	}
	if err := a.print(out, func(t *table) { showJoined(t, out) }); err != nil {
		return err
	}
	switch {
	case b.Phase() == assembly.PhaseAborted:
		return fail(exitFailed, "quorate ceremony show "+out.Ceremony+" says who was absent; the coordinator proposes another", "the ceremony was aborted")
	case !slices.Contains(b.Holders(), s.Number()):
		return fail(exitFailed, fmt.Sprintf("tell the coordinator: nobody can give this seat a share afterwards, and any %d of the others sign without it", out.Threshold), "the key is made, and this seat did not confirm a share of it")
	}
	return nil
}

func showJoined(t *table, j joined) {
	t.row("ceremony", j.Ceremony, exerciseWord(j.Exercise))
	t.row("seat", j.Seat)
	t.row("ended in phase", j.Phase)
	if j.PublicKey != "" {
		t.row("key", j.PublicKey)
		t.row("shares", fmt.Sprintf("%s, confirmed %d", shares(j.Threshold, j.Participants), j.Confirmed))
		t.row("safe to deposit to", depositWord(j.DepositSafe, j.Threshold, j.Participants))
	}
	if j.Share != "" {
		t.row("your share", j.Share, "sealed; keep it, and a copy")
	}
	if j.Certificate != "" {
		t.row("certificate", j.Certificate)
	}
	for _, f := range j.Faults {
		t.row("fault", fmt.Sprintf("seat %d: %s", f.Seat, f.Fault), blamedWord(f.Blamed))
	}
}

func blamedWord(blamed bool) string {
	if blamed {
		return "blamed"
	}
	return ""
}
