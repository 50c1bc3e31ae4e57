package entra

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

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

func cutLast(text, separator string) (before, after string, found bool) {
	if at := strings.LastIndex(text, separator); at >= 0 {
		return text[:at], text[at+len(separator):], true
	}
	return text, "", false
}

func issuerOf(r *http.Request, tenantID string) string { return base(r) + "/" + tenantID + "/v2.0" }

func itoa(n int) string { return strconv.Itoa(n) }
