package app

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/mailgrant/mailgrant/internal/api"
	"github.com/mailgrant/mailgrant/internal/config"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// doors decides by which names calls are let in: a foreign Host would be another
// site's page that had its own name point here (DNS rebinding).
type doors struct {
	public  string          // how browsers reach this server, without a last slash
	names   map[string]bool // accepted for everything
	aliases map[string]bool // accepted for programs; browsers are sent to public
}

// newDoors reads them from public_url and hosts. A server for this host only may be
// called by each name that this host has for itself: none of them can be another's.
func newDoors(c *config.Config) doors {
	d := doors{public: c.PublicURL.String(), names: map[string]bool{strings.ToLower(c.PublicURL.Hostname()): true}, aliases: map[string]bool{}}
	for _, h := range c.Hosts {
		d.names[strings.ToLower(h)] = true
	}
	if config.IsLoopback(c.PublicURL.Hostname()) {
		for _, h := range []string{"localhost", "127.0.0.1", "::1"} {
			d.aliases[h] = !d.names[h]
		}
	}
	return d
}

// admits reports whether a call is let in; it has answered one that is not.
func (d doors) admits(w http.ResponseWriter, r *http.Request) bool {
	host := hostOnly(r.Host)
	probe := r.URL.Path == "/healthz" || r.URL.Path == "/readyz"
	program := strings.HasPrefix(r.URL.Path, "/v1/") || strings.HasPrefix(r.URL.Path, "/openapi.") || r.URL.Path == "/metrics"
	switch {
	case probe, d.names[host], d.aliases[host] && program:
		return true
	case d.aliases[host] && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		// Cookies and links live at public_url.
		http.Redirect(w, r, d.public+r.URL.RequestURI(), http.StatusSeeOther)
		return false
	}
	f := &fault.Error{
		ID: "app.other_host", Who: []fault.Who{fault.Operator},
		Text:   fmt.Sprintf("This server does not go by the name %s.", fault.Shorten(host, 100)),
		Remedy: "Its names are set by public_url and hosts: call it by one of those, or add this one to hosts.",
	}
	if program && r.URL.Path != "/metrics" {
		api.Refuse(w, http.StatusMisdirectedRequest, "Another server's name", f)
	} else {
		http.Error(w, f.Text+" "+f.Remedy, http.StatusMisdirectedRequest)
	}
	return false
}
