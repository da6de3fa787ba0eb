package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
)

// tally is what was signed, how fast, and what it cost.
type tally struct {
	signed  int
	latency []float64 // of each signature, in ms
	took    time.Duration
	cpu     time.Duration
}

func (t *tally) rate() float64    { return float64(t.signed) / t.took.Seconds() }
func (t *tally) cpuEach() float64 { return milliseconds(t.cpu) / float64(t.signed) }

// load is what clients saw during a run.
type load struct {
	tally
	failures int
	failure  string // one of them
	samples  []sample
}

// sample is a signature kept to be verified after the clock has stopped.
type sample struct {
	key    bls.PublicKey
	root   eth.SigningRoot
	answer []byte
}

// sampleOf: one of so many signatures is verified.
const sampleOf = 32

// client is one caller that waits for each answer before it asks again. Its
// voters are its own: two callers of one key would race each other into the
// slashing rules.
type client struct {
	voters []*voter
	conns  []*conn // to each node that it asks in turn
	asked  int
}

func newClient(voters []*voter, nodes []Node) (*client, error) {
	c := &client{voters: voters}
	for _, n := range nodes {
		conn, err := dial(n.Signer)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

func (c *client) close() (err error) {
	for _, conn := range c.conns {
		err = errors.Join(err, conn.Close())
	}
	return err
}

// run asks until a point in time.
func (c *client) run(ctx context.Context, until time.Time, l *load) error {
	for first := true; (first || time.Now().Before(until)) && ctx.Err() == nil; first = false {
		v := c.voters[c.asked%len(c.voters)]
		body, root, err := v.next()
		if err != nil {
			return err
		}
		began := time.Now()
		status, answer, err := c.conns[c.asked%len(c.conns)].post(v.path, body)
		if err != nil {
			return err
		}
		c.asked++
		if status != http.StatusOK {
			l.failures++
			l.failure = fmt.Sprintf("%d: %s", status, answer)
			continue
		}
		l.signed++
		l.latency = append(l.latency, milliseconds(time.Since(began)))
		if l.signed%sampleOf == 1 {
			l.samples = append(l.samples, sample{v.key, root, answer})
		}
	}
	return ctx.Err()
}

// drive runs all clients for a time and adds to the sum.
func drive(ctx context.Context, clients []*client, duration time.Duration, sum *load) error {
	began := time.Now()
	until := began.Add(duration)
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range clients {
		g.Go(func() error {
			var l load
			err := c.run(ctx, until, &l)
			mu.Lock()
			defer mu.Unlock()
			sum.add(&l)
			return err
		})
	}
	err := g.Wait()
	sum.took += time.Since(began)
	return err
}

func (l *load) add(o *load) {
	l.signed += o.signed
	l.failures += o.failures
	if o.failures > 0 {
		l.failure = o.failure
	}
	l.latency = append(l.latency, o.latency...)
	l.samples = append(l.samples, o.samples...)
}

// verify checks the samples, and forgets them.
func (l *load) verify() error {
	for _, s := range l.samples {
		sig, err := parseSignature(s.answer)
		if err != nil {
			return err
		}
		if !bls.Verify(s.key, s.root, sig) {
			return fmt.Errorf("verify signature: %s did not sign %s", s.key, s.root)
		}
	}
	l.samples = nil
	if l.signed == 0 {
		return fmt.Errorf("no signature was made; the last answer was %s", l.failure)
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
