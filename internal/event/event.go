// Package event is what happened, as values with stable names.
//
// Every change of state is an event with its cause and its actor, written in
// the transaction that makes the change. The list in kinds.go is the only one:
// the timeline, webhook subscriptions, the API's enumeration, the documents and
// the pages are made from it.
package event

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// ActorKind says what sort of party caused an event.
type ActorKind string

// The sorts of actor.
const (
	ActorSystem   ActorKind = "system"   // Mailgrant itself: a loop, a timer
	ActorOperator ActorKind = "operator" // a person signed in to the pages
	ActorAPIKey   ActorKind = "api_key"  // a program with an API key
	ActorLocal    ActorKind = "local"    // somebody on this host, through the socket
	ActorOwner    ActorKind = "owner"    // a mailbox owner at an authorization link
)

// Actor is who caused an event. Name is an operator's or key's name, "uid 1000"
// for the socket, the address that signed in for an owner; empty for the system.
type Actor struct {
	Kind ActorKind `json:"kind"`
	Name string    `json:"name,omitempty"`
}

// System is Mailgrant as actor.
func System() Actor { return Actor{Kind: ActorSystem} }

// Event is one thing that happened. Events are never changed.
type Event struct {
	ID        string            `json:"id"` // UUIDv7: sorts by time
	At        time.Time         `json:"at"`
	Kind      Kind              `json:"kind"`
	MailboxID string            `json:"-"`
	Mailbox   string            `json:"mailbox,omitempty"` // its address at the time
	Actor     Actor             `json:"actor"`
	Cause     string            `json:"cause,omitempty"` // a fault's ID
	Text      string            `json:"text"`            // one sentence for the timeline
	Remedy    string            `json:"remedy,omitempty"`
	Data      map[string]string `json:"data,omitempty"` // flat details: "message_id", "submission_id", "who", …; never a secret
}

// New makes an event with a fresh ID.
func New(now time.Time, kind Kind, actor Actor, text string) Event {
	return Event{ID: NewID(), At: now.UTC(), Kind: kind, Actor: actor, Text: text}
}

// About sets the mailbox an event is about.
func (e Event) About(id, address string) Event {
	e.MailboxID, e.Mailbox = id, address
	return e
}

// With adds one detail; the receiver's map is not shared.
func (e Event) With(key, value string) Event {
	data := make(map[string]string, len(e.Data)+1)
	for k, v := range e.Data {
		data[k] = v
	}
	data[key] = value
	e.Data = data
	return e
}

// Because records the fault that caused the event.
func (e Event) Because(err error) Event {
	f := fault.Of(err)
	if f == nil {
		return e
	}
	e.Cause, e.Remedy = f.ID, f.Remedy
	if e.Text == "" {
		e.Text = f.Text
	}
	if len(f.Who) > 0 {
		who := make([]string, len(f.Who))
		for i, w := range f.Who {
			who[i] = string(w)
		}
		e = e.With("who", strings.Join(who, ","))
	}
	for k, v := range map[string]string{
		"reason": f.Text, "code": f.Detail.Code, "subcode": f.Detail.Subcode, "reply": f.Detail.Reply,
		"trace_id": f.Detail.TraceID, "correlation_id": f.Detail.CorrelationID,
	} {
		if v != "" {
			e = e.With(k, v)
		}
	}
	return e
}

// NewID makes an identifier that sorts by the time it was made: a UUIDv7 in its
// usual text form. Every record of Mailgrant is named by one.
func NewID() string {
	id, err := uuid.NewV7()
	if err != nil {
		// The random source of the operating system failed; nothing safe can go on.
		panic(fmt.Errorf("no randomness: %w", err))
	}
	return id.String()
}

// Pattern selects kinds: a kind itself, a family as "submission.*", or "*".
type Pattern string

// Matches reports whether k is selected.
func (p Pattern) Matches(k Kind) bool {
	if p == "*" || string(p) == string(k) {
		return true
	}
	family, ok := strings.CutSuffix(string(p), ".*")
	return ok && strings.HasPrefix(string(k), family+".")
}

// Check reports whether the pattern can match any kind at all.
func (p Pattern) Check() error {
	var words []string
	for _, k := range Kinds() {
		if p.Matches(k.Kind) {
			return nil
		}
		family, _, _ := strings.Cut(string(k.Kind), ".")
		words = append(words, string(k.Kind), family+".*")
	}
	remedy := "Use a name from the list of events (on the server's page /docs, under Events), a family such as submission.*, or *."
	if near := fault.Nearest(string(p), words); near != "" {
		remedy = "Did you mean " + near + "? " + remedy
	}
	return &fault.Error{
		ID: "event.unknown_kind", Kind: fault.Invalid, Field: "events",
		Text: fmt.Sprintf("No event is called “%s”.", fault.Shorten(string(p), 60)), Who: []fault.Who{fault.Operator}, Remedy: remedy,
	}
}
