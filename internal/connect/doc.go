// Package connect brings a mailbox in: it keeps providers and mailboxes, makes
// the one-time link that a mailbox owner opens, sends the browser to the
// provider, takes the answer, and decides whether what came back may become
// the mailbox's grant.
//
// # The three-way binding
//
// Three facts must agree before anything is stored: the address that was
// expected, who signed in (from the validated ID token and what the provider
// proves about that person), and that the expected mailbox opens with these
// tokens. Bind is that decision, a pure function. Nothing that the browser says
// takes part in it, and the prompt parameter of the request is a courtesy only:
// single sign-on may ignore it.
//
// Refused tokens are dropped from memory. They are not stored, not tried on
// anything and not revoked: they are somebody's. A working grant is never
// touched by an attempt that was refused.
//
// # An attempt
//
//	link (pending) ── Start ──▶ attempt ── browser, provider ──▶ Finish
//	   Finish: state, binding, link ─▶ redeem ─▶ identify ─▶ Bind ─▶ probe ─▶ Bind
//	      ├─ accepted   ─▶ grant (replaces the old one), link granted
//	      ├─ undecided  ─▶ quarantine (24 h at most, tried again by Run), link granted
//	      └─ refused    ─▶ nothing stored, the link keeps the outcome, another attempt is possible
package connect
