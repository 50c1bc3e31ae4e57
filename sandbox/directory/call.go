package directory

import (
	"slices"
	"time"
)

// callLimit is how many calls are remembered; the oldest are forgotten first.
const callLimit = 10_000

// Call is one request that the sandbox answered. It never holds a secret: no password, code, token or query string.
type Call struct {
	// Number counts from 1 in the order in which the calls ended.
	Number int       `json:"number"`
	At     time.Time `json:"at"`
	// Protocol is "http", "imap" or "smtp".
	Protocol string `json:"protocol"`
	// Method is the HTTP method, or the command.
	Method string `json:"method"`
	// Path is the URL's path without its query.
	Path     string `json:"path,omitempty"`
	TenantID string `json:"tenant_id,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	// GrantType is the token endpoint's grant_type.
	GrantType string `json:"grant_type,omitempty"`
	// User is the user name of whoever it was about, where that was known.
	User string `json:"user,omitempty"`
	// Mailbox is the mailbox it was about, in Exchange.
	Mailbox string `json:"mailbox,omitempty"`
	// Status is the HTTP status, zero when the connection was cut.
	Status int `json:"status,omitempty"`
	// Outcome says in few words how it ended: "ok", "sign-in page", "AADSTS70000", "fault: cut", or Exchange's reply.
	Outcome string `json:"outcome"`
	// Reason is what the caller was not told.
	Reason string `json:"reason,omitempty"`
}

// RecordCall adds a call to the list; its number is given here, and its time unless it has one.
func (w *World) RecordCall(call Call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.callsTotal++
	call.Number = w.callsTotal
	if call.At.IsZero() {
		call.At = w.timestamp()
	}
	if len(w.calls) >= callLimit {
		w.calls = slices.Delete(w.calls, 0, callLimit/10)
	}
	w.calls = append(w.calls, call)
}

// Calls lists the calls that ended after the one with this number; zero lists all that are remembered.
func (w *World) Calls(after int) []Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Call
	for _, call := range w.calls {
		if call.Number > after {
			out = append(out, call)
		}
	}
	return out
}
