// Package message is Internet mail as data: addresses, envelopes, parsed
// messages, folders and cursors, and the parsing and composing of RFC 5322
// messages. It does no input or output.
//
// Parsing never fails a message: what cannot be understood is left out and
// remarked upon, and the raw bytes are always delivered along.
package message

import (
	"strings"
	"time"
)

// Party is a display name with its address.
type Party struct {
	Name    string `json:"name,omitempty"`
	Address string `json:"address"`
}

// Part is an attachment or an inline part other than the body texts.
type Part struct {
	Index       int    `json:"index"` // from 0, in the order of the message
	Filename    string `json:"filename,omitempty"`
	ContentType string `json:"content_type"`
	ContentID   string `json:"content_id,omitempty"`
	Inline      bool   `json:"inline,omitempty"`
	Size        int64  `json:"size"` // decoded bytes
}

// Parsed is the readable form of a message. Remarks say, in sentences, what
// could not be parsed; with any of them, look at the raw message.
type Parsed struct {
	MessageID  string    `json:"message_id,omitempty"` // without brackets
	InReplyTo  []string  `json:"in_reply_to,omitempty"`
	References []string  `json:"references,omitempty"`
	Date       time.Time `json:"date,omitzero"`
	Subject    string    `json:"subject,omitempty"`
	From       []Party   `json:"from,omitempty"`
	Sender     []Party   `json:"sender,omitempty"`
	ReplyTo    []Party   `json:"reply_to,omitempty"`
	To         []Party   `json:"to,omitempty"`
	CC         []Party   `json:"cc,omitempty"`
	Text       string    `json:"text,omitempty"` // UTF-8, at most MaxText bytes
	HTML       string    `json:"html,omitempty"` // as sent, not sanitised, at most MaxText bytes
	Parts      []Part    `json:"attachments,omitempty"`
	Remarks    []string  `json:"remarks,omitempty"`
}

// Brief is what a list shows of a message: all but its texts and who gets it.
func (p Parsed) Brief() Parsed {
	p.Text, p.HTML, p.InReplyTo, p.References, p.Sender, p.ReplyTo, p.To, p.CC = "", "", nil, nil, nil, nil, nil, nil
	p.From = p.From[:min(len(p.From), 3)]
	return p
}

// Words are the subject and who wrote the message, in small letters: what a list
// is searched by.
func (p Parsed) Words() string {
	words := []string{p.Subject}
	for _, from := range p.From[:min(len(p.From), 3)] {
		words = append(words, from.Name, from.Address)
	}
	return strings.ToLower(strings.Join(words, "\n"))
}

// MaxText bounds each body text that Parse keeps; the rest is in the raw message.
const MaxText = 1 << 20

// Received is a message as a protocol hands it on.
type Received struct {
	Folder      string
	UIDValidity uint32
	UID         uint32
	RemoteID    string // a provider's own identifier, where the protocol has one
	ArrivedAt   time.Time
	Flags       []string
	Raw         []byte // RFC 5322, complete
}

// Cursor is where a folder was left: every message up to UID of this
// UIDVALIDITY was handed on. The zero Cursor means "never read".
type Cursor struct {
	UIDValidity uint32 `json:"uid_validity"`
	UID         uint32 `json:"uid"` // highest handed on; 0 for none
}

// Envelope is SMTP's (RFC 5321 section 2.3.1): where to, and where bounces go.
type Envelope struct {
	ReversePath  string   `json:"reverse_path"`
	ForwardPaths []string `json:"forward_paths"`
}
