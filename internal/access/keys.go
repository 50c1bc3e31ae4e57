package access

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// keyPrefix marks our API keys, so that scanners for leaked secrets know them.
const keyPrefix = "mgk_"

// KeyRequest is an API key to make or to change.
type KeyRequest struct {
	Name      string
	May       []Right
	Mailboxes []string
	Networks  []string
	ExpiresAt time.Time // zero: never
}

var keyName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// newKey makes the secret of a key, and its hash.
func newKey() (seal.Secret, []byte, error) {
	s, _, err := NewSecret()
	full := keyPrefix + s.Reveal()
	return seal.NewSecret(full), hash(full), err
}

// CreateAPIKey makes a key and gives its secret, which is shown this once.
func (a *Access) CreateAPIKey(ctx context.Context, by event.Actor, r KeyRequest) (APIKey, seal.Secret, error) {
	d, err := a.draft(by, r, APIKey{})
	if err != nil {
		return APIKey{}, seal.Secret{}, err
	}
	return d.Save(ctx)
}

// about adds to an event what a key may do.
func about(k APIKey, e event.Event) event.Event {
	e = e.With("api_key", k.Name).With("may", join(k.May))
	for name, value := range map[string]string{"mailboxes": join(k.Mailboxes), "networks": join(k.Networks)} {
		if value != "" {
			e = e.With(name, value)
		}
	}
	if !k.ExpiresAt.IsZero() {
		e = e.With("expires_at", k.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return e
}

func join[S ~string](items []S) string {
	words := make([]string, len(items))
	for i, item := range items {
		words[i] = string(item)
	}
	return strings.Join(words, ", ")
}

// KeyDraft is a checked API key that waits to be saved.
type KeyDraft struct {
	IsNew  bool
	Fields []string // what changes in one that exists, as documents spell it
	save   func(context.Context) (APIKey, seal.Secret, error)
}

// Save makes the key, whose secret it gives, or changes what the one that exists
// may do. One that somebody else changed since it was looked at is
// "api_key.changed" (Conflict).
func (d KeyDraft) Save(ctx context.Context) (APIKey, seal.Secret, error) { return d.save(ctx) }

// CheckAPIKey finds every mistake in a key, and what saving it would change.
func (a *Access) CheckAPIKey(ctx context.Context, by event.Actor, r KeyRequest) (KeyDraft, error) {
	stored, err := a.need.Keys.APIKey(ctx, r.Name)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return KeyDraft{}, err
	}
	return a.draft(by, r, stored)
}

// PutAPIKey makes the key of this name, whose secret it gives, or changes what
// the one that exists may do; its secret stays and is not shown.
func (a *Access) PutAPIKey(ctx context.Context, by event.Actor, r KeyRequest) (APIKey, seal.Secret, error) {
	d, err := a.CheckAPIKey(ctx, by, r)
	if err != nil {
		return APIKey{}, seal.Secret{}, err
	}
	return d.Save(ctx)
}

// ChangeAPIKey changes what a key may do, where, and until when.
func (a *Access) ChangeAPIKey(ctx context.Context, by event.Actor, r KeyRequest) (APIKey, error) {
	stored, err := a.need.Keys.APIKey(ctx, r.Name)
	if err != nil {
		return APIKey{}, err
	}
	d, err := a.draft(by, r, stored)
	if err != nil {
		return APIKey{}, err
	}
	k, _, err := d.Save(ctx)
	return k, err
}

// draft checks a key against the stored one; zero: it is to be made.
func (a *Access) draft(by event.Actor, r KeyRequest, stored APIKey) (KeyDraft, error) {
	if err := r.check(a.now(), stored); err != nil {
		return KeyDraft{}, err
	}
	if stored.ID == "" {
		return KeyDraft{IsNew: true, save: func(ctx context.Context) (APIKey, seal.Secret, error) { return a.create(ctx, by, r) }}, nil
	}
	k := stored
	k.May, k.Mailboxes, k.Networks, k.ExpiresAt = r.May, r.Mailboxes, r.Networks, r.ExpiresAt
	var d KeyDraft
	var words []string
	for _, part := range []struct {
		field, word string
		same        bool
	}{
		{"may", "rights", slices.Equal(k.May, stored.May)},
		{"mailboxes", "mailboxes", slices.Equal(k.Mailboxes, stored.Mailboxes)},
		{"networks", "networks", slices.Equal(k.Networks, stored.Networks)},
		{"expires_at", "end", k.ExpiresAt.Equal(stored.ExpiresAt)},
	} {
		if !part.same {
			d.Fields, words = append(d.Fields, part.field), append(words, part.word)
		}
	}
	d.save = func(ctx context.Context) (APIKey, seal.Secret, error) {
		if len(words) == 0 {
			return stored, seal.Secret{}, nil
		}
		text := fmt.Sprintf("The API key %s was changed: %s.", k.Name, strings.Join(words, ", "))
		if err := a.need.Keys.ChangeAPIKey(ctx, stored, k, about(k, event.New(a.now(), event.APIKeyUpdated, by, text))); err != nil {
			return APIKey{}, seal.Secret{}, err
		}
		a.forgetKeys()
		return k, seal.Secret{}, nil
	}
	return d, nil
}

func (a *Access) create(ctx context.Context, by event.Actor, r KeyRequest) (APIKey, seal.Secret, error) {
	now := a.now()
	secret, h, err := newKey()
	if err != nil {
		return APIKey{}, seal.Secret{}, err
	}
	k := APIKey{
		ID: event.NewID(), Name: r.Name, Hash: h, May: r.May, Mailboxes: r.Mailboxes, Networks: r.Networks, CreatedBy: by.Name, CreatedAt: now, ExpiresAt: r.ExpiresAt,
	}
	e := about(k, event.New(now, event.APIKeyCreated, by, fmt.Sprintf("The API key %s was made.", k.Name)))
	if err := a.need.Keys.CreateAPIKey(ctx, k, e); err != nil {
		return APIKey{}, seal.Secret{}, err
	}
	return k, secret, nil
}

// RenewAPIKey gives a key a new secret, shown this once; the old one ends at
// once. What the key may do stays, and so does its end, unless ends is not zero.
func (a *Access) RenewAPIKey(ctx context.Context, by event.Actor, name string, ends time.Time) (APIKey, seal.Secret, error) {
	k, err := a.need.Keys.APIKey(ctx, name)
	if err != nil {
		return APIKey{}, seal.Secret{}, err
	}
	now := a.now()
	if !ends.IsZero() {
		k.ExpiresAt = ends.Truncate(time.Microsecond)
	}
	switch {
	case k.ExpiresAt.IsZero() || k.ExpiresAt.After(now):
	case !ends.IsZero():
		return APIKey{}, seal.Secret{}, pastEnd()
	default:
		return APIKey{}, seal.Secret{}, &fault.Error{
			ID: "api_key.ended", Kind: fault.Conflict, Field: "expires_at", Who: []fault.Who{fault.Operator},
			Text:   fmt.Sprintf("The API key %s ended on %s; a new one would be good for nothing.", k.Name, k.ExpiresAt.UTC().Format(time.DateOnly)),
			Remedy: "Give it a later end date together with the new key.",
		}
	}
	secret, h, err := newKey()
	if err != nil {
		return APIKey{}, seal.Secret{}, err
	}
	old := k.Hash
	k.Hash = h
	e := about(k, event.New(now, event.APIKeyRenewed, by, fmt.Sprintf("The API key %s was renewed; the old one ended.", k.Name)))
	if err := a.need.Keys.RenewAPIKey(ctx, k, old, e); err != nil {
		return APIKey{}, seal.Secret{}, err
	}
	a.forgetKeys()
	return k, secret, nil
}

// likely asks whether another right was meant, where a word is near one.
func likely(m Right) string {
	if near := fault.Nearest(string(m), strings.Split(join(Rights()), ", ")); near != "" {
		return "Did you mean " + near + "? "
	}
	return ""
}

func badKey(field, text, remedy string) error {
	return &fault.Error{ID: "access.api_key_field", Kind: fault.Invalid, Field: field, Text: text, Remedy: remedy, Who: []fault.Who{fault.Operator}}
}

func pastEnd() error {
	return badKey("expires_at", "The end date is in the past.", "Give a later one, or none.")
}

// check refuses what cannot be, with every mistake, and brings the lists into
// the form in which they are kept. An end that has come may stay as stored has it.
func (r *KeyRequest) check(now time.Time, stored APIKey) error {
	var wrong []error
	if !keyName.MatchString(r.Name) {
		wrong = append(wrong, badKey("name", "This is not a usable name.", "Use up to 63 small letters, digits, and . _ -, beginning with a letter or digit."))
	}
	if len(r.May) == 0 {
		wrong = append(wrong, badKey("may", "The key may do nothing.", "Give at least one of read, send, token, manage."))
	}
	for i, m := range r.May {
		if !slices.Contains(Rights(), m) {
			wrong = append(wrong, badKey(fmt.Sprintf("may[%d]", i), fmt.Sprintf("There is no right “%s”.", fault.Shorten(string(m), 40)), likely(m)+"Allowed are read, send, token, manage."))
		}
	}
	given := r.May
	r.May = slices.DeleteFunc(Rights(), func(m Right) bool { return !slices.Contains(given, m) })
	var err error
	r.Mailboxes, err = each("mailboxes", r.Mailboxes, message.Address)
	wrong = append(wrong, err)
	r.Networks, err = each("networks", r.Networks, network)
	wrong = append(wrong, err)
	r.ExpiresAt = r.ExpiresAt.Truncate(time.Microsecond)
	if !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(now) && !r.ExpiresAt.Equal(stored.ExpiresAt) {
		wrong = append(wrong, pastEnd())
	}
	return fault.Join(wrong...)
}

// each brings every item of a list into its normal form, in order and once.
func each(field string, items []string, normal func(string) (string, error)) ([]string, error) {
	out := make([]string, len(items))
	var wrong []error
	for i, item := range items {
		var err error
		if out[i], err = normal(strings.TrimSpace(item)); err != nil {
			wrong = append(wrong, badKey(fmt.Sprintf("%s[%d]", field, i), fault.Of(err).Text, fault.Of(err).Remedy))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), fault.Join(wrong...)
}

// network is the normal form of a network: a single address is one of its own.
func network(text string) (string, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		text = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()).String()
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return "", badKey("", fmt.Sprintf("“%s” is not a network.", fault.Shorten(text, 60)), "Write it as 10.1.0.0/16 or 2001:db8::/32, or give a single address.")
	}
	return plainPrefix(p).Masked().String(), nil
}

// APIKeys lists keys without their secrets.
func (a *Access) APIKeys(ctx context.Context) ([]APIKey, error) { return a.need.Keys.APIKeys(ctx) }

// APIKey gives one key without its secret.
func (a *Access) APIKey(ctx context.Context, name string) (APIKey, error) {
	return a.need.Keys.APIKey(ctx, name)
}

// MayLeaveOut refuses to let a document without a caller's own key delete that
// key: nobody wants to lock themselves out by a line that is missing.
func (a *Access) MayLeaveOut(by event.Actor, name string) error {
	if by.Kind != event.ActorAPIKey || by.Name != name {
		return nil
	}
	return &fault.Error{
		ID: "api_key.own", Kind: fault.Conflict, Who: []fault.Who{fault.Operator},
		Text:   fmt.Sprintf("The app %s is the one that applies this document, and would be deleted: it is not in the list.", name),
		Remedy: "Add it to the list of apps, or apply the document on the server's own host.",
	}
}

// DeleteAPIKey ends a key at once.
func (a *Access) DeleteAPIKey(ctx context.Context, by event.Actor, name string) error {
	e := event.New(a.now(), event.APIKeyDeleted, by, fmt.Sprintf("The API key %s was removed.", name)).With("api_key", name)
	if err := a.need.Keys.DeleteAPIKey(ctx, name, e); err != nil {
		return err
	}
	a.forgetKeys()
	return nil
}
