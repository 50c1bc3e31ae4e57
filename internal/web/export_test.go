package web

// Quiet is quiet.
func Quiet(document string, picture func(contentID string) string) string {
	return quiet(document, picture)
}
