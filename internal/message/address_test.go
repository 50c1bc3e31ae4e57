package message_test

import (
	"testing"

	"github.com/mailgrant/mailgrant/internal/message"
)

func TestSameAddress(t *testing.T) {
	t.Parallel()
	const desk = "servicedesk@example.org"
	for _, c := range []struct {
		name, address string
		same          bool
	}{
		{"itself", desk, true},
		{"without case, with space around", " ServiceDesk@EXAMPLE.org\t", true},
		{"the domain in other letters of the same name", "servicedesk@ｅxample.org", true},
		{"a Kelvin sign for k", "servicedes\u212a@example.org", false},
		{"a dotted capital I for i", "serv\u0130cedesk@example.org", false},
		{"a long s for s", "\u017fervicedesk@example.org", false},
		{"a Cyrillic letter that looks the same", "s\u0435rvicedesk@example.org", false},
		{"a space of no width", "servicedesk\u200b@example.org", false},
		{"plus something", "servicedesk+1@example.org", false},
		{"a dot at the end of the domain", "servicedesk@example.org.", false},
		{"a dot at the end of the local part", "servicedesk.@example.org", false},
		{"quoted", "\"servicedesk\"@example.org", false},
		{"with a comment", "servicedesk(x)@example.org", false},
		{"with a display name", "Desk <servicedesk@example.org>", false},
		{"two at signs", "servicedesk@example.org@example.org", false},
		{"a subdomain", "servicedesk@a.example.org", false},
		{"nothing", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := message.SameAddress(c.address, desk); got != c.same {
				t.Errorf("%q counts as %s: %v", c.address, desk, got)
			}
		})
	}
	t.Run("letters outside ASCII fold among themselves", func(t *testing.T) {
		t.Parallel()
		if !message.SameAddress("ÄRGER@example.org", "ärger@example.org") {
			t.Error("Ä and ä are two letters")
		}
	})
}
