package imap_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/imap"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

// replies are a small server that lets everybody in.
func replies(change map[string]string) protocoltest.Script {
	r := map[string]string{
		"CAPABILITY":   "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR\r\nTAG OK done\r\n",
		"AUTHENTICATE": "TAG OK AUTHENTICATE completed.\r\n",
		"EXAMINE":      "* 0 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT 1] x\r\nTAG OK done\r\n",
		"SELECT":       "* 0 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT 1] x\r\nTAG OK done\r\n",
		"LOGOUT":       "* BYE\r\nTAG OK done\r\n",
	}
	for k, v := range change {
		r[k] = v
	}
	return protocoltest.Script{Greeting: "* OK ready\r\n", Replies: r}
}

func plain(port int) protocol.Endpoint {
	return protocol.Endpoint{Protocol: protocol.IMAP, Host: "127.0.0.1", Port: port, TLS: protocol.TLSNone, Setting: "receive"}
}

func TestProbe_ClimbsToTheOpenMailbox(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	rungs, err := protocoltest.Rungs(protocoltest.Context(t), imap.New(), x.Receive, protocoltest.Owner(protocoltest.Adele))
	if err != nil || rungs != "dns tcp tls greeting capability auth open" {
		t.Fatalf("%s, %v", rungs, err)
	}
}

func TestProbe_NamesWhatItMet(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	debian := replies(nil)
	for _, c := range []struct {
		outcome string
		at      func(t *testing.T) protocol.Endpoint
		login   protocol.Login
		rungs   string
		id      string
		kind    fault.Kind
		field   string
	}{
		{"an access token that is refused", func(*testing.T) protocol.Endpoint { return x.Receive }, protocol.Login{User: protocoltest.Adele, AccessToken: seal.NewSecret("stolen")}, "dns tcp tls greeting capability auth!", "imap.auth_refused", fault.Refused, ""},
		{"a mailbox that the access token does not open", func(*testing.T) protocol.Endpoint { return x.Receive }, protocol.Login{User: protocoltest.Adele, AccessToken: seal.NewSecret(protocoltest.AccessToken(protocoltest.Desk))}, "dns tcp tls greeting capability auth open!", "imap.no_mailbox", fault.Temporary, ""},
		{"TLS from the first byte at a plain port", func(t *testing.T) protocol.Endpoint {
			at := plain(debian.Start(t))
			at.TLS = protocol.TLSImplicit
			return at
		}, protocoltest.Owner(protocoltest.Adele), "dns tcp tls!", "net.plaintext_port", fault.Refused, "receive.tls"},
		{"a certificate of another authority", func(*testing.T) protocol.Endpoint {
			at := x.Receive
			at.CAPEM = nil
			return at
		}, protocoltest.Owner(protocoltest.Adele), "dns tcp tls!", "net.untrusted_certificate", fault.Refused, "receive.tls"},
		{"a server of another protocol", func(t *testing.T) protocol.Endpoint {
			return plain(protocoltest.Script{Greeting: "220 mx ESMTP\r\n"}.Start(t))
		}, protocoltest.Owner(protocoltest.Adele), "dns tcp greeting!", "imap.greeting", fault.Temporary, "receive.port"},
		{"a server that does not offer STARTTLS", func(t *testing.T) protocol.Endpoint {
			at := plain(replies(map[string]string{"STARTTLS": "TAG BAD unknown command\r\n"}).Start(t))
			at.TLS = protocol.TLSStart
			return at
		}, protocoltest.Owner(protocoltest.Adele), "dns tcp greeting", "imap.no_starttls", fault.Refused, "receive.tls"},
		{"plain text behind the agreement to STARTTLS", func(t *testing.T) protocol.Endpoint {
			at := plain(replies(map[string]string{"STARTTLS": "TAG OK go\r\n* CAPABILITY AUTH=PLAIN\r\n"}).Start(t))
			at.TLS = protocol.TLSStart
			return at
		}, protocoltest.Owner(protocoltest.Adele), "dns tcp greeting tls!", "net.tls_injection", fault.Temporary, "receive.host"},
		{"no mechanism for access tokens", func(t *testing.T) protocol.Endpoint {
			return plain(replies(map[string]string{"CAPABILITY": "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nTAG OK done\r\n"}).Start(t))
		}, protocoltest.Owner(protocoltest.Adele), "dns tcp greeting capability!", "imap.no_mechanism", fault.Refused, "receive.host"},
		{"a server without SASL-IR that says why it refuses", func(t *testing.T) protocol.Endpoint {
			return plain(replies(map[string]string{
				"CAPABILITY": "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\nTAG OK done\r\n", "AUTHENTICATE": "+ \r\n",
				"DXNLCJ": "+ eyJzdGF0dXMiOiI0MDEifQ==\r\n", "= ": "T2 NO denied\r\n",
			}).Start(t))
		}, protocoltest.Owner(protocoltest.Adele), "dns tcp greeting capability auth!", "imap.auth_refused", fault.Refused, ""},
		{"a farewell for too many connections", func(t *testing.T) protocol.Endpoint {
			return plain(protocoltest.Script{Greeting: "* BYE Too many connections\r\n"}.Start(t))
		}, protocoltest.Owner(protocoltest.Adele), "dns tcp greeting!", "imap.too_many_connections", fault.Limited, ""},
		{"a server that is no server", func(*testing.T) protocol.Endpoint { return plain(1) }, protocoltest.Owner(protocoltest.Adele), "dns tcp!", "net.refused", fault.Temporary, "receive.port"},
		{"a farewell instead of an answer", func(t *testing.T) protocol.Endpoint {
			return plain(replies(map[string]string{"EXAMINE": "* BYE Server shutting down\r\nCLOSE"}).Start(t))
		}, protocoltest.Owner(protocoltest.Adele), "dns tcp greeting capability auth open!", "imap.bye", fault.Temporary, ""},
		{"an answer that is no IMAP", func(t *testing.T) protocol.Endpoint {
			return plain(replies(map[string]string{"EXAMINE": "((((\r\n"}).Start(t))
		}, protocoltest.Owner(protocoltest.Adele), "dns tcp greeting capability auth open!", "imap.garbled", fault.Temporary, "receive.host"},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			rungs, err := protocoltest.Rungs(protocoltest.Context(t), imap.New(), c.at(t), c.login)
			f := fault.Of(err)
			if rungs != c.rungs || f == nil || f.ID != c.id || f.Kind != c.kind || f.Field != c.field {
				t.Fatalf("%s: %v (%+v)\nwant %s, %s", rungs, err, f, c.rungs, c.id)
			}
			if f.Text == "" || f.Remedy == "" || len(f.Who) == 0 || strings.Contains(err.Error(), c.login.AccessToken.Reveal()) {
				t.Fatalf("words: %+v", f)
			}
		})
	}
}

func TestProbe_ExplainsTheRepliesOfExchange(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]struct {
		id    string
		kind  fault.Kind
		after time.Duration
	}{
		"BAD User is authenticated but not connected.":                               {"imap.no_mailbox", fault.Temporary, 0},
		"NO User is authenticated but not connected.":                                {"imap.no_mailbox", fault.Temporary, 0},
		"BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds":      {"imap.throttled", fault.Limited, 299961 * time.Millisecond},
		"NO Server Unavailable. 15":                                                  {"imap.unavailable", fault.Temporary, 0},
		"NO [LIMIT] Maximum number of connections from user+IP exceeded":             {"imap.too_many_connections", fault.Limited, 2 * time.Minute},
		"NO [OVERQUOTA] full":                                                        {"imap.over_quota", fault.Refused, 0},
		"NO something nobody has ever said":                                          {"imap.refused", fault.Temporary, 0},
		"BAD Request is throttled. Suggested Backoff Time: 99999999999 milliseconds": {"imap.throttled", fault.Limited, time.Hour},
	} {
		t.Run(reply, func(t *testing.T) {
			t.Parallel()
			x := protocoltest.StartExchange(t)
			x.Break(exchange.FaultIMAPSelect, reply)
			_, err := protocoltest.Rungs(protocoltest.Context(t), imap.New(), x.Receive, protocoltest.Owner(protocoltest.Adele))
			if f := fault.Of(err); f == nil || f.ID != want.id || f.Kind != want.kind || f.RetryAfter != want.after || f.Detail.Reply == "" {
				t.Fatalf("%v: %+v", err, f)
			}
		})
	}
}

func TestReading_ASilentIDLEIsNoticed(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	member := &imap.Client{PollEvery: time.Second, Silence: 200 * time.Millisecond}
	r, err := member.OpenReader(protocoltest.Context(t), x.Receive, protocoltest.Owner(protocoltest.Adele))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := r.Select(protocoltest.Context(t), "INBOX"); err != nil {
		t.Fatal(err)
	}
	x.Break(exchange.FaultIMAPIdleSilent, "")
	start := time.Now()
	_, err = r.Wait(protocoltest.Context(t), 100*time.Millisecond)
	if took := time.Since(start); fault.KindOf(err) != fault.Temporary || err == nil || took > 3*time.Second {
		t.Fatalf("after %s: %v", took, err)
	}
}

func TestReading_WithoutIDLEItAsks(t *testing.T) {
	t.Parallel()
	port := replies(map[string]string{"NOOP": "* 1 EXISTS\r\nTAG OK done\r\n"}).Start(t)
	member := &imap.Client{PollEvery: 10 * time.Millisecond, Silence: time.Second}
	r, err := member.OpenReader(protocoltest.Context(t), plain(port), protocoltest.Owner(protocoltest.Adele))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := r.Select(protocoltest.Context(t), "INBOX"); err != nil {
		t.Fatal(err)
	}
	if changed, err := r.Wait(protocoltest.Context(t), time.Minute); !changed || err != nil {
		t.Fatalf("%v, %v", changed, err)
	}
}

func TestReading_AMessageTooLargeComesWithoutItsContent(t *testing.T) {
	t.Parallel()
	port := replies(map[string]string{
		"UID SEARCH":                    "* SEARCH 7\r\nTAG OK done\r\n",
		"UID FETCH 7 (UID RFC822.SIZE":  "* 1 FETCH (UID 7 RFC822.SIZE 99999999 FLAGS () INTERNALDATE \"24-Nov-2026 03:00:00 +0000\")\r\nTAG OK done\r\n",
		"UID FETCH 7 (UID FLAGS":        "* 1 FETCH (UID 7 RFC822.SIZE 99999999 FLAGS () INTERNALDATE \"24-Nov-2026 03:00:00 +0000\")\r\nTAG OK done\r\n",
		"UID FETCH 7 (UID INTERNALDATE": "* 1 FETCH (UID 7 RFC822.SIZE 99999999 FLAGS () INTERNALDATE \"24-Nov-2026 03:00:00 +0000\")\r\nTAG OK done\r\n",
	}).Start(t)
	r, err := imap.New().OpenReader(protocoltest.Context(t), plain(port), protocoltest.Owner(protocoltest.Adele))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := r.Select(protocoltest.Context(t), "INBOX"); err != nil {
		t.Fatal(err)
	}
	var got []message.Received
	if err := r.Since(protocoltest.Context(t), 0, 10, func(m message.Received) error { got = append(got, m); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Raw != nil || got[0].UID != 7 || got[0].UIDValidity != 1 {
		t.Fatalf("%+v", got)
	}
}

func TestFindSent_LooksAmongTheSentMessages(t *testing.T) {
	t.Parallel()
	for name, list := range map[string]string{
		"the folder marked so":  "* LIST (\\HasNoChildren \\Sent) \"/\" Gesendet\r\n* LIST () \"/\" Sent\r\nTAG OK done\r\n",
		"a folder of that name": "* LIST () \"/\" INBOX\r\n* LIST () \"/\" \"Sent Items\"\r\nTAG OK done\r\n",
		"a folder below INBOX":  "* LIST () \".\" INBOX\r\n* LIST () \".\" INBOX.Sent\r\nTAG OK done\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := replies(map[string]string{"LIST": list, "UID SEARCH HEADER \"MESSAGE-ID\" \"X@Y\"": "* SEARCH 4\r\nTAG OK done\r\n", "UID SEARCH HEADER MESSAGE-ID": "* SEARCH 4\r\nTAG OK done\r\n"}).Start(t)
			found, err := imap.New().FindSent(protocoltest.Context(t), plain(port), protocoltest.Owner(protocoltest.Adele), "x@y")
			if err != nil || !found {
				t.Fatalf("%v, %v", found, err)
			}
		})
	}
	t.Run("no such folder", func(t *testing.T) {
		t.Parallel()
		port := replies(map[string]string{"LIST": "* LIST () \"/\" INBOX\r\nTAG OK done\r\n"}).Start(t)
		if _, err := imap.New().FindSent(protocoltest.Context(t), plain(port), protocoltest.Owner(protocoltest.Adele), "x@y"); !fault.Has(err, "imap.no_sent_folder") {
			t.Fatalf("%v", err)
		}
	})
}

func TestOpen_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	port := protocoltest.Script{}.Start(t)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	_, err := imap.New().OpenReader(ctx, plain(port), protocoltest.Owner(protocoltest.Adele))
	if err == nil || time.Since(start) > 5*time.Second {
		t.Fatalf("%v after %s", err, time.Since(start))
	}
}

func FuzzReplies(f *testing.F) {
	f.Add("* OK x\r\n* CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR\r\nT1 OK x\r\nT2 OK x\r\n* 1 EXISTS\r\nT3 OK [READ-ONLY] x\r\n")
	f.Add("* OK [CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER] x\r\n+ \r\n+ e30=\r\nT1 NO [AUTHENTICATIONFAILED] no\r\n")
	f.Add("* BYE Request is throttled. Suggested Backoff Time: 1 milliseconds\r\n")
	f.Add("* PREAUTH\r\n")
	f.Fuzz(func(t *testing.T, said string) {
		if len(said) > 20000 {
			return
		}
		port := protocoltest.Script{Greeting: said + "CLOSE"}.Start(t)
		start := time.Now()
		err := imap.New().Probe(protocoltest.Context(t), plain(port), protocoltest.Owner(protocoltest.Adele), func(protocol.Step) {})
		if err != nil && fault.KindOf(err) == fault.Internal || time.Since(start) > 10*time.Second {
			t.Fatalf("after %s: %v", time.Since(start), err)
		}
	})
}
