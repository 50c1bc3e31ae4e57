package event

// Filter selects events of the timeline. With After it lists those that came
// later than this ID, oldest first (following); else newest first, older than Before.
type Filter struct {
	MailboxIDs []string // empty: all
	Patterns   []Pattern
	Before     string
	After      string
	Limit      int
}
