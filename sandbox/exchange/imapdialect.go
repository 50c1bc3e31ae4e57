package exchange

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxCommandLine bounds a line of a command; longest is AUTHENTICATE with
	// its access token.
	maxCommandLine = 64 << 10
	// maxArgument bounds a literal that is not a message. The library takes no
	// longer one, and loses its place when it refuses.
	maxArgument = 4096
	// maxDiscard bounds the literals of a refused command that are read past.
	maxDiscard = 64 << 20
	// maxBadCommands is how many commands a client may get wrong, or send
	// while it is authenticated but not connected, before it is shown out.
	maxBadCommands = 10
	maxUnconnected = 3

	// maxReply is longer than any status reply but the one to AUTHENTICATE
	// could be; of longer ones only so much is recorded.
	maxReply = 1000

	continuationTimeout = 30 * time.Second
)

const (
	imapGreeting     = "* OK The Microsoft Exchange IMAP4 service is ready. [Mailgrant sandbox, not Microsoft]\r\n"
	capsBeforeSignIn = "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
	capsSignedIn     = "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
	notConnected     = "BAD User is authenticated but not connected."
	authFailed       = "NO AUTHENTICATE failed."
	tokenExpired     = "* BYE Session invalidated - AccessTokenExpired"
	goodbye          = "* BYE Connection closed. 14\r\n"
	throttledText    = "BAD Request is throttled. Suggested Backoff Time: 299990 milliseconds"
)

// imapDialect sits between TLS and the IMAP library. It answers what the
// library would answer in other words or not at all (greeting, CAPABILITY, ID,
// unknown commands, everything while authenticated but not connected), and
// hands the rest on, one line at a time, so that answers keep their order.
// Read is called by the connection's own goroutine only; Write also by IDLE's.
type imapDialect struct {
	*link
	session *imapSession
	in      *bufio.Reader

	pending []byte // read, not yet handed to the library
	literal int64  // bytes of a literal still to hand on
	waits   bool   // the client sends that literal only when told to
	midway  bool   // the next line continues a command after a literal
	bad     int
	ended   error // what Read returned last, if it was an error

	silent atomic.Bool // gone dead by fault

	out     sync.Mutex
	greeted bool
	current imapCall
}

// imapCall is the command being answered.
type imapCall struct {
	tag, verb, command string
	open               bool // not answered yet
}

func (x *Exchange) imapWire(l *link) net.Conn {
	d := &imapDialect{link: l}
	d.session = &imapSession{x: x, dialect: d}
	return d
}

// start does the handshake; the library calls it through NewSession.
func (d *imapDialect) start() error {
	if err := d.secure(); err != nil {
		d.cut() // the library would say so in the clear
		return err
	}
	d.in = bufio.NewReaderSize(d.stream(), maxCommandLine)
	return nil
}

// Write passes on what the library answers, with two texts replaced.
func (d *imapDialect) Write(p []byte) (int, error) {
	d.out.Lock()
	defer d.out.Unlock()
	if !d.greeted {
		d.greeted = true
		if bytes.HasPrefix(p, []byte("* OK")) {
			return len(p), d.writeLocked(imapGreeting)
		}
	}
	if d.current.open {
		line := strings.TrimSuffix(string(p[:min(len(p), maxReply)]), "\r\n")
		reply, tagged := strings.CutPrefix(line, d.current.tag+" ")
		switch {
		case tagged && isStatus(reply): // and not the middle of a message
			if d.current.verb == "AUTHENTICATE" && strings.HasPrefix(reply, "OK ") {
				reply = "OK AUTHENTICATE completed."
			} else if strings.HasPrefix(reply, "OK ") && strings.HasSuffix(reply, " completed") {
				reply += "."
			}
			d.answeredLocked(reply)
			if len(p) < maxReply {
				return len(p), d.writeLocked(d.current.tag + " " + reply + "\r\n")
			}
		case d.current.verb == "IDLE" && line == "+ idling":
			d.session.record(d.current.command, line, "")
		case d.current.verb == "IDLE":
			if d.session.fault(FaultIMAPIdleSilent).Active {
				d.silent.Store(true)
			}
		}
	}
	if d.silent.Load() {
		return len(p), nil
	}
	return d.stream().Write(p)
}

func isStatus(reply string) bool {
	word, _, _ := strings.Cut(reply, " ")
	return word == "OK" || word == "NO" || word == "BAD"
}

func (d *imapDialect) writeLocked(text string) error {
	if d.silent.Load() {
		return nil
	}
	_, err := io.WriteString(d.stream(), text)
	return err
}

func (d *imapDialect) say(text string) error {
	d.out.Lock()
	defer d.out.Unlock()
	_ = d.raw.SetWriteDeadline(time.Now().Add(continuationTimeout))
	return d.writeLocked(text)
}

func (d *imapDialect) answeredLocked(reply string) {
	d.current.open = false
	d.session.record(d.current.command, reply, d.session.takeReason())
}

// answer gives the tagged reply to the current command, untagged lines before
// it included.
func (d *imapDialect) answer(untagged, reply string) error {
	d.out.Lock()
	defer d.out.Unlock()
	d.answeredLocked(reply)
	_ = d.raw.SetWriteDeadline(time.Now().Add(continuationTimeout))
	return d.writeLocked(untagged + d.current.tag + " " + reply + "\r\n")
}

// Read hands the library the next line, or part of a literal. An error stays,
// because the library reads on after an end within IDLE.
func (d *imapDialect) Read(p []byte) (int, error) {
	if d.ended != nil {
		return 0, d.ended
	}
	n, err := d.next(p)
	d.ended = err
	return n, err
}

func (d *imapDialect) next(p []byte) (int, error) {
	if d.in == nil {
		return 0, errors.New("read before the TLS handshake")
	}
	if len(d.pending) > 0 {
		return d.handOn(p)
	}
	if err := d.abandonLiteral(); err != nil {
		return 0, err
	}
	if d.literal > 0 {
		n, err := d.in.Read(p[:min(int64(len(p)), d.literal)])
		d.literal -= int64(n)
		return n, err
	}
	for {
		line, err := d.line()
		if err != nil {
			return 0, err
		}
		if d.silent.Load() {
			continue
		}
		if d.midway {
			if literalSize(line) > maxArgument {
				_ = d.say("* BAD Command Argument Error. 11\r\n" + goodbye) // it is over either way
				return 0, io.EOF
			}
			d.expectLiteral(line)
			d.pending = line
			return d.handOn(p)
		}
		line, err = d.command(line)
		if err != nil {
			return 0, err
		}
		if line != nil {
			d.expectLiteral(line)
			d.pending = line
			return d.handOn(p)
		}
	}
}

func (d *imapDialect) handOn(p []byte) (int, error) {
	n := copy(p, d.pending)
	d.pending = d.pending[n:]
	return n, nil
}

// line reads a line with its end.
func (d *imapDialect) line() ([]byte, error) {
	slice, err := d.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		_ = d.say("* BAD Command line too long.\r\n" + goodbye) // it is over either way
		return nil, io.EOF
	}
	if err != nil {
		return nil, err
	}
	return bytes.Clone(slice), nil
}

// idling says whether IDLE has not ended yet.
func (d *imapDialect) idling() bool {
	d.out.Lock()
	defer d.out.Unlock()
	return d.current.open && d.current.verb == "IDLE"
}

// command looks at the first line of a command. It returns the line for the
// library, or nil if the command has been answered here.
func (d *imapDialect) command(line []byte) ([]byte, error) {
	text := strings.TrimRight(string(line), "\r\n")
	if d.idling() {
		if d.session.expired() {
			return nil, d.invalidate()
		}
		if d.session.fault(FaultIMAPIdleSilent).Active {
			d.silent.Store(true)
			return nil, nil
		}
		return line, nil // DONE, or what the library calls an error
	}
	tag, rest, _ := strings.Cut(text, " ")
	verb, args, _ := strings.Cut(rest, " ")
	verb = strings.ToUpper(verb)
	d.begin(tag, verb, args)

	if d.session.fault(FaultIMAPCut).Active {
		d.cut()
		return nil, net.ErrClosed
	}
	switch {
	case !knownVerb(verb):
		return d.wrong(line, "BAD Command Error. 12")
	case verb == "CAPABILITY" && args == "":
		caps := capsBeforeSignIn
		if d.session.signedIn {
			caps = capsSignedIn
		}
		return nil, d.answer("* CAPABILITY "+caps+"\r\n", "OK CAPABILITY completed.")
	case verb == "ID":
		return d.identify(line)
	case verb == "LOGOUT":
		return line, nil
	case verb == "APPEND" && literalSize(line) > MaxMessageBytes:
		return d.refuse(line, "NO [TOOBIG] The message exceeds the maximum size.")
	case verb != "APPEND" && literalSize(line) > maxArgument:
		return d.wrong(line, "BAD Command Argument Error. 11")
	case !d.session.signedIn:
		return d.beforeSignIn(line, verb, args)
	case verb == "AUTHENTICATE" || verb == "LOGIN":
		return d.wrong(line, "BAD Command received in Invalid state.")
	case d.session.box == nil:
		return d.unconnected(line)
	case d.session.expired():
		return nil, d.invalidate()
	}
	if fault := d.session.fault(FaultIMAPThrottled); fault.Active {
		return d.refuse(line, orElse(fault.Reply, throttledText))
	}
	return line, nil
}

// invalidate ends a session whose access token has run out: untagged, and
// without an answer to the command.
func (d *imapDialect) invalidate() error {
	d.out.Lock()
	d.answeredLocked(tokenExpired)
	d.out.Unlock()
	_ = d.say(tokenExpired + "\r\n") // it is over either way
	d.silent.Store(true)             // the library would still complete IDLE
	return io.EOF
}

// begin notes the command for its answer and for the record. What follows
// LOGIN and AUTHENTICATE is secret.
func (d *imapDialect) begin(tag, verb, args string) {
	command := verb
	switch verb {
	case "LOGIN":
	case "AUTHENTICATE":
		mechanism, _, _ := strings.Cut(args, " ")
		command += " " + strings.ToUpper(mechanism)
	default:
		if args != "" {
			command += " " + args[:min(len(args), 200)]
		}
	}
	if tag == "" {
		tag = "*"
	}
	d.out.Lock()
	d.current = imapCall{tag: tag, verb: verb, command: command, open: true}
	d.out.Unlock()
}

func (d *imapDialect) identify(line []byte) ([]byte, error) {
	if err := d.skipLiterals(line); err != nil {
		return nil, err
	}
	return nil, d.answer(`* ID ("name" "Microsoft.Exchange.Imap4.Imap4Server" "version" "15.20" "support" "Mailgrant sandbox")`+"\r\n", "OK ID completed.")
}

// beforeSignIn lets only what belongs there through, and joins an AUTHENTICATE
// in two steps into one line, which the library reads without its short limit.
func (d *imapDialect) beforeSignIn(line []byte, verb, args string) ([]byte, error) {
	switch verb {
	case "NOOP", "LOGIN":
		return line, nil
	case "AUTHENTICATE":
	default:
		return d.wrong(line, "BAD Command received in Invalid state.")
	}
	mechanism, response, _ := strings.Cut(args, " ")
	if response == "" {
		if err := d.say("+ \r\n"); err != nil {
			return nil, err
		}
		_ = d.raw.SetReadDeadline(time.Now().Add(continuationTimeout))
		next, err := d.line()
		if err != nil {
			return nil, err
		}
		response = strings.TrimRight(string(next), "\r\n")
		if response == "*" {
			return nil, d.answer("", "BAD AUTHENTICATE was cancelled.")
		}
	}
	// The library has its own words for what is not base64, and none for an
	// empty response.
	decoded, err := base64.StdEncoding.DecodeString(response)
	if err != nil || len(decoded) == 0 {
		return nil, d.answer("", authFailed)
	}
	return []byte(d.current.tag + " AUTHENTICATE " + mechanism + " " + response + "\r\n"), nil
}

// unconnected answers everything the same way, and closes after a few times.
func (d *imapDialect) unconnected(line []byte) ([]byte, error) {
	d.bad++
	if _, err := d.refuse(line, notConnected); err != nil {
		return nil, err
	}
	if d.bad >= maxUnconnected {
		_ = d.say(goodbye) // it is over either way
		return nil, io.EOF
	}
	return nil, nil
}

// wrong refuses a command that should not have been sent.
func (d *imapDialect) wrong(line []byte, reply string) ([]byte, error) {
	d.bad++
	if _, err := d.refuse(line, reply); err != nil {
		return nil, err
	}
	if d.bad >= maxBadCommands {
		_ = d.say(goodbye)
		return nil, io.EOF
	}
	return nil, nil
}

// refuse answers a command here and reads past its literals.
func (d *imapDialect) refuse(line []byte, reply string) ([]byte, error) {
	if err := d.answer("", reply); err != nil {
		return nil, err
	}
	return nil, d.skipLiterals(line)
}

// knownVerb says whether Exchange has the command.
func knownVerb(verb string) bool {
	switch verb {
	case "CAPABILITY", "ID", "NOOP", "LOGOUT", "LOGIN", "AUTHENTICATE",
		"SELECT", "EXAMINE", "CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE",
		"LIST", "LSUB", "STATUS", "APPEND", "IDLE", "NAMESPACE", "CHECK", "CLOSE", "UNSELECT",
		"EXPUNGE", "SEARCH", "FETCH", "STORE", "COPY", "MOVE", "UID":
		return true
	}
	return false
}

func orElse(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}
