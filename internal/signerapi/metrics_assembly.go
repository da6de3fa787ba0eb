package signerapi

import (
	"encoding/hex"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/hall"
)

// Assemblies shows, at each scrape, how far the cohorts of open ceremonies
// among participants have come. rooms visits them. There are at most 8, of at
// most 256 cohorts.
func (m *Metrics) Assemblies(rooms func(visit func(*hall.Room)) error) error {
	return m.registry.Register(assemblies(rooms))
}

type assemblies func(visit func(*hall.Room)) error

var (
	assemblySeats = prometheus.NewDesc("quorate_assembly_participants",
		"Participants of an open ceremony that have done what a phase asks for; of phase seats all of them, of phase dealers those who were drawn.", []string{"ceremony", "cohort", "phase"}, nil)
	assemblyLatency = prometheus.NewDesc("quorate_assembly_latency_seconds",
		"Block time from a phase's beginning until a participant was heard in it last.", []string{"ceremony", "cohort", "phase"}, nil)
	assemblyRefused = prometheus.NewDesc("quorate_assembly_refused_total",
		"Messages of participants brought to this node that the ledger refused.", []string{"ceremony", "cohort"}, nil)
	assemblyBuckets = []uint64{1, 2, 5, 10, 30, 60, 300, 1800, 3600, 21_600, 86_400} // seconds
)

func (assemblies) Describe(out chan<- *prometheus.Desc) {
	out <- assemblySeats
	out <- assemblyLatency
	out <- assemblyRefused
}

func (rooms assemblies) Collect(out chan<- prometheus.Metric) {
	err := rooms(func(r *hall.Room) {
		id := hex.EncodeToString(r.ID[:8])
		refused := map[int]int{}
		for seat, n := range r.Refused {
			refused[r.Follower.Board().Cohort(seat)] += n
		}
		for _, c := range r.Follower.Cohorts() {
			cohort := strconv.Itoa(c.Cohort)
			for phase, n := range map[string]int{"seats": c.Seats, "dealers": c.Dealers, "join": c.Joined, "deal": c.Dealt, "verify": c.Reported, "replay": c.Voted, "confirm": c.Confirmed} {
				out <- prometheus.MustNewConstMetric(assemblySeats, prometheus.GaugeValue, float64(n), id, cohort, phase)
			}
			out <- prometheus.MustNewConstMetric(assemblyRefused, prometheus.CounterValue, float64(refused[c.Cohort]), id, cohort)
			for phase, took := range c.Took {
				out <- latency(took, id, cohort, phase)
			}
		}
	})
	if err != nil {
		out <- prometheus.NewInvalidMetric(assemblySeats, err)
	}
}

func latency(took []uint64, id, cohort string, phase assembly.Phase) prometheus.Metric {
	var sum float64
	buckets := map[float64]uint64{}
	for _, ms := range took {
		sum += float64(ms) / 1000
		for _, s := range assemblyBuckets {
			if ms <= 1000*s {
				buckets[float64(s)]++
			}
		}
	}
	return prometheus.MustNewConstHistogram(assemblyLatency, uint64(len(took)), sum, buckets, id, cohort, phase.String())
}
