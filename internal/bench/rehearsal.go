package bench

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/secret"
)

// rehearsal is a ceremony without network, disk or consensus: the real board
// and the real participants, one after the other on one thread of work, so
// that the processor time of each step can be told apart.
type rehearsal struct {
	board  *dkg.Board
	seats  []*seat
	bodies map[[32]byte][]byte
	now    uint64 // block time, milliseconds
	settle time.Duration
}

// seat is a participant and what its steps took.
type seat struct {
	player *dkg.Participant
	deal   time.Duration // one dealing
	verify time.Duration // all dealings: the public checks and its own shares
	others time.Duration // join, confirm, publish, take the shares out
}

func (s *seat) total() time.Duration { return s.deal + s.verify + s.others }

// phaseTime is more than a rehearsal takes.
const phaseTime = 60_000

// rehearse runs a ceremony for BLS keys from beginning to end.
func rehearse(n, keys int) (*rehearsal, error) {
	th, err := action.DefaultThreshold(n)
	if err != nil {
		return nil, err
	}
	p := dkg.Params{
		Mode: dkg.ModeKeygen, Suite: dkg.SuiteG1, N: uint8(n), T: uint8(th.T()), Keys: uint32(keys),
		Deadlines: dkg.Deadlines{Join: phaseTime, Deal: phaseTime, Verify: phaseTime, Answer: phaseTime, Confirm: phaseTime, Publish: phaseTime},
	}
	rand.Read(p.Nonce[:])
	r := &rehearsal{bodies: map[[32]byte][]byte{}, now: 1}
	if r.board, _, err = dkg.NewBoard(p, r.now); err != nil {
		return nil, err
	}
	for i := range n {
		seed, err := secret.Random(rand.Reader, dkg.SeedSize)
		if err != nil {
			return nil, err
		}
		defer seed.Destroy()
		player, err := dkg.NewParticipant(p, i+1, seed)
		if err != nil {
			return nil, err
		}
		defer player.Destroy()
		r.seats = append(r.seats, &seat{player: player})
	}
	if err := r.run(); err != nil {
		return nil, fmt.Errorf("rehearse a ceremony of %d keys among %d: %w", keys, n, err)
	}
	return r, nil
}

func (r *rehearsal) run() error {
	for r.board.Phase() != dkg.PhaseDone {
		moved := false
		for i, s := range r.seats {
			messages, err := r.ask(s)
			if err != nil {
				return fmt.Errorf("seat %d: %w", i+1, err)
			}
			for _, m := range messages {
				if err := r.post(i+1, m); err != nil {
					return err
				}
				moved = true
			}
		}
		if !moved && r.board.Phase() != dkg.PhaseFreeze {
			return fmt.Errorf("nobody goes on in phase %s", r.board.Phase())
		}
		r.now += 1000
		r.board, _ = r.board.Tick(r.now, [32]byte{1})
	}
	for i, s := range r.seats {
		took, err := spend(func() error {
			shares, err := s.player.ExposeSecretShares(r.board, r.body)
			for _, share := range shares {
				share.Secret.Destroy()
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("seat %d: %w", i+1, err)
		}
		s.others += took
	}
	return nil
}

// ask lets a seat speak and books what that took.
func (r *rehearsal) ask(s *seat) (messages []dkg.Message, err error) {
	phase := r.board.Phase()
	took, err := spend(func() error {
		messages, err = s.player.Next(r.board, r.body)
		return err
	})
	switch phase {
	case dkg.PhaseDeal:
		s.deal += took
	case dkg.PhaseVerify:
		s.verify += took
	default:
		s.others += took
	}
	return messages, err
}

// post does what the ledger does with a message. A message that came too late
// because another seat's ended the phase is none of the costs.
func (r *rehearsal) post(from int, m dkg.Message) error {
	_, publishing := m.(*dkg.Chunk)
	publishing = publishing && r.board.Phase() == dkg.PhasePublish
	var next *dkg.Board
	var events []dkg.Event
	took, err := spend(func() (err error) {
		next, events, err = r.board.Apply(r.now, from, m)
		return err
	})
	if errors.Is(err, dkg.ErrPhase) || errors.Is(err, dkg.ErrDuplicate) {
		return nil
	}
	if err != nil {
		return err
	}
	if publishing {
		r.settle += took
	}
	for _, e := range events {
		if e.Kind == dkg.EventStore {
			r.bodies[e.Name] = m.Encode()
		}
	}
	r.board = next
	return nil
}

// body is the ledger's store.
func (r *rehearsal) body(name [32]byte) ([]byte, error) {
	if b, ok := r.bodies[name]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("no body is stored under %x", name[:8])
}
