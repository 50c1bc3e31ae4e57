package message

import (
	"bytes"
	"strings"
)

// WithBcc gives a complete message with a Bcc field (RFC 5322 section 3.6.3) for
// those recipients that neither To nor Cc name: for a server that takes the
// envelope from the header and removes Bcc itself.
func WithBcc(raw []byte, recipients []string) []byte {
	named := map[string]bool{}
	p := Parse(raw)
	for _, a := range append(append([]Party{}, p.To...), p.CC...) {
		named[strings.ToLower(a.Address)] = true
	}
	var hidden []string
	for _, r := range recipients {
		if key := strings.ToLower(r); !named[key] {
			named[key] = true
			hidden = append(hidden, r)
		}
	}
	if len(hidden) == 0 {
		return raw
	}
	var b bytes.Buffer
	b.WriteString("Bcc: " + strings.Join(hidden, ",\r\n ") + "\r\n")
	b.Write(raw)
	return b.Bytes()
}
