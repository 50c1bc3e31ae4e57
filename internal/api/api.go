// Package api is the face for programs: JSON over HTTP under /v1, described by
// OpenAPI 3.1 at /openapi.json, refusals as RFC 9457 problem documents.
//
// A handler translates: request to call, answer to JSON, fault to problem. It
// decides nothing but who may call. Callers are programs with an API key, and
// people on the same host who come through the socket.
package api

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// Reads is what the API looks at beyond the capabilities.
type Reads interface {
	fetch.Archive
	Events(ctx context.Context, f event.Filter) ([]event.Event, error)
	EventPage(ctx context.Context, f event.Filter) (event.Page, error)
	Submission(ctx context.Context, id string) (outbox.Submission, error)
	Submissions(ctx context.Context, f outbox.Filter) (outbox.Page, error)
	Raw(ctx context.Context, submissionID string) (io.ReadCloser, error)
	Grant(ctx context.Context, mailboxID string) (mailbox.Grant, error)
	AccessTokens(ctx context.Context, mailboxID string) ([]mailbox.AccessToken, error)
	QuarantineOf(ctx context.Context, mailboxID string) (*mailbox.Quarantine, error)
}

// Lender lends access tokens.
type Lender interface {
	Lend(ctx context.Context, mailboxID, resource string, minTTL time.Duration) (seal.Secret, time.Time, error)
}

// Outbox accepts submissions, and lets people act on them.
type Outbox interface {
	Submit(ctx context.Context, r outbox.Request) (outbox.Submission, bool, error)
	SendAgain(ctx context.Context, r outbox.Again) (outbox.Submission, bool, error)
	RetryNow(ctx context.Context, id string, by event.Actor) (outbox.Submission, error)
	Cancel(ctx context.Context, id string, by event.Actor) (outbox.Submission, error)
}

// Tester climbs the ladder of a mailbox.
type Tester interface {
	Test(ctx context.Context, address string, o diagnose.TestOptions, yield func(diagnose.Rung)) error
	// Expect says what an access token for this mailbox's mail server has to be.
	Expect(ctx context.Context, m mailbox.Mailbox) (diagnose.Expectation, error)
}

// Keys rotates the sealing key and seals every stored secret anew.
type Keys interface {
	RotateKeys(ctx context.Context, by event.Actor) (resealed int, err error)
}

// Options is what the API is joined to.
type Options struct {
	Connect   *connect.Connect
	Access    *access.Access
	Webhooks  *webhook.Webhooks
	Lender    Lender
	Outbox    Outbox
	Calls     Calls
	Tester    Tester
	Overview  *diagnose.Overview
	Inspector diagnose.Inspector
	Keys      Keys
	// Draining is closed when the server is to end: streams end with it.
	Draining       <-chan struct{}
	Reads          Reads
	TrustedProxies []netip.Prefix
	PublicURL      string
	Version        string
	BodyTime       time.Duration // how long a body may take to arrive; default 30 s, of a message to send ten times that
	Logger         *slog.Logger
	Now            func() time.Time
}

// API serves /v1 and /openapi.json.
type API struct {
	Options
	mux       *http.ServeMux
	huma      huma.API
	described []byte // the OpenAPI document
}

// maxBody bounds a request; a message to send may be as large as Exchange's
// default of 35 MB, which base64 makes half as large again.
const (
	maxBody    = 1 << 20
	maxMessage = 52 << 20
	pageSize   = 50
	maxPage    = 500
)

// New joins the API.
func New(o Options) (*API, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.BodyTime <= 0 {
		o.BodyTime = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &API{Options: o, mux: http.NewServeMux()}
	config := huma.DefaultConfig("Mailgrant", o.Version)
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.Formats = jsonFormat()
	config.CreateHooks = nil // no $schema members and no Link headers
	config.RejectUnknownQueryParameters = true
	config.Info.Description = introduction
	config.Tags = tags()
	config.Servers = []*huma.Server{{URL: o.PublicURL}}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"api_key": {Type: "http", Scheme: "bearer", Description: "An API key, mgk_…"}}
	config.Security = []map[string][]string{{"api_key": {}}}
	config.Transformers = []huma.Transformer{a.problems}
	a.huma = humago.New(a.mux, config)
	a.huma.UseMiddleware(a.authenticate)
	a.providers()
	a.mailboxes()
	a.authorizations()
	a.grants()
	a.tests()
	a.overview()
	a.mail()
	a.submissions()
	a.events()
	a.webhooks()
	a.deliveries()
	a.apps()
	a.declared()
	a.operators()
	a.describeRefusals()
	var err error
	if a.described, err = a.document(); err != nil {
		return nil, err
	}
	a.mux.HandleFunc("GET /openapi.json", a.serveDocument)
	return a, nil
}

// ServeHTTP serves one call.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if p := unreadable(r); p != nil {
		p.write(w)
		return
	}
	if _, pattern := a.mux.Handler(r); pattern == "" {
		a.notFound(w, r)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// methods are those that may stand in an Allow header.
var methods = [...]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete}

// notFound answers where no operation is: 405 where another method would be
// right (RFC 9110 section 15.5.6), else 404.
func (a *API) notFound(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range methods {
		other := r.Clone(r.Context())
		other.Method = m
		if _, pattern := a.mux.Handler(other); pattern != "" {
			allowed = append(allowed, m)
		}
	}
	p := problemOf(&fault.Error{
		ID: "api.no_such_path", Kind: fault.NotFound, Text: "There is nothing at " + r.Method + " " + fault.Shorten(r.URL.Path, 200) + ".",
		Remedy: "See /openapi.json for what there is.",
	})
	if len(allowed) > 0 {
		list := strings.Join(allowed, ", ")
		w.Header().Set("Allow", list)
		p = doorProblem(http.StatusMethodNotAllowed, "")
		p.Remedy = "Use " + list + "; see /openapi.json."
	}
	p.write(w)
}

type callerKey struct{}

// still asks again who the caller is: a stream outlives the moment in which its
// API key and their rights were looked at.
type (
	stillKey struct{}
	still    func(context.Context) (access.Caller, error)
)

// peerKey carries the uid of whoever reached the socket.
type peerKey struct{}

// WithPeer marks a connection as coming from a user of this host.
func WithPeer(ctx context.Context, uid int) context.Context {
	return context.WithValue(ctx, peerKey{}, uid)
}

// Peer gives the uid that WithPeer marked.
func Peer(ctx context.Context) (uid int, ok bool) {
	uid, ok = ctx.Value(peerKey{}).(int)
	return uid, ok
}

// authenticate finds the caller; every operation needs one.
func (a *API) authenticate(ctx huma.Context, next func(huma.Context)) {
	if uid, ok := Peer(ctx.Context()); ok {
		next(huma.WithValue(ctx, callerKey{}, access.Local(uid)))
		return
	}
	key, from := ctx.Header("Authorization"), a.remote(ctx)
	c, err := a.Access.Authenticate(ctx.Context(), key, from)
	if err != nil {
		a.refuse(ctx, err)
		return
	}
	if err := a.Access.Admit(c); err != nil {
		a.refuse(ctx, err)
		return
	}
	next(huma.WithValue(huma.WithValue(ctx, callerKey{}, c), stillKey{}, still(func(now context.Context) (access.Caller, error) {
		return a.Access.Authenticate(now, key, from)
	})))
}

func (a *API) refuse(ctx huma.Context, err error) {
	p := a.problem(ctx.Context(), err)
	ctx.SetHeader("Content-Type", "application/problem+json")
	if c := challenge(p.Status, ctx.Header("Authorization") != ""); c != "" {
		ctx.SetHeader("WWW-Authenticate", c)
	}
	if p.retryAfter > 0 {
		ctx.SetHeader("Retry-After", seconds(p.retryAfter))
	}
	ctx.SetStatus(p.Status)
	_ = json.NewEncoder(ctx.BodyWriter()).Encode(p)
}

// remote is the address of the caller, behind trusted proxies too.
func (a *API) remote(ctx huma.Context) netip.Addr {
	var forwarded []string
	ctx.EachHeader(func(name, value string) {
		if strings.EqualFold(name, "X-Forwarded-For") {
			forwarded = append(forwarded, value)
		}
	})
	return access.RemoteAddr(ctx.RemoteAddr(), forwarded, a.TrustedProxies)
}

// caller is who calls.
func caller(ctx context.Context) access.Caller {
	c, _ := ctx.Value(callerKey{}).(access.Caller)
	return c
}

// find gives a mailbox by the address of a path, if the caller has the right
// there. A caller without the right learns only that.
func (a *API) find(ctx context.Context, address string, right access.Right) (mailbox.Mailbox, error) {
	normal, err := allowed(ctx, address, right)
	if err != nil {
		return mailbox.Mailbox{}, err
	}
	return a.Connect.Mailboxes.Get(ctx, normal)
}

// findID is the same for what is asked many times a second and needs no more
// than the mailbox's ID.
func (a *API) findID(ctx context.Context, address string, right access.Right) (string, error) {
	normal, err := allowed(ctx, address, right)
	if err != nil {
		return "", err
	}
	return a.Connect.Mailboxes.ID(ctx, normal)
}

// allowed gives the normal form of an address at which the caller has the right.
func allowed(ctx context.Context, address string, right access.Right) (string, error) {
	normal, err := normalise(address)
	if err != nil {
		return "", err
	}
	return normal, caller(ctx).Allows(right, normal)
}

// Empty is an answer without a body.
type Empty struct{}

// Out is an answer with a body of T.
type Out[T any] struct{ Body T }

// Page is one page of a list; Next is the cursor of the following one.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"Give it as ?cursor= for the next page; absent on the last."`
}

// Paging is a list's parameters.
type Paging struct {
	Cursor string `query:"cursor" maxLength:"300" doc:"From the previous page's next."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

func (p Paging) limit() int {
	if p.Limit == 0 {
		return pageSize
	}
	return min(p.Limit, maxPage)
}

// paged cuts a page out of a list that is short enough to be read whole.
func paged[T any](all Page[T], p Paging, key func(T) string) Page[T] {
	if p.Cursor != "" {
		at := slices.IndexFunc(all.Items, func(v T) bool { return key(v) == p.Cursor })
		if at < 0 { // it is gone meanwhile
			at = slices.IndexFunc(all.Items, func(v T) bool { return key(v) > p.Cursor }) - 1
		}
		if at < -1 {
			at = len(all.Items) - 1
		}
		all.Items = all.Items[at+1:]
	}
	if len(all.Items) > p.limit() {
		all.Items = all.Items[:p.limit()]
		all.Next = key(all.Items[p.limit()-1])
	}
	return all
}

// register adds one operation with what all share.
func register[I, O any](a *API, id, method, path, summary, tag string, h func(context.Context, *I) (*O, error), amend ...func(*huma.Operation)) {
	op := huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag}, MaxBodyBytes: maxBody, BodyReadTimeout: a.BodyTime}
	for _, f := range amend {
		f(&op)
	}
	if creates(&op) {
		op.Middlewares = append(op.Middlewares, keepKey)
		describeKey(&op)
	}
	h = once(a, &op, h)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, a.problem(ctx, withoutValues(err, bodyOf(in)))
		}
		return out, nil
	})
}

func answers(status int) func(*huma.Operation) {
	return func(o *huma.Operation) { o.DefaultStatus = status }
}
