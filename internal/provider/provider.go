// Package provider is the contract of a provider: an organisation's
// authorization server together with its mail services.
//
// A provider's Kind (microsoft, generic, later google) is everything true of
// one sort of provider: endpoints and clouds, scopes per use, how a person's
// identity is proved, and what its errors mean. Adding a kind is a folder and
// a line in the registry. A Kind keeps no state between calls but caches.
package provider

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Record is a provider as configured and stored. Client secrets are apart, in
// Registration, so that a Record can be shown.
type Record struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Kind        string            `json:"kind"`
	Tenant      string            `json:"tenant,omitempty"`
	Cloud       string            `json:"cloud,omitempty"`
	Issuer      string            `json:"issuer,omitempty"`
	ClientID    string            `json:"client_id"`
	RedirectURI string            `json:"redirect_uri,omitempty"` // empty: public_url + /oauth/callback
	Prompt      Prompt            `json:"prompt,omitempty"`       // empty: the kind's default
	CAPEM       string            `json:"ca_pem,omitempty"`
	Endpoints   map[string]string `json:"endpoints,omitempty"` // overrides by name; Kind.Traits lists the names
	// IdentityClaim is the claim that holds the mailbox address, where an
	// operator vouches for it (kind generic); empty: email, when verified.
	IdentityClaim string            `json:"identity_claim,omitempty"`
	Profiles      []Profile         `json:"profiles,omitempty"`
	Secrets       []ClientSecretRef `json:"client_secrets,omitempty"`
	Version       int64             `json:"version"`
	CreatedAt     time.Time         `json:"created_at"`
	UpdatedAt     time.Time         `json:"updated_at"`
}

// ClientSecretRef is what may be shown of a client secret.
type ClientSecretRef struct {
	ID        string    `json:"id"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// DerivedScopes stands, among the scopes of a profile, for those that are
// derived from what the mailbox does, so that a profile can add to them.
const DerivedScopes = "..."

// Profile names a grant type with scopes, where derived scopes do not fit.
type Profile struct {
	Name      string   `json:"name"`
	GrantType string   `json:"grant_type"`
	Scopes    []string `json:"scopes"`
}

// Prompt is the decision about OpenID Connect's prompt parameter.
type Prompt string

// The decisions. Omit sends none, and so lets single sign-on choose.
const (
	PromptLogin         Prompt = "login"
	PromptSelectAccount Prompt = "select_account"
	PromptOmit          Prompt = "omit"
)

// Registration is a Record with its client secrets opened, in the order in
// which they are tried. It lives only as long as one call.
type Registration struct {
	Record
	ClientSecrets []seal.Secret
	RedirectURI   string // the effective one
}

// Use is something a mailbox does with a provider; scopes derive from uses.
type Use string

// The uses.
const (
	UseIMAP     Use = "imap"
	UsePOP3     Use = "pop3"
	UseSMTP     Use = "smtp"
	UseIdentity Use = "identity" // telling who signed in, aliases included
	// UseGraphSend is sending through Microsoft Graph as oneself, UseGraphSendFor
	// as a mailbox that somebody else signs in for.
	UseGraphSend    Use = "graph_send"
	UseGraphSendFor Use = "graph_send_for"
)

// UseOf is receiving or sending mail by a protocol, which bears the protocol's name.
func UseOf(name protocol.Name) Use { return Use(name) }

// Resource is where an access token is valid, by our own short name ("mail",
// "graph"), with the scopes to ask for there.
type Resource struct {
	Name   string
	Scopes []string
}

// The resources every kind may name.
const (
	ResourceMail  = "mail"
	ResourceGraph = "graph"
)

// Traits is what a kind says of itself: names, allowed settings, endpoints.
type Traits struct {
	Kind      string
	Title     string   // for people: "Microsoft 365"
	Clouds    []string // allowed values of cloud; empty: the setting does not apply
	Prompts   []Prompt // allowed; the first is the default
	Endpoints []string // names that may be overridden
	// Settings are those members of a record beside its name that say which
	// provider is meant, in the order in which they are asked for.
	Settings []Setting
	// Register is what has to be done at the provider before, step by step.
	Register []string
	// RatePerMinute and Connections bound sending for one mailbox; 0: no bound known.
	RatePerMinute int
	Connections   int
	// SavesSent says that the submission server itself keeps a copy of what it
	// accepts among the sent messages, so that one not found there was not sent.
	SavesSent bool
}

// Setting is one member of a record, as a person is asked for it.
type Setting struct {
	Name     string // as documents spell it: tenant, issuer, client_id
	Label    string
	Hint     string
	Example  string
	Optional bool
}

// AuthorizationRequest is what connect wants to ask of a person. The Kind
// turns it into the URL of an authorization request (RFC 6749 section 4.1.1).
type AuthorizationRequest struct {
	State         string
	Nonce         string
	CodeChallenge string // S256, RFC 7636
	LoginHint     string // the acting principal
	Uses          []Use
	Profile       string
	Force         Prompt // overrides the record's prompt for a guided retry; empty: none
}

// Redemption is a returned authorization code with what its request kept.
type Redemption struct {
	Code         seal.Secret
	CodeVerifier seal.Secret
	Nonce        string
	Issuer       string // the iss parameter of the response (RFC 9207), empty when absent
	Uses         []Use
	Profile      string
}

// Tokens is an answer of the token endpoint.
type Tokens struct {
	AccessToken  seal.Secret
	Resource     string // which resource the access token is for
	ExpiresAt    time.Time
	Scopes       []string    // as granted; as asked, when the answer does not say
	RefreshToken seal.Secret // empty when the answer holds none: the old one goes on
	// Subject is filled by Redeem from the validated ID token.
	Subject Subject
}

// Subject is who signed in, by the validated ID token: the key, never an address.
type Subject struct {
	Issuer   string            `json:"issuer"`
	Subject  string            `json:"subject"`             // sub
	TenantID string            `json:"tenant_id,omitempty"` // Microsoft tid
	ObjectID string            `json:"object_id,omitempty"` // Microsoft oid
	Name     string            `json:"name,omitempty"`      // for display
	Claims   map[string]string `json:"-"`                   // string claims of the ID token the kind needs in Identify
}

// Key is the stable identity: another key at a later authorization is another
// person, whatever the address says.
func (s Subject) Key() string {
	if s.ObjectID != "" {
		return s.TenantID + "/" + s.ObjectID
	}
	return s.Issuer + "#" + s.Subject
}

// Identity is who signed in and which addresses are provably theirs.
type Identity struct {
	Subject
	Display   string            `json:"display"` // the name they know themselves by: usually the sign-in address
	Addresses []IdentityAddress `json:"addresses"`
	// Foreign says, in a sentence, why this identity does not belong to the
	// organisation that owns the mailbox's domain; empty when it does.
	Foreign string `json:"foreign,omitempty"`
	// Unproven says why no address could be proved; empty when one was.
	Unproven string `json:"unproven,omitempty"`
	// Unread says why further addresses of theirs could not be read, who can
	// help and how; nil when all were read. It proves nothing: an address that is
	// missing may still be theirs.
	Unread *fault.Error `json:"-"`
}

// IdentityAddress is one address with what proves it. Alias is true where it
// is not the name they sign in with.
type IdentityAddress struct {
	Address string `json:"address"`
	Source  string `json:"source"` // preferred_username, graph_proxy_address, email_verified, claim:<name>
	Alias   bool   `json:"alias,omitempty"`
}

// Kind is the family contract. Errors are *fault.Error; IDs common to all
// kinds: "oauth.no_answer" (the request may have been processed, its answer
// never came), "oauth.invalid_grant" with fault.Dead, "oauth.invalid_client".
type Kind interface {
	Traits() Traits
	// Check finds contradictions in a record without asking anybody; its faults
	// name the field and what is allowed.
	Check(Record) error
	// Verify asks the provider whether the record can work: tenant or issuer
	// known, endpoints reachable, certificate trusted.
	Verify(context.Context, Registration) error
	// Mail gives the preset endpoint of a protocol; zero Host where the record
	// has none and the mailbox must name it.
	Mail(Record, protocol.Name) protocol.Endpoint
	// Resources derives resources and scopes from uses, mail first.
	Resources(Record, []Use, string) ([]Resource, error)
	// AuthorizationURL builds the request to send a browser to.
	AuthorizationURL(context.Context, Registration, AuthorizationRequest) (string, error)
	// Redeem exchanges the code and validates the ID token.
	Redeem(context.Context, Registration, Redemption) (Tokens, error)
	// Identify proves addresses of who signed in, for a mailbox of this
	// address. It may use the refresh token for a second access token; a
	// rotated refresh token comes back in the returned Tokens (zero: unchanged).
	Identify(ctx context.Context, reg Registration, mailboxAddress string, tokens Tokens) (Identity, Tokens, error)
	// Refresh renews the access token for one resource.
	Refresh(ctx context.Context, reg Registration, refreshToken seal.Secret, resource Resource) (Tokens, error)
}

// SignOut is the optional power of a kind to tell a browser where to end its
// session at the provider.
type SignOut interface {
	SignOutURL(ctx context.Context, reg Registration, returnTo string) (string, error)
}

// RetryPrompt is the optional power of a kind to say with which prompt somebody
// is sent to sign in again, after another person was signed in or access was
// declined. Without it the account picker is asked for.
type RetryPrompt interface {
	RetryPrompt(context.Context, Registration) Prompt
}

// AuthorizationRefusals is the optional power of a kind to put its own words on
// an error that came back with the browser (RFC 6749 section 4.1.2.1). It gets
// the fault that the standards allow to make of it, with the provider's words in
// Detail, and gives a better one, or nil to keep it.
type AuthorizationRefusals interface {
	AuthorizationRefused(Registration, *fault.Error) *fault.Error
}

// Audience names one audience of access tokens: the value of aud, or the host
// in it, with what it is for people and our own name of the resource.
type Audience struct {
	Value    string // compared without case; "https://host" also with a path or slash after it
	Title    string // for people
	Resource string // "mail", "graph"; empty: neither
}

// Audiences is the optional power of a kind to name the audiences its access
// tokens are for, so that one for the wrong resource can be told.
type Audiences interface {
	Audiences() []Audience
}
