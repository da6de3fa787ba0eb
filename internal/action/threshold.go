package action

import "fmt"

// Threshold is a pair (t, n) that survives f = ⌊(n-1)/3⌋ holders that lie,
// lost their memory or were cloned. Only [NewThreshold] makes one, so
// that an unsafe pair cannot exist; the zero value is invalid.
type Threshold struct{ t, n int }

// NewThreshold refuses (t, n) unless 2t - n > max(f, 1), so that two quorums
// share a holder that neither lied nor forgot and one duty gets one signature,
// and t ≤ n - f, so that f holders cannot stop the others. The 1 refuses
// 2-of-3, where f is 0 and a single rolled-back disk double-signs.
func NewThreshold(t, n int) (Threshold, error) {
	if n < 1 || t < 1 || t > n {
		return Threshold{}, fmt.Errorf("threshold %d of %d: want 1 ≤ t ≤ n", t, n)
	}
	f := (n - 1) / 3
	if 2*t-n <= max(f, 1) {
		return Threshold{}, fmt.Errorf("threshold %d of %d is unsafe: after %d faults two quorums could sign conflicting duties", t, n, max(f, 1))
	}
	if t > n-f {
		return Threshold{}, fmt.Errorf("threshold %d of %d: %d failing holders would stop it (want t ≤ %d)", t, n, f, n-f)
	}
	return Threshold{t, n}, nil
}

// DefaultThreshold returns t = ⌊(n+f)/2⌋ + 1 of n. There is none for three
// holders, where it would be 2.
func DefaultThreshold(n int) (Threshold, error) { return NewThreshold((n+(n-1)/3)/2+1, n) }

func (th Threshold) T() int { return th.t }
func (th Threshold) N() int { return th.n }

// F returns how many holders may fail in any way.
func (th Threshold) F() int { return (th.n - 1) / 3 }

// Quorum returns how many acknowledgements make something durable: n - f.
func (th Threshold) Quorum() int { return th.n - th.F() }

// StopQuorum returns how many holders must have stopped before no quorum can
// sign, even if f of those that said so lie: n - t + 1 + f.
func (th Threshold) StopQuorum() int { return min(th.n-th.t+1+th.F(), th.n) }
