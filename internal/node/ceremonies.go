package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/signer"
	"github.com/quorate/quorate/internal/slashing"
)

// driveCeremonies carries every open ceremony forward: it shows custody what
// the ledger proves and posts what custody answers. It keeps no state of its
// own, so that a restart at any moment goes on where the ledger stands; what
// is posted twice the ledger refuses.
func (n *Node) driveCeremonies(ctx context.Context) error {
	d := driver{Node: n, shown: map[[32]byte][32]byte{}, wake: map[[32]byte]bool{}}
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	busy := false
	for {
		_, moved := n.app.wait()
		open := d.unfinished(ctx)
		if busy && len(open) == 0 {
			debug.FreeOSMemory() // a large ceremony leaves much behind
		}
		busy = len(open) > 0
		for _, id := range open {
			if err := d.drive(ctx, id); err != nil && ctx.Err() == nil {
				n.log.Warn("carry ceremony forward", "ceremony", fmt.Sprintf("%x", id[:8]), "err", err)
			}
		}
		n.passTime(ctx)
		select {
		case <-moved:
		case <-retry.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// driver remembers what custody has been shown, so that it is not shown again.
type driver struct {
	*Node
	shown map[[32]byte][32]byte // ceremony -> hash of the board that custody has seen
	wake  map[[32]byte]bool     // renewals that are done, of which custody keeps old shares
	life  [32]byte              // of custody, that has seen it
}

// unfinished returns the ceremonies that wait for somebody, and those that
// the ledger has closed but custody has not.
func (n *driver) unfinished(ctx context.Context) [][32]byte {
	view, err := n.View()
	if err != nil {
		return nil
	}
	ids := view.OpenCeremonies()
	status, err := n.custody.Status(ctx)
	if err != nil {
		return ids // custody is down: whatever is open waits for it
	}
	if status.Incarnation != n.life {
		// It may have missed what became of its shares.
		n.life = status.Incarnation
		clear(n.shown)
		for _, id := range view.Renewals() {
			n.wake[id] = true
		}
	}
	if seat, ok := n.seat(); ok && view.Incarnation(n.cfg.Name, action.DomainValidator).Handovers > status.Handovers {
		for _, id := range view.HandedOver(seat) {
			n.wake[id] = true
		}
	}
	ids = append(ids, status.Pending...)
	ids = slices.AppendSeq(ids, maps.Keys(n.wake))
	slices.SortFunc(ids, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// seat is where the node's own custody sits.
func (n *Node) seat() (int, bool) {
	seat, ok := action.NewRoster(n.genesis.Nodes, action.DomainValidator).Of(n.cfg.Name)
	return int(seat.Index), ok
}

// drive shows custody where a ceremony stands and posts what it answers.
func (n *driver) drive(ctx context.Context, id [32]byte) error {
	view, err := n.View()
	if err != nil {
		return err
	}
	board, about := view.Ceremony(id)
	if board == nil {
		return nil
	}
	params := board.Params()
	height, _ := n.Height() // after the board was read: what is proven is at least as new
	handover, stopped := view.Handover(id)
	owes, unsettled := n.unsettled(handover, stopped)
	stand := sha256.Sum256(binary.BigEndian.AppendUint32(board.Encode(), uint32(stopped)))
	if n.shown[id] == stand {
		n.rest(id, board, unsettled)
		return nil
	}
	paths := []proof.Path{n.namespace().Ceremony(id[:])}
	var imports [][]byte
	switch {
	case params.Mode == dkg.ModeImport:
		imports = about.Keys
	case params.Mode == dkg.ModeReshare && board.Phase() == dkg.PhaseConfirm:
		n.bringHistory(ctx, params, about.Keys)
	case params.Mode == dkg.ModeReshare && board.Phase() == dkg.PhaseDone:
		paths = append(paths, n.namespace().Handover(id[:]))
		for i := range stopped.All() {
			paths = append(paths, n.namespace().Stop(id[:], i))
		}
	}
	var granted proof.Path
	if board.Phase() == dkg.PhaseJoin {
		granted = n.namespace().Grant(id[:])
	}
	evidence, err := n.evidence(ctx, view, height, granted, paths...)
	if err != nil {
		return err
	}
	step, err := n.stepCustody(ctx, id, evidence, imports)
	if rpc.CodeOf(err) == rpc.CodeNotGranted {
		n.forgetAnchor() // custody was restarted, or the anchor grew old on the way
	}
	if err != nil {
		return err
	}
	if board.Phase() == dkg.PhasePublish && len(step.Posts) > 0 && !n.turnToPublish(ctx, id) {
		return nil
	}
	if err := n.post(ctx, id, step.Posts); err != nil {
		return err
	}
	if step.Stop != nil {
		if err := n.postStop(ctx, id, *step.Stop); err != nil {
			return err
		}
	}
	// Custody lets a key sign that comes back, by an import or to a holder that
	// had left. Archived meanwhile, it must not.
	n.stops.add(step.Active...)
	if !owes || step.Stop != nil { // else it may be able to say it soon
		n.shown[id] = stand
	}
	n.rest(id, board, unsettled)
	return nil
}

// rest says whether a ceremony wants to be looked at again.
func (n *driver) rest(id [32]byte, board *dkg.Board, unsettled bool) {
	switch phase := board.Phase(); {
	case !board.Params().Mode.Renews() || phase < dkg.PhaseDone:
	case phase == dkg.PhaseDone && (unsettled || !board.DepositSafe()):
		n.wake[id] = true // its old shares go when more holders have confirmed
	default:
		delete(n.wake, id)
	}
}

// unsettled reports whether the own custody owes its word on where it stopped,
// or may yet hear where others did. Once the floor has passed, nobody asks.
func (n *Node) unsettled(h action.Handover, stopped dkg.Seats) (owes, unsettled bool) {
	seat, ok := n.seat()
	slot, _ := n.network.SlotAt(n.now())
	if !ok || slot > h.Floor.Slot {
		return false, false
	}
	held := dkg.Seats(h.Held)
	owes = held.Has(seat) && !stopped.Has(seat)
	return owes, owes || dkg.Seats(h.Floored).Has(seat) && stopped != held
}

// postStop puts on the ledger where the own custody stopped.
func (n *Node) postStop(ctx context.Context, id [32]byte, w custody.LastWord) error {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	body := ledger.Stopped{Domain: action.DomainValidator, Ceremony: id, Stop: w.Stop, Marks: w.Marks}.Encode()
	_, err := n.Submit(ctx, action.KindStop, body)
	var refused *ledger.Error
	if errors.As(err, &refused) && refused.Code == ledger.CodeConflict {
		return nil // it stands there already
	}
	return err
}

// bringHistory takes what the holders of keys know of their past to the own
// custody, where that is about to become a holder. What keeps it from signing
// against them is the floor of the hand-over; this is their record, and it
// travels with the key.
func (n *Node) bringHistory(ctx context.Context, p dkg.Params, keys [][]byte) {
	seat, ok := n.seat()
	if !ok || p.Use != action.UseDuties || p.FromAssembly() || !p.Members().Has(seat) || p.Old.Dealers.Has(seat) {
		return // of an assembly's key nobody has one
	}
	var names []signer.Key
	for _, k := range keys {
		names = append(names, signer.Key(k))
	}
	for batch := range slices.Chunk(names, custody.MaxHistoryKeys) {
		if err := n.bringBatch(ctx, batch); err != nil {
			n.log.Warn("bring the history of keys to their new holder", "keys", len(batch), "err", err)
		}
	}
}

func (n *Node) bringBatch(ctx context.Context, keys []signer.Key) error {
	answers, failed := n.askAll(ctx, methodHistory, custody.EncodeKeys(keys))
	told, bad := n.histories(answers)
	if len(told) == 0 {
		return errors.Join(errors.New("nobody told any"), failed, bad)
	}
	ic, err := slashing.MergeMax(slices.Collect(maps.Values(told))...)
	if err != nil {
		return err
	}
	ic.Keys = slices.DeleteFunc(ic.Keys, func(h slashing.KeyHistory) bool { return !slices.Contains(keys, h.Key) })
	if len(ic.Keys) == 0 {
		return nil // it has signed nothing that counts
	}
	raw, err := ic.Encode()
	if err != nil {
		return err
	}
	if err := (signerLedger{n}).Grant(ctx, custody.HistoryAction(raw, len(ic.Keys))); err != nil {
		return err
	}
	return n.takeHistory(ctx, raw)
}

// stepCustody hands custody the bodies it asks for until it has an answer.
func (n *Node) stepCustody(ctx context.Context, id [32]byte, ev custody.Evidence, imports [][]byte) (custody.StepResult, error) {
	for {
		step, err := n.custody.Ceremony(ctx, id, ev, imports)
		if err != nil || len(step.Need) == 0 {
			return step, err
		}
		view, err := n.View()
		if err != nil {
			return step, err
		}
		for _, name := range step.Need {
			body := view.Blob(name)
			if body == nil {
				return step, fmt.Errorf("body %x is not stored here", name[:8])
			}
			if err := n.custody.Blob(ctx, id, name, body); err != nil {
				return step, err
			}
		}
	}
}

// post submits messages of custody, all at once: the ledger takes them in any
// order. One that it has already, or that comes too late, is no error.
func (n *Node) post(ctx context.Context, id [32]byte, posts []custody.Post) error {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, p := range posts {
		g.Go(func() error {
			body := ledger.CeremonyMessage{Ceremony: id, Seat: p.Seat, Message: p.Message, Signature: p.Signature}.Encode()
			_, err := n.Submit(ctx, action.KindCeremonyMessage, body)
			var refused *ledger.Error
			if errors.As(err, &refused) && refused.Code == ledger.CodePhase {
				return nil
			}
			return err
		})
	}
	return g.Wait()
}

const postTimeout = 30 * time.Second

// turnToPublish spreads the seats over time, because one of them publishing
// the result is enough: each waits for those before it.
func (n *Node) turnToPublish(ctx context.Context, id [32]byte) bool {
	seat, ok := action.NewRoster(n.genesis.Nodes, action.DomainValidator).Of(n.cfg.Name)
	if !ok {
		return false
	}
	timer := time.NewTimer(time.Duration(seat.Index-1) * publishTurn)
	defer timer.Stop()
	for {
		_, moved := n.app.wait()
		view, err := n.View()
		if err != nil {
			return false
		}
		if board, _ := view.Ceremony(id); board == nil || board.Phase() != dkg.PhasePublish {
			return false
		}
		select {
		case <-timer.C:
			return true
		case <-moved:
		case <-ctx.Done():
			return false
		}
	}
}

const publishTurn = time.Second

// passTime makes a block when something is due that an idle ledger would not
// notice.
func (n *Node) passTime(ctx context.Context) {
	view, err := n.View()
	if err != nil {
		return
	}
	_, blockTime := n.Height()
	passed := func(at uint64) bool {
		due := time.UnixMilli(int64(min(at, math.MaxInt64)))
		return n.now().After(due) && !blockTime.After(due)
	}
	at, waits, due := view.NextDue() // what waits for a height waits for a block
	due = due || waits && passed(at)
	for _, id := range view.OpenCeremonies() {
		board, _ := view.Ceremony(id)
		due = due || board.Deadline() != 0 && passed(board.Deadline())
	}
	for _, id := range view.OpenAssemblies() {
		r, _ := view.Assembly(id)
		due = due || r.Deadline != 0 && passed(r.Deadline)
	}
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := n.Submit(ctx, action.KindTick, nil); err != nil {
		n.log.Debug("let time pass", "err", err)
	}
}

// reportEvery is how often usage is anchored while there is any.
const reportEvery = 30 * time.Second

// reportUsage anchors what custody signed, in batches, so that the ledger
// shows which keys are used without a transaction for each signature.
func (n *Node) reportUsage(ctx context.Context) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	var reported custody.Usage
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		u, err := n.custody.Usage(ctx, reported.Sequence)
		if err != nil || u.Sequence == reported.Sequence && u.Incarnation == reported.Incarnation {
			continue
		}
		// What the ledger does not know, or what is too much for one report,
		// costs the last use of those keys and nothing else.
		u.Keys = slices.DeleteFunc(u.Keys, func(k []byte) bool {
			return len(k) != bls.PublicKeySize || !n.signer.Knows(signer.Key(k))
		})
		u.Keys = u.Keys[:min(len(u.Keys), ledger.MaxUsageKeys)]
		report := ledger.UsageReport{Domain: action.DomainValidator, Incarnation: u.Incarnation, Sequence: u.Sequence, Chain: u.Chain, Keys: u.Keys}
		submit, cancel := context.WithTimeout(ctx, reportEvery)
		_, err = n.Submit(submit, action.KindUsage, report.Encode())
		cancel()
		if err != nil {
			n.log.Warn("report usage", "err", err)
			continue
		}
		reported = u
	}
}
