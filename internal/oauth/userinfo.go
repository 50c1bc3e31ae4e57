package oauth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/mailgrant/mailgrant/internal/seal"
)

// UserInfo asks the UserInfo endpoint about the person behind an access token
// (OpenID Connect Core, 5.3). The answer must carry the sub of the ID token
// (5.3.2); one about somebody else is refused.
func (d *Directory) UserInfo(ctx context.Context, endpoint string, accessToken seal.Secret, sub string) (Claims, error) {
	raw, resp, err := getJSON(ctx, d.client, endpoint, "Bearer "+accessToken.Reveal())
	if err != nil {
		return nil, fmt.Errorf("call UserInfo: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, parseError(LegUserInfo, endpoint, "", resp.StatusCode, resp.Header, raw, accessToken)
	}
	var c Claims
	if err := json.Unmarshal(raw, &c); err != nil || c == nil {
		return nil, &Error{
			Leg: LegUserInfo, Endpoint: hostOf(endpoint), Status: resp.StatusCode,
			Description: "The answer is not a JSON object (signed or encrypted UserInfo is not supported).",
		}
	}
	if got := c.String("sub"); got == "" || got != sub {
		return nil, &IDTokenError{Claim: "sub of UserInfo", Err: errors.New("it is not that of the ID token; the answer is about somebody else")}
	}
	return c, nil
}

// jwtPayload gives the middle part of a JWT in compact form.
func jwtPayload(jwt string) ([]byte, error) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 || len(jwt) > largestBody {
		return nil, errors.New("it is not a JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, errors.New("it is not a JWT")
	}
	return payload, nil
}
