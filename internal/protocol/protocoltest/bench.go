// Package protocoltest is what every mail protocol's member must do, as tests
// that run against a real server, and the servers to run them against: the
// sandbox's Exchange, and Dovecot with Postfix.
package protocoltest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// The mailboxes of every Bench. Desk is shared: Adele may open it where the
// server knows such rights.
const (
	Adele = "adele@contoso.test"
	Desk  = "servicedesk@contoso.test"
)

// Patience bounds what a test waits for.
const Patience = time.Minute

// Bench is a running mail system for one test.
type Bench struct {
	Receive, Submit protocol.Endpoint
	ByPOP3          protocol.Endpoint // of the same mailboxes
	// Deliver puts a message into the INBOX of an address.
	Deliver func(t testing.TB, address, raw string)
}

// Owner signs in to a mailbox with its owner's access token.
func Owner(address string) protocol.Login {
	return protocol.Login{User: address, AccessToken: seal.NewSecret(AccessToken(address))}
}

// AccessToken is the one with which an address signs in.
func AccessToken(address string) string {
	return "access-token-of-" + strings.ReplaceAll(address, "@", "~")
}

// bearer gives the address that an access token is of. What follows a slash
// makes it another one of the same address.
func bearer(accessToken string) (address string, ok bool) {
	name, ok := strings.CutPrefix(accessToken, "access-token-of-")
	name, _, _ = strings.Cut(name, "/")
	return strings.ReplaceAll(name, "~", "@"), ok
}

// Letter is a small message.
func Letter(to, subject string) string {
	return fmt.Sprintf("From: sender@elsewhere.test\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%s@elsewhere.test>\r\n\r\nHello, %s.\r\n", to, subject, subject, to)
}

// Context ends with the test's patience.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Read gives the subjects above a UID and the highest UID.
func Read(ctx context.Context, t testing.TB, r protocol.Reading, after uint32, limit int) (subjects []string, last uint32) {
	t.Helper()
	last = after
	err := r.Since(ctx, after, limit, func(m message.Received) error {
		if m.UID <= last || m.UIDValidity == 0 || m.ArrivedAt.IsZero() || m.Folder == "" {
			return fmt.Errorf("a message without order or date: UID %d after %d, %+v", m.UID, last, m)
		}
		last = m.UID
		subjects = append(subjects, message.Parse(m.Raw).Subject)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return subjects, last
}

// Submission composes a message from Adele to the desk.
func Submission(t testing.TB, subject string) message.Outgoing {
	t.Helper()
	out, err := message.Compose(message.Draft{
		From: message.Party{Address: Adele}, To: []message.Party{{Address: Desk}}, Subject: subject, Text: "Hello.\n.\n..two dots\n",
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Rungs climbs a ladder and gives the names of the rungs, the failed one with a
// !, and the fault.
func Rungs(ctx context.Context, p protocol.Prober, at protocol.Endpoint, login protocol.Login) (string, error) {
	var names []string
	var failed error
	err := p.Probe(ctx, at, login, func(s protocol.Step) {
		name := s.Name
		if !s.OK {
			name, failed = name+"!", s.Err
		}
		if s.Observed == "" || s.Title == "" || strings.Contains(s.Observed, login.AccessToken.Reveal()) {
			failed = fmt.Errorf("rung %s: observed %q", s.Name, s.Observed)
		}
		names = append(names, name)
	})
	if failed != nil && !errors.Is(err, failed) {
		err = errors.Join(err, failed)
	}
	return strings.Join(names, " "), err
}
