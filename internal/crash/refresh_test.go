package crash_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/broker"
	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
)

// The points of a renewal.
const (
	beforeIntent       = "before_intent"
	afterIntent        = "after_intent"
	requestOnWire      = "request_on_the_wire" // sent, and not yet processed
	answerOnWire       = "answer_on_the_wire"  // processed, and not yet received
	answerReceived     = "answer_received_before_store"
	whileStoring       = "while_storing" // somewhere in the commit
	afterStore         = "after_store_before_use"
	failureReceived    = "after_failure_before_store"
	afterFailureStored = "after_failure_stored"
)

const refreshLease = 2 * time.Second

func refreshFlow() flow {
	return flow{
		name: "refresh", lease: refreshLease, rooms: refreshRooms, stage: refreshStage,
		points: []string{
			beforeIntent, afterIntent, requestOnWire, answerOnWire, answerReceived, whileStoring, afterStore,
			failureReceived, afterFailureStored, anywhere,
		},
	}
}

// mayLose says where a strict rotation can cost the grant: its answer is under
// way, or arrived and not in the database. It must be named there, and may happen nowhere else.
func mayLose(point string) bool {
	return slices.Contains([]string{answerOnWire, answerReceived, whileStoring, anywhere}, point)
}

// refreshing is the broker of a process, with seams around its store.
type refreshing struct {
	g      *ground
	broker *broker.Broker
}

func refreshRooms(_ *testing.T, g *ground) (rooms, error) {
	client, err := egress.New(egress.Options{})
	if err != nil {
		return nil, err
	}
	b, err := broker.New(broker.Options{
		Store:     refreshStore{g.store, g.seams},
		Directory: authority{g.store, strictKind{endpoint: oauth.TokenEndpoint{URL: g.Endpoint, ClientID: "crash", HTTP: client}}},
		Keys:      g.keys, Owner: g.Owner, Logger: g.log, Now: g.now, RequestDeadline: g.Deadline, Lease: g.Lease,
	})
	return refreshing{g, b}, err
}

func (r refreshing) run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// lent is what came of borrowing.
type lent struct {
	Lent   map[string]int // access tokens, by value: they are the test's own
	Faults map[string]int // by ID
}

func (r refreshing) do(ctx context.Context, o order) any {
	out := lent{Lent: map[string]int{}, Faults: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range o.Callers {
		wg.Go(func() {
			token, err := r.borrow(ctx, o.MailboxID)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				out.Faults[fault.Of(err).ID]++
				return
			}
			out.Lent[token.Reveal()]++
		})
	}
	wg.Wait()
	return out
}

// borrow asks until it is lent a token or the grant has ended.
func (r refreshing) borrow(ctx context.Context, mailboxID string) (seal.Secret, error) {
	limit := time.After(5 * time.Minute)
	for {
		token, _, err := r.broker.Lend(ctx, mailboxID, provider.ResourceMail, time.Minute)
		if err == nil || fault.KindOf(err) == fault.Dead {
			return token, err
		}
		select {
		case <-limit:
			return token, err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// refreshStore stops before and after the writes of a renewal.
type refreshStore struct {
	*store.Store
	s *seams
}

func (s refreshStore) BeginRefresh(ctx context.Context, b broker.BeginRefresh) (mailbox.Grant, error) {
	s.s.stop(beforeIntent)
	g, err := s.Store.BeginRefresh(ctx, b)
	if err == nil {
		s.s.stop(afterIntent)
	}
	return g, err
}

func (s refreshStore) FinishRefresh(ctx context.Context, f broker.FinishRefresh) error {
	s.s.stop(answerReceived)
	s.s.pass(whileStoring)
	err := s.Store.FinishRefresh(ctx, f)
	if err == nil {
		s.s.stop(afterStore)
	}
	return err
}

func (s refreshStore) FailRefresh(ctx context.Context, f broker.FailRefresh) error {
	s.s.stop(failureReceived)
	err := s.Store.FailRefresh(ctx, f)
	if err == nil {
		s.s.stop(afterFailureStored)
	}
	return err
}

// authority reads mailboxes from the store; every provider is the strict one.
type authority struct {
	*store.Store
	kind strictKind
}

func (d authority) Registration(context.Context, string) (provider.Kind, provider.Registration, error) {
	return d.kind, provider.Registration{Record: provider.Record{Name: "strict", Version: 1}}, nil
}

// strictKind is as little of a provider as a renewal needs, over the real OAuth client.
type strictKind struct {
	provider.Kind
	endpoint oauth.TokenEndpoint
}

func (k strictKind) Resources(provider.Record, []provider.Use, string) ([]provider.Resource, error) {
	return []provider.Resource{{Name: provider.ResourceMail, Scopes: []string{"mail"}}}, nil
}

func (k strictKind) Refresh(ctx context.Context, _ provider.Registration, refreshToken seal.Secret, r provider.Resource) (provider.Tokens, error) {
	got, err := k.endpoint.Refresh(ctx, refreshToken, r.Scopes)
	if err != nil {
		if f := oauth.Fault(err); f != nil {
			return provider.Tokens{RefreshToken: got.RefreshToken}, f
		}
		return provider.Tokens{}, egress.Classify(err, egress.Target{Setting: "token_endpoint"})
	}
	return provider.Tokens{
		AccessToken: got.AccessToken, RefreshToken: got.RefreshToken, Resource: r.Name, Scopes: r.Scopes,
		ExpiresAt: time.Now().Add(got.ExpiresIn),
	}, nil
}

// renewals is a lane of the flow.
type renewals struct {
	*lane
	server *strict
	family *family // of the grant at work
}

func refreshStage(t *testing.T) func(*lane) play {
	server := startStrict(t)
	return func(l *lane) play { return newRenewals(l, server) }
}

func newRenewals(l *lane, server *strict) *renewals {
	l.orders.Endpoint, l.orders.Deadline, l.orders.Lease = server.url, 1500*time.Millisecond, refreshLease
	return &renewals{lane: l, server: server}
}

// connected stores a mailbox with an active grant.
func (l *lane) connected(id, refreshToken string, change func(*mailbox.Mailbox)) (mailbox.Mailbox, error) {
	now := time.Now()
	m := mailbox.Mailbox{
		ID: id, Address: id + "@strict.example", Provider: "strict", GrantType: "authorization_code", ActsAs: "owner",
		Receive: &mailbox.Receive{Protocol: protocol.IMAP, Folders: []string{"INBOX"}, Mode: mailbox.ModePush}, Version: 1, CreatedAt: now, UpdatedAt: now,
	}
	if change != nil {
		change(&m)
	}
	told := event.New(now, event.MailboxCreated, event.System(), "The mailbox was added.").About(id, m.Address)
	if err := l.store.SaveMailbox(l.t.Context(), connect.SaveMailbox{Mailbox: m, Events: []event.Event{told}}); err != nil {
		return m, err
	}
	sealed, err := l.keys.Seal(seal.NewSecret(refreshToken), seal.Where("grant", id, "refresh_token"))
	if err != nil {
		return m, err
	}
	return m, l.store.Adopt(l.t.Context(), connect.Adoption{
		Grant: mailbox.Grant{
			MailboxID: id, State: mailbox.GrantActive, Verdict: mailbox.VerdictMatch, Subject: provider.Subject{Issuer: "strict", Subject: id},
			Display: m.Address, ConnectedAt: now, ConnectedBy: "test", RefreshToken: sealed, NextRefreshAt: now.Add(time.Hour),
		},
		IfMailboxVersion: 1, IfProviderVersion: 1, Now: now,
		Events: []event.Event{event.New(now, event.GrantCreated, event.System(), "The mailbox has its first grant.").About(id, m.Address)},
	})
}

// grant stores a mailbox with a grant of a family and gives the mailbox's ID.
func (r *renewals) grant(f *family) (string, error) {
	id := event.NewID()
	r.family = f
	_, err := r.connected(id, r.server.begin(id, f), nil)
	return id, err
}

// honoured reports whether the server honours the current refresh token of the grant.
func (r *renewals) honoured(id string) (mailbox.Grant, bool, error) {
	g, err := r.store.Grant(r.t.Context(), id)
	if err != nil {
		return g, false, err
	}
	current, err := r.keys.Unseal(g.RefreshToken, seal.Where("grant", id, "refresh_token"))
	return g, err == nil && r.server.honours(current.Reveal()), err
}

func (r *renewals) begin(p *process, point string, _ int) (*trial, error) {
	f := &family{unavailable: point == failureReceived || point == afterFailureStored}
	var meet *rendezvous
	switch point {
	case requestOnWire:
		meet = newRendezvous()
		f.arrived = meet
	case answerOnWire:
		meet = newRendezvous()
		f.processed = meet
	}
	id, err := r.grant(f)
	if err != nil {
		return nil, err
	}
	if err := p.order(order{MailboxID: id, Point: point, Callers: 1}); err != nil {
		return nil, err
	}
	var left mailbox.Grant // when the process was dead
	return &trial{
		left: func() (err error) {
			left, err = r.store.Grant(r.t.Context(), id)
			return err
		},
		judge: func(next *process) (string, error) { return r.judge(next, point, left) },
	}, reach(p, point, meet, 40*time.Millisecond)
}

func (r *renewals) release() {
	if r.family != nil {
		r.family.arrived.release()
		r.family.processed.release()
	}
}

func (r *renewals) judge(next *process, point string, left mailbox.Grant) (string, error) {
	id := left.MailboxID
	var out lent
	if err := next.order(order{MailboxID: id, Callers: 1}); err != nil {
		return failed, err
	}
	if err := next.outcome(&out); err != nil {
		return failed, err
	}
	after, still, err := r.honoured(id)
	if err != nil {
		return failed, err
	}
	stored, err := r.keys.Unseal(left.RefreshToken, seal.Where("grant", id, "refresh_token"))
	if err != nil {
		return failed, err
	}
	// The endpoint may process what a dead process had sent after we looked: what counts is
	// that it has replaced the token that is left.
	lost := r.server.replaced(stored.Reveal())
	switch {
	// A PostgreSQL that had the commit in its hands may finish it after the process is gone, and
	// after our first look.
	case len(out.Lent) == 1 && len(out.Faults) == 0 && still && after.State == mailbox.GrantActive:
		return recovered, nil
	case lost && mayLose(point) && out.Faults["grant.lost_answer"] == 1 && after.State == mailbox.GrantDead && after.Cause == "grant.lost_answer":
		return named, nil
	}
	return failed, fmt.Errorf("the server had replaced the refresh token that was left: %v, honours the stored one: %v; lent %v, faults %v; the grant is %s because of %q: %s",
		lost, still, out.Lent, out.Faults, after.State, after.Cause, after.CauseText)
}
