package store

// dialect is everything in which the two databases' SQL differs.
type dialect struct {
	// name is "sqlite" or "postgres".
	name string
	// forUpdate ends a SELECT whose rows the transaction is about to change.
	// SQLite has only one writer at a time and needs none.
	forUpdate string
	// claimWatches ends the SELECT of free watches (called w): it passes over
	// those that another process is taking just now.
	claimWatches string
	// oneEventWriter, where not empty, is run before events are written: it lets
	// one transaction at a time do so until it ends.
	oneEventWriter string
}

var sqliteDialect = dialect{name: "sqlite"}

var postgresDialect = dialect{
	name:           "postgres",
	forUpdate:      " FOR UPDATE",
	claimWatches:   " FOR UPDATE OF w SKIP LOCKED",
	oneEventWriter: "SELECT pg_advisory_xact_lock(7236280114)",
}
