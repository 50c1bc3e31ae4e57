// Package broker is the one owner of every grant. It lends fresh access tokens
// per resource, renews them ahead of need, notices when a grant has ended, and
// never loses a refresh token. A refresh token is seen by nobody else after
// the mailbox was authorised.
//
// # A renewal
//
//	            BeginRefresh: lease, fence+1, intent            definite success
//	at rest ───────────────────────────────────────▶ asking ─────────────────────▶ at rest, renewed
//	   ▲                                             │ │ │ │
//	   │ passing failure: back-off, intent closed    │ │ │ │ invalid_grant
//	   ├─────────────────────────────────────────────┘ │ │ └─────────────────────▶ dead
//	   │ no answer: back-off, intent stays open        │ │
//	   ├───────────────────────────────────────────────┘ │ fenced: another took over
//	   │                                                 └───────────────────────▶ late answer kept
//	   │ the process ended: the lease runs out, intent stays open                  as candidate
//	   └──────────────────────────────────────────────────────
//
// The intent is durable before the request leaves, and the answer is durable before
// anybody is lent its access token. So whatever is in use is in the store.
//
// # Lease and fence
//
// The lease says who may send the refresh token. It is longer than the
// request's deadline, and both are counted from the moment before the lease was taken:
// when another process may take over, the request of the first has ended, by an
// answer or by its deadline. The margin between them pays for storing the answer and
// for clocks that differ between machines.
//
// A process can be paused past any deadline. That is what the fence is for: it grows
// with each lease, every write carries it, and a write with an older fence
// changes nothing. Who finds itself fenced keeps a new refresh token aside as the
// candidate (KeepLateAnswer), sealed together with the digest of the refresh
// token that it followed, and touches nothing else.
//
// # An intent without an answer
//
// When a lease is taken and an earlier intent is still open, that request may have
// been processed: the process died, or the connection broke. The refresh token it
// used is still the current one. A provider that lets a used refresh token live
// (Microsoft), one that never rotates, and one that never saw the request,
// all accept it: it is used again, and nothing was lost.
//
// A provider that rotates strictly refuses it with invalid_grant, and may end the
// whole family because of the re-use. Nothing can mend that from this
// side, except where the missing answer was brought home late:
//
//   - A candidate that is there when the lease is taken, and that followed the very
//     refresh token which is current, is the newest known member of the family. It
//     is used instead of its predecessor: a strict provider would take the
//     predecessor for stolen and end a family that lives. A lenient one accepts either.
//   - A candidate that appears while the current one is being refused is tried once:
//     a provider may refuse a used token without ending its family.
//   - A candidate that followed any other refresh token is never used: it is
//     older than the grant, or belongs to another consent, perhaps another person's.
//
// In both cases the predecessor is not tried again after its successor was
// refused. The grant is then dead with the cause "grant.lost_answer", whose text
// says what happened. A dead grant's tokens stay stored.
//
// # Where a process can die
//
//	before BeginRefresh committed     nothing happened
//	after it, before the request      the intent is open; the current token is used again and accepted
//	request sent, answer on the wire  as above; a strict provider refuses: grant.lost_answer
//	answer received, not yet stored   the same: to the provider it is the same
//	after FinishRefresh               all is stored; the new access token is read from there
//	a failure received, not stored    the intent is open; the current token is used again
//
// # Failures
//
// The provider's kind classifies what it met; control follows the kind of fault alone.
// Dead ends the grant. "oauth.no_answer", and a failure that nobody
// could classify, leave the intent open. Temporary, Limited and all else back off,
// with jitter, as long as the provider asks or longer, and never touch the
// grant; its access token is lent while it is valid. A refused client
// ("oauth.invalid_client") concerns the provider, not a grant: one of its mailboxes at a
// time tries, at long intervals, until the secret is replaced.
//
// # Lending
//
// An opened access token is kept in memory and lent from there for a second
// without asking anybody (Options.Recheck): a map lookup, whatever the number of
// mailboxes. Then one caller, for all who come at that moment, reads mailbox and
// grant by key: where neither version moved, the token is good for another second. So
// a revocation or a new authorization by another process shows within a second,
// and a mailbox lent ten thousand times a second costs two small reads in it. Within one
// process Invalidate makes it immediate: what was read before it is not put back, and
// who comes after it waits for nobody who came before. When the store does not answer, nothing is
// lent past that second: nobody could say whether the grant still stands.
//
// Those who need a renewal wait for one: in a process by sharing it, across
// processes by waiting, with growing pauses, for the holder of the lease. Who takes the
// lease after that looks again before it asks.
package broker
