package egress

import (
	"net/http"
	"sync"
)

// Pool keeps one client for each set of extra certificate authorities, so that
// providers with the same trust share connections and others never do.
type Pool struct {
	options Options

	mu      sync.Mutex
	clients map[string]*http.Client
}

// NewPool makes a pool whose clients all have these options; ExtraCAs comes
// with each call of Client.
func NewPool(o Options) *Pool { return &Pool{options: o, clients: map[string]*http.Client{}} }

// Client gives the client that trusts the system's certificate authorities and
// those of the PEM text. It fails where the text holds no certificate.
func (p *Pool) Client(extraPEM string) (*http.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.clients[extraPEM]; ok {
		return c, nil
	}
	o := p.options
	o.ExtraCAs = []byte(extraPEM)
	c, err := New(o)
	if err != nil {
		return nil, err
	}
	if len(p.clients) >= 100 { // records were edited that often; their old clients go
		for _, old := range p.clients {
			old.CloseIdleConnections()
		}
		clear(p.clients)
	}
	p.clients[extraPEM] = c
	return c, nil
}
