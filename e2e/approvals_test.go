package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/policy"
)

// council is a cluster that gets cut into parts, and people who ask, approve,
// veto and cancel at all of its nodes meanwhile.
type council struct {
	*netCluster
	people    []*councillor
	clusterID action.ClusterID
	policy    [32]byte

	mu    sync.Mutex
	ops   map[string]*op // by transaction
	pool  []*asked
	reads []look
}

// councillor does one thing after the other, at a node of his choice.
type councillor struct {
	id, operator string
	key          ident.PrivateKey
	nonce        uint64
	chance       *rand.Rand
}

// asked is a request, whether or not the ledger has it.
type asked struct {
	id     [32]byte
	action []byte
	by     string
}

// op is what somebody did, and what came of it.
type op struct {
	who           string
	at            int // the node
	verb          string
	request       [32]byte
	called, ended time.Time
	acked, denied bool // neither: nobody knows
	answer        string
}

// look is what a node showed of a request.
type look struct {
	node    int
	request [32]byte
	called  time.Time
	state   string
	agreed  int
}

func newCouncil(t *testing.T, seed uint64) *council {
	c := &council{ops: map[string]*op{}}
	dir := t.TempDir()
	doc := strings.Replace(string(policy.Dev()), "tiers:\n", `tiers:
  - name: two
    actions: [key.settings]
    when: principal.kind == "human"
    approvals: 2
    operators: 2
    approvers: [custodian]
    self_approval: true
    veto: [custodian]
`, 1)
	write := func(name string, raw []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	founding := []string{"--policy", write("policy.yaml", []byte(doc))}
	for i, id := range []string{"ana", "bo", "cy", "dan", "eve"} {
		sum := sha256.Sum256([]byte(id))
		key, err := ident.FromSeed(ident.Ed25519, append(sum[:], sum[:]...))
		if err != nil {
			t.Fatal(err)
		}
		p := &councillor{id: id, operator: fmt.Sprintf("operator%d", i%4), key: key, chance: rand.New(rand.NewPCG(seed, uint64(i)))}
		raw, err := json.Marshal(action.MemberRecord{ID: id, Name: id, Operator: p.operator, Region: "here", Roles: []string{action.RoleCustodian}, Keys: []ident.PublicKey{key.Public()}})
		if err != nil {
			t.Fatal(err)
		}
		founding = append(founding, "--member", write(id+".json", raw))
		c.people = append(c.people, p)
	}
	c.netCluster = newNetCluster(t, 1, founding...)
	c.http.Timeout = 4 * time.Second
	compiled, err := policy.Compile([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	c.policy = compiled.Hash()
	var st opsapi.Status
	if err := c.get(0, "/v1/status", &st); err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(st.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	c.clusterID = action.ClusterID(raw)
	return c
}

// sign makes a transaction of somebody.
func (c *council) sign(p *councillor, kind action.Kind, body []byte) (hash string, post string) {
	p.nonce++
	tx := action.Tx{Cluster: c.clusterID, Kind: kind, Signer: action.Signer{Class: action.SignerMember, Name: p.id}, Nonce: p.nonce, Body: body}
	raw := tx.Sign(p.key)
	sum := action.HashTx(raw)
	parsed, err := action.ParseTx(raw)
	if err != nil {
		c.t.Error(err)
	}
	text, err := json.Marshal(opsapi.Submit{Transaction: hex.EncodeToString(tx.Unsigned()), Signature: opsapi.Signature{Signature: credential.Base64URL(parsed.Signature)}})
	if err != nil {
		c.t.Error(err)
	}
	return hex.EncodeToString(sum[:]), string(text)
}

// act has somebody do the next thing.
func (c *council) act(p *councillor) {
	c.mu.Lock()
	recent := slices.Clone(c.pool[max(0, len(c.pool)-6):])
	c.mu.Unlock()
	o := &op{who: "member/" + p.id, at: p.chance.IntN(len(c.nodes))}
	var hash, post string
	if n := p.chance.IntN(10); n < 3 || len(recent) == 0 {
		key := c.keys[0].Bytes()
		words := fmt.Sprintf("%s %d", p.id, p.nonce)
		a := &action.Action{Rule: action.RuleSettings, Domain: action.DomainValidator, PublicKey: key[:], Settings: action.SettingsChange{Set: action.ProposerSettings{Graffiti: &words}}}
		hash, post = c.sign(p, action.KindRequest, ledger.Ask{Action: a}.Encode())
		raw, _ := hex.DecodeString(hash)
		r := &asked{action: a.Encode(), by: o.who}
		r.id = (&action.Request{Action: r.action, Nonce: [32]byte(raw), Policy: c.policy, By: r.by}).ID(c.clusterID)
		o.verb, o.request = "requested", r.id
		defer func() {
			c.mu.Lock()
			c.pool = append(c.pool, r) // others hear of it when it is on its way
			c.mu.Unlock()
		}()
	} else {
		r := recent[p.chance.IntN(len(recent))]
		d := action.Decision{Request: r.id, Action: action.HashAction(c.clusterID, r.action), Policy: c.policy, Verdict: action.Approve}
		o.verb, o.request = "approved", r.id
		switch {
		case n == 3:
			d.Verdict, o.verb = action.Veto, "vetoed"
		case n == 4 && r.by == o.who:
			d.Verdict, o.verb = action.Cancel, "cancelled"
		}
		hash, post = c.sign(p, action.KindDecision, d.Encode())
	}
	o.called = time.Now()
	status, answer := c.request(http.MethodPost, c.nodes[o.at].Ops+"/v1/transactions", "", post)
	o.ended, o.answer = time.Now(), answer
	switch status {
	case http.StatusOK, http.StatusAccepted, http.StatusCreated:
		o.acked = true
	case http.StatusNotFound, http.StatusConflict, http.StatusForbidden:
		o.denied = true
	}
	c.mu.Lock()
	c.ops[hash] = o
	c.mu.Unlock()
}

// look reads a request at a node.
func (c *council) look(node int, chance *rand.Rand) {
	c.mu.Lock()
	recent := slices.Clone(c.pool[max(0, len(c.pool)-6):])
	c.mu.Unlock()
	if len(recent) == 0 {
		return
	}
	l := look{node: node, request: recent[chance.IntN(len(recent))].id, called: time.Now()}
	var r opsapi.Request
	status, answer := c.request(http.MethodGet, fmt.Sprintf("%s/v1/requests/%x", c.nodes[node].Ops, l.request), "", "")
	switch {
	case status == http.StatusNotFound:
		l.state = "none"
	case status != http.StatusOK:
		return
	case json.Unmarshal([]byte(answer), &r) != nil:
		c.t.Errorf("node%d answers %s", node, answer)
		return
	default:
		l.state, l.agreed = r.State, len(r.Approvals)
	}
	c.mu.Lock()
	c.reads = append(c.reads, l)
	c.mu.Unlock()
}

// approvals cuts a cluster into random parts, again and again, while people
// decide on requests at all of its nodes. The audit log says in which order
// what they did took effect. It must be an order in which the rules allow all
// of it, in which everything that was acknowledged stands once, between its
// call and its answer, and in which each refusal and each read has a place.
func approvals(t *testing.T, partitions int) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 99))
	c := newCouncil(t, seed)
	all := &clients{done: make(chan struct{})}
	for _, p := range c.people {
		all.again(func() { c.act(p) })
	}
	for node := range c.nodes {
		own := rand.New(rand.NewPCG(seed, uint64(100+node)))
		all.again(func() { c.look(node, own) })
	}
	c.cutAtRandom(chance, partitions)
	for range 50 { // until there is something of each kind to judge
		if c.missing() == "" {
			break
		}
		c.cutAtRandom(chance, 1)
	}
	took := c.healed(0, 1<<20)
	all.end()
	c.whole(healTime)
	for _, complaint := range judgeApprovals(c.effects(), c.ops, c.reads, c.people) {
		t.Error(complaint)
	}
	t.Logf("%d partitions, whole again after %s; %v, %d reads", partitions, took.Round(time.Millisecond), c.counts(), len(c.reads))
	if what := c.missing(); what != "" {
		t.Errorf("nothing was %s: the test has shown nothing", what)
	}
}

// counts says how often what became of what people did.
func (c *council) counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := map[string]int{"all": len(c.ops)}
	for _, o := range c.ops {
		switch {
		case o.acked:
			counts[o.verb]++
		case o.denied:
			counts["refused"]++
		default:
			counts["unknown"]++
		}
	}
	return counts
}

// missing names what has to have happened and has not, "" for nothing.
func (c *council) missing() string {
	counts := c.counts()
	for _, what := range []string{"requested", "approved", "vetoed", "refused", "unknown"} {
		if counts[what] == 0 {
			return what
		}
	}
	return ""
}

// effect is an entry of the audit log about a request.
type effect struct {
	kind, actor, tx string
	request         [32]byte
}

func (c *council) effects() (out []effect) {
	c.t.Helper()
	for from := uint64(0); ; {
		var page opsapi.Events
		if err := c.get(0, fmt.Sprintf("/v1/events?from=%d&limit=1000", from), &page); err != nil {
			c.t.Fatal(err)
		}
		for _, e := range page.Events {
			if id, ok := strings.CutPrefix(e.Object, "request/"); ok {
				raw, err := hex.DecodeString(id)
				if err != nil {
					c.t.Fatal(err)
				}
				out = append(out, effect{e.Kind, e.Actor, e.Request, [32]byte(raw)})
			}
		}
		if from += uint64(len(page.Events)); from >= page.Size || len(page.Events) == 0 {
			return out
		}
	}
}

// fate is what became of a request: places count effects from 1.
type fate struct {
	opened, ended int            // 0: never
	agreed        map[string]int // when who agreed
	operators     map[string]bool
	end           string
}

// over is the place from which on nothing can be said any more.
func (f *fate) over() int {
	if f.ended == 0 {
		return 1 << 30
	}
	return f.ended
}

// judgeApprovals says what contradicts one order of everything.
func judgeApprovals(order []effect, ops map[string]*op, reads []look, people []*councillor) (wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	operator := map[string]string{}
	for _, p := range people {
		operator["member/"+p.id] = p.operator
	}
	fates := map[[32]byte]*fate{}
	of := func(id [32]byte) *fate {
		if fates[id] == nil {
			fates[id] = &fate{agreed: map[string]int{}, operators: map[string]bool{}}
		}
		return fates[id]
	}
	places := map[string]int{}
	for i, e := range order {
		at, f := i+1, of(e.request)
		live := f.opened > 0 && f.ended == 0
		enough := len(f.agreed) >= 2 && len(f.operators) >= 2
		if e.kind != "executed" {
			if _, twice := places[e.tx]; twice {
				complain("transaction %s took effect twice", e.tx)
			}
			places[e.tx] = at
			if o := ops[e.tx]; o == nil || o.verb != e.kind || o.request != e.request || o.who != e.actor {
				complain("the log has %s of %x by %s, which nobody did", e.kind, e.request[:4], e.actor)
			}
			if live && enough {
				complain("request %x was agreed on, and %s in place of executed", e.request[:4], e.kind)
			}
		}
		switch {
		case e.kind == "requested" && f.opened == 0:
			f.opened = at
		case e.kind == "approved" && live && f.agreed[e.actor] == 0:
			f.agreed[e.actor], f.operators[operator[e.actor]] = at, true
		case (e.kind == "vetoed" || e.kind == "cancelled") && live:
			f.ended, f.end = at, e.kind
		case e.kind == "executed" && live && enough:
			f.ended, f.end = at, e.kind
		default:
			complain("request %x was %s out of turn, at %d", e.request[:4], e.kind, at)
		}
	}
	wrong = append(wrong, judgeTimes(order, ops, places)...)
	between := bounds(ops, places, len(order))
	for tx, o := range ops {
		if o.denied && places[tx] != 0 {
			complain("%s by %s was refused and took effect: %s", o.verb, o.who, o.answer)
		} else if o.denied {
			lo, hi := between(o.called, o.ended)
			f := of(o.request)
			agreed := f.agreed[o.who]
			if !(f.opened == 0 || lo < f.opened || hi >= f.over() || o.verb == "approved" && agreed > 0 && hi >= agreed) {
				complain("%s by %s was refused at no place where the rules do (%d to %d; opened %d, over %d): %s", o.verb, o.who, lo, hi, f.opened, f.over(), o.answer)
			}
		}
	}
	return append(wrong, judgeReads(reads, ops, places, fates)...)
}

// judgeTimes holds the order against the times of calls and answers: what was
// answered before something else was called comes before it.
func judgeTimes(order []effect, ops map[string]*op, places map[string]int) (wrong []string) {
	var first time.Time
	for _, e := range slices.Backward(order) {
		o := ops[e.tx]
		if o == nil || e.kind == "executed" {
			continue
		}
		if !first.IsZero() && o.called.After(first) {
			wrong = append(wrong, fmt.Sprintf("%s by %s was called after the answer to what took effect later", o.verb, o.who))
		}
		if o.acked && (first.IsZero() || o.ended.Before(first)) {
			first = o.ended
		}
	}
	for tx, o := range ops {
		if o.acked && places[tx] == 0 {
			wrong = append(wrong, fmt.Sprintf("%s by %s was acknowledged and lost", o.verb, o.who))
		}
	}
	return wrong
}

// bounds returns between which places something that lasted from one time to
// another can have happened.
func bounds(ops map[string]*op, places map[string]int, size int) func(called, ended time.Time) (lo, hi int) {
	return func(called, ended time.Time) (lo, hi int) {
		hi = size
		for tx, o := range ops {
			at := places[tx]
			if at > 0 && o.acked && o.ended.Before(called) {
				lo = max(lo, at)
			}
			if at > 0 && o.called.After(ended) {
				hi = min(hi, at-1)
			}
		}
		return lo, hi
	}
}

// judgeReads: what a node shows goes forwards, and is not behind what it has
// acknowledged. Nodes may be behind each other.
func judgeReads(reads []look, ops map[string]*op, places map[string]int, fates map[[32]byte]*fate) (wrong []string) {
	type spot struct {
		node    int
		request [32]byte
	}
	answered := map[spot][]*op{}
	atOf := map[*op]int{}
	for tx, o := range ops {
		if o.acked {
			s := spot{o.at, o.request}
			answered[s], atOf[o] = append(answered[s], o), places[tx]
		}
	}
	seen := map[spot]int{}
	for _, l := range reads {
		f := fates[l.request]
		if f == nil {
			f = &fate{}
		}
		// The first place from which on a request looks like that, and the last.
		from, to := 0, f.over()-1
		agreed := slices.Sorted(valuesOf(f.agreed))
		switch {
		case l.state == "none":
			if to = 1 << 30; f.opened > 0 {
				to = f.opened - 1
			}
		case l.state != "open":
			if from, to = f.ended, 1<<30; f.end != l.state {
				wrong = append(wrong, fmt.Sprintf("node%d showed request %x as %s, it was %q", l.node, l.request[:4], l.state, f.end))
				continue
			}
		case f.opened == 0 || l.agreed > len(agreed):
			wrong = append(wrong, fmt.Sprintf("node%d showed request %x with %d approvals, it never had them", l.node, l.request[:4], l.agreed))
			continue
		default:
			if from = f.opened; l.agreed > 0 {
				from = agreed[l.agreed-1]
			}
			if l.agreed < len(agreed) {
				to = agreed[l.agreed] - 1
			}
		}
		s := spot{l.node, l.request}
		least := seen[s]
		for _, o := range answered[s] {
			if o.ended.Before(l.called) {
				least = max(least, atOf[o])
			}
		}
		if to < least {
			wrong = append(wrong, fmt.Sprintf("node%d showed request %x as %s with %d approvals, which is older than what it had shown or acknowledged", l.node, l.request[:4], l.state, l.agreed))
		}
		seen[s] = max(least, from)
	}
	return wrong
}

func valuesOf(m map[string]int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// TestApprovalsUnderPartition runs some partitions in the check, and 200 at
// night.
func TestApprovalsUnderPartition(t *testing.T) {
	needsClusters(t)
	t.Parallel()
	approvals(t, nightly(6, 200))
}

// TestJudgeOfApprovals: the judge lets an honest history pass, and finds what
// is wrong with one that was bent.
func TestJudgeOfApprovals(t *testing.T) {
	people := []*councillor{{id: "ana", operator: "a"}, {id: "abe", operator: "a"}, {id: "bo", operator: "b"}}
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	id := [32]byte{7}
	type history struct {
		order []effect
		ops   map[string]*op
		reads []look
	}
	honest := func() history {
		h := history{ops: map[string]*op{}}
		for i, x := range []struct{ who, verb string }{{"ana", "requested"}, {"ana", "approved"}, {"abe", "approved"}, {"bo", "approved"}} {
			tx := fmt.Sprint("tx", i)
			h.order = append(h.order, effect{x.verb, "member/" + x.who, tx, id})
			h.ops[tx] = &op{who: "member/" + x.who, verb: x.verb, request: id, called: at(10 * i), ended: at(10*i + 5), acked: true}
		}
		h.order = append(h.order, effect{"executed", "member/ana", "tx3", id})
		h.ops["late"] = &op{who: "member/bo", verb: "vetoed", request: id, called: at(50), ended: at(51), denied: true}
		h.ops["early"] = &op{who: "member/bo", verb: "vetoed", request: id, called: at(-9), ended: at(-8), denied: true}
		h.reads = []look{{request: id, called: at(-1), state: "none"}, {request: id, called: at(7), state: "open"}, {request: id, called: at(26), state: "open", agreed: 2}, {request: id, called: at(36), state: "executed", agreed: 3}}
		return h
	}
	for name, bend := range map[string]func(*history){
		"":                         func(*history) {},
		"lost":                     func(h *history) { h.ops["tx9"] = &op{who: "member/bo", verb: "vetoed", request: id, acked: true} },
		"twice":                    func(h *history) { h.order = slices.Insert(h.order, 2, h.order[1]) },
		"nobody did it":            func(h *history) { delete(h.ops, "tx2") },
		"another did it":           func(h *history) { h.order[2].actor = "member/bo" },
		"before it was called":     func(h *history) { h.order[1], h.order[2] = h.order[2], h.order[1] },
		"executed by one operator": func(h *history) { h.order = append(h.order[:3:3], h.order[4]) },
		"agreed and never executed": func(h *history) {
			h.order[4] = effect{"vetoed", "member/bo", "late", id}
			h.ops["late"].acked, h.ops["late"].denied = true, false
		},
		"executed after a veto": func(h *history) {
			h.ops["veto"] = &op{who: "member/bo", verb: "vetoed", request: id, called: at(21), ended: at(29), acked: true}
			h.order = slices.Insert(h.order, 3, effect{"vetoed", "member/bo", "veto", id})
		},
		"refused and done":         func(h *history) { h.ops["tx2"].acked, h.ops["tx2"].denied = false, true },
		"refused for no reason":    func(h *history) { h.ops["late"].called, h.ops["late"].ended = at(16), at(17) },
		"a read backwards":         func(h *history) { h.reads = append(h.reads, h.reads[1]) },
		"a read behind its answer": func(h *history) { h.reads[2].agreed = 1 },
		"a read of what never was": func(h *history) { h.reads[3].state = "vetoed" },
	} {
		h := honest()
		bend(&h)
		if got := judgeApprovals(h.order, h.ops, h.reads, people); (len(got) > 0) != (name != "") {
			t.Errorf("%q: %s", name, strings.Join(got, "; "))
		}
	}
}
