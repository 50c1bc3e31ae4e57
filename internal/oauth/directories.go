package oauth

import (
	"net/http"
	"sync"
	"time"
)

// Directories keeps one Directory for each HTTP client, since what a server
// says of itself is only worth what the client's trust is worth.
type Directories struct {
	now func() time.Time

	mu  sync.Mutex
	all map[*http.Client]*Directory
}

// NewDirectories makes an empty set; now is the clock of every Directory in it.
func NewDirectories(now func() time.Time) *Directories {
	return &Directories{now: now, all: map[*http.Client]*Directory{}}
}

// For gives the Directory that calls through this client.
func (d *Directories) For(client *http.Client) *Directory {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known, ok := d.all[client]; ok {
		return known
	}
	if len(d.all) >= 100 {
		clear(d.all)
	}
	d.all[client] = NewDirectory(client, d.now)
	return d.all[client]
}
