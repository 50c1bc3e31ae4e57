package web

import (
	"strings"

	"golang.org/x/net/html"
)

// quiet gives the HTML of a message without the elements that make a browser
// look up or call another server even where it may load nothing: link (preconnect
// and the like), meta (refresh), base, and frames, to whose servers it connects
// before it asks the policy. Whatever else loads is refused by the frame's policy.
func quiet(document string) string {
	var out strings.Builder
	for z := html.NewTokenizer(strings.NewReader(document)); ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			return out.String()
		}
		raw := string(z.Raw())
		if kind == html.StartTagToken || kind == html.EndTagToken || kind == html.SelfClosingTagToken {
			name, _ := z.TagName()
			switch string(name) {
			case "link", "meta", "base", "iframe", "frame", "object", "embed":
				continue
			}
		}
		out.WriteString(raw)
	}
}
