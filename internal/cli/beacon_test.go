package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/opsapi"
)

// A node that gives another round than it was asked for, or none at all, is
// not believed.
func TestBeaconIsNotBelieved(t *testing.T) {
	share, err := bls.NewShare(1, &[bls.ScalarSize]byte{31: 5})
	if err != nil {
		t.Fatal(err)
	}
	sig, err := bls.Combine(1, []bls.Partial{share.SignRound(bls.NewRound([32]byte{7}, 12))})
	if err != nil {
		t.Fatal(err)
	}
	key, raw := share.PublicShare().Bytes(), sig.Bytes()
	good := audit.NewRound(action.ClusterID{7}, key[:], 12, raw[:])
	var answer audit.Round
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(answer) }))
	defer server.Close()
	for name, c := range map[string]struct {
		edit func(*audit.Round)
		args []string
		bad  bool
	}{
		"the round":      {nil, []string{"--height=12"}, false},
		"the newest":     {nil, nil, false},
		"another height": {nil, []string{"--height=13"}, true},
		"another number": {func(r *audit.Round) { r.Round = 13 }, []string{"--height=13"}, true},
		"other luck":     {func(r *audit.Round) { r.Randomness = strings.Repeat("7", 64) }, nil, true},
		"no key":         {func(r *audit.Round) { r.PublicKey = "0x" }, nil, true},
	} {
		if answer = good; c.edit != nil {
			c.edit(&answer)
		}
		var out, errs bytes.Buffer
		if code := Main(t.Context(), append([]string{"beacon", "get", "--address", server.URL}, c.args...), &out, &errs); (code == int(exitFailed)) != c.bad || !c.bad && code != 0 {
			t.Errorf("%s: exit %d: %s", name, code, errs.String())
		}
	}
}

// A member who asks for a beacon signs for nothing else, and the other way round.
func TestBeaconAsWanted(t *testing.T) {
	p := dkg.Params{Mode: dkg.ModeKeygen, Suite: dkg.SuiteG1, N: 4, T: 3, Keys: 1}
	for use, req := range map[action.Use]opsapi.OpenCeremony{action.UseBeacon: {Keys: 1, Use: "beacon"}, action.UseDuties: {Keys: 1}} {
		for _, proposed := range []action.Use{action.UseDuties, action.UseBeacon} {
			if p.Use = proposed; fits(req, p) != (proposed == use) {
				t.Errorf("asked for %s, and %s fits: %t", use, proposed, fits(req, p))
			}
		}
	}
}
