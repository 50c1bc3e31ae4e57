package exchange

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-message/textproto"
)

// submission is a message handed in, with its envelope.
type submission struct {
	from    string
	to      []string
	raw     []byte
	hello   string
	who     Principal
	mailbox Mailbox
}

// OutsideMessage is mail to an address that is not hosted here. A real
// Exchange would have relayed it.
type OutsideMessage struct {
	From string // envelope sender
	To   string // envelope recipient
	Raw  []byte
	At   time.Time
}

// OutsideMail returns all mail to recipients of other domains, oldest first,
// one entry for each recipient.
func (x *Exchange) OutsideMail() []OutsideMessage {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make([]OutsideMessage, len(x.outside))
	for i, m := range x.outside {
		m.Raw = bytes.Clone(m.Raw)
		all[i] = m
	}
	return all
}

// submissions says how many messages the mailbox has submitted in the last
// minute. With add, this one is counted too unless the limit is reached.
func (x *Exchange) submissions(mailbox string, add bool) int {
	key, now := strings.ToLower(mailbox), x.dir.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	recent := x.sent[key][:0]
	for _, at := range x.sent[key] {
		// A clock that was set back must not hold a mailbox up for ever.
		if age := now.Sub(at); age < time.Minute && age > -time.Minute {
			recent = append(recent, at)
		}
	}
	n := len(recent)
	if add && n < MaxMessagesPerMinute {
		recent = append(recent, now)
	}
	x.sent[key] = recent
	return n
}

// submitLocked decides on a message, in Exchange's order, and delivers it. The
// reply is a whole line; reason is for the record.
func (s *smtpSession) submitLocked(m submission) (reply, reason string) {
	x := s.x
	if fault := x.dir.Fault(FaultSMTPDataTemporary, m.mailbox.Address); fault.Active {
		return orElse(fault.Reply, "451 4.7.0 Temporary server error. Please try again later. PRX5"), "fault " + string(FaultSMTPDataTemporary)
	}
	if s.dialect.rank() > MaxSubmissionConnections {
		return "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded [Hostname=" + x.opts.Hostname + "]", ""
	}
	// Rights are looked up again: they may have changed since AUTH.
	current, found := x.dir.Mailbox(m.mailbox.Address)
	if reason := x.opens(m.who, m.mailbox.Address, current, found); reason != "" {
		return "430 4.2.0 STOREDRV; mailbox logon failure; STOREDRV.Submission.Exception:ConnectionFailedTransientException.MapiExceptionLogonFailed; Failed to process message due to a transient exception [Hostname=" + x.opts.Hostname + "]", reason
	}
	authors, err := authorsOf(m.raw)
	if err != nil {
		return "554 5.6.0 Corrupt message content [Hostname=" + x.opts.Hostname + "]", err.Error()
	}
	if m.from != "" {
		authors = append([]string{m.from}, authors...)
	}
	for _, author := range authors {
		if !x.dir.MaySendAs(m.who, m.mailbox.Address, author) {
			return fmt.Sprintf("554 5.2.252 SendAsDenied; %s not allowed to send as %s; STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent exception [Hostname=%s]",
				m.mailbox.Address, author, x.opts.Hostname), ""
		}
	}
	if x.submissions(m.mailbox.Address, true) >= MaxMessagesPerMinute {
		return rateExceeded, ""
	}
	id := x.accept(m)
	return fmt.Sprintf("250 2.0.0 OK %s [Hostname=%s]", id, x.opts.Hostname), ""
}

// authorsOf returns the addresses of the From field; none if it is missing.
func authorsOf(raw []byte) ([]string, error) {
	header, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, fmt.Errorf("the header cannot be read: %w", err)
	}
	// Names in charsets that nobody knows must not make an address unreadable.
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{
		CharsetReader: func(_ string, input io.Reader) (io.Reader, error) { return input, nil },
	}}
	var authors []string
	fields := header.FieldsByKey("From")
	for fields.Next() {
		list, err := parser.ParseList(fields.Value())
		if err != nil {
			return nil, fmt.Errorf("the From field cannot be read: %w", err)
		}
		for _, address := range list {
			authors = append(authors, address.Address)
		}
	}
	return authors, nil
}

// accept files a copy, delivers, and returns the Message-ID.
func (x *Exchange) accept(m submission) (messageID string) {
	now := x.dir.Now()
	raw, messageID := x.complete(m.raw, now)
	if from, err := authorsOf(raw); err == nil && len(from) == 0 {
		raw = append(fmt.Appendf(nil, "From: <%s>\r\n", m.mailbox.Address), raw...)
	}
	x.store.box(m.mailbox.Address).folder("Sent Items").add(raw, now, []imap.Flag{imap.FlagSeen})

	delivered := make(map[string]bool)
	for _, to := range m.to {
		box, found := x.dir.Mailbox(to)
		stamped := append([]byte(x.received(m.hello, "ESMTPSA", to, now)), raw...)
		if !found {
			x.mu.Lock()
			x.outside = append(x.outside, OutsideMessage{From: m.from, To: to, Raw: stamped, At: now})
			x.mu.Unlock()
			continue
		}
		if key := strings.ToLower(box.Address); !delivered[key] {
			delivered[key] = true
			x.store.box(box.Address).folder("INBOX").add(stamped, now, nil)
		}
	}
	return messageID
}

// complete adds Message-ID and Date if the message has none, and returns its
// Message-ID with the angle brackets.
func (x *Exchange) complete(raw []byte, now time.Time) ([]byte, string) {
	header, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		header = textproto.Header{}
	}
	var missing []byte
	id := strings.TrimSpace(header.Get("Message-Id"))
	if id == "" {
		id = fmt.Sprintf("<%s@%s>", x.nextID(now), x.opts.Hostname)
		missing = fmt.Appendf(missing, "Message-ID: %s\r\n", id)
	}
	if header.Get("Date") == "" {
		missing = fmt.Appendf(missing, "Date: %s\r\n", now.Format(time.RFC1123Z))
	}
	return append(missing, raw...), id
}

// received is the trace field that each delivery adds.
func (x *Exchange) received(hello, with, recipient string, now time.Time) string {
	return fmt.Sprintf("Received: from %s by %s\r\n with %s id %s for <%s>;\r\n %s\r\n",
		hello, x.opts.Hostname, with, x.nextID(now), recipient, now.Format(time.RFC1123Z))
}

// nextID returns an id that no other message of this process has.
func (x *Exchange) nextID(now time.Time) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.queued++
	return fmt.Sprintf("%X.%X", now.UnixNano(), x.queued)
}
