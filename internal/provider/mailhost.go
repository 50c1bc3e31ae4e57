package provider

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/mailgrant/mailgrant/internal/protocol"
)

// ParseMailHost reads what a record may write to override a mail endpoint:
// "host:port", or a URL such as imaps://host:993 whose scheme says the TLS mode
// too (one that ends in s means implicit TLS, any other STARTTLS). Mode is
// empty where the text does not say it. why is half a sentence, empty when the
// text is good.
func ParseMailHost(s string) (host string, port int, mode protocol.TLSMode, why string) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "", s
	}
	switch scheme {
	case "":
	case "imaps", "pop3s", "smtps":
		mode = protocol.TLSImplicit
	case "imap", "pop3", "smtp":
		mode = protocol.TLSStart
	default:
		return "", 0, "", "must be host:port, or begin with imaps://, imap://, pop3s://, pop3://, smtps:// or smtp://"
	}
	u, err := url.Parse("x://" + rest)
	if err != nil || u.Hostname() == "" || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", 0, "", "must be host:port, for example 127.0.0.1:1143"
	}
	port, err = strconv.Atoi(u.Port())
	if err != nil || port < 1 || port > 65535 {
		return "", 0, "", "must name a port between 1 and 65535"
	}
	return u.Hostname(), port, mode, ""
}

// OverlayMail lays a record's override over a preset endpoint; one that cannot
// be read changes nothing (Check refuses it).
func OverlayMail(at protocol.Endpoint, override string) protocol.Endpoint {
	if override == "" {
		return at
	}
	host, port, mode, why := ParseMailHost(override)
	if why != "" {
		return at
	}
	at.Host, at.Port = host, port
	if mode != "" {
		at.TLS = mode
	}
	return at
}
