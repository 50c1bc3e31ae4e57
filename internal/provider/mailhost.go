package provider

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

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
	host, number, err := net.SplitHostPort(rest)
	if err != nil || !isHost(host) {
		return "", 0, "", "must be host:port, for example 127.0.0.1:1143"
	}
	port, err = strconv.Atoi(number)
	if err != nil || port < 1 || port > 65535 {
		return "", 0, "", "must name a port between 1 and 65535"
	}
	return host, port, mode, ""
}

// isHost reports whether s is an IP address or has the letters of a host name.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c) && c != '-' && c != '.' && c != '_'
	})
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
