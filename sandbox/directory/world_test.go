package directory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

func newWorld(t *testing.T, now func() time.Time) *directory.World {
	t.Helper()
	world, err := directory.New(directory.DefaultStory("http://localhost/callback"), now)
	if err != nil {
		t.Fatal(err)
	}
	return world
}

func TestWorld_Clock(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	world := newWorld(t, func() time.Time { return start })
	if got := world.MoveClock(48 * time.Hour); !got.Equal(start.Add(48*time.Hour)) || !world.Now().Equal(got) {
		t.Errorf("moved to %s", got)
	}
	before := world.Moment()
	world.MoveClock(-time.Hour)
	after := world.Moment()
	if !after.Ended(before) || before.Ended(after) || after.Ended(after) || (directory.Moment{}).Ended(before) {
		t.Error("the order of moments follows the clock, which was moved back, and not what happened")
	}
}

func TestWorld_Copies(t *testing.T) {
	t.Parallel()
	world := newWorld(t, nil)
	user, _ := world.User(directory.StoryDesk)
	user.Aliases[0] = "changed"
	box, _ := world.Mailbox(directory.StoryScans)
	box.FullAccess[0] = "changed"
	app, _ := world.Registration(directory.StoryClientID)
	app.Secrets[0].Value = "changed"
	if user, _ := world.User("SERVICEDESK@vbcpn.onmicrosoft.com"); user.Aliases[0] != directory.StoryDeskAlias {
		t.Error("a user's alias was changed from outside")
	}
	if box, _ := world.Mailbox(directory.StoryScans); box.FullAccess[0] != directory.StoryAdele {
		t.Error("a right was changed from outside")
	}
	if app, _ := world.Registration(directory.StoryClientID); app.Secrets[0].Value != directory.StoryClientSecret {
		t.Error("a secret was changed from outside")
	}
}

func TestWorld_Rights(t *testing.T) {
	t.Parallel()
	world := newWorld(t, nil)
	cases := []struct {
		user, mailbox string
		opens, sends  bool
	}{
		{directory.StoryDesk, directory.StoryDesk, true, true},
		{directory.StoryDesk, directory.StoryDeskAlias, true, true},
		{directory.StoryAdele, directory.StoryDesk, false, false},
		{directory.StoryAdele, directory.StoryScans, true, true},
		{directory.StoryMegan, directory.StoryScans, false, false},
		{directory.StoryForeigner, directory.StoryDesk, false, false},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s at %s", c.user, c.mailbox), func(t *testing.T) {
			t.Parallel()
			user, _ := world.User(c.user)
			box, found := world.Mailbox(c.mailbox)
			if !found || box.OpensTo(user) != c.opens || box.SendsFor(user) != c.sends {
				t.Errorf("opens %t, sends %t", box.OpensTo(user), box.SendsFor(user))
			}
		})
	}
}

func TestWorld_Faults(t *testing.T) {
	t.Parallel()
	world := newWorld(t, nil)
	for _, fault := range []directory.Fault{
		{Point: directory.PointToken, Action: directory.ActionRefuse, AADSTS: 1, Times: 1},
		{Point: directory.PointToken, Action: directory.ActionRefuse, AADSTS: 2, GrantType: "refresh_token", Times: 1},
		{Point: directory.PointToken, Action: directory.ActionHang},
	} {
		if err := world.InjectFault(fault); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []struct {
		grantType string
		number    int
	}{{"authorization_code", 1}, {"authorization_code", 0}, {"refresh_token", 2}, {"refresh_token", 0}} {
		if got, found := world.TakeFault(directory.PointToken, want.grantType); !found || got.AADSTS != want.number {
			t.Errorf("fault %d: %+v, want number %d", i, got.Fault, want.number)
		}
	}
	if _, found := world.TakeFault(directory.PointKeys, ""); found {
		t.Error("another point suffers too")
	}
	hanging, _ := world.TakeFault(directory.PointToken, "")
	world.ClearFaults(directory.PointToken)
	hanging.Wait(context.Background()) // returns, since the fault is cleared
	if len(world.Faults()) != 0 {
		t.Error("faults are left after clearing")
	}
}

func TestWorld_Unknown(t *testing.T) {
	t.Parallel()
	world := newWorld(t, nil)
	_, secretErr := world.AddSecret("nobody", time.Time{})
	for name, err := range map[string]error{
		"revoke": world.RevokeSessions("nobody"), "password": world.ChangePassword("nobody", "x"), "disable": world.SetUserDisabled("nobody", true),
		"device": world.SetDeviceUser("nobody"), "secrets": world.ExpireSecrets("nobody"), "add secret": secretErr, "redirect": world.AddRedirectURI("nobody", "x"),
		"mailbox": world.ChangeMailbox("nobody", func(*directory.Mailbox) {}), "consent": world.SetUserConsent("nowhere", ""), "withdraw": world.WithdrawConsents("nobody"),
	} {
		if !errors.Is(err, directory.ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWorld_CallsAreBounded(t *testing.T) {
	t.Parallel()
	world := newWorld(t, nil)
	for range 12_000 {
		world.RecordCall(directory.Call{Protocol: "http", Outcome: "ok"})
	}
	calls := world.Calls(0)
	if last := calls[len(calls)-1]; len(calls) > 10_000 || last.Number != 12_000 {
		t.Errorf("%d calls are remembered, the last is number %d", len(calls), last.Number)
	}
}
