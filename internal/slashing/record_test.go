package slashing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/durable/durabletest"
	"github.com/quorate/quorate/internal/eth"
)

var chainA, chainB = root(0xa), root(0xb)

func testConfig(d durable.FS) Config {
	return Config{Dir: "custody", FS: d, Owner: durable.Identity{Cluster: [32]byte{1}, Domain: "validator"}}
}

func initRecord(t testing.TB, c Config) *Record {
	t.Helper()
	if err := Init(c); err != nil {
		t.Fatal(err)
	}
	r, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func reopen(t testing.TB, r *Record, c Config) *Record {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func item(k Key, f Facts) Item { return Item{Key: k, Genesis: &chainA, Facts: f} }

// ask returns the rule that refuses a duty, "" if it is allowed.
func ask(t testing.TB, r *Record, it Item) Rule {
	t.Helper()
	err := r.Begin(wide, it).Wait()[0]
	var refusal *Refusal
	switch {
	case err == nil:
		return ""
	case errors.As(err, &refusal):
		return refusal.Rule
	}
	t.Fatal(err)
	return ""
}

func TestLifeOfAKey(t *testing.T) {
	c := testConfig(durabletest.NewDisk())
	r := initRecord(t, c)
	k := Key{1}
	expect := func(it Item, want Rule) {
		t.Helper()
		if got := ask(t, r, it); got != want {
			t.Fatalf("%+v: %q, want %q", it.Facts, got, want)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		r = reopen(t, r, c)
	}
	expect(item(k, Block{1, root(1)}), RuleUnknownKey)
	do(r.Register(k, History{}))
	expect(item(k, Block{1, root(1)}), RuleFenced)
	expect(Item{Key: k, Facts: Other{Kind: "VALIDATOR_REGISTRATION"}}, "")
	if r.state.pinned {
		t.Fatal("a duty without a chain pinned one")
	}
	if _, err := r.Export(k); err == nil {
		t.Fatal("exported before a chain was known")
	}
	told := Watermarks{}.advance(Block{10, root(1)})
	do(r.Import(Interchange{Genesis: chainA, Keys: []KeyHistory{{Key: k, Watermarks: told}}}))
	expect(item(k, Block{11, root(1)}), RuleFenced) // who was used has voted
	do(r.Import(Interchange{Genesis: chainA, Keys: []KeyHistory{{Key: k, Watermarks: told.advance(Attestation{})}}}))
	expect(item(k, Block{10, root(1)}), RuleBlock)
	expect(Item{Key: k, Genesis: &chainB, Facts: Block{11, root(1)}}, RuleGenesis)
	expect(Item{Key: k, Facts: Block{11, root(1)}}, RuleGenesis)
	expect(item(k, Block{11, root(1)}), "")
	expect(item(k, Attestation{3, 4, root(1)}), "")
	do(nil)
	expect(item(k, Block{11, root(1)}), "")
	expect(item(k, Block{11, root(2)}), RuleBlock)
	expect(item(k, Attestation{2, 5, root(1)}), RuleSurround)
	if err := r.Import(Interchange{Genesis: chainB}); err == nil {
		t.Fatal("imported another chain's history")
	}
	do(r.Stop(k))
	expect(item(k, Block{12, root(1)}), RuleStoppedKey)
	expect(item(k, Other{Kind: "RANDAO_REVEAL"}), RuleStoppedKey)
	out, err := r.Export(k)
	want := []KeyHistory{{Key: k, Watermarks: Watermarks{}.advance(Block{11, root(1)}).advance(Attestation{3, 4, root(1)})}}
	if err != nil || !reflect.DeepEqual(out.Keys, want) {
		t.Fatalf("exported %+v, %v", out, err)
	}
	do(r.Register(k, History{Mode: HistoryNone}))
	expect(item(k, Block{11, root(2)}), RuleBlock)
	do(r.Raise(k, Floor{Slot: 20, Source: 3, Target: 8}))
	expect(item(k, Block{20, root(1)}), RuleFloor)
	expect(item(k, Attestation{3, 8, root(1)}), RuleFloor)
	do(r.RaiseAll(Floor{Slot: 30}))
	expect(item(k, Block{30, root(1)}), RuleFloor)
	expect(item(k, Attestation{3, 8, root(1)}), RuleFloor)
	expect(item(k, Block{31, root(1)}), "")
	expect(item(k, Attestation{3, 9, root(1)}), "")
	out, err = r.Export(k)
	if err != nil || !covers(out.Keys[0].Watermarks, Watermarks{}.advance(Block{Slot: 31}).advance(Attestation{3, 9, root(1)})) {
		t.Fatalf("exported %+v, %v", out, err)
	}
	do(r.Import(Interchange{Genesis: chainA, Keys: []KeyHistory{{Key: Key{8}, Watermarks: told}}}))
	if out, err := r.Export(Key{8}); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("the history of a key that never came, of which others told: %+v, %v", out, err)
	}
	for _, err := range []error{r.Stop(Key{9}), r.Raise(Key{9}, Floor{})} {
		if !errors.Is(err, ErrUnknownKey) {
			t.Errorf("unknown key: %v", err)
		}
	}
	if !slices.Equal(r.Keys(), []Key{k, {8}}) {
		t.Errorf("keys %x", r.Keys())
	}
	r.Close()
}

func TestMissingAndForeign(t *testing.T) {
	d := durabletest.NewDisk()
	c := testConfig(d)
	if _, err := Open(c); !errors.Is(err, durable.ErrMissing) {
		t.Errorf("missing: %v", err)
	}
	r := initRecord(t, c)
	if err := r.Register(Key{1}, History{Mode: HistoryNone}); err != nil {
		t.Fatal(err)
	}
	ask(t, r, item(Key{1}, Block{1, root(1)}))
	r.Close()
	if err := Init(c); err == nil {
		t.Error("Init replaced a record")
	}
	other := c
	other.Genesis = &chainB
	if _, err := Open(other); err == nil {
		t.Error("opened for another network than it is pinned to")
	}
	other = c
	other.Owner.Cluster[0]++
	if _, err := Open(other); !errors.Is(err, durable.ErrForeign) {
		t.Errorf("foreign: %v", err)
	}
	d.SetContent(c.path(), nil)
	if _, err := Open(c); !errors.Is(err, durable.ErrDamaged) {
		t.Errorf("emptied: %v", err)
	}
}

// A record that no duty has pinned is pinned by who opens it for a network.
func TestPinned(t *testing.T) {
	c := testConfig(durabletest.NewDisk())
	r := initRecord(t, c)
	k := Key{1}
	if err := r.Register(k, History{Mode: HistoryNone}); err != nil {
		t.Fatal(err)
	}
	known := c
	known.Genesis = &chainB
	r = reopen(t, r, known)
	if rule := ask(t, r, item(k, Block{1, root(1)})); rule != RuleGenesis {
		t.Errorf("a duty of another network: %q", rule)
	}
	r = reopen(t, r, c)
	if r.state.genesis != chainB || !r.state.pinned {
		t.Errorf("opened again: %x, %v", r.state.genesis, r.state.pinned)
	}
	if rule := ask(t, r, Item{Key: k, Genesis: &chainB, Facts: Block{1, root(1)}}); rule != "" {
		t.Errorf("a duty of this network: %q", rule)
	}
	if rule := ask(t, r, Item{Key: k, Facts: Other{Kind: "VALIDATOR_REGISTRATION"}}); rule != "" {
		t.Errorf("what is of no network: %q", rule)
	}
	r.Close()
}

// Entries that nobody can have written, whole as they are, open no record.
func TestImpossibleEntries(t *testing.T) {
	late := newState()
	late.seq = 5 // of a log that begins at 0
	stop := entry{kind: entryStop, key: Key{1}}.encode()
	for name, c := range map[string]struct {
		s     *state
		entry []byte
		opens bool
	}{
		"no entry":      {newState(), []byte{99}, false},
		"cut":           {newState(), stop[:len(stop)-1], false},
		"out of number": {late, stop, false},
		"an entry":      {newState(), stop, true},
	} {
		conf := testConfig(durabletest.NewDisk())
		log, err := durable.Create(conf.FS, conf.path(), conf.Owner, c.s.snapshot()...)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(log.Append(c.entry).Wait(), log.Close()); err != nil {
			t.Fatal(err)
		}
		r, err := Open(conf)
		if (err == nil) != c.opens {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			r.Close()
		}
	}
}

// A registration says one thing, or nothing.
func TestContradictoryHistory(t *testing.T) {
	r := initRecord(t, testConfig(durabletest.NewDisk()))
	defer r.Close()
	for _, h := range []History{{Mode: HistoryOthers + 1}, {Mode: HistoryNone, Floor: Floor{Slot: 1}}, {Floor: Floor{Target: 1}}} {
		if err := r.Register(Key{1}, h); err == nil {
			t.Errorf("%+v is taken", h)
		}
	}
	if len(r.Keys()) != 0 {
		t.Error("the key is known")
	}
}

// Kinds of duties are counted, and no more than a snapshot can say.
func TestKindsAreFew(t *testing.T) {
	c := testConfig(durabletest.NewDisk())
	r := initRecord(t, c)
	k := Key{1}
	if err := r.Register(k, History{Mode: HistoryNone}); err != nil {
		t.Fatal(err)
	}
	other := func(i int) Item { return item(k, Other{Kind: fmt.Sprint("KIND_", i)}) }
	var all []Item
	for i := range maxKinds {
		all = append(all, other(i))
	}
	if err := errors.Join(r.Begin(wide, all...).Wait()...); err != nil {
		t.Fatal(err)
	}
	if rule := ask(t, r, other(maxKinds)); rule != RuleMalformed {
		t.Errorf("one kind more: %q", rule)
	}
	r = reopen(t, reopen(t, r, c), c)
	if rule := ask(t, r, other(0)); rule != "" {
		t.Errorf("a kind that is known: %q", rule)
	}
	r.Close()
}

// Goroutines race for the same slots and targets: one message each, and its
// identical twins, come through.
func TestConcurrentRivals(t *testing.T) {
	r := initRecord(t, testConfig(durabletest.NewDisk()))
	k := Key{1}
	if err := r.Register(k, History{Mode: HistoryNone}); err != nil {
		t.Fatal(err)
	}
	const racers, rounds = 32, 40
	var mu sync.Mutex
	won := map[uint64]map[Root]int{}
	var judge oracle
	for round := range uint64(rounds) {
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				block, vote := Block{round, root(byte(i / 2))}, Attestation{round, round, root(byte(i / 2))}
				errs := r.Begin(wide, item(k, block), item(k, vote)).Wait()
				mu.Lock()
				defer mu.Unlock()
				if errs[0] == nil {
					if won[round] == nil {
						won[round] = map[Root]int{}
					}
					won[round][block.Root]++
					if c := judge.sign(block); c != nil {
						t.Errorf("%+v and %+v", block, c)
					}
				}
				if errs[1] == nil {
					if c := judge.sign(vote); c != nil {
						t.Errorf("%+v and %+v", vote, c)
					}
				}
			})
		}
		wg.Wait()
		if len(won[round]) != 1 {
			t.Fatalf("round %d: winners %v", round, won[round])
		}
		for _, n := range won[round] {
			if n != 2 {
				t.Fatalf("round %d: the winner's twin was refused", round)
			}
		}
	}
	r.Close()
}

// After a failed fsync nothing is released, and memory stays ahead.
func TestFailedSyncReleasesNothing(t *testing.T) {
	d := durabletest.NewDisk()
	c := testConfig(d)
	r := initRecord(t, c)
	if err := r.Register(Key{1}, History{Mode: HistoryNone}); err != nil {
		t.Fatal(err)
	}
	d.Inject(3, durabletest.Fail) // frame, mark, fsync
	err := r.Begin(wide, item(Key{1}, Block{5, root(1)})).Wait()[0]
	if !errors.Is(err, durable.ErrPoisoned) {
		t.Fatalf("released after a failed fsync: %v", err)
	}
	<-r.Failed()
	if rule := ask(t, r, item(Key{1}, Block{5, root(2)})); rule != RuleBlock {
		t.Errorf("rival after a failed fsync: %q", rule)
	}
	if err := r.Begin(wide, item(Key{1}, Block{6, root(1)})).Wait()[0]; !errors.Is(err, durable.ErrPoisoned) {
		t.Errorf("next duty after a failed fsync: %v", err)
	}
	if _, err := r.Usage(0); !errors.Is(err, durable.ErrPoisoned) {
		t.Errorf("usage after a failed fsync: %v", err)
	}
}

// A registration that is not on disk allows nothing.
func TestRegistrationMustBeDurable(t *testing.T) {
	d := durabletest.NewDisk()
	r := initRecord(t, testConfig(d))
	d.Inject(1, durabletest.Fail)
	if err := r.Register(Key{1}, History{Mode: HistoryNone}); !errors.Is(err, durable.ErrPoisoned) {
		t.Fatalf("register: %v", err)
	}
	if rule := ask(t, r, item(Key{1}, Block{5, root(1)})); rule != RuleUnknownKey {
		t.Errorf("after a failed registration: %q", rule)
	}
}

func TestCompaction(t *testing.T) {
	d := durabletest.NewDisk()
	c := testConfig(d)
	c.CompactAt = 16 << 10
	r := initRecord(t, c)
	k := Key{1}
	if err := r.Register(k, History{Mode: HistoryNone}); err != nil {
		t.Fatal(err)
	}
	const duties = 500
	for i := range uint64(duties) {
		ask(t, r, item(k, Block{i, root(1)}))
		if size := r.log.Size(); size > 2*r.snapshot+1<<10 {
			t.Fatalf("the log grew to %d bytes from a snapshot of %d", size, r.snapshot)
		}
	}
	before, err := r.Usage(0)
	if err != nil {
		t.Fatal(err)
	}
	r = reopen(t, r, c)
	after, err := r.Usage(0)
	after.Starts = before.Starts
	if err != nil || !reflect.DeepEqual(after, before) || after.Totals[0].Total != duties {
		t.Errorf("%+v became %+v, %v", before, after, err)
	}
	if rule := ask(t, r, item(k, Block{duties - 1, root(2)})); rule != RuleBlock {
		t.Errorf("rival after compaction: %q", rule)
	}
	r.Close()
}

func TestUsage(t *testing.T) {
	c := testConfig(durabletest.NewDisk())
	r := initRecord(t, c)
	a, b := Key{1}, Key{2}
	for _, k := range []Key{b, a} {
		if err := r.Register(k, History{Mode: HistoryNone}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint64(3) {
		ask(t, r, item(a, Block{i, root(1)}))
		ask(t, r, item(a, Block{i, root(1)})) // a use, though nothing new is signed
		ask(t, r, item(a, Block{i, root(2)})) // refused, no use
	}
	first, err := r.Usage(0)
	if err != nil || !reflect.DeepEqual(first.Totals, []UsageTotal{{a, "BLOCK", 6}}) || first.Starts != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	ask(t, r, item(b, Other{"RANDAO_REVEAL", root(1)}))
	r = reopen(t, r, c)
	second, err := r.Usage(first.Seq)
	if err != nil || !reflect.DeepEqual(second.Totals, []UsageTotal{{b, "RANDAO_REVEAL", 1}}) {
		t.Fatalf("%+v, %v", second, err)
	}
	if second.Starts != 2 || second.Seq != first.Seq+1 || second.Chain == first.Chain {
		t.Errorf("%+v after %+v", second, first)
	}
	r.Close()
}

func TestSnapshotKeepsEverything(t *testing.T) {
	s := newState()
	for i, x := range []entry{
		{kind: entryGenesis, genesis: chainA},
		{kind: entryRegister, key: Key{1}, history: History{HistoryFloor, Floor{1, 2, 3}}},
		{kind: entryRegister, key: Key{2}},
		{kind: entryImport, key: Key{3}, marks: Watermarks{}.advance(Block{7, root(1)})},
		{kind: entryStop, key: Key{3}},
		{kind: entryRaise, key: Key{2}, floor: Floor{4, 5, 6}},
		{kind: entryRaiseAll, floor: Floor{1, 1, 9}},
		dutyEntry(Key{1}, Block{8, root(2)}),
		dutyEntry(Key{1}, Attestation{8, 9, root(2)}),
		dutyEntry(Key{1}, Other{"RANDAO_REVEAL", root(2)}),
	} {
		payload := x.encode()
		back, err := decodeEntry(payload)
		if err != nil || !reflect.DeepEqual(back, x) {
			t.Fatalf("%+v became %+v, %v", x, back, err)
		}
		s.apply(x, payload)
		for _, ks := range s.keys {
			ks.ready = true
		}
		loaded := newState()
		for _, p := range s.snapshot() {
			if err := loaded.load(p); err != nil {
				t.Fatal(err)
			}
		}
		loaded.loaded = false
		if !reflect.DeepEqual(loaded, s) {
			t.Fatalf("after entry %d: %+v became %+v", i, s, loaded)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(dutyEntry(Key{1}, Attestation{8, 9, root(2)}).encode())
	f.Add(entry{kind: entryImport, marks: Watermarks{}.advance(Block{7, root(1)})}.encode())
	f.Add(entry{kind: entryRegister, history: History{HistoryFloor, Floor{1, 2, 3}}}.encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		x, err := decodeEntry(in)
		if err != nil {
			return
		}
		if out := x.encode(); !slices.Equal(in, out) {
			t.Fatalf("%x became %x", in, out)
		}
	})
}

func FuzzLoadSnapshot(f *testing.F) {
	s := newState()
	s.apply(dutyEntry(Key{1}, Block{8, root(2)}), nil)
	f.Add(s.snapshot()[1])
	f.Fuzz(func(t *testing.T, in []byte) {
		s := newState()
		s.loaded = true
		if s.load(in) != nil {
			return
		}
		if out := s.snapshot()[1]; !slices.Equal(in, out) {
			t.Fatalf("%x became %x", in, out)
		}
	})
}

// TestFull: a record takes no more keys than it can be opened with again.
func TestFull(t *testing.T) {
	worst := &keyState{}
	for _, k := range append(eth.Kinds(), eth.Kind(0xff)) {
		worst.count(k.String(), 1)
	}
	if size := len(encodeKey(Key{}, worst)) + 4; size > keyRoom {
		t.Errorf("a key takes %d bytes of a snapshot, there is room for %d", size, keyRoom)
	}
	c := testConfig(durable.OS{})
	c.Dir = t.TempDir()
	r := initRecord(t, c)
	key := func(i int) (k Key) { binary.BigEndian.PutUint64(k[:], uint64(i)); return k }
	var all []entry
	for i := range maxKeys {
		all = append(all, entry{kind: entryRegister, key: key(i), history: History{Mode: HistoryNone}})
	}
	r.mu.Lock() // all at once: Register waits for an fsync each time
	r.change(all)
	r.mu.Unlock()
	history := func(i int) Interchange {
		return Interchange{Keys: []KeyHistory{{Key: key(i), Watermarks: Watermarks{Block: BlockMark{Known: true, Slot: 1}}}}}
	}
	if err := r.Register(key(maxKeys), History{Mode: HistoryNone}); !errors.Is(err, errFull) {
		t.Errorf("one key more: %v", err)
	}
	if err := r.Import(history(maxKeys)); !errors.Is(err, errFull) {
		t.Errorf("the history of one key more: %v", err)
	}
	if err := errors.Join(r.Register(key(0), History{Mode: HistoryNone}), r.Import(history(1))); err != nil {
		t.Error(err)
	}
	r = reopen(t, r, c)
	if n := len(r.Keys()); n != maxKeys {
		t.Errorf("%d keys after opening again", n)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// What others signed bars a key until they have said how far they went. That
// is durable, goes down in each part only, and touches nothing else.
func TestFloorOfOthers(t *testing.T) {
	c := testConfig(durabletest.NewDisk())
	r := initRecord(t, c)
	k := Key{1}
	b := func(slot uint64) Item { return item(k, Block{slot, root(1)}) }
	try := func(what string, it Item, want Rule) {
		t.Helper()
		if got := ask(t, r, it); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	again := func() { r = reopen(t, r, c) }
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(r.Register(k, History{Mode: HistoryFloor, Floor: Floor{Slot: 10}}))
	do(r.Register(k, History{Mode: HistoryOthers, Floor: Floor{Slot: 100, Source: 5, Target: 6}}))
	again()
	try("at the others' floor", b(100), RuleFloor)
	try("a vote at it", item(k, Attestation{5, 6, root(1)}), RuleFloor)
	try("what cannot be slashed", item(k, Other{Kind: "RANDAO_REVEAL"}), "")
	do(r.Relax(k, Floor{Slot: 5, Source: 9, Target: 4}))
	again()
	again() // from the snapshot too
	if s, _ := r.Status(k); s.Others != (Floor{Slot: 5, Source: 5, Target: 4}) || s.Floor.Slot != 10 {
		t.Errorf("%+v", s)
	}
	if f, ok := r.state.keys[k].Reached(); !ok || f != (Floor{Slot: 10}) {
		t.Errorf("reached %+v, %v", f, ok)
	}
	try("at the own floor", b(10), RuleFloor)
	try("a target at the others' floor", item(k, Attestation{5, 4, root(1)}), RuleFloor)
	try("a source below it", item(k, Attestation{4, 6, root(1)}), RuleFloor)
	try("above", item(k, Attestation{5, 5, root(1)}), "")
	try("above both", b(11), "")
	do(r.Relax(k, Floor{Slot: 1, Source: 1, Target: 1}))
	try("what this record signed", b(11), "")
	try("against what it signed", item(k, Block{11, root(2)}), RuleBlock)
	do(r.Register(k, History{Mode: HistoryOthers, Floor: Floor{Slot: 50}}))
	try("a second hand-over", b(50), RuleFloor)
	if err := r.Relax(Key{9}, Floor{}); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("unknown key: %v", err)
	}
	r.Close()
}
