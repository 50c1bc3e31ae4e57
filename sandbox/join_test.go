package sandbox_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// xoauth2 is Google's and Microsoft's SASL mechanism, from the client's side.
type xoauth2 struct{ user, accessToken string }

func (x xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", fmt.Appendf(nil, "user=%s\x01auth=Bearer %s\x01\x01", x.user, x.accessToken), nil
}

func (x xoauth2) Next([]byte) ([]byte, error) { return []byte{}, nil }

var _ sasl.Client = xoauth2{}

// opens says whether a mailbox opens over IMAP with an access token.
func (d *desk) opens(mailbox, accessToken string) error {
	d.t.Helper()
	client, err := imapclient.DialTLS(d.about.IMAP.Address(), &imapclient.Options{TLSConfig: &tls.Config{RootCAs: d.RootCAs()}})
	d.must(err)
	defer func() { _ = client.Close() }()
	if err := client.Authenticate(xoauth2{mailbox, accessToken}); err != nil {
		return err
	}
	_, err = client.Select("INBOX", nil).Wait()
	return err
}

func (d *desk) sends(mailbox, accessToken, to string) error {
	d.t.Helper()
	client, err := smtp.DialStartTLS(d.about.SMTP.Address(), &tls.Config{RootCAs: d.RootCAs()})
	d.must(err)
	defer func() { _ = client.Close() }()
	if err := client.Auth(xoauth2{mailbox, accessToken}); err != nil {
		return err
	}
	return client.SendMail(mailbox, []string{to}, strings.NewReader("From: "+mailbox+"\r\nTo: "+to+"\r\nSubject: hello\r\n\r\nhello\r\n"))
}

func TestExchange_Joined(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	deskToken, adeleToken := d.grantFor(directory.StoryDesk), d.grantFor(directory.StoryAdele)
	graphToken := d.refresh(deskToken.RefreshToken, "scope", "https://graph.microsoft.com/User.Read")
	cases := []struct {
		name, mailbox, token string
		opens                bool
	}{
		{"the desk opens its own mailbox", directory.StoryDesk, deskToken.AccessToken, true},
		{"by its alias too", directory.StoryDeskAlias, deskToken.AccessToken, true},
		{"Adele does not open the desk's", directory.StoryDesk, adeleToken.AccessToken, false},
		{"Adele opens the scans, by Full Access", directory.StoryScans, adeleToken.AccessToken, true},
		{"the desk does not open the scans", directory.StoryScans, deskToken.AccessToken, false},
		{"an access token for Graph opens nothing", directory.StoryDesk, graphToken.AccessToken, false},
		{"rubbish opens nothing", directory.StoryDesk, "rubbish", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d.t = t
			if err := d.opens(c.mailbox, c.token); (err == nil) != c.opens {
				t.Errorf("opens: %v", err)
			}
		})
	}
	t.Run("mail moves from one mailbox to another", func(t *testing.T) {
		d.t = t
		d.must(d.sends(directory.StoryScans, adeleToken.AccessToken, directory.StoryDesk))
		inbox := d.Exchange().Messages(directory.StoryDesk, "INBOX")
		if len(inbox) != 1 || !bytes.Contains(inbox[0].Raw, []byte("Subject: hello")) {
			t.Fatalf("%d messages arrived", len(inbox))
		}
	})
	t.Run("IMAP switched off", func(t *testing.T) {
		d.t = t
		d.must(d.World().ChangeMailbox(directory.StoryDesk, func(m *directory.Mailbox) { m.IMAPOff, m.SMTPAuthOff = true, true }))
		if err := d.opens(directory.StoryDesk, deskToken.AccessToken); err == nil {
			t.Error("the mailbox opens over IMAP")
		}
		if err := d.sends(directory.StoryDesk, deskToken.AccessToken, directory.StoryAdele); err == nil || !strings.Contains(err.Error(), "SmtpClientAuthentication is disabled for the Mailbox") {
			t.Errorf("SMTP AUTH switched off: %v", err)
		}
		d.must(d.World().ChangeMailbox(directory.StoryDesk, func(m *directory.Mailbox) { m.IMAPOff, m.SMTPAuthOff = false, false }))
	})
	t.Run("a fault in Exchange, once, for one mailbox", func(t *testing.T) {
		d.t = t
		d.must(d.InjectFault(directory.Fault{Point: "imap.auth", Mailbox: directory.StoryDesk, Times: 1}))
		if err := d.opens(directory.StoryScans, adeleToken.AccessToken); err != nil {
			t.Errorf("another mailbox suffers: %v", err)
		}
		if err := d.opens(directory.StoryDesk, deskToken.AccessToken); err == nil {
			t.Error("the fault did not happen")
		}
		if err := d.opens(directory.StoryDesk, deskToken.AccessToken); err != nil {
			t.Errorf("the fault happened twice: %v", err)
		}
	})
	t.Run("an expired access token opens nothing", func(t *testing.T) {
		d.t = t
		d.World().MoveClock(2 * time.Hour)
		if err := d.opens(directory.StoryDesk, deskToken.AccessToken); err == nil {
			t.Error("it opens")
		}
	})
}

func TestGraph_Me(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	grant := d.grantFor(directory.StoryDesk)
	graph := d.refresh(grant.RefreshToken, "scope", "https://graph.microsoft.com/User.Read openid")
	ask := func(t *testing.T, path, accessToken string) (int, map[string]any) {
		d.t = t
		request, err := http.NewRequestWithContext(d.ctx, http.MethodGet, d.about.GraphURL+path, nil)
		d.must(err)
		if accessToken != "" {
			request.Header.Set("Authorization", "Bearer "+accessToken)
		}
		response, err := http.DefaultClient.Do(request)
		d.must(err)
		defer func() { _ = response.Body.Close() }()
		var body map[string]any
		d.must(json.NewDecoder(response.Body).Decode(&body))
		return response.StatusCode, body
	}
	t.Run("without $select there are no proxyAddresses", func(t *testing.T) {
		status, body := ask(t, "/v1.0/me", graph.AccessToken)
		if _, has := body["proxyAddresses"]; has || status != 200 || body["mail"] != directory.StoryDesk || body["userPrincipalName"] != directory.StoryDesk {
			t.Errorf("%d %v", status, body)
		}
	})
	t.Run("with $select exactly what was named", func(t *testing.T) {
		status, body := ask(t, "/v1.0/me?$select=id,mail,userPrincipalName,proxyAddresses", graph.AccessToken)
		addresses := fmt.Sprint(body["proxyAddresses"])
		if _, has := body["displayName"]; has || status != 200 || addresses != "[SMTP:"+directory.StoryDesk+" smtp:"+directory.StoryDeskAlias+"]" {
			t.Errorf("%d %v", status, body)
		}
	})
	t.Run("userinfo: the same sub as the ID token", func(t *testing.T) {
		_, body := ask(t, "/oidc/userinfo", graph.AccessToken)
		if body["sub"] != claims(t, grant.IDToken)["sub"] {
			t.Errorf("%v", body)
		}
	})
	refused := []struct {
		name, path, token string
		status            int
		code              string
	}{
		{"no access token", "/v1.0/me", "", 401, "InvalidAuthenticationToken"},
		{"one for Exchange", "/v1.0/me", grant.AccessToken, 401, "InvalidAuthenticationToken"},
		{"rubbish", "/v1.0/me", "rubbish", 401, "InvalidAuthenticationToken"},
		{"an ID token", "/v1.0/me", grant.IDToken, 401, "InvalidAuthenticationToken"},
		{"unknown field", "/v1.0/me?$select=shoeSize", graph.AccessToken, 400, "BadRequest"},
	}
	for _, c := range refused {
		t.Run("refused: "+c.name, func(t *testing.T) {
			status, body := ask(t, c.path, c.token)
			inner, _ := body["error"].(map[string]any)
			if status != c.status || inner["code"] != c.code {
				t.Errorf("%d %v, want %d %s", status, body, c.status, c.code)
			}
		})
	}
}

func TestControl_HTTP(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	call := func(t *testing.T, method, path, key, body string) (int, string) {
		d.t = t
		request, err := http.NewRequestWithContext(d.ctx, method, d.about.ControlURL+path, strings.NewReader(body))
		d.must(err)
		request.Header.Set("Authorization", "Bearer "+key)
		response, err := http.DefaultClient.Do(request)
		d.must(err)
		defer func() { _ = response.Body.Close() }()
		var text bytes.Buffer
		_, err = text.ReadFrom(response.Body)
		d.must(err)
		return response.StatusCode, text.String()
	}
	before := d.World().Now()
	cases := []struct{ name, method, path, body, want string }{
		{"the list of commands", "GET", "", "", "POST /sandbox/control/deliver"},
		{"clock", "POST", "move-clock", `{"by":"90m"}`, `"now"`},
		{"fault", "POST", "inject-fault", `{"fault":{"point":"token","action":"status","status":503,"times":1}}`, ""},
		{"faults", "GET", "faults", "", `"point":"token"`},
		{"clear", "POST", "clear-faults", `{}`, ""},
		{"strict", "POST", "strict-rotation", `{"on":true}`, `"strict_rotation":true`},
		{"opaque", "POST", "opaque-access-tokens", `{"on":true}`, `"opaque_access_tokens":true`},
		{"device", "POST", "device-single-sign-on", `{"user":"` + directory.StoryAdele + `"}`, ""},
		{"switches", "GET", "switches", "", `"device_user":"` + directory.StoryAdele + `"`},
		{"revoke", "POST", "revoke-sessions", `{"user":"` + directory.StoryDesk + `"}`, ""},
		{"password", "POST", "change-password", `{"user":"` + directory.StoryDesk + `","password":"another","by_admin":true}`, ""},
		{"secrets", "POST", "expire-secrets", `{"client_id":"` + directory.StoryClientID + `"}`, ""},
		{"new secret", "POST", "add-secret", `{"client_id":"` + directory.StoryClientID + `"}`, `"value":"sandbox~`},
		{"redirect URI", "POST", "add-redirect-uri", `{"client_id":"` + directory.StoryClientID + `","redirect_uri":"http://localhost:1/x"}`, ""},
		{"user consent", "POST", "set-user-consent", `{"tenant_id":"` + directory.StoryTenantID + `","user_consent":"admin"}`, ""},
		{"keys", "POST", "rotate-keys", `{}`, ""},
		{"mailbox", "POST", "change-mailbox", `{"address":"` + directory.StoryDesk + `","imap_off":true,"full_access":["x@y"]}`, `"imap_off":true`},
		{"deliver", "POST", "deliver", `{"address":"` + directory.StoryDesk + `","message":"Subject: from outside\r\n\r\nhello"}`, `"uid":1`},
		{"messages", "GET", "messages?address=" + directory.StoryDesk, "", "from outside"},
		{"calls", "GET", "calls?after=0", "", "[]"},
		{"description", "GET", "description", "", `"issuer":"` + d.about.Issuer},
		{"clock now", "GET", "clock", "", `"now"`},
		{"disable", "POST", "disable-user", `{"user":"` + directory.StoryMegan + `","disabled":true}`, ""},
		{"consents", "POST", "withdraw-consents", `{"client_id":"` + directory.StoryClientID + `"}`, ""},
	}
	for _, c := range cases {
		status, text := call(t, c.method, c.path, d.about.ControlKey, c.body)
		if status != http.StatusOK || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s", c.name, status, text)
		}
	}
	if moved := d.World().Now().Sub(before); moved < 90*time.Minute {
		t.Errorf("the clock moved by %s", moved)
	}
	if user, _ := d.World().User(directory.StoryDesk); user.Password != "another" {
		t.Error("the password is unchanged")
	}
	refused := []struct {
		name, path, key, body string
		status                int
	}{
		{"without the key", "move-clock", "", `{"by":"1h"}`, 401},
		{"with a wrong key", "move-clock", "x", `{"by":"1h"}`, 401},
		{"unknown member", "move-clock", d.about.ControlKey, `{"bye":"1h"}`, 400},
		{"no duration", "move-clock", d.about.ControlKey, `{"by":"soon"}`, 400},
		{"unknown user", "revoke-sessions", d.about.ControlKey, `{"user":"nobody"}`, 404},
		{"unknown mailbox", "deliver", d.about.ControlKey, `{"address":"nobody@nowhere","message":""}`, 400},
		{"unknown fault member", "inject-fault", d.about.ControlKey, `{"fault":{"points":"token"}}`, 400},
		{"unknown command", "explode", d.about.ControlKey, `{}`, 404},
		{"empty password", "change-password", d.about.ControlKey, `{"user":"` + directory.StoryDesk + `"}`, 400},
		{"unknown consent", "set-user-consent", d.about.ControlKey, `{"user_consent":"maybe"}`, 400},
	}
	for _, c := range refused {
		if status, text := call(t, "POST", c.path, c.key, c.body); status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, status, text, c.status)
		}
	}
}
