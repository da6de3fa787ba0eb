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
