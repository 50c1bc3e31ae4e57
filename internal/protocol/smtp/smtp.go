// Package smtp submits mail (RFC 6409) as a client, signed in with an access
// token: it climbs from DNS to an accepted sender, and sends.
//
// Where the endpoint says STARTTLS it is never optional. What servers refuse is
// told apart by code, enhanced status code (RFC 3463) and their own words; see
// faults.go. A connection that breaks after the final dot and before the reply
// is its own fault, "smtp.no_reply": the message may have been accepted.
package smtp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/sasl"
)

// The patience of exchanges. A reply to the final dot may take minutes
// (RFC 5321 section 4.5.3.2.6).
const (
	commandTimeout = 2 * time.Minute
	authTimeout    = 45 * time.Second
	dataTimeout    = 10 * time.Minute
	replyTimeout   = 10 * time.Minute
	quitTimeout    = 3 * time.Second
)

// Client is the member for SMTP submission. Between calls it keeps the certificate
// authorities that it was given, and for a moment the connections that took a message.
type Client struct {
	// Keep is how long a connection waits for the next message; 2 s by default. Not
	// positive: it ends with each.
	Keep time.Duration

	dialer protocol.Dialer
	kept   kept
}

// New makes the member.
func New() *Client { return &Client{Keep: 2 * time.Second} }

// Probe climbs the ladder; its last rung names the mailbox as sender and takes
// that back, so that nothing is sent.
func (c *Client) Probe(ctx context.Context, at protocol.Endpoint, login protocol.Login, yield func(protocol.Step)) error {
	climb := protocol.Climb{Yield: yield}
	s, err := c.open(ctx, at, login, climb)
	if err != nil {
		return err
	}
	defer s.close()
	return climb.Rung("mail_from", "Name the mailbox as sender", func() (string, error) {
		if !strings.Contains(login.User, "@") {
			return "Left out: the user name is no address.", nil
		}
		if err := s.await(ctx, commandTimeout, phaseMail, func() error { return s.client.Mail(login.User, nil) }); err != nil {
			return "", err
		}
		_ = s.await(ctx, commandTimeout, phaseMail, s.client.Reset) // nothing depends on it: the session ends here
		return "The server accepts " + login.User + " as sender. Whether it may really send shows with the first message.", nil
	})
}

// session is an open, signed-in connection.
type session struct {
	at     protocol.Endpoint
	conn   *protocol.Conn
	client *gosmtp.Client

	carried int         // messages it has taken
	end     *time.Timer // while it is kept; guarded by kept.mu
}

// open connects and signs in, rung by rung.
func (c *Client) open(ctx context.Context, at protocol.Endpoint, login protocol.Login, climb protocol.Climb) (*session, error) {
	conn, err := c.dialer.Dial(ctx, at, climb)
	if err != nil {
		return nil, err
	}
	s := &session{at: at, conn: conn}
	if err := s.greet(ctx, climb); err != nil {
		_ = conn.Close()
		return nil, err
	}
	s.client = gosmtp.NewClient(conn)
	s.client.CommandTimeout, s.client.SubmissionTimeout = commandTimeout, replyTimeout
	if err := s.signIn(ctx, login, climb); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// greet reads the greeting and agrees on STARTTLS where that is asked for; the
// library is then given a greeting of its own to read.
func (s *session) greet(ctx context.Context, climb protocol.Climb) error {
	err := climb.Rung("greeting", "Read the greeting", func() (string, error) {
		var line string
		err := s.conn.Bounded(ctx, commandTimeout, func() (err error) {
			line, err = s.conn.Greeting("SMTP", func(l string) bool { return len(l) >= 3 && (l[:3] == "220" || isRefusal(l)) })
			for more := line; err == nil && len(more) > 3 && more[3] == '-'; {
				more, err = s.conn.ReadLine()
			}
			return err
		})
		if err != nil {
			return "", s.at.Network(err)
		}
		if isRefusal(line) {
			code, _ := strconv.Atoi(line[:3])
			return "", s.reply(&gosmtp.SMTPError{Code: code, Message: strings.TrimSpace(line[3:])}, phaseGreeting, "")
		}
		return fault.Shorten(line, 200), nil
	})
	if err != nil {
		return err
	}
	if s.at.TLS == protocol.TLSStart {
		if err := s.startTLS(ctx, climb); err != nil {
			return err
		}
	}
	s.conn.Unread("220 begin\r\n")
	return nil
}

// isRefusal recognises a greeting that turns us away.
func isRefusal(line string) bool {
	return len(line) >= 4 && (line[0] == '4' || line[0] == '5') && isDigit(line[1]) && isDigit(line[2]) && (line[3] == ' ' || line[3] == '-')
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (s *session) startTLS(ctx context.Context, climb protocol.Climb) error {
	err := s.conn.Bounded(ctx, commandTimeout, func() error {
		lines, err := s.exchange("EHLO " + s.localName())
		if err != nil {
			return s.at.Network(err)
		}
		offered := slices.ContainsFunc(lines, func(l string) bool { return len(l) > 4 && strings.EqualFold(strings.TrimSpace(l[4:]), "STARTTLS") })
		if offered {
			if lines, err = s.exchange("STARTTLS"); err != nil {
				return s.at.Network(err)
			}
			if strings.HasPrefix(lines[len(lines)-1], "220") {
				return nil
			}
		}
		return &fault.Error{
			ID: "smtp.no_starttls", Kind: fault.Refused, Retry: true, Field: s.at.Field("tls"), Detail: fault.Detail{Reply: fault.Shorten(lines[len(lines)-1], 200)},
			Text: fmt.Sprintf("%s does not offer STARTTLS, and without encryption no access token is sent.", s.at),
			Who:  []fault.Who{fault.Operator}, Remedy: "Set tls to implicit and port to the one for it (usually 465), or have the server's owner switch STARTTLS on.",
		}
	})
	if err != nil {
		return s.at.Network(err)
	}
	return s.conn.StartTLS(ctx, climb)
}

// exchange sends a line and reads a whole reply (RFC 5321 section 4.2.1).
func (s *session) exchange(command string) ([]string, error) {
	if _, err := s.conn.Write([]byte(command + "\r\n")); err != nil {
		return nil, err
	}
	var lines []string
	for range 100 {
		line, err := s.conn.ReadLine()
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return lines, nil
		}
	}
	return nil, errors.New("the reply has more than 100 lines")
}

// localName is our name in EHLO: the address literal (RFC 5321 section 4.1.4),
// since a host name of this machine means nothing outside.
func (s *session) localName() string {
	host, _, err := net.SplitHostPort(s.conn.LocalAddr().String())
	if err != nil {
		return "localhost"
	}
	host, _, _ = strings.Cut(host, "%")
	if strings.Contains(host, ":") {
		host = "IPv6:" + host
	}
	return "[" + host + "]"
}

// signIn says hello and presents the access token.
func (s *session) signIn(ctx context.Context, login protocol.Login, climb protocol.Climb) error {
	var mechanism protocol.Mechanism
	err := climb.Rung("capability", "Ask how to sign in", func() (string, error) {
		if err := s.await(ctx, commandTimeout, phaseGreeting, func() error { return s.client.Hello(s.localName()) }); err != nil {
			return "", err
		}
		_, list := s.client.Extension("AUTH")
		offered := strings.Fields(strings.ToUpper(list))
		if mechanism = choose(s.at.Mechanisms, offered); mechanism == "" {
			return "", noMechanism(s.at, offered)
		}
		return "The server offers " + strings.Join(offered, ", ") + "; " + string(mechanism) + " is used.", nil
	})
	if err != nil {
		return err
	}
	if login.AccessToken.IsZero() {
		return climb.WithoutAccessToken(login.User)
	}
	bearer := sasl.NewXOAUTH2(login.User, login.AccessToken)
	if mechanism == protocol.OAUTHBEARER {
		bearer = sasl.NewOAUTHBEARER(login.User, login.AccessToken, s.at.Host, s.at.Port)
	}
	return climb.Rung("auth", "Sign in as "+login.User, func() (string, error) {
		err := s.conn.Bounded(ctx, authTimeout, func() error { return s.client.Auth(bearer) })
		var said *gosmtp.SMTPError
		if errors.As(err, &said) {
			f := s.reply(said, phaseAuth, login.User)
			if challenge, ok := bearer.Challenge(); ok {
				f.Detail.Subcode = fault.Shorten(challenge.Status, 60)
				f.Detail.Reply = fault.Shorten(challenge.String()+"; "+said.Message, 500)
			}
			return "", f
		}
		return "The server accepted the access token by " + string(mechanism) + ".", s.classify(err, phaseAuth)
	})
}

// choose takes the first wanted mechanism that is offered.
func choose(wanted []protocol.Mechanism, offered []string) protocol.Mechanism {
	if len(wanted) == 0 {
		wanted = []protocol.Mechanism{protocol.OAUTHBEARER, protocol.XOAUTH2}
	}
	for _, w := range wanted {
		if slices.Contains(offered, string(w)) {
			return w
		}
	}
	return ""
}

// await runs one exchange under the watchdog and classifies its failure.
func (s *session) await(ctx context.Context, limit time.Duration, p phase, f func() error) error {
	return s.classify(s.conn.Bounded(ctx, limit, f), p)
}

// close says goodbye where that is quickly done, and ends the connection.
func (s *session) close() {
	_ = s.conn.Bounded(context.Background(), quitTimeout, s.client.Quit)
	_ = s.client.Close()
}
