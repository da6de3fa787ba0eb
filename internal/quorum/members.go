package quorum

import (
	"context"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/rpc"
)

const (
	hedgeMin = 5 * time.Millisecond   // no sooner: a hiccup is no failure
	hedgeMax = 250 * time.Millisecond // no later: a duty is due
	hedgeOf  = 3                      // times the latency to expect

	suspendMin  = 100 * time.Millisecond // after one failure; doubles with each in a row
	suspendMax  = 5 * time.Second
	distrustFor = time.Minute // after a bad partial

	smoothing = 8 // an observation counts for 1/smoothing of an average
)

// members are the holders, and what asking them has taught.
type members struct {
	mu   sync.Mutex
	all  []*member // fixed before use
	turn int       // rotates among equals
}

// member is one holder. Its fields below are guarded by members.mu.
type member struct {
	Holder
	local bool

	outstanding int
	// Two averages of the time to an answer: as seen, and for each request
	// that was outstanding at once. The first follows a slow network, the
	// second foresees a queue.
	latency, share time.Duration
	seen           time.Time // when the averages last learnt
	failures       int       // in a row
	suspended      time.Time // asked last until then, or until it answers
	distrusted     time.Time // asked last until then
}

func (ms *members) add(h Holder, local bool) {
	ms.all = append(ms.all, &member{Holder: h, local: local})
}

// at is the member with that index.
func (ms *members) at(index uint16) *member {
	for _, m := range ms.all {
		if m.Index() == index {
			return m
		}
	}
	return nil
}

// rank lists the holders of a key in the order in which to ask:
// our own first, then who answers soonest, in turn among about equals, and
// last who failed lately. Those stay on the list: they may be all there is.
func (ms *members) rank(shares []bls.PublicKey, now time.Time) []*member {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	type place struct {
		m    *member
		rank [4]int
	}
	ms.turn++
	var places []place
	for i, m := range ms.all {
		if int(m.Index()) > len(shares) || shares[m.Index()-1].IsZero() {
			continue
		}
		var down, foreign int
		if now.Before(m.suspended) || now.Before(m.distrusted) {
			down = 1
		}
		if !m.local {
			foreign = 1
		}
		// Equal is what lies within a factor of two. An estimate that is
		// not renewed fades, or one slow minute would be for ever.
		estimate := m.expect() / (1 + max(0, now.Sub(m.seen))/time.Second)
		speed := bits.Len64(uint64(estimate / time.Millisecond))
		places = append(places, place{m, [4]int{down, foreign, speed, (i + ms.turn) % len(ms.all)}})
	}
	slices.SortFunc(places, func(a, b place) int { return slices.Compare(a.rank[:], b.rank[:]) })
	ranked := make([]*member, len(places))
	for i, p := range places {
		ranked[i] = p.m
	}
	return ranked
}

// expect is how long the next request may take.
func (m *member) expect() time.Duration {
	return max(m.latency, m.share*time.Duration(m.outstanding+1))
}

// hedgeDelay is how long to wait for the asked before asking others.
func (ms *members) hedgeDelay(asked []*member) time.Duration {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	var slowest time.Duration
	for _, m := range asked {
		slowest = max(slowest, max(m.latency, m.share*time.Duration(m.outstanding)))
	}
	return min(max(hedgeOf*slowest, hedgeMin), hedgeMax)
}

// ticket is a request as it was when it was made: a busy machine may take its
// time to begin with it.
type ticket struct {
	start time.Time
	depth int // requests outstanding, with this one
}

// enter counts a request that call is about to make.
func (ms *members) enter(m *member) ticket {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m.outstanding++
	return ticket{time.Now(), m.outstanding}
}

// call asks one holder and learns from how it goes.
func (ms *members) call(ctx context.Context, m *member, t ticket, request Request) (bls.Partial, error) {
	partial, err := m.SignPartial(ctx, request)
	now := time.Now()
	took := now.Sub(t.start)

	ms.mu.Lock()
	defer ms.mu.Unlock()
	m.outstanding--
	withdrawn := ctx.Err() != nil
	switch {
	case err == nil:
		m.failures = 0
		m.suspended = time.Time{}
	case !withdrawn && unfit(rpc.CodeOf(err)):
		m.suspend(now)
		return partial, err
	}
	// One that was withdrawn took at least so long.
	if !withdrawn || took > m.latency {
		m.latency += (took - m.latency) / smoothing
		m.share += (took/time.Duration(t.depth) - m.share) / smoothing
		m.seen = now
	}
	return partial, err
}

// unfit are the codes that say something about the holder rather than the
// duty.
func unfit(code rpc.Code) bool {
	switch code {
	case rpc.CodeUnavailable, rpc.CodeInternal, rpc.CodeFenced, rpc.CodeUnknownKey, rpc.CodeWrongCluster:
		return true
	}
	return false
}

// suspect suspends holders that keep a request waiting.
func (ms *members) suspect(late []*member) {
	now := time.Now()
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, m := range late {
		m.suspend(now)
	}
}

// late says whether a holder is suspended.
func (ms *members) late(m *member) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return time.Now().Before(m.suspended)
}

// distrust suspends a holder that answered falsely.
func (ms *members) distrust(m *member) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m.distrusted = time.Now().Add(distrustFor)
}

func (m *member) suspend(now time.Time) {
	pause := min(suspendMin<<min(m.failures, 16), suspendMax)
	m.failures++
	if until := now.Add(pause); until.After(m.suspended) {
		m.suspended = until
	}
}
