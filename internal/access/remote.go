package access

import (
	"net/netip"
	"strings"
)

// RemoteAddr is the address of the caller. remoteAddr is the peer of the
// TCP connection as net/http gives it, forwardedFor the lines of
// X-Forwarded-For in their order. A line is believed only as far as those who
// wrote it are in trusted: the chain is read from its end, and the first
// address that is no trusted proxy is the caller. What cannot be read ends the
// chain. The result carries no zone and is never an IPv4-mapped address; it is
// invalid where remoteAddr is (a Unix socket).
func RemoteAddr(remoteAddr string, forwardedFor []string, trusted []netip.Prefix) netip.Addr {
	addr, ok := readAddr(remoteAddr)
	if !ok {
		return netip.Addr{}
	}
	hops := strings.Split(strings.Join(forwardedFor, ","), ",")
	for i := len(hops) - 1; i >= 0 && inside(trusted, addr); i-- {
		next, ok := readAddr(strings.TrimSpace(hops[i]))
		if !ok {
			break
		}
		addr = next
	}
	return addr
}

// readAddr reads an address with or without a port; some proxies write one.
func readAddr(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone(""), true
}

func inside(networks []netip.Prefix, addr netip.Addr) bool {
	for _, n := range networks {
		if plainPrefix(n).Contains(addr) {
			return true
		}
	}
	return false
}

// plainPrefix writes a network of IPv4-mapped addresses as the IPv4 network it
// is, since addresses are compared unmapped.
func plainPrefix(n netip.Prefix) netip.Prefix {
	if n.Addr().Is4In6() && n.Bits() >= 96 {
		return netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	return n
}
