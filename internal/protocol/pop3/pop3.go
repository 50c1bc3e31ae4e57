// Package pop3 speaks POP3 (RFC 1939, with CAPA of RFC 2449, STLS of RFC 2595
// and AUTH of RFC 5034) as a client: it climbs from DNS to an opened mailbox,
// reads what was not handed on yet, and deletes what was.
//
// A server of POP3 names its messages (UIDL) and numbers them for one
// connection only. The UIDs of the contract are therefore given here and kept by
// the caller, see protocol.Snapshot. What a connection sees is the mailbox as it
// was at sign-in, locked meanwhile, and deletes are done by QUIT alone; so one
// look is one connection, and what is asked for after it is asked of a new one.
package pop3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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
	listTimeout    = 5 * time.Minute
	fetchTimeout   = 10 * time.Minute
	closeTimeout   = 5 * time.Second
)

// Client is the member for POP3. Between calls it keeps the certificate authorities that it was given.
type Client struct {
	// PollEvery is how often Wait looks; 30 s by default.
	PollEvery time.Duration

	dialer protocol.Dialer
}

// New makes the member.
func New() *Client { return &Client{PollEvery: 30 * time.Second} }

// Probe climbs the ladder; its last rung counts the messages (STAT).
func (c *Client) Probe(ctx context.Context, at protocol.Endpoint, login protocol.Login, yield func(protocol.Step)) error {
	climb := protocol.Climb{Yield: yield}
	l, err := c.connect(ctx, at, login, climb)
	if err != nil {
		return err
	}
	defer l.quit()
	return climb.Rung("open", "Open the mailbox", func() (string, error) {
		var r reply
		if err := l.await(ctx, commandTimeout, func() (err error) {
			r, err = l.ask("STAT")
			return err
		}); err != nil {
			return "", err
		}
		count, _, _ := strings.Cut(r.text, " ")
		n, err := strconv.Atoi(count)
		if err != nil || n < 0 {
			return "", l.classify(errGarbled)
		}
		// Without names for messages nothing can be received, so that is tried, too.
		if err := l.names(ctx); err != nil {
			return "", err
		}
		if n == 1 {
			return "The mailbox is open and holds 1 message.", nil
		}
		return fmt.Sprintf("The mailbox is open and holds %d messages.", n), nil
	})
}

// OpenReader signs in; the mailbox is not listed yet.
func (c *Client) OpenReader(ctx context.Context, at protocol.Endpoint, login protocol.Login) (protocol.Reading, error) {
	l, err := c.connect(ctx, at, login, protocol.Climb{})
	if err != nil {
		return nil, err
	}
	return &session{member: c, at: at, login: login, line: l, uids: map[string]uint32{}}, nil
}

// line is an open connection.
type line struct {
	*wire
	conn  *protocol.Conn
	at    protocol.Endpoint
	caps  map[string]string // by name in capitals, what follows it (RFC 2449 section 5); nil: not told
	delay time.Duration     // between sign-ins, as the server says
}

// connect dials and signs in, rung by rung.
func (c *Client) connect(ctx context.Context, at protocol.Endpoint, login protocol.Login, climb protocol.Climb) (*line, error) {
	conn, err := c.dialer.Dial(ctx, at, climb)
	if err != nil {
		return nil, err
	}
	l := &line{conn: conn, at: at}
	if err := l.greet(ctx, climb); err != nil {
		_ = conn.Close()
		return nil, err
	}
	l.wire = newWire(conn)
	if err := l.signIn(ctx, login, climb); err != nil {
		l.quit()
		return nil, err
	}
	return l, nil
}

// greet reads the greeting and agrees on STLS where that is asked for.
func (l *line) greet(ctx context.Context, climb protocol.Climb) error {
	err := climb.Rung("greeting", "Read the greeting", func() (string, error) {
		var text string
		err := l.conn.Bounded(ctx, commandTimeout, func() (err error) {
			text, err = l.conn.Greeting("POP3", func(line string) bool {
				r, err := parseReply(line)
				return err == nil && !r.more
			})
			return err
		})
		if err != nil {
			return "", l.at.Network(err)
		}
		if r, _ := parseReply(text); !r.ok {
			return "", l.classify(&refusal{r})
		}
		return fault.Shorten(text, 200), nil
	})
	if err != nil || l.at.TLS != protocol.TLSStart {
		return err
	}
	err = l.conn.Bounded(ctx, commandTimeout, func() error {
		if _, err := l.conn.Write([]byte("STLS\r\n")); err != nil {
			return err
		}
		text, err := l.conn.ReadLine()
		if err != nil {
			return err
		}
		if r, err := parseReply(text); err == nil && r.ok {
			return nil
		}
		return &fault.Error{
			ID: "pop3.no_starttls", Kind: fault.Refused, Retry: true, Field: l.at.Field("tls"), Detail: fault.Detail{Reply: fault.Shorten(text, 200)},
			Text: fmt.Sprintf("%s does not offer STARTTLS, and without encryption no access token is sent.", l.at),
			Who:  []fault.Who{fault.Operator}, Remedy: "Set tls to implicit and port to the one for it (usually 995), or have the server's owner switch STARTTLS on.",
		}
	})
	if err != nil {
		return l.at.Network(err)
	}
	return l.conn.StartTLS(ctx, climb)
}

// signIn asks for capabilities and presents the access token.
func (l *line) signIn(ctx context.Context, login protocol.Login, climb protocol.Climb) error {
	var mechanism protocol.Mechanism
	err := climb.Rung("capability", "Ask how to sign in", func() (string, error) {
		if err := l.capable(ctx); err != nil {
			return "", err
		}
		offered := strings.Fields(l.caps["SASL"])
		if l.caps == nil && len(l.at.Mechanisms) > 0 {
			mechanism = l.at.Mechanisms[0]
			return "The server does not say; " + string(mechanism) + " is tried.", nil
		}
		slices.Sort(offered)
		if mechanism = choose(l.at.Mechanisms, offered); mechanism == "" {
			return "", noMechanism(l.at, offered)
		}
		return "The server offers " + fault.Shorten(strings.Join(offered, ", "), 200) + "; " + string(mechanism) + " is used.", nil
	})
	if err != nil {
		return err
	}
	if login.AccessToken.IsZero() {
		return climb.WithoutAccessToken(login.User)
	}
	bearer := sasl.NewXOAUTH2(login.User, login.AccessToken)
	if mechanism == protocol.OAUTHBEARER {
		bearer = sasl.NewOAUTHBEARER(login.User, login.AccessToken, l.at.Host, l.at.Port)
	}
	return climb.Rung("auth", "Sign in as "+login.User, func() (string, error) {
		if err := l.conn.Bounded(ctx, authTimeout, func() error { return l.authenticate(bearer) }); err != nil {
			return "", l.refused(err, login.User, bearer)
		}
		return "The server accepted the access token by " + string(mechanism) + ".", nil
	})
}

// capable asks for capabilities. A server without CAPA is no fault yet.
func (l *line) capable(ctx context.Context) error {
	return l.await(ctx, commandTimeout, func() error {
		var none *refusal
		if _, err := l.ask("CAPA"); errors.As(err, &none) {
			return nil
		} else if err != nil {
			return err
		}
		l.caps = map[string]string{}
		err := l.list(mostCapables, func(line string) error {
			name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			l.caps[strings.ToUpper(name)] = rest
			return nil
		})
		if errors.Is(err, errTooMany) {
			return errGarbled
		}
		first, _, _ := strings.Cut(l.caps["LOGIN-DELAY"], " ")
		if seconds, err := strconv.Atoi(first); err == nil && seconds > 0 {
			l.delay = time.Duration(min(seconds, int(time.Hour/time.Second))) * time.Second
		}
		return err
	})
}

// authenticate runs AUTH. The response always goes out on a line of its own: an
// access token is longer than the 255 bytes that a command with an initial
// response may have (RFC 5034 section 4), and Exchange Online refuses one in any case.
func (l *line) authenticate(bearer *sasl.Bearer) error {
	mechanism, response, err := bearer.Start()
	if err != nil {
		return err
	}
	say := "AUTH " + mechanism
	for range 4 {
		if err := l.say(say); err != nil {
			return err
		}
		r, err := l.reply()
		switch {
		case err != nil:
			return err
		case r.ok:
			return nil
		case !r.more:
			return &refusal{r}
		}
		if response == nil {
			challenge, err := base64.StdEncoding.DecodeString(r.text)
			if err != nil {
				return errGarbled
			}
			if response, err = bearer.Next(challenge); err != nil {
				return fmt.Errorf("%w: %w", errGarbled, err)
			}
		}
		say, response = base64.StdEncoding.EncodeToString(response), nil
	}
	return errGarbled
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

// names tries whether the server names its messages.
func (l *line) names(ctx context.Context) error {
	return l.await(ctx, listTimeout, func() error {
		if _, err := l.ask("UIDL"); err != nil {
			return l.nameless(err)
		}
		return l.list(mostListed, func(line string) error {
			_, _, err := named(line)
			return err
		})
	})
}

// await runs one exchange under the watchdog and classifies its failure.
func (l *line) await(ctx context.Context, limit time.Duration, f func() error) error {
	return l.classify(l.conn.Bounded(ctx, limit, f))
}

// quit says goodbye where that is quickly done, and ends the connection.
func (l *line) quit() {
	_ = l.conn.Bounded(context.Background(), closeTimeout, func() error {
		_, err := l.ask("QUIT")
		return err
	})
	_ = l.conn.Close() // it is given up either way
}
