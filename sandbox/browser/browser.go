// Package browser is a scripted web browser: it follows links and redirects, keeps cookies and submits the forms of real pages,
// as a person would who has no JavaScript. It works against any host; SignIn, Pick and Consent know the sandbox's own pages.
//
//	b := browser.New(browser.Options{})
//	err := b.Open(ctx, "http://localhost:8025/authorize/…")
//	err = b.Submit(ctx, browser.Button("Continue"), nil)
//	err = b.SignIn(ctx, "servicedesk@…", password)
//	fmt.Println(b.Page().URL, b.Page().Status, b.Page().Text)
//
// Where a real browser would refuse something that a plain HTTP client does not notice, it refuses too: cookies follow SameSite
// by the site that led to the request, `Secure` cookies are kept and sent on loopback only, as Chromium does, and a form whose
// page forbids its way by the Content-Security-Policy `form-action` is not followed there.
package browser

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	mostRedirects = 20
	largestPage   = 4 << 20
	longestWait   = 30 * time.Second
)

// ErrBlocked is wrapped by errors about what a real browser would have refused.
var ErrBlocked = errors.New("a browser would refuse this")

// Options say how a browser is made. The zero value is good for plain HTTP and for certificates that the system trusts.
type Options struct {
	// RootCAs are trusted in place of the system's, when set.
	RootCAs *x509.CertPool
	// Transport replaces the network altogether, when set; RootCAs is then without effect.
	Transport http.RoundTripper
	// UserAgent names the browser. Default "Mozilla/5.0 (scripted)".
	UserAgent string
}

// Browser is one browser window with its cookies. It is used by one goroutine at a time.
type Browser struct {
	client    *http.Client
	userAgent string
	cookies   jar
	page      Page
	visited   []string
}

// New makes a browser that has been nowhere.
func New(options Options) *Browser {
	transport := options.Transport
	if transport == nil {
		transport = &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: options.RootCAs, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true, TLSHandshakeTimeout: longestWait, ResponseHeaderTimeout: longestWait,
		}
	}
	if options.UserAgent == "" {
		options.UserAgent = "Mozilla/5.0 (scripted)"
	}
	return &Browser{
		userAgent: options.UserAgent,
		client: &http.Client{
			Transport: transport, Timeout: longestWait,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Page is the page that the browser shows; the zero Page before the first Open.
func (b *Browser) Page() Page { return b.page }

// Visited lists the addresses that the last Open, Follow or Submit went through, the shown page's last.
func (b *Browser) Visited() []string { return append([]string(nil), b.visited...) }

// Cookies lists the cookies that the browser would send to an address that somebody typed in.
func (b *Browser) Cookies(address string) []*http.Cookie {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	return b.cookies.forRequest(u, http.MethodGet, nil, time.Now())
}

// Forget empties the cookie jar, as closing a private window does.
func (b *Browser) Forget() { b.cookies = jar{} }

// Open goes to an address as if somebody typed it in: no site led there.
func (b *Browser) Open(ctx context.Context, address string) error {
	target, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("opening %q: %w", address, err)
	}
	return b.travel(ctx, trip{method: http.MethodGet, target: target})
}

// Follow goes where the first link leads whose words contain text, without regard to case.
func (b *Browser) Follow(ctx context.Context, text string) error {
	for _, link := range b.page.Links {
		if !strings.Contains(strings.ToLower(link.Text), strings.ToLower(text)) {
			continue
		}
		target, err := b.page.resolve(link.Target)
		if err != nil {
			return fmt.Errorf("following the link %q: %w", link.Text, err)
		}
		return b.travel(ctx, trip{method: http.MethodGet, target: target, initiator: b.page.location()})
	}
	return fmt.Errorf("%s has no link with the words %q", b.page.describe(), text)
}

// trip is one navigation, redirects included.
type trip struct {
	method    string
	target    *url.URL
	form      url.Values
	initiator *url.URL // the page that led here; nil if somebody typed the address
	// formAction is what the page's policy allows its forms to lead to; nil allows everything.
	formAction []string
}

// travel makes a trip and shows the page at its end.
func (b *Browser) travel(ctx context.Context, t trip) error {
	b.visited = nil
	for range mostRedirects {
		if t.target.Scheme != "http" && t.target.Scheme != "https" {
			return fmt.Errorf("going to %s: only http and https can be opened", t.target.Redacted())
		}
		if err := t.allowed(); err != nil {
			return err
		}
		b.visited = append(b.visited, t.target.String())
		response, err := b.request(ctx, t)
		if err != nil {
			return err
		}
		location := response.Header.Get("Location")
		if response.StatusCode < 300 || response.StatusCode > 399 || location == "" {
			return b.show(t.target, response)
		}
		_ = response.Body.Close()
		next, err := t.target.Parse(location)
		if err != nil {
			return fmt.Errorf("%s redirects to %q: %w", t.target.Redacted(), location, err)
		}
		if next.Fragment == "" {
			next.Fragment = t.target.Fragment
		}
		t.target = next
		// RFC 9110, section 15.4: only 307 and 308 repeat the method and the body.
		if response.StatusCode != http.StatusTemporaryRedirect && response.StatusCode != http.StatusPermanentRedirect {
			t.method, t.form = http.MethodGet, nil
		}
	}
	return fmt.Errorf("stopped after %d redirects, at %s", mostRedirects, t.target.Redacted())
}

// allowed checks the policy of the page whose form began the trip. Browsers apply it to redirects too.
func (t trip) allowed() error {
	if t.formAction == nil {
		return nil
	}
	for _, source := range t.formAction {
		if sourceMatches(source, t.target, t.initiator) {
			return nil
		}
	}
	return fmt.Errorf("the form on %s leads to %s, which its Content-Security-Policy (form-action %s) forbids: %w",
		t.initiator.Redacted(), t.target.Scheme+"://"+t.target.Host, strings.Join(t.formAction, " "), ErrBlocked)
}

func (b *Browser) request(ctx context.Context, t trip) (*http.Response, error) {
	var body io.Reader
	if t.method == http.MethodPost {
		body = strings.NewReader(t.form.Encode())
	}
	address := *t.target
	address.Fragment = ""
	request, err := http.NewRequestWithContext(ctx, t.method, address.String(), body)
	if err != nil {
		return nil, fmt.Errorf("going to %s: %w", t.target.Redacted(), err)
	}
	request.Header.Set("User-Agent", b.userAgent)
	request.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
	request.Header.Set("Sec-Fetch-Mode", "navigate")
	request.Header.Set("Sec-Fetch-Dest", "document")
	request.Header.Set("Sec-Fetch-Site", fetchSite(t.initiator, t.target))
	if t.method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if t.initiator != nil {
			request.Header.Set("Origin", t.initiator.Scheme+"://"+t.initiator.Host)
		}
	}
	for _, cookie := range b.cookies.forRequest(t.target, t.method, t.initiator, time.Now()) {
		request.AddCookie(cookie)
	}
	response, err := b.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("going to %s: %w", t.target.Redacted(), err)
	}
	b.cookies.keep(t.target, response.Cookies(), time.Now())
	return response, nil
}

func (b *Browser) show(location *url.URL, response *http.Response) error {
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(response.Body, largestPage))
	if err != nil {
		return fmt.Errorf("reading %s: %w", location.Redacted(), err)
	}
	b.page = readPage(location, response, content)
	return nil
}
