package graph

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/mailgrant/mailgrant/sandbox/entra"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

// Mail takes messages; *exchange.Exchange does.
type Mail interface {
	SendMail(who exchange.Principal, address string, mime []byte) error
}

// largestRequest is what Graph takes in one request.
const largestRequest = 4 << 20

// serveSendMail takes a message as MIME: text/plain, the body its base64. The other form, JSON, is answered like a wrong media
// type, since nobody here has needed it.
func (s *Server) serveSendMail(r *http.Request, token entra.AccessToken) reply {
	user, found := s.world.UserByID(token.ObjectID)
	if !found || user.Disabled {
		return refusal(http.StatusUnauthorized, "InvalidAuthenticationToken", "The identity of the calling user could not be established.")
	}
	address := r.PathValue("user")
	if address == "" {
		address = user.UPN
	}
	own := strings.EqualFold(address, user.UPN) || strings.EqualFold(address, user.ObjectID)
	if own {
		address = user.UPN
	}
	if !token.HasScope("Mail.Send.Shared") && (!own || !token.HasScope("Mail.Send")) {
		return refusal(http.StatusForbidden, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
	}
	if media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); media != "text/plain" {
		return refusal(http.StatusUnsupportedMediaType, "RequestBodyRead", "The sandbox takes messages as MIME in text/plain only.")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, largestRequest+1))
	if err != nil || len(body) > largestRequest {
		return refusal(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request is too large.")
	}
	mime, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(body)), ""))
	if err != nil {
		return refusal(http.StatusBadRequest, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.")
	}
	who := exchange.Principal{TenantID: token.TenantID, ObjectID: token.ObjectID, UPN: token.UserName, AppID: token.ClientID, Audience: token.Audience, Scopes: token.Scopes, Expires: token.ExpiresAt}
	switch err := s.mail.SendMail(who, address, mime); {
	case err == nil:
		return reply{status: http.StatusAccepted, outcome: "accepted"}
	case errors.Is(err, exchange.ErrSendAsDenied):
		return refusal(http.StatusForbidden, "ErrorSendAsDenied", "The user account which was used to submit this request does not have the right to send mail on behalf of the specified sending account.")
	case errors.Is(err, exchange.ErrNoMailbox):
		return refusal(http.StatusNotFound, "ErrorInvalidUser", "The requested user '"+address+"' is invalid.")
	case errors.Is(err, exchange.ErrAccessDenied):
		return refusal(http.StatusForbidden, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
	default:
		return refusal(http.StatusBadRequest, "ErrorMimeContentInvalid", "Invalid MIME content.")
	}
}
