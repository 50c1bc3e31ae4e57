package testbed_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"golang.org/x/oauth2"

	"github.com/mailgrant/mailgrant/internal/testbed"
)

// xoauth2 is the client's side of the mechanism, as Google's and Microsoft's pages describe it.
type xoauth2 struct{ user, accessToken string }

func (x xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", []byte("user=" + x.user + "\x01auth=Bearer " + x.accessToken + "\x01\x01"), nil
}

// Next answers the challenge that tells of a refusal; the server then says no. The answer should be empty, which go-imap would
// write as "=".
func (xoauth2) Next([]byte) ([]byte, error) { return []byte{1}, nil }

func bearer(user, accessToken string) sasl.Client {
	return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: user, Token: accessToken})
}

// signIn opens an IMAP session with implicit TLS.
func signIn(t *testing.T, server *testbed.Dovecot, mechanism sasl.Client) (*imapclient.Client, error) {
	t.Helper()
	client, err := imapclient.DialTLS(fmt.Sprintf("127.0.0.1:%d", server.IMAPS), &imapclient.Options{TLSConfig: server.CA.ClientTLS()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // may be closed already
	return client, client.Authenticate(mechanism)
}

// inbox counts the messages.
func inbox(t *testing.T, client *imapclient.Client) int {
	t.Helper()
	selected, err := client.Select("INBOX", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	return int(selected.NumMessages)
}

func letter(to, subject string) string {
	return "From: sender@example.test\nTo: " + to + "\nSubject: " + subject + "\nMessage-ID: <" + subject + "@example.test>\n\nHello.\n"
}

func TestDovecot_AsksTheProviderAboutAccessTokens(t *testing.T) {
	provider := testbed.StartOIDCProvider(t, registered())
	server := testbed.StartDovecot(t, testbed.DovecotOptions{
		IntrospectionURL: provider.IntrospectionURL(mailServer()),
		Passwords:        map[string]string{"printer@example.test": "printer-password"},
	})
	tokens := newProgram(t, provider).authorise(t, "desk")
	server.Deliver(t, "desk@example.test", letter("desk@example.test", "first"))

	for name, mechanism := range map[string]sasl.Client{
		"XOAUTH2":     xoauth2{"desk@example.test", tokens.AccessToken},
		"OAUTHBEARER": bearer("desk@example.test", tokens.AccessToken),
	} {
		t.Run(name+" opens the mailbox", func(t *testing.T) {
			client, err := signIn(t, server, mechanism)
			if err != nil {
				t.Fatal(err)
			}
			if count := inbox(t, client); count != 1 {
				t.Fatalf("%d messages, want 1", count)
			}
		})
	}
	for name, mechanism := range map[string]sasl.Client{
		"somebody else's mailbox": xoauth2{"adele@example.test", tokens.AccessToken},
		"a made-up access token":  xoauth2{"desk@example.test", "nonsense"},
		"the refresh token":       xoauth2{"desk@example.test", tokens.RefreshToken + "x"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			if _, err := signIn(t, server, mechanism); err == nil {
				t.Fatal("signed in")
			}
		})
	}
	t.Run("the other port has STARTTLS", func(t *testing.T) {
		address := fmt.Sprintf("127.0.0.1:%d", server.IMAP)
		secure, err := imapclient.DialStartTLS(address, &imapclient.Options{TLSConfig: server.CA.ClientTLS()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = secure.Close() }()
		if err := secure.Authenticate(xoauth2{"desk@example.test", tokens.AccessToken}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a password opens the mailbox that has one", func(t *testing.T) {
		if _, err := signIn(t, server, sasl.NewPlainClient("", "printer@example.test", "printer-password")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("stopped and started: the mail is still there", func(t *testing.T) {
		server.Stop()
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		client, err := signIn(t, server, xoauth2{"desk@example.test", tokens.AccessToken})
		if err != nil || inbox(t, client) != 1 {
			t.Fatalf("after the restart: %v", err)
		}
	})
}

func TestDovecot_ChecksJWTsItself(t *testing.T) {
	const resource = "https://mail.example.test"
	options := registered()
	options.JWTResource, options.Scopes = resource, []string{"mail"}
	provider := testbed.StartOIDCProvider(t, options)
	server := testbed.StartDovecot(t, testbed.DovecotOptions{JWT: provider})
	tokens := newProgram(t, provider, "mail").authorise(t, "desk", oauth2.SetAuthURLParam("resource", resource))
	if strings.Count(tokens.AccessToken, ".") != 2 {
		t.Fatal("the access token is no JWT")
	}
	if _, err := signIn(t, server, xoauth2{"desk@example.test", tokens.AccessToken}); err != nil {
		t.Fatalf("own mailbox: %v", err)
	}
	if _, err := signIn(t, server, xoauth2{"adele@example.test", tokens.AccessToken}); err == nil {
		t.Fatal("signed in to somebody else's mailbox")
	}
}
