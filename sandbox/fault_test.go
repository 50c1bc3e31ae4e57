package sandbox_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/sandbox/browser"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// atToken orders one fault at the token endpoint, in place of all before.
func (d *desk) atToken(t *testing.T, fault directory.Fault) {
	t.Helper()
	d.t = t
	d.World().ClearFaults("")
	fault.Point = directory.PointToken
	d.must(d.InjectFault(fault))
}

func refreshing(refreshToken string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}
}

func TestFault_TokenAnswers(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	grant := d.grantFor(directory.StoryDesk)
	t.Run("status with Retry-After, twice, then well", func(t *testing.T) {
		d.atToken(t, directory.Fault{Action: directory.ActionStatus, Status: 429, RetryAfterSeconds: 7, Times: 2})
		for range 2 {
			response, err := http.PostForm(d.about.Token, refreshing(grant.RefreshToken))
			d.must(err)
			_ = response.Body.Close()
			if response.StatusCode != 429 || response.Header.Get("Retry-After") != "7" {
				t.Errorf("status %d, Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
			}
		}
		if answer := d.refresh(grant.RefreshToken); answer.Status != http.StatusOK {
			t.Error(answer.ErrorDescription)
		}
	})
	t.Run("any AADSTS number, until cleared, only for refreshes", func(t *testing.T) {
		d.atToken(t, directory.Fault{Action: directory.ActionRefuse, AADSTS: 53003, GrantType: "refresh_token"})
		for range 3 {
			if answer := d.refresh(grant.RefreshToken); answer.code() != 53003 || answer.Error != "interaction_required" {
				t.Error(answer.ErrorDescription)
			}
		}
		if other := d.redeem(d.codeFor(directory.StoryDesk)); other.Status != http.StatusOK {
			t.Errorf("another grant type suffers too: %s", other.ErrorDescription)
		}
		d.World().ClearFaults(directory.PointToken)
		if answer := d.refresh(grant.RefreshToken); answer.Status != http.StatusOK {
			t.Error(answer.ErrorDescription)
		}
	})
}

func TestFault_TokenCut(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.World().SetStrictRotation(true)
	t.Run("cut before: nothing happened", func(t *testing.T) {
		d.t = t
		own := d.grantFor(directory.StoryDesk)
		d.atToken(t, directory.Fault{Action: directory.ActionCut, Times: 1})
		if _, err := d.post(refreshing(own.RefreshToken)); err == nil {
			t.Error("an answer came")
		}
		if answer := d.refresh(own.RefreshToken); answer.Status != http.StatusOK {
			t.Errorf("the refresh token was used up: %s", answer.ErrorDescription)
		}
	})
	t.Run("cut after: the refresh token was rotated and nobody knows", func(t *testing.T) {
		d.t = t
		own := d.grantFor(directory.StoryDesk)
		d.atToken(t, directory.Fault{Action: directory.ActionCutAfter, Times: 1})
		if _, err := d.post(refreshing(own.RefreshToken)); err == nil {
			t.Error("an answer came")
		}
		if answer := d.refresh(own.RefreshToken); answer.Error != "invalid_grant" {
			t.Errorf("the refresh token was not rotated: %+v", answer)
		}
	})
}

func TestFault_TokenSlow(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	grant := d.grantFor(directory.StoryDesk)
	t.Run("hang: until the caller gives up", func(t *testing.T) {
		d.atToken(t, directory.Fault{Action: directory.ActionHang, Times: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.about.Token, strings.NewReader(refreshing(grant.RefreshToken).Encode()))
		d.must(err)
		if _, err := http.DefaultClient.Do(request); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the caller's own deadline", err)
		}
	})
	t.Run("hang: until cleared", func(t *testing.T) {
		d.atToken(t, directory.Fault{Action: directory.ActionHang, Times: 1})
		ended := make(chan error)
		go func() {
			_, err := d.post(refreshing(grant.RefreshToken))
			ended <- err
		}()
		for len(d.World().Faults()) > 0 { // until the request has taken it
			select {
			case <-d.ctx.Done():
				t.Fatal(d.ctx.Err())
			case <-time.After(time.Millisecond):
			}
		}
		d.World().ClearFaults("")
		if err := <-ended; err == nil {
			t.Error("a hanging request was answered")
		}
	})
	t.Run("delay: slow, but well", func(t *testing.T) {
		d.atToken(t, directory.Fault{Action: directory.ActionDelay, DelayMilliseconds: 20, Times: 1})
		begun := time.Now()
		if answer := d.refresh(grant.RefreshToken); answer.Status != http.StatusOK || time.Since(begun) < 20*time.Millisecond {
			t.Errorf("status %d after %s", answer.Status, time.Since(begun))
		}
	})
}

func TestFault_Elsewhere(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for point, address := range map[directory.Point]string{
		directory.PointDiscovery: d.about.Discovery, directory.PointKeys: d.about.BaseURL + "/common/discovery/v2.0/keys",
		directory.PointGraph: d.about.GraphURL + "/v1.0/me", directory.PointAuthorize: d.authorizeURL(),
	} {
		t.Run(string(point), func(t *testing.T) {
			d.t = t
			d.must(d.InjectFault(directory.Fault{Point: point, Action: directory.ActionStatus, Status: 503, Times: 1}))
			b := browser.New(browser.Options{})
			d.must(b.Open(d.ctx, address))
			if b.Page().Status != http.StatusServiceUnavailable {
				t.Errorf("status %d", b.Page().Status)
			}
			d.must(b.Open(d.ctx, address))
			if b.Page().Status == http.StatusServiceUnavailable {
				t.Error("still failing after the one time that was ordered")
			}
		})
	}
}

func TestFault_Refused(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for name, fault := range map[string]directory.Fault{
		"unknown point":                {Point: "nowhere", Action: directory.ActionCut},
		"unknown action":               {Point: directory.PointToken, Action: "explode"},
		"status that is no failure":    {Point: directory.PointToken, Action: directory.ActionStatus, Status: 200},
		"delay without a time":         {Point: directory.PointToken, Action: directory.ActionDelay},
		"negative times":               {Point: directory.PointToken, Action: directory.ActionCut, Times: -1},
		"action at a point of mail":    {Point: "imap.auth", Action: directory.ActionCut},
		"point of HTTP without action": {Point: directory.PointGraph},
	} {
		if err := d.InjectFault(fault); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCalls_NoSecrets(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	code := d.codeFor(directory.StoryDesk)
	grant := d.redeem(code)
	_ = d.refresh(grant.RefreshToken, "client_secret", "a-wrong-secret")
	var outcomes []string
	for _, call := range d.World().Calls(0) {
		outcomes = append(outcomes, call.Outcome)
		for _, secret := range []string{code, grant.RefreshToken, grant.AccessToken, directory.StoryDeskPassword, directory.StoryClientSecret, "a-wrong-secret"} {
			if text := strings.Join([]string{call.Path, call.Method, call.ClientID, call.GrantType, call.User, call.Outcome, call.Reason}, " "); strings.Contains(text, secret) {
				t.Errorf("a secret is in the list of calls: %+v", call)
			}
		}
	}
	if want := []string{"sign-in page", "code", "ok", "AADSTS7000215"}; !slices.Equal(outcomes, want) {
		t.Errorf("calls %q, want %q", outcomes, want)
	}
	last := d.World().Calls(3)
	if len(last) != 1 || last[0].GrantType != "refresh_token" || last[0].ClientID != directory.StoryClientID || last[0].Status != http.StatusUnauthorized {
		t.Errorf("%+v", last)
	}
}
