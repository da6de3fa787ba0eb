package custody

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/seal"
	"github.com/quorate/quorate/internal/slashing"
)

// TestHandOver takes a key from four of five seats to four others. Who leaves
// stops, and has no lease before it has; who comes signs above the floor.
func TestHandOver(t *testing.T) {
	w := newWorld(t, 5, nil)
	ps := w.startAll()
	first := w.params(dkg.ModeKeygen, 1)
	first.Hybrid, first.Without, first.T = false, dkg.Seats(0).With(5), 3
	s := w.openStage(first)
	s.goOn(s.plain(ps))
	result, err := dkg.ReadResult(s.board, s.source)
	if err != nil {
		t.Fatal(err)
	}
	key := [48]byte(result.PublicKey(0))
	now := w.epoch()
	next := w.renew(s, func(p *dkg.Params) { p.Mode, p.Without = dkg.ModeReshare, dkg.Seats(0).With(1) })
	floor := action.CeilingAt(w.network, time.Now().Add(-2*32*w.network.SlotDuration))
	next.handover = action.Handover{Floor: floor, Held: 0b11110, Floored: 1 << 5, Left: 1 << 1}

	// The first seat is cut off while the others go on.
	next.goOn(func(i int, cert []byte) StepResult {
		if i == 0 && next.board.Phase() >= dkg.PhaseConfirm {
			return StepResult{}
		}
		return next.plain(ps)(i, cert)
	})
	if next.board.Phase() != dkg.PhaseDone || len(next.board.Faults()) != 0 {
		t.Fatalf("ended %s: %v", next.board.Phase(), next.board.Faults())
	}
	// It signs under the ceiling that it has, and gets no other.
	if _, err := w.sign(ps[0], key, w.block(now*32+1, 1), nil); err != nil {
		t.Fatal(err)
	}
	path := ns.Incarnation(ps[0].seat.Node, string(ps[0].domain))
	more := action.CeilingAt(w.network, time.Now())
	more.Slot, more.Target = more.Slot+32, more.Target+1
	w.ledger.Set(path, action.Incarnation{Number: 1, ID: ps[0].life.id, Ceiling: more, Handovers: 1}.Encode())
	_, err = ask(ps[0], MethodLease, w.certify(path))
	refused(t, "a lease before the hand-over", err, rpc.CodeFenced)
	if statusOf(t, ps[0]).Ceiling.Covers(more) {
		t.Error("the ceiling was raised")
	}
	// The certificate has to prove the hand-over with the board.
	id := next.board.ID()
	_, err = ask(ps[0], MethodCeremony, ceremonyRequest(id, w.certify(ns.Ceremony(id[:])), nil))
	refused(t, "a board without its hand-over", err, rpc.CodeNotGranted)
	next.plain(ps)(0, next.cert())
	_, err = w.sign(ps[0], key, w.block(now*32+2, 1), nil)
	refused(t, "who has left", err, rpc.CodeUnknownKey)
	w.must(ps[0], MethodLease, w.certify(path))
	if got := statusOf(t, ps[0]); !got.Ceiling.Covers(more) || got.Handovers != 1 {
		t.Errorf("after the hand-over: %+v", got)
	}
	if got := kinds(ps[0]); got[seal.KindShare] != 0 || got[seal.KindSeed] != 0 || got[seal.KindHandover] != 1 {
		t.Errorf("who has left keeps %v", got)
	}
	if s, _ := ps[0].record.Status(key); !s.Stopped {
		t.Error("the key is not stopped")
	}
	w.lives = 9
	ps[0].close()
	ps[0] = w.open(0)
	if got := statusOf(t, ps[0]); got.Handovers != 1 || got.Keys != 0 {
		t.Errorf("after a restart: %+v", got)
	}

	w.shares = 1
	_, err = w.sign(ps[4], key, w.block(floor.Slot, 1), nil)
	refused(t, "who has come, at the floor", err, rpc.CodeFenced)
	if _, err := w.sign(ps[4], key, w.block(floor.Slot+1, 1), nil); err != nil {
		t.Errorf("who has come, above the floor: %v", err)
	}
	for _, p := range ps[1:4] { // who stayed has a history, and no floor
		if _, err := w.sign(p, key, w.block(now*32+3, 1), nil); err != nil {
			t.Errorf("who stayed: %v", err)
		}
	}
	w.combined(ps[1:], key, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}})
}

// fromPeople opens a hand-over of a key by participants.
func (w *world) fromPeople(a *dkgtest.Assembly) *stage {
	w.t.Helper()
	people, err := dkgtest.HandOver(w.params(dkg.ModeReshare, 1), a)
	if err != nil {
		w.t.Fatal(err)
	}
	w.handed = a.Key
	s := w.openStage(people.Board.Params())
	s.people = people
	return s
}

// deal lets participants say what they have to.
func (s *stage) deal(participants ...int) {
	s.t.Helper()
	for _, i := range participants {
		q, err := s.people.Dealer(i)
		if err != nil {
			s.t.Fatal(err)
		}
		out, err := q.Next(s.board, s.source)
		if err != nil {
			s.t.Fatalf("participant %d: %v", i, err)
		}
		for _, m := range out {
			next, events, err := s.board.ApplyDealer(s.time, i, m)
			if err != nil {
				s.t.Fatalf("participant %d: %v", i, err)
			}
			for _, e := range events {
				if e.Kind == dkg.EventStore {
					s.blobs[e.Name] = m.Encode()
				}
			}
			s.set(next)
		}
	}
}

// TestHandOverByParticipants takes a key from seven participants, of whom two
// stay away, to four nodes. They sign with it at once: nobody could have
// before. What they sign they remember. A node that restarts with every step
// says the same.
func TestHandOverByParticipants(t *testing.T) {
	for name, restart := range map[string]bool{"at once": false, "with restarts": true} {
		t.Run(name, func(t *testing.T) { handOverByParticipants(t, restart) })
	}
}

func handOverByParticipants(t *testing.T, restart bool) {
	w := newWorld(t, 4, nil)
	ps := w.startAll()
	a := dkgtest.NewAssembly(7, 5, "people")
	s := w.fromPeople(a)
	s.goOn(func(i int, cert []byte) StepResult {
		if s.board.Phase() == dkg.PhaseDeal && i == 0 {
			s.deal(1, 3, 4, 6, 7)
			cert = s.cert()
		}
		first := s.plain(ps)(i, cert)
		if !restart {
			return first
		}
		ps[i] = w.restart(ps[i])
		second := s.plain(ps)(i, s.cert())
		if len(first.Active) == 0 && !slices.EqualFunc(messages(first), messages(second), bytes.Equal) {
			t.Errorf("seat %d says two things in %s", i+1, s.board.Phase())
		}
		return second
	})
	if s.board.Phase() != dkg.PhaseDone || len(s.board.Faults()) != 0 || !s.board.DepositSafe() {
		t.Fatalf("ended %s: %v, holders %s", s.board.Phase(), s.board.Faults(), s.board.Holders())
	}
	key := [48]byte(a.Key)
	w.shares = 1
	w.combined(ps, key, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}})
	for i, p := range ps {
		if got := kinds(p); got[seal.KindShare] != 1 || len(got) != 1 {
			t.Errorf("seat %d keeps %v", i+1, got)
		}
	}
	if restart {
		return // a holder that has just come back signs no blocks yet
	}
	slot := w.epoch()*32 + 1
	w.combined(ps, key, w.block(slot, 1))
	if r := s.plain(ps)(0, s.cert()); len(r.Posts) != 0 { // the last state once more
		t.Errorf("it goes on: %+v", r)
	}
	for i, p := range ps {
		_, err := w.sign(p, key, w.block(slot, 2), nil)
		refused(t, fmt.Sprintf("seat %d, another block of the slot", i+1), err, rpc.CodeSlashable)
	}

	// An abort leaves nothing behind, and the people have what they had.
	b := dkgtest.NewAssembly(4, 3, "others")
	s = w.fromPeople(b)
	s.goOn(func(i int, cert []byte) StepResult {
		if s.board.Phase() == dkg.PhaseDeal && i == 0 {
			s.deal(2, 4)
			cert = s.cert()
		}
		return s.plain(ps)(i, cert)
	})
	if s.board.Phase() != dkg.PhaseAborted {
		t.Fatalf("ended %s", s.board.Phase())
	}
	for i, p := range ps {
		if got := kinds(p); got[seal.KindShare] != 1 || len(got) != 1 {
			t.Errorf("seat %d keeps %v", i+1, got)
		}
		if s, known := p.record.Status(slashing.Key(b.Key)); known {
			t.Errorf("seat %d has a record of a key that never came: %+v", i+1, s)
		}
	}
}

// keygen makes a key that seats share, some of those of the roster.
func (w *world) keygen(ps []*Process, without dkg.Seats, t int) (*stage, [48]byte) {
	w.t.Helper()
	p := w.params(dkg.ModeKeygen, 1)
	p.Hybrid, p.Without, p.T = false, without, uint8(t)
	s := w.openStage(p)
	s.goOn(s.plain(ps))
	result, err := dkg.ReadResult(s.board, s.source)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, [48]byte(result.PublicKey(0))
}

// take puts a seat's word on the ledger.
func (s *stage) take(seat int, word LastWord) {
	s.t.Helper()
	id := s.board.ID()
	if !word.Stop.Verify(s.cluster, action.DomainValidator, id, uint16(seat)) || word.Stop.Marks != action.HashMarks(word.Marks) {
		s.t.Errorf("seat %d does not sign what it says", seat)
	}
	s.write(seat, word)
}

func (s *stage) write(seat int, word LastWord) {
	id := s.board.ID()
	s.ledger.Set(ns.Stop(id[:], seat), word.Stop.Encode())
	s.blobs[word.Stop.Marks] = word.Marks
	s.paths = append(s.paths, ns.Stop(id[:], seat))
	s.certs = append(s.certs, s.certify(s.paths...))
}

// word is what a process says to the present state.
func (s *stage) word(p *Process) LastWord {
	s.t.Helper()
	r, err := s.step(p, s.cert())
	if err != nil {
		s.t.Fatal(err)
	}
	if r.Stop == nil {
		s.t.Fatalf("seat %d does not say where it stopped", p.seat.Index)
	}
	return *r.Stop
}

// TestStops takes a key from four of eight seats to others, of whom one stays:
// they sign above the old holders' ceilings until three of those have said how
// far they went, and right above that from then on, whatever the fourth says.
func TestStops(t *testing.T) {
	w := newWorld(t, 8, nil)
	ps := w.startAll()
	old, comers := seats(1, 4), seats(4, 7)
	first, key := w.keygen(ps, seats(5, 8), 3)
	slot := w.epoch()*32 + 1
	for i, p := range ps[:3] { // the third and last did not all see the last block
		for n := range uint64(3 - i) {
			if _, err := w.sign(p, key, w.block(slot+n, 1), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	next := w.renew(first, func(p *dkg.Params) { p.Mode, p.Without = dkg.ModeReshare, seats(1, 8).Without(comers) })
	floor := action.CeilingAt(w.network, time.Now().Add(-32*w.network.SlotDuration))
	floor.Slot = slot + 20
	next.handover = action.Handover{Floor: floor, Held: uint32(old), Floored: uint32(comers), Left: uint32(seats(1, 3))}
	ps[1] = w.restart(ps[1]) // its floor is what it answers for, not its record
	next.goOn(func(i int, cert []byte) StepResult {
		r := next.plain(ps)(i, cert)
		if next.board.Phase() < dkg.PhaseDone {
			if r.Stop != nil {
				t.Errorf("seat %d stops in %s", i+1, next.board.Phase())
			}
			if i == 4 {
				want := rpc.CodeUnknownKey
				if kinds(ps[4])[seal.KindSeed] == 1 {
					want = rpc.CodeEpoch // it takes part: a share may come
				}
				_, err := w.sign(ps[4], key, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}}, nil)
				refused(t, "who comes, in "+next.board.Phase().String(), err, want)
			}
			if _, err := w.sign(ps[0], key, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}}, nil); err != nil {
				t.Error(err)
			}
		}
		return r
	})
	w.shares = 1
	at := func(what string, p *Process, n uint64, want rpc.Code) {
		t.Helper()
		_, err := w.sign(p, key, w.block(n, 2), nil)
		if want == 0 && err != nil {
			t.Errorf("%s: %v", what, err)
		} else if want != 0 {
			refused(t, what, err, want)
		}
	}
	newest := func() { // everybody sees it
		t.Helper()
		for i := range ps {
			next.plain(ps)(i, next.cert())
		}
	}
	words := []LastWord{{}, next.word(ps[0]), next.word(ps[1]), next.word(ps[2]), next.word(ps[3])}
	for i, want := range []uint64{slot + 2, ps[1].life.floor.Slot, slot, 0} {
		if marks, err := action.ParseMarks(words[i+1].Marks); err != nil || len(marks) != 1 || marks[0].Slot != want {
			t.Errorf("seat %d stopped at %+v, want slot %d", i+1, marks, want)
		}
	}
	if again := next.word(ps[0]); !bytes.Equal(again.Marks, words[1].Marks) || again.Stop != words[1].Stop {
		t.Error("the same word is another the second time")
	}
	at("nobody has spoken", ps[4], slot+20, rpc.CodeFenced)
	next.take(1, words[1])
	next.take(3, words[3])
	newest()
	at("two have", ps[4], slot+3, rpc.CodeFenced)

	// A forged third changes nothing: neither other marks nor another's word.
	lie := words[4]
	lie.Marks = action.EncodeMarks(make([]action.Ceiling, 1))
	lie.Stop.Marks[0] ^= 1
	stolen := words[3]
	for what, forged := range map[string]LastWord{"marks that were not signed": lie, "the word of another seat": stolen} {
		paths := len(next.paths)
		next.write(4, forged)
		_, err := next.step(ps[4], next.cert())
		refused(t, what, err, rpc.CodeMalformed)
		at(what, ps[4], slot+3, rpc.CodeFenced)
		next.paths = next.paths[:paths]
	}
	next.take(4, words[4])
	newest()
	at("three have, at their mark", ps[4], slot+2, rpc.CodeFenced)
	at("three have, above it", ps[4], slot+3, 0)
	ps[5] = w.restart(ps[5])
	w.combined(ps[3:7], key, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}})

	// The second, whose former life answers for its floor, holds nobody up.
	next.take(2, words[2])
	newest()
	at("all four have, at the highest mark but one", ps[6], slot+2, rpc.CodeFenced)
	at("all four have", ps[6], slot+3, 0)
	at("all four have, and against itself", ps[4], slot+3, 0)
	if r := next.plain(ps)(0, next.cert()); r.Stop != nil {
		t.Error("a word that stands on the ledger is said again")
	}
}

// seats is a range of them.
func seats(from, to int) (s dkg.Seats) {
	for i := from; i <= to; i++ {
		s = s.With(i)
	}
	return s
}

// TestRetired: a holder that stays and has yet to get its new share never signs
// with the old one again, whatever it is shown or not shown after a restart.
func TestRetired(t *testing.T) {
	w := newWorld(t, 4, nil)
	ps := w.startAll()
	first, key := w.keygen(ps, 0, 3)
	next := w.renew(first, func(p *dkg.Params) { p.Mode = dkg.ModeReshare })
	next.handover = action.Handover{Floor: action.CeilingAt(w.network, time.Now()), Held: uint32(seats(1, 4))}
	slot := w.epoch()*32 + 1
	if _, err := w.sign(ps[3], key, w.block(slot, 1), nil); err != nil {
		t.Fatal(err)
	}
	// Its messages after the dealing are lost.
	next.goOn(func(i int, cert []byte) StepResult {
		r := next.plain(ps)(i, cert)
		if i == 3 && next.board.Phase() > dkg.PhaseDeal {
			r.Posts = nil
		}
		return r
	})
	if next.board.Phase() != dkg.PhaseDone || next.board.Holders().Has(4) {
		t.Fatalf("%s, holders %s", next.board.Phase(), next.board.Holders())
	}
	if got := kinds(ps[3]); got[seal.KindRetired] != 1 || got[seal.KindShare] != 0 || got[seal.KindHandover] != 1 {
		t.Errorf("it keeps %v", got)
	}
	ps[3].close()
	ps[3] = w.open(3)
	w.anchor(ps[3])
	w.lives++
	w.leaseUpTo(ps[3], action.Incarnation{Number: uint64(w.lives), ID: ps[3].life.id, Ceiling: action.CeilingAt(w.network, time.Now()), Handovers: 1})
	_, err := w.sign(ps[3], key, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}}, nil)
	refused(t, "the share of before", err, rpc.CodeEpoch)
	if marks, err := action.ParseMarks(next.word(ps[3]).Marks); err != nil || marks[0].Slot < slot {
		t.Errorf("it stopped at %+v, %v", marks, err)
	}
	// With its confirmation it is a holder again, with its history.
	next.goOn(next.plain(ps))
	w.shares = 1
	if got := kinds(ps[3]); !next.board.Holders().Has(4) || got[seal.KindShare] != 1 || got[seal.KindRetired] != 0 {
		t.Errorf("holders %s, it keeps %v", next.board.Holders(), got)
	}
	_, err = w.sign(ps[3], key, w.block(slot, 2), nil)
	if code := rpc.CodeOf(err); code != rpc.CodeSlashable && code != rpc.CodeFenced {
		t.Errorf("against its own block of before: %v", err)
	}
	w.combined(ps, key, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}})
}

// TestNoLastWord: who cannot answer for a key's past says nothing of it.
func TestNoLastWord(t *testing.T) {
	w := newWorld(t, 6, nil)
	ps := w.startAll()
	first, key := w.keygen(ps, 0, 4)
	if err := ps[4].erase([][]byte{key[:]}, 1); err != nil { // its share is lost
		t.Fatal(err)
	}
	next := w.renew(first, func(p *dkg.Params) { p.Mode, p.Old.Dealers = dkg.ModeReshare, seats(1, 4).With(6) })
	next.handover = action.Handover{Floor: action.CeilingAt(w.network, time.Now()), Held: uint32(seats(1, 5)), Floored: 1 << 5}
	if err := errors.Join(ps[0].record.Stop(key), ps[0].record.Register(key, slashing.History{})); err != nil {
		t.Fatal(err)
	}
	ps[1].life.ended = true
	next.goOn(next.plain(ps))
	for again := range 2 {
		for i, what := range []string{"a key without its history", "a life that was replaced", "", "", "a share that was lost and repaired", "a seat that is not asked"} {
			r, err := next.step(ps[i], next.cert())
			if err != nil {
				t.Fatal(err)
			}
			if said := r.Stop != nil; said != (what == "") {
				t.Errorf("%d: %s: said %v", again, what, said)
			}
		}
		w.shares = 1
		if _, err := w.sign(ps[4], key, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}}, nil); err != nil {
			t.Errorf("the repaired share: %v", err)
		}
		if s, _ := ps[4].record.Status(key); !s.Succeeds {
			t.Errorf("it is not floored: %+v", s)
		}
		ps[2], ps[4] = w.restart(ps[2]), w.restart(ps[4]) // they remember
	}
}

// TestHandOverSurvivesStops stops the machine under a holder at every operation
// of a hand-over that makes something durable, with its new share at the commit
// and before it has one. Whoever said where it
// stopped does not sign with the old share when it comes back.
func TestHandOverSurvivesStops(t *testing.T) {
	w, disks := newStopWorld(t, 4)
	ps := w.startAll()
	last, key := w.keygen(ps, 0, 3)
	randao := eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}}
	for _, late := range []bool{false, true} {
		steps := 0
		for nth := 1; ; nth++ {
			was, victim := last.board.Params().Epoch, nth%4
			s := w.renew(last, func(p *dkg.Params) { p.Mode = dkg.ModeReshare })
			s.handover = action.Handover{Held: uint32(seats(1, 4))}
			stops, said := 0, false
			disks[victim].arm(nth, nth%2 == 0)
			see := func(i int, cert []byte) StepResult {
				r, err := s.outlive(ps, disks, i, cert, func() {
					stops++
					if w.shares = was; said {
						_, err := w.sign(ps[i], key, randao, nil)
						refused(t, "after it said where it stopped", err, rpc.CodeEpoch)
					}
				})
				if err != nil {
					t.Fatalf("operation %d: seat %d in %s: %v", nth, i+1, s.board.Phase(), err)
				}
				said = said || i == victim && r.Stop != nil
				return r
			}
			s.goOn(func(i int, cert []byte) StepResult {
				r := see(i, cert)
				if late && i == victim && s.board.Phase() > dkg.PhaseDeal {
					r.Posts = nil
				}
				return r
			})
			s.goOn(see)
			disks[victim].arm(0, false)
			if len(s.board.Faults()) > 1 || s.board.Holders() != seats(1, 4) || !said {
				t.Fatalf("operation %d: %v, holders %s, said %v", nth, s.board.Faults(), s.board.Holders(), said)
			}
			for i, p := range ps {
				if got := kinds(p); got[seal.KindShare] != 1 || got[seal.KindHandover] != int(was)+1 || len(got) != 2 || epochOf(t, p, [][]byte{key[:]}) != was+1 {
					t.Errorf("operation %d: seat %d keeps %v", nth, i+1, got)
				}
			}
			w.shares, last = was+1, s
			w.combined(ps, key, randao)
			if stops == 0 {
				break
			}
			steps = nth
		}
		if steps < 8 {
			t.Errorf("late %v: %d durable operations only: nothing was tested", late, steps)
		}
		t.Logf("late %v: stopped at %d operations", late, steps)
	}
}

// TestHandOverByParticipantsSurvivesStops stops the machine under one process at
// every operation that makes something durable while participants hand a key
// over: the shares that participants destroy when t + f seats have confirmed are
// not needed, for the seat that confirmed has its own.
func TestHandOverByParticipantsSurvivesStops(t *testing.T) {
	w, disks := newStopWorld(t, 4)
	ps := w.startAll()
	steps, made := 0, 0
	for try := 2; ; try++ { // each operation done, and not done
		nth, victim, stops := try/2, try%4, 0
		a := dkgtest.NewAssembly(4, 3, fmt.Sprint("hand-over ", try))
		s := w.fromPeople(a)
		disks[victim].arm(nth, try%2 == 0)
		s.goOn(func(i int, cert []byte) StepResult {
			if s.board.Phase() == dkg.PhaseDeal && i == 0 {
				s.deal(1, 2, 3, 4)
				cert = s.cert()
			}
			r, err := s.outlive(ps, disks, i, cert, func() { stops++ })
			if err != nil {
				t.Fatalf("operation %d: seat %d in %s: %v", nth, i+1, s.board.Phase(), err)
			}
			return r
		})
		disks[victim].arm(0, false)
		if !s.board.DepositSafe() || len(s.board.Faults()) != 0 {
			t.Fatalf("operation %d: ended %s, %v, holders %s", nth, s.board.Phase(), s.board.Faults(), s.board.Holders())
		}
		made++
		for i, p := range ps {
			if got := kinds(p); got[seal.KindShare] != made || len(got) != 1 {
				t.Errorf("operation %d: seat %d keeps %v", nth, i+1, got)
			}
		}
		// Each of them, so that each share is looked at.
		w.shares = 1
		duty := eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: uint64(try)}}
		w.combined(ps[:3], [48]byte(a.Key), duty)
		w.combined(ps[1:], [48]byte(a.Key), duty)
		if stops == 0 {
			break
		}
		steps = nth
	}
	if steps < 6 {
		t.Errorf("a hand-over has %d durable operations only: nothing was tested", steps)
	}
	t.Logf("stopped at %d operations", steps)
}

// TestDeletedDuringAReshare: a key that is deleted while it is being reshared
// stays deleted, also where everybody signs above a floor from then on. Who
// handed it over before, and gets it back, signs again.
func TestDeletedDuringAReshare(t *testing.T) {
	w := newWorld(t, 5, nil)
	ps := w.startAll()
	s, keys := w.made(ps, 1)
	key := [48]byte(keys[0])
	// The fifth hands its share over.
	s = w.renew(s, func(p *dkg.Params) { p.Mode, p.Without, p.T = dkg.ModeReshare, dkg.Seats(0).With(5), 3 })
	s.handover = action.Handover{Held: uint32(seats(1, 5)), Left: 1 << 5}
	s.goOn(s.plain(ps))
	if st, _ := ps[4].record.Status(key); !st.Stopped {
		t.Fatalf("who has left: %+v", st)
	}
	// It comes back while the first deletes the key.
	s = w.renew(s, func(p *dkg.Params) { p.Mode, p.Without, p.T = dkg.ModeReshare, 0, 4 })
	floor := action.CeilingAt(w.network, time.Now().Add(-2*32*w.network.SlotDuration))
	s.handover = action.Handover{Floor: floor, Held: uint32(seats(1, 4)), Floored: 1<<1 | 1<<2 | 1<<5}
	deleted := false
	s.goOn(func(i int, cert []byte) StepResult {
		if s.board.Phase() >= dkg.PhaseConfirm && !deleted {
			deleted = true
			w.must(ps[0], MethodStop, keyList(key))
		}
		return s.plain(ps)(i, cert)
	})
	w.shares = 2
	_, err := w.sign(ps[0], key, w.block(w.epoch()*32, 1), nil)
	refused(t, "a key that was deleted", err, rpc.CodeUnknownKey)
	if st, _ := ps[0].record.Status(key); !st.Stopped || st.Floor != slashing.Floor(floor) {
		t.Errorf("after the reshare: %+v", st)
	}
	for _, i := range []int{1, 2, 4} {
		if _, err := w.sign(ps[i], key, w.block(w.epoch()*32, 1), nil); err != nil {
			t.Errorf("seat %d, which did not delete it: %v", i+1, err)
		}
	}
}
