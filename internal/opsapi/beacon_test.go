package opsapi

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/secret"
)

// beaconShare is the one share of the fixture's beacon, whose key it is.
func beaconShare() bls.Share {
	share, err := bls.NewShare(1, &[bls.ScalarSize]byte{31: 9})
	if err != nil {
		panic(err)
	}
	return share
}

func (f *fixture) Round(_ context.Context, key [48]byte, height uint64) (sig [96]byte, err error) {
	if share := beaconShare(); f.refuse == nil && key == share.PublicShare().Bytes() {
		s, err := bls.Combine(1, []bls.Partial{share.SignRound(bls.NewRound(f.cluster, height))})
		return s.Bytes(), err
	}
	return sig, f.refuse
}

func (f *fixture) ProveRecord(_ context.Context, key [48]byte) ([]byte, error) {
	return fmt.Appendf(nil, "proof of %x", key[:4]), f.refuse
}

// found puts the beacon on the ledger.
func (f *fixture) found() []byte {
	pk := beaconShare().PublicShare().Bytes()
	record := &action.KeyRecord{Domain: action.DomainValidator, Curve: action.CurveBLS12381G1, PublicKey: pk[:], State: action.KeyActive, Use: action.UseBeacon,
		Provenance: action.ProvenanceDealt, T: 1, N: 4, Commitment: pk[:], Created: 2}
	f.state[string(proof.Root.Key(string(action.DomainValidator), pk[:]))] = record.Encode()
	f.state[string(proof.Root.Beacon())] = pk[:]
	return pk[:]
}

// Anybody reads the beacon, without a token, from wherever; what there is not
// yet is not found.
func TestBeacon(t *testing.T) {
	f := newFixture(t)
	f.height = 12
	server, err := New(Config{Ledger: f, Keys: &f.keys, Evidence: f, Hall: f.server.config.Hall, Beacon: f, Self: f, Token: secret.New([]byte(token)), Listen: "192.0.2.1:9003",
		Hosts: []string{"node.example"}, Cluster: f.cluster})
	if err != nil {
		t.Fatal(err)
	}
	f.server = server
	get := func(target string, want int) (w *httptest.ResponseRecorder) {
		t.Helper()
		if w = f.do("GET", target, "", "Host", "node.example"); w.Code != want {
			t.Errorf("%s: %d %s, want %d", target, w.Code, w.Body, want)
		}
		return w
	}
	if w := get("/v1/beacon", 404); !strings.Contains(w.Body.String(), "quorate beacon init") {
		t.Errorf("without a beacon: %s", w.Body)
	}
	get("/v1/beacon/key", 404)
	pk := f.found()
	get("/v1/keys", 401) // the rest needs the token there

	for target, height := range map[string]uint64{"/v1/beacon": 12, "/v1/beacon/12": 12, "/v1/beacon/1": 1, "/v1/beacon/7?proof=true": 7, "/v1/beacon/7?proof=false": 7} {
		raw := get(target, 200).Body.Bytes()
		r, err := audit.VerifyRound(raw, pk)
		if err != nil || r.Round != height || r.Cluster != hex.EncodeToString(f.cluster[:]) {
			t.Errorf("%s: %v, %s", target, err, raw)
		} else if proven := string(r.Proof) == fmt.Sprintf("proof of %x", pk[:4]); proven != strings.Contains(target, "true") {
			t.Errorf("%s: proof %q", target, r.Proof)
		}
	}
	for target, want := range map[string]int{
		"/v1/beacon/13": 404, "/v1/beacon/18446744073709551615": 404, "/v1/beacon/0": 400, "/v1/beacon/18446744073709551616": 400,
		"/v1/beacon/-1": 400, "/v1/beacon/latest": 400, "/v1/beacon/1?proof=yes": 400,
	} {
		get(target, want)
	}
	var key BeaconKey
	if err := json.Unmarshal(get("/v1/beacon/key", 200).Body.Bytes(), &key); err != nil || key.PublicKey != "0x"+hex.EncodeToString(pk) || key.State != "active" || key.Height != 12 || key.Created != 2 {
		t.Errorf("the beacon is %+v, %v", key, err)
	}
	f.refuse = rpc.Errorf(rpc.CodeUnavailable, "too few holders")
	get("/v1/beacon/5", 503)
}

// A beacon's ceremony is asked for as such, and says so to whoever approves.
func TestBeaconCeremony(t *testing.T) {
	f := newFixture(t)
	for body, want := range map[string]int{
		`{"keys":1,"use":"beacon"}`: 200, `{"keys":1,"use":"duties"}`: 200, `{"keys":2,"use":"beacon"}`: 400, `{"keys":1,"use":"lottery"}`: 400,
		`{"mode":"refresh","use":"beacon"}`: 400,
	} {
		if w := f.do("POST", "/v1/ceremonies", body, "Authorization", "Bearer "+token); w.Code != want {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	beacons := 0
	for _, o := range f.opened {
		if o.Use == "beacon" {
			beacons++
		}
	}
	if beacons != 1 || len(f.opened) != 2 {
		t.Errorf("opened %+v", f.opened)
	}
	a, err := f.KeygenAction(1, action.UseBeacon, false, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, w, err := ReadAction(a.Encode()); err != nil || !strings.Contains(w.Says, "randomness beacon") {
		t.Errorf("it reads %q, %v", w.Says, err)
	}
}
