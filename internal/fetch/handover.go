package fetch

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

// batchBytes bounds the raw messages that wait for one transaction.
const batchBytes = 4 << 20

// pass is one connection at work.
type pass struct {
	*watch
	reading  protocol.Reading
	selected protocol.FolderStatus
}

// choose selects a folder unless it is selected.
func (s *pass) choose(ctx context.Context, folder string) error {
	if s.selected.Folder == folder {
		return nil
	}
	status, err := s.reading.Select(ctx, folder)
	if err != nil {
		return err
	}
	s.selected, s.selected.Folder = status, folder
	return nil
}

// sync hands on everything in a folder above its cursor. While a batch is stored the
// next one is fetched and parsed; they are stored one after the other.
func (s *pass) sync(ctx context.Context, folder string) error {
	if err := s.choose(ctx, folder); err != nil {
		return err
	}
	if err := s.position(ctx, folder); err != nil {
		return err
	}
	if err := s.remember(ctx, folder); err != nil {
		return err
	}
	if err := s.dispose(ctx, folder); err != nil {
		return err
	}
	h := &handing{pass: s, folder: folder, reached: s.cursors[folder].UID}
	for {
		err := s.reading.Since(ctx, h.reached, s.Batch, func(m message.Received) error { return h.take(ctx, m) })
		if stored := h.settle(); err == nil {
			err = stored
		}
		// While nothing is being stored: what is noted then is that nothing is owed.
		if disposed := s.dispose(ctx, folder); err == nil {
			err = disposed
		}
		if err != nil || len(h.batch) == 0 {
			return err
		}
		h.store(ctx)
	}
}

// position finds where the folder was left and what after_receive is still owed
// there, and starts the folder over where the server has numbered it anew (RFC
// 9051 section 2.3.1.1).
func (s *pass) position(ctx context.Context, folder string) error {
	if c, ok := s.cursors[folder]; ok && c.UIDValidity == s.selected.UIDValidity {
		return nil
	}
	c, err := s.Store.Cursor(ctx, s.box.ID, folder)
	if err != nil {
		return err
	}
	start := message.Cursor{UIDValidity: s.selected.UIDValidity}
	switch c.UIDValidity {
	case s.selected.UIDValidity:
		start = c
		if s.owed[folder], err = s.Store.Owed(ctx, s.box.ID, folder); err != nil {
			return err
		}
	case 0:
	default:
		e := event.New(s.Now(), event.FolderReset, event.System(),
			fmt.Sprintf("The mail server numbered the folder %s anew; it is read again from its beginning, and messages already handed on are recognised.", folder)).
			About(s.box.ID, s.box.Address).With("folder", folder)
		if err := s.Store.ResetFolder(ctx, s.box.ID, s.fence.Load(), folder, start, e); err != nil {
			return err
		}
		delete(s.owed, folder)
	}
	s.cursors[folder] = start
	return nil
}

// mostForgotten bounds one transaction: it holds the mailbox's lease while it lasts.
const mostForgotten = 500

// remember tells a server without lasting numbers what was handed on.
func (s *pass) remember(ctx context.Context, folder string) error {
	snapshot, ok := s.reading.(protocol.Snapshot)
	if !ok {
		return nil
	}
	validity := s.selected.UIDValidity
	handed, highest, err := s.Store.Handed(ctx, s.box.ID, folder, validity)
	if err != nil {
		return err
	}
	gone := snapshot.Remember(handed, max(highest, s.cursors[folder].UID))
	for some := range slices.Chunk(gone, mostForgotten) {
		if err := s.Store.Forget(ctx, s.box.ID, s.fence.Load(), folder, validity, some); err != nil {
			return err
		}
	}
	return nil
}

// handing gathers messages for one transaction while those before them are stored:
// at most two batches are in memory.
type handing struct {
	*pass
	folder  string
	reached uint32 // the last UID taken
	batch   []Stored
	bytes   int
	storing *storing // nil: none is stored now
}

// storing is a batch on its way into the store; done says once how that ended.
type storing struct {
	keep Keep
	done chan error
}

func (h *handing) take(ctx context.Context, m message.Received) error {
	h.reached = m.UID
	if h.bytes += len(m.Raw); h.bytes > batchBytes && len(h.batch) > 0 {
		if err := h.settle(); err != nil {
			return err // a batch behind one that failed is never stored
		}
		h.store(ctx)
		h.bytes = len(m.Raw)
	}
	h.batch = append(h.batch, h.stored(m))
	return nil
}

// store begins to store the batch with the cursor behind it, where none is being stored.
func (h *handing) store(ctx context.Context) {
	s := &storing{done: make(chan error, 1), keep: Keep{
		MailboxID: h.box.ID, Fence: h.fence.Load(), Folder: h.folder, Messages: h.batch, Now: h.Now(),
		Cursor: message.Cursor{UIDValidity: h.selected.UIDValidity, UID: h.batch[len(h.batch)-1].Received.UID},
		Owes:   h.box.AfterReceive != "" && h.box.AfterReceive != protocol.DisposeKeep,
	}}
	go func() {
		_, err := h.Store.Keep(ctx, s.keep)
		s.done <- err
	}()
	h.storing, h.batch, h.bytes = s, nil, 0
}

// settle waits until the batch that is being stored is. Only then does the cursor
// move here, and is after_receive owed.
func (h *handing) settle() error {
	s := h.storing
	if s == nil {
		return nil
	}
	h.storing = nil
	if err := <-s.done; err != nil {
		return err
	}
	h.cursors[h.folder] = s.keep.Cursor
	if s.keep.Owes {
		for _, m := range s.keep.Messages {
			if len(m.Received.Raw) > 0 { // what was kept without its content stays at the server
				h.owed[h.folder] = append(h.owed[h.folder], m.Received.UID)
			}
		}
	}
	return nil
}

// stored makes of a message what is kept. Nothing in it can fail it.
func (h *handing) stored(m message.Received) Stored {
	now := h.Now()
	out := Stored{ID: event.NewID(), Received: m, ExpiresAt: now.Add(h.Retention)}
	out.Received.Folder, out.Received.UIDValidity = h.folder, h.selected.UIDValidity
	if m.ArrivedAt.IsZero() {
		out.Received.ArrivedAt = now
	}
	if m.Raw == nil {
		out.Parsed.Remarks = []string{"The message is larger than what is fetched, or the mail server did not give its content. It is still in the mailbox."}
		sum := sha256.Sum256([]byte(h.folder + "\x00" + strconv.FormatUint(uint64(h.selected.UIDValidity), 10) + "\x00" + strconv.FormatUint(uint64(m.UID), 10)))
		out.Digest = sum[:]
	} else {
		out.Parsed = parse(m.Raw)
		sum := sha256.Sum256(m.Raw)
		out.Digest = sum[:]
	}
	from := "an unknown sender"
	if len(out.Parsed.From) > 0 {
		from = out.Parsed.From[0].Address
	}
	from = fault.Shorten(from, 254)
	out.Event = event.New(now, event.MessageReceived, event.System(), "A message from "+from+" arrived.").About(h.box.ID, h.box.Address)
	out.Event.Data = map[string]string{"message_id": out.ID, "folder": h.folder, "from": from, "subject": fault.Shorten(out.Parsed.Subject, 200)}
	return out
}

// parse keeps a defect of a decoder from stopping a mailbox: the raw message is
// delivered all the same.
func parse(raw []byte) (p message.Parsed) {
	defer func() {
		if r := recover(); r != nil {
			p = message.Parsed{Remarks: []string{"The message could not be parsed; look at the raw message."}}
		}
	}()
	return message.Parse(raw)
}

// dispose does at the server what after_receive asks with what was handed on: at
// least once, and only after that. It notes what came of it. What the server
// forbids is given up, since receiving must not stop for it, and told once; what
// was owed before the setting became keep is given up, too.
func (s *pass) dispose(ctx context.Context, folder string) error {
	uids := s.owed[folder]
	if len(uids) == 0 {
		return nil
	}
	what := protocol.Disposal{Act: s.box.AfterReceive}
	if target, ok := strings.CutPrefix(what.Act, protocol.DisposeMove+":"); ok {
		what = protocol.Disposal{Act: protocol.DisposeMove, Target: strings.TrimSpace(target)}
	}
	err := s.reading.Dispose(ctx, uids, what)
	if kind := fault.KindOf(err); err != nil && kind != fault.Refused && kind != fault.Invalid {
		return err
	}
	d := Disposed{
		MailboxID: s.box.ID, Fence: s.fence.Load(), Folder: folder, UIDValidity: s.selected.UIDValidity, UIDs: uids, What: s.box.AfterReceive,
	}
	if what.Act == protocol.DisposeKeep {
		d.What = ""
	}
	refusal := ""
	if err != nil {
		f := fault.Of(err)
		refusal, d.What = f.ID, "refused: "+fault.Shorten(f.Text, 300)
		if refusal != s.refusal {
			d.Event = event.New(s.Now(), event.DisposeRefused, event.System(), fmt.Sprintf("What is to be done with received messages (%s) was refused by the mail server: %s", s.box.AfterReceive, f.Text)).
				About(s.box.ID, s.box.Address).Because(err).With("folder", folder)
		}
	}
	if err := s.Store.Disposed(ctx, d); err != nil {
		return err
	}
	s.refusal = refusal
	delete(s.owed, folder)
	return nil
}
