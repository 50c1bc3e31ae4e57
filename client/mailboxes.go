package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Mailbox is a mailbox that Mailgrant is to be let into, as configured. The last
// four fields are the server's; what is written there is ignored.
type Mailbox struct {
	Address   string `json:"address,omitempty"`
	Provider  string `json:"provider"`
	GrantType string `json:"grant_type,omitempty"`
	Profile   string `json:"profile,omitempty"`
	// ActsAs is owner, or "delegate: name@domain".
	ActsAs string `json:"acts_as,omitempty"`
	From   string `json:"from,omitempty"`
	// AllowUnverifiable accepts an authorization whose identity cannot be proved.
	AllowUnverifiable bool     `json:"allow_unverifiable,omitempty"`
	Receive           *Receive `json:"receive,omitempty"`
	Send              *Send    `json:"send,omitempty"`
	// AfterReceive is keep, mark_seen, "move: Folder" or delete.
	AfterReceive string `json:"after_receive,omitempty"`

	Paused bool           `json:"paused,omitempty" readOnly:"true"`
	Status *MailboxStatus `json:"status,omitempty" readOnly:"true"`
	// Consequence says, in the answer to a change, what it does to the
	// authorisation that the mailbox has; empty: nothing.
	Consequence string    `json:"consequence,omitempty" readOnly:"true"`
	CreatedAt   time.Time `json:"created_at,omitzero" readOnly:"true"`
	UpdatedAt   time.Time `json:"updated_at,omitzero" readOnly:"true"`
}

// MailboxStatus is where a mailbox stands. State is the worst that is true of it:
// dead, suspended, quarantined, failing, stopped, unauthorised, paused, revoked
// or connected. Grant is none, active, suspended, dead or revoked.
type MailboxStatus struct {
	State         string    `json:"state"`
	Grant         string    `json:"grant"`
	Verdict       string    `json:"verdict,omitempty"`
	SignedIn      string    `json:"signed_in,omitempty"`
	Quarantined   bool      `json:"quarantined,omitempty"`
	LastMailAt    time.Time `json:"last_mail_at,omitzero"`
	LastRefreshAt time.Time `json:"last_refresh_at,omitzero"`
	NextRefreshAt time.Time `json:"next_refresh_at,omitzero"`
	Failures      int       `json:"failures,omitempty"`
	Cause         string    `json:"cause,omitempty"`
	Text          string    `json:"text,omitempty"`
	// ReceivingStopped is there while the mailbox should be received from and is not.
	ReceivingStopped *Outage `json:"receiving_stopped,omitempty"`
}

// Outage is why nothing is received, since when, who can help and how.
type Outage struct {
	Since  time.Time `json:"since"`
	Cause  string    `json:"cause"`
	Text   string    `json:"text"`
	Remedy string    `json:"remedy,omitempty"`
	Who    []string  `json:"who,omitempty"`
}

// MailServer says where a protocol is spoken, where the provider's presets do
// not fit. TLS is implicit, starttls or none.
type MailServer struct {
	Host  string `json:"host,omitempty"`
	Port  int    `json:"port,omitempty"`
	TLS   string `json:"tls,omitempty"`
	User  string `json:"user,omitempty"`
	CAPEM string `json:"ca_pem,omitempty"`
}

// Receive is how mail is received. Mode is push or poll; Every is a duration
// such as 60s, with poll.
type Receive struct {
	Protocol string   `json:"protocol"`
	Folders  []string `json:"folders,omitempty"`
	Mode     string   `json:"mode,omitempty"`
	Every    string   `json:"every,omitempty"`
	MailServer
}

// Send is how mail is sent.
type Send struct {
	Protocol string `json:"protocol"`
	Fallback string `json:"fallback,omitempty"`
	MailServer
}

const mailboxesPath = "/v1/mailboxes"

func mailboxPath(address, after string) string { return one(mailboxesPath+"/", address, after) }

// MailboxFilter selects mailboxes; the zero value selects all.
type MailboxFilter struct {
	Part     string // of the address
	State    string // as in MailboxStatus
	Provider string
}

func (f MailboxFilter) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"q": f.Part, "state": f.State, "provider": f.Provider} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// Mailboxes lists the mailboxes that the caller may read, by address.
func (c *Client) Mailboxes(ctx context.Context) iter.Seq2[Mailbox, error] {
	return c.MailboxesLike(ctx, MailboxFilter{})
}

// MailboxesLike lists those that the filter selects.
func (c *Client) MailboxesLike(ctx context.Context, f MailboxFilter) iter.Seq2[Mailbox, error] {
	return list[Mailbox](ctx, c, mailboxesPath, f.query(), 0)
}

// Mailbox gives one mailbox.
func (c *Client) Mailbox(ctx context.Context, address string) (Mailbox, error) {
	return get[Mailbox](ctx, c, mailboxPath(address, ""))
}

func (m Mailbox) written() Mailbox {
	m.Paused, m.Status, m.Consequence, m.CreatedAt, m.UpdatedAt = false, nil, "", time.Time{}, time.Time{}
	return m
}

// CreateMailbox adds a mailbox; it is a problem if there is one of this address.
func (c *Client) CreateMailbox(ctx context.Context, m Mailbox) (Mailbox, error) {
	return send[Mailbox](ctx, c, http.MethodPost, mailboxesPath, m.written())
}

// PutMailbox adds a mailbox or replaces the one of this address. With another
// address in m the mailbox moves there, and its grant is suspended until it is
// verified anew.
func (c *Client) PutMailbox(ctx context.Context, address string, m Mailbox) (Mailbox, error) {
	return send[Mailbox](ctx, c, http.MethodPut, mailboxPath(address, ""), m.written())
}

// CheckMailbox is PutMailbox without writing anything: it finds every mistake, and
// the Consequence of the answer says what saving would do to the authorisation.
func (c *Client) CheckMailbox(ctx context.Context, address string, m Mailbox) (Mailbox, error) {
	var out Mailbox
	return out, c.do(ctx, call{method: http.MethodPut, path: mailboxPath(address, ""), query: url.Values{"dry_run": {"true"}}, body: m.written()}, &out)
}

// DeleteMailbox removes a mailbox with its grant and its received messages.
func (c *Client) DeleteMailbox(ctx context.Context, address string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: mailboxPath(address, "")}, nil)
}

// PauseMailbox stops receiving and sending; the grant is kept alive.
func (c *Client) PauseMailbox(ctx context.Context, address string) error {
	return c.do(ctx, call{method: http.MethodPost, path: mailboxPath(address, "/pause")}, nil)
}

// ResumeMailbox goes on with a paused mailbox.
func (c *Client) ResumeMailbox(ctx context.Context, address string) error {
	return c.do(ctx, call{method: http.MethodPost, path: mailboxPath(address, "/resume")}, nil)
}
