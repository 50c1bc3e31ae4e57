// Package client is the Go client of Mailgrant's HTTP API.
//
//	c, err := client.New(client.Options{Server: "https://mail.example.org", APIKey: os.Getenv("MAILGRANT_API_KEY")})
//	…
//	token, err := c.Token(ctx, "servicedesk@example.org", client.TokenRequest{})
//
// A refusal of the server is a *Problem: what is wrong, who acts, what to do.
// Every call is bounded in time and size; lists and the timeline are iterators.
// A Client may be used from many goroutines.
package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Options say which server to speak to, and as whom.
type Options struct {
	// Server is the server's address, such as https://mail.example.org. Plain
	// http:// is possible towards this host only, unless AllowPlainHTTP is set.
	Server string
	// APIKey is the program's key, mgk_…
	APIKey string
	// Socket is the path of the server's Unix socket, instead of Server and
	// APIKey: root and the server's own user need no key there.
	Socket string
	// AllowPlainHTTP permits http:// towards other hosts. The API key and access
	// tokens then cross the network in clear.
	AllowPlainHTTP bool
	// Transport makes the HTTP requests. Default: one with bounds of its own.
	// It has no meaning with Socket.
	Transport http.RoundTripper
	// UserAgent names the calling program.
	UserAgent string
	// Timeout bounds every call that is not a stream. Default: 90 s, because a call
	// may wait for the provider to renew an access token.
	Timeout time.Duration
	// Retries is how often a call is made again where the server is busy (429, 503)
	// and says when to come back, within half a minute. Only what cannot happen
	// twice is repeated: reads, changes and removals, and what carries an
	// Idempotency-Key. Default: 2; negative: never.
	Retries int
	// Reconnect is the first wait before a broken stream is taken up again; it
	// doubles up to 30 s. Default: 1 s.
	Reconnect time.Duration
	// Silence is how long a stream may say nothing before it is thought broken.
	// The server speaks every 20 s. Default: 65 s.
	Silence time.Duration
}

// Client speaks to one server.
type Client struct {
	base    *url.URL
	http    *http.Client
	options Options
}

const (
	defaultTimeout   = 90 * time.Second
	defaultReconnect = time.Second
	longestReconnect = 30 * time.Second
	defaultSilence   = 65 * time.Second
	dialTime         = 10 * time.Second
	// headerTime is how long a server may take before it answers at all.
	headerTime = 2 * time.Minute
)

// New makes a client; it calls nobody yet.
func New(o Options) (*Client, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Retries == 0 {
		o.Retries = 2
	}
	if o.Reconnect <= 0 {
		o.Reconnect = defaultReconnect
	}
	if o.Silence <= 0 {
		o.Silence = defaultSilence
	}
	if o.UserAgent == "" {
		o.UserAgent = "mailgrant-client"
	}
	base, err := baseOf(o)
	if err != nil {
		return nil, err
	}
	transport := o.Transport
	if transport == nil || o.Socket != "" {
		transport = newTransport(o.Socket)
	}
	return &Client{base: base, options: o, http: &http.Client{
		Transport: transport,
		// The API redirects nobody, and an API key is for one server only.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func baseOf(o Options) (*url.URL, error) {
	if o.Socket != "" {
		if o.Server != "" {
			return nil, errors.New("both a server and a socket are given; one of them is enough")
		}
		return &url.URL{Scheme: "http", Host: "localhost"}, nil
	}
	base, err := url.Parse(strings.TrimRight(o.Server, "/"))
	if err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" || (base.Scheme != "https" && base.Scheme != "http") {
		return nil, fmt.Errorf("%q is not the address of a server; write it as https://mail.example.org", o.Server)
	}
	if base.Scheme == "http" && !o.AllowPlainHTTP && !loopback(base.Hostname()) {
		return nil, fmt.Errorf("%s is plain http:// towards another host: the API key and access tokens would cross the network in clear; use https://", o.Server)
	}
	return base, nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

func newTransport(socket string) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTime, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: dialTime, ResponseHeaderTimeout: headerTime, IdleConnTimeout: time.Minute,
		MaxIdleConnsPerHost: 8, MaxResponseHeaderBytes: 64 << 10,
	}
	if socket != "" {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	return t
}

// Close gives back idle connections. The client may still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }
