package entra

import (
	"net/http"
	"slices"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// mostBrowsers is how many browsers are remembered before those in which nobody is signed in are forgotten.
const mostBrowsers = 10_000

// browser is what Entra remembers of one browser: who is signed in there, in the order of signing in.
type browser struct {
	id       string
	sessions []session
}

// session is one remembered user.
type session struct {
	userID string
	at     directory.Moment
}

// browserOf finds the browser's record by its cookie, or begins one and sets the cookie.
//
// The cookie is HttpOnly. It is SameSite=Lax, since an authorization request is a navigation from another site; None would need
// Secure, which plain HTTP on 127.0.0.1 cannot have in every browser.
func (s *Server) browserOf(x *exchange) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cookie, err := x.request.Cookie(s.cookieName); err == nil {
		if _, known := s.browsers[cookie.Value]; known {
			return cookie.Value
		}
	}
	if len(s.browsers) >= mostBrowsers {
		for id, old := range s.browsers {
			if len(old.sessions) == 0 {
				delete(s.browsers, id)
			}
		}
	}
	b := &browser{id: directory.RandomText()}
	s.browsers[b.id] = b
	http.SetCookie(x, &http.Cookie{
		Name: s.cookieName, Value: b.id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: x.request.TLS != nil,
	})
	return b.id
}

// signedIn lists who is signed in to a browser, and drops those whose session has ended meanwhile.
func (s *Server) signedIn(browserID string) ([]session, []directory.User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, known := s.browsers[browserID]
	if !known {
		return nil, nil
	}
	var users []directory.User
	b.sessions = slices.DeleteFunc(b.sessions, func(one session) bool {
		user, found := s.world.UserByID(one.userID)
		if !found || user.SessionsRevoked.Ended(one.at) || user.PasswordChanged.Ended(one.at) {
			return true
		}
		users = append(users, user)
		return false
	})
	return slices.Clone(b.sessions), users
}

// remember notes that the user signed in to the browser.
func (s *Server) remember(browserID string, user directory.User) session {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := session{userID: user.ObjectID, at: s.world.Moment()}
	if b, known := s.browsers[browserID]; known {
		b.sessions = slices.DeleteFunc(b.sessions, func(old session) bool { return old.userID == user.ObjectID })
		b.sessions = append(b.sessions, one)
	}
	return one
}

// forget signs everybody out of the browser.
func (s *Server) forget(browserID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, known := s.browsers[browserID]; known {
		b.sessions = nil
	}
	for id, f := range s.flows {
		if f.browserID == browserID {
			delete(s.flows, id)
		}
	}
}
