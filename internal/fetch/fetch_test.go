package fetch_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/imap"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

// follow runs a Fetch over a house until the test ends.
func follow(t *testing.T, h *protocoltest.House, change func(*fetch.Options)) *fetch.Fetch {
	t.Helper()
	member := &imap.Client{PollEvery: 100 * time.Millisecond, Silence: 500 * time.Millisecond}
	o := fetch.Options{
		Store: h.Store, Lender: h, Directory: h, Owner: event.NewID(), Lease: 600 * time.Millisecond, Batch: 3,
		Readers: func(n protocol.Name) protocol.Reader {
			if n == protocol.IMAP {
				return member
			}
			return nil
		},
	}
	if change != nil {
		change(&o)
	}
	f := fetch.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(protocoltest.Patience):
			t.Error("Run does not end")
		}
	})
	return f
}

// kept gives the subjects of the stored messages, sorted.
func kept(t *testing.T, h *protocoltest.House) []string {
	t.Helper()
	list, err := h.Messages(t.Context(), fetch.Filter{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range list.Messages {
		out = append(out, m.Parsed.Subject)
	}
	slices.Sort(out)
	return out
}

func awaitKept(t *testing.T, h *protocoltest.House, want ...string) {
	t.Helper()
	slices.Sort(want)
	protocoltest.Await(t, fmt.Sprintf("messages %q", want), func() bool { return slices.Equal(kept(t, h), want) })
}

func deliver(t *testing.T, b protocoltest.Bench, address, subject string) {
	t.Helper()
	b.Deliver(t, address, protocoltest.Letter(address, subject))
}

func TestFetch_HandsOnWhatIsThereAndWhatArrives(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	h := protocoltest.NewHouse(t, x.Bench)
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprintf("old%d", i))
		deliver(t, x.Bench, protocoltest.Adele, want[i])
	}
	h.Add(t, protocoltest.Adele, nil)
	follow(t, h, nil)
	awaitKept(t, h, want...)
	protocoltest.Await(t, "IDLE", func() bool { return x.Calls("IDLE") > 0 })
	start := time.Now()
	deliver(t, x.Bench, protocoltest.Adele, "new")
	awaitKept(t, h, append(want, "new")...)
	if took := time.Since(start); took > time.Second {
		t.Errorf("the arrival took %s", took)
	}
	if n := h.Count(t, event.MessageReceived); n != 11 {
		t.Errorf("%d events for 11 messages", n)
	}
	list, err := h.Messages(t.Context(), fetch.Filter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := h.MessageRaw(t.Context(), list.Messages[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	if b, err := io.ReadAll(raw); err != nil || !strings.HasSuffix(string(b), "Hello, "+protocoltest.Adele+".\r\n") {
		t.Errorf("raw = %q, %v", b, err)
	}
}

func TestFetch_GoesOnAfterItWasStopped(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	h := protocoltest.NewHouse(t, x.Bench)
	h.Add(t, protocoltest.Adele, nil)
	deliver(t, x.Bench, protocoltest.Adele, "first")
	t.Run("first run", func(t *testing.T) {
		follow(t, h, nil)
		awaitKept(t, h, "first")
	})
	deliver(t, x.Bench, protocoltest.Adele, "meanwhile")
	follow(t, h, nil)
	awaitKept(t, h, "first", "meanwhile")
	if n := h.Count(t, event.MessageReceived); n != 2 {
		t.Errorf("%d events for 2 messages", n)
	}
}

func TestFetch_SurvivesWhatServersDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		outcome string
		change  func(*fetch.Options)
		do      func(t *testing.T, x *protocoltest.Exchange)
	}{
		{"a cut connection is made anew", nil, func(_ *testing.T, x *protocoltest.Exchange) { x.CutConnections(protocoltest.Adele) }},
		{"a connection that fell silent is noticed", func(o *fetch.Options) { o.Round = 300 * time.Millisecond }, func(t *testing.T, x *protocoltest.Exchange) {
			before := x.Calls("IDLE")
			x.Break(exchange.FaultIMAPIdleSilent, "")
			protocoltest.Await(t, "a silent IDLE", func() bool { return x.Calls("IDLE") > before+1 })
			x.Mend()
		}},
		{"a folder numbered anew is read without doubling", func(o *fetch.Options) { o.Round = 300 * time.Millisecond }, func(t *testing.T, x *protocoltest.Exchange) {
			if _, err := x.ResetUIDValidity(protocoltest.Adele, "INBOX"); err != nil {
				t.Fatal(err)
			}
			x.CutConnections(protocoltest.Adele)
		}},
		{"a throttled mailbox waits and goes on", nil, func(t *testing.T, x *protocoltest.Exchange) {
			x.Break(exchange.FaultIMAPThrottled, "BAD Request is throttled. Suggested Backoff Time: 200 milliseconds")
			x.CutConnections(protocoltest.Adele)
			before := x.Calls("AUTHENTICATE")
			protocoltest.Await(t, "another attempt", func() bool { return x.Calls("AUTHENTICATE") > before })
			x.Mend()
		}},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			x := protocoltest.StartExchange(t)
			h := protocoltest.NewHouse(t, x.Bench)
			box := h.Add(t, protocoltest.Adele, nil)
			deliver(t, x.Bench, protocoltest.Adele, "before")
			f := follow(t, h, c.change)
			awaitKept(t, h, "before")
			protocoltest.Await(t, "IDLE", func() bool { return x.Calls("IDLE") > 0 })
			c.do(t, x)
			deliver(t, x.Bench, protocoltest.Adele, "after")
			protocoltest.Await(t, "the message after the fault", func() bool {
				f.Nudge(box.ID)
				return slices.Equal(kept(t, h), []string{"after", "before"})
			})
			if n := h.Count(t, event.MessageReceived); n != 2 {
				t.Errorf("%d events for 2 messages", n)
			}
			if n := h.Count(t, event.FetchStopped); n != 0 {
				t.Errorf("a passing fault was told as an outage %d times", n)
			}
		})
	}
}

func TestFetch_TellsOfAnOutageOnce(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	h := protocoltest.NewHouse(t, x.Bench)
	box := h.Add(t, protocoltest.Adele, nil)
	x.Honour(protocoltest.AccessToken(protocoltest.Adele), false)
	f := follow(t, h, nil)
	tries := func(n int) {
		t.Helper()
		protocoltest.Await(t, "attempts", func() bool {
			f.Nudge(box.ID)
			return x.Calls("AUTHENTICATE") >= n
		})
	}
	tries(6)
	protocoltest.Await(t, "the refusal to be told", func() bool { return h.Count(t, event.FetchStopped) == 1 && h.RefusedTimes() >= 2 })
	found, err := h.Events(t.Context(), event.Filter{Patterns: []event.Pattern{"fetch.stopped"}, Limit: 5})
	if err != nil || found[0].Cause != "imap.auth_refused" || found[0].Remedy == "" || found[0].Data["who"] == "" {
		t.Fatalf("%+v, %v", found, err)
	}
	tries(10)
	x.Honour(protocoltest.AccessToken(protocoltest.Adele), true)
	deliver(t, x.Bench, protocoltest.Adele, "at last")
	protocoltest.Await(t, "recovery", func() bool { f.Nudge(box.ID); return h.Count(t, event.FetchResumed) == 1 })
	awaitKept(t, h, "at last")
	if n := h.Count(t, event.FetchStopped); n != 1 {
		t.Errorf("the outage was told %d times", n)
	}
}

func TestFetch_LeavesPausedMailboxesAlone(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	h := protocoltest.NewHouse(t, x.Bench)
	box := h.Add(t, protocoltest.Adele, nil)
	f := follow(t, h, nil)
	protocoltest.Await(t, "IDLE", func() bool { return x.Calls("IDLE") > 0 })
	h.Change(t, box.ID, func(m *mailbox.Mailbox) { m.Paused = true })
	f.Nudge(box.ID)
	protocoltest.Await(t, "the connection to end", func() bool { return x.Connections(protocoltest.Adele).IMAP == 0 })
	deliver(t, x.Bench, protocoltest.Adele, "while paused")
	h.Change(t, box.ID, func(m *mailbox.Mailbox) { m.Paused = false })
	f.Nudge(box.ID)
	awaitKept(t, h, "while paused")
}

func TestFetch_DisposesOnlyAfterHandOver(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	h := protocoltest.NewHouse(t, x.Bench)
	h.Add(t, protocoltest.Adele, func(m *mailbox.Mailbox) { m.AfterReceive = "move: Processed" })
	for i := range 7 {
		deliver(t, x.Bench, protocoltest.Adele, fmt.Sprintf("m%d", i))
	}
	follow(t, h, nil)
	protocoltest.Await(t, "the move", func() bool { return len(x.Messages(protocoltest.Adele, "Processed")) == 7 })
	if got := kept(t, h); len(got) != 7 || len(x.Messages(protocoltest.Adele, "INBOX")) != 0 {
		t.Fatalf("kept %q", got)
	}
	protocoltest.Await(t, "the note of the move", func() bool { return len(disposed(t, h, "move: Processed")) == 7 })
}

// disposed gives the messages of which this is noted.
func disposed(t *testing.T, h *protocoltest.House, what string) []fetch.Message {
	t.Helper()
	list, err := h.Messages(t.Context(), fetch.Filter{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list.Messages, func(m fetch.Message) bool { return !strings.HasPrefix(m.Disposed, what) })
}

func TestFetch_TellsOnceWhatTheServerDoesNotDispose(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	h := protocoltest.NewHouse(t, x.Bench)
	h.Add(t, protocoltest.Adele, func(m *mailbox.Mailbox) { m.AfterReceive = "set on fire" })
	follow(t, h, nil)
	for i := range 3 {
		deliver(t, x.Bench, protocoltest.Adele, fmt.Sprintf("m%d", i))
		protocoltest.Await(t, "the note of the refusal", func() bool { return len(disposed(t, h, "refused: ")) == i+1 })
	}
	if n := h.Count(t, event.DisposeRefused); n != 1 {
		t.Errorf("%d events for one reason", n)
	}
}

func TestFetch_OneBadMailboxDelaysNoOther(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	h := protocoltest.NewHouse(t, x.Bench)
	h.Add(t, protocoltest.Desk, func(m *mailbox.Mailbox) { m.Receive.Server = mailbox.Server{Host: "192.0.2.1"} })
	h.Add(t, protocoltest.Adele, func(m *mailbox.Mailbox) { m.Receive.Mode, m.Receive.Every = mailbox.ModePoll, time.Minute })
	deliver(t, x.Bench, protocoltest.Adele, "unhindered")
	start := time.Now()
	follow(t, h, nil)
	awaitKept(t, h, "unhindered")
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestFetch_ReceivesWithinASecondFromDovecot(t *testing.T) {
	t.Parallel()
	d := protocoltest.StartDebian(t, false)
	for _, m := range []protocol.Mechanism{protocol.XOAUTH2, protocol.OAUTHBEARER} {
		t.Run(string(m), func(t *testing.T) {
			b := d.Bench
			b.Receive.Mechanisms = []protocol.Mechanism{m}
			h := protocoltest.NewHouse(t, b)
			address := strings.ToLower(string(m)) + "@contoso.test"
			h.Add(t, address, nil)
			deliver(t, b, address, "first")
			follow(t, h, nil)
			awaitKept(t, h, "first")
			var fastest time.Duration = time.Hour
			want := []string{"first"}
			for i := range 3 { // the machine is shared: the best of three counts
				want = append(want, fmt.Sprintf("n%d", i))
				start := time.Now()
				deliver(t, b, address, want[len(want)-1])
				awaitKept(t, h, want...)
				fastest = min(fastest, time.Since(start))
			}
			if fastest > time.Second {
				t.Errorf("an arrival took %s", fastest)
			}
		})
	}
}

func TestFetch_OneProcessWatchesAndAnotherTakesOver(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	h := protocoltest.NewHouse(t, x.Bench)
	h.Add(t, protocoltest.Adele, nil)
	t.Run("two processes, one connection", func(t *testing.T) {
		follow(t, h, nil)
		follow(t, h, nil)
		deliver(t, x.Bench, protocoltest.Adele, "first")
		awaitKept(t, h, "first")
		if n := x.Connections(protocoltest.Adele).IMAP; n != 1 {
			t.Errorf("%d connections", n)
		}
	})
	follow(t, h, nil)
	deliver(t, x.Bench, protocoltest.Adele, "second")
	awaitKept(t, h, "first", "second")
}
