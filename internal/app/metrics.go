package app

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/store"
)

const (
	countsLimit = 3 * time.Second  // for the query behind the counts
	countsFresh = 10 * time.Second // counts are not asked for more often
)

// metrics is what /metrics tells. Labels hold states, kinds and route patterns
// only: no address, no name, nothing that a caller chose.
type metrics struct {
	registry *prometheus.Registry
	events   *prometheus.CounterVec
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailgrant_events_total", Help: "Events that this process has written since it started, by kind.",
		}, []string{"kind"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailgrant_http_requests_total", Help: "HTTP requests answered, by route and class of status.",
		}, []string{"route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mailgrant_http_request_duration_seconds", Help: "Time to answer HTTP requests, by route; event streams are left out.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
	}
	for _, k := range event.Kinds() {
		m.events.WithLabelValues(string(k.Kind))
	}
	m.registry.MustRegister(m.events, m.requests, m.duration, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// wrote counts an event that was committed.
func (m *metrics) wrote(k event.Kind) { m.events.WithLabelValues(string(k)).Inc() }

// answered counts an HTTP request. The route is the pattern that matched: it is
// ours, where the path is the caller's and holds addresses and links.
func (m *metrics) answered(r *http.Request, a *answer, took time.Duration) {
	route := r.Pattern
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, strconv.Itoa(a.code()/100)+"xx").Inc()
	if !strings.HasPrefix(a.Header().Get("Content-Type"), "text/event-stream") {
		m.duration.WithLabelValues(route).Observe(took.Seconds())
	}
}

// stock tells what the database holds and when the refresh loop last ran.
type stock struct {
	counts  func(context.Context) (store.Counts, error)
	lastRun func() time.Time
	now     func() time.Time
	log     *slog.Logger

	up, mailboxes, quarantined, submissions, deliveries, messages, refresh *prometheus.Desc

	mu   sync.Mutex
	last store.Counts
	at   time.Time // when last was counted, on the real clock; zero: never
}

func newStock(a *App) *stock {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("mailgrant_"+name, help, labels, nil)
	}
	return &stock{
		counts: a.Store.Counts, lastRun: a.Broker.LastRun, now: a.now, log: a.log,
		up:          describe("database_up", "1 when the database answered the last count, 0 when it did not and the counts are missing."),
		mailboxes:   describe("mailboxes", "Mailboxes by the state of their grant; none: not authorized yet.", "grant"),
		quarantined: describe("quarantined_authorizations", "Authorizations that wait to be verified."),
		submissions: describe("submissions", "Submissions within their retention, by state.", "state"),
		deliveries:  describe("webhook_deliveries", "Webhook deliveries that wait or were put aside, by state.", "state"),
		messages:    describe("messages_kept", "Received messages that are kept."),
		refresh:     describe("refresh_loop_idle_seconds", "Seconds since the refresh loop completed a round; missing until the first."),
	}
}

// Describe implements prometheus.Collector.
func (s *stock) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.up, s.mailboxes, s.quarantined, s.submissions, s.deliveries, s.messages, s.refresh} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s *stock) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if run := s.lastRun(); !run.IsZero() {
		gauge(s.refresh, max(0, s.now().Sub(run).Seconds()))
	}
	c, err := s.count()
	if err != nil {
		s.log.Warn("count for the metrics", "error", err)
		gauge(s.up, 0)
		return
	}
	gauge(s.up, 1)
	gauge(s.quarantined, float64(c.Quarantined))
	gauge(s.messages, float64(c.Messages))
	// States that nothing is in are told too: a series that vanishes raises no alarm.
	for _, state := range []mailbox.GrantState{mailbox.GrantActive, mailbox.GrantSuspended, mailbox.GrantDead, mailbox.GrantRevoked, "none"} {
		gauge(s.mailboxes, float64(c.Mailboxes[string(state)]), string(state))
	}
	for _, state := range []outbox.State{outbox.Queued, outbox.Sending, outbox.Sent, outbox.Failed, outbox.Expired} {
		gauge(s.submissions, float64(c.Submissions[string(state)]), string(state))
	}
	for _, state := range []string{"pending", "parked"} {
		gauge(s.deliveries, float64(c.Deliveries[state]), state)
	}
}

// count gives counts that are fresh enough, however often it is asked.
func (s *stock) count() (store.Counts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() && time.Since(s.at) < countsFresh {
		return s.last, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), countsLimit)
	defer cancel()
	c, err := s.counts(ctx)
	if err != nil {
		s.at = time.Time{}
		return store.Counts{}, err
	}
	s.last, s.at = c, time.Now()
	return c, nil
}

// answer notes the status of an answer on its way out.
type answer struct {
	http.ResponseWriter
	status int
	broken bool // must not be taken for whole
}

// WriteHeader implements http.ResponseWriter. Informational answers (RFC 9110
// section 15.2) come before the one that counts.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach what is beneath.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// code is the status of the answer; net/http sends 200 for a handler that says
// nothing.
func (a *answer) code() int {
	if a.status == 0 {
		return http.StatusOK
	}
	return a.status
}
