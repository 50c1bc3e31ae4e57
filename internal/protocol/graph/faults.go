package graph

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

// refused explains an answer that is no success. The code decides, and then the
// status.
func (a answer) refused(at protocol.Endpoint, user string) *fault.Error {
	f := a.byCode(user)
	if f == nil {
		f = a.byStatus(at, user)
	}
	reply := strings.TrimSpace(fmt.Sprintf("%d %s %s", a.status, a.code, a.message))
	f.Detail = fault.Detail{Code: a.code, Reply: reply, CorrelationID: a.requestID}
	if f.RetryAfter = max(f.RetryAfter, a.retryAfter); f.Err == nil {
		f.Err = errors.New(reply)
	}
	return f
}

func (a answer) byCode(user string) *fault.Error {
	switch a.code {
	case "ErrorSendAsDenied":
		return &fault.Error{
			ID: "graph.send_as_denied", Kind: fault.Refused, Text: "The mailbox may not send with this sender address.",
			Who:    []fault.Who{fault.MailAdmin},
			Remedy: "Give who authorised the right Send As for this sender, or send from the mailbox's own address.",
		}
	case "ErrorAccessDenied", "Authorization_RequestDenied", "AccessDenied":
		return &fault.Error{
			ID: "graph.permission_missing", Kind: fault.Refused, Retry: true,
			Text:   fmt.Sprintf("Graph does not let this app send mail as %s.", user),
			Who:    []fault.Who{fault.AppOwner, fault.MailboxOwner},
			Remedy: "Add the delegated permission Mail.Send (Mail.Send.Shared for another's mailbox) to the app registration, then have the mailbox authorised anew.",
		}
	case "ErrorMimeContentInvalidBase64String", "ErrorMimeContentInvalid", "ErrorInvalidRecipients", "ErrorMessageSizeExceeded":
		return &fault.Error{
			ID: "graph.message_refused", Kind: fault.Refused, Text: "Graph does not take this message: " + a.code + ".",
			Who: []fault.Who{fault.MailboxOwner}, Remedy: "Correct the message as its answer says, and send it again.",
		}
	case "MailboxNotEnabledForRESTAPI", "MailboxNotSupportedForRESTAPI", "ErrorInvalidUser", "Request_ResourceNotFound", "ResourceNotFound":
		return &fault.Error{
			ID: "graph.no_mailbox", Kind: fault.Refused, Retry: true, Text: fmt.Sprintf("Graph knows no mailbox %s.", user),
			Who: []fault.Who{fault.MailAdmin}, Remedy: "Check that the mailbox is in Exchange Online, has a licence, and is spelt right.",
		}
	}
	return nil
}

func (a answer) byStatus(at protocol.Endpoint, user string) *fault.Error {
	switch {
	case a.status == http.StatusUnauthorized:
		return &fault.Error{
			ID: "graph.auth_refused", Kind: fault.Refused, Retry: true, Text: fmt.Sprintf("%s refuses the access token for %s.", at.Host, user),
			Who: []fault.Who{fault.AppOwner}, Remedy: "Inspect the mailbox: the access token must be for Graph and belong to a user who may sign in.",
		}
	case a.status == http.StatusForbidden:
		return (answer{code: "AccessDenied"}).byCode(user)
	case a.status == http.StatusTooManyRequests:
		return &fault.Error{
			ID: "graph.rate_exceeded", Kind: fault.Limited, Retry: true, RetryAfter: time.Minute, Text: "Graph says that it is asked too often.",
			Who: []fault.Who{fault.Nobody}, Remedy: "Mailgrant waits as long as it asks, and tries again by itself.",
		}
	case a.status == http.StatusRequestEntityTooLarge:
		return &fault.Error{
			ID: "graph.too_large", Kind: fault.Refused, Text: "The message is larger than Graph takes.",
			Who: []fault.Who{fault.MailboxOwner}, Remedy: "Send a smaller message, or large files as links.",
		}
	case a.status >= 500:
		return &fault.Error{
			ID: "graph.temporary", Kind: fault.Temporary, Retry: true, Text: fmt.Sprintf("Graph cannot take the message at the moment: it answers %d.", a.status),
			Who: []fault.Who{fault.Nobody}, Remedy: "Mailgrant tries again by itself.",
		}
	}
	return &fault.Error{
		ID: "graph.refused", Kind: fault.Refused, Text: strings.TrimSpace(fmt.Sprintf("Graph refused: %d %s", a.status, a.code)) + ".",
		Who: []fault.Who{fault.MailboxOwner, fault.MailAdmin}, Remedy: "Its answer says why; change the message or ask the mailbox's administrator, and send it again.",
	}
}
