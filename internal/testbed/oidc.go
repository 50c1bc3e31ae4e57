package testbed

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// OIDCClient is a client registered at the OpenID provider.
type OIDCClient struct {
	ID           string
	Secret       string // empty for a public client
	RedirectURIs []string
	// AuthMethod is how a confidential client proves itself at the token endpoint: "client_secret_basic" (the default) or
	// "client_secret_post".
	AuthMethod string
	// IntrospectOnly registers a mail server, which asks about access tokens and never for one.
	IntrospectOnly bool
}

// OIDCUser is a person who can sign in at the OpenID provider.
type OIDCUser struct {
	Login             string // typed by the person; also the subject
	Password          string
	Email             string
	EmailVerified     bool
	PreferredUsername string // the address as the mail server knows it; Email when empty
	Name              string
}

// OIDCOptions says who may do what at the OpenID provider.
type OIDCOptions struct {
	Clients []OIDCClient
	Users   []OIDCUser
	// Scopes beside openid, offline_access, email and profile.
	Scopes []string
	// KeepRefreshTokens turns rotation off. By default every refresh issues a new refresh token, and one that comes a second
	// time ends the whole grant, for confidential clients too.
	KeepRefreshTokens bool
	AccessTokenTTL    time.Duration // 1 h when zero; whole seconds
	RefreshTokenTTL   time.Duration // 14 days when zero; whole seconds
	// JWTResource, when set, is the resource indicator (RFC 8707) whose access tokens are JWTs that a mail server checks without
	// asking; without a resource they are opaque and open UserInfo.
	JWTResource string
	// CA, when set, makes the provider speak https with a certificate of this authority.
	CA *CA
}

// OIDCProvider is a running npm oidc-provider. Claims about a person are in UserInfo, not in the ID token.
type OIDCProvider struct {
	Issuer string
	// Keys are the public keys that sign ID tokens and JWT access tokens.
	Keys jose.JSONWebKeySet

	port    int
	client  *http.Client
	control *http.Client
	admin   string // the control port's base URL
}

// StartOIDCProvider starts the OpenID provider at http://127.0.0.1:PORT, or https with a CA.
func StartOIDCProvider(t testing.TB, options OIDCOptions) *OIDCProvider {
	t.Helper()
	node := program(t, "node", "nodejs npm")
	code := npmFolder(t, "oidc")
	dir := folder(t, "oidc", nil)
	p := &OIDCProvider{port: FreePort(t), control: &http.Client{Timeout: 30 * time.Second}}
	administration := FreePort(t)
	p.admin = "http://127.0.0.1:" + strconv.Itoa(administration)
	p.Issuer = "http://127.0.0.1:" + strconv.Itoa(p.port)
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	p.client = &http.Client{Timeout: 30 * time.Second, Transport: transport}
	if options.CA != nil {
		p.Issuer = "https://localhost:" + strconv.Itoa(p.port)
		transport.TLSClientConfig = &tls.Config{RootCAs: options.CA.Pool(), MinVersion: tls.VersionTLS12}
	}

	settings := filepath.Join(dir, "settings.json")
	content, err := json.Marshal(p.settings(t, options, administration))
	if err != nil {
		t.Fatalf("encode the settings of oidc-provider: %v", err)
	}
	writeFile(t, settings, string(content), 0o600)

	server, err := start(command{name: "oidc-provider", args: []string{node, filepath.Join(code, "provider.js"), settings}, dir: dir, signal: "TERM"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		p.control.CloseIdleConnections()
		server.stop()
		showLogOnFailure(t, "oidc-provider", server.log)
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the folder of oidc-provider: %v", err)
		}
	})
	if err := server.await(listens(administration)); err != nil {
		t.Fatal(err)
	}
	return p
}

// settings is what provider.js reads.
func (p *OIDCProvider) settings(t testing.TB, options OIDCOptions, administration int) map[string]any {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatalf("make a signing key: %v", err)
	}
	signing := jose.JSONWebKey{Key: private, KeyID: "test", Algorithm: string(jose.RS256), Use: "sig"}
	p.Keys = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{signing.Public()}}

	clients := []map[string]any{}
	for _, c := range options.Clients {
		method := c.AuthMethod
		if method == "" {
			method = "client_secret_basic"
		}
		redirects := c.RedirectURIs
		if redirects == nil {
			redirects = []string{}
		}
		clients = append(clients, map[string]any{
			"id": c.ID, "secret": c.Secret, "public": c.Secret == "", "auth_method": method, "redirect_uris": redirects,
			"introspect_only": c.IntrospectOnly,
		})
	}
	users := []map[string]any{}
	for _, u := range options.Users {
		address := u.PreferredUsername
		if address == "" {
			address = u.Email
		}
		users = append(users, map[string]any{
			"login": u.Login, "password": u.Password, "email": u.Email, "email_verified": u.EmailVerified,
			"preferred_username": address, "name": u.Name,
		})
	}
	settings := map[string]any{
		"issuer": p.Issuer, "port": p.port, "control_port": administration, "clients": clients, "users": users,
		"scopes": append([]string{"email", "profile"}, options.Scopes...), "rotate": !options.KeepRefreshTokens,
		"access_token_ttl":  seconds(options.AccessTokenTTL, time.Hour),
		"refresh_token_ttl": seconds(options.RefreshTokenTTL, 14*24*time.Hour),
		"jwt_resource":      options.JWTResource, "cookie_key": rand.Text(),
		"jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{signing}},
	}
	if options.CA != nil {
		certificate, key := options.CA.ServerPEM(t)
		settings["tls"] = map[string]string{"cert": string(certificate), "key": string(key)}
	}
	return settings
}

func seconds(d, otherwise time.Duration) int {
	if d == 0 {
		d = otherwise
	}
	return int(d / time.Second)
}

// Client is an HTTP client that trusts the provider's certificate. It keeps no cookies.
func (p *OIDCProvider) Client() *http.Client { return p.client }

// Browser is an HTTP client as a person's browser: it keeps cookies, follows redirects within the provider, and stops at the
// first redirect that leads elsewhere, returning it as the response.
func (p *OIDCProvider) Browser(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{
		Jar: jar, Timeout: p.client.Timeout, Transport: p.client.Transport,
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			if next.URL.Host != before[0].URL.Host {
				return http.ErrUseLastResponse
			}
			if len(before) > 10 {
				return errors.New("more than 10 redirects")
			}
			return nil
		},
	}
}

// IntrospectionURL is the endpoint with a client's id and secret in it, as Dovecot wants it.
func (p *OIDCProvider) IntrospectionURL(client OIDCClient) string {
	scheme, rest := "http://", p.Issuer[len("http://"):]
	if p.Issuer[4] == 's' {
		scheme, rest = "https://", p.Issuer[len("https://"):]
	}
	return fmt.Sprintf("%s%s:%s@%s/token/introspection", scheme, client.ID, client.Secret, rest)
}
