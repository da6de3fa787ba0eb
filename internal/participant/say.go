package participant

import (
	"slices"
	"time"

	"github.com/quorate/quorate/internal/dkg/assembly"
)

// said is what a seat says in one phase. It is computed once, for a dealing
// or a replay takes seconds.
type said struct {
	phase    assembly.Phase
	deadline uint64 // tells the rounds of a phase apart
	messages [][]byte
	mail     []byte
}

// due returns what the seat has to say as the board stands.
func (s *Seat) due() ([][]byte, []byte, error) {
	b := s.Board()
	if s.said.messages != nil && s.said.phase == b.Phase() && s.said.deadline == b.Deadline() {
		return s.said.messages, s.said.mail, nil
	}
	messages, err := s.say(b)
	if err != nil || messages == nil {
		return nil, nil, err
	}
	next := said{phase: b.Phase(), deadline: b.Deadline()}
	for _, m := range messages {
		next.messages = append(next.messages, m.Encode())
	}
	if b.Params().Hybrid && b.Phase() == assembly.PhaseDeal {
		for _, i := range b.Joined() {
			next.mail = append(next.mail, s.self.Letter(i).Ciphertext...)
		}
	}
	s.said = next
	return next.messages, next.mail, nil
}

func (s *Seat) say(b *assembly.Board) ([]assembly.Message, error) {
	switch b.Phase() {
	case assembly.PhaseJoin:
		return []assembly.Message{s.self.Join()}, nil
	case assembly.PhaseDeal:
		if slices.Contains(b.Dealers(), s.me) {
			return s.self.Deal(b)
		}
	case assembly.PhaseVerify:
		if b.MayReport(s.me) && !s.waitsForLetters(b) {
			return s.report(b)
		}
	case assembly.PhaseAnswer:
		return s.answer(b)
	case assembly.PhaseReplay:
		if b.Cohort(s.me) > 0 {
			return s.vote(b)
		}
	case assembly.PhasePublish:
		if s.publishes(b) {
			return s.publish(b)
		}
	case assembly.PhaseConfirm:
		if b.Cohort(s.me) > 0 {
			return s.confirm(b)
		}
	}
	return nil, nil
}

// waitsForLetters holds a report back while letters may still come: for half
// of the time that there is.
func (s *Seat) waitsForLetters(b *assembly.Board) bool {
	half := time.Duration(b.Params().Deadlines.Verify) * time.Millisecond / 2
	return len(s.Missing()) > 0 && s.light.now.Before(time.UnixMilli(int64(b.Deadline())).Add(-half))
}

func (s *Seat) report(b *assembly.Board) ([]assembly.Message, error) {
	// In a second round a participant that was made anew lacks what it took
	// in the first; in the first this does nothing that Report does not.
	if err := s.self.Restore(b, s.letter); err != nil {
		return nil, err
	}
	m, err := s.self.Report(b, b.Inspect(b.Cohort(s.me)), s.letter)
	return []assembly.Message{m}, err
}

func (s *Seat) answer(b *assembly.Board) ([]assembly.Message, error) {
	if open, post := b.Claims(s.me); len(open)+len(post) == 0 {
		return nil, nil
	}
	if _, err := s.self.Deal(b); err != nil { // makes the letters again
		return nil, err
	}
	return s.self.Answer(b), nil
}

func (s *Seat) vote(b *assembly.Board) ([]assembly.Message, error) {
	found, err := s.follower.Finding()
	if err != nil {
		return nil, err
	}
	return []assembly.Message{s.self.Vote(b, found)}, nil
}

// publishes tells whether it is this seat's turn to post the sums. Anyone may,
// and one is enough: the turns of who joined fill half of the phase.
func (s *Seat) publishes(b *assembly.Board) bool {
	turn := slices.Index(b.Joined(), s.me)
	if turn < 0 {
		return false
	}
	p := b.Params()
	phase := time.Duration(p.Deadlines.Replay) * time.Millisecond
	began := time.UnixMilli(int64(b.Deadline())).Add(-phase)
	return !s.light.now.Before(began.Add(phase / 2 * time.Duration(turn) / time.Duration(p.N)))
}

func (s *Seat) publish(b *assembly.Board) ([]assembly.Message, error) {
	found, err := s.follower.Finding()
	if err != nil {
		return nil, err
	}
	return s.self.Publish(b, found)
}
