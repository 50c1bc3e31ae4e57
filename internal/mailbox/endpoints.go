package mailbox

import (
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// Endpoints gives where the mailbox receives and sends: the provider's presets
// with the mailbox's own settings laid over them; nil for what it does not do.
// The provider's certificate authorities are trusted wherever the mailbox names
// none of its own.
func (m Mailbox) Endpoints(kind provider.Kind, r provider.Record) (receive, send *protocol.Endpoint) {
	at := func(name protocol.Name, own Server, setting string) *protocol.Endpoint {
		e := kind.Mail(r, name)
		if len(e.CAPEM) == 0 && r.CAPEM != "" {
			e.CAPEM = []byte(r.CAPEM)
		}
		e = own.Overlay(e)
		e.Protocol, e.Setting = name, setting
		usual := protocol.TraitsOf(name)
		if e.TLS == "" {
			e.TLS = usual.TLS
		}
		if e.Port == 0 {
			e.Port = usual.UsualPort(e.TLS)
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

// Fallback gives the second way of sending: the provider's preset, as the
// mailbox's own settings are about the first; nil where there is none.
func (m Mailbox) Fallback(kind provider.Kind, r provider.Record) *protocol.Endpoint {
	if m.Send == nil || m.Send.Fallback == "" {
		return nil
	}
	e := kind.Mail(r, m.Send.Fallback)
	e.Protocol, e.Setting = m.Send.Fallback, "send"
	if len(e.CAPEM) == 0 && r.CAPEM != "" {
		e.CAPEM = []byte(r.CAPEM)
	}
	return &e
}

// UserAt gives the name the mailbox has at a server: the configured one, else
// its address.
func (m Mailbox) UserAt(s Server) string {
	if s.User != "" {
		return s.User
	}
	return m.Address
}
