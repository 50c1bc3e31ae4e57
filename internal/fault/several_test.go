package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/mailgrant/mailgrant/internal/fault"
)

func about(field, text string) *fault.Error {
	return &fault.Error{ID: "x.field", Kind: fault.Invalid, Field: field, Text: text}
}

func TestJoin_KeepsTheFirstFaultOfEachField(t *testing.T) {
	t.Parallel()
	err := fault.Join(nil, about("name", "first"), errors.Join(about("name", "second"), about("kind", "third")), about("", "fourth"), about("", "fifth"))
	var texts []string
	for _, f := range fault.All(err) {
		texts = append(texts, f.Text)
	}
	if got := fmt.Sprint(texts); got != "[first third fourth fifth]" {
		t.Errorf("kept %s", got)
	}
	if fault.Of(err).Text != "first" || !fault.Has(err, "x.field") {
		t.Error("the first is not found in the joined error")
	}
	if fault.Join() != nil || fault.Join(nil, nil) != nil || fault.All(nil) != nil {
		t.Error("no error is not nil")
	}
}

func TestAll_FindsFaultsBehindWrapping(t *testing.T) {
	t.Parallel()
	all := fault.All(errors.Join(fmt.Errorf("save: %w", about("name", "first")), io.ErrUnexpectedEOF))
	if len(all) != 2 || all[0].Text != "first" || all[1].Kind != fault.Internal || !errors.Is(all[1], io.ErrUnexpectedEOF) {
		t.Errorf("found %v", all)
	}
}

func TestWithin_NamesTheFieldOfTheWholeDocument(t *testing.T) {
	t.Parallel()
	inner := about("receive.protocol", "first")
	all := fault.All(fault.Within("mailboxes[0]", fault.Join(inner, about("", "second"), io.ErrUnexpectedEOF)))
	if len(all) != 3 || all[0].Field != "mailboxes[0].receive.protocol" || all[1].Field != "mailboxes[0]" || all[2].Field != "" || !errors.Is(all[2], io.ErrUnexpectedEOF) {
		t.Errorf("found %v", all)
	}
	if inner.Field != "receive.protocol" {
		t.Error("the fault itself was changed")
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	words := []string{"public_url", "tls.key_file", "client_id", "imap", "pop3", "kind", "name"}
	for word, want := range map[string]string{
		"publik_url": "public_url", "key_file": "tls.key_file", "clientid": "client_id", "Client_Id": "client_id", "iamp": "imap", "imop": "imap", "lmtp": "",
		"knid": "kind", "naem": "name", "tenant": "", "": "", "x": "", "client-id": "client_id",
	} {
		if got := fault.Nearest(word, words); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
