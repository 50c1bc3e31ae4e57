package smtp_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/internal/protocol/smtp"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

// replies are a small server that takes everything.
func replies(change map[string]string) protocoltest.Script {
	r := map[string]string{
		"EHLO": "250-mx\r\n250-SIZE 100000\r\n250-8BITMIME\r\n250 AUTH PLAIN XOAUTH2\r\n",
		"AUTH": "235 2.7.0 ok\r\n", "MAIL": "250 2.1.0 ok\r\n", "RCPT": "250 2.1.5 ok\r\n", "DATA": "354 go\r\n",
		". ": "250 2.0.0 Ok: queued as 4XYZ12\r\n", "QUIT": "221 bye\r\n", "RSET": "250 ok\r\n",
		"* ": "500 5.5.2 what\r\n", // how the library ends a failed sign-in
	}
	for k, v := range change {
		r[k] = v
	}
	return protocoltest.Script{Greeting: "220 mx ESMTP\r\n", Replies: r}
}

func plain(port int) protocol.Endpoint {
	return protocol.Endpoint{Protocol: protocol.SMTP, Host: "127.0.0.1", Port: port, TLS: protocol.TLSNone, Setting: "send"}
}

func send(t *testing.T, at protocol.Endpoint, change func(*message.Outgoing)) (protocol.Receipt, error) {
	t.Helper()
	out := protocoltest.Submission(t, "test")
	if change != nil {
		change(&out)
	}
	return smtp.New().Send(protocoltest.Context(t), at, protocoltest.Owner(protocoltest.Adele), out.Envelope, bytes.NewReader(out.Raw), int64(len(out.Raw)))
}

func TestProbe_ClimbsToAnAcceptedSender(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	rungs, err := protocoltest.Rungs(protocoltest.Context(t), smtp.New(), x.Submit, protocoltest.Owner(protocoltest.Adele))
	if err != nil || rungs != "dns tcp greeting tls capability auth mail_from" {
		t.Fatalf("%s, %v", rungs, err)
	}
	if n := len(x.Messages(protocoltest.Desk, "INBOX")); n != 0 {
		t.Fatalf("a probe sent %d messages", n)
	}
}

func TestProbe_NamesWhatItMet(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	starttls := func(port int) protocol.Endpoint {
		at := plain(port)
		at.TLS = protocol.TLSStart
		return at
	}
	for _, c := range []struct {
		outcome   string
		at        protocol.Endpoint
		rungs, id string
		kind      fault.Kind
	}{
		{"STARTTLS is never optional", starttls(replies(nil).Start(t)), "dns tcp greeting", "smtp.no_starttls", fault.Refused},
		{"STARTTLS that is refused", starttls(replies(map[string]string{"EHLO": "250-mx\r\n250 STARTTLS\r\n", "STARTTLS": "454 not now\r\n"}).Start(t)), "dns tcp greeting", "smtp.no_starttls", fault.Refused},
		{"plain text behind the agreement", starttls(replies(map[string]string{"EHLO": "250-mx\r\n250 STARTTLS\r\n", "STARTTLS": "220 go\r\n250 AUTH PLAIN\r\n"}).Start(t)), "dns tcp greeting tls!", "net.tls_injection", fault.Temporary},
		{"an IMAP server", plain(protocoltest.Script{Greeting: "* OK IMAP\r\n"}.Start(t)), "dns tcp greeting!", "smtp.greeting", fault.Temporary},
		{"a server that turns us away", plain(protocoltest.Script{Greeting: "554 No service\r\n"}.Start(t)), "dns tcp greeting!", "smtp.turned_away", fault.Refused},
		{"a server that is busy", plain(protocoltest.Script{Greeting: "421 4.3.2 busy\r\n"}.Start(t)), "dns tcp greeting!", "smtp.temporary", fault.Temporary},
		{"no mechanism for access tokens", plain(replies(map[string]string{"EHLO": "250 AUTH PLAIN LOGIN\r\n"}).Start(t)), "dns tcp greeting capability!", "smtp.no_mechanism", fault.Refused},
		{"another authority", func() protocol.Endpoint { at := x.Submit; at.CAPEM = nil; return at }(), "dns tcp greeting tls!", "net.untrusted_certificate", fault.Refused},
		{"a certificate file that is none", func() protocol.Endpoint { at := x.Submit; at.CAPEM = []byte("x"); return at }(), "", "protocol.ca", fault.Invalid},
		{"no host", protocol.Endpoint{Port: 587, TLS: protocol.TLSStart}, "", "protocol.endpoint", fault.Invalid},
		{"a refusal with a reason", plain(replies(map[string]string{"AUTH": "334 eyJzdGF0dXMiOiI0MDEifQ==\r\n", " ": "535 5.7.8 denied\r\n"}).Start(t)), "dns tcp greeting capability auth!", "smtp.auth_refused", fault.Refused},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			rungs, err := protocoltest.Rungs(protocoltest.Context(t), smtp.New(), c.at, protocoltest.Owner(protocoltest.Adele))
			f := fault.Of(err)
			if rungs != c.rungs || f == nil || f.ID != c.id || f.Kind != c.kind || f.Text == "" || f.Remedy == "" || len(f.Who) == 0 {
				t.Fatalf("%s: %v (%+v)\nwant %s, %s", rungs, err, f, c.rungs, c.id)
			}
		})
	}
}

func TestSend_ExplainsReplies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at    string // the command that is answered so
		reply string
		id    string
		kind  fault.Kind
		retry bool
	}{
		{"AUTH", "535 5.7.3 Authentication unsuccessful [x.example]", "smtp.auth_refused", fault.Refused, true},
		{"AUTH", "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled", "smtp.auth_disabled_tenant", fault.Refused, true},
		{"AUTH", "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled", "smtp.auth_disabled_mailbox", fault.Refused, true},
		{"AUTH", "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", "smtp.password_refused", fault.Refused, true},
		{"AUTH", "454 4.7.0 Temporary authentication failure", "smtp.temporary", fault.Temporary, true},
		{"MAIL", "530 5.7.57 Client not authenticated to send mail", "smtp.not_signed_in", fault.Refused, true},
		{"MAIL", "421 4.4.2 Message submission rate for this client has exceeded the configured limit", "smtp.rate_exceeded", fault.Limited, true},
		{"MAIL", "451 4.7.0 Temporary server error. Please try again later.", "smtp.temporary", fault.Temporary, true},
		{"RCPT", "550 5.1.1 User unknown", "smtp.recipient_refused", fault.Refused, false},
		{"RCPT", "552 5.2.2 mailbox full", "smtp.recipient_refused", fault.Refused, false},
		{"RCPT", "450 4.2.1 busy", "smtp.temporary", fault.Temporary, true},
		{"DATA", "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "smtp.too_many_connections", fault.Limited, true},
		{". ", "430 4.2.0 STOREDRV; mailbox logon failure; failure reason; MapiExceptionLogonFailed", "smtp.no_mailbox", fault.Temporary, true},
		{". ", "554 5.2.252 SendAsDenied; a@b not allowed to send as c@d", "smtp.send_as_denied", fault.Refused, false},
		{". ", "550 5.7.60 SMTP; Client does not have permissions to send as this sender", "smtp.send_as_denied", fault.Refused, false},
		{". ", "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException", "smtp.quota_exceeded", fault.Limited, true},
		{". ", "554 5.2.2 mailbox full; QuotaExceededException", "smtp.mailbox_full", fault.Refused, false},
		{". ", "550 5.1.8 Access denied, bad outbound sender", "smtp.sender_blocked", fault.Refused, false},
		{". ", "550 5.2.253 throttled for continuous errors", "smtp.continuous_errors", fault.Refused, false},
		{". ", "552 5.3.4 Message size exceeds fixed limit", "smtp.too_large", fault.Refused, false},
		{". ", "554 5.6.0 something nobody has ever said", "smtp.refused", fault.Refused, false},
	} {
		t.Run(c.reply, func(t *testing.T) {
			t.Parallel()
			_, err := send(t, plain(replies(map[string]string{c.at: c.reply + "\r\n"}).Start(t)), nil)
			f := fault.Of(err)
			if f == nil || f.ID != c.id || f.Kind != c.kind || f.Retry != c.retry || !strings.HasPrefix(c.reply, f.Detail.Reply[:3]) || len(f.Who) == 0 || f.Remedy == "" {
				t.Fatalf("%v: %+v\nwant %s", err, f, c.id)
			}
		})
	}
}

func TestSend_TellsABrokenWireByWhereItBroke(t *testing.T) {
	t.Parallel()
	for at, id := range map[string]string{"AUTH": "net.closed", "MAIL": "net.closed", "RCPT": "net.closed", "DATA": "net.closed", ". ": "smtp.no_reply"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			_, err := send(t, plain(replies(map[string]string{at: ""}).Start(t)), nil)
			if f := fault.Of(err); f == nil || f.ID != id || f.Kind != fault.Temporary || !f.Retry {
				t.Fatalf("%v, want %s", err, id)
			}
		})
	}
	t.Run("at an Exchange", func(t *testing.T) {
		t.Parallel()
		x := protocoltest.StartExchange(t)
		x.Break(exchange.FaultSMTPDataBeforeReply, "")
		if _, err := send(t, x.Submit, nil); !fault.Has(err, "smtp.no_reply") {
			t.Fatalf("%v", err)
		}
	})
}

func TestSend_AsksForWhatItNeeds(t *testing.T) {
	t.Parallel()
	port := replies(nil).Start(t)
	receipt, err := send(t, plain(port), nil)
	if err != nil || receipt.RemoteID != "4XYZ12" || receipt.Reply != "250 2.0.0 Ok: queued as 4XYZ12" {
		t.Fatalf("%+v, %v", receipt, err)
	}
	if _, err := send(t, plain(port), func(o *message.Outgoing) { o.Raw = append(o.Raw, make([]byte, 200000)...) }); !fault.Has(err, "smtp.too_large") {
		t.Fatalf("larger than SIZE: %v", err)
	}
	if _, err := send(t, plain(port), func(o *message.Outgoing) { o.Envelope.ForwardPaths = []string{"ü@contoso.test"} }); !fault.Has(err, "smtp.no_utf8") {
		t.Fatalf("an address beyond ASCII: %v", err)
	}
}

func TestSend_NeverInPlainTextToOthers(t *testing.T) {
	t.Parallel()
	at := protocol.Endpoint{Protocol: protocol.SMTP, Host: "127.0.0.1", Port: replies(nil).Start(t), TLS: protocol.TLSMode("maybe"), Setting: "send"}
	_, err := smtp.New().Send(protocoltest.Context(t), at, protocol.Login{User: "u", AccessToken: seal.NewSecret("t")}, message.Envelope{}, strings.NewReader(""), 0)
	if f := fault.Of(err); f == nil || f.ID != "protocol.endpoint" || f.Field != "send.tls" {
		t.Fatalf("%v", err)
	}
}

func FuzzReplies(f *testing.F) {
	f.Add("220 x\r\n250 AUTH XOAUTH2\r\n235 ok\r\n250 ok\r\n")
	f.Add("220-a\r\n220 b\r\n250-x\r\n250 AUTH XOAUTH2 OAUTHBEARER\r\n334 \r\n535 5.7.3 no\r\n")
	f.Add("5\r\n")
	f.Fuzz(func(t *testing.T, said string) {
		if len(said) > 20000 {
			return
		}
		port := protocoltest.Script{Greeting: said + "CLOSE"}.Start(t)
		start := time.Now()
		err := smtp.New().Probe(protocoltest.Context(t), plain(port), protocoltest.Owner(protocoltest.Adele), func(protocol.Step) {})
		if fault.KindOf(err) == fault.Internal && err != nil || time.Since(start) > 10*time.Second {
			t.Fatalf("after %s: %v", time.Since(start), err)
		}
	})
}
