package directory

import (
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Mailbox is a mailbox and who may use it. The messages in it are Exchange's business.
type Mailbox struct {
	// Address is the primary address.
	Address     string   `json:"address"`
	TenantID    string   `json:"tenant_id"`
	DisplayName string   `json:"display_name,omitempty"`
	Aliases     []string `json:"aliases,omitempty"`
	// OwnerID is the object id of the user whose mailbox it is; empty for a shared mailbox.
	OwnerID string `json:"owner_id,omitempty"`
	// FullAccess and SendAs name further users (by user name) or apps (by client id) who may open it, or send in its name.
	FullAccess []string `json:"full_access,omitempty"`
	SendAs     []string `json:"send_as,omitempty"`
	// IMAPOff, POPOff and SMTPAuthOff are the mailbox's service switches.
	IMAPOff     bool `json:"imap_off,omitempty"`
	POPOff      bool `json:"pop_off,omitempty"`
	SMTPAuthOff bool `json:"smtp_auth_off,omitempty"`
}

// Shared says whether nobody in particular owns the mailbox.
func (m Mailbox) Shared() bool { return m.OwnerID == "" }

// Answers says whether mail to the address lands here.
func (m Mailbox) Answers(address string) bool {
	return strings.EqualFold(m.Address, address) || containsFold(m.Aliases, address)
}

// OpensTo says whether the user may open the mailbox: its owner, and everybody with Full Access.
func (m Mailbox) OpensTo(user User) bool {
	return m.OwnerID == user.ObjectID && m.OwnerID != "" || containsFold(m.FullAccess, user.UPN)
}

// SendsFor says whether the user may send in the mailbox's name: its owner, and everybody with Send As.
func (m Mailbox) SendsFor(user User) bool {
	return m.OwnerID == user.ObjectID && m.OwnerID != "" || containsFold(m.SendAs, user.UPN)
}

func (m Mailbox) clone() Mailbox {
	m.Aliases = slices.Clone(m.Aliases)
	m.FullAccess = slices.Clone(m.FullAccess)
	m.SendAs = slices.Clone(m.SendAs)
	return m
}

// Mailbox finds a mailbox by its address or an alias, without regard to case.
func (w *World) Mailbox(address string) (Mailbox, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.mailboxes {
		if m.Answers(address) {
			return m.clone(), true
		}
	}
	return Mailbox{}, false
}

// Mailboxes lists every mailbox in the order of the story.
func (w *World) Mailboxes() []Mailbox {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Mailbox, 0, len(w.mailboxes))
	for _, m := range w.mailboxes {
		out = append(out, m.clone())
	}
	return out
}

// ChangeMailbox applies change to the mailbox with this address: rights, switches, aliases.
func (w *World) ChangeMailbox(address string, change func(*Mailbox)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.mailboxes {
		if w.mailboxes[i].Answers(address) {
			changed := w.mailboxes[i].clone()
			change(&changed)
			w.mailboxes[i] = changed.clone()
			return nil
		}
	}
	return unknown("mailbox", address)
}

func containsFold(list []string, text string) bool {
	return text != "" && slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, text) })
}

func newGUID() string { return uuid.NewString() }
