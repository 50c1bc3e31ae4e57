package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/seal"
)

// longestLife caps expires_in; what claims to live longer is treated as if it
// lived a year.
const longestLife = 365 * 24 * time.Hour

// parseTokenResponse reads the JSON of RFC 6749, 5.1. Its errors hold no part
// of the answer. A refresh token is given back even beside an error.
func parseTokenResponse(raw []byte) (TokenResponse, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(raw, &doc); err != nil || doc == nil {
		return TokenResponse{}, errors.New("the answer is not a JSON object")
	}
	text := func(name string) (string, error) {
		v, present := doc[name]
		if !present || string(v) == "null" {
			return "", nil
		}
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			return "", fmt.Errorf("%s is not a string", name)
		}
		return s, nil
	}
	var out TokenResponse
	refreshToken, refreshErr := text("refresh_token")
	out.RefreshToken = seal.NewSecret(refreshToken)
	accessToken, accessErr := text("access_token")
	idToken, idErr := text("id_token")
	tokenType, typeErr := text("token_type")
	scopes, scopeErr := parseScopes(doc["scope"])
	life, lifeErr := parseLife(doc["expires_in"])
	if err := errors.Join(refreshErr, accessErr, idErr, typeErr, scopeErr, lifeErr); err != nil {
		return out, err
	}
	if accessToken == "" {
		return out, errors.New("access_token is missing")
	}
	// RFC 6749 demands token_type, and compares it without case; where it is
	// missing the access token cannot be anything else.
	if tokenType != "" && !strings.EqualFold(tokenType, "Bearer") {
		return out, fmt.Errorf("token_type is %q, only Bearer can be used", printable(tokenType))
	}
	out.AccessToken, out.IDToken = seal.NewSecret(accessToken), seal.NewSecret(idToken)
	out.Scopes, out.ExpiresIn = scopes, life
	return out, nil
}

func printable(s string) string {
	if len(s) > 20 {
		return "something else"
	}
	return s
}

// parseScopes reads a space-separated string, or a list as a few servers send.
func parseScopes(v json.RawMessage) ([]string, error) {
	if len(v) == 0 || string(v) == "null" {
		return nil, nil
	}
	var s string
	if json.Unmarshal(v, &s) == nil {
		return strings.Fields(s), nil
	}
	var list []string
	if json.Unmarshal(v, &list) == nil {
		return list, nil
	}
	return nil, errors.New("scope is neither a string nor a list of strings")
}

// parseLife reads seconds as a number or as a string of one. Missing, null and
// an empty string are zero: not said.
func parseLife(v json.RawMessage) (time.Duration, error) {
	s := strings.Trim(strings.TrimSpace(string(v)), `"`)
	if s == "" || s == "null" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || f < 0 {
		return 0, errors.New("expires_in is not a number of seconds")
	}
	if f > longestLife.Seconds() {
		return longestLife, nil
	}
	return time.Duration(f * float64(time.Second)).Truncate(time.Second), nil
}
