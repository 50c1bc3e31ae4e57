// Package entra imitates Microsoft Entra ID's v2.0 endpoints over a directory.World: discovery, keys, authorize, token and
// logout, with real pages that work without JavaScript.
//
// The way of an authorization request:
//
//	authorize ──► who is it? ──► sign-in page ─┐
//	                 │    └────► account picker ┼─► in this tenant? ─► consent page ─► code ─► redirect URI
//	                 └─ remembered session ─────┘    (AADSTS50020)      (declined: access_denied)
//
// What happens at "who is it?" is the heart of the imitation: without `prompt`, one remembered session is used silently.
//
// The pages say that they are a sandbox and carry nobody's logo. The package shares no code with any client of it.
package entra

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// Bodies and query strings larger than this are refused.
const largestRequest = 64 << 10

// Server answers for one world. Make it with New.
type Server struct {
	world      *directory.World
	keys       *keyring
	cookieName string

	mu       sync.Mutex
	browsers map[string]*browser
	flows    map[string]*flow
	codes    map[string]*authorizationCode
	refresh  map[string]*refreshToken
	opaque   map[string]AccessToken
}

// New makes a server with fresh signing keys.
func New(world *directory.World) (*Server, error) {
	keys, err := newKeyring()
	if err != nil {
		return nil, err
	}
	return &Server{
		world: world, keys: keys,
		// Browsers do not tell ports apart in cookies, so two sandboxes on one host need two names.
		cookieName: "sandbox-sign-in-" + strings.ToLower(directory.RandomText()[:8]),
		browsers:   make(map[string]*browser), flows: make(map[string]*flow), codes: make(map[string]*authorizationCode),
		refresh: make(map[string]*refreshToken), opaque: make(map[string]AccessToken),
	}, nil
}

// Routes adds the server's endpoints to a mux.
func (s *Server) Routes(mux *http.ServeMux) {
	mux.HandleFunc("/{tenant}/v2.0/.well-known/openid-configuration", s.watched(directory.PointDiscovery, s.serveDiscovery))
	mux.HandleFunc("/{tenant}/discovery/v2.0/keys", s.watched(directory.PointKeys, s.serveKeys))
	mux.HandleFunc("/common/discovery/instance", s.watched(directory.PointDiscovery, s.serveInstance))
	mux.HandleFunc("/{tenant}/oauth2/v2.0/authorize", s.watched(directory.PointAuthorize, s.serveAuthorize))
	mux.HandleFunc("/{tenant}/oauth2/v2.0/token", s.watched(directory.PointToken, s.serveToken))
	mux.HandleFunc("/{tenant}/oauth2/v2.0/logout", s.watched("", s.serveLogout))
	mux.HandleFunc("GET /{$}", s.watched("", s.serveHome))
	mux.HandleFunc("POST /sign-in", s.watched("", s.serveHomeSignIn))
	mux.HandleFunc("GET /error", s.watched("", s.serveErrorCode))
	mux.HandleFunc("POST /{tenant}/login", s.watched("", s.serveSignIn))
	mux.HandleFunc("POST /{tenant}/pick", s.watched("", s.servePick))
	mux.HandleFunc("POST /{tenant}/consent", s.watched("", s.serveConsent))
	mux.Handle("GET /sandbox/assets/", http.StripPrefix("/sandbox/assets/", assets()))
}

// RotateKeys lets a new key sign tokens from now on and withdraws the oldest one.
func (s *Server) RotateKeys() error { return s.keys.rotate() }

// exchange is one request on its way: what is known of it so far, for pages, errors and the list of calls.
type exchange struct {
	http.ResponseWriter
	request       *http.Request
	call          directory.Call
	traceID       string
	correlationID string
	at            time.Time
}

// WriteHeader notes the status for the list of calls.
func (x *exchange) WriteHeader(status int) {
	if x.call.Status == 0 {
		x.call.Status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (s *Server) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{ResponseWriter: w, request: r, traceID: uuid.NewString(), correlationID: uuid.NewString(), at: s.world.Now()}
	for _, given := range []string{r.Header.Get("Client-Request-Id"), r.URL.Query().Get("client-request-id")} {
		if id, err := uuid.Parse(given); err == nil {
			x.correlationID = id.String()
			break
		}
	}
	x.call = directory.Call{At: x.at, Protocol: "http", Method: r.Method, Path: r.URL.Path, Outcome: "ok"}
	if tenant, found := s.world.Tenant(r.PathValue("tenant")); found {
		x.call.TenantID = tenant.ID
	}
	x.Header().Set("X-Ms-Request-Id", x.traceID)
	x.Header().Set("Client-Request-Id", x.correlationID)
	x.Header().Set("X-Content-Type-Options", "nosniff")
	x.Header().Set("Cache-Control", "no-store")
	return x
}

// watched wraps an endpoint with what all have in common: limits, the list of calls and ordered faults.
func (s *Server) watched(point directory.Point, serve func(*exchange)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, largestRequest)
		x := s.begin(w, r)
		defer func() { s.world.RecordCall(x.call) }()
		if err := r.ParseForm(); err != nil || len(r.URL.RawQuery) > largestRequest {
			s.answerProblem(x, point, refuse(90013, "the request cannot be read"))
			return
		}
		if _, repeated := firstRepeated(r.Form); repeated && (point == directory.PointToken || point == directory.PointAuthorize) {
			s.answerProblem(x, point, refuse(90013, "a parameter is included more than once"))
			return
		}
		grantType := ""
		if point == directory.PointToken {
			grantType = r.PostForm.Get("grant_type")
			x.call.GrantType = printable(grantType)
		}
		happening, faulty := s.world.TakeFault(point, grantType)
		if !faulty {
			serve(x)
			return
		}
		s.suffer(x, point, happening, serve)
	}
}

// suffer lets an ordered fault happen to a request.
func (s *Server) suffer(x *exchange, point directory.Point, happening directory.Happening, serve func(*exchange)) {
	note := "fault: " + string(happening.Action)
	switch happening.Action {
	case directory.ActionDelay:
		happening.Wait(x.request.Context())
		serve(x)
	case directory.ActionHang:
		happening.Wait(x.request.Context())
		cut(x)
		x.call.Outcome = note
	case directory.ActionCut:
		cut(x)
		x.call.Outcome = note
	case directory.ActionCutAfter:
		connection := x.ResponseWriter
		x.ResponseWriter = unsent{header: make(http.Header)}
		serve(x)
		x.ResponseWriter = connection
		cut(x)
		x.call.Outcome = note + " (" + x.call.Outcome + ")"
	case directory.ActionStatus:
		if happening.RetryAfterSeconds > 0 {
			x.Header().Set("Retry-After", itoa(happening.RetryAfterSeconds))
		}
		http.Error(x, http.StatusText(happening.Status), happening.Status)
		x.call.Outcome = note
	case directory.ActionRefuse:
		s.answerProblem(x, point, ordered(happening.AADSTS))
		x.call.Outcome = note + " (" + x.call.Outcome + ")"
	}
}

// unsent swallows an answer that will never reach the caller.
type unsent struct{ header http.Header }

func (u unsent) Header() http.Header               { return u.header }
func (u unsent) Write(content []byte) (int, error) { return len(content), nil }
func (u unsent) WriteHeader(int)                   {}

// cut closes the connection without an answer.
func cut(x *exchange) {
	x.call.Status = 0
	connection, _, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		// Only a connection of HTTP/2 cannot be taken over; the sandbox does not speak it.
		x.ResponseWriter.WriteHeader(http.StatusBadGateway)
		return
	}
	_ = connection.Close()
}

// answerProblem refuses in the form that the endpoint's callers read: a page for people, JSON for programs.
func (s *Server) answerProblem(x *exchange, point directory.Point, refusal *problem) {
	x.call.Outcome = refusal.outcome()
	switch point {
	case directory.PointToken, directory.PointDiscovery, directory.PointKeys:
		s.answerErrorJSON(x, refusal)
	default:
		s.showError(x, refusal)
	}
}

// answerErrorJSON writes an error as the token endpoint does.
func (s *Server) answerErrorJSON(x *exchange, refusal *problem) {
	x.call.Outcome = refusal.outcome()
	body := map[string]any{
		"error": refusal.oauth, "error_description": s.description(x, refusal), "error_codes": []int{refusal.aadsts},
		"timestamp": entraTime(x.at), "trace_id": x.traceID, "correlation_id": x.correlationID,
		"error_uri": base(x.request) + "/error?code=" + itoa(refusal.aadsts),
	}
	if refusal.suberror != "" {
		body["suberror"] = refusal.suberror
	}
	answerJSON(x, refusal.status, body)
}

// description is Entra's sentence with the four things one needs to find the event in a sign-in log.
func (s *Server) description(x *exchange, refusal *problem) string {
	return refusal.Error() + " Trace ID: " + x.traceID + " Correlation ID: " + x.correlationID + " Timestamp: " + entraTime(x.at)
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	// The only thing that can fail here is the connection, and then nobody is left to be told.
	_ = json.NewEncoder(w).Encode(body)
}

func entraTime(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05Z") }

// base is the origin at which the caller reached the sandbox; every address in an answer follows it.
func base(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

var unprintable = regexp.MustCompile(`[^\x20-\x7e]`)

// printable keeps a foreign text fit for the list of calls.
func printable(text string) string {
	if len(text) > 100 {
		text = text[:100]
	}
	return unprintable.ReplaceAllString(text, "?")
}
