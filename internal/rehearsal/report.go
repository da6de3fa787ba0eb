package rehearsal

import (
	"slices"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
)

// Report is how a rehearsal went.
type Report struct {
	Seed         string `json:"seed"`
	Participants int    `json:"participants"`
	Threshold    int    `json:"threshold"`
	Cohorts      int    `json:"cohorts"`
	Dealers      int    `json:"dealers"` // drawn
	Hybrid       bool   `json:"hybrid"`
	Exercise     bool   `json:"exercise"` // always

	Outcome *assembly.Outcome `json:"outcome"`
	Score   Score             `json:"score"`
	Seats   []Played          `json:"seats"` // all who did not just follow the protocol
	Steps   []Step            `json:"steps"`

	// Processor time. Public computations that all honest participants would
	// make alike are made once and stand here as what each would spend.
	CPU         CPU     `json:"cpu_s"`
	Ledger      float64 `json:"ledger_cpu_s"`
	FullVerify  float64 `json:"full_verify_cpu_s"`
	LightVerify float64 `json:"light_verify_cpu_s"`

	ArchiveBytes     int     `json:"archive_bytes"`
	CertificateBytes int     `json:"certificate_bytes"`
	WallSeconds      float64 `json:"wall_s"`
	PeakMiB          int     `json:"peak_mib"`

	inspect []float64
	replay  float64
	role    map[assembly.Phase][]float64
}

// Score counts verdicts about participants.
type Score struct {
	Malicious     int `json:"malicious"`
	Absent        int `json:"absent"`
	Right         int `json:"right"`          // malicious, and named for what they did, or without effect
	Missed        int `json:"missed"`         // malicious, and not named though it should be
	HonestBlamed  int `json:"honest_blamed"`  // must be 0
	AbsentBlamed  int `json:"absent_blamed"`  // must be 0
	HonestHolders int `json:"honest_holders"` // honest, present, and confirmed a share
}

// Played is what a participant did, and what the ceremony said of it.
type Played struct {
	Seat   int      `json:"seat"`
	Role   string   `json:"role"`
	Region string   `json:"region"`
	Dealer bool     `json:"dealer"`
	Faults []string `json:"faults,omitempty"`
	Blamed bool     `json:"blamed"`
	Right  bool     `json:"right"`
}

// Step is a phase, or a round of one.
type Step struct {
	Phase            string  `json:"phase"`
	Messages         int     `json:"messages"`
	Refused          int     `json:"refused"`
	SimulatedSeconds float64 `json:"simulated_s"`
	WallSeconds      float64 `json:"wall_s"`
}

// CPU has the cost of each role, in seconds.
type CPU struct {
	Deal    Spread  `json:"deal"`
	Inspect Spread  `json:"inspect"` // of one cohort, by each of its members
	Report  Spread  `json:"report"`
	Replay  float64 `json:"replay"` // by each of n-f
	Confirm Spread  `json:"confirm"`
}

// Spread has the least, the middle and the most of what several spent.
type Spread struct {
	Least  float64 `json:"least"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

func spread(v []float64) (s Spread) {
	v = slices.DeleteFunc(slices.Clone(v), func(x float64) bool { return x == 0 })
	if len(v) == 0 {
		return s
	}
	slices.Sort(v)
	return Spread{v[0], v[len(v)/2], v[len(v)-1]}
}

func (r *Report) describe(w *world) {
	p := w.params
	r.Participants, r.Threshold, r.Cohorts, r.Hybrid, r.Exercise = int(p.N), int(p.T), int(p.Cohorts), p.Hybrid, p.Exercise
	r.role = map[assembly.Phase][]float64{}
}

func (r *Report) spent(phase assembly.Phase, took []float64) {
	r.role[phase] = append(r.role[phase], took...)
}

// score compares what the ceremony said of everybody with what they did.
func (r *Report) score(w *world) {
	r.Outcome, r.Dealers = w.board.Outcome("archive"), len(w.board.Dealers())
	r.CPU = CPU{
		Deal: spread(r.role[assembly.PhaseDeal]), Inspect: spread(r.inspect), Report: spread(r.role[assembly.PhaseVerify]),
		Replay: r.replay, Confirm: spread(r.role[assembly.PhaseConfirm]),
	}
	faults := map[int][]dkg.FaultKind{}
	for _, f := range w.board.Faults() {
		faults[f.Seat] = append(faults[f.Seat], f.Kind)
	}
	holders := w.board.Holders()
	for _, s := range w.seats {
		said := faults[s.index]
		blamed := slices.ContainsFunc(said, dkg.FaultKind.Attributable)
		p := Played{Seat: s.index, Region: regions[s.region].name, Blamed: blamed, Right: true}
		_, p.Dealer = slices.BinarySearch(w.board.Dealers(), s.index)
		for _, k := range said {
			p.Faults = append(p.Faults, k.String())
		}
		switch {
		case s.saboteur != nil:
			p.Role = string(s.saboteur.Kind)
			p.Right = judged(s.saboteur.Kind, said, w.late[s.index])
			r.Score.Malicious++
			r.Score.Right += count(p.Right)
			r.Score.Missed += count(!p.Right)
		case s.gone != 0:
			p.Role = "absent from " + s.gone.String()
			p.Right = !blamed
			r.Score.Absent++
			r.Score.AbsentBlamed += count(blamed)
		default:
			_, holds := slices.BinarySearch(holders, s.index)
			r.Score.HonestHolders += count(holds)
			r.Score.HonestBlamed += count(blamed)
			if !blamed && len(said) == 0 {
				continue
			}
			p.Role, p.Right = "honest", !blamed
		}
		r.Seats = append(r.Seats, p)
	}
}

// judged tells whether a saboteur was named for what it did, and for nothing
// else. A vote that came after n-f others did nothing, nor did a second header
// that came when all had dealt.
func judged(kind assembly.Sabotage, said []dkg.FaultKind, late bool) bool {
	want := kind.Outcome()
	named := len(want) == 0 || late && (kind == assembly.FalseVote || kind == assembly.Equivocation)
	for _, k := range said {
		if slices.Contains(want, k) {
			named = true
		} else if k.Attributable() {
			return false
		}
	}
	return named
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
