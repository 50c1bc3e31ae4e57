package message

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message/mail"
)

// The bounds of what is accepted for sending.
const (
	MaxOutgoing  = 50 << 20 // bytes of a whole message
	MaxAddressed = 1000     // recipients of one message
	maxSubject   = 900      // bytes: a line must stay under 998
	maxXHeaders  = 50
)

// Draft is a message as a program describes it. Header fields must not hold
// line breaks or other control characters.
type Draft struct {
	From        Party             `json:"from"`
	To          []Party           `json:"to,omitempty"`
	CC          []Party           `json:"cc,omitempty"`
	BCC         []Party           `json:"bcc,omitempty"` // recipients that no header names
	ReplyTo     []Party           `json:"reply_to,omitempty"`
	Subject     string            `json:"subject,omitempty"`
	Text        string            `json:"text,omitempty"`
	HTML        string            `json:"html,omitempty"`
	Attachments []File            `json:"attachments,omitempty"`
	InReplyTo   string            `json:"in_reply_to,omitempty"` // a Message-ID, with or without brackets
	References  []string          `json:"references,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"` // names that begin with X-
}

// File is an attachment of a Draft. One with a ContentID is shown inside the
// HTML, which refers to it as cid:ContentID.
type File struct {
	Filename    string `json:"filename,omitempty"`
	ContentType string `json:"content_type,omitempty"` // default application/octet-stream
	ContentID   string `json:"content_id,omitempty"`
	Content     []byte `json:"content"`
}

// Outgoing is a message ready for submission.
type Outgoing struct {
	Raw       []byte // RFC 5322 with CRLF
	Envelope  Envelope
	From      Party
	MessageID string // without brackets
	Subject   string
}

var (
	xHeader   = regexp.MustCompile(`^[Xx]-[A-Za-z0-9-]{1,70}$`)
	mediaType = regexp.MustCompile(`^[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,100}$`)
	contentID = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+/=?^_{|}~.@-]{1,200}$`)
	messageID = regexp.MustCompile(`^[^\s<>\x00-\x1f\x7f]{1,900}$`)
)

// Compose makes the message that a Draft describes, dated now, with a fresh
// Message-ID. Faults are Invalid and name the field.
func Compose(d Draft, now time.Time) (Outgoing, error) {
	c := composing{}
	from := c.party("from", d.From)
	env := Envelope{ReversePath: from.Address}
	for _, l := range []struct {
		field, header string
		list          []Party
	}{{"to", "To", d.To}, {"cc", "Cc", d.CC}, {"bcc", "", d.BCC}} {
		checked := c.list(l.field, l.list)
		for _, p := range checked {
			if !slices.Contains(env.ForwardPaths, p.Address) {
				env.ForwardPaths = append(env.ForwardPaths, p.Address)
			}
		}
		c.addresses(l.header, checked)
	}
	if c.err == nil && len(env.ForwardPaths) == 0 {
		c.refuse("to", "The message has no recipient.", "Name at least one address in to, cc or bcc.")
	}
	if len(env.ForwardPaths) > MaxAddressed {
		c.refuse("to", fmt.Sprintf("The message has %d recipients; at most %d are allowed.", len(env.ForwardPaths), MaxAddressed), "Send it in several messages.")
	}
	c.addresses("Reply-To", c.list("reply_to", d.ReplyTo))
	c.text("subject", "Subject", d.Subject, maxSubject)
	c.replies(d)
	c.extra(d.Headers)
	id := newMessageID(Domain(from.Address))
	c.head.WriteString("Date: " + now.Format(time.RFC1123Z) + "\r\nMessage-ID: <" + id + ">\r\nMIME-Version: 1.0\r\n")
	body := c.body(d)
	if c.err != nil {
		return Outgoing{}, c.err
	}
	a := mail.Address{Name: from.Name, Address: from.Address}
	raw := slices.Concat([]byte("From: "+a.String()+"\r\n"), c.head.Bytes(), body)
	if len(raw) > MaxOutgoing {
		return Outgoing{}, tooLarge(len(raw))
	}
	return Outgoing{Raw: raw, Envelope: env, From: from, MessageID: id, Subject: d.Subject}, nil
}

// newMessageID makes an identifier that is unique by 128 random bits
// (RFC 5322 section 3.6.4).
func newMessageID(domain string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:]) + "@" + domain
}

// composing collects the header; the first fault stays.
type composing struct {
	head bytes.Buffer
	err  error
}

func (c *composing) refuse(field, text, remedy string) {
	if c.err == nil {
		c.err = invalid(field, text, remedy)
	}
}

func (c *composing) party(field string, p Party) Party {
	address, err := wireAddress(p.Address)
	if err != nil {
		c.refuse(field, "“"+shown(p.Address)+"” is not a mail address.", "Write the address as name@domain, and the display name apart.")
	}
	if hasControl(p.Name) || len(p.Name) > 500 {
		c.refuse(field, "A display name holds a line break or control character, or is longer than 500 bytes.", "Write it in one line.")
	}
	return Party{Name: p.Name, Address: address}
}

func (c *composing) list(field string, list []Party) []Party {
	out := make([]Party, 0, len(list))
	for _, p := range list {
		out = append(out, c.party(field, p))
	}
	return out
}

// addresses writes an address field, one address a line.
func (c *composing) addresses(header string, list []Party) {
	if header == "" || len(list) == 0 {
		return
	}
	each := make([]string, len(list))
	for i, p := range list {
		a := mail.Address{Name: p.Name, Address: p.Address}
		each[i] = a.String()
	}
	c.head.WriteString(header + ": " + strings.Join(each, ",\r\n ") + "\r\n")
}

// text writes an unstructured field, encoded where it must be (RFC 2047).
func (c *composing) text(field, header, value string, most int) {
	switch {
	case value == "":
		return
	case hasControl(value):
		c.refuse(field, "The value holds a line break or another control character.", "Write it in one line.")
		return
	case len(value) > most:
		c.refuse(field, fmt.Sprintf("The value is longer than %d bytes.", most), "Shorten it.")
		return
	}
	encoded := mime.QEncoding.Encode("utf-8", value)
	c.head.WriteString(header + ": " + strings.ReplaceAll(encoded, "?= =?", "?=\r\n =?") + "\r\n")
}

func (c *composing) replies(d Draft) {
	strip := func(s string) string {
		return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(s), "<"), ">")
	}
	if d.InReplyTo != "" {
		id := strip(d.InReplyTo)
		if !messageID.MatchString(id) {
			c.refuse("in_reply_to", "The value is no Message-ID.", "Give the Message-ID of the message that is answered.")
		}
		c.head.WriteString("In-Reply-To: <" + id + ">\r\n")
		if len(d.References) == 0 {
			d.References = []string{id}
		}
	}
	if len(d.References) > 100 {
		d.References = d.References[len(d.References)-100:]
	}
	ids := make([]string, 0, len(d.References))
	for _, ref := range d.References {
		id := strip(ref)
		if !messageID.MatchString(id) {
			c.refuse("references", "A value is no Message-ID.", "Give Message-IDs only.")
		}
		ids = append(ids, "<"+id+">")
	}
	if len(ids) > 0 {
		c.head.WriteString("References: " + strings.Join(ids, "\r\n ") + "\r\n")
	}
}

func (c *composing) extra(headers map[string]string) {
	if len(headers) > maxXHeaders {
		c.refuse("headers", fmt.Sprintf("There are more than %d header fields of your own.", maxXHeaders), "Leave some out.")
		return
	}
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !xHeader.MatchString(name) {
			c.refuse("headers", "“"+shown(name)+"” may not be set.", "Header fields of your own begin with X- and consist of letters, digits and hyphens.")
			return
		}
		c.text("headers."+name, name, headers[name], 900)
	}
}

// body writes the content: text, HTML or both, inline files with the HTML, and
// attachments around them.
func (c *composing) body(d Draft) []byte {
	var related, attached []File
	for i, f := range d.Attachments {
		if f = c.file(fmt.Sprintf("attachments[%d]", i), f); f.ContentID != "" && d.HTML != "" {
			related = append(related, f)
		} else {
			attached = append(attached, f)
		}
	}
	if strings.ContainsRune(d.Text, 0) || strings.ContainsRune(d.HTML, 0) {
		c.refuse("text", "The text holds a NUL character.", "Remove it.")
	}
	var e entity
	switch {
	case d.HTML == "":
		e = textEntity("text/plain", d.Text)
	default:
		e = textEntity("text/html", d.HTML)
		if len(related) > 0 {
			e = multi("related", append([]entity{e}, fileEntities(related)...))
		}
		if d.Text != "" {
			e = multi("alternative", []entity{textEntity("text/plain", d.Text), e})
		}
	}
	if len(attached) > 0 {
		e = multi("mixed", append([]entity{e}, fileEntities(attached)...))
	}
	var out bytes.Buffer
	for _, k := range slices.Sorted(keys(e.head)) {
		out.WriteString(k + ": " + e.head.Get(k) + "\r\n")
	}
	out.WriteString("\r\n")
	out.Write(e.body)
	return out.Bytes()
}

func (c *composing) file(field string, f File) File {
	f.ContentType = strings.ToLower(strings.TrimSpace(f.ContentType))
	if f.ContentType == "" {
		f.ContentType = "application/octet-stream"
	}
	f.ContentID = strings.TrimSuffix(strings.TrimPrefix(f.ContentID, "<"), ">")
	switch {
	case !mediaType.MatchString(f.ContentType) || strings.HasPrefix(f.ContentType, "multipart/"):
		c.refuse(field+".content_type", "“"+shown(f.ContentType)+"” is no media type for an attachment.", "Write it as type/subtype, as in application/pdf.")
	case f.ContentID != "" && !contentID.MatchString(f.ContentID):
		c.refuse(field+".content_id", "The content id holds characters that are not allowed.", "Use letters, digits, dots and @.")
	case hasControl(f.Filename) || len(f.Filename) > 255:
		c.refuse(field+".filename", "The file name holds a line break or control character, or is longer than 255 bytes.", "Use a plain name.")
	}
	if strings.HasPrefix(f.ContentType, "message/") { // must not be encoded (RFC 2046 section 5.2), and its lines may be too long to go without
		f.ContentType = "application/octet-stream"
	}
	return f
}

// entity is a MIME entity being written.
type entity struct {
	head textproto.MIMEHeader
	body []byte
}

func textEntity(kind, text string) entity {
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\r\n", "\n")
	_, _ = io.WriteString(w, strings.ReplaceAll(text, "\n", "\r\n"))
	_ = w.Close()
	return entity{textproto.MIMEHeader{"Content-Type": {kind + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"}}, b.Bytes()}
}

func fileEntities(files []File) []entity {
	out := make([]entity, len(files))
	for i, f := range files {
		h := textproto.MIMEHeader{"Content-Type": {f.ContentType}, "Content-Transfer-Encoding": {"base64"}}
		disposition := "attachment"
		if f.ContentID != "" {
			disposition = "inline"
			h.Set("Content-ID", "<"+f.ContentID+">")
		}
		if f.Filename != "" {
			disposition = mime.FormatMediaType(disposition, map[string]string{"filename": f.Filename})
		}
		h.Set("Content-Disposition", disposition)
		out[i] = entity{h, wrapBase64(f.Content)}
	}
	return out
}

// wrapBase64 encodes in lines of 76 characters (RFC 2045 section 6.8).
func wrapBase64(content []byte) []byte {
	const bytesPerLine = 57
	out := make([]byte, 0, base64.StdEncoding.EncodedLen(len(content))*78/76+2)
	for chunk := range slices.Chunk(content, bytesPerLine) {
		out = base64.StdEncoding.AppendEncode(out, chunk)
		out = append(out, "\r\n"...)
	}
	return out
}

func multi(subtype string, parts []entity) entity {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		part, _ := w.CreatePart(p.head) // a buffer does not fail
		_, _ = part.Write(p.body)
	}
	_ = w.Close()
	return entity{textproto.MIMEHeader{"Content-Type": {"multipart/" + subtype + "; boundary=" + w.Boundary()}}, b.Bytes()}
}
