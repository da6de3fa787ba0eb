//go:build !linux

package rehearsal

import "time"

// spend and spendAll return the time that work takes, where the system keeps
// no account of threads.
func spend(work func() error) (time.Duration, error) {
	began := time.Now()
	err := work()
	return time.Since(began), err
}

func spendAll(work func() error) (time.Duration, error) { return spend(work) }

func peakMemory() int { return 0 }
