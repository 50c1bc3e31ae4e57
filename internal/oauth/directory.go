package oauth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// metadataLife is how long a metadata document is trusted without asking again.
const metadataLife = time.Hour

// mostCached bounds the number of documents and key sets kept.
const mostCached = 500

// Directory knows authorization servers: it fetches and remembers their
// metadata and keys. It is safe for concurrent use; failures are not remembered.
type Directory struct {
	client *http.Client
	now    func() time.Time

	mu       sync.Mutex
	metadata map[string]cachedMetadata
	keys     map[string]*oidc.RemoteKeySet
}

type cachedMetadata struct {
	Metadata
	until time.Time
}

// NewDirectory makes a Directory that calls through client; now is the clock by
// which ID tokens are judged.
func NewDirectory(client *http.Client, now func() time.Time) *Directory {
	return &Directory{
		client: withoutRedirects(client), now: now,
		metadata: map[string]cachedMetadata{}, keys: map[string]*oidc.RemoteKeySet{},
	}
}

// Discover gives the metadata of an issuer. The document must name exactly this
// issuer (RFC 8414, 3.3), compared byte by byte.
func (d *Directory) Discover(ctx context.Context, issuer string) (Metadata, error) {
	var first error
	for _, at := range MetadataURLs(issuer) {
		m, err := d.At(ctx, at)
		if err == nil && m.Issuer != issuer {
			return Metadata{}, &MetadataError{URL: at, Status: http.StatusOK, Reason: "names another issuer, " + fault.Shorten(m.Issuer, 200)}
		}
		var miss *MetadataError
		if err == nil || !errors.As(err, &miss) || miss.Status != http.StatusNotFound {
			return m, err
		}
		if first == nil {
			first = err
		}
	}
	return Metadata{}, first
}

// At gives the metadata document at a URL. The caller has to check the issuer
// that it names.
func (d *Directory) At(ctx context.Context, at string) (Metadata, error) {
	d.mu.Lock()
	known, ok := d.metadata[at]
	d.mu.Unlock()
	if ok && d.now().Before(known.until) {
		return known.Metadata, nil
	}
	m, err := fetchMetadata(ctx, d.client, at)
	if err != nil {
		return Metadata{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.metadata) >= mostCached {
		clear(d.metadata)
	}
	d.metadata[at] = cachedMetadata{m, d.now().Add(metadataLife)}
	return m, nil
}

// Forget drops what is remembered, so that the next call asks the servers anew.
func (d *Directory) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.metadata)
	clear(d.keys)
}

// keySet gives the keys behind a jwks_uri; unknown key ids are looked up anew.
func (d *Directory) keySet(jwksURI string) *oidc.RemoteKeySet {
	d.mu.Lock()
	defer d.mu.Unlock()
	if set, ok := d.keys[jwksURI]; ok {
		return set
	}
	if len(d.keys) >= mostCached {
		clear(d.keys)
	}
	limited := *d.client
	limited.Transport = limitedTransport{d.client.Transport}
	// The key set outlives the call that made it; the client's own time limit holds.
	set := oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), &limited), jwksURI)
	d.keys[jwksURI] = set
	return set
}

// limitedTransport bounds bodies for a reader that does not do so itself.
type limitedTransport struct{ next http.RoundTripper }

func (t limitedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, largestBody), resp.Body}
	}
	return resp, err
}
