package entra

import (
	"net/http"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// serveHome shows who is signed in to this browser, and lets somebody sign in or out without any app. It is where a person makes
// the browser remember Adele before the trap is tried.
func (s *Server) serveHome(x *exchange) {
	s.showHome(x, s.browserOf(x), "", nil)
}

// serveHomeSignIn takes user name and password from the home page.
func (s *Server) serveHomeSignIn(x *exchange) {
	if err := new(http.CrossOriginProtection).Check(x.request); err != nil {
		http.Error(x, "This form can only be sent from the sandbox's own page.", http.StatusForbidden)
		return
	}
	browserID := s.browserOf(x)
	name := x.request.PostForm.Get("loginfmt")
	user, refusal := s.checkPassword(name, x.request.PostForm.Get("passwd"))
	if refusal != nil {
		s.showHome(x, browserID, name, refusal)
		return
	}
	x.call.User, x.call.Outcome = user.UPN, "signed in"
	s.remember(browserID, user)
	http.Redirect(x, x.request, "/", http.StatusSeeOther)
}

// checkPassword says who signs in with a name and a password, or why nobody does.
func (s *Server) checkPassword(name, password string) (directory.User, *problem) {
	user, found := s.world.User(name)
	switch {
	case !found:
		return user, refuse(50034, printable(name))
	case !user.PasswordMatches(password):
		return user, refuse(50126)
	case user.Disabled:
		return user, refuse(50057)
	}
	return user, nil
}

func (s *Server) showHome(x *exchange, browserID, userName string, refusal *problem) {
	_, users := s.signedIn(browserID)
	x.call.Outcome = "home page"
	content := struct {
		Users     []directory.User
		Complaint complaint
		UserName  string
		Device    string
	}{Users: users, UserName: userName, Device: s.world.Switches().DeviceUser, Complaint: complain(refusal)}
	if refusal != nil {
		x.call.Outcome = refusal.outcome()
	}
	s.show(x, "home.html", http.StatusOK, page{Title: "Signed in to this browser", Content: content})
}
