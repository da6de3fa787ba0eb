package opsapi

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/policy"
)

// maxRequests is how many requests one answer holds.
const maxRequests = 500

func (s *Server) requests(r *http.Request) (any, error) {
	limit, err := number(r, "limit", 100)
	if err != nil {
		return nil, err
	}
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	found, next, err := findRequests(view, r.URL.Query(), int(min(limit, maxRequests)))
	if err != nil {
		return nil, err
	}
	out := Requests{Requests: []Request{}, Next: next}
	for _, f := range found {
		one := s.requestOf(view, f.id, f.Request)
		one.Action, one.Details, one.Commitments = "", nil, nil
		out.Requests = append(out.Requests, one)
	}
	return out, nil
}

type foundRequest struct {
	id [32]byte
	*ledger.Request
}

// RequestStates are the words for what a request may be in.
func RequestStates() (words []string) {
	for _, s := range ledger.RequestStates() {
		words = append(words, s.String())
	}
	return words
}

// maxLooked is how many requests one answer looks at: who wants more asks for
// the next page.
const maxLooked = 5000

// findRequests returns those that a query wants, the latest first, and where
// the next page begins.
func findRequests(view *ledger.State, q url.Values, limit int) (found []foundRequest, next string, err error) {
	state, rule, by, object := q.Get("state"), q.Get("rule"), q.Get("by"), q.Get("object")
	live := state == "" || state == "live"
	if states := RequestStates(); !live && state != "all" && !slices.Contains(states, state) {
		return nil, "", &Error{http.StatusBadRequest, fmt.Sprintf("state %q is unknown", state), "state is live, all, " + strings.Join(states, ", ")}
	}
	wanted := func(r *ledger.Request) bool {
		_, words, _ := ReadAction(r.Action) // what cannot be read has no words to be found by
		return (live || state == "all" || state == r.State.String()) && (rule == "" || rule == words.Rule) &&
			(by == "" || by == r.By || "member/"+by == r.By) && strings.Contains(words.Object, object)
	}
	var after *[32]byte
	if text := q.Get("after"); text != "" {
		id, err := findRequest(view, text)
		if err != nil {
			return nil, "", err
		}
		after = &id
	}
	if limit == 0 {
		return nil, "", nil
	}
	walk := func(visit func(id [32]byte, r *ledger.Request) bool) { view.RequestsAfter(after, visit) }
	if live {
		walk = func(visit func(id [32]byte, r *ledger.Request) bool) { liveAfter(view, after, visit) }
	}
	looked := 0
	var last [32]byte
	walk(func(id [32]byte, r *ledger.Request) bool {
		if len(found) == limit || looked == maxLooked {
			next = hex.EncodeToString(last[:])
			return false
		}
		looked, last = looked+1, id
		if wanted(r) {
			found = append(found, foundRequest{id, r})
		}
		return true
	})
	return found, next, nil
}

// liveAfter visits what waits, the latest first.
func liveAfter(view *ledger.State, after *[32]byte, visit func(id [32]byte, r *ledger.Request) bool) {
	latest := func(a, b foundRequest) int {
		return cmp.Or(cmp.Compare(b.Height, a.Height), slices.Compare(a.id[:], b.id[:]))
	}
	var all []foundRequest
	view.LiveRequests(func(id [32]byte, r *ledger.Request) bool {
		all = append(all, foundRequest{id, r})
		return true
	})
	slices.SortFunc(all, latest)
	if after != nil {
		r, _ := view.Request(*after)
		i, there := slices.BinarySearchFunc(all, foundRequest{*after, r}, latest)
		if there {
			i++
		}
		all = all[i:]
	}
	for _, f := range all {
		if !visit(f.id, f.Request) {
			return
		}
	}
}

func (s *Server) request(r *http.Request) (any, error) {
	view, id, err := s.requestNamed(r)
	if err != nil {
		return nil, err
	}
	one, _ := view.Request(id)
	return s.requestOf(view, id, one), nil
}

// requestNamed is the request that a path names, and the state it is in.
func (s *Server) requestNamed(r *http.Request) (view *ledger.State, id [32]byte, err error) {
	if view, err = s.config.Ledger.View(); err == nil {
		id, err = findRequest(view, r.PathValue("id"))
	}
	return view, id, err
}

// minPrefix is how much of an id names a request, where no other begins so.
const minPrefix = 4

// findRequest takes an id or the beginning of one.
func findRequest(view *ledger.State, text string) (id [32]byte, err error) {
	none := &Error{Status: http.StatusNotFound, Text: fmt.Sprintf("no request %.64s", text), Hint: "quorate request list --all"}
	text = strings.ToLower(strings.TrimPrefix(text, "0x"))
	if raw, err := hex.DecodeString(text); err == nil && len(raw) == len(id) {
		if _, ok := view.Request([32]byte(raw)); !ok {
			return id, none
		}
		return [32]byte(raw), nil
	}
	if len(text) < minPrefix || len(text) > 64 || strings.Trim(text, "0123456789abcdef") != "" {
		return id, &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("a request is named by %d to 64 hex digits", minPrefix)}
	}
	count := 0
	view.RequestsNamed(text, func(one [32]byte, _ *ledger.Request) bool {
		id = one
		count++
		return count < 2
	})
	switch count {
	case 0:
		return id, none
	case 1:
		return id, nil
	}
	return id, &Error{Status: http.StatusConflict, Text: fmt.Sprintf("more than one request begins with %s", text), Hint: "give more of the id"}
}

func (s *Server) requestOf(view *ledger.State, id [32]byte, r *ledger.Request) Request {
	_, words, err := ReadAction(r.Action)
	if err != nil {
		words.Says = "It cannot be read: " + err.Error()
	}
	out := Request{
		ID: hex.EncodeToString(id[:]), Action: hex.EncodeToString(r.Action), Nonce: hex.EncodeToString(r.Nonce[:]), Policy: hex.EncodeToString(r.Policy[:]), By: r.By,
		Words: words, Purpose: r.Purpose, State: r.State.String(), Reason: r.Reason, Tier: r.Tier, Height: r.Height, Approvals: []Approval{}, Need: r.Need,
		Opened: blockTime(r.Opened), Deadline: blockTime(r.Deadline), Escalates: maybe(r.Escalate),
		Lock:   Lock{(time.Duration(r.Lock) * time.Millisecond).String(), r.Blocks, maybe(r.Unlock), r.UnlockHeight},
		Closed: maybe(r.Closed),
	}
	for _, a := range r.Approvals {
		out.Approvals = append(out.Approvals, Approval{a.Member, hex.EncodeToString(a.Tx[:]), blockTime(a.Time)})
	}
	if r.State.Live() {
		_, now := s.config.Ledger.Height()
		o := view.Outlook(r, uint64(now.UnixMilli()))
		out.Commitments = commitmentsTo(view, words.Rule, view.KeysOf(r))
		out.Waits = &Waits{Missing: o.Missing, Could: list(o.Could), Veto: list(o.Veto), Opens: maybe(o.Opens)}
	}
	if g, ok := view.Grant(action.HashAction(s.config.Cluster, r.Action)); ok && r.State == ledger.RequestExecuted && g.Nonce == r.Nonce {
		out.GrantEnds = maybe(g.Expires)
	}
	return out
}

// carryOut signs what a request granted.
func (s *Server) carryOut(r *http.Request) (any, error) {
	_, id, err := s.requestNamed(r)
	if err != nil {
		return nil, err
	}
	x, signature, err := s.config.Keys.ExitGranted(r.Context(), id)
	if err != nil {
		return nil, err
	}
	return signedExit(x, signature), nil
}

// exitOf signs an exit that was granted at once, so that no request names it.
func (s *Server) exitOf(r *http.Request) (any, error) {
	var req Proposal
	if err := decode(r, &req, `{"action":"…"}, canonical, in hex`); err != nil {
		return nil, err
	}
	canonical, err := hex.DecodeString(req.Action)
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Text: "action is not hex"}
	}
	x, signature, err := s.config.Keys.ExitOf(r.Context(), canonical)
	if err != nil {
		return nil, err
	}
	return signedExit(x, signature), nil
}

func (s *Server) members(*http.Request) (any, error) {
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	out := []Member{}
	_, now := s.config.Ledger.Height()
	view.Members(func(m *action.MemberRecord) bool {
		out = append(out, memberOf(view, m, now))
		return true
	})
	return out, nil
}

func (s *Server) member(r *http.Request) (any, error) {
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	m, ok := view.Member(r.PathValue("id"))
	if !ok {
		return nil, &Error{Status: http.StatusNotFound, Text: fmt.Sprintf("no member %.64q", r.PathValue("id")), Hint: "quorate member list"}
	}
	_, now := s.config.Ledger.Height()
	return memberOf(view, m, now), nil
}

func memberOf(view *ledger.State, m *action.MemberRecord, now time.Time) Member {
	out := Member{ID: m.ID, Name: m.Name, Workload: m.Workload, Operator: m.Operator, Region: m.Region, Roles: list(m.Roles), Backups: m.Backups,
		Credentials: m.Keys, NextNonce: view.NextNonce(action.Signer{Class: action.SignerMember, Name: m.ID})}
	if uint64(now.UnixMilli()) < m.Suspended {
		out.Suspended = maybe(m.Suspended)
	}
	return out
}

func (s *Server) policy(*http.Request) (any, error) {
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	version := view.PolicyVersion()
	doc := view.PolicyDocument(version)
	p, err := policy.Compile(doc)
	if err != nil {
		return nil, err
	}
	out := Policy{Version: hex.EncodeToString(version[:]), Name: p.Name(), Document: string(doc), Means: p.Describe()}
	for _, who := range view.Principals() {
		out.Principals = append(out.Principals, Principal(who))
	}
	return out, nil
}

func (s *Server) timers(*http.Request) (any, error) {
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	out := []Timer{}
	view.Timers(func(t *ledger.Timer) bool {
		one := Timer{Name: t.Name, By: t.By, Next: blockTime(t.Next), Rung: t.Rung, Action: hex.EncodeToString(t.Timer.Action)}
		if t.Every != 0 {
			one.Every = (time.Duration(t.Every) * time.Millisecond).String()
		}
		if _, one.Words, err = ReadAction(t.Timer.Action); err != nil {
			one.Says = "It cannot be read: " + err.Error()
		}
		out = append(out, one)
		return true
	})
	return out, nil
}

// proposeExit writes out what a request for an exit would ask for: the node
// knows the validator's index and the chain.
func (s *Server) proposeExit(r *http.Request) (any, error) {
	raw, err := parseHex(r.PathValue("pubkey"), 48)
	if err != nil {
		return nil, err
	}
	var index, epoch *uint64
	for name, into := range map[string]**uint64{"validator_index": &index, "epoch": &epoch} {
		if !r.URL.Query().Has(name) {
			continue
		}
		n, err := number(r, name, 0)
		if err != nil {
			return nil, err
		}
		*into = &n
	}
	a, err := s.config.Keys.ExitAction([48]byte(raw), index, epoch)
	if err != nil {
		return nil, err
	}
	return proposalOf(a)
}

// proposeCeremony writes out what requests for new keys, or for new shares of
// keys, would ask for.
func (s *Server) proposeCeremony(r *http.Request) (any, error) {
	var req OpenCeremony
	if err := decode(r, &req, `{"keys":1}`); err != nil {
		return nil, err
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	if !req.renews() {
		a, err := s.config.Ledger.KeygenAction(req.Keys, req.use(), req.Hybrid, req.Purpose, req.phase())
		if err != nil {
			return nil, err
		}
		p, err := proposalOf(a)
		return []Proposal{p}, err
	}
	renewal, err := req.renewal()
	if err != nil {
		return nil, err
	}
	opens, err := s.config.Ledger.PlanRenewal(renewal, req.Hybrid, req.phase())
	if err != nil {
		return nil, err
	}
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	var out []Proposal
	for _, o := range opens {
		p, err := proposalOf(o.Ask().Action)
		if err != nil {
			return nil, err
		}
		p.Commitments = commitmentsTo(view, p.Rule, o.Keys)
		out = append(out, p)
	}
	return out, nil
}

// commitmentsTo returns the commitments to the present shares of keys that are
// to get new ones.
func commitmentsTo(view *ledger.State, rule string, keys [][]byte) (out []string) {
	if r := action.Rule(rule); r != action.RuleRefresh && r != action.RuleReshare {
		return nil
	}
	for _, k := range keys {
		rec, err := view.Key(action.DomainValidator, k)
		if err != nil {
			return nil // whoever reads it misses them
		}
		out = append(out, hex.EncodeToString(rec.Commitment))
	}
	return out
}

func proposalOf(a *action.Action) (Proposal, error) {
	canonical := a.Encode()
	_, words, err := ReadAction(canonical)
	return Proposal{Action: hex.EncodeToString(canonical), Words: words}, err
}

// maybe turns milliseconds of block time into a time, and 0 into none.
func maybe(ms uint64) *time.Time {
	if ms == 0 {
		return nil
	}
	return new(blockTime(ms))
}

// list is never null in JSON.
func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}
