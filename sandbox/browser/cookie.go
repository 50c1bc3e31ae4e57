package browser

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

// jar keeps cookies as RFC 6265 and its successor's SameSite rules say. The library's own jar knows neither SameSite nor that
// browsers take loopback for a safe place.
type jar struct{ kept []kept }

type kept struct {
	cookie   http.Cookie
	host     string // the exact host, or with subdomains its domain
	hostOnly bool
	path     string
	expires  time.Time // zero: as long as the browser runs
}

// keep takes the cookies of an answer.
func (j *jar) keep(from *url.URL, cookies []*http.Cookie, now time.Time) {
	host := from.Hostname()
	for _, cookie := range cookies {
		one := kept{cookie: *cookie, host: strings.ToLower(host), hostOnly: true, path: cookie.Path}
		if domain := strings.ToLower(strings.TrimPrefix(cookie.Domain, ".")); domain != "" && domain != one.host {
			if suffix, _ := publicsuffix.PublicSuffix(domain); net.ParseIP(host) != nil || suffix == domain || !strings.HasSuffix(one.host, "."+domain) {
				continue
			}
			one.host, one.hostOnly = domain, false
		}
		if !strings.HasPrefix(one.path, "/") {
			one.path = defaultPath(from.Path)
		}
		if !acceptable(*cookie, from) {
			continue
		}
		switch {
		case cookie.MaxAge < 0:
			one.expires = now.Add(-time.Second)
		case cookie.MaxAge > 0:
			one.expires = now.Add(time.Duration(cookie.MaxAge) * time.Second)
		case !cookie.Expires.IsZero():
			one.expires = cookie.Expires
		}
		j.kept = slices.DeleteFunc(j.kept, func(old kept) bool {
			return old.cookie.Name == cookie.Name && old.host == one.host && old.path == one.path
		})
		if one.expires.IsZero() || one.expires.After(now) {
			j.kept = append(j.kept, one)
		}
	}
}

// acceptable applies the rules about Secure and about the two prefixes of names.
func acceptable(cookie http.Cookie, from *url.URL) bool {
	switch {
	case cookie.Secure && !trustworthy(from),
		cookie.SameSite == http.SameSiteNoneMode && !cookie.Secure,
		strings.HasPrefix(cookie.Name, "__Secure-") && !cookie.Secure,
		strings.HasPrefix(cookie.Name, "__Host-") && (!cookie.Secure || cookie.Path != "/" || cookie.Domain != ""):
		return false
	}
	return true
}

// forRequest lists the cookies for a top-level navigation that the initiator's page began.
func (j *jar) forRequest(to *url.URL, method string, initiator *url.URL, now time.Time) []*http.Cookie {
	sameSite := initiator == nil || site(initiator) == site(to)
	safe := method == http.MethodGet || method == http.MethodHead
	host := strings.ToLower(to.Hostname())
	path := to.Path
	if path == "" {
		path = "/"
	}
	var out []*http.Cookie
	for _, one := range j.kept {
		switch {
		case !one.expires.IsZero() && !one.expires.After(now),
			one.hostOnly && one.host != host,
			!one.hostOnly && one.host != host && !strings.HasSuffix(host, "."+one.host),
			!pathMatches(one.path, path),
			one.cookie.Secure && !trustworthy(to):
			continue
		}
		if !sameSite && one.cookie.SameSite != http.SameSiteNoneMode && (one.cookie.SameSite == http.SameSiteStrictMode || !safe) {
			continue // Lax, and cookies that say nothing, come along only with a cross-site GET.
		}
		out = append(out, &http.Cookie{Name: one.cookie.Name, Value: one.cookie.Value, Quoted: one.cookie.Quoted})
	}
	return out
}

// pathMatches is RFC 6265, section 5.1.4.
func pathMatches(cookiePath, path string) bool {
	return path == cookiePath || strings.HasPrefix(path, cookiePath) && (strings.HasSuffix(cookiePath, "/") || path[len(cookiePath)] == '/')
}

func defaultPath(path string) string {
	if cut := strings.LastIndexByte(path, '/'); cut > 0 {
		return path[:cut]
	}
	return "/"
}

// trustworthy says whether Secure cookies may travel: over TLS, and on loopback even without.
func trustworthy(u *url.URL) bool {
	if u.Scheme == "https" || strings.EqualFold(u.Hostname(), "localhost") || strings.HasSuffix(strings.ToLower(u.Hostname()), ".localhost") {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return ip != nil && ip.IsLoopback()
}

// site is scheme and registrable domain; for addresses and single names, the host itself. Ports do not count.
func site(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	if net.ParseIP(host) == nil {
		if domain, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
			host = domain
		}
	}
	return u.Scheme + "://" + host
}

// fetchSite is the value of Sec-Fetch-Site.
func fetchSite(initiator, target *url.URL) string {
	switch {
	case initiator == nil:
		return "none"
	case initiator.Scheme == target.Scheme && initiator.Host == target.Host:
		return "same-origin"
	case site(initiator) == site(target):
		return "same-site"
	}
	return "cross-site"
}

// sourceMatches says whether a source of a Content-Security-Policy covers an address.
func sourceMatches(source string, target, self *url.URL) bool {
	switch source {
	case "'none'":
		return false
	case "*":
		return true
	case "'self'":
		return target.Scheme == self.Scheme && target.Host == self.Host
	}
	if strings.HasSuffix(source, ":") {
		return target.Scheme+":" == source
	}
	allowed, err := url.Parse(source)
	if err != nil || allowed.Scheme != target.Scheme {
		return false
	}
	if host, port := allowed.Hostname(), allowed.Port(); port == "*" {
		return host == target.Hostname()
	}
	return allowed.Host == target.Host && (allowed.Path == "" || allowed.Path == target.Path)
}
