package store

import "strconv"

// dialect is everything in which the two databases' SQL differs.
type dialect struct {
	// name is "sqlite" or "postgres".
	name string
	// forUpdate ends a SELECT whose rows the transaction is about to change.
	// SQLite has only one writer at a time and needs none. On PostgreSQL it is the
	// lock that lets rows be added which refer to this one, so that adopting a
	// grant and finishing a refresh of it do not wait for each other in a circle.
	forUpdate string
	// claimWatches ends the SELECT of free watches (called w): it passes over
	// those that another process is taking just now.
	claimWatches string
	// onePlacer is run before events that are committed are placed: it lets one
	// transaction at a time do so until it ends.
	onePlacer string
	// oneWriter says that one transaction at a time changes anything.
	oneWriter bool
	// placeholder stands for an argument, counted from 1, in a statement with many
	// of them. To SQLite $1 is a name, and a name is looked for among all others.
	placeholder func(number int) string
}

var sqliteDialect = dialect{name: "sqlite", oneWriter: true, placeholder: func(int) string { return "?" }}

var postgresDialect = dialect{
	name:         "postgres",
	forUpdate:    " FOR NO KEY UPDATE",
	claimWatches: " FOR NO KEY UPDATE OF w SKIP LOCKED",
	onePlacer:    "SELECT pg_advisory_xact_lock(7236280114)",
	placeholder:  func(number int) string { return "$" + strconv.Itoa(number) },
}
