package connect

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Links makes authorization links, takes people through them, and adopts what
// comes back.
type Links struct {
	needs     Needs
	providers *Providers
	mailboxes *Mailboxes
}

// LinkOptions shapes a link. The zero value is right for most.
type LinkOptions struct {
	Life time.Duration // at most 30 days; zero: the configured life
	// AllowSubject is a Subject.Key that may replace the person whose grant is in
	// place: an operator's yes to exactly this person.
	AllowSubject string
}

const longestLink = 30 * 24 * time.Hour

// Begun is a fresh link. URL holds its secret and is shown this once; only a
// digest is stored.
type Begun struct {
	ID        string
	URL       seal.Secret
	ExpiresAt time.Time
}

// Begin makes a one-time link for a mailbox, cancelling earlier pending ones.
func (l *Links) Begin(ctx context.Context, address string, o LinkOptions, by event.Actor) (Begun, error) {
	m, err := l.mailboxes.Get(ctx, address)
	if err != nil {
		return Begun{}, err
	}
	life := o.Life
	switch {
	case life == 0:
		life = l.needs.LinkLife
	case life < time.Minute || life > longestLink:
		return Begun{}, &fault.Error{
			ID: "link.life", Kind: fault.Invalid, Field: "expires_in",
			Text: "An authorization link may live between one minute and 30 days.", Who: []fault.Who{fault.Operator},
			Remedy: "Choose a time in between, or leave it out for the default.",
		}
	}
	// A provider that cannot work is found now, not by the owner.
	if _, _, err := l.providers.Registration(ctx, m.Provider); err != nil {
		return Begun{}, err
	}
	now, secret := l.needs.Now().UTC(), newSecret()
	link := Link{
		ID: event.NewID(), Hash: digest(secret.Reveal()), MailboxID: m.ID, State: LinkPending,
		AllowSubject: o.AllowSubject, CreatedBy: by, CreatedAt: now, ExpiresAt: now.Add(life),
	}
	e := event.New(now, event.LinkCreated, by, fmt.Sprintf("An authorization link for %s was made; %s is expected to sign in until %s.", m.Address, m.Principal(), clock(link.ExpiresAt))).
		About(m.ID, m.Address).With("link_id", link.ID)
	if o.AllowSubject != "" {
		e = e.With("allow_subject", o.AllowSubject)
	}
	if err := l.needs.Links.CreateLink(ctx, link, e); err != nil {
		return Begun{}, fmt.Errorf("store the link: %w", err)
	}
	return Begun{ID: link.ID, URL: seal.NewSecret(l.needs.PublicURL + "/authorize/" + secret.Reveal()), ExpiresAt: link.ExpiresAt}, nil
}

// Cancel ends a pending link of a mailbox.
func (l *Links) Cancel(ctx context.Context, id string, by event.Actor) error {
	link, m, err := l.byID(ctx, id)
	if err != nil {
		return err
	}
	e := event.New(l.needs.Now(), event.LinkCancelled, by, fmt.Sprintf("The authorization link for %s was cancelled.", m.Address)).
		About(m.ID, m.Address).With("link_id", link.ID)
	return l.needs.Links.CancelLink(ctx, id, e)
}

// Status gives a link by its ID, with its state as of now and its mailbox.
func (l *Links) Status(ctx context.Context, id string) (Link, mailbox.Mailbox, error) {
	return l.byID(ctx, id)
}

// Latest gives the link of a mailbox that was made last, with its state as of
// now; nil where none was made yet.
func (l *Links) Latest(ctx context.Context, m mailbox.Mailbox) (*Link, error) {
	link, err := l.needs.Links.LatestLink(ctx, m.ID)
	if fault.Has(err, "link.unknown") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	link, _, err = l.whole(ctx, link)
	return &link, err
}

func (l *Links) byID(ctx context.Context, id string) (Link, mailbox.Mailbox, error) {
	link, err := l.needs.Links.LinkByID(ctx, id)
	if err != nil {
		return Link{}, mailbox.Mailbox{}, err
	}
	return l.whole(ctx, link)
}

func (l *Links) bySecret(ctx context.Context, secret string) (Link, mailbox.Mailbox, error) {
	link, err := l.needs.Links.LinkByHash(ctx, digest(secret))
	if fault.Has(err, "link.unknown") {
		return Link{}, mailbox.Mailbox{}, errLinkUnknown()
	}
	if err != nil {
		return Link{}, mailbox.Mailbox{}, err
	}
	return l.whole(ctx, link)
}

// whole adds the mailbox and lets a link expire by the clock, whether or not
// the loop has marked it yet.
func (l *Links) whole(ctx context.Context, link Link) (Link, mailbox.Mailbox, error) {
	if link.State == LinkPending && !l.needs.Now().Before(link.ExpiresAt) {
		link.State = LinkExpired
	}
	m, err := l.needs.Mailboxes.MailboxByID(ctx, link.MailboxID)
	return link, m, err
}

// Description is what the owner's page says before anything is done. A
// description changes nothing, so that a mail scanner may open the link.
type Description struct {
	LinkID        string
	State         string
	Mailbox       string
	Principal     string // whose sign-in is expected
	Delegated     bool   // Principal acts for the mailbox
	ProviderTitle string // "Contoso mail": the kind's title for people
	SignsInAt     string // what they know the place by where they sign in: its host, or the title where that says more
	ProviderName  string
	Permissions   []string // what is going to be asked, in words
	AttemptsLeft  int
	ExpiresAt     time.Time
	Last          *Outcome // how the last attempt ended; nil: none yet
	MaySelect     bool     // an account picker can be asked for
	SignOutURL    string   // where the provider ends its session in this browser; empty: not known
	RequestedBy   string   // the operator who made the link
}

// signsInAt names the place where people sign in: of a kind that serves one
// organisation's own issuer, the issuer's host.
func signsInAt(kind provider.Kind, reg provider.Registration) string {
	if u, err := url.Parse(reg.Issuer); err == nil && u.Host != "" {
		return u.Host
	}
	return kind.Traits().Title
}

// Describe gives what a link's page shows. A link that is spent, expired or
// cancelled is described too: its State says so.
func (l *Links) Describe(ctx context.Context, secret string) (Description, error) {
	link, m, err := l.bySecret(ctx, secret)
	if err != nil {
		return Description{}, err
	}
	kind, reg, err := l.providers.Registration(ctx, m.Provider)
	if err != nil {
		return Description{}, err
	}
	d := Description{
		LinkID: link.ID, State: link.State, Mailbox: m.Address, Principal: m.Principal(), Delegated: m.ActsAs.Delegate() != "",
		ProviderTitle: kind.Traits().Title, SignsInAt: signsInAt(kind, reg), ProviderName: reg.Name, Permissions: permissions(m),
		AttemptsLeft: max(0, MaxAttempts-link.Attempts), ExpiresAt: link.ExpiresAt, Last: link.LastAttempt,
		MaySelect: allows(kind, provider.PromptSelectAccount), RequestedBy: link.CreatedBy.Name,
	}
	if link.LastAttempt != nil && !link.LastAttempt.OK {
		d.SignOutURL = l.signOutURL(ctx, kind, reg)
	}
	return d, nil
}

// permissions says in words what a mailbox's owner is asked for.
func permissions(m mailbox.Mailbox) []string {
	var words []string
	for _, u := range m.Uses() {
		switch u {
		case provider.UseIMAP, provider.UsePOP3:
			words = append(words, "Read the mail in "+m.Address+".")
		case provider.UseSMTP, provider.UseGraphSend, provider.UseGraphSendFor:
			if send := "Send mail as " + m.Address + "."; !slices.Contains(words, send) {
				words = append(words, send)
			}
		case provider.UseIdentity:
			words = append(words, "See your name and your mail addresses, to be sure that it is you who signed in.")
		}
	}
	return append(words, "Stay connected when you are away, until you or your administrator end it.")
}

// signOutURL asks the kind; a provider that is down costs the page nothing but
// the button.
func (l *Links) signOutURL(ctx context.Context, kind provider.Kind, reg provider.Registration) string {
	s, ok := kind.(provider.SignOut)
	if !ok {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	// No way back is named: the link's own address is a secret that is not to
	// stand in the provider's logs.
	u, err := s.SignOutURL(ctx, reg, "")
	if err != nil {
		l.needs.Log.WarnContext(ctx, "no sign-out address", "provider", reg.Name, "error", err)
		return ""
	}
	return u
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
