package web

import (
	"net/http"
	"path"
	"strings"
)

// leadBack gives every path that takes a POST alone a GET: it leads to the nearest
// page above, where the form is. A page of results has the address of its POST;
// who opens that address again shall not stand before nothing.
func (p *Pages) leadBack(patterns []string) {
	shown := map[string]bool{"/": true}
	for _, pattern := range patterns {
		if get, ok := strings.CutPrefix(pattern, "GET "); ok {
			shown[get] = true
		}
	}
	for _, pattern := range patterns {
		post, ok := strings.CutPrefix(pattern, "POST ")
		if !ok || shown[post] {
			continue
		}
		up := 0
		for at := post; !shown[at]; at = path.Dir(at) {
			up++
		}
		p.mux.Handle("GET "+post, p.signedIn(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Escaped as it came: a name may hold an escaped slash.
			to := strings.Split(r.URL.EscapedPath(), "/")
			http.Redirect(w, r, "/"+strings.Join(to[1:len(to)-up], "/"), http.StatusSeeOther)
		})))
	}
}
