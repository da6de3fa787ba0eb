package ledger

import (
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/proof"
)

func (s *State) networkPath() proof.Path { return s.ns.Path("network") }

// network is what slots and epochs follow.
func (s *State) network() *eth.Network {
	return mustParse(eth.DecodeNetwork(s.Get(s.networkPath())))
}

// Incarnation returns the newest life of a node's custody process; its number
// is 0 before the first.
func (s *State) Incarnation(node string, domain action.Domain) action.Incarnation {
	raw := s.Get(s.ns.Incarnation(node, string(domain)))
	if raw == nil {
		return action.Incarnation{}
	}
	return mustParse(action.ParseIncarnation(raw))
}

// register begins a new incarnation and ends the one before for good: from
// now on nobody listens to it.
func (s *State) register(ctx txContext, tx VerifiedTx, b Registration) error {
	if err := s.ownCustody(tx, b.Domain); err != nil {
		return err
	}
	node := tx.env.Signer.Name
	old := s.Incarnation(node, b.Domain)
	if old.Number > 0 && old.ID == b.ID {
		return refuse(CodeConflict, "this incarnation is registered already")
	}
	next := action.Incarnation{Number: old.Number + 1, ID: b.ID, Previous: old.ID, Height: uint64(ctx.block.Height), Former: old.Former.Max(old.Ceiling),
		Before: old.Anchor, Anchor: s.anchored(ctx, b.Anchor), Handovers: old.Handovers}
	s.putIncarnation(node, b.Domain, next)
	object := fmt.Sprintf("custody/%s/%s", node, b.Domain)
	s.record(ctx, Event{Kind: EventIncarnation, Object: object,
		Detail: fmt.Sprintf("incarnation %d, the last went up to slot %d and epoch %d", next.Number, next.Former.Slot, next.Former.Target)})
	if next.RolledBack(b.Anchor.Anchor) {
		s.record(ctx, Event{Kind: EventIncident, Object: object,
			Detail: fmt.Sprintf("the slashing record was rolled back: %d entries, chain %x, after %d entries, chain %x, in epoch %d",
				b.Anchor.Sequence, b.Anchor.Chain, old.Anchor.Sequence, old.Anchor.Chain, old.Anchor.Epoch)})
	}
	return nil
}

// anchored is an anchor as of this block.
func (s *State) anchored(ctx txContext, a action.SignedAnchor) action.Anchored {
	n := s.network()
	slot, _ := n.SlotAt(time.UnixMilli(int64(ctx.block.Time))) // 0 before genesis
	return action.Anchored{Anchor: a.Anchor, Epoch: n.EpochOf(slot)}
}

// lease raises the ceiling of the present incarnation as far as the block's
// time allows, and keeps how far its record has come. What it asks for beyond
// that it does not get; neither ever goes down.
func (s *State) lease(ctx txContext, tx VerifiedTx, b Lease) error {
	if err := s.ownCustody(tx, b.Domain); err != nil {
		return err
	}
	node := tx.env.Signer.Name
	in := s.Incarnation(node, b.Domain)
	if in.Number == 0 || in.ID != b.ID {
		return refuse(CodeDenied, "the incarnation is not the present one of %s", node)
	}
	if b.Anchor.Behind(in.Anchor.Anchor) {
		return refuse(CodeConflict, "the slashing record was anchored at %d already", in.Anchor.Sequence)
	}
	most := action.CeilingAt(s.network(), time.UnixMilli(int64(ctx.block.Time)))
	most.Source = min(most.Source, b.Source)
	raised := in.Ceiling.Max(most)
	if raised == in.Ceiling {
		return nil
	}
	in.Ceiling, in.Anchor = raised, s.anchored(ctx, b.Anchor)
	s.putIncarnation(node, b.Domain, in)
	s.record(ctx, Event{Kind: EventUsage, Object: fmt.Sprintf("custody/%s/%s", node, b.Domain),
		Detail: fmt.Sprintf("epoch %d: sequence %d, chain %x, watermarks %x", in.Anchor.Epoch, in.Anchor.Sequence, in.Anchor.Chain, in.Anchor.Watermarks)})
	return nil
}

func (s *State) putIncarnation(node string, domain action.Domain, in action.Incarnation) {
	s.set(s.ns.Incarnation(node, string(domain)), in.Encode())
}

// ownCustody lets a node speak for its own custody processes only.
func (s *State) ownCustody(tx VerifiedTx, domain action.Domain) error {
	if tx.env.Signer.Class == action.SignerNode {
		if n, ok := s.Node(tx.env.Signer.Name); ok {
			for _, c := range n.Custody {
				if c.Domain == domain {
					return nil
				}
			}
		}
	}
	return refuse(CodeDenied, "%s has no %s custody", tx.env.Signer, domain)
}
