package custody

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/keystore"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/seal"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/slashing"
	"github.com/quorate/quorate/internal/wire"
)

// stage is one ceremony on the ledger of a world.
type stage struct {
	*world
	board   *dkg.Board
	imports [][]byte
	blobs   map[[32]byte][]byte
	time    uint64
	certs   [][]byte // one of each state so far
	paths   []proof.Path
	// people deal where an assembly hands its key over.
	people *dkgtest.Ceremony
	// handover is what the ledger says when it commits a reshare.
	handover action.Handover
}

func (w *world) params(mode dkg.Mode, keys int) dkg.Params {
	th, err := action.DefaultThreshold(len(w.roster))
	if err != nil {
		w.t.Fatal(err)
	}
	p := dkg.Params{Mode: mode, Suite: dkg.SuiteG1, Hybrid: true, N: uint8(th.N()), T: uint8(th.T()), Keys: uint32(keys),
		Cluster: w.cluster, Roster: w.roster.Hash(w.cluster),
		Deadlines: dkg.Deadlines{Join: 1000, Deal: 1000, Verify: 1000, Answer: 1000, Confirm: 1000, Publish: 1000}}
	rand.Read(p.Nonce[:])
	return p
}

func (w *world) openStage(p dkg.Params, imports ...[]byte) *stage {
	w.t.Helper()
	s := &stage{world: w, imports: imports, blobs: map[[32]byte][]byte{}, time: 1_700_000_000_000}
	board, _, err := dkg.NewBoard(p, s.time)
	if err != nil {
		w.t.Fatal(err)
	}
	s.set(board)
	return s
}

// set puts a state of the ceremony on the ledger.
func (s *stage) set(board *dkg.Board) {
	id := board.ID()
	s.board = board
	s.ledger.Set(ns.Ceremony(id[:]), board.Encode())
	p := board.Params()
	a := action.Action{Rule: p.Rule(), Ceremony: action.Ceremony{Params: p.Encode()}}
	if p.FromAssembly() {
		a.PublicKey = s.handed
	}
	g := action.Grant{Request: action.Request{Action: a.Encode(), By: "node/node0"}}
	s.ledger.Set(ns.Grant(id[:]), g.Encode())
	if s.paths = append(s.paths[:0], ns.Ceremony(id[:]), ns.Grant(id[:])); board.Phase() == dkg.PhaseDone && p.Mode == dkg.ModeReshare {
		s.ledger.Set(ns.Handover(id[:]), s.handover.Encode())
		s.paths = append(s.paths, ns.Handover(id[:]))
	}
	s.certs = append(s.certs, s.certify(s.paths...))
}

func (s *stage) cert() []byte {
	return s.prove(s.paths...)
}

// step shows a process a proven state, hands over the bodies that it asks for
// and returns what it says.
func (s *stage) step(p *Process, cert []byte) (StepResult, error) {
	id := s.board.ID()
	for {
		raw, err := ask(p, MethodCeremony, ceremonyRequest(id, cert, s.imports))
		if err != nil {
			return StepResult{}, err
		}
		result, err := parseStepResult(raw)
		if err != nil || len(result.Need) == 0 {
			return result, err
		}
		for _, name := range result.Need {
			if _, err := ask(p, MethodBlob, blobRequest(id, name, s.blobs[name])); err != nil {
				return StepResult{}, err
			}
		}
	}
}

// post puts messages on the ledger, as far as it takes them, and reports
// whether it took any.
func (s *stage) post(posts []Post) (moved bool) {
	s.t.Helper()
	next := s.board
	for _, p := range posts {
		if err := s.roster[p.Seat-1].Identity.Verify(p.Signature, wire.TagCeremonyMessage, action.CeremonyParts(s.board.ID(), p.Seat, p.Message)...); err != nil {
			s.t.Errorf("seat %d signs falsely: %v", p.Seat, err)
		}
		m, err := dkg.ParseMessage(p.Message)
		if err != nil {
			s.t.Fatal(err)
		}
		after, events, err := next.Apply(s.time, int(p.Seat), m)
		if err != nil {
			continue
		}
		for _, e := range events {
			if e.Kind == dkg.EventStore {
				s.blobs[e.Name] = p.Message
			}
		}
		next, moved = after, true
	}
	if moved {
		s.set(next)
	}
	return moved
}

// tick lets d milliseconds pass, between two blocks.
func (s *stage) tick(d uint64) {
	for range 2 {
		next, _ := s.board.Tick(s.time, sha256.Sum256(binary.BigEndian.AppendUint64(nil, s.time)))
		if next != s.board {
			s.set(next)
		}
		s.time += d
	}
}

// run goes on until the ceremony is over and every process has taken its
// shares; each looks at every state through see.
func (s *stage) run(n int, see func(i int, cert []byte) StepResult) {
	s.t.Helper()
	active := map[int]bool{}
	for range 100 {
		moved := false
		for i := range n {
			r := see(i, s.cert())
			moved = s.post(r.Posts) || moved
			active[i] = active[i] || len(r.Active) > 0
		}
		switch s.board.Phase() {
		case dkg.PhaseDone:
			if len(active) == n && !moved && !slices.Contains(slices.Collect(maps.Values(active)), false) {
				return
			}
		case dkg.PhaseAborted:
			return
		}
		if !moved {
			s.tick(1001)
		}
	}
	s.t.Fatalf("the ceremony stands still in %s", s.board.Phase())
}

// plain is a see without incidents.
func (s *stage) plain(ps []*Process) func(int, []byte) StepResult {
	return func(i int, cert []byte) StepResult {
		s.t.Helper()
		r, err := s.step(ps[i], cert)
		if err != nil {
			s.t.Fatalf("seat %d in %s: %v", i+1, s.board.Phase(), err)
		}
		return r
	}
}

func (w *world) startAll() (ps []*Process) {
	for i := range w.roster {
		ps = append(ps, w.start(i))
	}
	return ps
}

// combined wants partials of all holders of a key to combine to a signature of the key.
func (w *world) combined(ps []*Process, key [48]byte, duty eth.Duty) {
	w.t.Helper()
	th, _ := action.DefaultThreshold(max(4, len(ps)))
	var partials []bls.Partial
	for _, p := range ps {
		answer, err := w.sign(p, key, duty, nil)
		if err != nil {
			w.t.Fatalf("seat %d: %v", p.seat.Index, err)
		}
		partial, err := bls.ParsePartial(answer.Partial[:])
		if err != nil {
			w.t.Fatal(err)
		}
		partials = append(partials, partial)
	}
	sig, err := bls.Combine(th.T(), partials[len(partials)-th.T():])
	pk, err2 := bls.ParsePublicKey(key[:])
	root, err3 := duty.SigningRoot(w.network)
	if err := errors.Join(err, err2, err3); err != nil || !bls.Verify(pk, root, sig) {
		w.t.Errorf("%d partials make no signature of key 0x%x: %v", th.T(), key[:4], err)
	}
}

// kinds counts what stands in a process's safe.
func kinds(p *Process) map[seal.Kind]int {
	out := map[seal.Kind]int{}
	for _, s := range p.safe.Slots() {
		out[s.Kind]++
	}
	return out
}

func messages(r StepResult) (out [][]byte) {
	for _, p := range r.Posts {
		out = append(out, p.Message)
	}
	return out
}

// A custody process that dies at any step says the same again, and what comes
// out signs. What made it is gone then.
func TestCeremonySurvivesRestarts(t *testing.T) {
	w := newWorld(t, 4, nil)
	ps := w.startAll()
	s := w.openStage(w.params(dkg.ModeKeygen, 2))
	var keys [][]byte
	s.run(4, func(i int, _ []byte) StepResult {
		s.t.Helper()
		phase := s.board.Phase()
		first, err := s.step(ps[i], s.cert())
		if err != nil {
			t.Fatalf("seat %d in %s: %v", i+1, phase, err)
		}
		ps[i] = w.restart(ps[i])
		_, err = s.step(ps[i], s.certs[len(s.certs)-1])
		refused(t, "a state from before the restart", err, rpc.CodeNotGranted)
		second, err := s.step(ps[i], s.cert())
		if err != nil {
			t.Fatalf("seat %d in %s, once more: %v", i+1, phase, err)
		}
		if len(first.Active) > 0 {
			keys = first.Active
			if len(second.Posts)+len(second.Active) != 0 {
				t.Errorf("seat %d goes on after it has left", i+1)
			}
			return first
		}
		if !slices.EqualFunc(messages(first), messages(second), bytes.Equal) {
			t.Errorf("seat %d says two things in %s", i+1, phase)
		}
		return second
	})
	if len(keys) != 2 {
		t.Fatalf("%d keys", len(keys))
	}
	for _, p := range ps {
		if got := kinds(p); got[seal.KindShare] != 2 || len(got) != 1 {
			t.Errorf("seat %d keeps %v", p.seat.Index, got)
		}
		if st := statusOf(t, p); st.Keys != 2 || len(st.Pending) != 0 {
			t.Errorf("seat %d: %+v", p.seat.Index, st)
		}
	}
	for _, k := range keys {
		w.combined(ps, [48]byte(k), eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}})
	}
}

// crash copies the home of a process as kill -9 would leave it at this moment
// and opens the copy in its place.
func (w *world) crash(p *Process) *Process {
	w.t.Helper()
	return w.restart(p) // what is acknowledged is on disk; Close writes nothing more
}

// finish has three windows: registered, sealed, seed destroyed. A process
// that dies in one of them ends as one that did not, and a key that was
// stopped in between stays stopped.
func TestFinishSurvivesCrashes(t *testing.T) {
	duty := func(w *world) eth.Duty {
		return eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}}
	}
	for _, c := range []struct {
		name string
		// part does as much of finish as was done before the crash.
		part    func(t *testing.T, p *Process, entries []seal.Entry)
		stopped bool
	}{
		{"before anything", func(*testing.T, *Process, []seal.Entry) {}, false},
		{"registered one", func(t *testing.T, p *Process, entries []seal.Entry) {
			if err := p.register([][]byte{entries[0].Key}, dkg.ModeKeygen); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"registered, then stopped", func(t *testing.T, p *Process, entries []seal.Entry) {
			if err := errors.Join(p.register([][]byte{entries[0].Key, entries[1].Key}, dkg.ModeKeygen),
				p.record.Stop(slashing.Key(entries[0].Key)), p.record.Stop(slashing.Key(entries[1].Key))); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"sealed", func(t *testing.T, p *Process, entries []seal.Entry) {
			if err := errors.Join(p.register([][]byte{entries[0].Key, entries[1].Key}, dkg.ModeKeygen), p.safe.Put(entries...)); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"sealed, then stopped", func(t *testing.T, p *Process, entries []seal.Entry) {
			if err := errors.Join(p.register([][]byte{entries[0].Key, entries[1].Key}, dkg.ModeKeygen), p.safe.Put(entries...),
				p.record.Stop(slashing.Key(entries[0].Key)), p.record.Stop(slashing.Key(entries[1].Key))); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 4, nil)
			ps := w.startAll()
			s := w.openStage(w.params(dkg.ModeKeygen, 2))
			var keys [][]byte
			s.run(4, func(i int, cert []byte) StepResult {
				if i == 1 && s.board.Phase() == dkg.PhaseDone && keys == nil {
					id := s.board.ID()
					seat := ps[1].seats[id]
					for _, name := range seat.missing(s.board) {
						seat.bodies[name] = s.blobs[name]
					}
					c.part(t, ps[1], sharesOf(t, ps[1], seat, s.board))
					ps[1] = w.crash(ps[1])
					r := s.plain(ps)(1, s.cert())
					keys = r.Active
					return r
				}
				return s.plain(ps)(i, cert)
			})
			if got := kinds(ps[1]); got[seal.KindShare] != 2 || len(got) != 1 {
				t.Errorf("it keeps %v", got)
			}
			for _, k := range keys {
				if c.stopped {
					_, err := w.sign(ps[1], [48]byte(k), duty(w), nil)
					refused(t, "a stopped key", err, rpc.CodeUnknownKey)
				} else {
					w.combined(ps[:3], [48]byte(k), duty(w))
				}
				// The seed is older than this process, so the disk may have
				// been rolled back to before the key first signed.
				_, err := w.sign(ps[1], [48]byte(k), w.block(w.epoch()*32, 1), nil)
				want := rpc.CodeFenced
				refused(t, "a block below the floor", err, want)
			}
			w.must(ps[1], MethodStop, keyList([48]byte(keys[0])))
		})
	}
}

// sharesOf are the entries that finish would seal.
func sharesOf(t *testing.T, p *Process, s *seat, board *dkg.Board) (out []seal.Entry) {
	t.Helper()
	result, err := dkg.ReadResult(board, s.source)
	if err != nil {
		t.Fatal(err)
	}
	shares, err := s.player.ExposeSecretShares(board, s.source)
	if err != nil {
		t.Fatal(err)
	}
	for _, share := range shares {
		h := p.header(seal.KindShare, result.PublicKey(share.Key))
		h.Curve, h.N, h.T, h.X = action.CurveBLS12381G1, uint16(board.Params().N), uint16(board.Params().T), s.me
		out = append(out, seal.Entry{Header: h, Secret: share.Secret})
	}
	return out
}

// A state that is older, but recent enough to be believed, gets the answer
// that it got; once the ceremony is over it gets none: another seed would make
// the seat say two different things.
func TestReplayedStates(t *testing.T) {
	w := newWorld(t, 4, nil)
	ps := w.startAll()
	s := w.openStage(w.params(dkg.ModeKeygen, 1))
	said := map[string][][]byte{} // by certificate, of seat 1
	s.run(4, func(i int, cert []byte) StepResult {
		r := s.plain(ps)(i, cert)
		if i == 0 && len(r.Active) == 0 {
			said[string(cert)] = messages(r)
			for _, old := range s.certs {
				if again, err := s.step(ps[0], old); err != nil {
					t.Fatal(err)
				} else if want, ok := said[string(old)]; ok && !slices.EqualFunc(messages(again), want, bytes.Equal) {
					t.Fatal("the same state, another answer")
				}
			}
		}
		return r
	})
	if len(said) < 5 {
		t.Fatalf("only %d states were seen", len(said))
	}
	for i, old := range s.certs {
		r, err := s.step(ps[0], old)
		if err != nil || len(r.Posts)+len(r.Need)+len(r.Active) != 0 {
			t.Fatalf("state %d of a ceremony that is over: %+v, %v", i, r, err)
		}
	}
	if got := kinds(ps[0]); got[seal.KindSeed] != 0 || len(statusOf(t, ps[0]).Pending) != 0 {
		t.Errorf("a replayed state drew a second seed: %v", got)
	}

	// The same of one that was aborted.
	s = w.openStage(w.params(dkg.ModeKeygen, 1))
	if r, err := s.step(ps[0], s.cert()); err != nil || len(r.Posts) != 1 {
		t.Fatal(r, err)
	}
	s.tick(2000)
	if s.board.Phase() != dkg.PhaseAborted {
		t.Fatal(s.board.Phase())
	}
	for _, cert := range [][]byte{s.cert(), s.certs[0], s.certs[1]} {
		if r, err := s.step(ps[0], cert); err != nil || len(r.Posts) != 0 || kinds(ps[0])[seal.KindSeed] != 0 {
			t.Fatal(r, err, kinds(ps[0]))
		}
	}

	// And a seat that missed the join has nothing to say and nothing to keep.
	s = w.openStage(w.params(dkg.ModeKeygen, 1))
	s.run(3, s.plain(ps[:3]))
	if r, err := s.step(ps[3], s.cert()); err != nil || len(r.Posts) != 0 || kinds(ps[3])[seal.KindSeed] != 0 {
		t.Error(r, err)
	}
	// One that drew its seed but was not heard leaves when the others are done.
	s = w.openStage(w.params(dkg.ModeKeygen, 1))
	if _, err := s.step(ps[3], s.cert()); err != nil || kinds(ps[3])[seal.KindSeed] != 1 {
		t.Fatal(err)
	}
	s.run(3, s.plain(ps[:3]))
	if r, err := s.step(ps[3], s.cert()); err != nil || len(r.Posts) != 0 || kinds(ps[3])[seal.KindSeed] != 0 {
		t.Error(r, err, kinds(ps[3]))
	}
}

// A seat that has joined, and whose seed is gone with a disk that was restored,
// does not draw another.
func TestLostSeed(t *testing.T) {
	w := newWorld(t, 4, nil)
	p := w.start(0)
	s := w.openStage(w.params(dkg.ModeKeygen, 1))
	r, err := s.step(p, s.cert())
	if err != nil || !s.post(r.Posts) || s.board.Phase() != dkg.PhaseJoin {
		t.Fatal(err)
	}
	if err := p.safe.Destroy(p.safe.Slots()...); err != nil {
		t.Fatal(err)
	}
	p = w.restart(p)
	if r, err := s.step(p, s.cert()); err != nil || len(r.Posts) != 0 || len(kinds(p)) != 0 {
		t.Errorf("%d messages, %v, %v", len(r.Posts), err, kinds(p))
	}
}

// A ceremony that is another cluster's, seats others, or makes keys of another
// kind is none of ours, whoever proves it.
func TestForeignCeremoniesAreRefused(t *testing.T) {
	w := newWorld(t, 4, nil)
	p := w.start(0)
	for name, edit := range map[string]func(*dkg.Params){
		"another cluster": func(p *dkg.Params) { p.Cluster[0]++ },
		"another roster":  func(p *dkg.Params) { p.Roster[0]++ },
		"more seats":      func(p *dkg.Params) { p.N, p.T = 5, 4 },
		"another curve":   func(p *dkg.Params) { p.Suite = dkg.SuiteRistretto },
	} {
		params := w.params(dkg.ModeKeygen, 1)
		edit(&params)
		s := w.openStage(params)
		_, err := s.step(p, s.cert())
		refused(t, name, err, rpc.CodeNotGranted)
	}
	s, other := w.openStage(w.params(dkg.ModeKeygen, 1)), w.openStage(w.params(dkg.ModeKeygen, 1))
	_, err := s.step(p, other.cert())
	refused(t, "a proof of another ceremony", err, rpc.CodeNotGranted)
	id, elsewhere := s.board.ID(), other.board.ID()
	w.ledger.Set(ns.Ceremony(id[:]), other.board.Encode())
	_, err = s.step(p, w.certify(ns.Ceremony(id[:])))
	refused(t, "another ceremony's board", err, rpc.CodeNotGranted)
	w.ledger.Set(ns.Ceremony(id[:]), []byte{1, 2, 3})
	_, err = s.step(p, w.certify(ns.Ceremony(id[:])))
	refused(t, "no board", err, rpc.CodeMalformed)
	unproven := w.certify(ns.Ceremony(elsewhere[:]))
	unproven[len(unproven)-40] ^= 1
	if _, err = other.step(p, unproven); err == nil {
		t.Error("an unproven board was believed")
	}
	if got := kinds(p); len(got) != 0 {
		t.Errorf("seeds were drawn: %v", got)
	}
}

// Bodies come from the node: one that was not asked for is refused, one that
// is not what the board names does not stay.
func TestBodies(t *testing.T) {
	w := newWorld(t, 4, nil)
	ps := w.startAll()
	s := w.openStage(w.params(dkg.ModeKeygen, 1))
	id := s.board.ID()
	_, err := ask(ps[0], MethodBlob, blobRequest(id, [32]byte{1}, []byte("x")))
	refused(t, "a body for no seat", err, rpc.CodeMalformed)
	for s.board.Phase() == dkg.PhaseJoin {
		for i := range ps {
			s.post(s.plain(ps)(i, s.cert()).Posts)
		}
	}
	raw, err := ask(ps[0], MethodCeremony, ceremonyRequest(id, s.cert(), nil))
	result, err2 := parseStepResult(raw)
	if err != nil || err2 != nil || len(result.Need) == 0 {
		t.Fatal(result, err, err2)
	}
	name := result.Need[0]
	_, err = ask(ps[0], MethodBlob, blobRequest(id, [32]byte{1}, s.blobs[name]))
	refused(t, "a body that was not asked for", err, rpc.CodeMalformed)
	_, err = ask(ps[0], MethodBlob, blobRequest(id, name, make([]byte, wire.MaxTx+1)))
	refused(t, "a body that is too large", err, rpc.CodeMalformed)
	for _, name := range result.Need {
		w.must(ps[0], MethodBlob, blobRequest(id, name, []byte("garbage")))
		_, err = ask(ps[0], MethodBlob, blobRequest(id, name, s.blobs[name]))
		refused(t, "a body twice", err, rpc.CodeMalformed)
	}
	if _, err = ask(ps[0], MethodCeremony, ceremonyRequest(id, s.cert(), nil)); err == nil {
		t.Fatal("garbage served")
	}
	if r, err := s.step(ps[0], s.cert()); err != nil || len(r.Posts) == 0 {
		t.Errorf("garbage stayed: %v", err)
	}
}

// importKey leaves a keystore of a new key with a process.
func (w *world) importKey(p *Process, password string) (bls.SecretKey, [48]byte) {
	w.t.Helper()
	key, err := bls.GenerateSecretKey()
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := keystore.Encrypt(rand.Reader, key, secret.New([]byte(password)), keystore.InsecureTestKDF, "")
	if err != nil {
		w.t.Fatal(err)
	}
	out := w.must(p, MethodKeystore, keystoreRequest(raw, password))
	if pk := key.PublicKey().Bytes(); !bytes.Equal(out, pk[:]) {
		w.t.Fatalf("keystore of 0x%x yields 0x%x", pk, out)
	}
	return key, [48]byte(out)
}

func keystoreRequest(raw []byte, password string) []byte {
	var e wire.Encoder
	e.Bytes(raw)
	e.String(password)
	return e.Out()
}

func (w *world) importParams(importer int, keys ...[]byte) dkg.Params {
	p := w.params(dkg.ModeImport, len(keys))
	p.Importer, p.Expected = uint8(importer), dkg.ExpectedKeys(keys)
	return p
}

// A whole key is dealt, and gone: from the safe as soon as its ceremony is
// over, however it ends.
func TestImport(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarts %v", restarts), func(t *testing.T) {
			w := newWorld(t, 4, nil)
			ps := w.startAll()
			whole, key := w.importKey(ps[1], "correct horse")
			defer whole.Destroy()
			if got := kinds(ps[1]); got[seal.KindImport] != 1 {
				t.Fatal(got)
			}
			s := w.openStage(w.importParams(2, key[:]), key[:])
			reveal := eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}}
			s.run(4, func(i int, cert []byte) StepResult {
				if restarts {
					ps[i] = w.restart(ps[i])
					cert = s.cert()
				}
				if s.board.Phase() == dkg.PhaseDone && kinds(ps[i])[seal.KindShare] == 0 {
					// The key is active, and some holders hear of it before
					// others: whoever asks these asks again.
					_, err := w.sign(ps[i], key, reveal, nil)
					refused(t, "a share that is about to come", err, rpc.CodeEpoch)
				}
				if s.board.Phase() == dkg.PhaseDone && i == 1 && !restarts {
					s.imports = nil // whoever asks need not help to forget it
					defer func() { s.imports = [][]byte{key[:]} }()
				}
				return s.plain(ps)(i, cert)
			})
			for _, p := range ps {
				if got := kinds(p); got[seal.KindShare] != 1 || len(got) != 1 {
					t.Errorf("seat %d keeps %v", p.seat.Index, got)
				}
			}
			if len(ps[1].imports) != 0 {
				t.Error("the whole key is still in memory")
			}
			w.combined(ps, key, reveal)
			_, err := w.sign(ps[0], [48]byte{1}, reveal, nil)
			refused(t, "a share that never comes", err, rpc.CodeUnknownKey)
		})
	}
}

func TestImportThatFails(t *testing.T) {
	w := newWorld(t, 4, nil)
	ps := w.startAll()
	key, _ := bls.GenerateSecretKey()
	raw, err := keystore.Encrypt(rand.Reader, key, secret.New([]byte("right")), keystore.InsecureTestKDF, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = ask(ps[1], MethodKeystore, keystoreRequest(raw, "wrong"))
	refused(t, "wrong password", err, rpc.CodeMalformed)
	_, err = ask(ps[1], MethodKeystore, keystoreRequest([]byte("{}"), "right"))
	refused(t, "no keystore", err, rpc.CodeMalformed)
	_, err = ask(ps[1], MethodKeystore, keystoreRequest(raw, string(make([]byte, wire.MaxPassword+1))))
	refused(t, "a long password", err, rpc.CodeMalformed)

	_, mine := w.importKey(ps[1], "x")
	_, other := w.importKey(ps[1], "x")
	s := w.openStage(w.importParams(2, mine[:]), other[:])
	if _, err := s.step(ps[1], s.cert()); err == nil {
		t.Error("another key than the ledger expects was taken")
	}
	s.imports = [][]byte{make([]byte, 48)}
	_, err = s.step(ps[1], s.cert())
	refused(t, "a key that is not here", err, rpc.CodeUnknownKey)
	s.imports = nil
	if _, err := s.step(ps[1], s.cert()); err == nil {
		t.Error("no key was taken")
	}

	// Aborted: the key that the ceremony named is gone, the other is not.
	s.imports = [][]byte{mine[:]}
	if r, err := s.step(ps[1], s.cert()); err != nil || len(r.Posts) != 1 {
		t.Fatal(len(r.Posts), err)
	}
	s.tick(5000)
	if r, err := s.step(ps[1], s.cert()); err != nil || len(r.Posts) != 0 || s.board.Phase() != dkg.PhaseAborted {
		t.Fatal(len(r.Posts), s.board.Phase(), err)
	}
	if got := kinds(ps[1]); got[seal.KindImport] != 1 || len(got) != 1 {
		t.Errorf("after the abort: %v", got)
	}

	// Forgotten in the middle: the seat has nothing to deal until the key is
	// left here again.
	s = w.openStage(w.importParams(2, other[:]), other[:])
	if _, err := s.step(ps[1], s.cert()); err != nil {
		t.Fatal(err)
	}
	w.must(ps[1], MethodForget, keyList(other, [48]byte{1}))
	if got := kinds(ps[1]); got[seal.KindImport] != 0 || got[seal.KindSeed] != 1 {
		t.Errorf("after forgetting: %v", got)
	}
	_, err = s.step(ps[1], s.cert())
	refused(t, "a key that was forgotten", err, rpc.CodeUnknownKey)
	ps[1] = w.restart(ps[1])
	_, err = s.step(ps[1], s.cert())
	refused(t, "a key that was forgotten, after a restart", err, rpc.CodeUnknownKey)
}

// The genesis says what an imported key may sign when nobody says what it
// signed elsewhere. A clock that was set back lowers no floor.
func TestImportHistory(t *testing.T) {
	for _, mode := range []string{action.HistoryRefuse, action.HistoryNow, action.HistoryNone} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t, 1, func(g *action.Genesis) { g.ImportHistory = mode })
			p := w.start(0)
			// The ledger's clock is ten epochs ahead of the wall's.
			w.ledger.Block(10 * 32 * w.network.SlotDuration)
			w.anchor(p)
			key := w.give(p, "key")
			w.must(p, MethodStop, keyList(key))
			if err := p.register([][]byte{key[:]}, dkg.ModeImport); err != nil {
				t.Fatal(err)
			}
			s, _ := p.record.Status(key)
			switch now := w.epoch(); mode {
			case action.HistoryRefuse:
				if s.Fence == 0 {
					t.Error("no fence")
				}
			case action.HistoryNow:
				if s.Floor.Target < now+10 || s.Floor.Slot < (now+10)*32 {
					t.Errorf("floor %+v at epoch %d", s.Floor, now)
				}
			default:
				if s.Fence != 0 || s.Floored {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

// While a seat computes, whoever asks for the status does not wait.
func TestStatusDoesNotWait(t *testing.T) {
	w := newWorld(t, 1, nil)
	p := w.start(0)
	p.seeds.put([32]byte{1}, secret.New([]byte("seed")))
	p.ceremonies.Lock()
	defer p.ceremonies.Unlock()
	answered := make(chan Status)
	go func() { answered <- statusOf(t, p) }()
	select {
	case s := <-answered:
		if len(s.Pending) != 1 {
			t.Errorf("pending %x", s.Pending)
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits")
	}
	for i := range 2 * maxPending {
		p.seeds.put([32]byte{2, byte(i), byte(i >> 8)}, secret.New([]byte("seed")))
	}
	if s := statusOf(t, p); len(s.Pending) != maxPending {
		t.Errorf("%d pending", len(s.Pending))
	}
}

// An answer fits into a frame whatever the size of the ceremony: what does not
// follows when the rest stands on the board.
func TestLargeAnswersComeInParts(t *testing.T) {
	if os.Getenv("QUORATE_CHECK") == "" {
		t.Skip("deals 9,000 keys: under ./check, or with QUORATE_CHECK=1")
	}
	w := newWorld(t, 4, nil)
	ps := w.startAll()
	s := w.openStage(w.params(dkg.ModeKeygen, 9000))
	for s.board.Phase() == dkg.PhaseJoin {
		for i := range ps {
			s.post(s.plain(ps)(i, s.cert()).Posts)
		}
	}
	parts := 0
	for {
		r := s.plain(ps)(0, s.cert())
		if len(r.Posts) == 0 {
			break
		}
		if n := len(r.encode()); n > wire.MaxFrame {
			t.Fatalf("an answer of %d bytes", n)
		}
		if parts++; !s.post(r.Posts) {
			t.Fatal("the ledger takes none of it")
		}
	}
	if parts < 2 {
		t.Errorf("%d parts: nothing was tested", parts)
	}
}
