package imap_test

import (
	"testing"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/imap"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
)

// What must not be said in a case ends the connection, and so the test.
func TestDispose_WithoutTheExtensionsLosesNothing(t *testing.T) {
	t.Parallel()
	const (
		ok       = "TAG OK done\r\n"
		full     = "TAG NO [OVERQUOTA] full\r\n"
		mustNot  = ""
		signedIn = "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR"
	)
	move := protocol.Disposal{Act: protocol.DisposeMove, Target: "Done"}
	remove := protocol.Disposal{Act: protocol.DisposeDelete}
	for _, c := range []struct {
		outcome string
		caps    string
		what    protocol.Disposal
		replies map[string]string
		id      string // of the fault; empty: it is done
	}{
		{"without MOVE it copies, marks, and expunges by UID", " UIDPLUS", move, map[string]string{"UID COPY 7": ok, "UID STORE 7": ok, "UID EXPUNGE 7": ok}, ""},
		{"and the expunge is really asked for", " UIDPLUS", move, map[string]string{"UID COPY 7": ok, "UID STORE 7": ok, "UID EXPUNGE 7": full}, "imap.over_quota"},
		{"what could not be copied is not deleted", " UIDPLUS", move, map[string]string{"UID COPY 7": full, "CREATE": full, "UID STORE": mustNot}, "imap.over_quota"},
		{"without UIDPLUS a message stays marked: nothing is expunged", "", remove, map[string]string{"UID STORE 7": ok, "EXPUNGE": mustNot, "UID EXPUNGE": mustNot}, ""},
		{"and it is really marked", "", remove, map[string]string{"UID STORE 7": full}, "imap.over_quota"},
		{"with MOVE nothing is deleted by hand", " MOVE UIDPLUS", move, map[string]string{"UID MOVE 7": ok, "UID STORE": mustNot, "UID EXPUNGE": mustNot}, ""},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			c.replies["CAPABILITY"] = signedIn + c.caps + "\r\nTAG OK done\r\n"
			r, err := imap.New().OpenReader(protocoltest.Context(t), plain(replies(c.replies).Start(t)), protocoltest.Owner(protocoltest.Adele))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			if _, err := r.Select(protocoltest.Context(t), "INBOX"); err != nil {
				t.Fatal(err)
			}
			err = r.Dispose(protocoltest.Context(t), []uint32{7}, c.what)
			if c.id == "" && err != nil || c.id != "" && !fault.Has(err, c.id) {
				t.Fatalf("%v, want %q", err, c.id)
			}
			if _, err := r.Select(protocoltest.Context(t), "INBOX"); err != nil {
				t.Fatalf("something was said that must not be: %v", err)
			}
		})
	}
}

// What a server can do is what it says after the sign-in: Exchange has MOVE only
// then, and a message copied in its place stands twice when the process dies
// before it is deleted.
func TestDispose_GoesByWhatTheServerCanAfterTheSignIn(t *testing.T) {
	t.Parallel()
	script := replies(map[string]string{"CAPABILITY": "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR MOVE\r\nTAG OK done\r\n", "UID MOVE 7": "TAG OK done\r\n", "UID COPY": ""})
	script.Greeting = "* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR] ready\r\n"
	at := plain(script.Start(t))
	for range 300 { // of which some meet the moment in between
		r, err := imap.New().OpenReader(protocoltest.Context(t), at, protocoltest.Owner(protocoltest.Adele))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = r.Select(protocoltest.Context(t), "INBOX"); err == nil {
			err = r.Dispose(protocoltest.Context(t), []uint32{7}, protocol.Disposal{Act: protocol.DisposeMove, Target: "Done"})
		}
		_ = r.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpen_RefusesAServerThatAsksNobodyWhoTheyAre(t *testing.T) {
	t.Parallel()
	port := protocoltest.Script{Greeting: "* PREAUTH welcome\r\n"}.Start(t)
	_, err := imap.New().OpenReader(protocoltest.Context(t), plain(port), protocoltest.Owner(protocoltest.Adele))
	if !fault.Has(err, "imap.preauth") {
		t.Fatalf("%v", err)
	}
}
