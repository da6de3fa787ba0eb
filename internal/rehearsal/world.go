package rehearsal

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/secret"
)

// seat is one simulated participant.
type seat struct {
	index    int
	region   int
	slowness float64        // of its machine
	gone     assembly.Phase // absent from this phase on; 0: never
	bad      bool
	identity ident.PrivateKey
	honest   *assembly.Participant
	saboteur *assembly.Saboteur // nil while it behaves
}

// regions are where participants are, with the way to the ledger in
// milliseconds.
var regions = [...]struct {
	name    string
	latency uint64
}{{"eu-west", 20}, {"eu-east", 35}, {"us-east", 45}, {"us-west", 80}, {"ap-south", 110}, {"ap-east", 130}, {"sa-east", 105}, {"af-south", 95}}

// world is a ceremony and everybody around it.
type world struct {
	config  Config
	params  assembly.Params
	roster  assembly.Roster
	board   *assembly.Board
	archive *assembly.Archive
	seats   []*seat
	chance  *rand.Rand
	now     uint64
	height  int

	late map[int]bool // who said something when its phase was over

	inspected map[int][]assembly.Accusation
	found     *assembly.Finding
	report    *Report
}

// newWorld seats the participants. Who is absent or malicious is drawn, half
// of the absent leaving in the middle of the ceremony.
func newWorld(c Config) (*world, error) {
	w := &world{config: c, chance: rand.New(rand.NewChaCha8(c.draw("world", 0))), now: 1_800_000_000_000, report: &Report{Seed: c.Seed}, late: map[int]bool{}}
	for i := 1; i <= c.Participants; i++ {
		a, b := c.draw("identity", i), c.draw("unused half of the identity", i) // the half for ML-DSA
		key, err := ident.FromSeed(ident.Ed25519, append(a[:], b[:]...))
		if err != nil {
			return nil, fmt.Errorf("seat participant %d: %w", i, err)
		}
		w.roster = append(w.roster, key.Public())
		w.seats = append(w.seats, &seat{index: i, identity: key, region: w.chance.IntN(len(regions)), slowness: 1 + 3*w.chance.Float64()})
	}
	var err error
	if w.params, err = c.params(w.roster.Hash()); err != nil {
		return nil, err
	}
	if w.board, err = assembly.NewBoard(w.params, w.now); err != nil {
		return nil, err
	}
	w.archive = assembly.NewArchive(w.params, w.roster, w.now)
	for _, s := range w.seats {
		if s.honest, err = w.participant(s.index); err != nil {
			return nil, err
		}
	}
	order := w.chance.Perm(c.Participants)
	absent, bad := c.Participants*c.Absent/100, c.Participants*c.Malicious/100
	leaving := [...]assembly.Phase{assembly.PhaseDeal, assembly.PhaseVerify, assembly.PhaseReplay, assembly.PhaseConfirm}
	for k, i := range order[:absent] {
		w.seats[i].gone = assembly.PhaseJoin
		if k%2 == 1 {
			w.seats[i].gone = leaving[k/2%len(leaving)]
		}
	}
	joining, later, dealing := assembly.Sabotages()
	joining = c.kinds(joining)
	early := bad / 4
	if len(c.kinds(later))+len(c.kinds(dealing)) == 0 {
		early = bad
	}
	for k, i := range order[absent : absent+bad] {
		w.seats[i].bad = true
		if k < early && len(joining) > 0 {
			if err := w.turn(w.seats[i], joining[k%len(joining)]); err != nil {
				return nil, err
			}
		}
	}
	w.report.describe(w)
	return w, nil
}

func (w *world) participant(i int) (*assembly.Participant, error) {
	digest := w.config.draw("seed", i)
	seed := secret.New(digest[:])
	defer seed.Destroy()
	q, err := assembly.NewParticipant(w.params, i, seed)
	if err != nil {
		return nil, fmt.Errorf("seat participant %d: %w", i, err)
	}
	return q, nil
}

// turn makes a participant a saboteur.
func (w *world) turn(s *seat, kind assembly.Sabotage) (err error) {
	s.saboteur, err = assembly.NewSaboteur(s.honest, kind)
	return err
}

// corrupt gives the malicious that behaved until the draw their parts: dealers
// a dealer's, the others another.
func (w *world) corrupt() error {
	_, later, dealing := assembly.Sabotages()
	later, dealing = w.config.kinds(later), w.config.kinds(dealing)
	drawn := w.board.Dealers()
	joined := w.board.Joined()
	var victims []int
	for _, i := range joined {
		if s := w.seats[i-1]; !s.bad && s.gone == 0 {
			victims = append(victims, i)
		}
	}
	var deals, others int
	for _, s := range w.seats {
		if !s.bad || s.saboteur != nil {
			continue
		}
		_, deal := slices.BinarySearch(drawn, s.index)
		var err error
		switch {
		case deal && len(dealing) > 0:
			err = w.turn(s, dealing[deals%len(dealing)])
			s.saboteur.Victims = victims
			deals++
		case len(later) > 0:
			err = w.turn(s, later[others%len(later)])
			others++
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// present tells whether a seat acts in a phase.
func (s *seat) present(p assembly.Phase) bool { return s.gone == 0 || p < s.gone }

// plays tells whether a seat plays one of these parts.
func (s *seat) plays(kinds ...assembly.Sabotage) bool {
	return s.saboteur != nil && slices.Contains(kinds, s.saboteur.Kind)
}

// letter is what a dealer sent to a recipient.
func (w *world) letter(dealer, recipient int) *assembly.Letter {
	if s := w.seats[dealer-1]; s.saboteur != nil {
		return s.saboteur.Letter(recipient)
	}
	return w.seats[dealer-1].honest.Letter(recipient)
}

// dealsWell tells whether a dealer's part is not to deal falsely.
func (w *world) dealsWell(dealer int) bool {
	_, _, dealing := assembly.Sabotages()
	return !w.seats[dealer-1].plays(dealing...)
}
