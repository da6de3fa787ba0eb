package bench

import "testing"

// A ceremony among thousands is measured like one among few.
func TestLarge(t *testing.T) {
	figures, err := Large(t.Context(), 20, true, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range figures {
		seen[f.Name] = true
		t.Logf("%s %.3f of %.3f: %.2f", f.Name, f.Measured, f.Limit, f.Ratio)
		if f.Measured <= 0 || f.Limit <= 0 || f.Dealers != 20 || !f.Hybrid {
			t.Errorf("%+v", f)
		}
	}
	for _, name := range []string{"dkg_deal", "dkg_receive", "dkg_verify", "dkg_light_verify", "dkg_participant"} {
		if !seen[name] {
			t.Errorf("%s is not measured", name)
		}
	}
}
