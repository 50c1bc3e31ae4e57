package stock_test

import (
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/storetest"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/internal/testbed/stock"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

func TestFill_GivesWhatTheStoreReads(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		filled(t, storetest.OpenSQLite(t))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		if testing.Short() {
			t.Skip("PostgreSQL is left out of short runs")
		}
		filled(t, storetest.OpenAt(t, testbed.StartPostgres(t).NewDatabase(t)))
	})
}

func filled(t *testing.T, s *store.Store) {
	keys, err := seal.NewKeyset()
	must(t, err)
	now := time.Now()
	stock.Fill(t, s, keys, stock.Plan{
		Mailboxes: 100, Events: 2000, Messages: 500, Submissions: 300, Webhooks: 3, Deliveries: 1000, Trouble: 10, Sealed: 20, Due: 5, Now: now,
	})

	counts, err := s.Counts(t.Context())
	must(t, err)
	if counts.Mailboxes["active"] != 92 || counts.Mailboxes["dead"] != 2 || counts.Mailboxes["none"] != 4 || counts.Quarantined != 2 || counts.Messages != 500 || counts.Submissions["queued"] != 3 {
		t.Errorf("counted %+v", counts)
	}
	if counts.Deliveries["pending"] == 0 || counts.Deliveries["parked"] == 0 {
		t.Errorf("no delivery waits or none is parked: %v", counts.Deliveries)
	}
	boxes, err := s.Mailboxes(t.Context(), mailbox.Filter{Limit: 1000})
	must(t, err)
	if len(boxes) != 100 || boxes[3].Mailbox.ID != stock.MailboxID(3) || boxes[3].Mailbox.Address != stock.Address(3) {
		t.Errorf("there are %d mailboxes; the fourth is %+v", len(boxes), boxes[min(3, len(boxes)-1)])
	}
	grant, err := s.Grant(t.Context(), stock.MailboxID(7))
	must(t, err)
	refresh, err := keys.Unseal(grant.RefreshToken, seal.Where("grant", grant.MailboxID, "refresh_token"))
	must(t, err)
	access, err := s.AccessToken(t.Context(), stock.MailboxID(7), provider.ResourceMail)
	must(t, err)
	lent, err := keys.Unseal(access.Sealed, seal.Where("access_token", access.MailboxID, access.Resource))
	must(t, err)
	if refresh.Reveal() != stock.RefreshToken(7) || lent.Reveal() != stock.AccessToken(7) {
		t.Error("the tokens of a mailbox are not its own")
	}
	due, err := s.Due(t.Context(), now, 100)
	must(t, err)
	if len(due) != 5 {
		t.Errorf("%d grants are due, want 5", len(due))
	}
	page, err := s.Messages(t.Context(), fetch.Filter{MailboxIDs: []string{stock.MailboxID(0)}, Limit: 100})
	must(t, err)
	found := page.Messages
	if len(found) < 50 || found[0].Parsed.Subject == "" || found[0].Mailbox != stock.Address(0) {
		t.Errorf("the busy mailbox has %d messages", len(found))
	}
	hook, err := s.Webhook(t.Context(), stock.WebhookName(1))
	must(t, err)
	waiting, err := s.Deliveries(t.Context(), webhook.Filter{WebhookID: hook.ID, State: webhook.Waiting, Limit: 100})
	must(t, err)
	if len(waiting) == 0 {
		t.Error("nothing waits for the webhook")
	}
	// Nothing that happens by itself is due now, and what comes next comes last.
	queues, err := s.DueQueues(t.Context(), time.Now(), 10)
	must(t, err)
	submissions, err := s.DueSubmissions(t.Context(), time.Now(), 10)
	must(t, err)
	if len(queues)+len(submissions) != 0 {
		t.Errorf("%d queues and %d submissions are due", len(queues), len(submissions))
	}
	must(t, s.WriteEvent(t.Context(), event.New(time.Now(), event.MailboxTested, event.System(), "Tested.").About(stock.MailboxID(1), stock.Address(1))))
	newest, err := s.Events(t.Context(), event.Filter{Limit: 2})
	must(t, err)
	if newest[0].Text != "Tested." || newest[1].MailboxID == "" || newest[1].Data["subject"] == "" {
		t.Errorf("the newest events are %+v", newest)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
