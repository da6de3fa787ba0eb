package ledger

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/wire"
)

// hall is an assembly on a ledger, and its people.
type hall struct {
	*world
	*assemblytest.Crowd
	id       [32]byte
	follower *assembly.Follower
	rand     *rand.Rand
	gone     map[int]assembly.Phase // from when on who says nothing
	last     assemblytest.Post      // that was taken
	early    [32]byte               // a link before the last
	beacon   *players               // brings its outputs; nil: there is none
}

func (w *world) assemble(c *assemblytest.Crowd) *hall {
	w.Helper()
	ask := Ask{Action: c.Action("treasury"), Purpose: "treasury", Seats: c.List.Encode()}
	w.want(OK, w.Tx(alice, action.KindRequest, ask.Encode()))
	return &hall{world: w, Crowd: c, id: c.Params.ID(), rand: rand.New(rand.NewPCG(1, uint64(c.Params.N))), gone: map[int]assembly.Phase{}}
}

func (h *hall) record() *action.AssemblyRecord {
	r, _ := h.view().Assembly(h.id)
	return r
}

// log is the archive so far: its head and its entries.
func (w *world) log(id [32]byte) (head []byte, entries []byte) {
	s := w.view()
	r, _ := s.Assembly(id)
	for number := uint64(1); number <= r.Entries; number++ {
		entries = append(entries, s.AssemblyEntry(id, number)...)
	}
	return s.AssemblyEntry(id, 0), entries
}

// follow reads the log on, as a participant does, and compares it with what
// the ledger says.
func (h *hall) follow() *assembly.Follower {
	h.Helper()
	s, r := h.view(), h.record()
	var err error
	if h.follower == nil {
		if h.follower, err = assembly.Follow(s.AssemblyEntry(h.id, 0)); err != nil {
			h.Fatal(err)
		}
	}
	f := h.follower
	for f.Entries() < r.Entries {
		if err := f.Take(s.AssemblyEntry(h.id, f.Entries()+1)); err != nil {
			h.Fatal(err)
		}
	}
	b := f.Board()
	if f.Link() != r.Link || f.Entries() != r.Entries || uint8(b.Phase()) != r.Phase || b.Deadline() != r.Deadline || len(b.Faults()) != int(r.Faults) {
		h.Fatalf("the log says %s, %d entries, the record %+v", b.Phase(), f.Entries(), r)
	}
	return f
}

func (h *hall) carry(p assemblytest.Post) []byte {
	return h.Tx(ledgertest.Node(h.rand.IntN(4)), action.KindAssembly,
		AssemblyMessage{Ceremony: h.id, Seat: uint16(p.Seat), Message: p.Message, Signature: p.Signature}.Encode())
}

// mixed returns what some of the seats have to say, in any order, among what
// the ledger must refuse. It is idle when nobody has anything to say.
func (h *hall) mixed(f *assembly.Follower) (posts []assemblytest.Post, forged [][]byte, idle bool) {
	idle = true
	for seat := 1; seat <= int(h.Params.N); seat++ {
		if since, ok := h.gone[seat]; ok && f.Board().Phase() >= since {
			continue
		}
		next := h.Next(f, seat)
		idle = idle && len(next) == 0
		if h.rand.IntN(3) > 0 {
			posts = append(posts, next...)
		}
	}
	h.rand.Shuffle(len(posts), func(i, j int) { posts[i], posts[j] = posts[j], posts[i] })
	for _, p := range posts {
		switch h.rand.IntN(6) {
		case 0:
			p.Signature = slices.Clone(p.Signature)
			p.Signature[5] ^= 1
			forged = append(forged, h.carry(p))
		case 1: // signed for another seat
			p.Seat = p.Seat%int(h.Params.N) + 1
			forged = append(forged, h.carry(p))
		case 2: // signed, and nothing that a board takes
			forged = append(forged, h.carry(h.Sign(p.Seat, p.Message[:len(p.Message)-1])))
		}
	}
	return posts, forged, idle
}

// replica is another node: it has the same blocks, and a cache of its own.
func (w *world) replica(cache *Cache) *world {
	c := *w
	c.state, c.bodies, c.cache = maps.Clone(w.state), maps.Clone(w.bodies), cache
	return &c
}

// block makes one on every replica and returns what became of its
// transactions. Whatever a replica computed before, kept or lost, the state is
// the same.
func (h *hall) block(now uint64, replicas []*world, txs [][]byte) []Result {
	h.Helper()
	if h.rand.IntN(2) == 0 { // a proposal that is dropped, half of the way
		dropped := h.begin(now)
		for _, raw := range txs[:len(txs)/2] {
			carry(dropped, h.world.block, raw)
		}
		h.world.block.Height--
	}
	if h.rand.IntN(4) == 0 {
		h.cache = &Cache{} // a restart
	}
	s := h.begin(now)
	var results []Result
	for _, raw := range txs {
		before := trace(s)
		r := carry(s, h.world.block, raw)
		if r.Code != OK && trace(s) != before {
			h.Fatalf("%s left a trace", r.Info)
		}
		results = append(results, r)
	}
	for i, other := range replicas {
		o := other.begin(now)
		for _, raw := range txs {
			carry(o, other.block, raw)
		}
		if digest(o) != digest(s) {
			h.Fatalf("replica %d has another state at height %d", i, other.block.Height)
		}
		other.commit(o)
	}
	h.commit(s)
	return results
}

// run plays the ceremony to its end.
func (h *hall) run(replicas ...*world) *assembly.Board {
	h.Helper()
	for range 300 {
		f := h.follow()
		if f.Board().Phase().Ended() {
			return f.Board()
		}
		h.early = f.Link()
		if due := h.view().Awaited(); h.beacon != nil && len(due) > 0 {
			out := h.Tx(node1, action.KindOutput, h.beacon.output(due[0].Height).Encode())
			if r := h.block(h.world.block.Time+1000, replicas, [][]byte{out}); r[0].Code != OK {
				h.Fatalf("an output: %s", r[0].Info)
			}
			continue
		}
		posts, txs, idle := h.mixed(f)
		forged := len(txs)
		for _, p := range posts {
			txs = append(txs, h.carry(p))
		}
		now := h.world.block.Time + 1000
		if idle && h.rand.IntN(3) == 0 {
			now = max(now, f.Board().Deadline())
		}
		took := 0
		for i, r := range h.block(now, replicas, txs) {
			switch {
			case i < forged && r.Code != CodeSigner && r.Code != CodeMalformed:
				h.Fatalf("forged, and %s: %s", r.Code, r.Info)
			case i >= forged && r.Code == OK:
				took++
				h.last = posts[i-forged]
				h.Took(h.last)
				if !bytes.Contains(h.view().AssemblyEntry(h.id, r.Entry), h.last.Message) {
					h.Fatalf("entry %d is another", r.Entry)
				}
			case i >= forged && r.Code != CodePhase:
				h.Fatalf("%s: %s", r.Code, r.Info)
			}
		}
	}
	h.Fatal("it does not end")
	return nil
}

// earlySeal tries a seal of what the log once was, with what a node remembers
// of signatures: it is refused while the ceremony runs, and after.
func (h *hall) earlySeal() {
	h.Helper()
	seen := &Seen{}
	try := func(s *State, raw []byte) Code {
		tx, err := Parse(raw)
		if err == nil {
			_, err = s.Verify(tx, seen)
		}
		if err == nil {
			return OK
		}
		return err.(*Error).Code
	}
	raw := h.Tx(node0, action.KindAssemblySeal, AssemblySeal{Ceremony: h.id, Seat: 7, Signature: assembly.SignSeal(h.Keys[6], h.early)}.Encode())
	running := h.view()
	r := *h.record()
	r.Phase, r.Link = uint8(assembly.PhaseDeal), h.early
	running.set(running.ns.Assembly(h.id[:]), r.Encode())
	if code := try(running, raw); code != CodePhase {
		h.Fatalf("a seal of a ceremony that runs: %s", code)
	}
	if code := try(h.view(), raw); code != CodeSigner {
		h.Fatalf("a seal of what the log once was: %s", code)
	}
	// Nor does a node that sits there itself get out of signing the seal.
	own := h.view()
	own.setBody(participantPath(h.id, 7), action.Participants{{Name: "p7", Region: "local", Key: h.Cluster.Keys[node0].Public()}}.Encode())
	if code := try(own, h.Tx(node0, action.KindAssemblySeal, AssemblySeal{Ceremony: h.id, Seat: 7, Signature: make([]byte, 64)}.Encode())); code != CodeSigner {
		h.Fatalf("a node's seal that is not signed: %s", code)
	}
}

// seal has participants seal the log, and returns the archive.
func (h *hall) seal(seats ...int) []byte {
	h.Helper()
	var seals []assembly.Seal
	link := h.record().Link
	for _, seat := range seats {
		s := assembly.Seal{Seat: seat, Signature: assembly.SignSeal(h.Keys[seat-1], link)}
		tx := AssemblySeal{Ceremony: h.id, Seat: uint16(seat), Signature: s.Signature}
		h.want(OK, h.Tx(node0, action.KindAssemblySeal, tx.Encode()))
		h.want(CodeConflict, h.Tx(node1, action.KindAssemblySeal, tx.Encode()))
		tx.Seat = tx.Seat%h.Params.N + 1
		h.want(CodeSigner, h.Tx(node1, action.KindAssemblySeal, tx.Encode()))
		seals = append(seals, s)
	}
	head, entries := h.log(h.id)
	return slices.Concat(head, entries, assembly.Tail(seals))
}

// Ceremonies among participants: everybody deals, and dealers are drawn; some
// leave. Replicas agree, one of them without any cache; what is sealed proves
// itself to others.
func TestAssembly(t *testing.T) {
	for name, c := range map[string]struct {
		n, cohorts, dealers int
		hybrid              bool
		gone                map[int]assembly.Phase
	}{
		"everybody": {n: 7, cohorts: 1, gone: map[int]assembly.Phase{3: assembly.PhaseJoin, 5: assembly.PhaseVerify}},
		"hybrid":    {n: 7, cohorts: 1, hybrid: true, gone: map[int]assembly.Phase{2: assembly.PhaseConfirm}},
		"drawn":     {n: 10, cohorts: 2, dealers: 3, gone: map[int]assembly.Phase{1: assembly.PhaseJoin, 9: assembly.PhaseReplay, 4: assembly.PhaseConfirm}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 4)
			h := w.assemble(assemblytest.New(t, c.n, c.cohorts, c.dealers, func(p *assembly.Params) { p.Hybrid = c.hybrid }))
			h.gone = c.gone
			b := h.run(w.replica(&Cache{}), w.replica(nil))
			if b.Phase() != assembly.PhaseDone || len(h.view().OpenAssemblies()) != 0 {
				t.Fatalf("ended %s, faults %v", b.Phase(), b.Faults())
			}
			for _, f := range b.Faults() {
				if f.Kind.Attributable() || c.gone[f.Seat] == 0 {
					t.Errorf("seat %d is blamed: %s", f.Seat, f.Kind)
				}
			}
			var present []int
			for seat := 1; seat <= c.n; seat++ {
				if c.gone[seat] == 0 {
					present = append(present, seat)
				}
			}
			h.earlySeal()
			archive := h.seal(present...)
			if r := h.record(); !r.Sealed || int(r.Seals) != len(present) {
				t.Fatalf("%d seals are not enough", r.Seals)
			}
			again, err := assembly.Replay(archive)
			if err != nil {
				t.Fatal(err)
			}
			key, _ := again.PublicKey()
			public := key.Bytes()
			held, err := h.view().Key(action.DomainValidator, public[:])
			if err != nil || held.State != action.KeyHeld || held.Provenance != action.ProvenanceAssembled || held.Ceremony != h.id || held.Holds(1) {
				t.Fatalf("key %+v, %v", held, err)
			}
			h.want(CodeConflict, h.Tx(alice, action.KindRequest, actionOn(held, action.RuleDeposit, 1)))
			h.want(CodePhase, h.carry(h.last))
		})
	}
}

// With a beacon, its outputs draw the dealers and unbias the key; while it does
// not answer, nothing happens, and for a minute only.
func TestAssemblyTakesTheBeaconsOutput(t *testing.T) {
	for _, answers := range []bool{true, false} {
		w := newWorld(t, 4)
		b := w.beacon(1)
		h := w.assemble(assemblytest.New(t, 10, 2, 3, nil))
		if answers {
			h.beacon = b
		}
		began := w.block.Time
		board := h.run(w.replica(&Cache{}), w.replica(nil))
		if board.Phase() != assembly.PhaseDone {
			t.Fatalf("ended %s, faults %v", board.Phase(), board.Faults())
		}
		taken, missed := w.count(EventBeacon), w.count(EventBeaconMissed)
		if answers && (taken != 2 || missed != 0) || !answers && (taken != 0 || missed != 2 || w.block.Time < began+2*patience) {
			t.Errorf("it answers: %t; %d outputs taken, %d missed", answers, taken, missed)
		}
		_, entries := w.log(h.id)
		used := 0
		w.view().iterate(w.view().ns.Prefix("output"), func(_, v []byte) bool {
			if out := mustParse(parseOutput(v)); bytes.Contains(entries, out.Randomness[:]) && (len(out.Signature) > 0) == answers {
				used++
			}
			return true
		})
		if used != 2 {
			t.Errorf("%d outputs stand in the log", used)
		}
	}
}

// An assembly to which too few come is aborted by time, and by nothing else.
func TestAssemblyAborts(t *testing.T) {
	w := newWorld(t, 4)
	h := w.assemble(assemblytest.New(t, 7, 1, 0, nil))
	h.gone = map[int]assembly.Phase{1: 1, 2: 1, 3: 1}
	b := h.run(w.replica(nil))
	if b.Phase() != assembly.PhaseAborted || w.count(EventCeremonyAborted) != 1 || w.count(EventCeremonyFault) != 1 || w.count(EventKeyCreated) != 0 {
		t.Fatalf("ended %s", b.Phase())
	}
	archive := h.seal(4, 5, 6)
	if _, err := assembly.Replay(archive); err != nil {
		t.Fatal(err)
	}
}

// Whatever does not fit is refused when it is asked for.
func TestAssemblyRefused(t *testing.T) {
	w := newWorld(t, 4)
	member, _ := w.view().Member("olga")
	ask := func(change func(*Ask, *assemblytest.Crowd)) []byte {
		c := assemblytest.New(t, 5, 1, 0, nil)
		c.List[0].Key, c.List[0].Member = member.Keys[0], "olga"
		roster := assembly.Roster{member.Keys[0]}
		for _, p := range c.List[1:] {
			roster = append(roster, p.Key)
		}
		c.Params.Roster = roster.Hash()
		a := Ask{Action: c.Action("treasury"), Seats: c.List.Encode()}
		change(&a, c)
		return w.Tx(alice, action.KindRequest, a.Encode())
	}
	again := func(change func(*assemblytest.Crowd)) func(*Ask, *assemblytest.Crowd) {
		return func(a *Ask, c *assemblytest.Crowd) {
			change(c)
			*a = Ask{Action: c.Action("treasury"), Seats: c.List.Encode()}
		}
	}
	for name, bad := range map[string]struct {
		code   Code
		change func(*Ask, *assemblytest.Crowd)
	}{
		"no list":          {CodeMalformed, func(a *Ask, _ *assemblytest.Crowd) { a.Seats = nil }},
		"another list":     {CodeMalformed, func(a *Ask, c *assemblytest.Crowd) { c.List[2].Name = "x"; a.Seats = c.List.Encode() }},
		"one too few":      {CodeMalformed, again(func(c *assemblytest.Crowd) { c.List = c.List[:4] })},
		"other keys":       {CodeMalformed, again(func(c *assemblytest.Crowd) { c.Params.Roster[0] ^= 1 })},
		"a name twice":     {CodeMalformed, again(func(c *assemblytest.Crowd) { c.List[2].Name = c.List[3].Name })},
		"a key twice":      {CodeMalformed, again(func(c *assemblytest.Crowd) { c.List[2].Key = c.List[3].Key })},
		"no member":        {CodeConflict, again(func(c *assemblytest.Crowd) { c.List[0].Member = "nobody" })},
		"another's key":    {CodeConflict, again(func(c *assemblytest.Crowd) { c.List[1].Member = "olga" })},
		"unsafe":           {CodeMalformed, again(func(c *assemblytest.Crowd) { c.Params.T = 2 })},
		"a phase too long": {CodeMalformed, again(func(c *assemblytest.Crowd) { c.Params.Deadlines.Join = maxAssemblyPhase + 1 })},
	} {
		t.Run(name, func(t *testing.T) { w.want(bad.code, ask(bad.change)) })
	}
	good := func(nonce byte) []byte { return ask(again(func(c *assemblytest.Crowd) { c.Params.Nonce[0] = nonce })) }
	w.want(OK, good(0))
	w.want(CodeConflict, good(0))
	for i := range byte(maxAssembliesOf - 1) {
		w.want(OK, good(i+1))
	}
	w.want(CodeBusy, good(99))
	w.want(CodeMalformed, w.Tx(alice, action.KindRequest, grantOf(action.Action{Rule: action.RuleTimerSet, Timer: action.Timer{
		Name: "often", First: w.block.Time + 10*hour, Action: assemblytest.New(t, 5, 1, 0, nil).Action("x").Encode()}})))
	if last := w.view().OpenAssemblies(); len(last) != maxAssembliesOf {
		t.Fatalf("%d are open", len(last))
	}
}

// The largest ceremony fits into one request, and each message costs the ledger
// little, however many there are. Where thousands do not come, each is named.
func TestAssemblyOfThousands(t *testing.T) {
	w := newWorld(t, 4)
	h := w.assemble(assemblytest.New(t, wire.MaxParticipants, 32, 4, nil))
	f := h.follow()
	var txs [][]byte
	for seat := 1; seat <= 20; seat++ {
		txs = append(txs, h.carry(h.Next(f, seat*200)[0]))
	}
	for _, r := range h.block(h.world.block.Time+1000, nil, txs) {
		if r.Code != OK {
			t.Fatal(r.Info)
		}
	}
	b := h.follow().Board()
	if len(b.Joined()) != 20 {
		t.Fatalf("%d joined", len(b.Joined()))
	}
	h.block(b.Deadline(), nil, nil)
	var named, absent []string
	for _, ev := range w.events {
		if _, list, ok := strings.Cut(ev.Detail, "absent from join: seats "); ok && ev.Kind == EventCeremonyFault {
			named = append(named, strings.Split(list, ", ")...)
		}
	}
	for _, f := range h.follow().Board().Faults() {
		absent = append(absent, fmt.Sprint(f.Seat))
	}
	if len(absent) != wire.MaxParticipants-20 || !slices.Equal(named, absent) {
		t.Errorf("%d are absent, and events name %d", len(absent), len(named))
	}
}
