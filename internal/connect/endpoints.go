package connect

import (
	"context"

	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// usualDoor is how a protocol is reached where neither preset nor mailbox says
// (RFC 8314 section 3).
var usualDoor = map[protocol.Name]struct {
	tls  protocol.TLSMode
	port map[protocol.TLSMode]int
}{
	protocol.IMAP: {protocol.TLSImplicit, map[protocol.TLSMode]int{protocol.TLSImplicit: 993, protocol.TLSStart: 143, protocol.TLSNone: 143}},
	protocol.SMTP: {protocol.TLSStart, map[protocol.TLSMode]int{protocol.TLSImplicit: 465, protocol.TLSStart: 587, protocol.TLSNone: 587}},
}

// Endpoints gives where a mailbox receives and sends: the provider's presets
// with the mailbox's own settings laid over them; nil for what it does not do.
// The provider's ca_file is trusted wherever the mailbox names none of its own.
func Endpoints(kind provider.Kind, r provider.Record, m mailbox.Mailbox) (receive, send *protocol.Endpoint) {
	at := func(name protocol.Name, own mailbox.Server, setting string) *protocol.Endpoint {
		e := kind.Mail(r, name)
		if len(e.CAPEM) == 0 && r.CAPEM != "" {
			e.CAPEM = []byte(r.CAPEM)
		}
		e = own.Overlay(e)
		e.Protocol, e.Setting = name, setting
		if usual, ok := usualDoor[name]; ok {
			if e.TLS == "" {
				e.TLS = usual.tls
			}
			if e.Port == 0 {
				e.Port = usual.port[e.TLS]
			}
		}
		return &e
	}
	if m.Receive != nil {
		receive = at(m.Receive.Protocol, m.Receive.Server, "receive")
	}
	if m.Send != nil {
		send = at(m.Send.Protocol, m.Send.Server, "send")
	}
	return receive, send
}

// UserAt gives the name a mailbox has at a server: the configured one, else its
// address.
func UserAt(m mailbox.Mailbox, s mailbox.Server) string {
	if s.User != "" {
		return s.User
	}
	return m.Address
}

// Endpoints is the function Endpoints for a mailbox whose provider is looked up.
func (b *Mailboxes) Endpoints(ctx context.Context, m mailbox.Mailbox) (receive, send *protocol.Endpoint, err error) {
	r, kind, err := b.providers.record(ctx, m.Provider)
	if err != nil {
		return nil, nil, err
	}
	receive, send = Endpoints(kind, r, m)
	return receive, send, nil
}
