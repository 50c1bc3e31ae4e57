package access_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

func TestSetup(t *testing.T) {
	t.Parallel()
	t.Run("a link is good once", func(t *testing.T) {
		t.Parallel()
		d := inEarnest(t)
		if needed, err := d.NeedsSetup(t.Context()); err != nil || !needed {
			t.Fatalf("set-up is not needed: %v", err)
		}
		link := d.link(t)
		in, err := d.CompleteSetup(t.Context(), link, " Ops ", password, visit)
		o := in.Operator
		if err != nil || o.Name != "ops" || !strings.HasPrefix(o.PasswordHash, "$argon2id$v=19$m=65536,t=3,p=4$") {
			t.Fatalf("got %+v, %v", o, err)
		}
		_, err = d.CompleteSetup(t.Context(), link, "second", password, visit)
		wants(t, err, "setup.spent")
		if needed, _ := d.NeedsSetup(t.Context()); needed {
			t.Error("set-up is still needed")
		}
		if text := d.timeline(t); strings.Contains(text, password) || strings.Contains(text, link) {
			t.Error("a secret is in the timeline")
		}
	})
	t.Run("a link is good for an hour", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		link := d.link(t)
		d.now = d.now.Add(access.SetupLife - time.Second)
		if _, err := d.CheckSetup(t.Context(), link); err != nil {
			t.Errorf("not good within the hour: %v", err)
		}
		d.now = d.now.Add(time.Second)
		_, err := d.CompleteSetup(t.Context(), link, "ops", password, visit)
		wants(t, err, "setup.spent")
	})
	t.Run("a newer link replaces it", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		old := d.link(t)
		d.link(t)
		_, err := d.CompleteSetup(t.Context(), old, "ops", password, visit)
		wants(t, err, "setup.spent")
	})
	t.Run("what cannot be used leaves the link good", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		link := d.link(t)
		for _, c := range []struct{ name, password, id string }{
			{"", password, "access.operator_name"},
			{"-ops", password, "access.operator_name"},
			{"o", password, "access.operator_name"},
			{strings.Repeat("o", 65), password, "access.operator_name"},
			{"ops", "elevenchars", "access.weak_password"},
			{"ops", "ää ää ää ää", "access.weak_password"},
			{"ops", strings.Repeat("x", 1025), "access.long_password"},
		} {
			_, err := d.CompleteSetup(t.Context(), link, c.name, c.password, visit)
			wants(t, err, c.id)
			if c.password != "" && strings.Contains(err.Error(), c.password) {
				t.Errorf("the error repeats the password: %v", err)
			}
		}
		if _, err := d.CheckSetup(t.Context(), link); err != nil {
			t.Errorf("the link is spent: %v", err)
		}
	})
}

func TestInvite(t *testing.T) {
	t.Parallel()
	t.Run("sets a password by a link that is for one name", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		d.operator(t)
		o, secret, err := d.Invite(t.Context(), ops, " Bob ")
		if err != nil || o.Name != "bob" || o.CreatedBy != "ops" || !o.LinkEnds.Equal(d.now.Add(access.SetupLife)) {
			t.Fatalf("got %+v, %v", o, err)
		}
		_, err = d.SignIn(t.Context(), "bob", "", visit)
		wants(t, err, "access.wrong_password")
		if l, err := d.CheckSetup(t.Context(), secret.Reveal()); err != nil || l.Operator != "bob" {
			t.Errorf("the link is for %q, %v", l.Operator, err)
		}
		in, err := d.CompleteSetup(t.Context(), secret.Reveal(), "ops", password, visit)
		if err != nil || in.Operator.Name != "bob" || in.Operator.ID != o.ID {
			t.Fatalf("the link for bob set the password of %s, %v", in.Operator.Name, err)
		}
		if s, err := d.Session(t.Context(), in.Secret.Reveal()); err != nil || s.Operator != "bob" {
			t.Errorf("bob is not signed in: %v", err)
		}
		_, _, err = d.Invite(t.Context(), ops, "bob")
		wants(t, err, "operator.exists")
		_, _, err = d.Invite(t.Context(), ops, "not a name")
		wants(t, err, "access.operator_name")
		text := d.timeline(t)
		for _, want := range []string{"The operator bob was added.", "A one-time set-up link was made for the operator bob.", "bob set a password through a set-up link.", "bob signed in."} {
			if !strings.Contains(text, want) {
				t.Errorf("the timeline lacks %q", want)
			}
		}
		if strings.Contains(text, secret.Reveal()) || strings.Contains(text, in.Secret.Reveal()) {
			t.Error("a secret is in the timeline")
		}
	})
	t.Run("a link for an existing one replaces the password only when it is used", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		before := d.operator(t)
		secret, until, err := d.IssueSetupFor(t.Context(), ops, "OPS")
		if err != nil || !until.Equal(d.now.Add(access.SetupLife)) {
			t.Fatalf("until %v, %v", until, err)
		}
		d.signIn(t) // the old password is good until then
		if _, err := d.CompleteSetup(t.Context(), secret.Reveal(), "", "another sentence to remember", visit); err != nil {
			t.Fatal(err)
		}
		_, err = d.SignIn(t.Context(), "ops", password, visit)
		wants(t, err, "access.wrong_password")
		_, err = d.Session(t.Context(), before.Secret.Reveal())
		wants(t, err, "session.unknown")
		_, _, err = d.IssueSetupFor(t.Context(), ops, "nobody")
		wants(t, err, "operator.unknown")
	})
	t.Run("set-up is needed as long as nobody can sign in", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		if _, _, err := d.Invite(t.Context(), event.System(), "bob"); err != nil {
			t.Fatal(err)
		}
		if needed, err := d.NeedsSetup(t.Context()); err != nil || !needed {
			t.Errorf("set-up is not needed though nobody has a password: %v", err)
		}
	})
}

func TestDeleteOperator(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.operator(t)
	wants(t, d.DeleteOperator(t.Context(), ops, "ops"), "operator.last")
	_, secret, err := d.Invite(t.Context(), ops, "bob")
	if err != nil {
		t.Fatal(err)
	}
	wants(t, d.DeleteOperator(t.Context(), ops, "ops"), "operator.last") // bob cannot sign in yet
	in, err := d.CompleteSetup(t.Context(), secret.Reveal(), "", password, visit)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.DeleteOperator(t.Context(), ops, " BOB "); err != nil {
		t.Fatal(err)
	}
	_, err = d.Session(t.Context(), in.Secret.Reveal())
	wants(t, err, "session.unknown")
	_, err = d.SignIn(t.Context(), "bob", password, visit)
	wants(t, err, "access.wrong_password")
	wants(t, d.DeleteOperator(t.Context(), ops, "bob"), "operator.unknown")
	if text := d.timeline(t); !strings.Contains(text, "The operator bob was removed.") {
		t.Error("the timeline does not say that bob was removed")
	}
}

func TestLocalLogin_Off(t *testing.T) {
	t.Parallel()
	d := open(t)
	link := d.link(t)
	in := d.operator(t)
	off := access.New(access.Needs{Operators: d.store, Sessions: d.store, Keys: d.store, Events: d.store, Now: func() time.Time { return d.now }})
	_, err := off.SignIn(t.Context(), "ops", password, visit)
	wants(t, err, "access.local_login_off")
	_, err = off.CompleteSetup(t.Context(), link, "ops", password, visit)
	wants(t, err, "access.local_login_off")
	_, _, err = off.Invite(t.Context(), ops, "bob")
	wants(t, err, "access.local_login_off")
	_, _, err = off.IssueSetup(t.Context(), ops)
	wants(t, err, "access.local_login_off")
	_, _, err = off.IssueSetupFor(t.Context(), ops, "ops")
	wants(t, err, "access.local_login_off")
	_, err = off.Session(t.Context(), in.Secret.Reveal())
	wants(t, err, "session.unknown")
	if needed, err := off.NeedsSetup(t.Context()); needed || err != nil {
		t.Errorf("set-up is needed: %v, %v", needed, err)
	}
}

func TestCompleteSetup_NamesBothMistakes(t *testing.T) {
	t.Parallel()
	d := open(t)
	_, err := d.CompleteSetup(t.Context(), d.link(t), "Anna Maria!", "short", access.Visit{})
	var fields []string
	for _, f := range fault.All(err) {
		fields = append(fields, f.Field)
	}
	if !slices.Equal(fields, []string{"name", "password"}) {
		t.Errorf("refused are %q", fields)
	}
}
