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
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
)

// envOrders carries the orders of a process that is to be killed, as JSON.
const envOrders = "MAILGRANT_CRASH_ORDERS"

// orders say what a process is: which flow it serves, and where everything is.
type orders struct {
	Flow     string
	Owner    string
	Database string        // path or URL
	Keys     string        // key file
	Ahead    time.Duration // of its clock: the leases of its predecessors have run out
	Lease    time.Duration // zero: the room's own
	Deadline time.Duration // of a token request; zero: the broker's own

	Endpoint        string // of tokens
	Receive, Submit protocol.Endpoint
}

// order is one thing for a process to do, and where to stop on the way.
type order struct {
	Point     string // empty: nowhere
	MailboxID string
	Callers   int

	Mailbox string // address
	Key     string // idempotency key
	Size    int    // of the message to send

	WebhookID string
	Events    int // to write; none: to deliver what waits

	Slept time.Duration // alone: the clock jumps, as it does when a machine wakes
}

const mark = "crash: " // begins each line of the conversation

// say tells the test something.
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

// seams are the named points of a process, of which one may be armed.
type seams struct {
	mu     sync.Mutex
	point  string
	resume chan struct{} // told when a process that waits may go on
}

func (s *seams) arm(point string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.point = point
}

// hit reports that a point is the armed one. It is then armed no more.
func (s *seams) hit(point string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.point != point || point == "" {
		return false
	}
	s.point = ""
	return true
}

// stop is a named point: it says that it was reached and waits for the kill, or
// until the process may go on.
func (s *seams) stop(point string) {
	if s.hit(point) {
		say("reached", nil)
		<-s.resume
	}
}

// told reports a write that the fence has refused.
func (s *seams) told(err error) {
	if fault.Has(err, "work.fenced") {
		say("fenced", nil)
	}
}

// pass is a point that is not waited at: the kill meets what follows somewhere.
func (s *seams) pass(point string) {
	if s.hit(point) {
		say("reached", nil)
	}
}

// ground is what the rooms of every flow stand on.
type ground struct {
	orders
	*seams
	store *store.Store
	keys  *seal.Keyset
	log   *slog.Logger
	slept atomic.Int64 // nanoseconds
}

func (g *ground) now() time.Time { return time.Now().Add(g.Ahead + time.Duration(g.slept.Load())) }

// rooms are what a process runs for its flow.
type rooms interface {
	// do does what is asked and gives what is to be reported.
	do(ctx context.Context, o order) any
	// run works until ctx ends, and drains.
	run(ctx context.Context) error
}

// TestProcess is the process that is killed; it does nothing unless it was
// started by the tests of this package.
func TestProcess(t *testing.T) {
	raw := os.Getenv(envOrders)
	if raw == "" {
		t.Skip("runs only as a process that another test starts")
	}
	g := &ground{seams: &seams{resume: make(chan struct{})}, log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	if err := json.Unmarshal([]byte(raw), &g.orders); err != nil {
		t.Fatal(err)
	}
	var err error
	if g.store, err = store.Open(t.Context(), store.Options{URL: g.Database, Logger: g.log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.store.Close() }) // a store that cannot be closed shows in the tests of the store
	if g.keys, err = seal.OpenKeyset(g.Keys); err != nil {
		t.Fatal(err)
	}
	r, err := flowNamed(g.Flow).rooms(t, g)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.run(ctx) }()
	go g.converse(ctx, r)
	context.AfterFunc(ctx, func() { say("draining", nil) })
	say("ready", nil)
	text := ""
	if err := <-ended; err != nil {
		text = err.Error()
	}
	say("drained", text)
}

// converse does what the test says. The conversation ends when the test that
// started us does: then so do we.
func (g *ground) converse(ctx context.Context, r rooms) {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			g.resume <- struct{}{}
			continue
		}
		if o.Slept != 0 {
			g.slept.Add(int64(o.Slept))
			say("awake", nil)
			continue
		}
		if o.Point != "" {
			g.arm(o.Point)
		}
		go func() { say("outcome", r.do(context.WithoutCancel(ctx), o)) }()
	}
	os.Exit(3)
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
func start(t *testing.T, o orders) (*process, error) {
	encoded, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	p := &process{t: t, cmd: exec.Command(os.Args[0], "-test.run=^TestProcess$", "-test.count=1"), lines: make(chan string, 16), log: &strings.Builder{}}
	p.cmd.Env = append(os.Environ(), envOrders+"="+string(encoded))
	p.cmd.Stderr = p.log
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			if line, ours := strings.CutPrefix(s.Text(), mark); ours {
				p.lines <- line
			}
		}
	}()
	_, err = p.await("ready")
	return p, err
}

// patience is how long a process may take for anything.
const patience = 2 * time.Minute

// await waits for a line that begins so and gives what follows. Others before
// it are passed over.
func (p *process) await(what string) (string, error) {
	limit := time.After(patience)
	for {
		select {
		case line, open := <-p.lines:
			if !open {
				return "", fmt.Errorf("the process ended before it said %q:\n%s", what, p.end())
			}
			if rest, ours := strings.CutPrefix(line, what); ours {
				return strings.TrimPrefix(rest, " "), nil
			}
		case <-limit:
			return "", fmt.Errorf("the process never said %q:\n%s", what, p.end())
		}
	}
}

// order gives a process something to do.
func (p *process) order(o order) error {
	encoded, err := json.Marshal(o)
	if err == nil {
		_, err = p.in.Write(append(encoded, '\n'))
	}
	return err
}

// resume lets a process go on that waits at a point.
func (p *process) resume() error {
	_, err := io.WriteString(p.in, "resume\n")
	return err
}

// outcome waits for what a process reports of an order.
func (p *process) outcome(into any) error {
	raw, err := p.await("outcome")
	if err == nil {
		err = json.Unmarshal([]byte(raw), into)
	}
	return err
}

// wake lets a stopped process go on, whose clock has jumped meanwhile.
func (p *process) wake(slept time.Duration) error {
	p.signal(syscall.SIGCONT)
	if err := p.order(order{Slept: slept}); err != nil {
		return err
	}
	_, err := p.await("awake")
	return err
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

// drain asks a process to end and waits for it.
func (p *process) drain() error {
	p.signal(syscall.SIGTERM)
	text, err := p.await("drained")
	if log := p.end(); err == nil && text != `""` {
		err = fmt.Errorf("the process ended badly: %s\n%s", text, log)
	}
	return err
}
