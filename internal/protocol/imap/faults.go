package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/sasl"
)

// said is one thing that servers say, with what it means.
type said struct {
	parts []string // any of them, in lower case, in the reply's text
	codes []goimap.ResponseCode
	fault fault.Error
}

// catalogue lists what servers say in NO, BAD and BYE, first match first.
func catalogue() []said {
	return []said{
		{
			parts: []string{"authenticated but not connected"},
			fault: fault.Error{
				ID: "imap.no_mailbox", Kind: fault.Temporary, Retry: true,
				Text:   "The mail server accepts the access token, but does not open this mailbox with it.",
				Who:    []fault.Who{fault.MailAdmin, fault.TenantAdmin},
				Remedy: "The person who authorised needs Full Access to this mailbox, and the mailbox needs a licence and IMAP switched on. Rights given just now take up to two hours to reach every server; Mailgrant tries again by itself.",
			},
		},
		{
			parts: []string{"throttled", "suggested backoff time"},
			fault: fault.Error{
				ID: "imap.throttled", Kind: fault.Limited, Retry: true,
				Text: "The mail server slows this mailbox down: it has been asked too much in a short time.",
				Who:  []fault.Who{fault.Nobody}, Remedy: "Mailgrant waits as long as the server asked. If it lasts, see which other programs read this mailbox.",
			},
		},
		{
			parts: []string{"too many", "connection limit", "maximum number of connections", "connections from your ip"},
			codes: []goimap.ResponseCode{goimap.ResponseCodeLimit},
			fault: fault.Error{
				ID: "imap.too_many_connections", Kind: fault.Limited, Retry: true, RetryAfter: 2 * time.Minute,
				Text: "The mail server allows no further connection to this mailbox.",
				Who:  []fault.Who{fault.Operator}, Remedy: "Mailgrant holds one connection for each mailbox; end other programs that read it. It tries again by itself.",
			},
		},
		{
			parts: []string{"server unavailable", "temporar", "try again", "internal error", "backend", "service not available"},
			codes: []goimap.ResponseCode{goimap.ResponseCodeUnavailable, goimap.ResponseCodeServerBug, goimap.ResponseCodeInUse},
			fault: fault.Error{
				ID: "imap.unavailable", Kind: fault.Temporary, Retry: true,
				Text: "The mail server cannot serve this mailbox at the moment.",
				Who:  []fault.Who{fault.Nobody}, Remedy: "Mailgrant tries again by itself. If it lasts, ask the server's owner.",
			},
		},
		{
			parts: []string{"privacyrequired", "not allowed on non-secure", "plaintext authentication disallowed"},
			codes: []goimap.ResponseCode{goimap.ResponseCodePrivacyRequired},
			fault: fault.Error{
				ID: "imap.tls_required", Kind: fault.Refused, Retry: true,
				Text: "The mail server wants encryption before it lets anybody sign in.",
				Who:  []fault.Who{fault.Operator}, Remedy: "Set tls to implicit or starttls.",
			},
		},
		{
			parts: []string{"over quota", "quota exceeded"}, codes: []goimap.ResponseCode{goimap.ResponseCodeOverQuota},
			fault: fault.Error{
				ID: "imap.over_quota", Kind: fault.Refused, Retry: true, Text: "The mailbox is full.",
				Who: []fault.Who{fault.MailboxOwner, fault.MailAdmin}, Remedy: "Clear it out or enlarge it.",
			},
		},
		{
			codes: []goimap.ResponseCode{goimap.ResponseCodeNoPerm, goimap.ResponseCodeAuthorizationFailed}, parts: []string{"permission denied", "access denied"},
			fault: fault.Error{
				ID: "imap.no_permission", Kind: fault.Refused, Retry: true, Text: "The mail server does not permit this in the mailbox.",
				Who: []fault.Who{fault.MailAdmin}, Remedy: "Give who authorised the right to read and change this mailbox.",
			},
		},
	}
}

var backoffTime = regexp.MustCompile(`(?i)backoff time:?\s*(\d{1,18})\s*(milli)?`)

// match finds what a reply means; nil when it is not in the catalogue.
func match(code goimap.ResponseCode, text string) *fault.Error {
	lower := strings.ToLower(text)
	for _, s := range catalogue() {
		hit := false
		for _, c := range s.codes {
			hit = hit || strings.EqualFold(string(c), string(code))
		}
		for _, p := range s.parts {
			hit = hit || strings.Contains(lower, p)
		}
		if !hit {
			continue
		}
		f := s.fault
		if m := backoffTime.FindStringSubmatch(text); m != nil {
			n, _ := strconv.Atoi(m[1])
			unit := time.Second
			if m[2] != "" {
				unit = time.Millisecond
			}
			f.RetryAfter = time.Duration(min(n, int(time.Hour/unit))) * unit
		}
		f.Detail = fault.Detail{Code: string(code), Reply: fault.Shorten(text, 500)}
		return &f
	}
	return nil
}

// refused classifies a failed sign-in.
func (s *session) refused(err error, user string, bearer *sasl.Bearer) error {
	var reply *goimap.Error
	if !errors.As(err, &reply) {
		return s.classify(err)
	}
	challenge, challenged := bearer.Challenge()
	f := match(reply.Code, reply.Text)
	if f == nil || f.ID == "imap.no_permission" {
		f = &fault.Error{
			ID: "imap.auth_refused", Kind: fault.Refused, Retry: true,
			Text: fmt.Sprintf("%s refuses the access token for %s.", s.at.Host, user),
			Who:  []fault.Who{fault.MailAdmin, fault.AppOwner},
			Remedy: "Inspect the mailbox: the access token must be for this mail server, carry the permission for IMAP, and belong to somebody who may open the mailbox. " +
				"Then check that IMAP is switched on for it.",
			Detail: fault.Detail{Code: string(reply.Code), Reply: fault.Shorten(reply.Text, 500)},
		}
	}
	if challenged {
		f.Detail.Subcode = fault.Shorten(challenge.Status, 60)
		f.Detail.Reply = fault.Shorten(challenge.String()+"; "+reply.Text, 500)
	}
	f.Err = reply
	return f
}

// classify turns a failure of an exchange into a fault.
func (s *session) classify(err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return known
	}
	var reply *goimap.Error
	if errors.As(err, &reply) {
		if reply.Type == goimap.StatusResponseTypeBye {
			return s.farewell(reply.Text, reply)
		}
		if f := match(reply.Code, reply.Text); f != nil {
			f.Err = reply
			return f
		}
		return &fault.Error{
			ID: "imap.refused", Kind: fault.Temporary, Retry: true,
			Text:   "The mail server refused a command: “" + fault.Shorten(reply.Text, 200) + "”.",
			Who:    []fault.Who{fault.MailAdmin},
			Remedy: "Mailgrant tries again by itself. If it lasts, ask the server's owner what its answer means.",
			Detail: fault.Detail{Code: string(reply.Code), Reply: fault.Shorten(reply.Text, 500)}, Err: reply,
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return s.at.Network(err)
	}
	if bye := s.conn.LastLine("* BYE"); bye != "" {
		return s.farewell(bye, err)
	}
	switch text := err.Error(); { // the library does not wrap its causes
	case strings.Contains(text, "i/o timeout"):
		return s.at.Network(fmt.Errorf("%w: %w", context.DeadlineExceeded, err))
	case strings.Contains(text, "connection reset"), strings.Contains(text, "EOF"), strings.Contains(text, "closed"), strings.Contains(text, "broken pipe"):
		return s.at.Network(fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err))
	}
	return s.garbled(err)
}

// farewell classifies a BYE.
func (s *session) farewell(text string, err error) *fault.Error {
	if f := match("", text); f != nil {
		f.Err = err
		return f
	}
	return &fault.Error{
		ID: "imap.bye", Kind: fault.Temporary, Retry: true,
		Text: "The mail server ended the connection: “" + fault.Shorten(text, 200) + "”.",
		Who:  []fault.Who{fault.Nobody}, Remedy: "Mailgrant connects again by itself.",
		Detail: fault.Detail{Reply: fault.Shorten(text, 500)}, Err: err,
	}
}

func (s *session) garbled(err error) *fault.Error {
	return &fault.Error{
		ID: "imap.garbled", Kind: fault.Temporary, Retry: true, Field: s.at.Field("host"),
		Text: fmt.Sprintf("%s answered in a way that is not IMAP.", s.at),
		Who:  []fault.Who{fault.Operator}, Remedy: "Check host and port, and what stands between here and the server. The log holds the cause.", Err: err,
	}
}

func noMechanism(at protocol.Endpoint, offered []string) error {
	list := "nothing"
	if len(offered) > 0 {
		list = fault.Shorten(strings.Join(offered, ", "), 200)
	}
	return &fault.Error{
		ID: "imap.no_mechanism", Kind: fault.Refused, Retry: true, Field: at.Field("host"),
		Text: fmt.Sprintf("%s offers no sign-in with an access token; it offers %s.", at, list),
		Who:  []fault.Who{fault.Operator, fault.MailAdmin}, Remedy: "Check host and port. The server's owner has to switch on XOAUTH2 or OAUTHBEARER.",
	}
}

// noFolder says that a folder of the settings does not exist.
func (s *session) noFolder(folder string, reply *goimap.Error) *fault.Error {
	return &fault.Error{
		ID: "imap.no_folder", Kind: fault.Refused, Retry: true, Field: s.at.Field("folders"),
		Text: "The mailbox has no folder “" + fault.Shorten(folder, 100) + "” that can be opened.",
		Who:  []fault.Who{fault.Operator}, Remedy: "Correct the folder's name, or make it in the mailbox. Names of subfolders are written with the server's separator, usually / or a dot.",
		Detail: fault.Detail{Code: string(reply.Code), Reply: fault.Shorten(reply.Text, 500)}, Err: reply,
	}
}
