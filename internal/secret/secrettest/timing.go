package secrettest

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Suspicious is a value of Timing that chance and a disturbance do not give
// again and again.
const Suspicious = 10

// Timing returns Welch's t between the times that work takes with a fixed
// secret and with random ones, over the faster half of either, as dudect does
// (Reparaz, Balasch and Verbauwhede, DATE 2017).
func Timing[T any](work func(*T), fixed func() T, random func(i int) T) float64 {
	const each = 3000
	inputs := make([]T, 2*each) // both kinds are read from memory alike
	kinds := rand.Perm(2 * each)
	for i := range inputs {
		if kinds[i]%2 == 0 {
			inputs[i] = fixed()
		} else {
			inputs[i] = random(i)
		}
	}
	var times [2][]float64
	for i := range inputs {
		began := time.Now()
		work(&inputs[i])
		times[kinds[i]%2] = append(times[kinds[i]%2], float64(time.Since(began)))
	}
	var mean, square [2]float64
	for k, all := range times {
		slices.SortFunc(all, cmp.Compare)
		all = all[:len(all)/2]
		for _, v := range all {
			mean[k] += v / float64(len(all))
		}
		for _, v := range all {
			square[k] += (v - mean[k]) * (v - mean[k]) / float64(len(all)-1) / float64(len(all))
		}
	}
	return math.Abs(mean[0]-mean[1]) / math.Sqrt(square[0]+square[1])
}

// LeastTiming is the least of several attempts: a leak comes again, a
// disturbance does not.
func LeastTiming[T any](work func(*T), fixed func() T, random func(i int) T) float64 {
	least := math.Inf(1)
	for range 4 {
		if least = min(least, Timing(work, fixed, random)); least < Suspicious {
			break
		}
	}
	return least
}
