package demo

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// desk stands for the customer's service desk: it receives webhooks and takes
// only those whose signature is right.
type desk struct {
	url    string
	secret seal.Secret

	server *http.Server
	mu     sync.Mutex
	got    []webhook.Payload
	more   chan struct{}
}

func openDesk() (*desk, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("make a signing secret: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for webhooks: %w", err)
	}
	d := &desk{
		url: "http://" + l.Addr().String() + "/hook", more: make(chan struct{}, 1),
		secret: seal.NewSecret("whsec_" + base64.StdEncoding.EncodeToString(b)),
	}
	d.server = &http.Server{Handler: http.HandlerFunc(d.receive), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = d.server.Serve(l) }()
	return d, nil
}

func (d *desk) close() error { return d.server.Close() }

func (d *desk) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	verifier, keyErr := standardwebhooks.NewWebhook(d.secret.Reveal())
	if err := errors.Join(err, keyErr); err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	// The demo moves the clock, so a signature's age says nothing here.
	if err := verifier.VerifyIgnoringTimestamp(body, r.Header); err != nil {
		http.Error(w, "wrong signature", http.StatusUnauthorized)
		return
	}
	var p webhook.Payload
	if err := json.Unmarshal(body, &p); err != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	d.got = append(d.got, p)
	d.mu.Unlock()
	select {
	case d.more <- struct{}{}:
	default:
	}
	w.WriteHeader(http.StatusNoContent)
}

// await gives the first event of this kind that fits, waiting for it.
func (d *desk) await(kind event.Kind, fits func(webhook.Payload) bool, atMost time.Duration) (webhook.Payload, bool) {
	deadline := time.NewTimer(atMost)
	defer deadline.Stop()
	for {
		d.mu.Lock()
		for _, p := range d.got {
			if p.Type == kind && fits(p) {
				d.mu.Unlock()
				return p, true
			}
		}
		d.mu.Unlock()
		select {
		case <-d.more:
		case <-deadline.C:
			return webhook.Payload{}, false
		}
	}
}

// since gives what was received after the first n.
func (d *desk) since(n int) []webhook.Payload {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]webhook.Payload(nil), d.got[n:]...)
}
