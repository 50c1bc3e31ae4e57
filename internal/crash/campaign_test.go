package crash_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/testbed"
)

// The points at which a process dies.
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
	anywhere           = "anywhere" // after a random time
)

// pausedWithAnswer is where a process is paused, not killed.
const pausedWithAnswer = "paused_with_answer"

func points() []string {
	return []string{
		beforeIntent, afterIntent, requestOnWire, answerOnWire, answerReceived, whileStoring, afterStore,
		failureReceived, afterFailureStored, anywhere,
	}
}

// mayLose says where a strict rotation can cost the grant: its answer is under
// way, or arrived and not in the database. It must be named there, and may happen nowhere else.
func mayLose(point string) bool {
	return slices.Contains([]string{answerOnWire, answerReceived, whileStoring, anywhere}, point)
}

func TestKill_AtEachPoint_SQLite(t *testing.T) {
	campaign(t, eachPoint(), sqlite)
}

func TestKill_AtEachPoint_PostgreSQL(t *testing.T) {
	if testing.Short() {
		t.Skip("PostgreSQL is left out under -short")
	}
	campaign(t, eachPoint(), postgres)
}

// TestCampaign kills MAILGRANT_KILLS times on each database, at random points.
func TestCampaign(t *testing.T) {
	kills, err := strconv.Atoi(os.Getenv("MAILGRANT_KILLS"))
	if err != nil || kills < 1 {
		t.Skip("set MAILGRANT_KILLS=500 to kill as often on each database (make crash)")
	}
	plan := make([]string, kills)
	for i := range plan {
		plan[i] = points()[rand.IntN(len(points()))]
	}
	t.Run("SQLite", func(t *testing.T) { campaign(t, plan, sqlite) })
	t.Run("PostgreSQL", func(t *testing.T) { campaign(t, plan, postgres) })
}

func eachPoint() []string {
	times := 5
	if testing.Short() {
		times = 1
	}
	var plan []string
	for range times {
		plan = append(plan, points()...)
	}
	return plan
}

func sqlite(t *testing.T) string { return filepath.Join(t.TempDir(), "mailgrant.db") }

func postgres(t *testing.T) string { return testbed.StartPostgres(t).NewDatabase(t) }

// lanes is how many kills are under way at once, each lane with a database of its own.
const lanes = 4

// campaign kills as planned and prints what became of the grants.
func campaign(t *testing.T, plan []string, database func(*testing.T) string) {
	t.Helper()
	server := startStrict(t)
	keys := filepath.Join(t.TempDir(), "keys.json")
	work := make(chan string, len(plan))
	for _, point := range plan {
		work <- point
	}
	close(work)
	table := newTable()
	var wg sync.WaitGroup
	for range min(lanes, len(plan)) {
		l := newLane(t, server, database(t), keys)
		wg.Go(func() {
			for point := range work {
				table.add(point, l.kill(point))
			}
		})
	}
	wg.Wait()
	t.Logf("kill -9, strict rotation:\n%s", table)
}

// lane is a database with what is needed to fill it and to look into it.
type lane struct {
	t        *testing.T
	server   *strict
	store    *store.Store
	database string
	keyFile  string
	keys     *seal.Keyset
}

func newLane(t *testing.T, server *strict, database, keyFile string) *lane {
	t.Helper()
	keys, err := seal.OpenKeyset(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	l := &lane{t: t, server: server, database: database, keyFile: keyFile, keys: keys}
	if l.store, err = store.Open(t.Context(), store.Options{URL: database}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.store.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Now()
	err = l.store.SaveProvider(t.Context(), connect.SaveProvider{
		Record: provider.Record{ID: event.NewID(), Name: "strict", Kind: "generic", ClientID: "crash", Version: 1, CreatedAt: now, UpdatedAt: now},
		Event:  event.New(now, event.ProviderCreated, event.System(), "The provider strict was added."),
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// grant stores a mailbox with a grant of a family and gives the mailbox's ID.
func (l *lane) grant(f *family) (string, error) {
	now := time.Now()
	id := event.NewID()
	m := mailbox.Mailbox{
		ID: id, Address: id + "@strict.example", Provider: "strict", GrantType: "authorization_code", ActsAs: "owner",
		Receive: &mailbox.Receive{Protocol: protocol.IMAP, Folders: []string{"INBOX"}, Mode: mailbox.ModePush}, Version: 1, CreatedAt: now, UpdatedAt: now,
	}
	told := event.New(now, event.MailboxCreated, event.System(), "The mailbox was added.").About(id, m.Address)
	if err := l.store.SaveMailbox(l.t.Context(), connect.SaveMailbox{Mailbox: m, Events: []event.Event{told}}); err != nil {
		return "", err
	}
	sealed, err := l.keys.Seal(seal.NewSecret(l.server.begin(id, f)), seal.Where("grant", id, "refresh_token"))
	if err != nil {
		return "", err
	}
	return id, l.store.Adopt(l.t.Context(), connect.Adoption{
		Grant: mailbox.Grant{
			MailboxID: id, State: mailbox.GrantActive, Verdict: mailbox.VerdictMatch, Subject: provider.Subject{Issuer: "strict", Subject: id},
			Display: m.Address, ConnectedAt: now, ConnectedBy: "test", RefreshToken: sealed, NextRefreshAt: now.Add(time.Hour),
		},
		IfMailboxVersion: 1, IfProviderVersion: 1, Now: now,
		Events: []event.Event{event.New(now, event.GrantCreated, event.System(), "The mailbox has its first grant.").About(id, m.Address)},
	})
}

// honoured reports whether the server honours the current refresh token of the grant.
func (l *lane) honoured(id string) (mailbox.Grant, bool, error) {
	g, err := l.store.Grant(l.t.Context(), id)
	if err != nil {
		return g, false, err
	}
	current, err := l.keys.Unseal(g.RefreshToken, seal.Where("grant", id, "refresh_token"))
	return g, err == nil && l.server.honours(current.Reveal()), err
}

// What became of a grant.
const (
	recovered = "recovered"
	named     = "named"
	failed    = "FAILED"
)

// kill lets a process die at a point, starts another, and judges.
func (l *lane) kill(point string) string {
	f := &family{unavailable: point == failureReceived || point == afterFailureStored}
	meet := newRendezvous()
	switch point {
	case requestOnWire:
		f.arrived = meet
	case answerOnWire:
		f.processed = meet
	}
	id, err := l.grant(f)
	if err != nil {
		l.t.Errorf("%s: prepare: %v", point, err)
		return failed
	}
	o := orders{
		Owner: "killed", Database: l.database, Keys: l.keyFile, Endpoint: l.server.url, MailboxID: id, Point: point, Callers: 1,
		Deadline: 1500 * time.Millisecond, Lease: 2 * time.Second,
	}
	p := start(l.t, o)
	p.begin()
	switch point {
	case requestOnWire, answerOnWire:
		select {
		case <-meet.reached:
		case <-time.After(patience):
			l.t.Errorf("%s: no request came:\n%s", point, p.end())
			return failed
		}
	case anywhere:
		<-time.After(time.Duration(rand.Int64N(int64(40 * time.Millisecond))))
	default:
		if line := p.next(); line != "reached" {
			l.t.Errorf("%s: the process said %q:\n%s", point, line, p.end())
			return failed
		}
	}
	if point == whileStoring {
		<-time.After(time.Duration(rand.Int64N(int64(10 * time.Millisecond))))
	}
	p.end()
	close(meet.killed)
	return l.judge(point, id, o)
}

// judge looks at what is left and lets another process go on.
func (l *lane) judge(point, id string, o orders) string {
	_, honoured, err := l.honoured(id)
	if err != nil {
		l.t.Errorf("%s: read the grant: %v", point, err)
		return failed
	}
	o.Owner, o.Point = "next", ""
	p := start(l.t, o)
	p.begin()
	out := p.outcome()
	after, still, err := l.honoured(id)
	if err != nil {
		l.t.Errorf("%s: read the grant: %v", point, err)
		return failed
	}
	switch {
	// A PostgreSQL that had the commit in its hands may finish it after the process is gone, and
	// after our first look.
	case len(out.Lent) == 1 && len(out.Faults) == 0 && still && after.State == mailbox.GrantActive:
		return recovered
	case !honoured && mayLose(point) && out.Faults["grant.lost_answer"] == 1 && after.State == mailbox.GrantDead && after.Cause == "grant.lost_answer":
		return named
	}
	l.t.Errorf("%s: the server honoured the stored refresh token: %v before, %v after; lent %v, faults %v; the grant is %s because of %q: %s\n%s",
		point, honoured, still, out.Lent, out.Faults, after.State, after.Cause, after.CauseText, p.log)
	return failed
}

// table counts what became of the grants, by point.
type table struct {
	mu     sync.Mutex
	counts map[string]map[string]int
}

func newTable() *table { return &table{counts: map[string]map[string]int{}} }

func (t *table) add(point, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts[point] == nil {
		t.counts[point] = map[string]int{}
	}
	t.counts[point][what]++
}

func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(point string, c map[string]int) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t\n", point, c[recovered]+c[named]+c[failed], c[recovered], c[named], c[failed])
	}
	fmt.Fprintln(w, "point\tkills\trecovered\tnamed\tfailed\t")
	sum := map[string]int{}
	for _, point := range points() {
		for what, n := range t.counts[point] {
			sum[what] += n
		}
		line(point, t.counts[point])
	}
	line("all", sum)
	_ = w.Flush() // into memory
	return b.String()
}
