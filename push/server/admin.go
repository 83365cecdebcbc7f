package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"keyhole/push/store"
)

// readyTimeout is how long the store may take to say that it is ready, and to
// say how much it holds.
const readyTimeout = 2 * time.Second

// AdminHandler answers GET of /healthz, /readyz and /metrics, for an address
// that only operators reach: it asks for no credential. /healthz is 200 while
// the process runs. /readyz is 200 while messages can be stored, and 503 with
// the reason otherwise and while the server drains.
func (s *Server) AdminHandler() http.Handler {
	live := prometheus.NewRegistry()
	live.MustRegister(s.terminalsGauge(), newStoreSize(s.config.Store))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { plainText(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(
		prometheus.Gatherers{s.metrics.registry, live},
		promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	return mux
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	err := s.config.Store.Ready(ctx)
	switch {
	case s.draining.Load():
		plainText(w, http.StatusServiceUnavailable, "draining")
	case err != nil:
		plainText(w, http.StatusServiceUnavailable, fmt.Sprintf("store: %v", err))
	default:
		plainText(w, http.StatusOK, "ok")
	}
}

func plainText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

func (s *Server) terminalsGauge() prometheus.Collector {
	return prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "pushd_terminals", Help: "Terminals that are connected and verified."},
		func() float64 { return float64(s.channels.Len()) })
}

// storeSize asks the store for both its numbers at once. While the store does
// not answer they are absent, rather than old or 0.
type storeSize struct {
	store           *store.Store
	messages, bytes *prometheus.Desc
}

func newStoreSize(st *store.Store) *storeSize {
	return &storeSize{
		store:    st,
		messages: prometheus.NewDesc("pushd_store_messages", "Messages stored.", nil, nil),
		bytes:    prometheus.NewDesc("pushd_store_bytes", "Bytes of the messages stored.", nil, nil),
	}
}

// Describe lists the metrics; a prometheus.Collector's method.
func (c *storeSize) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.messages
	ch <- c.bytes
}

// Collect asks the store; a prometheus.Collector's method.
func (c *storeSize) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	messages, bytes, err := c.store.Size(ctx)
	if err != nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(c.messages, prometheus.GaugeValue, float64(messages))
	ch <- prometheus.MustNewConstMetric(c.bytes, prometheus.GaugeValue, float64(bytes))
}

// Terminals is how many are connected and verified.
func (s *Server) Terminals() int { return s.channels.Len() }
