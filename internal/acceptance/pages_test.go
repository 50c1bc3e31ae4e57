package acceptance_test

import (
	"testing"

	"github.com/mailgrant/mailgrant/internal/testbed"
)

// TestInChromium is everything that a browser is needed for. One Chromium is
// shared; each person has a private window.
func TestInChromium(t *testing.T) {
	chromium := testbed.StartChromium(t, testbed.ChromiumOptions{})
	for _, part := range []struct {
		name string
		test func(*testing.T, *testbed.Browser)
	}{
		{"trap", trap},
		{"foreign tenant", foreigner},
		{"alias and delegate", exceptions},
		{"bad answers", badAnswers},
		{"replayed answers", replays},
		{"links", links},
		{"sign-in", signInPages},
		{"mailboxes", mailboxPages},
		{"webhooks", webhookPages},
		{"overview", overviewPages},
		{"wizard", wizard},
		{"wizard, plainly", wizardPlainly},
		{"changing mailboxes", mailboxChanges},
		{"providers", providerPages},
		{"keyboard", keyboard},
		{"apps", appPages},
		{"people", peoplePages},
		{"people without scripts", peopleWithoutScripts},
		{"messages", messagePages},
		{"manual", manualPage},
		{"submissions", submissionPages},
		{"events", eventPages},
		{"inspector", inspectorPages},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			part.test(t, chromium)
		})
	}
}
