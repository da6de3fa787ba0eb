package bench

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/store"
)

// Governance is carried out on real stores, to the last request, and a replica
// that saw the signatures before is not measured against checking them.
func TestApply(t *testing.T) {
	g := *ledgertest.New(t, 4).Genesis
	figures, err := Apply(t.TempDir(), g, 2, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"apply_throughput", "apply_throughput_cold"} {
		if f := figures[i]; f.Name != name || f.N != 4 || f.T != 3 || f.Measured <= 0 || f.Limit <= 0 {
			t.Errorf("figure %+v, want %s", f, name)
		}
	}
}

// A request that lacks an approval is noticed.
func TestExecutedNoticesWhatWaits(t *testing.T) {
	c, err := newCouncil(*ledgertest.New(t, 4).Genesis)
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{council: c}
	if r.store, err = store.Open(store.Config{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	defer r.store.Close()
	if _, err := r.apply(c.request()); err != nil {
		t.Fatal(err)
	}
	if err := r.executed(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.apply(c.request()[:2]); err != nil {
		t.Fatal(err)
	}
	if r.executed() == nil {
		t.Error("a request waits for its second approval, and passes for executed")
	}
}

// steady commits in so many milliseconds, after a slow start.
type steady struct {
	ms    int
	asked int
	ends  int // fails then
}

var errEnded = errors.New("ended")

func (s *steady) Commit(context.Context) (time.Duration, error) {
	if s.asked++; s.asked == s.ends {
		return 0, errEnded
	}
	if s.asked <= warmUp {
		return time.Hour, nil
	}
	return time.Duration(s.ms) * time.Millisecond, nil
}

func TestCommitTakesTurns(t *testing.T) {
	cluster, engine := &steady{ms: 8}, &steady{ms: 4}
	f, err := Commit(t.Context(), cluster, engine, CommitConfig{Nodes: 4, T: 3, Transactions: 10})
	if err != nil || f.Name != "commit_latency" || f.Measured != 8 || f.Limit != 4 || f.Ratio != 0.5 || f.P99 != 8 {
		t.Errorf("%+v: %v", f, err)
	}
	if cluster.asked != warmUp+10 || engine.asked != cluster.asked {
		t.Errorf("asked %d and %d times", cluster.asked, engine.asked)
	}
	if _, err := Commit(t.Context(), cluster, &steady{ends: 3}, CommitConfig{Transactions: 1}); !errors.Is(err, errEnded) {
		t.Errorf("an engine that ended: %v", err)
	}
}
