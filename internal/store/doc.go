// Package store keeps everything that must outlive the process, on SQLite or
// PostgreSQL, and decides nothing: what capabilities rule, it makes true.
//
// One method is one transaction is one true sentence. The events of a change
// are written inside it, by one function (addEvents). Another (place) gives them
// their places in the timeline, puts them into the queues of the webhooks that want
// them and enqueues the jobs that wake the work. No transaction leaves the package.
//
// # One text for two databases
//
// Statements are plain SQL in the subset that both databases share: $1 for
// parameters, RETURNING, ON CONFLICT, partial indexes. What differs is listed,
// by name, in dialect.go and nowhere else.
//
//   - An instant is a BIGINT of microseconds since 1970, in UTC; 0 is the zero
//     time. It sorts and compares alike everywhere. Finer parts are cut off.
//   - Documents and lists are JSON in TEXT.
//   - A sealed value is BYTEA, NULL when nothing is sealed.
//   - A raw message is cut into pieces of at most 256 KiB.
//
// # What happens at the same time
//
// SQLite has one writer: a pool of one connection whose transactions begin
// with BEGIN IMMEDIATE, and a pool of read-only ones beside it. On PostgreSQL
// a method locks the row that it decides about;
// serialization failures and deadlocks are tried again inside the method.
// Events are placed by one transaction after another on both, so that their
// position is the order in which they became visible: who follows the timeline
// misses none. On SQLite that is the change's own transaction. On PostgreSQL
// changes commit side by side, and their events are placed right after that, many
// at once, and before anybody reads the timeline or what waits for webhooks
// (places.go, docs/decisions/0006).
//
// Writes under a lease carry its fence; see package work. A lease that has run
// out still lets its holder write as long as nobody else has taken it.
package store
