// Package bench measures the goals that Mailgrant sets itself, each beside the
// direct way to do the same work, in the same run.
//
//	make bench                  every row, in the small sizes
//	make bench BENCH=tokens     the rows whose name matches
//	make bench LONG=1           the large sizes too: 100,000 and 1,000,000
//
// The machine is shared by the product, its peers and whoever loads them, and
// seldom idle. So a ratio decides: product and direct way take turns, and the
// median of their rounds is compared. Beside it stands the CPU time that the product's process took for one
// operation, which other work on the machine hardly changes. Absolute figures are for
// orientation.
//
// The product runs as its users run it: the binary, in a process of its own, on a
// database filled by package stock. Its peers (authorization server, mail servers) are as
// small as can be and run in another process; Dovecot and Postfix stand in where the
// goal speaks of a real server. Everything stays on loopback.
//
// With PROFILE=folder the product's process writes CPU and heap profiles there.
//
// These are no tests: nothing here fails because something was slow.
package bench
