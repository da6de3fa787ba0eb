package opsapi

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/hall"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/secret"
)

// fixture is a real ledger after its genesis, with a server in front.
type fixture struct {
	state, bodies ledgertest.Memory
	frontier      []byte
	cluster       action.ClusterID
	height        uint64

	opened  []OpenCeremony
	renewed []ledger.Renewal
	keys    keyRoom
	refuse  error
	server  *Server
}

const token = "0123456789abcdef0123456789abcdef"

func newFixture(t testing.TB, members ...action.MemberRecord) *fixture {
	t.Helper()
	return newFixtureUnder(t, policy.Dev(), members...)
}

func newFixtureUnder(t testing.TB, rules []byte, members ...action.MemberRecord) *fixture {
	t.Helper()
	f := &fixture{state: ledgertest.Memory{}, bodies: ledgertest.Memory{}, cluster: action.ClusterID{7}}
	st, err := f.View()
	if err != nil {
		t.Fatal(err)
	}
	network, err := eth.LookupNetwork("mainnet")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Genesis(&action.Genesis{Version: 1, Time: time.Unix(1, 0), Namespace: "root", Network: network.Config(), Members: members, Policy: string(rules)}); err != nil {
		t.Fatal(err)
	}
	f.commit(st)
	f.server, err = New(Config{Ledger: f, Keys: &f.keys, Evidence: f, Hall: hall.New(hall.Config{View: f.View}), Beacon: f, Self: f, Token: secret.New([]byte(token)), Listen: "127.0.0.1:0",
		Cluster: f.cluster, Node: "node0"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) commit(st *ledger.State) {
	for _, w := range st.Writes() {
		f.state[string(w.Key)] = w.Value
	}
	for _, b := range st.Bodies() {
		f.bodies[string(b.Key)] = b.Value
	}
	f.frontier = st.Frontier()
}

// SubmitSigned makes a block of one transaction.
func (f *fixture) SubmitSigned(_ context.Context, raw []byte) (height uint64, request [32]byte, err error) {
	tx, err := ledger.Parse(raw)
	if err != nil {
		return 0, request, err
	}
	st, err := f.View()
	if err != nil {
		return 0, request, err
	}
	v, err := st.Verify(tx, nil)
	if err != nil {
		return 0, request, err
	}
	f.height++
	b := ledger.Block{Height: int64(f.height), Time: 1000 * f.height}
	st.Begin(b)
	res := st.Apply(b, v)
	if res.Code != ledger.OK {
		return 0, request, &ledger.Error{Code: res.Code, Err: errors.New(res.Info)}
	}
	f.commit(st)
	return f.height, res.Request, nil
}

func (f *fixture) Height() (uint64, time.Time) {
	return f.height, time.UnixMilli(int64(1000 * f.height))
}

func (f *fixture) KeygenAction(keys int, use action.Use, hybrid bool, purpose string, _ time.Duration) (*action.Action, error) {
	p := dkg.Params{Mode: dkg.ModeKeygen, Suite: dkg.SuiteG1, N: 4, T: 3, Keys: uint32(keys), Use: use, Hybrid: hybrid, Cluster: f.cluster,
		Deadlines: dkg.Deadlines{Join: 1, Deal: 1, Verify: 1, Answer: 1, Confirm: 1, Publish: 1}}
	return ledger.CeremonyOpen{Params: p, Purpose: purpose}.Ask().Action, f.refuse
}

func (f *fixture) PlanRenewal(r ledger.Renewal, hybrid bool, _ time.Duration) ([]ledger.CeremonyOpen, error) {
	st, err := f.View()
	if err != nil {
		return nil, err
	}
	return st.PlanRenewal(r, dkg.Params{Suite: dkg.SuiteG1, N: 4, Cluster: f.cluster, Hybrid: hybrid,
		Deadlines: dkg.Deadlines{Join: 1, Deal: 1, Verify: 1, Answer: 1, Confirm: 1, Publish: 1}})
}

// share puts a key on the ledger, shared 3 of 4 in an epoch.
func (f *fixture) share(key byte, epoch uint32) (public []byte) {
	public = bytes.Repeat([]byte{key}, 48)
	record := &action.KeyRecord{Domain: action.DomainValidator, Curve: action.CurveBLS12381G1, PublicKey: public, State: action.KeyActive,
		Provenance: action.ProvenanceDealt, Epoch: epoch, T: 3, N: 4, Commitment: append(slices.Clone(public), make([]byte, 96)...)}
	f.state[string(proof.Root.Key(string(action.DomainValidator), public))] = record.Encode()
	return public
}

func (f *fixture) View() (*ledger.State, error) {
	return ledger.NewState(f.cluster, "root", f.state, f.bodies, f.frontier, nil)
}

func (f *fixture) Renew(_ context.Context, r ledger.Renewal, hybrid bool, phase time.Duration) ([][32]byte, error) {
	f.renewed = append(f.renewed, r)
	return [][32]byte{{1}, {2}}, nil
}

func (f *fixture) OpenCeremony(_ context.Context, keys int, use action.Use, hybrid bool, purpose string, phase time.Duration) ([32]byte, error) {
	opened := OpenCeremony{Keys: keys, Hybrid: hybrid, Purpose: purpose, PhaseTimeout: uint32(phase.Milliseconds())}
	if use != action.UseDuties {
		opened.Use = use.String()
	}
	f.opened = append(f.opened, opened)
	return [32]byte{0xab}, f.refuse
}

// Ask is of a cluster without nodes: there is nobody to ask as.
func (f *fixture) Ask(context.Context, ledger.Ask) error { return f.refuse }

func (f *fixture) Status(context.Context) Status { return Status{Node: "node0", Height: 3} }

func (f *fixture) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:9003"
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.server.ServeHTTP(w, r)
	return w
}

func TestReads(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		target string
		status int
		body   string // part of the answer
	}{
		{"/v1/status", 200, `"node": "node0"`},
		{"/v1/keys", 200, `[]`},
		{"/v1/keys/0x00", 400, `96 hex digits`},
		{"/v1/keys/0x" + strings.Repeat("ab", 48), 404, `not in the validator inventory`},
		{"/v1/ceremonies", 200, `[]`},
		{"/v1/ceremonies/" + strings.Repeat("0", 64), 404, `quorate ceremony list`},
		{"/v1/ceremonies/zz", 400, `64 hex digits`},
		{"/v1/ceremonies/" + strings.Repeat("0", 64) + "/transcripts", 404, `quorate ceremony list`},
		{"/v1/ceremonies/zz/transcripts", 400, `64 hex digits`},
		{"/v1/events", 200, `"kind": "genesis"`},
		{"/v1/events?from=1", 200, `"events": []`},
		{"/v1/events?from=-1", 400, `from is not a number`},
		{"/v1/events?limit=99999999999999999999", 400, `limit is not a number`},
		{"/v1/nothing", 404, `no route`},
		{"/", 404, `no route`},
	} {
		if w := f.do("GET", c.target, ""); w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("GET %s: %d %s, want %d with %q", c.target, w.Code, w.Body, c.status, c.body)
		}
	}
}

func TestHost(t *testing.T) {
	f := newFixture(t)
	for host, want := range map[string]int{
		"localhost": 200, "127.0.0.1": 200, "[::1]:9003": 200, "[::1]": 200,
		"evil.example": 403, "127.0.0.1.evil.example:9003": 403, "": 403,
	} {
		if w := f.do("GET", "/v1/status", "", "Host", host); w.Code != want {
			t.Errorf("Host %q: %d, want %d", host, w.Code, want)
		}
	}
}

func TestChangesNeedTheToken(t *testing.T) {
	f := newFixture(t)
	for _, header := range []string{"", "Bearer", "Bearer ", token, "Bearer " + token[1:], "Bearer " + token + "0", "bearer " + token} {
		if w := f.do("POST", "/v1/ceremonies", `{"keys":1}`, "Authorization", header); w.Code != 401 {
			t.Errorf("Authorization %q: %d, want 401", header, w.Code)
		}
	}
	if len(f.opened) != 0 {
		t.Errorf("opened %v without the token", f.opened)
	}
}

// TestReadsBeyondLoopback: what anybody on a network could ask needs the token.
func TestReadsBeyondLoopback(t *testing.T) {
	for listen, want := range map[string]int{
		"127.0.0.1:9003": 200, "localhost:9003": 200, "[::1]:9003": 200, "127.9.9.9:1": 200,
		":9003": 401, "0.0.0.0:9003": 401, "10.0.0.1:9003": 401, "node.example:9003": 401, "": 401, "127.0.0.1": 401,
	} {
		f := newFixture(t)
		config := f.server.config
		config.Listen = listen
		var err error
		if f.server, err = New(config); err != nil {
			t.Fatal(err)
		}
		if w := f.do("GET", "/v1/status", ""); w.Code != want {
			t.Errorf("listening on %q: %d, want %d", listen, w.Code, want)
		}
		if w := f.do("GET", "/v1/status", "", "Authorization", "Bearer "+token); w.Code != 200 {
			t.Errorf("listening on %q, with the token: %d", listen, w.Code)
		}
	}
}

func TestOpen(t *testing.T) {
	f := newFixture(t)
	auth := []string{"Authorization", "Bearer " + token}
	for _, body := range []string{``, `{}`, `[]`, `{"keys":0}`, `{"keys":-1}`, `{"keys":10001}`, `{"keys":1}x`, `{"keys":1,"other":1}`,
		`{"keys":1,"suite":"rot13"}`, `{"keys":1,"phase_timeout_ms":-1}`, `{"keys":1,"phase_timeout_ms":4294967296}`, `{"keys":1,"purpose":"` + strings.Repeat("x", 65) + `"}`, strings.Repeat(" ", maxOpen) + `{"keys":1}`,
		`{"keys":1,"pubkeys":["0x` + strings.Repeat("ab", 48) + `"]}`, `{"keys":1,"threshold":3}`, `{"mode":"rot13"}`, `{"mode":"import","keys":1}`,
		`{"mode":"refresh","keys":1}`, `{"mode":"refresh","suite":"bls12-381"}`, `{"mode":"refresh","pubkeys":["0x12"]}`, `{"mode":"reshare","seats":[0]}`,
		`{"mode":"handover"}`, `{"mode":"handover","pubkeys":["0x` + strings.Repeat("ab", 48) + `"],"lost":[1]}`, `{"mode":"refresh","deal_timeout_ms":1}`, `{"keys":1,"deal_timeout_ms":1}`,
		`{"mode":"reshare","seats":[17]}`, `{"mode":"reshare","lost":[-1]}`, `{"mode":"refresh","purpose":"` + strings.Repeat("x", 65) + `"}`} {
		if w := f.do("POST", "/v1/ceremonies", body, auth...); w.Code != 400 {
			t.Errorf("body %.40q: %d, want 400", body, w.Code)
		}
	}
	if len(f.opened)+len(f.renewed) != 0 {
		t.Fatalf("opened %v %v", f.opened, f.renewed)
	}
	key := strings.Repeat("ab", 48)
	w := f.do("POST", "/v1/ceremonies", `{"mode":"reshare","pubkeys":["0x`+key+`"],"seats":[1,2,4,5],"threshold":3,"lost":[4],"purpose":"p"}`, auth...)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"id": "01`) || !strings.Contains(w.Body.String(), `"more": [`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := f.do("POST", "/v1/ceremonies", `{"mode":"refresh"}`, auth...); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	raw, _ := hex.DecodeString(key)
	if diff := cmp.Diff([]ledger.Renewal{{Mode: dkg.ModeReshare, Keys: [][]byte{raw}, Threshold: 3, Holders: 1<<1 | 1<<2 | 1<<4 | 1<<5, Lost: 1 << 4, Purpose: "p"},
		{Mode: dkg.ModeRefresh}}, f.renewed); diff != "" {
		t.Error(diff)
	}
	w = f.do("POST", "/v1/ceremonies", `{"keys":3,"hybrid":true,"purpose":"test","suite":"bls12-381","phase_timeout_ms":1500}`, auth...)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"id": "ab00`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if diff := cmp.Diff([]OpenCeremony{{Keys: 3, Hybrid: true, Purpose: "test", PhaseTimeout: 1500}}, f.opened); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{&ledger.Error{Code: ledger.CodeDenied, Err: errors.New("no rule")}, 403, "no rule"},
		{fmt.Errorf("open: %w", &ledger.Error{Code: ledger.CodeBusy, Err: errors.New("32 are open")}), 503, "32 are open"},
		{&ledger.Error{Code: ledger.CodeConflict, Err: errors.New("again")}, 409, "again"},
		{context.DeadlineExceeded, 503, "deadline"},
		{errors.New("the disk at /secret"), 500, "internal error"},
	} {
		f.refuse = c.err
		if w := f.do("POST", "/v1/ceremonies", `{"keys":1}`, auth...); w.Code != c.status || !strings.Contains(w.Body.String(), c.text) || strings.Contains(w.Body.String(), "/secret") {
			t.Errorf("%v: %d %s, want %d %q", c.err, w.Code, w.Body, c.status, c.text)
		}
	}
}

// TestClient holds client and server against each other over a socket.
func TestClient(t *testing.T) {
	f := newFixture(t)
	server := httptest.NewServer(f.server)
	defer server.Close()
	c := NewClient(server.URL, secret.New([]byte(token)))
	ctx := t.Context()
	st, err := c.Status(ctx)
	if err != nil || st.Height != 3 {
		t.Errorf("status %v, %v", st, err)
	}
	events, err := c.Events(ctx, 0, 10)
	if err != nil || events.Size != 1 || len(events.Events) != 1 || events.Events[0].Object == "" {
		t.Errorf("events %+v, %v", events, err)
	}
	if keys, err := c.Keys(ctx); err != nil || len(keys) != 0 {
		t.Errorf("keys %v, %v", keys, err)
	}
	if opened, err := c.Open(ctx, OpenCeremony{Keys: 1}); err != nil || len(opened.ID) != 64 {
		t.Errorf("open: %v, %v", opened, err)
	}
	var e *Error
	if _, err := c.Ceremony(ctx, strings.Repeat("0", 64)); !errors.As(err, &e) || e.Status != http.StatusNotFound || e.Hint == "" {
		t.Errorf("missing ceremony: %v", err)
	}
	if _, err := c.Key(ctx, "../status"); !errors.As(err, &e) || e.Status != http.StatusBadRequest {
		t.Errorf("path in a key: %v", err)
	}
	server.Close()
	if _, err := c.Status(ctx); err == nil || errors.As(err, &e) {
		t.Errorf("a server that is gone: %v", err)
	}
}

// TestCeremony shows a board as the ledger has it.
func TestCeremony(t *testing.T) {
	f := newFixture(t)
	p := dkg.Params{Mode: dkg.ModeKeygen, Suite: dkg.SuiteG1, N: 4, T: 3, Keys: 2, Cluster: f.cluster,
		Deadlines: dkg.Deadlines{Join: 1, Deal: 1, Verify: 1, Answer: 1, Confirm: 1, Publish: 1}}
	board, _, err := dkg.NewBoard(p, 1000)
	if err != nil {
		t.Fatal(err)
	}
	roster := action.Roster{{Index: 1, Node: "a"}, {Index: 2, Node: "b"}}
	got := ceremonyOf(board, ledger.About{By: "node/a", Opened: 5}, roster)
	deadline := time.UnixMilli(1001).UTC()
	id := board.ID()
	want := Ceremony{ID: fmt.Sprintf("%x", id), Mode: "keygen", Suite: "bls12-381", Use: "duties", Phase: "join", Deadline: &deadline,
		Keys: 2, Threshold: 3, Holders: 4, By: "node/a", Opened: 5,
		Seats: []Seat{{Index: 1, Node: "a", Member: true}, {Index: 2, Node: "b", Member: true}, {Index: 3, Member: true}, {Index: 4, Member: true}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestConnectionLimit: one connection more waits until another ends.
func TestConnectionLimit(t *testing.T) {
	f := newFixture(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.server.config.Listen = l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.server.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	dial := func() net.Conn {
		for {
			conn, err := net.Dial("tcp", f.server.config.Listen)
			if errors.Is(err, syscall.ECONNREFUSED) {
				runtime.Gosched() // it is about to listen
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return conn
		}
	}
	answered := func(conn net.Conn, within time.Duration) bool {
		conn.SetReadDeadline(time.Now().Add(within)) //nolint:errcheck // of a connection that is open
		_, err := conn.Read(make([]byte, 1))
		return err == nil
	}
	ask := func() net.Conn {
		conn := dial()
		if _, err := io.WriteString(conn, "GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	first := ask()
	for range maxConns - 1 {
		ask()
	}
	if !answered(first, time.Minute) {
		t.Fatal("no answer")
	}
	excess := ask()
	if answered(excess, 200*time.Millisecond) {
		t.Error("one connection more was served")
	}
	first.Close()
	if !answered(excess, time.Minute) {
		t.Error("no room was made")
	}
}
