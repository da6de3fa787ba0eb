package ledger

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/proof"
)

// This file keeps the holders of a key before a reshare and those after it
// from signing past each other.

// resharedPath is where the last reshare of a key is named.
func (s *State) resharedPath(key []byte) proof.Path { return s.ns.Path("reshared", proof.Hex(key)) }

// handOver says what old and new holders have to know of each other. Who held
// a share takes no further ceiling before it has given that up; who did not
// signs above all that the others could have signed. So do all, if a quorum
// before and one after need not meet in a holder that is honest and remembers.
func (s *State) handOver(ctx txContext, p dkg.Params, id [32]byte, before dkg.Seats, keys [][]byte) {
	roster, members := s.Roster(action.DomainValidator), p.Members()
	h := action.Handover{Held: uint32(before), Floored: uint32(members.Without(p.Old.Dealers)), Left: uint32(before.Without(members))}
	faults := max(1, (before.Len()-1)/3, (members.Len()-1)/3)
	if int(p.Old.T)+int(p.T)-(before|members).Len() <= faults {
		h.Floored = uint32(members)
	}
	for _, k := range keys {
		if last := s.Get(s.resharedPath(k)); last != nil {
			former, _ := s.Handover([32]byte(last))
			h.Past = h.Past.Max(former.Floor)
		}
		s.set(s.resharedPath(k), id[:])
	}
	former := h.Past
	for i := range before.All() {
		node := roster[i-1].Node
		in := s.Incarnation(node, action.DomainValidator)
		former = former.Max(in.Former).Max(in.Ceiling)
		in.Handovers++
		s.putIncarnation(node, action.DomainValidator, in)
	}
	h.Floor = action.FloorAfter(s.network(), former, time.UnixMilli(int64(ctx.block.Time)))
	s.set(s.ns.Handover(id[:]), h.Encode())
}

// Handover returns what the commit of a reshare said, and which seats have
// said since where they stopped.
func (s *State) Handover(id [32]byte) (h action.Handover, stopped dkg.Seats) {
	raw := s.Get(s.ns.Handover(id[:]))
	if raw == nil {
		return action.Handover{}, 0
	}
	h = mustParse(action.ParseHandover(raw))
	for i := range dkg.Seats(h.Held).All() {
		if s.Get(s.ns.Stop(id[:], i)) != nil {
			stopped = stopped.With(i)
		}
	}
	return h, stopped
}

// HandedOver returns the reshares that replaced shares of a seat.
func (s *State) HandedOver(seat int) (ids [][32]byte) {
	s.iterate(s.ns.Prefix("handover"), func(path, v []byte) bool {
		if h := mustParse(action.ParseHandover(v)); h.Held>>seat&1 == 1 {
			id, err := hex.DecodeString(string(path[len(s.ns.Prefix("handover")):]))
			ids = append(ids, [32]byte(mustParse(id, err)))
		}
		return true
	})
	return ids
}

func (s *State) verifyStop(tx *Tx, b Stopped, seen *Seen) error {
	seat, ok := s.Roster(b.Domain).Of(tx.env.Signer.Name)
	if !ok || !seen.check(tx.hash, carried, b.Stop.Incarnation[:], func() bool { return b.Stop.Verify(s.cluster, b.Domain, b.Ceremony, seat.Index) }) {
		return refuse(CodeSigner, "incarnation %x did not say where it stopped", b.Stop.Incarnation[:8])
	}
	return nil
}

// stopped keeps an old holder's word on how far it went, once and for all:
// that of its present incarnation, which has given up the shares and knows of
// every ceiling before. The marks lie beside the state, under their name.
func (s *State) stopped(ctx txContext, tx VerifiedTx, b Stopped) error {
	if err := s.ownCustody(tx, b.Domain); err != nil {
		return err
	}
	node := tx.env.Signer.Name
	seat, _ := s.Roster(b.Domain).Of(node)
	h, stopped := s.Handover(b.Ceremony)
	marks, err := action.ParseMarks(b.Marks)
	switch {
	case h.Held>>seat.Index&1 == 0:
		return refuse(CodeNotFound, "no reshare %x replaced a share of seat %d", b.Ceremony[:8], seat.Index)
	case stopped.Has(int(seat.Index)):
		return refuse(CodeConflict, "seat %d has said where it stopped", seat.Index)
	case s.Incarnation(node, b.Domain).ID != b.Stop.Incarnation:
		return refuse(CodeDenied, "the incarnation is not the present one of %s", node)
	case err != nil:
		return refuse(CodeMalformed, "%w", err)
	case action.HashMarks(b.Marks) != b.Stop.Marks || len(marks) != int(s.board(b.Ceremony).Params().Keys):
		return refuse(CodeMalformed, "%d marks, and not those that were signed", len(marks))
	}
	s.setBody(BlobPath(b.Stop.Marks), b.Marks)
	s.set(s.ns.Stop(b.Ceremony[:], int(seat.Index)), b.Stop.Encode())
	need := h.StopsNeeded(int(s.board(b.Ceremony).Params().Old.T))
	s.record(ctx, Event{Kind: EventStopped, Object: ceremonyName(b.Ceremony),
		Detail: fmt.Sprintf("seat %d, marks %x, %d of %d", seat.Index, b.Stop.Marks, stopped.Len()+1, need)})
	return nil
}
