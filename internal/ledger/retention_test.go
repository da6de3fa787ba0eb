package ledger

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/quorate/quorate/internal/action"
)

// keeping is rules with retention as given.
func keeping(retention string) string { return rules + "retention:\n" + retention }

// TestRetention: bodies of events are erased when they are old enough, some in
// each block, and what was said of requests with them; every commitment stays.
func TestRetention(t *testing.T) {
	c := newCouncil(t)
	c.govern(keeping("  - {of: events, keep: 30d}\n  - {of: requests, keep: 20d}\n"))
	s := c.view()
	s.rulesChanged(txContext{block: c.block})
	c.commit(s)
	c.next()

	c.open(c.Ana, c.exit(1))
	c.both()
	c.want(RequestExecuted)
	r, _ := c.view().Request(c.id)
	txs := [][32]byte{r.Nonce, r.Approvals[0].Tx, r.Approvals[1].Tx}
	const many = 2*erasedPerBlock + 100
	s = c.view()
	for i := range many {
		s.record(txContext{block: c.block, salt: []byte{1}, who: theLedger}, Event{Kind: EventDenied, Detail: fmt.Sprint(i)})
	}
	c.commit(s)
	old, root := c.view().LogRoot()

	gone := func() (n int) {
		for i := range old {
			if c.view().Event(i) == nil {
				n++
			}
		}
		return n
	}
	c.days(20)
	if n := gone(); n != 0 {
		t.Fatalf("%d events erased early", n)
	}
	// A request that lives keeps what was said of it.
	c.open(c.Bo, c.exit(2))
	waits := c.id
	c.days(2)
	for i, ev := range c.events[:old] {
		if body := c.view().Event(uint64(i)); (body == nil) != (ev.Kind.class() == 1) {
			t.Errorf("event %d, %s, is erased: %t", i, ev.Kind, body == nil)
		}
	}
	for _, tx := range txs {
		if c.view().Tx(tx) != nil {
			t.Errorf("transaction %x is there still", tx[:4])
		}
	}
	if live, _ := c.view().Request(waits); c.view().Tx(live.Nonce) == nil {
		t.Error("what a live request needs was erased")
	}
	requests := gone()
	c.days(7)
	// What is left goes in batches, one a block, each with an event that says so.
	var steps []int
	for before := gone(); before < int(old) && len(steps) < 200; {
		if _, _, height := c.view().NextDue(); height {
			c.next()
		} else {
			c.at(c.block.Time + hour)
		}
		now := gone()
		steps, before = append(steps, now-before), now
	}
	if n := gone(); n != int(old) || slices.Max(steps) > len(classes)*erasedPerBlock {
		t.Errorf("%d of %d erased, in steps of %v", n, old, steps)
	}
	var said []string
	for _, ev := range c.events {
		if ev.Kind == EventErased {
			said = append(said, ev.Detail)
		}
	}
	if len(said) < 4 || !slices.Contains(said, fmt.Sprintf("bodies %d of requests", requests)) || !slices.Contains(said, fmt.Sprintf("bodies %d of events", erasedPerBlock)) {
		t.Errorf("the log says %q", said)
	}
	// The tree over the commitments is what it was.
	tree := logRange.NewEmptyRange(0)
	for i := range old {
		leaf, ok := c.view().Leaf(i)
		if !ok {
			t.Fatalf("leaf %d is gone", i)
		}
		if err := tree.Append(rfc6962.DefaultHasher.HashLeaf(leaf[:]), func(compact.NodeID, []byte) {}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := tree.GetRootHash(nil); err != nil || !bytes.Equal(got, root[:]) {
		t.Errorf("root %x, want %x: %v", got, root, err)
	}
	// An erasure does not bring on another one each day.
	events := len(c.events)
	c.days(25)
	if n := len(c.events) - events; n > 4 {
		t.Errorf("%d events in 25 days of rest", n)
	}
}

// TestRetentionOfNone: a policy that says nothing keeps everything.
func TestRetentionOfNone(t *testing.T) {
	c := newCouncil(t)
	c.open(c.Ana, &action.Action{Rule: action.RulePolicy, Document: []byte(strings.Replace(keeping("  - {of: usage, keep: 8d}\n"), "name: test", "name: next", 1))})
	c.both()
	c.days(100)
	for i := range c.events {
		if c.view().Event(uint64(i)) == nil {
			t.Errorf("event %d is gone", i)
		}
	}
	if least, ok := c.view().ShortestRetention(); !ok || least != 8*day {
		t.Errorf("shortest retention %d, %t", least, ok)
	}
}

// FuzzParseErasure reads back what it writes.
func FuzzParseErasure(f *testing.F) {
	f.Add((&erasure{next: 1, done: [4]uint64{2, 3, 4, 5}}).encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		if x, err := parseErasure(in); err == nil && !bytes.Equal(x.encode(), in) {
			t.Fatal("erasure changed")
		}
	})
}
