// Package imap speaks IMAP (RFC 9051, RFC 3501) as a client: it climbs from
// DNS to an opened folder, follows a folder by UID with IDLE (RFC 2177), does
// with messages what was asked after they were handed on, and looks for a sent
// message.
//
// IMAP calls a folder a mailbox; here mailbox is the whole, and folder what is
// selected in it.
//
// The library underneath knows neither contexts nor, while it idles,
// deadlines. So every exchange runs under a watchdog that closes the connection
// (protocol.Conn.Bounded), and IDLE is ended and begun anew by the caller's
// rounds.
package imap

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/sasl"
)

// MaxMessage is the size in bytes above which a message is not fetched: it is
// yielded without its raw form.
const MaxMessage = 50 << 20

// The patience of exchanges.
const (
	commandTimeout = 60 * time.Second
	authTimeout    = 45 * time.Second
	fetchTimeout   = 10 * time.Minute
	closeTimeout   = 5 * time.Second
)

// Client is the member for IMAP. Between calls it keeps the certificate authorities that it was given.
type Client struct {
	// PollEvery is how often a server without IDLE is asked; 30 s by default.
	PollEvery time.Duration
	// Silence is how long the end of IDLE may stay unanswered; 30 s by default.
	Silence time.Duration

	dialer protocol.Dialer
}

// New makes the member.
func New() *Client { return &Client{PollEvery: 30 * time.Second, Silence: 30 * time.Second} }

// Probe climbs the ladder; its last rung opens INBOX without changing it.
func (c *Client) Probe(ctx context.Context, at protocol.Endpoint, login protocol.Login, yield func(protocol.Step)) error {
	climb := protocol.Climb{Yield: yield}
	s, err := c.open(ctx, at, login, climb)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return climb.Rung("open", "Open INBOX", func() (string, error) {
		status, err := s.choose(ctx, "INBOX", true)
		if status.Messages == 1 {
			return "INBOX is open and holds 1 message.", err
		}
		return fmt.Sprintf("INBOX is open and holds %d messages.", status.Messages), err
	})
}

// OpenReader signs in; no folder is selected yet.
func (c *Client) OpenReader(ctx context.Context, at protocol.Endpoint, login protocol.Login) (protocol.Reading, error) {
	s, err := c.open(ctx, at, login, protocol.Climb{})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// session is an open, signed-in connection. It implements protocol.Reading.
type session struct {
	member  *Client
	at      protocol.Endpoint
	conn    *protocol.Conn
	client  *imapclient.Client
	caps    goimap.CapSet
	changed chan struct{} // holds one mark when the selected folder changed

	folder   string
	validity uint32
	pending  []goimap.UID // found by a search and not yet yielded
	reached  goimap.UID   // the last one taken from there
}

// open connects and signs in, rung by rung.
func (c *Client) open(ctx context.Context, at protocol.Endpoint, login protocol.Login, climb protocol.Climb) (*session, error) {
	conn, err := c.dialer.Dial(ctx, at, climb)
	if err != nil {
		return nil, err
	}
	s := &session{member: c, at: at, conn: conn, changed: make(chan struct{}, 1)}
	if err := s.greet(ctx, climb); err != nil {
		_ = conn.Close()
		return nil, err
	}
	s.client = imapclient.New(conn, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				select {
				case s.changed <- struct{}{}:
				default:
				}
			}
		},
	}})
	if err := s.signIn(ctx, login, climb); err != nil {
		_ = s.client.Close()
		return nil, err
	}
	return s, nil
}

// greet reads the greeting and agrees on STARTTLS where that is asked for; the
// library is then given a greeting of its own to read.
func (s *session) greet(ctx context.Context, climb protocol.Climb) error {
	var line string
	err := climb.Rung("greeting", "Read the greeting", func() (string, error) {
		err := s.conn.Bounded(ctx, commandTimeout, func() (err error) {
			line, err = s.conn.Greeting("IMAP", func(l string) bool {
				u := strings.ToUpper(l)
				return strings.HasPrefix(u, "* OK") || strings.HasPrefix(u, "* BYE") || strings.HasPrefix(u, "* PREAUTH")
			})
			return err
		})
		if err != nil {
			return "", s.at.Network(err)
		}
		switch u := strings.ToUpper(line); {
		case strings.HasPrefix(u, "* BYE"):
			return "", s.farewell(strings.TrimSpace(line[5:]), nil)
		case strings.HasPrefix(u, "* PREAUTH"):
			return "", &fault.Error{
				ID: "imap.preauth", Kind: fault.Refused, Retry: true, Field: s.at.Field("host"), Detail: fault.Detail{Reply: fault.Shorten(line, 200)},
				Text: fmt.Sprintf("%s lets everybody in without signing in, so that nothing can be proved there.", s.at),
				Who:  []fault.Who{fault.Operator}, Remedy: "Connect to the port on which the server asks for a sign-in.",
			}
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
		line = "* OK begin" // capabilities told before encryption do not count (RFC 9051 section 6.2.1)
	}
	s.conn.Unread(line + "\r\n")
	return nil
}

func (s *session) startTLS(ctx context.Context, climb protocol.Climb) error {
	err := s.conn.Bounded(ctx, commandTimeout, func() error {
		if _, err := s.conn.Write([]byte("S1 STARTTLS\r\n")); err != nil {
			return s.at.Network(err)
		}
		for range 50 {
			line, err := s.conn.ReadLine()
			if err != nil {
				return s.at.Network(err)
			}
			status, ok := strings.CutPrefix(line, "S1 ")
			if !ok {
				continue
			}
			if len(status) >= 2 && strings.EqualFold(status[:2], "OK") {
				return nil
			}
			return &fault.Error{
				ID: "imap.no_starttls", Kind: fault.Refused, Retry: true, Field: s.at.Field("tls"), Detail: fault.Detail{Reply: fault.Shorten(status, 200)},
				Text: fmt.Sprintf("%s does not offer STARTTLS, and without encryption no access token is sent.", s.at),
				Who:  []fault.Who{fault.Operator}, Remedy: "Set tls to implicit and port to the one for it (usually 993), or have the server's owner switch STARTTLS on.",
			}
		}
		return s.garbled(fmt.Errorf("STARTTLS was not answered within 50 lines"))
	})
	if err != nil {
		return s.at.Network(err)
	}
	return s.conn.StartTLS(ctx, climb)
}

// signIn asks for capabilities and presents the access token.
func (s *session) signIn(ctx context.Context, login protocol.Login, climb protocol.Climb) error {
	var mechanism protocol.Mechanism
	err := climb.Rung("capability", "Ask how to sign in", func() (string, error) {
		if err := s.await(ctx, commandTimeout, func() error {
			if s.caps = s.client.Caps(); s.caps == nil {
				return s.client.WaitGreeting()
			}
			return nil
		}); err != nil {
			return "", err
		}
		offered := s.caps.AuthMechanisms()
		slices.Sort(offered)
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
		err := s.conn.Bounded(ctx, authTimeout, func() error { return s.client.Authenticate(bearer) })
		if err != nil {
			return "", s.refused(err, login.User, bearer)
		}
		// Asked anew (RFC 9051 section 6.2.2), and not of what the client remembers: for a
		// moment that is still of before the sign-in, without MOVE at Exchange.
		if err := s.await(ctx, commandTimeout, func() (err error) {
			s.caps, err = s.client.Capability().Wait()
			return err
		}); err != nil {
			return "", err
		}
		return "The server accepted the access token by " + string(mechanism) + ".", nil
	})
}

// choose takes the first wanted mechanism that is offered.
func choose(wanted []protocol.Mechanism, offered []string) protocol.Mechanism {
	if len(wanted) == 0 {
		wanted = []protocol.Mechanism{protocol.OAUTHBEARER, protocol.XOAUTH2}
	}
	for _, w := range wanted {
		if slices.ContainsFunc(offered, func(o string) bool { return strings.EqualFold(o, string(w)) }) {
			return w
		}
	}
	return ""
}

// await runs one exchange under the watchdog and classifies its failure.
func (s *session) await(ctx context.Context, limit time.Duration, f func() error) error {
	return s.classify(s.conn.Bounded(ctx, limit, f))
}

// Close says goodbye where that is quickly done, and ends the connection.
func (s *session) Close() error {
	if s.client.State() == goimap.ConnStateLogout {
		_ = s.client.Close()
		return nil
	}
	_ = s.conn.Bounded(context.Background(), closeTimeout, func() error { return s.client.Logout().Wait() })
	_ = s.client.Close() // its error tells of the connection that we end
	return nil
}
