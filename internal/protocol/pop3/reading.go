package pop3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

var _ protocol.Snapshot = (*session)(nil)

// inbox is the one folder there is.
const inbox = "INBOX"

// mostWithheld is how many messages a server may refuse in one look before the
// look ends.
const mostWithheld = 10

// session is a mailbox being read, by one connection for each look. It implements
// protocol.Snapshot.
type session struct {
	member *Client
	at     protocol.Endpoint
	login  protocol.Login

	line   *line // nil between two looks
	listed bool  // the mailbox was listed by this line: its numbers hold, and it shows nothing newer
	taken  bool  // a message was fetched by this line

	looked   bool    // entries are of a look that is not over
	entries  []entry // in order of UID
	uids     map[string]uint32
	last     uint32          // highest UID given
	withheld map[string]bool // names that the server refused in this look
	refusal  error           // the first of those refusals; told when the look is over
}

// entry is a message by its name. Equal messages may share one (RFC 1939 section 7).
type entry struct {
	name    string
	uid     uint32
	numbers []int // good for the line that listed them
}

// Select lists the mailbox. UIDVALIDITY stands for the server and the user there:
// names mean nothing at another.
func (s *session) Select(ctx context.Context, folder string) (protocol.FolderStatus, error) {
	if !strings.EqualFold(folder, inbox) {
		return protocol.FolderStatus{}, noFolder(s.at, folder)
	}
	if !s.looked {
		if err := s.look(ctx); err != nil {
			return protocol.FolderStatus{}, err
		}
	}
	return protocol.FolderStatus{Folder: inbox, UIDValidity: s.validity(), UIDNext: s.last + 1, Messages: uint32(len(s.entries))}, nil
}

func (s *session) validity() uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte("pop3\x00" + strings.ToLower(s.at.Host) + "\x00" + strings.ToLower(s.login.User))) // it never fails
	return max(h.Sum32(), 1)
}

// Remember implements protocol.Snapshot.
func (s *session) Remember(handed map[string]uint32, above uint32) (gone []string) {
	s.uids, s.last = maps.Clone(handed), above
	if s.uids == nil {
		s.uids = map[string]uint32{}
	}
	for _, uid := range handed {
		s.last = max(s.last, uid)
	}
	// What was not handed on has the numbers of the listing before.
	slices.SortStableFunc(s.entries, func(a, b entry) int { return cmp.Compare(a.numbers[0], b.numbers[0]) })
	s.number()
	here := make(map[string]bool, len(s.entries))
	for _, e := range s.entries {
		here[e.name] = true
	}
	for name := range handed {
		if !here[name] {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	return gone
}

// number gives every entry its UID, new ones behind all others in the server's order,
// and forgets the UIDs of what is not there.
func (s *session) number() {
	here := make(map[string]uint32, len(s.entries))
	for i, e := range s.entries {
		uid, known := s.uids[e.name]
		if !known {
			s.last++
			uid = s.last
		}
		s.entries[i].uid, here[e.name] = uid, uid
	}
	s.uids = here
	slices.SortFunc(s.entries, func(a, b entry) int { return cmp.Compare(a.uid, b.uid) })
}

// look lists the mailbox as it is now, by a new connection unless the present one
// has not shown it yet.
func (s *session) look(ctx context.Context) error {
	if s.line != nil && s.listed {
		s.release()
	}
	if s.line == nil {
		l, err := s.member.connect(ctx, s.at, s.login, protocol.Climb{})
		if err != nil {
			return err
		}
		s.line = l
	}
	l := s.line
	var entries []entry
	at := map[string]int{}
	err := l.await(ctx, listTimeout, func() error {
		if _, err := l.ask("UIDL"); err != nil {
			return l.nameless(err)
		}
		return l.list(mostListed, func(line string) error {
			number, name, err := named(line)
			if err != nil {
				return err
			}
			if i, twice := at[name]; twice {
				entries[i].numbers = append(entries[i].numbers, number)
				return nil
			}
			at[name] = len(entries)
			entries = append(entries, entry{name: name, numbers: []int{number}})
			return nil
		})
	})
	if err != nil {
		return err
	}
	s.entries, s.listed, s.looked, s.withheld, s.refusal = entries, true, true, map[string]bool{}, nil
	s.number()
	return nil
}

// release ends the connection, and so the lock on the mailbox. It says QUIT only
// where nothing was fetched: there are servers that delete at QUIT what was (RFC
// 1939 section 8), and nobody here knows yet whether it is stored.
func (s *session) release() {
	if s.line == nil {
		return
	}
	if !s.taken {
		s.line.quit()
	}
	s.drop()
}

// Since yields messages above a UID; see protocol.Reading. A look is over when
// nothing is left of it: then it is told which message the server refused to hand
// over, if any, and the next call looks anew.
func (s *session) Since(ctx context.Context, after uint32, limit int, yield func(message.Received) error) error {
	if !s.looked {
		if err := s.look(ctx); err != nil {
			return err
		}
	}
	next := s.above(after)
	if len(next) > 0 && s.line == nil { // ended by what was deleted
		if err := s.look(ctx); err != nil {
			return err
		}
		next = s.above(after)
	}
	yielded := 0
	if len(next) > 0 {
		sizes, err := s.sizes(ctx)
		if err != nil {
			return err
		}
		for _, e := range next {
			if yielded >= limit {
				return nil
			}
			given, err := s.hand(ctx, e, sizes, yield)
			if err != nil {
				return err
			}
			if given {
				yielded++
			} else if len(s.withheld) >= mostWithheld {
				break
			}
		}
	}
	if yielded > 0 {
		return nil
	}
	s.looked = false
	return s.refusal
}

// above gives the entries with a UID above after that the server did not refuse.
func (s *session) above(after uint32) []entry {
	var next []entry
	if len(s.withheld) >= mostWithheld {
		return nil
	}
	for _, e := range s.entries {
		if e.uid > after && !s.withheld[e.name] {
			next = append(next, e)
		}
	}
	return next
}

// sizes asks how large the messages are, by number.
func (s *session) sizes(ctx context.Context) (map[int]int64, error) {
	sizes := make(map[int]int64, len(s.entries))
	err := s.line.await(ctx, listTimeout, func() error {
		if _, err := s.line.ask("LIST"); err != nil {
			return err
		}
		return s.line.list(mostListed, func(line string) error {
			number, size, err := sized(line)
			sizes[number] = size
			return err
		})
	})
	return sizes, err
}

// hand fetches one message and yields it; false when the server has it no more or
// refuses it. One that is refused has no name among those handed on, so that it
// is asked for again at every look.
func (s *session) hand(ctx context.Context, e entry, sizes map[int]int64, yield func(message.Received) error) (bool, error) {
	number := e.numbers[0]
	size, listed := sizes[number]
	if !listed {
		s.withheld[e.name] = true
		return false, nil
	}
	now := time.Now()
	out := message.Received{Folder: inbox, UIDValidity: s.validity(), UID: e.uid, RemoteID: e.name, ArrivedAt: now}
	if size > MaxMessage {
		return true, yield(out)
	}
	s.taken = true
	err := s.line.conn.Bounded(ctx, fetchTimeout, func() error {
		if _, err := s.line.ask(fmt.Sprintf("RETR %d", number)); err != nil {
			return err
		}
		raw, err := s.line.content(size, MaxMessage)
		out.Raw = raw
		return err
	})
	var no *refusal
	switch {
	case err == nil:
	case errors.As(err, &no) && match(no.reply, s.line.delay) == nil:
		s.withheld[e.name] = true
		if !vanished(no.reply) && s.refusal == nil {
			s.refusal = messageRefused(number, no)
		}
		return false, nil
	default:
		return false, s.line.classify(err)
	}
	if at, err := mail.ParseDate(topReceived(out.Raw)); err == nil && at.Before(now) {
		out.ArrivedAt = at
	}
	return true, yield(out)
}

// Wait looks now and then, since the server does not tell; see protocol.Reading.
// Between two looks the mailbox is not held.
func (s *session) Wait(ctx context.Context, atMost time.Duration) (bool, error) {
	seen := s.last
	s.release()
	s.looked = false
	deadline := time.NewTimer(atMost)
	defer deadline.Stop()
	tick := time.NewTicker(s.member.PollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, s.at.Network(ctx.Err())
		case <-deadline.C:
			return false, nil
		case <-tick.C:
		}
		if err := s.look(ctx); err != nil {
			return false, err
		}
		if s.last > seen {
			return true, nil
		}
		s.release()
		s.looked = false
	}
}

// Close ends the connection.
func (s *session) Close() error {
	s.release()
	return nil
}
