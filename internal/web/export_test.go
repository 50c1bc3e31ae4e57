package web

// Quiet is quiet.
func Quiet(document string) string { return quiet(document) }
