package event

import "time"

// Hour is how many events of a kind one hour had; At is its beginning.
type Hour struct {
	At     time.Time
	Kind   Kind
	Number int
}
