package message

import (
	"mime"
	"strings"

	"github.com/emersion/go-message/charset"
	"github.com/emersion/go-message/mail"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// longestParty bounds one address with its display name and comments: the
// parser's time grows with the square of a comment.
const longestParty = 4 << 10

// decodeWords decodes RFC 2047 words in any charset known; what cannot be
// decoded stays as it is. Control characters become spaces.
func decodeWords(s string) (string, bool) {
	out, err := (&mime.WordDecoder{CharsetReader: charset.Reader}).DecodeHeader(s)
	if err != nil {
		out = s
	}
	return oneLine(out), err == nil
}

// oneLine makes text fit to be shown in a line: valid UTF-8 without control
// characters.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
}

// ParseParty reads one mailbox as people write it: "name@domain" or
// "Display Name <name@domain>".
func ParseParty(s string) (Party, error) {
	if len(s) > longestParty {
		return Party{}, addressFault(s, nil)
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return Party{}, addressFault(s, err)
	}
	return Party{Name: oneLine(a.Name), Address: a.Address}, nil
}

// ParseParties reads mailboxes as people write them into a form: one a line, or
// with commas or semicolons between them.
func ParseParties(s string) ([]Party, error) {
	var out []Party
	for one := range strings.Lines(s) {
		for _, one := range splitParties(one) {
			if one = strings.TrimSpace(one); one == "" {
				continue
			}
			p, err := ParseParty(one)
			if err != nil {
				f := *fault.Of(err)
				f.Remedy = "Write it as name@domain, or Display Name <name@domain>."
				return nil, &f
			}
			out = append(out, p)
		}
	}
	return out, nil
}

// parties reads an address list (RFC 5322 section 3.4). A list that cannot be
// read as a whole is read one by one; bad counts what was left out.
func parties(s string) (out []Party, bad int) {
	if s == "" {
		return nil, 0
	}
	if len(s) <= longestParty {
		if list, err := mail.ParseAddressList(s); err == nil {
			for _, a := range list {
				out = append(out, Party{Name: oneLine(a.Name), Address: a.Address})
			}
			return out, 0
		}
	}
	for _, one := range splitParties(s) {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		if len(out) == maxRecipients {
			bad++
			continue
		}
		p, err := ParseParty(one)
		if err != nil {
			bad++
			continue
		}
		out = append(out, p)
	}
	return out, bad
}

// splitParties cuts at commas and semicolons that stand outside quotes and
// angle brackets.
func splitParties(s string) []string {
	var out []string
	quoted, angle, from := false, false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case (c == ',' || c == ';') && !angle:
			out = append(out, s[from:i])
			from = i + 1
		}
	}
	return append(out, s[from:])
}
