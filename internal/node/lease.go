package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

// leases serialises what is asked of the ledger for the node's own custody.
type leases struct {
	mu  sync.Mutex
	why atomic.Pointer[error] // of the last attempt's failure; nil where it succeeded
}

// keepLease registers each life of the node's own custody process on the
// ledger, keeps its ceiling ahead of the clock while it has keys, and has the
// others vouch for it after a restart.
func (n *Node) keepLease(ctx context.Context) error {
	const every = time.Second // it asks a socket
	timer := time.NewTimer(0)
	defer timer.Stop()
	var life [32]byte
	tries := 0
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		status, err := n.custody.Status(ctx)
		if err == nil && status.Incarnation != life {
			life, tries = status.Incarnation, 0
		}
		next := every
		switch {
		case err != nil || status.Ended:
			next = startPoll
		case !status.Registered || status.Keys > 0 && n.wanted(status) != status.Ceiling:
			if err := n.extendLease(ctx); err != nil && ctx.Err() == nil {
				n.log.Warn("extend the lease of custody", "left", n.LeaseLeft(status), "err", err)
			}
			next = startPoll
		case status.Fenced && tries < maxTestimonyTries:
			tries++
			if err := n.proveFreshness(ctx, status); err != nil && tries == maxTestimonyTries {
				n.log.Info("custody signs blocks and attestations again when its floor has passed", "slot", status.Floor.Slot, "epoch", status.Floor.Target, "reason", err)
			}
			next = startPoll
		}
		timer.Reset(next)
	}
}

// startPoll is how soon to look again while something has yet to happen.
const startPoll = 100 * time.Millisecond

// maxTestimonyTries is how often the others are asked: a peer that is just
// starting answers at the second or third time.
const maxTestimonyTries = 5

// wanted is the ceiling that custody should have now.
func (n *Node) wanted(s custody.Status) action.Ceiling {
	most := action.CeilingAt(n.network, n.now())
	// While the chain does not finalise, sources stand still. The floor after
	// a restart is the highest source of the lease, so it is kept as low as
	// what is being signed.
	if s.Source > 0 && s.Source+sourceLag < most.Source {
		most.Source = s.Source
	}
	return s.Ceiling.Max(most)
}

const sourceLag = 4 // epochs

// LeaseLeft is how long custody can sign if the ledger stays silent.
func (n *Node) LeaseLeft(s custody.Status) time.Duration {
	end := time.Unix(int64(n.network.GenesisTime), 0).Add(time.Duration(s.Ceiling.Slot+1) * n.network.SlotDuration)
	return max(0, time.Until(end).Round(time.Second))
}

// extendLease registers custody's incarnation if the ledger does not know it,
// raises its ceiling, and shows it what the ledger says.
func (n *Node) extendLease(ctx context.Context) (err error) {
	n.leases.mu.Lock()
	defer n.leases.mu.Unlock()
	defer func() {
		if err == nil {
			n.leases.why.Store(nil)
		} else if ctx.Err() == nil { // whoever asked still waits: it is the ledger
			n.leases.why.Store(&err)
		}
	}()
	return n.extend(ctx)
}

func (n *Node) extend(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	status, err := n.custody.Status(ctx)
	if err != nil {
		return err
	}
	want := n.wanted(status)
	if status.Registered && status.Ceiling == want {
		return nil
	}
	domain := action.DomainValidator
	view, err := n.View()
	if err != nil {
		return err
	}
	height, _ := n.Height()
	if view.Incarnation(n.cfg.Name, domain).ID != status.Incarnation {
		if status.Registered {
			return fmt.Errorf("another process registered as the custody of %s: this one is fenced for good", n.cfg.Name)
		}
		opened, err := n.custody.RecordAnchor(ctx)
		if err != nil {
			return fmt.Errorf("register custody: %w", err)
		}
		r, err := n.Submit(ctx, action.KindRegistration, ledger.Registration{Domain: domain, ID: status.Incarnation, Anchor: opened}.Encode())
		if err != nil {
			return fmt.Errorf("register custody: %w", err)
		}
		height = r.Height
	}
	// A block's time is that of the votes before it: on a ledger that was at
	// rest the first block grants less than the second.
	for range 2 {
		if status.Keys == 0 {
			break
		}
		anchor, err := n.custody.RecordAnchor(ctx)
		if err != nil {
			return fmt.Errorf("extend lease: %w", err)
		}
		r, err := n.Submit(ctx, action.KindLease, ledger.Lease{Domain: domain, ID: status.Incarnation, Source: want.Source, Anchor: anchor}.Encode())
		if err != nil {
			return fmt.Errorf("extend lease: %w", err)
		}
		height = r.Height
		if view, err = n.View(); err != nil {
			return err
		}
		if view.Incarnation(n.cfg.Name, domain).Ceiling.Covers(want) {
			break
		}
	}
	cert, err := n.certificate(ctx, height, n.namespace().Incarnation(n.cfg.Name, string(domain)))
	if err != nil {
		return err
	}
	return n.custody.Lease(ctx, cert.raw)
}

// proveFreshness asks the others what they remember of custody's last end. If
// enough do, custody signs at once what it would else wait with for two epochs.
func (n *Node) proveFreshness(ctx context.Context, status custody.Status) error {
	roster := action.NewRoster(n.genesis.Nodes, action.DomainValidator)
	own, _ := roster.Of(n.cfg.Name)
	var ask wire.Encoder
	ask.U16(own.Index)
	ask.Fixed(status.Incarnation[:])
	question := ask.Out()
	n.awaitPeers(ctx)
	var paths []proof.Path
	var testimonies [][]byte
	for _, seat := range roster {
		paths = append(paths, n.namespace().Incarnation(seat.Node, string(action.DomainValidator)))
		if seat.Node == n.cfg.Name {
			continue
		}
		if t, err := n.peers.Call(ctx, seat.Node, methodTestify, question); err == nil {
			testimonies = append(testimonies, t)
		}
	}
	if len(testimonies) == 0 {
		return errors.New("no other custody process remembers how this one ended")
	}
	cert, err := n.freshCertificate(ctx, 0, paths...)
	if err != nil {
		return err
	}
	return n.custody.Prove(ctx, cert.raw, testimonies)
}

// testify asks the own custody what it remembers of another's end. It says so
// once, hence only that other's own node may ask.
func (n *Node) testify(ctx context.Context, from string, body []byte) ([]byte, error) {
	seat, ok := action.NewRoster(n.genesis.Nodes, action.DomainValidator).Of(from)
	if asked := wire.NewDecoder(body).U16(); !ok || asked != seat.Index {
		return nil, rpc.Errorf(rpc.CodeNotGranted, "%s may not ask about seat %d", from, asked)
	}
	return n.custody.Relay(ctx, custody.MethodTestify, body)
}

// unreached names the nodes whose absence may be why the ledger stands still.
func (n *Node) unreached() string {
	var names []string
	for _, s := range n.peers.Status() {
		if !s.Connected {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (not connected: " + strings.Join(names, ", ") + ")"
}

// awaitPeers gives the connections to the others, which begin when the node
// does, a moment.
func (n *Node) awaitPeers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		up := 0
		for _, s := range n.peers.Status() {
			if s.Connected {
				up++
			}
		}
		if up == len(n.genesis.Nodes)-1 {
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
}

// closeCustody has custody say its last word and the others remember it, so
// that the next start needs no fence.
func (n *Node) closeCustody() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	closing, err := n.custody.Close(ctx)
	if err != nil {
		n.log.Debug("close custody", "err", err)
		return
	}
	var told sync.WaitGroup
	for _, r := range n.genesis.Nodes {
		if r.Name != n.cfg.Name {
			told.Go(func() {
				if _, err := n.peers.Call(ctx, r.Name, methodWitness, closing); err != nil {
					n.log.Debug("tell of custody's end", "peer", r.Name, "err", err)
				}
			})
		}
	}
	told.Wait()
}

const closeWait = time.Second

// leaseWait bounds one attempt; a duty that waits for it is late soon after.
const leaseWait = 3 * time.Second

// Incarnation returns the newest life of a node's custody that the ledger
// knows.
func (n signerLedger) Incarnation(node string) [32]byte {
	raw := n.store.State().Get([]byte(n.namespace().Incarnation(node, string(action.DomainValidator))))
	if raw == nil {
		return [32]byte{}
	}
	in, err := action.ParseIncarnation(raw)
	if err != nil {
		return [32]byte{}
	}
	return in.ID
}

// ExtendLease raises the ceiling of the node's own custody where it can be
// raised; it fails where that changes nothing. While the ledger stands still
// it says so at once: keepLease goes on trying, and who waits for it here would
// only be told nothing in time.
func (n signerLedger) ExtendLease(ctx context.Context) error {
	if why := n.leases.why.Load(); why != nil {
		return fmt.Errorf("%w%s", *why, n.unreached())
	}
	before, err := n.custody.Status(ctx)
	if err != nil {
		return err
	}
	if err := n.extendLease(ctx); err != nil {
		return fmt.Errorf("%w%s", err, n.unreached())
	}
	after, err := n.custody.Status(ctx)
	if err == nil && after.Ceiling == before.Ceiling && after.Registered == before.Registered {
		err = rpc.Errorf(rpc.CodeFenced, "the lease is as long as it can be")
	}
	return err
}
