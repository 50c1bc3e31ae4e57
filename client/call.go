package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
)

// maxAnswer bounds a JSON answer: a page of 500 messages is the largest there is.
const maxAnswer = 256 << 20

// ErrTooLarge says that the server's answer was larger than the client reads.
var ErrTooLarge = errors.New("the server's answer is larger than this client reads")

// call is one request. Body nil: none; else JSON, or raw where media is given.
type call struct {
	method string
	path   string
	query  url.Values
	header http.Header
	body   any
	raw    []byte
	media  string
	accept string
}

// one makes a path of fixed words and one escaped name.
func one(before, name, after string) string { return before + url.PathEscape(name) + after }

func (c *Client) request(ctx context.Context, in call) (*http.Request, error) {
	body, media := in.raw, in.media
	if in.body != nil {
		b, err := json.Marshal(in.body)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		body, media = b, "application/json"
	}
	target := c.base.JoinPath(in.path)
	target.RawQuery = in.query.Encode()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, in.method, target.String(), reader)
	if err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	for name, values := range in.header {
		r.Header[name] = values
	}
	if key, ok := ctx.Value(keyOf{}).(string); ok && key != "" && in.method == http.MethodPost && r.Header.Get(keyHeader) == "" {
		r.Header.Set(keyHeader, key)
	}
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	accept := in.accept
	if accept == "" {
		accept = "application/json"
	}
	r.Header.Set("Accept", accept)
	r.Header.Set("User-Agent", c.options.UserAgent)
	if c.options.APIKey != "" {
		r.Header.Set("Authorization", "Bearer "+c.options.APIKey)
	}
	return r, nil
}

// send makes a request; the caller closes the answer's body. A refusal is an
// error, its body closed.
func (c *Client) send(ctx context.Context, in call) (*http.Response, error) {
	r, err := c.request(ctx, in)
	if err != nil {
		return nil, err
	}
	return c.exchange(r)
}

func (c *Client) exchange(r *http.Request) (*http.Response, error) {
	answer, err := c.http.Do(r)
	if err != nil {
		// The URL in Go's own text repeats the whole path; its cause is enough.
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, &Unreachable{Server: c.name(), Err: err}
	}
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	err = problemOf(answer)
	_ = answer.Body.Close() // It was read as far as it mattered.
	return nil, err
}

// Unreachable says that the server could not be asked at all, or did not answer.
type Unreachable struct {
	Server string // its address, or the socket's path
	Err    error
}

// Error gives the sentence with its cause.
func (u *Unreachable) Error() string {
	return fmt.Sprintf("the Mailgrant server at %s does not answer: %v", u.Server, u.Err)
}

// Unwrap gives the cause.
func (u *Unreachable) Unwrap() error { return u.Err }

func (c *Client) name() string {
	if c.options.Socket != "" {
		return c.options.Socket
	}
	return c.base.String()
}

// do makes a bounded call and reads its JSON into out, unless that is nil.
func (c *Client) do(ctx context.Context, in call, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	answer, err := c.patiently(ctx, in)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // Nothing was written to it.
	if out == nil {
		return nil
	}
	limited := &io.LimitedReader{R: answer.Body, N: maxAnswer + 1}
	if err := json.NewDecoder(limited).Decode(out); err != nil {
		if limited.N <= 0 {
			return ErrTooLarge
		}
		return fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	return nil
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var out T
	return out, c.do(ctx, call{method: http.MethodGet, path: path}, &out)
}

func send[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var out T
	return out, c.do(ctx, call{method: method, path: path, body: body}, &out)
}

// page is one page of a list.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// pageSize is how many items are asked for at once.
const pageSize = 100

// list walks a list page by page, as long as the caller goes on. An error is the
// last thing it yields.
func list[T any](ctx context.Context, c *Client, path string, query url.Values, size int) iter.Seq2[T, error] {
	if size <= 0 || size > pageSize {
		size = pageSize
	}
	return func(yield func(T, error) bool) {
		var none T
		q := url.Values{}
		for k, v := range query {
			q[k] = v
		}
		q.Set("limit", strconv.Itoa(size))
		for cursor := ""; ; {
			var p page[T]
			if err := c.do(ctx, call{method: http.MethodGet, path: path, query: q}, &p); err != nil {
				yield(none, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if p.Next == "" || p.Next == cursor {
				return
			}
			cursor = p.Next
			q.Set("cursor", cursor)
		}
	}
}

// Collect gathers at most most items of a list; 0: all of them.
func Collect[T any](items iter.Seq2[T, error], most int) ([]T, error) {
	out := []T{}
	for item, err := range items {
		if err != nil {
			return out, err
		}
		out = append(out, item)
		if most > 0 && len(out) == most {
			break
		}
	}
	return out, nil
}
