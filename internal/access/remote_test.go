package access_test

import (
	"net/netip"
	"testing"

	"github.com/mailgrant/mailgrant/internal/access"
)

func TestRemoteAddr(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, c := range []struct {
		outcome, peer string
		lines         []string
		trusted       []netip.Prefix
		want          string
	}{
		{"no proxy", "192.0.2.7:4711", nil, proxies, "192.0.2.7"},
		{"a stranger's header is ignored", "192.0.2.7:4711", []string{"198.51.100.9"}, proxies, "192.0.2.7"},
		{"nobody is trusted", "10.0.0.1:4711", []string{"198.51.100.9"}, nil, "10.0.0.1"},
		{"a proxy is believed", "10.0.0.1:4711", []string{"198.51.100.9"}, proxies, "198.51.100.9"},
		{"what a caller wrote before the proxy is ignored", "10.0.0.1:4711", []string{"127.0.0.1, 198.51.100.9"}, proxies, "198.51.100.9"},
		{"a chain of proxies", "10.0.0.1:4711", []string{"198.51.100.9, 10.2.0.1,10.3.0.1"}, proxies, "198.51.100.9"},
		{"several lines are one chain", "10.0.0.1:4711", []string{"127.0.0.1", "198.51.100.9", "10.2.0.1"}, proxies, "198.51.100.9"},
		{"only proxies", "10.0.0.1:4711", []string{"10.2.0.1"}, proxies, "10.2.0.1"},
		{"garbage ends the chain", "10.0.0.1:4711", []string{"198.51.100.9, unknown, 10.2.0.1"}, proxies, "10.2.0.1"},
		{"an empty header", "10.0.0.1:4711", []string{""}, proxies, "10.0.0.1"},
		{"IPv6 through an IPv6 proxy", "[2001:db8:1::1]:443", []string{"2001:db8:2::9"}, proxies, "2001:db8:2::9"},
		{"an IPv4-mapped peer is its IPv4 address", "[::ffff:10.0.0.1]:443", []string{"::ffff:198.51.100.9"}, proxies, "198.51.100.9"},
		{"a mapped network is its IPv4 network", "10.0.0.1:443", []string{"198.51.100.9"}, []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}, "198.51.100.9"},
		{"ports in the chain are dropped", "10.0.0.1:443", []string{"198.51.100.9:5000"}, proxies, "198.51.100.9"},
		{"brackets and ports in the chain are dropped", "10.0.0.1:443", []string{"[2001:db8:2::9]:5000"}, proxies, "2001:db8:2::9"},
		{"a zone is dropped", "[fe80::1%eth0]:443", nil, proxies, "fe80::1"},
		{"a Unix socket has no address", "@", []string{"198.51.100.9"}, proxies, "invalid IP"},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			if got := access.RemoteAddr(c.peer, c.lines, c.trusted).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
