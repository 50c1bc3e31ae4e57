package api

import (
	"context"
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

// Mailbox is a mailbox as programs see and write it.
type Mailbox struct {
	Address           string   `json:"address" required:"false" maxLength:"254" doc:"With PUT the one of the path, when left out."`
	Provider          string   `json:"provider"`
	GrantType         string   `json:"grant_type,omitempty"`
	Profile           string   `json:"profile,omitempty"`
	ActsAs            string   `json:"acts_as,omitempty" doc:"owner, app, or delegate: address"`
	From              string   `json:"from,omitempty"`
	AllowUnverifiable bool     `json:"allow_unverifiable,omitempty"`
	Receive           *Receive `json:"receive,omitempty"`
	Send              *Send    `json:"send,omitempty"`
	AfterReceive      string   `json:"after_receive,omitempty" doc:"keep, mark_seen, move: Folder, or delete"`

	Paused bool           `json:"paused,omitempty" readOnly:"true"`
	State  *MailboxStatus `json:"status,omitempty" readOnly:"true"`
	// Consequence is in the answer to a change.
	Consequence string    `json:"consequence,omitempty" readOnly:"true"`
	CreatedAt   time.Time `json:"created_at,omitzero" readOnly:"true"`
	UpdatedAt   time.Time `json:"updated_at,omitzero" readOnly:"true"`
}

// MailboxStatus is where a mailbox stands. State is the worst that is true of it.
type MailboxStatus struct {
	State         string    `json:"state" enum:"dead,suspended,quarantined,failing,stopped,unauthorised,paused,revoked,connected"`
	Grant         string    `json:"grant" doc:"none, active, suspended, dead or revoked"`
	Verdict       string    `json:"verdict,omitempty"`
	SignedIn      string    `json:"signed_in,omitempty"`
	Quarantined   bool      `json:"quarantined,omitempty"`
	LastMailAt    time.Time `json:"last_mail_at,omitzero"`
	LastRefreshAt time.Time `json:"last_refresh_at,omitzero"`
	NextRefreshAt time.Time `json:"next_refresh_at,omitzero"`
	Failures      int       `json:"failures,omitempty"`
	Cause         string    `json:"cause,omitempty"`
	Text          string    `json:"text,omitempty"`
	Receiving     *Outage   `json:"receiving_stopped,omitempty" doc:"Present while the mailbox should be received from and is not."`
}

// Outage is why nothing is received just now.
type Outage struct {
	Since  time.Time   `json:"since"`
	Cause  string      `json:"cause"`
	Text   string      `json:"text"`
	Remedy string      `json:"remedy,omitempty"`
	Who    []fault.Who `json:"who,omitempty"`
}

// Server overrides where a protocol is spoken.
type Server struct {
	Host  string `json:"host,omitempty"`
	Port  int    `json:"port,omitempty"`
	TLS   string `json:"tls,omitempty" doc:"implicit, starttls or none"`
	User  string `json:"user,omitempty"`
	CAPEM string `json:"ca_pem,omitempty"`
}

// Receive is how mail is received.
type Receive struct {
	Protocol string   `json:"protocol"`
	Folders  []string `json:"folders,omitempty"`
	Mode     string   `json:"mode,omitempty" doc:"push or poll"`
	Every    string   `json:"every,omitempty" doc:"With poll: a duration such as 60s."`
	Server
}

// Send is how mail is sent.
type Send struct {
	Protocol string `json:"protocol"`
	Fallback string `json:"fallback,omitempty"`
	Server
}

func serverOut(s mailbox.Server) Server {
	return Server{Host: s.Host, Port: s.Port, TLS: string(s.TLS), User: s.User, CAPEM: s.CAPEM}
}

func (s Server) noun() mailbox.Server {
	return mailbox.Server{Host: s.Host, Port: s.Port, TLS: protocol.TLSMode(s.TLS), User: s.User, CAPEM: s.CAPEM}
}

func mailboxOut(m mailbox.Mailbox) Mailbox {
	out := Mailbox{
		Address: m.Address, Provider: m.Provider, GrantType: m.GrantType, Profile: m.Profile, ActsAs: string(m.ActsAs), From: m.From,
		AllowUnverifiable: m.AllowUnknown, AfterReceive: m.AfterReceive, Paused: m.Paused, CreatedAt: m.CreatedAt, UpdatedAt: m.UpdatedAt,
	}
	if r := m.Receive; r != nil {
		out.Receive = &Receive{Protocol: string(r.Protocol), Folders: r.Folders, Mode: r.Mode, Server: serverOut(r.Server)}
		if r.Every > 0 {
			out.Receive.Every = r.Every.String()
		}
	}
	if s := m.Send; s != nil {
		out.Send = &Send{Protocol: string(s.Protocol), Fallback: string(s.Fallback), Server: serverOut(s.Server)}
	}
	return out
}

func (m Mailbox) settings(when connect.When) (connect.MailboxSettings, error) {
	s := connect.MailboxSettings{When: when, Mailbox: mailbox.Mailbox{
		Address: m.Address, Provider: m.Provider, GrantType: m.GrantType, Profile: m.Profile, ActsAs: mailbox.ActsAs(m.ActsAs),
		From: m.From, AllowUnknown: m.AllowUnverifiable, AfterReceive: m.AfterReceive,
	}}
	if r := m.Receive; r != nil {
		s.Mailbox.Receive = &mailbox.Receive{Protocol: protocol.Name(r.Protocol), Folders: r.Folders, Mode: r.Mode, Server: r.noun()}
		if r.Every != "" {
			d, err := time.ParseDuration(r.Every)
			if err != nil {
				return s, &fault.Error{
					ID: "mailbox.field", Kind: fault.Invalid, Field: "receive.every", Who: []fault.Who{fault.Operator},
					Text: "“" + fault.Shorten(r.Every, 40) + "” is not a duration.", Remedy: "Write it as 60s or 5m.",
				}
			}
			s.Mailbox.Receive.Every = d
		}
	}
	if d := m.Send; d != nil {
		s.Mailbox.Send = &mailbox.Send{Protocol: protocol.Name(d.Protocol), Fallback: protocol.Name(d.Fallback), Server: d.noun()}
	}
	return s, nil
}

// ByAddress is the path of what belongs to a mailbox. It is exported, as the
// others of its sort are, because the framework passes over embedded types that
// are not.
type ByAddress struct {
	Address string `path:"address" maxLength:"300"`
}

// saveMailbox writes a mailbox, as far as the caller may; present is the address
// of the one that is renamed, empty where none is.
func (a *API) saveMailbox(ctx context.Context, m Mailbox, present string, when connect.When, dry bool) (*Out[Mailbox], error) {
	for _, address := range []string{m.Address, present} {
		if normal, err := message.Address(address); err == nil {
			address = normal
		}
		if err := caller(ctx).Allows(access.Manage, address); err != nil {
			return nil, err
		}
	}
	if when == connect.OnlyCreate {
		if err := addsOrRemoves(caller(ctx)); err != nil {
			return nil, err
		}
	}
	s, err := m.settings(when)
	if err != nil {
		return nil, err
	}
	s.Present = present
	d, err := a.Connect.Mailboxes.Check(ctx, s, caller(ctx).Actor)
	if err != nil {
		return nil, err
	}
	if d.Change == connect.Created {
		if err := addsOrRemoves(caller(ctx)); err != nil {
			return nil, err
		}
	}
	if d.Suspends != "" || d.Loosens {
		if err := everywhere(caller(ctx)); err != nil {
			return nil, err
		}
	}
	saved := d.Becomes
	if !dry {
		saved, _, err = d.Save(ctx)
	}
	out := mailboxOut(saved)
	out.Consequence = d.Consequence
	return &Out[Mailbox]{out}, err
}

func (a *API) mailboxes() {
	const tag = "Mailboxes"
	register(a, "list-mailboxes", http.MethodGet, "/v1/mailboxes", "List mailboxes with their state", tag, a.listMailboxes)
	register(a, "create-mailbox", http.MethodPost, "/v1/mailboxes", "Add a mailbox", tag, func(ctx context.Context, in *struct{ Body Mailbox }) (*Out[Mailbox], error) {
		return a.saveMailbox(ctx, in.Body, "", connect.OnlyCreate, false)
	}, creating(http.StatusCreated))
	register(a, "get-mailbox", http.MethodGet, "/v1/mailboxes/{address}", "Show a mailbox", tag, func(ctx context.Context, in *ByAddress) (*Out[Mailbox], error) {
		m, err := a.find(ctx, in.Address, access.Read)
		if err != nil {
			return nil, err
		}
		l, err := a.Connect.Mailboxes.Look(ctx, m.Address)
		out := mailboxOut(l.Mailbox)
		out.State = statusOut(l)
		return &Out[Mailbox]{out}, err
	})
	register(a, "put-mailbox", http.MethodPut, "/v1/mailboxes/{address}", "Add or change a mailbox", tag, func(ctx context.Context, in *struct {
		ByAddress
		DryRun bool `query:"dry_run" doc:"Check everything and say what would be done; change nothing."`
		Body   Mailbox
	},
	) (*Out[Mailbox], error) {
		if in.Body.Address == "" || message.SameAddress(in.Body.Address, in.Address) {
			in.Body.Address = in.Address
			return a.saveMailbox(ctx, in.Body, "", connect.Whichever, in.DryRun)
		}
		return a.saveMailbox(ctx, in.Body, in.Address, connect.OnlyUpdate, in.DryRun)
	})
	register(a, "delete-mailbox", http.MethodDelete, "/v1/mailboxes/{address}", "Remove a mailbox with its grant and its received messages", tag, func(ctx context.Context, in *ByAddress) (*Empty, error) {
		if _, err := allowed(ctx, in.Address, access.Manage); err != nil {
			return nil, err
		}
		if err := addsOrRemoves(caller(ctx)); err != nil {
			return nil, err
		}
		m, err := a.find(ctx, in.Address, access.Manage)
		if err != nil {
			return nil, err
		}
		return &Empty{}, a.Connect.Mailboxes.Delete(ctx, m.Address, caller(ctx).Actor)
	})
	register(a, "pause-mailbox", http.MethodPost, "/v1/mailboxes/{address}/pause", "Stop receiving and sending; the grant is kept alive", tag, func(ctx context.Context, in *ByAddress) (*Empty, error) {
		m, err := a.find(ctx, in.Address, access.Manage)
		if err != nil {
			return nil, err
		}
		return &Empty{}, a.Connect.Mailboxes.Pause(ctx, m.Address, caller(ctx).Actor)
	})
	register(a, "resume-mailbox", http.MethodPost, "/v1/mailboxes/{address}/resume", "Go on with a paused mailbox", tag, func(ctx context.Context, in *ByAddress) (*Empty, error) {
		m, err := a.find(ctx, in.Address, access.Manage)
		if err != nil {
			return nil, err
		}
		return &Empty{}, a.Connect.Mailboxes.Resume(ctx, m.Address, caller(ctx).Actor)
	})
}

// MailboxFilter are the parameters of a list of mailboxes.
type MailboxFilter struct {
	Paging
	Part     string `query:"q" maxLength:"254" doc:"A part of the address."`
	State    string `query:"state" enum:"dead,suspended,quarantined,failing,stopped,unauthorised,paused,revoked,connected"`
	Provider string `query:"provider" maxLength:"63"`
}

func (a *API) listMailboxes(ctx context.Context, in *MailboxFilter) (*Out[Page[Mailbox]], error) {
	c := caller(ctx)
	if err := c.Allows(access.Read, ""); err != nil {
		return nil, err
	}
	listed, err := a.Connect.Mailboxes.List(ctx, mailbox.Filter{
		After: in.Cursor, Part: in.Part, Standing: mailbox.Standing(in.State), Provider: in.Provider, Addresses: boundTo(c), Limit: in.limit() + 1,
	})
	if err != nil {
		return nil, err
	}
	page := Page[Mailbox]{Items: []Mailbox{}}
	for _, l := range listed {
		if len(page.Items) == in.limit() { // this one begins the next page
			page.Next = page.Items[in.limit()-1].Address
			break
		}
		m := mailboxOut(l.Mailbox)
		m.State = statusOut(l)
		page.Items = append(page.Items, m)
	}
	return &Out[Page[Mailbox]]{page}, nil
}

func statusOut(l mailbox.Listed) *MailboxStatus {
	out := &MailboxStatus{
		State: string(l.Standing()), Grant: grantState(l.State), Verdict: string(l.Verdict), SignedIn: l.Display, Quarantined: l.Quarantine != nil,
		LastMailAt: l.LastMailAt, LastRefreshAt: l.LastRefreshAt, NextRefreshAt: l.NextRefreshAt, Failures: l.Failures, Cause: l.Cause, Text: l.CauseText,
	}
	if l.State != mailbox.GrantActive { // nothing is renewed that is not in use
		out.NextRefreshAt = time.Time{}
	}
	if o := l.Stopped(); !o.Since.IsZero() {
		out.Receiving = &Outage{o.Since, o.Cause, o.Text, o.Remedy, o.Who}
	}
	return out
}

func grantState(s mailbox.GrantState) string {
	if s == "" {
		return "none"
	}
	return string(s)
}
