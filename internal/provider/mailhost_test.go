package provider_test

import (
	"net"
	"strconv"
	"testing"

	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
)

func TestParseMailHost(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]protocol.Endpoint{
		"mail.example:143":         {Host: "mail.example", Port: 143},
		"imaps://mail.example:993": {Host: "mail.example", Port: 993, TLS: protocol.TLSImplicit},
		"smtp://[::1]:1587":        {Host: "::1", Port: 1587, TLS: protocol.TLSStart},
	} {
		host, port, mode, why := provider.ParseMailHost(text)
		if why != "" || host != want.Host || port != want.Port || mode != want.TLS {
			t.Errorf("%q: %s %d %s %s", text, host, port, mode, why)
		}
	}
	preset := protocol.Endpoint{Host: "preset.example", Port: 993, TLS: protocol.TLSImplicit}
	for _, text := range []string{"", "mail.example", "mail.example:0", "mail.example:99999", "http://mail.example:80", "a@b:1", "host:1/x", "host:1?x", ":143", "imap://"} {
		if host, port, _, why := provider.ParseMailHost(text); why == "" {
			t.Errorf("%q is taken for %s:%d", text, host, port)
		}
		if got := provider.OverlayMail(preset, text); got.Host != preset.Host || got.Port != preset.Port {
			t.Errorf("%q changed the preset to %+v", text, got)
		}
	}
	if got := provider.OverlayMail(preset, "mail.example:1993"); got.Host != "mail.example" || got.Port != 1993 || got.TLS != protocol.TLSImplicit {
		t.Errorf("%+v", got)
	}
}

func FuzzParseMailHost(f *testing.F) {
	f.Add("imaps://mail.example:993")
	f.Add("[::1]:143")
	f.Add("]:1")
	f.Fuzz(func(t *testing.T, s string) {
		host, port, _, why := provider.ParseMailHost(s)
		if why != "" {
			return
		}
		if h, p, err := net.SplitHostPort(net.JoinHostPort(host, strconv.Itoa(port))); err != nil || h != host || p != strconv.Itoa(port) {
			t.Fatalf("%q: %q %d", s, host, port)
		}
	})
}
