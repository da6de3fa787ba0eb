package bench

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/eth"
)

// primitives makes signatures with nothing in between: t shares in one
// process, each with a log of its own on disk.
type primitives struct {
	key    bls.PublicKey
	shares []bls.Share
	logs   []*durable.Log
	roots  []eth.SigningRoot
	turn   atomic.Uint64
}

// recordSize is what an attestation takes in a slashing record.
const recordSize = 128

func newPrimitives(dir string, n *eth.Network, t int) (*primitives, error) {
	p := &primitives{}
	var err error
	if p.key, p.shares, err = dealKey(t); err != nil {
		return nil, err
	}
	for i := range t {
		path := filepath.Join(dir, fmt.Sprintf("limit-%d.log", i))
		log, err := durable.Create(durable.OS{}, path, durable.Identity{Domain: "bench"}, make([]byte, recordSize))
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.logs = append(p.logs, log)
	}
	v := newVoter(p.key, n)
	for range 1 << 10 {
		_, root, err := v.next()
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.roots = append(p.roots, root)
	}
	return p, nil
}

func (p *primitives) close() (err error) {
	for _, log := range p.logs {
		err = errors.Join(err, log.Close())
	}
	for _, s := range p.shares {
		s.Destroy()
	}
	return err
}

// dealKey makes a key and the first t of its shares, of which t reconstruct.
func dealKey(t int) (bls.PublicKey, []bls.Share, error) {
	g := bls.G1{}
	poly := make([]bls.G1Scalar, t)
	for i := range poly {
		var wide [64]byte
		rand.Read(wide[:])
		g.SetWide(&poly[i], &wide)
	}
	var point bls.G1Point
	g.BaseMult(&point, &poly[0])
	key, err := bls.ParsePublicKey(g.AppendPoints(nil, []bls.G1Point{point}))
	if err != nil {
		return key, nil, err
	}
	var shares []bls.Share
	for i := 1; i <= t; i++ {
		var x, at bls.G1Scalar
		g.SetWeight(&x, &[16]byte{byte(i)})
		for c := t - 1; c >= 0; c-- {
			g.MulScalar(&at, &x)
			g.AddScalar(&at, &poly[c])
		}
		share, err := bls.NewShare(uint16(i), (*[bls.ScalarSize]byte)(g.AppendScalar(nil, &at)))
		if err != nil {
			return key, nil, err
		}
		shares = append(shares, share)
	}
	return key, shares, nil
}

// sign makes one signature: a record for each partial, the partials while the
// disk is busy, combine, verify. With parallel each holder has a goroutine,
// which is faster for one caller and slower for many.
func (p *primitives) sign(parallel bool) error {
	root := p.roots[p.turn.Add(1)%uint64(len(p.roots))]
	partials := make([]bls.Partial, len(p.shares))
	records := make([]durable.Pending, len(p.shares))
	for i, log := range p.logs {
		records[i] = log.Append(make([]byte, recordSize))
	}
	if parallel {
		var all sync.WaitGroup
		for i, share := range p.shares {
			all.Go(func() { partials[i] = share.SignPartial(root) })
		}
		all.Wait()
	} else {
		for i, share := range p.shares {
			partials[i] = share.SignPartial(root)
		}
	}
	for _, r := range records {
		if err := r.Wait(); err != nil {
			return err
		}
	}
	sig, err := bls.Combine(len(partials), partials)
	if err != nil {
		return err
	}
	if !bls.Verify(p.key, root, sig) {
		return errors.New("the primitives' signature does not verify")
	}
	return nil
}

// measure signs with that many callers for a time, and adds to the sum.
func (p *primitives) measure(callers int, duration time.Duration, sum *tally) error {
	if err := repeat(callers, duration, sum, func(int) error { return p.sign(callers == 1) }); err != nil {
		return fmt.Errorf("measure the limit: %w", err)
	}
	return nil
}

// repeat has callers do the same again and again for a time, each once at
// least, and adds to the sum.
func repeat(callers int, duration time.Duration, sum *tally, do func(caller int) error) error {
	var mu sync.Mutex
	var latency []float64
	began, before := time.Now(), ownCPU()
	until := began.Add(duration)
	var g errgroup.Group
	for caller := range callers {
		g.Go(func() error {
			var own []float64
			for len(own) == 0 || time.Now().Before(until) {
				start := time.Now()
				if err := do(caller); err != nil {
					return err
				}
				own = append(own, milliseconds(time.Since(start)))
			}
			mu.Lock()
			defer mu.Unlock()
			latency = append(latency, own...)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	sum.signed += len(latency)
	sum.latency = append(sum.latency, latency...)
	sum.took += time.Since(began)
	sum.cpu += ownCPU() - before
	return nil
}
