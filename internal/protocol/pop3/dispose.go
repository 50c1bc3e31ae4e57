package pop3

import (
	"context"
	"errors"
	"fmt"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

// Dispose does what follows a hand-over. Deletes are done when the server has
// answered QUIT, and not before: a connection lost until then deletes nothing. It
// may be repeated: messages that are gone are no error.
func (s *session) Dispose(ctx context.Context, uids []uint32, what protocol.Disposal) error {
	switch what.Act {
	case protocol.DisposeKeep, "":
		return nil
	case protocol.DisposeDelete:
		return s.remove(ctx, uids)
	}
	return &fault.Error{
		ID: "pop3.disposal", Kind: fault.Invalid, Field: "after_receive", Text: "“" + fault.Shorten(what.Act, 60) + "” is not something that can be done with a message by POP3.",
		Who: []fault.Who{fault.Operator}, Remedy: "Use keep or delete, or receive by another protocol.",
	}
}

func (s *session) remove(ctx context.Context, uids []uint32) error {
	if s.taken { // QUIT must not speak for messages that are not stored yet
		s.drop()
	}
	if !s.listed {
		if err := s.look(ctx); err != nil {
			return err
		}
	}
	wanted := make(map[uint32]bool, len(uids))
	for _, uid := range uids {
		wanted[uid] = true
	}
	l := s.line
	var refused error
	marked := false
	for _, e := range s.entries {
		if !wanted[e.uid] {
			continue
		}
		err := s.mark(ctx, e.numbers[0]) // the one that was fetched; others of its name may differ
		var no *refusal
		switch {
		case err == nil:
			marked = true
		case errors.As(err, &no) && vanished(no.reply):
		case errors.As(err, &no) && match(no.reply, l.delay) == nil:
			refused = notDeleted(no)
		default:
			s.drop() // and so nothing is deleted
			return l.classify(err)
		}
	}
	if !marked {
		return refused
	}
	err := l.await(ctx, commandTimeout, func() error {
		_, err := l.ask("QUIT")
		return err
	})
	s.drop()
	if err != nil {
		return err
	}
	return refused
}

// mark marks one message as deleted.
func (s *session) mark(ctx context.Context, number int) error {
	return s.line.conn.Bounded(ctx, commandTimeout, func() error {
		_, err := s.line.ask(fmt.Sprintf("DELE %d", number))
		return err
	})
}

// drop ends the connection without QUIT.
func (s *session) drop() {
	_ = s.line.conn.Close() // it is given up either way
	s.line, s.listed, s.taken = nil, false, false
}
