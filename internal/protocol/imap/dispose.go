package imap

import (
	"context"
	"errors"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

// Dispose does what follows a hand-over, in the selected folder. It may be
// repeated: messages that are gone are no error.
func (s *session) Dispose(ctx context.Context, uids []uint32, what protocol.Disposal) error {
	if len(uids) == 0 {
		return nil
	}
	var set goimap.UIDSet
	for _, uid := range uids {
		set.AddNum(goimap.UID(uid))
	}
	switch what.Act {
	case protocol.DisposeKeep, "":
		return nil
	case protocol.DisposeMarkSeen:
		return s.flag(ctx, set, goimap.FlagSeen)
	case protocol.DisposeDelete:
		return s.remove(ctx, set)
	case protocol.DisposeMove:
		return s.move(ctx, set, what.Target)
	}
	return &fault.Error{
		ID: "imap.disposal", Kind: fault.Invalid, Field: "after_receive", Text: "“" + fault.Shorten(what.Act, 60) + "” is not something that can be done with a message.",
		Who: []fault.Who{fault.Operator}, Remedy: "Use keep, mark_seen, move: Folder, or delete.",
	}
}

func (s *session) flag(ctx context.Context, set goimap.UIDSet, flag goimap.Flag) error {
	return s.await(ctx, commandTimeout, func() error {
		return s.client.Store(set, &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Silent: true, Flags: []goimap.Flag{flag}}, nil).Close()
	})
}

// remove deletes. Without UIDPLUS (RFC 4315) messages stay marked as deleted: a
// plain EXPUNGE would take others' along.
func (s *session) remove(ctx context.Context, set goimap.UIDSet) error {
	if err := s.flag(ctx, set, goimap.FlagDeleted); err != nil {
		return err
	}
	if !s.caps.Has(goimap.CapUIDPlus) {
		return nil
	}
	return s.await(ctx, commandTimeout, func() error { return s.client.UIDExpunge(set).Close() })
}

// move uses MOVE (RFC 6851), or copies and then deletes; never deletes what was
// not copied. A missing target is made.
func (s *session) move(ctx context.Context, set goimap.UIDSet, target string) error {
	transfer := func() error {
		if s.caps.Has(goimap.CapMove) {
			_, err := s.client.Move(set, target).Wait()
			return err
		}
		_, err := s.client.Copy(set, target).Wait()
		return err
	}
	err := s.conn.Bounded(ctx, commandTimeout, transfer)
	var reply *goimap.Error
	if errors.As(err, &reply) && reply.Type == goimap.StatusResponseTypeNo {
		if made := s.conn.Bounded(ctx, commandTimeout, func() error { return s.client.Create(target, nil).Wait() }); made != nil {
			return s.classify(err)
		}
		err = s.conn.Bounded(ctx, commandTimeout, transfer)
	}
	if err != nil {
		return s.classify(err)
	}
	if s.caps.Has(goimap.CapMove) {
		return nil
	}
	return s.remove(ctx, set)
}
