package exchange_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

const (
	pop3Greeting = "+OK The Microsoft Exchange POP3 service is ready. [Mailgrant sandbox, not Microsoft]"
	pop3Refused  = "-ERR Authentication failure: unknown user name or bad password."
)

func TestPOP3Dialogue(t *testing.T) {
	t.Parallel()
	r := start(t)
	mustDeliver(t, r, adele, "one")
	mustDeliver(t, r, adele, "two")
	enter := func(t *testing.T, who xoauth2) *dialogue {
		t.Helper()
		d := r.dialogue(t, r.pop3, true)
		d.want(pop3Greeting)
		d.send("AUTH XOAUTH2")
		d.want("+ ")
		d.send("%s", encoded(who))
		return d
	}

	t.Run("sign-in takes two lines, and no passwords", func(t *testing.T) {
		d := r.dialogue(t, r.pop3, true)
		d.want(pop3Greeting)
		d.send("CAPA")
		d.want("+OK", "TOP", "UIDL", "SASL PLAIN XOAUTH2", "USER", ".")
		d.send("STAT")
		d.want("-ERR Command is not valid in this state.")
		d.send("AUTH XOAUTH2 %s", encoded(as(adele, adele)))
		d.want(pop3Refused)
		d.send("AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00a\x00b")))
		d.want(pop3Refused)
		d.send("USER %s", adele)
		d.want("+OK")
		d.send("PASS secret")
		d.want("-ERR Logon failure: unknown user name or bad password.")
		d.send("AUTH XOAUTH2")
		d.want("+ ")
		d.send("%s", encoded(as(adele, adele)))
		d.want("+OK User successfully authenticated.")
		d.send("BREW")
		d.want("-ERR Protocol error. 11")
		d.send("QUIT")
		d.want("+OK Microsoft Exchange Server POP3 server signing off.")
		d.wantEnd()
	})

	t.Run("reads, marks and takes back", func(t *testing.T) {
		d := enter(t, as(adele, adele))
		d.want("+OK User successfully authenticated.")
		d.send("STAT")
		if got := d.line(); !strings.HasPrefix(got, "+OK 2 ") {
			t.Errorf("STAT: %s", got)
		}
		d.send("UIDL 1")
		first := d.line()
		d.send("DELE 1")
		d.want("+OK")
		d.send("UIDL 1")
		d.want("-ERR The specified message is out of range.")
		d.send("RSET")
		d.want("+OK")
		d.send("UIDL 1")
		d.want(first)
		d.send("LIST")
		d.until(".")
		d.send("TOP 2 0")
		d.until("Subject: two")
		d.until(".")
		d.send("RETR 2")
		d.until(".")
		d.send("NOOP")
		d.want("+OK")
	})

	t.Run("what is marked is deleted by QUIT alone", func(t *testing.T) {
		d := enter(t, as(adele, adele))
		d.want("+OK User successfully authenticated.")
		d.send("DELE 1")
		d.want("+OK")
		if n := r.CutConnections(adele); n == 0 {
			t.Error("no connection was cut")
		}
		d.wantEnd()
		if n := len(r.Messages(adele, "INBOX")); n != 2 {
			t.Errorf("%d messages are left of 2", n)
		}
		d = enter(t, as(adele, adele))
		d.want("+OK User successfully authenticated.")
		d.send("DELE 1")
		d.want("+OK")
		d.send("QUIT")
		d.until("+OK Microsoft")
		d.wantEnd()
		if left := r.Messages(adele, "INBOX"); len(left) != 1 || left[0].UID != 2 {
			t.Errorf("%d messages are left of 2", len(left))
		}
	})

	t.Run("a mailbox that does not open", func(t *testing.T) {
		d := enter(t, as(nestor, adele))
		d.want("+OK User successfully authenticated.")
		d.send("STAT")
		d.want("-ERR User is authenticated but not connected.")
	})

	t.Run("POP switched off", func(t *testing.T) {
		r.dir.edit(func(d *tenant) {
			d.mailboxes[nestor] = exchange.Mailbox{Address: nestor, IMAPEnabled: true, Licensed: true}
		})
		enter(t, as(nestor, nestor)).want(pop3Refused)
	})
}
