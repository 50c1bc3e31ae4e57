package exchange_test

import (
	"crypto/tls"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

const (
	greeting   = "* OK The Microsoft Exchange IMAP4 service is ready. [Mailgrant sandbox, not Microsoft]"
	beforeAuth = "* CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
	failed     = "NO AUTHENTICATE failed."
)

func TestIMAPDialogue(t *testing.T) {
	t.Parallel()
	r := start(t)

	t.Run("greeting, capabilities, ID and sign-in in one line", func(t *testing.T) {
		d := r.dialogue(t, r.imap, true)
		d.want(greeting)
		d.send("1 CAPABILITY")
		d.want(beforeAuth, "1 OK CAPABILITY completed.")
		d.send(`2 ID ("name" "test")`)
		d.until("2 OK ID completed.")
		d.send("3 AUTHENTICATE XOAUTH2 %s", encoded(as(adele, adele)))
		d.want("3 OK AUTHENTICATE completed.")
		d.send("4 CAPABILITY")
		if caps := d.line(); !strings.Contains(caps, " UIDPLUS MOVE ") || strings.Contains(caps, "CONDSTORE") {
			t.Errorf("capabilities after sign-in: %s", caps)
		}
		d.want("4 OK CAPABILITY completed.")
		d.send("5 AUTHENTICATE XOAUTH2 %s", encoded(as(adele, adele)))
		d.want("5 BAD Command received in Invalid state.")
		d.send("6 SELECT INBOX (CONDSTORE)")
		if got := d.line(); !strings.HasPrefix(got, "6 BAD ") {
			t.Errorf("SELECT with CONDSTORE: %s", got)
		}
		d.send("7 LOGOUT")
		d.until("7 OK ")
		d.wantEnd()
	})

	t.Run("sign-in in two steps, access token longer than 4 KiB", func(t *testing.T) {
		long := strings.Repeat("x", 6000)
		r.dir.edit(func(d *tenant) { d.principal[long] = d.principal["access-token-of-"+adele] })
		d := r.dialogue(t, r.imap, true)
		d.want(greeting)
		d.send("a AUTHENTICATE XOAUTH2")
		d.want("+ ")
		d.send("%s", encoded(xoauth2{adele, long}))
		d.want("a OK AUTHENTICATE completed.")
	})

	t.Run("cancelled by the client", func(t *testing.T) {
		d := r.dialogue(t, r.imap, true)
		d.want(greeting)
		d.send("a AUTHENTICATE XOAUTH2")
		d.want("+ ")
		d.send("*")
		d.want("a BAD AUTHENTICATE was cancelled.")
	})

	t.Run("passwords are refused", func(t *testing.T) {
		d := r.dialogue(t, r.imap, true)
		d.want(greeting)
		d.send(`a LOGIN "%s" "pass word"`, adele)
		d.want("a NO LOGIN failed.")
		d.send("b AUTHENTICATE PLAIN AGFkZWxlAHBhc3M=")
		d.want("b NO AUTHENTICATE failed.")
		d.send("c AUTHENTICATE PLAIN")
		d.want("+ ")
		d.send("AGFkZWxlAHBhc3M=")
		d.want("c NO AUTHENTICATE failed.")
	})

	t.Run("wrong state and unknown commands, then shown out", func(t *testing.T) {
		d := r.dialogue(t, r.imap, true)
		d.want(greeting)
		d.send("a SELECT INBOX")
		d.want("a BAD Command received in Invalid state.")
		d.send("GET / HTTP/1.1")
		d.want("GET BAD Command Error. 12")
		d.send("b APPEND INBOX {3+}\r\nabc")
		d.want("b BAD Command received in Invalid state.")
		for range 7 {
			d.send("c ENABLE CONDSTORE")
			d.want("c BAD Command Error. 12")
		}
		d.want("* BYE Connection closed. 14")
		d.wantEnd()
	})

	t.Run("literals that are too large do not confuse what follows", func(t *testing.T) {
		d := r.dialogue(t, r.imap, true)
		d.want(greeting)
		d.send("a LOGIN {5000+}\r\n%s {3+}\r\nabc", strings.Repeat("x\r\n12", 1000))
		d.until("a ")
		d.send("b LOGIN {5000}")
		d.until("b ")
		d.send("c AUTHENTICATE XOAUTH2 %s", encoded(as(adele, adele)))
		d.want("c OK AUTHENTICATE completed.")
		d.send("d APPEND INBOX {40000000}")
		d.until("d NO ")
		d.send("e APPEND Nowhere {12+}\r\na: b\r\n\r\nc d")
		d.want("e NO [TRYCREATE] Nowhere doesn't exist.")
		d.send("f APPEND INBOX {12}")
		d.until("+ ")
		d.send("a: b\r\n\r\nc d")
		d.until("f OK ")
		d.send("g APPEND INBOX {37000000+}\r\n%s", strings.Repeat("12345678\r\n", 3_700_000))
		d.until("g NO ")
		d.send("h NOOP")
		d.want("h OK NOOP completed.")
	})

	t.Run("a line without end is cut off", func(t *testing.T) {
		d := r.dialogue(t, r.imap, true)
		d.want(greeting)
		d.send("a NOOP %s", strings.Repeat("x", 70<<10))
		d.until("* BYE")
		d.wantEnd()
	})

	t.Run("a client that does not speak TLS learns nothing", func(t *testing.T) {
		d := r.dialogue(t, r.imap, false)
		d.send("a CAPABILITY")
		rest := make([]byte, 512)
		n, _ := d.in.Read(rest) // a TLS alert at most
		if strings.Contains(string(rest[:n]), "Exchange") || strings.Contains(string(rest[:n]), "*") {
			t.Errorf("in the clear: %q", rest[:n])
		}
	})
}

func TestIMAPRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		edit   func(d *tenant, p *exchange.Principal)
		who    xoauth2
		reason string
	}{
		{"unknown access token", nil, xoauth2{adele, "forged"}, "signature does not verify"},
		{"expired", func(_ *tenant, p *exchange.Principal) { p.Expires = p.Expires.Add(-time.Hour) }, as(adele, adele), "expired"},
		{"for Graph", func(_ *tenant, p *exchange.Principal) { p.Audience = "https://graph.microsoft.com" }, as(adele, adele), "graph.microsoft.com"},
		{"without the IMAP scope", func(_ *tenant, p *exchange.Principal) { p.Scopes = []string{"SMTP.Send"} }, as(adele, adele), "IMAP.AccessAsUser.All"},
		{"IMAP off for the mailbox", func(d *tenant, _ *exchange.Principal) {
			d.mailboxes[adele] = exchange.Mailbox{Address: adele, Licensed: true}
		}, as(adele, adele), "IMAP is disabled"},
		{"fault", func(d *tenant, _ *exchange.Principal) {
			d.faults[exchange.FaultIMAPAuth] = exchange.Fault{Active: true}
		}, as(adele, adele), "fault imap.auth"},
		{"not an XOAUTH2 response", nil, xoauth2{"", ""}, "user=<mailbox>"},
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
			d := r.dialogue(t, r.imap, true)
			d.want(greeting)
			d.send("a AUTHENTICATE XOAUTH2 %s", encoded(c.who))
			d.want("a " + failed)
			call := r.dir.await(t, 1, func(c exchange.Call) bool { return c.Command == "AUTHENTICATE XOAUTH2" })
			if !strings.Contains(call.Reason, c.reason) || call.Reply != failed {
				t.Errorf("recorded %+v, want reason with %q", call, c.reason)
			}
			d.send("b NOOP") // still there: refusal does not hang up
			d.until("b OK ")
		})
	}

	t.Run("what is not base64", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		d := r.dialogue(t, r.imap, true)
		d.want(greeting)
		d.send("a AUTHENTICATE XOAUTH2 %%%%%%")
		d.want("a " + failed)
		d.send("b AUTHENTICATE XOAUTH2")
		d.want("+ ")
		d.send("")
		d.want("b " + failed)
	})
}

func TestIMAPAuthenticatedButNotConnected(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, reason string
		edit         func(d *tenant)
		who          xoauth2
	}{
		{"no Full Access", "nestor@contoso.test has no Full Access to servicedesk@contoso.test", nil, as(desk, nestor)},
		{"no such mailbox", "there is no mailbox nobody@contoso.test", nil, as("nobody@contoso.test", nestor)},
		{"no licence", "nestor@contoso.test has no Exchange licence", func(d *tenant) {
			d.mailboxes[nestor] = exchange.Mailbox{Address: nestor, IMAPEnabled: true}
		}, as(nestor, nestor)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			if c.edit != nil {
				r.dir.edit(c.edit)
			}
			d := r.dialogue(t, r.imap, true)
			d.want(greeting)
			d.send("a AUTHENTICATE XOAUTH2 %s", encoded(c.who))
			d.want("a OK AUTHENTICATE completed.")
			d.send("b CAPABILITY")
			d.until("b OK ")
			d.send("c SELECT INBOX")
			d.want("c BAD User is authenticated but not connected.")
			d.send("d APPEND INBOX {5+}\r\nhello")
			d.want("d BAD User is authenticated but not connected.")
			d.send("e NOOP")
			d.want("e BAD User is authenticated but not connected.", "* BYE Connection closed. 14")
			d.wantEnd()
			call := r.dir.await(t, 1, func(c exchange.Call) bool { return c.Command == "AUTHENTICATE XOAUTH2" })
			if call.Reason != c.reason {
				t.Errorf("reason %q, want %q", call.Reason, c.reason)
			}
			if n := r.Connections(desk); n != (exchange.Connections{}) {
				t.Errorf("connections of the mailbox: %+v", n)
			}
		})
	}

	t.Run("the twenty-first connection", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		for i := range 21 {
			d := r.dialogue(t, r.imap, true)
			d.want(greeting)
			d.send("a AUTHENTICATE XOAUTH2 %s", encoded(as(adele, adele)))
			d.want("a OK AUTHENTICATE completed.")
			d.send("b NOOP")
			if want := i == 20; strings.Contains(d.line(), "BAD User is authenticated but not connected.") != want {
				t.Errorf("connection %d: not connected = %v", i+1, !want)
			}
		}
		if n := r.Connections("A.Vance@contoso.test"); n.IMAP != 20 {
			t.Errorf("%d connections, want 20", n.IMAP)
		}
	})
}

func TestIMAPAppOnly(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.dir.edit(func(d *tenant) {
		d.principal["app"] = exchange.Principal{
			AppID: "daemon", Audience: "https://outlook.office365.com/", Roles: []string{"IMAP.AccessAsApp"}, Expires: d.now.Add(time.Hour),
		}
		d.open[" "+desk] = true
	})
	d := r.dialogue(t, r.imap, true)
	d.want(greeting)
	d.send("a AUTHENTICATE XOAUTH2 %s", encoded(xoauth2{desk, "app"}))
	d.want("a OK AUTHENTICATE completed.")
	d.send("b EXAMINE INBOX")
	d.until("b OK [READ-ONLY]")
}

func TestIMAPFaults(t *testing.T) {
	t.Parallel()
	signedIn := func(t *testing.T, r *running) *dialogue {
		d := r.dialogue(t, r.imap, true)
		d.want(greeting)
		d.send("a AUTHENTICATE XOAUTH2 %s", encoded(as(adele, adele)))
		d.want("a OK AUTHENTICATE completed.")
		return d
	}
	turn := func(r *running, point exchange.FaultPoint, reply string) {
		r.dir.edit(func(d *tenant) { d.faults[point] = exchange.Fault{Active: true, Reply: reply} })
	}

	t.Run("imap.select with the default and with another text", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		d := signedIn(t, r)
		turn(r, exchange.FaultIMAPSelect, "")
		d.send("b SELECT INBOX")
		d.want("b NO Server Unavailable. 15")
		turn(r, exchange.FaultIMAPSelect, "BAD Mailbox is on the move.")
		d.send("c SELECT INBOX")
		d.want("c BAD Mailbox is on the move.")
	})
	t.Run("imap.throttled", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		d := signedIn(t, r)
		turn(r, exchange.FaultIMAPThrottled, "")
		d.send("b SELECT INBOX")
		d.want("b BAD Request is throttled. Suggested Backoff Time: 299990 milliseconds")
	})
	t.Run("imap.cut", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		d := signedIn(t, r)
		turn(r, exchange.FaultIMAPCut, "")
		d.send("b SELECT INBOX")
		d.wantEnd()
	})
	t.Run("imap.idle.silent turned on while idle: no push, no answer to DONE", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		d := signedIn(t, r)
		d.send("b SELECT INBOX")
		d.until("b OK ")
		d.send("c IDLE")
		d.want("+ idling")
		turn(r, exchange.FaultIMAPIdleSilent, "")
		if _, err := r.Deliver(adele, []byte(letter(nestor, adele, "unheard"))); err != nil {
			t.Fatal(err)
		}
		d.send("DONE")
		d.send("d NOOP")
		_ = d.conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if line, err := d.in.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("not silent: %q, %v", line, err)
		}
		_ = d.conn.SetReadDeadline(time.Now().Add(patient))
		if n := r.CutConnections(adele); n != 1 {
			t.Errorf("cut %d connections", n)
		}
		d.wantEnd()
		wantSubjects(t, r.Messages(adele, "INBOX"), "unheard")
	})
}

func TestIMAPSessionOutlivesAccessToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, while, then string }{
		{"between commands", "b NOOP", "c NOOP"},
		{"while idle", "b IDLE", "DONE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			d := r.dialogue(t, r.imap, true)
			d.want(greeting)
			d.send("a AUTHENTICATE XOAUTH2 %s", encoded(as(adele, adele)))
			d.want("a OK AUTHENTICATE completed.")
			d.send(c.while)
			d.line()
			r.dir.edit(func(d *tenant) { d.now = d.now.Add(time.Hour) })
			d.send(c.then)
			d.want("* BYE Session invalidated - AccessTokenExpired")
			d.wantEnd()
		})
	}
}

func TestIMAPTLS(t *testing.T) {
	t.Parallel()
	r := start(t)
	old := r.tls()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if conn, err := tls.Dial("tcp", r.imap, old); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 was accepted")
	}
}

func TestRecordHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	r := start(t)
	d := r.dialogue(t, r.imap, true)
	d.want(greeting)
	d.send(`a LOGIN "%s" "secret-password"`, adele)
	d.until("a NO")
	d.send("b AUTHENTICATE XOAUTH2 %s", encoded(xoauth2{adele, "secret-token"}))
	d.until("b NO")
	s := r.dialogue(t, r.smtp, false)
	s.upgrade(r)
	s.send("AUTH XOAUTH2 %s", encoded(xoauth2{adele, "secret-token"}))
	s.until("535 ")
	r.dir.edit(func(d *tenant) {
		if !slices.ContainsFunc(d.calls, func(c exchange.Call) bool { return c.Protocol == "smtp" }) {
			t.Error("nothing recorded of SMTP")
		}
		for _, call := range d.calls {
			if strings.Contains(call.Command+call.Reply+call.Reason, "secret") || strings.Contains(call.Command, "dXNlcj") {
				t.Errorf("a secret is recorded: %+v", call)
			}
		}
	})
}
