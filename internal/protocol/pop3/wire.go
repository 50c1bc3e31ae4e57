package pop3

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The bounds of what a server may send, so that memory stays bounded whatever
// it says. Lines of messages may be of any length, since whole messages are bounded.
const (
	longestLine  = 8 << 10 // of a reply; RFC 2449 section 4 allows 512 bytes
	longestName  = 255     // of a UIDL; RFC 1939 section 7 allows 70 bytes
	mostListed   = 200_000 // messages in a mailbox
	mostCapables = 200     // lines of CAPA
)

// errGarbled is what a server said that is not POP3.
var errGarbled = errors.New("not a reply of POP3")

// reply is the first line of a server's answer.
type reply struct {
	ok   bool
	more bool   // "+ …": the server waits for a line (RFC 5034 section 4)
	code string // of an extended response, in capitals without brackets (RFC 2449 section 8)
	text string
}

// refusal is a reply with -ERR, as an error.
type refusal struct{ reply }

func (r *refusal) Error() string { return "the server answered -ERR " + r.text }

// parseReply reads a line without its end.
func parseReply(line string) (reply, error) {
	status, text, _ := strings.Cut(line, " ")
	r := reply{text: strings.TrimSpace(text)}
	switch {
	case strings.EqualFold(status, "+OK"):
		r.ok = true
	case strings.EqualFold(status, "-ERR"):
	case status == "+":
		r.more = true
		return r, nil
	default:
		return reply{}, errGarbled
	}
	if rest, ok := strings.CutPrefix(r.text, "["); ok {
		if code, _, ok := strings.Cut(rest, "]"); ok && !strings.ContainsAny(code, " \t[") {
			r.code = strings.ToUpper(code)
		}
	}
	return r, nil
}

// wire is a connection after its greeting. It knows no time: whoever calls it
// runs it under a watchdog.
type wire struct {
	in  *bufio.Reader
	out io.Writer
}

func newWire(conn io.ReadWriter) *wire {
	return &wire{in: bufio.NewReaderSize(conn, longestLine), out: conn}
}

func (w *wire) line() (string, error) {
	b, err := w.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("%w: a line does not end", errGarbled)
	case err != nil:
		return "", ended(err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// ended says of an end in the middle that it is one.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (w *wire) reply() (reply, error) {
	line, err := w.line()
	if err != nil {
		return reply{}, err
	}
	return parseReply(line)
}

func (w *wire) say(line string) error {
	_, err := io.WriteString(w.out, line+"\r\n")
	return err
}

// ask sends a command and reads the first line of its answer; -ERR is a *refusal.
func (w *wire) ask(command string) (reply, error) {
	if err := w.say(command); err != nil {
		return reply{}, err
	}
	r, err := w.reply()
	switch {
	case err != nil:
		return reply{}, err
	case r.more:
		return reply{}, errGarbled
	case !r.ok:
		return r, &refusal{r}
	}
	return r, nil
}

// list gives each line of a multi-line answer (RFC 1939 section 3) to take.
func (w *wire) list(most int, take func(line string) error) error {
	for n := 0; ; n++ {
		line, err := w.line()
		if err != nil {
			return err
		}
		if line == "." {
			return nil
		}
		if n >= most {
			return errTooMany
		}
		if err := take(strings.TrimPrefix(line, ".")); err != nil {
			return err
		}
	}
}

// errTooMany is a list longer than allowed.
var errTooMany = errors.New("the list is longer than allowed")

// content reads a message behind its first line and takes out the dots that were
// stuffed in. Only a dot between two CRLF ends it: a bare line feed is the
// message's own, and what follows it must not be taken for the server's words. Of one
// larger than limit everything is read and nothing given.
func (w *wire) content(size, limit int64) ([]byte, error) {
	raw := make([]byte, 0, max(0, min(size, limit, 1<<20)))
	begins, before, over := true, byte(0), false
	for {
		part, err := w.in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, ended(err)
		}
		if begins && part[0] == '.' {
			if string(part) == ".\r\n" {
				break
			}
			part = part[1:]
		}
		if len(part) > 1 {
			before = part[len(part)-2]
		}
		last := byte(0)
		if len(part) > 0 {
			last = part[len(part)-1]
		}
		begins, before = last == '\n' && before == '\r', last
		if over = over || int64(len(raw)+len(part)) > limit; over {
			raw = nil
			continue
		}
		raw = append(raw, part...)
	}
	if over {
		return nil, nil
	}
	return raw, nil
}

// numbered reads "NUMBER REST", as lines of UIDL and LIST are.
func numbered(line string) (number int, rest string, err error) {
	first, rest, _ := strings.Cut(line, " ")
	number, err = strconv.Atoi(first)
	if err != nil || number < 1 {
		return 0, "", errGarbled
	}
	return number, strings.TrimSpace(rest), nil
}

// named reads a line of UIDL (RFC 1939 section 7).
func named(line string) (number int, name string, err error) {
	number, name, err = numbered(line)
	outside := func(r rune) bool { return r < 0x21 || r > 0x7e }
	if err != nil || name == "" || len(name) > longestName || strings.ContainsFunc(name, outside) {
		return 0, "", errGarbled
	}
	return number, name, nil
}

// sized reads a line of LIST; what follows the size is the server's own business.
func sized(line string) (number int, size int64, err error) {
	number, rest, err := numbered(line)
	if err != nil {
		return 0, 0, err
	}
	text, _, _ := strings.Cut(rest, " ")
	if size, err = strconv.ParseInt(text, 10, 64); err != nil || size < 0 {
		return 0, 0, errGarbled
	}
	return number, size, nil
}

// topReceived finds when the receiving server took a message: the date of its topmost
// Received field (RFC 5322 section 3.6.7). POP3 itself does not tell.
func topReceived(raw []byte) string {
	const field = "received:"
	head := raw[:min(len(raw), 16<<10)]
	for len(head) > 0 {
		line, rest, _ := bytes.Cut(head, []byte("\n"))
		if len(bytes.TrimSpace(line)) == 0 {
			return ""
		}
		for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
			var folded []byte
			folded, rest, _ = bytes.Cut(rest, []byte("\n"))
			line = append(bytes.Clone(line), folded...)
		}
		if len(line) > len(field) && strings.EqualFold(string(line[:len(field)]), field) {
			if at := bytes.LastIndexByte(line, ';'); at >= 0 {
				return strings.TrimSpace(string(line[at+1:]))
			}
			return ""
		}
		head = rest
	}
	return ""
}
