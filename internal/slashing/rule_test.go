package slashing

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var wide = Bounds{MaxSlot: math.MaxUint64, MaxTarget: math.MaxUint64}

var active = Status{Registered: true}

func root(b byte) Root { return Root{31: b} }

// everyFact is a small world: all slots, sources, targets and roots in it.
func everyFact() (blocks, votes []Facts) {
	for r := range byte(2) {
		for slot := range uint64(4) {
			blocks = append(blocks, Block{slot, root(r)})
		}
		for s := range uint64(4) {
			for t := range uint64(4) {
				votes = append(votes, Attestation{s, t, root(r)})
			}
		}
	}
	return blocks, votes
}

type stepFunc func(Status, Facts, Bounds) (Status, Decision)

// explore walks every sequence of the facts up to a depth, and counts the
// slashable ones that step lets through.
func explore(step stepFunc, start Status, facts []Facts, depth int) (slashable, allowed int) {
	var walk func(s Status, o oracle, depth int)
	walk = func(s Status, o oracle, depth int) {
		if depth == 0 {
			return
		}
		for _, f := range facts {
			next, d := step(s, f, wide)
			if !d.Allowed {
				continue
			}
			allowed++
			seen := oracle{blocks: o.blocks[:len(o.blocks):len(o.blocks)], votes: o.votes[:len(o.votes):len(o.votes)]}
			if seen.sign(f) != nil {
				slashable++
				continue
			}
			walk(next, seen, depth-1)
		}
	}
	walk(start, oracle{}, depth)
	return slashable, allowed
}

func TestExhaustiveSmallWorld(t *testing.T) {
	blocks, votes := everyFact()
	for name, facts := range map[string][]Facts{"blocks": blocks, "attestations": votes} {
		slashable, allowed := explore(step, active, facts, 4)
		if slashable != 0 || allowed == 0 {
			t.Errorf("%s: %d slashable of %d allowed", name, slashable, allowed)
		}
	}
}

// The judge must catch each rule's absence, else the test above proves nothing.
func TestOracleCatchesBrokenRules(t *testing.T) {
	blocks, votes := everyFact()
	without := func(rule Rule) stepFunc {
		return func(s Status, f Facts, b Bounds) (Status, Decision) {
			next, d := step(s, f, b)
			if d.Rule == rule {
				return s, allow()
			}
			return next, d
		}
	}
	for rule, facts := range map[Rule][]Facts{RuleBlock: blocks, RuleDoubleVote: votes, RuleSurround: votes} {
		if slashable, _ := explore(without(rule), active, facts, 3); slashable == 0 {
			t.Errorf("a record without rule %s passes the oracle", rule)
		}
	}
}

// A duty that contradicts the history changes nothing of it, should it be
// brought all the same, and no duty takes anything away.
func TestAdvanceOnly(t *testing.T) {
	blocks, votes := everyFact()
	all := slices.DeleteFunc(slices.Concat(blocks, votes), func(f Facts) bool {
		v, ok := f.(Attestation)
		return ok && v.Source > v.Target // no vote at all
	})
	for _, past := range all {
		ours := Watermarks{}.advance(past)
		for _, w := range []Watermarks{{}, ours, Watermarks{}.raise(ours)} {
			for _, f := range all {
				after, allowed := w.advance(f), w.check(f).Allowed
				if !covers(after, w) || !allowed && after != w || allowed && !covers(after, Watermarks{}.advance(f)) {
					t.Fatalf("%+v made %+v of %+v", f, after, w)
				}
			}
		}
	}
}

// History from elsewhere adds up with our own, and what it reaches is not
// signed again.
func TestRaise(t *testing.T) {
	blocks, votes := everyFact()
	marks := []Watermarks{{}}
	for _, f := range slices.Concat(blocks, votes) {
		ours := Watermarks{}.advance(f)
		foreign := ours
		foreign.Block.Ours, foreign.Vote.Ours = false, false
		marks = append(marks, ours, foreign)
	}
	for _, w := range marks {
		for _, o := range marks {
			got, b, v := w.raise(o), BlockMark{Known: w.Block.Known || o.Block.Known}, VoteMark{Known: w.Vote.Known || o.Vote.Known}
			b.Slot = max(w.Block.Slot, o.Block.Slot)
			v.Source, v.Target = max(w.Vote.Source, o.Vote.Source), max(w.Vote.Target, o.Vote.Target)
			if !o.Block.Known || w.Block.Known && o.Block.Slot < w.Block.Slot {
				b = w.Block
			}
			if !o.Vote.Known || w.Vote.Known && o.Vote.Target < w.Vote.Target && o.Vote.Source <= w.Vote.Source {
				v = w.Vote
			}
			if got.Block != b || got.Vote != v {
				t.Fatalf("%+v and %+v make %+v", w, o, got)
			}
		}
	}
}

// What a holder hands on is above all that it signed, and only where it knows.
func TestReached(t *testing.T) {
	signed := active
	signed.Watermarks = signed.advance(Block{10, root(1)}).advance(Attestation{5, 6, root(1)})
	unregistered := signed
	unregistered.Registered = false
	for name, c := range map[string]struct {
		s    Status
		want Floor
		ok   bool
	}{
		"nothing signed":       {active, Floor{}, true},
		"signed":               {signed, Floor{10, 5, 6}, true},
		"below its floor":      {signed.raised(Floor{11, 6, 7}, 0), Floor{11, 6, 7}, true},
		"above its floor":      {signed.raised(Floor{9, 4, 5}, 0), Floor{10, 5, 6}, true},
		"below another's":      {signed.registered(History{HistoryOthers, Floor{99, 99, 99}}), Floor{10, 5, 6}, true},
		"stopped":              {signed.stopped(), Floor{10, 5, 6}, true},
		"fenced":               {active.stopped().registered(History{}), Floor{}, false},
		"fenced after signing": {signed.stopped().registered(History{}), Floor{10, 5, 6}, false},
		"not registered":       {unregistered, Floor{10, 5, 6}, false},
	} {
		if f, ok := c.s.Reached(); f != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %v", name, f, ok)
		}
	}
}

// A floor, an import, a stop, a hand-over and a second registration anywhere in
// between: still nothing slashable, with the messages of others counted as
// signed.
func TestModelAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Status{}.registered(History{Mode: HistoryNone})
		var o oracle
		small := rapid.Uint64Range(0, 8)
		vote := rapid.Custom(func(t *rapid.T) Facts {
			return Attestation{small.Draw(t, "source"), small.Draw(t, "target"), root(rapid.Byte().Draw(t, "root") % 2)}
		})
		block := rapid.Custom(func(t *rapid.T) Facts {
			return Block{small.Draw(t, "slot"), root(rapid.Byte().Draw(t, "root") % 2)}
		})
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			before := s.Watermarks
			switch rapid.IntRange(0, 12).Draw(t, "action") {
			case 0: // someone else signs, and tells
				f := rapid.OneOf(vote, block).Draw(t, "foreign")
				other := o
				if other.sign(f) == nil {
					o = other
				}
				s = s.imported(Watermarks{}.advance(f))
			case 1:
				s = s.raised(Floor{small.Draw(t, "slot"), small.Draw(t, "source"), small.Draw(t, "target")}, fenceAll)
			case 2:
				s = s.stopped()
			case 3:
				s = s.registered(History{Mode: HistoryNone})
			case 4: // others had the key, and signed under a ceiling
				s = s.registered(History{Mode: HistoryOthers, Floor: Floor{8, 8, 8}})
				for range rapid.IntRange(0, 3).Draw(t, "others") {
					f := rapid.OneOf(vote, block).Draw(t, "theirs")
					if other := o; other.sign(f) == nil {
						o = other
					}
				}
			case 5: // and say how far they went
				s = s.relaxed(o.reach())
			default:
				f := rapid.OneOf(vote, block).Draw(t, "facts")
				next, d := step(s, f, wide)
				if !d.Allowed && next != s {
					t.Fatal("a refusal changed the status")
				}
				s = next
				if d.Allowed {
					if conflict := o.sign(f); conflict != nil {
						t.Fatalf("allowed %+v after %+v", f, conflict)
					}
				}
			}
			if !covers(s.Watermarks, before) {
				t.Fatalf("watermarks went from %+v to %+v", before, s.Watermarks)
			}
		}
	})
}

// reach is a floor above all that was signed.
func (o oracle) reach() (f Floor) {
	for _, b := range o.blocks {
		f = f.max(Floor{Slot: b.Slot})
	}
	for _, v := range o.votes {
		f = f.max(Floor{Source: v.Source, Target: v.Target})
	}
	return f
}

// covers says that a forbids at least what b forbids.
func covers(a, b Watermarks) bool {
	block := !b.Block.Known || a.Block.Known && a.Block.Slot >= b.Block.Slot
	vote := !b.Vote.Known || a.Vote.Known && a.Vote.Target >= b.Vote.Target && a.Vote.Source >= b.Vote.Source
	return block && vote
}

func TestAdmit(t *testing.T) {
	const now = 1000
	bounds := Bounds{MaxSlot: 32 * (now + 1), MaxTarget: now + 1}
	floored := active.raised(Floor{Slot: 100, Source: 3, Target: 4}, 0)
	torn := active
	torn.Fence = FenceTornTail
	signed := active
	signed.Watermarks = signed.advance(Block{10, root(1)}).advance(Attestation{5, 6, root(1)})
	reached := signed.imported(signed.Watermarks)
	foreign := active.imported(signed.Watermarks)
	other := Other{Kind: "RANDAO_REVEAL"}
	for _, c := range []struct {
		name string
		s    Status
		f    Facts
		want Rule
	}{
		{"not registered", Status{}, other, RuleUnknownKey},
		{"stopped", active.stopped(), other, RuleStoppedKey},
		{"nothing", active, nil, RuleMalformed},
		{"without kind", active, Other{}, RuleMalformed},
		{"block in disguise", active, Other{Kind: "BLOCK"}, RuleMalformed},
		{"attestation in disguise", active, Other{Kind: "ATTESTATION"}, RuleMalformed},
		{"longest kind", active, Other{Kind: strings.Repeat("k", maxKind)}, ""},
		{"kind that cannot be read again", active, Other{Kind: strings.Repeat("k", maxKind+1)}, RuleMalformed},
		{"first block", active, Block{Slot: 0}, ""},
		{"first attestation", active, Attestation{}, ""},
		{"slot 2^63-1", active, Block{Slot: 1<<63 - 1}, RuleSlotBound},
		{"slot 2^64-1", active, Block{Slot: math.MaxUint64}, RuleSlotBound},
		{"last slot in range", active, Block{Slot: bounds.MaxSlot}, ""},
		{"three epochs ahead", active, Attestation{now, now + 3, root(1)}, RuleTargetBound},
		{"target 2^64-1", active, Attestation{now, math.MaxUint64, root(1)}, RuleTargetBound},
		{"last target in range", active, Attestation{now, now + 1, root(1)}, ""},
		{"source after target", active, Attestation{7, 6, root(1)}, RuleSourceAfterTarget},
		{"fenced block", torn, Block{Slot: 99}, RuleFenced},
		{"fenced attestation", torn, Attestation{98, 99, root(1)}, RuleFenced},
		{"behind the fence", torn, other, ""},
		{"slot at floor", floored, Block{Slot: 100}, RuleFloor},
		{"slot above floor", floored, Block{Slot: 101}, ""},
		{"target at floor", floored, Attestation{3, 4, root(1)}, RuleFloor},
		{"source below floor", floored, Attestation{2, 5, root(1)}, RuleFloor},
		{"above floor", floored, Attestation{3, 5, root(1)}, ""},
		{"other behind floor", floored, other, ""},
		{"same block", signed, Block{10, root(1)}, ""},
		{"same slot, other block", signed, Block{10, root(2)}, RuleBlock},
		{"same root, lower slot", signed, Block{9, root(1)}, RuleBlock},
		{"same attestation", signed, Attestation{5, 6, root(1)}, ""},
		{"double vote", signed, Attestation{5, 6, root(2)}, RuleDoubleVote},
		{"same root, other source", signed, Attestation{4, 6, root(1)}, RuleDoubleVote},
		{"surrounding", signed, Attestation{4, 7, root(1)}, RuleSurround},
		{"next", signed, Attestation{5, 7, root(1)}, ""},
		{"same block, reached by an import", reached, Block{10, root(1)}, RuleBlock},
		{"same attestation, reached by an import", reached, Attestation{5, 6, root(1)}, RuleDoubleVote},
		{"same block, imported", foreign, Block{10, root(1)}, RuleBlock},
		{"same attestation, imported", foreign, Attestation{5, 6, root(1)}, RuleDoubleVote},
	} {
		d := c.s.admit(c.f, bounds)
		if d.Rule != c.want || d.Allowed != (c.want == "") {
			t.Errorf("%s: %+v, want %q", c.name, d, c.want)
		}
		if !d.Allowed {
			if r := explain(d.Rule, Key{}, c.s, c.f, bounds); r.Detail == "" {
				t.Errorf("%s: no words for rule %s", c.name, d.Rule)
			}
		}
	}
}

func TestFences(t *testing.T) {
	floor := Floor{Slot: 1}
	blocks := Watermarks{}.advance(Block{Slot: 5})
	marks := blocks.advance(Attestation{Source: 1, Target: 2})
	fresh := Status{}.registered(History{})
	for _, c := range []struct {
		name string
		s    Status
		want Fence
	}{
		{"generated", Status{}.registered(History{Mode: HistoryNone}), 0},
		{"no history", fresh, FenceNoHistory},
		{"floor given", Status{}.registered(History{HistoryFloor, floor}), 0},
		{"history before", Status{}.imported(marks).registered(History{}), 0},
		{"history after", fresh.imported(marks), 0},
		{"history that says nothing", fresh.imported(Watermarks{}), FenceNoHistory},
		{"history without a vote", fresh.imported(blocks), FenceNoHistory},
		{"said nothing before", Status{}.imported(blocks).registered(History{}), FenceNoHistory},
		{"raised", fresh.raised(floor, fenceAll), 0},
		{"all raised", fresh.raised(floor, FenceTornTail), FenceNoHistory},
		{"registered twice", fresh.imported(marks).registered(History{}), 0},
		{"back after a stop", fresh.imported(marks).stopped().registered(History{}), FenceNoHistory},
		{"others told", fresh.registered(History{HistoryOthers, floor}), 0},
		{"again while it signs", Status{}.registered(History{Mode: HistoryNone}).registered(History{}), 0},
		{"back with a claim of no history", fresh.registered(History{Mode: HistoryNone}), FenceNoHistory},
	} {
		if c.s.Fence != c.want {
			t.Errorf("%s: fence %q, want %q", c.name, c.s.Fence, c.want)
		}
	}
	back := Status{}.registered(History{Mode: HistoryNone})
	back.Watermarks = back.advance(Block{Slot: 5})
	if back = back.stopped().registered(History{Mode: HistoryNone}); back.Block.Slot != 5 {
		t.Error("history did not survive delete and import")
	}
}
