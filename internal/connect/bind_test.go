package connect_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
)

const (
	desk  = "servicedesk@vbcpn.example"
	adele = "adelev@vbcpn.example"
)

func person(display string, addresses ...provider.IdentityAddress) provider.Identity {
	return provider.Identity{
		Subject: provider.Subject{Issuer: "https://idp.example", Subject: "sub-" + display},
		Display: display, Addresses: addresses,
	}
}

func own(a string) provider.IdentityAddress {
	return provider.IdentityAddress{Address: a, Source: "preferred_username"}
}

func aliasOf(a string) provider.IdentityAddress {
	return provider.IdentityAddress{Address: a, Source: "proxy_address", Alias: true}
}

func TestBind_Identity(t *testing.T) {
	t.Parallel()
	foreign := person(desk, own(desk))
	foreign.Foreign = "their tenant is not the one that owns vbcpn.example."
	foreignDelegate := person(adele, own(adele))
	foreignDelegate.Foreign = "their tenant is another one."
	unproven := person("Somebody")
	unproven.Unproven = "The provider says that the address is not verified."
	foreignUnproven := unproven
	foreignUnproven.Foreign = "another issuer."

	owner := connect.Expected{Mailbox: desk}
	lax := connect.Expected{Mailbox: desk, AllowUnverifiable: true}
	delegate := connect.Expected{Mailbox: desk, Delegate: adele}
	laxDelegate := connect.Expected{Mailbox: desk, Delegate: adele, AllowUnverifiable: true}

	tests := []struct {
		name     string
		expected connect.Expected
		who      provider.Identity
		verdict  mailbox.Verdict
		right    bool // the person is right: the probe decides
		cause    string
	}{
		{"the mailbox's own address", owner, person(desk, own(desk)), mailbox.VerdictMatch, true, ""},
		{"its own address in another case", owner, person(desk, own("ServiceDesk@VBCPN.example")), mailbox.VerdictMatch, true, ""},
		{"own address and alias at once", owner, person(desk, aliasOf(desk), own(desk)), mailbox.VerdictMatch, true, ""},
		{"a proven alias", owner, person("desk.user@vbcpn.example", own("desk.user@vbcpn.example"), aliasOf(desk)), mailbox.VerdictAlias, true, ""},
		{"somebody else", owner, person(adele, own(adele)), mailbox.VerdictMismatch, false, "connect.wrong_person"},
		{"somebody else where unverifiable is allowed", lax, person(adele, own(adele)), mailbox.VerdictMismatch, false, "connect.wrong_person"},
		{"an address that only begins alike", owner, person(desk+".evil.example", own(desk+".evil.example")), mailbox.VerdictMismatch, false, "connect.wrong_person"},
		{"a name that looks like the address", owner, person(desk, own(adele)), mailbox.VerdictMismatch, false, "connect.wrong_person"},
		{"a foreign organisation with the same address", owner, foreign, mailbox.VerdictMismatch, false, "connect.identity_foreign"},
		{"a foreign organisation where unverifiable is allowed", lax, foreignUnproven, mailbox.VerdictMismatch, false, "connect.identity_foreign"},
		{"nothing proved", owner, unproven, mailbox.VerdictUnverifiable, false, "connect.identity_unverifiable"},
		{"nothing proved, allowed by an operator", lax, unproven, mailbox.VerdictUnverifiable, true, ""},
		{"the declared delegate", delegate, person(adele, own(adele)), mailbox.VerdictDelegate, true, ""},
		{"the declared delegate by alias", delegate, person("av@vbcpn.example", own("av@vbcpn.example"), aliasOf(adele)), mailbox.VerdictDelegate, true, ""},
		{"another than the declared delegate", delegate, person("bob@vbcpn.example", own("bob@vbcpn.example")), mailbox.VerdictMismatch, false, "connect.wrong_person"},
		{"the owner in the delegate's place", delegate, person(desk, own(desk)), mailbox.VerdictMismatch, false, "connect.wrong_person"},
		{"a foreign delegate", delegate, foreignDelegate, mailbox.VerdictMismatch, false, "connect.identity_foreign"},
		{"an unproven delegate", delegate, unproven, mailbox.VerdictUnverifiable, false, "connect.identity_unverifiable"},
		{"an unproven delegate, allowed", laxDelegate, unproven, mailbox.VerdictUnverifiable, true, ""},
		{"an empty identity", owner, provider.Identity{}, mailbox.VerdictUnverifiable, false, "connect.identity_unverifiable"},
		{"an address that is none", owner, person("x", own("not an address")), mailbox.VerdictMismatch, false, "connect.wrong_person"},
	}
	probes := []struct {
		name     string
		probe    connect.ProbeResult
		decision connect.Decision
	}{
		{"no probe yet", connect.ProbeNotMade, connect.MakeProbe},
		{"mailbox opens", connect.ProbeOpened, connect.Accept},
		{"mailbox refuses", connect.ProbeRefused, connect.Refuse},
		{"mailbox undecided", connect.ProbeUndecided, connect.Quarantine},
		{"no known result", connect.ProbeResult(77), connect.Refuse},
	}
	for _, tt := range tests {
		for _, p := range probes {
			t.Run(tt.name+", "+p.name, func(t *testing.T) {
				t.Parallel()
				got := connect.Bind(tt.expected, tt.who, p.probe)
				if got.Verdict != tt.verdict {
					t.Errorf("verdict %q, want %q", got.Verdict, tt.verdict)
				}
				decision, cause := p.decision, ""
				if decision == connect.Refuse {
					cause = "connect.mailbox_does_not_open"
				}
				if !tt.right {
					decision, cause = connect.Refuse, tt.cause
				}
				if got.Decision != decision || got.Cause != cause {
					t.Errorf("decision %v for %q, want %v for %q", got.Decision, got.Cause, decision, cause)
				}
				if refused := got.Decision == connect.Refuse; refused != (got.Reason != "") {
					t.Errorf("reason %q with decision %v", got.Reason, got.Decision)
				}
			})
		}
	}
}

func TestBind_MismatchNamesBothPeople(t *testing.T) {
	t.Parallel()
	got := connect.Bind(connect.Expected{Mailbox: desk}, person(adele, own(adele)), connect.ProbeOpened)
	if !strings.Contains(got.Reason, desk) || !strings.Contains(got.Reason, adele) {
		t.Fatalf("the reason must name both addresses: %q", got.Reason)
	}
}

func TestFinish_AliasesThatCouldNotBeRead(t *testing.T) {
	t.Parallel()
	unread := &fault.Error{ID: "identity.unread", Kind: fault.Refused, Text: "The directory gave no access.", Who: []fault.Who{fault.TenantAdmin}, Remedy: "Grant Directory.Read."}
	for name, c := range map[string]struct {
		who   provider.Identity
		cause string
		blame fault.Who
	}{
		"another address is proved": {person(adele, own(adele)), "connect.wrong_person", fault.MailboxOwner},
		"no address is proved":      {person("Adele"), "connect.identity_unverifiable", fault.TenantAdmin},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			c.who.Unread, c.who.Unproven = unread, unread.Text
			r, err := b.authorise(c.who, connect.LinkOptions{})
			f := wantFault(t, err, c.cause)
			if !strings.Contains(r.Text, unread.Text) || !strings.Contains(f.Remedy, unread.Remedy) || f.Who[0] != c.blame || !slices.Contains(f.Who, fault.TenantAdmin) {
				t.Errorf("%+v", f)
			}
			b.nothingStored()
		})
	}
}

// Whatever comes, only who holds the expected address, or an operator's
// exception, is ever accepted.
func TestBind_NeverAcceptsWithoutProofOrException(t *testing.T) {
	t.Parallel()
	addresses := []string{desk, adele, "bob@vbcpn.example", "DESK@other.example", ""}
	rapid.Check(t, func(t *rapid.T) {
		pick := rapid.SampledFrom(addresses)
		who := provider.Identity{Display: pick.Draw(t, "display"), Foreign: rapid.SampledFrom([]string{"", "", "elsewhere"}).Draw(t, "foreign")}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			who.Addresses = append(who.Addresses, provider.IdentityAddress{Address: pick.Draw(t, "address"), Alias: rapid.Bool().Draw(t, "alias")})
		}
		expected := connect.Expected{
			Mailbox: desk, Delegate: rapid.SampledFrom([]string{"", adele}).Draw(t, "delegate"),
			AllowUnverifiable: rapid.Bool().Draw(t, "allow"),
		}
		got := connect.Bind(expected, who, connect.ProbeResult(rapid.IntRange(0, 3).Draw(t, "probe")))
		if got.Decision == connect.Refuse {
			return
		}
		if who.Foreign != "" {
			t.Fatal("a foreign identity was not refused")
		}
		for _, a := range who.Addresses {
			if a.Address == expected.Principal() {
				return
			}
		}
		if len(who.Addresses) > 0 || !expected.AllowUnverifiable || got.Verdict != mailbox.VerdictUnverifiable {
			t.Fatalf("%+v was not refused for %+v: %+v", who, expected, got)
		}
	})
}
