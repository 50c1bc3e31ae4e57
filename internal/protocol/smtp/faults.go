package smtp

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

// phase is where in a submission a reply came.
type phase int

const (
	phaseGreeting phase = iota
	phaseAuth
	phaseMail
	phaseRecipient
	phaseData
)

// said is one thing that servers say, with what it means. Parts match the text
// in lower case, codes the enhanced status code or the reply code.
type said struct {
	parts []string
	codes []string
	fault fault.Error
}

// catalogue lists what servers say, first match first.
func catalogue() []said { return append(signInReplies(), sendReplies()...) }

// signInReplies are about being let in.
func signInReplies() []said {
	return []said{
		{
			parts: []string{"smtpclientauthentication is disabled for the tenant"},
			fault: fault.Error{
				ID: "smtp.auth_disabled_tenant", Kind: fault.Refused, Retry: true,
				Text: "Signing in to send by SMTP is switched off for the whole organisation, for access tokens too.",
				Who:  []fault.Who{fault.MailAdmin, fault.TenantAdmin},
				Remedy: "An administrator of the mail system runs Set-CASMailbox ADDRESS -SmtpClientAuthenticationDisabled $false for this mailbox, which wins over the " +
					"organisation's setting. Until then its mail waits here.",
			},
		},
		{
			parts: []string{"smtpclientauthentication is disabled for the mailbox", "smtpclientauthentication is disabled"},
			fault: fault.Error{
				ID: "smtp.auth_disabled_mailbox", Kind: fault.Refused, Retry: true,
				Text:   "Signing in to send by SMTP is switched off for this mailbox, for access tokens too.",
				Who:    []fault.Who{fault.MailAdmin},
				Remedy: "An administrator of the mail system runs Set-CASMailbox ADDRESS -SmtpClientAuthenticationDisabled $false. Until then its mail waits here.",
			},
		},
		{
			parts: []string{"basic authentication is disabled", "basic authentication is not supported"}, codes: []string{"5.7.30"},
			fault: fault.Error{
				ID: "smtp.password_refused", Kind: fault.Refused, Retry: true, Text: "The mail server took the sign-in for one with a password, which it does not accept.",
				Who: []fault.Who{fault.Operator}, Remedy: "Have the mailbox use XOAUTH2; if it does, ask the server's owner.",
			},
		},
		{
			parts: []string{"client not authenticated", "client was not authenticated"}, codes: []string{"5.7.57"},
			fault: fault.Error{
				ID: "smtp.not_signed_in", Kind: fault.Refused, Retry: true, Text: "The mail server says that nobody signed in, although the access token was accepted.",
				Who: []fault.Who{fault.MailAdmin}, Remedy: "Check that port 587 of the submission host is used and that no relay stands between.",
			},
		},
		{
			parts: []string{"sender thread limit", "concurrent connections limit", "too many connections", "too many concurrent"},
			fault: fault.Error{
				ID: "smtp.too_many_connections", Kind: fault.Limited, Retry: true, RetryAfter: 30 * time.Second,
				Text: "The mail server allows no further connection that sends for this mailbox.",
				Who:  []fault.Who{fault.Nobody}, Remedy: "Mailgrant sends it later by itself. If it lasts, see which other programs send as this mailbox.",
			},
		},
	}
}

// sendReplies are about what may be sent.
func sendReplies() []said {
	return []said{
		{
			parts: []string{"sendasdenied", "not allowed to send as", "permissions to send as", "sender address rejected: not owned"}, codes: []string{"5.7.60"},
			fault: fault.Error{
				ID: "smtp.send_as_denied", Kind: fault.Refused,
				Text:   "The mailbox may not send with this sender address.",
				Who:    []fault.Who{fault.MailAdmin},
				Remedy: "Give who authorised the right Send As for this sender (Full Access does not include it), or send from the mailbox's own address.",
			},
		},
		{
			codes: []string{"5.2.251", "5.2.252", "5.2.253", "5.2.254", "5.2.255"},
			fault: fault.Error{
				ID: "smtp.continuous_errors", Kind: fault.Refused,
				Text:   "The mail server has stopped taking mail from this mailbox for a while, because it sent the same failing mail again and again.",
				Who:    []fault.Who{fault.Operator, fault.MailboxOwner},
				Remedy: "Find what keeps sending mail that is refused (mailbox full, sender not allowed, no licence, bad recipients), stop it, and wait; nobody can lift this by hand.",
			},
		},
		{
			parts: []string{"storedrv; mailbox logon failure", "mapiexceptionlogonfailed", "mailbox logon failure"},
			fault: fault.Error{
				ID: "smtp.no_mailbox", Kind: fault.Temporary, Retry: true,
				Text:   "The mail server accepts the access token, but cannot open the mailbox to send from it.",
				Who:    []fault.Who{fault.MailAdmin},
				Remedy: "The person or application that authorised needs Full Access to the mailbox. Rights given just now take up to two hours; Mailgrant tries again by itself.",
			},
		},
		{
			parts: []string{"submission rate", "rate limit", "sending too fast", "throttled"}, codes: []string{"4.4.2"},
			fault: fault.Error{
				ID: "smtp.rate_exceeded", Kind: fault.Limited, Retry: true, RetryAfter: time.Minute,
				Text: "The mailbox sends more messages in a minute than the mail server allows.",
				Who:  []fault.Who{fault.Nobody}, Remedy: "Mailgrant sends the rest more slowly. If it lasts, see which other programs send as this mailbox.",
			},
		},
		{
			parts: []string{"submissionquotaexceeded", "daily sending quota", "recipient limit exceeded", "recipient rate limit"}, codes: []string{"5.1.90"},
			fault: fault.Error{
				ID: "smtp.quota_exceeded", Kind: fault.Limited, Retry: true, RetryAfter: 4 * time.Hour,
				Text: "The mailbox has used up what it may send in a day.",
				Who:  []fault.Who{fault.MailAdmin}, Remedy: "Mailgrant goes on when the day has passed. For more, spread the mail over several mailboxes or ask the administrator.",
			},
		},
		{
			parts: []string{"mailbox full", "quotaexceededexception", "mailbox is full"}, codes: []string{"5.2.2"},
			fault: fault.Error{
				ID: "smtp.mailbox_full", Kind: fault.Refused,
				Text: "A mailbox is full: the one that sends keeps a copy of what it sends, and has no room for it.",
				Who:  []fault.Who{fault.MailboxOwner, fault.MailAdmin}, Remedy: "Clear out the mailbox or enlarge it, then send again.",
			},
		},
		{
			parts: []string{"bad outbound sender"}, codes: []string{"5.1.8"},
			fault: fault.Error{
				ID: "smtp.sender_blocked", Kind: fault.Refused,
				Text: "The mail system has blocked this mailbox from sending because it sent what looks like spam.",
				Who:  []fault.Who{fault.TenantAdmin}, Remedy: "Make sure the mailbox is not abused, then lift the block under the restricted entities of the security portal.",
			},
		},
		{
			parts: []string{"message size exceeds", "message too big", "message too large"}, codes: []string{"5.3.4", "5.2.3"},
			fault: fault.Error{
				ID: "smtp.too_large", Kind: fault.Refused, Text: "The message is larger than the mail server takes.",
				Who: []fault.Who{fault.MailboxOwner}, Remedy: "Send a smaller message, or large files as links.",
			},
		},
	}
}

// reply classifies what a server said. About is the user or recipient it was
// said of.
func (s *session) reply(e *gosmtp.SMTPError, p phase, about string) *fault.Error {
	enhanced := ""
	if e.EnhancedCode != (gosmtp.EnhancedCode{}) && e.EnhancedCode != gosmtp.NoEnhancedCode {
		enhanced = fmt.Sprintf("%d.%d.%d", e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2])
	}
	f := inCatalogue(enhanced, e.Message)
	if f == nil || p == phaseRecipient && f.ID == "smtp.mailbox_full" {
		f = s.byClass(e, p, about)
	}
	f.Detail = fault.Detail{
		Code:  strings.TrimSpace(strconv.Itoa(e.Code) + " " + enhanced),
		Reply: fault.Shorten(strings.TrimSpace(strconv.Itoa(e.Code)+" "+enhanced+" "+e.Message), 500),
	}
	f.Err = errors.New(f.Detail.Reply)
	return f
}

func inCatalogue(enhanced, text string) *fault.Error {
	lower := strings.ToLower(text)
	for _, s := range catalogue() {
		hit := enhanced != "" && slices.Contains(s.codes, enhanced)
		for _, p := range s.parts {
			hit = hit || strings.Contains(lower, p)
		}
		if hit {
			f := s.fault
			return &f
		}
	}
	return nil
}

// byClass explains a reply that nobody has written down, by its class and where
// it came.
func (s *session) byClass(e *gosmtp.SMTPError, p phase, about string) *fault.Error {
	quoted := "“" + fault.Shorten(strings.TrimSpace(strconv.Itoa(e.Code)+" "+e.Message), 200) + "”"
	switch passing := e.Code < 500; {
	case p == phaseGreeting && !passing:
		return &fault.Error{
			ID: "smtp.turned_away", Kind: fault.Refused, Retry: true, Field: s.at.Field("host"),
			Text: fmt.Sprintf("%s turns this machine away: %s.", s.at, quoted),
			Who:  []fault.Who{fault.Operator, fault.MailAdmin}, Remedy: "Check that this is the host and port for submission, and ask its owner whether this machine's address is blocked.",
		}
	case p == phaseAuth && !passing:
		return &fault.Error{
			ID: "smtp.auth_refused", Kind: fault.Refused, Retry: true,
			Text: fmt.Sprintf("%s refuses the access token for %s.", s.at.Host, about),
			Who:  []fault.Who{fault.MailAdmin, fault.AppOwner},
			Remedy: "Inspect the mailbox: the access token must be for this mail server, carry the permission to send by SMTP, and belong to somebody who may open the mailbox. " +
				"Then check that authenticated SMTP is switched on for it.",
		}
	case p == phaseRecipient && !passing:
		return &fault.Error{
			ID: "smtp.recipient_refused", Kind: fault.Refused,
			Text: fmt.Sprintf("The mail server does not take mail for %s: %s.", fault.Shorten(about, 100), quoted),
			Who:  []fault.Who{fault.MailboxOwner}, Remedy: "Correct or leave out this recipient, and send the message again; it went to nobody.",
		}
	case passing:
		return &fault.Error{
			ID: "smtp.temporary", Kind: fault.Temporary, Retry: true,
			Text: "The mail server cannot take the message at the moment: " + quoted + ".",
			Who:  []fault.Who{fault.Nobody}, Remedy: "Mailgrant tries again by itself.",
		}
	}
	return &fault.Error{
		ID: "smtp.refused", Kind: fault.Refused, Text: "The mail server refused: " + quoted + ".",
		Who: []fault.Who{fault.MailboxOwner, fault.MailAdmin}, Remedy: "Its answer says why; change the message or ask the server's owner, and send it again.",
	}
}

// classify turns a failure of an exchange into a fault.
func (s *session) classify(err error, p phase) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return known
	}
	var said *gosmtp.SMTPError
	if errors.As(err, &said) {
		return s.reply(said, p, "")
	}
	return s.at.Network(err)
}

func noMechanism(at protocol.Endpoint, offered []string) error {
	list := "nothing"
	if len(offered) > 0 {
		list = fault.Shorten(strings.Join(offered, ", "), 200)
	}
	return &fault.Error{
		ID: "smtp.no_mechanism", Kind: fault.Refused, Retry: true, Field: at.Field("host"),
		Text: fmt.Sprintf("%s offers no sign-in with an access token; it offers %s.", at, list),
		Who:  []fault.Who{fault.Operator, fault.MailAdmin},
		Remedy: "Check host and port: submission is usually on 587 or 465, and port 25 is for servers. " +
			"The server's owner has to switch on XOAUTH2 or OAUTHBEARER.",
	}
}
