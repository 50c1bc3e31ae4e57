package webhook

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Input is a webhook as a caller describes it. A zero Secret keeps the present
// one, or, for a new webhook, has one generated.
type Input struct {
	Name      string
	URL       string
	Secret    seal.Secret // whsec_ and base64, or at least 24 other characters
	Events    []event.Pattern
	Mailboxes []string
	CAPEM     string
	OnlyNew   bool // refuse with webhook.exists where there is one of this name
}

var webhookName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

func invalid(field, text, remedy string) error {
	return &fault.Error{ID: "webhook.field", Kind: fault.Invalid, Field: field, Text: text, Remedy: remedy, Who: []fault.Who{fault.Operator}}
}

// Save makes or changes a webhook. Where a secret was generated it is given
// back, this once. Nothing is written where nothing changes. A webhook that is
// switched off stays so, but for one whose receiver answered 410 and that now
// has another URL.
func (w *Webhooks) Save(ctx context.Context, by event.Actor, in Input) (Webhook, seal.Secret, error) {
	d, err := w.Check(ctx, by, in)
	if err != nil {
		return Webhook{}, seal.Secret{}, err
	}
	return d.Save(ctx)
}

// sameReceiver reports that deliveries reach the same place in the same way.
func sameReceiver(a, b Webhook) bool { return a.URL == b.URL && a.CAPEM == b.CAPEM }

// takeSecret seals the secret of a webhook that is saved: the one that was given,
// else the one it has, else a generated one, which is given back. A given one
// that differs replaces both it had: RotateSecret is the way to keep the old one
// for a while.
func (w *Webhooks) takeSecret(h *Webhook, given seal.Secret) (generated seal.Secret, changed bool, err error) {
	if given.IsZero() {
		if !h.Secret.IsZero() {
			return seal.Secret{}, false, nil
		}
		if generated, err = newSigningSecret(); err != nil {
			return seal.Secret{}, false, err
		}
		given = generated
	} else if !h.Secret.IsZero() {
		if present, err := w.keys.Unseal(h.Secret, secretPlace(h.ID)); err == nil && present.Equal(given) {
			return seal.Secret{}, false, nil
		}
	}
	h.PreviousSecret, h.PreviousSecretUntil = seal.Sealed{}, time.Time{}
	h.Secret, err = w.keys.Seal(given, secretPlace(h.ID))
	return generated, true, err
}

// Delete removes a webhook with what waits for it.
func (w *Webhooks) Delete(ctx context.Context, by event.Actor, name string) error {
	e := event.New(w.now(), event.WebhookDeleted, by, fmt.Sprintf("The webhook %s was removed.", name)).With("webhook", name)
	return w.store.DeleteWebhook(ctx, name, e)
}

// Get gives one webhook by name.
func (w *Webhooks) Get(ctx context.Context, name string) (Webhook, error) {
	return w.store.Webhook(ctx, name)
}

// List gives all webhooks.
func (w *Webhooks) List(ctx context.Context) ([]Webhook, error) { return w.store.Webhooks(ctx) }

func secretPlace(id string) []byte { return seal.Where("webhook", id, "secret") }

func newSigningSecret() (seal.Secret, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return seal.Secret{}, fmt.Errorf("make a signing secret: %w", err)
	}
	return seal.NewSecret("whsec_" + base64.StdEncoding.EncodeToString(b)), nil
}

// check finds every mistake, and brings the addresses into the form in which they
// are kept.
func (w *Webhooks) check(in *Input) error {
	var mistakes []error
	add := func(err error) { mistakes = append(mistakes, err) }
	if !webhookName.MatchString(in.Name) {
		add(invalid("name", "This is not a usable name.", "Use up to 64 small letters, digits, and . _ -, beginning with a letter or digit."))
	}
	add(w.checkURL(in.URL))
	if !in.Secret.IsZero() {
		_, err := signingKey(in.Secret)
		add(err)
	}
	if len(in.Events) == 0 {
		add(invalid("events", "The webhook asks for no events.", "Name kinds such as message.received, a family such as submission.*, or *."))
	}
	for i, p := range in.Events {
		if err := p.Check(); err != nil {
			add(inField(err, fmt.Sprintf("events[%d]", i)))
		}
	}
	in.Mailboxes = slices.Clone(in.Mailboxes)
	for i, m := range in.Mailboxes {
		field := fmt.Sprintf("mailboxes[%d]", i)
		address, err := message.Address(m)
		switch {
		case err != nil:
			add(invalid(field, fault.Of(err).Text, fault.Of(err).Remedy))
		case slices.Contains(in.Mailboxes[:i], address):
			add(invalid(field, fmt.Sprintf("The address %s stands here twice.", address), "Name each mailbox once."))
		default:
			in.Mailboxes[i] = address
		}
	}
	if in.CAPEM != "" {
		if _, err := egress.Roots([]byte(in.CAPEM)); err != nil {
			add(invalid("ca_pem", fault.Of(err).Text, fault.Of(err).Remedy))
		}
	}
	return fault.Join(mistakes...)
}

func inField(err error, field string) error {
	f := *fault.Of(err)
	f.Field = field
	return &f
}

// checkURL refuses at once what the guard would refuse at every delivery, so
// that the mistake is told where it is made. A name's addresses are checked
// when it is dialled, each time.
func (w *Webhooks) checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || len(raw) > 2048 || u.User != nil || u.Fragment != "" {
		return invalid("url", "This is not a usable URL.", "Write it as https://host/path, without a user name and without a fragment.")
	}
	local := false
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		if err := w.guard.Check(addr); err != nil {
			return invalid("url", fmt.Sprintf("Webhooks to %s are refused.", addr), "Use a public address, or allow the network in the server's setting webhooks.allow_networks.")
		}
		local = addr.IsLoopback() || addr.IsPrivate()
	} else if strings.EqualFold(u.Hostname(), "localhost") {
		if err := w.guard.Check(netip.MustParseAddr("127.0.0.1")); err != nil {
			return invalid("url", "Webhooks to localhost are refused.", "Allow 127.0.0.0/8 in the server's setting webhooks.allow_networks if the receiver runs on this host.")
		}
		local = true
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return invalid("url", "Events hold mail; they are delivered over https only.", "Use https://. Plain http is possible towards addresses allowed in webhooks.allow_networks.")
	}
	return nil
}

// signingKey gives the bytes to sign with: base64 after whsec_, else the text itself.
func signingKey(s seal.Secret) ([]byte, error) {
	text := strings.TrimSpace(s.Reveal())
	key := []byte(text)
	if enc, ok := strings.CutPrefix(text, "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(enc); err != nil {
			return nil, invalid("secret", "The secret begins with whsec_ but is not base64 after it.", "Paste it whole, or give at least 24 characters without that beginning.")
		}
	}
	if len(key) < 24 || len(key) > 512 {
		return nil, invalid("secret", fmt.Sprintf("The secret has %d bytes; 24 to 512 are needed.", len(key)), "Leave it out to have one generated.")
	}
	return key, nil
}
