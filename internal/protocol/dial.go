package protocol

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// The patience of a connection being made.
const (
	dialTimeout     = 15 * time.Second
	tlsTimeout      = 15 * time.Second
	greetingTimeout = 30 * time.Second
	keepAlive       = 30 * time.Second
	longestLine     = 8 << 10
)

// Climb reports rungs as they are climbed; the zero Climb reports to nobody.
type Climb struct{ Yield func(Step) }

// Rung does one step and reports it: what was observed, or the fault.
func (c Climb) Rung(name, title string, do func() (observed string, err error)) error {
	start := time.Now()
	observed, err := do()
	if c.Yield != nil {
		s := Step{Name: name, Title: title, OK: err == nil, Observed: observed, Took: time.Since(start), Err: err}
		if err != nil && observed == "" {
			s.Observed = fault.Of(err).Text
		}
		c.Yield(s)
	}
	return err
}

// WithoutAccessToken ends a climb where an access token is needed and there is
// none: the rung auth is reported as not tried.
func (c Climb) WithoutAccessToken(user string) error {
	const why = "There is no access token to sign in with."
	if c.Yield != nil {
		c.Yield(Step{Name: "auth", Title: "Sign in as " + user, Skipped: true, Observed: why})
	}
	return &fault.Error{
		ID: "protocol.no_access_token", Kind: fault.Temporary, Text: why, Who: []fault.Who{fault.Operator},
		Remedy: "Have the mailbox authorised first.",
	}
}

// target says for the words of a network fault which setting is meant.
func (e Endpoint) target(setting string) egress.Target {
	return egress.Target{Setting: e.Field(setting), Host: e.Host, Port: e.Port}
}

// Field names one of the endpoint's settings as the resource spells it.
func (e Endpoint) Field(setting string) string {
	if e.Setting == "" {
		return setting
	}
	return e.Setting + "." + setting
}

// String is host and port.
func (e Endpoint) String() string { return net.JoinHostPort(e.Host, strconv.Itoa(e.Port)) }

// Network classifies a failure of the established connection.
func (e Endpoint) Network(err error) *fault.Error { return egress.Classify(err, e.target("host")) }

// Dialer connects to mail servers. Of each it remembers the certificate authorities
// that are trusted there, since a set of them is larger than all else that a
// connection takes; and a TLS session, with which the next connections agree on
// encryption without another signature (RFC 8446 section 2.2). The zero Dialer is
// ready for use.
type Dialer struct {
	mu      sync.Mutex
	configs map[peer]*tls.Config
}

// peer is a server and by whom it is trusted: a TLS session holds only there.
type peer struct {
	server, authorities string
}

// mostPeers bounds how many are remembered.
const mostPeers = 1000

// Dial connects to the endpoint and, with implicit TLS, agrees on encryption:
// the rungs dns, tcp and tls. A connection without encryption is made to
// loopback only.
func (d *Dialer) Dial(ctx context.Context, at Endpoint, climb Climb) (*Conn, error) {
	if err := at.check(); err != nil {
		return nil, err
	}
	config, err := d.tlsConfig(at)
	if err != nil {
		return nil, err
	}
	if climb.Yield != nil { // a test looks at the certificate itself
		config = config.Clone()
		config.ClientSessionCache = nil
	}
	var addresses []netip.Addr
	err = climb.Rung("dns", "Look up "+at.Host, func() (string, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		if ip, err := netip.ParseAddr(at.Host); err == nil {
			addresses = []netip.Addr{ip}
			return "The setting is an IP address.", nil
		}
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", at.Host)
		if err != nil {
			return "", egress.Classify(err, at.target("host"))
		}
		addresses = found
		return join(found), nil
	})
	if err != nil {
		return nil, err
	}
	c := &Conn{config: config, at: at}
	err = climb.Rung("tcp", "Connect to port "+strconv.Itoa(at.Port), func() (string, error) {
		if c.Conn, err = dialFirst(ctx, addresses, at.Port); err != nil {
			return "", egress.Classify(err, at.target("port"))
		}
		return "Connected to " + c.RemoteAddr().String() + ".", nil
	})
	if err != nil {
		return nil, err
	}
	if at.TLS == TLSNone && !loopback(c.Conn) {
		_ = c.Close()
		return nil, &fault.Error{
			ID: "protocol.plaintext", Kind: fault.Invalid, Retry: true, Field: at.Field("tls"),
			Text: fmt.Sprintf("A connection without encryption is possible to this machine itself only, and %s is another.", at.Host),
			Who:  []fault.Who{fault.Operator}, Remedy: "Set tls to implicit or starttls.",
		}
	}
	if at.TLS == TLSImplicit {
		if err := c.StartTLS(ctx, climb); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// check refuses an endpoint that cannot be dialled.
func (e Endpoint) check() error {
	bad := func(setting, text, remedy string) error {
		return &fault.Error{
			ID: "protocol.endpoint", Kind: fault.Invalid, Retry: true, Field: e.Field(setting), Text: text,
			Who: []fault.Who{fault.Operator}, Remedy: remedy,
		}
	}
	switch {
	case e.Host == "":
		return bad("host", "No host is known for this mailbox.", "Name the mail server's host: this provider has no preset for it.")
	case e.Port < 1 || e.Port > 65535:
		return bad("port", fmt.Sprintf("%d is no port.", e.Port), "Use a number from 1 to 65535.")
	case e.TLS != TLSImplicit && e.TLS != TLSStart && e.TLS != TLSNone:
		return bad("tls", fmt.Sprintf("“%s” is no TLS mode.", fault.Shorten(string(e.TLS), 40)), "Use implicit, starttls or none.")
	}
	return nil
}

// tlsConfig gives how TLS is spoken with a server; it must not be changed.
func (d *Dialer) tlsConfig(e Endpoint) (*tls.Config, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := peer{server: e.String(), authorities: string(e.CAPEM)}
	if config, ok := d.configs[at]; ok {
		return config, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: e.Host, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	if len(e.CAPEM) > 0 {
		var err error
		if config.RootCAs, err = d.authorities(e); err != nil {
			return nil, err
		}
	}
	if d.configs == nil || len(d.configs) >= mostPeers {
		d.configs = map[peer]*tls.Config{}
	}
	d.configs[at] = config
	return config, nil
}

// authorities gives those of the machine and the ones named for the endpoint: the
// same set for every server that is trusted by them. d.mu is held.
func (d *Dialer) authorities(e Endpoint) (*x509.CertPool, error) {
	for at, config := range d.configs {
		if at.authorities == string(e.CAPEM) {
			return config.RootCAs, nil
		}
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(e.CAPEM) {
		return nil, &fault.Error{
			ID: "protocol.ca", Kind: fault.Invalid, Retry: true, Field: e.Field("ca_file"), Text: "The file holds no certificate in PEM form.",
			Who: []fault.Who{fault.Operator}, Remedy: "Give the certificate of the authority that issued the server's certificate.",
		}
	}
	return roots, nil
}

// dialFirst tries the addresses in turn, within one patience.
func dialFirst(ctx context.Context, addresses []netip.Addr, port int) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	d := net.Dialer{Timeout: dialTimeout / time.Duration(min(max(len(addresses), 1), 3)), KeepAlive: keepAlive}
	var failed error
	for _, ip := range addresses {
		conn, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(ip.Unmap(), uint16(port)).String())
		if err == nil {
			return conn, nil
		}
		if failed == nil {
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if failed == nil {
		failed = errors.New("the name has no address")
	}
	return nil, failed
}

func loopback(c net.Conn) bool {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	return err == nil && a.Addr().Unmap().IsLoopback()
}

func join(addresses []netip.Addr) string {
	s := make([]string, 0, 4)
	for i, a := range addresses {
		if i == 3 && len(addresses) > 4 {
			s = append(s, fmt.Sprintf("and %d more", len(addresses)-3))
			break
		}
		s = append(s, a.Unmap().String())
	}
	return strings.Join(s, ", ")
}
