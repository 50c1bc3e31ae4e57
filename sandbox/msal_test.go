package sandbox_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/mailgrant/mailgrant/sandbox/browser"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// msal is Microsoft's own library, pointed at the sandbox over HTTPS.
func (d *desk) msal(tenant, clientID, secret string) confidential.Client {
	d.t.Helper()
	credential, err := confidential.NewCredFromSecret(secret)
	d.must(err)
	client, err := confidential.New(d.about.TLSURL+"/"+tenant, clientID, credential,
		confidential.WithHTTPClient(d.overTLS()), confidential.WithInstanceDiscovery(false))
	d.must(err)
	return client
}

func (d *desk) overTLS() *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: d.RootCAs()}}
	d.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

func TestMSAL_SignsIn(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	client := d.msal(directory.StoryTenantID, directory.StoryClientID, directory.StoryClientSecret)
	scopes := []string{"https://outlook.office.com/IMAP.AccessAsUser.All", "https://outlook.office.com/SMTP.Send"}
	address, err := client.AuthCodeURL(d.ctx, directory.StoryClientID, d.redirect, scopes, confidential.WithLoginHint(directory.StoryDesk))
	d.must(err)
	b := browser.New(browser.Options{RootCAs: d.RootCAs()})
	d.must(b.Open(d.ctx, address))
	if got := b.Page().Forms[0].Fields.Get("loginfmt"); got != directory.StoryDesk {
		t.Errorf("the login hint filled in %q", got)
	}
	d.must(b.SignIn(d.ctx, directory.StoryDesk, directory.StoryDeskPassword))
	code := answered(b, "code")

	result, err := client.AcquireTokenByAuthCode(d.ctx, code, d.redirect, scopes)
	d.must(err)
	user, _ := d.World().User(directory.StoryDesk)
	if result.Account.PreferredUsername != directory.StoryDesk || result.Account.HomeAccountID != user.ObjectID+"."+directory.StoryTenantID || result.IDToken.TenantID != directory.StoryTenantID {
		t.Errorf("MSAL read %+v", result.Account)
	}
	if token, err := d.Entra().CheckAccessToken(result.AccessToken); err != nil || !token.IsForExchange() {
		t.Errorf("the access token MSAL got: %+v, %v", token, err)
	}

	t.Run("silently, from its cache", func(t *testing.T) {
		d.t = t
		again, err := client.AcquireTokenSilent(d.ctx, scopes, confidential.WithSilentAccount(result.Account))
		d.must(err)
		if again.AccessToken != result.AccessToken {
			t.Error("MSAL did not find its own access token")
		}
	})
	t.Run("silently, by refreshing for another resource", func(t *testing.T) {
		d.t = t
		graph, err := client.AcquireTokenSilent(d.ctx, []string{"User.Read"}, confidential.WithSilentAccount(result.Account))
		d.must(err)
		if got := claims(t, graph.AccessToken)["aud"]; got != "https://graph.microsoft.com" {
			t.Errorf("aud %v", got)
		}
	})
	t.Run("a spent code, as MSAL reads it", func(t *testing.T) {
		d.t = t
		_, err := client.AcquireTokenByAuthCode(d.ctx, code, d.redirect, scopes)
		if err == nil || !strings.Contains(err.Error(), "AADSTS54005") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a wrong secret, as MSAL reads it", func(t *testing.T) {
		d.t = t
		wrong := d.msal(directory.StoryTenantID, directory.StoryClientID, "wrong")
		_, err := wrong.AcquireTokenByAuthCode(d.ctx, code, d.redirect, scopes)
		if err == nil || !strings.Contains(err.Error(), "AADSTS7000215") || !strings.Contains(err.Error(), "invalid_client") {
			t.Errorf("%v", err)
		}
	})
	t.Run("an unknown tenant, as MSAL reads it", func(t *testing.T) {
		d.t = t
		lost := d.msal("00000000-0000-0000-0000-00000000dead", directory.StoryClientID, directory.StoryClientSecret)
		_, err := lost.AcquireTokenByAuthCode(d.ctx, code, d.redirect, scopes)
		if err == nil || !strings.Contains(err.Error(), "AADSTS90002") {
			t.Errorf("%v", err)
		}
	})
	t.Run("in its own name, with roles", func(t *testing.T) {
		d.t = t
		app, err := client.AcquireTokenByCredential(d.ctx, []string{"https://outlook.office365.com/.default"})
		d.must(err)
		if token, err := d.Entra().CheckAccessToken(app.AccessToken); err != nil || !token.App || len(token.Roles) != 2 {
			t.Errorf("%+v, %v", token, err)
		}
	})
}

// TestOIDC_Verifies lets a common OpenID Connect library discover the sandbox and check an ID token, across a key rotation.
func TestOIDC_Verifies(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	provider, err := oidc.NewProvider(d.ctx, d.about.Issuer)
	d.must(err)
	verify := func(t *testing.T, raw string) error {
		_, err := provider.Verifier(&oidc.Config{ClientID: directory.StoryClientID}).Verify(d.ctx, raw)
		return err
	}
	first := d.grantFor(directory.StoryDesk)
	d.must(verify(t, first.IDToken))
	d.must(d.Entra().RotateKeys())
	second := d.grantFor(directory.StoryDesk)
	d.must(verify(t, second.IDToken))
	if err := verify(t, first.IDToken); err != nil {
		t.Errorf("after one rotation the key before is withdrawn already: %v", err)
	}
	d.must(d.Entra().RotateKeys())
	d.must(verify(t, d.grantFor(directory.StoryDesk).IDToken))
	if err := verify(t, first.IDToken); err == nil {
		t.Error("after two rotations the oldest key is still published")
	}
	if err := verify(t, second.IDToken[:len(second.IDToken)-4]+"AAAA"); err == nil {
		t.Error("a forged signature passes")
	}
	var metadata struct {
		Issuer string `json:"issuer"`
	}
	common := oidc.InsecureIssuerURLContext(d.ctx, d.about.BaseURL+"/{tenantid}/v2.0")
	shared, err := oidc.NewProvider(common, d.about.BaseURL+"/common/v2.0")
	d.must(err)
	d.must(shared.Claims(&metadata))
	if metadata.Issuer != d.about.BaseURL+"/{tenantid}/v2.0" {
		t.Errorf("the issuer under common is %q", metadata.Issuer)
	}
}
