package assembly

import "slices"

// Pace says how long after a phase began each participant was heard in it
// last, in milliseconds of the board's time.
type Pace map[Phase]map[int]uint64

func (p Pace) heard(phase Phase, seat int, after uint64) {
	if p[phase] == nil {
		p[phase] = map[int]uint64{}
	}
	p[phase][seat] = after
}

// CohortStanding is how far the members of a cohort have come.
type CohortStanding struct {
	Cohort                                                    int // 0: who is in none, yet or at all
	Seats, Joined, Dealers, Dealt, Reported, Voted, Confirmed int
	Took                                                      map[Phase][]uint64 // ascending
}

// Cohorts returns how far each cohort has come.
func (f *Follower) Cohorts() []CohortStanding {
	b := f.board
	out := make([]CohortStanding, int(b.params.Cohorts)+1)
	for i := range out {
		out[i] = CohortStanding{Cohort: i, Took: map[Phase][]uint64{}}
	}
	count := func(n *int, is bool) {
		if is {
			*n++
		}
	}
	for seat := 1; seat <= int(b.params.N); seat++ {
		s := b.Standing(seat)
		c := &out[s.Cohort]
		c.Seats++
		count(&c.Joined, s.Joined)
		count(&c.Dealers, s.Dealer)
		count(&c.Dealt, s.Dealt)
		count(&c.Reported, s.Reported)
		count(&c.Voted, s.Voted)
		count(&c.Confirmed, s.Confirmed)
		for phase := PhaseJoin; phase <= PhaseConfirm; phase++ {
			if after, ok := f.pace[phase][seat]; ok {
				c.Took[phase] = append(c.Took[phase], after)
			}
		}
	}
	for _, c := range out {
		for _, took := range c.Took {
			slices.Sort(took)
		}
	}
	return slices.DeleteFunc(out, func(c CohortStanding) bool { return c.Seats == 0 })
}

// Quantile returns the value below which q percent of ascending ones lie.
func Quantile(ascending []uint64, q int) uint64 {
	if len(ascending) == 0 {
		return 0
	}
	return ascending[(len(ascending)-1)*q/100]
}
