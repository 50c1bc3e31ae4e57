package access_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	t.Run("the right password opens, a wrong one and an unknown name say the same", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		want := d.operator(t).Operator
		if in, err := d.SignIn(t.Context(), "OPS", password, visit); err != nil || in.Operator.ID != want.ID || in.Operator.Name != "ops" {
			t.Fatalf("got %+v, %v", in.Operator, err)
		}
		_, wrong := d.SignIn(t.Context(), "ops", "wrong "+password, visit)
		_, unknown := d.SignIn(t.Context(), "typed-my-passphrase", password, visit)
		wants(t, wrong, "access.wrong_password")
		if wrong.Error() != unknown.Error() {
			t.Errorf("%v and %v differ", wrong, unknown)
		}
		if text := d.timeline(t); strings.Contains(text, password) || strings.Contains(text, "typed-my-passphrase") {
			t.Error("what was typed is in the timeline")
		}
	})
	t.Run("an unknown name costs what a password costs", func(t *testing.T) {
		t.Parallel()
		d := inEarnest(t)
		real, decoy := strings.Split(d.operator(t).Operator.PasswordHash, "$"), strings.Split(d.Decoy(), "$")
		for i, part := range decoy {
			if i < 4 && part != real[i] || len(part) != len(real[i]) {
				t.Errorf("%q is not like %q", part, real[i])
			}
		}
	})
	t.Run("damaged and too costly hashes open nothing", func(t *testing.T) {
		t.Parallel()
		d := inEarnest(t)
		o := d.operator(t).Operator
		for i, hash := range []string{
			"plain", o.PasswordHash[:len(o.PasswordHash)-4],
			strings.Replace(o.PasswordHash, "argon2id", "argon2i", 1),
			strings.Replace(o.PasswordHash, "v=19", "v=16", 1),
			strings.Replace(o.PasswordHash, "m=65536", "m=4000000", 1),
			strings.Replace(o.PasswordHash, "t=3", "t=4000000000", 1),
			strings.Replace(o.PasswordHash, "t=3", "t=0", 1),
			strings.Replace(o.PasswordHash, "p=4", "p=0", 1),
		} {
			damaged := access.Operator{ID: event.NewID(), Name: fmt.Sprint("damaged", i), PasswordHash: hash, CreatedAt: d.now}
			l := access.SetupLink{OperatorID: damaged.ID, Hash: []byte(damaged.Name), ExpiresAt: d.now}
			if err := d.store.InviteOperator(t.Context(), damaged, l, event.New(d.now, event.OperatorCreated, event.System(), "Added.")); err != nil {
				t.Fatal(err)
			}
			_, err := d.SignIn(t.Context(), damaged.Name, password, visit)
			wants(t, err, "access.wrong_password")
		}
	})
}

func TestSignIn_SlowsGuessing(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.operator(t)
	for range 9 {
		d.Fail("ops")
	}
	if _, err := d.SignIn(t.Context(), "ops", "wrong password", visit); !fault.Has(err, "access.wrong_password") {
		t.Fatalf("the tenth attempt is not free: %v", err)
	}
	for _, wait := range []time.Duration{1, 2, 4, 8} {
		_, err := d.SignIn(t.Context(), "ops", password, visit)
		wants(t, err, "access.too_many_attempts")
		if got := fault.Of(err).RetryAfter; got != wait*time.Second {
			t.Fatalf("the wait is %s, want %ds", got, wait)
		}
		d.Fail("ops")
	}
	for range 100 {
		d.Fail("ops")
	}
	_, err := d.SignIn(t.Context(), "ops", password, visit)
	if got := fault.Of(err).RetryAfter; got != 15*time.Minute {
		t.Errorf("the longest wait is %s", got)
	}
	for i := range 2 * access.MaxBuckets {
		d.Fail(fmt.Sprint("invented", i))
	}
	if n := d.Buckets(); n > access.MaxBuckets {
		t.Errorf("%d names are remembered", n)
	}
	_, err = d.SignIn(t.Context(), "ops", password, visit)
	wants(t, err, "access.too_many_attempts")
	d.now = d.now.Add(time.Hour + time.Second)
	if _, err := d.SignIn(t.Context(), "ops", password, visit); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	t.Run("says where it began, and lives on while it is used", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		in := d.operator(t)
		began := d.now
		for d.now.Sub(began) < access.SessionLife-access.IdleLife {
			d.now = d.now.Add(access.IdleLife - time.Second)
			s, err := d.Session(t.Context(), in.Secret.Reveal())
			if err != nil || !s.SeenAt.Equal(d.now) || !s.BeganAt.Equal(began) || s.From != here.String() || s.Browser != "Firefox on Linux" {
				t.Fatalf("after %v: %+v, %v", d.now.Sub(began), s, err)
			}
		}
		d.now = began.Add(access.SessionLife - time.Second)
		if _, err := d.Session(t.Context(), in.Secret.Reveal()); err != nil {
			t.Errorf("within its life: %v", err)
		}
		d.now = began.Add(access.SessionLife)
		_, err := d.Session(t.Context(), in.Secret.Reveal())
		wants(t, err, "session.unknown")
	})
	t.Run("ends when it is not used", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		in := d.operator(t)
		d.now = d.now.Add(access.IdleLife)
		_, err := d.Session(t.Context(), in.Secret.Reveal())
		wants(t, err, "session.unknown")
		for _, secret := range []string{"", "guess"} {
			_, err := d.Session(t.Context(), secret)
			wants(t, err, "session.unknown")
		}
	})
	t.Run("its use is noted once a minute", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		in := d.operator(t)
		began := d.now
		d.now = began.Add(59 * time.Second)
		if s, err := d.Session(t.Context(), in.Secret.Reveal()); err != nil || !s.SeenAt.Equal(began) {
			t.Errorf("seen %v, %v", s.SeenAt, err)
		}
	})
	t.Run("whoever ends it, the next request in it does not find it", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		first, second, third := d.operator(t), d.signIn(t), d.signIn(t)
		if all, err := d.SessionsOf(t.Context(), "ops"); err != nil || len(all) != 3 {
			t.Fatalf("%d sessions, %v", len(all), err)
		}
		other := d.process()
		if err := other.EndSession(t.Context(), ops, "ops", second.Session.ID); err != nil {
			t.Fatal(err)
		}
		_, err := d.Session(t.Context(), second.Secret.Reveal())
		wants(t, err, "session.unknown")
		wants(t, d.EndSession(t.Context(), ops, "ops", second.Session.ID), "session.unknown")
		if n, err := d.EndSessions(t.Context(), ops, "ops", third.Session.ID); err != nil || n != 1 {
			t.Errorf("%d ended, %v", n, err)
		}
		_, err = d.Session(t.Context(), first.Secret.Reveal())
		wants(t, err, "session.unknown")
		if _, err := d.Session(t.Context(), third.Secret.Reveal()); err != nil {
			t.Errorf("the one that stays: %v", err)
		}
		for range 2 { // the second time there is nothing to end
			if err := d.SignOut(t.Context(), third.Secret.Reveal()); err != nil {
				t.Error(err)
			}
		}
		_, err = d.Session(t.Context(), third.Secret.Reveal())
		wants(t, err, "session.unknown")
		for _, text := range []string{"A session of ops was ended.", "All other sessions of ops were ended.", "ops signed out."} {
			if !strings.Contains(d.timeline(t), text) {
				t.Errorf("the timeline lacks %q", text)
			}
		}
		if _, err := d.EndSessions(t.Context(), ops, "nobody", ""); !fault.Has(err, "operator.unknown") {
			t.Error(err)
		}
	})
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	const newer = "another sentence to remember"
	t.Run("the old one is asked for, and all other sessions end", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		in := d.operator(t)
		s, other := in.Session, d.signIn(t)
		for _, c := range []struct{ old, password, id, field string }{
			{"wrong", newer, "access.wrong_old_password", "old_password"},
			{password, password, "access.same_password", "password"},
			{password, "short", "access.weak_password", "password"},
			{password, strings.Repeat("x", 1025), "access.long_password", "password"},
		} {
			err := d.ChangePassword(t.Context(), s, c.old, c.password, visit)
			wants(t, err, c.id)
			if f := fault.Of(err); f.Field != c.field || strings.Contains(err.Error(), newer) {
				t.Errorf("%s is about %s: %v", c.id, f.Field, err)
			}
		}
		if err := d.ChangePassword(t.Context(), s, password, newer, visit); err != nil {
			t.Fatal(err)
		}
		_, err := d.Session(t.Context(), other.Secret.Reveal())
		wants(t, err, "session.unknown")
		if _, err := d.Session(t.Context(), in.Secret.Reveal()); err != nil {
			t.Errorf("the session in which it was done ended: %v", err)
		}
		_, err = d.SignIn(t.Context(), "ops", password, visit)
		wants(t, err, "access.wrong_password")
		if _, err := d.SignIn(t.Context(), "ops", newer, visit); err != nil {
			t.Error(err)
		}
		text := d.timeline(t)
		if !strings.Contains(text, "ops changed their password") || !strings.Contains(text, "the present one was typed wrongly") || strings.Contains(text, newer) {
			t.Errorf("the timeline is %s", text)
		}
	})
	t.Run("guesses count as failed sign-ins, and the other way round", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		s := d.operator(t).Session
		for range 9 {
			d.Fail("ops")
		}
		wants(t, d.ChangePassword(t.Context(), s, "wrong", newer, visit), "access.wrong_old_password")
		wants(t, d.ChangePassword(t.Context(), s, password, newer, visit), "access.too_many_attempts")
		_, err := d.SignIn(t.Context(), "ops", password, visit)
		wants(t, err, "access.too_many_attempts")
	})
	t.Run("two at once: one of them", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		s := d.operator(t).Session
		errs := make(chan error, 2)
		for i := range 2 {
			go func() { errs <- d.ChangePassword(t.Context(), s, password, fmt.Sprint(newer, i), visit) }()
		}
		won := 0
		for range 2 {
			err := <-errs
			if err == nil {
				won++
			} else if !fault.Has(err, "operator.password_changed") && !fault.Has(err, "access.wrong_old_password") {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d changed it", won)
		}
	})
}

func TestBrowser(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                  "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0":           "Edge on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15":                   "Safari on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0.7444.77 Mobile/15E148 Safari/604.1":   "Chrome on iPad",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36":                         "Chrome on Android",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 OPR/124.0.0.0":           "Opera on Windows",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36":                          "Chrome on ChromeOS",
		"curl/8.14.1":                           "curl",
		"":                                      "unknown browser",
		"\x00\xff\x1b[31m":                      "[31m",
		strings.Repeat("x", 3000):               strings.Repeat("x", 40) + "…",
		"<script>alert(1)</script> Firefox/1.0": "Firefox",
	} {
		if got := access.Browser(agent); got != want {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
}
