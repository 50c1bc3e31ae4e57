package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/quotedprintable"
	"path"
	"strings"
)

// described is what an entity's header says of it.
type described struct {
	mediaType   string
	params      map[string]string
	disposition string
	filename    string
	contentID   string
	encoding    string
}

// describe reads the MIME fields of an entity (RFC 2045, RFC 2183). Within
// multipart/digest the default type is message/rfc822 (RFC 2046 section 5.1.5).
func (r *reading) describe(fields []field, parent string) described {
	e := described{mediaType: "text/plain"}
	if parent == "multipart/digest" {
		e.mediaType = "message/rfc822"
	}
	if v := r.value(fields, "Content-Type"); v != "" {
		mediaType, params, err := mime.ParseMediaType(v)
		switch {
		case mediaType != "" && strings.Contains(mediaType, "/"):
			e.mediaType, e.params = mediaType, params
		case err != nil:
			e.mediaType = "application/octet-stream"
			if t := strings.ToLower(strings.TrimSpace(strings.Split(v, ";")[0])); t == "text" || strings.HasPrefix(t, "text/") {
				e.mediaType = "text/plain"
			}
			r.remark("A Content-Type could not be read; the part was taken as %s.", e.mediaType)
		}
	}
	if v := r.value(fields, "Content-Disposition"); v != "" {
		disposition, params, err := mime.ParseMediaType(v)
		if err != nil && disposition == "" {
			disposition = strings.ToLower(strings.TrimSpace(strings.Split(v, ";")[0]))
		}
		e.disposition, e.filename = disposition, params["filename"]
	}
	if e.filename == "" {
		e.filename = e.params["name"]
	}
	e.filename = filename(e.filename)
	if ids := messageIDs(r.value(fields, "Content-ID")); len(ids) > 0 {
		e.contentID = ids[0]
	}
	e.encoding = strings.ToLower(r.value(fields, "Content-Transfer-Encoding"))
	return e
}

// filename makes a name fit to be shown and saved: no folder, no control
// characters, at most 255 bytes.
func filename(s string) string {
	s, _ = decodeWords(s)
	s = path.Base(strings.ReplaceAll(s, "\\", "/"))
	if s == "." || s == ".." || s == "/" {
		return ""
	}
	for len(s) > 255 {
		s = string(trimPartialRune([]byte(s[:255])))
	}
	return s
}

// decode undoes the transfer encoding (RFC 2045 section 6). An unknown one is
// passed through.
func (e described) decode(body []byte) io.Reader {
	switch e.encoding {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, &base64Only{rest: body})
	case "quoted-printable":
		return quotedprintable.NewReader(bytes.NewReader(body))
	}
	return bytes.NewReader(body)
}

// base64Only passes on the characters of the alphabet: others are to be
// ignored (RFC 2045 section 6.8). What follows padding is dropped.
type base64Only struct {
	rest   []byte
	sent   int
	padded bool
}

func (b *base64Only) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && len(b.rest) > 0 {
		c := b.rest[0]
		b.rest = b.rest[1:]
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '+', c == '/':
			if b.padded {
				b.rest = nil
				continue
			}
			p[n] = c
			n++
		case c == '=' && (b.sent+n)%4 != 0:
			b.padded = true
			p[n] = c
			n++
		}
	}
	b.sent += n
	if n == 0 && len(p) > 0 {
		if b.sent%4 != 0 && !b.padded { // cut off: missing padding of a whole group is added
			p[0] = '='
			b.sent++
			return 1, nil
		}
		return 0, io.EOF
	}
	return n, nil
}

// splitMultipart cuts a multipart body at its boundary (RFC 2046 section
// 5.1.1); closed says whether the closing delimiter was there. The parts share
// the body's memory.
func splitMultipart(body []byte, boundary string) (parts [][]byte, closed bool) {
	dash := []byte("--" + boundary)
	from, at := -1, 0
	for at < len(body) {
		i := bytes.Index(body[at:], dash)
		if i < 0 {
			break
		}
		i += at
		end := lineEnd(body, i)
		rest := bytes.TrimRight(body[i+len(dash):end], " \t\r\n")
		if i > 0 && body[i-1] != '\n' || len(rest) > 0 && string(rest) != "--" {
			at = i + len(dash)
			continue
		}
		if from >= 0 {
			parts = append(parts, trimLineEnd(body[from:i]))
		}
		if len(rest) > 0 {
			return parts, true
		}
		if len(parts) > maxParts {
			return parts, true
		}
		from, at = end, end
	}
	if from >= 0 {
		parts = append(parts, body[from:])
	}
	return parts, false
}

// trimLineEnd drops the line end that belongs to the delimiter.
func trimLineEnd(b []byte) []byte {
	b = bytes.TrimSuffix(b, []byte("\n"))
	return bytes.TrimSuffix(b, []byte("\r"))
}
