package rehearsal

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/wire"
)

// Config says what to rehearse. The zero value of every field but the first
// has a meaning.
type Config struct {
	Participants int
	Threshold    int                 // 0: the default, ⌊(n+f)/2⌋+1
	Cohorts      int                 // 0 and 1: one
	Dealers      int                 // of each cohort; 0: all where that is allowed, else 128 together
	Absent       int                 // percent of the participants
	Malicious    int                 // percent
	Faults       []assembly.Sabotage // what the malicious do; empty: everything
	Hybrid       bool
	Seed         string // same seed, same ceremony

	Progress func(format string, args ...any) // nil: silent
}

// drawnDealers is how many deal where not everybody does.
const drawnDealers = 128

// phaseTime is how long the simulated phases last at most, in milliseconds;
// joining lasts half a day, so that every time zone has its morning.
const (
	hour     = 3600e3
	joinTime = 12 * hour
)

func (c *Config) params(roster [32]byte) (p assembly.Params, err error) {
	n, t := c.Participants, c.Threshold
	if n < 4 || n > wire.MaxParticipants {
		return p, fmt.Errorf("rehearse among %d participants: want 4 to %d", n, wire.MaxParticipants)
	}
	if t == 0 {
		th, err := action.DefaultThreshold(n)
		if err != nil {
			return p, err
		}
		t = th.T()
	}
	if c.Absent < 0 || c.Malicious < 0 || c.Absent+c.Malicious > 100 {
		return p, fmt.Errorf("rehearse with %d %% absent and %d %% malicious: want 0 to 100 together", c.Absent, c.Malicious)
	}
	cohorts, dealers := max(c.Cohorts, 1), c.Dealers
	if dealers == 0 && (cohorts > 1 || n > wire.MaxDealers) {
		dealers = max(min(drawnDealers, n/2)/cohorts, 1)
	}
	p = assembly.Params{
		Exercise: true, Hybrid: c.Hybrid, N: uint16(n), T: uint16(t), Cohorts: uint16(cohorts), Dealers: uint16(dealers),
		Nonce: c.draw("nonce", 0), Roster: roster,
		Deadlines: assembly.Deadlines{Join: joinTime, Deal: hour, Verify: hour, Answer: hour, Replay: hour, Confirm: hour},
	}
	if err := c.checkFaults(); err != nil {
		return p, err
	}
	return p, p.Check()
}

func (c *Config) checkFaults() error {
	joining, later, dealing := assembly.Sabotages()
	all := slices.Concat(joining, later, dealing)
	for _, f := range c.Faults {
		if !slices.Contains(all, f) {
			return fmt.Errorf("rehearse fault %q: want one of %s", f, all)
		}
		if f == assembly.BadAnswer && !c.Hybrid {
			return fmt.Errorf("rehearse fault %q: only dealers of a hybrid ceremony answer", f)
		}
		if f == assembly.FalseAccusation && c.Cohorts <= 1 {
			return fmt.Errorf("rehearse fault %q: only participants of several cohorts accuse", f)
		}
	}
	return nil
}

// kinds returns those of a list that are to be played.
func (c *Config) kinds(of []assembly.Sabotage) (out []assembly.Sabotage) {
	for _, k := range of {
		switch {
		case len(c.Faults) > 0 && !slices.Contains(c.Faults, k),
			k == assembly.BadAnswer && !c.Hybrid,
			k == assembly.FalseAccusation && c.Cohorts <= 1:
		default:
			out = append(out, k)
		}
	}
	return out
}

// draw derives everything random from the seed.
func (c *Config) draw(purpose string, i int) [32]byte {
	return wire.Hash(wire.TagAssemblyExercise, []byte(c.Seed), []byte(purpose), []byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
}
