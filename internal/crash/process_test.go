package crash_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/broker"
	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
)

// envOrders carries the orders of a process that is to be killed, as JSON.
const envOrders = "MAILGRANT_CRASH_ORDERS"

// orders tell a process what to do.
type orders struct {
	Owner     string
	Database  string // path or URL
	Keys      string // key file
	Endpoint  string
	MailboxID string
	Point     string // where to stop and wait for the kill; empty: nowhere
	Callers   int
	Deadline  time.Duration // of the request; zero: the broker's default
	Lease     time.Duration

	resume chan struct{} // told when a process that waits may go on
}

// outcome is what a process that was not killed reports.
type outcome struct {
	Lent   map[string]int // access tokens lent, by value: they are the test's own
	Faults map[string]int // by ID
}

const mark = "crash: " // begins each line of the conversation

// TestProcess is the process that is killed; it does nothing unless it was
// started by the tests of this package.
func TestProcess(t *testing.T) {
	raw := os.Getenv(envOrders)
	if raw == "" {
		t.Skip("runs only as a process that another test starts")
	}
	var o orders
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		t.Fatal(err)
	}
	// The conversation ends when the test that started us does: then so do we.
	begin := make(chan struct{})
	o.resume = make(chan struct{})
	go func() {
		in := bufio.NewScanner(os.Stdin)
		in.Scan()
		close(begin)
		for in.Scan() { // until it is closed
			o.resume <- struct{}{}
		}
		os.Exit(3)
	}()
	b := o.wire(t)
	say("ready", nil)
	<-begin
	out := outcome{Lent: map[string]int{}, Faults: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range o.Callers {
		wg.Go(func() {
			token, err := borrow(t.Context(), b, o.MailboxID)
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
	say("outcome", out)
}

// borrow asks until it is lent a token or the grant has ended.
func borrow(ctx context.Context, b *broker.Broker, mailboxID string) (seal.Secret, error) {
	limit := time.After(2 * time.Minute)
	for {
		token, _, err := b.Lend(ctx, mailboxID, provider.ResourceMail, time.Minute)
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

func say(what string, value any) {
	line := mark + what
	if value != nil {
		encoded, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		line += " " + string(encoded)
	}
	fmt.Println(line)
}

// stop is a named point: it says that it was reached and waits for the kill.
func (o orders) stop(point string) {
	if o.Point != point {
		return
	}
	say("reached", nil)
	select {}
}

// wire joins the real broker to the real store, with the seams between.
func (o orders) wire(t *testing.T) *broker.Broker {
	t.Helper()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	s, err := store.Open(t.Context(), store.Options{URL: o.Database, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a store that cannot be closed shows in the tests of the store
	keys, err := seal.OpenKeyset(o.Keys)
	if err != nil {
		t.Fatal(err)
	}
	client, err := egress.New(egress.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(broker.Options{
		Store:     seamedStore{s, o},
		Directory: directory{s, kind{o: o, endpoint: oauth.TokenEndpoint{URL: o.Endpoint, ClientID: "crash", HTTP: client}}},
		Keys:      keys, Owner: o.Owner, Logger: log, RequestDeadline: o.Deadline, Lease: o.Lease,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// seamedStore stops before and after the writes of a renewal.
type seamedStore struct {
	*store.Store
	o orders
}

func (s seamedStore) BeginRefresh(ctx context.Context, b broker.BeginRefresh) (mailbox.Grant, error) {
	s.o.stop(beforeIntent)
	g, err := s.Store.BeginRefresh(ctx, b)
	if err == nil {
		s.o.stop(afterIntent)
	}
	return g, err
}

func (s seamedStore) FinishRefresh(ctx context.Context, f broker.FinishRefresh) error {
	s.o.stop(answerReceived)
	switch s.o.Point {
	case whileStoring:
		say("reached", nil) // and goes on: the kill meets the commit somewhere
	case pausedWithAnswer:
		say("reached", nil)
		<-s.o.resume
	}
	err := s.Store.FinishRefresh(ctx, f)
	if err == nil {
		s.o.stop(afterStore)
	}
	return err
}

func (s seamedStore) FailRefresh(ctx context.Context, f broker.FailRefresh) error {
	s.o.stop(failureReceived)
	err := s.Store.FailRefresh(ctx, f)
	if err == nil {
		s.o.stop(afterFailureStored)
	}
	return err
}

// directory reads mailboxes from the store; every provider is the strict one.
type directory struct {
	*store.Store
	kind kind
}

func (d directory) Registration(context.Context, string) (provider.Kind, provider.Registration, error) {
	return d.kind, provider.Registration{Record: provider.Record{Name: "strict", Version: 1}}, nil
}

// kind is as little of a provider as a renewal needs, over the real OAuth client.
type kind struct {
	provider.Kind
	o        orders
	endpoint oauth.TokenEndpoint
}

func (k kind) Resources(provider.Record, []provider.Use, string) ([]provider.Resource, error) {
	return []provider.Resource{{Name: provider.ResourceMail, Scopes: []string{"mail"}}}, nil
}

func (k kind) Refresh(ctx context.Context, _ provider.Registration, refreshToken seal.Secret, r provider.Resource) (provider.Tokens, error) {
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

// process is a started one, seen from the test.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // without mark; closed at its end
	log   *strings.Builder
}

// start starts a process and waits until it is ready.
func start(t *testing.T, o orders) *process {
	t.Helper()
	encoded, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(os.Args[0], "-test.run=^TestProcess$", "-test.count=1"), lines: make(chan string, 16), log: &strings.Builder{}}
	p.cmd.Env = append(os.Environ(), envOrders+"="+string(encoded))
	p.cmd.Stderr = p.log
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			if line, ours := strings.CutPrefix(s.Text(), mark); ours {
				p.lines <- line
			}
		}
	}()
	if line := p.next(); line != "ready" {
		t.Errorf("the process said %q, not that it is ready:\n%s", line, p.end())
	}
	return p
}

// patience is how long a process may take for anything.
const patience = 3 * time.Minute

// next is the next line; empty when the process has ended or takes too long.
func (p *process) next() string {
	select {
	case line := <-p.lines:
		return line
	case <-time.After(patience):
		return ""
	}
}

// begin lets a process begin, or go on where it waits.
func (p *process) begin() {
	if _, err := io.WriteString(p.in, "begin\n"); err != nil {
		p.t.Errorf("begin: %v", err)
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("send %v: %v", s, err)
	}
}

// end kills the process, waits for it and gives its log.
func (p *process) end() string {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()         // and how does not matter
	return p.log.String()
}

// outcome waits for the report of a process that nobody kills.
func (p *process) outcome() outcome {
	p.t.Helper()
	line := p.next()
	log := p.end()
	var out outcome
	raw, ok := strings.CutPrefix(line, "outcome ")
	if !ok || json.Unmarshal([]byte(raw), &out) != nil {
		p.t.Errorf("the process reported %q:\n%s", line, log)
	}
	return out
}
