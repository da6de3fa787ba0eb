package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/proof"
)

const minute = 60 * 1000

var (
	custodian = []string{action.RoleCustodian}
	either    = []string{action.RoleCustodian, action.RoleApprover}
	ofMembers = []action.Rule{action.RuleRemove, action.RuleUpdate, action.RuleReinstate, action.RuleUnfreeze}
	laws      = []law{
		{name: "two", nodes: []action.Rule{action.RuleSettings, action.RuleFreeze}, clock: true, every: 2 * day, keep: [2]uint64{0, 8 * day}, tiers: []tierOf{
			{name: "exit", rules: []action.Rule{action.RuleExit}, need: action.Need{Approvals: 2, Operators: 2}, roles: custodian, self: true, deadline: 24 * hour, veto: either},
			{name: "machine", rules: []action.Rule{action.RuleSettings}, nodes: true, need: action.Need{Approvals: 1}, roles: []string{action.RoleApprover}, deadline: 2 * hour, veto: custodian},
			{name: "settings", rules: []action.Rule{action.RuleSettings, action.RuleDeposit}, need: action.Need{Approvals: 2, Operators: 2}, roles: custodian, self: true,
				delay: hour, blocks: 3, deadline: 24 * hour, escalate: 2 * hour, to: []string{action.RoleApprover, "member:dan"}, veto: custodian},
			{name: "archive", rules: []action.Rule{action.RuleArchive}, need: action.Need{Approvals: 2}, roles: custodian},
			{name: "govern", rules: append(ofMembers, action.RulePolicy, action.RuleEnrol), need: action.Need{Approvals: 2}, roles: custodian, self: true},
			{name: "cancel", rules: []action.Rule{action.RuleTimerCancel}, delay: minute, blocks: 1, veto: custodian},
			{name: "rest"},
		}},
		{name: "one", clock: true, never: action.RuleArchive, tiers: []tierOf{
			{name: "exit", rules: []action.Rule{action.RuleExit}, need: action.Need{Approvals: 1}, roles: []string{action.RoleApprover}, deadline: hour, escalate: 10 * minute, to: custodian, veto: custodian},
			{name: "archive", rules: []action.Rule{action.RuleArchive}, need: action.Need{Approvals: 1}, roles: either, self: true},
			{name: "enrol", rules: []action.Rule{action.RuleEnrol}, need: action.Need{Approvals: 1}, roles: either, self: true, office: true, veto: either},
			{name: "members", rules: ofMembers, need: action.Need{Approvals: 1}, roles: custodian, self: true},
			{name: "policy", rules: []action.Rule{action.RulePolicy}, need: action.Need{Approvals: 2, Operators: 2}, roles: either, delay: hour, blocks: 2, veto: custodian},
			{name: "rest"},
		}},
		{name: "three", clock: true, every: day, keep: [2]uint64{9 * day, 8 * day}, nodes: []action.Rule{action.RuleSettings}, tiers: []tierOf{
			{name: "settings", rules: []action.Rule{action.RuleSettings}, office: true, veto: custodian},
			{name: "exit", rules: []action.Rule{action.RuleExit}, need: action.Need{Approvals: 3, Operators: 3, Regions: 2}, roles: either, self: true, delay: 10 * minute, blocks: 1, office: true, veto: either},
			{name: "rest", need: action.Need{Approvals: 2, Operators: 2}, roles: either, self: true, delay: 1000, blocks: 1, deadline: 8 * hour, veto: custodian},
		}},
	}
	floors = map[action.Rule]action.Need{action.RuleArchive: {Approvals: 2, Operators: 2, Regions: 2}, action.RuleExit: {Approvals: 2}, action.RuleKeygen: {Approvals: 1}}
)

// someKey follows from a name.
func someKey(name string, i int) ident.PrivateKey {
	seed := sha256.Sum256(fmt.Append(nil, name, i))
	k, err := ident.FromSeed(ident.Ed25519, append(seed[:], seed[:]...))
	if err != nil {
		panic(err)
	}
	return k
}

func somebody(id, operator, region string, roles ...string) *action.MemberRecord {
	m := &action.MemberRecord{ID: id, Name: id, Operator: operator, Region: region, Roles: roles}
	for i := range 2 {
		m.Keys = append(m.Keys, someKey(id, i).Public())
	}
	return m
}

// society is a ledger, its oracle, and a source of what people might do.
type society struct {
	*world
	t      *rapid.T
	rand   *rand.Rand
	oracle *oracle
	keys   [][]byte
	asked  int
	past   [][]byte // transactions
	nonces map[action.Signer]uint64
}

var everybody = []string{"ana", "abe", "bo", "cy", "dan", "bot", "eve"}

func newSociety(t *rapid.T, base *world) *society {
	w := *base
	w.state, w.bodies, w.events = maps.Clone(base.state), maps.Clone(base.bodies), slices.Clone(base.events)
	s := &society{world: &w, t: t, rand: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), nonces: map[action.Signer]uint64{}}
	o := &oracle{cluster: w.ID, laws: laws, floors: floors, nodes: map[string]party{}, members: map[string]*action.MemberRecord{}, keys: map[string]*oracleKey{},
		requests: map[[32]byte]*oracleRequest{}, timers: map[string]*oracleTimer{}, opened: map[[32]byte]bool{}, erased: map[int]bool{}, granted: map[[32]byte][][32]byte{},
		wakes: map[wake]bool{}, used: map[action.Signer]map[uint64]bool{}, top: map[action.Signer]uint64{}}
	s.oracle = o
	for _, n := range w.Genesis.Nodes {
		o.nodes[n.Name] = party{name: "node/" + n.Name, id: n.Name, kind: "node", operator: n.Operator, region: n.Region, key: n.Identity}
	}
	for _, m := range []*action.MemberRecord{
		somebody("ana", "op0", "lisbon", custodian...), somebody("abe", "op0", "lisbon", custodian...), somebody("bo", "op1", "bengaluru", custodian...),
		somebody("cy", "op2", "lisbon", action.RoleApprover), somebody("dan", "op3", "denver", action.RoleObserver), somebody("bot", "op1", "bengaluru", custodian...),
	} {
		m.Workload = m.ID == "bot"
		if m.ID == "bo" {
			m.Backups = []string{"dan", "cy"}
		}
		o.members[m.ID] = m
	}
	st := w.view()
	for _, id := range []string{alice.Name, olga.Name} {
		st.deleteMember(id)
	}
	for _, m := range o.members {
		st.putMember(m)
	}
	st.iterate(st.ns.Prefix("nonce"), func(k, _ []byte) bool { st.delete(proof.Path(k)); return true })
	for r, n := range floors {
		st.set(st.floorPath(r), fmt.Appendf(nil, "%d %d %d", n.Approvals, n.Operators, n.Regions))
	}
	p, err := policy.Compile([]byte(laws[0].document()))
	if err != nil {
		t.Fatal(err)
	}
	st.putPolicy(p.Hash(), p.Document())
	w.commit(st)
	s.dealt(&w)
	st = w.view()
	st.rulesChanged(txContext{block: w.block})
	o.wakes[wake{true, uint64(w.block.Height) + 1, "erase", "log"}] = true
	w.commit(st)
	for i := range 2 {
		k := w.giveKey(action.KeyRecord{PublicKey: []byte{byte(i + 1)}, State: action.KeyActive})
		s.keys = append(s.keys, k.PublicKey)
		o.keys[hex.EncodeToString(k.PublicKey)] = &oracleKey{state: action.KeyActive}
	}
	s.keys = append(s.keys, o.shares.keys[0])
	s.world = &w
	return s
}

// dealt tells the oracle of the keys that a ceremony has made, and that their
// age is looked at in the next block.
func (s *society) dealt(w *world) {
	sh := &oracleShares{params: w.Params(2, 99)}
	sh.ceremony = sh.params.ID()
	_, about := w.view().Ceremony(sh.ceremony)
	sh.since = about.Time
	w.view().Keys(action.DomainValidator, func(k *action.KeyRecord) bool {
		sh.keys, sh.commitments = append(sh.keys, k.PublicKey), append(sh.commitments, k.Commitment)
		s.oracle.keys[hex.EncodeToString(k.PublicKey)] = &oracleKey{state: action.KeyActive, dealt: true}
		return true
	})
	s.oracle.shares = sh
	s.oracle.wakes[wake{true, uint64(w.block.Height) + 1, "sharings", "0"}] = true
}

func pick[T any](s *society, from ...T) T { return from[s.below(len(from))] }
func (s *society) below(n int) int        { return s.rand.IntN(n) }

// member returns somebody's record as it is, or as it was made up at first.
func (s *society) record(id string) action.MemberRecord {
	if m := s.oracle.members[id]; m != nil {
		return *m
	}
	return *somebody(id, "op4", "denver", custodian...)
}

func (s *society) settings() *action.Action {
	gas := uint64(1 + s.below(3))
	return &action.Action{Rule: action.RuleSettings, Settings: action.SettingsChange{Set: action.ProposerSettings{GasLimit: &gas}}}
}

func (s *society) later(most uint64) uint64 {
	return s.block.Time + uint64(s.below(int(most/minute)))*minute + uint64(s.below(3))*1000
}

// action is anything that somebody could ask for.
func (s *society) action() *action.Action {
	a := &action.Action{}
	switch s.below(26) {
	default:
		a.Rule = action.RuleExit
		a.Duty = []byte{byte(s.below(3))}
	case 0, 1, 2, 3:
		a = s.settings()
	case 4:
		a.Rule = action.RuleArchive
	case 5, 6:
		a.Rule, a.Until = action.RuleFreeze, s.later(pick[uint64](s, hour, 31*24*hour))
	case 7:
		a.Rule = action.RuleUnfreeze
	case 8:
		a.Rule = action.RuleDeposit
	case 9:
		m := s.record(pick(s, "eve", "eve", "cy", "bo"))
		m.Suspended = 0
		if s.below(6) == 0 {
			m.Keys = append(m.Keys[:1:1], someKey(pick(s, "bo", "ana"), 0).Public())
		}
		return &action.Action{Rule: action.RuleEnrol, Member: &m}
	case 10, 11, 12:
		m := s.record(pick(s, everybody...))
		m.Suspended = 0
		switch s.below(6) {
		case 0:
			m.Keys = m.Keys[len(m.Keys)-1:]
		case 1:
			m.Keys = append(slices.Clone(m.Keys[:1]), someKey(m.ID, 2).Public())
		case 2:
			m.Operator = pick(s, "op0", "op1", "op9")
		case 3:
			m.Roles = pick(s, custodian, either, []string{action.RoleApprover}, nil)
		case 4:
			m.Backups = pick(s, nil, []string{"eve"})
		case 5:
			m.Workload = !m.Workload
		}
		if m.Backups = slices.DeleteFunc(slices.Clone(m.Backups), func(b string) bool { return b == m.ID }); len(m.Backups) == 0 {
			m.Backups = nil
		}
		return &action.Action{Rule: action.RuleUpdate, Member: &m}
	case 13:
		return &action.Action{Rule: action.RuleRemove, Name: pick(s, everybody...)}
	case 14, 15:
		return &action.Action{Rule: action.RuleSuspend, Name: pick(s, everybody...), Until: s.later(pick[uint64](s, hour, hour, 31*24*hour))}
	case 16:
		return &action.Action{Rule: action.RuleReinstate, Name: pick(s, everybody...)}
	case 17:
		doc := []byte(laws[s.below(len(laws))].document())
		if s.below(6) == 0 {
			doc = doc[:len(doc)/2]
		}
		return &action.Action{Rule: action.RulePolicy, Document: doc}
	case 18:
		inner := s.settings()
		inner.Domain, inner.PublicKey = action.DomainValidator, s.keys[0]
		return &action.Action{Rule: action.RuleTimerSet, Timer: action.Timer{Name: pick(s, "tic", "tac"), First: s.later(3 * hour), Every: pick[uint64](s, 0, 59, 30*minute), Action: inner.Encode()}}
	case 19:
		return &action.Action{Rule: action.RuleTimerCancel, Name: pick(s, "tic", "tac", "toe")}
	case 20:
		if s.asked++; s.asked > 6 {
			s.asked = 1
		}
		p := s.Params(1, byte(s.asked))
		rule := pick(s, action.RuleKeygen, action.RuleKeygen, action.RuleImport, action.RuleRefresh, action.RuleReshare, action.RuleHandover)
		asked := &action.Action{Rule: rule, Ceremony: action.Ceremony{Params: p.Encode()}}
		if rule == action.RuleHandover {
			asked.PublicKey = s.keys[0]
		}
		return asked
	}
	a.Domain, a.PublicKey = action.DomainValidator, pick(s, s.keys[0], s.keys[0], s.keys[1], s.keys[2], make([]byte, 48))
	return a
}

// sign makes a transaction of a member or a node, with one of the keys that
// are or were his, or another's.
func (s *society) sign(id string, kind action.Kind, body []byte) []byte {
	who, key := member(id), someKey(id, s.below(12)%3%2)
	if s.below(12) == 0 {
		key = someKey(pick(s, everybody...), s.below(3))
	}
	if strings.HasPrefix(id, "node") {
		who = action.Signer{Class: action.SignerNode, Name: id}
		key = s.Keys[who]
	}
	s.nonces[who]++
	tx := action.Tx{Cluster: s.ID, Kind: kind, Signer: who, Nonce: s.nonces[who], Body: body}
	binary.BigEndian.PutUint64(tx.Salt[:], uint64(len(s.past)))
	switch s.below(40) {
	case 0:
		tx.Cluster[0] ^= 1
	case 1:
		tx.Nonce = uint64(1 + s.below(int(tx.Nonce)))
	case 2:
		raw := bytes.Clone(tx.Sign(key))
		raw[len(raw)-1-s.below(64)] ^= 4
		return raw
	}
	return tx.Sign(key)
}

// decision is what somebody says to a request, or to something like one.
func (s *society) decision(r *oracleRequest) []byte {
	d := action.Decision{Request: r.id, Action: action.HashAction(s.ID, r.raw), Policy: policyVersion(laws[r.law]), Verdict: action.Approve}
	id := pick(s, "ana", "abe", "bo", "bo", "cy", "dan")
	switch s.below(30) {
	case 0:
		d.Verdict = action.Veto
	case 1:
		d.Verdict = action.Cancel
		_, id, _ = strings.Cut(r.by, "/")
		if strings.HasPrefix(r.by, "timer") {
			id = "ana"
		}
	case 3:
		d.Action[3] ^= 1
	case 4:
		d.Policy = policyVersion(laws[s.below(len(laws))])
	case 5:
		d.Request[0] ^= 1
	case 6:
		id = pick(s, "bot", "eve", "node00")
		d.Verdict = pick(s, action.Veto, action.Cancel)
	}
	return s.sign(id, action.KindDecision, d.Encode())
}

// anything is a transaction.
func (s *society) anything() []byte {
	var live, past []*oracleRequest
	for _, id := range slices.SortedFunc(maps.Keys(s.oracle.requests), func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) }) {
		if r := s.oracle.requests[id]; r.state.Live() {
			live = append(live, r)
		} else {
			past = append(past, r)
		}
	}
	switch n := s.below(16); {
	case n < 9 && len(live) > 0:
		return s.decision(pick(s, live...))
	case n == 9 && len(past) > 0:
		return s.decision(pick(s, past...))
	case n == 10 && len(s.past) > 0:
		return pick(s, s.past...)
	case n == 11:
		return s.sign(pick(s, everybody...), action.KindTick, nil)
	}
	who := pick(s, "ana", "ana", "bo", "bo", "abe", "abe", "bot", "node00", "node01")
	if s.below(12) == 0 {
		who = pick(s, everybody...)
	}
	return s.sign(who, action.KindRequest, Ask{Action: s.action()}.Encode())
}

var ofGovernance = func() map[EventKind]bool {
	kinds := map[EventKind]bool{EventCeremonyOpened: true, EventKeySettings: true, EventKeyArchived: true, EventGranted: true, EventDenied: true}
	kinds[EventRotation], kinds[EventErased] = true, true
	for k := EventRequested; k <= EventTimer; k++ {
		kinds[k] = true
	}
	return kinds
}()

func (s *society) step() uint64 {
	if s.below(60) == 0 {
		return 8 * 24 * hour
	}
	return pick[uint64](s, 0, 1000, 1000, minute, minute, 10*minute, 10*minute, hour, hour, 3*hour, 25*hour)
}

// live makes a block, and compares what the ledger did with what it should have done.
func (s *society) live(seen map[string]int) {
	o := s.oracle
	o.saw, o.past = nil, s.events
	st := s.begin(s.block.Time + s.step())
	o.begin(s.block)
	for range s.below(6) {
		raw := s.anything()
		s.past = append(s.past, raw)
		kv, bodies, frontier, events := maps.Clone(st.kv), maps.Clone(st.body), st.Frontier(), len(st.events)
		r := carry(st, s.block, raw)
		got, want := refused, o.apply(raw)
		switch {
		case r.Code == OK:
			got = done
		case r.Code == CodeDenied:
			got = denied
		case !maps.EqualFunc(kv, st.kv, bytes.Equal) && (want == none || !maps.EqualFunc(butNumbers(st, kv), butNumbers(st, st.kv), bytes.Equal)) || !maps.EqualFunc(bodies, st.body, bytes.Equal) || !bytes.Equal(frontier, st.Frontier()) || events != len(st.events):
			s.t.Fatalf("refused (%s), and left a trace", r.Info)
		}
		if got != want && (got != refused || want != none) {
			s.t.Fatalf("a transaction is %s: %s (%s), want %s", got, r.Code, r.Info, want)
		}
		seen[got]++
	}
	var saw []string
	for _, ev := range st.Events() {
		if ofGovernance[ev.Kind] {
			saw = append(saw, fmt.Sprintf("%d: %s %s", ev.Height, ev.Kind, ev.Object))
			seen[ev.Kind.String()]++
		}
	}
	if !slices.Equal(saw, o.saw) {
		s.t.Fatalf("the log says\n  %s\nwant\n  %s", strings.Join(saw, "\n  "), strings.Join(o.saw, "\n  "))
	}
	s.commit(st)
	s.audit()
}

// butNumbers are writes without those of which numbers were used.
func butNumbers(st *State, writes layer) layer {
	out := maps.Clone(writes)
	maps.DeleteFunc(out, func(k string, _ []byte) bool { return strings.HasPrefix(k, string(st.ns.Prefix("nonce"))) })
	return out
}

// audit compares records with what the oracle holds, and indexes with records.
func (s *society) audit() {
	st, o := s.view(), s.oracle
	want := map[string]string{} // every pair of the indexes
	put := func(path proof.Path, value []byte) { want[string(path)] = string(value) }
	counts := map[string]uint64{}
	for id, r := range o.requests {
		got, ok := st.Request(id)
		if !ok || got.State != r.state || got.Need != r.need || got.Deadline != r.deadline || len(got.Approvals) != len(r.agreed) {
			s.t.Fatalf("request %x is %+v, want %+v", id, got, r)
		}
		if !r.state.Live() {
			continue
		}
		counts[r.by]++
		put(st.livePath(id), id[:])
		put(st.askedPath(got), id[:])
		if !s.wakes(st, dueRequest, hex.EncodeToString(id[:]), 0) {
			s.t.Fatalf("nothing wakes request %x, which is %s", id, r.state)
		}
	}
	for by, n := range counts {
		put(st.liveCountPath(by), eb(n))
	}
	for _, m := range o.members {
		got, ok := st.Member(m.ID)
		if !ok || !bytes.Equal(got.Encode(), m.Encode()) {
			s.t.Fatalf("member %s is %+v, want %+v", m.ID, got, m)
		}
		for _, k := range m.Keys {
			put(st.credentialPath(credentialID(k)), []byte(m.ID))
		}
		for _, b := range m.Backups {
			put(st.backupPath(b, m.ID), []byte(m.ID))
		}
		put(st.ns.Member([]byte(m.ID)), m.Encode())
	}
	for name, k := range o.keys {
		raw, _ := hex.DecodeString(name)
		got, err := st.Key(action.DomainValidator, raw)
		if err != nil || got.State != k.state || k.gas != 0 && *got.Settings.GasLimit != k.gas {
			s.t.Fatalf("key %s is %+v, want %+v", name, got, k)
		}
		if k.thaw != 0 {
			put(st.thawPath(action.DomainValidator, raw), eb(k.thaw))
			if !s.wakes(st, dueThaw, "validator:"+name, k.thaw) {
				s.t.Fatalf("nothing thaws key %s", name)
			}
		}
	}
	timers := 0
	st.Timers(func(t *Timer) bool {
		timers++
		want := o.timers[t.Name]
		if want == nil || t.Next != want.next || t.Rung != want.rung || !s.wakes(st, dueTimer, t.Name, t.Next) {
			s.t.Fatalf("timer %+v, want %+v", t, want)
		}
		return true
	})
	if timers != len(o.timers) {
		s.t.Fatalf("%d timers, want %d", timers, len(o.timers))
	}
	for hash, approvals := range o.granted {
		g, err := action.ParseGrant(st.Get(st.ns.Grant(hash[:])))
		if err != nil || !slices.Equal(g.Approvals, approvals) {
			s.t.Fatalf("grant %x names other approvals: %v, %+v", hash, err, g)
		}
		var txs [][]byte
		for _, h := range approvals {
			txs = append(txs, st.Tx(h))
		}
		// Those who agreed may have left since, in the same block at the earliest.
		if g.Height == uint64(s.block.Height) && !slices.ContainsFunc(o.saw, func(ev string) bool { return strings.Contains(ev, " member ") }) {
			if err := g.CheckApprovals(s.ID, txs, func(id string) *action.MemberRecord { return o.members[id] }, floors[mustParse(action.ParseAction(g.Action)).Rule]); err != nil {
				s.t.Fatalf("custody would refuse a grant: %v", err)
			}
		}
	}
	for i := range s.events {
		if gone := st.Event(uint64(i)) == nil; gone != o.erased[i] {
			s.t.Fatalf("the body of event %d is erased: %t, want %t", i, gone, o.erased[i])
		}
	}
	if st.PolicyVersion() != policyVersion(laws[o.law]) {
		s.t.Fatal("another policy is in force")
	}
	got := map[string]string{}
	for _, kind := range []string{"live", "asked", "live-count", "member", "credential", "backup", "frozen"} {
		st.iterate(st.ns.Prefix(kind), func(k, v []byte) bool { got[string(k)] = string(v); return true })
	}
	if !maps.Equal(got, want) {
		s.t.Fatalf("indexes hold\n%q\nwant\n%q", got, want)
	}
}

// wakes says whether something in the index of what is due points to it, in
// the future, at a time if one is given.
func (s *society) wakes(st *State, kind, id string, at uint64) (found bool) {
	for index, now := range map[string]uint64{"due": s.block.Time, "due-height": uint64(s.block.Height)} {
		st.iterate(st.ns.Prefix(index), func(_, v []byte) bool {
			t := binary.BigEndian.Uint64(v)
			found = found || t > now && string(v[8:]) == kind+" "+id && (at == 0 || t == at)
			return true
		})
	}
	return found
}

// TestAgainstOracle: whatever people, nodes and time do to a ledger, it does
// what the specification says, and nothing else.
func TestAgainstOracle(t *testing.T) {
	base := newWorld(t, 4)
	base.open(alice, CeremonyOpen{Params: base.Params(2, 99), Purpose: "pool"}).run()
	seen := map[string]int{}
	missing := func() (kinds []EventKind) {
		for _, kind := range []EventKind{EventRequested, EventVetoed, EventCancelled, EventExpired, EventEscalated, EventLocked, EventExecuted, EventGranted, EventMember, EventTimer, EventRotation, EventErased} {
			if seen[kind.String()] == 0 {
				kinds = append(kinds, kind)
			}
		}
		return kinds
	}
	for try := 0; try == 0 || try < 5 && len(missing()) > 0; try++ { // the seldom ones may take more lives
		rapid.Check(t, func(t *rapid.T) {
			s := newSociety(t, base)
			for range rapid.IntRange(5, 40).Draw(t, "blocks") {
				s.live(seen)
			}
		})
	}
	t.Logf("%v", seen)
	if kinds := missing(); len(kinds) > 0 {
		t.Errorf("%v never happened: what people do is too narrow", kinds)
	}
}
