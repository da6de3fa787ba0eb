package signerapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics counts what the signer does. The first group has the names, types
// and labels of Web3Signer, so that its dashboards keep working; the quorate_
// group is ours. It has a registry of its own, so that two servers fit into
// one process, and its methods satisfy the observer interfaces of the rooms
// below, which know nothing of Prometheus.
type Metrics struct {
	registry *prometheus.Registry

	malformed  prometheus.Counter
	duration   prometheus.Summary
	missing    prometheus.Counter
	permitted  prometheus.Counter
	prevented  prometheus.Counter
	record     *prometheus.SummaryVec // by signingOperation
	answers    *prometheus.CounterVec // by route and status
	outcomes   *prometheus.CounterVec // by type and outcome
	working    prometheus.Gauge
	quorumTime *prometheus.HistogramVec // by result
	asked      prometheus.Counter
	hedged     prometheus.Counter
	blamed     *prometheus.CounterVec // by holder
}

// NewMetrics makes a registry with everything in it. version is shown in
// process_release.
func NewMetrics(version string) *Metrics {
	quantiles := map[float64]float64{0.2: 0.02, 0.5: 0.02, 0.8: 0.01, 0.95: 0.005, 0.99: 0.001}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		malformed: counter("http_bls_malformed_request_count_total", "Sign requests whose body was malformed."),
		duration: prometheus.NewSummary(prometheus.SummaryOpts{Name: "signing_bls_signing_duration",
			Help: "Seconds from a sign request's arrival to its answer.", Objectives: quantiles}),
		missing:   counter("signing_bls_missing_identifier_count_total", "Sign requests for keys that are not here."),
		permitted: counter("eth2_slashingprotection_permitted_signings_total", "Duties that slashing protection let pass."),
		prevented: counter("eth2_slashingprotection_prevented_signings_total", "Duties that slashing protection refused."),
		record: prometheus.NewSummaryVec(prometheus.SummaryOpts{Name: "eth2_slashingprotection_database_duration",
			Help: "Seconds that checking and recording a duty took.", Objectives: quantiles}, []string{"signingOperation"}),
		answers:  vector("quorate_http_requests_total", "Requests answered.", "route", "code"),
		outcomes: vector("quorate_sign_requests_total", "Sign requests by message type and outcome.", "type", "outcome"),
		working:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "quorate_sign_in_flight", Help: "Sign requests at work."}),
		quorumTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "quorate_quorum_duration_seconds",
			Help:    "Time from the first partial asked for to a verified signature, or to giving up.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 4}}, []string{"result"}),
		asked:  counter("quorate_partials_asked_total", "Partial signatures asked for."),
		hedged: counter("quorate_hedges_total", "Partials asked for because an earlier holder was late."),
		blamed: vector("quorate_blamed_total", "Answers that proved a holder wrong.", "holder"),
	}
	release := prometheus.NewGauge(prometheus.GaugeOpts{Name: "process_release", Help: "Release information.",
		ConstLabels: prometheus.Labels{"version": version}})
	release.Set(1)
	m.registry.MustRegister(m.malformed, m.duration, m.missing, m.permitted, m.prevented, m.record, m.answers,
		m.outcomes, m.working, m.quorumTime, m.asked, m.hedged, m.blamed, release,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Gauge shows a value that is asked for at each scrape, under a name that
// begins with quorate_.
func (m *Metrics) Gauge(name, help string, value func() float64) error {
	return m.registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

// QuorumDone observes one round of partials: how many were asked, how long it
// took and whether it ended in a signature.
func (m *Metrics) QuorumDone(took time.Duration, asked int, reached bool) {
	result := "reached"
	if !reached {
		result = "missed"
	}
	m.quorumTime.WithLabelValues(result).Observe(took.Seconds())
	m.asked.Add(float64(asked))
}

// Hedged counts a partial asked for because another was late.
func (m *Metrics) Hedged() { m.hedged.Inc() }

// Blamed counts an answer that proved a holder wrong. Holders are members of
// the cluster, so the label is bounded.
func (m *Metrics) Blamed(holder string) { m.blamed.WithLabelValues(holder).Inc() }

// Recorded observes how long this node's custody took to check and record a
// duty; operation is "block" or "attestation".
func (m *Metrics) Recorded(operation string, took time.Duration) {
	m.record.WithLabelValues(operation).Observe(took.Seconds())
}

func (m *Metrics) answered(route string, status int) {
	m.answers.WithLabelValues(route, strconv.Itoa(status)).Inc()
}

// countSigners is called by the one server that these metrics belong to.
func (m *Metrics) countSigners(count func() int) error {
	return m.registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "signing_signers_loaded_count", Help: "Keys that may be asked for."},
		func() float64 { return float64(count()) }))
}

// Handler serves the registry at /metrics.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return mux
}

// Serve serves Handler on listener, which it takes over, until ctx ends.
func (m *Metrics) Serve(ctx context.Context, listener net.Listener, log *slog.Logger) error {
	return serve(ctx, &http.Server{
		Handler:           m.Handler(),
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       requestTime,
		WriteTimeout:      writeTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnState:         limitConns(64),
	}, listener)
}
