package action

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// TestSettingsChange: a change makes of any settings what it was made for, and
// of any others it touches only the fields that differed.
func TestSettingsChange(t *testing.T) {
	settings := rapid.Custom(func(t *rapid.T) (s ProposerSettings) {
		if n := rapid.ByteRange(0, 2).Draw(t, "fee"); n > 0 {
			s.FeeRecipient = &Address{n}
		}
		if n := rapid.Uint64Range(0, 2).Draw(t, "gas"); n > 0 {
			s.GasLimit = &n
		}
		if n := rapid.StringN(0, 1, 1).Draw(t, "graffiti"); n != "" {
			s.Graffiti = &n
		}
		return s
	})
	rapid.Check(t, func(t *rapid.T) {
		was, want, other := settings.Draw(t, "was"), settings.Draw(t, "want"), settings.Draw(t, "other")
		c := was.Change(want)
		if got := was.After(c); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s becomes %s, want %s", was, got, want)
		}
		got := other.After(c)
		for _, f := range []struct{ was, want, other, got any }{
			{was.FeeRecipient, want.FeeRecipient, other.FeeRecipient, got.FeeRecipient},
			{was.GasLimit, want.GasLimit, other.GasLimit, got.GasLimit},
			{was.Graffiti, want.Graffiti, other.Graffiti, got.Graffiti},
		} {
			if expect := f.want; reflect.DeepEqual(f.was, f.want) {
				if expect = f.other; !reflect.DeepEqual(f.got, expect) {
					t.Fatalf("a field that did not change was undone: %s", got)
				}
			} else if !reflect.DeepEqual(f.got, expect) {
				t.Fatalf("a change was lost: %s", got)
			}
		}
	})
}

// TestHeldKey: thousands hold a key until nodes take it over, and its record
// says so without a word on its past.
func TestHeldKey(t *testing.T) {
	held := KeyRecord{Curve: CurveBLS12381G1, PublicKey: make([]byte, 48), State: KeyHeld, Provenance: ProvenanceAssembled, T: 2731, N: 4096}
	taken := held
	taken.State, taken.Epoch, taken.T, taken.N, taken.Commitment = KeyActive, 1, 3, 4, make([]byte, 3*48)
	many, few := taken, held
	many.T, many.N, many.Commitment = 2731, 4096, make([]byte, 2731*48)
	few.Commitment = make([]byte, 3*48)
	for name, c := range map[string]struct {
		record KeyRecord
		reads  bool
		people bool
	}{"held": {held, true, true}, "taken over": {taken, true, false}, "taken over by thousands": {many, false, false}, "held with points": {few, false, true}} {
		got, err := ParseKeyRecord(c.record.Encode())
		if (err == nil) != c.reads {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (got.Held() != c.people || got.Holds(1) == c.people) {
			t.Errorf("%s: held %t, seat 1 holds %t", name, got.Held(), got.Holds(1))
		}
	}
}
