package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Target says what a call was made to, for the words of its failure.
type Target struct {
	Setting string // the setting that named the host, as its file spells it; may be empty
	Host    string
	Port    int // zero where the scheme's own
}

func (t Target) String() string {
	if t.Host == "" {
		return "the server"
	}
	if t.Port == 0 {
		return t.Host
	}
	return fmt.Sprintf("%s port %d", t.Host, t.Port)
}

// setting names the setting inside a remedy.
func (t Target) setting() string {
	if t.Setting == "" {
		return "the host name and port in the settings"
	}
	return "the setting " + t.Setting
}

// Classify turns a failure of the network into a fault. A fault inside err is
// returned as it is; nil gives nil. Every one of them is tried again by
// Mailgrant: none says anything about a grant.
func Classify(err error, t Target) *fault.Error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return known
	}
	f := classify(err, t)
	f.Field, f.Retry, f.Err = t.Setting, true, withoutURL(err)
	if f.Who == nil {
		f.Who = []fault.Who{fault.Operator}
	}
	return f
}

func classify(err error, t Target) *fault.Error {
	if errors.Is(err, context.Canceled) {
		return &fault.Error{
			ID: "net.cancelled", Kind: fault.Temporary, Text: fmt.Sprintf("The call to %s was given up before it ended.", t),
			Who: []fault.Who{fault.Nobody}, Remedy: "Nothing has to be done; the call is repeated when it is needed.",
		}
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return classifyDNS(dns, t)
	}
	if f := classifyTLS(err, t); f != nil {
		return f
	}
	return classifyTCP(err, t)
}

func classifyDNS(dns *net.DNSError, t Target) *fault.Error {
	if dns.IsNotFound {
		name := t.Host
		if name == "" {
			name = dns.Name
		}
		return &fault.Error{
			ID: "net.unknown_host", Kind: fault.Temporary,
			Text:   fmt.Sprintf("There is no host named %s.", name),
			Remedy: fmt.Sprintf("Check the spelling in %s, and that this machine's DNS server knows the name.", t.setting()),
		}
	}
	return &fault.Error{
		ID: "net.dns_temporary", Kind: fault.Temporary,
		Text:   fmt.Sprintf("The name %s could not be looked up now: the DNS server gave no usable answer.", t.Host),
		Remedy: "Check this machine's DNS servers if it lasts; the look-up is repeated.",
	}
}

func classifyTLS(err error, t Target) *fault.Error {
	var (
		authority x509.UnknownAuthorityError
		wrongName x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		verify    *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &authority):
		return &fault.Error{
			ID: "net.untrusted_certificate", Kind: fault.Refused,
			Text:   fmt.Sprintf("The certificate of %s was issued by an authority that this machine does not trust.", t),
			Remedy: "If the server is a private one, give its authority's certificate by ca_file. Otherwise something between here and the server opens the encryption (a TLS-inspecting proxy), and its authority has to be added.",
		}
	case errors.As(err, &wrongName):
		return &fault.Error{
			ID: "net.certificate_name", Kind: fault.Refused,
			Text:   fmt.Sprintf("The certificate that %s shows is for another name%s.", t, names(wrongName)),
			Remedy: fmt.Sprintf("Use in %s a name that the certificate carries, or have the server's owner renew it with this name.", t.setting()),
		}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return &fault.Error{
			ID: "net.certificate_expired", Kind: fault.Refused,
			Text:   fmt.Sprintf("The certificate of %s has ended or is not yet valid.", t),
			Remedy: "Check this machine's clock; if it is right, the server's owner has to renew the certificate.",
		}
	case errors.As(err, &invalid), errors.As(err, &verify):
		return &fault.Error{
			ID: "net.bad_certificate", Kind: fault.Refused,
			Text:   fmt.Sprintf("The certificate of %s cannot be accepted.", t),
			Remedy: "The server's owner has to replace it; the log names the reason.",
		}
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return &fault.Error{
			ID: "net.plaintext_port", Kind: fault.Refused,
			Text:   fmt.Sprintf("TLS was spoken to %s, but that port answers in plain text.", t),
			Remedy: fmt.Sprintf("Check %s: the port is another one, or the TLS mode is (STARTTLS ports such as 143 and 587 begin in plain text; 993 and 465 begin with TLS).", t.setting()),
		}
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls:"):
		return &fault.Error{
			ID: "net.tls_refused", Kind: fault.Refused,
			Text:   fmt.Sprintf("%s refused the TLS handshake.", t),
			Remedy: "The server must offer TLS 1.2 or newer and must not demand a client certificate; the log names its reason.",
		}
	}
	return nil
}

// names lists the first names of a certificate that was for another host.
func names(e x509.HostnameError) string {
	if e.Certificate == nil || len(e.Certificate.DNSNames) == 0 {
		return ""
	}
	n := e.Certificate.DNSNames
	if len(n) > 3 {
		n = n[:3]
	}
	return fault.Shorten(" ("+strings.Join(n, ", ")+")", 200)
}

func classifyTCP(err error, t Target) *fault.Error {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return &fault.Error{
			ID: "net.refused", Kind: fault.Temporary,
			Text:   fmt.Sprintf("Nothing listens at %s: the connection was refused.", t),
			Remedy: fmt.Sprintf("Check the port in %s, and that the server runs.", t.setting()),
		}
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return &fault.Error{
			ID: "net.unreachable", Kind: fault.Temporary,
			Text:   fmt.Sprintf("There is no way from this machine to %s.", t),
			Remedy: "Check routing and firewall between this machine and the server.",
		}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, syscall.ETIMEDOUT), errors.As(err, &timeout) && timeout.Timeout():
		return &fault.Error{
			ID: "net.timeout", Kind: fault.Temporary,
			Text:   fmt.Sprintf("%s did not answer in time.", t),
			Remedy: fmt.Sprintf("If it lasts, check %s, and whether a firewall drops the connection without a word.", t.setting()),
		}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		// net/http names no error for a server that hangs up before it is asked.
		strings.HasSuffix(err.Error(), "http: server closed idle connection"):
		return &fault.Error{
			ID: "net.closed", Kind: fault.Temporary,
			Text:   fmt.Sprintf("%s closed the connection in the middle.", t),
			Remedy: fmt.Sprintf("If it lasts, check the port and the TLS mode in %s, and what stands between here and the server.", t.setting()),
		}
	}
	return &fault.Error{
		ID: "net.failed", Kind: fault.Temporary,
		Text:   fmt.Sprintf("The call to %s failed.", t),
		Remedy: "The log names the cause; the call is repeated.",
	}
}

// withoutURL drops the request's URL from the cause: its query may hold what
// must not be seen.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return fmt.Errorf("%s: %w", strings.ToUpper(u.Op), u.Err)
	}
	return err
}
