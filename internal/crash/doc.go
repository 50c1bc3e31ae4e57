// Package crash holds tests only: it ends real processes with kill -9 at every
// named point of a renewal, of receiving, of sending and of delivering to
// webhooks, on both databases, and looks at what is left.
//
// The process that is killed is this package's own test binary, started again.
// It wires a real room (broker, fetch, outbox with its jobs, webhook with its
// jobs) to the real store and the real protocols; the points are seams put
// around these in its wiring, so that the product has no hooks. What the process
// talks to (a token endpoint that rotates strictly, the sandbox's Exchange, a
// receiver of webhooks) lives in the test and outlives it. After each kill a new
// process, whose clock is ahead by the lease of the dead one, goes on with the
// same database. The rules:
//
//   - A grant whose refresh token the authorization server still honours is never
//     lost. Where the process died with the answer on the wire, the loss is
//     detected and carries its own name, grant.lost_answer.
//   - A message that the mail server has is stored whole and once, with one event,
//     and the cursor stands behind it. What after_receive asks is done at least
//     once, and only with what is stored.
//   - A submission that was accepted is sent, and accepted once for its idempotency
//     key. It is sent twice only where the process died between data and reply and
//     the sent messages could not be looked at; it is then marked as possibly
//     duplicated. Named in the table is every marked one.
//   - An event reaches its webhook at least once, in order, repeats only of the
//     call that was under way and under its own ID; the queue goes on, also past a
//     delivery that was put aside.
//
// "go test" kills a few times at each point; MAILGRANT_KILLS=500 runs as many
// kills in each flow on each database, at points drawn at random, and prints
// what became of them.
package crash
