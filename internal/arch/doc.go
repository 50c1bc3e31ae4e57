// Package arch keeps the house in order: its tests read the source of the whole module and fail, with the reason, where a
// package reaches up instead of down, a provider's name leaves its folder, a package variable changes, a package has no
// doc, or a file or function has grown too long to be read. ARCHITECTURE.md draws the floors that it keeps.
//
// Every check is a function from a tree to its findings, and is tried on small trees that break it, so that a check cannot
// fall asleep unnoticed. It holds for what exists; a room that is not built yet breaks nothing.
package arch
