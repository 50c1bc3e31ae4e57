package message

import (
	"bytes"
	"fmt"
	"io"
	netmail "net/mail"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Parse reads a message into its readable form. It never fails: what cannot be
// understood is left out and remarked upon, and a foreign message takes
// bounded time and memory.
func Parse(raw []byte) Parsed {
	r := reading{}
	if len(bytes.TrimSpace(raw)) == 0 {
		r.remark("The message is empty.")
		return r.out
	}
	fields, body := r.header(raw)
	r.fields(fields)
	r.entity(fields, body, 0, "")
	return r.out
}

// Attachment opens the n-th of Parsed.Parts: its description and its decoded
// content. The fault "message.no_attachment" (NotFound) says there is none.
func Attachment(raw []byte, n int) (Part, io.Reader, error) {
	opened := Attachments(raw, n)
	if len(opened) == 0 {
		return Part{}, nil, &fault.Error{
			ID: "message.no_attachment", Kind: fault.NotFound, Text: fmt.Sprintf("The message has no attachment number %d.", n),
			Remedy: "Attachments are numbered from 0 in the order of the message; the parsed message lists them.",
		}
	}
	return opened[0].Part, opened[0].Content, nil
}

// Opened is a part with its decoded content.
type Opened struct {
	Part
	Content io.Reader
}

// Attachments opens several of Parsed.Parts by their numbers, in the order of the
// message. Those that there are not are left out.
func Attachments(raw []byte, numbers ...int) []Opened {
	r := reading{want: numbers, wanted: true}
	fields, body := r.header(raw)
	r.entity(fields, body, 0, "")
	return r.opened
}

// reading is one pass over a message.
type reading struct {
	out    Parsed
	parts  int
	want   []int // the attachments to open
	wanted bool  // whether any is wanted at all
	opened []Opened

	hasText, hasHTML bool
}

func (r *reading) remark(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(r.out.Remarks) < 20 && !slices.Contains(r.out.Remarks, text) {
		r.out.Remarks = append(r.out.Remarks, text)
	}
}

func (r *reading) header(raw []byte) ([]field, []byte) {
	fields, body, bad, tooBig := splitHeader(raw)
	if tooBig {
		r.remark("A header is longer than %d bytes; the rest of it was left out.", maxHeader)
	}
	if bad == 1 {
		r.remark("A header line could not be read and was left out.")
	} else if bad > 1 {
		r.remark("%d header lines could not be read and were left out.", bad)
	}
	return fields, body
}

// fields interprets the fields of the message itself.
func (r *reading) fields(fields []field) {
	if len(fields) == 0 {
		r.remark("The message has no header.")
	}
	if ids := messageIDs(r.value(fields, "Message-ID")); len(ids) > 0 {
		r.out.MessageID = ids[0]
	}
	r.out.InReplyTo = messageIDs(r.value(fields, "In-Reply-To"))
	r.out.References = messageIDs(r.value(fields, "References"))
	if date := r.value(fields, "Date"); date != "" {
		t, err := parseDate(date[:min(len(date), 200)])
		if err != nil {
			r.remark("The Date field could not be read: “%s”.", fault.Shorten(date, 60))
		} else {
			r.out.Date = t
		}
	}
	subject, ok := decodeWords(r.value(fields, "Subject"))
	if !ok {
		r.remark("The Subject is encoded in a way that could not be read.")
	}
	r.out.Subject = subject
	for _, list := range []struct {
		name string
		to   *[]Party
	}{
		{"From", &r.out.From}, {"Sender", &r.out.Sender}, {"Reply-To", &r.out.ReplyTo}, {"To", &r.out.To}, {"Cc", &r.out.CC},
	} {
		bad := 0
		for _, f := range all(fields, list.name) {
			found, missed := parties(f.value())
			bad += missed
			*list.to = append(*list.to, found...)
		}
		if bad > 0 {
			r.remark("The %s field holds what is no address; it was left out.", list.name)
		}
	}
}

// parseDate reads a date and time (RFC 5322 section 3.3). Nearly all are written in
// one form; of all the others the library tries one after the other.
func parseDate(s string) (time.Time, error) {
	if t, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", s); err == nil {
		return t, nil
	}
	return netmail.ParseDate(s)
}

// value gives the first field of a name, cut where it is too long to interpret.
func (r *reading) value(fields []field, name string) string {
	f, ok := first(fields, name)
	if !ok {
		return ""
	}
	v := f.value()
	if len(v) > maxField {
		r.remark("The %s field is longer than %d bytes; the rest of it was left out.", name, maxField)
		v = v[:maxField]
	}
	return v
}

// entity reads one MIME entity (RFC 2045) and those within it.
func (r *reading) entity(fields []field, body []byte, depth int, parent string) {
	if r.wanted && len(r.opened) == len(r.want) {
		return
	}
	if r.parts++; r.parts > maxParts {
		if r.parts == maxParts+1 {
			r.remark("The message has more than %d parts; the rest was left out.", maxParts)
		}
		return
	}
	e := r.describe(fields, parent)
	if strings.HasPrefix(e.mediaType, "multipart/") {
		boundary := e.params["boundary"]
		switch {
		case depth >= maxDepth:
			r.remark("The message nests its parts deeper than %d levels; what is further in was left out.", maxDepth)
			return
		case boundary == "" || len(boundary) > 200:
			r.remark("A multipart says no usable boundary; it was read as text.")
			e.mediaType = "text/plain"
		default:
			parts, closed := splitMultipart(body, boundary)
			if !closed {
				r.remark("A multipart does not end as it should; the message may be cut off.")
			}
			for _, p := range parts {
				inner, content := r.header(p)
				r.entity(inner, content, depth+1, e.mediaType)
			}
			return
		}
	}
	r.leaf(e, body, parent)
}

// leaf takes an entity without parts: as a body text, or as an attachment.
func (r *reading) leaf(e described, body []byte, parent string) {
	attached := e.disposition == "attachment" || e.filename != ""
	switch {
	case e.mediaType == "text/plain" && !attached && (!r.hasText || parent != "multipart/alternative"):
		r.addText(e, body)
	case e.mediaType == "text/html" && !attached && !r.hasHTML:
		r.hasHTML = true
		if !r.wanted {
			r.out.HTML = r.text(e, body)
		}
	default:
		r.attach(e, body)
	}
}

// addText takes a plain text: the first is the body, further ones (a list's
// footer) follow it.
func (r *reading) addText(e described, body []byte) {
	again := r.hasText
	r.hasText = true
	if r.wanted || len(r.out.Text) >= MaxText-2 {
		return
	}
	text := r.text(e, body)
	if again && r.out.Text != "" {
		text = strings.TrimRight(r.out.Text, "\n") + "\n\n" + text
	}
	r.out.Text = r.cut(text)
}

func (r *reading) attach(e described, body []byte) {
	n := len(r.out.Parts)
	part := Part{
		Index: n, Filename: e.filename, ContentType: e.mediaType, ContentID: e.contentID,
		Inline: e.disposition == "inline" || e.disposition == "" && e.contentID != "",
	}
	if r.wanted && !slices.Contains(r.want, n) {
		r.out.Parts = append(r.out.Parts, part)
		return
	}
	size, err := io.Copy(io.Discard, e.decode(body))
	if err != nil {
		r.remark("Attachment %d is damaged: its encoding breaks off.", n)
	}
	part.Size = size
	r.out.Parts = append(r.out.Parts, part)
	if r.wanted {
		r.opened = append(r.opened, Opened{part, e.decode(body)})
	}
}

// text decodes a body text to UTF-8.
func (r *reading) text(e described, body []byte) string {
	b, err := io.ReadAll(io.LimitReader(e.decode(body), MaxText+1))
	if err != nil {
		r.remark("A text is damaged: its encoding breaks off.")
	}
	name := e.params["charset"]
	if name == "" && !utf8.Valid(trimPartialRune(b)) {
		name = "windows-1252"
		r.remark("A text names no charset and is no UTF-8; it was read as Windows-1252.")
	}
	if name != "" && !strings.EqualFold(name, "utf-8") && !strings.EqualFold(name, "us-ascii") {
		if converted, err := charset.Reader(name, bytes.NewReader(b)); err != nil {
			r.remark("A text is in the charset “%s”, which is not known; unreadable characters were replaced.", fault.Shorten(name, 40))
		} else if c, err := io.ReadAll(io.LimitReader(converted, MaxText+1)); err == nil {
			b = c
		}
	}
	if !utf8.Valid(b) {
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	return r.cut(strings.ReplaceAll(string(b), "\r\n", "\n"))
}

// cut bounds a text to MaxText on a rune.
func (r *reading) cut(s string) string {
	if len(s) <= MaxText {
		return s
	}
	r.remark("A text is longer than %d bytes; the rest is in the raw message.", MaxText)
	return string(trimPartialRune([]byte(s[:MaxText])))
}

// trimPartialRune drops a rune that was cut off at the end.
func trimPartialRune(b []byte) []byte {
	for i := 1; i <= utf8.UTFMax && i <= len(b); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}
