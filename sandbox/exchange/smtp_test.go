package exchange_test

import (
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

const unsuccessful = "535 5.7.3 Authentication unsuccessful [mail.contoso.test]"

// submitter is a dialogue after a good AUTH.
func submitter(t *testing.T, r *running, who xoauth2) *dialogue {
	t.Helper()
	d := r.dialogue(t, r.smtp, false)
	d.upgrade(r)
	d.send("AUTH XOAUTH2 %s", encoded(who))
	d.want("235 2.7.0 Authentication successful")
	return d
}

// submit sends a whole message and returns the last reply.
func (d *dialogue) submit(from, to, body string) string {
	d.t.Helper()
	d.send("MAIL FROM:<%s>", from)
	if reply := d.line(); reply != "250 2.1.0 Sender OK" {
		return reply
	}
	d.send("RCPT TO:<%s>", to)
	d.want("250 2.1.5 Recipient OK")
	d.send("DATA")
	d.want("354 Start mail input; end with <CRLF>.<CRLF>")
	d.send("%s.", body)
	return d.line()
}

func TestSubmissionDialogue(t *testing.T) {
	t.Parallel()
	r := start(t)

	t.Run("before TLS", func(t *testing.T) {
		d := r.dialogue(t, r.smtp, false)
		if hello := d.line(); !strings.HasPrefix(hello, "220 mail.contoso.test Microsoft ESMTP MAIL Service ready at ") {
			t.Errorf("greeting %q", hello)
		}
		d.send("EHLO client.test")
		caps := strings.Join(d.until("250 "), "\n")
		if !strings.Contains(caps, "250-STARTTLS") || !strings.Contains(caps, "SIZE 36700160") || strings.Contains(caps, "AUTH") {
			t.Errorf("EHLO before TLS:\n%s", caps)
		}
		d.send("AUTH XOAUTH2 %s", encoded(as(adele, adele)))
		d.want("504 5.7.4 Unrecognized authentication type")
		d.send("MAIL FROM:<%s>", adele)
		d.want("530 5.7.57 Client not authenticated to send mail.")
		d.send("XYZZY")
		d.want("500 5.3.3 Unrecognized command")
		d.send("QUIT")
		d.want("221 2.0.0 Service closing transmission channel")
		d.wantEnd()
	})

	t.Run("too many commands before TLS", func(t *testing.T) {
		d := r.dialogue(t, r.smtp, false)
		d.until("220 ")
		for range 30 {
			d.send("NOOP")
			d.want("250 2.0.0 OK")
		}
		d.until("421 ")
		d.wantEnd()
	})

	t.Run("a line without end before TLS", func(t *testing.T) {
		d := r.dialogue(t, r.smtp, false)
		d.until("220 ")
		d.send("%s", strings.Repeat("x", 5000))
		d.want("500 5.3.3 Line too long")
	})

	t.Run("after TLS", func(t *testing.T) {
		d := r.dialogue(t, r.smtp, false)
		d.upgrade(r)
		d.send("EHLO client.test")
		caps := d.until("250 ")
		if caps[0] != "250-mail.contoso.test Hello [127.0.0.1]" {
			t.Errorf("EHLO: %q", caps[0])
		}
		joined := strings.Join(caps, "\n")
		for _, want := range []string{"AUTH LOGIN XOAUTH2", "SIZE 36700160", "8BITMIME", "SMTPUTF8", "PIPELINING"} {
			if !strings.Contains(joined, want) {
				t.Errorf("EHLO lacks %s:\n%s", want, joined)
			}
		}
		d.send("MAIL FROM:<%s>", adele)
		d.want("530 5.7.57 Client not authenticated to send mail.")
		d.send("AUTH CRAM-MD5")
		d.want("504 5.7.4 Unrecognized authentication type")
		d.send("AUTH LOGIN")
		d.want("334 VXNlcm5hbWU6")
		d.send("%s", base64.StdEncoding.EncodeToString([]byte(adele)))
		d.want("334 UGFzc3dvcmQ6")
		d.send("cGFzc3dvcmQ=")
		d.want("535 5.7.139 Authentication unsuccessful, basic authentication is disabled.")
		d.send("AUTH XOAUTH2")
		d.want("334 ")
		d.send("%s", encoded(as(adele, adele)))
		d.want("235 2.7.0 Authentication successful")
		d.send("MAIL FROM:<%s> SIZE=40000000", adele)
		d.want("552 5.3.4 Message size exceeds fixed maximum message size")
		d.send("MAIL FROM:<%s> SIZE=4000 BODY=8BITMIME", adele)
		d.want("250 2.1.0 Sender OK")
		d.send("RCPT TO:<nobody@contoso.test>")
		d.want("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient nobody@contoso.test not found by SMTP address lookup")
		d.send("DATA")
		d.want("503 5.5.1 Bad sequence of commands")
		d.send("RSET")
		d.want("250 2.0.0 Resetting")
		if reply := d.submit(adele, nestor, letter(adele, nestor, "dots")+"..leading\r\n"); !strings.HasPrefix(reply, "250 2.0.0 OK <") || !strings.HasSuffix(reply, "@mail.contoso.test> [Hostname=mail.contoso.test]") {
			t.Errorf("DATA: %s", reply)
		}
		in := r.Messages(nestor, "INBOX")
		if len(in) != 1 || !strings.HasSuffix(string(in[0].Raw), "\r\n.leading\r\n") {
			t.Errorf("received %+v", subjects(in))
		}
		d.send("QUIT")
		d.want("221 2.0.0 Service closing transmission channel")
		d.wantEnd()
	})
}

func TestSubmissionSignInRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		edit func(d *tenant, p *exchange.Principal)
		who  xoauth2
		want string
	}{
		{"unknown access token", nil, xoauth2{adele, "forged"}, unsuccessful},
		{"no such mailbox", nil, as("nobody@contoso.test", adele), unsuccessful},
		{"for Graph", func(_ *tenant, p *exchange.Principal) { p.Audience = "https://graph.microsoft.com" }, as(adele, adele), unsuccessful},
		{"expired", func(_ *tenant, p *exchange.Principal) { p.Expires = p.Expires.Add(-2 * time.Hour) }, as(adele, adele), unsuccessful},
		{"without the SMTP scope", func(_ *tenant, p *exchange.Principal) { p.Scopes = p.Scopes[:1] }, as(adele, adele), unsuccessful},
		{"off for the mailbox", func(d *tenant, _ *exchange.Principal) {
			box := d.mailboxes[adele]
			box.SubmissionAuth = exchange.SubmissionAuthOffForMailbox
			d.mailboxes[adele] = box
		}, as(adele, adele), "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information."},
		{"off for the tenant", func(d *tenant, _ *exchange.Principal) {
			box := d.mailboxes[adele]
			box.SubmissionAuth = exchange.SubmissionAuthOffForTenant
			d.mailboxes[adele] = box
		}, as(adele, adele), "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information."},
		{"fault", func(d *tenant, _ *exchange.Principal) {
			d.faults[exchange.FaultSMTPAuth] = exchange.Fault{Active: true}
		}, as(adele, adele), unsuccessful},
		{"fault with its own text", func(d *tenant, _ *exchange.Principal) {
			d.faults[exchange.FaultSMTPAuth] = exchange.Fault{Active: true, Reply: "454 4.7.0 Temporary authentication failure"}
		}, as(adele, adele), "454 4.7.0 Temporary authentication failure"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			r.dir.edit(func(d *tenant) {
				p := d.principal["access-token-of-"+adele]
				if c.edit != nil {
					c.edit(d, &p)
				}
				d.principal["access-token-of-"+adele] = p
			})
			d := r.dialogue(t, r.smtp, false)
			d.upgrade(r)
			d.send("AUTH XOAUTH2 %s", encoded(c.who))
			d.want(c.want)
			d.send("MAIL FROM:<%s>", adele)
			d.want("530 5.7.57 Client not authenticated to send mail.")
		})
	}
	t.Run("what is not base64", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		d := r.dialogue(t, r.smtp, false)
		d.upgrade(r)
		d.send("AUTH XOAUTH2 %%%%")
		d.want(unsuccessful)
	})
}

func TestSubmissionMovesMail(t *testing.T) {
	t.Parallel()
	r := start(t)
	pushed := r.imapClient(t, as(nestor, nestor), nil)
	if _, err := pushed.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	c := r.smtpClient(t, as(adele, adele))
	to := []string{nestor, desk, strings.ToUpper(desk), "someone@elsewhere.test"}
	if err := c.SendMail(adele, to, strings.NewReader(letter(adele, nestor, "to all"))); err != nil {
		t.Fatal(err)
	}
	wantSubjects(t, r.Messages(adele, "Sent Items"), "to all")
	wantSubjects(t, r.Messages(nestor, "INBOX"), "to all")
	wantSubjects(t, r.Messages(desk, "INBOX"), "to all") // once, though named twice
	outside := r.OutsideMail()
	if len(outside) != 1 || outside[0].To != "someone@elsewhere.test" || outside[0].From != adele {
		t.Fatalf("outside %+v", outside)
	}
	sent, got := string(r.Messages(adele, "Sent Items")[0].Raw), string(r.Messages(nestor, "INBOX")[0].Raw)
	if strings.Contains(sent, "Received:") || !strings.HasPrefix(got, "Received: from localhost by mail.contoso.test\r\n with ESMTPSA id ") {
		t.Errorf("trace fields: sent %q, received %q", sent, got)
	}
	if !strings.Contains(got, "\r\nMessage-ID: <") || !strings.Contains(got, "\r\nDate: ") || !strings.HasSuffix(got, sent) {
		t.Errorf("received %q, sent %q", got, sent)
	}
	if err := pushed.Noop().Wait(); err != nil {
		t.Fatal(err)
	}
	if n := pushed.Mailbox().NumMessages; n != 1 {
		t.Errorf("the reader sees %d messages after NOOP, want 1", n)
	}

	t.Run("Message-ID and Date of the sender stay", func(t *testing.T) {
		body := "Message-ID: <mine@contoso.test>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n" + letter(adele, nestor, "own id")
		d := submitter(t, r, as(adele, adele))
		if reply := d.submit(adele, nestor, body); reply != "250 2.0.0 OK <mine@contoso.test> [Hostname=mail.contoso.test]" {
			t.Errorf("reply %q", reply)
		}
		all := r.Messages(nestor, "INBOX")
		if raw := string(all[len(all)-1].Raw); !strings.HasSuffix(raw, body) {
			t.Errorf("received %q", raw)
		}
	})
	t.Run("in chunks", func(t *testing.T) {
		d := submitter(t, r, as(adele, adele))
		d.send("MAIL FROM:<%s>", adele)
		d.until("250 ")
		d.send("RCPT TO:<%s>", nestor)
		d.until("250 ")
		body := letter(adele, nestor, "chunked")
		d.send("BDAT %d LAST\r\n%s", len(body), strings.TrimSuffix(body, "\r\n"))
		if reply := d.line(); !strings.HasPrefix(reply, "250 2.0.0 OK <") {
			t.Errorf("BDAT: %s", reply)
		}
		all := subjects(r.Messages(nestor, "INBOX"))
		if all[len(all)-1] != "chunked" {
			t.Errorf("received %v", all)
		}
	})
}

func TestSubmissionDataRefusals(t *testing.T) {
	t.Parallel()
	const logonFailure = "430 4.2.0 STOREDRV; mailbox logon failure; STOREDRV.Submission.Exception:ConnectionFailedTransientException.MapiExceptionLogonFailed; Failed to process message due to a transient exception [Hostname=mail.contoso.test]"
	denied := func(who, as string) string {
		return fmt.Sprintf("554 5.2.252 SendAsDenied; %s not allowed to send as %s; STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent exception [Hostname=mail.contoso.test]", who, as)
	}
	fault := func(point exchange.FaultPoint) func(*tenant) {
		return func(d *tenant) { d.faults[point] = exchange.Fault{Active: true} }
	}
	for _, c := range []struct {
		name, from, header string
		who                xoauth2
		edit               func(*tenant)
		want               string
	}{
		{"envelope of another", nestor, adele, as(adele, adele), nil, denied(adele, nestor)},
		{"From field of another", adele, nestor, as(adele, adele), nil, denied(adele, nestor)},
		{"shared mailbox without Send As", desk, desk, as(desk, adele), nil, denied(desk, desk)},
		{"mailbox that does not open", desk, desk, as(desk, nestor), nil, logonFailure},
		{"no licence any more", adele, adele, as(adele, adele), func(d *tenant) {
			d.mailboxes[adele] = exchange.Mailbox{Address: adele, IMAPEnabled: true}
		}, logonFailure},
		{"From field that cannot be read", adele, "a>b<c", as(adele, adele), nil, "554 5.6.0 Corrupt message content [Hostname=mail.contoso.test]"},
		{"fault smtp.mail", adele, adele, as(adele, adele), fault(exchange.FaultSMTPMail), "451 4.7.0 Temporary server error. Please try again later. PRX2"},
		{"fault smtp.data.4xx", adele, adele, as(adele, adele), fault(exchange.FaultSMTPDataTemporary), "451 4.7.0 Temporary server error. Please try again later. PRX5"},
		{"fault smtp.throttled", adele, adele, as(adele, adele), fault(exchange.FaultSMTPThrottled), "421 4.4.2 Message submission rate for this client has exceeded the configured limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			d := submitter(t, r, c.who)
			if c.edit != nil {
				r.dir.edit(c.edit)
			}
			if got := d.submit(c.from, nestor, letter(c.header, nestor, "x")); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if len(r.Messages(nestor, "INBOX"))+len(r.Messages(adele, "Sent Items"))+len(r.Messages(desk, "Sent Items")) != 0 {
				t.Error("a refused message was kept")
			}
			if strings.HasPrefix(c.want, "421") {
				d.wantEnd()
			}
		})
	}

	t.Run("Send As, an alias and the empty sender are accepted", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		r.dir.edit(func(d *tenant) { d.sendAs[adele+" "+desk] = true })
		for _, c := range []struct{ mailbox, from, header string }{
			{desk, desk, desk}, {adele, "a.vance@contoso.test", adele}, {adele, "", adele},
		} {
			if got := submitter(t, r, as(c.mailbox, adele)).submit(c.from, nestor, letter(c.header, nestor, "x")); !strings.HasPrefix(got, "250 ") {
				t.Errorf("from %q: %s", c.from, got)
			}
		}
	})

	t.Run("cut before the reply: delivered all the same", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		d := submitter(t, r, as(adele, adele))
		r.dir.edit(fault(exchange.FaultSMTPDataBeforeReply))
		d.send("MAIL FROM:<%s>", adele)
		d.until("250 ")
		d.send("RCPT TO:<%s>", nestor)
		d.until("250 ")
		d.send("DATA")
		d.until("354 ")
		d.send("%s.", letter(adele, nestor, "twice?"))
		d.wantEnd()
		wantSubjects(t, r.Messages(nestor, "INBOX"), "twice?")
		wantSubjects(t, r.Messages(adele, "Sent Items"), "twice?")
	})

	t.Run("larger than announced", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		d := submitter(t, r, as(adele, adele))
		line := strings.Repeat("x", 1022) + "\r\n"
		if got := d.submit(adele, nestor, letter(adele, nestor, "x")+strings.Repeat(line, 36<<10)); got != "552 5.3.4 Message size exceeds fixed maximum message size" {
			t.Errorf("got %q", got)
		}
	})
}

func TestSubmissionLimits(t *testing.T) {
	t.Parallel()
	t.Run("thirty messages a minute", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		d := submitter(t, r, as(adele, adele))
		for i := range 30 {
			if got := d.submit(adele, nestor, letter(adele, nestor, fmt.Sprint(i))); !strings.HasPrefix(got, "250 ") {
				t.Fatalf("message %d: %s", i+1, got)
			}
		}
		if got := d.submit(adele, nestor, letter(adele, nestor, "one too many")); got != "421 4.4.2 Message submission rate for this client has exceeded the configured limit" {
			t.Errorf("message 31: %s", got)
		}
		d.wantEnd()
		r.dir.edit(func(d *tenant) { d.now = d.now.Add(61 * time.Second) })
		if got := submitter(t, r, as(adele, adele)).submit(adele, nestor, letter(adele, nestor, "a minute later")); !strings.HasPrefix(got, "250 ") {
			t.Errorf("a minute later: %s", got)
		}
		if n := len(r.Messages(nestor, "INBOX")); n != 31 {
			t.Errorf("%d delivered, want 31", n)
		}
	})

	t.Run("the fourth connection", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		var all []*dialogue
		for range 4 {
			all = append(all, submitter(t, r, as(adele, adele)))
		}
		if n := r.Connections(adele); n.SMTP != 4 || n.IMAP != 0 {
			t.Errorf("connections %+v", n)
		}
		const exceeded = "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded [Hostname=mail.contoso.test]"
		if got := all[3].submit(adele, nestor, letter(adele, nestor, "x")); got != exceeded {
			t.Errorf("fourth: %s", got)
		}
		if got := all[2].submit(adele, nestor, letter(adele, nestor, "x")); !strings.HasPrefix(got, "250 ") {
			t.Errorf("third: %s", got)
		}
		all[0].send("QUIT")
		all[0].until("221 ")
		all[0].wantEnd()
		if got := all[3].submit(adele, nestor, letter(adele, nestor, "x")); !strings.HasPrefix(got, "250 ") {
			t.Errorf("fourth, after the first has gone: %s", got)
		}
	})
}

// TestSubmissionConcurrently sends from both mailboxes over three connections
// each, with readers idling, and counts what arrives.
func TestSubmissionConcurrently(t *testing.T) {
	t.Parallel()
	r := start(t)
	var all sync.WaitGroup
	for _, from := range []string{adele, nestor} {
		for range exchange.MaxSubmissionConnections {
			c := r.smtpClient(t, as(from, from))
			all.Go(func() {
				for i := range 10 {
					if err := c.SendMail(from, []string{desk, "x@elsewhere.test"}, strings.NewReader(letter(from, desk, fmt.Sprint(i)))); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	reader := r.imapClient(t, as(desk, adele), nil)
	if _, err := reader.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	idle, err := reader.Idle()
	if err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := reader.Noop().Wait(); err != nil {
		t.Fatal(err)
	}
	if n := reader.Mailbox().NumMessages; n != 60 {
		t.Errorf("the reader sees %d messages, want 60", n)
	}
	if in, out, sent := len(r.Messages(desk, "INBOX")), len(r.OutsideMail()), len(r.Messages(adele, "Sent Items")); in != 60 || out != 60 || sent != 30 {
		t.Errorf("%d in the INBOX, %d outside, %d sent; want 60, 60, 30", in, out, sent)
	}
}

func TestRunAndClose(t *testing.T) {
	t.Parallel()
	t.Run("Close drains, and Run says nil", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		c := r.imapClient(t, as(adele, adele), nil)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if n := r.Connections(adele); n != (exchange.Connections{}) {
			t.Errorf("connections after Close: %+v", n)
		}
		if err := c.Noop().Wait(); err == nil {
			t.Error("the connection is still open")
		}
		if conn, err := net.Dial("tcp", r.imap); err == nil {
			_ = conn.Close()
			t.Error("the listener is still open")
		}
	})
	t.Run("without a certificate", func(t *testing.T) {
		t.Parallel()
		if err := exchange.New(newTenant(), exchange.Options{}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "Options.TLS") {
			t.Errorf("Run: %v", err)
		}
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		_ = r.imapClient(t, as(adele, adele), nil) // it runs now
		if err := r.Run(t.Context()); err == nil {
			t.Error("a second Run was let in")
		}
	})
}
