package exchange

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What Exchange says by POP3.
const (
	pop3Greeting   = "+OK The Microsoft Exchange POP3 service is ready. [Mailgrant sandbox, not Microsoft]"
	pop3AuthFailed = "-ERR Authentication failure: unknown user name or bad password."
	pop3Logon      = "-ERR Logon failure: unknown user name or bad password."
	pop3Alone      = "-ERR User is authenticated but not connected."
	pop3State      = "-ERR Command is not valid in this state."
	pop3Syntax     = "-ERR Protocol error. 11"
	pop3Range      = "-ERR The specified message is out of range."
	pop3Busy       = "-ERR Server Unavailable. 15"
	pop3Farewell   = "+OK Microsoft Exchange Server POP3 server signing off."
)

// pop3Idle is after how long of silence a connection is closed.
const pop3Idle = 10 * time.Minute

// pop3Session is one POP3 connection. It belongs to one goroutine. The mailbox it
// shows is INBOX as it was at sign-in; what it deletes is deleted by QUIT.
type pop3Session struct {
	x    *Exchange
	link *link
	in   *bufio.Reader
	out  *bufio.Writer

	signedIn bool
	who      Principal
	asked    string
	address  string
	inbox    *folder // nil: authenticated but not connected
	items    []*item
	deleted  []bool
	reason   string // for the record, of the command being answered
}

func (x *Exchange) servePOP3(ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go x.pop3(conn.(pop3Wire).link)
	}
}

// pop3Wire is a link as its listener gives it out; it is read below TLS by nobody.
type pop3Wire struct {
	net.Conn
	link *link
}

func pop3WireOf(l *link) net.Conn { return pop3Wire{Conn: l.raw, link: l} }

func (x *Exchange) pop3(l *link) {
	defer func() { _ = l.Close() }() // the client sees the end
	if err := l.secure(); err != nil {
		x.opts.Logger.Debug("connection", "protocol", "pop3", "err", err)
		return
	}
	conn := l.stream()
	s := &pop3Session{x: x, link: l, in: bufio.NewReaderSize(conn, maxCommandLine), out: bufio.NewWriter(conn)}
	s.send(pop3Greeting)
	for s.flush() {
		line, ok := s.line()
		if !ok || s.fault(FaultPOP3Cut).Active {
			return
		}
		if !s.command(line) {
			s.flush()
			return
		}
	}
}

func (s *pop3Session) line() (string, bool) {
	if err := s.link.SetDeadline(time.Now().Add(pop3Idle)); err != nil {
		return "", false
	}
	b, err := s.in.ReadSlice('\n')
	return strings.TrimRight(string(b), "\r\n"), err == nil
}

func (s *pop3Session) flush() bool { return s.out.Flush() == nil }

func (s *pop3Session) send(line string) { _, _ = s.out.WriteString(line + "\r\n") } // Flush tells

// answer sends a reply's first line and records it.
func (s *pop3Session) answer(command, reply string) {
	s.x.dir.Record(Call{
		At: s.x.dir.Now(), Protocol: "pop3", Mailbox: s.mailbox(), UPN: s.who.UPN, Command: command, Reply: reply, Reason: s.reason,
	})
	s.reason = ""
	s.send(reply)
}

func (s *pop3Session) mailbox() string {
	if s.address != "" {
		return s.address
	}
	return s.asked
}

func (s *pop3Session) fault(point FaultPoint) Fault { return s.x.dir.Fault(point, s.mailbox()) }

// command answers one; false ends the connection.
func (s *pop3Session) command(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	switch verb {
	case "QUIT":
		return s.quit()
	case "CAPA":
		s.answer(verb, "+OK")
		for _, c := range []string{"TOP", "UIDL", "SASL PLAIN XOAUTH2", "USER", "."} {
			s.send(c)
		}
		return true
	case "AUTH", "USER", "PASS":
		if s.signedIn {
			s.answer(verb, pop3State)
			return true
		}
		return s.enter(verb, rest)
	}
	run, known := map[string]func(string, []string){
		"STAT": s.stat, "LIST": s.scan, "UIDL": s.scan, "RETR": s.retrieve, "TOP": s.retrieve, "DELE": s.dele, "NOOP": s.noop, "RSET": s.rset,
	}[verb]
	switch {
	case !known:
		s.answer(verb, pop3Syntax)
	case !s.signedIn:
		s.answer(verb, pop3State)
	case s.inbox == nil:
		s.answer(verb, pop3Alone)
	default:
		if f := s.fault(FaultPOP3Open); f.Active {
			s.reason = "fault " + string(FaultPOP3Open)
			s.answer(verb, orElse(f.Reply, pop3Busy))
			return true
		}
		run(verb, strings.Fields(rest))
	}
	return true
}

// enter answers what signs in. Passwords are not taken, and neither is an initial
// response in the line of AUTH.
func (s *pop3Session) enter(verb, rest string) bool {
	mechanism, initial, _ := strings.Cut(rest, " ")
	mechanism = strings.ToUpper(mechanism)
	switch {
	case verb == "USER":
		s.answer(verb, "+OK")
		return true
	case verb == "PASS":
		s.reason = "basic authentication is disabled"
		s.answer(verb, pop3Logon)
		return true
	case mechanism != "XOAUTH2":
		s.reason = "basic authentication is disabled"
		s.answer("AUTH "+mechanism[:min(len(mechanism), 40)], pop3AuthFailed)
		return true
	case initial != "":
		s.reason = "the response came in the line of AUTH; Exchange wants it in a line of its own"
		s.answer("AUTH XOAUTH2", pop3AuthFailed)
		return true
	}
	s.send("+ ")
	if !s.flush() {
		return false
	}
	line, ok := s.line()
	if !ok {
		return false
	}
	response, err := base64.StdEncoding.DecodeString(line)
	if err != nil {
		s.reason = "the response is not base64"
		s.answer("AUTH XOAUTH2", pop3AuthFailed)
		return true
	}
	s.answer("AUTH XOAUTH2", s.signIn(response))
	return true
}

func (s *pop3Session) signIn(response []byte) (reply string) {
	const welcome = "+OK User successfully authenticated."
	asked, raw, err := ParseXOAUTH2(response)
	if err != nil {
		s.reason = err.Error()
		return pop3AuthFailed
	}
	s.asked = asked
	if f := s.fault(FaultPOP3Auth); f.Active {
		s.reason = "fault " + string(FaultPOP3Auth)
		return orElse(f.Reply, pop3AuthFailed)
	}
	who, err := s.x.principal(raw, pop3Permission)
	if err != nil {
		s.reason = err.Error()
		return pop3AuthFailed
	}
	mailbox, found := s.x.dir.Mailbox(asked)
	if found && !mailbox.POPEnabled {
		s.reason = "POP is disabled for " + mailbox.Address
		return pop3AuthFailed
	}
	s.who, s.signedIn = who, true
	if s.reason = s.x.opens(who, asked, mailbox, found); s.reason != "" {
		return welcome // authenticated but not connected
	}
	s.link.claim(mailbox.Address, 0)
	s.address, s.inbox = mailbox.Address, s.x.store.box(mailbox.Address).folder("INBOX")
	s.inbox.mu.Lock()
	s.items = slices.Clone(s.inbox.items)
	s.inbox.mu.Unlock()
	s.deleted = make([]bool, len(s.items))
	return welcome
}

// left gives how many messages there are that are not marked as deleted, and their size.
func (s *pop3Session) left() (count, size int) {
	for i, it := range s.items {
		if !s.deleted[i] {
			count, size = count+1, size+len(it.raw)
		}
	}
	return count, size
}

func (s *pop3Session) stat(verb string, _ []string) {
	count, size := s.left()
	s.answer(verb, fmt.Sprintf("+OK %d %d", count, size))
}

// pick reads a message's number.
func (s *pop3Session) pick(args []string) (index int, ok bool) {
	if len(args) == 0 {
		return 0, false
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 || n > len(s.items) || s.deleted[n-1] {
		return 0, false
	}
	return n - 1, true
}

// scan answers LIST and UIDL, of one message or of all.
func (s *pop3Session) scan(verb string, args []string) {
	about := func(i int) string {
		if verb == "LIST" {
			return fmt.Sprintf("%d %d", i+1, len(s.items[i].raw))
		}
		return fmt.Sprintf("%d %d.%d", i+1, s.inbox.uidValidity, s.items[i].uid)
	}
	if len(args) > 0 {
		i, ok := s.pick(args)
		if !ok {
			s.answer(verb, pop3Range)
			return
		}
		s.answer(verb, "+OK "+about(i))
		return
	}
	count, size := s.left()
	s.answer(verb, fmt.Sprintf("+OK %d %d", count, size))
	for i := range s.items {
		if !s.deleted[i] {
			s.send(about(i))
		}
	}
	s.send(".")
}

// retrieve answers RETR, and TOP with its number of lines.
func (s *pop3Session) retrieve(verb string, args []string) {
	i, ok := s.pick(args)
	if !ok {
		s.answer(verb, pop3Range)
		return
	}
	lines := -1
	if verb == "TOP" {
		var err error
		if len(args) < 2 {
			s.answer(verb, pop3Syntax)
			return
		}
		if lines, err = strconv.Atoi(args[1]); err != nil || lines < 0 {
			s.answer(verb, pop3Syntax)
			return
		}
	}
	if f := s.fault(FaultPOP3Retrieve); f.Active {
		s.reason = "fault " + string(FaultPOP3Retrieve)
		s.answer(verb+" "+args[0], orElse(f.Reply, "-ERR Message corrupted"))
		return
	}
	s.answer(verb+" "+args[0], "+OK")
	body := false
	for text := range bytes.Lines(s.items[i].raw) {
		text = bytes.TrimRight(text, "\r\n")
		if body {
			if lines == 0 {
				break
			}
			lines--
		}
		body = body || len(text) == 0
		if len(text) > 0 && text[0] == '.' {
			_ = s.out.WriteByte('.') // Flush tells
		}
		s.send(string(text))
	}
	s.send(".")
}

func (s *pop3Session) dele(verb string, args []string) {
	i, ok := s.pick(args)
	if !ok {
		s.answer(verb, pop3Range)
		return
	}
	s.deleted[i] = true
	s.answer(verb+" "+args[0], "+OK")
}

func (s *pop3Session) noop(verb string, _ []string) { s.answer(verb, "+OK") }

func (s *pop3Session) rset(verb string, _ []string) {
	clear(s.deleted)
	s.answer(verb, "+OK")
}

// quit deletes what was marked, and ends.
func (s *pop3Session) quit() bool {
	if s.fault(FaultPOP3Quit).Active {
		return false
	}
	if s.inbox != nil && slices.Contains(s.deleted, true) {
		gone := map[*item]bool{}
		for i, it := range s.items {
			gone[it] = s.deleted[i]
		}
		s.inbox.mu.Lock()
		s.inbox.removeLocked(func(it *item) bool { return gone[it] })
		s.inbox.mu.Unlock()
	}
	s.answer("QUIT", pop3Farewell)
	return false
}
