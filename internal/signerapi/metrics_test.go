package signerapi

import (
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/hall"
	"github.com/quorate/quorate/internal/hall/halltest"
	"github.com/quorate/quorate/internal/rpc"
)

// The series of Web3Signer's dashboard exist from the start and move.
func TestMetrics(t *testing.T) {
	metrics := NewMetrics("v1.2.3")
	if err := metrics.Gauge("quorate_lease_left_seconds", "How long.", func() float64 { return 7 }); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, func(c *Config) { c.Metrics = metrics })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- metrics.Serve(ctx, listener, slog.New(slog.DiscardHandler)) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	c := client(t)
	scrape := func(want ...string) {
		t.Helper()
		resp, err := c.Get("http://" + listener.Addr().String() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range want {
			if !strings.Contains("\n"+string(text), "\n"+line) {
				t.Errorf("no line begins with %q", line)
			}
		}
	}
	scrape(
		"http_bls_malformed_request_count_total 0",
		"signing_bls_missing_identifier_count_total 0",
		"eth2_slashingprotection_permitted_signings_total 0",
		"eth2_slashingprotection_prevented_signings_total 0",
		"signing_bls_signing_duration_count 0",
		"signing_signers_loaded_count 1",
		"quorate_lease_left_seconds 7",
		`process_release{version="v1.2.3"} 1`,
		"process_cpu_seconds_total ",
		"process_resident_memory_bytes ",
	)
	f.do("POST", f.sign, randao)
	f.do("POST", f.sign, "{")
	f.do("POST", signPrefix+pubkey{}.String(), randao)
	f.do("GET", "/none", "")
	f.signer.before = func(context.Context, string, eth.Duty) error { return rpc.Errorf(rpc.CodeSlashable, "") }
	f.do("POST", f.sign, randao)
	metrics.Recorded("attestation", 10*time.Millisecond)
	metrics.QuorumDone(20*time.Millisecond, 3, true)
	metrics.Hedged()
	metrics.Blamed("node2")
	scrape(
		"http_bls_malformed_request_count_total 1",
		"signing_bls_missing_identifier_count_total 1",
		"eth2_slashingprotection_permitted_signings_total 1",
		"eth2_slashingprotection_prevented_signings_total 1",
		"signing_bls_signing_duration_count 4",
		`signing_bls_signing_duration{quantile="0.95"} `,
		`eth2_slashingprotection_database_duration{signingOperation="attestation",quantile="0.99"} 0.01`,
		`quorate_sign_requests_total{outcome="signed",type="RANDAO_REVEAL"} 1`,
		`quorate_sign_requests_total{outcome="refused",type="RANDAO_REVEAL"} 1`,
		`quorate_http_requests_total{code="412",route="sign"} 1`,
		`quorate_http_requests_total{code="404",route="unknown"} 1`,
		`quorate_quorum_duration_seconds_bucket{result="reached",le="0.02"} 1`,
		"quorate_partials_asked_total 3",
		"quorate_hedges_total 1",
		`quorate_blamed_total{holder="node2"} 1`,
		"quorate_sign_in_flight 0",
	)
}

// How far the cohorts of an open ceremony have come shows at each scrape.
func TestAssemblyMetrics(t *testing.T) {
	w := halltest.New(t, assemblytest.New(t, 10, 2, 3, nil))
	metrics := NewMetrics("v1")
	if err := metrics.Assemblies(w.Hall.Rooms); err != nil {
		t.Fatal(err)
	}
	scrape := func() string {
		r := httptest.NewRecorder()
		metrics.Handler().ServeHTTP(r, httptest.NewRequest("GET", "/metrics", nil))
		return r.Body.String()
	}
	id := hex.EncodeToString(w.ID[:8])
	has := func(text string, lines ...string) {
		t.Helper()
		for _, line := range lines {
			if line = strings.ReplaceAll(line, "ID", id); !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("no line %q", line)
			}
		}
	}
	if _, err := w.Say(w.Sign(2, (&assembly.Vote{CID: w.ID}).Encode())); err == nil {
		t.Fatal("a vote is taken before anybody joined")
	}
	has(scrape(), `quorate_assembly_participants{ceremony="ID",cohort="0",phase="seats"} 10`, `quorate_assembly_refused_total{ceremony="ID",cohort="0"} 1`)
	w.Play(nil, func(*hall.Room) {}, func(phase assembly.Phase) {
		if phase == assembly.PhaseReplay {
			has(scrape(), `quorate_assembly_participants{ceremony="ID",cohort="1",phase="join"} 5`, `quorate_assembly_participants{ceremony="ID",cohort="2",phase="deal"} 3`, `quorate_assembly_participants{ceremony="ID",cohort="2",phase="dealers"} 3`,
				`quorate_assembly_latency_seconds_count{ceremony="ID",cohort="2",phase="verify"} 5`)
		}
	})
	if strings.Contains(scrape(), id) {
		t.Error("a ceremony that has ended is shown still")
	}
}
