package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"keyhole/push/wire"
)

// metrics are what a server counts, in a registry of its own. Its methods are
// those of channel.Metrics, whose registry reports deliveries through it.
type metrics struct {
	registry *prometheus.Registry

	connections prometheus.Counter // terminals verified
	waived      prometheus.Counter // of them, without a binding to TLS
	renewals    prometheus.Counter // of client keys
	logins      *prometheus.CounterVec
	refused     *prometheus.CounterVec

	published      *prometheus.CounterVec
	publishSeconds prometheus.Histogram

	delivered       prometheus.Counter
	replayed        prometheus.Counter
	acknowledged    prometheus.Counter
	held            prometheus.Gauge
	deliverySeconds prometheus.Histogram
}

// seconds are the bounds of both histograms: from half the time of a durable
// write on one disk to what a cluster takes to elect a leader.
var seconds = []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10}

func newMetrics() *metrics {
	m := &metrics{
		registry:        prometheus.NewRegistry(),
		connections:     counter("connections_total", "Terminals verified since the start."),
		waived:          counter("binding_waived_total", "Terminals verified without a binding to their TLS connection."),
		renewals:        counter("renewals_total", "Client keys renewed."),
		logins:          counters("logins_total", "Logins by result: ok, or the code of the refusal.", "result"),
		refused:         counters("refused_total", "Requests and frames refused, by code.", "reason"),
		published:       counters("published_total", "Messages stored, by what they are addressed to: token or app.", "to"),
		publishSeconds:  histogram("publish_seconds", "Time to store a message durably."),
		delivered:       counter("delivered_total", "Messages sent to terminals."),
		replayed:        counter("replayed_total", "Of them, those that had waited for the terminal or for its state."),
		acknowledged:    counter("acknowledged_total", "Messages acknowledged by terminals."),
		deliverySeconds: histogram("delivery_seconds", "Time from storing a message to sending it to a terminal that is connected."),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pushd_held", Help: "Messages held because their condition is false.",
		}),
	}
	m.registry.MustRegister(m.connections, m.waived, m.renewals, m.logins, m.refused,
		m.published, m.publishSeconds, m.delivered, m.replayed, m.acknowledged, m.held, m.deliverySeconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// refuse counts a refusal by its code.
func (m *metrics) refuse(code wire.Code) { m.refused.WithLabelValues(string(code)).Inc() }

// Delivered counts a message sent to a terminal that was there when it was
// published, this long after.
func (m *metrics) Delivered(latency time.Duration) {
	m.delivered.Inc()
	m.deliverySeconds.Observe(latency.Seconds())
}

// Replayed counts a message sent to a terminal, that had waited in the store
// for it or for its state.
func (m *metrics) Replayed() {
	m.delivered.Inc()
	m.replayed.Inc()
}

// Held counts messages that begin (1) or cease (-1) to be held.
func (m *metrics) Held(delta int) { m.held.Add(float64(delta)) }

// Acknowledged counts messages acknowledged by terminals.
func (m *metrics) Acknowledged(n int) { m.acknowledged.Add(float64(n)) }

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: "pushd_" + name, Help: help})
}

func counters(name, help string, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pushd_" + name, Help: help}, []string{label})
}

func histogram(name, help string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pushd_" + name, Help: help, Buckets: seconds})
}
