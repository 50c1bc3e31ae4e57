package webhook

import "time"

// Handed is how far the delivery of one event to one webhook has come.
type Handed struct {
	ID            string // of the delivery
	Webhook       string // name
	State         State
	Attempts      int
	NextAttemptAt time.Time
	LastStatus    int
	LastError     string
}
