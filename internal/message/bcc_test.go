package message_test

import (
	"testing"

	"github.com/mailgrant/mailgrant/internal/message"
)

func TestWithBcc_NamesWhomTheHeaderDoesNot(t *testing.T) {
	t.Parallel()
	const raw = "From: a@x.test\r\nTo: B <b@x.test>\r\nCc: c@x.test\r\n\r\nHello.\r\n"
	for want, recipients := range map[string][]string{
		raw:                                     {"B@x.test", "c@x.test"},
		"Bcc: d@x.test,\r\n e@x.test\r\n" + raw: {"d@x.test", "b@x.test", "e@x.test", "D@x.test"},
	} {
		if got := string(message.WithBcc([]byte(raw), recipients)); got != want {
			t.Errorf("%v:\n%s", recipients, got)
		}
	}
}
