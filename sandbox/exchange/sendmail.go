package exchange

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/mail"
	"slices"

	"github.com/emersion/go-message/textproto"
)

// Why SendMail does not take a message.
var (
	ErrNoMailbox    = errors.New("there is no such mailbox")
	ErrAccessDenied = errors.New("the mailbox may not be opened")
	ErrSendAsDenied = errors.New("the sender is not allowed")
	ErrBadMessage   = errors.New("the message cannot be read")
)

// SendMail takes a message as MIME, as Graph hands it on: recipients are those of To, Cc and Bcc, and Bcc is removed. Whether
// signing in by SMTP is switched off plays no part. It returns one of the errors above, wrapped.
func (x *Exchange) SendMail(who Principal, address string, raw []byte) error {
	box, found := x.dir.Mailbox(address)
	if !found || !box.Licensed {
		return fmt.Errorf("%s: %w", address, ErrNoMailbox)
	}
	if !x.dir.MayOpen(who, box.Address) {
		return fmt.Errorf("%s: %w", address, ErrAccessDenied)
	}
	raw = crlf(raw)
	in := bufio.NewReader(bytes.NewReader(raw))
	header, err := textproto.ReadHeader(in)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadMessage, err)
	}
	authors, err := authorsOf(raw)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadMessage, err)
	}
	for _, author := range authors {
		if !x.dir.MaySendAs(who, box.Address, author) {
			return fmt.Errorf("%s: %w", author, ErrSendAsDenied)
		}
	}
	to, err := recipientsOf(header)
	if err != nil || len(to) == 0 {
		return fmt.Errorf("%w: no recipient", ErrBadMessage)
	}
	header.Del("Bcc")
	var out bytes.Buffer
	if err := textproto.WriteHeader(&out, header); err != nil {
		return fmt.Errorf("%w: %w", ErrBadMessage, err)
	}
	if _, err := in.WriteTo(&out); err != nil {
		return fmt.Errorf("%w: %w", ErrBadMessage, err)
	}
	x.accept(submission{from: box.Address, to: to, raw: out.Bytes(), hello: "graph.sandbox.test", who: who, mailbox: box})
	return nil
}

// recipientsOf returns the addresses of To, Cc and Bcc, each once.
func recipientsOf(header textproto.Header) ([]string, error) {
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{}}
	var all []string
	for _, name := range []string{"To", "Cc", "Bcc"} {
		for fields := header.FieldsByKey(name); fields.Next(); {
			list, err := parser.ParseList(fields.Value())
			if err != nil {
				return nil, err
			}
			for _, a := range list {
				if !slices.Contains(all, a.Address) {
					all = append(all, a.Address)
				}
			}
		}
	}
	return all, nil
}
