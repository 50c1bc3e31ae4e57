package exchange

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	// plainLine bounds a command line before TLS (RFC 5321 section 4.5.3.1.4,
	// with room to spare).
	plainLine = 2048
	// plainTimeout bounds the wait for a command before TLS, plainCommands
	// their number.
	plainTimeout  = time.Minute
	plainCommands = 30
)

// smtpDialect sits between the wire and the submission library. Before
// STARTTLS it holds the short dialogue itself, so that the library starts where
// the client is private; after that it passes bytes, putting Exchange's texts
// in the place of the library's fixed ones.
type smtpDialect struct {
	*link

	out     sync.Mutex
	greeted bool
	final   bool // the last reply ended the connection
}

func (x *Exchange) smtpWire(l *link) net.Conn { return &smtpDialect{link: l} }

// Read gives the library what the client sends after STARTTLS.
func (d *smtpDialect) Read(p []byte) (int, error) {
	d.mu.Lock()
	private := d.secured != nil
	d.mu.Unlock()
	if !private {
		if err := d.openly(); err != nil {
			return 0, err
		}
	}
	return d.stream().Read(p)
}

// openly is the dialogue before TLS, up to the end of the handshake. What was
// sent behind STARTTLS in the clear is thrown away (RFC 3207 section 6).
func (d *smtpDialect) openly() error {
	in := bufio.NewReaderSize(d.raw, plainLine)
	for range plainCommands {
		_ = d.raw.SetReadDeadline(time.Now().Add(plainTimeout))
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			_ = d.reply("500 5.3.3 Line too long") // it is over either way
			return io.EOF
		}
		if err != nil {
			return err
		}
		verb, _, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
		reply, over := d.plainReply(strings.ToUpper(verb))
		if err := d.reply(reply); err != nil {
			return err
		}
		if strings.EqualFold(verb, "STARTTLS") {
			return d.secure()
		}
		if over {
			return io.EOF
		}
	}
	_ = d.reply("421 4.7.0 Too many errors on this connection, closing transmission channel")
	return io.EOF
}

func (d *smtpDialect) plainReply(verb string) (reply string, over bool) {
	host := d.x.opts.Hostname
	switch verb {
	case "EHLO":
		return fmt.Sprintf("250-%s Hello [%s]\r\n250-SIZE %d\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-STARTTLS\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 SMTPUTF8",
			host, d.clientHost(), MaxMessageBytes), false
	case "HELO":
		return fmt.Sprintf("250 %s Hello [%s]", host, d.clientHost()), false
	case "STARTTLS":
		return "220 2.0.0 SMTP server ready", false
	case "NOOP":
		return "250 2.0.0 OK", false
	case "RSET":
		return "250 2.0.0 Resetting", false
	case "QUIT":
		return "221 2.0.0 Service closing transmission channel", true
	case "AUTH":
		return "504 5.7.4 Unrecognized authentication type", false
	case "MAIL", "RCPT", "DATA", "BDAT":
		return "530 5.7.57 Client not authenticated to send mail.", false
	}
	return "500 5.3.3 Unrecognized command", false
}

func (d *smtpDialect) clientHost() string {
	host, _, err := net.SplitHostPort(d.RemoteAddr().String())
	if err != nil {
		return "127.0.0.1"
	}
	return host
}

func (d *smtpDialect) reply(text string) error {
	_ = d.raw.SetWriteDeadline(time.Now().Add(plainTimeout))
	_, err := io.WriteString(d.raw, text+"\r\n")
	return err
}

// Write sends the library's replies in Exchange's words. The library writes a
// line at a time.
func (d *smtpDialect) Write(p []byte) (int, error) {
	d.out.Lock()
	defer d.out.Unlock()
	if d.final {
		return 0, net.ErrClosed
	}
	line := string(p)
	if !d.greeted {
		d.greeted = true
		now := d.x.dir.Now().UTC().Format(time.RFC1123Z)
		line = fmt.Sprintf("220 %s Microsoft ESMTP MAIL Service ready at %s [Mailgrant sandbox, not Microsoft]\r\n", d.x.opts.Hostname, now)
	} else {
		line = d.inExchangesWords(line)
	}
	if _, err := io.WriteString(d.stream(), line); err != nil {
		return 0, err
	}
	if strings.HasPrefix(line, "421 ") {
		// The code means that the server closes; the library goes on.
		d.final = true
		_ = d.stream().Close() // the client has its answer
	}
	return len(p), nil
}

// inExchangesWords replaces the library's fixed texts.
func (d *smtpDialect) inExchangesWords(line string) string {
	switch {
	case strings.HasPrefix(line, "250-Hello "), strings.HasPrefix(line, "250 2.0.0 Hello "):
		code := line[:4]
		return fmt.Sprintf("%s%s Hello [%s]\r\n", code, d.x.opts.Hostname, d.clientHost())
	case strings.HasPrefix(line, "250 2.0.0 Roger, accepting mail"):
		return "250 2.1.0 Sender OK\r\n"
	case strings.HasPrefix(line, "250 2.0.0 I'll make sure"):
		return "250 2.1.5 Recipient OK\r\n"
	case strings.HasPrefix(line, "250 2.0.0 I have successfully done nothing"):
		return "250 2.0.0 OK\r\n"
	case strings.HasPrefix(line, "250 2.0.0 Session reset"):
		return "250 2.0.0 Resetting\r\n"
	case strings.HasPrefix(line, "235 2.0.0 Authentication succeeded"):
		return "235 2.7.0 Authentication successful\r\n"
	case strings.HasPrefix(line, "454 4.7.0 Invalid base64 data"):
		return "535 5.7.3 Authentication unsuccessful [" + d.x.opts.Hostname + "]\r\n"
	case strings.HasPrefix(line, "354 "):
		return "354 Start mail input; end with <CRLF>.<CRLF>\r\n"
	case strings.HasPrefix(line, "221 2.0.0 Bye"):
		return "221 2.0.0 Service closing transmission channel\r\n"
	case strings.HasPrefix(line, "552 5.3.4 "):
		return "552 5.3.4 Message size exceeds fixed maximum message size\r\n"
	case strings.HasPrefix(line, "500 5.5.2 Syntax errors"), strings.HasPrefix(line, "502 5.5.1 ") && strings.HasSuffix(line, "not implemented\r\n"):
		return "500 5.3.3 Unrecognized command\r\n"
	case strings.HasPrefix(line, "502 5.5.1 Missing RCPT TO"), strings.HasPrefix(line, "502 5.5.1 Please introduce yourself"):
		return "503 5.5.1 Bad sequence of commands\r\n"
	}
	return line
}

// crlf returns a copy of a message in which every line ends in CRLF.
func crlf(raw []byte) []byte {
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
}
