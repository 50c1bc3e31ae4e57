// Package directory is the state of the sandbox's imitation world: tenants, users, app registrations, mailboxes and who may
// open them, the clock, the faults that were ordered, and the list of calls that were made.
//
// It knows no protocol. The sandbox's faces (Entra, Graph, Exchange) read it; the control API and tests change it. Everything
// in it is made up: passwords and secrets are plain strings on purpose, because the sandbox prints them for its users.
//
// A World is safe for use by many goroutines. It hands out copies, never its own records.
package directory

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// ErrUnknown is wrapped by every error that says that the thing named does not exist in this world.
var ErrUnknown = errors.New("not in this sandbox")

// World is one imitation world.
type World struct {
	mu            sync.Mutex
	now           func() time.Time
	offset        time.Duration
	moments       int64
	tenants       []Tenant
	users         []User
	registrations []Registration
	mailboxes     []Mailbox
	consents      map[consentKey][]string
	switches      Switches
	faults        []*pendingFault
	calls         []Call
	callsTotal    int
	closed        chan struct{}
	closeOnce     sync.Once
}

// New makes a world out of a story. now is the clock on which the world's own offset is added; nil means time.Now.
func New(story Story, now func() time.Time) (*World, error) {
	if now == nil {
		now = time.Now
	}
	w := &World{now: now, consents: make(map[consentKey][]string), closed: make(chan struct{})}
	for _, t := range story.Tenants {
		w.tenants = append(w.tenants, t.clone())
	}
	for _, u := range story.Users {
		if u.ObjectID == "" {
			u.ObjectID = uuid.NewString()
		}
		if u.Mail == "" && !u.NoMailbox {
			u.Mail = u.UPN
		}
		if _, found := w.findTenant(u.TenantID); !found {
			return nil, fmt.Errorf("user %s: tenant %q: %w", u.UPN, u.TenantID, ErrUnknown)
		}
		w.users = append(w.users, u.clone())
	}
	for _, r := range story.Registrations {
		if _, found := w.findTenant(r.TenantID); !found {
			return nil, fmt.Errorf("app registration %s: tenant %q: %w", r.ClientID, r.TenantID, ErrUnknown)
		}
		w.registrations = append(w.registrations, r.clone())
	}
	for _, m := range story.Mailboxes {
		w.mailboxes = append(w.mailboxes, m.clone())
	}
	for _, u := range w.users {
		if u.NoMailbox || slices.ContainsFunc(w.mailboxes, func(m Mailbox) bool { return strings.EqualFold(m.Address, u.Mail) }) {
			continue
		}
		w.mailboxes = append(w.mailboxes, Mailbox{
			Address: u.Mail, TenantID: u.TenantID, OwnerID: u.ObjectID, DisplayName: u.DisplayName,
			Aliases: slices.Clone(u.Aliases),
		})
	}
	return w, nil
}

// Close lets go everything that waits in this world, hanging requests first of all.
func (w *World) Close() { w.closeOnce.Do(func() { close(w.closed) }) }

// Now is the world's time: the clock it was made with, plus what it was moved by.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now().Add(w.offset)
}

// MoveClock moves the world's time by d, back when d is negative, and returns the new time.
func (w *World) MoveClock(d time.Duration) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offset += d
	return w.now().Add(w.offset)
}

// Moment is a point in the world's history: its time, and its place in the order of events, which stays true when the clock
// stands still or is moved back.
type Moment struct {
	At    time.Time
	Order int64
}

// Ended says whether something that began at start was ended at m; the zero Moment never happened and ends nothing.
func (m Moment) Ended(start Moment) bool { return start.Order < m.Order }

// Moment is a new moment, later than every one before.
func (w *World) Moment() Moment {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.moment()
}

func (w *World) moment() Moment {
	w.moments++
	return Moment{At: w.timestamp(), Order: w.moments}
}

// timestamp is the world's time for a caller that holds the lock.
func (w *World) timestamp() time.Time { return w.now().Add(w.offset) }

// Switches are the ways in which a whole sandbox may be told to behave differently.
type Switches struct {
	// StrictRotation lets a refresh token be used once only: re-use of a rotated one ends its whole family. Off, Entra's way
	// holds: each refresh returns a new refresh token and the old one stays valid.
	StrictRotation bool `json:"strict_rotation"`
	// DeviceUser is the user name of whoever is signed in to the device. While it is set, `prompt` and `login_hint` are
	// ignored and this user is taken silently: "device single sign-on". Empty switches it off.
	DeviceUser string `json:"device_user"`
	// OpaqueAccessTokens makes access tokens unreadable to clients, as Microsoft's own may be.
	OpaqueAccessTokens bool `json:"opaque_access_tokens"`
}

// Switches returns how the sandbox is switched now.
func (w *World) Switches() Switches {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.switches
}

// SetStrictRotation switches strict rotation of refresh tokens on or off.
func (w *World) SetStrictRotation(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.switches.StrictRotation = on
}

// SetOpaqueAccessTokens switches opaque access tokens on or off; tokens already issued keep their form.
func (w *World) SetOpaqueAccessTokens(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.switches.OpaqueAccessTokens = on
}

// SetDeviceUser switches device single sign-on on for the user named, or off with an empty name.
func (w *World) SetDeviceUser(userName string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if userName != "" {
		user := w.userByName(userName)
		if user == nil {
			return fmt.Errorf("user %q: %w", userName, ErrUnknown)
		}
		userName = user.UPN
	}
	w.switches.DeviceUser = userName
	return nil
}

// RandomText returns an unguessable text of URL-safe letters, 26 of them, with at least 128 bits.
func RandomText() string { return rand.Text() }
