package rpc

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCall measures a call of the size of a partial signature over a
// unix socket pair, both ends in this process: wall time and CPU per call.
func BenchmarkCall(b *testing.B) {
	for _, concurrency := range []int{1, 64} {
		b.Run(fmt.Sprintf("c=%d", concurrency), func(b *testing.B) {
			c := connect(b, newService().handle, Options{})
			body := make([]byte, 300)
			tokens := make(chan struct{}, concurrency)
			errs := make(chan error, concurrency)
			before := cpu()
			b.ResetTimer()
			for range concurrency {
				go func() {
					for range tokens {
						if _, err := c.Call(b.Context(), methodEcho, body); err != nil {
							errs <- err
							return
						}
					}
					errs <- nil
				}()
			}
			for range b.N {
				tokens <- struct{}{}
			}
			close(tokens)
			for range concurrency {
				if err := <-errs; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// cpu is what this process has used so far, user and system.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
