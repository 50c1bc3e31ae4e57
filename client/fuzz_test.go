package client_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/mailgrant/mailgrant/client"
)

// said is a network on which every server says the same.
type said []byte

func (s said) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}},
		Body: io.NopCloser(bytes.NewReader(s)), Request: r,
	}, nil
}

// Whatever a stream holds, reading it ends, and only a result makes a success.
func FuzzStream(f *testing.F) {
	for _, seed := range []string{
		"event: rung\ndata: {\"name\":\"grant\"}\n\nevent: result\ndata: {\"ok\":true}\n\n",
		"event:result\r\ndata:{\"ok\":true}\r\n\r\n", "data\n\n", ": comment\n\n", "data: {\ndata: }\nevent: result\n\n", "id\nid:\n\n\n", "event: result\ndata: []\n\n", "\xff\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		c, err := client.New(client.Options{Server: "http://localhost", Transport: said(stream)})
		if err != nil {
			t.Fatal(err)
		}
		rungs := 0
		_, err = c.Test(context.Background(), "a@example.org", client.TestRequest{}, func(client.Rung) { rungs++ })
		if err == nil && !bytes.Contains(stream, []byte("result")) {
			t.Errorf("success without a result after %d rungs", rungs)
		}
	})
}
