package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/policy"
)

// liar is a node that says what the test wants, and remembers what was handed
// to it to be signed for.
type liar struct {
	*httptest.Server
	cluster  action.ClusterID
	request  opsapi.Request
	proposed []opsapi.Proposal
	prepared int
	body     []byte // of what it was asked last to prepare
	member   opsapi.Member
}

func newLiar(t *testing.T, credential ident.PublicKey) *liar {
	l := &liar{cluster: action.ClusterID{7}, member: opsapi.Member{ID: "ana", Operator: "o", Region: "r", Credentials: []ident.PublicKey{credential}}}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var v any
		switch path := r.URL.Path; {
		case path == "/v1/status":
			v = opsapi.Status{Cluster: l.cluster.String()}
		case path == "/v1/members":
			v = []opsapi.Member{l.member}
		case strings.HasPrefix(path, "/v1/requests/"):
			v = l.request
		case path == "/v1/ceremonies/proposal":
			v = l.proposed
		default:
			l.prepared++
			l.body, _ = io.ReadAll(r.Body)
			w.WriteHeader(http.StatusServiceUnavailable)
			v = opsapi.Error{Text: "enough"}
		}
		json.NewEncoder(w).Encode(v)
	}))
	t.Cleanup(l.Close)
	return l
}

// honest is a request as a node that does not lie shows it.
func (l *liar) honest(a *action.Action) opsapi.Request {
	q := action.Request{Action: a.Encode(), Nonce: [32]byte{1}, Policy: [32]byte{2}, By: "member/bhavik"}
	id := q.ID(l.cluster)
	return opsapi.Request{ID: hex.EncodeToString(id[:]), Action: hex.EncodeToString(q.Action), Nonce: hex.EncodeToString(q.Nonce[:]),
		Policy: hex.EncodeToString(q.Policy[:]), By: q.By, Words: opsapi.Words{Says: "Nothing of importance."}, State: "open",
		Waits: &opsapi.Waits{Missing: action.Need{Approvals: 1}, Could: []string{"ana"}}}
}

func keyFile(t *testing.T) (path string, public ident.PublicKey) {
	t.Helper()
	file, public, err := credential.GenerateUnsealed(rand.Reader, ident.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "ana.key")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, public
}

func (l *liar) run(identity string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(context.Background(), append(args, "--address", l.URL, "--identity", identity), &out, &errs)
	return code, out.String(), errs.String()
}

// TestApproveBelievesNothing: what is shown before an approval is signed comes
// from the bytes that the id names, and a node that shows others gets nothing.
func TestApproveBelievesNothing(t *testing.T) {
	identity, public := keyFile(t)
	l := newLiar(t, public)
	unfreeze := &action.Action{Rule: action.RuleUnfreeze, Domain: action.DomainValidator, PublicKey: make([]byte, 48)}
	archive := &action.Action{Rule: action.RuleArchive, Domain: action.DomainValidator, PublicKey: make([]byte, 48)}
	real := l.honest(archive)
	l.request = real
	code, _, stderr := l.run(identity, "request", "approve", real.ID[:8], "--yes")
	if !strings.Contains(stderr, "Stop the key for good.") || strings.Contains(stderr, "Nothing of importance") || code != int(exitUnavailable) || l.prepared != 1 {
		t.Errorf("an honest node: exit %d, prepared %d:\n%s", code, l.prepared, stderr)
	}
	l.prepared = 0
	other := l.honest(unfreeze)
	for name, shown := range map[string]opsapi.Request{
		"another action under its id": func() opsapi.Request { r := real; r.Action = other.Action; return r }(),
		"another request altogether":  other,
		"another asker":               func() opsapi.Request { r := real; r.By = "member/carol"; return r }(),
	} {
		l.request = shown
		if code, _, stderr := l.run(identity, "request", "approve", real.ID, "--yes"); code == 0 || l.prepared != 0 {
			t.Errorf("%s: exit %d, prepared %d: %s", name, code, l.prepared, stderr)
		}
	}
	l.request = real
	if code, _, stderr := l.run(identity, "request", "approve", real.ID); code != int(exitBadUse) || l.prepared != 0 || !strings.Contains(stderr, "--yes") {
		t.Errorf("nobody to confirm: exit %d, prepared %d: %s", code, l.prepared, stderr)
	}
}

// TestPin: an identity signs for the cluster of its first use and for no other.
func TestPin(t *testing.T) {
	identity, public := keyFile(t)
	l := newLiar(t, public)
	l.request = l.honest(&action.Action{Rule: action.RuleReinstate, Name: "x"})
	approve := func() (int, string) {
		code, _, stderr := l.run(identity, "request", "approve", l.request.ID, "--yes")
		return code, stderr
	}
	if _, stderr := approve(); !strings.Contains(stderr, "first use of this identity") {
		t.Errorf("first use: %s", stderr)
	}
	if _, stderr := approve(); strings.Contains(stderr, "first use") {
		t.Errorf("second use: %s", stderr)
	}
	l.prepared = 0
	l.cluster = action.ClusterID{8}
	l.request = l.honest(&action.Action{Rule: action.RuleReinstate, Name: "x"})
	if code, stderr := approve(); code != int(exitDenied) || l.prepared != 0 || !strings.Contains(stderr, "nothing is signed") {
		t.Errorf("another cluster: exit %d: %s", code, stderr)
	}
	if err := os.WriteFile(identity+pinSuffix, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stderr := approve(); code != int(exitFailed) || l.prepared != 0 {
		t.Errorf("a damaged pin: exit %d: %s", code, stderr)
	}
	_, stranger := keyFile(t)
	l.member.Credentials = []ident.PublicKey{stranger}
	os.Remove(identity + pinSuffix)
	if code, stderr := approve(); code != int(exitDenied) || !strings.Contains(stderr, "quorate member enrol") {
		t.Errorf("nobody's credential: exit %d: %s", code, stderr)
	}
}

func TestStanding(t *testing.T) {
	at := time.Unix(1e9, 0).UTC()
	for want, r := range map[string]opsapi.Request{
		"waits for 2 approvals from 2 more operators in 1 more region until 2001-09-09 01:46:40Z; a, b or c could give them": {Deadline: at,
			Waits: &opsapi.Waits{Missing: action.Need{Approvals: 2, Operators: 2, Regions: 1}, Could: []string{"a", "b", "c"}}},
		"waits for 1 approval from 1 more operator until 2001-09-09 01:46:40Z; nobody could give it now": {Deadline: at,
			Waits: &opsapi.Waits{Missing: action.Need{Operators: 1}}},
		"is agreed and happens at 2001-09-09 01:46:40Z, not below height 9; a can veto": {Lock: opsapi.Lock{UntilHeight: 9},
			Waits: &opsapi.Waits{Opens: &at, Veto: []string{"a"}}},
		"is agreed and waits for the next block, from which 5s and 2 blocks count; a can veto": {State: "locked", Deadline: at,
			Lock: opsapi.Lock{Time: "5s", Blocks: 2}, Waits: &opsapi.Waits{Veto: []string{"a"}}},
		"is agreed, but no window opens before its deadline 2001-09-09 01:46:40Z": {Deadline: at, Waits: &opsapi.Waits{}},
		"vetoed at 2001-09-09 01:46:40Z: by member/a":                             {State: "vetoed", Closed: &at, Reason: "by member/a"},
	} {
		if got := standing(r); got != want {
			t.Errorf("%q\nwant %q", got, want)
		}
	}
}

// TestPrintable: what others wrote does not move the cursor.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{"Zoë 東": "Zoë 東", "a\x1b[2Jb": "a\ufffd[2Jb", "a\rb\nc\td": "a\ufffdb\ufffdc\ufffdd", "\u202eevil": "\ufffdevil"} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestComposed: a timer takes what a command would ask for, byte for byte.
func TestComposed(t *testing.T) {
	a := &app{stdout: os.Stdout, stderr: os.Stderr, address: "127.0.0.1:1"}
	key := strings.Repeat("ab", 48)
	raw, err := a.composed(t.Context(), []string{"key", "unfreeze", key})
	if err != nil {
		t.Fatal(err)
	}
	got, err := action.ParseAction(raw)
	if err != nil || got.Rule != action.RuleUnfreeze || hex.EncodeToString(got.PublicKey) != key {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestWalkthrough: the scenario's policy compiles, says what the walk needs,
// and the team can always change it, even without one of its custodians.
func TestWalkthrough(t *testing.T) {
	doc, err := walkthrough()
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	var all []policy.Principal
	for _, m := range team().people {
		kind := "human"
		if m.Workload {
			kind = "workload"
		}
		all = append(all, policy.Principal{ID: m.ID, Kind: kind, Operator: m.Operator, Region: m.Region, Roles: m.Roles})
	}
	if err := p.Lockout(all); err != nil {
		t.Error(err)
	}
	if err := p.Lockout(all[1:]); err != nil {
		t.Errorf("without ana: %v", err)
	}
	for _, zone := range sites() {
		if !bytes.Contains(doc, []byte("\n  "+zone.zone+":\n")) {
			t.Errorf("%s is not pinned", zone.zone)
		}
	}
	q := policy.Query{Action: "sign.voluntary_exit", Principal: all[0], Resource: policy.Resource{Kind: "key", ID: "k"}}
	if terms, err := p.Terms(q); err != nil || terms.Approvals != 2 || terms.Operators != 2 || terms.Delay.Time > 10_000 {
		t.Errorf("an exit takes %+v, %v", terms, err)
	}
}

// TestPolicyErrorsHaveAPlace: each error of a document begins as compilers' do.
func TestPolicyErrorsHaveAPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(path, []byte("version: 1\npermission: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := compileFile(path)
	if code, _ := explain(err); code != exitBadUse || !strings.Contains(err.Error(), "\n"+path+":2:1: ") {
		t.Errorf("exit %d: %v", code, err)
	}
}
