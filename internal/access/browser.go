package access

import (
	"strings"
	"unicode"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Browser puts what a browser says of itself (RFC 9110 section 10.1.5) into a
// few words for the list of sessions, such as “Firefox on Linux”. It is for
// people to recognise their own; nothing is decided by it.
func Browser(userAgent string) string {
	first := func(known [][2]string) string {
		for _, k := range known {
			if strings.Contains(userAgent, k[0]) {
				return k[1]
			}
		}
		return ""
	}
	// The order counts: nearly all of them call themselves Mozilla, Chrome or Safari too.
	name := first([][2]string{
		{"Edg", "Edge"},
		{"OPR/", "Opera"},
		{"Vivaldi/", "Vivaldi"},
		{"SamsungBrowser/", "Samsung Internet"},
		{"FxiOS/", "Firefox"},
		{"Firefox/", "Firefox"},
		{"CriOS/", "Chrome"},
		{"HeadlessChrome/", "Chrome without a window"},
		{"Chrome/", "Chrome"},
		{"Safari/", "Safari"},
	})
	system := first([][2]string{
		{"Windows", "Windows"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"CrOS", "ChromeOS"}, {"Mac OS X", "macOS"}, {"Linux", "Linux"},
	})
	switch {
	case name != "" && system != "":
		return name + " on " + system
	case name != "":
		return name
	}
	// A program: its first word, up to the slash before its version.
	word, _, _ := strings.Cut(strings.TrimSpace(userAgent), " ")
	word, _, _ = strings.Cut(word, "/")
	word = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(word, ""))
	if word == "" {
		return "unknown browser"
	}
	return fault.Shorten(word, 40)
}
