package imap

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

// Select opens a folder for reading and for what follows a hand-over.
func (s *session) Select(ctx context.Context, folder string) (protocol.FolderStatus, error) {
	return s.choose(ctx, folder, false)
}

func (s *session) choose(ctx context.Context, folder string, readOnly bool) (protocol.FolderStatus, error) {
	var data *goimap.SelectData
	err := s.conn.Bounded(ctx, commandTimeout, func() (err error) {
		data, err = s.client.Select(folder, &goimap.SelectOptions{ReadOnly: readOnly}).Wait()
		return err
	})
	if err != nil {
		var reply *goimap.Error
		if errors.As(err, &reply) && reply.Type == goimap.StatusResponseTypeNo && !strings.EqualFold(folder, "INBOX") && match(reply.Code, reply.Text) == nil {
			return protocol.FolderStatus{}, s.noFolder(folder, reply)
		}
		return protocol.FolderStatus{}, s.classify(err)
	}
	s.folder, s.validity, s.pending, s.reached = folder, data.UIDValidity, nil, 0
	s.calm()
	return protocol.FolderStatus{Folder: folder, UIDValidity: data.UIDValidity, UIDNext: uint32(data.UIDNext), Messages: data.NumMessages}, nil
}

// calm forgets that the folder changed: whoever calls it looks now.
func (s *session) calm() {
	select {
	case <-s.changed:
	default:
	}
}

// groupBytes bounds what is fetched at once, so that one group of raw messages
// (or one message) is in memory.
const groupBytes = 4 << 20

// Since yields messages above a UID; see protocol.Reading.
func (s *session) Since(ctx context.Context, after uint32, limit int, yield func(message.Received) error) error {
	next, err := s.next(ctx, goimap.UID(after), limit)
	if err != nil || len(next) == 0 {
		return err
	}
	metas, err := s.describe(ctx, next)
	if err != nil {
		return err
	}
	for len(metas) > 0 {
		n, size := 0, int64(0)
		for n < len(metas) && (n == 0 || size+metas[n].RFC822Size <= groupBytes) {
			if metas[n].RFC822Size <= MaxMessage {
				size += metas[n].RFC822Size
			}
			n++
		}
		if err := s.group(ctx, metas[:n], yield); err != nil {
			return err
		}
		metas = metas[n:]
	}
	return nil
}

// next gives the UIDs to yield now. A long listing is searched once and then
// consumed call by call.
func (s *session) next(ctx context.Context, after goimap.UID, limit int) ([]goimap.UID, error) {
	if after < s.reached {
		s.pending = nil
	}
	for len(s.pending) > 0 && s.pending[0] <= after {
		s.pending = s.pending[1:]
	}
	if len(s.pending) == 0 {
		s.calm()
		var found *goimap.SearchData
		set := goimap.UIDSet{goimap.UIDRange{Start: after + 1, Stop: 0}}
		if err := s.await(ctx, fetchTimeout, func() (err error) {
			found, err = s.client.UIDSearch(&goimap.SearchCriteria{UID: []goimap.UIDSet{set}}, nil).Wait()
			return err
		}); err != nil {
			return nil, err
		}
		for _, uid := range found.AllUIDs() {
			if uid > after { // n:* gives the last message even when its UID is below n
				s.pending = append(s.pending, uid)
			}
		}
		slices.Sort(s.pending)
	}
	n := min(limit, len(s.pending))
	out := s.pending[:n:n]
	if s.pending = s.pending[n:]; len(s.pending) == 0 {
		s.pending = nil
	}
	if n > 0 {
		s.reached = out[n-1]
	}
	return out, nil
}

// describe asks for size, flags and date first, so that nothing too large comes.
func (s *session) describe(ctx context.Context, uids []goimap.UID) ([]*imapclient.FetchMessageBuffer, error) {
	var metas []*imapclient.FetchMessageBuffer
	err := s.await(ctx, fetchTimeout, func() (err error) {
		metas, err = s.client.Fetch(goimap.UIDSetNum(uids...), &goimap.FetchOptions{UID: true, RFC822Size: true, Flags: true, InternalDate: true}).Collect()
		return err
	})
	metas = slices.DeleteFunc(metas, func(m *imapclient.FetchMessageBuffer) bool { return m.UID == 0 })
	slices.SortFunc(metas, func(a, b *imapclient.FetchMessageBuffer) int { return cmp.Compare(a.UID, b.UID) })
	return metas, err
}

// group fetches the raw messages of a group and yields them in order of UID. A
// message that vanished meanwhile is passed over.
func (s *session) group(ctx context.Context, metas []*imapclient.FetchMessageBuffer, yield func(message.Received) error) error {
	var small goimap.UIDSet
	for _, m := range metas {
		if m.RFC822Size <= MaxMessage {
			small.AddNum(m.UID)
		}
	}
	raws := make(map[goimap.UID][]byte, len(metas))
	if len(small) > 0 {
		if err := s.await(ctx, fetchTimeout, func() error { return s.bodies(small, raws) }); err != nil {
			return err
		}
	}
	for _, m := range metas {
		raw, came := raws[m.UID]
		if !came && m.RFC822Size <= MaxMessage {
			continue
		}
		flags := make([]string, len(m.Flags))
		for i, f := range m.Flags {
			flags[i] = string(f)
		}
		if err := yield(message.Received{Folder: s.folder, UIDValidity: s.validity, UID: uint32(m.UID), ArrivedAt: m.InternalDate, Flags: flags, Raw: raw}); err != nil {
			return err
		}
	}
	return nil
}

// bodies reads BODY.PEEK[] of the set. A literal longer than allowed, whatever
// size was told before, is read away.
func (s *session) bodies(set goimap.UIDSet, into map[goimap.UID][]byte) error {
	cmd := s.client.Fetch(set, &goimap.FetchOptions{UID: true, BodySection: []*goimap.FetchItemBodySection{{Peek: true}}})
	for {
		msg := cmd.Next()
		if msg == nil {
			return cmd.Close()
		}
		var uid goimap.UID
		var raw []byte
		seen := false
		for item := msg.Next(); item != nil; item = msg.Next() {
			switch item := item.(type) {
			case imapclient.FetchItemDataUID:
				uid = item.UID
			case imapclient.FetchItemDataBodySection:
				seen = true
				if item.Literal == nil || item.Literal.Size() > MaxMessage {
					continue
				}
				raw = make([]byte, item.Literal.Size())
				if _, err := io.ReadFull(item.Literal, raw); err != nil {
					return errors.Join(err, cmd.Close())
				}
			}
		}
		if seen && uid != 0 {
			into[uid] = raw
		}
	}
}

// Wait follows the folder by IDLE, or asks now and then where the server has
// none; see protocol.Reading.
func (s *session) Wait(ctx context.Context, atMost time.Duration) (bool, error) {
	if !s.caps.Has(goimap.CapIdle) {
		return s.poll(ctx, atMost)
	}
	var idle *imapclient.IdleCommand
	if err := s.await(ctx, s.member.Silence, func() (err error) {
		idle, err = s.client.Idle()
		return err
	}); err != nil {
		return false, err
	}
	changed, cancelled := false, false
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-s.changed:
		changed = true
	case <-timer.C:
	case <-s.client.Closed():
	case <-ctx.Done():
		cancelled = true
	}
	end := ctx
	if cancelled {
		end = context.WithoutCancel(ctx) // DONE may still go out
	}
	if err := s.await(end, s.member.Silence, func() error { return errors.Join(idle.Close(), idle.Wait()) }); err != nil {
		return changed, err
	}
	if cancelled {
		return false, s.at.Network(ctx.Err())
	}
	return changed, nil
}

// poll asks by NOOP whether something arrived.
func (s *session) poll(ctx context.Context, atMost time.Duration) (bool, error) {
	deadline := time.NewTimer(atMost)
	defer deadline.Stop()
	tick := time.NewTicker(s.member.PollEvery)
	defer tick.Stop()
	for {
		if err := s.await(ctx, s.member.Silence, func() error { return s.client.Noop().Wait() }); err != nil {
			return false, err
		}
		select {
		case <-s.changed:
			return true, nil
		default:
		}
		select {
		case <-ctx.Done():
			return false, s.at.Network(ctx.Err())
		case <-deadline.C:
			return false, nil
		case <-tick.C:
		}
	}
}
