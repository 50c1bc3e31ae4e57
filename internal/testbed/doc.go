// Package testbed starts servers that this project did not write, so that its tests meet the real thing: PostgreSQL, Dovecot,
// Postfix, an OpenID provider and a browser.
//
// Each Start function runs one server in a private folder on free ports of 127.0.0.1, waits until it answers, and stops it
// when the test ends; a test that failed shows the end of the server's log. A keeper process stands between the test and the
// server: it ends the server even when the test binary is killed, so that a crashed run leaves nothing behind.
//
// Where the Debian package is missing the test fails and names the line that installs it. Under "go test -short" it is skipped
// with that line as the reason. The package is for tests only; nothing of the product imports it.
package testbed
