package fetch_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/imap"
	"github.com/mailgrant/mailgrant/internal/protocol/pop3"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

// byPOP3 is a mailbox of x that is read by POP3, and what follows it.
func byPOP3(t *testing.T, x *protocoltest.Exchange, after string) (*protocoltest.House, mailbox.Mailbox, *fetch.Fetch) {
	t.Helper()
	h := protocoltest.NewHouse(t, x.Bench)
	box := h.Add(t, protocoltest.Adele, func(m *mailbox.Mailbox) {
		m.Receive = &mailbox.Receive{Protocol: protocol.POP3, Folders: []string{"INBOX"}, Mode: mailbox.ModePoll, Every: time.Minute}
		m.AfterReceive = after
	})
	return h, box, follow(t, h, func(o *fetch.Options) {
		o.Readers = func(n protocol.Name) protocol.Reader {
			if n == protocol.IMAP {
				return imap.New()
			}
			return pop3.New()
		}
	})
}

func TestFetch_POP3HandsOnWhatIsNewAndLetsGoOfTheMailbox(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	var want []string
	for i := range 7 { // more than two batches
		want = append(want, fmt.Sprintf("old%d", i))
		deliver(t, x.Bench, protocoltest.Adele, want[i])
	}
	h, box, f := byPOP3(t, x, "keep")
	awaitKept(t, h, want...)
	look := func() {
		t.Helper()
		before := x.Calls("QUIT")
		protocoltest.Await(t, "another look", func() bool { f.Nudge(box.ID); return x.Calls("QUIT") > before })
	}
	look()
	deliver(t, x.Bench, protocoltest.Adele, "new")
	look()
	awaitKept(t, h, append(want, "new")...)
	look()
	if n := h.Count(t, event.MessageReceived); n != 8 || x.Calls("RETR") != 8 {
		t.Errorf("%d events and %d fetches for 8 messages", n, x.Calls("RETR"))
	}
	protocoltest.Await(t, "the connection to end", func() bool { return x.Connections(protocoltest.Adele).POP3 == 0 })
	if n := len(x.Messages(protocoltest.Adele, "INBOX")); n != 8 {
		t.Errorf("%d messages are left of 8", n)
	}
}

func TestFetch_POP3DoublesNothingWhereADeleteIsLost(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	for i := range 4 {
		deliver(t, x.Bench, protocoltest.Adele, fmt.Sprintf("m%d", i))
	}
	x.Break(exchange.FaultPOP3Quit, "")
	h, box, f := byPOP3(t, x, "delete")
	again := x.Calls("AUTH") + 3
	protocoltest.Await(t, "further attempts", func() bool { f.Nudge(box.ID); return x.Calls("AUTH") >= again })
	if n := len(x.Messages(protocoltest.Adele, "INBOX")); n != 4 || len(disposed(t, h, "delete")) != 0 {
		t.Fatalf("%d messages are left of 4, and %d are noted as deleted", n, len(disposed(t, h, "delete")))
	}
	x.Mend()
	protocoltest.Await(t, "the delete", func() bool {
		f.Nudge(box.ID)
		return len(x.Messages(protocoltest.Adele, "INBOX")) == 0 && len(disposed(t, h, "delete")) == 4
	})
	awaitKept(t, h, "m0", "m1", "m2", "m3")
	if n := h.Count(t, event.MessageReceived); n != 4 {
		t.Errorf("%d events for 4 messages", n)
	}
	// What vanished does not take later numbers along.
	deliver(t, x.Bench, protocoltest.Adele, "later")
	protocoltest.Await(t, "the later one", func() bool { f.Nudge(box.ID); return len(kept(t, h)) == 5 })
}

func TestFetch_ChangingFromIMAPToPOP3DoublesNothing(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	deliver(t, x.Bench, protocoltest.Adele, "one")
	h, box, f := byPOP3(t, x, "keep")
	awaitKept(t, h, "one")
	for i, name := range []protocol.Name{protocol.IMAP, protocol.POP3} {
		h.Change(t, box.ID, func(m *mailbox.Mailbox) { m.Receive.Protocol = name })
		deliver(t, x.Bench, protocoltest.Adele, fmt.Sprint("more", i))
		protocoltest.Await(t, "what came later", func() bool { f.Nudge(box.ID); return len(kept(t, h)) == i+2 })
	}
	if n := h.Count(t, event.MessageReceived); n != 3 {
		t.Errorf("%d events for 3 messages", n)
	}
}
