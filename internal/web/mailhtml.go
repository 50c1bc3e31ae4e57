package web

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"

	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/message"
)

// quiet gives the HTML of a message without the elements that make a browser
// look up or call another server even where it may load nothing: link (preconnect
// and the like), meta (refresh), base, and frames, to whose servers it connects
// before it asks the policy. Whatever else loads is refused by the frame's policy.
//
// It reads the message as a browser without scripts does, and writes what it has
// read: a link cannot hide in what one of them takes for text and the other for
// elements. What may hold such text goes with its content.
//
// A picture that the message names by its Content-ID (RFC 2392) is replaced by
// what picture gives for it; empty leaves it as it is. Empty where the HTML is
// nested too deep to be read.
func quiet(document string, picture func(contentID string) string) string {
	root, err := html.ParseWithOptions(strings.NewReader(document), html.ParseOptionEnableScripting(false))
	if err != nil {
		return ""
	}
	hush(root)
	for n := range root.Descendants() {
		showPictures(n, picture)
	}
	var out strings.Builder
	if err := html.Render(&out, root); err != nil {
		return ""
	}
	return out.String()
}

// hush removes what is loud below a node. The parser bounds how deep that is.
func hush(n *html.Node) {
	for child := n.FirstChild; child != nil; {
		next := child.NextSibling
		if loud(child) {
			n.RemoveChild(child)
		} else {
			hush(child)
		}
		child = next
	}
}

// loud says whether an element makes a browser ask somebody, or may hide one that does.
func loud(n *html.Node) bool {
	if n.Type == html.CommentNode {
		return true
	}
	if n.Type != html.ElementNode {
		return false
	}
	switch n.Data {
	case "link", "meta", "base", "iframe", "frame", "frameset", "object", "embed", "script", "noembed", "noframes", "noscript", "plaintext", "xmp", "template":
		return true
	}
	return n.Data == "style" && n.Namespace != "" // text here, elements in SVG
}

// showPictures puts pictures of the message into an element that names them.
func showPictures(n *html.Node, picture func(string) string) {
	if n.Type != html.ElementNode {
		return
	}
	for i, a := range n.Attr {
		if a.Key != "background" && (a.Key != "src" || n.Data != "img") {
			continue
		}
		if id, is := contentID(a.Val); is {
			if data := picture(id); data != "" {
				n.Attr[i].Val = data
			}
		}
	}
}

// contentID reads a cid URL (RFC 2392 section 2).
func contentID(address string) (string, bool) {
	address = strings.TrimSpace(address)
	if len(address) < 5 || !strings.EqualFold(address[:4], "cid:") {
		return "", false
	}
	id, err := url.PathUnescape(address[4:])
	return id, err == nil
}

// The bounds of what is put into the HTML of a message. What is beyond them is
// among its attachments all the same.
const (
	mostPictures    = 64
	largestPictures = 10 << 20 // all together
)

// pictureTypes are those that are shown, by what is in them and not by what they
// are called.
func pictureTypes() []string {
	return []string{"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"}
}

// pictures gives the pictures that the HTML of a message names and the message
// holds, as data URLs (RFC 2397) by their Content-ID: the frame may load nothing,
// not even from here.
func (p *Pages) pictures(ctx context.Context, m fetch.Message) (map[string]string, error) {
	named := map[string]bool{}
	quiet(m.Parsed.HTML, func(id string) string {
		named[id] = true
		return ""
	})
	var numbers []int
	left := int64(largestPictures)
	for _, part := range m.Parsed.Parts {
		if named[part.ContentID] && part.Size <= left && len(numbers) < mostPictures {
			delete(named, part.ContentID) // the first of several is meant
			left -= part.Size
			numbers = append(numbers, part.Index)
		}
	}
	if len(numbers) == 0 {
		return nil, nil
	}
	whole, err := p.rawMessage(ctx, m.ID)
	if err != nil {
		return nil, err
	}
	shown := map[string]string{}
	for _, part := range message.Attachments(whole, numbers...) {
		var content bytes.Buffer
		if _, err := io.Copy(&content, io.LimitReader(part.Content, largestPictures)); err != nil {
			continue // damaged: its place stays empty
		}
		if kind := http.DetectContentType(content.Bytes()); slices.Contains(pictureTypes(), kind) {
			shown[part.ContentID] = "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(content.Bytes())
		}
	}
	return shown, nil
}
