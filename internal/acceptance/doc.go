// Package acceptance holds the whole product to its promises from outside: the
// server as it runs in earnest, the sandbox as its provider, and a real browser
// in between. It has tests only.
//
// The server is on localhost and the sandbox on 127.0.0.1: two sites to a
// browser, so that faults with cookies show. All tests with a browser share one
// Chromium; each person in them has a private window of their own.
//
// MAILGRANT_TEST_PICTURES=1 makes TestPictures write docs/pictures anew.
package acceptance
