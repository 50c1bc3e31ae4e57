package entra

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

const (
	codeLife         = 10 * time.Minute
	refreshTokenLife = 90 * 24 * time.Hour
	// Codes and refresh tokens begin so; a text that does not is "malformed" rather than unknown.
	codePrefix    = "1.sandbox-code."
	refreshPrefix = "1.sandbox-refresh."
)

// subject is for whom, and through which app, a grant was made.
type subject struct {
	userID   string
	clientID string
	authAt   directory.Moment
	scopes   []scope
}

type authorizationCode struct {
	subject
	redirectURI string
	challenge   string
	method      string
	nonce       string
	issuedAt    time.Time
	redeemed    *family
}

// family is a refresh token and all that came from it by rotation.
type family struct{ dead bool }

type refreshToken struct {
	subject
	family   *family
	issuedAt time.Time
	rotated  bool
}

// tokenRequest is a request to the token endpoint after the client has been authenticated.
type tokenRequest struct {
	form    url.Values
	segment string
	tenant  directory.Tenant // zero under `common` and `organizations`
	client  directory.Registration
}

func (s *Server) serveToken(x *exchange) {
	if x.request.Method != http.MethodPost {
		s.answerErrorJSON(x, refuse(900561, "POST", x.request.Method))
		return
	}
	body, refusal := s.redeem(x)
	if refusal != nil {
		s.answerErrorJSON(x, refusal)
		return
	}
	x.Header().Set("Pragma", "no-cache")
	answerJSON(x, http.StatusOK, body)
}

func (s *Server) redeem(x *exchange) (map[string]any, *problem) {
	req := tokenRequest{form: x.request.PostForm, segment: x.request.PathValue("tenant")}
	var refusal *problem
	if req.tenant, refusal = s.tenantOf(req.segment); refusal != nil {
		return nil, refusal
	}
	if req.form.Has("resource") {
		return nil, refuse(901002)
	}
	if req.form.Get("grant_type") == "" {
		return nil, refuse(900144, "grant_type")
	}
	if req.client, refusal = s.authenticate(x, req); refusal != nil {
		return nil, refusal
	}
	switch grantType := req.form.Get("grant_type"); grantType {
	case "authorization_code":
		return s.redeemCode(x, req)
	case "refresh_token":
		return s.redeemRefresh(x, req)
	case "client_credentials":
		return s.redeemClient(req)
	default:
		return nil, refuse(70003, printable(grantType))
	}
}

// tenantOf resolves the first segment of the path. Under `common` and `organizations` the tenant stays empty.
func (s *Server) tenantOf(segment string) (directory.Tenant, *problem) {
	switch strings.ToLower(segment) {
	case "common", "organizations":
		return directory.Tenant{}, nil
	case "consumers":
		return directory.Tenant{}, refuse(9002332, "the application")
	}
	tenant, found := s.world.Tenant(segment)
	if !found {
		return directory.Tenant{}, refuse(90002, printable(segment))
	}
	return tenant, nil
}

// clientFor finds the app and checks that it can be used in this tenant at all.
func (s *Server) clientFor(clientID string, tenant directory.Tenant) (directory.Registration, *problem) {
	if clientID == "" {
		return directory.Registration{}, refuse(900144, "client_id")
	}
	where := tenant.Name
	if where == "" {
		where = "Microsoft 365 sandbox"
	}
	client, found := s.world.Registration(clientID)
	switch {
	case !found, tenant.ID != "" && tenant.ID != client.TenantID && !client.MultiTenant:
		return directory.Registration{}, refuse(700016, printable(clientID), where)
	case client.Disabled:
		return directory.Registration{}, refuse(7000112, client.ClientID, client.Name)
	case tenant.ID == "" && !client.MultiTenant:
		return directory.Registration{}, refuse(50194, client.ClientID)
	}
	return client, nil
}

// authenticate checks who calls, by client_secret_post or client_secret_basic (RFC 6749, section 2.3.1).
func (s *Server) authenticate(x *exchange, req tokenRequest) (directory.Registration, *problem) {
	clientID, secret, posted := req.form.Get("client_id"), req.form.Get("client_secret"), req.form.Has("client_secret")
	if name, password, basic := x.request.BasicAuth(); basic {
		name, errName := url.QueryUnescape(name)
		password, errPassword := url.QueryUnescape(password)
		if errName != nil || errPassword != nil || clientID != "" && clientID != name {
			return directory.Registration{}, refuse(90013, "the Authorization header cannot be read or names another client")
		}
		clientID, secret, posted = name, password, true
	}
	x.call.ClientID = printable(clientID)
	client, refusal := s.clientFor(clientID, req.tenant)
	if refusal != nil {
		return directory.Registration{}, refusal
	}
	switch {
	case client.Public && (posted || req.form.Has("client_assertion")):
		return directory.Registration{}, refuse(700025)
	case client.Public:
		return client, nil
	case req.form.Has("client_assertion"):
		return directory.Registration{}, refuse(700027)
	case !posted || secret == "":
		return directory.Registration{}, refuse(7000218)
	}
	known, found := client.Secret(secret)
	if !found {
		return directory.Registration{}, refuse(7000215, client.ClientID)
	}
	if !known.EndsAt.IsZero() && !x.at.Before(known.EndsAt) {
		return directory.Registration{}, refuse(7000222, client.ClientID)
	}
	return client, nil
}

func (s *Server) redeemCode(x *exchange, req tokenRequest) (map[string]any, *problem) {
	raw := req.form.Get("code")
	switch {
	case raw == "":
		return nil, refuse(900144, "code")
	case !req.form.Has("redirect_uri"):
		return nil, refuse(900144, "redirect_uri")
	case !strings.HasPrefix(raw, codePrefix):
		return nil, refuse(9002313)
	}
	code, first, refusal := s.takeCode(raw, req)
	if refusal != nil {
		return nil, refusal
	}
	user, refusal := s.standing(x, code.subject, req, code.issuedAt)
	if refusal != nil {
		return nil, refusal
	}
	scopes := code.scopes
	if text := req.form.Get("scope"); text != "" {
		if scopes, refusal = parseScopes(text, req.client.Name, req.tenant.Name); refusal != nil {
			return nil, refusal
		}
		if len(resources(scopes)) > 1 {
			return nil, refuse(70011, "It contains more than one resource.")
		}
	}
	return s.answer(x, req, answered{
		user: user, subject: code.subject, asked: scopes, nonce: code.nonce, family: first,
		// Microsoft's own library names offline_access on this leg only.
		offline: hasOpenID(code.scopes, scopeOfflineAccess) || hasOpenID(scopes, scopeOfflineAccess),
	})
}

// takeCode spends a code. Everything about the request is checked before it is spent, except that it is spent.
func (s *Server) takeCode(raw string, req tokenRequest) (authorizationCode, *family, *problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	code, found := s.codes[raw]
	switch {
	case !found:
		return authorizationCode{}, nil, refuse(70000, "The provided value for the 'code' parameter is not valid.")
	case code.redeemed != nil:
		if s.world.Switches().StrictRotation {
			code.redeemed.dead = true // RFC 6749, section 4.1.2: tokens from a code used twice should be revoked.
		}
		return authorizationCode{}, nil, refuse(54005)
	case !strings.EqualFold(code.clientID, req.client.ClientID):
		return authorizationCode{}, nil, refuse(70000, "The provided authorization code was issued to another application.")
	case s.world.Now().Sub(code.issuedAt) >= codeLife:
		return authorizationCode{}, nil, refuse(70008)
	case code.redirectURI != req.form.Get("redirect_uri"):
		return authorizationCode{}, nil, refuse(500112, printable(req.form.Get("redirect_uri")))
	case !verifierMatches(code.challenge, code.method, req.form.Get("code_verifier")):
		return authorizationCode{}, nil, refuse(501481)
	}
	code.redeemed = &family{}
	return *code, code.redeemed, nil
}

func (s *Server) redeemRefresh(x *exchange, req tokenRequest) (map[string]any, *problem) {
	raw := req.form.Get("refresh_token")
	switch {
	case raw == "":
		return nil, refuse(900144, "refresh_token")
	case !strings.HasPrefix(raw, refreshPrefix):
		return nil, refuse(9002313)
	}
	token, refusal := s.findRefresh(raw, req.client)
	if refusal != nil {
		return nil, refusal
	}
	user, refusal := s.standing(x, token.subject, req, token.issuedAt)
	if refusal != nil {
		return nil, refusal
	}
	scopes := token.scopes
	if text := req.form.Get("scope"); text != "" {
		if scopes, refusal = parseScopes(text, req.client.Name, req.tenant.Name); refusal != nil {
			return nil, refusal
		}
	}
	return s.answer(x, req, answered{user: user, subject: token.subject, asked: scopes, family: token.family, replaces: raw, offline: true})
}

// findRefresh looks a refresh token up without using it.
func (s *Server) findRefresh(raw string, client directory.Registration) (refreshToken, *problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, found := s.refresh[raw]
	switch {
	case !found:
		return refreshToken{}, refuse(70000, "The provided value for the input parameter 'refresh_token' is not valid.")
	case !strings.EqualFold(token.clientID, client.ClientID):
		return refreshToken{}, refuse(70000, "The provided refresh token was issued to another application.")
	case s.world.Now().Sub(token.issuedAt) >= refreshTokenLife:
		return refreshToken{}, refuse(700082, entraTime(token.issuedAt))
	}
	return *token, s.checkFamily(token)
}

// checkFamily applies strict rotation; the caller holds the lock. Whoever comes with a rotated token ends the whole family
// (RFC 9700, section 4.14.2).
func (s *Server) checkFamily(token *refreshToken) *problem {
	if token.rotated && s.world.Switches().StrictRotation {
		token.family.dead = true
	}
	if token.family.dead {
		return refuse(70000, "The refresh token was used before. The sandbox rotates strictly: every refresh token of this family has been revoked.")
	}
	return nil
}

// standing checks that the grant's user may still sign in, here, and that the grant was not ended meanwhile.
func (s *Server) standing(x *exchange, subject subject, req tokenRequest, issuedAt time.Time) (directory.User, *problem) {
	user, found := s.world.UserByID(subject.userID)
	if !found {
		return user, refuse(50034, "of this grant")
	}
	x.call.User, x.call.TenantID = user.UPN, user.TenantID
	ended := user.SessionsRevoked
	if req.client.Public && user.PasswordChanged.Order > ended.Order {
		ended = user.PasswordChanged
	}
	switch {
	case user.Disabled:
		return user, refuse(50057)
	case req.tenant.ID != "" && req.tenant.ID != user.TenantID && req.form.Get("grant_type") == "authorization_code":
		return user, refuse(700005, user.TenantID)
	case req.tenant.ID != "" && req.tenant.ID != user.TenantID:
		return user, refuse(50020, user.UPN, issuerOf(x.request, user.TenantID), req.tenant.Name, req.client.ClientID)
	case ended.Ended(subject.authAt):
		return user, refuse(50173, entraTime(issuedAt), entraTime(ended.At))
	}
	return user, nil
}

// answered is what a successful answer is made from.
type answered struct {
	user     directory.User
	subject  subject
	asked    []scope
	nonce    string
	family   *family
	replaces string
	offline  bool
}

// answer makes the tokens. It is the only place where a refresh token is made or rotated.
func (s *Server) answer(x *exchange, req tokenRequest, a answered) (map[string]any, *problem) {
	consented := parseStored(s.world.Consented(req.client.ClientID, a.user))
	resource := ResourceGraph
	if named := resources(a.asked); len(named) > 0 {
		resource = named[0] // With several resources, the first one wins, and nothing says so.
	}
	asked := slices.DeleteFunc(slices.Clone(a.asked), func(o scope) bool { return !o.isOpenID() && o.resource != resource })
	if len(missing(asked, consented)) > 0 {
		return nil, refuse(65001, req.client.ClientID, req.client.Name)
	}
	granted := grantedFor(resource, asked, consented)
	token := AccessToken{Audience: resource, TenantID: a.user.TenantID, ObjectID: a.user.ObjectID, UserName: a.user.UPN, ClientID: req.client.ClientID}
	for _, g := range granted {
		token.Scopes = append(token.Scopes, g.name)
	}
	access, life, err := s.issueAccess(token, a.user.DisplayName, req.client.Public)
	if err != nil {
		return nil, refuse(90033)
	}
	seconds := int(life / time.Second)
	body := map[string]any{
		"token_type": "Bearer", "access_token": access, "expires_in": seconds, "ext_expires_in": seconds, "scope": strings.Join(texts(granted), " "),
	}
	if hasOpenID(asked, scopeOpenID) {
		if body["id_token"], err = s.issueID(issuerOf(x.request, a.user.TenantID), a.user, req.client.ClientID, a.nonce, asked); err != nil {
			return nil, refuse(90033)
		}
	}
	if req.form.Get("client_info") == "1" {
		body["client_info"] = clientInfo(a.user)
	}
	if a.offline {
		next, refusal := s.rotate(a)
		if refusal != nil {
			return nil, refusal
		}
		body["refresh_token"] = next
	}
	return body, nil
}

// grantedFor lists what the access token for a resource may do: what was asked first, then whatever else of this resource was
// consented to before, as Entra does.
func grantedFor(resource string, asked, consented []scope) []scope {
	var out []scope
	for _, candidate := range slices.Concat(asked, consented) {
		switch {
		case candidate.isOpenID():
			if resource != ResourceGraph || candidate.name == scopeOfflineAccess {
				continue
			}
		case scope{resource: candidate.resource}.key() != scope{resource: resource}.key() || candidate.name == scopeDefault:
			continue
		default:
			candidate.resource = resource
		}
		if !contains(out, candidate) {
			out = append(out, candidate)
		}
	}
	return out
}

// rotate makes the next refresh token of a family and, in one step with it, marks the one it replaces.
func (s *Server) rotate(a answered) (string, *problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, found := s.refresh[a.replaces]; found {
		// Two callers may have come this far with the same token: the second one is a re-use.
		if refusal := s.checkFamily(old); refusal != nil {
			return "", refusal
		}
		old.rotated = true
	}
	raw := refreshPrefix + directory.RandomText() + directory.RandomText()
	s.refresh[raw] = &refreshToken{subject: a.subject, family: a.family, issuedAt: s.world.Now()}
	return raw, nil
}

// redeemClient answers the client credentials grant: no user, no refresh token, and a token even for an app without any role.
func (s *Server) redeemClient(req tokenRequest) (map[string]any, *problem) {
	if req.tenant.ID == "" {
		return nil, refuse(9001023, "client_credentials")
	}
	if req.client.Public {
		return nil, refuse(7000218)
	}
	text := req.form.Get("scope")
	if text == "" {
		return nil, refuse(900144, "scope")
	}
	scopes, refusal := parseScopes(text, req.client.Name, req.tenant.Name)
	if refusal != nil {
		return nil, refusal
	}
	// Microsoft's own library names openid and its like here too; they mean nothing without a user.
	scopes = slices.DeleteFunc(scopes, scope.isOpenID)
	if len(scopes) != 1 || scopes[0].name != scopeDefault {
		return nil, refuse(1002012, printable(text))
	}
	token := AccessToken{Audience: scopes[0].resource, TenantID: req.tenant.ID, ObjectID: req.client.ServicePrincipalID, ClientID: req.client.ClientID, App: true}
	if req.client.TenantID == req.tenant.ID {
		for _, role := range req.client.AppRoles {
			host, name, _ := cutLast(role, "/")
			if (scope{resource: host}).key() == (scope{resource: token.Audience}).key() {
				token.Roles = append(token.Roles, name)
			}
		}
	}
	access, life, err := s.issueAccess(token, req.client.Name, false)
	if err != nil {
		return nil, refuse(90033)
	}
	seconds := int(life / time.Second)
	return map[string]any{"token_type": "Bearer", "access_token": access, "expires_in": seconds, "ext_expires_in": seconds}, nil
}

func cutLast(text, separator string) (before, after string, found bool) {
	if at := strings.LastIndex(text, separator); at >= 0 {
		return text[:at], text[at+len(separator):], true
	}
	return text, "", false
}

func issuerOf(r *http.Request, tenantID string) string { return base(r) + "/" + tenantID + "/v2.0" }

func itoa(n int) string { return strconv.Itoa(n) }
