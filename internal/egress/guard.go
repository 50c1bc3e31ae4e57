package egress

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Guard refuses to dial into networks that are nobody's business from outside:
// loopback, private, link-local, shared (CGNAT), multicast and reserved
// addresses. Allow lists exceptions; it never opens a metadata address.
// A nil *Guard refuses metadata addresses only.
type Guard struct {
	Allow []netip.Prefix
}

// metadata lists the addresses at which clouds hand secrets to whoever asks.
func metadata(a netip.Addr) bool {
	switch a.String() {
	case "169.254.169.254", "169.254.170.2", "169.254.170.23", // AWS, Azure, Google and others; AWS tasks and pods
		"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", // AWS and Google over IPv6
		"100.100.100.200", "168.63.129.16", "192.0.0.192": // Alibaba, Azure host, Oracle
		return true
	}
	return false
}

// closed lists the networks that net/netip's own predicates do not know.
func closed() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),       // RFC 1122, "this network"
		netip.MustParsePrefix("100.64.0.0/10"),   // RFC 6598, carrier-grade NAT
		netip.MustParsePrefix("192.0.0.0/24"),    // RFC 6890
		netip.MustParsePrefix("192.0.2.0/24"),    // RFC 5737, documentation
		netip.MustParsePrefix("198.18.0.0/15"),   // RFC 2544
		netip.MustParsePrefix("198.51.100.0/24"), // RFC 5737
		netip.MustParsePrefix("203.0.113.0/24"),  // RFC 5737
		netip.MustParsePrefix("240.0.0.0/4"),     // reserved and broadcast
		netip.MustParsePrefix("100::/64"),        // RFC 6666, discard
		netip.MustParsePrefix("2001:db8::/32"),   // documentation
		netip.MustParsePrefix("fec0::/10"),       // old site-local
	}
}

// embedded gives the IPv4 address that an IPv6 address only wraps: mapped,
// NAT64 (RFC 6052) and 6to4 (RFC 3056). Others come back unchanged.
func embedded(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	b := a.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a), netip.MustParsePrefix("64:ff9b:1::/48").Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return a
}

// Check says whether the address may be dialled; the refusal is the fault
// net.forbidden_address.
func (g *Guard) Check(addr netip.Addr) error {
	a := embedded(addr)
	if metadata(a) || metadata(addr.Unmap().WithZone("")) {
		return forbidden(addr, "It is the address at which a cloud hands secrets to its machines. This cannot be allowed.")
	}
	if g == nil {
		return nil
	}
	for _, p := range g.Allow {
		if p.Contains(a) || p.Contains(addr.Unmap().WithZone("")) {
			return nil
		}
	}
	inside := a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || !a.IsValid()
	for _, p := range closed() {
		inside = inside || p.Contains(a)
	}
	if inside {
		return forbidden(addr, "If the target is yours and meant, the operator of the server lists its network in the server's configuration.")
	}
	return nil
}

func forbidden(a netip.Addr, remedy string) error {
	return &fault.Error{
		ID: "net.forbidden_address", Kind: fault.Forbidden,
		Text:   fmt.Sprintf("The address %s lies in a network that Mailgrant does not call.", a),
		Who:    []fault.Who{fault.Operator},
		Remedy: remedy,
	}
}

// control runs between name look-up and connect, once for each address tried.
func (g *Guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("check the address to dial: %w", err)
	}
	return g.Check(ap.Addr())
}
