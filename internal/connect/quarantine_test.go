package connect_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/seal"
)

func TestQuarantine(t *testing.T) {
	t.Parallel()
	down := &protocol.Step{Name: "tcp", Err: &fault.Error{ID: "net.refused", Kind: fault.Temporary, Text: "No connection.", Retry: true}}
	quarantined := func(t *testing.T) *bench {
		t.Helper()
		b := newBench(t)
		b.server.fail = down
		r, err := b.authorise(person(desk, own(desk)), connect.LinkOptions{})
		if err != nil || !r.OK || !r.Quarantined || !strings.Contains(r.Text, "No connection.") {
			t.Fatalf("%+v, %v", r, err)
		}
		if _, _, ok := b.grant(); ok || len(b.adopted) > 0 {
			t.Fatal("an undecided authorization became a grant")
		}
		return b
	}
	turn := func(b *bench, d time.Duration) {
		b.t.Helper()
		b.now = b.now.Add(d)
		if err := b.Links.Turn(b.ctx); err != nil {
			b.t.Fatal(err)
		}
	}
	row := func(b *bench) *mailbox.Quarantine {
		b.t.Helper()
		q, err := b.store.QuarantineOf(b.ctx, b.box.ID)
		if err != nil {
			b.t.Fatal(err)
		}
		return q
	}
	t.Run("released when the mailbox opens, with the rotated refresh token", func(t *testing.T) {
		t.Parallel()
		b := quarantined(t)
		if b.server.limit > 10*time.Second {
			t.Errorf("the browser waited up to %s for the probe", b.server.limit)
		}
		b.idp.rotateTo = "refresh-2"
		turn(b, 2*time.Minute)
		if b.server.limit < 30*time.Second {
			t.Errorf("a probe that nobody waits for had %s", b.server.limit)
		}
		if q := row(b); q == nil || q.Tries != 1 || !q.NextTryAt.After(b.now) {
			t.Fatalf("quarantine %+v", q)
		}
		b.server.fail = nil
		b.idp.rotateTo = "refresh-3"
		turn(b, time.Hour)
		if row(b) != nil {
			t.Fatal("the quarantine is still there")
		}
		g, refreshToken, ok := b.grant()
		if !ok || g.Verdict != mailbox.VerdictMatch || refreshToken != "refresh-3" || !slices.Equal(b.idp.refreshed, []string{"refresh-1", "refresh-2"}) {
			t.Errorf("grant %+v with %q after %v", g, refreshToken, b.idp.refreshed)
		}
		if got := b.kinds(); got[len(got)-1] != event.GrantReleased {
			t.Errorf("events %v", got)
		}
	})
	t.Run("dropped on a definite no", func(t *testing.T) {
		t.Parallel()
		b := quarantined(t)
		b.server.fail = &protocol.Step{Name: "open", Err: &fault.Error{ID: "imap.no_mailbox", Kind: fault.Refused, Text: "No such mailbox."}}
		turn(b, 2*time.Minute)
		b.nothingStored()
		if got := b.kinds(); got[len(got)-1] != event.GrantDropped {
			t.Errorf("events %v", got)
		}
	})
	t.Run("dropped after a day", func(t *testing.T) {
		t.Parallel()
		b := quarantined(t)
		turn(b, 24*time.Hour)
		b.nothingStored()
	})
	t.Run("kept while the provider is down", func(t *testing.T) {
		t.Parallel()
		b := quarantined(t)
		b.idp.refreshErr = &fault.Error{ID: "oauth.no_answer", Kind: fault.Temporary, Text: "No answer.", Retry: true, Err: errors.New("x")}
		turn(b, 2*time.Minute)
		if q := row(b); q == nil || q.Cause != "oauth.no_answer" {
			t.Errorf("quarantine %+v", q)
		}
	})
	t.Run("dropped when the mailbox or its provider changes decisively", func(t *testing.T) {
		t.Parallel()
		b := quarantined(t)
		m := servicedesk()
		m.Receive.Folders = []string{"INBOX", "Orders"}
		b.save(m)
		if row(b) == nil {
			t.Fatal("a harmless change dropped it")
		}
		m.ActsAs = "delegate: " + adele
		b.save(m)
		b.nothingStored()

		b = quarantined(t)
		s := contoso()
		s.Record.ClientID = "client-2"
		if _, _, err := b.Providers.Save(b.ctx, s, operator); err != nil {
			t.Fatal(err)
		}
		b.nothingStored()
		if got := b.kinds(); got[len(got)-1] != event.GrantDropped {
			t.Errorf("events %v", got)
		}
	})
	t.Run("the remedy and the draft say that another host needs a new link", func(t *testing.T) {
		t.Parallel()
		b := quarantined(t)
		b.server.fail = &protocol.Step{Name: "dns", Err: &fault.Error{ID: "net.no_such_host", Kind: fault.Temporary, Field: "receive.host", Text: "No such host.", Remedy: "Check the spelling."}}
		turn(b, 2*time.Minute)
		if q := row(b); q == nil || !strings.Contains(q.Remedy, "make a new authorization link afterwards") {
			t.Errorf("quarantine %+v", q)
		}
		m := servicedesk()
		m.Receive.Host = "mail.elsewhere.example"
		d, err := b.Mailboxes.Check(b.ctx, connect.MailboxSettings{Mailbox: m}, operator)
		if err != nil || !strings.Contains(d.Consequence, "waits in quarantine is dropped") {
			t.Errorf("%q, %v", d.Consequence, err)
		}
	})
	t.Run("tried at once when something changes that decides nothing", func(t *testing.T) {
		t.Parallel()
		for name, change := range map[string]func(*bench){
			"of the mailbox": func(b *bench) {
				m := servicedesk()
				m.Receive.Port = 10993
				b.save(m)
			},
			"of the provider": func(b *bench) {
				s := contoso()
				s.Record.Prompt = "select_account"
				if _, _, err := b.Providers.Save(b.ctx, s, operator); err != nil {
					b.t.Fatal(err)
				}
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := quarantined(t)
				turn(b, time.Second) // it is not due by itself yet
				if q := row(b); q == nil || q.Tries != 0 {
					t.Fatalf("quarantine %+v", q)
				}
				change(b)
				b.server.fail = nil
				turn(b, 0)
				if g, _, ok := b.grant(); !ok || g.State != mailbox.GrantActive || row(b) != nil {
					t.Errorf("grant %+v, quarantine %+v, events %v", g, row(b), b.kinds())
				}
			})
		}
	})
	t.Run("forgotten by revoke", func(t *testing.T) {
		t.Parallel()
		b := quarantined(t)
		if err := b.Links.Revoke(b.ctx, desk, operator); err != nil {
			t.Fatal(err)
		}
		b.nothingStored()
	})
}

func TestRevoke_ForgetsAndLetsAnybodyRightComeNext(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if _, err := b.authorise(person(desk, own(desk)), connect.LinkOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Links.Revoke(b.ctx, desk, operator); err != nil {
		t.Fatal(err)
	}
	if g, refreshToken, _ := b.grant(); g.State != mailbox.GrantRevoked || refreshToken != "" {
		t.Fatalf("grant %+v", g)
	}
	made := person(desk, own(desk))
	made.Subject.Subject = "made-anew"
	if _, err := b.authorise(made, connect.LinkOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestQuarantine_WhatHappensDuringATryHolds(t *testing.T) {
	t.Parallel()
	down := &protocol.Step{Name: "tcp", Err: &fault.Error{ID: "net.refused", Kind: fault.Temporary, Text: "No connection.", Retry: true}}
	// tried runs a try of a quarantined authorization, with an act in its middle.
	tried := func(t *testing.T, rotateTo string, act func(*bench)) *bench {
		t.Helper()
		b := newBench(t)
		b.server.fail = down
		if _, err := b.authorise(person(desk, own(desk)), connect.LinkOptions{}); err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(2 * time.Minute)
		b.server.fail = nil
		b.idp.rotateTo = rotateTo
		b.idp.onRefresh = func() {
			b.idp.onRefresh = nil
			b.idp.mu.Unlock()
			defer b.idp.mu.Lock()
			act(b)
		}
		if err := b.Links.Turn(b.ctx); err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, rotateTo := range map[string]string{"": "", " with a rotated refresh token": "refresh-2"} {
		t.Run("revoked"+name, func(t *testing.T) {
			t.Parallel()
			b := tried(t, rotateTo, func(b *bench) {
				if err := b.Links.Revoke(b.ctx, desk, operator); err != nil {
					t.Error(err)
				}
			})
			b.nothingStored()
		})
		t.Run("authorised by a newer link"+name, func(t *testing.T) {
			t.Parallel()
			b := tried(t, rotateTo, func(b *bench) {
				b.idp.tokens.RefreshToken = seal.NewSecret("refresh-newer")
				if _, err := b.authorise(person(desk, own(desk)), connect.LinkOptions{}); err != nil {
					t.Error(err)
				}
			})
			if _, refreshToken, _ := b.grant(); refreshToken != "refresh-newer" {
				t.Errorf("the newer grant was replaced: %q", refreshToken)
			}
		})
		t.Run("set aside anew"+name, func(t *testing.T) {
			t.Parallel()
			b := tried(t, rotateTo, func(b *bench) {
				b.server.fail = down
				b.idp.tokens.RefreshToken = seal.NewSecret("refresh-newer")
				if _, err := b.authorise(person(desk, own(desk)), connect.LinkOptions{}); err != nil {
					t.Error(err)
				}
				b.server.fail = nil
			})
			q, err := b.store.QuarantineOf(b.ctx, b.box.ID)
			if err != nil || q == nil {
				t.Fatalf("%+v, %v", q, err)
			}
			kept, err := b.keys.Unseal(q.RefreshToken, seal.Where("quarantine", b.box.ID, "refresh_token"))
			if err != nil || kept.Reveal() != "refresh-newer" {
				t.Errorf("the newer row holds %q, %v", kept.Reveal(), err)
			}
			if _, _, ok := b.grant(); ok {
				t.Error("the older authorization was released although a newer one waits")
			}
		})
	}
	t.Run("the port is corrected", func(t *testing.T) {
		t.Parallel()
		b := tried(t, "refresh-2", func(b *bench) {
			b.server.fail = &protocol.Step{Name: "open", Err: &fault.Error{ID: "imap.no_mailbox", Kind: fault.Refused, Text: "No such mailbox."}}
			m := servicedesk()
			m.Receive.Port = 10993
			b.save(m)
		})
		b.server.fail = nil
		if err := b.Links.Turn(b.ctx); err != nil {
			t.Fatal(err)
		}
		if _, refreshToken, _ := b.grant(); refreshToken != "refresh-2" {
			t.Errorf("not released: %q, %v", refreshToken, b.kinds())
		}
	})
	t.Run("the provider changed", func(t *testing.T) {
		t.Parallel()
		b := tried(t, "", func(b *bench) {
			s := contoso()
			s.Record.ClientID = "client-2"
			if _, _, err := b.Providers.Save(b.ctx, s, operator); err != nil {
				t.Error(err)
			}
		})
		b.nothingStored()
	})
}

func TestProviders_SayThatGrantsAreSuspendedOnlyWhereThereAreAny(t *testing.T) {
	t.Parallel()
	for name, authorised := range map[string]bool{"nobody has authorised": false, "a grant is there": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			if authorised {
				if _, err := b.authorise(person(desk, own(desk)), connect.LinkOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			s := contoso()
			s.Record.ClientID = "client-2"
			if _, _, err := b.Providers.Save(b.ctx, s, operator); err != nil {
				t.Fatal(err)
			}
			events, err := b.store.Events(b.ctx, event.Filter{Patterns: []event.Pattern{"provider.updated"}, Limit: 10})
			if err != nil || len(events) != 1 {
				t.Fatalf("%+v, %v", events, err)
			}
			if strings.Contains(events[0].Text, "suspended") != authorised {
				t.Error(events[0].Text)
			}
		})
	}
}
