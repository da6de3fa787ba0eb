package ledger

import (
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// This file takes a key over from the participants of an assembly: a reshare
// among nodes in which they deal, and nobody else (decision 0017).

// Assembled says of a key which participants made it, and what they held.
type Assembled struct {
	Ceremony [32]byte // of theirs
	Result   [32]byte // root over what verifies their partials
	N, T     uint16
}

func (a Assembled) encode() []byte {
	var e wire.Encoder
	e.U8(1)
	e.Fixed(a.Ceremony[:])
	e.Fixed(a.Result[:])
	e.U16(a.N)
	e.U16(a.T)
	return e.Out()
}

func parseAssembled(b []byte) (a Assembled, err error) {
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != 1 {
		d.Fail(fmt.Errorf("version %d", v))
	}
	d.Fixed(a.Ceremony[:])
	d.Fixed(a.Result[:])
	a.N, a.T = d.U16(), d.U16()
	return a, d.Finish()
}

func (s *State) assembledPath(key []byte) proof.Path { return s.ns.Path("assembled", proof.Hex(key)) }

// Assembled returns which participants made a key; false where none did.
func (s *State) Assembled(key []byte) (Assembled, bool) {
	raw := s.Get(s.assembledPath(key))
	if raw == nil {
		return Assembled{}, false
	}
	return mustParse(parseAssembled(raw)), true
}

// AnswerTime is how long participants have to answer that have so long to deal,
// in milliseconds: a day at most. Whoever has dealt has come, and was told to
// stay; one that is accused and silent is what everybody waits for.
func AnswerTime(deal uint32) uint32 { return min(deal, maxPhase) }

// planHandover turns a request for a key that participants hold into the
// ceremony that takes it over.
func (s *State) planHandover(r Renewal, p dkg.Params) (CeremonyOpen, error) {
	if len(r.Keys) != 1 || r.Lost != 0 {
		return CeremonyOpen{}, refuse(CodeMalformed, "participants hand over the one key that they made")
	}
	key, err := s.Key(action.DomainValidator, r.Keys[0])
	if err != nil {
		return CeremonyOpen{}, err
	}
	from, ok := s.Assembled(key.PublicKey)
	if !ok || key.State != action.KeyHeld {
		return CeremonyOpen{}, notHeld(key)
	}
	if r.Holders != 0 {
		p.Without = dkg.AllSeats(int(p.N)).Without(r.Holders)
	}
	if p.T, err = thresholdFor(r.Threshold, p.Members()); err != nil {
		return CeremonyOpen{}, err
	}
	p.Mode, p.Keys, p.Use, p.Epoch, p.Expected = dkg.ModeReshare, 1, key.Use, key.Epoch+1, from.Result
	p.Old = dkg.Old{T: from.T, N: from.N, Assembly: from.Ceremony, Epoch: key.Epoch}
	if err := p.Check(); err != nil {
		return CeremonyOpen{}, refuse(CodeMalformed, "%w", err)
	}
	return CeremonyOpen{Params: p, Purpose: r.Purpose, Keys: [][]byte{key.PublicKey}}, nil
}

func notHeld(key *action.KeyRecord) error {
	return refuse(CodeConflict, "key 0x%x is %s: participants hand over a key while they hold it", key.PublicKey, key.State)
}

// checkHandover wants a key that participants hold, and parameters that name
// them and their points.
func (s *State) checkHandover(p dkg.Params, keys [][]byte) error {
	key, err := s.Key(action.DomainValidator, keys[0])
	if err != nil {
		return err
	}
	from, ok := s.Assembled(key.PublicKey)
	switch {
	case !ok || key.State != action.KeyHeld:
		return notHeld(key)
	case p.Old.Assembly != from.Ceremony || p.Old.N != from.N || p.Old.T != from.T || p.Old.Epoch != key.Epoch || p.Expected != from.Result || p.Use != key.Use:
		return refuse(CodeConflict, "the key is held by other participants than the parameters say, or otherwise")
	}
	return nil
}

// takeOver commits the first epoch of a key that nodes hold. No one signed a
// duty with it before, so that nothing is above a floor and nobody stops.
func (s *State) takeOver(ctx txContext, p dkg.Params, id [32]byte, public []byte) error {
	key, err := s.Key(action.DomainValidator, public)
	if err != nil {
		return err
	}
	if key.State == action.KeyHeld { // else it was archived meanwhile
		key.State = action.KeyActive
		s.putKey(key)
	}
	s.set(s.ns.Handover(id[:]), action.Handover{}.Encode())
	s.record(ctx, Event{Kind: EventKeyRenewed, Object: ceremonyName(id),
		Detail: fmt.Sprintf("1 key, taken over by nodes in epoch %d, %d of %s; its participants' old shares, %d of %d, sign until enough are destroyed", p.Epoch, p.T, p.Members(), p.Old.T, p.Old.N)})
	return nil
}

// dealerMessage takes what a participant of an assembly says in the ceremony
// that takes its key over.
func (s *State) dealerMessage(ctx txContext, tx VerifiedTx, b DealerMessage) error {
	if tx.env.Signer.Class != action.SignerNode {
		return refuse(CodeDenied, "only a node carries what a participant says")
	}
	next, events, err := s.heard(ctx.block.Time, b)
	if err != nil {
		return err
	}
	// Who says it, not who carries it.
	ctx.who = principal{name: fmt.Sprintf("participant/%x/seat%d", next.Params().Old.Assembly, b.Seat)}
	return s.advance(ctx, next, events, b.Message)
}

// heard is a ceremony's board after a participant's message.
func (s *State) heard(now uint64, b DealerMessage) (*dkg.Board, []dkg.Event, error) {
	board, err := s.takeover(b.Ceremony)
	if err != nil {
		return nil, nil, err
	}
	msg, err := dkg.ParseMessage(b.Message)
	if err != nil {
		return nil, nil, refuse(CodeMalformed, "%w", err)
	}
	next, events, err := board.ApplyDealer(now, int(b.Seat), msg)
	if err != nil {
		return nil, nil, refuse(CodePhase, "%w", err)
	}
	return next, events, nil
}

// takeover returns the board of a ceremony in which participants deal.
func (s *State) takeover(id [32]byte) (*dkg.Board, error) {
	board := s.board(id)
	if board == nil {
		return nil, refuse(CodeNotFound, "ceremony %x is not on the ledger", id)
	}
	if p := board.Params(); !p.FromAssembly() {
		return nil, refuse(CodePhase, "in ceremony %x no participants deal", id)
	}
	return board, nil
}

// verifyDealer checks that the participant of the assembly signed it for this
// ceremony.
func (s *State) verifyDealer(tx *Tx, b DealerMessage, seen *Seen) error {
	board, err := s.takeover(b.Ceremony)
	if err != nil {
		return err
	}
	return s.verifyParticipant(tx, board.Params().Old.Assembly, b.Seat, seen, func(p *action.Participant) bool {
		return p.Key.Verify(b.Signature, wire.TagDealerMessage, action.CeremonyParts(b.Ceremony, b.Seat, b.Message)...) == nil
	})
}

// TakesDealing says why the ledger would refuse what a participant says, as it
// stands now.
func (s *State) TakesDealing(b DealerMessage) error {
	if err := s.verifyDealer(&Tx{}, b, nil); err != nil {
		return err
	}
	_, _, err := s.heard(0, b)
	return err
}
