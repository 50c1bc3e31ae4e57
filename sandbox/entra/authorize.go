package entra

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// authorizeRequest is an authorization request (RFC 6749, section 4.1.1; OpenID Connect Core, section 3.1.2.1) that was found
// in order.
type authorizeRequest struct {
	segment      string
	tenant       directory.Tenant // zero under `common` and `organizations`
	client       directory.Registration
	redirectURI  string
	responseMode string
	state        string
	nonce        string
	prompt       string
	loginHint    string
	challenge    string
	method       string
	scopes       []scope
}

func (s *Server) serveAuthorize(x *exchange) {
	if x.request.Method != http.MethodGet && x.request.Method != http.MethodPost {
		s.showError(x, refuse(900561, "GET", x.request.Method))
		return
	}
	form := x.request.Form
	x.call.ClientID = printable(form.Get("client_id"))
	req, refusal := s.openRequest(x.request.PathValue("tenant"), form)
	if refusal != nil {
		s.showError(x, refusal)
		return
	}
	if refusal := req.read(form); refusal != nil {
		s.sendError(x, req, refusal)
		return
	}
	s.identify(x, req)
}

// openRequest checks the part of a request without which nobody can be redirected anywhere. Its refusals are pages.
func (s *Server) openRequest(segment string, form url.Values) (authorizeRequest, *problem) {
	req := authorizeRequest{segment: segment, state: form.Get("state"), responseMode: "query"}
	var refusal *problem
	if req.tenant, refusal = s.tenantOf(segment); refusal != nil {
		return req, refusal
	}
	if req.client, refusal = s.clientFor(form.Get("client_id"), req.tenant); refusal != nil {
		return req, refusal
	}
	req.redirectURI = form.Get("redirect_uri")
	switch {
	case len(req.client.RedirectURIs) == 0:
		return req, refuse(500113)
	case req.redirectURI == "":
		// Entra takes any registered one when none is named; here it is always the first.
		req.redirectURI = req.client.RedirectURIs[0]
	case !slices.Contains(req.client.RedirectURIs, req.redirectURI):
		return req, refuse(50011, printable(req.redirectURI), req.client.ClientID)
	}
	return req, nil
}

// read checks the rest of a request. Its refusals go to the redirect URI.
func (a *authorizeRequest) read(form url.Values) *problem {
	switch mode := form.Get("response_mode"); mode {
	case "", "query":
	case "form_post", "fragment":
		a.responseMode = mode
	default:
		return refuse(70007, printable(mode))
	}
	switch responseType := form.Get("response_type"); responseType {
	case "code":
	case "":
		return refuse(900144, "response_type")
	default:
		return refuse(700054, printable(responseType))
	}
	a.nonce, a.prompt, a.loginHint = form.Get("nonce"), form.Get("prompt"), form.Get("login_hint")
	switch {
	case form.Has("resource"):
		return refuse(901002)
	case !slices.Contains([]string{"", "login", "select_account", "consent", "none"}, a.prompt):
		return refuse(90023, printable(a.prompt))
	case a.prompt == "select_account" && a.loginHint != "":
		return refuse(90005)
	}
	var refusal *problem
	if a.scopes, refusal = parseScopes(form.Get("scope"), a.client.Name, a.tenant.Name); refusal != nil {
		return refusal
	}
	a.challenge, a.method = form.Get("code_challenge"), form.Get("code_challenge_method")
	return a.checkChallenge()
}

// pkceText is what RFC 7636 allows as a code verifier, and as a plain challenge (section 4.1); a SHA-256 is always 43 long.
var pkceText = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

func (a *authorizeRequest) checkChallenge() *problem {
	if a.challenge == "" {
		if a.method != "" {
			return refuse(50147, "code_challenge is missing")
		}
		return nil
	}
	switch {
	case a.method == "":
		a.method = "plain"
	case a.method != "plain" && a.method != "S256":
		return refuse(50147, "code_challenge_method must be plain or S256")
	}
	if !pkceText.MatchString(a.challenge) || a.method == "S256" && len(a.challenge) != 43 {
		return refuse(50147, "code_challenge has the wrong length or letters")
	}
	return nil
}

// verifierMatches compares as RFC 7636, section 4.6. A verifier for a code that was asked for without a challenge is refused
// too: somebody took the challenge away.
func verifierMatches(challenge, method, verifier string) bool {
	if challenge == "" {
		return verifier == ""
	}
	if !pkceText.MatchString(verifier) {
		return false
	}
	if method == "S256" {
		sum := sha256.Sum256([]byte(verifier))
		verifier = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return subtle.ConstantTimeCompare([]byte(challenge), []byte(verifier)) == 1
}

// sendError takes an error to the redirect URI.
func (s *Server) sendError(x *exchange, req authorizeRequest, refusal *problem) {
	x.call.Outcome = refusal.outcome()
	s.respond(x, req, url.Values{
		"error": {refusal.oauth}, "error_description": {s.description(x, refusal)}, "error_uri": {base(x.request) + "/error?code=" + itoa(refusal.aadsts)},
	})
}

// sendCode takes a fresh code to the redirect URI.
func (s *Server) sendCode(x *exchange, req authorizeRequest, user directory.User, signedIn session) {
	code := codePrefix + directory.RandomText() + directory.RandomText()
	s.mu.Lock()
	s.codes[code] = &authorizationCode{
		subject:     subject{userID: user.ObjectID, clientID: req.client.ClientID, authAt: signedIn.at, scopes: req.scopes},
		redirectURI: req.redirectURI, challenge: req.challenge, method: req.method, nonce: req.nonce, issuedAt: x.at,
	}
	s.mu.Unlock()
	x.call.Outcome = "code"
	s.respond(x, req, url.Values{"code": {code}, "session_state": {newID()}})
}

// respond delivers the answer to an authorization request in the mode it asked for.
func (s *Server) respond(x *exchange, req authorizeRequest, answer url.Values) {
	if req.state != "" {
		answer.Set("state", req.state)
	}
	target, err := url.Parse(req.redirectURI)
	if err != nil {
		s.showError(x, refuse(50011, printable(req.redirectURI), req.client.ClientID))
		return
	}
	switch req.responseMode {
	case "form_post":
		s.showFormPost(x, req, answer)
		return
	case "fragment":
		target.Fragment = ""
		x.Header().Set("Location", target.String()+"#"+answer.Encode())
	default:
		if target.RawQuery != "" {
			target.RawQuery += "&"
		}
		target.RawQuery += answer.Encode()
		x.Header().Set("Location", target.String())
	}
	x.WriteHeader(http.StatusFound)
}

func firstRepeated(form url.Values) (string, bool) {
	for name, values := range form {
		if len(values) > 1 {
			return name, true
		}
	}
	return "", false
}

func sameName(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }
