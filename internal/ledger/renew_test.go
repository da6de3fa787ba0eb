package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/secret"
)

// renewing turns parameters into those of a refresh of keys as they are
// shared now, or into what edit makes of it.
func (w *world) renewing(nonce byte, keys [][]byte, edit func(*dkg.Params)) CeremonyOpen {
	w.Helper()
	p := w.Params(len(keys), nonce)
	var commitments [][]byte
	for _, k := range keys {
		rec, err := w.view().Key(action.DomainValidator, k)
		if err != nil {
			w.Fatal(err)
		}
		p.Mode, p.T, p.Without, p.Epoch = dkg.ModeRefresh, uint8(rec.T), dkg.Seats(rec.Without), rec.Epoch+1
		p.Old = dkg.Old{T: rec.T, Dealers: HoldersOf(rec), Epoch: rec.Epoch}
		commitments = append(commitments, rec.Commitment)
	}
	if edit != nil {
		edit(&p)
	}
	if root, _, err := p.Prior(commitments); err == nil {
		p.Expected = root
	}
	return CeremonyOpen{Params: p, Purpose: "renewal", Keys: keys}
}

func to(without dkg.Seats) func(*dkg.Params) {
	return func(p *dkg.Params) {
		p.Mode, p.Without = dkg.ModeReshare, without
		th, err := action.DefaultThreshold(p.Members().Len())
		if err != nil {
			panic(err)
		}
		p.T = uint8(th.T())
	}
}

// follow opens a renewal of what other players made, with the shares that they
// hold.
func (w *world) follow(last *players, o CeremonyOpen) *players {
	w.Helper()
	w.want(OK, w.Tx(alice, action.KindRequest, o.Encode()))
	return w.goOn(last, o.Params)
}

// goOn plays a renewal that is open.
func (w *world) goOn(last *players, params dkg.Params) *players {
	w.Helper()
	p := &players{world: w, id: params.ID(), seats: map[int]*dkg.Participant{}}
	result, err := dkg.ReadResult(last.board(), w.view().Source)
	if err != nil {
		w.Fatal(err)
	}
	for _, at := range w.Roster {
		seat := int(at.Index)
		held := map[string]secret.Bytes{}
		if last.board().Holders().Has(seat) {
			shares, err := last.seats[seat].ExposeSecretShares(last.board(), w.view().Source)
			if err != nil {
				w.Fatal(err)
			}
			for _, s := range shares {
				held[string(result.PublicKey(s.Key))] = s.Secret
			}
		}
		seed := sha256.Sum256(fmt.Append(nil, "seed of seat ", seat))
		if p.seats[seat], err = dkg.NewHolder(params, seat, secret.New(seed[:]), func(pk []byte) secret.Bytes { return held[string(pk)] }); err != nil {
			w.Fatal(err)
		}
	}
	return p
}

// inventory returns the keys there are, in order.
func (w *world) inventory() (keys [][]byte) {
	w.view().Keys(action.DomainValidator, func(k *action.KeyRecord) bool {
		keys = append(keys, k.PublicKey)
		return true
	})
	return keys
}

func seatsOf(is ...int) (s dkg.Seats) {
	for _, i := range is {
		s = s.With(i)
	}
	return s
}

func TestRefreshCommitsAnEpoch(t *testing.T) {
	w := newWorld(t, 4)
	first := w.open(alice, CeremonyOpen{Params: w.Params(3, 1), Purpose: "validators"})
	first.run()
	keys := w.inventory()
	before := map[string]*action.KeyRecord{}
	for _, k := range keys {
		before[string(k)], _ = w.view().Key(action.DomainValidator, k)
	}
	r := w.follow(first, w.renewing(2, keys[:2], nil))
	// Until the commit, the epoch is the old one.
	for r.board().Phase() < dkg.PhaseDone {
		for _, k := range keys {
			if rec, _ := w.view().Key(action.DomainValidator, k); rec.Epoch != 0 || !bytes.Equal(rec.Commitment, before[string(k)].Commitment) {
				t.Fatalf("in %s: %+v", r.board().Phase(), rec)
			}
		}
		// Another ceremony on one of them is refused meanwhile.
		w.want(CodeConflict, w.Tx(alice, action.KindRequest, w.renewing(9, keys[1:], nil).Encode()))
		r.step()
	}
	board := r.run()
	if len(board.Faults()) != 0 || !board.DepositSafe() || w.count(EventKeyRenewed) != 1 {
		t.Fatalf("faults %v, holders %s", board.Faults(), board.Holders())
	}
	result, err := dkg.ReadResult(board, w.view().Source)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range keys {
		rec, err := w.view().Key(action.DomainValidator, k)
		if err != nil {
			t.Fatal(err)
		}
		want := *before[string(k)]
		if i < 2 {
			want.Epoch, want.Ceremony, want.Commitment = 1, r.id, result.Commitment(i)
		}
		if !bytes.Equal(rec.Encode(), want.Encode()) {
			t.Errorf("key %d: %+v, want %+v", i, rec, want)
		}
	}
	// Keys of two epochs do not go together; each alone does.
	w.want(CodeConflict, w.Tx(alice, action.KindRequest, w.renewing(3, keys, nil).Encode()))
	w.follow(r, w.renewing(4, keys[:2], nil)).run()
	if rec, _ := w.view().Key(action.DomainValidator, keys[0]); rec.Epoch != 2 {
		t.Errorf("epoch %d", rec.Epoch)
	}
}

// TestReshareHandsOver follows keys from committee to committee.
func TestReshareHandsOver(t *testing.T) {
	w := newWorld(t, 7)
	last := w.open(alice, CeremonyOpen{Params: w.Params(1, 1), Purpose: "validators"})
	last.run()
	keys := w.inventory()
	handovers := map[int]uint64{}
	var past action.Ceiling
	for i, step := range []struct {
		without dkg.Seats
		all     bool // sign above the floor
	}{
		{seatsOf(7), true},       // 5 of 7, then 4 of 6: two that meet in 2 seats may lie
		{seatsOf(6, 7), false},   // then 4 of 5: they meet in 2, of which 1 may lie
		{seatsOf(1, 2, 7), true}, // then 3 of 4, of whom one is new
		{0, true},
	} {
		before, _ := w.view().Key(action.DomainValidator, keys[0])
		o := w.renewing(byte(10+i), keys, to(step.without))
		p := w.follow(last, o)
		if board := p.run(); board.Phase() != dkg.PhaseDone || len(board.Faults()) != 0 {
			t.Fatalf("step %d ended %s: %v", i, board.Phase(), board.Faults())
		}
		rec, _ := w.view().Key(action.DomainValidator, keys[0])
		if HoldersOf(rec) != o.Params.Members() || rec.Holders() != o.Params.Members().Len() || rec.T != uint16(o.Params.T) || rec.Epoch != before.Epoch+1 {
			t.Fatalf("step %d: %+v", i, rec)
		}
		h, err := action.ParseHandover(w.view().Get(w.view().ns.Handover(p.id[:])))
		if err != nil {
			t.Fatal(err)
		}
		want := o.Params.Members().Without(HoldersOf(before))
		if step.all {
			want = o.Params.Members()
		}
		if dkg.Seats(h.Floored) != want || h.Floor.Target == 0 || h.Floor.Slot == 0 || dkg.Seats(h.Held) != HoldersOf(before) || h.Past != past {
			t.Errorf("step %d: %+v, want %s and the past %+v", i, h, want, past)
		}
		past = h.Floor
		for seat := 1; seat <= 7; seat++ {
			if HoldersOf(before).Has(seat) {
				handovers[seat]++
			}
			if got := w.view().Incarnation(w.Roster[seat-1].Node, action.DomainValidator).Handovers; got != handovers[seat] {
				t.Errorf("step %d: seat %d has %d hand-overs, want %d", i, seat, got, handovers[seat])
			}
		}
		last = p
	}
}

// TestHandoverFloor: the floor lies above every ceiling that an old holder had,
// of whatever life, and hand-overs survive a registration.
func TestHandoverFloor(t *testing.T) {
	w := newWorld(t, 5)
	first := w.open(alice, CeremonyOpen{Params: w.Params(1, 1)})
	first.run()
	s := w.view()
	high := action.Ceiling{Slot: 1 << 40, Source: 1 << 30, Target: 1 << 31}
	node := w.Roster[4].Node
	s.putIncarnation(node, action.DomainValidator, action.Incarnation{Number: 3, ID: [32]byte{1}, Former: high})
	w.commit(s)
	p := w.follow(first, w.renewing(2, w.inventory(), to(seatsOf(5))))
	p.run()
	h, err := action.ParseHandover(w.view().Get(w.view().ns.Handover(p.id[:])))
	if err != nil || !h.Floor.Covers(high) {
		t.Fatalf("%+v, %v", h, err)
	}
	id, anchor := w.Life(2, action.Anchor{})
	w.want(OK, w.Tx(action.Signer{Class: action.SignerNode, Name: node}, action.KindRegistration, Registration{Domain: action.DomainValidator, ID: id, Anchor: anchor}.Encode()))
	// The next reshare's floor lies above it too, whoever holds the key then.
	next := w.follow(p, w.renewing(3, w.inventory(), to(0)))
	next.run()
	if h, _ := w.view().Handover(next.id); h.Past.Slot < high.Slot || !h.Floor.Covers(h.Past) {
		t.Errorf("%+v", h)
	}
	if in := w.view().Incarnation(node, action.DomainValidator); in.Handovers != 1 || in.Number != 4 || !in.Former.Covers(high) {
		t.Errorf("%+v", in)
	}
}

// TestStops: an old holder's present incarnation says once where it stopped,
// of all keys of a reshare; nobody else does.
func TestStops(t *testing.T) {
	w := newWorld(t, 5)
	first := w.open(alice, CeremonyOpen{Params: w.Params(2, 1)})
	first.run()
	for seat, s := range w.Roster { // a life of its own for each
		id, anchor := w.Life(byte(seat+1), action.Anchor{})
		w.want(OK, w.Tx(action.Signer{Class: action.SignerNode, Name: s.Node}, action.KindRegistration, Registration{Domain: action.DomainValidator, ID: id, Anchor: anchor}.Encode()))
	}
	marks := []action.Ceiling{{Slot: 1, Source: 2, Target: 3}, {Slot: 4}}
	r := w.follow(first, w.renewing(2, w.inventory(), to(seatsOf(5))))
	say := func(by int, life byte, ceremony [32]byte, seat uint16, edit func(*Stopped)) []byte {
		stop, raw := w.Stop(life, ceremony, seat, marks)
		b := Stopped{Domain: action.DomainValidator, Ceremony: ceremony, Stop: stop, Marks: raw}
		if edit != nil {
			edit(&b)
		}
		return w.Tx(action.Signer{Class: action.SignerNode, Name: w.Roster[by-1].Node}, action.KindStop, b.Encode())
	}
	w.want(CodeNotFound, say(1, 1, r.id, 1, nil)) // before the commit
	r.run()
	w.want(CodeNotFound, say(1, 1, first.id, 1, nil)) // no reshare
	w.want(CodeSigner, say(2, 1, r.id, 1, nil))       // another's word
	w.want(CodeSigner, say(2, 2, r.id, 1, nil))       // for another
	w.want(CodeDenied, say(1, 9, r.id, 1, nil))       // another life
	short := func(b *Stopped) { b.Stop, b.Marks = w.Stop(1, r.id, 1, marks[:1]) }
	w.want(CodeMalformed, say(1, 1, r.id, 1, short))
	w.want(CodeMalformed, say(1, 1, r.id, 1, func(b *Stopped) { b.Marks = action.EncodeMarks(make([]action.Ceiling, 2)) }))
	w.want(CodeSigner, w.Tx(olga, action.KindStop, Stopped{Domain: action.DomainValidator, Ceremony: r.id}.Encode()))
	for i, seat := range []int{5, 1} { // who left and who stays
		w.want(OK, say(seat, byte(seat), r.id, uint16(seat), nil))
		h, stopped := w.view().Handover(r.id)
		if stopped.Len() != i+1 || !stopped.Has(seat) || h.StopsNeeded(4) != 3 {
			t.Errorf("%s stopped of %+v", stopped, h)
		}
		stop, err := action.ParseStop(w.view().Get(w.view().ns.Stop(r.id[:], seat)))
		if err != nil || !bytes.Equal(w.view().Blob(stop.Marks), action.EncodeMarks(marks)) {
			t.Errorf("seat %d: %+v, %v", seat, stop, err)
		}
		if ev := w.last(); ev.Kind != EventStopped || ev.Object != ceremonyName(r.id) {
			t.Errorf("%+v", ev)
		}
	}
	w.want(CodeConflict, say(1, 1, r.id, 1, nil))
}

// TestArchivedMeanwhile: an epoch does not bring back a key that was stopped.
func TestArchivedMeanwhile(t *testing.T) {
	w := newWorld(t, 4)
	first := w.open(alice, CeremonyOpen{Params: w.Params(1, 1)})
	first.run()
	keys := w.inventory()
	r := w.follow(first, w.renewing(2, keys, nil))
	s := w.view()
	rec, _ := s.Key(action.DomainValidator, keys[0])
	rec.State = action.KeyArchived
	s.putKey(rec)
	w.commit(s)
	r.run()
	if rec, _ = w.view().Key(action.DomainValidator, keys[0]); rec.State != action.KeyArchived || rec.Epoch != 1 {
		t.Errorf("%+v", rec)
	}
	w.want(CodeConflict, w.Tx(alice, action.KindRequest, w.renewing(3, keys, nil).Encode()))
}

// TestAbortedRenewal leaves the key as it was, and free.
func TestAbortedRenewal(t *testing.T) {
	w := newWorld(t, 4)
	first := w.open(alice, CeremonyOpen{Params: w.Params(1, 1)})
	first.run()
	keys := w.inventory()
	before, _ := w.view().Key(action.DomainValidator, keys[0])
	r := w.follow(first, w.renewing(2, keys, nil))
	r.post = func(seat int, m []dkg.Message) []dkg.Message {
		if seat <= 2 {
			return nil
		}
		return m
	}
	if b := r.run(); b.Phase() != dkg.PhaseAborted {
		t.Fatalf("ended %s", b.Phase())
	}
	if rec, _ := w.view().Key(action.DomainValidator, keys[0]); !bytes.Equal(rec.Encode(), before.Encode()) {
		t.Errorf("%+v", rec)
	}
	w.follow(first, w.renewing(3, keys, nil)).run()
	if rec, _ := w.view().Key(action.DomainValidator, keys[0]); rec.Epoch != 1 {
		t.Errorf("%+v", rec)
	}
}

func TestRefusedRenewals(t *testing.T) {
	w := newWorld(t, 4)
	first := w.open(alice, CeremonyOpen{Params: w.Params(2, 1)})
	first.run()
	keys := w.inventory()
	strange := bytes.Repeat([]byte{7}, 48)
	for name, c := range map[string]struct {
		code Code
		edit func(*CeremonyOpen)
		by   action.Signer
	}{
		"nobody may":        {code: CodeDenied, by: olga},
		"another order":     {code: CodeMalformed, edit: func(o *CeremonyOpen) { slices.Reverse(o.Keys) }},
		"a key twice":       {code: CodeMalformed, edit: func(o *CeremonyOpen) { o.Keys[1] = o.Keys[0] }},
		"too few keys":      {code: CodeMalformed, edit: func(o *CeremonyOpen) { o.Keys = o.Keys[:1] }},
		"no key":            {code: CodeMalformed, edit: func(o *CeremonyOpen) { o.Keys = nil }},
		"an unknown key":    {code: CodeNotFound, edit: func(o *CeremonyOpen) { o.Keys[0] = strange[:47]; o.Keys[0] = append([]byte{0}, o.Keys[0]...) }},
		"another sharing":   {code: CodeConflict, edit: func(o *CeremonyOpen) { o.Params.Expected[0] ^= 1 }},
		"another epoch":     {code: CodeConflict, edit: func(o *CeremonyOpen) { o.Params.Old.Epoch++; o.Params.Epoch++ }},
		"fewer dealers":     {code: CodeMalformed, edit: func(o *CeremonyOpen) { o.Params.Old.Dealers = seatsOf(1, 2, 3) }},
		"2t - n = f":        {code: CodeMalformed, edit: func(o *CeremonyOpen) { o.Params.Mode, o.Params.Without, o.Params.T = dkg.ModeReshare, seatsOf(4), 2 }},
		"keygen that names": {code: CodeMalformed, edit: func(o *CeremonyOpen) { o.Params = w.Params(2, 77) }},
		"keygen without":    {code: CodeMalformed, edit: func(o *CeremonyOpen) { o.Params, o.Keys = w.Params(2, 77), nil; o.Params.Without = seatsOf(9) }},
	} {
		o := w.renewing(2, slices.Clone(keys), nil)
		if c.edit != nil {
			c.edit(&o)
		}
		if c.by.Name == "" {
			c.by = alice
		}
		t.Run(name, func(t *testing.T) { w.want(c.code, w.Tx(c.by, action.KindRequest, o.Encode())) })
	}
	w.want(OK, w.Tx(alice, action.KindRequest, w.renewing(2, keys, nil).Encode()))
}

// TestPlanRenewal: keys that are shared alike go together, in ceremonies that
// the ledger takes.
func TestPlanRenewal(t *testing.T) {
	w := newWorld(t, 5)
	first := w.open(alice, CeremonyOpen{Params: w.Params(4, 1)})
	first.run()
	keys := w.inventory()
	plan := func(r Renewal) []CeremonyOpen {
		t.Helper()
		opens, err := w.view().PlanRenewal(r, w.Params(1, 9))
		if err != nil {
			t.Fatal(err)
		}
		return opens
	}
	all := plan(Renewal{Mode: dkg.ModeRefresh, Purpose: "p"})
	if len(all) != 1 || len(all[0].Keys) != 4 || all[0].Params.Epoch != 1 || all[0].Purpose != "p" {
		t.Fatalf("%+v", all)
	}
	// A part of them moves on, and to fewer seats.
	some := plan(Renewal{Mode: dkg.ModeReshare, Keys: [][]byte{keys[2], keys[0], keys[2]}, Holders: seatsOf(1, 2, 3, 5), Lost: seatsOf(3)})
	if len(some) != 1 || len(some[0].Keys) != 2 || some[0].Params.T != 3 || some[0].Params.Members() != seatsOf(1, 2, 3, 5) || some[0].Params.Old.Dealers != seatsOf(1, 2, 4, 5) {
		t.Fatalf("%+v", some)
	}
	r := w.follow(first, some[0])
	if free := plan(Renewal{Mode: dkg.ModeRefresh}); len(free) != 1 || len(free[0].Keys) != 2 {
		t.Fatalf("keys of an open ceremony are planned for: %+v", free)
	}
	r.run()
	if n := len(w.view().HandedOver(4)); n != 1 {
		t.Errorf("seat 4 handed over in %d ceremonies", n)
	}
	if n := len(w.view().HandedOver(3)); n != 1 {
		t.Errorf("seat 3, whose share is another, handed over in %d ceremonies", n)
	}
	if ids := w.view().Renewals(); len(ids) != 1 || ids[0] != r.id {
		t.Errorf("renewals %x", ids)
	}
	both := plan(Renewal{Mode: dkg.ModeRefresh})
	if len(both) != 2 || len(both[0].Keys) != 2 || len(both[1].Keys) != 2 {
		t.Fatalf("%+v", both)
	}
	for i, o := range both {
		o.Params.Nonce[0] = byte(100 + i)
		w.want(OK, w.Tx(alice, action.KindRequest, o.Encode()))
	}
	for name, r := range map[string]Renewal{
		"no key is free":           {Mode: dkg.ModeRefresh},
		"keygen":                   {Mode: dkg.ModeKeygen},
		"refresh of other holders": {Mode: dkg.ModeRefresh, Keys: keys, Holders: seatsOf(1, 2, 3, 4)},
		"refresh with a threshold": {Mode: dkg.ModeRefresh, Keys: keys, Threshold: 3},
		"refresh of lost shares":   {Mode: dkg.ModeRefresh, Keys: keys, Lost: seatsOf(1)},
		"an unknown key":           {Mode: dkg.ModeRefresh, Keys: [][]byte{make([]byte, 48)}},
		"an unsafe threshold":      {Mode: dkg.ModeReshare, Keys: keys, Threshold: 2},
		"three holders":            {Mode: dkg.ModeReshare, Keys: keys, Holders: seatsOf(1, 2, 3)},
		"a seat that is not":       {Mode: dkg.ModeReshare, Keys: keys, Holders: seatsOf(1, 2, 3, 4, 6)},
		"too many lost":            {Mode: dkg.ModeReshare, Keys: keys[1:2], Lost: seatsOf(1, 2)},
	} {
		if _, err := w.view().PlanRenewal(r, w.Params(1, 9)); err == nil {
			t.Errorf("%s: planned", name)
		}
	}
}
