package broker_test

import (
	"context"
	"sort"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/broker"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// memory is a broker.Store that keeps its contract word for word, for tests in
// synthetic time. It can be made to fail, and counts what it is asked.
type memory struct {
	mu     sync.Mutex
	grants map[string]*mailbox.Grant
	access map[string]mailbox.AccessToken
	events []event.Event
	reads  int
	down   error // every method gives it while set
	onFail func(broker.FailRefresh)
}

func newMemory() *memory {
	return &memory{grants: map[string]*mailbox.Grant{}, access: map[string]mailbox.AccessToken{}}
}

func storeFault(id string, kind fault.Kind) error { return &fault.Error{ID: id, Kind: kind, Text: id} }

func (m *memory) get(id string) (*mailbox.Grant, error) {
	if m.down != nil {
		return nil, m.down
	}
	g, ok := m.grants[id]
	if !ok {
		return nil, storeFault("grant.none", fault.NotFound)
	}
	return g, nil
}

func (m *memory) Grant(_ context.Context, id string) (mailbox.Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	g, err := m.get(id)
	if err != nil {
		return mailbox.Grant{}, err
	}
	return *g, nil
}

func (m *memory) AccessToken(_ context.Context, id, resource string) (mailbox.AccessToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if m.down != nil {
		return mailbox.AccessToken{}, m.down
	}
	return m.access[id+" "+resource], nil
}

func (m *memory) BeginRefresh(_ context.Context, b broker.BeginRefresh) (mailbox.Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g, err := m.get(b.MailboxID)
	switch {
	case err != nil:
		return mailbox.Grant{}, err
	case g.State != mailbox.GrantActive:
		return *g, storeFault("grant.not_active", fault.Dead)
	case g.Lease.Held(b.Now):
		return *g, storeFault("work.leased", fault.Conflict)
	}
	prior := g.Intent
	g.Lease.Owner, g.Lease.Fence, g.Lease.Until = b.Owner, g.Lease.Fence+1, b.Until
	g.Intent = mailbox.Intent{Fence: g.Lease.Fence, Resource: b.Resource, At: b.Now}
	out := *g
	out.Intent = prior
	return out, nil
}

func (m *memory) under(id string, fence int64) (*mailbox.Grant, error) {
	g, err := m.get(id)
	if err == nil && (g.Lease.Fence != fence || g.Lease.Owner == "") {
		return nil, storeFault("work.fenced", fault.Conflict)
	}
	return g, err
}

func (m *memory) FinishRefresh(_ context.Context, f broker.FinishRefresh) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	g, err := m.under(f.MailboxID, f.Fence)
	if err != nil {
		return err
	}
	if !f.RefreshToken.IsZero() {
		g.PreviousToken, g.RefreshToken = g.RefreshToken, f.RefreshToken
	}
	if !f.Access.Sealed.IsZero() {
		m.access[f.MailboxID+" "+f.Access.Resource] = f.Access
	}
	g.Intent, g.Candidate = mailbox.Intent{}, seal.Sealed{}
	if !f.Aside {
		g.Failures, g.Cause, g.CauseText, g.Remedy = 0, "", "", ""
	}
	g.Lease.Owner, g.Lease.Until = "", time.Time{}
	g.NextRefreshAt, g.LastRefreshAt = f.NextRefreshAt, f.Now
	g.SecretsVersion++
	m.events = append(m.events, f.Events...)
	return nil
}

func (m *memory) FailRefresh(_ context.Context, f broker.FailRefresh) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	g, err := m.under(f.MailboxID, f.Fence)
	if err != nil {
		return err
	}
	if m.onFail != nil {
		m.onFail(f)
	}
	if !f.KeepIntent {
		g.Intent = mailbox.Intent{}
	}
	if f.Dead {
		g.State = mailbox.GrantDead
	}
	if !f.Aside {
		g.Failures++
		g.Cause, g.CauseText, g.Remedy = f.Cause, f.CauseText, f.Remedy
	}
	g.NextRefreshAt = f.NextRefreshAt
	g.Lease.Owner, g.Lease.Until = "", time.Time{}
	m.events = append(m.events, f.Events...)
	return nil
}

func (m *memory) KeepLateAnswer(_ context.Context, id string, candidate seal.Sealed, e event.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	g, err := m.get(id)
	if err != nil {
		return err
	}
	g.Candidate = candidate
	g.SecretsVersion++
	m.events = append(m.events, e)
	return nil
}

func (m *memory) Due(_ context.Context, now time.Time, limit int) ([]broker.Due, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return nil, m.down
	}
	var due []broker.Due
	for id, g := range m.grants {
		if g.State == mailbox.GrantActive && !g.NextRefreshAt.After(now) && !g.Lease.Held(now) {
			due = append(due, broker.Due{MailboxID: id, At: g.NextRefreshAt})
		}
	}
	sort.Slice(due, func(i, j int) bool { return due[i].At.Before(due[j].At) })
	return due[:min(limit, len(due))], nil
}

func (m *memory) NextDue(context.Context) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var next time.Time
	for _, g := range m.grants {
		if g.State == mailbox.GrantActive && (next.IsZero() || g.NextRefreshAt.Before(next)) {
			next = g.NextRefreshAt
		}
	}
	return next, m.down
}

// edit changes a grant behind the broker's back, as another process would.
func (m *memory) edit(id string, change func(*mailbox.Grant)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m.grants[id])
	m.grants[id].SecretsVersion++
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

func (m *memory) kinds() []event.Kind {
	m.mu.Lock()
	defer m.mu.Unlock()
	var kinds []event.Kind
	for _, e := range m.events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func (m *memory) last() event.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.events) == 0 {
		return event.Event{}
	}
	return m.events[len(m.events)-1]
}
