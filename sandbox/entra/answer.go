package entra

import (
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

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
