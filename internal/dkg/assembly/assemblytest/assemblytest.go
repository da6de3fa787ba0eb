// Package assemblytest has real participants take part in a ceremony, for
// tests of what carries their messages.
//
// Owns: [Crowd], the people of one ceremony with their keys.
//
// Never: a mock, a goroutine, or randomness: what they say follows from their
// number and from the board.
package assemblytest

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/secret"
)

// Crowd is the people of one ceremony.
type Crowd struct {
	Params assembly.Params
	List   action.Participants
	Keys   []ident.PrivateKey // of seat i at i-1

	tb     testing.TB
	people []*assembly.Participant
	dealt  map[int][]assembly.Message
	said   map[[32]byte]bool
	found  map[int][]assembly.Accusation // by cohort: inspecting is the same for all of it
}

// Post is a message as its seat signs it.
type Post struct {
	Seat      int
	Message   []byte
	Signature []byte
}

// New seats n people. Change what the parameters say before anybody is asked.
func New(tb testing.TB, n, cohorts, dealers int, change func(*assembly.Params)) *Crowd {
	tb.Helper()
	th, err := action.DefaultThreshold(n)
	if err != nil {
		tb.Fatal(err)
	}
	c := &Crowd{tb: tb, dealt: map[int][]assembly.Message{}, said: map[[32]byte]bool{}, found: map[int][]assembly.Accusation{}, Params: assembly.Params{
		N: uint16(n), T: uint16(th.T()), Cohorts: uint16(cohorts), Dealers: uint16(dealers),
		Deadlines: assembly.Deadlines{Join: 60_000, Deal: 60_000, Verify: 60_000, Answer: 60_000, Replay: 60_000, Confirm: 60_000},
	}}
	var roster assembly.Roster
	for i := range n {
		seed := sha256.Sum256(fmt.Append(nil, "identity of participant ", i+1))
		key, err := ident.FromSeed(ident.Ed25519, append(seed[:], seed[:]...))
		if err != nil {
			tb.Fatal(err)
		}
		c.Keys, roster = append(c.Keys, key), append(roster, key.Public())
		c.List = append(c.List, action.Participant{Name: fmt.Sprintf("p%d", i+1), Region: fmt.Sprintf("region%d", i%3), Key: key.Public()})
	}
	c.Params.Roster = roster.Hash()
	if change != nil {
		change(&c.Params)
	}
	for i := range n {
		seed := sha256.Sum256(fmt.Append(nil, "coins of participant ", i+1))
		q, err := assembly.NewParticipant(c.Params, i+1, secret.New(seed[:]))
		if err != nil {
			tb.Fatal(err)
		}
		c.people = append(c.people, q)
	}
	return c
}

// Action asks for the ceremony.
func (c *Crowd) Action(purpose string) *action.Action {
	return &action.Action{Rule: action.RuleAssembly, Assembly: action.Assembly{Params: c.Params.Encode(), Purpose: purpose, Seats: c.List.Hash()}}
}

// Sign signs a message in a seat's name.
func (c *Crowd) Sign(seat int, message []byte) Post {
	return Post{seat, message, assembly.SignMessage(c.Keys[seat-1], seat, message)}
}

// Took is told what the board took, which is not said again.
func (c *Crowd) Took(p Post) {
	c.said[sha256.Sum256(append([]byte{byte(p.Seat >> 8), byte(p.Seat)}, p.Message...))] = true
}

// Letter is what a dealer sends to a seat, once it has dealt.
func (c *Crowd) Letter(dealer, seat int) *assembly.Letter { return c.people[dealer-1].Letter(seat) }

// Next returns what a seat has to say where a follower stands.
func (c *Crowd) Next(f *assembly.Follower, seat int) (out []Post) {
	c.tb.Helper()
	messages, err := c.next(f, seat)
	if err != nil {
		c.tb.Fatalf("seat %d in %s: %v", seat, f.Board().Phase(), err)
	}
	for _, m := range messages {
		raw := m.Encode()
		if !c.said[sha256.Sum256(append([]byte{byte(seat >> 8), byte(seat)}, raw...))] {
			out = append(out, c.Sign(seat, raw))
		}
	}
	return out
}

func (c *Crowd) next(f *assembly.Follower, seat int) ([]assembly.Message, error) {
	b, q := f.Board(), c.people[seat-1]
	joined := slices.Contains(b.Joined(), seat)
	if b.Phase() != assembly.PhaseJoin && !joined {
		return nil, nil
	}
	switch b.Phase() {
	case assembly.PhaseJoin:
		return []assembly.Message{q.Join()}, nil
	case assembly.PhaseDeal:
		if !slices.Contains(b.Dealers(), seat) {
			return nil, nil
		}
		if c.dealt[seat] == nil {
			var err error
			if c.dealt[seat], err = q.Deal(b); err != nil {
				return nil, err
			}
		}
		return c.dealt[seat], nil
	case assembly.PhaseVerify:
		if !b.MayReport(seat) {
			return nil, nil
		}
		cohort := b.Cohort(seat)
		if _, known := c.found[cohort]; !known {
			c.found[cohort] = b.Inspect(cohort)
		}
		r, err := q.Report(b, c.found[cohort], func(dealer int) *assembly.Letter { return c.Letter(dealer, seat) })
		return []assembly.Message{r}, err
	case assembly.PhaseAnswer:
		return q.Answer(b), nil
	case assembly.PhaseReplay, assembly.PhasePublish:
		found, err := f.Finding()
		if err != nil {
			return nil, err
		}
		if b.Phase() == assembly.PhasePublish {
			return q.Publish(b, found)
		}
		return []assembly.Message{q.Vote(b, found)}, nil
	case assembly.PhaseConfirm:
		m, err := q.Confirm(b)
		return []assembly.Message{m}, err
	}
	return nil, nil
}

// Share returns a seat's share of a ceremony that is done.
func (c *Crowd) Share(f *assembly.Follower, seat int) (secret.Bytes, error) {
	return c.people[seat-1].ExposeSecretShare(f.Board())
}
