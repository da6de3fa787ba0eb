package ledger

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/policy"
)

// checkResidency refuses a ceremony that would bring shares of keys to a seat
// outside the regions in which the policy lets them be. A refresh brings them
// nowhere: where they may not be it does not make worse.
func (s *State) checkResidency(p dkg.Params, purpose string, keys [][]byte, roster action.Roster) error {
	rules, _ := s.policy()
	if p.Mode == dkg.ModeRefresh {
		return nil
	}
	check := func(r policy.Resource) error {
		if out := Outside(rules, r, p.Members(), roster); out != "" {
			return refuse(CodeConflict, "%s (hint: reshare to other seats, or change the policy's residency)", out)
		}
		return nil
	}
	if !p.Mode.Renews() {
		return check(policy.Resource{Kind: "key", Domain: string(action.DomainValidator), Purpose: purpose})
	}
	for _, k := range keys {
		rec, err := s.Key(action.DomainValidator, k)
		if err != nil {
			return err
		}
		if err := check(keyResource(rec)); err != nil {
			return err
		}
	}
	return nil
}

// Outside says which of the seats that hold shares of a key, or would, are
// outside the regions in which a policy lets them be; "" where none is.
func Outside(rules *policy.Policy, key policy.Resource, seats dkg.Seats, roster action.Roster) string {
	rule, ok := rules.Residency(key)
	if !ok {
		return ""
	}
	var out []string
	for _, seat := range roster {
		if seats.Has(int(seat.Index)) && !slices.Contains(rule.Regions, seat.Region) {
			out = append(out, fmt.Sprintf("seat %d (%s, in %s)", seat.Index, seat.Node, seat.Region))
		}
	}
	if out == nil {
		return ""
	}
	return fmt.Sprintf("shares of %s may be in %s only, which %s is not", rule.Selector, strings.Join(rule.Regions, ", "), strings.Join(out, ", "))
}
