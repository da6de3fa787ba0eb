package policy

import (
	"fmt"
	"strings"
	"time"
)

// PinZone writes a zone's offsets between two moments out, ready to stand
// under zones. It reads this machine's tzdata and so is for those who write
// policies: what a policy decides never calls it (lattice_test.go sees to
// that), and the document that holds its result is what everyone agrees on.
func PinZone(name string, from, to time.Time) (string, error) {
	loc, err := time.LoadLocation(name)
	if err != nil {
		return "", fmt.Errorf("pin time zone %s: %w", name, err)
	}
	if from, to = from.UTC().Truncate(time.Second), to.UTC().Truncate(time.Second); !from.Before(to) || from.Year() < 1970 || to.Year() > 9999 {
		return "", fmt.Errorf("pin time zone %s: want two moments between 1970 and 9999, the earlier one first", name)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s:\n  until: %s\n  offsets:\n", name, to.Format(time.RFC3339))
	for at := from; at.Before(to); {
		_, east := at.In(loc).Zone()
		if east%60 != 0 {
			return "", fmt.Errorf("pin time zone %s: its offset at %s is no whole number of minutes", name, at.Format(time.RFC3339))
		}
		sign, minutes := '+', east/60
		if east < 0 {
			sign, minutes = '-', -minutes
		}
		fmt.Fprintf(&out, "    - {from: %s, utc: %c%02d:%02d}\n", at.Format(time.RFC3339), sign, minutes/60, minutes%60)
		// A bound of a zone may change its name or saving flag only.
		for {
			_, next := at.In(loc).ZoneBounds()
			if next.IsZero() {
				return out.String(), nil
			}
			at = next.UTC()
			if _, e := at.In(loc).Zone(); e != east {
				break
			}
		}
	}
	return out.String(), nil
}
