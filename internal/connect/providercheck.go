package connect

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// wrong is a setting that cannot be: where, what, and what is allowed.
func wrong(id, field, text, remedy string) *fault.Error {
	return &fault.Error{ID: id, Kind: fault.Invalid, Field: field, Text: text, Who: []fault.Who{fault.Operator}, Remedy: remedy}
}

// oneOf refuses a value that is not among the allowed.
func oneOf[T ~string](id, field string, value T, allowed ...T) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	return wrong(id, field, fmt.Sprintf("“%s” is not possible here.", fault.Shorten(string(value), 60)), meant(string(value), words)+"Use "+orList(words)+".")
}

// meant asks whether one of the words was meant, where the value is near one.
func meant(value string, words []string) string {
	if near := fault.Nearest(value, words); near != "" {
		return "Did you mean " + near + "? "
	}
	return ""
}

func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

var resourceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)

func (p *Providers) kind(name string) (provider.Kind, error) {
	kind, ok := p.needs.Kinds(name)
	if !ok {
		return nil, oneOfKinds(name, p.needs.KindNames)
	}
	return kind, nil
}

func oneOfKinds(name string, known []string) error {
	return wrong("provider.unknown_kind", "kind", fmt.Sprintf("There is no kind of provider called “%s”.", fault.Shorten(name, 60)), meant(name, known)+"Use "+orList(known)+".")
}

// check finds what is wrong with a record in every kind; what one kind alone
// knows it checks itself. The kind is nil where there is no such kind.
func (p *Providers) check(r *provider.Record) (provider.Kind, error) {
	r.Name = strings.TrimSpace(r.Name)
	var mistakes []error
	if !resourceName.MatchString(r.Name) {
		mistakes = append(mistakes, wrong("provider.name", "name", fmt.Sprintf("“%s” cannot be the name of a provider.", fault.Shorten(r.Name, 60)),
			"Use small letters, digits, dots and dashes, at most 63 of them, beginning and ending with a letter or digit."))
	}
	mistakes = append(mistakes, p.checkRedirect(r.RedirectURI), checkCA("ca_file", r.CAPEM))
	kind, err := p.kind(r.Kind)
	if err != nil {
		return nil, fault.Join(append(mistakes, err)...)
	}
	traits := kind.Traits()
	if r.Prompt != "" {
		mistakes = append(mistakes, oneOf("provider.prompt", "authorize.prompt", r.Prompt, traits.Prompts...))
	}
	switch {
	case r.Cloud != "" && len(traits.Clouds) == 0:
		mistakes = append(mistakes, wrong("provider.cloud", "cloud", fmt.Sprintf("A provider of kind %s has no clouds to choose from.", r.Kind), "Leave the setting out."))
	case r.Cloud != "":
		mistakes = append(mistakes, oneOf("provider.cloud", "cloud", r.Cloud, traits.Clouds...))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Endpoints)) {
		mistakes = append(mistakes, oneOf("provider.endpoint", "endpoints."+fault.Shorten(name, 40), name, traits.Endpoints...))
	}
	return kind, fault.Join(mistakes...)
}

// checkRedirect demands that the answer arrives here, in the browser that holds
// the cookie: the redirect URI has public_url's origin and one of our paths.
func (p *Providers) checkRedirect(uri string) error {
	if uri == "" {
		return nil
	}
	want := p.needs.PublicURL + callbackPaths[0]
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Host == "" || u.Fragment != "" || u.User != nil || u.RawQuery != "":
		return wrong("provider.redirect_uri", "redirect_uri", "The redirect URI is not an absolute URL without query, fragment and user name.", "Write it as "+want+", or leave it out.")
	case originOf(uri) != originOf(p.needs.PublicURL):
		return wrong("provider.redirect_uri", "redirect_uri",
			fmt.Sprintf("The redirect URI leads to %s://%s, but this server is at %s (public_url): the browser's cookie would not come along, and every sign-in would be refused.", u.Scheme, u.Host, p.needs.PublicURL),
			"Use a redirect URI at "+p.needs.PublicURL+", or set public_url to the address under which people reach this server.")
	case !slices.Contains(callbackPaths[:], u.Path):
		return wrong("provider.redirect_uri", "redirect_uri", fmt.Sprintf("Nothing here answers at the path %s.", fault.Shorten(u.Path, 80)), "Use the path "+orList(callbackPaths[:])+".")
	}
	return nil
}

// checkCA reads PEM certificates; empty is fine.
func checkCA(field, text string) error {
	rest, n := []byte(text), 0
	for len(rest) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return wrong("tls.ca", field, fmt.Sprintf("What is given as trusted authorities holds a “%s”.", fault.Shorten(block.Type, 40)), "Give certificates only, in PEM form; never a private key.")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return wrong("tls.ca", field, "What is given as trusted authorities holds a damaged certificate.", "Give the certificate of the authority in PEM form.")
		}
		n++
	}
	if strings.TrimSpace(text) != "" && n == 0 {
		return wrong("tls.ca", field, "What is given as trusted authorities holds no certificate.", "Give the certificate of the authority in PEM form: it begins with -----BEGIN CERTIFICATE-----.")
	}
	return nil
}

// originOf is scheme, host and port of a URL, in one spelling; what is no URL
// with a host stands for itself.
func originOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return strings.ToLower(strings.TrimSpace(raw))
	}
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[scheme]
	}
	return scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
