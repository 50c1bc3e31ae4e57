package entra

import (
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
