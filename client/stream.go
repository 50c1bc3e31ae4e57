package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// maxSent bounds one server-sent event.
const maxSent = 4 << 20

// sent is one server-sent event.
type sent struct{ id, kind, data string }

// errSilent says that a stream had nothing to say for too long.
var errSilent = errors.New("the stream fell silent")

// readStream reads server-sent events (WHATWG HTML, section 9.2) until the
// stream ends; yield false stops it.
func readStream(r io.Reader, yield func(sent) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 16<<10), maxSent)
	var e sent
	var data []string
	size := 0
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			if len(data) > 0 {
				e.data = strings.Join(data, "\n")
				if !yield(e) {
					return nil
				}
			}
			e, data, size = sent{}, nil, 0
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			if size += len(value); size > maxSent {
				return ErrTooLarge
			}
			data = append(data, value)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return ErrTooLarge
	}
	return lines.Err()
}

// stream opens a stream and reads it until it ends, falls silent, or yield
// gives false.
func (c *Client) stream(ctx context.Context, in call, yield func(sent) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	in.accept = "text/event-stream"
	answer, err := c.send(ctx, in)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // Nothing was written to it.
	if media := answer.Header.Get("Content-Type"); !strings.HasPrefix(media, "text/event-stream") {
		return fmt.Errorf("the server answers with %q where a stream was asked for", media)
	}
	watchdog := time.AfterFunc(c.options.Silence, func() { cancel(errSilent) })
	defer watchdog.Stop()
	heard := &heardReader{r: answer.Body, note: func() { watchdog.Reset(c.options.Silence) }}
	err = readStream(heard, yield)
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		return errSilent
	}
	return err
}

// heardReader notes every sign of life.
type heardReader struct {
	r    io.Reader
	note func()
}

func (h *heardReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if n > 0 {
		h.note()
	}
	return n, err
}
