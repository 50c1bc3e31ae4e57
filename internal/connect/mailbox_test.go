package connect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
)

func TestMailboxes_Refusals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	tests := []struct {
		name   string
		change func(*mailbox.Mailbox)
		id     string
		field  string
		says   string
	}{
		{"address", func(m *mailbox.Mailbox) { m.Address = "servicedesk" }, "message.address", "address", "name@domain"},
		{"from", func(m *mailbox.Mailbox) { m.From = "Desk <desk@x.example>" }, "message.address", "from", ""},
		{"provider", func(m *mailbox.Mailbox) { m.Provider = "fabrikam" }, "provider.unknown", "provider", "contoso"},
		{"grant type not yet", func(m *mailbox.Mailbox) { m.GrantType = "client_credentials" }, "mailbox.grant_type", "grant_type", "authorization_code"},
		{"grant type not at all", func(m *mailbox.Mailbox) { m.GrantType = "password" }, "mailbox.grant_type", "grant_type", "authorization_code"},
		{"app", func(m *mailbox.Mailbox) { m.ActsAs = "app" }, "mailbox.acts_as", "acts_as", "delegate:"},
		{"acts as nonsense", func(m *mailbox.Mailbox) { m.ActsAs = "adele" }, "mailbox.acts_as", "acts_as", "owner"},
		{"delegate without address", func(m *mailbox.Mailbox) { m.ActsAs = "delegate: adele" }, "message.address", "acts_as", ""},
		{"its own delegate", func(m *mailbox.Mailbox) { m.ActsAs = "delegate: " + desk }, "mailbox.acts_as", "acts_as", "owner"},
		{"profile", func(m *mailbox.Mailbox) { m.Profile = "x" }, "mailbox.profile", "profile", "no profiles"},
		{"does nothing", func(m *mailbox.Mailbox) { m.Receive, m.Send = nil, nil }, "mailbox.does_nothing", "receive", "both"},
		{"graph to receive", func(m *mailbox.Mailbox) { m.Receive.Protocol = protocol.Graph }, "mailbox.protocol", "receive.protocol", "imap or pop3"},
		{"pop3 with push", func(m *mailbox.Mailbox) { m.Receive.Protocol, m.Receive.Mode = protocol.POP3, mailbox.ModePush }, "mailbox.mode", "receive.mode", "mode: poll"},
		{"pop3 with folders", func(m *mailbox.Mailbox) {
			m.Receive.Protocol, m.Receive.Folders = protocol.POP3, []string{"INBOX", "Orders"}
		}, "mailbox.folder", "receive.folders[1]", "INBOX alone"},
		{"pop3 that marks", func(m *mailbox.Mailbox) { m.Receive.Protocol, m.AfterReceive = protocol.POP3, "mark_seen" }, "mailbox.after_receive", "after_receive", "Use keep or delete."},
		{"pop3 that moves", func(m *mailbox.Mailbox) { m.Receive.Protocol, m.AfterReceive = protocol.POP3, "move: Done" }, "mailbox.after_receive", "after_receive", "Use keep or delete."},
		{"pop3 on the port of another TLS mode", func(m *mailbox.Mailbox) {
			m.Receive.Protocol, m.Receive.TLS, m.Receive.Port = protocol.POP3, protocol.TLSStart, 995
		}, "mailbox.port", "receive.port", "port 110"},
		{"pigeon", func(m *mailbox.Mailbox) { m.Receive.Protocol = "pigeon" }, "mailbox.protocol", "receive.protocol", "imap"},
		{"graph", func(m *mailbox.Mailbox) { m.Send.Protocol = protocol.Graph }, "mailbox.protocol", "send.protocol", "smtp"},
		{"fallback", func(m *mailbox.Mailbox) { m.Send.Fallback = protocol.SMTP }, "mailbox.protocol", "send.fallback", "graph"},
		{"mode", func(m *mailbox.Mailbox) { m.Receive.Mode = "watch" }, "mailbox.mode", "receive.mode", "push or poll"},
		{"push with every", func(m *mailbox.Mailbox) { m.Receive.Every = time.Minute }, "mailbox.every", "receive.every", "poll"},
		{"poll too often", func(m *mailbox.Mailbox) { m.Receive.Mode, m.Receive.Every = mailbox.ModePoll, 9*time.Second }, "mailbox.every", "receive.every", "10s"},
		{"folder empty", func(m *mailbox.Mailbox) { m.Receive.Folders = []string{""} }, "mailbox.folder", "receive.folders[0]", ""},
		{"folder twice", func(m *mailbox.Mailbox) { m.Receive.Folders = []string{"INBOX", "inbox"} }, "mailbox.folder", "receive.folders[1]", "twice"},
		{"folder with a line break", func(m *mailbox.Mailbox) { m.Receive.Folders = []string{"a\r\nA1 LOGOUT"} }, "mailbox.folder", "receive.folders[0]", ""},
		{"after receive", func(m *mailbox.Mailbox) { m.AfterReceive = "burn" }, "mailbox.after_receive", "after_receive", "mark_seen"},
		{"move nowhere", func(m *mailbox.Mailbox) { m.AfterReceive = "move:" }, "mailbox.after_receive", "after_receive", "move: Processed"},
		{"move in a circle", func(m *mailbox.Mailbox) { m.AfterReceive = "move: inbox" }, "mailbox.after_receive", "after_receive", ""},
		{"host with scheme", func(m *mailbox.Mailbox) { m.Receive.Host = "imaps://x" }, "mailbox.host", "receive.host", "no scheme"},
		{"port", func(m *mailbox.Mailbox) { m.Send.Port = 70000 }, "mailbox.port", "send.port", "65535"},
		{"tls mode", func(m *mailbox.Mailbox) { m.Send.TLS = "ssl" }, "mailbox.tls", "send.tls", "starttls"},
		{"STARTTLS on the port of implicit TLS", func(m *mailbox.Mailbox) { m.Receive.TLS, m.Receive.Port = protocol.TLSStart, 993 }, "mailbox.port", "receive.port", "port 143"},
		{"implicit TLS on the port of STARTTLS", func(m *mailbox.Mailbox) { m.Send.TLS, m.Send.Port = protocol.TLSImplicit, 587 }, "mailbox.port", "send.port", "port 465"},
		{"no TLS over a network", func(m *mailbox.Mailbox) { m.Receive.TLS, m.Receive.Port = protocol.TLSNone, 143 }, "mailbox.tls", "receive.tls", "localhost"},
		{"user", func(m *mailbox.Mailbox) { m.Receive.User = "a\x01b" }, "mailbox.user", "receive.user", ""},
		{"CA", func(m *mailbox.Mailbox) { m.Receive.CAPEM = "x" }, "tls.ca", "receive.ca_file", "PEM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := servicedesk()
			tt.change(&m)
			_, _, err := b.Mailboxes.Save(b.ctx, connect.MailboxSettings{Mailbox: m}, operator)
			if !fault.Has(err, tt.id) {
				t.Fatalf("got %v", err)
			}
			if f := fault.Of(err); f.Field != tt.field || f.Remedy == "" || !strings.Contains(f.Text+f.Remedy, tt.says) {
				t.Errorf("%s: %s %s", f.Field, f.Text, f.Remedy)
			}
		})
	}
	t.Run("no preset host", func(t *testing.T) {
		s := contoso()
		s.Record.Name, s.Record.Endpoints = "bare", nil
		if _, _, err := b.Providers.Save(b.ctx, s, operator); err != nil {
			t.Fatal(err)
		}
		m := servicedesk()
		m.Address, m.Provider = "other@vbcpn.example", "bare"
		_, _, err := b.Mailboxes.Save(b.ctx, connect.MailboxSettings{Mailbox: m}, operator)
		wantFault(t, err, "mailbox.host")
		m.Receive.Host, m.Receive.TLS, m.Send = "127.0.0.1", protocol.TLSNone, nil
		if _, _, err := b.Mailboxes.Save(b.ctx, connect.MailboxSettings{Mailbox: m}, operator); err != nil {
			t.Errorf("loopback without TLS: %v", err)
		}
	})
}

func TestMailboxes_DefaultsAndEndpoints(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.box
	if m.GrantType != "authorization_code" || m.ActsAs != "owner" || m.AfterReceive != "keep" || m.Receive.Mode != mailbox.ModePush || m.Receive.Folders[0] != "INBOX" {
		t.Errorf("defaults %+v, %+v", m, m.Receive)
	}
	m.Send.Host, m.Send.TLS = "smtp.other.example", protocol.TLSImplicit
	receive, send, err := b.Mailboxes.Endpoints(b.ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	if receive.Host != "mail.vbcpn.example" || receive.Port != 993 || receive.TLS != protocol.TLSImplicit || receive.Setting != "receive" || receive.Resource != "mail" {
		t.Errorf("receive %+v", receive)
	}
	if send.Host != "smtp.other.example" || send.Port != 465 || send.Setting != "send" {
		t.Errorf("send %+v", send)
	}
}

func TestMailboxes_POP3IsPolledUnlessSaidOtherwise(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := servicedesk()
	m.Address, m.Receive, m.AfterReceive = "pop@vbcpn.example", &mailbox.Receive{Protocol: protocol.POP3}, "delete"
	saved, _, err := b.Mailboxes.Save(b.ctx, connect.MailboxSettings{Mailbox: m}, operator)
	if err != nil || saved.Receive.Mode != mailbox.ModePoll || saved.Receive.Every != time.Minute || saved.AfterReceive != "delete" {
		t.Fatalf("%+v, %v", saved.Receive, err)
	}
	if uses := saved.Uses(); uses[0] != provider.UsePOP3 {
		t.Errorf("uses %v", uses)
	}
	if receive, _, err := b.Mailboxes.Endpoints(b.ctx, saved); err != nil || receive.Port != 995 || receive.TLS != protocol.TLSImplicit || receive.Protocol != protocol.POP3 {
		t.Errorf("%+v, %v", receive, err)
	}
}

func TestMailboxes_DecisiveChangesSuspend(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		change  func(*connect.MailboxSettings)
		suspend bool
	}{
		{"nothing", func(*connect.MailboxSettings) {}, false},
		{"address in another case", func(s *connect.MailboxSettings) { s.Mailbox.Address = "ServiceDesk@VBCPN.example" }, false},
		{"folders", func(s *connect.MailboxSettings) { s.Mailbox.Receive.Folders = []string{"INBOX", "Orders"} }, false},
		{"address", func(s *connect.MailboxSettings) { s.Present, s.Mailbox.Address = desk, "helpdesk@vbcpn.example" }, true},
		{"host", func(s *connect.MailboxSettings) { s.Mailbox.Send.Host = "smtp.other.example" }, true},
		{"host of the preset written out", func(s *connect.MailboxSettings) { s.Mailbox.Receive.Host = "Mail.vbcpn.example" }, false},
		{"port", func(s *connect.MailboxSettings) { s.Mailbox.Receive.Port = 10993 }, false},
		{"TLS mode", func(s *connect.MailboxSettings) {
			s.Mailbox.Receive.TLS, s.Mailbox.Receive.Port = protocol.TLSStart, 143
		}, false},
		{"no longer sends", func(s *connect.MailboxSettings) { s.Mailbox.Send = nil }, false},
		{"user", func(s *connect.MailboxSettings) { s.Mailbox.Receive.User = "somebody" }, true},
		{"acts_as", func(s *connect.MailboxSettings) { s.Mailbox.ActsAs = "delegate: " + adele }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			if _, err := b.authorise(person(desk, own(desk)), connect.LinkOptions{}); err != nil {
				t.Fatal(err)
			}
			s := connect.MailboxSettings{Mailbox: servicedesk()}
			tt.change(&s)
			if _, _, err := b.Mailboxes.Save(b.ctx, s, operator); err != nil {
				t.Fatal(err)
			}
			g, _, _ := b.grant()
			kinds := b.kinds()
			if suspended := g.State == mailbox.GrantSuspended; suspended != tt.suspend || suspended != (kinds[len(kinds)-1] == event.GrantSuspended) {
				t.Errorf("the grant is %s after %v", g.State, kinds)
			}
		})
	}
	t.Run("verified anew it is active again", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		for _, host := range []string{"", "mail2.vbcpn.example"} {
			m := servicedesk()
			m.Receive.Host = host
			b.save(m)
			if _, err := b.authorise(person(desk, own(desk)), connect.LinkOptions{}); err != nil {
				t.Fatal(err)
			}
			if g, _, _ := b.grant(); g.State != mailbox.GrantActive {
				t.Errorf("the grant is %s", g.State)
			}
		}
	})
}

func TestMailboxes_PauseResumeDelete(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 2 { // a second time changes nothing
		if err := b.Mailboxes.Pause(b.ctx, "ServiceDesk@vbcpn.example", operator); err != nil {
			t.Fatal(err)
		}
	}
	m := b.save(servicedesk())
	if !m.Paused {
		t.Error("saving the settings resumed a paused mailbox")
	}
	if err := b.Mailboxes.Resume(b.ctx, desk, operator); err != nil {
		t.Fatal(err)
	}
	if m, err := b.Mailboxes.Get(b.ctx, desk); err != nil || m.Paused {
		t.Errorf("%+v, %v", m, err)
	}
	if got := b.kinds(); len(got) != 3 || got[1] != event.MailboxPaused || got[2] != event.MailboxResumed {
		t.Errorf("events %v", got)
	}
	_, _, err := b.Mailboxes.Save(b.ctx, connect.MailboxSettings{Mailbox: servicedesk(), When: connect.OnlyCreate}, operator)
	wantFault(t, err, "mailbox.exists")
	if err := b.Mailboxes.Delete(b.ctx, desk, operator); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Mailboxes.Get(b.ctx, desk); !fault.Has(err, "mailbox.unknown") || !strings.Contains(err.Error(), desk) {
		t.Errorf("still there: %v", err)
	}
	other := servicedesk()
	other.Address = "new@vbcpn.example"
	if _, _, err := b.Mailboxes.Save(b.ctx, connect.MailboxSettings{Mailbox: other, Present: desk}, operator); !fault.Has(err, "mailbox.unknown") {
		t.Errorf("renaming what is not there: %v", err)
	}
}

func TestCheck_FindsEveryMistakeOfAResource(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := servicedesk()
	m.From, m.GrantType, m.ActsAs, m.AfterReceive = "nobody", "password", "app", "burn"
	m.Receive.Mode, m.Receive.Folders, m.Receive.Port = "watch", []string{"a", "a"}, 70000
	m.Send.TLS = "ssl"
	_, err := b.Mailboxes.Check(b.ctx, connect.MailboxSettings{Mailbox: m}, operator)
	var fields []string
	for _, f := range fault.All(err) {
		fields = append(fields, f.Field)
	}
	if got, want := strings.Join(fields, " "), "from grant_type acts_as receive.folders[1] receive.mode after_receive receive.port send.tls"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	s := contoso()
	s.Record.Name, s.Record.RedirectURI, s.Record.CAPEM, s.Record.Prompt = "Contoso!", "https://elsewhere.example/", "x", "logn"
	_, err = b.Providers.Check(b.ctx, s, operator)
	fields = nil
	for _, f := range fault.All(err) {
		fields = append(fields, f.Field)
		if f.Field == "authorize.prompt" && !strings.Contains(f.Remedy, "Did you mean login?") {
			t.Errorf("what was meant is not said: %s", f.Remedy)
		}
	}
	if got, want := strings.Join(fields, " "), "name redirect_uri ca_file authorize.prompt"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	other := func(name string) connect.ProviderSettings {
		s := contoso()
		s.Record.Name = name
		s.Record.Profiles = []provider.Profile{{Name: "p", Scopes: []string{"imap"}}}
		return s
	}
	t.Run("a mailbox may name a provider of the same plan", func(t *testing.T) {
		b := newBench(t)
		plan := b.NewPlan(connect.PlanScope{})
		p, err := plan.Provider(b.ctx, other("fabrikam"), operator)
		if err != nil || p.Change != connect.Created {
			t.Fatalf("%s, %v", p.Change, err)
		}
		m := servicedesk()
		m.Provider, m.Profile = "fabrikam", "p"
		d, err := plan.Mailbox(b.ctx, connect.MailboxSettings{Mailbox: m}, operator)
		if err != nil || strings.Join(d.Fields, " ") != "profile provider" {
			t.Fatalf("%v, %v", d.Fields, err)
		}
		if _, err := b.Providers.Get(b.ctx, "fabrikam"); !fault.Has(err, "provider.unknown") {
			t.Fatalf("a check wrote something: %v", err)
		}
		if _, _, err := p.Save(b.ctx); err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.Save(b.ctx); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Mailboxes.Get(b.ctx, desk); err != nil || got.Provider != "fabrikam" {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("a refused provider is not unknown", func(t *testing.T) {
		b := newBench(t)
		plan := b.NewPlan(connect.PlanScope{})
		s := other("fabrikam")
		s.Record.Kind = "nonsense"
		if _, err := plan.Provider(b.ctx, s, operator); !fault.Has(err, "provider.unknown_kind") {
			t.Fatal(err)
		}
		m := servicedesk()
		m.Provider, m.GrantType = "fabrikam", "password"
		_, err := plan.Mailbox(b.ctx, connect.MailboxSettings{Mailbox: m}, operator)
		if all := fault.All(err); len(all) != 1 || all[0].Field != "grant_type" {
			t.Errorf("%v", err)
		}
	})
	t.Run("a stored provider that goes is unknown", func(t *testing.T) {
		b := newBench(t)
		plan := b.NewPlan(connect.PlanScope{Providers: true})
		if _, err := plan.Provider(b.ctx, other("contose"), operator); err != nil {
			t.Fatal(err)
		}
		_, err := plan.Mailbox(b.ctx, connect.MailboxSettings{Mailbox: servicedesk()}, operator)
		if f := fault.Of(err); f == nil || f.ID != "provider.unknown" || !strings.Contains(f.Remedy, "Did you mean contose?") {
			t.Errorf("%v", err)
		}
		if err := plan.MayDelete(b.ctx, "contoso"); !fault.Has(err, "provider.in_use") || !strings.Contains(fault.Of(err).Text, desk) {
			t.Errorf("a provider in use may be deleted: %v", err)
		}
		if err := b.NewPlan(connect.PlanScope{Mailboxes: true}).MayDelete(b.ctx, "contoso"); err != nil {
			t.Errorf("a provider whose mailboxes go too may not be deleted: %v", err)
		}
	})
	t.Run("a profile in use stays", func(t *testing.T) {
		b := newBench(t)
		if _, _, err := b.Providers.Save(b.ctx, other("contoso"), operator); err != nil {
			t.Fatal(err)
		}
		m := servicedesk()
		m.Profile = "p"
		if _, _, err := b.Mailboxes.Save(b.ctx, connect.MailboxSettings{Mailbox: m}, operator); err != nil {
			t.Fatal(err)
		}
		_, _, err := b.Providers.Save(b.ctx, contoso(), operator)
		if f := fault.Of(err); f == nil || f.ID != "provider.profile_in_use" || f.Field != "profiles" || !strings.Contains(f.Text, desk) {
			t.Errorf("a profile in use was removed: %v", err)
		}
		plan := b.NewPlan(connect.PlanScope{})
		if _, err := plan.Provider(b.ctx, contoso(), operator); err != nil {
			t.Fatal(err)
		}
		if err := plan.Fits(b.ctx, "contoso"); !fault.Has(err, "provider.profile_in_use") {
			t.Errorf("the plan: %v", err)
		}
		if _, err := plan.Mailbox(b.ctx, connect.MailboxSettings{Mailbox: servicedesk()}, operator); err != nil {
			t.Fatal(err)
		}
		if err := plan.Fits(b.ctx, "contoso"); err != nil {
			t.Errorf("the mailbox changes with it: %v", err)
		}
	})
	t.Run("a change in the meantime is a conflict", func(t *testing.T) {
		b := newBench(t)
		m := servicedesk()
		m.From = "desk@vbcpn.example"
		d, err := b.Mailboxes.Check(b.ctx, connect.MailboxSettings{Mailbox: m}, operator)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Mailboxes.Pause(b.ctx, desk, operator); err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.Save(b.ctx); !fault.Has(err, "mailbox.changed") {
			t.Errorf("an older view was written: %v", err)
		}
	})
}
