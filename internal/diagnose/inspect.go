package diagnose

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Inspector reads access tokens and ID tokens for people. It asks nobody and
// checks no signature: what it says is what is written in the token, never that
// it is genuine.
type Inspector struct {
	Audiences []provider.Audience // to name audiences in words; may be empty
	Now       func() time.Time
}

// Expectation is what a token is held against. Zero fields are not compared.
type Expectation struct {
	Mailbox   string   // the address whose mailbox is to be opened
	Principal string   // who should have signed in; empty: Mailbox
	Resource  string   // "mail", "graph": where the access token is to be used
	Scopes    []string // that it must carry, as asked for
	TenantID  string   // of the grant
	ObjectID  string   // of the grant: the same user, whatever the address says
	ClientID  string   // our own
}

// Form is how a token is made.
type Form string

// The forms.
const (
	FormJWT       Form = "jwt"
	FormEncrypted Form = "encrypted" // a JWE: readable for its resource alone
	FormOpaque    Form = "opaque"    // no JWT at all; many servers issue such
)

// Report is what a token says. It never holds the token, any part of it, or its
// signature.
type Report struct {
	Form          Form      `json:"form"`
	Kind          string    `json:"kind"`                // "access token", "ID token", or "token" where it does not say
	From          string    `json:"from,omitempty"`      // where in the pasted text it was found
	Beside        string    `json:"beside,omitempty"`    // what else of worth was pasted, in a sentence
	SASLUser      string    `json:"sasl_user,omitempty"` // the mailbox that a SASL response asks for
	Who           string    `json:"who,omitempty"`       // in a sentence
	Addresses     []string  `json:"addresses,omitempty"` // upn, preferred_username, email, unique_name: for display, they prove nothing
	Name          string    `json:"name,omitempty"`
	ObjectID      string    `json:"object_id,omitempty"`
	TenantID      string    `json:"tenant_id,omitempty"`
	Subject       string    `json:"subject,omitempty"`
	Issuer        string    `json:"issuer,omitempty"`
	Audience      []string  `json:"audience,omitempty"`
	AudienceTitle string    `json:"audience_title,omitempty"` // in words, where it is known
	Resource      string    `json:"resource,omitempty"`       // ours: "mail", "graph"
	Scopes        []string  `json:"scopes,omitempty"`
	Roles         []string  `json:"roles,omitempty"` // application permissions
	ClientID      string    `json:"client_id,omitempty"`
	IssuedAt      time.Time `json:"issued_at,omitzero"`
	NotBefore     time.Time `json:"not_before,omitzero"`
	ExpiresAt     time.Time `json:"expires_at,omitzero"`
	Expiry        string    `json:"expiry"` // in words, relative to now
	Notice        string    `json:"notice"` // what this reading is worth
	Findings      []Finding `json:"findings,omitempty"`
}

// OK reports that nothing was found wrong.
func (r Report) OK() bool { return len(r.Findings) == 0 }

// Finding is one thing that is wrong with a token.
type Finding struct {
	ID     string      `json:"id"`
	Text   string      `json:"text"`
	Who    []fault.Who `json:"who"`
	Remedy string      `json:"remedy"`
}

// Inspect reads a token, bare or in a Bearer header, an XOAUTH2 or OAUTHBEARER
// response or an answer of a token endpoint. An opaque token is no error.
func (i Inspector) Inspect(text seal.Secret, want Expectation) (Report, error) {
	p, err := unpack(text.Reveal())
	if err != nil {
		return Report{}, err
	}
	r := Report{Kind: "token", From: p.from, Beside: p.beside, SASLUser: fault.Shorten(p.user, 320)}
	header, body, encrypted, ok := decodeJWT(p.token)
	switch {
	case !ok:
		r.Form, r.Expiry = FormOpaque, "It does not say when it ends."
		r.Notice = "This token is opaque: only the server it is for can read it. That is no fault; many servers issue such access tokens. Refresh tokens and client secrets look like this, too."
	case encrypted:
		r.Form, r.Expiry = FormEncrypted, "It does not say when it ends."
		r.Notice = "This token is encrypted for the server it is for. That is no fault; nobody else can read it."
	default:
		r.Form = FormJWT
		r.Notice = "The signature was not checked: this is what is written in the token, not a proof that it is genuine."
		i.read(&r, header, body)
	}
	i.compare(&r, want)
	return r, nil
}

func (i Inspector) read(r *Report, header, c claims) {
	for _, name := range []string{"preferred_username", "upn", "unique_name", "email"} {
		if a := c.text(name); a != "" && !slices.ContainsFunc(r.Addresses, func(have string) bool { return strings.EqualFold(have, a) }) {
			r.Addresses = append(r.Addresses, a)
		}
	}
	r.Name, r.ObjectID, r.TenantID, r.Subject = c.text("name"), strings.ToLower(c.text("oid")), strings.ToLower(c.text("tid")), c.text("sub")
	r.Issuer, r.Audience, r.Roles = c.text("iss"), c.words("aud"), c.words("roles")
	if r.Scopes = c.words("scp"); r.Scopes == nil {
		r.Scopes = c.words("scope")
	}
	for _, name := range []string{"appid", "azp", "client_id"} {
		if r.ClientID == "" {
			r.ClientID = c.text(name)
		}
	}
	r.IssuedAt, r.NotBefore, r.ExpiresAt = moment(c["iat"]), moment(c["nbf"]), moment(c["exp"])
	r.Kind = kindOf(*r, header, c)
	r.Who = who(*r, c)
	for _, a := range r.Audience {
		if known, ok := i.audience(a); ok {
			r.AudienceTitle, r.Resource = known.Title, known.Resource
		}
	}
	if r.Kind == "ID token" && r.AudienceTitle == "" {
		r.AudienceTitle = "the application that asked for it"
	}
	switch now := i.Now(); {
	case r.ExpiresAt.IsZero():
		r.Expiry = "It does not say when it ends."
	case now.Before(r.ExpiresAt):
		r.Expiry = fmt.Sprintf("It is good for %s more, until %s.", span(r.ExpiresAt.Sub(now)), day(r.ExpiresAt))
	default:
		r.Expiry = fmt.Sprintf("It ended %s ago, at %s.", span(now.Sub(r.ExpiresAt)), day(r.ExpiresAt))
	}
}

// kindOf tells access tokens and ID tokens apart by what only one of them has
// (RFC 9068 section 2.1; OpenID Connect Core section 2).
func kindOf(r Report, header, c claims) string {
	typ := strings.ToLower(header.text("typ"))
	switch {
	case typ == "at+jwt" || typ == "application/at+jwt" || r.Scopes != nil || r.Roles != nil || c["appid"] != nil:
		return "access token"
	case c["nonce"] != nil || c["at_hash"] != nil || c["auth_time"] != nil || c["preferred_username"] != nil || c["email_verified"] != nil:
		return "ID token"
	}
	return "token"
}

func who(r Report, c claims) string {
	switch {
	case c.text("idtyp") == "app" || r.Roles != nil && r.Scopes == nil && len(r.Addresses) == 0:
		return fmt.Sprintf("No person: the application %s itself.", orUnknown(r.ClientID))
	case len(r.Addresses) > 0 && r.Name != "":
		return fmt.Sprintf("%s (%s).", r.Addresses[0], r.Name)
	case len(r.Addresses) > 0:
		return r.Addresses[0] + "."
	case r.Name != "":
		return r.Name + ", without an address."
	case r.Subject != "":
		return "The user that the server calls " + r.Subject + "."
	}
	return "It does not say whose it is."
}

func orUnknown(s string) string {
	if s == "" {
		return "of unknown name"
	}
	return s
}

// moment reads a NumericDate (RFC 7519 section 2); anything else is no time.
func moment(v any) time.Time {
	f, ok := v.(float64)
	if !ok || f <= 0 || f > 253402300799 { // the end of the year 9999
		return time.Time{}
	}
	return time.Unix(int64(f), 0).UTC()
}

// audience finds an audience by its value, or by the host of its URL.
func (i Inspector) audience(value string) (provider.Audience, bool) {
	for _, a := range i.Audiences {
		if strings.EqualFold(strings.TrimRight(a.Value, "/"), strings.TrimRight(value, "/")) {
			return a, true
		}
	}
	host := hostOf(value)
	for _, a := range i.Audiences {
		if host != "" && host == hostOf(a.Value) {
			return a, true
		}
	}
	return provider.Audience{}, false
}

func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// sameScope compares scopes by their last part: a resource's access token names
// "IMAP.Read" what was asked for as "https://resource/IMAP.Read".
func sameScope(a, b string) bool {
	last := func(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }
	return strings.EqualFold(a, b) || strings.EqualFold(last(a), last(b))
}

// sameAddress compares addresses as messages do.
func sameAddress(all []string, want string) bool {
	return slices.ContainsFunc(all, func(a string) bool { return message.SameAddress(a, want) })
}
