package message

import (
	"bytes"
	"io"
	"strings"
	"unicode"
)

// Line makes foreign text fit to be shown in one line: no control characters,
// and none that turn the direction of writing, which could make a text look like
// another.
func Line(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r == '\r' {
			return ' '
		}
		return fit(r)
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// Lines is Line for a text of several lines.
func Lines(text string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '\n', '\t':
			return r
		case '\r':
			return -1
		}
		return fit(r)
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// fit gives what is shown of a character. The marks that only hint at a direction
// are left out; those that turn it are seen.
func fit(r rune) rune {
	switch {
	case r == 0x200E || r == 0x200F || r == 0x061C:
		return -1
	case unicode.IsControl(r) || r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069:
		return '\uFFFD'
	}
	return r
}

// Header reads the header of a message as it stands, at most limit bytes of it;
// whole says that this was all.
func Header(raw io.Reader, limit int64) (header string, whole bool, err error) {
	b, err := io.ReadAll(io.LimitReader(raw, limit+1))
	if err != nil {
		return "", false, err
	}
	end := -1
	for _, gap := range [][]byte{[]byte("\r\n\r\n"), []byte("\n\n")} {
		if i := bytes.Index(b, gap); i >= 0 && (end < 0 || i < end) {
			end = i
		}
	}
	switch {
	case end >= 0:
		return string(b[:end]), true, nil
	case int64(len(b)) > limit:
		return string(b[:limit]), false, nil
	}
	return string(b), true, nil
}

// Disposition is the Content-Disposition of a download under a foreign name
// (RFC 6266): in ASCII for old programs, and as it is (RFC 8187).
func Disposition(name string) string {
	name = strings.TrimSpace(strings.ReplaceAll(filename(Line(name)), "\uFFFD", "_"))
	if name == "" {
		return "attachment"
	}
	var ascii, encoded strings.Builder
	for _, r := range name {
		switch {
		case r == '"' || r == '\\' || r == '%' || r < ' ' || r > '~':
			ascii.WriteByte('_')
		default:
			ascii.WriteRune(r)
		}
	}
	const hex, plain = "0123456789ABCDEF", "!#$&+-.^_`|~"
	for i := range len(name) {
		c := name[i]
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte(plain, c) >= 0 {
			encoded.WriteByte(c)
			continue
		}
		encoded.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	out := `attachment; filename="` + ascii.String() + `"`
	if ascii.String() != name {
		out += "; filename*=UTF-8''" + encoded.String()
	}
	return out
}
