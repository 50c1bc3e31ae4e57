package message

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// PrepareRaw makes a complete message ready for submission (RFC 6409 section
// 8): recipients are taken from To, Cc and Bcc, Bcc is removed, a missing
// Message-ID or Date is added, line ends become CRLF. All else stays as it is,
// byte by byte. Faults are Invalid and name the header field.
func PrepareRaw(raw []byte, now time.Time) (Outgoing, error) {
	if len(raw) > MaxOutgoing {
		return Outgoing{}, tooLarge(len(raw))
	}
	raw = crlf(raw)
	fields, body, bad, tooBig := splitHeader(raw)
	switch {
	case len(fields) == 0 || bad > 0 || tooBig:
		return Outgoing{}, invalid("header", "The header of the message cannot be read: it holds a line that is no header field, or none at all.",
			"Send a complete message of RFC 5322: header fields, an empty line, the body.")
	case bytes.IndexByte(raw, 0) >= 0:
		return Outgoing{}, invalid("body", "The message holds a NUL character.", "Encode binary parts with base64.")
	}
	if err := checkLines(raw); err != nil {
		return Outgoing{}, err
	}
	from, err := soleFrom(fields)
	if err != nil {
		return Outgoing{}, err
	}
	out := Outgoing{From: from, Envelope: Envelope{ReversePath: from.Address}}
	if out.Envelope.ForwardPaths, err = recipients(fields); err != nil {
		return Outgoing{}, err
	}
	if f, ok := first(fields, "Subject"); ok {
		out.Subject, _ = decodeWords(f.value()[:min(len(f.value()), maxSubject)])
	}
	var head bytes.Buffer
	switch ids := all(fields, "Message-ID"); {
	case len(ids) == 0:
		out.MessageID = newMessageID(Domain(from.Address))
		head.WriteString("Message-ID: <" + out.MessageID + ">\r\n")
	case len(ids) == 1 && len(messageIDs(ids[0].value())) == 1 && messageID.MatchString(messageIDs(ids[0].value())[0]):
		out.MessageID = messageIDs(ids[0].value())[0]
	default:
		return Outgoing{}, invalid("Message-ID", "The Message-ID cannot be read, or there is more than one.", "Leave it out, and one is made.")
	}
	if _, ok := first(fields, "Date"); !ok {
		head.WriteString("Date: " + now.Format(time.RFC1123Z) + "\r\n")
	}
	for _, f := range fields {
		if !f.is("Bcc") && !f.is("Resent-Bcc") && !f.is("Return-Path") {
			head.Write(f.raw)
		}
	}
	if !bytes.HasSuffix(head.Bytes(), []byte("\n")) {
		head.WriteString("\r\n")
	}
	head.WriteString("\r\n")
	out.Raw = append(head.Bytes(), body...)
	return out, nil
}

// soleFrom gives the one author that a submission may have.
func soleFrom(fields []field) (Party, error) {
	found := all(fields, "From")
	if len(found) == 1 {
		if list, bad := parties(found[0].value()); len(list) == 1 && bad == 0 {
			if address, err := wireAddress(list[0].Address); err == nil {
				return Party{Name: list[0].Name, Address: address}, nil
			}
		}
	}
	return Party{}, invalid("From", "The message must have exactly one From field with exactly one address.", "Add it, or leave only one.")
}

// recipients collects the forward-paths from To, Cc and Bcc.
func recipients(fields []field) ([]string, error) {
	var out []string
	for _, name := range []string{"To", "Cc", "Bcc"} {
		for _, f := range all(fields, name) {
			list, bad := parties(f.value())
			if bad > 0 {
				return nil, invalid(name, "The "+name+" field holds what is no address.", "Write addresses as name@domain or Name <name@domain>, separated by commas.")
			}
			for _, p := range list {
				address, err := wireAddress(p.Address)
				if err != nil {
					return nil, invalid(name, "“"+shown(p.Address)+"” is not a mail address.", "Write it as name@domain.")
				}
				if !slices.Contains(out, address) {
					out = append(out, address)
				}
			}
		}
	}
	if len(out) == 0 {
		return nil, invalid("To", "The message has no recipient.", "Name at least one address in To, Cc or Bcc.")
	}
	if len(out) > MaxAddressed {
		return nil, invalid("To", fmt.Sprintf("The message has %d recipients; at most %d are allowed.", len(out), MaxAddressed), "Send it in several messages.")
	}
	return out, nil
}

// checkLines holds every line to the 998 bytes of RFC 5322 section 2.1.1.
func checkLines(raw []byte) error {
	n := 0
	for at := 0; at < len(raw); {
		end := lineEnd(raw, at)
		if n++; len(bytes.TrimRight(raw[at:end], "\r\n")) > 998 {
			return invalid("body", fmt.Sprintf("Line %d of the message is longer than 998 bytes.", n), "Encode the part as quoted-printable or base64.")
		}
		at = end
	}
	return nil
}

// crlf makes every line end CRLF; a lone CR would be read as one by some and is
// made one.
func crlf(raw []byte) []byte {
	lone := false
	for i, c := range raw {
		if c == '\n' && (i == 0 || raw[i-1] != '\r') || c == '\r' && (i+1 == len(raw) || raw[i+1] != '\n') {
			lone = true
			break
		}
	}
	if !lone {
		return raw
	}
	out := make([]byte, 0, len(raw)+len(raw)/32)
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '\r':
			out = append(out, '\r', '\n')
			if i+1 < len(raw) && raw[i+1] == '\n' {
				i++
			}
		case c == '\n':
			out = append(out, '\r', '\n')
		default:
			out = append(out, c)
		}
	}
	return out
}

// wireAddress checks an address as Address does, and keeps the local part as
// it is written: only its own server may say that case does not matter.
func wireAddress(s string) (string, error) {
	s = strings.TrimSpace(s)
	if _, err := Address(s); err != nil {
		return "", err
	}
	if hasControl(s) {
		return "", addressFault(s, nil)
	}
	at := strings.LastIndexByte(s, '@')
	domain, err := idna.Lookup.ToASCII(s[at+1:])
	if err != nil {
		return "", addressFault(s, err)
	}
	return s[:at+1] + strings.ToLower(domain), nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\u2028' || r == '\u2029' })
}

func shown(s string) string { return fault.Shorten(s, 80) }

func keys(h textproto.MIMEHeader) iter.Seq[string] { return maps.Keys(h) }

func invalid(field, text, remedy string) error {
	return &fault.Error{ID: "message.invalid", Kind: fault.Invalid, Field: field, Text: text, Who: []fault.Who{fault.Operator}, Remedy: remedy}
}

func tooLarge(n int) error {
	return &fault.Error{
		ID: "message.too_large", Kind: fault.Invalid, Field: "size",
		Text: fmt.Sprintf("The message has %d bytes; at most %d are allowed.", n, MaxOutgoing),
		Who:  []fault.Who{fault.Operator}, Remedy: "Send large files as links.",
	}
}
