package testbed_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mailgrant/mailgrant/internal/testbed"
)

func TestPostfix_TakesMailFromWhoSignsIn(t *testing.T) {
	provider := testbed.StartOIDCProvider(t, registered())
	store := testbed.StartDovecot(t, testbed.DovecotOptions{IntrospectionURL: provider.IntrospectionURL(mailServer())})
	server := testbed.StartPostfix(t, store, testbed.PostfixOptions{Replies: map[string]string{
		"gone@example.test": "550 5.1.1 No such mailbox", "busy@example.test": "450 4.2.1 Mailbox busy",
	}})
	tokens := newProgram(t, provider).authorise(t, "desk")
	me := xoauth2{"desk@example.test", tokens.AccessToken}

	// submit sends one message over STARTTLS, or over implicit TLS.
	submit := func(t *testing.T, implicit bool, mechanism *xoauth2, to string) error {
		t.Helper()
		dial, port := smtp.DialStartTLS, server.Submission
		if implicit {
			dial, port = smtp.DialTLS, server.Submissions
		}
		client, err := dial(fmt.Sprintf("127.0.0.1:%d", port), server.CA.ClientTLS())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		if mechanism != nil {
			if err := client.Auth(mechanism); err != nil {
				return err
			}
		}
		return client.SendMail("desk@example.test", []string{to}, strings.NewReader(strings.ReplaceAll(letter(to, "sent"), "\n", "\r\n")))
	}

	t.Run("the message reaches the other mailbox", func(t *testing.T) {
		for _, implicit := range []bool{false, true} {
			if err := submit(t, implicit, &me, "adele@example.test"); err != nil {
				t.Fatalf("implicit TLS %v: %v", implicit, err)
			}
		}
		adele := newProgram(t, provider).authorise(t, "adele")
		client, err := signIn(t, store, xoauth2{"adele@example.test", adele.AccessToken})
		if err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(90 * time.Second)
		for inbox(t, client) != 2 {
			if time.Now().After(deadline) {
				t.Fatal("the messages did not arrive")
			}
		}
	})
	t.Run("nothing is taken from a stranger", func(t *testing.T) {
		if err := submit(t, false, nil, "adele@example.test"); err == nil {
			t.Fatal("taken")
		}
	})
	t.Run("a bad access token is refused", func(t *testing.T) {
		if err := submit(t, false, &xoauth2{"desk@example.test", "nonsense"}, "adele@example.test"); err == nil {
			t.Fatal("signed in")
		}
	})
	for to, code := range map[string]int{"gone@example.test": 550, "busy@example.test": 450} {
		t.Run(fmt.Sprintf("%s is answered with %d", to, code), func(t *testing.T) {
			var reply *smtp.SMTPError
			if err := submit(t, false, &me, to); !errors.As(err, &reply) || reply.Code != code {
				t.Fatalf("got %v, want %d", err, code)
			}
		})
	}
}
