// Package graph imitates what a mail connector asks of Microsoft Graph: who am I, with which addresses (GET /v1.0/me), OpenID
// Connect's UserInfo, and sending a message as MIME (POST /v1.0/me/sendMail, /v1.0/users/{user}/sendMail).
package graph

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/mailgrant/mailgrant/sandbox/directory"
	"github.com/mailgrant/mailgrant/sandbox/entra"
)

// AccessTokens reads access tokens; *entra.Server does.
type AccessTokens interface {
	CheckAccessToken(raw string) (entra.AccessToken, error)
}

// Server answers for one world.
type Server struct {
	world  *directory.World
	tokens AccessTokens
	mail   Mail
}

// New makes a server.
func New(world *directory.World, tokens AccessTokens, mail Mail) *Server {
	return &Server{world: world, tokens: tokens, mail: mail}
}

// Routes adds the server's endpoints to a mux.
func (s *Server) Routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1.0/me", s.watched(s.serveMe))
	mux.HandleFunc("GET /oidc/userinfo", s.watched(s.serveUserInfo))
	mux.HandleFunc("POST /v1.0/me/sendMail", s.watched(s.serveSendMail))
	mux.HandleFunc("POST /v1.0/users/{user}/sendMail", s.watched(s.serveSendMail))
}

// reply is an answer before it is written.
type reply struct {
	status  int
	body    any
	outcome string
}

// fields that /me gives without $select, and those it gives when named.
var (
	usualFields    = []string{"businessPhones", "displayName", "givenName", "id", "jobTitle", "mail", "mobilePhone", "officeLocation", "preferredLanguage", "surname", "userPrincipalName"}
	selectedFields = []string{"proxyAddresses", "accountEnabled", "otherMails", "userType"}
)

func (s *Server) serveMe(r *http.Request, token entra.AccessToken) reply {
	if !token.HasScope("User.Read") {
		return refusal(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
	}
	user, found := s.world.UserByID(token.ObjectID)
	if !found || user.Disabled {
		return refusal(http.StatusUnauthorized, "InvalidAuthenticationToken", "The identity of the calling user could not be established.")
	}
	given, surname, _ := strings.Cut(user.DisplayName, " ")
	everything := map[string]any{
		"id": user.ObjectID, "displayName": user.DisplayName, "givenName": given, "surname": surname, "userPrincipalName": user.UPN,
		"mail": nullable(user.Mail), "businessPhones": []string{}, "jobTitle": nil, "mobilePhone": nil, "officeLocation": nil,
		"preferredLanguage": nil, "proxyAddresses": append([]string{}, user.ProxyAddresses()...), "accountEnabled": true,
		"otherMails": []string{}, "userType": "Member",
	}
	wanted := usualFields
	if chosen := r.URL.Query().Get("$select"); chosen != "" {
		wanted = strings.Split(chosen, ",")
	}
	body := map[string]any{"@odata.context": origin(r) + "/v1.0/$metadata#users/$entity"}
	for _, name := range wanted {
		field, known := fieldNamed(strings.TrimSpace(name))
		if !known {
			return refusal(http.StatusBadRequest, "BadRequest", "Parsing OData Select and Expand failed: Could not find a property named '"+name+"' on type 'microsoft.graph.user'.")
		}
		body[field] = everything[field]
	}
	return reply{status: http.StatusOK, body: body, outcome: "ok"}
}

func fieldNamed(name string) (string, bool) {
	for _, list := range [][]string{usualFields, selectedFields} {
		for _, field := range list {
			if strings.EqualFold(field, name) {
				return field, true
			}
		}
	}
	return "", false
}

// serveUserInfo answers as OpenID Connect Core, section 5.3, from an access token for Graph with the scope openid.
func (s *Server) serveUserInfo(_ *http.Request, token entra.AccessToken) reply {
	user, found := s.world.UserByID(token.ObjectID)
	if !found || !token.HasScope("openid") {
		return refusal(http.StatusForbidden, "Authorization_RequestDenied", "The access token was not issued for openid.")
	}
	body := map[string]any{"sub": entra.PairwiseSubject(user.ObjectID, token.ClientID)}
	if token.HasScope("profile") {
		body["name"] = user.DisplayName
	}
	if token.HasScope("email") && user.Email != "" {
		body["email"] = user.Email
	}
	return reply{status: http.StatusOK, body: body, outcome: "ok"}
}

// watched checks the access token, suffers ordered faults and adds the request to the list of calls.
func (s *Server) watched(serve func(*http.Request, entra.AccessToken) reply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		call := directory.Call{Protocol: "http", Method: r.Method, Path: r.URL.Path}
		defer func() { s.world.RecordCall(call) }()
		happening, faulty := s.world.TakeFault(directory.PointGraph, "")
		after := faulty && happening.Action == directory.ActionCutAfter
		if faulty && !after {
			if call.Outcome = "fault: " + string(happening.Action); !suffer(w, r, happening) {
				return
			}
		}
		token, answer := s.bearer(r)
		if answer.status == 0 {
			call.ClientID, call.TenantID, call.User = token.ClientID, token.TenantID, token.UserName
			answer = serve(r, token)
		}
		if after {
			call.Outcome = "fault: " + string(happening.Action)
			suffer(w, r, happening)
			return
		}
		call.Status, call.Outcome = answer.status, answer.outcome
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Request-Id", uuid.NewString())
		if answer.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="", error="invalid_token"`)
		}
		w.WriteHeader(answer.status)
		if answer.body == nil {
			return
		}
		// The only thing that can fail here is the connection, and then nobody is left to be told.
		_ = json.NewEncoder(w).Encode(answer.body)
	}
}

// suffer lets an ordered fault happen and says whether the request goes on afterwards.
func suffer(w http.ResponseWriter, r *http.Request, happening directory.Happening) bool {
	switch happening.Action {
	case directory.ActionDelay:
		happening.Wait(r.Context())
		return true
	case directory.ActionStatus:
		if happening.RetryAfterSeconds > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(happening.RetryAfterSeconds))
		}
		http.Error(w, http.StatusText(happening.Status), happening.Status)
		return false
	case directory.ActionRefuse:
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return false
	case directory.ActionHang:
		happening.Wait(r.Context())
	}
	if connection, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = connection.Close()
	}
	return false
}

// bearer reads the access token; a refusal has a status.
func (s *Server) bearer(r *http.Request) (entra.AccessToken, reply) {
	scheme, raw, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return entra.AccessToken{}, refusal(http.StatusUnauthorized, "InvalidAuthenticationToken", "Access token is empty.")
	}
	token, err := s.tokens.CheckAccessToken(raw)
	if err != nil {
		return entra.AccessToken{}, refusal(http.StatusUnauthorized, "InvalidAuthenticationToken", "Access token validation failure: "+err.Error()+".")
	}
	if token.Audience != entra.ResourceGraph {
		return entra.AccessToken{}, refusal(http.StatusUnauthorized, "InvalidAuthenticationToken", "Access token validation failure. Invalid audience.")
	}
	if token.App {
		return entra.AccessToken{}, refusal(http.StatusBadRequest, "BadRequest", "/me request is only valid with delegated authentication flow.")
	}
	return token, reply{}
}

func refusal(status int, code, message string) reply {
	return reply{status: status, outcome: code, body: map[string]any{"error": map[string]any{
		"code": code, "message": message, "innerError": map[string]any{"request-id": uuid.NewString()},
	}}}
}

func nullable(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
