package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

// remoteID finds the name under which a server took a message in.
var remoteID = regexp.MustCompile(`(?i)(?:queued as |OK:? id=|OK )<?([A-Za-z0-9][A-Za-z0-9@._=+-]{3,120})>?`)

// Send submits one message; see protocol.Sender. All recipients are accepted or
// nothing is sent. The connection that took it is kept for a moment; see kept.go.
func (c *Client) Send(ctx context.Context, at protocol.Endpoint, login protocol.Login, env message.Envelope, raw io.Reader, size int64) (protocol.Receipt, error) {
	s, err := c.begin(ctx, at, login, env, size)
	if err != nil {
		return protocol.Receipt{}, err
	}
	receipt, err := s.transmit(ctx, env, raw, size)
	if s.carried++; err != nil || !c.kept.put(purpose(at, login), s, c.Keep) {
		s.close()
	}
	return receipt, err
}

// transmit hands the message over, after its sender was named.
func (s *session) transmit(ctx context.Context, env message.Envelope, raw io.Reader, size int64) (protocol.Receipt, error) {
	if err := s.recipients(ctx, env); err != nil {
		return protocol.Receipt{}, err
	}
	var data *gosmtp.DataCommand
	err := s.await(ctx, commandTimeout, phaseData, func() (err error) {
		data, err = s.client.Data()
		return err
	})
	if err != nil {
		return protocol.Receipt{}, err
	}
	// Until the final dot the server must forget what it got (RFC 5321 section 4.1.1.4),
	// so a break here is an ordinary one.
	var unreadable error
	err = s.await(ctx, dataTimeout, phaseData, func() error {
		n, err := io.Copy(data, &remember{r: raw, err: &unreadable})
		if err == nil && n != size {
			unreadable = fmt.Errorf("the message has %d bytes and not %d", n, size)
			err = unreadable
		}
		if err != nil {
			_ = s.conn.Close()
		}
		return err
	})
	if unreadable != nil {
		return protocol.Receipt{}, fmt.Errorf("read the message to send: %w", unreadable)
	}
	if err != nil {
		return protocol.Receipt{}, err
	}
	return s.finish(ctx, data)
}

// finish sends the final dot and reads what the server says to it.
func (s *session) finish(ctx context.Context, data *gosmtp.DataCommand) (protocol.Receipt, error) {
	var answer *gosmtp.DataResponse
	err := s.conn.Bounded(ctx, replyTimeout, func() (err error) {
		answer, err = data.CloseWithResponse()
		return err
	})
	var said *gosmtp.SMTPError
	switch {
	case err == nil:
	case errors.As(err, &said):
		return protocol.Receipt{}, s.reply(said, phaseData, "")
	default:
		return protocol.Receipt{}, &fault.Error{
			ID: "smtp.no_reply", Kind: fault.Temporary, Retry: true,
			Text:   fmt.Sprintf("The connection to %s broke after the message was sent and before the server said whether it took it.", s.at.Host),
			Who:    []fault.Who{fault.Nobody},
			Remedy: "Mailgrant looks among the sent messages before it sends again.", Err: err,
		}
	}
	receipt := protocol.Receipt{Reply: fault.Shorten("250 "+answer.StatusText, 500)}
	if m := remoteID.FindStringSubmatch(answer.StatusText); m != nil {
		receipt.RemoteID = m[1]
	}
	return receipt, nil
}

// sender names who sends, and what the server must be able to do for that.
func (s *session) sender(ctx context.Context, env message.Envelope, size int64, limit time.Duration) error {
	options := &gosmtp.MailOptions{Size: size}
	if most, ok := s.client.MaxMessageSize(); ok && most > 0 && size > int64(most) {
		return &fault.Error{
			ID: "smtp.too_large", Kind: fault.Refused, Text: fmt.Sprintf("The message has %d bytes; the mail server takes at most %d.", size, most),
			Who: []fault.Who{fault.MailboxOwner}, Remedy: "Send a smaller message, or large files as links.",
		}
	}
	if !ascii(env.ReversePath) || !ascii(strings.Join(env.ForwardPaths, "")) {
		if ok, _ := s.client.Extension("SMTPUTF8"); !ok {
			return &fault.Error{
				ID: "smtp.no_utf8", Kind: fault.Refused, Text: "An address holds characters beyond ASCII before its @, which this mail server cannot send to or from.",
				Who: []fault.Who{fault.MailAdmin}, Remedy: "Use another address of the same person.",
			}
		}
		options.UTF8 = true
	}
	return s.await(ctx, limit, phaseMail, func() error { return s.client.Mail(env.ReversePath, options) })
}

// recipients names who is to get the message.
func (s *session) recipients(ctx context.Context, env message.Envelope) error {
	for _, to := range env.ForwardPaths {
		err := s.conn.Bounded(ctx, commandTimeout, func() error { return s.client.Rcpt(to, nil) })
		var said *gosmtp.SMTPError
		if errors.As(err, &said) {
			return s.reply(said, phaseRecipient, to)
		}
		if err != nil {
			return s.classify(err, phaseRecipient)
		}
	}
	return nil
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] > 0x7e {
			return false
		}
	}
	return true
}

// remember keeps apart an error of reading our own message from one of the
// wire.
type remember struct {
	r   io.Reader
	err *error
}

func (r *remember) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		*r.err = err
	}
	return n, err
}
