// Package graph is the protocol member for Graph, an HTTP interface to mailboxes: sending a message
// as MIME (POST /users/{id}/sendMail), and a look whether Graph takes the access
// token. It is the way out where SMTP is switched off.
//
// Graph answers 202 for “accepted”: whether the message was delivered shows later,
// as with SMTP. It takes recipients from the header fields, so hidden ones are
// put back into Bcc, which Graph removes again. A request may have 4 MB, of
// which base64 leaves three for the message.
package graph

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// MostBytes is the largest message that can be sent in one request.
const MostBytes = 3_000_000

const (
	sendTimeout  = 2 * time.Minute
	probeTimeout = 20 * time.Second
	longestReply = 64 << 10
)

// Client speaks to Graph.
type Client struct {
	pool   *egress.Pool
	dialer protocol.Dialer
}

// New makes a client.
func New() *Client {
	return &Client{pool: egress.NewPool(egress.Options{Timeout: sendTimeout, HeaderTimeout: sendTimeout})}
}

// Send submits one message; see protocol.Sender.
func (c *Client) Send(ctx context.Context, at protocol.Endpoint, login protocol.Login, env message.Envelope, raw io.Reader, size int64) (protocol.Receipt, error) {
	if size > MostBytes {
		return protocol.Receipt{}, &fault.Error{
			ID: "graph.too_large", Kind: fault.Refused, Text: fmt.Sprintf("The message has %d bytes; Graph takes at most %d in one request.", size, MostBytes),
			Who: []fault.Who{fault.MailboxOwner}, Remedy: "Send a smaller message, or large files as links; by SMTP it can be larger.",
		}
	}
	whole, err := io.ReadAll(io.LimitReader(raw, size+1))
	if err != nil {
		return protocol.Receipt{}, fmt.Errorf("read the message to send: %w", err)
	}
	if int64(len(whole)) != size {
		return protocol.Receipt{}, fmt.Errorf("read the message to send: it has %d bytes and not %d", len(whole), size)
	}
	body := base64.StdEncoding.EncodeToString(message.WithBcc(whole, env.ForwardPaths))
	answer, begun, err := c.call(ctx, at, login.AccessToken, http.MethodPost, "/v1.0/users/"+url.PathEscape(login.User)+"/sendMail", body)
	if err != nil && !begun {
		return protocol.Receipt{}, err
	}
	if err == nil && answer.undecided() {
		err = fmt.Errorf("it answered %d", answer.status)
	}
	if err != nil {
		return protocol.Receipt{}, &fault.Error{
			ID: "graph.no_reply", Kind: fault.Temporary, Retry: true,
			Text:   fmt.Sprintf("The message went to %s, and nothing came back that says whether it was taken.", at.Host),
			Who:    []fault.Who{fault.Nobody},
			Remedy: "Mailgrant looks among the sent messages before it sends again.", Err: err,
		}
	}
	if answer.status != http.StatusAccepted {
		return protocol.Receipt{}, answer.refused(at, login.User)
	}
	return protocol.Receipt{Reply: "202 Accepted by Graph", RemoteID: answer.requestID}, nil
}

// Probe looks whether Graph takes the access token; see protocol.Prober. That
// it may send shows only when it does.
func (c *Client) Probe(ctx context.Context, at protocol.Endpoint, login protocol.Login, yield func(protocol.Step)) error {
	climb := protocol.Climb{Yield: yield}
	conn, err := c.dialer.Dial(ctx, at, climb)
	if err != nil {
		return err
	}
	_ = conn.Close() // it was only looked at
	if login.AccessToken.IsZero() {
		return climb.WithoutAccessToken(login.User)
	}
	return climb.Rung("auth", "Sign in to Graph", func() (string, error) {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		answer, _, err := c.call(ctx, at, login.AccessToken, http.MethodGet, "/v1.0/me?$select=id,userPrincipalName", "")
		if err != nil {
			return "", err
		}
		if answer.status != http.StatusOK {
			return "", answer.refused(at, login.User)
		}
		return "Graph takes the access token.", nil
	})
}

// answer is what Graph said.
type answer struct {
	status     int
	code       string // error.code
	message    string
	requestID  string
	retryAfter time.Duration
}

// call makes one request. begun says that some of it went out: before that, a
// failure is one of the network and of nothing else.
func (c *Client) call(ctx context.Context, at protocol.Endpoint, accessToken seal.Secret, method, path, body string) (a answer, begun bool, err error) {
	client, err := c.pool.Client(string(at.CAPEM))
	if err != nil {
		return answer{}, false, err
	}
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	scheme := "https"
	if at.TLS == protocol.TLSNone {
		scheme = "http"
	}
	r, err := http.NewRequestWithContext(ctx, method, scheme+"://"+net.JoinHostPort(at.Host, strconv.Itoa(at.Port))+path, strings.NewReader(body))
	if err != nil {
		return answer{}, false, err
	}
	r.Header.Set("Authorization", "Bearer "+accessToken.Reveal())
	if body != "" {
		r.Header.Set("Content-Type", "text/plain")
	}
	response, err := client.Do(r)
	if err != nil {
		return answer{}, wrote.Load(), at.Network(err)
	}
	defer func() { _ = response.Body.Close() }()
	a = answer{status: response.StatusCode, requestID: fault.Shorten(response.Header.Get("request-id"), 100), retryAfter: egress.RetryAfter(response.Header.Get("Retry-After"), time.Now())}
	// A body that breaks off, or is none of Graph's, changes nothing about the status.
	text, _ := io.ReadAll(io.LimitReader(response.Body, longestReply))
	var said struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &said) == nil {
		a.code, a.message = fault.Shorten(said.Error.Code, 100), fault.Shorten(said.Error.Message, 300)
	}
	return a, true, nil
}

// undecided reports an answer that leaves open whether the request was carried
// out: it came from something on the way, or from a server that broke down.
func (a answer) undecided() bool {
	switch a.status {
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	}
	return false
}
