package exchange_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

func mustDeliver(t *testing.T, r *running, to, subject string) uint32 {
	t.Helper()
	uid, err := r.Deliver(to, []byte(letter(nestor, to, subject)))
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

func TestIMAPReadsAndChanges(t *testing.T) {
	t.Parallel()
	r := start(t)
	for i := range 3 {
		if uid := mustDeliver(t, r, "Adele@Contoso.test", fmt.Sprint("letter ", i+1)); uid != uint32(i+1) {
			t.Errorf("UID %d, want %d", uid, i+1)
		}
	}
	c := r.imapClient(t, as(adele, adele), nil)
	selected, err := c.Select("inbox", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if selected.NumMessages != 3 || selected.UIDNext != 4 || selected.UIDValidity == 0 {
		t.Errorf("selected %+v", selected)
	}

	t.Run("fetch without a trace", func(t *testing.T) {
		section := &imap.FetchItemBodySection{Peek: true}
		got, err := c.Fetch(imap.UIDSetNum(2), &imap.FetchOptions{
			UID: true, Flags: true, Envelope: true, InternalDate: true, RFC822Size: true, BodySection: []*imap.FetchItemBodySection{section},
		}).Collect()
		if err != nil || len(got) != 1 {
			t.Fatalf("%d messages, %v", len(got), err)
		}
		m := got[0]
		raw := m.FindBodySection(section)
		if m.UID != 2 || m.SeqNum != 2 || m.Envelope.Subject != "letter 2" || len(m.Flags) != 0 || m.RFC822Size != int64(len(raw)) {
			t.Errorf("fetched %+v", m)
		}
		if !m.InternalDate.Equal(r.dir.Now()) {
			t.Errorf("INTERNALDATE %v, want the tenant's clock %v", m.InternalDate, r.dir.Now())
		}
		if !bytes.Equal(raw, r.Messages(adele, "INBOX")[1].Raw) {
			t.Errorf("the body differs from what is stored: %q", raw)
		}
		for _, field := range []string{"Received: from ", "Message-ID: <", "Date: Tue, 24 Nov 2026 09:00:00 +0000", "Subject: letter 2"} {
			if !strings.Contains(string(raw), field) {
				t.Errorf("no %q in %q", field, raw)
			}
		}
	})

	t.Run("fetching a body marks it seen, EXAMINE does not", func(t *testing.T) {
		other := r.imapClient(t, as(adele, adele), nil)
		if _, err := other.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
			t.Fatal(err)
		}
		whole := &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{}}}
		if _, err := other.Fetch(imap.UIDSetNum(1), whole).Collect(); err != nil {
			t.Fatal(err)
		}
		if flags := r.Messages(adele, "INBOX")[0].Flags; len(flags) != 0 {
			t.Errorf("flags %v after reading with EXAMINE", flags)
		}
		if err := other.Store(imap.UIDSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen}}, nil).Close(); err == nil {
			t.Error("STORE succeeded in a folder opened read-only")
		}
		if _, err := c.Fetch(imap.UIDSetNum(1), whole).Collect(); err != nil {
			t.Fatal(err)
		}
		if flags := r.Messages(adele, "INBOX")[0].Flags; !slices.Equal(flags, []string{`\Seen`}) {
			t.Errorf("flags %v after reading, want \\Seen", flags)
		}
	})

	t.Run("search", func(t *testing.T) {
		for _, c2 := range []struct {
			name     string
			criteria imap.SearchCriteria
			want     []imap.UID
		}{
			{"unseen", imap.SearchCriteria{NotFlag: []imap.Flag{imap.FlagSeen}}, []imap.UID{2, 3}},
			{"from a UID on", imap.SearchCriteria{UID: []imap.UIDSet{{{Start: 3, Stop: 0}}}}, []imap.UID{3}},
			{"beyond the last UID, which * makes the last", imap.SearchCriteria{UID: []imap.UIDSet{{{Start: 9, Stop: 0}}}}, []imap.UID{3}},
			{"subject", imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "LETTER 2"}}}, []imap.UID{2}},
			{"text, negated", imap.SearchCriteria{Not: []imap.SearchCriteria{{Text: []string{"letter 1"}}}}, []imap.UID{2, 3}},
			{"day", imap.SearchCriteria{Since: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)}, nil},
			{"one of two", imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{
				{UID: []imap.UIDSet{imap.UIDSetNum(1)}}, {Larger: 1 << 20},
			}}}, []imap.UID{1}},
		} {
			t.Run(c2.name, func(t *testing.T) {
				got, err := c.UIDSearch(&c2.criteria, nil).Wait()
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got.AllUIDs(), c2.want) {
					t.Errorf("found %v, want %v", got.AllUIDs(), c2.want)
				}
			})
		}
	})

	t.Run("copy, move, delete, append", func(t *testing.T) {
		copied, err := c.Copy(imap.UIDSetNum(1), "Archive").Wait()
		if err != nil || copied.UIDValidity == 0 {
			t.Fatalf("COPY: %+v, %v", copied, err)
		}
		if _, err := c.Move(imap.UIDSetNum(2), "Deleted Items").Wait(); err != nil {
			t.Fatalf("MOVE: %v", err)
		}
		if _, err := c.Copy(imap.UIDSetNum(3), "Nowhere").Wait(); err == nil || !strings.Contains(err.Error(), "TRYCREATE") {
			t.Errorf("COPY to a folder that is not there: %v", err)
		}
		if err := c.Store(imap.UIDSetNum(1, 3), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted, "$Custom"}}, nil).Close(); err != nil {
			t.Fatal(err)
		}
		if flags := r.Messages(adele, "INBOX")[1].Flags; !slices.Equal(flags, []string{`\Deleted`}) {
			t.Errorf("flags %v: custom keywords are not kept", flags)
		}
		if gone, err := c.UIDExpunge(imap.UIDSetNum(1)).Collect(); err != nil || !slices.Equal(gone, []uint32{1}) {
			t.Errorf("UID EXPUNGE: %v, %v", gone, err)
		}
		command := c.Append("Drafts", 5, &imap.AppendOptions{Flags: []imap.Flag{imap.FlagDraft}})
		if _, err := command.Write([]byte("a: b\n")); err != nil {
			t.Fatal(err)
		}
		if err := command.Close(); err != nil {
			t.Fatal(err)
		}
		if appended, err := command.Wait(); err != nil || appended.UID != 1 {
			t.Errorf("APPEND: %+v, %v", appended, err)
		}
		wantSubjects(t, r.Messages(adele, "INBOX"), "letter 3")
		wantSubjects(t, r.Messages(adele, "Archive"), "letter 1")
		wantSubjects(t, r.Messages(adele, "Deleted Items"), "letter 2")
		if drafts := r.Messages(adele, "Drafts"); len(drafts) != 1 || string(drafts[0].Raw) != "a: b\n" || drafts[0].Flags[0] != `\Draft` {
			t.Errorf("drafts %+v", drafts)
		}
	})

	t.Run("folders", func(t *testing.T) {
		if err := c.Create("INBOX/Tickets", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		if err := c.Create("INBOX/Tickets", nil).Wait(); err == nil {
			t.Error("the same folder was created twice")
		}
		if err := c.Rename("INBOX/Tickets", "Closed", nil).Wait(); err != nil {
			t.Error(err)
		}
		if err := c.Delete("Sent Items").Wait(); err == nil {
			t.Error("Sent Items was deleted")
		}
		all, err := c.List("", "*", nil).Collect()
		if err != nil {
			t.Fatal(err)
		}
		uses := make(map[string]bool)
		for _, f := range all {
			uses[fmt.Sprint(f.Mailbox, f.Attrs)] = true
		}
		for _, want := range []string{
			`INBOX[\HasNoChildren]`, `Sent Items[\HasNoChildren \Sent]`, `Drafts[\HasNoChildren \Drafts]`, `Closed[\HasNoChildren]`,
			`Deleted Items[\HasNoChildren \Trash]`, `Junk Email[\HasNoChildren \Junk]`, `Archive[\HasNoChildren \Archive]`,
		} {
			if !uses[want] {
				t.Errorf("LIST lacks %s in %v", want, uses)
			}
		}
		if err := c.Delete("Closed").Wait(); err != nil {
			t.Error(err)
		}
		status, err := c.Status("INBOX", &imap.StatusOptions{NumMessages: true, UIDNext: true, NumUnseen: true, UIDValidity: true}).Wait()
		if err != nil || *status.NumMessages != 1 || *status.NumUnseen != 1 || status.UIDNext != 4 || status.UIDValidity != selected.UIDValidity {
			t.Errorf("STATUS %+v, %v", status, err)
		}
	})
}

func TestIMAPIdle(t *testing.T) {
	t.Parallel()
	r := start(t)
	exists := make(chan uint32, 10)
	c := r.imapClient(t, as(desk, adele), &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				exists <- *data.NumMessages
			}
		},
	}})
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	next := func(want uint32) {
		t.Helper()
		select {
		case n := <-exists:
			if n != want {
				t.Errorf("EXISTS %d, want %d", n, want)
			}
		case <-time.After(patient):
			t.Fatalf("no push of message %d", want)
		}
	}
	// The first comes between SELECT and IDLE and must not wait for the second.
	mustDeliver(t, r, desk, "before")
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	next(1)
	mustDeliver(t, r, desk, "during")
	next(2)
	mustDeliver(t, r, desk, "again")
	next(3)
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := idle.Wait(); err != nil {
		t.Fatal(err)
	}
	call := r.dir.await(t, 1, func(c exchange.Call) bool { return c.Command == "IDLE" && strings.HasPrefix(c.Reply, "OK") })
	if call.Mailbox != desk || call.UPN != adele {
		t.Errorf("recorded %+v", call)
	}
}

// TestIMAPIdleSeesOthers has a second connection change a folder on which the
// first one idles.
func TestIMAPIdleSeesOthers(t *testing.T) {
	t.Parallel()
	r := start(t)
	for i := range 3 {
		mustDeliver(t, r, desk, fmt.Sprint(i))
	}
	watcher := r.dialogue(t, r.imap, true)
	watcher.want(greeting)
	watcher.send("a AUTHENTICATE XOAUTH2 %s", encoded(as(desk, adele)))
	watcher.want("a OK AUTHENTICATE completed.")
	watcher.send("b SELECT INBOX")
	watcher.until("b OK [READ-WRITE] SELECT completed.")
	watcher.send("c IDLE")
	watcher.want("+ idling")

	other := r.imapClient(t, as(desk, adele), nil)
	if _, err := other.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := other.Store(imap.UIDSetNum(2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	watcher.want(`* 2 FETCH (UID 2 FLAGS (\Flagged))`)
	if _, err := other.Move(imap.UIDSetNum(1, 3), "Archive").Wait(); err != nil {
		t.Fatal(err)
	}
	watcher.want("* 3 EXPUNGE", "* 1 EXPUNGE")
	watcher.send("DONE")
	watcher.want("c OK IDLE completed.")
	watcher.send("d FETCH 1 (UID)")
	watcher.want("* 1 FETCH (UID 2)", "d OK FETCH completed.")
}

func TestResetUIDValidity(t *testing.T) {
	t.Parallel()
	r := start(t)
	mustDeliver(t, r, adele, "one")
	mustDeliver(t, r, adele, "two")
	c := r.imapClient(t, as(adele, adele), nil)
	before, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Store(imap.UIDSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsSet, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
	validity, err := r.ResetUIDValidity(adele, "INBOX")
	if err != nil || validity == before.UIDValidity {
		t.Fatalf("UIDVALIDITY %d after %d, %v", validity, before.UIDValidity, err)
	}
	if err := c.Noop().Wait(); err == nil {
		t.Error("the connection with the old folder is still open")
	}
	after, err := r.imapClient(t, as(adele, adele), nil).Select("INBOX", nil).Wait()
	if err != nil || after.UIDValidity != validity || after.UIDNext != 2 {
		t.Errorf("selected %+v, %v", after, err)
	}
	wantSubjects(t, r.Messages(adele, "INBOX"), "two")

	if _, err := r.ResetUIDValidity(adele, "Nowhere"); err == nil {
		t.Error("a folder that is not there was re-created")
	}
	if _, err := r.ResetUIDValidity("nobody@contoso.test", "INBOX"); err == nil {
		t.Error("a folder of nobody was re-created")
	}
	if _, err := r.Deliver("nobody@contoso.test", nil); err == nil {
		t.Error("mail was delivered to nobody")
	}
	if r.Messages("nobody@contoso.test", "INBOX") != nil || r.Messages(adele, "Nowhere") != nil {
		t.Error("messages where there is no folder")
	}
}

// TestIMAPMoveOnce has many connections move the same messages at once, while
// mail comes in and others search: each message ends up once.
func TestIMAPMoveOnce(t *testing.T) {
	t.Parallel()
	r := start(t)
	const letters, movers = 40, 6
	for i := range letters {
		mustDeliver(t, r, desk, fmt.Sprint(i))
	}
	var all sync.WaitGroup
	for range movers {
		c := r.imapClient(t, as(desk, adele), nil)
		all.Go(func() {
			if _, err := c.Select("INBOX", nil).Wait(); err != nil {
				t.Error(err)
				return
			}
			for uid := range imap.UID(letters) {
				if _, err := c.UIDSearch(&imap.SearchCriteria{Text: []string{"hello"}}, nil).Wait(); err != nil {
					t.Error(err)
				}
				if _, err := c.Move(imap.UIDSetNum(uid+1), "Archive").Wait(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for range letters {
			if _, err := r.Deliver(desk, []byte(letter(nestor, desk, "late"))); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	if in, out := len(r.Messages(desk, "INBOX")), len(r.Messages(desk, "Archive")); in != letters || out != letters {
		t.Errorf("%d in the INBOX and %d in the archive, want %d each", in, out, letters)
	}
}
