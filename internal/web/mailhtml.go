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
// A picture that the message names by its Content-ID (RFC 2392) is replaced by
// what picture gives for it; empty leaves it as it is.
func quiet(document string, picture func(contentID string) string) string {
	var out strings.Builder
	for z := html.NewTokenizer(strings.NewReader(document)); ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			return out.String()
		}
		raw := string(z.Raw())
		if kind == html.StartTagToken || kind == html.EndTagToken || kind == html.SelfClosingTagToken {
			name, more := z.TagName()
			switch string(name) {
			case "link", "meta", "base", "iframe", "frame", "object", "embed":
				continue
			}
			if more && kind != html.EndTagToken {
				raw = withPictures(z, html.Token{Type: kind, Data: string(name)}, raw, picture)
			}
		}
		out.WriteString(raw)
	}
}

// withPictures gives a tag with its pictures in it; raw, as it came, where it
// names none.
func withPictures(z *html.Tokenizer, tag html.Token, raw string, picture func(string) string) string {
	found := false
	for more := true; more; {
		var key, value []byte
		key, value, more = z.TagAttr()
		a := html.Attribute{Key: string(key), Val: string(value)}
		if a.Key == "src" && tag.Data == "img" || a.Key == "background" {
			if id, is := contentID(a.Val); is {
				if data := picture(id); data != "" {
					a.Val, found = data, true
				}
			}
		}
		tag.Attr = append(tag.Attr, a)
	}
	if !found {
		return raw
	}
	return tag.String()
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
