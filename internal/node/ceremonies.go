package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
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
)

// driveCeremonies carries every open ceremony forward: it shows custody what
// the ledger proves and posts what custody answers. It keeps no state of its
// own, so that a restart at any moment goes on where the ledger stands; what
// is posted twice the ledger refuses.
func (n *Node) driveCeremonies(ctx context.Context) error {
	shown := map[[32]byte][32]byte{} // ceremony -> hash of the board that custody has seen
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for {
		_, moved := n.app.wait()
		for _, id := range n.unfinished(ctx) {
			if err := n.drive(ctx, id, shown); err != nil && ctx.Err() == nil {
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

// unfinished returns the ceremonies that wait for somebody, and those that
// the ledger has closed but custody has not.
func (n *Node) unfinished(ctx context.Context) [][32]byte {
	view, err := n.View()
	if err != nil {
		return nil
	}
	ids := view.OpenCeremonies()
	status, err := n.custody.Status(ctx)
	if err != nil {
		return ids // custody is down: whatever is open waits for it
	}
	for _, id := range status.Pending {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// drive shows custody where a ceremony stands and posts what it answers.
func (n *Node) drive(ctx context.Context, id [32]byte, shown map[[32]byte][32]byte) error {
	view, err := n.View()
	if err != nil {
		return err
	}
	board, about := view.Ceremony(id)
	if board == nil {
		return nil
	}
	height, _ := n.Height() // after the board was read: what is proven is at least as new
	stand := sha256.Sum256(board.Encode())
	if shown[id] == stand {
		return nil
	}
	var granted proof.Path
	if board.Phase() == dkg.PhaseJoin {
		granted = n.namespace().Grant(id[:])
	}
	evidence, err := n.evidence(ctx, view, height, granted, n.namespace().Ceremony(id[:]))
	if err != nil {
		return err
	}
	step, err := n.stepCustody(ctx, id, evidence, about.Keys)
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
	shown[id] = stand
	return nil
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
