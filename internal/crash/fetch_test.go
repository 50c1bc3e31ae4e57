package crash_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/imap"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/internal/store"
)

// The points of receiving.
const (
	beforeListing   = "before_listing"
	listingOnWire   = "listing_on_the_wire" // answered, and not yet received
	messageOnWire   = "message_on_the_wire" // in the middle of a message
	messageReceived = "message_received"    // whole, and not yet in a batch
	beforeKeep      = "before_keep"
	whileKeeping    = "while_keeping" // somewhere in the commit
	afterKeepNext   = "after_keep_before_next"
	afterKeep       = "after_keep_before_dispose"
	disposalOnWire  = "disposal_on_the_wire" // done at the server, and not yet answered
	afterDispose    = "after_dispose"
	beforeReset     = "before_reset" // the folder is numbered anew
	whileResetting  = "while_resetting"
	readingAnew     = "reading_anew"
)

func fetchFlow() flow {
	return flow{
		name: "fetch", lease: 15 * time.Second, rooms: fetchRooms, stage: fetchStage,
		points: []string{
			beforeListing, listingOnWire, messageOnWire, messageReceived, beforeKeep, whileKeeping, afterKeepNext, afterKeep,
			disposalOnWire, afterDispose, beforeReset, whileResetting, readingAnew, anywhere,
		},
	}
}

// receiving is the fetch of a process, with seams around its store and its reader.
type receiving struct{ fetch *fetch.Fetch }

func fetchRooms(_ *testing.T, g *ground) (rooms, error) {
	h := house{g.store, g}
	return receiving{fetch.New(fetch.Options{
		Store: fetchStore{g.store, g.seams}, Lender: h, Directory: h, Owner: g.Owner, Now: g.now, Logger: g.log, Batch: 2, Lease: g.Lease,
		Readers: func(protocol.Name) protocol.Reader { return seamedReader{imap.New(), g.seams} },
	})}, nil
}

func (r receiving) run(ctx context.Context) error { return r.fetch.Run(ctx) }

func (r receiving) do(_ context.Context, o order) any {
	r.fetch.Nudge(o.MailboxID)
	return nil
}

type fetchStore struct {
	*store.Store
	s *seams
}

func (s fetchStore) Keep(ctx context.Context, k fetch.Keep) (int, error) {
	s.s.stop(beforeKeep)
	if k.Cursor.UID > 2 { // the first batch is in
		s.s.stop(readingAnew)
	}
	s.s.pass(whileKeeping)
	n, err := s.Store.Keep(ctx, k)
	s.s.told(err)
	if err == nil {
		s.s.stop(afterKeepNext)
	}
	return n, err
}

func (s fetchStore) ResetFolder(ctx context.Context, mailboxID string, fence int64, folder string, c message.Cursor, e event.Event) error {
	s.s.stop(beforeReset)
	s.s.pass(whileResetting)
	return s.Store.ResetFolder(ctx, mailboxID, fence, folder, c, e)
}

// seamedReader stops around the conversation with the mail server.
type seamedReader struct {
	protocol.Reader
	s *seams
}

func (r seamedReader) OpenReader(ctx context.Context, at protocol.Endpoint, login protocol.Login) (protocol.Reading, error) {
	reading, err := r.Reader.OpenReader(ctx, at, login)
	if err != nil {
		return nil, err
	}
	return seamedReading{reading, r.s}, nil
}

type seamedReading struct {
	protocol.Reading
	s *seams
}

func (r seamedReading) Since(ctx context.Context, after uint32, limit int, yield func(message.Received) error) error {
	r.s.stop(beforeListing)
	return r.Reading.Since(ctx, after, limit, func(m message.Received) error {
		r.s.stop(messageReceived)
		return yield(m)
	})
}

func (r seamedReading) Dispose(ctx context.Context, uids []uint32, what protocol.Disposal) error {
	r.s.stop(afterKeep)
	err := r.Reading.Dispose(ctx, uids, what)
	if err == nil {
		r.s.stop(afterDispose)
	}
	return err
}

// receipts is a lane of the flow.
type receipts struct{ *posts }

func fetchStage(t *testing.T) func(*lane) play {
	up := startUpstream(t)
	return func(l *lane) play { return &receipts{newPosts(l, up)} }
}

const processed = "Processed"

// acts are what is done with a message after it was received.
func acts() []string {
	return []string{protocol.DisposeMarkSeen, protocol.DisposeMove + ": " + processed, protocol.DisposeDelete, protocol.DisposeKeep}
}

// inbox is a mailbox with what was delivered to it, by Message-ID.
type inbox struct {
	r       *receipts
	box     mailbox.Mailbox
	letters map[string][]byte
	resets  int
}

// inbox makes a mailbox at the server, with which a thing is to be done after receiving.
func (r *receipts) inbox(act string) *inbox {
	id := event.NewID()
	i := &inbox{r: r, box: mailbox.Mailbox{ID: id, Address: id + "@contoso.test", AfterReceive: act}, letters: map[string][]byte{}}
	r.up.open(i.box.Address)
	return i
}

// watch has a process watch the mailbox. It has heard of the point before it can
// come there.
func (i *inbox) watch(p *process, point string) error {
	if err := p.order(order{MailboxID: i.box.ID, Point: point}); err != nil {
		return err
	}
	if _, err := p.await("outcome"); err != nil {
		return err
	}
	var err error
	i.box, err = i.r.connected(i.box.ID, "refresh", func(m *mailbox.Mailbox) { m.Address, m.AfterReceive = i.box.Address, i.box.AfterReceive })
	if err != nil {
		return err
	}
	return p.order(order{MailboxID: i.box.ID})
}

// deliver puts messages into the folder.
func (i *inbox) deliver(sizes ...int) error {
	for _, size := range sizes {
		name := fmt.Sprintf("n%d", len(i.letters))
		letter := protocoltest.Letter(i.box.Address, name) + strings.Repeat(strings.Repeat("x", 70)+"\r\n", size/72)
		uid, err := i.r.up.Exchange.Exchange.Deliver(i.box.Address, []byte(letter))
		if err != nil {
			return err
		}
		for _, m := range i.r.up.Messages(i.box.Address, "INBOX") {
			if m.UID == uid {
				i.letters[name+"@elsewhere.test"] = m.Raw
			}
		}
	}
	return nil
}

// stored gives the messages that the store has.
func (i *inbox) stored() ([]fetch.Message, error) {
	found, err := i.r.store.Messages(i.r.t.Context(), fetch.Filter{MailboxIDs: []string{i.box.ID}, Brief: true, Limit: 100})
	return found.Messages, err
}

// done reports that all that was delivered is stored, and what follows done.
func (i *inbox) done() (bool, error) {
	found, err := i.stored()
	return err == nil && len(found) >= len(i.letters) && i.disposed() == nil, err
}

// arrived waits until all that was delivered is stored, and what follows is done.
func (i *inbox) arrived() error {
	var stands error
	err := await("every message is stored, and what follows is done", func() (bool, error) {
		found, err := i.stored()
		stands = errors.Join(fmt.Errorf("%d of %d are stored", len(found), len(i.letters)), i.disposed())
		if err != nil {
			return false, err
		}
		return i.done()
	})
	if err != nil {
		return errors.Join(err, stands)
	}
	return nil
}

// disposed reports what after_receive has left undone at the server.
func (i *inbox) disposed() error {
	here, there := i.r.up.Messages(i.box.Address, "INBOX"), i.r.up.Messages(i.box.Address, processed)
	unseen := 0
	for _, m := range here {
		if !slices.Contains(m.Flags, `\Seen`) {
			unseen++
		}
	}
	want := map[string][3]int{ // in the folder, unseen in it, in the other
		protocol.DisposeKeep: {len(i.letters), len(i.letters), 0}, protocol.DisposeMarkSeen: {len(i.letters), 0, 0},
		protocol.DisposeDelete: {0, 0, 0}, acts()[1]: {0, 0, len(i.letters)},
	}[i.box.AfterReceive]
	if got := [3]int{len(here), unseen, len(there)}; got != want {
		return fmt.Errorf("after_receive %s left %d messages in the folder, %d of them unseen, and %d in %s; want %v", i.box.AfterReceive, got[0], got[1], got[2], processed, want)
	}
	return nil
}

func (r *receipts) begin(p *process, point string, n int) (*trial, error) {
	act := acts()[n%4]
	if point == afterKeep || point == disposalOnWire || point == afterDispose {
		act = acts()[n%3]
	}
	i := r.inbox(act)
	if err := i.deliver(100, 100, 100, 80<<10, 100); err != nil {
		return nil, err
	}
	watch := i.watch
	switch point {
	case beforeReset, whileResetting, readingAnew:
		r.meet = nil
		watch = i.readTwice
	case listingOnWire:
		r.meet = r.up.meetAt(i.box.Address, "UID SEARCH")
	case disposalOnWire:
		command := "UID STORE"
		if act == acts()[1] {
			command = "UID MOVE"
		}
		r.meet = r.up.meetAt(i.box.Address, command)
	case messageOnWire:
		r.meet = r.in.arm(40<<10, false, !r.patient)
	default:
		r.meet = nil
	}
	if err := watch(p, point); err != nil {
		return nil, err
	}
	return &trial{left: i.left, done: i.done, judge: i.judge}, reach(p, point, r.meet, 150*time.Millisecond)
}

// readTwice lets the folder be read, and then numbers it anew. The process stops
// at the point when it reads it again.
func (i *inbox) readTwice(p *process, point string) error {
	if err := i.watch(p, ""); err != nil {
		return err
	}
	if err := i.arrived(); err != nil {
		return err
	}
	if err := p.order(order{MailboxID: i.box.ID, Point: point}); err != nil {
		return err
	}
	for range 2 { // of the watch, and of this: it has heard of the point
		if _, err := p.await("outcome"); err != nil {
			return err
		}
	}
	i.resets++
	if _, err := i.r.up.ResetUIDValidity(i.box.Address, "INBOX"); err != nil {
		return err
	}
	return i.deliver(100, 100, 100)
}

// left checks that nothing was moved or deleted at the server that is not stored.
func (i *inbox) left() error {
	found, err := i.stored()
	if err != nil {
		return err
	}
	var gone []string
	for id := range i.letters {
		gone = append(gone, id)
	}
	for _, m := range i.r.up.Messages(i.box.Address, "INBOX") {
		if !slices.Contains(m.Flags, `\Deleted`) {
			gone = slices.DeleteFunc(gone, func(id string) bool { return id == message.Parse(m.Raw).MessageID })
		}
	}
	for _, m := range found {
		gone = slices.DeleteFunc(gone, func(id string) bool { return id == m.Parsed.MessageID })
	}
	if len(gone) > 0 {
		return fmt.Errorf("%v are gone from the folder and not stored", gone)
	}
	return nil
}

// judge lets the next process finish, and one message more arrive.
func (i *inbox) judge(*process) (string, error) {
	if err := i.arrived(); err != nil {
		return failed, err
	}
	if err := i.deliver(100); err != nil {
		return failed, err
	}
	if err := i.arrived(); err != nil {
		return failed, err
	}
	if err := i.exact(); err != nil {
		return failed, err
	}
	paused := i.box
	paused.Paused, paused.Version = true, 2
	return recovered, i.r.store.SaveMailbox(i.r.t.Context(), connect.SaveMailbox{Mailbox: paused, IfVersion: 1})
}

// exact checks that each message is stored whole, once, with its one event, and
// that the cursor stands behind the last.
func (i *inbox) exact() error {
	ctx := i.r.t.Context()
	found, err := i.stored()
	if err != nil {
		return err
	}
	var wrong []error
	cursor, err := i.r.store.Cursor(ctx, i.box.ID, "INBOX")
	if err != nil {
		return err
	}
	ids := map[string]string{} // of the stored message, by Message-ID
	last := uint32(0)
	for _, m := range found {
		if ids[m.Parsed.MessageID] != "" {
			wrong = append(wrong, fmt.Errorf("%s is stored twice", m.Parsed.MessageID))
		}
		ids[m.Parsed.MessageID] = m.ID
		if m.UIDValidity == cursor.UIDValidity { // others left the folder before it was numbered anew
			last = max(last, m.UID)
		}
		raw, err := whole(i.r.store.MessageRaw(ctx, m.ID))
		if err != nil || !bytes.Equal(raw, i.letters[m.Parsed.MessageID]) {
			wrong = append(wrong, fmt.Errorf("%s is not stored as it was (%v)", m.Parsed.MessageID, err))
		}
	}
	if len(ids) != len(i.letters) {
		wrong = append(wrong, fmt.Errorf("%d of %d messages are stored", len(ids), len(i.letters)))
	}
	if cursor.UID != last {
		wrong = append(wrong, fmt.Errorf("the cursor is at %v, the last message at %d", cursor, last))
	}
	events, err := i.r.store.Events(ctx, event.Filter{MailboxIDs: []string{i.box.ID}, Limit: 100})
	if err != nil {
		return err
	}
	told, resets := map[string]int{}, 0
	for _, e := range events {
		switch e.Kind {
		case event.MessageReceived:
			told[e.Data["message_id"]]++
		case event.FolderReset:
			resets++
		}
	}
	for id, stored := range ids {
		if told[stored] != 1 {
			wrong = append(wrong, fmt.Errorf("%d events tell of %s", told[stored], id))
		}
	}
	if len(told) != len(ids) || resets != i.resets {
		wrong = append(wrong, fmt.Errorf("%d messages are told of, and %d times that the folder was numbered anew; want %d and %d", len(told), resets, len(ids), i.resets))
	}
	return errors.Join(wrong...)
}
