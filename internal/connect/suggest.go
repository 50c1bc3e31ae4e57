package connect

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// Suggestion is the provider that a mailbox most likely belongs to, with why, as
// half a sentence. The zero Suggestion is none.
type Suggestion struct{ Provider, Why string }

// SuggestProvider finds the provider of an address: the only one there is, one
// that other mailboxes of the domain use, or one whose tenant or issuer is of
// that domain.
func (b *Mailboxes) SuggestProvider(ctx context.Context, address string) (Suggestion, error) {
	all, err := b.providers.List(ctx)
	if err != nil || len(all) == 0 {
		return Suggestion{}, err
	}
	if len(all) == 1 {
		return Suggestion{all[0].Name, "it is the only provider"}, nil
	}
	domain := message.Domain(address)
	same, err := b.needs.Mailboxes.Mailboxes(ctx, mailbox.Filter{Part: "@" + domain, Limit: 1})
	if err != nil {
		return Suggestion{}, err
	}
	if len(same) > 0 && message.Domain(same[0].Mailbox.Address) == domain {
		return Suggestion{same[0].Mailbox.Provider, "other mailboxes of " + domain + " use it"}, nil
	}
	for _, r := range all {
		if strings.EqualFold(r.Tenant, domain) {
			return Suggestion{r.Name, "its tenant is " + domain}, nil
		}
		if u, err := url.Parse(r.Issuer); err == nil && (u.Hostname() == domain || strings.HasSuffix(u.Hostname(), "."+domain)) {
			return Suggestion{r.Name, "its issuer is of " + domain}, nil
		}
	}
	return Suggestion{}, nil
}

// Resolver looks up SRV records; *net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// lookupTime bounds what a suggestion may take.
const lookupTime = 2 * time.Second

// SuggestServers looks up the mail servers that a domain publishes (RFC 6186, RFC
// 8314 section 5). It is a suggestion only, and unsigned: whoever controls the answer
// names any host, so that an operator has to agree. Zero where nothing is
// published.
func (b *Mailboxes) SuggestServers(ctx context.Context, domain string) (receive, send mailbox.Server) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	var both sync.WaitGroup
	both.Go(func() {
		receive = b.published(ctx, domain, protocol.Receivers()[0])
	})
	both.Go(func() {
		send = b.published(ctx, domain, protocol.Senders()[0])
	})
	both.Wait()
	return receive, send
}

// published gives the first server that a domain names for a protocol, with
// implicit TLS rather than with STARTTLS.
func (b *Mailboxes) published(ctx context.Context, domain string, name protocol.Name) mailbox.Server {
	for i, service := range protocol.TraitsOf(name).Services {
		_, found, err := b.needs.Resolver.LookupSRV(ctx, service, "tcp", domain)
		if err != nil || len(found) == 0 {
			continue
		}
		host := strings.TrimSuffix(found[0].Target, ".")
		if host == "" { // RFC 2782: the service is decidedly not available
			continue
		}
		return mailbox.Server{Host: host, Port: int(found[0].Port), TLS: [...]protocol.TLSMode{protocol.TLSImplicit, protocol.TLSStart}[i]}
	}
	return mailbox.Server{}
}

// Asked is what the owner of a mailbox is asked to agree to.
type Asked struct {
	Words  []string // for people
	Scopes []string // as the provider knows them
}

// Asks derives what an authorization of a mailbox asks for.
func (b *Mailboxes) Asks(ctx context.Context, m mailbox.Mailbox) (Asked, error) {
	r, kind, err := b.providers.record(ctx, m.Provider)
	if err != nil {
		return Asked{}, err
	}
	resources, err := kind.Resources(r, m.Uses(), m.Profile)
	a := Asked{Words: permissions(m)}
	for _, resource := range resources {
		a.Scopes = append(a.Scopes, resource.Scopes...)
	}
	return a, err
}

// Presets gives where a provider's mailboxes receive and send unless they say
// otherwise; no host: the mailbox has to name it.
func (b *Mailboxes) Presets(ctx context.Context, name string) (provider.Kind, provider.Record, error) {
	r, kind, err := b.providers.record(ctx, name)
	if err != nil {
		return nil, r, fmt.Errorf("read the provider's presets: %w", err)
	}
	return kind, r, nil
}

// Kinds gives what every kind of provider says of itself, in the order of the
// registry.
func (p *Providers) Kinds() []provider.Kind {
	var out []provider.Kind
	for _, name := range p.needs.KindNames {
		if kind, ok := p.needs.Kinds(name); ok {
			out = append(out, kind)
		}
	}
	return out
}

// InUse counts the mailboxes of each provider.
func (p *Providers) InUse(ctx context.Context) (map[string]int, error) {
	return p.needs.Mailboxes.MailboxesOf(ctx)
}

// DefaultRedirectURI is where answers come back unless a provider says otherwise.
func (p *Providers) DefaultRedirectURI() string { return p.RedirectURI(provider.Record{}) }
