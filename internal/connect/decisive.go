package connect

import (
	"context"
	"fmt"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
)

// decisive says, as half a sentence, which change puts the three-way binding in
// question; empty for none. A server is its host, with the user whose mailbox is
// opened there: another port, TLS mode or CA leads to the same mailbox.
func (b *Mailboxes) decisive(ctx context.Context, old, m mailbox.Mailbox) (string, error) {
	switch {
	case old.Address != m.Address:
		return "its address changed", nil
	case old.Provider != m.Provider:
		return "its provider changed", nil
	case old.ActsAs != m.ActsAs:
		return "who acts for it changed", nil
	}
	was, err := b.places(ctx, old)
	if err != nil {
		return "", err
	}
	is, err := b.places(ctx, m)
	if err != nil {
		return "", err
	}
	switch {
	case is.receive.movedFrom(was.receive, was.send):
		return "the server where it receives changed", nil
	case is.send.movedFrom(was.send, was.receive):
		return "the server where it sends changed", nil
	}
	return "", nil
}

// consequence says what a decisive change does to the authorisation that a
// mailbox has; empty where it has none. One in quarantine is not taken along to
// another server: its owner agreed to the one that was set, and whoever may
// change a mailbox could else have the tokens of others sent anywhere.
func (b *Mailboxes) consequence(ctx context.Context, m mailbox.Mailbox, reason string) (string, error) {
	l, err := b.Look(ctx, m.Address)
	if err != nil {
		return "", err
	}
	var lost []string
	if l.State == mailbox.GrantActive {
		lost = append(lost, fmt.Sprintf("Because %s, the authorisation of %s is suspended: mail stops until its owner has opened a new authorization link and the mailbox is verified anew.", reason, m.Address))
	}
	if q := l.Quarantine; q != nil {
		lost = append(lost, fmt.Sprintf("Because %s, the authorisation by %s that waits in quarantine is dropped: its tokens go to no other server than the one it was given for. Make a new authorization link after saving.", reason, q.Display))
	}
	return strings.Join(lost, " "), nil
}

// aside words why an authorization waits. A host that has to be corrected is a
// decisive change, so that the remedy says what comes after it.
func aside(why *fault.Error) *fault.Error {
	if !strings.HasSuffix(why.Field, ".host") {
		return why
	}
	told := *why
	told.Remedy = strings.TrimSpace(why.Remedy + " If the host has to be changed, make a new authorization link afterwards: the authorisation that waits is for this host alone.")
	return &told
}

// place is where a mailbox is opened, and under which name. The zero place is
// that of a mailbox that does not do this.
type place struct {
	host   string
	user   string
	preset bool // the provider names the host, and no other name is used there
}

type places struct{ receive, send place }

// places gives the hosts in effect: a preset written out is the same host.
func (b *Mailboxes) places(ctx context.Context, m mailbox.Mailbox) (places, error) {
	r, kind, err := b.providers.record(ctx, m.Provider)
	if err != nil {
		return places{}, err
	}
	receive, send := m.Endpoints(kind, r)
	var p places
	if receive != nil {
		p.receive = placeOf(receive.Host, kind.Mail(r, m.Receive.Protocol).Host, m.UserAt(m.Receive.Server), m.Address)
	}
	if send != nil {
		p.send = placeOf(send.Host, kind.Mail(r, m.Send.Protocol).Host, m.UserAt(m.Send.Server), m.Address)
	}
	return p, nil
}

func placeOf(host, preset, user, address string) place {
	host = strings.ToLower(host)
	return place{host: host, user: user, preset: host == strings.ToLower(preset) && user == address}
}

// movedFrom reports a place that was none of the mailbox's before. One that is
// added may be the provider's own, or where the mailbox was opened already.
func (p place) movedFrom(before, other place) bool {
	switch {
	case p == place{}:
		return false
	case before == place{}:
		return !p.preset && (p.host != other.host || p.user != other.user)
	}
	return p.host != before.host || p.user != before.user
}
