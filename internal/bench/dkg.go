package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
)

// DKG measures what a ceremony costs its participants, in processor time: each
// step of one key among 4 and 16, and all steps of an operator for batches of
// keys, by the sizes that others publish.
func DKG(progress func(format string, args ...any)) ([]Figure, error) {
	defer oneCore()()
	var figures []Figure
	for _, n := range []int{4, 16} {
		more, err := oneKey(n)
		if err != nil {
			return nil, fmt.Errorf("measure a ceremony among %d: %w", n, err)
		}
		progress("one key among %d: measured", n)
		figures = append(figures, more...)
	}
	for _, n := range []int{4, 7, 10} {
		for _, keys := range []int{1, 10, 100, 1000} {
			f, err := batch(n, keys)
			if err != nil {
				return nil, fmt.Errorf("measure %d keys among %d: %w", keys, n, err)
			}
			progress("%d keys among %d: %.3f CPU-seconds per operator", keys, n, f.Measured)
			figures = append(figures, f)
		}
	}
	return figures, nil
}

// rehearsalTime is how long one key is made again and again.
const rehearsalTime = time.Second

func oneKey(n int) ([]Figure, error) {
	th, err := action.DefaultThreshold(n)
	if err != nil {
		return nil, err
	}
	w := newGroupwork(n, th.T(), 1)
	c := newConfirmations(th.Quorum()) // with so many it is done; who comes later is not waited for
	works := []func() error{w.deal, w.verify, func() error {
		if err := w.settle(); err != nil {
			return err
		}
		return c.verify()
	}}
	before, err := prices(works)
	if err != nil {
		return nil, err
	}
	var deal, verify, settle []float64
	for until := time.Now().Add(rehearsalTime); time.Now().Before(until); {
		r, err := rehearse(n, 1)
		if err != nil {
			return nil, err
		}
		for _, s := range r.seats {
			deal, verify = append(deal, milliseconds(s.deal)), append(verify, milliseconds(s.verify))
		}
		settle = append(settle, milliseconds(r.settle))
	}
	after, err := prices(works)
	if err != nil {
		return nil, err
	}
	figure := func(i int, name, limitIs string, measured []float64) Figure {
		f := Figure{Name: name, N: n, T: th.T(), Keys: 1, Unit: "CPU-ms", LimitIs: limitIs}
		return f.runs(measured, mean(before[i], after[i])).within()
	}
	return []Figure{
		figure(0, "dkg_deal", dealLimit, deal),
		figure(1, "dkg_receive", verifyLimit, verify),
		figure(2, "dkg_light_verify", lightLimit, settle),
	}, nil
}

// prices are in milliseconds.
func prices(works []func() error) (ms []float64, err error) {
	for _, work := range works {
		took, err := price(work)
		if err != nil {
			return nil, err
		}
		ms = append(ms, milliseconds(took))
	}
	return ms, nil
}

// operatorLimit is the price of all group operations of one operator, in
// CPU-seconds.
func operatorLimit(n, t, keys int) (float64, error) {
	w := newGroupwork(n, t, keys)
	ms, err := prices([]func() error{w.deal, w.verify, w.rest})
	if err != nil {
		return 0, err
	}
	return (ms[0] + ms[1] + ms[2]) / 1000, nil
}

func batch(n, keys int) (Figure, error) {
	th, err := action.DefaultThreshold(n)
	if err != nil {
		return Figure{}, err
	}
	f := Figure{Name: "dkg_batch", N: n, T: th.T(), Keys: keys, Unit: "CPU-s per operator", LimitIs: batchLimit}
	before, err := operatorLimit(n, th.T(), keys)
	if err != nil {
		return f, err
	}
	var each []float64
	for range max(1, 100/keys) { // a small one is made often enough to be measured
		r, err := rehearse(n, keys)
		if err != nil {
			return f, err
		}
		for _, s := range r.seats {
			each = append(each, s.total().Seconds())
		}
	}
	after, err := operatorLimit(n, th.T(), keys)
	if err != nil {
		return f, err
	}
	return f.duration(median(each), mean(before, after)), nil
}

// Ceremony measures whole ceremonies on a cluster of real processes, one that
// makes keys and one that gives them new shares: from the request until the
// inventory says so, and what each operator's processes spent until all of
// them hold their shares.
func Ceremony(ctx context.Context, c *Cluster, keys int) ([]Figure, error) {
	var made []bls.PublicKey
	keygen, err := c.ceremony("ceremony_seconds", keys, func() (took time.Duration, err error) {
		if made, took, err = c.Keys.Make(ctx, keys); err == nil && len(made) != keys {
			err = fmt.Errorf("%d keys were asked for and %d made", keys, len(made))
		}
		return took, err
	})
	if err != nil {
		return nil, fmt.Errorf("measure a ceremony: %w", err)
	}
	refresh, err := c.ceremony("refresh_seconds", keys, func() (time.Duration, error) { return c.Keys.Refresh(ctx, made) })
	if err != nil {
		return nil, fmt.Errorf("measure a refresh: %w", err)
	}
	return []Figure{keygen, refresh}, nil
}

func (c *Cluster) ceremony(name string, keys int, run func() (time.Duration, error)) (Figure, error) {
	n := len(c.Nodes)
	f := Figure{Name: name, N: n, T: c.T, Keys: keys, Unit: "s",
		LimitIs: "the operators' group operations on all cores (see dkg_batch), no consensus, network or disk"}
	limit, err := operatorLimit(n, c.T, keys)
	if err != nil {
		return f, err
	}
	before, err := cpuOf(c.pids())
	if err != nil {
		return f, err
	}
	took, err := run()
	if err != nil {
		return f, err
	}
	after, err := cpuOf(c.pids())
	if err != nil {
		return f, err
	}
	if f.RSS, err = c.heaviest(); err != nil {
		return f, err
	}
	f.OperatorCPU = (after - before).Seconds() / float64(n)
	return f.duration(took.Seconds(), limit*float64(n)/float64(ThisMachine().Cores)), nil
}
