package dkg

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// Dealer is a participant of an assembly that hands the assembly's key over to
// seats. Like a [Participant] it says, given the seed, the same again; what it
// says it signs with its identity key of the assembly.
type Dealer struct {
	params Params
	cid    [32]byte
	me     int
	coins  coins
	share  secret.Bytes
	path   []digest

	made struct { // last, for one roster
		roster  [32]byte
		dealing *Dealing
	}
}

// NewDealer makes the dealer that was participant me. The seed must be SeedSize
// uniform bytes that serve this ceremony alone, stored before the dealing
// leaves. The share is the caller's, 32 bytes; path leads from Y_me to the
// root of the assembly's result.
func NewDealer(p Params, me int, seed, share secret.Bytes, path []wire.Digest) (*Dealer, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if !p.FromAssembly() || me < 1 || me > int(p.Old.N) {
		return nil, fmt.Errorf("deal as participant %d: %w", me, errSeat)
	}
	q := &Dealer{params: p, cid: p.ID(), me: me, share: share, path: path}
	var err error
	q.coins, err = newCoins(seed, q.cid, me)
	return q, err
}

// Next returns what the dealer has to say, nothing if nobody waits for it: its
// dealing, then in hybrid mode what those ask for who complain.
func (q *Dealer) Next(b *Board, src Source) ([]Message, error) {
	switch {
	case b.cid != q.cid:
		return nil, ErrCeremony
	case b.phase == PhaseDeal && !b.dealt.Has(q.me):
		m, err := q.deal(b, src)
		if err != nil {
			return nil, err
		}
		return []Message{m}, nil
	}
	var out []Message
	for _, i := range b.Claims(q.me) {
		m, err := q.answer(b, src, i)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// Claims returns the seats to which a dealer has to open what it sent them.
func (b *Board) Claims(dealer int) (seats []int) {
	for _, c := range b.pending {
		if int(c.dealer) == dealer {
			seats = append(seats, int(c.from))
		}
	}
	return seats
}

// DealerBodies returns the names of what a [Dealer] reads.
func (b *Board) DealerBodies() (names [][32]byte) {
	if b.params.Hybrid {
		for i := range b.receivers().All() {
			names = append(names, b.at(i).join)
		}
	}
	return names
}

// deal makes the dealing for those who joined, once and for all.
func (q *Dealer) deal(b *Board, src Source) (*Dealing, error) {
	if b.phase == PhaseJoin { // the roster is not final: this would not be the only dealing
		return nil, fmt.Errorf("deal in phase %s: %w", b.phase, ErrPhase)
	}
	roster := b.roster()
	if q.made.dealing != nil && q.made.roster == roster {
		return q.made.dealing, nil
	}
	h, rho, masks, err := q.coins.open(b, src, q.me)
	if err != nil {
		return nil, err
	}
	leaf, prove, err := q.params.Suite.arithmetic().deal(&dealJob{
		params: &q.params, me: q.me, roster: roster, receivers: b.receivers(),
		coins: q.coins, masks: masks, constants: []secret.Bytes{q.share},
	})
	if err != nil {
		return nil, err
	}
	h.Root = wire.LeafHash(leaf)
	h.Knowledge = prove(h.Root)
	h.Rho = rho.Prove(wire.TagPoKRho, headerContext(q.cid, roster, q.me, h)...)
	m := &Dealing{CID: q.cid, Dealer: uint16(q.me), R: h.R, Rho: h.Rho, Knowledge: h.Knowledge, Encapsulations: h.Encapsulations, Path: q.path, Leaf: leaf}
	if err := m.fits(&q.params, q.cid, roster, b.receivers()); errors.Is(err, ErrConstant) {
		return nil, fmt.Errorf("deal as participant %d: %w", q.me, errNothingHeld)
	} else if err != nil {
		return nil, err
	}
	q.made.roster, q.made.dealing = roster, m
	return m, nil
}

// ErrDealtElsewhere means that what the board has of this participant was dealt
// from another seed. Answers from this one would be found to be false.
var ErrDealtElsewhere = errors.New("this participant dealt from another seed")

// answer opens the hybrid leg to a seat.
func (q *Dealer) answer(b *Board, src Source, recipient int) (*Answer, error) {
	m, err := q.deal(b, src)
	if err != nil {
		return nil, err
	}
	for _, c := range b.pending {
		if int(c.dealer) == q.me && int(c.from) == recipient && c.r != [kem.PointSize]byte(m.R.Bytes()) {
			return nil, fmt.Errorf("answer seat %d: %w", recipient, ErrDealtElsewhere)
		}
	}
	key, err := hybridKey(b, src, recipient)
	if err != nil {
		return nil, fmt.Errorf("answer seat %d: %w", recipient, err)
	}
	return q.coins.answer(b, recipient, key, m.header()), nil
}

// Destroy overwrites what the dealer knows, as far as Go lets it. Seed and
// share are the caller's.
func (q *Dealer) Destroy() {
	clear(q.coins.key()[:])
	*q = Dealer{}
}
