package entra

import (
	"time"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// flowLife is how long a person may take over the pages of one sign-in.
const flowLife = time.Hour

// flow is an authorization request that waits for a person.
type flow struct {
	id        string
	browserID string
	request   authorizeRequest
	startedAt time.Time
	// userID and signedIn are who it is, once that is known.
	userID   string
	signedIn session
}

// identify decides who the user of a request is, or asks. The order of the questions is the behaviour that this sandbox exists
// to show.
func (s *Server) identify(x *exchange, req authorizeRequest) {
	f := s.beginFlow(x, req)
	if device := s.world.Switches().DeviceUser; device != "" {
		// Device single sign-on: neither prompt nor login_hint counts.
		if user, found := s.world.User(device); found {
			s.admit(x, f, user, session{userID: user.ObjectID, at: s.world.Moment()})
			return
		}
	}
	sessions, users := s.signedIn(f.browserID)
	hinted := -1
	for i, user := range users {
		if req.loginHint != "" && sameName(user.UPN, req.loginHint) {
			hinted = i
		}
	}
	switch {
	case req.prompt == "login":
		s.showSignIn(x, f, req.loginHint, nil)
	case req.prompt == "select_account" && len(users) > 0:
		s.showPicker(x, f)
	case hinted >= 0:
		s.admit(x, f, users[hinted], sessions[hinted])
	case req.prompt == "none" && (len(users) == 0 || req.loginHint != ""):
		s.endFlow(f)
		s.sendError(x, req, refuse(50058))
	case req.loginHint != "" || len(users) == 0:
		s.showSignIn(x, f, req.loginHint, nil)
	case len(users) == 1:
		// The trap: whoever is signed in to this browser is taken, and nobody is asked.
		s.admit(x, f, users[0], sessions[0])
	case req.prompt == "none":
		s.endFlow(f)
		s.sendError(x, req, refuse(16000))
	default:
		s.showPicker(x, f)
	}
}

// admit takes a user whose identity is settled on to consent and to the code.
func (s *Server) admit(x *exchange, f *flow, user directory.User, signedIn session) {
	req := f.request
	x.call.User = user.UPN
	refusal := admissible(x, req, user)
	if refusal != nil {
		s.endFlow(f)
		if req.prompt == "none" {
			s.sendError(x, req, refusal)
			return
		}
		s.showError(x, refusal)
		return
	}
	s.mu.Lock()
	f.userID, f.signedIn = user.ObjectID, signedIn
	s.mu.Unlock()
	asked := missing(req.scopes, parseStored(s.world.Consented(req.client.ClientID, user)))
	if len(asked) == 0 && req.prompt != "consent" {
		s.endFlow(f)
		s.sendCode(x, req, user, signedIn)
		return
	}
	if req.prompt == "none" {
		s.endFlow(f)
		refusal := refuse(65001, req.client.ClientID, req.client.Name)
		refusal.oauth = "interaction_required"
		s.sendError(x, req, refusal)
		return
	}
	if refusal := s.mayConsent(req, user); refusal != nil {
		s.showApprovalNeeded(x, f, user, refusal)
		return
	}
	s.showConsent(x, f, user)
}

// admissible says why a user cannot use the request's app in the request's tenant, if so.
func admissible(x *exchange, req authorizeRequest, user directory.User) *problem {
	switch {
	case user.Disabled:
		return refuse(50057)
	case req.tenant.ID != "" && user.TenantID != req.tenant.ID:
		return refuse(50020, user.UPN, issuerOf(x.request, user.TenantID), req.tenant.Name, req.client.ClientID)
	}
	return nil
}

// mayConsent says why the user may not consent, if so. Where only administrators may, asking for the consent page by
// `prompt=consent` is refused even if an administrator consented long ago.
func (s *Server) mayConsent(req authorizeRequest, user directory.User) *problem {
	tenant, _ := s.world.Tenant(user.TenantID)
	switch {
	case user.Admin || tenant.UserConsent == directory.ConsentByUser:
		return nil
	case tenant.UserConsent == directory.ConsentByRequest:
		return refuse(90095, req.client.Name)
	}
	return refuse(90094, req.client.Name)
}

// serveSignIn takes the user name and password from the sign-in page.
func (s *Server) serveSignIn(x *exchange) {
	f := s.resume(x)
	if f == nil {
		return
	}
	name := x.request.PostForm.Get("loginfmt")
	user, refusal := s.checkPassword(name, x.request.PostForm.Get("passwd"))
	if refusal != nil {
		s.showSignIn(x, f, name, refusal)
		return
	}
	s.admit(x, f, user, s.remember(f.browserID, user))
}

// servePick takes the choice from the account picker.
func (s *Server) servePick(x *exchange) {
	f := s.resume(x)
	if f == nil {
		return
	}
	choice := x.request.PostForm.Get("pick")
	sessions, users := s.signedIn(f.browserID)
	for i, user := range users {
		if user.ObjectID == choice {
			s.admit(x, f, user, sessions[i])
			return
		}
	}
	// "Use another account", and a session that ended while the picker was open.
	s.showSignIn(x, f, "", nil)
}

// serveConsent takes the answer from the consent page, and from the page that says that an administrator is needed.
func (s *Server) serveConsent(x *exchange) {
	f := s.resume(x)
	if f == nil {
		return
	}
	req := f.request
	s.mu.Lock()
	userID, signedIn := f.userID, f.signedIn
	s.mu.Unlock()
	user, found := s.world.UserByID(userID)
	if !found {
		s.showSignIn(x, f, req.loginHint, nil)
		return
	}
	x.call.User = user.UPN
	s.endFlow(f)
	refusal := s.mayConsent(req, user)
	switch {
	case refusal != nil:
		s.sendError(x, req, refusal)
	case x.request.PostForm.Get("consent") != "accept":
		s.sendError(x, req, refuse(65004))
	default:
		wholeTenant := user.Admin && x.request.PostForm.Get("whole_tenant") == "yes"
		s.world.GrantConsent(req.client.ClientID, user, wholeTenant, storedForm(req.scopes))
		s.sendCode(x, req, user, signedIn)
	}
}

func (s *Server) beginFlow(x *exchange, req authorizeRequest) *flow {
	f := &flow{id: directory.RandomText(), browserID: s.browserOf(x), request: req, startedAt: x.at}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, old := range s.flows {
		if x.at.Sub(old.startedAt) >= flowLife {
			delete(s.flows, id)
		}
	}
	s.flows[f.id] = f
	return f
}

func (s *Server) endFlow(f *flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flows, f.id)
}

// resume finds the flow that a page belongs to. A flow is bound to the browser in which it began. Without one it answers with
// the error page and returns nil.
func (s *Server) resume(x *exchange) *flow {
	var browserID string
	if cookie, err := x.request.Cookie(s.cookieName); err == nil {
		browserID = cookie.Value
	}
	s.mu.Lock()
	f, known := s.flows[x.request.PostForm.Get("flow")]
	s.mu.Unlock()
	if !known || f.browserID != browserID || x.at.Sub(f.startedAt) >= flowLife {
		s.showError(x, refuse(50089))
		return nil
	}
	x.call.ClientID = f.request.client.ClientID
	return f
}
