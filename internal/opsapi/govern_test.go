package opsapi

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/secret"
)

// council is a ledger under the team's policy with three custodians, an
// approver and a workload, and a client.
type council struct {
	*fixture
	t       *testing.T
	client  *Client
	signers map[string]credential.Signer
}

func newCouncil(t *testing.T) *council {
	c := &council{t: t, signers: map[string]credential.Signer{}}
	var members []action.MemberRecord
	for i, id := range []string{"ana", "bhavik", "carol", "dinesh", "robot"} {
		key, _, err := ident.Generate(ident.Ed25519, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c.signers[id] = credential.FromKey(key)
		m := action.MemberRecord{ID: id, Name: id, Operator: fmt.Sprintf("op%d", i%3), Region: "r", Roles: []string{action.RoleCustodian}, Keys: []ident.PublicKey{key.Public()}}
		switch id {
		case "dinesh":
			m.Roles = []string{action.RoleApprover}
		case "robot":
			m.Roles, m.Workload = nil, true
		}
		members = append(members, m)
	}
	c.fixture = newFixtureUnder(t, policy.Team(), members...)
	server := httptest.NewServer(c.server)
	t.Cleanup(server.Close)
	c.client = NewClient(server.URL, secret.Bytes{})
	return c
}

func (c *council) ask(who string, a *action.Action) (Submitted, error) {
	return c.client.Submit(c.t.Context(), c.cluster, who, action.KindRequest, ledger.Ask{Action: a, Purpose: "test"}.Encode(), c.signers[who])
}

func (c *council) decide(who, id string, v action.Verdict) error {
	c.t.Helper()
	r := c.request(id)
	one, hash, _, err := r.Verify(c.cluster)
	if err != nil {
		c.t.Fatal(err)
	}
	version, _ := hex.DecodeString(r.Policy)
	_, err = c.client.Submit(c.t.Context(), c.cluster, who, action.KindDecision,
		action.Decision{Request: one, Action: hash, Policy: [32]byte(version), Verdict: v}.Encode(), c.signers[who])
	return err
}

func (c *council) request(id string) Request {
	c.t.Helper()
	r, err := c.client.Request(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func timerSet(name string) *action.Action {
	inner := &action.Action{Rule: action.RuleTimerCancel, Name: "other"}
	return &action.Action{Rule: action.RuleTimerSet, Timer: action.Timer{Name: name, First: 1e9, Every: 60_000, Action: inner.Encode()}}
}

func status(err error) int {
	var e *Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Status
}

// TestGovernance goes the way of a request through the client, on a real
// ledger: who is missing is who then makes it happen.
func TestGovernance(t *testing.T) {
	c := newCouncil(t)
	if _, err := c.ask("robot", timerSet("t")); status(err) != http.StatusForbidden || !strings.Contains(err.Error(), "robot may not request timer.set") {
		t.Errorf("a workload asks: %v", err)
	}
	sent, err := c.ask("ana", timerSet("t"))
	if err != nil || len(sent.Request) != 64 || sent.Height == 0 {
		t.Fatalf("ask: %+v, %v", sent, err)
	}
	again, err := c.ask("ana", timerSet("t"))
	if err != nil || again.Request != sent.Request {
		t.Errorf("asking again gives %+v, %v; want the one that waits", again, err)
	}
	r := c.request(sent.Request[:6])
	if r.ID != sent.Request || r.State != "open" || r.Purpose != "test" || r.Rule != "timer.set" || r.Object != "timer t" || !strings.Contains(r.Says, "Cancel the timer other.") {
		t.Errorf("request: %+v", r)
	}
	if want := (action.Need{Approvals: 2, Operators: 2}); r.Need != want || r.Waits == nil || r.Waits.Missing != want {
		t.Errorf("needs %+v, misses %+v", r.Need, r.Waits)
	}
	if want := []string{"ana", "bhavik", "carol", "dinesh"}; !slices.Equal(r.Waits.Could, want) {
		t.Errorf("could approve: %v, want %v", r.Waits.Could, want)
	}
	if err := c.decide("robot", sent.Request, action.Approve); status(err) != http.StatusForbidden {
		t.Errorf("a workload approves: %v", err)
	}
	// ana and dinesh are of one operator: together they are too few.
	for _, who := range []string{"ana", "dinesh"} {
		if err := c.decide(who, sent.Request, action.Approve); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.decide("ana", sent.Request, action.Approve); status(err) != http.StatusConflict {
		t.Errorf("twice by one human: %v", err)
	}
	r = c.request(sent.Request)
	if want := (action.Need{Operators: 1}); r.State != "open" || r.Waits.Missing != want || !slices.Equal(r.Waits.Could, []string{"bhavik", "carol"}) {
		t.Errorf("after two of one operator: %s, waits for %+v", r.State, r.Waits)
	}
	if err := c.decide("carol", sent.Request, action.Approve); err != nil {
		t.Fatal(err)
	}
	if r = c.request(sent.Request); r.State != "executed" || r.Waits != nil || r.Closed == nil || len(r.Approvals) != 3 {
		t.Errorf("in the end: %+v", r)
	}
	timers, err := c.client.Timers(t.Context())
	if err != nil || len(timers) != 1 || timers[0].Name != "t" || timers[0].By != "member/ana" || timers[0].Every != "1m0s" || timers[0].Rule != "timer.cancel" {
		t.Errorf("timers: %+v, %v", timers, err)
	}
	if err := c.decide("bhavik", sent.Request, action.Veto); status(err) != http.StatusConflict {
		t.Errorf("a veto that comes late: %v", err)
	}
}

// TestRequestLists pages and filters.
func TestRequestLists(t *testing.T) {
	c := newCouncil(t)
	var ids []string
	for i, who := range []string{"ana", "bhavik", "ana", "carol"} {
		sent, err := c.ask(who, timerSet(fmt.Sprintf("t%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		ids = append([]string{sent.Request}, ids...) // the latest first
	}
	if err := c.decide("carol", ids[0], action.Cancel); err != nil {
		t.Fatal(err)
	}
	list := func(query string) (got []string, next string) {
		t.Helper()
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		page, err := c.client.Requests(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Requests {
			got = append(got, r.ID)
			if r.Action != "" || r.Details != nil {
				t.Errorf("a list carries whole actions: %+v", r)
			}
		}
		return got, page.Next
	}
	for query, want := range map[string][]string{
		"": ids[1:], "state=live": ids[1:], "state=all": ids, "state=cancelled": ids[:1], "state=executed": nil,
		"by=ana": {ids[1], ids[3]}, "by=member/bhavik": {ids[2]}, "rule=timer.set": ids[1:], "rule=key.freeze": nil, "object=t0": {ids[3]},
		"state=all&limit=2": ids[:2], "state=all&after=" + ids[1]: ids[2:], "limit=0": nil,
	} {
		if got, _ := list(query); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", query, got, want)
		}
	}
	if _, next := list("state=all&limit=2"); next != ids[1] {
		t.Errorf("next is %q, want %q", next, ids[1])
	}
	for _, target := range []string{"/v1/requests?limit=x", "/v1/requests?state=pending", "/v1/requests/abc", "/v1/requests/xyzw"} {
		if w := c.do("GET", target, ""); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	if w := c.do("GET", "/v1/requests/"+strings.Repeat("0", 64), ""); w.Code != http.StatusNotFound {
		t.Errorf("a request that is none: %d", w.Code)
	}
}

// TestRequestOfALyingNode: whatever a node changes in its account of what is
// signed, the id tells.
func TestRequestOfALyingNode(t *testing.T) {
	c := newCouncil(t)
	sent, err := c.ask("ana", timerSet("t"))
	if err != nil {
		t.Fatal(err)
	}
	honest := c.request(sent.Request)
	if _, _, _, err := honest.Verify(c.cluster); err != nil {
		t.Fatalf("an honest one: %v", err)
	}
	other := hex.EncodeToString(timerSet("u").Encode())
	for name, lie := range map[string]func(r *Request){
		"id":     func(r *Request) { r.ID = strings.Repeat("0", 64) },
		"action": func(r *Request) { r.Action = other },
		"nonce":  func(r *Request) { r.Nonce = strings.Repeat("0", 64) },
		"policy": func(r *Request) { r.Policy = strings.Repeat("0", 64) },
		"by":     func(r *Request) { r.By = "member/bhavik" },
		"hex":    func(r *Request) { r.Action += "0" },
		"none":   func(r *Request) { *r = Request{} },
	} {
		r := honest
		lie(&r)
		if _, _, _, err := r.Verify(c.cluster); err == nil {
			t.Errorf("%s: it verifies", name)
		}
	}
	if _, _, _, err := honest.Verify(action.ClusterID{8}); err == nil {
		t.Error("it verifies in another cluster")
	}
}

// TestMembersAndPolicy shows what is on the ledger, and numbers that fit.
func TestMembersAndPolicy(t *testing.T) {
	c := newCouncil(t)
	members, err := c.client.Members(t.Context())
	if err != nil || len(members) != 5 || members[0].ID != "ana" || !members[4].Workload || members[0].NextNonce != 1 {
		t.Fatalf("members: %+v, %v", members, err)
	}
	sent, err := c.ask("ana", &action.Action{Rule: action.RuleSuspend, Name: "bhavik", Until: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.decide("ana", sent.Request, action.Approve), c.decide("carol", sent.Request, action.Approve)); err != nil {
		t.Fatal(err)
	}
	if m, err := c.client.Member(t.Context(), "bhavik"); err != nil || m.Suspended == nil || m.Suspended.UnixMilli() != 1e6 {
		t.Errorf("suspended: %+v, %v", m, err)
	}
	if m, err := c.client.Member(t.Context(), "ana"); err != nil || m.NextNonce != 3 || m.Record().Check() != nil {
		t.Errorf("after one transaction: %+v, %v", m, err)
	}
	if _, err := c.client.Member(t.Context(), "nobody"); status(err) != http.StatusNotFound {
		t.Errorf("nobody: %v", err)
	}
	p, err := c.client.Policy(t.Context())
	if err != nil || p.Document != string(policy.Team()) || p.Name != "team" || len(p.Principals) != 5 || !strings.Contains(p.Means, "unfreeze") {
		t.Errorf("policy: %.200v, %v", p, err)
	}
}

// TestProposals: what a member is given to sign says what was asked for.
func TestProposals(t *testing.T) {
	c := newCouncil(t)
	index, epoch := uint64(7), uint64(5)
	raw, err := c.client.ProposeExit(t.Context(), fmt.Sprintf("0x%x", someKey), Exit{&index, &epoch})
	if err != nil {
		t.Fatal(err)
	}
	a, words, err := ReadAction(raw)
	if err != nil || a.Rule != action.RuleExit || !strings.Contains(words.Says, "validator 7, valid from epoch 5 on") {
		t.Errorf("exit: %+v, %v", words, err)
	}
	proposed, err := c.client.ProposeCeremony(t.Context(), OpenCeremony{Keys: 2, Purpose: "p"})
	if err != nil || len(proposed) != 1 {
		t.Fatalf("keygen: %+v, %v", proposed, err)
	}
	if raw, err = hex.DecodeString(proposed[0].Action); err != nil {
		t.Fatal(err)
	}
	if _, words, err = ReadAction(raw); err != nil || words.Says != "Make 2 keys: any 3 of 4 holders sign, fewer know nothing." {
		t.Errorf("keygen: %+v, %v", words, err)
	}
	for name, req := range map[string]OpenCeremony{"no keys": {}, "new keys with names": {Keys: 1, PublicKeys: []string{fmt.Sprintf("0x%x", someKey)}},
		"no mode": {Mode: "rot13"}, "a number of old keys": {Mode: "refresh", Keys: 1}} {
		if got, err := c.client.ProposeCeremony(t.Context(), req); status(err) != http.StatusBadRequest {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestProposedRenewals: keys that are shared alike are proposed together, with
// commitments that the action has the root of, and no others.
func TestProposedRenewals(t *testing.T) {
	c := newCouncil(t)
	first, other, third := c.share(1, 0), c.share(2, 5), c.share(3, 0)
	proposed, err := c.client.ProposeCeremony(t.Context(), OpenCeremony{Mode: "refresh", Hybrid: true, Purpose: "p"})
	if err != nil || len(proposed) != 2 {
		t.Fatalf("%+v, %v", proposed, err)
	}
	var params []dkg.Params
	for i, want := range [][][]byte{{first, third}, {other}} {
		raw, err := hex.DecodeString(proposed[i].Action)
		if err != nil {
			t.Fatal(err)
		}
		a, words, err := ReadAction(raw)
		if err != nil || a.Rule != action.RuleRefresh || a.Ceremony.Purpose != "p" || words.Says != proposed[i].Says {
			t.Fatalf("%+v, %v", words, err)
		}
		p, err := dkg.ParseParams(a.Ceremony.Params)
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := RenewedKeys(p, proposed[i].Commitments); err != nil || !slices.EqualFunc(keys, want, bytes.Equal) {
			t.Errorf("proposal %d is about %x, %v; want %x", i, keys, err, want)
		}
		params = append(params, p)
	}
	whole := proposed[0].Commitments
	for name, lie := range map[string][]string{
		"another key": {whole[0], proposed[1].Commitments[0]}, "another order": {whole[1], whole[0]}, "one less": whole[:1], "none": nil,
		"no hex": {whole[0], "x"}, "short": {whole[0], whole[1][2:]}, "empty": {"", ""},
	} {
		if keys, err := RenewedKeys(params[0], lie); err == nil {
			t.Errorf("%s: keys %x", name, keys)
		}
	}
	curve := params[0]
	curve.Suite, curve.Old.T = dkg.SuiteRistretto, 1
	if keys, err := RenewedKeys(curve, []string{hex.EncodeToString(make([]byte, 32)), hex.EncodeToString(make([]byte, 32))}); err == nil {
		t.Errorf("another curve: keys %x", keys)
	}
	if _, err := c.client.ProposeCeremony(t.Context(), OpenCeremony{Mode: "refresh", PublicKeys: []string{fmt.Sprintf("0x%x", someKey)}}); status(err) != http.StatusNotFound {
		t.Errorf("an unknown key: %v", err)
	}
}

// TestPending: what waits answers 202 with the request's id, at every route.
func TestPending(t *testing.T) {
	c := newCouncil(t)
	c.refuse = fmt.Errorf("open ceremony: %w", &ledger.Waiting{Request: [32]byte{0xab}})
	c.keys.refuse = &ledger.Waiting{Request: [32]byte{0xcd}}
	authorised := NewClient(c.client.base, secret.New([]byte(token)))
	var p *Pending
	if _, err := authorised.Open(t.Context(), OpenCeremony{Keys: 1}); !errors.As(err, &p) || !strings.HasPrefix(p.Request, "ab00") || !strings.Contains(p.Hint, "quorate request show ab00") {
		t.Errorf("ceremony: %v", err)
	}
	if _, err := authorised.Exit(t.Context(), fmt.Sprintf("0x%x", someKey), Exit{}); !errors.As(err, &p) || !strings.HasPrefix(p.Request, "cd00") {
		t.Errorf("exit: %v", err)
	}
	sent, err := c.ask("ana", timerSet("t"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.ExitGranted(t.Context(), sent.Request[:8]); !errors.As(err, &p) {
		t.Errorf("exit of a request: %v", err)
	}
	c.keys.refuse = nil
	if got, err := c.client.ExitGranted(t.Context(), sent.Request[:8]); err != nil || got.Message.ValidatorIndex != 7 {
		t.Errorf("exit of a request: %+v, %v", got, err)
	}
}

// TestExitOf: an exit that was granted at once is named by its action.
func TestExitOf(t *testing.T) {
	c := newCouncil(t)
	if got, err := c.client.ExitOf(t.Context(), []byte{1, 2}); err != nil || got.Message.ValidatorIndex != 8 || !slices.Contains(c.keys.asked, "exit by 0102") {
		t.Errorf("exit: %+v, %v; asked %v", got, err, c.keys.asked)
	}
	for _, body := range []string{``, `{"action":"0"}`, `{"other":1}`} {
		if w := c.do("POST", "/v1/exits", body); w.Code != http.StatusBadRequest {
			t.Errorf("%q: %d", body, w.Code)
		}
	}
}

// TestGrantedBeyondLoopback: over a network even what was agreed on is carried
// out for no one without a token or a session.
func TestGrantedBeyondLoopback(t *testing.T) {
	c := newCouncil(t)
	config := c.server.config
	config.Listen = "10.0.0.1:9003"
	var err error
	if c.server, err = New(config); err != nil {
		t.Fatal(err)
	}
	for _, route := range []string{"GET /v1/requests", "GET /v1/requests/abcd", "POST /v1/requests/abcd/exit", "POST /v1/exits", "POST /v1/ceremonies/proposal", "GET /v1/members", "GET /v1/policy", "GET /v1/timers"} {
		method, path, _ := strings.Cut(route, " ")
		if w := c.do(method, path, "{}"); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d without a token", route, w.Code)
		}
		if w := c.do(method, path, "{}", "Authorization", "Bearer "+token); w.Code == http.StatusUnauthorized {
			t.Errorf("%s: %d with the token", route, w.Code)
		}
	}
}

// TestReadAction: every kind of action has words, and no value breaks its line
// or paints over others.
func TestReadAction(t *testing.T) {
	key := make([]byte, 48)
	member := func() *action.MemberRecord {
		k, _, err := ident.Generate(ident.Ed25519, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return &action.MemberRecord{ID: "eve", Name: "Eve\nroles  custodian\x1b[2J", Operator: "o", Region: "r", Keys: []ident.PublicKey{k.Public()}}
	}
	graffiti := "a\nb"
	onKey := func(a action.Action) *action.Action {
		a.Domain, a.PublicKey = action.DomainValidator, key
		return &a
	}
	exit := eth.EncodeDuty(eth.Duty{Message: &eth.VoluntaryExit{Epoch: 5, ValidatorIndex: 7}})
	deposit := eth.EncodeDuty(eth.Duty{Message: &eth.Deposit{DepositMessage: eth.DepositMessage{Amount: 32e9}}})
	keygen, err := newFixture(t).KeygenAction(2, action.UseDuties, true, "p\nq", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*action.Action{
		onKey(action.Action{Rule: action.RuleExit, Duty: exit}), onKey(action.Action{Rule: action.RuleDeposit, Duty: deposit}),
		onKey(action.Action{Rule: action.RuleSettings, Settings: action.SettingsChange{Set: action.ProposerSettings{Graffiti: &graffiti}, Open: action.FieldGasLimit}}),
		onKey(action.Action{Rule: action.RuleArchive}), onKey(action.Action{Rule: action.RuleFreeze, Until: 1}), onKey(action.Action{Rule: action.RuleUnfreeze}),
		assemblytest.New(t, 10, 2, 3, nil).Action("p\nq"),
		keygen, {Rule: action.RuleEnrol, Member: member()}, {Rule: action.RuleUpdate, Member: member()},
		{Rule: action.RuleRemove, Name: "eve"}, {Rule: action.RuleSuspend, Name: "eve", Until: 1}, {Rule: action.RuleReinstate, Name: "eve"},
		{Rule: action.RulePolicy, Document: policy.Team()}, timerSet("t"), {Rule: action.RuleTimerCancel, Name: "t"},
		{Rule: action.RuleHistory, Domain: action.DomainValidator, History: action.History{Keys: 2}},
	} {
		parsed, w, err := ReadAction(a.Encode())
		if err != nil || parsed.Rule != a.Rule || w.Rule != string(a.Rule) || w.Object == "" || !strings.HasSuffix(w.Says, ".") {
			t.Errorf("%s: %+v, %v", a.Rule, w, err)
		}
		for _, d := range w.Details {
			if d.Name != "means" && strings.ContainsAny(d.Value, "\n\r\x1b") {
				t.Errorf("%s: %s is %q", a.Rule, d.Name, d.Value)
			}
		}
	}
	for name, a := range map[string]*action.Action{
		"a deposit called an exit": onKey(action.Action{Rule: action.RuleExit, Duty: deposit}),
		"an exit called a deposit": onKey(action.Action{Rule: action.RuleDeposit, Duty: exit}),
		"no duty":                  onKey(action.Action{Rule: action.RuleExit}),
		"no policy":                {Rule: action.RulePolicy, Document: []byte("x")},
	} {
		if _, w, err := ReadAction(a.Encode()); err == nil {
			t.Errorf("%s reads as %q", name, w.Says)
		}
	}
}
