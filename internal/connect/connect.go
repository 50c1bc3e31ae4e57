package connect

import (
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"
)

// Needs is what connect is made of. Everything but Log, Adopted, Changed,
// Resolver and LinkLife is required.
type Needs struct {
	Providers ProviderStore
	Mailboxes MailboxStore
	Links     LinkStore
	Grants    GrantStore
	Aside     QuarantineStore
	Events    EventStore
	Keys      Keys
	Kinds     Kinds
	KindNames []string // every kind, for the words of a refusal
	Probes    Probes
	PublicURL string // without a slash at its end; links and redirect URIs begin with it
	Now       func() time.Time
	Resolver  Resolver      // default net.DefaultResolver
	LinkLife  time.Duration // default DefaultLinkLife
	// Adopted is called after an authorization became a mailbox's grant, so that
	// its access tokens are read anew and its mail is looked at now.
	Adopted func(mailboxID string)
	// Changed is called after a mailbox or its grant changed in another way:
	// saved, paused, resumed, deleted, revoked, or its provider saved.
	Changed func(mailboxID string)
	Log     *slog.Logger

	nudge nudge // made by New
}

// DefaultLinkLife is how long an authorization link may be used.
const DefaultLinkLife = 72 * time.Hour

// callbackPaths are where the answer of an authorization request is taken. The
// first is the default; the second is what registrations made for the
// reference system name.
var callbackPaths = [...]string{"/oauth/callback", "/oauth_redirect.do"}

// Connect is the capability, joined.
type Connect struct {
	Providers *Providers
	Mailboxes *Mailboxes
	Links     *Links
}

// New joins the capability; it fails where a need is missing or PublicURL is no
// absolute http or https URL.
func New(n Needs) (*Connect, error) {
	if n.Providers == nil || n.Mailboxes == nil || n.Links == nil || n.Grants == nil || n.Aside == nil || n.Events == nil ||
		n.Keys == nil || n.Kinds == nil || n.Probes == nil || n.Now == nil {
		return nil, errors.New("connect: a need is missing")
	}
	u, err := url.Parse(n.PublicURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("connect: the public URL is no absolute http or https URL")
	}
	n.PublicURL = strings.TrimRight(n.PublicURL, "/")
	if n.LinkLife <= 0 {
		n.LinkLife = DefaultLinkLife
	}
	if n.Adopted == nil {
		n.Adopted = func(string) {}
	}
	if n.Changed == nil {
		n.Changed = func(string) {}
	}
	if n.Resolver == nil {
		n.Resolver = net.DefaultResolver
	}
	if n.Log == nil {
		n.Log = slog.New(slog.DiscardHandler)
	}
	n.nudge = make(nudge, 1)
	providers := &Providers{needs: n}
	mailboxes := &Mailboxes{needs: n, providers: providers}
	return &Connect{
		Providers: providers,
		Mailboxes: mailboxes,
		Links:     &Links{needs: n, providers: providers, mailboxes: mailboxes},
	}, nil
}
