package quorum

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/quorate/quorate/internal/bls"
)

// True and false claims, alone and in batches, get their own verdict.
func TestVerifier(t *testing.T) {
	secret, err := bls.GenerateSecretKey()
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Destroy()
	v := newVerifier()
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			signed := bls.Signed{Key: secret.PublicKey(), Message: root(uint64(i)), Sig: secret.Sign(root(uint64(i)))}
			want := i%17 != 0
			if !want {
				signed.Message = root(uint64(i + 1))
			}
			got, err := v.verify(t.Context(), signed)
			if err != nil || got != want {
				t.Errorf("claim %d: %v, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	v.close()
	if v.idle != runtime.GOMAXPROCS(0) || len(v.queue) != 0 {
		t.Errorf("%d processors given back, %d claims left", v.idle, len(v.queue))
	}
}

// What queues while the processors verify is taken together.
func TestVerifierBatches(t *testing.T) {
	v := newVerifier()
	v.idle = 0 // all processors verify
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range maxBatch + 5 {
		if _, err := v.verify(ctx, bls.Signed{}); err == nil {
			t.Fatal("verdict without a processor")
		}
	}
	for _, want := range []int{maxBatch, 5} {
		batch := v.next()
		if len(batch) != want {
			t.Fatalf("batch of %d, want %d", len(batch), want)
		}
		verifyAll(batch)
		for _, c := range batch {
			if verdict := <-c.verdict; verdict.good || verdict.err != nil {
				t.Fatalf("nobody's signature: %+v", verdict)
			}
		}
	}
	if v.next() != nil || v.idle != 1 {
		t.Fatal("the processor was not given back")
	}
}
