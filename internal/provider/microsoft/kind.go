// Package microsoft is the provider kind for Microsoft 365: Entra ID as the
// authorization server, Exchange Online for mail, Graph for telling who
// somebody is.
//
// Who signed in is tid and oid of the validated ID token. Addresses are proved
// only inside the tenant that the mailbox's domain belongs to: that tenant is
// looked up from the domain, and an ID token of any other tenant proves nothing,
// whatever address it shows. The claim email is never an address, because its
// owner may have written anything into it.
//
// Every host is data (clouds.go) and can be overridden, so that a private test
// server can stand in for Microsoft.
package microsoft

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// Name is the kind's name, as resources spell it.
const Name = "microsoft"

// Options are what a Kind needs from outside; the zero value is right for
// production.
type Options struct {
	Now    func() time.Time // default time.Now
	Egress egress.Options   // ExtraCAs come from each record
}

// Kind implements provider.Kind. It is safe for concurrent use.
type Kind struct {
	now         func() time.Time
	pool        *egress.Pool
	directories *oauth.Directories
}

// New makes the kind.
func New(o Options) *Kind {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Kind{now: o.Now, pool: egress.NewPool(o.Egress), directories: oauth.NewDirectories(o.Now)}
}

// The endpoints that a record may override: base URLs, and for mail
// "host:port" or a URL whose scheme says the TLS mode.
const (
	endpointAuthority = "authority"
	endpointGraph     = "graph"
	endpointIMAP      = "imap"
	endpointPOP3      = "pop3"
	endpointSMTP      = "smtp"
)

// Traits describes the kind.
func (k *Kind) Traits() provider.Traits {
	names := []string{}
	for _, c := range clouds() {
		names = append(names, c.name)
	}
	return provider.Traits{
		Kind: Name, Title: "Microsoft 365", Clouds: names,
		Prompts:       []provider.Prompt{provider.PromptLogin, provider.PromptSelectAccount, provider.PromptOmit},
		Endpoints:     []string{endpointAuthority, endpointGraph, endpointIMAP, endpointPOP3, endpointSMTP},
		RatePerMinute: 30, Connections: 3, SavesSent: true,
		Settings: []provider.Setting{
			{Name: "tenant", Label: "Tenant", Example: "contoso.onmicrosoft.com", Hint: "The domain of the organisation's tenant, or its directory (tenant) ID."},
			{Name: "client_id", Label: "Application (client) ID", Example: "11111111-2222-3333-4444-555555555555", Hint: "From the overview page of the app registration."},
		},
		Register: []string{
			"In the Microsoft Entra admin center, under App registrations, make a new registration for accounts in this organizational directory only.",
			"Under Authentication, add the platform Web with the redirect URI below.",
			"Under API permissions, add the delegated permissions below, and grant admin consent if your organisation asks for it.",
			"Under Certificates & secrets, make a client secret. Copy its value (not its ID) and note its end.",
		},
	}
}

// site is a record's hosts: those of its cloud with its overrides laid over.
type site struct {
	cloud
	setting string // which setting names the authority, for words
}

func siteOf(r provider.Record) site {
	s := site{cloud: cloudNamed(r.Cloud), setting: "cloud"}
	if v := r.Endpoints[endpointAuthority]; v != "" {
		s.authority, s.setting = strings.TrimSuffix(v, "/"), "endpoints.authority"
	}
	if v := r.Endpoints[endpointGraph]; v != "" {
		s.graph = strings.TrimSuffix(v, "/")
	}
	return s
}

// oauth2 gives one of Entra's v2.0 endpoints.
func (s site) oauth2(tenant, name string) string {
	return s.authority + "/" + url.PathEscape(tenant) + "/oauth2/v2.0/" + name
}

// Mail gives the preset of the record's cloud, overrides laid over.
func (k *Kind) Mail(r provider.Record, name protocol.Name) protocol.Endpoint {
	s := siteOf(r)
	at := protocol.Endpoint{Protocol: name, Resource: provider.ResourceMail, Mechanisms: []protocol.Mechanism{protocol.XOAUTH2}}
	if r.CAPEM != "" {
		at.CAPEM = []byte(r.CAPEM)
	}
	switch name {
	case protocol.IMAP:
		at.Host, at.Port, at.TLS, at.Setting = s.imap, 993, protocol.TLSImplicit, "receive"
	case protocol.POP3:
		at.Host, at.Port, at.TLS, at.Setting = s.imap, 995, protocol.TLSImplicit, "receive"
	case protocol.SMTP:
		at.Host, at.Port, at.TLS, at.Setting = s.smtp, 587, protocol.TLSStart, "send"
	case protocol.Graph:
		return s.graphAt(at)
	default:
		return protocol.Endpoint{Protocol: name}
	}
	return provider.OverlayMail(at, r.Endpoints[string(name)])
}

// graphAt is Microsoft Graph as an endpoint for mail.
func (s site) graphAt(at protocol.Endpoint) protocol.Endpoint {
	u, err := url.Parse(s.graph)
	if err != nil {
		return protocol.Endpoint{Protocol: protocol.Graph} // Check refuses it
	}
	at.Host, at.Port, at.TLS, at.Resource, at.Setting, at.Mechanisms = u.Hostname(), 443, protocol.TLSImplicit, provider.ResourceGraph, "send", nil
	if u.Scheme == "http" { // Check lets that through towards this host only
		at.Port, at.TLS = 80, protocol.TLSNone
	}
	if port, err := strconv.Atoi(u.Port()); err == nil {
		at.Port = port
	}
	return at
}

// client gives the HTTP client and the directory for a record's trust.
func (k *Kind) client(r provider.Record) (*http.Client, *oauth.Directory, error) {
	c, err := k.pool.Client(r.CAPEM)
	if err != nil {
		return nil, nil, err
	}
	return c, k.directories.For(c), nil
}

// tokenEndpoint is where a registration's codes and refresh tokens go.
func (k *Kind) tokenEndpoint(reg provider.Registration, tenant string) (oauth.TokenEndpoint, error) {
	c, _, err := k.client(reg.Record)
	if err != nil {
		return oauth.TokenEndpoint{}, err
	}
	return oauth.TokenEndpoint{
		URL: siteOf(reg.Record).oauth2(tenant, "token"), ClientID: reg.ClientID, Secrets: reg.ClientSecrets,
		Auth: oauth.ClientSecretPost, HTTP: c,
	}, nil
}

// explain turns any error of a call into a fault: the standards' class, the
// catalogue's words, or the network's.
func (k *Kind) explain(err error, reg provider.Registration, at, setting string) *fault.Error {
	f := oauth.Fault(err)
	if f == nil {
		target := egress.Target{Setting: setting}
		if u, parseErr := url.Parse(at); parseErr == nil {
			target.Host = u.Hostname()
			target.Port, _ = strconv.Atoi(u.Port())
		}
		return egress.Classify(err, target)
	}
	var answer *oauth.Error
	if errors.As(err, &answer) {
		f.RetryAfter = egress.RetryAfter(answer.RetryAfter, k.now())
		translate(f, answer, reg.Record)
	}
	var metadata *oauth.MetadataError
	if errors.As(err, &metadata) && metadata.Refusal != nil {
		translate(f, metadata.Refusal, reg.Record)
	}
	return f
}

// AuthorizationRefused puts the catalogue's words on an error that came back
// with the browser. The words come from the browser, so they explain and decide
// nothing: the kind of the fault stays.
func (k *Kind) AuthorizationRefused(reg provider.Registration, why *fault.Error) *fault.Error {
	var answer *oauth.Error
	if why == nil || !errors.As(why.Err, &answer) {
		return why
	}
	better := *why
	named := *answer
	named.ClientID = reg.ClientID
	translate(&better, &named, reg.Record)
	return &better
}

// Audiences names what access tokens of every cloud are for: by resource URI,
// and by the application IDs of Exchange Online and Graph.
func (k *Kind) Audiences() []provider.Audience {
	const exchange, graph = "Exchange Online (IMAP, POP, SMTP)", "Microsoft Graph"
	out := []provider.Audience{
		{Value: "00000002-0000-0ff1-ce00-000000000000", Title: exchange, Resource: provider.ResourceMail},
		{Value: "00000003-0000-0000-c000-000000000000", Title: graph, Resource: provider.ResourceGraph},
	}
	add := func(value, title, resource string) {
		if !slices.ContainsFunc(out, func(a provider.Audience) bool { return a.Value == value }) {
			out = append(out, provider.Audience{Value: value, Title: title, Resource: resource})
		}
	}
	for _, c := range clouds() {
		for _, host := range c.scopeHosts {
			add("https://"+host, exchange, provider.ResourceMail)
		}
		add(c.graphScope, graph, provider.ResourceGraph)
	}
	return out
}

// multiTenant reports whether a tenant segment stands for many tenants.
func multiTenant(tenant string) bool {
	return slices.Contains([]string{"common", "organizations", "consumers"}, strings.ToLower(tenant))
}

// SignOutURL gives the page that ends the browser's session at Microsoft.
func (k *Kind) SignOutURL(_ context.Context, reg provider.Registration, returnTo string) (string, error) {
	at := siteOf(reg.Record).oauth2(reg.Tenant, "logout")
	if returnTo != "" {
		at += "?" + url.Values{"post_logout_redirect_uri": {returnTo}}.Encode()
	}
	return at, nil
}
