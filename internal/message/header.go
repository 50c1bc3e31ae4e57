package message

import (
	"bytes"
	"strings"
)

// The bounds of parsing. What lies beyond them is left out and remarked upon.
const (
	maxHeader     = 1 << 20  // bytes of one header section
	maxField      = 64 << 10 // bytes of one field that is interpreted
	maxDepth      = 20       // multipart within multipart
	maxParts      = 1000     // parts of a message
	maxRecipients = 10000    // addresses of one field
)

// field is one header field as it stands: its name, and the raw bytes with
// name, folding and final line end.
type field struct {
	name string
	raw  []byte
}

// is compares field names, which have no case (RFC 5322 section 1.2.2).
func (f field) is(name string) bool { return strings.EqualFold(f.name, name) }

// lineEnds unfolds a field.
var lineEnds = strings.NewReplacer("\r\n", "", "\n", "", "\r", "")

// value gives the field body unfolded, without surrounding space.
func (f field) value() string {
	_, v, _ := bytes.Cut(f.raw, []byte{':'})
	v = bytes.TrimSpace(v)
	if bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 {
		return string(v)
	}
	return strings.TrimSpace(lineEnds.Replace(string(v)))
}

// splitHeader reads the header section of raw. Lines that are no fields are
// left out and counted. The rest is the body after the empty line. A header
// without its empty line ends at the first line that cannot belong to it only
// when no field was seen; else the message is all header.
func splitHeader(raw []byte) (fields []field, body []byte, bad int, tooBig bool) {
	at := 0
	for at < len(raw) {
		if at > maxHeader {
			return fields, bodyAfter(raw[at:]), bad, true
		}
		end := lineEnd(raw, at)
		line := raw[at:end]
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return fields, raw[end:], bad, false
		}
		for end < len(raw) && (raw[end] == ' ' || raw[end] == '\t') && len(bytes.TrimSpace(raw[end:lineEnd(raw, end)])) > 0 {
			end = lineEnd(raw, end)
		}
		if name, ok := fieldName(raw[at:end]); ok {
			fields = append(fields, field{name: name, raw: raw[at:end]})
		} else {
			bad++
		}
		at = end
	}
	return fields, nil, bad, false
}

// bodyAfter finds the body behind the rest of a header that is too long.
func bodyAfter(rest []byte) []byte {
	for _, gap := range [][]byte{[]byte("\r\n\r\n"), []byte("\n\n")} {
		if _, body, ok := bytes.Cut(rest, gap); ok {
			return body
		}
	}
	return nil
}

// lineEnd gives the offset behind the line that starts at from.
func lineEnd(raw []byte, from int) int {
	if i := bytes.IndexByte(raw[from:], '\n'); i >= 0 {
		return from + i + 1
	}
	return len(raw)
}

// fieldName reads the name of a field (RFC 5322 section 3.6.8); space before
// the colon is an old form and accepted.
func fieldName(line []byte) (string, bool) {
	name, _, ok := bytes.Cut(line, []byte{':'})
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 || len(name) > 200 {
		return "", false
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return "", false
		}
	}
	return string(name), true
}

// first gives the first field of a name.
func first(fields []field, name string) (field, bool) {
	for _, f := range fields {
		if f.is(name) {
			return f, true
		}
	}
	return field{}, false
}

// all gives every field of a name.
func all(fields []field, name string) []field {
	var out []field
	for _, f := range fields {
		if f.is(name) {
			out = append(out, f)
		}
	}
	return out
}

// messageIDs reads the identifiers between angle brackets. It is lenient: an
// identifier is whatever stands there, since replies must quote it unchanged.
func messageIDs(s string) []string {
	var out []string
	for len(out) < 1000 {
		_, rest, ok := strings.Cut(s, "<")
		if !ok {
			return out
		}
		id, after, ok := strings.Cut(rest, ">")
		if !ok {
			return out
		}
		if id = strings.Join(strings.Fields(id), ""); id != "" && len(id) <= 998 {
			out = append(out, id)
		}
		s = after
	}
	return out
}
