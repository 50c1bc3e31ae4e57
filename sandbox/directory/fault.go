package directory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Point names a place at which the sandbox can be told to fail.
type Point string

// The points of the HTTP side. Exchange names its own.
const (
	PointDiscovery Point = "discovery"
	PointKeys      Point = "keys"
	PointAuthorize Point = "authorize"
	PointToken     Point = "token"
	PointGraph     Point = "graph"
)

// Action says how a point fails.
type Action string

// The ways to fail.
const (
	// ActionStatus answers with the HTTP status, and Retry-After where one is given.
	ActionStatus Action = "status"
	// ActionHang says nothing until the caller gives up, the fault is cleared or the sandbox closes.
	ActionHang Action = "hang"
	// ActionDelay waits for the time given, then goes on as usual.
	ActionDelay Action = "delay"
	// ActionCut closes the connection before anything was done.
	ActionCut Action = "cut"
	// ActionCutAfter does everything, rotates the refresh token too, and closes the connection instead of answering.
	ActionCutAfter Action = "cut_after"
	// ActionRefuse answers with an error of the point's own kind: at the token endpoint the AADSTS number given.
	ActionRefuse Action = "refuse"
)

// HTTPPoints lists the points of the HTTP side.
func HTTPPoints() []Point {
	return []Point{PointDiscovery, PointKeys, PointAuthorize, PointToken, PointGraph}
}

// Actions lists every way in which a point of the HTTP side can fail.
func Actions() []Action {
	return []Action{ActionStatus, ActionHang, ActionDelay, ActionCut, ActionCutAfter, ActionRefuse}
}

// Fault is an order to fail.
type Fault struct {
	Point Point `json:"point"`
	// Action is for the points of the HTTP side; Exchange's points say themselves what happens there.
	Action Action `json:"action,omitempty"`
	// Status is for ActionStatus: 400 to 599.
	Status int `json:"status,omitempty"`
	// RetryAfterSeconds, when not zero, becomes a Retry-After header.
	RetryAfterSeconds int `json:"retry_after_seconds,omitempty"`
	// AADSTS is for ActionRefuse at the token and authorize endpoints, for example 70000.
	AADSTS int `json:"aadsts,omitempty"`
	// DelayMilliseconds is for ActionDelay.
	DelayMilliseconds int `json:"delay_milliseconds,omitempty"`
	// GrantType narrows a fault at the token endpoint to one grant type; empty means every one.
	GrantType string `json:"grant_type,omitempty"`
	// Mailbox narrows a fault at one of Exchange's points to one mailbox; empty means every one.
	Mailbox string `json:"mailbox,omitempty"`
	// Reply replaces the text that Exchange sends at the point.
	Reply string `json:"reply,omitempty"`
	// Times is how often it happens; zero means until it is cleared.
	Times int `json:"times,omitempty"`
}

type pendingFault struct {
	Fault
	left    int
	spent   bool
	cleared chan struct{}
}

// InjectFault orders a fault. Several faults at one point happen in the order in which they were ordered.
func (w *World) InjectFault(fault Fault) error {
	switch {
	case fault.Point == "":
		return fmt.Errorf("a fault needs the point at which it happens")
	case !slices.Contains(HTTPPoints(), fault.Point) && fault.Action != "":
		return fmt.Errorf("at %q there is nothing to choose: leave action out; actions are for %s", fault.Point, Listed(HTTPPoints()))
	case slices.Contains(HTTPPoints(), fault.Point) && !slices.Contains(Actions(), fault.Action):
		return fmt.Errorf("there is no action %q; allowed are %s", fault.Action, Listed(Actions()))
	case fault.Action == ActionStatus && (fault.Status < 400 || fault.Status > 599):
		return fmt.Errorf("status %d is not a failure; allowed are 400 to 599", fault.Status)
	case fault.Action == ActionDelay && fault.DelayMilliseconds <= 0:
		return fmt.Errorf("a delay needs delay_milliseconds above zero")
	case fault.Times < 0 || fault.RetryAfterSeconds < 0:
		return fmt.Errorf("times and retry_after_seconds must not be negative")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, &pendingFault{Fault: fault, left: fault.Times, cleared: make(chan struct{})})
	return nil
}

// ClearFaults takes back every fault at a point, or at all points when it is empty. Requests that hang go on at once.
func (w *World) ClearFaults(point Point) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = slices.DeleteFunc(w.faults, func(f *pendingFault) bool {
		if point != "" && f.Point != point {
			return false
		}
		close(f.cleared)
		return true
	})
}

// Faults lists the faults that are still to happen.
func (w *World) Faults() []Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Fault, 0, len(w.faults))
	for _, f := range w.faults {
		if f.spent {
			continue
		}
		fault := f.Fault
		fault.Times = f.left
		out = append(out, fault)
	}
	return out
}

// Happening is a fault that happens to one request now.
type Happening struct {
	Fault
	cleared <-chan struct{}
	closed  <-chan struct{}
}

// TakeFault returns the fault that this request must suffer, counting it, or false. grantType is empty except at the token
// endpoint.
func (w *World) TakeFault(point Point, grantType string) (Happening, bool) {
	return w.take(point, func(f Fault) bool { return f.GrantType == "" || f.GrantType == grantType })
}

// TakeMailFault returns the fault that this command on a mailbox must suffer, counting it, or false.
func (w *World) TakeMailFault(point Point, mailbox string) (Happening, bool) {
	return w.take(point, func(f Fault) bool { return f.Mailbox == "" || strings.EqualFold(f.Mailbox, mailbox) })
}

func (w *World) take(point Point, concerns func(Fault) bool) (Happening, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.faults {
		if f.spent || f.Point != point || !concerns(f.Fault) {
			continue
		}
		if f.left > 0 {
			f.left--
			// A spent fault stays in the list, so that clearing still lets go the requests that hang on it.
			f.spent = f.left == 0
		}
		return Happening{Fault: f.Fault, cleared: f.cleared, closed: w.closed}, true
	}
	return Happening{}, false
}

// Wait keeps a hanging or delayed request waiting. It returns when the time is over, the fault is cleared, the caller is gone
// or the sandbox closes.
func (h Happening) Wait(ctx context.Context) {
	var over <-chan time.Time
	if h.Action == ActionDelay {
		timer := time.NewTimer(time.Duration(h.DelayMilliseconds) * time.Millisecond)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
	case <-h.cleared:
	case <-h.closed:
	case <-ctx.Done():
	}
}

// Listed joins words for a sentence.
func Listed[T ~string](words []T) string {
	texts := make([]string, 0, len(words))
	for _, word := range words {
		texts = append(texts, string(word))
	}
	return strings.Join(texts, ", ")
}
