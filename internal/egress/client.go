// Package egress is the way out: the HTTP client for every call that Mailgrant
// makes to servers it does not own, and the words for what goes wrong on the
// network.
//
// A client from New has a limit on every phase of a call, trusts the system's
// certificate authorities and those that the operator adds, follows no
// redirect unless told to, and never connects to the metadata address of a
// cloud. With a Guard it also refuses private networks; the check is made on
// the resolved address at the moment of dialling, so a name that changes its
// address between check and use gains nothing.
//
// Classify turns an error of net, crypto/tls or net/http into a fault that
// names the setting, the host and the remedy. The mail protocols use it too.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Options shapes a client. The zero value is right for calls to an
// authorization server: 30 s in total, no redirects, proxy from the
// environment, no guard.
type Options struct {
	Timeout       time.Duration // the whole call, body included; default 30 s
	DialTimeout   time.Duration // name look-up and TCP; default 10 s
	TLSTimeout    time.Duration // TLS handshake; default 10 s
	HeaderTimeout time.Duration // from request written to response header; default 20 s

	// ExtraCAs is PEM text: certificate authorities trusted beside the system's.
	ExtraCAs []byte
	// FollowRedirects lets the client follow up to five redirects. Without it
	// a 3xx answer is returned as it came.
	FollowRedirects bool
	// Guard refuses private networks. A guarded client uses no proxy, because a
	// proxy resolves the name itself and the check would see the proxy only.
	Guard *Guard
	// UserAgent is sent where the request carries none; default "Mailgrant".
	UserAgent string
}

func orDefault(d, standard time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return standard
}

// The connections that a client keeps for the next call: to one host as many as
// are ever used at once (deliveries to a webhook, renewals at a provider), and to
// all hosts so many that a server with many webhooks does not run out of files.
const (
	idleConnsPerHost = 8
	idleConns        = 256
)

// New makes a client. It fails only where ExtraCAs holds no certificate.
func New(o Options) (*http.Client, error) {
	dialer := NewDialer(o.Guard, orDefault(o.DialTimeout, 10*time.Second))
	roots, err := Roots(o.ExtraCAs)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           idleConns,
		MaxIdleConnsPerHost:    idleConnsPerHost,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    orDefault(o.TLSTimeout, 10*time.Second),
		ResponseHeaderTimeout:  orDefault(o.HeaderTimeout, 20*time.Second),
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
	}
	if o.Guard != nil {
		transport.Proxy = nil
	}
	agent := o.UserAgent
	if agent == "" {
		agent = "Mailgrant"
	}
	client := &http.Client{
		Timeout:   orDefault(o.Timeout, 30*time.Second),
		Transport: &agentTransport{next: transport, agent: agent},
	}
	client.CheckRedirect = func(_ *http.Request, via []*http.Request) error {
		if !o.FollowRedirects {
			return http.ErrUseLastResponse
		}
		if len(via) >= 5 {
			return errors.New("stopped after five redirects")
		}
		return nil
	}
	return client, nil
}

// NewDialer makes the dialer that New uses, for protocols other than HTTP:
// metadata addresses are refused always, private networks where guard is given.
func NewDialer(guard *Guard, timeout time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout:        timeout,
		KeepAlive:      30 * time.Second,
		ControlContext: guard.control,
	}
}

// Roots gives the system's certificate authorities with those of the PEM text
// added; nil (the system's own) where there is none to add.
func Roots(extraPEM []byte) (*x509.CertPool, error) {
	if len(extraPEM) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(extraPEM) {
		return nil, &fault.Error{
			ID: "net.bad_ca_file", Kind: fault.Invalid, Field: "ca_file",
			Text:   "The file of certificate authorities holds no certificate.",
			Who:    []fault.Who{fault.Operator},
			Remedy: "Give a PEM file with at least one block that begins with -----BEGIN CERTIFICATE-----.",
		}
	}
	return pool, nil
}

type agentTransport struct {
	next  *http.Transport
	agent string
}

// RoundTrip adds the user agent to a copy of the request.
func (t *agentTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("User-Agent") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("User-Agent", t.agent)
	}
	return t.next.RoundTrip(r)
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the pool.
func (t *agentTransport) CloseIdleConnections() { t.next.CloseIdleConnections() }

// ReadAll reads at most limit bytes; a longer body is the fault net.too_large.
func ReadAll(ctx context.Context, r io.Reader, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, &fault.Error{
			ID: "net.too_large", Kind: fault.Refused,
			Text:   fmt.Sprintf("The server's answer is longer than %d bytes.", limit),
			Who:    []fault.Who{fault.Operator},
			Remedy: "Check that the address is the one of the service meant; such an answer is far shorter.",
		}
	}
	return b, nil
}
