package protocoltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// TestReader holds a Reader to its contract, at a mailbox that only this test uses.
func TestReader(t *testing.T, b Bench, reader protocol.Reader) {
	open := func(t *testing.T, folder string) (protocol.Reading, protocol.FolderStatus) {
		t.Helper()
		r, err := reader.OpenReader(Context(t), b.Receive, Owner(Adele))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		status, err := r.Select(Context(t), folder)
		if err != nil {
			t.Fatal(err)
		}
		return r, status
	}
	t.Run("messages come in order, limited, and stay unseen", func(t *testing.T) {
		for i := range 5 {
			b.Deliver(t, Adele, Letter(Adele, fmt.Sprintf("n%d", i)))
		}
		r, status := open(t, "INBOX")
		if status.UIDValidity == 0 || status.Messages < 5 {
			t.Fatalf("status = %+v", status)
		}
		first, last := Read(Context(t), t, r, 0, 3)
		second, end := Read(Context(t), t, r, last, 100)
		if all := append(first, second...); len(first) != 3 || !slices.Equal(all, []string{"n0", "n1", "n2", "n3", "n4"}) {
			t.Fatalf("got %q then %q", first, second)
		}
		if none, _ := Read(Context(t), t, r, end, 100); len(none) != 0 {
			t.Fatalf("above the last UID there is %q", none)
		}
		if flags := flagsOf(t, r); slices.Contains(flags, `\Seen`) {
			t.Fatalf("reading left flags %q", flags)
		}
	})
	t.Run("an error of the receiver ends the listing as it is", func(t *testing.T) {
		r, _ := open(t, "INBOX")
		stop := errors.New("enough")
		if err := r.Since(Context(t), 0, 100, func(message.Received) error { return stop }); !errors.Is(err, stop) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("an arrival ends the wait, and the next wait lasts", func(t *testing.T) {
		r, status := open(t, "INBOX")
		woke := make(chan error, 1)
		go func() {
			changed, err := r.Wait(Context(t), Patience)
			if err == nil && !changed {
				err = errors.New("the wait ended without a change")
			}
			woke <- err
		}()
		b.Deliver(t, Adele, Letter(Adele, "pushed"))
		if err := <-woke; err != nil {
			t.Fatal(err)
		}
		if got, _ := Read(Context(t), t, r, status.UIDNext-1, 10); !slices.Equal(got, []string{"pushed"}) {
			t.Fatalf("got %q", got)
		}
		if changed, err := r.Wait(Context(t), 50*time.Millisecond); changed || err != nil {
			t.Fatalf("nothing happened, but Wait says %v, %v", changed, err)
		}
	})
	t.Run("a cancelled wait returns at once", func(t *testing.T) {
		r, _ := open(t, "INBOX")
		ctx, cancel := context.WithCancel(Context(t))
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := r.Wait(ctx, Patience); err == nil || fault.KindOf(err) != fault.Temporary {
			t.Fatalf("got %v", err)
		}
	})
	by := protocol.TraitsOf(b.Receive.Protocol)
	disposals(t, by, open)
	t.Run("a folder that is not there is named with its setting", func(t *testing.T) {
		r, _ := open(t, "INBOX")
		_, err := r.Select(Context(t), "Nowhere")
		if f := fault.Of(err); f == nil || f.Kind != fault.Refused || f.Field != "receive.folders" {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("a bad access token is a refusal", func(t *testing.T) {
		_, err := reader.OpenReader(Context(t), b.Receive, protocol.Login{User: Adele, AccessToken: seal.NewSecret("nonsense")})
		if f := fault.Of(err); f == nil || f.Kind != fault.Refused || f.Remedy == "" || strings.Contains(err.Error(), "nonsense") {
			t.Fatalf("got %v", err)
		}
	})
}

func flagsOf(t *testing.T, r protocol.Reading) (flags []string) {
	t.Helper()
	if err := r.Since(Context(t), 0, 1, func(m message.Received) error { flags = m.Flags; return nil }); err != nil {
		t.Fatal(err)
	}
	return flags
}

// disposals are what follows a hand-over.
func disposals(t *testing.T, by protocol.Traits, open func(*testing.T, string) (protocol.Reading, protocol.FolderStatus)) {
	first := func(t *testing.T, r protocol.Reading) uint32 {
		t.Helper()
		_, uid := Read(Context(t), t, r, 0, 1)
		return uid
	}
	for _, what := range []protocol.Disposal{{Act: protocol.DisposeMarkSeen}, {Act: protocol.DisposeMove, Target: "Processed"}, {Act: "burn"}} {
		if by.May(what.Act) {
			continue
		}
		t.Run(what.Act+" is refused and changes nothing", func(t *testing.T) {
			r, before := open(t, "INBOX")
			if err := r.Dispose(Context(t), []uint32{first(t, r)}, what); fault.KindOf(err) != fault.Invalid || fault.Of(err).Field != "after_receive" {
				t.Fatalf("got %v", err)
			}
			if _, after := open(t, "INBOX"); after.Messages != before.Messages {
				t.Fatalf("%d messages of %d", after.Messages, before.Messages)
			}
		})
	}
	t.Run("mark_seen marks", func(t *testing.T) {
		if !by.May(protocol.DisposeMarkSeen) {
			t.Skip("the protocol has no flags")
		}
		r, _ := open(t, "INBOX")
		if err := r.Dispose(Context(t), []uint32{first(t, r)}, protocol.Disposal{Act: protocol.DisposeMarkSeen}); err != nil {
			t.Fatal(err)
		}
		if flags := flagsOf(t, r); !slices.Contains(flags, `\Seen`) {
			t.Fatalf("flags = %q", flags)
		}
	})
	t.Run("move moves, making the folder", func(t *testing.T) {
		if !by.May(protocol.DisposeMove) {
			t.Skip("the protocol has no folders")
		}
		r, before := open(t, "INBOX")
		uid := first(t, r)
		if err := r.Dispose(Context(t), []uint32{uid}, protocol.Disposal{Act: protocol.DisposeMove, Target: "Processed"}); err != nil {
			t.Fatal(err)
		}
		if err := r.Dispose(Context(t), []uint32{uid}, protocol.Disposal{Act: protocol.DisposeMove, Target: "Processed"}); err != nil {
			t.Fatalf("again: %v", err)
		}
		_, after := open(t, "INBOX")
		_, target := open(t, "Processed")
		if after.Messages != before.Messages-1 || target.Messages != 1 {
			t.Fatalf("INBOX %d of %d, Processed %d", after.Messages, before.Messages, target.Messages)
		}
	})
	t.Run("delete deletes only what was named", func(t *testing.T) {
		r, before := open(t, "INBOX")
		if err := r.Dispose(Context(t), []uint32{first(t, r)}, protocol.Disposal{Act: protocol.DisposeDelete}); err != nil {
			t.Fatal(err)
		}
		if _, after := open(t, "INBOX"); after.Messages != before.Messages-1 {
			t.Fatalf("%d messages of %d", after.Messages, before.Messages)
		}
	})
	t.Run("what is left can be read after a delete", func(t *testing.T) {
		r, _ := open(t, "INBOX")
		uid := first(t, r)
		rest, _ := Read(Context(t), t, r, uid, 100)
		if err := r.Dispose(Context(t), []uint32{uid}, protocol.Disposal{Act: protocol.DisposeDelete}); err != nil {
			t.Fatal(err)
		}
		if err := r.Dispose(Context(t), []uint32{uid}, protocol.Disposal{Act: protocol.DisposeDelete}); err != nil {
			t.Fatalf("again: %v", err)
		}
		if left, _ := Read(Context(t), t, r, 0, 100); len(rest) == 0 || !slices.Equal(left, rest) {
			t.Fatalf("%q is left, want %q", left, rest)
		}
	})
}

// TestSnapshot holds a protocol.Snapshot to its contract, at a mailbox that only
// this test uses.
func TestSnapshot(t *testing.T, b Bench, reader protocol.Reader) {
	for i := range 4 {
		b.Deliver(t, Desk, Letter(Desk, fmt.Sprintf("s%d", i)))
	}
	handed := map[string]uint32{}
	look := func(above uint32, gone ...string) (protocol.Snapshot, uint32) {
		t.Helper()
		r, err := reader.OpenReader(Context(t), b.Receive, Owner(Desk))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		status, err := r.Select(Context(t), "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		s, ok := r.(protocol.Snapshot)
		if !ok {
			t.Fatal("it is no Snapshot")
		}
		if got := s.Remember(handed, above); !slices.Equal(got, gone) {
			t.Fatalf("gone are %q, want %q", got, gone)
		}
		return s, status.UIDValidity
	}
	take := func(s protocol.Snapshot, above uint32, limit int, want map[string]uint32) {
		t.Helper()
		got := map[string]uint32{}
		if err := s.Since(Context(t), above, limit, func(m message.Received) error {
			if m.RemoteID == "" {
				t.Error("a message without a name")
			}
			got[message.Parse(m.Raw).Subject], handed[m.RemoteID] = m.UID, m.UID
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	s, first := look(10)
	take(s, 10, 2, map[string]uint32{"s0": 11, "s1": 12})
	_ = s.Close()
	s, second := look(12)
	if first != second {
		t.Errorf("UIDVALIDITY %d and then %d", first, second)
	}
	if err := s.Dispose(Context(t), []uint32{11}, protocol.Disposal{Act: protocol.DisposeDelete}); err != nil {
		t.Fatal(err)
	}
	take(s, 12, 1, map[string]uint32{"s2": 13})
	_ = s.Close()
	var name string
	for n, uid := range handed {
		if uid == 11 {
			name = n
		}
	}
	s, _ = look(13, name)
	take(s, 13, 100, map[string]uint32{"s3": 14})
	take(s, 14, 100, map[string]uint32{})
}

// TestSender holds a Sender to its contract.
func TestSender(t *testing.T, b Bench, sender protocol.Sender, reader protocol.Reader) {
	send := func(t *testing.T, login protocol.Login, change func(*message.Outgoing)) (protocol.Receipt, error) {
		t.Helper()
		out := Submission(t, strings.ReplaceAll(t.Name(), "/", " "))
		if change != nil {
			change(&out)
		}
		return sender.Send(Context(t), b.Submit, login, out.Envelope, bytes.NewReader(out.Raw), int64(len(out.Raw)))
	}
	t.Run("a message arrives as it was", func(t *testing.T) {
		var raw []byte
		receipt, err := send(t, Owner(Adele), func(o *message.Outgoing) { raw = o.Raw })
		if err != nil || !strings.HasPrefix(receipt.Reply, "250") {
			t.Fatalf("%+v, %v", receipt, err)
		}
		r, err := reader.OpenReader(Context(t), b.Receive, Owner(Desk))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		if _, err := r.Select(Context(t), "INBOX"); err != nil {
			t.Fatal(err)
		}
		_, want, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		deadline := time.Now().Add(Patience)
		for {
			found := false
			err := r.Since(Context(t), 0, 100, func(m message.Received) error {
				_, body, _ := bytes.Cut(m.Raw, []byte("\r\n\r\n"))
				found = found || bytes.Equal(body, want)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if found {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("the message did not arrive unchanged")
			}
			if _, err := r.Wait(Context(t), time.Second); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("a bad access token is a refusal", func(t *testing.T) {
		_, err := send(t, protocol.Login{User: Adele, AccessToken: seal.NewSecret("nonsense")}, nil)
		if f := fault.Of(err); f == nil || f.Kind != fault.Refused || f.ID != "smtp.auth_refused" {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("a refused recipient is named and nothing is sent", func(t *testing.T) {
		_, err := send(t, Owner(Adele), func(o *message.Outgoing) { o.Envelope.ForwardPaths = []string{Desk, "gone@contoso.test"} })
		if f := fault.Of(err); f == nil || f.Kind != fault.Refused || !strings.Contains(f.Text, "gone@contoso.test") {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("a message that cannot be read is not sent", func(t *testing.T) {
		out := Submission(t, "unreadable")
		_, err := sender.Send(Context(t), b.Submit, Owner(Adele), out.Envelope, io.MultiReader(strings.NewReader("X: y\r\n"), failing{}), 1000)
		if !errors.Is(err, errUnreadable) || fault.Has(err, "smtp.no_reply") {
			t.Fatalf("got %v", err)
		}
	})
}

var errUnreadable = errors.New("disk gone")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errUnreadable }
