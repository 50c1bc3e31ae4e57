package protocoltest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/testbed"
)

// Debian is a running Dovecot with a Postfix.
type Debian struct {
	Bench
	Dovecot *testbed.Dovecot
	Postfix *testbed.Postfix
}

// StartDebian runs Dovecot and, with submit, Postfix; it is skipped with -short.
// Access tokens are checked by introspection (RFC 7662): each opens the mailbox
// it is named after.
func StartDebian(t *testing.T, submit bool) *Debian {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real servers")
	}
	introspection := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address, ok := bearer(r.FormValue("token"))
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"active": ok, "username": address})
	}))
	t.Cleanup(introspection.Close)
	d := &Debian{Dovecot: testbed.StartDovecot(t, testbed.DovecotOptions{IntrospectionURL: introspection.URL})}
	d.Bench = Bench{
		Receive: protocol.Endpoint{Protocol: protocol.IMAP, Host: "localhost", Port: d.Dovecot.IMAPS, TLS: protocol.TLSImplicit, CAPEM: d.Dovecot.CA.PEM, Resource: "mail", Setting: "receive"},
		ByPOP3:  protocol.Endpoint{Protocol: protocol.POP3, Host: "localhost", Port: d.Dovecot.POP3S, TLS: protocol.TLSImplicit, CAPEM: d.Dovecot.CA.PEM, Resource: "mail", Setting: "receive"},
		Deliver: d.Dovecot.Deliver,
	}
	if submit {
		d.Postfix = testbed.StartPostfix(t, d.Dovecot, testbed.PostfixOptions{Replies: map[string]string{
			"gone@contoso.test": "550 5.1.1 No such mailbox", "busy@contoso.test": "450 4.2.1 Mailbox busy",
		}})
		d.Submit = protocol.Endpoint{Protocol: protocol.SMTP, Host: "localhost", Port: d.Postfix.Submission, TLS: protocol.TLSStart, CAPEM: d.Postfix.CA.PEM, Resource: "mail", Setting: "send"}
	}
	return d
}
