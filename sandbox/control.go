package sandbox

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/sandbox/directory"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

const (
	controlPrefix  = "/sandbox/control/"
	largestControl = 40 << 20 // a message and its JSON
)

// InjectFault orders a fault at one of the points that FaultPoints lists.
func (s *Sandbox) InjectFault(fault directory.Fault) error {
	if !slices.Contains(FaultPoints(), fault.Point) {
		return fmt.Errorf("there is no point %q to fail at; allowed are %s", fault.Point, directory.Listed(FaultPoints()))
	}
	return s.world.InjectFault(fault)
}

// FaultPoints lists every place at which the sandbox can be told to fail.
func FaultPoints() []directory.Point {
	points := directory.HTTPPoints()
	for _, point := range exchange.FaultPoints() {
		points = append(points, directory.Point(point))
	}
	return points
}

// order is the body of a control request; each command reads the members it names.
type order struct {
	By         string          `json:"by"`
	User       string          `json:"user"`
	Password   string          `json:"password"`
	ByAdmin    bool            `json:"by_admin"`
	Disabled   bool            `json:"disabled"`
	ClientID   string          `json:"client_id"`
	EndsAt     time.Time       `json:"ends_at"`
	Redirect   string          `json:"redirect_uri"`
	On         bool            `json:"on"`
	Point      string          `json:"point"`
	TenantID   string          `json:"tenant_id"`
	Consent    string          `json:"user_consent"`
	Address    string          `json:"address"`
	Message    string          `json:"message"`
	IMAPOff    *bool           `json:"imap_off"`
	POPOff     *bool           `json:"pop_off"`
	SMTPOff    *bool           `json:"smtp_auth_off"`
	FullAccess *[]string       `json:"full_access"`
	SendAs     *[]string       `json:"send_as"`
	Fault      json.RawMessage `json:"fault"`
}

// command is one thing that the control API can do.
type command struct {
	name string
	// says what it does, and which members of the order it reads.
	says string
	do   func(*Sandbox, order) (any, error)
}

// commands is the control API: POST /sandbox/control/<name> with an order as JSON.
func commands() []command {
	return []command{
		{"move-clock", "Moves the world's time by a duration. {by}", func(s *Sandbox, o order) (any, error) {
			by, err := time.ParseDuration(o.By)
			if err != nil {
				return nil, fmt.Errorf(`"by" must be a duration such as "90m" or "-1h": %w`, err)
			}
			return map[string]any{"now": s.world.MoveClock(by)}, nil
		}},
		{"inject-fault", "Orders a failure at a named point. {fault}", func(s *Sandbox, o order) (any, error) {
			var fault directory.Fault
			if err := decodeStrictly(strings.NewReader(string(o.Fault)), &fault); err != nil {
				return nil, fmt.Errorf(`"fault": %w`, err)
			}
			return nil, s.InjectFault(fault)
		}},
		{"clear-faults", "Takes back the faults at a point, or all of them. {point?}", func(s *Sandbox, o order) (any, error) {
			s.world.ClearFaults(directory.Point(o.Point))
			return nil, nil
		}},
		{"revoke-sessions", "Ends a user's browser sessions and refresh tokens. {user}", func(s *Sandbox, o order) (any, error) { return nil, s.world.RevokeSessions(o.User) }},
		{"change-password", "Gives a user a new password, as the user or, by_admin, as an administrator would. {user, password, by_admin?}", func(s *Sandbox, o order) (any, error) {
			if o.ByAdmin {
				return nil, s.world.ResetPassword(o.User, o.Password)
			}
			return nil, s.world.ChangePassword(o.User, o.Password)
		}},
		{"disable-user", "Forbids a user to sign in, or allows it again. {user, disabled}", func(s *Sandbox, o order) (any, error) { return nil, s.world.SetUserDisabled(o.User, o.Disabled) }},
		{"expire-secrets", "Ends every secret of an app. {client_id}", func(s *Sandbox, o order) (any, error) { return nil, s.world.ExpireSecrets(o.ClientID) }},
		{"add-secret", "Gives an app one more secret and shows it. {client_id, ends_at?}", func(s *Sandbox, o order) (any, error) { return s.world.AddSecret(o.ClientID, o.EndsAt) }},
		{"add-redirect-uri", "Registers one more redirect URI with an app. {client_id, redirect_uri}", func(s *Sandbox, o order) (any, error) { return nil, s.world.AddRedirectURI(o.ClientID, o.Redirect) }},
		{"withdraw-consents", "Forgets every consent to an app. {client_id}", func(s *Sandbox, o order) (any, error) { return nil, s.world.WithdrawConsents(o.ClientID) }},
		{"set-user-consent", "Says who may consent in a tenant. {tenant_id, user_consent: \"\" | admin | workflow}", func(s *Sandbox, o order) (any, error) {
			switch consent := directory.Consent(o.Consent); consent {
			case directory.ConsentByUser, directory.ConsentByAdmin, directory.ConsentByRequest:
				return nil, s.world.SetUserConsent(o.TenantID, consent)
			}
			return nil, fmt.Errorf(`"user_consent" must be "", "admin" or "workflow"`)
		}},
		{"rotate-keys", "Lets a new key sign tokens.", func(s *Sandbox, _ order) (any, error) { return nil, s.entra.RotateKeys() }},
		{"strict-rotation", "Lets a refresh token be used once only. {on}", func(s *Sandbox, o order) (any, error) {
			s.world.SetStrictRotation(o.On)
			return s.world.Switches(), nil
		}},
		{"device-single-sign-on", "Ignores prompt and takes this user always; without a user, no longer. {user?}", func(s *Sandbox, o order) (any, error) {
			return nil, s.world.SetDeviceUser(o.User)
		}},
		{"opaque-access-tokens", "Makes access tokens unreadable to clients. {on}", func(s *Sandbox, o order) (any, error) {
			s.world.SetOpaqueAccessTokens(o.On)
			return s.world.Switches(), nil
		}},
		{"change-mailbox", "Changes a mailbox's switches and rights. {address, imap_off?, pop_off?, smtp_auth_off?, full_access?, send_as?}", changeMailbox},
		{"deliver", "Puts a message into a mailbox, as if it came from outside. {address, message}", func(s *Sandbox, o order) (any, error) {
			uid, err := s.exchange.Deliver(o.Address, []byte(o.Message))
			return map[string]any{"uid": uid}, err
		}},
	}
}

func changeMailbox(s *Sandbox, o order) (any, error) {
	err := s.world.ChangeMailbox(o.Address, func(m *directory.Mailbox) {
		if o.IMAPOff != nil {
			m.IMAPOff = *o.IMAPOff
		}
		if o.POPOff != nil {
			m.POPOff = *o.POPOff
		}
		if o.SMTPOff != nil {
			m.SMTPAuthOff = *o.SMTPOff
		}
		if o.FullAccess != nil {
			m.FullAccess = *o.FullAccess
		}
		if o.SendAs != nil {
			m.SendAs = *o.SendAs
		}
	})
	box, _ := s.world.Mailbox(o.Address)
	return box, err
}

func (s *Sandbox) controlRoutes(mux *http.ServeMux) {
	for _, one := range commands() {
		mux.HandleFunc("POST "+controlPrefix+one.name, s.guarded(func(w http.ResponseWriter, r *http.Request) (any, error) {
			var o order
			if err := decodeStrictly(http.MaxBytesReader(w, r.Body, largestControl), &o); err != nil {
				return nil, err
			}
			return one.do(s, o)
		}))
	}
	mux.HandleFunc("GET "+controlPrefix+"{$}", s.guarded(func(http.ResponseWriter, *http.Request) (any, error) {
		list := map[string]string{}
		for _, one := range commands() {
			list["POST "+controlPrefix+one.name] = one.says
		}
		return list, nil
	}))
	mux.HandleFunc("GET "+controlPrefix+"description", s.guarded(func(http.ResponseWriter, *http.Request) (any, error) { return s.Describe(), nil }))
	mux.HandleFunc("GET "+controlPrefix+"switches", s.guarded(func(http.ResponseWriter, *http.Request) (any, error) { return s.world.Switches(), nil }))
	mux.HandleFunc("GET "+controlPrefix+"faults", s.guarded(func(http.ResponseWriter, *http.Request) (any, error) { return s.world.Faults(), nil }))
	mux.HandleFunc("GET "+controlPrefix+"clock", s.guarded(func(http.ResponseWriter, *http.Request) (any, error) {
		return map[string]any{"now": s.world.Now()}, nil
	}))
	mux.HandleFunc("GET "+controlPrefix+"calls", s.guarded(func(_ http.ResponseWriter, r *http.Request) (any, error) {
		after := 0
		if text := r.URL.Query().Get("after"); text != "" {
			var err error
			if after, err = strconv.Atoi(text); err != nil {
				return nil, fmt.Errorf(`"after" must be the number of a call: %w`, err)
			}
		}
		return append([]directory.Call{}, s.world.Calls(after)...), nil
	}))
	mux.HandleFunc("GET "+controlPrefix+"messages", s.guarded(s.listMessages))
}

// Listed is a message in a mailbox, as the control API shows it.
type Listed struct {
	UID  uint32 `json:"uid"`
	Text string `json:"message"`
}

func (s *Sandbox) listMessages(_ http.ResponseWriter, r *http.Request) (any, error) {
	address, folder := r.URL.Query().Get("address"), r.URL.Query().Get("folder")
	if folder == "" {
		folder = "INBOX"
	}
	if _, found := s.world.Mailbox(address); !found {
		return nil, fmt.Errorf("mailbox %q: %w", address, directory.ErrUnknown)
	}
	out := []Listed{}
	for _, message := range s.exchange.Messages(address, folder) {
		out = append(out, Listed{UID: message.UID, Text: string(message.Raw)})
	}
	return out, nil
}

// guarded asks for the control key. A web page cannot send that header to another origin, so no page can steer the sandbox.
func (s *Sandbox) guarded(serve func(http.ResponseWriter, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(given), []byte(s.controlKey)) != 1 {
			answerControl(w, http.StatusUnauthorized, map[string]any{"error": `Send the control key, which the sandbox printed at its start, as "Authorization: Bearer …".`})
			return
		}
		body, err := serve(w, r)
		switch {
		case errors.Is(err, directory.ErrUnknown):
			answerControl(w, http.StatusNotFound, map[string]any{"error": err.Error()})
		case err != nil:
			answerControl(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
		case body == nil:
			answerControl(w, http.StatusOK, map[string]any{})
		default:
			answerControl(w, http.StatusOK, body)
		}
	}
}

func answerControl(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The only thing that can fail here is the connection, and then nobody is left to be told.
	_ = json.NewEncoder(w).Encode(body)
}

// decodeStrictly reads one JSON object and refuses members it does not know, so that a mistyped one is noticed.
func decodeStrictly(from io.Reader, into any) error {
	decoder := json.NewDecoder(from)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("the order cannot be read: %w", err)
	}
	return nil
}
