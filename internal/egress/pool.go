package egress

import (
	"net/http"
	"sync"
)

// Pool keeps one client for each set of extra certificate authorities, so that
// those with the same trust share connections and others never do. Of more than
// a hundred, the one that was not asked for the longest goes.
type Pool struct {
	options Options

	mu      sync.Mutex
	clients map[string]*pooled
	turn    uint64 // grows with each call of Client
}

type pooled struct {
	*http.Client
	used uint64 // the turn in which it was last asked for
}

// mostClients bounds a pool: records are edited, and what they trusted before is
// asked for no more.
const mostClients = 100

// NewPool makes a pool whose clients all have these options; ExtraCAs comes
// with each call of Client.
func NewPool(o Options) *Pool { return &Pool{options: o, clients: map[string]*pooled{}} }

// Client gives the client that trusts the system's certificate authorities and
// those of the PEM text. It fails where the text holds no certificate.
func (p *Pool) Client(extraPEM string) (*http.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn++
	if c, ok := p.clients[extraPEM]; ok {
		c.used = p.turn
		return c.Client, nil
	}
	o := p.options
	o.ExtraCAs = []byte(extraPEM)
	c, err := New(o)
	if err != nil {
		return nil, err
	}
	if len(p.clients) >= mostClients {
		var longest string
		for pem, old := range p.clients {
			if l, ok := p.clients[longest]; !ok || old.used < l.used {
				longest = pem
			}
		}
		p.clients[longest].CloseIdleConnections() // calls under way end as they would
		delete(p.clients, longest)
	}
	p.clients[extraPEM] = &pooled{Client: c, used: p.turn}
	return c, nil
}
