package proof

import (
	"crypto/subtle"
	"errors"
	"time"
)

// ErrStale: the certificate is not proven to be recent.
var ErrStale = errors.New("certificate not proven fresh")

// Freshness judges whether a certificate is recent, without a wall clock.
//
// A header's own time says nothing when whoever brings it holds back the newer
// ones. So custody draws a random nonce, notes the reading of its monotonic
// clock, and has the ledger store the nonce. A header whose state holds the
// nonce was made after that reading: it anchors ledger time to the clock. From
// then on, until the window has passed, certificates of that height or above
// are fresh.
//
// The caller's clock must keep running while the machine sleeps
// (CLOCK_BOOTTIME). Freshness is a value; its zero value finds nothing fresh.
type Freshness struct {
	window time.Duration

	nonce   [32]byte
	asked   time.Duration // clock when nonce was drawn
	pending bool

	height   uint64
	time     time.Time
	since    time.Duration // clock when the anchoring nonce was drawn
	anchored bool
}

// NewFreshness takes the window for which an anchor holds.
func NewFreshness(window time.Duration) Freshness { return Freshness{window: window} }

// Ask notes that nonce was drawn at random when the clock stood at now. It
// replaces an earlier nonce that was not proven; an anchor stays.
func (f Freshness) Ask(nonce [32]byte, now time.Duration) Freshness {
	f.nonce, f.asked, f.pending = nonce, now, true
	return f
}

// Prove anchors at a certificate that shows the nonce to stand at path. The value
// there must be the nonce itself.
func (f Freshness) Prove(v Verified, path Path) (Freshness, error) {
	value, ok := v.Get(path)
	if !ok || !f.pending || subtle.ConstantTimeCompare(value, f.nonce[:]) != 1 {
		return f, ErrStale
	}
	if f.anchored && v.height < f.height {
		return f, ErrStale
	}
	f.height, f.time, f.since, f.anchored = v.height, v.time, f.asked, true
	f.nonce, f.pending = [32]byte{}, false
	return f, nil
}

// Fresh returns nil if v is at least as new as the anchor, and the anchor's
// nonce was drawn within the window before now.
func (f Freshness) Fresh(v Verified, now time.Duration) error {
	if !f.holds(now) || v.height < f.height {
		return ErrStale
	}
	return nil
}

// Latest is an upper bound of ledger time at now: the anchor's time and all
// that may have passed since. It is what a not-after is compared with. It
// returns false when no anchor holds.
func (f Freshness) Latest(now time.Duration) (time.Time, bool) {
	if !f.holds(now) {
		return time.Time{}, false
	}
	return f.time.Add(now - f.since), true
}

// Anchored returns the anchor's height and header time, and the reading of the
// clock when its nonce was drawn; false before the first anchor.
func (f Freshness) Anchored() (height uint64, at time.Time, since time.Duration, ok bool) {
	return f.height, f.time, f.since, f.anchored
}

func (f Freshness) holds(now time.Duration) bool {
	age := now - f.since
	return f.anchored && age >= 0 && age <= f.window
}
