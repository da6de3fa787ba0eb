package ledger

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/wire"
)

// oracle says what a ledger should have done, from the genesis and the blocks
// of transactions alone: spec/governance.md, written down naively, with scans
// where the ledger has indexes and terms as Go data where it has policies.
type oracle struct {
	cluster action.ClusterID
	laws    []law
	law     int // in force
	floors  map[action.Rule]action.Need

	nodes    map[string]party
	members  map[string]*action.MemberRecord
	keys     map[string]*oracleKey
	requests map[[32]byte]*oracleRequest
	timers   map[string]*oracleTimer
	opened   map[[32]byte]bool // ceremonies
	shares   *oracleShares
	granted  map[[32]byte][][32]byte           // by action hash: the approving transactions
	wakes    map[wake]bool                     // when to look at something again
	used     map[action.Signer]map[uint64]bool // nonces
	top      map[action.Signer]uint64

	past        []Event      // all there ever were
	erased      map[int]bool // of them
	looks       uint64       // when erasing goes on
	about       [][]byte     // the keys of the ceremony that is asked for
	now, height uint64
	saw         []string // what should stand in the log
}

type oracleKey struct {
	state action.KeyState
	thaw  uint64
	gas   uint64
	dealt bool // by a ceremony that enough confirmed
}

// oracleShares are the shares that one ceremony made of some keys.
type oracleShares struct {
	ceremony    [32]byte
	since, next uint64
	asked       [32]byte
	keys        [][]byte
	commitments [][]byte
	params      dkg.Params // of a ceremony on any of them
	begins      bool       // a ceremony about them was just opened
	renewed     uint64     // until when it waits for somebody to join
	renews      []string   // which
	gone        bool
}

type oracleRequest struct {
	id, nonce          [32]byte
	a                  *action.Action
	raw                []byte
	by, behind         string
	law                int
	tier               tierOf
	need               action.Need
	opened, deadline   uint64
	escalate           uint64
	escalated          bool
	state              RequestState
	unlock, unlockHigh uint64
	height, agreedAt   uint64
	running            bool
	agreed             []Approval
	about              [][]byte
	closed             uint64
}

type oracleTimer struct {
	action.Timer
	by         string
	next, rung uint64
}

type wake struct {
	height   bool
	at       uint64
	kind, id string
}

// What came of a transaction.
const (
	done    = "done"
	denied  = "denied"
	refused = "refused" // without a trace but the number
	none    = "none"    // refused before anything was looked at
)

func (o *oracle) log(kind EventKind, object string) {
	o.saw = append(o.saw, fmt.Sprintf("%d: %s %s", o.height, kind, object))
}

func office(at uint64) uint64 {
	const day = 24 * hour
	switch clock := at % day; {
	case clock < 9*hour:
		return at - clock + 9*hour
	case clock >= 17*hour:
		return at - clock + day + 9*hour
	}
	return at
}

// begin lets time pass up to a block.
func (o *oracle) begin(b Block) {
	o.now, o.height = b.Time, uint64(b.Height)
	switch s := o.shares; {
	case s.begins: // its first phase runs from the block after its opening
		s.begins, s.renewed = false, o.now+30*60000
	case o.now >= s.renewed: // nobody joined it
		s.renews = nil
	}
	var ready []wake
	for w := range o.wakes {
		if !w.height && w.at <= o.now || w.height && w.at <= o.height {
			ready = append(ready, w)
		}
	}
	slices.SortFunc(ready, func(a, b wake) int {
		if a.height != b.height {
			return cmp.Compare(fmt.Sprint(a.height), fmt.Sprint(b.height)) // time before heights
		}
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id))
	})
	for _, w := range ready {
		delete(o.wakes, w)
	}
	for _, w := range ready {
		switch w.kind {
		case "request":
			raw, _ := hex.DecodeString(w.id)
			if r := o.requests[[32]byte(raw)]; r.state.Live() {
				o.look(r)
			}
		case "return":
			if m := o.members[w.id]; m != nil && m.Suspended <= o.now {
				o.back(w.id)
			}
		case "erase":
			o.erase()
		case "rotation", "sharings":
			o.age()
		case "thaw":
			if k := o.keys[w.id]; k.state == action.KeyFrozen && k.thaw <= o.now {
				k.state, k.thaw = action.KeyActive, 0
				o.log(EventKeyUnfrozen, "validator/"+w.id)
			}
		case "timer":
			o.ring(w.id, w.at)
		}
	}
}

// back has what somebody agreed to looked at again in the next block.
func (o *oracle) back(member string) {
	for id, r := range o.requests {
		if r.state.Live() && slices.ContainsFunc(r.agreed, func(a Approval) bool { return a.Member == member }) {
			o.wakes[wake{true, o.height + 1, "request", hex.EncodeToString(id[:])}] = true
		}
	}
}

// erase forgets what has been kept for long enough.
func (o *oracle) erase() {
	delete(o.wakes, wake{false, o.looks, "erase", "log"})
	o.looks = 1 << 63
	some := false
	for class := range 4 { // the rest, requests, ceremonies, usage
		keep := o.laws[o.law].keep[0]
		if own := o.laws[o.law].keep[1]; class == 1 && own > 0 {
			keep = own
		}
		if keep == 0 {
			continue
		}
		stops := o.now + keep
		for i, ev := range o.past {
			of := 0
			switch {
			case slices.Contains([]EventKind{EventRequested, EventApproved, EventVetoed, EventCancelled, EventExpired, EventEscalated, EventLocked, EventExecuted, EventFailed}, ev.Kind):
				of = 1
			case slices.Contains([]EventKind{EventCeremonyOpened, EventCeremonyStep, EventCeremonyFault, EventCeremonyDone, EventCeremonyAborted}, ev.Kind):
				of = 2
			case ev.Kind == EventUsage:
				of = 3
			}
			if o.erased[i] {
				continue
			}
			if ev.Time+keep > o.now {
				stops = ev.Time + keep
				break
			}
			if of != class {
				continue
			}
			if raw, err := hex.DecodeString(strings.TrimPrefix(ev.Object, "request/")); class == 1 && err == nil && (o.requests[[32]byte(raw)].state.Live() || o.now < o.requests[[32]byte(raw)].closed+8*24*hour) {
				stops = o.now + 24*hour
				break
			}
			o.erased[i], some = true, true
		}
		o.looks = min(o.looks, max(stops, o.now+24*hour))
	}
	if some {
		o.log(EventErased, "log")
	}
	if o.looks < 1<<63 {
		o.wakes[wake{false, o.looks, "erase", "log"}] = true
	}
}

// age asks for new shares of what has had the present ones too long.
func (o *oracle) age() {
	s := o.shares
	if s.gone {
		return
	}
	delete(o.wakes, wake{false, s.next, "rotation", hex.EncodeToString(s.ceremony[:])})
	s.next = 1 << 63
	var due, commitments [][]byte
	s.gone = true
	for i, k := range s.keys {
		state := o.keys[hex.EncodeToString(k)].state
		if state == action.KeyArchived {
			continue
		}
		s.gone = false
		every := o.laws[o.law].every
		switch {
		case every == 0:
		case s.since+every > o.now:
			s.next = min(s.next, s.since+every)
		case state == action.KeyFrozen || slices.Contains(s.renews, string(k)):
			s.next = min(s.next, o.now+24*hour)
		default:
			due, commitments = append(due, k), append(commitments, s.commitments[i])
		}
	}
	if s.gone {
		return
	}
	if len(due) > 0 {
		s.next = min(s.next, o.now+24*hour)
		if r := o.requests[s.asked]; r == nil || !r.state.Live() {
			o.rotate(due, commitments)
		}
	}
	if s.next < 1<<63 {
		o.wakes[wake{false, s.next, "rotation", hex.EncodeToString(s.ceremony[:])}] = true
	}
}

func (o *oracle) rotate(keys, commitments [][]byte) {
	s := o.shares
	who, _ := o.named("timer/rotation")
	p := s.params
	p.Mode, p.Keys, p.Epoch, p.Hybrid = dkg.ModeRefresh, uint32(len(keys)), 1, true
	p.Nonce = wire.Hash(wire.TagRequest, o.cluster[:], []byte("timer/rotation"), s.ceremony[:], eb(o.now))
	p.Old = dkg.Old{T: uint16(p.T), Dealers: p.Members()}
	p.Deadlines = dkg.Deadlines{Join: 30 * 60000, Deal: 30 * 60000, Verify: 30 * 60000, Answer: 30 * 60000, Confirm: 30 * 60000, Publish: 30 * 60000}
	p.Expected, _, _ = p.Prior(commitments)
	a := &action.Action{Rule: action.RuleRefresh, Ceremony: action.Ceremony{Params: p.Encode(), Purpose: "rotation"}}
	s.asked = [32]byte{}
	o.about = keys
	o.ask(who, a, p.Nonce)
	for id, r := range o.requests {
		if r.nonce == p.Nonce {
			s.asked, r.about = id, keys
		}
	}
	o.log(EventRotation, ceremonyName(s.ceremony))
}

func (o *oracle) ring(name string, at uint64) {
	t := o.timers[name]
	if t == nil || t.next != at { // cancelled, or set anew
		return
	}
	t.rung++
	nonce := wire.Hash(wire.TagRequest, o.cluster[:], []byte("timer/"+name), eb(t.rung), eb(t.next))
	if t.Every == 0 {
		delete(o.timers, name)
	} else {
		for t.next <= o.now {
			t.next += t.Every
		}
		o.wakes[wake{false, t.next, "timer", name}] = true
	}
	a, _ := action.ParseAction(t.Action)
	who, _ := o.named("timer/" + name)
	who.behind = t.by
	o.ask(who, a, nonce)
	o.log(EventTimer, "timer/"+name)
}

// apply says what comes of a transaction.
func (o *oracle) apply(raw []byte) string {
	tx, err := action.ParseTx(raw)
	if err != nil || tx.Cluster != o.cluster {
		return none
	}
	who, ok := o.named(tx.Signer.String())
	var credential [32]byte
	if m := o.members[tx.Signer.Name]; m != nil && tx.Signer.Class == action.SignerMember {
		ok = false
		for _, k := range m.Keys {
			if tx.VerifySignature(k) == nil {
				ok, credential = true, credentialID(k)
			}
		}
	}
	if ok && who.kind == "node" {
		ok = tx.VerifySignature(who.key) == nil
	}
	if used, top := o.used[tx.Signer], o.top[tx.Signer]; !ok || used[tx.Nonce] || tx.Nonce+64 <= top {
		return none
	}
	out := refused
	switch {
	case o.now < who.suspended:
		out = denied
	case tx.Kind == action.KindTick:
		out = done
	case tx.Kind == action.KindRequest:
		t, err := Parse(raw)
		if err != nil {
			return none
		}
		out = o.ask(who, t.body.(Ask).Action, tx.Hash())
	case tx.Kind == action.KindDecision:
		d, err := action.ParseDecision(tx.Body)
		if err != nil {
			return none
		}
		out = o.decide(who, d, credential, tx.Hash())
	}
	if out == denied {
		o.log(EventDenied, "")
	}
	if o.used[tx.Signer] == nil {
		o.used[tx.Signer] = map[uint64]bool{}
	}
	o.used[tx.Signer][tx.Nonce] = true
	o.top[tx.Signer] = max(o.top[tx.Signer], tx.Nonce)
	return out
}

func (o *oracle) ask(who party, a *action.Action, nonce [32]byte) string {
	l := o.laws[o.law]
	if a.Rule.OfKey() && o.keys[hex.EncodeToString(a.PublicKey)] == nil {
		return refused
	}
	t, ok := o.terms(a.Rule, who)
	if !ok || !l.may(policy.Request, a.Rule, who) {
		return denied
	}
	floor := o.floors[a.Rule]
	need := action.Need{Approvals: max(t.need.Approvals, floor.Approvals), Operators: max(t.need.Operators, floor.Operators), Regions: max(t.need.Regions, floor.Regions)}
	if need.Approvals > 0 && len(t.roles) == 0 {
		return denied // a floor above a tier that nobody can meet
	}
	if need == (action.Need{}) && t.delay == 0 && t.blocks == 0 && !t.office {
		if !l.may(policy.Execute, a.Rule, who) {
			return denied
		}
		if !o.possible(a) {
			return refused
		}
		o.do(who, a, nil)
		return done
	}
	raw := a.Encode()
	for _, r := range o.requests {
		if r.state.Live() && r.by == who.name && bytes.Equal(r.raw, raw) {
			return done
		}
	}
	if !o.possible(a) {
		return refused
	}
	r := &oracleRequest{nonce: nonce, a: a, raw: raw, by: who.name, behind: who.behind, law: o.law, tier: t, need: need, height: o.height, opened: o.now, deadline: o.now + 7*24*hour, state: RequestOpen}
	version := policyVersion(l)
	r.id = wire.Hash(wire.TagRequest, o.cluster[:], raw, nonce[:], version[:], []byte(who.name))
	if t.deadline > 0 {
		r.deadline = o.now + t.deadline
	}
	if t.escalate > 0 {
		r.escalate = o.now + t.escalate
	}
	o.requests[r.id] = r
	o.log(EventRequested, r.name())
	o.wakes[wake{true, o.height + 1, "request", hex.EncodeToString(r.id[:])}] = true
	o.look(r)
	return done
}

func (r *oracleRequest) name() string { return fmt.Sprintf("request/%x", r.id) }

func (o *oracle) decide(who party, d action.Decision, credential, tx [32]byte) string {
	r := o.requests[d.Request]
	switch {
	case r == nil:
		return refused
	case d.Verdict != action.Cancel && who.kind != "human":
		return denied
	case !r.state.Live() || d.Action != action.HashAction(o.cluster, r.raw) || d.Policy != policyVersion(o.laws[r.law]) || r.law != o.law:
		return refused
	}
	requester := r.requester()
	l := o.laws[o.law]
	switch d.Verdict {
	case action.Cancel:
		if who.name != r.by {
			return denied
		}
		o.end(r, RequestCancelled, EventCancelled)
		return done
	case action.Veto:
		if !l.may(policy.Veto, r.a.Rule, who) || !holds(who, r.tier.veto) {
			return denied
		}
		o.end(r, RequestVetoed, EventVetoed)
		return done
	}
	agreed, _ := o.agree(r)
	if slices.ContainsFunc(agreed, func(p party) bool { return p.id == who.id }) {
		return refused
	}
	who = o.standing(r, who)
	if !l.may(policy.Approve, r.a.Rule, who) || !r.tier.counts(who, requester, o.now-r.opened) {
		return denied
	}
	r.agreed = slices.DeleteFunc(r.agreed, func(a Approval) bool { return a.Member == who.id }) // it does not count any more
	if !reached(r.need, agreed) {
		if o.now >= r.deadline {
			return refused
		}
		r.state = RequestOpen
	}
	r.agreed = append(r.agreed, Approval{Member: who.id, Tx: tx, Key: credential})
	o.log(EventApproved, r.name())
	o.look(r)
	return done
}

// agree returns those whose approval counts now, and their transactions.
func (o *oracle) agree(r *oracleRequest) (by []party, txs [][32]byte) {
	for _, a := range r.agreed {
		m := o.members[a.Member]
		if m == nil || m.Workload || o.now < m.Suspended {
			continue
		}
		if !r.tier.counts(o.standing(r, o.party(m)), r.requester(), o.now-r.opened) {
			continue // no longer in a role that counts
		}
		for _, k := range m.Keys {
			if credentialID(k) == a.Key {
				by, txs = append(by, o.party(m)), append(txs, a.Tx)
			}
		}
	}
	return by, txs
}

func (o *oracle) end(r *oracleRequest, state RequestState, kind EventKind) {
	r.state, r.closed = state, o.now
	o.log(kind, r.name())
}

// look takes a request as far as it can go.
func (o *oracle) look(r *oracleRequest) {
	id := hex.EncodeToString(r.id[:])
	again := func() {
		for _, at := range []uint64{r.deadline, r.escalate} {
			if at > o.now {
				o.wakes[wake{false, at, "request", id}] = true
			}
		}
	}
	if !r.running && o.height > r.height { // only now the time is known to be recent
		late := o.now - r.opened
		r.running, r.opened, r.deadline = true, o.now, r.deadline+late
		if r.escalate > 0 {
			r.escalate += late
		}
	}
	if r.state == RequestOpen && r.escalate > 0 && !r.escalated && o.now >= r.escalate {
		r.escalated = true
		o.log(EventEscalated, r.name())
	}
	by, txs := o.agree(r)
	if !reached(r.need, by) {
		if o.now >= r.deadline {
			o.end(r, RequestExpired, EventExpired)
			return
		}
		r.state = RequestOpen
		again()
		return
	}
	if r.state == RequestOpen {
		r.state, r.agreedAt, r.unlock, r.unlockHigh = RequestLocked, o.height, 0, o.height+r.tier.blocks
	}
	if r.unlock == 0 {
		if (r.tier.delay > 0 || r.tier.office) && o.height == r.agreedAt {
			o.wakes[wake{true, o.height + 1, "request", id}] = true
			again()
			return
		}
		r.unlock = o.now + r.tier.delay
		if r.tier.delay > 0 || r.tier.blocks > 0 {
			o.log(EventLocked, r.name())
		}
	}
	asker, ok := o.named(r.by)
	if !ok {
		o.end(r, RequestFailed, EventFailed)
		return
	}
	opens := max(o.now, r.unlock)
	if r.tier.office {
		opens = office(opens)
	}
	switch {
	case o.now < opens:
		o.wakes[wake{false, opens, "request", id}] = true
		again()
	case o.height < r.unlockHigh:
		o.wakes[wake{true, r.unlockHigh, "request", id}] = true
		again()
	case r.a.Rule == action.RuleRefresh && !o.renewable(r.about), o.now < asker.suspended || !o.laws[o.law].may(policy.Execute, r.a.Rule, asker) || !o.possible(r.a):
		o.end(r, RequestFailed, EventFailed)
	default:
		r.state, r.closed, o.about = RequestExecuted, o.now, r.about
		o.do(asker, r.a, txs)
		o.log(EventExecuted, r.name())
	}
}

// renewable says whether a refresh of keys can begin.
func (o *oracle) renewable(keys [][]byte) bool {
	return !slices.ContainsFunc(keys, func(k []byte) bool {
		return o.keys[hex.EncodeToString(k)].state != action.KeyActive || slices.Contains(o.shares.renews, string(k))
	})
}

// possible says whether an action can be carried out now.
func (o *oracle) possible(a *action.Action) bool {
	ends := o.now < a.Until && a.Until <= o.now+30*24*hour
	k := o.keys[hex.EncodeToString(a.PublicKey)]
	m := o.members[a.Name]
	if a.Member != nil {
		m = o.members[a.Member.ID]
	}
	next := maps.Clone(o.members)
	switch a.Rule {
	case action.RuleExit:
		return k != nil && k.state == action.KeyActive
	case action.RuleSettings:
		return k != nil
	case action.RuleArchive:
		return k != nil && k.state != action.KeyArchived
	case action.RuleFreeze:
		return k != nil && k.state != action.KeyArchived && ends && a.Until > k.thaw
	case action.RuleUnfreeze:
		return k != nil && k.state == action.KeyFrozen
	case action.RuleEnrol, action.RuleUpdate:
		for _, other := range o.members {
			for _, mine := range a.Member.Keys {
				if other.ID != a.Member.ID && slices.ContainsFunc(other.Keys, func(k ident.PublicKey) bool { return bytes.Equal(k.Bytes(), mine.Bytes()) }) {
					return false
				}
			}
		}
		changed := *a.Member
		if m != nil {
			changed.Suspended = m.Suspended
		}
		next[a.Member.ID] = &changed
		return a.Member.Suspended == 0 && (m == nil) == (a.Rule == action.RuleEnrol) && (m == nil || !o.stuck(o.laws[o.law], next))
	case action.RuleRemove:
		delete(next, a.Name)
		return m != nil && !o.stuck(o.laws[o.law], next)
	case action.RuleSuspend:
		if m == nil || !ends {
			return false
		}
		stopped := *m
		stopped.Suspended = max(m.Suspended, a.Until)
		next[m.ID] = &stopped
		return !o.stuck(o.laws[o.law], next)
	case action.RuleReinstate:
		return m != nil && m.Suspended > o.now
	case action.RulePolicy:
		i := slices.IndexFunc(o.laws, func(l law) bool { return l.document() == string(a.Document) })
		return i >= 0 && i != o.law && !o.stuck(o.laws[i], o.members)
	case action.RuleTimerSet:
		inner, err := action.ParseAction(a.Timer.Action)
		return err == nil && inner.Rule != action.RuleTimerSet && a.Timer.First > o.now && (a.Timer.Every == 0 || a.Timer.Every >= 60_000)
	case action.RuleTimerCancel:
		return o.timers[a.Name] != nil
	case action.RuleDeposit:
		return k != nil && k.state == action.KeyActive && k.dealt
	case action.RuleKeygen, action.RuleRefresh:
		p, err := dkg.ParseParams(a.Ceremony.Params)
		return err == nil && p.Mode.String() == strings.TrimPrefix(string(a.Rule), "ceremony.") && !o.opened[p.ID()]
	}
	return false // ceremonies with wrong parameters
}

// do carries an action out.
func (o *oracle) do(who party, a *action.Action, approvals [][32]byte) {
	name := hex.EncodeToString(a.PublicKey)
	k := o.keys[name]
	switch a.Rule {
	case action.RuleExit, action.RuleDeposit:
		o.granted[a.Hash(o.cluster)] = approvals
		o.log(EventGranted, "validator/"+name)
	case action.RuleSettings:
		k.gas = *a.Settings.Set.GasLimit
		o.log(EventKeySettings, "validator/"+name)
	case action.RuleArchive:
		k.state, k.thaw = action.KeyArchived, 0
		o.log(EventKeyArchived, "validator/"+name)
	case action.RuleFreeze:
		k.state, k.thaw = action.KeyFrozen, a.Until
		o.wakes[wake{false, a.Until, "thaw", name}] = true
		o.log(EventKeyFrozen, "validator/"+name)
	case action.RuleUnfreeze:
		k.state, k.thaw = action.KeyActive, 0
		o.log(EventKeyUnfrozen, "validator/"+name)
	case action.RuleEnrol, action.RuleUpdate:
		m := *a.Member
		if old := o.members[m.ID]; old != nil {
			m.Suspended = old.Suspended
		}
		o.members[m.ID] = &m
		o.log(EventMember, "member/"+m.ID)
	case action.RuleRemove:
		delete(o.members, a.Name)
		o.log(EventMember, "member/"+a.Name)
	case action.RuleSuspend:
		o.members[a.Name].Suspended = max(o.members[a.Name].Suspended, a.Until)
		o.wakes[wake{false, o.members[a.Name].Suspended, "return", a.Name}] = true
		o.log(EventMember, "member/"+a.Name)
	case action.RuleReinstate:
		o.members[a.Name].Suspended = 0
		o.back(a.Name)
		o.log(EventMember, "member/"+a.Name)
	case action.RulePolicy:
		o.law = slices.IndexFunc(o.laws, func(l law) bool { return l.document() == string(a.Document) })
		o.log(EventPolicy, fmt.Sprintf("policy/%x", policyVersion(o.laws[o.law])))
		o.wakes[wake{true, o.height + 1, "sharings", "0"}] = true
		o.wakes[wake{true, o.height + 1, "erase", "log"}] = true
		for _, id := range slices.SortedFunc(maps.Keys(o.requests), func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) }) {
			if r := o.requests[id]; r.state.Live() {
				o.end(r, RequestStale, EventExpired)
			}
		}
	case action.RuleTimerSet:
		o.timers[a.Timer.Name] = &oracleTimer{Timer: a.Timer, by: who.name, next: a.Timer.First}
		o.wakes[wake{false, a.Timer.First, "timer", a.Timer.Name}] = true
		o.log(EventTimer, "timer/"+a.Timer.Name)
	case action.RuleTimerCancel:
		delete(o.timers, a.Name)
		o.log(EventTimer, "timer/"+a.Name)
	case action.RuleKeygen, action.RuleRefresh:
		p, _ := dkg.ParseParams(a.Ceremony.Params)
		o.opened[p.ID()] = true
		o.log(EventCeremonyOpened, ceremonyName(p.ID()))
		if a.Rule == action.RuleRefresh {
			o.shares.begins = true
			for _, k := range o.about {
				o.shares.renews = append(o.shares.renews, string(k))
			}
		}
	}
}
