package bench

import (
	"encoding/xml"
	"math"
	"testing"
)

// A ceremony among thousands is measured like one among few.
func TestLarge(t *testing.T) {
	figures, err := Large(t.Context(), 20, true, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	var whole Figure
	seen := map[string]bool{}
	for _, f := range figures {
		seen[f.Name] = true
		t.Logf("%s %.3f of %.3f: %.2f", f.Name, f.Measured, f.Limit, f.Ratio)
		if f.Name == "dkg_verify" {
			whole = f
		}
		if f.Name == "dkg_verify_dealings" && (f.Bytes >= whole.Bytes || f.Bytes < 20*(21*48+20*32)) {
			t.Errorf("dealings of %d bytes in an archive of %d", f.Bytes, whole.Bytes)
		}
		if f.Name != "dkg_participant" && (f.Runs < 1 || f.Least <= 0 || f.Least > f.Measured) {
			t.Errorf("%s: the least of %d runs is %f, the median %f", f.Name, f.Runs, f.Least, f.Measured)
		}
		if f.Measured <= 0 || f.Limit <= 0 || f.Dealers != 20 || !f.Hybrid {
			t.Errorf("%+v", f)
		}
	}
	for _, name := range []string{"dkg_deal", "dkg_receive", "dkg_verify", "dkg_verify_dealings", "dkg_light_verify", "dkg_participant"} {
		if !seen[name] {
			t.Errorf("%s is not measured", name)
		}
	}
}

// A budget stands beside the least of a step's runs, of one key, among so many
// as the design counted.
func TestBudgets(t *testing.T) {
	for _, c := range []struct {
		f    Figure
		want float64
	}{
		{Figure{Name: "dkg_deal", N: 4, Keys: 1, Least: 0.62}, 0.31},
		{Figure{Name: "dkg_deal", N: 64, Keys: 1, Dealers: 64, Hybrid: true, Least: 2 * (4.3 + 64*0.139)}, 4.3 + 64*0.139},
		{Figure{Name: "dkg_receive", N: 4096, Keys: 1, Dealers: 128, Hybrid: true, Least: 2 * (8 + 128*0.139)}, 8 + 128*0.139},
		{Figure{Name: "dkg_verify_dealings", N: 64, Keys: 1, Least: 158}, 79},
		{Figure{Name: "dkg_light_verify", N: 1024, Keys: 1, Hybrid: true, Least: 466}, 233},
		{Figure{Name: "dkg_deal", N: 4, Keys: 1000, Least: 1}, 0},
		{Figure{Name: "dkg_deal", N: 16, Keys: 1, Hybrid: true, Least: 1}, 0},
		{Figure{Name: "dkg_participant", N: 64, Keys: 1, Least: 1}, 0},
	} {
		f := c.f.within()
		if math.Abs(f.Budget-c.want) > 1e-9 || c.want > 0 && math.Abs(f.OfBudget-2) > 1e-9 || c.want == 0 && f.OfBudget != 0 {
			t.Errorf("%s among %d: %.3f of %.3f", f.Name, f.N, f.OfBudget, f.Budget)
		}
	}
	operations, err := Operations()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range operations {
		t.Logf("%s: %.1f µs, least %.1f of %.0f: %.2f", f.Name, f.Measured, f.Least, f.Budget, f.OfBudget)
		if f.Least <= 0 || f.Least > f.Measured || f.Runs < 1 || f.OfBudget != f.Least/f.Budget {
			t.Errorf("%+v", f)
		}
	}
}

func TestPlot(t *testing.T) {
	if Plot(nil) != "" {
		t.Error("a picture of nothing")
	}
	var figures []Figure
	for _, n := range []int{4, 64, 4096} {
		figures = append(figures, Figure{Name: "dkg_participant", N: n, Measured: float64(3 * n), Limit: float64(2 * n)},
			Figure{Name: "dkg_participant", N: n, Hybrid: true, Measured: 1, Limit: 1}, Figure{Name: "dkg_deal", N: n, Measured: 1, Limit: 1})
	}
	svg := Plot(figures)
	var parsed struct {
		Circles []struct {
			X float64 `xml:"cx,attr"`
			Y float64 `xml:"cy,attr"`
		} `xml:"circle"`
	}
	if err := xml.Unmarshal([]byte(svg), &parsed); err != nil || len(parsed.Circles) != 6 {
		t.Fatalf("%d points, %v", len(parsed.Circles), err)
	}
	for i, c := range parsed.Circles {
		if c.X < 70 || c.X > 640 || c.Y < 0 || c.Y > 350 || i%3 > 0 && (c.X <= parsed.Circles[i-1].X || c.Y >= parsed.Circles[i-1].Y) {
			t.Errorf("point %d is at %v", i, c)
		}
	}
}
