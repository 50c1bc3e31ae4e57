package sandbox_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

func TestToken_Claims(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	answer := d.grantFor(directory.StoryDesk)
	user, _ := d.World().User(directory.StoryDesk)

	access := claims(t, answer.AccessToken)
	for name, want := range map[string]any{
		"aud": "https://outlook.office.com", "iss": "https://sts.windows.net/" + directory.StoryTenantID + "/", "tid": directory.StoryTenantID,
		"oid": user.ObjectID, "upn": directory.StoryDesk, "unique_name": directory.StoryDesk, "appid": directory.StoryClientID, "appidacr": "1", "ver": "1.0",
	} {
		if access[name] != want {
			t.Errorf("access token: %s is %v, want %v", name, access[name], want)
		}
	}
	if scp := access["scp"].(string); !strings.Contains(scp, "IMAP.AccessAsUser.All") || strings.Contains(scp, "User.Read") {
		t.Errorf("scp %q is not Exchange's", scp)
	}
	if life := access["exp"].(float64) - access["iat"].(float64); life < 3600 || life > 5400 || int(life) != answer.ExpiresIn {
		t.Errorf("the access token lives %v s, expires_in says %d; want 60 to 90 minutes", life, answer.ExpiresIn)
	}

	id := claims(t, answer.IDToken)
	for name, want := range map[string]any{
		"iss": d.about.Issuer, "aud": directory.StoryClientID, "tid": directory.StoryTenantID, "oid": user.ObjectID,
		"preferred_username": directory.StoryDesk, "name": "Service Desk", "nonce": "the-nonce", "ver": "2.0",
	} {
		if id[name] != want {
			t.Errorf("ID token: %s is %v, want %v", name, id[name], want)
		}
	}
	if _, has := id["email"]; has {
		t.Error("the ID token has an e-mail address that nobody gave the user")
	}
	if id["sub"] == access["sub"] || id["sub"] == user.ObjectID {
		t.Error("sub is not pairwise")
	}
}

func TestToken_ForeignTenant(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	scopes := mailScopes + " email"
	code := d.codeFor(directory.StoryForeigner, "tenant", "common", "client_id", directory.StoryMultiClientID, "scope", scopes)
	answer := d.redeem(code, "tenant", "common", "client_id", directory.StoryMultiClientID, "client_secret", directory.StoryMultiSecret)
	id := claims(t, answer.IDToken)
	if id["tid"] != directory.StoryForeignTenant || id["email"] != directory.StoryDesk || id["preferred_username"] != directory.StoryForeigner {
		t.Errorf("tid %v, email %v, name %v: want the foreign tenant with the desk's address, which nobody verified", id["tid"], id["email"], id["preferred_username"])
	}
	if want := d.about.BaseURL + "/" + directory.StoryForeignTenant + "/v2.0"; id["iss"] != want {
		t.Errorf("iss %v, want %s", id["iss"], want)
	}
}

func TestToken_CodeRefusals(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	cases := []struct {
		name      string
		overrides []string
		number    int
		err       string
		status    int
	}{
		{"another redirect URI", []string{"redirect_uri", "http://localhost/else"}, 500112, "invalid_grant", 400},
		{"redirect URI missing", []string{"redirect_uri", ""}, 900144, "invalid_request", 400},
		{"wrong verifier", []string{"code_verifier", strings.Repeat("x", 43)}, 501481, "invalid_grant", 400},
		{"verifier missing", []string{"code_verifier", ""}, 501481, "invalid_grant", 400},
		{"damaged code", []string{"code", "rubbish"}, 9002313, "invalid_grant", 400},
		{"unknown code", []string{"code", "1.sandbox-code.UNKNOWN"}, 70000, "invalid_grant", 400},
		{"code missing", []string{"code", ""}, 900144, "invalid_request", 400},
		{"another app", []string{"client_id", directory.StoryMultiClientID, "client_secret", directory.StoryMultiSecret}, 70000, "invalid_grant", 400},
		{"unknown app", []string{"client_id", "99999999-0000-0000-0000-000000000000"}, 700016, "unauthorized_client", 400},
		{"app missing", []string{"client_id", ""}, 900144, "invalid_request", 400},
		{"app of one tenant on common", []string{"tenant", "common"}, 50194, "invalid_request", 400},
		{"app of one tenant in another tenant", []string{"tenant", directory.StoryForeignDomain}, 700016, "unauthorized_client", 400},
		{"unknown tenant", []string{"tenant", "nowhere.example"}, 90002, "invalid_request", 400},
		{"consumers", []string{"tenant", "consumers"}, 9002332, "invalid_request", 400},
		{"wrong secret", []string{"client_secret", "wrong"}, 7000215, "invalid_client", 401},
		{"the secret's id in place of its value", []string{"client_secret", "5ec0e700-7e57-4000-8000-000000000001"}, 7000215, "invalid_client", 401},
		{"secret missing", []string{"client_secret", ""}, 7000218, "invalid_client", 401},
		{"public app with a secret", []string{"client_id", directory.StoryPublicClientID}, 700025, "invalid_client", 401},
		{"grant type missing", []string{"grant_type", ""}, 900144, "invalid_request", 400},
		{"grant type unknown", []string{"grant_type", "password"}, 70003, "unsupported_grant_type", 400},
		{"resource parameter", []string{"resource", "https://outlook.office.com"}, 901002, "invalid_request", 400},
		{"two resources", []string{"scope", "https://outlook.office.com/SMTP.Send https://graph.microsoft.com/User.Read"}, 70011, "invalid_scope", 400},
		{"unknown permission", []string{"scope", "https://outlook.office.com/Everything"}, 650053, "invalid_client", 400},
		{"unknown resource", []string{"scope", "https://mail.example/Read"}, 500011, "invalid_resource", 400},
		{"permission without consent", []string{"scope", "https://graph.microsoft.com/Mail.Read"}, 65001, "invalid_grant", 400},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d.t = t
			answer := d.redeem(d.codeFor(directory.StoryDesk), c.overrides...)
			if answer.code() != c.number || answer.Error != c.err || answer.Status != c.status {
				t.Errorf("status %d, %s, %s; want status %d, %s, AADSTS%d", answer.Status, answer.Error, answer.ErrorDescription, c.status, c.err, c.number)
			}
			shape := regexp.MustCompile(`^AADSTS\d+: .+ Trace ID: [0-9a-f-]{36} Correlation ID: [0-9a-f-]{36} Timestamp: \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$`)
			if !shape.MatchString(answer.ErrorDescription) || answer.TraceID == "" || answer.CorrelationID == "" || answer.Timestamp == "" {
				t.Errorf("this is not Entra's shape: %+v", answer)
			}
		})
	}
}

func TestToken_CodeOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	t.Run("a code works once", func(t *testing.T) {
		d.t = t
		code := d.codeFor(directory.StoryDesk)
		if first := d.redeem(code); first.Status != http.StatusOK {
			t.Fatal(first.ErrorDescription)
		}
		if second := d.redeem(code); second.code() != 54005 || second.Error != "invalid_grant" {
			t.Errorf("%s, want AADSTS54005", second.ErrorDescription)
		}
	})
	t.Run("a refused request does not spend the code", func(t *testing.T) {
		d.t = t
		code := d.codeFor(directory.StoryDesk)
		_ = d.redeem(code, "client_secret", "wrong")
		if again := d.redeem(code); again.Status != http.StatusOK {
			t.Error(again.ErrorDescription)
		}
	})
	t.Run("GET is refused", func(t *testing.T) {
		response, err := http.Get(d.about.Token)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("status %d", response.StatusCode)
		}
	})
	t.Run("a parameter given twice is refused", func(t *testing.T) {
		d.t = t
		answer, err := d.post(url.Values{"grant_type": {"refresh_token", "refresh_token"}})
		d.must(err)
		if answer.code() != 90013 {
			t.Error(answer.ErrorDescription)
		}
	})
}

func TestToken_BasicAuthentication(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {d.codeFor(directory.StoryDesk)}, "redirect_uri": {d.redirect}, "code_verifier": {verifier},
	}
	request, err := http.NewRequestWithContext(d.ctx, http.MethodPost, d.about.Token, strings.NewReader(form.Encode()))
	d.must(err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(directory.StoryClientID), url.QueryEscape(directory.StoryClientSecret))
	response, err := http.DefaultClient.Do(request)
	d.must(err)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status %d, want 200", response.StatusCode)
	}
}

func TestToken_Clock(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	t.Run("a code lives ten minutes", func(t *testing.T) {
		d.t = t
		code := d.codeFor(directory.StoryDesk)
		d.World().MoveClock(10 * time.Minute)
		if answer := d.redeem(code); answer.code() != 70008 {
			t.Errorf("%s, want AADSTS70008", answer.ErrorDescription)
		}
	})
	t.Run("an access token lives at most 90 minutes", func(t *testing.T) {
		d.t = t
		grant := d.grantFor(directory.StoryDesk)
		if _, err := d.Entra().CheckAccessToken(grant.AccessToken); err != nil {
			t.Fatal(err)
		}
		d.World().MoveClock(90 * time.Minute)
		if _, err := d.Entra().CheckAccessToken(grant.AccessToken); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("after 90 minutes: %v, want expired", err)
		}
	})
	t.Run("a refresh token lives 90 days, and each use brings a fresh one", func(t *testing.T) {
		d.t = t
		grant := d.grantFor(directory.StoryDesk)
		for range 3 {
			d.World().MoveClock(89 * 24 * time.Hour)
			if grant = d.refresh(grant.RefreshToken); grant.Status != http.StatusOK {
				t.Fatal(grant.ErrorDescription)
			}
		}
		d.World().MoveClock(90 * 24 * time.Hour)
		if answer := d.refresh(grant.RefreshToken); answer.code() != 700082 || answer.Error != "invalid_grant" {
			t.Errorf("%s, want AADSTS700082", answer.ErrorDescription)
		}
	})
	t.Run("a secret ends", func(t *testing.T) {
		d.t = t
		grant := d.grantFor(directory.StoryDesk)
		d.must(d.World().ExpireSecrets(directory.StoryClientID))
		if answer := d.refresh(grant.RefreshToken); answer.code() != 7000222 || answer.Error != "invalid_client" {
			t.Errorf("%s, want AADSTS7000222", answer.ErrorDescription)
		}
		secret, err := d.World().AddSecret(directory.StoryClientID, time.Time{})
		d.must(err)
		if answer := d.refresh(grant.RefreshToken, "client_secret", secret.Value); answer.Status != http.StatusOK {
			t.Errorf("with the new secret: %s", answer.ErrorDescription)
		}
	})
}

func TestToken_Rotation(t *testing.T) {
	t.Parallel()
	t.Run("Entra's way: the old refresh token stays valid", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		first := d.grantFor(directory.StoryDesk)
		second := d.refresh(first.RefreshToken)
		if second.RefreshToken == "" || second.RefreshToken == first.RefreshToken {
			t.Fatal("a refresh did not bring a new refresh token")
		}
		for _, refreshToken := range []string{first.RefreshToken, second.RefreshToken, first.RefreshToken} {
			if again := d.refresh(refreshToken); again.Status != http.StatusOK {
				t.Error(again.ErrorDescription)
			}
		}
	})
	t.Run("strict: re-use ends the family, and only that", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		d.World().SetStrictRotation(true)
		other := d.grantFor(directory.StoryDesk)
		first := d.grantFor(directory.StoryDesk)
		second := d.refresh(first.RefreshToken)
		if second.Status != http.StatusOK {
			t.Fatal(second.ErrorDescription)
		}
		if reuse := d.refresh(first.RefreshToken); reuse.Error != "invalid_grant" {
			t.Errorf("re-use: %+v, want invalid_grant", reuse)
		}
		if successor := d.refresh(second.RefreshToken); successor.Error != "invalid_grant" {
			t.Errorf("the successor still works after re-use: %+v", successor)
		}
		if spared := d.refresh(other.RefreshToken); spared.Status != http.StatusOK {
			t.Errorf("another grant of the same user died too: %s", spared.ErrorDescription)
		}
	})
	t.Run("strict: two at once with one refresh token, one wins and the family ends", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		d.World().SetStrictRotation(true)
		grant := d.grantFor(directory.StoryDesk)
		answers := make(chan tokens, 8)
		for range cap(answers) {
			go func() {
				answer, err := d.post(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {grant.RefreshToken}})
				if err != nil {
					answer.Error = err.Error()
				}
				answers <- answer
			}()
		}
		won := 0
		for range cap(answers) {
			if answer := <-answers; answer.Status == http.StatusOK {
				won++
			} else if answer.Error != "invalid_grant" {
				t.Errorf("%+v", answer)
			}
		}
		if won != 1 {
			t.Errorf("%d refreshes won, want 1", won)
		}
	})
}

func TestToken_RefreshScopes(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	grant := d.grantFor(directory.StoryDesk)
	cases := []struct{ name, scope, audience string }{
		{"no scope: the first resource of the grant", "", "https://outlook.office.com"},
		{"Graph, from the same refresh token", "https://graph.microsoft.com/User.Read", "https://graph.microsoft.com"},
		{"a bare name means Graph", "user.read", "https://graph.microsoft.com"},
		{"two resources: the first wins, silently", "https://graph.microsoft.com/User.Read https://outlook.office.com/SMTP.Send", "https://graph.microsoft.com"},
		{"Exchange by its other name", "https://outlook.office365.com/IMAP.AccessAsUser.All", "https://outlook.office365.com"},
		{"default: all that was granted", "https://outlook.office.com/.default", "https://outlook.office.com"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d.t = t
			answer := d.refresh(grant.RefreshToken, "scope", c.scope)
			if answer.Status != http.StatusOK {
				t.Fatal(answer.ErrorDescription)
			}
			if got := claims(t, answer.AccessToken)["aud"]; got != c.audience {
				t.Errorf("aud %v, want %s", got, c.audience)
			}
		})
	}
	t.Run("a bare mail permission gives a token that is not for Exchange", func(t *testing.T) {
		d.t = t
		if answer := d.refresh(grant.RefreshToken, "scope", "IMAP.AccessAsUser.All"); answer.code() != 65001 {
			t.Errorf("%+v, want AADSTS65001: only Exchange's permission was granted", answer)
		}
	})
}

func TestToken_GrantEnds(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		happen func(*directory.World) error
		number int // 0: the grant lives on
	}{
		{"sessions revoked", func(w *directory.World) error { return w.RevokeSessions(directory.StoryDesk) }, 50173},
		{"password reset by an administrator", func(w *directory.World) error { return w.ResetPassword(directory.StoryDesk, "new") }, 50173},
		{"password changed by the user: a confidential app's grant lives on", func(w *directory.World) error { return w.ChangePassword(directory.StoryDesk, "new") }, 0},
		{"user disabled", func(w *directory.World) error { return w.SetUserDisabled(directory.StoryDesk, true) }, 50057},
		{"app disabled", func(w *directory.World) error { return w.SetRegistrationDisabled(directory.StoryClientID, true) }, 7000112},
		{"consent withdrawn", func(w *directory.World) error { return w.WithdrawConsents(directory.StoryClientID) }, 65001},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			grant := d.grantFor(directory.StoryDesk)
			d.must(c.happen(d.World()))
			answer := d.refresh(grant.RefreshToken)
			if answer.code() != c.number {
				t.Errorf("%d %s, want AADSTS%d", answer.Status, answer.ErrorDescription, c.number)
			}
		})
	}
	t.Run("authorised anew after sessions were revoked", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		d.must(d.World().RevokeSessions(directory.StoryDesk))
		if answer := d.refresh(d.grantFor(directory.StoryDesk).RefreshToken); answer.Status != http.StatusOK {
			t.Error(answer.ErrorDescription)
		}
	})
	t.Run("public app: no secret, and its grant ends with the password", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		public := []string{"client_id", directory.StoryPublicClientID, "client_secret", ""}
		grant := d.redeem(d.codeFor(directory.StoryDesk, "client_id", directory.StoryPublicClientID), public...)
		if claims(t, grant.AccessToken)["appidacr"] != "0" {
			t.Error("the access token does not say that the app is public")
		}
		if grant = d.refresh(grant.RefreshToken, public...); grant.Status != http.StatusOK {
			t.Fatal(grant.ErrorDescription)
		}
		d.must(d.World().ChangePassword(directory.StoryDesk, "new"))
		if answer := d.refresh(grant.RefreshToken, public...); answer.code() != 50173 {
			t.Errorf("%s, want AADSTS50173", answer.ErrorDescription)
		}
	})
}

func TestToken_ClientCredentials(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ask := func(t *testing.T, overrides ...string) tokens {
		d.t = t
		answer, err := d.post(url.Values{"grant_type": {"client_credentials"}, "scope": {"https://outlook.office365.com/.default"}}, overrides...)
		d.must(err)
		return answer
	}
	t.Run("an app with roles gets them", func(t *testing.T) {
		answer := ask(t)
		token, err := d.Entra().CheckAccessToken(answer.AccessToken)
		d.must(err)
		if !token.App || token.UserName != "" || len(token.Roles) != 2 || answer.RefreshToken != "" {
			t.Errorf("%+v", token)
		}
	})
	t.Run("an app without roles gets a token all the same", func(t *testing.T) {
		answer := ask(t, "client_id", directory.StoryMultiClientID, "client_secret", directory.StoryMultiSecret)
		token, err := d.Entra().CheckAccessToken(answer.AccessToken)
		d.must(err)
		if !token.App || len(token.Roles) != 0 {
			t.Errorf("%+v", token)
		}
	})
	t.Run("single scopes are refused", func(t *testing.T) {
		if answer := ask(t, "scope", "https://outlook.office365.com/SMTP.Send"); answer.code() != 1002012 {
			t.Error(answer.ErrorDescription)
		}
	})
	t.Run("under common it is refused", func(t *testing.T) {
		answer := ask(t, "tenant", "common", "client_id", directory.StoryMultiClientID, "client_secret", directory.StoryMultiSecret)
		if answer.code() != 9001023 {
			t.Error(answer.ErrorDescription)
		}
	})
}

func TestToken_Opaque(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.World().SetOpaqueAccessTokens(true)
	grant := d.grantFor(directory.StoryDesk)
	if strings.Count(grant.AccessToken, ".") != 0 || !strings.HasPrefix(grant.AccessToken, "EwB") {
		t.Error("the access token can be read")
	}
	token, err := d.Entra().CheckAccessToken(grant.AccessToken)
	d.must(err)
	if token.UserName != directory.StoryDesk || !token.IsForExchange() || !token.HasScope("imap.accessasuser.all") {
		t.Errorf("%+v", token)
	}
}
