package pop3_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/pop3"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

// response is how the line begins that carries an access token, as the script compares it.
const response = "DXNLCJ1"

// replies are a small server with two messages that lets everybody in.
func replies(change map[string]string) protocoltest.Script {
	r := map[string]string{
		"CAPA": "+OK\r\nSASL XOAUTH2\r\nUIDL\r\n.\r\n",
		"AUTH": "+ \r\n", response: "+OK\r\n",
		"STAT": "+OK 2 20\r\n", "UIDL": "+OK\r\n1 a\r\n2 b\r\n.\r\n", "LIST": "+OK\r\n1 10\r\n2 10\r\n.\r\n",
		"RETR 1": "+OK\r\nSubject: one\r\n\r\n.\r\n", "RETR 2": "+OK\r\nSubject: two\r\n\r\n.\r\n",
		"QUIT": "+OK\r\nCLOSE",
	}
	for k, v := range change {
		r[k] = v
	}
	return protocoltest.Script{Greeting: "+OK ready\r\n", Replies: r}
}

func plain(port int) protocol.Endpoint {
	return protocol.Endpoint{Protocol: protocol.POP3, Host: "127.0.0.1", Port: port, TLS: protocol.TLSNone, Setting: "receive"}
}

func owner() protocol.Login { return protocoltest.Owner(protocoltest.Adele) }

func TestProbe_ClimbsToTheOpenMailbox(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	rungs, err := protocoltest.Rungs(protocoltest.Context(t), pop3.New(), x.ByPOP3, owner())
	if err != nil || rungs != "dns tcp tls greeting capability auth open" {
		t.Fatalf("%s, %v", rungs, err)
	}
}

func TestProbe_NamesWhatItMet(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	said := func(command, reply string) func(*testing.T) protocol.Endpoint {
		return func(t *testing.T) protocol.Endpoint {
			return plain(replies(map[string]string{command: reply}).Start(t))
		}
	}
	greeting := func(text string) func(*testing.T) protocol.Endpoint {
		return func(t *testing.T) protocol.Endpoint { return plain(protocoltest.Script{Greeting: text}.Start(t)) }
	}
	starting := func(reply string) func(*testing.T) protocol.Endpoint {
		return func(t *testing.T) protocol.Endpoint {
			at := said("STLS", reply)(t)
			at.TLS = protocol.TLSStart
			return at
		}
	}
	const inside = "dns tcp greeting capability auth!"
	for _, c := range []struct {
		outcome string
		at      func(t *testing.T) protocol.Endpoint
		login   protocol.Login
		rungs   string
		id      string
		kind    fault.Kind
		wait    time.Duration
	}{
		{"an access token that is refused", func(*testing.T) protocol.Endpoint { return x.ByPOP3 }, protocol.Login{User: protocoltest.Adele, AccessToken: seal.NewSecret("stolen")}, "dns tcp tls greeting capability auth!", "pop3.auth_refused", fault.Refused, 0},
		{"a mailbox that the access token does not open", func(*testing.T) protocol.Endpoint { return x.ByPOP3 }, protocol.Login{User: protocoltest.Adele, AccessToken: seal.NewSecret(protocoltest.AccessToken(protocoltest.Desk))}, "dns tcp tls greeting capability auth open!", "pop3.no_mailbox", fault.Temporary, 0},
		{"a server of another protocol", greeting("* OK IMAP\r\n"), owner(), "dns tcp greeting!", "pop3.greeting", fault.Temporary, 0},
		{"a server that is full", greeting("-ERR Too many connections\r\n"), owner(), "dns tcp greeting!", "pop3.too_many_connections", fault.Limited, 2 * time.Minute},
		{"no STLS", starting("-ERR what\r\n"), owner(), "dns tcp greeting", "pop3.no_starttls", fault.Refused, 0},
		{"plain text behind the agreement to STLS", starting("+OK go\r\n+OK\r\nSASL PLAIN\r\n"), owner(), "dns tcp greeting tls!", "net.tls_injection", fault.Temporary, 0},
		{"passwords only", said("CAPA", "+OK\r\nSASL PLAIN\r\nUSER\r\n.\r\n"), owner(), "dns tcp greeting capability!", "pop3.no_mechanism", fault.Refused, 0},
		{"no CAPA at all", said("CAPA", "-ERR what\r\n"), owner(), "dns tcp greeting capability!", "pop3.no_mechanism", fault.Refused, 0},
		{"capabilities without end", said("CAPA", "+OK\r\n"+strings.Repeat("X\r\n", 300)), owner(), "dns tcp greeting capability!", "pop3.garbled", fault.Temporary, 0},
		{"Exchange's refusal", said(response, "-ERR Authentication failure: unknown user name or bad password.\r\n"), owner(), inside, "pop3.auth_refused", fault.Refused, 0},
		{"Exchange's other refusal", said(response, "-ERR Logon failure: unknown user name or bad password.\r\n"), owner(), inside, "pop3.auth_refused", fault.Refused, 0},
		{"RFC 3206: AUTH", said(response, "-ERR [AUTH] try again with another one\r\n"), owner(), inside, "pop3.auth_refused", fault.Refused, 0},
		{"RFC 3206: SYS/TEMP", said(response, "-ERR [SYS/TEMP] no\r\n"), owner(), inside, "pop3.unavailable", fault.Temporary, 0},
		{"RFC 3206: SYS/PERM", said(response, "-ERR [SYS/PERM] no\r\n"), owner(), inside, "pop3.broken", fault.Refused, 0},
		{"Gmail's switch", said(response, "-ERR [SYS/PERM] Your account is not enabled for POP access.\r\n"), owner(), inside, "pop3.switched_off", fault.Refused, 0},
		{"RFC 2449: IN-USE", said(response, "-ERR [in-use] held\r\n"), owner(), inside, "pop3.in_use", fault.Temporary, time.Minute},
		{"RFC 2449: LOGIN-DELAY, with its time", func(t *testing.T) protocol.Endpoint {
			return plain(replies(map[string]string{"CAPA": "+OK\r\nSASL XOAUTH2\r\nLOGIN-DELAY 900 USER\r\n.\r\n", response: "-ERR [LOGIN-DELAY] wait\r\n"}).Start(t))
		}, owner(), inside, "pop3.login_delay", fault.Limited, 15 * time.Minute},
		{"a throttled mailbox", said(response, "-ERR Request is throttled. Suggested Backoff Time: 299990 milliseconds\r\n"), owner(), inside, "pop3.throttled", fault.Limited, 299990 * time.Millisecond},
		{"a second challenge", said(response, "+ e30=\r\n+ e30=\r\n"), owner(), inside, "pop3.garbled", fault.Temporary, 0},
		{"no UIDL", said("UIDL", "-ERR unknown command\r\n"), owner(), "dns tcp greeting capability auth open!", "pop3.no_uidl", fault.Refused, 0},
		{"an unreadable UIDL", said("UIDL", "+OK\r\n1 a b\r\n.\r\n"), owner(), "dns tcp greeting capability auth open!", "pop3.garbled", fault.Temporary, 0},
		{"a line without end", said("STAT", "+OK "+strings.Repeat("1", 20_000)), owner(), "dns tcp greeting capability auth open!", "pop3.garbled", fault.Temporary, 0},
		{"a connection that ends", said("STAT", ""), owner(), "dns tcp greeting capability auth open!", "net.closed", fault.Temporary, 0},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			rungs, err := protocoltest.Rungs(protocoltest.Context(t), pop3.New(), c.at(t), c.login)
			f := fault.Of(err)
			if f == nil || rungs != c.rungs || f.ID != c.id || f.Kind != c.kind || f.RetryAfter != c.wait || f.Remedy == "" {
				t.Fatalf("%s: %+v", rungs, err)
			}
		})
	}
}

func TestProbe_SaysWhyAMechanismWasRefused(t *testing.T) {
	t.Parallel()
	challenge := "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=" // {"status":"invalid_token"}
	script := replies(map[string]string{response: "+ " + challenge + "\r\n"})
	script.Replies[" "] = "-ERR no\r\n" // the empty line that answers a challenge
	_, err := protocoltest.Rungs(protocoltest.Context(t), pop3.New(), plain(script.Start(t)), owner())
	if f := fault.Of(err); f == nil || f.ID != "pop3.auth_refused" || f.Detail.Subcode != "invalid_token" {
		t.Fatalf("%+v", err)
	}
}

func open(t *testing.T, at protocol.Endpoint) protocol.Snapshot {
	t.Helper()
	r, err := pop3.New().OpenReader(protocoltest.Context(t), at, owner())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if _, err := r.Select(protocoltest.Context(t), "INBOX"); err != nil {
		t.Fatal(err)
	}
	return r.(protocol.Snapshot)
}

// since gives what is yielded, as "UID raw".
func since(t *testing.T, r protocol.Reading, after uint32) ([]string, error) {
	t.Helper()
	var got []string
	err := r.Since(protocoltest.Context(t), after, 100, func(m message.Received) error {
		if m.Raw == nil {
			got = append(got, fmt.Sprint(m.UID, " nothing"))
		} else {
			got = append(got, fmt.Sprint(m.UID, " ", string(m.Raw)))
		}
		return nil
	})
	return got, err
}

func TestSince_GivesMessagesAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ outcome, sent, want string }{
		{"dots that were stuffed in", "a\r\n..\r\n..b\r\n...c\r\n.\r\n", "a\r\n.\r\n.b\r\n..c\r\n"},
		{"nothing", ".\r\n", ""},
		{"a dot behind a bare line feed ends nothing", "a\n.\r\n+OK fooled\r\n.\r\n", "a\n.\r\n+OK fooled\r\n"},
		{"a line longer than any buffer", strings.Repeat("x", 100_000) + "\r\n.\r\n", strings.Repeat("x", 100_000) + "\r\n"},
		{"a line end across the end of the buffer", strings.Repeat("x", 8191) + "\r\n..\r\n.\r\n", strings.Repeat("x", 8191) + "\r\n.\r\n"},
		{"bytes of any kind", "\x00\xff\r\n.\r\n", "\x00\xff\r\n"},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			r := open(t, plain(replies(map[string]string{"RETR 1": "+OK\r\n" + c.sent}).Start(t)))
			got, err := since(t, r, 0)
			if err != nil || len(got) != 2 || got[0] != "1 "+c.want || got[1] != "2 Subject: two\r\n\r\n" {
				t.Fatalf("%.200q, %v", got, err)
			}
		})
	}
}

func TestSince_TooLargeMessagesStayAtTheServer(t *testing.T) {
	t.Parallel()
	r := open(t, plain(replies(map[string]string{"LIST": fmt.Sprintf("+OK\r\n1 %d\r\n2 10\r\n.\r\n", pop3.MaxMessage+1), "RETR 1": ""}).Start(t)))
	got, err := since(t, r, 0)
	if err != nil || len(got) != 2 || got[0] != "1 nothing" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestSince_OneMessageThatIsRefusedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	port := replies(map[string]string{"RETR 1": "-ERR Message corrupted\r\n"}).Start(t)
	for range 2 { // and the next look asks for it again
		r := open(t, plain(port))
		if gone := r.Remember(map[string]uint32{"z": 4}, 7); len(gone) != 1 || gone[0] != "z" {
			t.Fatalf("gone: %q", gone)
		}
		got, err := since(t, r, 7)
		if err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "9 Subject: two") {
			t.Fatalf("%q, %v", got, err)
		}
		if got, err = since(t, r, 9); !fault.Has(err, "pop3.message_refused") || len(got) != 0 {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func TestSince_WhatVanishedIsPassedOver(t *testing.T) {
	t.Parallel()
	r := open(t, plain(replies(map[string]string{"RETR 1": "-ERR no such message\r\n"}).Start(t)))
	if got, err := since(t, r, 0); err != nil || len(got) != 1 {
		t.Fatalf("%q, %v", got, err)
	}
	if got, err := since(t, r, 2); err != nil || len(got) != 0 {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestSince_AServerThatRefusesEverythingIsAFault(t *testing.T) {
	t.Parallel()
	r := open(t, plain(replies(map[string]string{"RETR": "-ERR Server Unavailable. 15\r\n", "RETR 1": "", "RETR 2": ""}).Start(t)))
	if _, err := since(t, r, 0); err == nil {
		t.Fatal("no fault")
	}
}

func TestSince_EqualMessagesUnderOneNameAreOne(t *testing.T) {
	t.Parallel()
	r := open(t, plain(replies(map[string]string{"UIDL": "+OK\r\n1 a\r\n2 a\r\n.\r\n"}).Start(t)))
	if got, err := since(t, r, 0); err != nil || len(got) != 1 {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestDispose_NothingIsDoneUntilTheServerHasSaidGoodbye(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	for i := range 3 {
		x.Bench.Deliver(t, protocoltest.Adele, protocoltest.Letter(protocoltest.Adele, fmt.Sprint("m", i)))
	}
	remove := protocol.Disposal{Act: protocol.DisposeDelete}
	x.Break(exchange.FaultPOP3Quit, "")
	if err := open(t, x.ByPOP3).Dispose(protocoltest.Context(t), []uint32{1}, remove); fault.KindOf(err) != fault.Temporary {
		t.Fatalf("got %v", err)
	}
	x.Mend()
	if n := len(x.Messages(protocoltest.Adele, "INBOX")); n != 3 {
		t.Fatalf("%d messages are left of 3", n)
	}
	if err := open(t, x.ByPOP3).Dispose(protocoltest.Context(t), []uint32{1, 3}, remove); err != nil {
		t.Fatal(err)
	}
	if left := x.Messages(protocoltest.Adele, "INBOX"); len(left) != 1 || left[0].UID != 2 {
		t.Fatalf("%d messages are left", len(left))
	}
}

func TestDispose_ARefusedDeleteIsTold(t *testing.T) {
	t.Parallel()
	r := open(t, plain(replies(map[string]string{"DELE": "-ERR read only\r\n"}).Start(t)))
	if err := r.Dispose(protocoltest.Context(t), []uint32{1}, protocol.Disposal{Act: protocol.DisposeDelete}); !fault.Has(err, "pop3.not_deleted") {
		t.Fatalf("got %v", err)
	}
}

func TestSelect_UIDVALIDITYIsOfTheServerAndTheUser(t *testing.T) {
	t.Parallel()
	port := replies(nil).Start(t)
	seen := map[uint32]bool{}
	for _, c := range [][2]string{{"127.0.0.1", "a@x.test"}, {"localhost", "a@x.test"}, {"127.0.0.1", "b@x.test"}, {"127.0.0.1", "A@x.test"}} {
		at := plain(port)
		at.Host = c[0]
		r, err := pop3.New().OpenReader(protocoltest.Context(t), at, protocol.Login{User: c[1], AccessToken: seal.NewSecret("x")})
		if err != nil {
			t.Fatal(err)
		}
		status, err := r.Select(protocoltest.Context(t), "inbox")
		if err != nil || status.UIDValidity == 0 || status.Messages != 2 {
			t.Fatalf("%+v, %v", status, err)
		}
		seen[status.UIDValidity] = true
		_ = r.Close()
	}
	if len(seen) != 3 {
		t.Errorf("%d values for three", len(seen))
	}
}

func TestOpen_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	port := protocoltest.Script{}.Start(t)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	_, err := pop3.New().OpenReader(ctx, plain(port), owner())
	if err == nil || time.Since(start) > 5*time.Second {
		t.Fatalf("%v after %s", err, time.Since(start))
	}
}

func FuzzReplies(f *testing.F) {
	f.Add("+OK x\r\n+OK\r\nSASL XOAUTH2\r\n.\r\n+ \r\n+OK\r\n+OK 1 2\r\n+OK\r\n1 a\r\n.\r\n")
	f.Add("+OK x\r\n+OK\r\nSASL OAUTHBEARER\r\n.\r\n+ \r\n+ e30=\r\n-ERR [AUTH] no\r\n")
	f.Add("-ERR [SYS/TEMP] Suggested Backoff Time: 1 milliseconds\r\n")
	f.Add("+OK\r\n-ERR\r\n")
	f.Fuzz(func(t *testing.T, said string) {
		if len(said) > 20000 {
			return
		}
		port := protocoltest.Script{Greeting: said + "CLOSE"}.Start(t)
		start := time.Now()
		err := pop3.New().Probe(protocoltest.Context(t), plain(port), owner(), func(protocol.Step) {})
		if err != nil && fault.KindOf(err) == fault.Internal || time.Since(start) > 10*time.Second {
			t.Fatalf("after %s: %v", time.Since(start), err)
		}
	})
}
