// Package diagnose says why mail does not flow: it climbs a ladder of steps
// from the configuration to the opened mailbox, and reads access tokens and ID
// tokens for people.
//
// It composes what providers and protocols know; it classifies no error itself.
package diagnose
