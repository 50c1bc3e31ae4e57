package api_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// TestGeneratedClient lets a program speak to a server that knows nothing of it
// but its description: the client is made by a generator of somebody else's.
func TestGeneratedClient(t *testing.T) {
	if testing.Short() {
		t.Skip("the type checker takes ten seconds")
	}
	s := open(t)
	document := s.do(t, "", "GET", "/openapi.json", nil).body
	var saw struct {
		Provider, Mailbox, Created, Link, State, Submission, Refused string
		Addresses, Kinds                                             []string
		Pages                                                        int
		Replayed                                                     struct {
			Status      int
			Header, URL string
			Same        bool
		}
		Resubmission struct {
			Same   bool
			Header string
		}
		Problem, Unknown struct {
			Status              int
			Type, Field, Remedy string
		}
	}
	testbed.TypeScriptStory(t, []byte(document), object{
		"server": s.base, "key": s.key, "provider": s.provider(), "mailbox": s.mailbox(directory.StoryDesk), "other": s.mailbox(directory.StoryAdele),
		"to": directory.StoryAdele,
	}, &saw)
	both := []string{strings.ToLower(directory.StoryAdele), strings.ToLower(directory.StoryDesk)}
	for name, good := range map[string]bool{
		"the provider":           saw.Provider == "contoso" && saw.Created != "",
		"the mailbox":            strings.EqualFold(saw.Mailbox, directory.StoryDesk),
		"the authorization link": strings.HasPrefix(saw.Link, s.base+"/authorize/") && saw.State == "pending",
		"its repetition":         saw.Replayed.Status == 201 && saw.Replayed.Header == "true" && saw.Replayed.Same && saw.Replayed.URL == "",
		"two pages of mailboxes": saw.Pages == 2 && slices.Equal(saw.Addresses, both),
		"the submission":         saw.Submission != "" && saw.Resubmission.Same && saw.Resubmission.Header == "true",
		"another under its key":  saw.Problem.Status == 422 && strings.HasSuffix(saw.Problem.Type, ":idempotency.key_reused") && saw.Problem.Field == "Idempotency-Key" && saw.Problem.Remedy != "",
		"a mailbox that is not":  saw.Unknown.Status == 404 && strings.HasSuffix(saw.Unknown.Type, ":mailbox.unknown"),
		"a key that is not":      strings.HasSuffix(saw.Refused, ":access.api_key_unknown"),
		"the stream of events":   slices.Contains(saw.Kinds, "mailbox.created") && slices.Contains(saw.Kinds, "submission.accepted"),
	} {
		if !good {
			t.Errorf("%s: %+v", name, saw)
		}
	}
}
