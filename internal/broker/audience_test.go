package broker_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

func jwt(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

func TestAudience_OfAnotherResourceIsNamed(t *testing.T) {
	for _, c := range []struct {
		outcome, token string
		named          bool
	}{
		{"the other resource's is named", jwt(`{"aud":"https://graph.example"}`), true},
		{"so is one among several", jwt(`{"aud":["x","https://graph.example/"]}`), true},
		{"the right one is fine", jwt(`{"aud":"https://outlook.example"}`), false},
		{"a host of the same service that we do not know is fine", jwt(`{"aud":"https://outlook365.example"}`), false},
		{"a GUID is fine", jwt(`{"aud":"00000002-0000-0ff1-ce00-000000000000"}`), false},
		{"an opaque token is fine", "EwBwA8l6BAAU", false},
		{"three parts that are no JWT are fine", "a.b!.c", false},
		{"claims that are no object are fine", jwt(`[1,2]`), false},
		{"an audience that is a number is fine", jwt(`{"aud":7}`), false},
		{"no audience is fine", jwt(`{}`), false},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			h := newHouse(t)
			h.server.answer = func(_ int, err error, tk tokens) (tokens, error) {
				tk.AccessToken = seal.NewSecret(c.token)
				return tk, err
			}
			if got := lend(t, h.broker("a")); got != c.token {
				t.Errorf("lent %q", got)
			}
			e := h.store.last()
			if named := e.Cause == "grant.wrong_audience"; named != c.named {
				t.Errorf("the event is %+v", e)
			}
			if c.named && !strings.Contains(e.Data["reason"], "asked for an access token for mail and gave one for graph") {
				t.Errorf("the reason is %q", e.Data["reason"])
			}
		})
	}
	t.Run("what the kind itself calls another resource is kept and not lent", func(t *testing.T) {
		h := newHouse(t)
		h.server.answer = func(_ int, err error, tk tokens) (tokens, error) {
			tk.Resource = "graph"
			return tk, err
		}
		b := h.broker("a")
		refused(t, b, "grant.wrong_audience")
		refused(t, b, "grant.wrong_audience")
		same(t, "requests", h.server.asked(), "R0")
		h.holds("R1")
	})
}

// FuzzAccessToken: whatever a provider calls an access token is stored and lent.
func FuzzAccessToken(f *testing.F) {
	for _, seed := range []string{"opaque", jwt(`{"aud":"https://graph.example"}`), jwt(`{"aud":[]}`), "a.b.c", "..", jwt(strings.Repeat("[", 10000)), jwt(`{"aud":"://"}`)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if token == "" {
			t.Skip("the contract has no empty access token")
		}
		h := newHouse(t)
		h.server.answer = func(_ int, err error, tk tokens) (tokens, error) {
			tk.AccessToken = seal.NewSecret(token)
			return tk, err
		}
		if got := lend(t, h.broker("a")); got != token {
			t.Errorf("lent %q", got)
		}
	})
}

func TestAnAnswerWithoutAccessToken_IsNoAnswer(t *testing.T) {
	h := newHouse(t)
	h.server.lenient = true
	h.server.answer = func(_ int, err error, tk tokens) (tokens, error) {
		tk.AccessToken = seal.Secret{}
		return tk, err
	}
	f := refused(t, h.broker("a"), "oauth.no_answer")
	if f.Kind != fault.Temporary || f.RetryAfter > time.Minute {
		t.Errorf("%+v", f)
	}
	h.holds("R1") // what it did hold is kept
}
