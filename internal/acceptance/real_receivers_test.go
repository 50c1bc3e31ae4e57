package acceptance_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// receiverSecret signs for all of them: whoever gets a delivery can say whether
// it is one.
const receiverSecret = "whsec_TWFpbGdyYW50IHJlY2VpdmVycyBpbiBhIHRlc3Q="

// aReceiver is one party that webhooks are delivered to. How it answers is its own
// affair; what it took, it remembers by mailbox.
type aReceiver struct {
	url, ca string
	answer  atomic.Pointer[http.HandlerFunc]

	mu    sync.Mutex
	took  map[string][]string // texts by mailbox, in the order in which they were taken
	ids   map[string]int      // how often each delivery was taken
	calls int
	busy  int
	peak  int // calls at one time
}

func newReceiver() *aReceiver { return &aReceiver{took: map[string][]string{}, ids: map[string]int{}} }

// becomes changes how it answers.
func (a *aReceiver) becomes(answer http.HandlerFunc) { a.answer.Store(&answer) }

// openReceiver serves HTTP on 127.0.0.1.
func openReceiver(t *testing.T, answer http.HandlerFunc) *aReceiver {
	t.Helper()
	a := newReceiver()
	a.becomes(answer)
	server := httptest.NewServer(a.handler(t))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	a.url = server.URL + "/hook"
	return a
}

// textHeader is where the handler leaves what a delivery says, for those who answer.
const textHeader = "X-Test-Text"

func (a *aReceiver) handler(t *testing.T) http.Handler {
	verifier, err := standardwebhooks.NewWebhook(receiverSecret)
	must(t, err)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.enters(1)
		defer a.enters(-1)
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		var p webhook.Payload
		if err != nil || verifier.VerifyIgnoringTimestamp(body, r.Header) != nil || json.Unmarshal(body, &p) != nil {
			t.Errorf("%s got what is no delivery: %s", a.url, body)
			return
		}
		r.Header.Set(textHeader, p.Data.Text)
		seen := &statusWriter{ResponseWriter: w}
		(*a.answer.Load())(seen, r)
		if seen.status/100 != 2 {
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if id := r.Header.Get("webhook-id"); a.ids[id] == 0 {
			a.took[p.Data.Mailbox] = append(a.took[p.Data.Mailbox], p.Data.Text)
		}
		a.ids[r.Header.Get("webhook-id")]++
	})
}

func (a *aReceiver) enters(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n > 0 {
		a.calls++
	}
	a.busy += n
	a.peak = max(a.peak, a.busy)
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// of gives what it took of a mailbox.
func (a *aReceiver) of(mailbox string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.took[mailbox]...)
}

func (a *aReceiver) counts() (taken, calls, peak int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, texts := range a.took {
		taken += len(texts)
	}
	return taken, a.calls, a.peak
}

func answers(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func redirects(status int, to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, status) }
}

// hijacked is a connection on which a receiver does as it likes, until the other side goes.
func hijacked(does func(conn net.Conn, gone <-chan struct{})) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		gone := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, conn) // ends when the other side goes
			close(gone)
		}()
		does(conn, gone)
		_ = conn.Close()
		<-gone
	}
}

// drips answers a byte a second, for ever.
func drips(conn net.Conn, gone <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for _, b := range []byte("HTTP/1.1 200 OK\r\nX-Slow: " + strings.Repeat("z", 1<<16)) {
		select {
		case <-gone:
			return
		case <-tick.C:
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
		}
	}
}

// endlessly writes a beginning and then the same line, for ever.
func endlessly(beginning, line string) func(net.Conn, <-chan struct{}) {
	return func(conn net.Conn, gone <-chan struct{}) {
		_, err := io.WriteString(conn, beginning)
		for err == nil {
			select {
			case <-gone:
				return
			default:
				_, err = io.WriteString(conn, line)
			}
		}
	}
}

// openHole accepts connections and never says anything.
func openHole(t *testing.T) *aReceiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	a := newReceiver()
	a.url = "http://" + l.Addr().String() + "/hook"
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				a.enters(1)
				_, _ = io.Copy(io.Discard, conn) // until the other side has had enough
				_ = conn.Close()
				a.enters(-1)
			}()
		}
	}()
	return a
}

// openInside listens at an address that the server must not call, and counts
// whoever comes.
func openInside(t *testing.T, address string) (at string, came *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	came = &atomic.Int64{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			_ = conn.Close()
		}
	}()
	return l.Addr().String(), came
}

// crowd is many mailboxes with several messages each, in order.
type crowd struct {
	mailboxes []string
	texts     map[string][]string
}

const (
	crowdSize   = 50
	crowdEach   = 3
	poisonedBox = 7 // whose second message nobody digests
)

func newCrowd(t *testing.T, s *realServer, domain string) *crowd {
	t.Helper()
	c := &crowd{texts: map[string][]string{}}
	for i := range crowdSize {
		address := fmt.Sprintf("desk-%02d@%s", i, domain)
		c.mailboxes = append(c.mailboxes, address)
		s.ask(t, http.MethodPost, "/v1/mailboxes", map[string]any{"address": address, "provider": "contoso", "send": map[string]any{"protocol": "smtp"}}, nil)
	}
	return c
}

// write hands over every message: each mailbox its own in their order, many
// mailboxes at once.
func (c *crowd) write(t *testing.T, s *realServer) {
	t.Helper()
	var all sync.WaitGroup
	places := make(chan struct{}, 4)
	for i, address := range c.mailboxes {
		recipients := make([]string, crowdEach)
		for n := range recipients {
			if recipients[n] = fmt.Sprintf("m%d@desk.example", n); i == poisonedBox && n == 1 {
				recipients[n] = "poison@desk.example"
			}
			c.texts[address] = append(c.texts[address], fmt.Sprintf("A message to %s was accepted for sending.", recipients[n]))
		}
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			for _, to := range recipients {
				status, answer, err := s.call(t.Context(), http.MethodPost, "/v1/submissions", realDraft(address, to, "Printer"))
				if err != nil || status/100 != 2 {
					t.Errorf("submit: %d %s %v", status, answer, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// complete waits until a receiver has taken everything of these mailboxes, and
// fails unless that was in order.
func (c *crowd) complete(t *testing.T, name string, a *aReceiver, mailboxes []string) {
	t.Helper()
	crowdAwait(t, name+" has everything", func() bool {
		n := 0
		for _, address := range mailboxes {
			n += len(a.of(address))
		}
		return n == len(mailboxes)*crowdEach
	})
	for _, address := range mailboxes {
		if strings.Join(a.of(address), "\n") != strings.Join(c.texts[address], "\n") {
			t.Errorf("%s got of %s:\n%s", name, address, strings.Join(a.of(address), "\n"))
		}
	}
}

// crowdAwait is realAwait for what many mailboxes take, on a machine that is busy.
func crowdAwait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	realAwaitFor(t, 4*realPatience, what, holds)
}

// hookState is what the API says of a webhook.
type hookState struct {
	Disabled   string `json:"disabled"`
	DisabledBy string `json:"disabled_by"`
	Waiting    int    `json:"waiting"`
	Parked     int    `json:"parked"`
}

func (s *realServer) hook(t *testing.T, name string) hookState {
	t.Helper()
	var h hookState
	s.ask(t, http.MethodGet, "/v1/webhooks/"+name, nil, &h)
	return h
}

// aDelivery is what the API says of a delivery.
type aDelivery struct {
	ID         string `json:"id"`
	State      string `json:"state"`
	Mailbox    string `json:"mailbox"`
	Text       string `json:"text"`
	Attempts   int    `json:"attempts"`
	LastStatus int    `json:"last_status"`
	LastError  string `json:"last_error"`
}

func (s *realServer) deliveriesOf(t *testing.T, name, query string) []aDelivery {
	t.Helper()
	var page struct {
		Items []aDelivery `json:"items"`
	}
	s.ask(t, http.MethodGet, "/v1/webhooks/"+name+"/deliveries?limit=500&"+query, nil, &page)
	return page.Items
}

// told counts the events of a kind that are about a webhook.
func (s *realServer) told(t *testing.T, kind event.Kind, name string) int {
	t.Helper()
	var page struct {
		Items []event.Event `json:"items"`
	}
	s.ask(t, http.MethodGet, "/v1/events?limit=500&kind="+string(kind), nil, &page)
	n := 0
	for _, e := range page.Items {
		if e.Data["webhook"] == name {
			n++
		}
	}
	return n
}
