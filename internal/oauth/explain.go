package oauth

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Fault turns an error of this package into a fault by what the standards say;
// a provider's kind may then put better words on it. It gives nil for errors
// that are none of this package's (those of the network, for example).
func Fault(err error) *fault.Error {
	var (
		refused *Error
		lost    *NoAnswerError
		token   *IDTokenError
		meta    *MetadataError
	)
	switch {
	case errors.As(err, &lost):
		f := &fault.Error{
			ID: "oauth.no_answer", Kind: fault.Temporary, Retry: true, Who: []fault.Who{fault.Nobody},
			Text:   fmt.Sprintf("The request reached the token endpoint at %s, but no usable answer came back: it may have been processed or not.", lost.Endpoint),
			Remedy: "The request is repeated. If it lasts, check the network and any proxy between here and the authorization server.", Err: err,
		}
		if errors.As(lost.Err, &refused) {
			f.Detail = detail(refused)
		}
		return f
	case errors.As(err, &refused):
		return refused.fault(err)
	case errors.As(err, &token):
		return token.fault(err)
	case errors.As(err, &meta):
		return meta.fault(err)
	}
	return nil
}

func detail(e *Error) fault.Detail {
	d := fault.Detail{
		Code: e.Code, Subcode: e.Suberror, Reply: fault.Shorten(e.Description, 500),
		TraceID: e.TraceID, CorrelationID: e.CorrelationID, Timestamp: e.Timestamp,
	}
	if d.Code == "" && e.Status != 0 {
		d.Code = fmt.Sprintf("HTTP %d", e.Status)
	}
	return d
}

// DeadGrant reports whether the answer means that the grant has ended and a
// person must authorise again. It goes by error and suberror alone. Only an
// answer to a refresh says so; a code that is refused ends nothing.
func (e *Error) DeadGrant() bool {
	switch e.Code {
	case "invalid_grant", "interaction_required", "consent_required", "login_required":
		return e.Leg == LegToken
	}
	return false
}

// Passing reports whether the same request may succeed later: the server is
// down, busy or limits the rate.
func (e *Error) Passing() bool {
	switch e.Code {
	case "temporarily_unavailable", "server_error", "slow_down":
		return true
	}
	return e.Status >= 500 || e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout
}

// fault classifies by error code, then by HTTP status.
func (e *Error) fault(cause error) *fault.Error {
	f := e.byCode()
	if e.Passing() {
		f = &fault.Error{
			ID: "oauth.temporarily_unavailable", Kind: fault.Temporary, Retry: true, Who: []fault.Who{fault.Provider},
			Text: fmt.Sprintf("The authorization server%s is not able to answer now.", e.at()), Remedy: "Nothing has to be done; the request is repeated.",
		}
		if e.Status == http.StatusTooManyRequests {
			f.ID, f.Text = "oauth.rate_limited", fmt.Sprintf("The authorization server%s says that it is asked too often.", e.at())
		}
	}
	f.Detail, f.Err = detail(e), cause
	return f
}

func (e *Error) at() string {
	if e.Endpoint == "" {
		return ""
	}
	return " at " + e.Endpoint
}

func refusal(id, text, remedy string, who ...fault.Who) *fault.Error {
	return &fault.Error{ID: id, Kind: fault.Refused, Text: text, Remedy: remedy, Who: who}
}

func (e *Error) byCode() *fault.Error {
	switch e.Code {
	case "invalid_grant", "interaction_required", "consent_required", "login_required":
		if e.Leg == LegAuthorization {
			return refusal("oauth."+e.Code, "The authorization server could not finish without asking the person something.",
				"Open the link again and answer what is asked.", fault.MailboxOwner)
		}
		if e.Leg == LegRedemption {
			return refusal("oauth.code_refused", "The authorization server does not accept the code that came back with the browser: it was used already, has ended, or belongs to another request.",
				"Open the link again and start from the beginning; do not reload the page that comes after signing in.", fault.MailboxOwner)
		}
		f := refusal("oauth."+e.Code, "The authorization server no longer honours the grant: it has ended, was revoked, or needs the person again.",
			"The mailbox's owner has to authorise again, by a new link.", fault.MailboxOwner)
		f.ID, f.Kind = "oauth.invalid_grant", fault.Dead
		return f
	case "invalid_client":
		f := refusal("oauth.invalid_client", fmt.Sprintf("The authorization server%s does not accept the client ID %s with the client secret it was given.", e.at(), e.ClientID),
			"Check client_id; then make a new client secret at the authorization server, put it first in client_secrets, and apply. Grants are kept and go on after that.", fault.AppOwner)
		f.Field = "client_secrets"
		return f
	case "unauthorized_client":
		f := refusal("oauth.unauthorized_client", fmt.Sprintf("The client %s is not allowed to do this at the authorization server%s.", e.ClientID, e.at()),
			"The owner of the app registration has to allow the authorization code and refresh token grants for it.", fault.AppOwner)
		f.Field = "client_id"
		return f
	case "invalid_scope":
		f := refusal("oauth.invalid_scope", "The authorization server does not know, or does not allow, one of the scopes asked for.",
			"Compare the profile's scopes with what the app registration is allowed.", fault.AppOwner, fault.Operator)
		f.Field = "profiles"
		return f
	case "access_denied":
		return refusal("oauth.access_denied", "The person declined, or the organisation does not allow it.",
			"Open the link again and accept what is asked; if an administrator's approval is asked for, forward the link to them.", fault.MailboxOwner, fault.TenantAdmin)
	case "invalid_target", "invalid_resource":
		return refusal("oauth.invalid_target", "The authorization server does not know the resource asked for.",
			"Check the scopes, and that they belong to this provider's cloud.", fault.AppOwner, fault.Operator)
	case "unsupported_grant_type", "unsupported_response_type", "invalid_request", "invalid_token":
		return refusal("oauth."+e.Code, fmt.Sprintf("The authorization server%s refused the request as %s.", e.at(), e.Code),
			"The server's own words, beside this, say what it misses; check the provider's endpoints and client type.", fault.AppOwner, fault.Operator)
	case "":
		f := refusal("oauth.not_oauth", fmt.Sprintf("The address%s answered with HTTP status %d and no OAuth answer.", e.at(), e.Status),
			"Check the provider's issuer and endpoints: this does not look like the endpoint of an authorization server.", fault.Operator)
		f.Field = "issuer"
		return f
	}
	return refusal("oauth.refused", fmt.Sprintf("The authorization server%s refused with %s.", e.at(), e.Code),
		"Its own words, beside this, say why.", fault.AppOwner, fault.Operator)
}

func (e *IDTokenError) fault(cause error) *fault.Error {
	f := refusal("oauth.bad_id_token", "The ID token that the authorization server sent cannot be accepted: "+e.words()+".",
		"Nothing was stored. Start again from the link; if it happens again, check issuer and client_id of the provider.", fault.Operator)
	f.Err = cause
	switch e.Claim {
	case "exp", "iat", "nbf":
		f.Remedy = "Check this machine's clock (it should be kept by NTP) and that of the authorization server."
	case "aud", "azp":
		f.Field = "client_id"
	case "iss":
		f.Field = "issuer"
	}
	return f
}

func (e *IDTokenError) words() string {
	switch {
	case e.Want != "":
		return fmt.Sprintf("its %s is %q where %q is expected", e.Claim, fault.Shorten(e.Got, 200), e.Want)
	case e.Err != nil:
		return e.Claim + ": " + e.Err.Error()
	}
	return e.Claim + " is wrong"
}

func (e *MetadataError) fault(cause error) *fault.Error {
	f := refusal("oauth.bad_metadata", fmt.Sprintf("The authorization server's description of itself at %s %s.", e.URL, e.Reason),
		"Check the provider's issuer: it is the address that the server's own documents call issuer, letter by letter, with or without the slash at its end.", fault.Operator)
	f.Field, f.Err = "issuer", cause
	if e.Status == http.StatusNotFound {
		f.ID = "oauth.unknown_issuer"
		f.Text = fmt.Sprintf("There is no authorization server's description at %s.", e.URL)
	}
	if e.Status >= 500 || e.Status == http.StatusTooManyRequests {
		f.ID, f.Kind, f.Retry, f.Who = "oauth.temporarily_unavailable", fault.Temporary, true, []fault.Who{fault.Provider}
		f.Text = fmt.Sprintf("The authorization server answered %d when asked for its description.", e.Status)
		f.Remedy = "Nothing has to be done; the request is repeated."
	}
	if e.Refusal != nil {
		f.Detail = detail(e.Refusal)
	}
	return f
}
