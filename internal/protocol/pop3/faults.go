package pop3

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/sasl"
)

// said is one thing that servers say, with what it means.
type said struct {
	codes []string // extended response codes (RFC 2449 section 8, RFC 3206)
	parts []string // any of them, in lower case, in the reply's text
	fault fault.Error
}

// catalogue lists what servers say in -ERR, first match first.
func catalogue() []said {
	return []said{
		{
			parts: []string{"authenticated but not connected"},
			fault: fault.Error{
				ID: "pop3.no_mailbox", Kind: fault.Temporary, Retry: true,
				Text:   "The mail server accepts the access token, but does not open this mailbox with it.",
				Who:    []fault.Who{fault.MailAdmin, fault.TenantAdmin},
				Remedy: "The person who authorised needs Full Access to this mailbox, and the mailbox needs a licence and POP switched on. Rights given just now take up to two hours to reach every server; Mailgrant tries again by itself.",
			},
		},
		{
			parts: []string{"not enabled for pop", "pop access is not", "pop access is disabled", "pop is disabled", "pop3 is disabled", "pop3 access is disabled"},
			fault: fault.Error{
				ID: "pop3.switched_off", Kind: fault.Refused, Retry: true, Text: "POP is switched off for this mailbox.",
				Who: []fault.Who{fault.MailboxOwner, fault.MailAdmin}, Remedy: "Switch POP on in the mailbox's settings at the provider, or receive by another protocol.",
			},
		},
		{
			codes: []string{"LOGIN-DELAY"},
			fault: fault.Error{
				ID: "pop3.login_delay", Kind: fault.Limited, Retry: true, RetryAfter: 5 * time.Minute,
				Text: "The mail server allows no sign-in so soon after the last one.",
				Who:  []fault.Who{fault.Operator}, Remedy: "Mailgrant waits and tries again by itself. Set every to a longer time, so that the mailbox is asked less often.",
			},
		},
		{
			codes: []string{"IN-USE"}, parts: []string{"mailbox in use", "maildrop already locked", "mailbox is locked", "mailbox locked", "already in use"},
			fault: fault.Error{
				ID: "pop3.in_use", Kind: fault.Temporary, Retry: true, RetryAfter: time.Minute,
				Text: "The mailbox is locked: another program reads it by POP just now.",
				Who:  []fault.Who{fault.Operator}, Remedy: "Mailgrant tries again by itself. If it lasts, end the other program: one at a time can read a mailbox by POP.",
			},
		},
		{
			parts: []string{"throttled", "suggested backoff time"},
			fault: fault.Error{
				ID: "pop3.throttled", Kind: fault.Limited, Retry: true,
				Text: "The mail server slows this mailbox down: it has been asked too much in a short time.",
				Who:  []fault.Who{fault.Nobody}, Remedy: "Mailgrant waits as long as the server asked. If it lasts, see which other programs read this mailbox.",
			},
		},
		{
			parts: []string{"too many", "connection limit", "maximum number of connections", "connections from your ip"},
			fault: fault.Error{
				ID: "pop3.too_many_connections", Kind: fault.Limited, Retry: true, RetryAfter: 2 * time.Minute,
				Text: "The mail server allows no further connection to this mailbox.",
				Who:  []fault.Who{fault.Operator}, Remedy: "End other programs that read it. Mailgrant tries again by itself.",
			},
		},
		{
			codes: []string{"SYS/TEMP"}, parts: []string{"server unavailable", "temporar", "try again", "internal error", "backend", "service not available", "connection is closed"},
			fault: fault.Error{
				ID: "pop3.unavailable", Kind: fault.Temporary, Retry: true,
				Text: "The mail server cannot serve this mailbox at the moment.",
				Who:  []fault.Who{fault.Nobody}, Remedy: "Mailgrant tries again by itself. If it lasts, ask the server's owner.",
			},
		},
		{
			codes: []string{"SYS/PERM"},
			fault: fault.Error{
				ID: "pop3.broken", Kind: fault.Refused, Retry: true,
				Text: "The mail server says that it cannot serve this mailbox until somebody mends it.",
				Who:  []fault.Who{fault.MailAdmin}, Remedy: "Ask the server's owner; the reply says what is wrong.",
			},
		},
		{
			parts: []string{"not allowed on non-secure", "plaintext authentication disallowed", "tls required", "issue a stls", "stls first", "must use tls"},
			fault: fault.Error{
				ID: "pop3.tls_required", Kind: fault.Refused, Retry: true,
				Text: "The mail server wants encryption before it lets anybody sign in.",
				Who:  []fault.Who{fault.Operator}, Remedy: "Set tls to implicit or starttls.",
			},
		},
	}
}

var backoffTime = regexp.MustCompile(`(?i)backoff time:?\s*(\d{1,18})\s*(milli)?`)

// match finds what a refusal means; nil when it is not in the catalogue. delay is
// the server's own between two sign-ins, zero where it told none.
func match(r reply, delay time.Duration) *fault.Error {
	lower := strings.ToLower(r.text)
	for _, s := range catalogue() {
		if !slices.Contains(s.codes, r.code) && !slices.ContainsFunc(s.parts, func(p string) bool { return strings.Contains(lower, p) }) {
			continue
		}
		f := s.fault
		if m := backoffTime.FindStringSubmatch(r.text); m != nil {
			n, _ := strconv.Atoi(m[1])
			unit := time.Second
			if m[2] != "" {
				unit = time.Millisecond
			}
			f.RetryAfter = time.Duration(min(n, int(time.Hour/unit))) * unit
		}
		if f.ID == "pop3.login_delay" && delay > 0 {
			f.RetryAfter = delay
		}
		f.Detail = detail(r)
		return &f
	}
	return nil
}

func detail(r reply) fault.Detail {
	return fault.Detail{Code: fault.Shorten(r.code, 60), Reply: fault.Shorten(r.text, 500)}
}

// vanished reports whether a refusal says that the message is not there any more.
func vanished(r reply) bool {
	lower := strings.ToLower(r.text)
	return slices.ContainsFunc([]string{"no such message", "already deleted", "been deleted", "does not exist", "doesn't exist", "there's no message", "is deleted", "marked for deletion"},
		func(p string) bool { return strings.Contains(lower, p) })
}

// refused classifies a failed sign-in.
func (l *line) refused(err error, user string, bearer *sasl.Bearer) error {
	var no *refusal
	if !errors.As(err, &no) {
		return l.classify(err)
	}
	challenge, challenged := bearer.Challenge()
	f := match(no.reply, l.delay)
	if f == nil || no.code == "AUTH" {
		f = &fault.Error{
			ID: "pop3.auth_refused", Kind: fault.Refused, Retry: true,
			Text: fmt.Sprintf("%s refuses the access token for %s.", l.at.Host, user),
			Who:  []fault.Who{fault.MailAdmin, fault.AppOwner},
			Remedy: "Inspect the mailbox: the access token must be for this mail server, carry the permission for POP, and belong to somebody who may open the mailbox. " +
				"Then check that POP is switched on for it.",
			Detail: detail(no.reply),
		}
	}
	if challenged {
		f.Detail.Subcode = fault.Shorten(challenge.Status, 60)
		f.Detail.Reply = fault.Shorten(challenge.String()+"; "+no.text, 500)
	}
	f.Err = no
	return f
}

// classify turns a failure of an exchange into a fault.
func (l *line) classify(err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return known
	}
	var no *refusal
	switch {
	case errors.As(err, &no):
		if f := match(no.reply, l.delay); f != nil {
			f.Err = no
			return f
		}
		return &fault.Error{
			ID: "pop3.refused", Kind: fault.Temporary, Retry: true,
			Text:   "The mail server refused a command: “" + fault.Shorten(no.text, 200) + "”.",
			Who:    []fault.Who{fault.MailAdmin},
			Remedy: "Mailgrant tries again by itself. If it lasts, ask the server's owner what its answer means.",
			Detail: detail(no.reply), Err: no,
		}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return l.at.Network(err)
	case errors.Is(err, errTooMany):
		return &fault.Error{
			ID: "pop3.too_many_messages", Kind: fault.Refused, Retry: true,
			Text: fmt.Sprintf("The mailbox holds more than %d messages: that is more than is read by POP.", mostListed),
			Who:  []fault.Who{fault.MailboxOwner, fault.Operator}, Remedy: "Clear the mailbox out, set after_receive to delete once it is smaller, or receive by another protocol.", Err: err,
		}
	case errors.Is(err, errGarbled):
		return &fault.Error{
			ID: "pop3.garbled", Kind: fault.Temporary, Retry: true, Field: l.at.Field("host"),
			Text: fmt.Sprintf("%s answered in a way that is not POP3.", l.at),
			Who:  []fault.Who{fault.Operator}, Remedy: "Check host and port, and what stands between here and the server. The log holds the cause.", Err: err,
		}
	}
	return l.at.Network(err)
}

// nameless says that a server does not name its messages, where it refused UIDL.
func (l *line) nameless(err error) error {
	var no *refusal
	if !errors.As(err, &no) || match(no.reply, l.delay) != nil {
		return err
	}
	return &fault.Error{
		ID: "pop3.no_uidl", Kind: fault.Refused, Retry: true, Field: l.at.Field("host"),
		Text: fmt.Sprintf("%s does not name its messages (UIDL), so that nobody can tell which of them were received before.", l.at),
		Who:  []fault.Who{fault.MailAdmin, fault.Operator}, Remedy: "Receive by another protocol, or have the server's owner switch UIDL on.",
		Detail: detail(no.reply), Err: no,
	}
}

func noMechanism(at protocol.Endpoint, offered []string) error {
	list := "nothing"
	if len(offered) > 0 {
		list = fault.Shorten(strings.Join(offered, ", "), 200)
	}
	return &fault.Error{
		ID: "pop3.no_mechanism", Kind: fault.Refused, Retry: true, Field: at.Field("host"),
		Text: fmt.Sprintf("%s offers no sign-in with an access token; it offers %s.", at, list),
		Who:  []fault.Who{fault.Operator, fault.MailAdmin}, Remedy: "Check host and port. The server's owner has to switch on XOAUTH2 or OAUTHBEARER.",
	}
}

// noFolder says that a folder of the settings cannot be read by POP.
func noFolder(at protocol.Endpoint, folder string) error {
	return &fault.Error{
		ID: "pop3.no_folder", Kind: fault.Refused, Retry: true, Field: at.Field("folders"),
		Text: "POP3 knows no folders: “" + fault.Shorten(folder, 100) + "” cannot be read by it.",
		Who:  []fault.Who{fault.Operator}, Remedy: "Name INBOX alone, or receive by another protocol.",
	}
}

// messageRefused says that a message is there and the server does not give it.
func messageRefused(number int, no *refusal) error {
	return &fault.Error{
		ID: "pop3.message_refused", Kind: fault.Temporary, Retry: true,
		Text: fmt.Sprintf("The mail server does not hand over message %d: “%s”. The others are received.", number, fault.Shorten(no.text, 200)),
		Who:  []fault.Who{fault.MailAdmin, fault.MailboxOwner}, Remedy: "Look at the message with another program, and move or remove it. Mailgrant asks for it again by itself.",
		Detail: detail(no.reply), Err: no,
	}
}

// notDeleted says that a message was not deleted.
func notDeleted(no *refusal) error {
	return &fault.Error{
		ID: "pop3.not_deleted", Kind: fault.Refused, Retry: true, Field: "after_receive",
		Text: "The mail server does not let messages be deleted: “" + fault.Shorten(no.text, 200) + "”.",
		Who:  []fault.Who{fault.MailAdmin, fault.Operator}, Remedy: "Set after_receive to keep, or have the server's owner allow deleting by POP.",
		Detail: detail(no.reply), Err: no,
	}
}
