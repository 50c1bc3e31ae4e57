package directory

import (
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"
)

// User is a person or a role that can sign in.
type User struct {
	TenantID string `json:"tenant_id"`
	// ObjectID is the GUID that never changes ("oid"); a story may leave it empty and gets one.
	ObjectID string `json:"object_id"`
	// UPN is the name the user signs in with.
	UPN         string `json:"user_name"`
	DisplayName string `json:"display_name"`
	// Password is made up and printed by the sandbox.
	Password string `json:"password"`
	// Mail is the primary address; a story may leave it empty where it equals the UPN.
	Mail string `json:"mail,omitempty"`
	// Aliases are further addresses of the same mailbox.
	Aliases []string `json:"aliases,omitempty"`
	// Email is the `email` claim. Nobody has verified it: a foreign tenant's administrator may write any address here.
	Email string `json:"unverified_email,omitempty"`
	// Disabled users cannot sign in (AADSTS50057).
	Disabled bool `json:"disabled,omitempty"`
	// Admin may consent for the whole tenant.
	Admin bool `json:"admin,omitempty"`
	// NoMailbox says that the user has no licence for mail.
	NoMailbox bool `json:"no_mailbox,omitempty"`

	// SessionsRevoked ends every grant and browser session that began before it.
	SessionsRevoked Moment `json:"-"`
	// PasswordChanged ends browser sessions, and refresh tokens of public clients, that began before it.
	PasswordChanged Moment `json:"-"`
}

func (u User) clone() User {
	u.Aliases = slices.Clone(u.Aliases)
	return u
}

// PasswordMatches compares without telling by its duration where the texts differ.
func (u User) PasswordMatches(password string) bool {
	return u.Password != "" && subtle.ConstantTimeCompare([]byte(u.Password), []byte(password)) == 1
}

// ProxyAddresses lists the user's addresses as the directory does: "SMTP:" marks the primary one, "smtp:" the aliases.
func (u User) ProxyAddresses() []string {
	if u.Mail == "" {
		return nil
	}
	out := []string{"SMTP:" + u.Mail}
	for _, alias := range u.Aliases {
		out = append(out, "smtp:"+alias)
	}
	return out
}

// User finds a user by the name they sign in with, without regard to case.
func (w *World) User(userName string) (User, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u := w.userByName(userName); u != nil {
		return u.clone(), true
	}
	return User{}, false
}

// UserByID finds a user by object id.
func (w *World) UserByID(objectID string) (User, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.users {
		if u.ObjectID == objectID {
			return u.clone(), true
		}
	}
	return User{}, false
}

// Users lists everybody in the order of the story.
func (w *World) Users() []User {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]User, 0, len(w.users))
	for _, u := range w.users {
		out = append(out, u.clone())
	}
	return out
}

// RevokeSessions ends the user's browser sessions and refresh tokens (AADSTS50173 at the next refresh). Access tokens already
// issued live on until they expire, as they do at Microsoft without continuous access evaluation.
func (w *World) RevokeSessions(userName string) error {
	return w.changeUser(userName, func(u *User, now Moment) { u.SessionsRevoked = now })
}

// ChangePassword gives the user a new password, as the user would: it ends browser sessions and the refresh tokens of public
// clients; those of confidential clients live on.
func (w *World) ChangePassword(userName, password string) error {
	if password == "" {
		return fmt.Errorf("user %q: a new password must not be empty", userName)
	}
	return w.changeUser(userName, func(u *User, now Moment) { u.Password, u.PasswordChanged = password, now })
}

// ResetPassword gives the user a new password, as an administrator would: every session and every refresh token ends.
func (w *World) ResetPassword(userName, password string) error {
	if password == "" {
		return fmt.Errorf("user %q: a new password must not be empty", userName)
	}
	return w.changeUser(userName, func(u *User, now Moment) {
		u.Password, u.PasswordChanged, u.SessionsRevoked = password, now, now
	})
}

// SetUserDisabled forbids the user to sign in, or allows it again.
func (w *World) SetUserDisabled(userName string, disabled bool) error {
	return w.changeUser(userName, func(u *User, _ Moment) { u.Disabled = disabled })
}

func (w *World) changeUser(userName string, change func(*User, Moment)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	user := w.userByName(userName)
	if user == nil {
		return unknown("user", userName)
	}
	change(user, w.moment())
	return nil
}

func (w *World) userByName(userName string) *User {
	for i := range w.users {
		if strings.EqualFold(w.users[i].UPN, userName) {
			return &w.users[i]
		}
	}
	return nil
}

func unknown(kind, name string) error { return fmt.Errorf("%s %q: %w", kind, name, ErrUnknown) }
