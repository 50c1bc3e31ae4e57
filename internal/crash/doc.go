// Package crash holds tests only: it ends real processes with kill -9 at every
// named point of a renewal, on both databases, against a token endpoint that
// rotates refresh tokens strictly, and looks at what is left.
//
// The process that is killed is this package's own test binary, started again.
// It wires the real broker to the real store and the real OAuth client; the
// points are seams put around these in its wiring, so that the product has no
// hooks. After each kill a new process goes on with the same database. The rule:
// a grant whose refresh token the authorization server still honours is never
// lost; where the process died with the answer on the wire, the loss is
// detected and carries its own name, grant.lost_answer.
//
// "go test" kills a few times at each point; MAILGRANT_KILLS=500 runs as many
// kills on each database, at points drawn at random, and prints what became of them.
package crash
