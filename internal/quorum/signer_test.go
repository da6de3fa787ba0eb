package quorum

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/rpc"
)

// Acceptance 10: f bad partials in any position give a valid signature and
// the culprits' names, and nobody else's.
func TestBadPartials(t *testing.T) {
	for _, size := range []struct{ n, t, f, kinds int }{{4, 3, 1, 3}, {7, 5, 2, 1}} {
		key, shares := deal(t, size.n, size.t)
		kinds := []conduct{wrongRoot, wrongIndex, noPartial}
		for first := range kinds[:size.kinds] {
			for set := range 1 << size.n {
				conducts := make([]conduct, size.n)
				bad := 0
				for i := range conducts {
					if set>>i&1 == 1 {
						conducts[i] = kinds[(first+bad)%len(kinds)]
						bad++
					}
				}
				if bad != size.f {
					continue
				}
				synctest.Test(t, func(t *testing.T) { // no time passes, so nobody is slow
					c := newCluster(t, key, shares, conducts...)
					defer c.Close()
					blamed := 0
					for i := range size.n { // in turn everybody is asked
						report, err := c.sign(t, root(uint64(i)))
						if err != nil || len(report.Signers) != size.t || report.Hedged {
							t.Fatalf("%v: %+v, %v", conducts, report, err)
						}
						blamed += len(report.Blamed)
						c.checkBlame(t)
					}
					// Who is known to lie is not asked again.
					if blamed != size.f {
						t.Errorf("%v: blamed %d times", conducts, blamed)
					}
				})
			}
		}
	}
}

// checkBlame expects the blame for exactly the liars that were asked.
func (c *cluster) checkBlame(t testing.TB) {
	t.Helper()
	var liars, blamed []string
	for _, h := range c.holders {
		if conduct(h.conduct.Load()).lies() && h.asked.Load() > 0 {
			liars = append(liars, h.Name())
		}
	}
	for _, f := range c.faults {
		blamed = append(blamed, f.Holder)
		if f.Key != c.key.PublicKey || c.members.at(f.Index).Name() != f.Holder {
			t.Errorf("fault %+v", f)
		}
	}
	slices.Sort(blamed)
	if !slices.Equal(blamed, liars) {
		t.Errorf("blamed %v, liars %v", blamed, liars)
	}
}

// Whatever the holders do: what comes out is verified, it comes out whenever
// t are honest, liars alone are blamed, and it takes no longer than allowed.
func TestAnyConduct(t *testing.T) {
	keys := map[int]Key{}
	shares := map[int][]bls.Share{}
	for n, threshold := range map[int]int{4: 3, 5: 4, 7: 5} {
		keys[n], shares[n] = deal(t, n, threshold)
	}
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{4, 5, 7}).Draw(rt, "n")
		conducts := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) conduct {
			if rapid.Bool().Draw(rt, "good") {
				return honest
			}
			return conduct(rapid.IntRange(0, int(conducts)-1).Draw(rt, "conduct"))
		}), n, n).Draw(rt, "conducts")
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, keys[n], shares[n], conducts...)
			defer c.Close()
			start := time.Now()
			report, err := c.sign(t, root(1))
			if took := time.Since(start); took > c.config.Timeout {
				t.Errorf("took %v", took)
			}
			for _, f := range c.faults {
				if !conducts[f.Index-1].lies() {
					t.Errorf("%v: %s blamed", conducts, f.Holder)
				}
			}
			if err == nil && !report.Hedged { // all who were asked were heard
				c.checkBlame(t)
			}
			count := 0
			for _, conduct := range conducts {
				if conduct == honest {
					count++
				}
			}
			if willing := count >= c.key.T; willing != (err == nil) {
				t.Errorf("%v: %v", conducts, err)
			}
			if err != nil && !errors.Is(err, ErrBelowQuorum) {
				t.Errorf("%v: %v", conducts, err)
			}
		})
	})
}

func TestAsksNoMoreThanNeeded(t *testing.T) {
	key, shares := deal(t, 4, 3)
	c := newCluster(t, key, shares)
	defer c.Close()
	synctest.Test(t, func(t *testing.T) { // no time passes, so nobody is slow
		for i := range 60 {
			report, err := c.sign(t, root(uint64(i)))
			if err != nil || report.Hedged || len(report.Failures) != 0 {
				t.Fatalf("%+v, %v", report, err)
			}
		}
		c.calls.Wait()
	})
	if local := c.holders[0].asked.Load(); local != 60 {
		t.Errorf("own custody asked %d times of 60", local)
	}
	for _, h := range c.holders[1:] {
		if n := h.asked.Load(); n < 30 || n > 50 {
			t.Errorf("%s asked %d times, not about 40", h.Name(), n)
		}
	}
}

func TestHedge(t *testing.T) {
	key, shares := deal(t, 4, 3)
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, key, shares, honest, silent, honest, honest)
		defer c.Close()
		for i := range 20 {
			start := time.Now()
			report, err := c.sign(t, root(uint64(i)))
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > hedgeMin {
				t.Fatalf("signature %d took %v", i, took)
			}
			if report.Hedged != (time.Since(start) > 0) {
				t.Fatalf("signature %d: %+v after %v", i, report, time.Since(start))
			}
		}
		if n := c.holders[1].asked.Load(); n > 2 {
			t.Errorf("the silent holder was asked %d times in a row", n)
		}
		// It is tried again, and used once it speaks.
		c.set(honest, honest)
		time.Sleep(suspendMax) // of the bubble's time
		for i := range 3 {
			if _, err := c.sign(t, root(uint64(i))); err != nil {
				t.Fatal(err)
			}
		}
		if n := c.holders[1].asked.Load(); n < 3 {
			t.Errorf("asked %d times after it recovered", n)
		}
	})
}

func TestFailureIsReplacedAtOnce(t *testing.T) {
	key, shares := deal(t, 4, 3)
	for _, kind := range []conduct{down, slashable, fenced, outOfRange} {
		for bad := range 4 {
			synctest.Test(t, func(t *testing.T) {
				conducts := make([]conduct, 4)
				conducts[bad] = kind
				c := newCluster(t, key, shares, conducts...)
				defer c.Close()
				start := time.Now()
				report, err := c.sign(t, root(1))
				if err != nil || time.Since(start) != 0 {
					t.Fatalf("%v after %v", err, time.Since(start))
				}
				asked := c.holders[bad].asked.Load() == 1
				if asked != (len(report.Failures) == 1) || asked && report.Failures[0].Holder != c.holders[bad].Name() {
					t.Errorf("%s at %d: %+v", kind, bad, report)
				}
			})
		}
	}
}

func TestBelowQuorum(t *testing.T) {
	key, shares := deal(t, 4, 3)
	for _, tc := range []struct {
		conducts  []conduct
		code      rpc.Code
		slashable bool
		at        time.Duration
	}{
		{[]conduct{honest, honest, down, down}, rpc.CodeUnavailable, false, 0},
		{[]conduct{down, down, down, down}, rpc.CodeUnavailable, false, 0},
		{[]conduct{honest, honest, slashable, slashable}, rpc.CodeSlashable, true, 0},
		{[]conduct{slashable, honest, outOfRange, honest}, rpc.CodeSlashable, true, 0},
		{[]conduct{fenced, honest, outOfRange, honest}, rpc.CodeOutOfRange, true, 0},
		{[]conduct{fenced, fenced, honest, honest}, rpc.CodeFenced, true, 0},
		// One refusal may be a lie, and the other may come back.
		{[]conduct{honest, honest, slashable, down}, rpc.CodeUnavailable, false, 0},
		{[]conduct{honest, slashable, honest, wrongRoot}, rpc.CodeUnavailable, false, 0},
		{[]conduct{honest, honest, silent, silent}, rpc.CodeUnavailable, false, 4 * time.Second},
		{[]conduct{honest, slashable, silent, honest}, rpc.CodeUnavailable, false, 4 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, key, shares, tc.conducts...)
			defer c.Close()
			start := time.Now()
			_, err := c.sign(t, root(1))
			if !errors.Is(err, ErrBelowQuorum) || errors.Is(err, ErrSlashable) != tc.slashable || rpc.CodeOf(err) != tc.code {
				t.Fatalf("%v: %v (%v)", tc.conducts, err, rpc.CodeOf(err))
			}
			if took := time.Since(start); took != tc.at {
				t.Errorf("%v: took %v", tc.conducts, took)
			}
			for i, conduct := range tc.conducts {
				if conduct != honest && !strings.Contains(err.Error(), c.holders[i].Name()) {
					t.Errorf("%s is not in: %v", c.holders[i].Name(), err)
				}
			}
		})
	}
}

func TestEndsWithContext(t *testing.T) {
	key, shares := deal(t, 4, 3)
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, key, shares, honest, silent, silent, honest)
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, _, err := c.Sign(ctx, key, nil, root(1))
		var below *BelowQuorumError
		if !errors.As(err, &below) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
		if slices.Sort(below.Silent); !slices.Equal(below.Silent, []string{"node1", "node2"}) || below.Got != 2 {
			t.Errorf("%+v", below)
		}
	})
}

// Public shares of another key must not blame honest holders for ever.
func TestForeignShares(t *testing.T) {
	key, shares := deal(t, 4, 3)
	other, _ := deal(t, 4, 3)
	key.PublicKey = other.PublicKey
	c := newCluster(t, key, shares)
	defer c.Close()
	report, err := c.sign(t, root(1))
	if err == nil || !strings.Contains(err.Error(), "do not belong") || len(report.Blamed) != 0 {
		t.Fatalf("%+v, %v", report, err)
	}
}

func TestConcurrent(t *testing.T) {
	key, shares := deal(t, 4, 3)
	c := newCluster(t, key, shares, honest, honest, wrongRoot, honest)
	defer c.Close()
	c.config.Timeout = time.Minute // all at once, on a busy machine
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for j := range 4 {
				if _, err := c.sign(t, root(uint64(4*i+j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, f := range c.faults {
		if f.Holder != "node2" {
			t.Errorf("honest %s blamed", f.Holder)
		}
	}
	for _, m := range c.members.all {
		c.members.mu.Lock()
		if m.outstanding < 0 {
			t.Errorf("%s: %d outstanding", m.Name(), m.outstanding)
		}
		c.members.mu.Unlock()
	}
}

func TestConfiguration(t *testing.T) {
	key, shares := deal(t, 4, 3)
	h := &holder{shares: shares, at: 1}
	if _, err := New(Config{Local: h, Peers: []Holder{h}}); err == nil {
		t.Error("two holders of one index accepted")
	}
	if _, err := New(Config{Peers: []Holder{&holder{shares: shares, at: -1}}}); err == nil {
		t.Error("index 0 accepted")
	}
	c := newCluster(t, key, shares)
	defer c.Close()
	for name, bad := range map[string]Key{
		"no key":             {T: 3, Shares: key.Shares},
		"threshold 0":        {PublicKey: key.PublicKey, Shares: key.Shares},
		"threshold over n":   {PublicKey: key.PublicKey, T: 5, Shares: key.Shares},
		"no shares, t = n=0": {PublicKey: key.PublicKey},
	} {
		if _, _, err := c.Sign(t.Context(), bad, nil, root(1)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
