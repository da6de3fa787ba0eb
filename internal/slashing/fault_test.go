package slashing

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/durable/durabletest"
)

// life is what a record was asked and what it said.
type life struct {
	registered []Key // acknowledged
	stopped    []Key
	allowed    map[Key][]Facts // acknowledged by Wait
	raised     map[Key]Floor
	uses       uint64
}

// lead runs a record through everything that it writes, on a disk that may
// fail, and goes on after errors.
func lead(d *durabletest.Disk) life {
	l := life{allowed: map[Key][]Facts{}, raised: map[Key]Floor{}}
	c := testConfig(d)
	c.CompactAt = 1 // as often as the snapshot's own size lets it
	if Init(c) != nil {
		return l
	}
	r, err := Open(c)
	if err != nil {
		return l
	}
	sign := func(items ...Item) {
		for i, err := range r.Begin(wide, items...).Wait() {
			if err == nil {
				l.allowed[items[i].Key] = append(l.allowed[items[i].Key], items[i].Facts)
				l.uses++
			}
		}
	}
	a, b := Key{1}, Key{2}
	for _, k := range []Key{a, b} {
		if r.Register(k, History{Mode: HistoryNone}) == nil {
			l.registered = append(l.registered, k)
		}
	}
	sign(item(a, Block{5, root(1)}), item(b, Attestation{1, 2, root(1)}))
	sign(item(a, Attestation{1, 2, root(1)}), item(a, Other{"RANDAO_REVEAL", root(3)}))
	if r.Import(Interchange{Genesis: chainA, Keys: []KeyHistory{{Key: b, Watermarks: Watermarks{}.advance(Block{50, root(9)})}}}) == nil {
		l.allowed[b] = append(l.allowed[b], Block{50, root(9)})
	}
	for i := range uint64(60) { // passes the size at which a snapshot is due
		sign(item(a, Block{10 + i, root(1)}), item(b, Attestation{3, 4 + i, root(1)}))
	}
	if r.Raise(a, Floor{Slot: 100, Source: 1, Target: 7}) == nil {
		l.raised[a] = Floor{Slot: 100, Source: 1, Target: 7}
	}
	if r.Stop(b) == nil {
		l.stopped = append(l.stopped, b)
	}
	sign(item(a, Block{101, root(1)}))
	r.Close()
	return l
}

// check opens what a crash left: no acknowledged decision may be forgotten.
func (l life) check(t *testing.T, name string, d *durabletest.Disk) {
	t.Helper()
	r, err := Open(testConfig(d))
	if err != nil {
		if len(l.registered) > 0 || !errors.Is(err, durable.ErrMissing) {
			t.Fatalf("%s: %v", name, err)
		}
		return
	}
	defer r.Close()
	for k, facts := range l.allowed {
		s, _ := r.Status(k)
		for _, f := range facts {
			if !covers(s.Watermarks, Watermarks{}.advance(f)) && s.Fence == 0 {
				t.Fatalf("%s: %+v was acknowledged, the watermarks are %+v", name, f, s.Watermarks)
			}
			if rival, ok := rivalOf(f); ok {
				if rule := ask(t, r, item(k, rival)); rule == "" {
					t.Fatalf("%s: %+v was acknowledged, then %+v allowed", name, f, rival)
				}
			}
		}
	}
	for _, k := range l.registered {
		if s, known := r.Status(k); !known || !s.Registered {
			t.Fatalf("%s: registration of %x lost", name, k[:1])
		}
	}
	for k, floor := range l.raised {
		if s, _ := r.Status(k); s.Floor.max(floor) != s.Floor && s.Fence == 0 {
			t.Fatalf("%s: floor of %x lost", name, k[:1])
		}
	}
	for _, k := range l.stopped {
		if s, _ := r.Status(k); !s.Stopped && s.Fence == 0 {
			t.Fatalf("%s: stop of %x lost", name, k[:1])
		}
	}
	u, err := r.Usage(0)
	if err != nil {
		t.Fatal(err)
	}
	var total uint64
	fenced := false
	for _, n := range u.Totals {
		total += n.Total
		s, _ := r.Status(n.Key)
		fenced = fenced || s.Fence != 0
	}
	if total < l.uses && !fenced {
		t.Fatalf("%s: %d uses acknowledged, %d in the record", name, l.uses, total)
	}
}

// rivalOf is a message with which f is slashable.
func rivalOf(f Facts) (Facts, bool) {
	switch f := f.(type) {
	case Block:
		f.Root[0]++
		return f, true
	case Attestation:
		f.Root[0]++
		return f, true
	}
	return nil, false
}

// Each durable operation × each fault × each crash.
func TestFaultTable(t *testing.T) {
	clean := durabletest.NewDisk()
	if l := lead(clean); len(l.allowed[Key{1}]) != 64 || l.uses != 125 {
		t.Fatalf("without a fault %d uses, %d of the first key", l.uses, len(l.allowed[Key{1}]))
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for n := 1; n <= clean.Ops()+1; n++ {
		for _, fault := range durabletest.Faults {
			d := durabletest.NewDisk()
			d.Inject(n, fault)
			l := lead(d)
			loss := durabletest.Losses[rng.IntN(len(durabletest.Losses))]
			l.check(t, fmt.Sprintf("%s at %d, %s", fault, n, loss), d.Crash(loss, rng))
		}
	}
}

// The log cut off or with a bit flipped at every byte of the last record:
// refused, fenced or whole.
func TestLastRecordDamaged(t *testing.T) {
	d := durabletest.NewDisk()
	c := testConfig(d)
	r := initRecord(t, c)
	k := Key{1}
	if err := r.Register(k, History{Mode: HistoryNone}); err != nil {
		t.Fatal(err)
	}
	ask(t, r, item(k, Block{5, root(1)}))
	last := int(r.log.Size())
	ask(t, r, item(k, Block{6, root(1)}))
	end := int(r.log.Size())
	r.Close()
	content, _ := d.Content(c.path())
	fenced := 0
	check := func(name string, damaged []byte) {
		t.Helper()
		d := durabletest.NewDisk()
		c := testConfig(d)
		d.SetContent(c.path(), damaged)
		for range 2 { // the fence outlives a second restart
			r, err := Open(c)
			if err != nil {
				if !errors.Is(err, durable.ErrDamaged) {
					t.Fatalf("%s: %v", name, err)
				}
				return
			}
			rule := ask(t, r, item(k, Block{6, root(2)}))
			if rule != RuleFenced && rule != RuleBlock {
				t.Fatalf("%s: rival block: %q", name, rule)
			}
			if rule == RuleFenced {
				fenced++
			}
			if rule := ask(t, r, item(k, Other{Kind: "RANDAO_REVEAL"})); rule != "" {
				t.Fatalf("%s: RANDAO behind a fence: %q", name, rule)
			}
			r.Close()
		}
	}
	for at := last; at < end; at++ {
		check(fmt.Sprintf("cut at %d", at), content[:at])
		flipped := slices.Clone(content)
		flipped[at] ^= 0x10
		check(fmt.Sprintf("bit flipped at %d", at), flipped)
	}
	if want := 4 * (end - last); fenced != want {
		t.Errorf("%d fenced answers, want %d", fenced, want)
	}
}

func TestTornTailIsRepairedUpward(t *testing.T) {
	d := durabletest.NewDisk()
	c := testConfig(d)
	r := initRecord(t, c)
	a, b := Key{1}, Key{2}
	for _, k := range []Key{a, b} {
		if err := r.Register(k, History{Mode: HistoryNone}); err != nil {
			t.Fatal(err)
		}
	}
	end := r.log.Size()
	ask(t, r, item(a, Block{6, root(1)}))
	r.Close()
	content, _ := d.Content(c.path())
	d.SetContent(c.path(), content[:end])
	r, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	refused := r.Begin(wide, item(a, Block{6, root(2)})).Wait()[0]
	if refused == nil || !strings.Contains(refused.Error(), "fenced: ") || !strings.Contains(refused.Error(), "hint: raise") {
		t.Fatalf("behind the fence: %v", refused)
	}
	if _, err := r.Export(a); err == nil {
		t.Error("exported a history with a hole")
	}
	if err := r.Import(Interchange{Genesis: chainA, Keys: []KeyHistory{{Key: a, Watermarks: Watermarks{}.advance(Block{1, root(1)})}}}); err != nil {
		t.Fatal(err)
	}
	if rule := ask(t, r, item(a, Block{7, root(2)})); rule != RuleFenced {
		t.Errorf("an import answered for lost records: %q", rule)
	}
	if err := r.Raise(a, Floor{Slot: 6}); err != nil {
		t.Fatal(err)
	}
	r = reopen(t, r, c)
	for it, want := range map[*Item]Rule{
		{a, &chainA, Block{6, root(1)}}: RuleFloor,
		{a, &chainA, Block{7, root(1)}}: "",
		{b, &chainA, Block{7, root(1)}}: RuleFenced,
	} {
		if rule := ask(t, r, *it); rule != want {
			t.Errorf("%x, %+v: %q, want %q", it.Key[:1], it.Facts, rule, want)
		}
	}
	r.Close()
}
