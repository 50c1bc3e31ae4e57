package diagnose_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// known is what the overview reads, in memory.
type known struct {
	boxes     []mailbox.Listed
	unsent    []diagnose.Unsent
	webhooks  []diagnose.Undelivered
	hours     []event.Hour
	providers []provider.Record
	keys      []diagnose.Ending
	told      *told
}

func (k known) Mailboxes(_ context.Context, f mailbox.Filter) ([]mailbox.Listed, error) {
	var out []mailbox.Listed
	for _, l := range k.boxes {
		if l.Standing() == f.Standing && (len(f.Addresses) == 0 || slices.Contains(f.Addresses, l.Mailbox.Address)) && len(out) < f.Limit {
			out = append(out, l)
		}
	}
	return out, nil
}

func (k known) CountStandings(_ context.Context, addresses []string) (map[mailbox.Standing]int, error) {
	counts := map[mailbox.Standing]int{}
	for _, l := range k.boxes {
		if len(addresses) == 0 || slices.Contains(addresses, l.Mailbox.Address) {
			counts[l.Standing()]++
		}
	}
	return counts, nil
}

func (k known) Unsent(context.Context, time.Time, []string, int) ([]diagnose.Unsent, error) {
	return k.unsent, nil
}

func (k known) Undelivered(context.Context) ([]diagnose.Undelivered, error) { return k.webhooks, nil }

func (k known) EventHours(context.Context, time.Time, []event.Kind, []string) ([]event.Hour, error) {
	return k.hours, nil
}

func (k known) FirstSteps(context.Context) (diagnose.FirstSteps, error) {
	return diagnose.FirstSteps{}, nil
}
func (k known) List(context.Context) ([]provider.Record, error) { return k.providers, nil }

var moment = time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)

func over(k known, run time.Time) *diagnose.Overview {
	return &diagnose.Overview{Reads: k, Endings: ends(k, moment), LastRun: func() time.Time { return run }, Silent: 5 * time.Minute, Now: func() time.Time { return moment }}
}

func box(address string, change func(*mailbox.Listed)) mailbox.Listed {
	l := mailbox.Listed{Mailbox: mailbox.Mailbox{ID: address, Address: address, Receive: &mailbox.Receive{}}, State: mailbox.GrantActive, Display: address}
	change(&l)
	return l
}

// troubles is one mailbox of each standing, and more of one.
func troubles() []mailbox.Listed {
	all := []mailbox.Listed{
		box("good@x.test", func(*mailbox.Listed) {}),
		box("new@x.test", func(l *mailbox.Listed) { l.State = "" }),
		box("ended@x.test", func(l *mailbox.Listed) { l.State = mailbox.GrantRevoked }),
		box("paused@x.test", func(l *mailbox.Listed) { l.Mailbox.Paused = true }),
		box("stopped@x.test", func(l *mailbox.Listed) {
			l.Outage = mailbox.Outage{Since: moment.Add(-time.Hour), Cause: "net.refused", Text: "Nothing listens.", Remedy: "Start it.", Who: []fault.Who{fault.MailAdmin}}
		}),
		box("failing@x.test", func(l *mailbox.Listed) { l.Failures, l.Cause, l.CauseText = 3, "net.timeout", "No answer." }),
		box("waits@x.test", func(l *mailbox.Listed) {
			l.State = mailbox.GrantDead
			l.Quarantine = &mailbox.Quarantine{Display: "adele", CreatedAt: moment, ExpiresAt: moment.Add(time.Hour), CauseText: "Throttled.", Who: []fault.Who{fault.Nobody}}
		}),
		box("changed@x.test", func(l *mailbox.Listed) { l.State = mailbox.GrantSuspended }),
	}
	for range 30 {
		all = append(all, box("dead@x.test", func(l *mailbox.Listed) { l.State, l.CauseText = mailbox.GrantDead, "The session was revoked." }))
	}
	return all
}

func TestOverview_TellsWhatNeedsAttentionTheMostUrgentFirst(t *testing.T) {
	t.Parallel()
	secret := func(name string, ends ...time.Time) provider.Record {
		r := provider.Record{Name: name}
		for _, e := range ends {
			r.Secrets = append(r.Secrets, provider.ClientSecretRef{ExpiresAt: e})
		}
		return r
	}
	k := known{
		boxes: troubles(), unsent: []diagnose.Unsent{{Mailbox: "good@x.test", Number: 2, Last: moment, Text: "Refused."}},
		webhooks: []diagnose.Undelivered{{Webhook: "gone", Disabled: "It answered 410."}, {Webhook: "slow", Parked: 3}},
		providers: []provider.Record{
			secret("ending", moment.Add(24*time.Hour)), secret("ended", moment.Add(-time.Hour)), secret("replaced", moment.Add(-time.Hour), moment.Add(300*24*time.Hour)),
			secret("unknown", moment.Add(time.Hour), time.Time{}), secret("public"),
		},
		keys: []diagnose.Ending{
			{Kind: diagnose.EndingAPIKey, Name: "desk", EndsAt: moment.Add(2 * time.Hour)}, {Kind: diagnose.EndingAPIKey, Name: "not yet", EndsAt: moment.Add(15 * 24 * time.Hour)},
		},
	}
	s, err := over(k, moment.Add(-6*time.Minute)).Look(t.Context(), diagnose.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []diagnose.MatterKind
	for _, m := range s.Attention {
		if len(kinds) == 0 || kinds[len(kinds)-1] != m.Kind {
			kinds = append(kinds, m.Kind)
		}
		if m.Title == "" || m.Text == "" || m.Remedy == "" || len(m.Who) == 0 {
			t.Errorf("%s has no words for people: %+v", m.Kind, m)
		}
	}
	want := []diagnose.MatterKind{
		diagnose.MatterSilent, diagnose.MatterDead, diagnose.MatterSuspended, diagnose.MatterQuarantined, diagnose.MatterFailing, diagnose.MatterStopped,
		diagnose.MatterUnsent, diagnose.MatterDisabled, diagnose.MatterParked, diagnose.MatterSecret, diagnose.MatterAPIKey, diagnose.MatterSecret,
	}
	if !slices.Equal(kinds, want) {
		t.Errorf("told %v, want %v", kinds, want)
	}
	if s.Mailboxes != 38 || s.Standings[mailbox.StandingDead] != 30 || s.More != 5 {
		t.Errorf("%d mailboxes, %d dead, %d more", s.Mailboxes, s.Standings[mailbox.StandingDead], s.More)
	}
	last := s.Attention[len(s.Attention)-3:] // the soonest first
	if last[0].Provider != "ended" || !last[0].Ended || last[1].App != "desk" || last[1].Ended || last[2].Provider != "ending" || last[2].Ended {
		t.Errorf("of what ends it tells %+v", last)
	}
}

func TestOverview_OfABoundCallerIsOfTheirMailboxes(t *testing.T) {
	t.Parallel()
	k := known{boxes: troubles(), webhooks: []diagnose.Undelivered{{Webhook: "slow", Parked: 3}}, providers: []provider.Record{{Name: "x", Secrets: []provider.ClientSecretRef{{ExpiresAt: moment}}}}}
	s, err := over(k, moment.Add(-time.Hour)).Look(t.Context(), diagnose.Scope{Bound: true, Mailboxes: []mailbox.Mailbox{{ID: "1", Address: "stopped@x.test"}}})
	if err != nil || len(s.Attention) != 1 || s.Attention[0].Kind != diagnose.MatterStopped || s.Mailboxes != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = over(k, moment).Look(t.Context(), diagnose.Scope{Bound: true}); err != nil || s.Mailboxes != 0 || len(s.Attention) != 0 || len(s.Hours) != 24 {
		t.Errorf("without mailboxes: %+v, %v", s, err)
	}
}

func TestOverview_CountsADayByTheHour(t *testing.T) {
	t.Parallel()
	hour := moment.Truncate(time.Hour)
	s, err := over(known{hours: []event.Hour{
		{At: hour, Kind: event.MessageReceived, Number: 3},
		{At: hour.Add(-23 * time.Hour), Kind: event.SubmissionSent, Number: 1},
		{At: hour, Kind: event.GrantRefreshed, Number: 7},
		{At: hour, Kind: event.GrantRefreshFailed, Number: 2},
		{At: hour.Add(time.Hour), Kind: event.MessageReceived, Number: 9},
	}}, moment).Look(t.Context(), diagnose.Scope{})
	if err != nil || len(s.Hours) != 24 {
		t.Fatalf("%d hours, %v", len(s.Hours), err)
	}
	first, last := s.Hours[0], s.Hours[23]
	if first != (diagnose.Hour{At: hour.Add(-23 * time.Hour), Sent: 1}) || last != (diagnose.Hour{At: hour, Received: 3, Refreshed: 7, RefreshFailed: 2}) {
		t.Errorf("%+v … %+v", first, last)
	}
}
