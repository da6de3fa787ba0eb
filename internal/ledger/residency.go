package ledger

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/policy"
)

// Holder is a seat with a share, and where it stands.
type Holder struct {
	Seat         int
	Name, Region string
}

// HoldersAt says where seats of a roster stand.
func HoldersAt(seats dkg.Seats, roster action.Roster) (holders []Holder) {
	for _, s := range roster {
		if seats.Has(int(s.Index)) {
			holders = append(holders, Holder{int(s.Index), s.Node, s.Region})
		}
	}
	return holders
}

// Outside says which of those who hold shares of a key, or would, are outside
// the regions in which a policy lets them be; "" where none is.
func Outside(rules *policy.Policy, key policy.Resource, holders []Holder) string {
	const most = 4 // that are named
	rule, ok := rules.Residency(key)
	if !ok {
		return ""
	}
	var out []string
	for _, h := range holders {
		if !slices.Contains(rule.Regions, h.Region) {
			out = append(out, fmt.Sprintf("seat %d (%s, in %s)", h.Seat, h.Name, h.Region))
		}
	}
	switch {
	case out == nil:
		return ""
	case len(out) > most:
		out = append(out[:most-1], fmt.Sprintf("each of %d others", len(out)-most+1))
	}
	return fmt.Sprintf("shares of %s may be in %s only, which %s is not", rule.Selector, strings.Join(rule.Regions, ", "), strings.Join(out, ", "))
}

// mayHold refuses to bring shares of a key to holders outside its regions.
func (s *State) mayHold(key policy.Resource, holders []Holder) error {
	rules, _ := s.policy()
	if out := Outside(rules, key, holders); out != "" {
		return refuse(CodeConflict, "%s (hint: choose other holders, or change the policy's residency)", out)
	}
	return nil
}

// checkResidency looks at a ceremony among nodes. A refresh brings shares
// nowhere: where they may not be it does not make worse.
func (s *State) checkResidency(p dkg.Params, purpose string, keys [][]byte, roster action.Roster) error {
	holders := HoldersAt(p.Members(), roster)
	switch {
	case p.Mode == dkg.ModeRefresh:
		return nil
	case !p.Mode.Renews():
		return s.mayHold(newKey(purpose), holders)
	}
	for _, k := range keys {
		rec, err := s.Key(action.DomainValidator, k)
		if err != nil {
			return err
		}
		if err := s.mayHold(keyResource(rec), holders); err != nil {
			return err
		}
	}
	return nil
}

// newKey is a key that is to be, as policies see it.
func newKey(purpose string) policy.Resource {
	return policy.Resource{Kind: "key", Domain: string(action.DomainValidator), Purpose: purpose}
}
