package entra

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// Access tokens live a random time between these two, as Entra's do.
const (
	shortestAccess = 60 * time.Minute
	longestAccess  = 90 * time.Minute
	idTokenLife    = time.Hour
)

// AccessToken is what a resource of this sandbox learns from an access token.
type AccessToken struct {
	// Audience is the resource it is for, such as https://outlook.office.com.
	Audience string
	TenantID string
	// ObjectID is the user's, or with App the service principal's.
	ObjectID string
	// UserName is the user's name (UPN); empty with App.
	UserName  string
	ClientID  string
	Scopes    []string
	Roles     []string
	App       bool
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// IsForExchange says whether the audience is Exchange, under either of its names.
func (a AccessToken) IsForExchange() bool {
	return a.Audience == ResourceOutlook || a.Audience == ResourceOutlook365
}

// HasScope compares without case.
func (a AccessToken) HasScope(name string) bool {
	return slices.ContainsFunc(a.Scopes, func(s string) bool { return strings.EqualFold(s, name) })
}

// CheckAccessToken reads an access token that this sandbox issued and says whose it is. It fails when the text is not an access
// token of this sandbox, or has expired; audience and scopes are the caller's to compare.
func (s *Server) CheckAccessToken(raw string) (AccessToken, error) {
	s.mu.Lock()
	token, opaque := s.opaque[raw]
	s.mu.Unlock()
	if !opaque {
		var claims struct {
			Audience string   `json:"aud"`
			TenantID string   `json:"tid"`
			ObjectID string   `json:"oid"`
			UPN      string   `json:"upn"`
			AppID    string   `json:"appid"`
			Scopes   string   `json:"scp"`
			Roles    []string `json:"roles"`
			Type     string   `json:"idtyp"`
			IssuedAt int64    `json:"iat"`
			Expires  int64    `json:"exp"`
		}
		if err := s.keys.verify(raw, &claims); err != nil {
			return AccessToken{}, err
		}
		if claims.AppID == "" {
			return AccessToken{}, fmt.Errorf("this is not an access token")
		}
		token = AccessToken{
			Audience: claims.Audience, TenantID: claims.TenantID, ObjectID: claims.ObjectID, UserName: claims.UPN, ClientID: claims.AppID,
			Scopes: strings.Fields(claims.Scopes), Roles: claims.Roles, App: claims.Type == "app",
			IssuedAt: time.Unix(claims.IssuedAt, 0), ExpiresAt: time.Unix(claims.Expires, 0),
		}
	}
	if !s.world.Now().Before(token.ExpiresAt) {
		return AccessToken{}, fmt.Errorf("the access token expired at %s", entraTime(token.ExpiresAt))
	}
	return token, nil
}

// issueAccess makes the access token that is described, in the form the sandbox is switched to.
func (s *Server) issueAccess(token AccessToken, displayName string, public bool) (string, time.Duration, error) {
	life := shortestAccess + time.Duration(rand.Int64N(int64((longestAccess-shortestAccess)/time.Second)))*time.Second
	token.IssuedAt = s.world.Now().Truncate(time.Second)
	token.ExpiresAt = token.IssuedAt.Add(life)
	if s.world.Switches().OpaqueAccessTokens {
		raw := "EwB" + directory.RandomText() + directory.RandomText()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.opaque[raw] = token
		return raw, life, nil
	}
	claims := map[string]any{
		"aud": token.Audience, "iss": "https://sts.windows.net/" + token.TenantID + "/", "tid": token.TenantID, "oid": token.ObjectID,
		"iat": token.IssuedAt.Unix(), "nbf": token.IssuedAt.Unix(), "exp": token.ExpiresAt.Unix(),
		"appid": token.ClientID, "appidacr": "1", "ver": "1.0", "uti": directory.RandomText(),
		"sub": pairwise(token.ObjectID, token.Audience),
	}
	if public {
		claims["appidacr"] = "0"
	}
	if token.App {
		claims["idtyp"] = "app"
		if len(token.Roles) > 0 {
			claims["roles"] = token.Roles
		}
	} else {
		claims["idtyp"], claims["acr"], claims["amr"] = "user", "1", []string{"pwd"}
		claims["upn"], claims["unique_name"], claims["name"] = token.UserName, token.UserName, displayName
		claims["scp"] = strings.Join(token.Scopes, " ")
	}
	raw, err := s.keys.sign(claims)
	return raw, life, err
}

// issueID makes a v2.0 ID token (OpenID Connect Core, section 2) with the claims that the scopes allow.
func (s *Server) issueID(issuer string, user directory.User, clientID, nonce string, scopes []scope) (string, error) {
	now := s.world.Now()
	claims := map[string]any{
		"aud": clientID, "iss": issuer, "tid": user.TenantID, "sub": pairwise(user.ObjectID, clientID), "ver": "2.0",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(idTokenLife).Unix(), "uti": directory.RandomText(), "rh": "0.sandbox.",
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	if hasOpenID(scopes, scopeProfile) {
		claims["oid"], claims["preferred_username"], claims["name"] = user.ObjectID, user.UPN, user.DisplayName
	}
	if hasOpenID(scopes, scopeEmail) && user.Email != "" {
		claims["email"] = user.Email
	}
	return s.keys.sign(claims)
}

// PairwiseSubject is the `sub` by which an app knows the user; each app knows another one.
func PairwiseSubject(objectID, clientID string) string { return pairwise(objectID, clientID) }

func pairwise(objectID, clientID string) string {
	sum := sha256.Sum256([]byte(objectID + "\x00" + strings.ToLower(clientID)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// clientInfo tells Microsoft's own libraries the user's home, when they ask for it.
func clientInfo(user directory.User) string {
	text := fmt.Sprintf(`{"uid":%q,"utid":%q}`, user.ObjectID, user.TenantID)
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

func newID() string { return uuid.NewString() }
