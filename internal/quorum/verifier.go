package quorum

import (
	"context"
	"crypto/rand"
	"runtime"
	"sync"

	"github.com/quorate/quorate/internal/bls"
)

// maxBatch bounds how long the first of a batch waits for the last. Beyond
// it, sharing the final exponentiation saves next to nothing more.
const maxBatch = 32

// verifier verifies at once while a processor is free. What arrives while all
// of them verify waits, and is then verified together.
type verifier struct {
	drains sync.WaitGroup

	mu    sync.Mutex
	idle  int // processors that may still verify
	queue []*claim
}

type claim struct {
	signed  bls.Signed
	verdict chan verdict // has room for it
}

type verdict struct {
	good bool
	err  error
}

func newVerifier() *verifier { return &verifier{idle: runtime.GOMAXPROCS(0)} }

// verify reports whether the claim is true; the error is ctx's, or says that
// the system gave no randomness.
func (v *verifier) verify(ctx context.Context, signed bls.Signed) (bool, error) {
	v.mu.Lock()
	if v.idle > 0 {
		v.idle--
		v.mu.Unlock()
		good := bls.Verify(signed.Key, signed.Message, signed.Sig)
		v.release()
		return good, nil
	}
	c := &claim{signed, make(chan verdict, 1)}
	v.queue = append(v.queue, c)
	v.mu.Unlock()
	select {
	case verdict := <-c.verdict:
		return verdict.good, verdict.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// release gives a processor back, or to those who queued meanwhile.
func (v *verifier) release() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.queue) == 0 {
		v.idle++
		return
	}
	v.drains.Go(func() {
		for batch := v.next(); batch != nil; batch = v.next() {
			verifyAll(batch)
		}
	})
}

// next takes a batch, or gives the processor back when nobody waits.
func (v *verifier) next() []*claim {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.queue) == 0 {
		v.idle++
		return nil
	}
	n := min(len(v.queue), maxBatch)
	batch := v.queue[:n:n]
	v.queue = v.queue[n:]
	return batch
}

func verifyAll(batch []*claim) {
	signed := make([]bls.Signed, len(batch))
	for i, c := range batch {
		signed[i] = c.signed
	}
	bad, err := bls.VerifyBatch(rand.Reader, signed)
	for i, c := range batch {
		if len(bad) > 0 && bad[0] == i {
			bad = bad[1:]
			c.verdict <- verdict{false, nil}
		} else {
			c.verdict <- verdict{err == nil, err}
		}
	}
}

// close waits until the processors are given back.
func (v *verifier) close() { v.drains.Wait() }
